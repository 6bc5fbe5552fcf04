//! No path of an execution allocates: not success, failure, refusal, retry, fallback or timeout.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::cell::Cell;
use core::fmt::Write as _;
use core::future::{Future as _, pending, ready};
use core::pin::pin;
use core::task::{Context, Waker};
use core::time::Duration;

use steadfast::state::{BudgetRule, Outcome};
use steadfast::{
    Backoff, Breaker, Budget, Bulkhead, Class, Classify, Clock as _, Error, Event, Jitter,
    ManualClock, Metrics, Observe, OrElseError, Policy, Reason, Sleep as _, Strategy, Trip,
    Verdict,
};

#[test]
fn the_counter_counts_what_a_box_allocates() {
    let counted = allocation_counter::measure(|| drop(Box::new(core::hint::black_box(7))));
    assert_eq!(counted.count_total, 1);
}

#[test]
fn success() {
    allocates_nothing(|world, policy| {
        let clock = &world.clock;
        for _ in 0..100 {
            assert_eq!(clock.block_on(policy.execute(clock, || slowly(clock, Ok(7)))), Ok(7));
        }
        assert_eq!(clock.block_on(policy.execute_told(clock, |_| slowly(clock, Ok(7)))), Ok(7));
        assert_eq!(clock.block_on(policy.execute_once(clock, slowly(clock, Ok(7)))), Ok(7));
        let mut made = 0;
        let operation = async || {
            made += 1;
            slowly(clock, Ok(7)).await
        };
        assert_eq!(clock.block_on(policy.execute_mut(clock, operation)), Ok(7));
        assert_eq!(policy.execute_blocking(clock, |_| Ok::<_, Fault>(7)), Ok(7));
    });
}

#[test]
fn failure() {
    allocates_nothing(|world, policy| {
        let clock = &world.clock;
        let failing = || slowly(clock, Err(Fault(Class::Permanent)));
        let error = clock.block_on(policy.execute(clock, failing)).unwrap_err();
        assert_eq!((error.stopped, error.attempts), (Reason::Class, 1));
        let error = clock.block_on(policy.execute_mut(clock, async || failing().await));
        assert_eq!(error.unwrap_err().stopped, Reason::Class);
        let failing = |_| Err::<u8, _>(Fault(Class::Permanent));
        let error = policy.execute_blocking(clock, failing).unwrap_err();
        assert_eq!(error.stopped, Reason::Class);
    });
}

#[test]
fn retry_until_success_and_until_given_up() {
    allocates_nothing(|world, policy| {
        let (clock, made) = (&world.clock, Cell::new(0));
        let third = || {
            made.set(made.get() + 1);
            slowly(clock, if made.get() < 3 { Err(Fault(Class::Transient)) } else { Ok(7) })
        };
        assert_eq!(clock.block_on(policy.execute(clock, third)), Ok(7));
        made.set(0);
        assert_eq!(clock.block_on(policy.execute_mut(clock, async || third().await)), Ok(7));
        let failing = || slowly(clock, Err(Fault(Class::RateLimited)));
        let error = clock.block_on(policy.execute(clock, failing)).unwrap_err();
        assert!(error.attempts > 1);
        assert_eq!(error.class, Some(Class::RateLimited));
    });
}

#[test]
fn each_refusal() {
    allocates_nothing(|world, policy| {
        let clock = &world.clock;
        let refused = |reason| {
            let answer = clock.block_on(policy.execute(clock, || slowly(clock, Ok(7))));
            assert_eq!(answer.unwrap_err().stopped, reason);
            let answer = policy.execute_blocking(clock, |_| Ok::<u8, Fault>(7));
            assert_eq!(answer.unwrap_err().stopped, reason);
        };
        {
            let (_one, _other) =
                (world.bulkhead.try_acquire().unwrap(), world.bulkhead.try_acquire().unwrap());
            refused(Reason::BulkheadFull);
        }
        for _ in 0..8 {
            let permit = world.breaker.try_acquire(clock.now()).unwrap();
            let _ = permit.settle(clock.now(), Outcome::Failure);
        }
        refused(Reason::BreakerOpen);
    });
}

#[test]
fn each_reason_to_give_up() {
    allocates_nothing(|world, policy| {
        let clock = &world.clock;
        let gives_up = |policy: &Policy<'_>, class, reason| {
            let failing = || slowly(clock, Err(Fault(class)));
            let error = clock.block_on(policy.execute(clock, failing)).unwrap_err();
            assert_eq!(error.stopped, reason);
        };
        gives_up(&policy.attempts(1), Class::Transient, Reason::Attempts);
        gives_up(&policy.retry_window(Duration::ZERO), Class::Transient, Reason::Window);
        gives_up(&policy.deadline(secs(2)), Class::Transient, Reason::Deadline);
        gives_up(&policy.max_asked_wait(Duration::ZERO), Class::RateLimited, Reason::AskedWait);
        while world.budget.withdraw(clock.now()) {}
        gives_up(policy, Class::RateLimited, Reason::Budget);
    });
}

#[test]
fn timeout_and_deadline() {
    allocates_nothing(|world, policy| {
        let clock = &world.clock;
        let hanging = pending::<Result<u8, Fault>>;
        let error = clock.block_on(policy.execute(clock, hanging)).unwrap_err();
        assert_eq!(error.class, Some(Class::Timeout));
        let cut = policy.deadline(secs(1));
        let error = clock.block_on(cut.execute_mut(clock, async || hanging().await)).unwrap_err();
        assert_eq!((error.stopped, error.class), (Reason::Deadline, Some(Class::Timeout)));
    });
}

#[test]
fn each_fallback() {
    allocates_nothing(|world, policy| {
        let clock = &world.clock;
        let failing = || slowly(clock, Err(Fault(Class::Permanent)));
        let answers = |_: Error<Fault>| Ok::<_, OrElseError<Fault, ()>>(9);
        assert_eq!(clock.block_on(policy.execute_or_else(clock, failing, answers)), Ok(9));
        let slow = |_: Error<Fault>| async {
            clock.sleep_until(clock.now().after(secs(1))).await;
            Err::<u8, OrElseError<Fault, u8>>(OrElseError::Fallback(1))
        };
        let answer = clock.block_on(policy.execute_or_else_async(clock, failing, slow));
        assert_eq!(answer, Err(OrElseError::Fallback(1)));
        let failing = |_| Err::<u8, _>(Fault(Class::Permanent));
        assert_eq!(policy.execute_blocking_or_else(clock, failing, answers), Ok(9));
    });
}

#[test]
fn a_cycle_of_the_breaker() {
    allocates_nothing(|world, policy| {
        let clock = &world.clock;
        let failing = || ready(Err::<u8, _>(Fault(Class::Transient)));
        while world.breaker.circuit().is_closed() {
            let _ = clock.block_on(policy.execute_once(clock, failing()));
        }
        clock.advance(secs(61));
        assert_eq!(clock.block_on(policy.execute(clock, || slowly(clock, Ok(7)))), Ok(7));
        assert!(world.breaker.circuit().is_closed());
    });
}

#[test]
fn an_execution_that_is_dropped() {
    allocates_nothing(|world, policy| {
        let clock = &world.clock;
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..10 {
            let mut execution = pin!(policy.execute(clock, || slowly(clock, Ok(7))));
            assert!(execution.as_mut().poll(&mut context).is_pending());
        }
    });
}

#[test]
fn what_is_told_and_exported() {
    allocates_nothing(|world, policy| {
        let clock = &world.clock;
        let failing = || slowly(clock, Err(Fault(Class::Transient)));
        let error = clock.block_on(policy.execute(clock, failing)).unwrap_err();
        let mut text = Text::default();
        write!(text, "{error} {}", Event::Opened).unwrap();
        assert!(text.0 > 20);
        world.metrics.reset().unwrap();
        assert_eq!(world.metrics.raw().calls.failed, 1);
        assert_eq!(world.metrics.snapshot().calls.failed, 0);
    });
}

/// Runs `body` with everything that a policy may have, and counts.
fn allocates_nothing(body: impl FnOnce(&World, &Policy<'_>)) {
    let world = World {
        clock: ManualClock::new(),
        breaker: Breaker::new(Trip::after(8), secs(60)),
        bulkhead: Bulkhead::new(2),
        budget: Budget::with_rule(BudgetRule::new(20, 100, secs(60))),
        metrics: Metrics::new(),
        events: Events,
    };
    let policy = Policy::of(Strategy::Balanced)
        .backoff(Backoff::constant(secs(1)).jitter(Jitter::Additive(secs(1))))
        .breaker(&world.breaker)
        .bulkhead(&world.bulkhead)
        .budget(&world.budget)
        .metrics(&world.metrics)
        .observer(&world.events);
    let counted = allocation_counter::measure(|| body(&world, &policy));
    assert_eq!(counted.count_total, 0, "{counted:?}");
}

struct World {
    clock: ManualClock,
    breaker: Breaker,
    bulkhead: Bulkhead,
    budget: Budget,
    metrics: Metrics,
    events: Events,
}

/// Reads each event, and keeps none.
struct Events;

impl Observe for Events {
    fn observe(&self, event: &Event) {
        let mut text = Text::default();
        write!(text, "{event}").unwrap();
        assert!(text.0 > 0);
    }
}

/// Counts the bytes written.
#[derive(Default)]
struct Text(usize);

impl core::fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// An attempt that is pending for a second.
async fn slowly(clock: &ManualClock, result: Result<u8, Fault>) -> Result<u8, Fault> {
    clock.sleep_until(clock.now().after(secs(1))).await;
    result
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault(Class);

impl Classify for Fault {
    fn verdict(&self) -> Verdict {
        match self.0 {
            Class::RateLimited => Verdict::of(self.0).not_before(secs(2)),
            class => Verdict::of(class),
        }
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}
