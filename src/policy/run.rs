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
use core::time::Duration;

use super::classify::{Class, Classifier, Retry, Verdict};
use super::event::{Event, Events, Stage};
use super::operation::Made;
use super::pace::Pace;
use super::{Parts, Policy};
use crate::clock::{Instant, micros};
use crate::error::{Error, Reason};
use crate::fault;
use crate::state::settings::BreakerRef;
use crate::state::{
    Guarded as _, Meter, Outcome, Permit, Reservation, Settled, SharedSlots, Slot, Tally,
    Transition,
};

/// One execution of a policy. Dropped before its end, it counts as cancelled.
///
/// `P` is the policy: borrowed, or the run's own.
#[derive(Debug)]
pub struct Run<'p, E, C, P = &'p Policy<'p, C>> {
    policy: P,
    classifies: PhantomData<fn() -> C>,
    call: Call<'p>,
    /// As the policy says, or one.
    attempts: u32,
    made: u32,
    under_way: u8,
    retried_once: bool,
    /// In microseconds.
    previous_wait: u64,
    /// Until when the failures since an attempt last began alone asked to be left alone.
    asked_until: Option<Instant>,
    /// The least that one of those allows.
    allowed: Retry,
    last: Option<E>,
    class: Option<Class>,
}

/// Leave to make one attempt, with what it holds meanwhile. Dropped, it gives that back and says
/// nothing of the other side. A run that goes on must hear of it: [`Run::cancel`].
#[derive(Debug)]
#[must_use = "settle it, or cancel it"]
pub struct Attempt<'p> {
    // In this order they are given back.
    permit: Option<Permit<BreakerRef<'p>>>,
    slot: Option<Slot<&'p SharedSlots>>,
    meter: Option<&'p dyn Meter>,
    settled: bool,
    ends: Instant,
    /// The deadline comes before the attempt's own timeout.
    cut: bool,
    granted: Instant,
    number: u32,
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

/// How a call ended that the operation did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    GaveUp,
    FellBack,
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
        let &Policy { metrics: meter, limits, .. } = policy.borrow();
        if let Some(meter) = meter {
            meter.started(shard);
        }
        Self {
            policy,
            classifies: PhantomData,
            call: Call {
                meter,
                shard,
                began: now,
                ended: false,
                keep_open: false,
                unattempted: false,
            },
            attempts: limits.attempts,
            made: 0,
            under_way: 0,
            retried_once: false,
            previous_wait: 0,
            asked_until: None,
            allowed: Retry::Yes,
            last: None,
            class: None,
        }
    }

    /// Asks for leave to make the next attempt. There is none once the execution is over.
    ///
    /// With one under way it asks for a second one, which the retry budget pays and which only a
    /// closed breaker admits; there is never a third. The device is awake for the one under way: no
    /// wake-up is paid for the second.
    pub fn attempt(&mut self, now: Instant) -> Step<Leave<'p, E>> {
        if self.call.ended {
            return Step { next: Leave::NotNow, events: Events::new(None, None) };
        }
        if self.under_way > 0 {
            return self.second(now);
        }
        let Step { next, events } = self.alone(now);
        Step { next: next.map_or_else(Leave::Refused, Leave::Granted), events }
    }

    /// [`attempt`](Self::attempt) with none under way.
    pub(super) fn alone(&mut self, now: Instant) -> Step<Result<Attempt<'p>, Error<E>>> {
        match self.admit(now) {
            Ok(attempt) => {
                let events = self.granted(&attempt);
                Step { next: Ok(attempt), events }
            }
            Err(refusal) => {
                self.count_refusal(&refusal);
                self.no_attempt();
                let event = refusal.event(now);
                let error = self.give_up(refusal.reason, refusal.until);
                Step { next: Err(error), events: Events::new(Some(event), None) }
            }
        }
    }

    /// Takes an attempt's result, `None` if it ran out of time. `pace` is asked if there is to be a
    /// wait: a closure that gives random bits, say, or `(random, &clock)` for a clock that knows of
    /// [wake-ups](crate::Clock::next_wake_up).
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
        self.under_way = self.under_way.saturating_sub(1);
        attempt.settled = !fault::DOUBLE_COUNT;
        let (verdict, cut) = match result {
            Some(Ok(answer)) => {
                let moved = self.succeed(attempt, now);
                let events = Events::new(moved.map(Event::moved), None);
                return Step { next: Next::Done(Ok(answer)), events };
            }
            Some(Err(error)) => {
                self.tally(Tally::AttemptFailed);
                let verdict = self.policy().classifier.classify(&error);
                self.last = Some(error);
                // An operation that keeps to the time it is told cuts itself.
                let timed_out = matches!(verdict.class, Class::Timeout) && now >= attempt.ends;
                (verdict, attempt.cut && timed_out)
            }
            None => {
                self.tally(Tally::AttemptTimedOut);
                match attempt.cut {
                    true => (Verdict::of(Class::Timeout), true),
                    false => (self.policy().classifier.timed_out(), false),
                }
            }
        };
        self.class = Some(verdict.class);
        let asked_until = verdict.not_before.map(|wait| now.after(wait));
        self.asked_until = self.asked_until.max(asked_until);
        self.allowed = self.allowed.least(verdict.retry);
        if let Some(meter) = self.call.meter {
            meter.failed(self.call.shard, now, now.since(attempt.granted));
        }
        // Cut by the deadline, it might have been about to answer: it says nothing.
        let moved = match !cut && verdict.class.fails() {
            true => self.report(&mut attempt, now, Outcome::Failure),
            false => None,
        };
        // Whatever it held goes back before anything is decided on.
        drop(attempt);
        let moved = moved.map(Event::moved);
        if self.under_way > 0 || self.call.ended {
            return Step { next: Next::Pending, events: Events::new(moved, None) };
        }
        match self.again(now, verdict, cut, &pace) {
            Ok((at, wait)) => {
                let event = Event::Retry { attempt: self.made, wait, class: verdict.class };
                Step { next: Next::Retry(at), events: Events::new(moved, Some(event)) }
            }
            Err(refusal) => {
                let told = match refusal.reason {
                    Reason::Class | Reason::Attempts => None,
                    _ => {
                        self.count_refusal(&refusal);
                        Some(refusal.event(now))
                    }
                };
                let retry_at = refusal.until.max(self.refused_until(now));
                let error = self.give_up(refusal.reason, retry_at);
                Step { next: Next::Done(Err(error)), events: Events::new(moved, told) }
            }
        }
    }

    /// Takes back an attempt that was not made to its end, without ending the execution.
    pub fn cancel(&mut self, attempt: Attempt<'p>) {
        self.under_way = self.under_way.saturating_sub(1);
        drop(attempt);
    }

    /// The attempts that it made, and those under way.
    #[cfg(feature = "defmt")]
    pub(crate) const fn progress(&self) -> (u32, u8) {
        (self.made, self.under_way)
    }

    /// Ends the execution for `reason`, between two attempts.
    pub(super) fn over(&mut self, reason: Reason) -> Error<E> {
        self.give_up(reason, None)
    }

    /// Leaves the end of a call that gave up to [`end`](Self::end): a fallback comes after it.
    pub(super) const fn keep_open(&mut self) {
        self.call.keep_open = true;
    }

    /// Makes no attempt after the first.
    pub(super) const fn only_once(&mut self) {
        self.attempts = 1;
    }

    /// Ends a call that was [kept open](Self::keep_open).
    pub(super) fn end(&mut self, how: Ended) {
        self.call.end(match how {
            Ended::FellBack => Tally::CallFellBack,
            Ended::GaveUp => self.gave_up(),
        });
    }

    #[cold]
    #[inline(never)]
    fn second(&mut self, now: Instant) -> Step<Leave<'p, E>> {
        let Parts { breaker, budget, .. } = self.policy().parts;
        let closed = breaker.is_none_or(|breaker| breaker.shared().is_closed());
        if self.under_way > 1 || !closed || self.made >= self.attempts {
            return Step { next: Leave::NotNow, events: Events::new(None, None) };
        }
        if budget.is_some_and(|(rule, tokens)| !tokens.withdraw(&rule, now)) {
            self.tally(Tally::Budget);
            return Step { next: Leave::NotNow, events: Events::new(None, None) };
        }
        match self.admit(now) {
            Ok(attempt) => {
                let events = self.granted(&attempt);
                Step { next: Leave::Granted(attempt), events }
            }
            Err(refusal) => {
                self.count_refusal(&refusal);
                let events = Events::new(Some(refusal.event(now)), None);
                Step { next: Leave::NotNow, events }
            }
        }
    }

    fn granted(&mut self, attempt: &Attempt<'p>) -> Events {
        if self.made > 0 {
            self.tally(Tally::Retried);
        }
        if self.under_way == 0 {
            self.asked_until = None;
            self.allowed = Retry::Yes;
        }
        self.made += 1;
        self.under_way += 1;
        if attempt.permit.as_ref().is_some_and(Permit::shadowed) {
            self.tally(Tally::Shadowed);
        }
        let moved = attempt.permit.as_ref().and_then(Permit::transition);
        self.count_transition(moved);
        Events::new(moved.map(Event::moved), None)
    }

    /// The stages that an attempt passes, in their order.
    fn admit(&self, now: Instant) -> Result<Attempt<'p>, Refusal> {
        let (policy, ends) = (self.policy(), self.ends());
        let Parts { breaker, bulkhead, limiter, estimate, .. } = policy.parts;
        if over(now, ends) {
            return Err(Refusal::by(Stage::Time, Reason::Deadline));
        }
        if self.made >= self.attempts {
            return Err(Refusal::by(Stage::Retry, Reason::Attempts));
        }
        // A sleep may have ended late.
        if self.made > 0 && now > self.window_ends() {
            return Err(Refusal::by(Stage::Time, Reason::Window));
        }
        let open = |admits_at| Refusal {
            until: Some(admits_at),
            ..Refusal::by(Stage::Breaker, Reason::BreakerOpen)
        };
        if let Some(breaker) = breaker {
            breaker.peek(now).map_err(|refused| open(refused.admits_at))?;
        }
        let slot = match bulkhead.map(|(slots, taken)| taken.try_acquire(slots)) {
            Some(Err(_)) => return Err(Refusal::by(Stage::Bulkhead, Reason::BulkheadFull)),
            Some(Ok(slot)) => Some(slot),
            None => None,
        };
        let reserve = |limiter| Reservation::try_new(limiter, now, estimate);
        let reservation = match limiter.map(reserve) {
            Some(Err(limited)) => {
                let until = Some(limited.admits_at);
                return Err(Refusal { until, ..Refusal::by(Stage::Limiter, Reason::Limited) });
            }
            Some(Ok(reservation)) => Some(reservation),
            None => None,
        };
        let permit = match breaker.map(|breaker| Permit::try_acquire(breaker, now)) {
            Some(Err(refused)) => return Err(open(refused.admits_at)),
            Some(Ok(permit)) => Some(permit),
            None => None,
        };
        // Nothing stands between it and its beginning any more.
        let _ = reservation.map(Reservation::begin);
        let timeout = self.timeout_at(now);
        let earlier = timeout.min(ends);
        Ok(Attempt {
            permit,
            slot,
            meter: policy.metrics,
            settled: false,
            ends: earlier,
            cut: ends < timeout,
            granted: now,
            number: self.made.saturating_add(1),
        })
    }

    fn succeed(&mut self, mut attempt: Attempt<'p>, now: Instant) -> Option<Transition> {
        if now > attempt.ends {
            self.tally(Tally::Slow);
        }
        let moved = self.report(&mut attempt, now, Outcome::Success);
        if let Some((rule, tokens)) = self.policy().parts.budget {
            tokens.deposit(&rule);
        }
        if self.call.ended {
            // The other attempt answered the call already: of this one, only the breaker hears.
            self.tally(Tally::AttemptCancelled);
        }
        self.call.succeed(now, now.since(attempt.granted));
        moved
    }

    /// Settles an attempt's permit.
    fn report(
        &self,
        attempt: &mut Attempt<'p>,
        now: Instant,
        outcome: Outcome,
    ) -> Option<Transition> {
        let permit = attempt.permit.take()?;
        let settled = match self.policy().parts.window {
            None => permit.settle(now, outcome),
            Some(window) => permit.settle_with(now, outcome, now.since(attempt.granted), window),
        };
        let moved = match settled {
            Settled::Counted | Settled::Shadowed => None,
            Settled::Moved(transition) => Some(transition),
            Settled::Late => {
                self.tally(Tally::LateOutcome);
                None
            }
        };
        self.count_transition(moved);
        moved
    }

    /// When to attempt again, and after what wait, if at all.
    #[inline(never)]
    fn again(
        &mut self,
        now: Instant,
        verdict: Verdict,
        cut: bool,
        pace: &dyn Pace,
    ) -> Result<(Instant, Duration), Refusal> {
        let &Policy { limits, backoff, parts, .. } = self.policy();
        let Parts { breaker, budget, limiter, estimate, .. } = parts;
        // With two attempts under way, either may have asked.
        let asked_until = self.asked_until;
        let asked = asked_until.map(|until| until.micros_since(now));
        let asked = asked.max(verdict.not_before.map(micros));
        let no = |reason| Refusal { until: asked_until, ..Refusal::by(Stage::Retry, reason) };
        if cut {
            return Err(no(Reason::Deadline));
        }
        // Each retryable failure takes its token, whether or not a retry follows.
        let paid = matches!(verdict.retry, Retry::Never)
            || budget.is_none_or(|(rule, tokens)| tokens.withdraw(&rule, now));
        let once = match self.allowed {
            Retry::Never => return Err(no(Reason::Class)),
            Retry::Once if self.retried_once => return Err(no(Reason::Class)),
            Retry::Once => true,
            Retry::Yes => false,
        };
        if self.made >= self.attempts {
            return Err(no(Reason::Attempts));
        }
        if !paid && !fault::FREE_RETRY {
            return Err(no(Reason::Budget));
        }
        if over(now, self.ends()) {
            return Err(no(Reason::Deadline));
        }
        let (failed, previous) = (self.made, self.previous_wait);
        let wait = match asked {
            None => backoff.own(failed, previous, pace.random()),
            Some(asked) => backoff.asked(asked, failed, previous, pace.random()),
        };
        let permitted = |at| {
            if at > self.window_ends() {
                return Err(no(Reason::Window));
            }
            if over(at, self.ends()) && !fault::DEADLINE_IGNORED {
                return Err(no(Reason::Deadline));
            }
            if asked.is_some_and(|asked| asked > limits.max_asked_wait) {
                return Err(no(Reason::AskedWait));
            }
            if let Some(Err(open)) = breaker.map(|breaker| breaker.peek(at)) {
                let until = asked_until.max(Some(open.admits_at));
                return Err(Refusal { until, ..no(Reason::BreakerOpen) });
            }
            if let Some(Err(limited)) = limiter.map(|limiter| limiter.look(at, estimate)) {
                let until = asked_until.max(Some(limited.admits_at));
                return Err(Refusal { until, ..no(Reason::Limited) });
            }
            Ok(())
        };
        let earliest = now.plus(wait);
        // Without a wait, the device is awake.
        let sleeps = earliest > now;
        let aligned = if sleeps { pace.next_wake_up(earliest) } else { earliest };
        // No time is taken from the attempt for it.
        let aligns = aligned > earliest && self.timeout_at(aligned) <= self.ends();
        let mut at = if aligns { aligned } else { earliest };
        while let Err(refusal) = permitted(at) {
            if at == earliest {
                return Err(refusal);
            }
            at = earliest;
        }
        // Asked last: what is charged is used.
        if sleeps && !pace.pay_for_wake_up(now, at) {
            return Err(no(Reason::Budget));
        }
        self.retried_once |= once;
        // Not the aligned one, by which jitter would grow.
        self.previous_wait = wait;
        Ok((at, at.since(now)))
    }

    #[cold]
    #[inline(never)]
    fn give_up(&mut self, stopped: Reason, retry_at: Option<Instant>) -> Error<E> {
        if !self.call.keep_open {
            self.call.end(self.gave_up());
        }
        let (last, class) = (self.last.take(), self.class);
        Error { last, stopped, attempts: self.made, retry_at: known(retry_at), class }
    }

    const fn gave_up(&self) -> Tally {
        if self.made == 0 { Tally::CallRefused } else { Tally::CallFailed }
    }

    /// Until when the breaker refuses, if it does.
    fn refused_until(&self, now: Instant) -> Option<Instant> {
        Some(self.policy().parts.breaker?.peek(now).err()?.admits_at)
    }

    fn ends(&self) -> Instant {
        self.call.began.plus(self.policy().limits.deadline)
    }

    /// When an attempt that begins at `at` runs out of its own time.
    fn timeout_at(&self, at: Instant) -> Instant {
        at.plus(self.policy().limits.attempt_timeout)
    }

    fn window_ends(&self) -> Instant {
        self.call.began.plus(self.policy().limits.window)
    }

    /// Tells the policy's observer.
    pub(super) fn tell(&self, events: &Events) {
        self.policy().tell(events);
    }

    fn policy(&self) -> &Policy<'p, C> {
        self.policy.borrow()
    }

    fn count_refusal(&self, refusal: &Refusal) {
        if let Some(what) = refusal.tally() {
            self.tally(what);
        }
    }

    fn count_transition(&self, moved: Option<Transition>) {
        match moved {
            Some(Transition::Opened) => self.tally(Tally::Opened),
            Some(Transition::HalfOpened) => self.tally(Tally::HalfOpened),
            Some(Transition::Closed) => self.tally(Tally::Closed),
            None => {}
        }
    }
}

impl<E, C, P> Run<'_, E, C, P> {
    /// Enters in the books, once, that this call made no attempt, if it has not.
    fn no_attempt(&mut self) {
        if self.made == 0 && !self.call.unattempted {
            self.call.unattempted = true;
            self.tally(Tally::Unattempted);
        }
    }

    #[inline(never)] // Mostly there is nobody to tell.
    fn tally(&self, what: Tally) {
        if let Some(meter) = self.call.meter {
            meter.count(what);
        }
    }
}

impl Attempt<'_> {
    /// When it must have ended: [`Instant::MAX`] where there is no limit.
    #[must_use]
    pub const fn ends(&self) -> Instant {
        self.ends
    }

    /// Its number and its time.
    #[must_use]
    pub const fn made(&self) -> Made {
        let time_left = match self.ends.as_micros() {
            u64::MAX => Duration::MAX,
            _ => self.ends.since(self.granted),
        };
        Made::new(self.number, time_left)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        // The permit first: whoever finds the slot free finds the breaker as it is then.
        drop(self.permit.take());
        drop(self.slot.take());
        if let (false, Some(meter)) = (self.settled, self.meter) {
            meter.count(Tally::AttemptCancelled);
        }
    }
}

/// A call's entry in the books, closed when dropped.
#[derive(Debug)]
struct Call<'p> {
    meter: Option<&'p dyn Meter>,
    shard: usize,
    began: Instant,
    ended: bool,
    keep_open: bool,
    unattempted: bool,
}

impl Call<'_> {
    fn succeed(&mut self, now: Instant, attempt: Duration) {
        if let (false, Some(meter)) = (self.ended, self.meter) {
            meter.succeeded(self.shard, now, now.since(self.began), attempt);
        }
        self.ended = true;
    }

    /// Ends it, unless it has ended already.
    fn end(&mut self, how: Tally) {
        if let (false, Some(meter)) = (self.ended, self.meter) {
            meter.count(how);
        }
        self.ended = true;
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.end(Tally::CallCancelled);
    }
}

impl<E, C, P> Drop for Run<'_, E, C, P> {
    fn drop(&mut self) {
        self.no_attempt();
    }
}

/// Whether `at` is past what ends at `ends`, of which [`Instant::MAX`] never does.
fn over(at: Instant, ends: Instant) -> bool {
    at >= ends && ends != Instant::MAX
}

/// Nobody knows when a breaker that is forced open will admit.
fn known(until: Option<Instant>) -> Option<Instant> {
    until.filter(|until| *until < Instant::MAX)
}

/// Why an attempt is not made.
struct Refusal {
    stage: Stage,
    reason: Reason,
    until: Option<Instant>,
}

impl Refusal {
    const fn by(stage: Stage, reason: Reason) -> Self {
        Self { stage, reason, until: None }
    }

    #[cold]
    #[inline(never)]
    fn event(&self, now: Instant) -> Event {
        let wait = known(self.until).map(|until| until.since(now));
        Event::Refused { stage: self.stage, reason: self.reason, wait }
    }

    /// What it counts as, unless the execution's own attempts are what is spent.
    const fn tally(&self) -> Option<Tally> {
        Some(match self.reason {
            Reason::BreakerOpen => Tally::BreakerOpen,
            Reason::Gated => Tally::Gated,
            Reason::BulkheadFull => Tally::BulkheadFull,
            Reason::Limited if fault::UNCOUNTED_LIMIT && matches!(self.stage, Stage::Retry) => {
                return None;
            }
            Reason::Limited => Tally::Limited,
            Reason::Budget => Tally::Budget,
            Reason::Window => Tally::Window,
            Reason::Deadline => Tally::Deadline,
            Reason::AskedWait => Tally::AskedWait,
            Reason::Class | Reason::Attempts => return None,
        })
    }
}
