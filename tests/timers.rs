//! The waits that an execution asks its clock for: those it needs, and no other.

mod common;

use core::cell::RefCell;

use steadfast::{Backoff, Clock, Instant, ManualClock, ManualSleep, Policy, Sleep};

use common::{Fault, at, failing, secs, succeeding, yields};

#[test]
fn an_attempt_without_a_limit_needs_no_timer() {
    assert_eq!(asked(Policy::new(), Operation::Slow), []);
}

#[test]
fn an_attempt_that_is_ready_at_once_needs_no_timer() {
    assert_eq!(asked(Policy::new().attempt_timeout(secs(5)), Operation::Quick), []);
}

#[test]
fn an_attempt_that_is_not_ready_has_one_timer_however_often_it_is_polled() {
    assert_eq!(asked(Policy::new().attempt_timeout(secs(5)), Operation::Slow), [at(5)]);
    assert_eq!(asked(Policy::new().deadline(secs(7)), Operation::Slow), [at(7)]);
}

#[test]
fn between_two_attempts_there_is_one_wait() {
    let policy = Policy::new().attempts(3).backoff(Backoff::constant(secs(2)));
    assert_eq!(asked(policy, Operation::Failing), [at(2), at(4)]);
}

#[derive(Clone, Copy)]
enum Operation {
    Quick,
    Slow,
    Failing,
}

/// What the clock is asked to wait for, which is the same for each driver.
fn asked(policy: Policy, operation: Operation) -> Vec<Instant> {
    let operation = || async move {
        match operation {
            Operation::Quick => succeeding().await,
            Operation::Failing => failing().await,
            Operation::Slow => {
                yields(5).await;
                Ok::<_, Fault>(7)
            }
        }
    };
    let (clock, other) = (Asked::default(), Asked::default());
    let answer = clock.manual.block_on(policy.execute(&clock, operation));
    assert_eq!(other.manual.block_on(policy.execute_mut(&other, operation)), answer);
    assert_eq!(other.waits, clock.waits);
    clock.waits.into_inner()
}

/// A clock moved by hand, and what it was asked to wait for.
#[derive(Default)]
struct Asked {
    manual: ManualClock,
    waits: RefCell<Vec<Instant>>,
}

impl Clock for Asked {
    fn now(&self) -> Instant {
        self.manual.now()
    }
}

impl<'c> Sleep for &'c Asked {
    type Sleeping = ManualSleep<'c>;

    fn sleep_until(&self, at: Instant) -> ManualSleep<'c> {
        self.waits.borrow_mut().push(at);
        (&self.manual).sleep_until(at)
    }

    fn random(&self) -> u32 {
        0
    }
}
