//! What the main loop and the interrupt share, and how it must add up.

use core::cell::UnsafeCell;
use core::time::Duration;

use critical_section::CriticalSection;
use portable_atomic::{AtomicU32, Ordering};
use steadfast::orchestrator::{Key, Registration};
use steadfast::state::{COUNT_ONLY, Mode, NO_WINDOW, Outcome, Phase, Snapshot};
use steadfast::{
    Breaker, Budget, BudgetRule, Bulkhead, Instant, Metrics, Orchestrator, Rule, Strategy, Trip,
};

use super::party::Seen;
use super::settings;

pub(crate) struct World {
    pub(crate) breaker: Breaker,
    /// One that is told what to do as well, and whose probes may be replaced.
    pub(crate) forced: Breaker,
    pub(crate) bulkhead: Bulkhead,
    pub(crate) budget: Budget,
    pub(crate) metrics: Metrics<COUNT_ONLY>,
    pub(crate) table: Orchestrator<4, COUNT_ONLY, 1, NO_WINDOW>,
}

/// The static that holds one world after the other.
pub(crate) struct Stage(UnsafeCell<World>);

// SAFETY: a world is made of words that calls share; it is replaced by `renew` alone.
unsafe impl Sync for Stage {}

impl Stage {
    pub(crate) const fn new() -> Self {
        Self(UnsafeCell::new(World::NEW))
    }

    pub(crate) fn world(&self) -> &World {
        // SAFETY: `renew` is told when nobody has such a reference.
        unsafe { &*self.0.get() }
    }

    /// Puts a new world into its place.
    ///
    /// # Safety
    ///
    /// Nobody has a reference to the old one, or will use it. The interrupt is kept out.
    pub(crate) unsafe fn renew(&self, _: CriticalSection<'_>) {
        // SAFETY: as above.
        unsafe { self.0.get().write(World::NEW) };
    }
}

static MILLIS: AtomicU32 = AtomicU32::new(0);

pub(crate) fn now() -> Instant {
    Instant::from_micros(u64::from(MILLIS.load(Ordering::Relaxed)) * 1_000)
}

pub(crate) fn pass(millis: u32) {
    MILLIS.fetch_add(millis, Ordering::Relaxed);
}

impl World {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use makes another")]
    const NEW: Self = Self {
        breaker: Breaker::with_rule(RULE.lease(Duration::from_secs(3_600))),
        forced: Breaker::with_rule(RULE),
        bulkhead: Bulkhead::new(SLOTS),
        budget: Budget::with_rule(BudgetRule::new(TOKENS, 1_000, Duration::ZERO)),
        metrics: Metrics::new(),
        table: Orchestrator::new().operation(CALLED, CALLS).operation(LIVE, settings::FIRST),
    };

    /// That what both saw is what there is, and that nothing is held or wedged.
    // Inlined, it would take from the stack of whoever is interrupted.
    #[inline(never)]
    pub(crate) fn adds_up(&self, main: &Seen, interrupt: &Seen) {
        let seen = main.plus(interrupt);
        assert_eq!(self.bulkhead.taken(), 0, "slots are taken");
        assert_eq!(self.budget.tokens(), TOKENS - seen.withdrawn + seen.deposited, "tokens");

        if let Phase::HalfOpen { in_flight, .. } = self.breaker.circuit().phase() {
            assert_eq!(in_flight, 0, "probes are under way that nobody makes");
        }
        let open = matches!(self.breaker.circuit().phase(), Phase::Open { .. });
        assert_eq!(seen.opened, seen.half_opened + u32::from(open), "transitions");
        assert!(seen.closed <= seen.half_opened, "closed more often than half-open");

        let counted = self.metrics.raw();
        assert_eq!(counted.breaker.opened, seen.opened.into(), "openings");
        assert_eq!(counted.breaker.half_opened, seen.half_opened.into(), "half-openings");
        assert_eq!(counted.breaker.closed, seen.closed.into(), "closings");
        assert_eq!(counted.breaker.late_outcomes, seen.late.into(), "late outcomes");
        assert_eq!(tallied(&[counted]), seen.guarded.tallied(), "guarded calls");
        let [called, live] = [CALLED, LIVE].map(|name| self.table.metrics(name).map(Metrics::raw));
        let (Ok(called), Ok(live)) = (called, live) else { panic!("an operation is gone") };
        assert_eq!(tallied(&[called, live]), seen.executed.tallied(), "executions");
        for counted in [called, live] {
            let opened = counted.breaker.opened - counted.breaker.half_opened;
            assert!(opened <= 1, "transitions of an operation");
        }

        let mut there = 2;
        for (at, name) in NEW_NAMES.into_iter().enumerate() {
            let registered = seen.registered & 1 << at != 0;
            assert_eq!(self.table.get(name).is_ok(), registered, "registered names");
            there += usize::from(registered);
        }
        assert_eq!(self.table.len(), there, "names in the table");
        for name in [LIVE].iter().chain(&NEW_NAMES) {
            if let Ok(effective) = self.table.effective(name) {
                settings::assert_whole(&effective.settings());
            }
        }

        let _ = self.forced.force(now(), Mode::Normal);
        for breaker in [&self.breaker, &self.forced] {
            assert!((0..3).any(|_| closes(breaker)), "a breaker is wedged");
        }
    }
}

/// Makes a probe that succeeds, if it may, and tells whether the breaker is closed then.
fn closes(breaker: &Breaker) -> bool {
    // A slot that a probe left taken by coming too late is free when the lease is over.
    pass(10_000);
    if let Ok(permit) = breaker.try_acquire(now()) {
        let _ = permit.settle(now(), Outcome::Success);
    }
    matches!(breaker.circuit().phase(), Phase::Closed { .. })
}

/// Calls that succeeded, failed, were refused, cancelled, are under way; attempts the same.
fn tallied(counted: &[Snapshot]) -> [u64; 8] {
    counted.iter().fold([0; 8], |sum, Snapshot { calls, attempts, .. }| {
        let [a, b, c, d, e, f, g, h] = sum;
        [
            a + calls.started,
            b + calls.succeeded,
            c + calls.failed,
            d + calls.refused,
            e + calls.cancelled,
            f + calls.in_flight,
            g + attempts.started,
            h + attempts.in_flight,
        ]
    })
}

/// Executed by, and never changed.
pub(crate) const CALLED: &str = "called";
/// Executed by, and configured all the time.
pub(crate) const LIVE: &str = "live";
/// Registered some time or other.
pub(crate) const NEW_NAMES: [&str; 2] = ["one", "two"];
pub(crate) const SLOTS: u32 = 1;
const TOKENS: u32 = 10_000;
const RULE: Rule = Rule::new(Trip::after(2).of_last(4), Duration::from_millis(50))
    .probes(2)
    .lease(Duration::from_millis(50))
    .open_growth(20, Duration::from_millis(400));
const CALLS: Registration = Registration::by(Strategy::Aggressive)
    .given(Key::Attempts, 3)
    .given(Key::Multiplier, 1_000)
    .given(Key::Min, 1_000)
    .given(Key::Max, 8_000)
    .given(Key::Jitter, 1_000)
    .given(Key::Failures, 3)
    .given(Key::OpenFor, 50_000)
    .given(Key::Probes, 2)
    .given(Key::Slots, 1)
    .given(Key::Tokens, 100);
