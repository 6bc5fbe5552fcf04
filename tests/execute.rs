//! Whole executions: the cases of the field that concern them, and each way to execute.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use core::cell::Cell;
use core::future::{Future, pending, ready};
use core::pin::pin;
use core::time::Duration;

use proptest::prelude::*;
use steadfast::policy::{Leave, Made, Next, Stage};
use steadfast::state::{BudgetRule, Circuit, Outcome, Phase, State};
use steadfast::{
    Backoff, Breaker, Budget, Bulkhead, Class, Clock as _, Error, Event, Instant, Jitter,
    ManualClock, Metrics, OrElseError, Policy, Reason, Retry, Rule, Sleep as _, Trip, Verdict,
};

use common::{Fault, at, failing, fault, granted, millis, poll, secs, succeeding, zero};

// --- Cases of the field: breaker ------------------------------------------------------------------

#[test]
fn b25_refusals_by_our_own_bulkhead_do_not_trip_it() {
    let (clock, bulkhead) = (ManualClock::new(), Bulkhead::new(1));
    let breaker = Breaker::new(Trip::after(1), secs(60));
    let policy = Policy::new().attempts(3).breaker(&breaker).bulkhead(&bulkhead);
    let _taken = bulkhead.try_acquire().unwrap();
    for _ in 0..100 {
        let error = clock.block_on(policy.execute(&clock, succeeding)).unwrap_err();
        assert_eq!((error.stopped, error.attempts), (Reason::BulkheadFull, 0));
    }
    assert_eq!(breaker.circuit(), Circuit::CLOSED);
}

#[test]
fn b26_a_timed_out_call_keeps_its_slot_until_it_has_really_ended() {
    struct Ends<'a>(&'a Bulkhead, &'a Breaker, &'a Cell<Option<(u32, State)>>);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.2.set(Some((self.0.taken(), self.1.state(Instant::ORIGIN))));
        }
    }
    let (clock, bulkhead) = (ManualClock::new(), Bulkhead::new(1));
    let breaker = Breaker::new(Trip::after(1), secs(60));
    let policy = Policy::new().attempt_timeout(secs(1)).breaker(&breaker).bulkhead(&bulkhead);
    let at_its_end = Cell::new(None);
    let hanging = || async {
        let _ends = Ends(&bulkhead, &breaker, &at_its_end);
        pending::<Result<u8, Fault>>().await
    };
    let error = clock.block_on(policy.execute(&clock, hanging)).unwrap_err();
    assert_eq!(error.class, Some(Class::Timeout));
    assert_eq!(at_its_end.take(), Some((1, State::Closed)), "dropped before its slot went back");
    assert_eq!(bulkhead.taken(), 0);

    clock.advance(secs(61));
    let error = clock.block_on(policy.execute_mut(&clock, hanging)).unwrap_err();
    assert_eq!(error.class, Some(Class::Timeout));
    assert_eq!(at_its_end.take().map(|(taken, _)| taken), Some(1));
    assert_eq!(bulkhead.taken(), 0);

    // A function that blocks ends when it returns, and not when its time is over.
    clock.advance(secs(61));
    let late = policy.execute_blocking(&clock, |_| {
        clock.advance(secs(5));
        assert!(bulkhead.try_acquire().is_err());
        Ok::<_, Fault>(7)
    });
    assert_eq!((late, bulkhead.taken()), (Ok(7), 0));
}

#[test]
fn b27_an_upstream_that_only_hangs_opens_it() {
    let (clock, breaker) = (ManualClock::new(), Breaker::new(Trip::after(5), secs(60)));
    let policy = Policy::new().attempts(3).attempt_timeout(secs(10)).breaker(&breaker);
    let hanging = pending::<Result<u8, Fault>>;
    let error = clock.block_on(policy.execute(&clock, hanging)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::Attempts, 3));
    assert_eq!(breaker.state(clock.now()), State::Closed);
    let error = clock.block_on(policy.execute(&clock, hanging)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::BreakerOpen, 2));
    assert_eq!(breaker.state(clock.now()), State::Open);
    assert_eq!(clock.now(), at(50));
}

#[test]
fn b40_each_failure_of_the_wire_counts_once() {
    let (clock, breaker) = (ManualClock::new(), Breaker::new(Trip::after(5), secs(60)));
    let policy = Policy::new().attempts(3).backoff(Backoff::constant(secs(1))).breaker(&breaker);
    let made = Cell::new(0);
    let operation = || {
        made.set(made.get() + 1);
        failing()
    };
    assert_eq!(clock.block_on(policy.execute(&clock, operation)).unwrap_err().attempts, 3);
    assert_eq!(breaker.circuit().phase(), Phase::Closed { history: 0b111 });
    let error = clock.block_on(policy.execute(&clock, operation)).unwrap_err();
    assert_eq!((error.attempts, error.stopped), (2, Reason::BreakerOpen));
    assert_eq!((made.get(), breaker.state(clock.now())), (5, State::Open), "not at the fourth");
}

// --- Cases of the field: retry --------------------------------------------------------------------

#[test]
fn r02_no_attempt_starts_that_the_deadline_would_not_let_begin() {
    let clock = ManualClock::new();
    let policy =
        Policy::new().attempts(10).backoff(Backoff::constant(millis(300))).deadline(millis(500));
    let began = Cell::new((0, Instant::ORIGIN));
    let operation = || {
        began.set((began.get().0 + 1, clock.now()));
        let (number, ends) = (began.get().0, clock.now().after(millis(50)));
        let sleep = (&clock).sleep_until(ends);
        async move {
            sleep.await;
            Err::<u8, _>(Fault { class: Class::Transient, number })
        }
    };
    let error = clock.block_on(policy.execute(&clock, operation)).unwrap_err();
    assert_eq!(began.get(), (2, Instant::from_micros(350_000)));
    assert_eq!(clock.now(), Instant::from_micros(400_000), "nothing happens at 500 ms");
    assert_eq!((error.stopped, error.attempts), (Reason::Deadline, 2));
    assert_eq!(error.last.map(|fault| fault.number), Some(2), "the last error, not the first");
}

#[test]
fn r03_a_longer_wait_than_allowed_returns_at_once_and_is_carried() {
    let clock = ManualClock::new();
    clock.advance(secs(100));
    let policy = Policy::new().attempts(3).max_asked_wait(secs(30));
    let asks = |wait| move |_: &Fault| Verdict::of(Class::RateLimited).not_before(wait);
    let refused = policy.classify(asks(secs(31)));
    let error = clock.block_on(refused.execute(&clock, failing)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::AskedWait, 1));
    assert_eq!((error.retry_at, clock.now()), (Some(at(131)), at(100)));

    // Whatever else ends the execution, the wait asked for is carried all the same.
    let last = policy.attempts(1).classify(asks(secs(31)));
    let error = clock.block_on(last.execute(&clock, failing)).unwrap_err();
    assert_eq!((error.stopped, error.retry_at), (Reason::Attempts, Some(at(131))));

    let allowed = policy.attempts(2).classify(asks(secs(30)));
    let error = clock.block_on(allowed.execute(&clock, failing)).unwrap_err();
    assert_eq!((error.stopped, error.attempts, clock.now()), (Reason::Attempts, 2, at(130)));
}

proptest! {
    #[test]
    fn r04_jitter_never_makes_the_wait_shorter_than_asked(
        asked in 0_u64..7_200_000_000,
        own in 0_u64..3_600_000_000,
        kind in 0_usize..5,
        random in prop_oneof![Just(0), Just(u32::MAX), any::<u32>()],
        failed in 1_u32..6,
    ) {
        let (asked, own) = (Duration::from_micros(asked), Duration::from_micros(own));
        let jitter = [
            Jitter::None,
            Jitter::Additive(own),
            Jitter::Full,
            Jitter::Equal,
            Jitter::Decorrelated,
        ][kind];
        let verdict = Verdict::of(Class::RateLimited).not_before(asked);
        let policy = Policy::new()
            .attempts(10)
            .backoff(Backoff::constant(own).jitter(jitter))
            .classify(move |_: &Fault| verdict);
        let (mut run, mut now) = (policy.start(at(0), 0), at(0));
        for _ in 0..failed {
            let attempt = granted(run.attempt(now).next);
            let result = Some(Err::<u8, _>(fault(Class::RateLimited)));
            let Next::Retry(again) = run.settle(attempt, now, result, || random).next else {
                panic!("attempts are left")
            };
            prop_assert!(again >= now.after(asked));
            now = again;
        }
    }
}

#[test]
fn r07_a_refusal_by_the_budget_keeps_the_original_error_and_says_why() {
    let clock = ManualClock::new();
    let budget = Budget::with_rule(BudgetRule::new(4, 0, Duration::ZERO));
    let policy = Policy::new().attempts(9).budget(&budget);
    let error = clock.block_on(policy.execute(&clock, failing)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::Budget, 2));
    assert_eq!((error.last, error.class), (Some(fault(Class::Transient)), Some(Class::Transient)));
    assert_eq!(error.to_string(), "budget spent after 2 attempts (transient)");
    let error = clock.block_on(policy.execute(&clock, failing)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::Budget, 1), "a first one is always made");
}

#[test]
fn r09_dropped_during_back_off_it_gives_everything_back_at_once() {
    let (clock, metrics) = (ManualClock::new(), Metrics::<1>::new());
    let (breaker, bulkhead) = (Breaker::new(Trip::after(3), secs(60)), Bulkhead::new(1));
    let policy = Policy::new()
        .attempts(3)
        .backoff(Backoff::constant(secs(3600)))
        .breaker(&breaker)
        .bulkhead(&bulkhead)
        .metrics(&metrics);
    {
        let mut execution = pin!(policy.execute(&clock, failing));
        assert!(poll(execution.as_mut()).is_pending());
        let calls = metrics.snapshot().calls;
        assert_eq!((bulkhead.taken(), calls.in_flight, calls.cancelled), (0, 1, 0));
    }
    let calls = metrics.snapshot().calls;
    assert_eq!((bulkhead.taken(), calls.in_flight, calls.cancelled), (0, 0, 1));
    assert_eq!(clock.now(), at(0));
    assert_eq!(breaker.circuit().phase(), Phase::Closed { history: 1 }, "the failure it had");
}

// --- Each way to execute --------------------------------------------------------------------------

#[test]
fn one_plain_future_is_one_attempt_however_many_the_policy_allows() {
    let (clock, breaker) = (ManualClock::new(), Breaker::new(Trip::after(2), secs(60)));
    let policy = Policy::new().attempts(5).attempt_timeout(secs(2)).breaker(&breaker);
    assert_eq!(clock.block_on(policy.execute_once(&clock, succeeding())), Ok(7));
    let error = clock.block_on(policy.execute_once(&clock, failing())).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::Attempts, 1));
    assert_eq!(error.last, Some(fault(Class::Transient)));
    let hanging = pending::<Result<u8, Fault>>();
    let error = clock.block_on(policy.execute_once(&clock, hanging)).unwrap_err();
    assert_eq!((error.class, clock.now()), (Some(Class::Timeout), at(2)));
    // It is not even begun when the breaker is open.
    let begun = Cell::new(false);
    let future = async {
        begun.set(true);
        succeeding().await
    };
    let error = clock.block_on(policy.execute_once(&clock, future)).unwrap_err();
    assert_eq!((error.stopped, error.attempts, begun.get()), (Reason::BreakerOpen, 0, false));
}

#[test]
fn an_operation_is_told_its_number_and_its_time() {
    let clock = ManualClock::new();
    let policy = Policy::new()
        .attempts(3)
        .attempt_timeout(secs(10))
        .deadline(secs(19))
        .backoff(Backoff::constant(secs(6)));
    let told = Cell::new(vec![]);
    let operation = |made: Made| {
        let mut all = told.take();
        all.push((made.attempt, made.time_left));
        told.set(all);
        failing()
    };
    let error = clock.block_on(policy.execute_told(&clock, operation)).unwrap_err();
    assert_eq!(error.attempts, 3);
    assert_eq!(told.take(), [(1, secs(10)), (2, secs(10)), (3, secs(7))]);
    let _ = clock.block_on(Policy::new().execute_told(&clock, operation));
    assert_eq!(told.take(), [(1, Duration::MAX)], "no limit");
}

#[test]
fn an_async_closure_may_change_what_it_captures() {
    let clock = ManualClock::new();
    let policy =
        Policy::new().attempts(3).attempt_timeout(secs(5)).backoff(Backoff::constant(secs(1)));
    let mut log = Vec::new();
    let operation = async || {
        log.push(clock.now());
        match log.len() {
            1 => Err(fault(Class::Transient)),
            2 => pending().await,
            n => {
                (&clock).sleep_until(clock.now().after(secs(2))).await;
                Ok(n)
            }
        }
    };
    assert_eq!(clock.block_on(policy.execute_mut(&clock, operation)), Ok(3));
    assert_eq!((log, clock.now()), (vec![at(0), at(1), at(7)], at(9)));
}

#[test]
fn execute_mut_gives_up_as_execute_does() {
    let (clock, bulkhead) = (ManualClock::new(), Bulkhead::new(1));
    let policy = Policy::new().attempts(2).backoff(Backoff::constant(secs(1))).bulkhead(&bulkhead);
    let error = clock.block_on(policy.execute_mut(&clock, async || failing().await)).unwrap_err();
    assert_eq!((error.stopped, error.attempts, clock.now()), (Reason::Attempts, 2, at(1)));
    let _taken = bulkhead.try_acquire().unwrap();
    let error = clock.block_on(policy.execute_mut(&clock, async || failing().await)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::BulkheadFull, 0));
}

#[test]
fn an_operation_that_is_ready_as_its_time_ends_is_not_cut() {
    let clock = ManualClock::new();
    let policy = Policy::new().attempt_timeout(secs(5));
    let operation = || {
        let sleep = (&clock).sleep_until(at(5));
        async {
            sleep.await;
            Ok::<_, Fault>(7)
        }
    };
    assert_eq!(clock.block_on(policy.execute(&clock, operation)), Ok(7));
    assert_eq!(clock.now(), at(5));
}

// --- Two attempts outstanding in one run ----------------------------------------------------------

#[test]
fn the_first_of_two_attempts_to_succeed_answers_and_the_other_is_cancelled() {
    let (breaker, bulkhead, metrics) =
        (Breaker::new(Trip::after(2), secs(60)), Bulkhead::new(3), Metrics::<1>::new());
    let policy = Policy::new().attempts(3).breaker(&breaker).bulkhead(&bulkhead).metrics(&metrics);
    let mut run = policy.start::<Fault>(at(0), 0);
    let first = granted(run.attempt(at(0)).next);
    let second = granted(run.attempt(at(1)).next);
    assert_eq!((first.made().attempt, second.made().attempt, bulkhead.taken()), (1, 2, 2));
    assert!(matches!(run.attempt(at(1)).next, Leave::NotNow), "there is never a third");
    let answered = run.settle(second, at(2), Some(Ok(7)), zero).next;
    assert!(matches!(answered, Next::Done(Ok(7))));
    run.cancel(first);
    drop(run);
    assert_eq!((bulkhead.taken(), breaker.circuit()), (0, Circuit::CLOSED));
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.succeeded, snapshot.calls.started), (1, 1));
    assert_eq!((snapshot.attempts.cancelled, snapshot.attempts.started), (1, 2));
    assert_eq!((snapshot.attempts.succeeded, snapshot.retries), (1, 1));
}

#[test]
fn a_call_is_counted_once_whatever_comes_of_its_second_attempt_after_the_answer() {
    for (late, failed) in [(Some(Ok(8)), 0), (Some(Err(fault(Class::Transient))), 1), (None, 0)] {
        let metrics = Metrics::<1>::new();
        let policy = Policy::new().attempts(2).metrics(&metrics);
        let mut run = policy.start::<Fault>(at(0), 0);
        let first = granted(run.attempt(at(0)).next);
        let second = granted(run.attempt(at(0)).next);
        let _ = run.settle(first, at(1), Some(Ok(7)), zero);
        let _ = run.settle(second, at(1), late, zero);
        drop(run);
        let snapshot = metrics.snapshot();
        let calls = snapshot.calls;
        assert_eq!((calls.succeeded, calls.failed, calls.in_flight), (1, 0, 0), "{late:?}");
        assert_eq!((snapshot.attempts.failed, snapshot.attempts.in_flight), (failed, 0));
    }
}

#[test]
fn one_of_two_attempts_that_fails_waits_for_the_other_and_counts() {
    let breaker = Breaker::new(Trip::after(3), secs(60));
    let policy = Policy::new().attempts(3).backoff(Backoff::constant(secs(5))).breaker(&breaker);
    let mut run = policy.start(at(0), 0);
    let first = granted(run.attempt(at(0)).next);
    let second = granted(run.attempt(at(1)).next);
    let failed = |number| Some(Err::<u8, _>(Fault { class: Class::Transient, number }));
    assert!(matches!(run.settle(second, at(2), failed(2), zero).next, Next::Pending));
    assert_eq!(breaker.circuit().phase(), Phase::Closed { history: 1 });
    let next = run.settle(first, at(3), failed(1), zero).next;
    assert!(matches!(next, Next::Retry(again) if again == at(8)));
    let third = granted(run.attempt(at(8)).next);
    assert_eq!(third.made().attempt, 3);
    let Next::Done(Err(error)) = run.settle(third, at(8), failed(3), zero).next else {
        panic!("three were made")
    };
    assert_eq!((error.attempts, error.last.unwrap().number), (3, 3));
    assert_eq!(breaker.state(at(8)), State::Open);
}

#[test]
fn a_second_attempt_needs_a_closed_breaker_a_token_and_an_attempt_left() {
    let budget = Budget::with_rule(BudgetRule::new(4, 0, Duration::ZERO));
    let policy = Policy::new().attempts(3).budget(&budget);
    let mut run = policy.start::<Fault>(at(0), 0);
    let _first = granted(run.attempt(at(0)).next);
    drop(granted(run.attempt(at(0)).next));
    assert_eq!(budget.tokens(), 3, "a second attempt is paid like a retry");
    let mut other = policy.start::<Fault>(at(0), 0);
    let _another = granted(other.attempt(at(0)).next);
    assert!(matches!(other.attempt(at(0)).next, Leave::NotNow), "half is left");

    let alone = Policy::new();
    let mut run = alone.start::<Fault>(at(0), 0);
    let _first = granted(run.attempt(at(0)).next);
    assert!(matches!(run.attempt(at(0)).next, Leave::NotNow), "one attempt is allowed");

    let breaker = Breaker::with_rule(Rule::new(Trip::after(1), secs(30)).probes(5));
    let _ = breaker.try_acquire(at(0)).unwrap().settle(at(0), Outcome::Failure);
    let probing = Policy::new().attempts(3).breaker(&breaker);
    let mut run = probing.start::<Fault>(at(31), 0);
    let _first = granted(run.attempt(at(31)).next);
    assert!(matches!(run.attempt(at(31)).next, Leave::NotNow), "a probe is not hedged");
}

#[test]
fn a_second_attempt_that_a_part_refuses_leaves_the_first_to_answer() {
    let (bulkhead, metrics) = (Bulkhead::new(1), <Metrics>::new());
    let policy = Policy::new().attempts(3).bulkhead(&bulkhead).metrics(&metrics);
    let mut run = policy.start::<Fault>(at(0), 0);
    let first = granted(run.attempt(at(0)).next);
    let second = run.attempt(at(1));
    assert!(matches!(second.next, Leave::NotNow));
    let full = Event::Refused { stage: Stage::Bulkhead, reason: Reason::BulkheadFull, wait: None };
    assert!(second.events.iter().eq([&full]), "{:?}", second.events);
    assert!(matches!(run.settle(first, at(2), Some(Ok(7)), zero).next, Next::Done(Ok(7))));
    let told = metrics.snapshot();
    assert_eq!((told.refusals.bulkhead_full, told.attempts.started), (1, 1));
    assert_eq!((told.calls.succeeded, told.calls.refused), (1, 0));
}

// --- The driver that blocks -----------------------------------------------------------------------

#[test]
fn a_late_success_of_a_blocking_operation_is_returned_and_counted_as_slow() {
    let (clock, metrics) = (ManualClock::new(), Metrics::<1>::new());
    let breaker = Breaker::new(Trip::after(1), secs(60));
    let policy = Policy::new()
        .attempts(3)
        .attempt_timeout(secs(5))
        .deadline(secs(8))
        .breaker(&breaker)
        .metrics(&metrics);
    for (takes, slow) in [(5, 0), (6, 1), (20, 2)] {
        let operation = |_| {
            clock.advance(secs(takes));
            Ok::<_, Fault>(takes)
        };
        assert_eq!(policy.execute_blocking(&clock, operation), Ok(takes));
        assert_eq!(metrics.snapshot().slow, slow, "after {takes} s");
    }
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.succeeded, snapshot.attempts.timed_out), (3, 0));
    assert_eq!(breaker.circuit(), Circuit::CLOSED);
}

#[test]
fn a_blocking_operation_is_told_the_time_it_has_and_retried_after_the_waits() {
    let clock = ManualClock::new();
    let policy = Policy::new()
        .attempts(4)
        .attempt_timeout(secs(10))
        .deadline(secs(18))
        .backoff(Backoff::constant(secs(2)));
    let mut told = vec![];
    let operation = |made: Made| {
        told.push((made.attempt, made.time_left, clock.now()));
        clock.advance(secs(4));
        if made.attempt < 3 { Err(fault(Class::Transient)) } else { Ok(7) }
    };
    assert_eq!(policy.execute_blocking(&clock, operation), Ok(7));
    assert_eq!(told, [(1, secs(10), at(0)), (2, secs(10), at(6)), (3, secs(6), at(12))]);
    assert_eq!(clock.now(), at(16));
}

#[test]
fn a_blocking_operation_that_fails_late_is_not_retried_after_the_deadline() {
    let (clock, breaker) = (ManualClock::new(), Breaker::new(Trip::after(2), secs(60)));
    let policy = Policy::new().attempts(4).deadline(secs(8)).breaker(&breaker);
    let operation = |_| {
        clock.advance(secs(9));
        Err::<u8, _>(fault(Class::Overloaded))
    };
    let error = policy.execute_blocking(&clock, operation).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::Deadline, 1));
    assert_eq!(error.into_inner(), Some(fault(Class::Overloaded)));
    assert_eq!(breaker.circuit().phase(), Phase::Closed { history: 1 }, "it did answer");
}

#[test]
fn a_blocking_execution_has_a_fallback_too() {
    let (clock, metrics) = (ManualClock::new(), Metrics::<1>::new());
    let policy = Policy::new().attempts(2).metrics(&metrics);
    let fails = |_| Err::<u8, _>(fault(Class::Transient));
    let answer = policy.execute_blocking_or_else(&clock, fails, |error| {
        Ok::<_, OrElseError<Fault, ()>>(error.attempts as u8)
    });
    assert_eq!(answer, Ok(2));
    let answer = policy.execute_blocking_or_else(&clock, fails, |_| {
        Err::<u8, OrElseError<Fault, _>>(OrElseError::Fallback("no cache"))
    });
    assert_eq!(answer, Err(OrElseError::Fallback("no cache")));
    let answer = policy.execute_blocking_or_else(
        &clock,
        |_| Ok(7),
        |error| Err(OrElseError::<Fault, ()>::GaveUp(error)),
    );
    assert_eq!(answer, Ok(7));
    let calls = metrics.snapshot().calls;
    assert_eq!((calls.fell_back, calls.failed, calls.succeeded, calls.started), (1, 1, 1, 3));
}

// --- Errors ---------------------------------------------------------------------------------------

#[test]
fn a_timed_out_attempt_leaves_the_error_before_it_as_the_last_one() {
    let clock = ManualClock::new();
    let policy = Policy::new().attempts(2).attempt_timeout(secs(5));
    let number = Cell::new(0);
    let operation = || {
        number.set(number.get() + 1);
        let hangs = number.get() == 2;
        async move { if hangs { pending().await } else { failing().await } }
    };
    let error = clock.block_on(policy.execute(&clock, operation)).unwrap_err();
    assert_eq!((error.last, error.class), (Some(fault(Class::Transient)), Some(Class::Timeout)));
    assert_eq!(error.to_string(), "no attempts left after 2 attempts (timeout)");
}

#[test]
fn an_execution_is_a_named_future_that_can_be_sent_and_spawned() {
    fn spawnable<F: Future + Send>(future: F) -> F {
        future
    }
    static CLOCK: ManualClock = ManualClock::new();
    static POLICY: Policy = Policy::new().attempts(2);
    let state = std::sync::Arc::new(7_u8);
    let operation = move || {
        let state = std::sync::Arc::clone(&state);
        async move { Ok::<_, Fault>(*state) }
    };
    let execution = spawnable(POLICY.execute(&CLOCK, operation));
    let answer = std::thread::spawn(|| CLOCK.block_on(execution)).join().unwrap();
    assert_eq!(answer, Ok(7));
    let awaited = spawnable(async { POLICY.execute(&CLOCK, || ready(Ok::<_, Fault>(8))).await });
    assert_eq!(CLOCK.block_on(awaited), Ok(8));
}

#[test]
fn a_policy_without_classes_takes_every_error_for_transient_when_told_to() {
    let clock = ManualClock::new();
    let policy = Policy::new().attempts(3).retry_all();
    let error = clock.block_on(policy.execute(&clock, || ready(Err::<u8, _>("x")))).unwrap_err();
    let Error { last, stopped, attempts, class, .. } = error;
    assert_eq!((last, stopped, attempts), (Some("x"), Reason::Attempts, 3));
    assert_eq!(class, Some(Class::Transient));
    let never = policy.classify(|_: &&str| Verdict::of(Class::Transient).retry(Retry::Never));
    let error = clock.block_on(never.execute(&clock, || ready(Err::<u8, _>("x")))).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::Class, 1));
}
