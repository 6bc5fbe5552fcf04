//! Defects that were here once, each by what it did.
#![allow(missing_docs, clippy::unwrap_used)]

use core::cell::Cell;
use core::future::{Future as _, ready};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use steadfast::policy::{Leave, Next};
use steadfast::state::{Admission, COUNT_ONLY, Circuit, Outcome, Settled, State};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Class, Classify, Instant, ManualClock, Metrics,
    OrElseError, Policy, Rule, Trip, Verdict,
};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq)]
struct Fault(Class);

impl Classify for Fault {
    fn verdict(&self) -> Verdict {
        Verdict::of(self.0)
    }
}

#[test]
fn a_straggler_of_a_closed_circuit_is_no_probe_when_the_epoch_comes_round() {
    let breaker = Breaker::new(Trip::after(1), 30 * SECOND);
    let straggler = breaker.try_acquire(at(0)).unwrap();
    breaker.try_acquire(at(0)).unwrap().settle(at(1), Outcome::Failure);
    for n in 0..63 {
        drop(breaker.try_acquire(millis(32_000 + 10 * n)).unwrap());
    }
    assert_eq!(straggler.settle(millis(32_800), Outcome::Success), Settled::Late);
    assert_eq!(breaker.state(millis(32_800)), State::HalfOpen);
}

#[test]
fn a_straggler_of_a_closed_circuit_frees_no_slot_when_the_epoch_comes_round() {
    let breaker = Breaker::new(Trip::after(1), 30 * SECOND);
    let straggler = breaker.try_acquire(at(0)).unwrap();
    breaker.try_acquire(at(0)).unwrap().settle(at(1), Outcome::Failure);
    for n in 0..62 {
        drop(breaker.try_acquire(millis(32_000 + 10 * n)).unwrap());
    }
    let _probe = breaker.try_acquire(millis(32_700)).unwrap();
    drop(straggler);
    assert!(breaker.try_acquire(millis(32_701)).is_err());
}

#[test]
fn a_straggler_of_a_closed_circuit_is_late_when_the_epoch_comes_round_open() {
    let shortest = Duration::from_millis(50);
    let breaker = Breaker::with_rule(Rule::new(Trip::after(1), shortest).lease(shortest));
    let straggler = breaker.try_acquire(at(0)).unwrap();
    breaker.try_acquire(at(0)).unwrap().settle(at(0), Outcome::Failure);
    // Open in odd epochs; one replaced probe, and open in even ones.
    let _replaced = breaker.try_acquire(at(1)).unwrap();
    let now = (2..).find(|&now| {
        breaker.try_acquire(at(now)).unwrap().settle(at(now), Outcome::Failure);
        breaker.circuit().to_bits().0 >> 24 & 0x3f == 0
    });
    let (now, open) = (at(now.unwrap()), breaker.circuit());
    assert_eq!(breaker.state(now), State::Open);
    assert_eq!(straggler.settle(now, Outcome::Failure), Settled::Late);
    assert_eq!(breaker.circuit(), open);
}

#[test]
fn b03_a_probe_of_days_ago_is_late() {
    for hours in [2, 30, 37, 39, 50, 66] {
        let breaker = Breaker::new(Trip::after(1), 30 * SECOND);
        breaker.try_acquire(at(0)).unwrap().settle(at(1), Outcome::Failure);
        let probe = breaker.try_acquire(at(40)).unwrap();
        let later = at(40 + 3600 * hours);
        assert_eq!(probe.settle(later, Outcome::Success), Settled::Late, "{hours} h");
    }
}

#[test]
fn b02_a_lease_that_nobody_wrote_begins_for_those_who_only_look() {
    let rule = Rule::new(Trip::after(1), 30 * SECOND);
    let (_, Admission::Admitted(ticket, _)) = Circuit::CLOSED.admit(&rule, at(0)) else {
        panic!("a closed circuit refuses")
    };
    let (open, _) = Circuit::CLOSED.settle(&rule, at(0), ticket, Outcome::Failure);
    let (half_open, _) = open.admit(&rule, at(31));
    // The opener's cold word came after the prober's had been read, and so the prober's was lost.
    let lagging = Circuit::from_bits(half_open.to_bits().0, open.to_bits().1);
    let breaker = Breaker::resume(rule, lagging);
    let policy = Policy::new().breaker(&breaker).retry_all();
    let admitted = (0..1000).find(|n| {
        let mut run = policy.start::<()>(at(40 + n), 0);
        matches!(run.attempt(at(40 + n)).next, Leave::Granted(_))
    });
    let lease = rule.lease_for().as_secs();
    assert!(admitted.is_some_and(|seconds| seconds <= lease + 1), "{admitted:?}");
}

#[test]
fn a_run_that_is_over_makes_no_attempt_and_asks_for_none() {
    let metrics = Metrics::<COUNT_ONLY>::new();
    let policy = Policy::new().attempts(3).metrics(&metrics).retry_all();
    let mut run = policy.start::<()>(at(0), 0);
    let (Leave::Granted(one), Leave::Granted(two)) =
        (run.attempt(at(0)).next, run.attempt(at(0)).next)
    else {
        panic!("two may be under way")
    };
    assert!(matches!(run.settle(one, at(1), Some(Ok(1)), || 0).next, Next::Done(Ok(1))));
    assert!(matches!(run.settle::<u8>(two, at(1), Some(Err(())), || 0).next, Next::Pending));
    assert!(matches!(run.attempt(at(1)).next, Leave::NotNow));
    drop(run);
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.started, snapshot.calls.succeeded), (1, 1));
    assert_eq!((snapshot.attempts.failed, snapshot.attempts.in_flight), (1, 0));
}

#[test]
fn of_two_attempts_one_that_is_hopeless_ends_it_whichever_fails_first() {
    for classes in [[Class::Permanent, Class::Transient], [Class::Transient, Class::Permanent]] {
        let policy = Policy::new().attempts(9);
        let mut run = policy.start(at(0), 0);
        let (Leave::Granted(one), Leave::Granted(two)) =
            (run.attempt(at(0)).next, run.attempt(at(0)).next)
        else {
            panic!("two may be under way")
        };
        let [first, second] = classes.map(|class| Some(Err::<u8, _>(Fault(class))));
        assert!(matches!(run.settle(one, at(1), first, || 0).next, Next::Pending));
        let Next::Done(Err(error)) = run.settle(two, at(1), second, || 0).next else {
            panic!("a permanent error is not mended by a retry")
        };
        assert_eq!(error.stopped, steadfast::Reason::Class);
    }
}

#[test]
fn of_two_attempts_the_wait_that_one_asked_for_holds_whichever_fails_first() {
    let asks = |asks: &bool| match asks {
        true => Verdict::of(Class::RateLimited).not_before(10 * SECOND),
        false => Verdict::of(Class::Transient),
    };
    for first_asks in [true, false] {
        let policy = Policy::new().attempts(9).classify(asks);
        let mut run = policy.start(at(0), 0);
        let (Leave::Granted(one), Leave::Granted(two)) =
            (run.attempt(at(0)).next, run.attempt(at(0)).next)
        else {
            panic!("two may be under way")
        };
        let [first, second] = [first_asks, !first_asks].map(|asks| Some(Err::<u8, _>(asks)));
        assert!(matches!(run.settle(one, at(1), first, || 0).next, Next::Pending));
        let next = run.settle(two, at(1), second, || 0).next;
        assert!(matches!(next, Next::Retry(again) if again == at(11)), "{first_asks}: {next:?}");
    }
}

#[test]
fn attempts_used_up_are_no_refusal_by_the_deadline() {
    let metrics = Metrics::<COUNT_ONLY>::new();
    let policy = Policy::new().metrics(&metrics).retry_all();
    let mut run = policy.start::<()>(at(0), 0);
    let Leave::Granted(one) = run.attempt(at(0)).next else { panic!("the first is refused") };
    run.cancel(one);
    assert!(matches!(run.attempt(at(0)).next, Leave::Refused(_)));
    assert_eq!(metrics.snapshot().refusals.deadline, 0);
}

#[test]
fn r03_without_a_deadline_an_endless_asked_wait_is_what_stops_it() {
    let clock = ManualClock::new();
    let policy = Policy::new()
        .attempts(3)
        .max_asked_wait(30 * SECOND)
        .classify(|(): &()| Verdict::of(Class::RateLimited).not_before(Duration::MAX));
    let error = policy.execute_blocking(&clock, |_| Err::<(), _>(())).unwrap_err();
    assert_eq!(error.stopped, steadfast::Reason::AskedWait);
}

#[test]
fn a_slow_but_working_service_closes_a_breaker_of_the_default_lease() {
    let breaker = Breaker::new(Trip::after(1), 30 * SECOND);
    let clock = ManualClock::new();
    let policy = Policy::new().attempt_timeout(120 * SECOND).breaker(&breaker).retry_all();
    policy.execute_blocking(&clock, |_| Err::<(), _>(())).unwrap_err();
    clock.advance(31 * SECOND);
    let answer = policy.execute_blocking(&clock, |_| {
        clock.advance(90 * SECOND);
        Ok::<_, ()>(())
    });
    assert_eq!(answer, Ok(()));
    assert!(breaker.circuit().is_closed());
}

#[test]
fn an_operation_that_keeps_to_a_time_cut_by_the_deadline_is_neutral() {
    let breaker = Breaker::new(Trip::after(1), 30 * SECOND);
    let clock = ManualClock::new();
    let policy = Policy::new().attempt_timeout(60 * SECOND).deadline(5 * SECOND).breaker(&breaker);
    let error = policy.execute_blocking(&clock, |made| {
        clock.advance(made.time_left);
        Err::<(), _>(Fault(Class::Timeout))
    });
    assert_eq!(error.unwrap_err().stopped, steadfast::Reason::Deadline);
    assert!(breaker.circuit().is_closed());
}

#[test]
fn readings_out_of_order_make_no_refills() {
    let budget = Budget::with_rule(BudgetRule::new(10, 0, 15 * SECOND));
    for _ in 0..6 {
        let _ = budget.withdraw(at(100));
    }
    let paid = (0..100).filter(|n| budget.withdraw(at(if n % 2 == 0 { 100 } else { 160 })));
    assert!(paid.count() < 5);
}

#[test]
fn a_fallback_given_after_the_first_poll_answers_the_same_call() {
    let metrics = Metrics::<COUNT_ONLY>::new();
    let clock = ManualClock::new();
    let backoff = Backoff::constant(SECOND);
    let policy = Policy::new().attempts(2).backoff(backoff).metrics(&metrics).retry_all();
    let mut execution = policy.execute(&clock, || ready(Err::<u8, ()>(())));
    let mut context = Context::from_waker(Waker::noop());
    assert!(Pin::new(&mut execution).poll(&mut context).is_pending());
    let answer = clock.block_on(execution.or_else(|_| Ok::<_, OrElseError<_, ()>>(7)));
    assert_eq!(answer, Ok(7));
    let calls = metrics.snapshot().calls;
    assert_eq!((calls.started, calls.fell_back, calls.failed, calls.in_flight), (1, 1, 0, 0));
}

#[test]
fn an_execution_polled_after_its_end_stays_silent() {
    let clock = ManualClock::new();
    let policy = Policy::new().retry_all();
    let answered = Cell::new(0);
    let mut execution = pin!(policy.execute_or_else(
        &clock,
        || ready(Err::<u8, ()>(())),
        |error| {
            answered.set(answered.get() + 1);
            Err(OrElseError::<_, ()>::GaveUp(error))
        }
    ));
    let mut context = Context::from_waker(Waker::noop());
    assert!(matches!(execution.as_mut().poll(&mut context), Poll::Ready(Err(_))));
    assert!(execution.as_mut().poll(&mut context).is_pending());
    assert_eq!(answered.get(), 1);
}

const fn at(seconds: u64) -> Instant {
    Instant::from_micros(1_000_000 * seconds)
}

const fn millis(millis: u64) -> Instant {
    Instant::from_micros(1_000 * millis)
}
