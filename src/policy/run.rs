//! One execution as a machine without I/O: a driver brings the time and does the waiting.
//!
//! ```
//! use steadfast::{Clock, ManualClock, Policy};
//! use steadfast::policy::{Leave, Next};
//! # fn operation() -> Result<u8, u8> { Ok(1) }
//! # fn wait_until(_: steadfast::Instant) {}
//!
//! let (policy, clock) = (Policy::new().retry_all(), ManualClock::new());
//! let mut run = policy.start(clock.now(), clock.shard_hint());
//! let result = loop {
//!     let attempt = match run.attempt(clock.now()).next {
//!         Leave::Granted(attempt) => attempt,
//!         Leave::Refused(error) => break Err(error),
//!         Leave::NotNow => continue, // only while another attempt is under way
//!     };
//!     // The random bits are asked for if there is a wait.
//!     match run.settle(attempt, clock.now(), Some(operation()), || 4).next {
//!         Next::Done(result) => break result,
//!         Next::Retry(at) => wait_until(at),
//!         Next::Pending => {} // only while another attempt is under way
//!     }
//! };
//! assert_eq!(result, Ok(1));
//! ```

use core::borrow::Borrow;
use core::marker::PhantomData;

use super::Policy;
use super::attempt::Attempt;
use super::classify::{Class, Classifier, Verdict};
use super::event::Events;
use super::pace::Pace;
use super::progress::{Came, Ended, Progress};
use crate::clock::Instant;
use crate::error::Error;

/// One execution of a policy. Dropped before its end, it counts as cancelled.
///
/// `P` is the policy: borrowed, or the run's own.
#[derive(Debug)]
pub struct Run<'p, E, C, P = &'p Policy<'p, C>> {
    progress: Progress<'p>,
    last: Option<E>,
    policy: P,
    classifies: PhantomData<fn() -> C>,
}

/// What came of it, and what to tell an observer before going on.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "it says what to do next"]
pub struct Step<N> {
    /// What to do next.
    pub next: N,
    /// What happened.
    pub events: Events,
}

/// The answer to a request to make an attempt.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Leave<'p, E> {
    /// Go ahead.
    Granted(Attempt<'p>),
    /// The execution is over.
    Refused(Error<E>),
    /// No second attempt now; the one under way goes on.
    NotNow,
}

/// What follows an attempt.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Next<T, E> {
    /// The execution is over.
    Done(Result<T, Error<E>>),
    /// Make another attempt at this instant.
    Retry(Instant),
    /// Another attempt is still under way.
    Pending,
}

impl<'s, C> Policy<'s, C> {
    /// Begins one execution, to be driven by hand. `shard` is the clock's
    /// [`shard_hint`](crate::Clock::shard_hint).
    pub fn start<E>(&self, now: Instant, shard: usize) -> Run<'_, E, C> {
        Run::new(self, now, shard)
    }
}

impl<'p, E, C, P: Borrow<Policy<'p, C>>> Run<'p, E, C, P> {
    pub(crate) fn new(policy: P, now: Instant, shard: usize) -> Self {
        let progress = Progress::begun(&policy.borrow().terms, now, shard);
        Self { progress, last: None, policy, classifies: PhantomData }
    }

    /// Asks for leave to make the next attempt. There is none once the execution is over.
    ///
    /// With one under way it asks for a second one, which the retry budget pays and which only a
    /// closed breaker admits; there is never a third. A failure of one beside the one under way is
    /// heeded: if its class does not say yes, or the service asked for a wait, there is none before
    /// that. The device is awake for the one under way: no wake-up is paid for the second.
    pub fn attempt(&mut self, now: Instant) -> Step<Leave<'p, E>> {
        if self.progress.ended {
            return Step { next: Leave::NotNow, events: Events::new(None, None) };
        }
        let mut attempt = Attempt::none();
        self.progress.now = now;
        let (terms, progress) = (&self.policy.borrow().terms, &mut self.progress);
        let (granted, alone) = match (progress.under_way, progress.undecided) {
            (0, false) => (progress.ask(terms, &mut attempt), true),
            (0, true) => (progress.ask_after_failure(terms, &mut attempt), true),
            _ => (progress.second(terms, &mut attempt), false),
        };
        let next = match granted {
            true => Leave::Granted(attempt),
            false if alone => Leave::Refused(progress.error(self.last.take())),
            false => Leave::NotNow,
        };
        Step { next, events: self.progress.events() }
    }

    /// Takes the result of one of its attempts, `None` if it ran out of time. `pace` is asked if there
    /// is to be a wait: a closure that gives random bits, say, or `(random, &clock)` for a clock that
    /// knows of [wake-ups](crate::Clock::next_wake_up).
    ///
    /// The breaker of another policy's attempt is told nothing of it.
    pub fn settle<T>(
        &mut self,
        mut attempt: Attempt<'p>,
        now: Instant,
        result: Option<Result<T, E>>,
        pace: impl Pace,
    ) -> Step<Next<T, E>>
    where
        C: Classifier<E>,
    {
        let next = self.take(&mut attempt, now, result, &pace);
        Step { next, events: self.progress.events() }
    }

    /// Takes back an attempt that was not made to its end, without ending the execution.
    ///
    /// If another one had failed beside it, [`attempt`](Self::attempt) asks as after that failure: it is
    /// refused where the class allows none, where the budget does not pay, or before the service's wait
    /// is over.
    pub fn cancel(&mut self, attempt: Attempt<'p>) {
        self.progress.under_way = self.progress.under_way.saturating_sub(1);
        drop(attempt);
    }

    /// [`attempt`](Self::attempt) with none under way, of which the policy's observer is told.
    pub(super) fn ask_and_tell(
        &mut self,
        now: Instant,
        attempt: &mut Attempt<'p>,
    ) -> Result<(), Error<E>> {
        let leave = self.ask(now, attempt);
        self.progress.tell(&self.policy.borrow().terms);
        leave
    }

    /// [`settle`](Self::settle), of which the policy's observer is told.
    pub(super) fn settle_and_tell<T>(
        &mut self,
        attempt: &mut Attempt<'p>,
        now: Instant,
        result: Option<Result<T, E>>,
        pace: &dyn Pace,
    ) -> Next<T, E>
    where
        C: Classifier<E>,
    {
        let next = self.take(attempt, now, result, pace);
        self.progress.tell(&self.policy.borrow().terms);
        next
    }

    fn ask(&mut self, now: Instant, attempt: &mut Attempt<'p>) -> Result<(), Error<E>> {
        self.progress.now = now;
        match self.progress.ask(&self.policy.borrow().terms, attempt) {
            true => Ok(()),
            false => Err(self.progress.error(self.last.take())),
        }
    }

    fn take<T>(
        &mut self,
        attempt: &mut Attempt<'p>,
        now: Instant,
        result: Option<Result<T, E>>,
        pace: &dyn Pace,
    ) -> Next<T, E>
    where
        C: Classifier<E>,
    {
        let Self { progress, last, policy, .. } = self;
        let policy = (*policy).borrow();
        progress.now = now;
        match settled(progress, policy, attempt, result, last, pace) {
            Ok(answer) => Next::Done(Ok(answer)),
            Err(Came::Again) => Next::Retry(progress.until),
            Err(Came::GaveUp) => Next::Done(Err(progress.error(last.take()))),
            Err(Came::Nothing | Came::Refused) => Next::Pending,
        }
    }

    /// The attempts that it made, and those under way.
    #[cfg(feature = "defmt")]
    pub(crate) const fn progress(&self) -> (u32, u8) {
        (self.progress.made, self.progress.under_way)
    }

    /// Leaves the end of a call that gave up to [`end`](Self::end): a fallback comes after it.
    pub(super) const fn keep_open(&mut self) {
        self.progress.keep_open = true;
    }

    /// Ends a call that was [kept open](Self::keep_open).
    pub(super) fn end(&mut self, how: Ended) {
        self.progress.end(how);
    }
}

/// Has `progress` take what came of `attempt`: its answer, or what came of that.
pub(super) fn settled<'p, T, E, C: Classifier<E>>(
    progress: &mut Progress<'p>,
    policy: &Policy<'p, C>,
    attempt: &mut Attempt<'p>,
    result: Option<Result<T, E>>,
    last: &mut Option<E>,
    pace: &dyn Pace,
) -> Result<T, Came> {
    let Policy { terms, classifier } = policy;
    let (verdict, returned) = match result {
        Some(Ok(answer)) => {
            progress.succeed(terms, attempt);
            return Ok(answer);
        }
        Some(Err(error)) => {
            let verdict = classifier.classify(&error);
            *last = Some(error);
            (verdict, true)
        }
        None if attempt.cut => (Verdict::of(Class::Timeout), false),
        None => (classifier.timed_out(), false),
    };
    Err(progress.fail(terms, attempt, &verdict, returned, pace))
}
