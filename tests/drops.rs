//! An execution dropped at any await point gives everything back, and says nothing.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use core::cell::Cell;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use steadfast::state::{BudgetRule, COUNT_ONLY, Outcome, Phase};
use steadfast::{
    Backoff, Breaker, Budget, Bulkhead, Class, Clock as _, Error, ManualClock, Metrics,
    OrElseError, Policy, Sleep as _, Trip,
};

use common::{Fault, at, fault, poll, secs, yields};

#[test]
fn an_execution() {
    everywhere(|world, policy| {
        Box::pin(async { over(policy.execute(&world.clock, || world.attempt()).await) })
    });
}

#[test]
fn an_execution_that_is_told() {
    everywhere(|world, policy| {
        Box::pin(async { over(policy.execute_told(&world.clock, |_| world.attempt()).await) })
    });
}

#[test]
fn an_execution_of_one_future() {
    for world in [World::closed, World::half_open] {
        let pending = dropped_everywhere(world, |world, policy| {
            Box::pin(async { over(policy.execute_once(&world.clock, world.attempt()).await) })
        });
        assert!(pending.attempt && !pending.wait, "{pending:?}");
    }
}

#[test]
fn an_execution_by_an_async_closure() {
    everywhere(|world, policy| {
        Box::pin(async {
            over(policy.execute_mut(&world.clock, async || world.attempt().await).await);
        })
    });
}

#[test]
fn an_execution_with_a_fallback() {
    everywhere(|world, policy| {
        let fallback = |_: Error<Fault>| Ok::<_, OrElseError<Fault, ()>>(1);
        Box::pin(async move {
            let operation = || world.attempt();
            over(policy.execute_or_else(&world.clock, operation, fallback).await);
        })
    });
}

#[test]
fn an_execution_with_a_fallback_that_takes_its_time() {
    for world in [World::closed, World::half_open] {
        let pending = dropped_everywhere(world, |world, policy| {
            let fallback = |_: Error<Fault>| async {
                world.in_fallback.set(true);
                yields(3).await;
                world.clock().sleep_until(world.clock.now().after(secs(3))).await;
                world.in_fallback.set(false);
                Ok::<_, OrElseError<Fault, ()>>(1)
            };
            Box::pin(async move {
                let operation = || world.attempt();
                over(policy.execute_or_else_async(&world.clock, operation, fallback).await);
            })
        });
        let all = Pending { attempt: true, timer: true, wait: true, fallback: true };
        assert_eq!(pending, all);
    }
}

#[test]
fn an_operation_is_dropped_before_its_permit_and_slot_go_back() {
    struct Ends<'w>(&'w World, &'w Cell<Option<(u32, Phase)>>);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.1.set(Some((self.0.bulkhead.taken(), self.0.breaker.circuit().phase())));
        }
    }
    let (world, seen) = (World::half_open(), Cell::new(None));
    let policy = world.policy();
    let hanging = || async {
        let _ends = Ends(&world, &seen);
        core::future::pending::<Result<u8, Fault>>().await
    };
    let still_held = Some((1, Phase::HalfOpen { in_flight: 1, succeeded: 0 }));
    let mut execution = Box::pin(policy.execute(&world.clock, hanging));
    assert!(poll(execution.as_mut()).is_pending());
    drop(execution);
    assert_eq!(seen.take(), still_held);
    let mut execution = Box::pin(policy.execute_mut(&world.clock, hanging));
    assert!(poll(execution.as_mut()).is_pending());
    drop(execution);
    assert_eq!(seen.take(), still_held);
    assert_eq!(world.bulkhead.taken(), 0);
}

// --- Dropped after 0, 1, 2, … polls ---------------------------------------------------------------

/// Where an execution was found to be when it was dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pending {
    attempt: bool,
    timer: bool,
    wait: bool,
    fallback: bool,
}

/// Drops an execution with retries at each of its points, as a first call and as a probe.
fn everywhere(begin: impl for<'w> Fn(&'w World, &'w Policy<'w>) -> Running<'w>) {
    for world in [World::closed, World::half_open] {
        let pending = dropped_everywhere(world, &begin);
        assert!(pending.attempt && pending.timer && pending.wait, "{pending:?}");
    }
}

/// Polls an execution n times, half a second apart, and drops it, for n = 0, 1, 2, … until it ends.
fn dropped_everywhere(
    world: fn() -> World,
    begin: impl for<'w> Fn(&'w World, &'w Policy<'w>) -> Running<'w>,
) -> Pending {
    let mut pending = Pending::default();
    for polls in 0.. {
        assert!(polls < 200, "it ends some time");
        let world = world();
        let policy = world.policy();
        let mut execution = begin(&world, &policy);
        let ended = (0..polls).any(|_| {
            let ended = poll(execution.as_mut()).is_ready();
            world.clock.advance(Duration::from_millis(500));
            ended
        });

        let before = world.metrics.snapshot();
        let phase = world.breaker.circuit().phase();
        let tokens = world.budget.tokens();
        assert_eq!(u64::from(world.bulkhead.taken()), before.attempts.in_flight, "{polls} polls");
        if !ended && polls > 0 {
            let attempt = before.attempts.in_flight == 1;
            pending.attempt |= attempt;
            pending.timer |= attempt && world.hangs.get();
            pending.fallback |= world.in_fallback.get();
            pending.wait |= !attempt && !world.in_fallback.get();
        }

        drop(execution);
        let after = world.metrics.snapshot();
        assert_eq!(world.bulkhead.taken(), 0, "{polls} polls");
        assert_eq!(world.budget.tokens(), tokens, "{polls} polls");
        match (phase, world.breaker.circuit().phase()) {
            (Phase::HalfOpen { .. }, now) => {
                assert_eq!(now, Phase::HalfOpen { in_flight: 0, succeeded: 0 }, "{polls} polls");
                let probe = world.breaker.try_acquire(world.clock.now());
                assert!(probe.is_ok(), "{polls} polls: at once, and not after a lease");
            }
            (before, now) => assert_eq!(now, before, "{polls} polls: it says nothing"),
        }

        let (calls, attempts) = (after.calls, after.attempts);
        assert_eq!(calls.started, u64::from(polls > 0), "{polls} polls");
        assert_eq!(calls.cancelled, u64::from(polls > 0 && !ended), "{polls} polls");
        assert_eq!(calls.finished(), u64::from(ended), "{polls} polls");
        assert_eq!(calls.in_flight, 0, "{polls} polls");
        assert_eq!(attempts.started, u64::from(world.made.get()), "{polls} polls");
        assert_eq!(attempts.cancelled, before.attempts.in_flight, "{polls} polls");
        let (failed, timed_out) = (before.attempts.failed, before.attempts.timed_out);
        assert_eq!((attempts.failed, attempts.timed_out), (failed, timed_out), "{polls} polls");
        assert_eq!(attempts.in_flight, 0, "{polls} polls");
        if ended {
            return pending;
        }
    }
    unreachable!("it ends some time")
}

/// What an execution shares with others.
struct World {
    clock: ManualClock,
    breaker: Breaker,
    bulkhead: Bulkhead,
    budget: Budget,
    metrics: Metrics<COUNT_ONLY>,
    made: Cell<u32>,
    hangs: Cell<bool>,
    in_fallback: Cell<bool>,
    first: Class,
}

type Running<'w> = Pin<Box<dyn Future<Output = ()> + 'w>>;

impl World {
    const fn closed() -> Self {
        Self {
            clock: ManualClock::new(),
            breaker: Breaker::new(Trip::after(20), secs(5)),
            bulkhead: Bulkhead::new(2),
            budget: Budget::with_rule(BudgetRule::new(10, 0, Duration::ZERO)),
            metrics: Metrics::new(),
            made: Cell::new(0),
            hangs: Cell::new(false),
            in_fallback: Cell::new(false),
            first: Class::Transient,
        }
    }

    /// The first attempt is a probe, whose failure is neutral, and so is the second.
    fn half_open() -> Self {
        let breaker = Breaker::new(Trip::after(1), secs(5));
        let _ = breaker.try_acquire(at(0)).unwrap().settle(at(0), Outcome::Failure);
        let world = Self { breaker, first: Class::RateLimited, ..Self::closed() };
        world.clock.advance(secs(6));
        world
    }

    fn policy(&self) -> Policy<'_> {
        Policy::new()
            .attempts(3)
            .attempt_timeout(secs(4))
            .deadline(secs(60))
            .backoff(Backoff::constant(secs(2)))
            .breaker(&self.breaker)
            .bulkhead(&self.bulkhead)
            .budget(&self.budget)
            .metrics(&self.metrics)
    }

    const fn clock(&self) -> &ManualClock {
        &self.clock
    }

    /// The first attempt takes three polls and fails, the second hangs, and so does any after it.
    async fn attempt(&self) -> Result<u8, Fault> {
        self.made.set(self.made.get() + 1);
        if self.made.get() == 1 {
            yields(3).await;
            return Err(fault(self.first));
        }
        self.hangs.set(true);
        core::future::pending().await
    }
}

fn over<T, E>(_result: Result<T, E>) {}
