//! A handle of an operation: what an application keeps, and executes by.

use core::future::Future;
use core::time::Duration;

use super::entry::{Entry, Every};
use super::name::Name;
use super::registration::{Effective, Registration};
use crate::clock::{Instant, Sleep, Wait, micros};
use crate::error::{Error, OrElseError};
use crate::policy::blocking::{execute_blocking, execute_blocking_or_else};
use crate::policy::execute::execute_mut;
use crate::policy::plan::Plan;
use crate::policy::{
    Backoff, ByError, Classifier, Execute, ExecuteOrElse, Later, Made, Now, Once, Plain, Policy,
    PolicyError, RetryAll, Run, Settings, Source, Strategy, Told,
};
use crate::state::{Evidence, Limit as _, Meter};

/// An operation of an [`Orchestrator`](super::Orchestrator), ready to execute.
///
/// It is `Copy`: change a copy by [`strategy`](Self::strategy), [`with`](Self::with) and
/// [`classify`](Self::classify) for callers that want something else. Settings are resolved whenever
/// an execution begins: the next one sees what a live configuration changed, and one under way keeps
/// what it started with. Breaker, budget, bulkhead and limits are the operation's own, whatever the
/// caller gives.
#[derive(Clone, Copy, Debug)]
pub struct Handle<'o, C = ByError> {
    entry: &'o Entry,
    every: &'o Every,
    meter: &'o dyn Meter,
    window: &'o dyn Evidence,
    strategy: Option<Strategy>,
    overrides: Overrides,
    estimate: u32,
    classifier: C,
}

/// What a caller may set for itself.
///
/// Breaker, budget, bulkhead and limits are not among it: all callers of an operation share them.
///
/// ```compile_fail,E0599
/// # use steadfast::orchestrator::Overrides;
/// # use steadfast::{Breaker, Trip};
/// # use core::time::Duration;
/// static MINE: Breaker = Breaker::new(Trip::after(3), Duration::from_secs(30));
/// let overrides = Overrides::new().attempts(2).breaker(&MINE);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Overrides {
    attempts: Option<u32>,
    backoff: Option<Backoff>,
    window: Option<Duration>,
    attempt_timeout: Option<Duration>,
    deadline: Option<Duration>,
    max_asked_wait: Option<Duration>,
}

impl Overrides {
    /// Nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            attempts: None,
            backoff: None,
            window: None,
            attempt_timeout: None,
            deadline: None,
            max_asked_wait: None,
        }
    }

    /// Up to so many attempts, the first included. At least 1.
    #[must_use]
    pub const fn attempts(self, attempts: u32) -> Self {
        match self.try_attempts(attempts) {
            Ok(overrides) => overrides,
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
            _ => Ok(Self { attempts: Some(attempts), ..self }),
        }
    }

    /// These waits between attempts.
    #[must_use]
    pub const fn backoff(self, backoff: Backoff) -> Self {
        Self { backoff: Some(backoff), ..self }
    }

    /// No retry later than so long after the beginning.
    #[must_use]
    pub const fn retry_window(self, window: Duration) -> Self {
        Self { window: Some(window), ..self }
    }

    /// So long for an attempt. More than zero.
    #[must_use]
    pub const fn attempt_timeout(self, timeout: Duration) -> Self {
        match self.try_attempt_timeout(timeout) {
            Ok(overrides) => overrides,
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
            _ => Ok(Self { attempt_timeout: Some(timeout), ..self }),
        }
    }

    /// So long for the execution. More than zero.
    #[must_use]
    pub const fn deadline(self, deadline: Duration) -> Self {
        match self.try_deadline(deadline) {
            Ok(overrides) => overrides,
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
            _ => Ok(Self { deadline: Some(deadline), ..self }),
        }
    }

    /// No longer wait than that, if a service asks for one.
    #[must_use]
    pub const fn max_asked_wait(self, wait: Duration) -> Self {
        Self { max_asked_wait: Some(wait), ..self }
    }

    fn apply(&self, plan: &mut Plan) {
        fn set<T>(to: &mut T, given: Option<T>) {
            if let Some(given) = given {
                *to = given;
            }
        }
        set(&mut plan.limits.attempts, self.attempts);
        set(&mut plan.backoff, self.backoff);
        set(&mut plan.limits.window, self.window.map(micros));
        set(&mut plan.limits.attempt_timeout, self.attempt_timeout.map(micros));
        set(&mut plan.limits.deadline, self.deadline.map(micros));
        set(&mut plan.limits.max_asked_wait, self.max_asked_wait.map(micros));
    }
}

impl<'o> Handle<'o> {
    pub(super) const fn new(
        entry: &'o Entry,
        every: &'o Every,
        meter: &'o dyn Meter,
        window: &'o dyn Evidence,
    ) -> Self {
        let (strategy, overrides) = (None, Overrides::new());
        Self { entry, every, meter, window, strategy, overrides, estimate: 0, classifier: ByError }
    }
}

impl<'o, C: Copy> Handle<'o, C> {
    /// By that strategy, for what is not shared.
    #[must_use]
    pub const fn strategy(self, strategy: Strategy) -> Self {
        Self { strategy: Some(strategy), ..self }
    }

    /// With that set by the caller: it wins over everything else.
    #[must_use]
    pub const fn with(self, overrides: Overrides) -> Self {
        Self { overrides, ..self }
    }

    /// Takes it that an attempt needs so many of the operation's tokens a minute, instead of none.
    #[must_use]
    pub const fn estimate(self, tokens: u32) -> Self {
        Self { estimate: tokens, ..self }
    }

    /// Tells errors apart by `classifier`: a function `fn(&E) -> Verdict`, or any [`Classifier`].
    #[must_use]
    pub const fn classify<D>(self, classifier: D) -> Handle<'o, D> {
        let Self { entry, every, meter, window, strategy, overrides, estimate, .. } = self;
        Handle { entry, every, meter, window, strategy, overrides, estimate, classifier }
    }

    /// Takes every error for a transient one.
    #[must_use]
    pub const fn retry_all(self) -> Handle<'o, RetryAll> {
        self.classify(RetryAll)
    }
}

impl<C> Handle<'_, C> {
    /// The operation's name.
    #[must_use]
    pub fn name(&self) -> Name {
        self.entry.name()
    }

    /// The strategy that an execution which began now would go by, single settings aside: the
    /// caller's, or else the operation's.
    #[must_use]
    pub fn named_strategy(&self) -> Strategy {
        self.strategy.unwrap_or_else(|| self.entry.effective().strategy())
    }

    /// Has the tokens of one attempt be the `actual` ones that it took, instead of those that this
    /// handle [estimated](Self::estimate): what is too much goes back, what is missing is taken. To be
    /// told once for each attempt that was made by this handle, when its answer says it.
    pub fn settle_tokens(&self, now: Instant, actual: u32) {
        self.entry.settle(now, self.estimate, actual);
    }

    /// What an execution that began now would go by.
    #[must_use]
    pub fn settings(&self) -> Settings {
        // Read once, so that all of it is of one configuration.
        let (own, mut plan) = match self.strategy {
            None => {
                let own = self.entry.effective().settings();
                (own, Plan::of(&own))
            }
            Some(strategy) => self.by(strategy),
        };
        self.overrides.apply(&mut plan);
        plan.within(&own)
    }

    /// What an execution takes with it.
    fn plan(&self) -> Plan {
        let mut plan = match self.strategy {
            None => self.entry.plan(),
            Some(strategy) => self.by(strategy).1,
        };
        self.overrides.apply(&mut plan);
        plan
    }

    /// The operation's own settings, and by them what is not shared of `strategy`.
    fn by(&self, strategy: Strategy) -> (Settings, Plan) {
        let (own, every) = self.entry.effective_with(self.every);
        let own = own.settings();
        let shared = Plan::of(&own);
        let plan = Plan {
            budget: shared.budget,
            slots: shared.slots,
            // What is switched off stays off: no strategy says otherwise.
            retry_enabled: shared.retry_enabled,
            breaker_enabled: shared.breaker_enabled,
            windowed: shared.windowed,
            limited: shared.limited,
            ..Plan::of(&every.settings(strategy))
        };
        (own, plan)
    }
}

impl<'o, C> Source<'o, C> for Handle<'o, C> {
    type Policy = Policy<'o, C>;

    fn policy(self) -> Policy<'o, C> {
        let plan = self.plan();
        let Self { entry, meter, window, estimate, classifier, .. } = self;
        let shared = entry.shared();
        Policy::live(&plan, shared, window, (entry, estimate), meter, entry, classifier)
    }
}

impl<'o, C: Clone> Handle<'o, C> {
    /// See [`Policy::execute`]. The future is the handle's own, and as long-lived as the
    /// orchestrator.
    ///
    /// # Errors
    ///
    /// As of [`Policy::execute`].
    pub fn execute<K, F, Fut, T, E>(
        &self,
        clock: K,
        operation: F,
    ) -> Execute<'o, K, C, Plain<F>, Self, Policy<'o, C>>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Execute::new(self.clone(), clock, Plain(operation))
    }

    /// See [`Policy::execute_told`].
    ///
    /// # Errors
    ///
    /// As of [`Policy::execute`].
    pub fn execute_told<K, F, Fut, T, E>(
        &self,
        clock: K,
        operation: F,
    ) -> Execute<'o, K, C, Told<F>, Self, Policy<'o, C>>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut(Made) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Execute::new(self.clone(), clock, Told(operation))
    }

    /// See [`Policy::execute_once`].
    ///
    /// # Errors
    ///
    /// As of [`Policy::execute`].
    pub fn execute_once<K, Fut, T, E>(
        &self,
        clock: K,
        attempt: Fut,
    ) -> Execute<'o, K, C, Once<Fut>, Self, Policy<'o, C>>
    where
        K: Sleep,
        C: Classifier<E>,
        Fut: Future<Output = Result<T, E>>,
    {
        Execute::new(self.clone(), clock, Once(Some(attempt)))
    }

    /// See [`Policy::execute_or_else`].
    ///
    /// # Errors
    ///
    /// What `fallback` returns.
    pub fn execute_or_else<K, F, Fut, B, T, E, X>(
        &self,
        clock: K,
        operation: F,
        fallback: B,
    ) -> ExecuteOrElse<'o, K, C, Plain<F>, Now<B>, Self, Policy<'o, C>>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        B: FnOnce(Error<E>) -> Result<T, OrElseError<E, X>>,
    {
        self.execute(clock, operation).or_else(fallback)
    }

    /// See [`Policy::execute_or_else_async`].
    ///
    /// # Errors
    ///
    /// What `fallback`'s future ends in.
    pub fn execute_or_else_async<K, F, Fut, B, Alt, T, E, X>(
        &self,
        clock: K,
        operation: F,
        fallback: B,
    ) -> ExecuteOrElse<'o, K, C, Plain<F>, Later<B>, Self, Policy<'o, C>>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        B: FnOnce(Error<E>) -> Alt,
        Alt: Future<Output = Result<T, OrElseError<E, X>>>,
    {
        self.execute(clock, operation).or_else_async(fallback)
    }

    /// See [`Policy::execute_mut`].
    ///
    /// # Errors
    ///
    /// As of [`Policy::execute`].
    pub async fn execute_mut<T, E>(
        &self,
        clock: impl Sleep,
        operation: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classifier<E>,
    {
        execute_mut(self.clone(), clock, operation).await
    }

    /// See [`Policy::execute_blocking`].
    ///
    /// # Errors
    ///
    /// As of [`Policy::execute`].
    pub fn execute_blocking<T, E>(
        &self,
        clock: impl Wait,
        operation: impl FnMut(Made) -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classifier<E>,
    {
        execute_blocking(self.clone(), clock, operation)
    }

    /// See [`Policy::execute_blocking_or_else`].
    ///
    /// # Errors
    ///
    /// What `fallback` returns.
    pub fn execute_blocking_or_else<T, E, X>(
        &self,
        clock: impl Wait,
        operation: impl FnMut(Made) -> Result<T, E>,
        fallback: impl FnOnce(Error<E>) -> Result<T, OrElseError<E, X>>,
    ) -> Result<T, OrElseError<E, X>>
    where
        C: Classifier<E>,
    {
        execute_blocking_or_else(self.clone(), clock, operation, fallback)
    }

    /// See [`Policy::start`]: one execution, to be driven by hand.
    pub fn start<E>(&self, now: Instant, shard: usize) -> Run<'o, E, C, Policy<'o, C>> {
        Run::new(self.clone().policy(), now, shard)
    }
}

impl Registration {
    /// What a strategy comes to under these settings, which are given for every one.
    const fn settings(&self, strategy: Strategy) -> Settings {
        let none = Self::new();
        match Effective::resolve(strategy, self, &none, &none) {
            Ok(effective) => effective.settings(),
            // Never: they were checked against every strategy.
            Err(_) => strategy.settings(),
        }
    }
}
