//! What a policy says, but for how it tells errors apart.
//!
//! What only some policies have is behind a pointer that the method sets which gives it: an image that
//! never calls that method does not link it.

use core::fmt;

use super::attempt::{Attempt, Held};
use super::backoff::Schedule;
use super::books::count;
use super::event::Observe;
use super::plan::Limits;
use super::progress::{Books, Progress};
use crate::clock::Instant;
use crate::error::Reason;
use crate::state::pass::{BreakerRef, Pass};
use crate::state::{
    BudgetRule, Evidence, Guarded as _, Limit, Meter, Outcome, Reservation, Settled, SharedSlots,
    SharedTokens, Transition,
};

#[derive(Clone, Copy)]
pub(super) struct Terms<'s> {
    pub(super) limits: Limits,
    pub(super) schedule: Schedule,
    pub(super) breaker: Option<BreakerRef<'s>>,
    pub(super) budget: Option<(BudgetRule, &'s dyn Purse)>,
    pub(super) bulkhead: Option<(u32, &'s SharedSlots)>,
    pub(super) limiter: Option<&'s dyn Limit>,
    /// Tokens that an attempt is taken to need.
    pub(super) estimate: u32,
    /// How all of these are asked.
    pub(super) gates: &'static Gates,
    pub(super) window: Option<(&'s dyn Evidence, SettleWith)>,
    pub(super) books: Option<Books<'s>>,
    pub(super) observer: Option<(&'s dyn Observe, Tell)>,
}

/// What an attempt passes that other callers pass, too.
#[derive(Debug)]
pub(super) struct Gates {
    /// Passes them, or says which refuses, and until when: what earlier ones granted goes back.
    pub(super) enter: Enter,
    /// Whether an attempt at that instant would pass.
    pub(super) foresee: Foresee,
}

type Enter = for<'p> fn(&mut Progress<'p>, &Terms<'p>, &mut Attempt<'p>) -> Result<(), Reason>;
type Foresee = for<'p> fn(&mut Progress<'p>, &Terms<'p>, Instant) -> Result<(), Reason>;
type Tell = fn(&dyn Observe, &Progress<'_>);
type SettleWith =
    fn(&dyn Evidence, &Progress<'_>, &Attempt<'_>, Pass<'_>, &BreakerRef<'_>, Outcome) -> Settled;

/// What retries are paid from.
pub(super) trait Purse: Sync {
    fn withdraw(&self, rule: &BudgetRule, now: Instant) -> bool;
    fn deposit(&self, rule: &BudgetRule);
    fn give_back(&self, rule: &BudgetRule);
}

impl<'s> Terms<'s> {
    /// One attempt, no limits, nothing shared.
    pub(super) const NONE: Self = Self {
        limits: Limits::NONE,
        schedule: Schedule::NONE,
        breaker: None,
        budget: None,
        bulkhead: None,
        limiter: None,
        estimate: 0,
        gates: &Gates { enter: take_permit, foresee: foresee_permit },
        window: None,
        books: None,
        observer: None,
    };

    pub(super) const fn with_bulkhead(self, slots: u32, taken: &'s SharedSlots) -> Self {
        Self { bulkhead: Some((slots, taken)), gates: ALL, ..self }
    }

    pub(super) const fn with_limiter(self, limiter: &'s dyn Limit) -> Self {
        Self { limiter: Some(limiter), gates: ALL, ..self }
    }

    pub(super) const fn with_window(self, window: &'s dyn Evidence) -> Self {
        Self { window: Some((window, settle_with)), ..self }
    }

    pub(super) const fn with_metrics(self, meter: &'s dyn Meter) -> Self {
        Self { books: Some(Books { meter, count }), ..self }
    }

    pub(super) const fn with_observer(self, observer: &'s dyn Observe) -> Self {
        Self { observer: Some((observer, tell)), ..self }
    }

    /// When an attempt that begins at `at` runs out of its own time.
    pub(super) const fn timeout_at(&self, at: Instant) -> Instant {
        at.plus(self.limits.attempt_timeout)
    }
}

impl fmt::Debug for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Terms")
            .field("limits", &self.limits)
            .field("backoff", &self.schedule.backoff)
            .field("breaker", &self.breaker)
            .field("budget", &self.budget)
            .field("bulkhead", &self.bulkhead)
            .field("window", &self.window.map(|(window, _)| window))
            .field("limiter", &self.limiter)
            .field("estimate", &self.estimate)
            .finish_non_exhaustive()
    }
}

impl Purse for SharedTokens {
    fn withdraw(&self, rule: &BudgetRule, now: Instant) -> bool {
        self.withdraw(rule, now)
    }

    fn deposit(&self, rule: &BudgetRule) {
        self.deposit(rule);
    }

    fn give_back(&self, rule: &BudgetRule) {
        self.give_back(rule);
    }
}

// By hand, as of the other traits: see `Meter`.
impl fmt::Debug for dyn Purse + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Purse")
    }
}

fn take_permit<'p>(
    progress: &mut Progress<'p>,
    terms: &Terms<'p>,
    attempt: &mut Attempt<'p>,
) -> Result<(), Reason> {
    match terms.breaker.as_ref().map(|breaker| Pass::try_acquire(breaker, progress.now)) {
        Some(Err(open)) => {
            progress.until = open.admits_at;
            return Err(Reason::BreakerOpen);
        }
        Some(Ok((pass, half_opened))) => {
            attempt.pass = Some(pass);
            if half_opened {
                progress.settled = Settled::Moved(Transition::HalfOpened);
            }
        }
        None => {}
    }
    Ok(())
}

pub(super) fn foresee_permit(
    progress: &mut Progress<'_>,
    terms: &Terms<'_>,
    at: Instant,
) -> Result<(), Reason> {
    let now = progress.now;
    let seen = terms.breaker.as_ref().map_or(Ok(()), |breaker| breaker.foresee(now, at));
    seen.map_err(|open| {
        progress.until = progress.until.max(open.admits_at);
        Reason::BreakerOpen
    })
}

fn pass_all<'p>(
    progress: &mut Progress<'p>,
    terms: &Terms<'p>,
    attempt: &mut Attempt<'p>,
) -> Result<(), Reason> {
    if let Some(Err(open)) = terms.breaker.as_ref().map(|breaker| breaker.peek(progress.now)) {
        progress.until = open.admits_at;
        return Err(Reason::BreakerOpen);
    }
    if let Some((slots, taken)) = terms.bulkhead {
        if !taken.take(slots) {
            return Err(Reason::BulkheadFull);
        }
        attempt.slot = Some(Held { slots: taken, give_back: SharedSlots::give_back });
    }
    let passed = pass_limiter(progress, terms, attempt);
    if passed.is_err() {
        attempt.give_back();
    }
    passed
}

fn pass_limiter<'p>(
    progress: &mut Progress<'p>,
    terms: &Terms<'p>,
    attempt: &mut Attempt<'p>,
) -> Result<(), Reason> {
    let Some(limiter) = terms.limiter else { return take_permit(progress, terms, attempt) };
    match Reservation::try_new(limiter, progress.now, terms.estimate) {
        Ok(reservation) => {
            take_permit(progress, terms, attempt)?;
            // Nothing stands between it and its beginning any more.
            let _ = reservation.begin();
            Ok(())
        }
        Err(limited) => {
            progress.until = limited.admits_at;
            Err(Reason::Limited)
        }
    }
}

fn foresee_all(progress: &mut Progress<'_>, terms: &Terms<'_>, at: Instant) -> Result<(), Reason> {
    foresee_permit(progress, terms, at)?;
    let seen = terms.limiter.map(|limiter| limiter.foresee(progress.now, at, terms.estimate));
    if let Some(Err(limited)) = seen {
        progress.until = progress.until.max(limited.admits_at);
        return Err(Reason::Limited);
    }
    Ok(())
}

fn settle_with(
    window: &dyn Evidence,
    progress: &Progress<'_>,
    attempt: &Attempt<'_>,
    pass: Pass<'_>,
    breaker: &BreakerRef<'_>,
    outcome: Outcome,
) -> Settled {
    let took = progress.now.since(attempt.granted);
    pass.settle_with(breaker, progress.now, (outcome, took), window)
}

fn tell(observer: &dyn Observe, progress: &Progress<'_>) {
    progress.events().iter().for_each(|event| observer.observe(event));
}

const ALL: &Gates = &Gates { enter: pass_all, foresee: foresee_all };
