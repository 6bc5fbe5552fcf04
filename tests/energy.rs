//! Waits of a device that counts its wake-ups: which are waited for, which are paid, and when not.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use core::cell::{Cell, RefCell};
use core::time::Duration;

use steadfast::policy::{Next, Pace};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Class, Classifier, Classify as _, Error, Instant, Jitter,
    Policy, Reason, Retry, Trip, Verdict,
};

use common::{Fault, at, fault, granted, millis, secs};

const FAILED: Verdict = Verdict::of(Class::Transient);
const HOUR: Duration = secs(3600);
/// A retry 2 s after each failure.
const POLICY: Policy<'_> = Policy::new().attempts(3).backoff(Backoff::constant(secs(2)));

// --- Alignment ------------------------------------------------------------------------------------

#[test]
fn nobody_s_wake_up_comes_before_the_earliest_instant() {
    let pace = Told::to_wake_up(at(2));
    assert_eq!(after_a_failure(POLICY, &pace), Ok(at(3)));
    assert_eq!(pace.paid.take(), [(at(1), at(3))], "that is the wake-up there is");
}

#[test]
fn a_wake_up_that_would_lose_the_retry_is_not_waited_for() {
    let policy = POLICY.attempt_timeout(secs(5));
    for (policy, expected) in [
        (policy.retry_window(secs(10)), Ok(at(10))),
        (policy.retry_window(millis(9_999)), Ok(at(3))),
        (policy.retry_window(secs(3)), Ok(at(3))),
        (policy.retry_window(millis(2_999)), Err(Reason::Window)),
        (policy.deadline(secs(15)), Ok(at(10))),
        // The attempt would have less than its 5 s.
        (policy.deadline(millis(14_999)), Ok(at(3))),
        (policy.deadline(secs(10)), Ok(at(3))),
        (policy.deadline(millis(3_001)), Ok(at(3))),
        (policy.deadline(secs(3)), Err(Reason::Deadline)),
        // It would have what is left, and that would be less.
        (POLICY.deadline(HOUR), Ok(at(3))),
    ] {
        let pace = Told::to_wake_up(at(10));
        assert_eq!(after_a_failure(policy, &pace), expected, "{policy:?}");
        let paid = expected.map(|at| (crate::at(1), at));
        assert_eq!(pace.paid.take(), Vec::from_iter(paid), "{policy:?}");
    }
}

#[test]
fn a_wake_up_is_waited_for_until_the_breaker_admits() {
    let breaker = Breaker::new(Trip::after(1), secs(5));
    let policy = POLICY.breaker(&breaker);
    let closed_again = Told::to_wake_up(at(10));
    assert_eq!(after_a_failure(policy, &closed_again), Ok(at(10)), "it opened until 6 s");
    breaker.reset();
    let still_open = Told::to_wake_up(at(5));
    assert_eq!(after_a_failure(policy, &still_open), Err(Reason::BreakerOpen));
    assert_eq!(still_open.paid.take(), []);
}

#[test]
fn jitter_does_not_grow_by_what_is_waited_for_besides() {
    let jitter = Jitter::Decorrelated; // up to three times the last wait
    let backoff = Backoff::linear(secs(1), secs(1), secs(1000)).jitter(jitter);
    let policy = Policy::new().attempts(4).backoff(backoff);
    let waits = |more| {
        let waits = RefCell::new(Vec::new());
        let (mut run, mut now) = (policy.start(at(0), 0), at(0));
        for _ in 0..3 {
            let attempt = granted(run.attempt(now).next);
            let failed = Some(Err::<u8, _>(fault(Class::Transient)));
            let pace = Longest { waits: &waits, now, more };
            let Next::Retry(at) = run.settle(attempt, now, failed, pace).next else {
                panic!("no retry")
            };
            assert_eq!(at.since(now), waits.borrow().last().unwrap().saturating_add(more));
            now = at;
        }
        waits.into_inner()
    };
    let own = waits(secs(0));
    assert!(own[0] == secs(1) && own[1] > millis(2_999) && own[2] > millis(8_999), "{own:?}");
    assert_eq!(waits(secs(50)), own);
}

// --- Which retries take a wake-up -----------------------------------------------------------------

#[test]
fn a_retry_without_a_wait_takes_no_wake_up() {
    let pace = Told { broke: true, ..Told::to_wake_up(at(10)) };
    let policy = POLICY.backoff(Backoff::constant(secs(0)));
    assert_eq!(after_a_failure(policy, &pace), Ok(at(1)));
    assert_eq!((pace.asked.get(), pace.paid.take()), (0, vec![]));
}

#[test]
fn an_attempt_beside_another_takes_no_wake_up() {
    let pace = Told { broke: true, ..Told::to_wake_up(at(10)) };
    let mut run = POLICY.start(at(0), 0);
    let first = granted(run.attempt(at(0)).next);
    let second = granted(run.attempt(at(1)).next);
    let failed = Some(Err::<u8, _>(fault(Class::Transient)));
    assert!(matches!(run.settle(first, at(2), failed, &pace).next, Next::Pending));
    assert_eq!((pace.asked.get(), pace.paid.take()), (0, vec![]));
    assert_eq!(given_up(run.settle(second, at(3), failed, &pace).next).stopped, Reason::Budget);
    assert_eq!((pace.asked.get(), pace.paid.take()), (1, vec![(at(3), at(10))]), "one retry");
}

#[test]
fn nothing_is_charged_for_a_retry_that_another_rule_refuses() {
    let open = Breaker::new(Trip::after(1), secs(60));
    let budget = Budget::with_rule(BudgetRule::new(1, 0, secs(0)));
    let never: fn(&Fault) -> Verdict = |_| FAILED.retry(Retry::Never);
    let asked: fn(&Fault) -> Verdict = |_| FAILED.not_before(secs(9));
    let yes = POLICY.classify(Fault::verdict as fn(&Fault) -> Verdict);
    for (policy, reason) in [
        (yes.classify(never), Reason::Class),
        (yes.attempts(1), Reason::Attempts),
        (yes.budget(&budget), Reason::Budget),
        (yes.retry_window(secs(2)), Reason::Window),
        (yes.deadline(secs(2)), Reason::Deadline),
        (yes.classify(asked).max_asked_wait(secs(8)), Reason::AskedWait),
        (yes.breaker(&open), Reason::BreakerOpen),
    ] {
        let pace = Told::default();
        assert_eq!(after_a_failure(policy, &pace), Err(reason));
        assert_eq!(pace.paid.take(), [], "{reason:?}");
    }
    let pace = Told::default();
    assert_eq!(after_a_failure(yes, &pace), Ok(at(3)));
    assert_eq!(pace.paid.take(), [(at(1), at(3))], "once, when all else holds");
}

// --- What the tests share -------------------------------------------------------------------------

/// Answers what it is told to, and writes down what it is asked.
#[derive(Default)]
struct Told {
    wake_up: Option<Instant>,
    broke: bool,
    asked: Cell<u32>,
    paid: RefCell<Vec<(Instant, Instant)>>,
}

impl Told {
    fn to_wake_up(at: Instant) -> Self {
        Self { wake_up: Some(at), ..Self::default() }
    }
}

impl Pace for &Told {
    fn random(&self) -> u32 {
        0
    }

    fn next_wake_up(&self, earliest: Instant) -> Instant {
        self.asked.set(self.asked.get() + 1);
        self.wake_up.unwrap_or(earliest)
    }

    fn pay_for_wake_up(&self, now: Instant, at: Instant) -> bool {
        self.paid.borrow_mut().push((now, at));
        !self.broke
    }
}

/// The longest waits, each followed by so much more.
struct Longest<'w> {
    waits: &'w RefCell<Vec<Duration>>,
    now: Instant,
    more: Duration,
}

impl Pace for Longest<'_> {
    fn random(&self) -> u32 {
        u32::MAX
    }

    fn next_wake_up(&self, earliest: Instant) -> Instant {
        self.waits.borrow_mut().push(earliest.since(self.now));
        earliest.after(self.more)
    }
}

/// What follows a first attempt that began at the origin and failed at 1 s.
fn after_a_failure<C>(policy: Policy<'_, C>, pace: impl Pace) -> Result<Instant, Reason>
where
    C: Classifier<Fault>,
{
    let mut run = policy.start(at(0), 0);
    let attempt = granted(run.attempt(at(0)).next);
    let failed = Some(Err::<u8, _>(fault(Class::Transient)));
    match run.settle(attempt, at(1), failed, pace).next {
        Next::Retry(at) => Ok(at),
        next => Err(given_up(next).stopped),
    }
}

fn given_up(next: Next<u8, Fault>) -> Error<Fault> {
    match next {
        Next::Done(Err(error)) => error,
        next => panic!("not given up: {next:?}"),
    }
}
