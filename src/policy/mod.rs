//! What to do about failure.
//!
//! A [`Policy`] says how one operation is tried, timed and given up. Each attempt passes these, in
//! this order; the first that refuses is the reason, and what earlier ones granted goes back:
//!
//! | stage | asks | part |
//! |---|---|---|
//! | time | is any left before the deadline? | [`Policy::deadline`] |
//! | breaker, peek | would it admit? loads only | [`Policy::breaker`] |
//! | gate | may anybody call yet? | (its place) |
//! | bulkhead | is a slot free? | [`Policy::bulkhead`] |
//! | limiter | are requests and tokens left? | [`Policy::limiter`] |
//! | breaker, permit | leave to make this attempt | [`Policy::breaker`] |
//! | the operation | | under the earlier of [`Policy::attempt_timeout`] and the deadline |
//!
//! After a failure, another attempt is made only if all of these hold, asked in this order: the
//! class allows it · attempts are left · the budget pays · the wait ends inside the retry window and
//! before the deadline · the service asked for no longer wait than allowed · the breaker will admit
//! at the end of the wait · the limiter will have enough then · the clock [pays](crate::Clock::pay_for_wake_up) for waking up then.
//! Otherwise the execution returns at once: nobody sleeps towards a refusal.
//!
//! A retry waits on for the clock's [next wake-up](crate::Clock::next_wake_up) if all of these hold
//! then too, and the deadline is no nearer to it than the attempt's timeout. A retry without a wait,
//! a first attempt (a probe, too) and one beside another that is under way find the device awake:
//! they take no wake-up.

mod attempt;
mod backoff;
pub(crate) mod blocking;
mod books;
pub(crate) mod classify;
mod event;
pub(crate) mod execute;
mod fallback;
mod operation;
mod pace;
pub(crate) mod plan;
mod progress;
mod run;
mod steps;
mod strategy;
mod terms;

use core::borrow::Borrow;
use core::fmt;
use core::time::Duration;

pub use attempt::Attempt;
pub use backoff::{Backoff, BackoffError, Growth, Jitter};
pub use classify::{ByError, Class, Classifier, Classify, Retry, RetryAll, Verdict};
pub use event::{Event, Events, Observe, Stage};
pub use execute::Execute;
pub use fallback::{Answered, ExecuteOrElse, Fallback, Later, Now};
pub use operation::{Made, Once, Operation, Plain, Told};
pub use pace::Pace;
pub use run::{Leave, Next, Run, Step};
pub use strategy::{Settings, Strategy, UnknownStrategy};

use self::backoff::Schedule;
use self::plan::{Limits, Plan};
use self::terms::{Purse, Terms};
use crate::clock::micros;
use crate::state::pass::BreakerRef;
use crate::state::settings::Shared;
use crate::state::{Breaker, Budget, Bulkhead, Evidence, Limit, Meter};

/// How one operation is tried, timed and given up. Made once, in a `static` or where it is used.
///
/// `C` tells errors apart: they say their class themselves ([`Classify`]), or
/// [`classify`](Self::classify) is given, or [`retry_all`](Self::retry_all). No class is guessed:
/// without any of them a policy does not execute.
///
/// ```compile_fail,E0277
/// # use steadfast::{Policy, ManualClock};
/// struct Unknown;
/// async fn call() -> Result<u8, Unknown> { Err(Unknown) }
/// static POLICY: Policy = Policy::new().attempts(3);
/// # let clock = ManualClock::new();
/// let answer = clock.block_on(POLICY.execute(&clock, call)); // `Unknown: Classify` is missing
/// ```
///
/// A number that makes no sense does not compile in a `static`:
///
/// ```compile_fail,E0080
/// # use steadfast::Policy;
/// static POLICY: Policy = Policy::new().attempts(0);
/// ```
#[derive(Clone, Copy)]
pub struct Policy<'s, C = ByError> {
    terms: Terms<'s>,
    classifier: C,
}

/// Where an execution gets its policy from when it begins: a borrowed [`Policy`], or one
/// that was just resolved.
pub trait Source<'p, C> {
    /// What it executes by.
    type Policy: Borrow<Policy<'p, C>>;
    /// The policy as it is now.
    fn policy(self) -> Self::Policy;
}

/// What is wrong with a [`Policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PolicyError {
    /// One attempt at least.
    Attempts,
    /// An attempt needs time.
    AttemptTimeout,
    /// An execution needs time.
    Deadline,
}

impl<'s> Policy<'s> {
    /// One attempt, no limits, nothing shared.
    #[must_use]
    pub const fn new() -> Self {
        Self { terms: Terms::NONE, classifier: ByError }
    }

    /// By a named strategy. Its breaker and budget are shared, so they are made from
    /// [`Strategy::settings`] and given.
    #[must_use]
    pub const fn of(strategy: Strategy) -> Self {
        let settings = strategy.settings();
        Self::new()
            .attempts(settings.attempts)
            .backoff(settings.backoff)
            .retry_window(settings.window)
            .attempt_timeout(settings.attempt_timeout)
            .deadline(settings.deadline)
            .max_asked_wait(settings.max_asked_wait)
    }
}

impl<'s, C> Policy<'s, C> {
    /// By `plan`, under which `shared` is shared: its breaker follows its settings as they change.
    pub(crate) fn live(
        plan: &Plan,
        shared: &'s Shared,
        window: &'s dyn Evidence,
        (limiter, estimate): (&'s dyn Limit, u32),
        metrics: &'s dyn Meter,
        observer: &'s dyn Observe,
        classifier: C,
    ) -> Self {
        let Plan {
            limits,
            backoff,
            budget,
            slots,
            retry_enabled,
            breaker_enabled,
            windowed,
            limited,
        } = *plan;
        let mut terms = Terms::NONE;
        terms.limits = if retry_enabled { limits } else { Limits { attempts: 1, ..limits } };
        terms.schedule = Schedule::of(backoff);
        terms.breaker = breaker_enabled.then_some(BreakerRef::live(shared));
        if slots > 0 {
            terms = terms.with_bulkhead(slots, &shared.slots);
        }
        if retry_enabled {
            terms.budget = Some((budget, &shared.tokens));
        }
        if windowed {
            terms = terms.with_window(window);
        }
        if limited {
            terms = terms.with_limiter(limiter);
        }
        terms.estimate = estimate;
        Self { terms: terms.with_metrics(metrics).with_observer(observer), classifier }
    }
}

impl<'s, C: Copy> Policy<'s, C> {
    /// Tells errors apart by `classifier`: a function `fn(&E) -> Verdict`, or any [`Classifier`].
    #[must_use]
    pub const fn classify<D>(self, classifier: D) -> Policy<'s, D> {
        Policy { terms: self.terms, classifier }
    }

    /// Takes every error for a transient one. In a `static`, such a policy is a
    /// `Policy<'static, RetryAll>`.
    #[must_use]
    pub const fn retry_all(self) -> Policy<'s, RetryAll> {
        self.classify(RetryAll)
    }

    /// Makes up to `attempts` attempts, the first one included. At least 1.
    #[must_use]
    pub const fn attempts(self, attempts: u32) -> Self {
        match self.try_attempts(attempts) {
            Ok(policy) => policy,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a number that comes at run time.
    ///
    /// # Errors
    ///
    /// There is no attempt.
    pub const fn try_attempts(self, attempts: u32) -> Result<Self, PolicyError> {
        match attempts {
            0 => Err(PolicyError::Attempts),
            _ => Ok(self.limited(Limits { attempts, ..self.terms.limits })),
        }
    }

    /// Waits by `backoff` between attempts.
    #[must_use]
    pub const fn backoff(self, backoff: Backoff) -> Self {
        Self { terms: Terms { schedule: Schedule::of(backoff), ..self.terms }, ..self }
    }

    /// Starts no retry later than `window` after the beginning.
    #[must_use]
    pub const fn retry_window(self, window: Duration) -> Self {
        self.limited(Limits { window: micros(window), ..self.terms.limits })
    }

    /// Gives up on an attempt after `timeout`. More than zero.
    #[must_use]
    pub const fn attempt_timeout(self, timeout: Duration) -> Self {
        match self.try_attempt_timeout(timeout) {
            Ok(policy) => policy,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a length that comes at run time.
    ///
    /// # Errors
    ///
    /// There is no time.
    pub const fn try_attempt_timeout(self, timeout: Duration) -> Result<Self, PolicyError> {
        match timeout {
            Duration::ZERO => Err(PolicyError::AttemptTimeout),
            _ => {
                let attempt_timeout = micros(timeout);
                Ok(self.limited(Limits { attempt_timeout, ..self.terms.limits }))
            }
        }
    }

    /// Gives up altogether after `deadline`: no attempt outlives it, and no wait ends after it.
    /// More than zero.
    #[must_use]
    pub const fn deadline(self, deadline: Duration) -> Self {
        match self.try_deadline(deadline) {
            Ok(policy) => policy,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a length that comes at run time.
    ///
    /// # Errors
    ///
    /// There is no time.
    pub const fn try_deadline(self, deadline: Duration) -> Result<Self, PolicyError> {
        match deadline {
            Duration::ZERO => Err(PolicyError::Deadline),
            _ => Ok(self.limited(Limits { deadline: micros(deadline), ..self.terms.limits })),
        }
    }

    /// Returns at once, with the wait asked for, when a service asks for a longer one than `wait`.
    #[must_use]
    pub const fn max_asked_wait(self, wait: Duration) -> Self {
        self.limited(Limits { max_asked_wait: micros(wait), ..self.terms.limits })
    }

    /// Asks `breaker` before each attempt, and reports each attempt to it.
    ///
    /// Its lease ([`Rule::lease`](crate::state::Rule::lease)) is to be longer than an attempt may
    /// take.
    #[must_use]
    pub const fn breaker(self, breaker: &'s Breaker) -> Self {
        let breaker = Some(BreakerRef::own(breaker));
        Self { terms: Terms { breaker, ..self.terms }, ..self }
    }

    /// Has the breaker open by what `window` says, too, which hears of each attempt that the closed
    /// breaker counted. Without a breaker it changes nothing.
    #[must_use]
    pub const fn window(self, window: &'s dyn Evidence) -> Self {
        Self { terms: self.terms.with_window(window), ..self }
    }

    /// Takes a slot of `bulkhead` for each attempt, and none while it waits.
    #[must_use]
    pub const fn bulkhead(self, bulkhead: &'s Bulkhead) -> Self {
        Self { terms: self.terms.with_bulkhead(bulkhead.slots(), bulkhead.shared()), ..self }
    }

    /// Takes one request and the [estimated](Self::estimate) tokens of `limiter` for each attempt. They
    /// are spent when it is granted, and a retry is not made towards a refusal.
    #[must_use]
    pub const fn limiter(self, limiter: &'s dyn Limit) -> Self {
        Self { terms: self.terms.with_limiter(limiter), ..self }
    }

    /// Takes it that an attempt needs so many tokens of the limiter's, instead of none.
    ///
    /// What it took is known afterwards: [`Limit::settle`] corrects what was taken.
    #[must_use]
    pub const fn estimate(self, tokens: u32) -> Self {
        Self { terms: Terms { estimate: tokens, ..self.terms }, ..self }
    }

    /// Pays for each retry out of `budget`.
    #[must_use]
    pub const fn budget(self, budget: &'s Budget) -> Self {
        let budget: (_, &dyn Purse) = (*budget.rule(), budget.shared());
        Self { terms: Terms { budget: Some(budget), ..self.terms }, ..self }
    }

    /// Counts into `metrics`.
    #[must_use]
    pub const fn metrics(self, metrics: &'s dyn Meter) -> Self {
        Self { terms: self.terms.with_metrics(metrics), ..self }
    }

    /// Tells `observer` what executions do.
    #[must_use]
    pub const fn observer(self, observer: &'s dyn Observe) -> Self {
        Self { terms: self.terms.with_observer(observer), ..self }
    }

    const fn limited(self, limits: Limits) -> Self {
        Self { terms: Terms { limits, ..self.terms }, ..self }
    }
}

impl<'p, C> Source<'p, C> for &'p Policy<'_, C> {
    type Policy = &'p Policy<'p, C>;

    fn policy(self) -> &'p Policy<'p, C> {
        self
    }
}

impl<C> Policy<'_, C> {
    #[cfg(feature = "defmt")]
    pub(crate) const fn limits(&self) -> &Limits {
        &self.terms.limits
    }

    #[cfg(feature = "defmt")]
    pub(crate) const fn waits_by(&self) -> &Backoff {
        &self.terms.schedule.backoff
    }
}

impl Default for Policy<'_> {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: fmt::Debug> fmt::Debug for Policy<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("terms", &self.terms)
            .field("classifier", &self.classifier)
            .finish_non_exhaustive()
    }
}

impl PolicyError {
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::Attempts => "a policy makes one attempt at least: the first one counts",
            Self::AttemptTimeout => "an attempt's timeout is more than zero",
            Self::Deadline => "a deadline is more than zero",
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for PolicyError {}
