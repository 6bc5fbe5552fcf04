//! One execution, in order: what is asked first, what goes back, what is told, and when.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use core::cell::Cell;
use core::future::{pending, ready};
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::sync::{Barrier, Mutex};

use steadfast::policy::{Leave, Next, Stage};
use steadfast::state::{BudgetRule, Phase, State};
use steadfast::{
    Backoff, Breaker, Budget, Bulkhead, Class, Classifier, Classify as _, Clock as _, Error, Event,
    Instant, ManualClock, Metrics, Observe, OrElseError, Policy, Reason, Retry, Sleep as _, Trip,
    Verdict,
};

use common::{Fault, at, fail, failing, fault, granted, poll, secs, succeeding, zero};

// --- 1. An execution begins -----------------------------------------------------------------------

#[test]
fn an_execution_is_started_once_however_many_attempts_it_makes() {
    let (clock, metrics) = (ManualClock::new(), METRICS);
    let policy = Policy::new().attempts(4).metrics(&metrics);
    let seen = Mutex::new(Vec::new());
    let operation = || {
        let snapshot = metrics.snapshot();
        seen.lock().unwrap().push((snapshot.calls.started, snapshot.attempts.started));
        ready(Err::<u8, _>(fault(Class::Transient)))
    };
    assert_eq!(clock.block_on(policy.execute(&clock, operation)).unwrap_err().attempts, 4);
    assert_eq!(*seen.lock().unwrap(), [(1, 1), (1, 2), (1, 3), (1, 4)]);
}

#[test]
fn an_execution_begins_when_first_polled() {
    let (clock, metrics) = (ManualClock::new(), METRICS);
    let policy = Policy::new().deadline(secs(10)).metrics(&metrics);
    let mut execution = pin!(policy.execute(&clock, pending::<Result<u8, Fault>>));
    clock.advance(secs(3600));
    assert_eq!(metrics.snapshot().calls.started, 0);
    assert!(poll(execution.as_mut()).is_pending());
    assert_eq!(metrics.snapshot().calls.started, 1);
    clock.advance(Duration::from_micros(9_999_999));
    assert!(poll(execution.as_mut()).is_pending(), "an hour of not being polled took no time");
    clock.advance(Duration::from_micros(1));
    assert!(poll(execution.as_mut()).is_ready());
}

#[test]
fn the_window_and_the_deadline_run_from_the_beginning_and_not_from_the_last_attempt() {
    for (policy, reason) in [
        (Policy::new().retry_window(secs(5)), Reason::Window),
        (Policy::new().deadline(secs(6)), Reason::Deadline),
    ] {
        let clock = ManualClock::new();
        let policy = policy.attempts(9).backoff(Backoff::constant(secs(2)));
        let error = clock.block_on(policy.execute(&clock, failing)).unwrap_err();
        assert_eq!((error.stopped, error.attempts), (reason, 3), "at 0, 2 and 4 s");
        assert_eq!(clock.now(), at(4));
    }
}

#[test]
fn a_retry_may_start_at_the_very_end_of_the_window_and_not_at_the_deadline() {
    let wait = Policy::new().attempts(2).backoff(Backoff::constant(secs(5)));
    let attempts = |policy: Policy| {
        let clock = ManualClock::new();
        clock.block_on(policy.execute(&clock, failing)).unwrap_err().attempts
    };
    assert_eq!(attempts(wait.retry_window(secs(5))), 2);
    assert_eq!(attempts(wait.retry_window(micros(4_999_999))), 1);
    assert_eq!(attempts(wait.deadline(micros(5_000_001))), 2);
    assert_eq!(attempts(wait.deadline(secs(5))), 1, "nothing is left of it at its end");
}

// --- 2. The stages that an attempt passes ---------------------------------------------------------

#[test]
fn the_first_stage_that_refuses_is_the_reason() {
    // The stages, first to last: those from `from` on all refuse.
    let expected = [
        (Stage::Time, Reason::Deadline),
        (Stage::Breaker, Reason::BreakerOpen),
        (Stage::Bulkhead, Reason::BulkheadFull),
    ];
    for (from, (stage, reason)) in expected.into_iter().enumerate() {
        let (breaker, bulkhead) = (Breaker::new(Trip::after(1), secs(60)), Bulkhead::new(1));
        let log = Log::default();
        let _taken = bulkhead.try_acquire().unwrap();
        if from <= 1 {
            fail(&breaker, at(0));
        }
        let deadline = if from == 0 { secs(1) } else { secs(100) };
        let policy =
            Policy::new().deadline(deadline).breaker(&breaker).bulkhead(&bulkhead).observer(&log);
        let before = breaker.circuit();
        let mut run = policy.start::<Fault>(at(0), 0);
        let step = run.attempt(at(1));
        let Leave::Refused(error) = step.next else { panic!("stage {from} refuses") };
        let told: Vec<_> = step.events.iter().copied().collect();
        let [Event::Refused { stage: by, reason: why, .. }] = told[..] else {
            panic!("one refusal is told: {told:?}")
        };
        assert_eq!((by, why, error.stopped), (stage, reason, reason));
        assert_eq!((error.attempts, error.last, error.class), (0, None, None));
        assert_eq!(breaker.circuit(), before, "a refusal says nothing of the other side");
        assert_eq!(bulkhead.taken(), 1, "what was taken stays, what was granted went back");
    }
}

#[test]
fn attempts_used_up_come_after_time_and_before_the_retry_window() {
    let policy = Policy::new().deadline(secs(10)).retry_window(secs(1));
    for (now, stage, reason) in
        [(at(10), Stage::Time, Reason::Deadline), (at(9), Stage::Retry, Reason::Attempts)]
    {
        let mut run = policy.start::<Fault>(at(0), 0);
        let attempt = granted(run.attempt(at(0)).next);
        run.cancel(attempt);
        let step = run.attempt(now);
        assert!(matches!(&step.next, Leave::Refused(error) if error.stopped == reason));
        let told = step.events.iter().next().copied();
        assert_eq!(told, Some(Event::Refused { stage, reason, wait: None }));
    }
}

#[test]
fn a_sleep_that_ended_late_starts_no_retry_after_the_window() {
    let policy =
        Policy::new().attempts(3).retry_window(secs(5)).backoff(Backoff::constant(secs(5)));
    for (woken, leave) in [(at(5), true), (Instant::from_micros(5_000_001), false)] {
        let mut run = policy.start(at(0), 0);
        let attempt = granted(run.attempt(at(0)).next);
        let failed = Some(Err::<u8, _>(fault(Class::Overloaded)));
        assert!(
            matches!(run.settle(attempt, at(0), failed, zero).next, Next::Retry(t) if t == at(5))
        );
        match run.attempt(woken).next {
            Leave::Granted(_) => assert!(leave),
            Leave::Refused(error) => {
                assert!(!leave);
                assert_eq!((error.stopped, error.attempts), (Reason::Window, 1));
                assert_eq!(error.class, Some(Class::Overloaded));
                assert_eq!(error.into_inner(), Some(fault(Class::Overloaded)));
            }
            Leave::NotNow => panic!("nothing is under way"),
        }
    }
}

#[test]
fn a_full_bulkhead_keeps_an_open_breaker_from_spending_its_probe() {
    let (clock, log) = (ManualClock::new(), Log::default());
    let (breaker, bulkhead) = (Breaker::new(Trip::after(1), secs(30)), Bulkhead::new(1));
    let policy = Policy::new().breaker(&breaker).bulkhead(&bulkhead).observer(&log);
    fail(&breaker, clock.now());
    let open = breaker.circuit();
    clock.advance(secs(31));

    let taken = bulkhead.try_acquire().unwrap();
    let error = clock.block_on(policy.execute(&clock, succeeding)).unwrap_err();
    assert_eq!(error.stopped, Reason::BulkheadFull);
    assert_eq!(breaker.circuit(), open, "the look at it was only a look");
    drop(taken);
    assert_eq!(clock.block_on(policy.execute(&clock, succeeding)), Ok(7));
    assert_eq!(log.take()[1..], [Event::HalfOpened, Event::Closed]);
    assert_eq!(bulkhead.taken(), 0);
}

#[test]
fn whoever_loses_the_race_for_the_probe_gives_its_slot_back() {
    const THREADS: usize = 8;
    for _ in 0..50 {
        let (breaker, bulkhead) = (Breaker::new(Trip::after(1), secs(30)), Bulkhead::new(100));
        fail(&breaker, at(0));
        let policy = Policy::new().breaker(&breaker).bulkhead(&bulkhead);
        let (start, done) = (Barrier::new(THREADS), Barrier::new(THREADS));
        let probes: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    scope.spawn(|| {
                        let mut run = policy.start::<Fault>(at(31), 0);
                        start.wait();
                        let leave = run.attempt(at(31)).next;
                        done.wait();
                        assert_eq!(bulkhead.taken(), 1, "the probe's, and no other");
                        done.wait();
                        match leave {
                            Leave::Granted(_) => 1,
                            Leave::Refused(error) => {
                                assert_eq!(error.stopped, Reason::BreakerOpen);
                                assert!(error.retry_at > Some(at(31)));
                                0
                            }
                            Leave::NotNow => panic!("nothing is under way"),
                        }
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((probes, bulkhead.taken()), (1, 0));
    }
}

#[test]
fn an_attempt_has_the_earlier_of_its_timeout_and_the_time_left() {
    let policy = Policy::new()
        .attempts(3)
        .attempt_timeout(secs(10))
        .deadline(secs(25))
        .backoff(Backoff::constant(secs(2)));
    let mut run = policy.start(at(0), 0);
    for (began, ends, number) in [(0, 10, 1), (12, 22, 2), (24, 25, 3)] {
        let attempt = granted(run.attempt(at(began)).next);
        assert_eq!(attempt.ends(), at(ends));
        assert_eq!(attempt.made().time_left, secs(ends - began));
        assert_eq!(attempt.made().attempt, number);
        let _ = run.settle::<u8>(attempt, at(ends), Some(Err(fault(Class::Transient))), zero);
    }
}

#[test]
fn an_operation_that_never_ends_is_cut_at_that_very_instant() {
    let cut = |policy: Policy| {
        let clock = ManualClock::new();
        let error =
            clock.block_on(policy.execute(&clock, pending::<Result<u8, Fault>>)).unwrap_err();
        (clock.now(), error.stopped, error.attempts, error.class, error.last)
    };
    let both = Policy::new().attempt_timeout(secs(3)).deadline(secs(8));
    let timeout = Some(Class::Timeout);
    assert_eq!(cut(both), (at(3), Reason::Attempts, 1, timeout, None));
    assert_eq!(cut(both.attempts(9)), (at(8), Reason::Deadline, 3, timeout, None));
}

// --- 3. The outcome -------------------------------------------------------------------------------

/// Class, whether it is retried, whether the breaker takes it for a failure.
const CLASSES: [(Class, bool, bool); 9] = [
    (Class::Transient, true, true),
    (Class::Timeout, true, true),
    (Class::Overloaded, true, true),
    (Class::RateLimited, true, false),
    (Class::Permanent, false, false),
    (Class::Auth, false, false),
    (Class::Quota, false, false),
    (Class::Context, false, false),
    (Class::Policy, false, false),
];

#[test]
fn a_borrowed_error_says_what_the_error_says() {
    let clock = ManualClock::new();
    for (class, attempts) in [(Class::Overloaded, 2), (Class::Quota, 1)] {
        let (policy, owned) = (Policy::new().attempts(2), fault(class));
        let borrowed = || ready(Err::<u8, &Fault>(&owned));
        let error = clock.block_on(policy.execute(&clock, borrowed)).unwrap_err();
        assert_eq!((error.last, error.class), (Some(&owned), Some(class)));
        assert_eq!(error.attempts, attempts);
    }
}

#[test]
fn a_class_says_whether_it_is_retried() {
    for (class, retried, _) in CLASSES {
        let clock = ManualClock::new();
        let policy = Policy::new().attempts(3).backoff(Backoff::constant(secs(1)));
        let operation = || ready(Err::<u8, _>(fault(class)));
        let error = clock.block_on(policy.execute(&clock, operation)).unwrap_err();
        let expected = if retried { (3, Reason::Attempts) } else { (1, Reason::Class) };
        assert_eq!((error.attempts, error.stopped), expected, "{class}");
        assert_eq!((error.class, error.last), (Some(class), Some(fault(class))));
    }
}

#[test]
fn a_class_says_whether_it_counts_and_a_neutral_one_neither_adds_to_a_run_nor_breaks_it() {
    for (class, _, fails) in CLASSES {
        let (clock, breaker) = (ManualClock::new(), Breaker::new(Trip::after(3), secs(60)));
        let policy = Policy::new().breaker(&breaker);
        let once = |class| {
            let _ = clock.block_on(policy.execute_once(&clock, ready(Err::<u8, _>(fault(class)))));
        };
        once(Class::Transient);
        once(Class::Transient);
        once(class);
        let state = if fails { State::Open } else { State::Closed };
        assert_eq!(breaker.state(clock.now()), state, "{class} as the third");
        if !fails {
            assert_eq!(breaker.circuit().phase(), Phase::Closed { history: 0b11 }, "{class}");
            once(Class::Transient);
            assert_eq!(breaker.state(clock.now()), State::Open, "{class} between two and a third");
        }
    }
}

#[test]
fn a_class_says_whether_a_probe_reopens_or_decides_nothing() {
    for (class, _, fails) in CLASSES {
        let (clock, breaker, metrics) =
            (ManualClock::new(), Breaker::new(Trip::after(1), secs(30)), METRICS);
        let policy = Policy::new().breaker(&breaker).metrics(&metrics);
        fail(&breaker, clock.now());
        clock.advance(secs(31));
        let probe = ready(Err::<u8, _>(fault(class)));
        let error = clock.block_on(policy.execute_once(&clock, probe)).unwrap_err();
        assert_eq!((error.attempts, error.class), (1, Some(class)));
        if fails {
            assert_eq!(breaker.state(clock.now()), State::Open, "{class}");
            assert!(error.retry_at > Some(clock.now().after(secs(29))), "{class}");
            continue;
        }
        assert_eq!(breaker.circuit().phase(), NO_PROBE, "{class}");
        assert_eq!(metrics.snapshot().breaker.closed, 0, "alive, but that closes nothing");
        assert_eq!(clock.block_on(policy.execute(&clock, succeeding)), Ok(7), "{class}");
        assert_eq!(breaker.state(clock.now()), State::Closed, "{class}");
    }
}

#[test]
fn an_attempt_that_is_dropped_is_neutral_in_every_phase() {
    let breaker = Breaker::new(Trip::after(2), secs(30));
    let policy = Policy::new().attempts(2).breaker(&breaker);
    let drop_one = |now| {
        let mut run = policy.start::<Fault>(now, 0);
        drop(granted(run.attempt(now).next));
    };
    fail(&breaker, at(0));
    drop_one(at(0));
    assert_eq!(breaker.circuit().phase(), Phase::Closed { history: 1 });
    fail(&breaker, at(0));
    assert_eq!(breaker.state(at(0)), State::Open, "the run of two was not broken");
    drop_one(at(31));
    assert_eq!(breaker.circuit().phase(), NO_PROBE);
    drop_one(at(31));
    assert_eq!(breaker.circuit().phase(), NO_PROBE, "another probe went");
}

#[test]
fn an_attempt_that_runs_out_of_its_own_time_is_a_failure() {
    // The second pair: both ends are one instant, and it had all of its own time.
    for (timeout, deadline) in [(5, 10), (5, 5)] {
        let (clock, breaker) = (ManualClock::new(), Breaker::new(Trip::after(1), secs(60)));
        let policy =
            Policy::new().attempt_timeout(secs(timeout)).deadline(secs(deadline)).breaker(&breaker);
        let error =
            clock.block_on(policy.execute(&clock, pending::<Result<u8, Fault>>)).unwrap_err();
        assert_eq!((error.class, error.last), (Some(Class::Timeout), None));
        assert_eq!(breaker.state(clock.now()), State::Open);
    }
}

#[test]
fn an_attempt_cut_by_the_deadline_is_neutral() {
    let (clock, breaker) = (ManualClock::new(), Breaker::new(Trip::after(2), secs(60)));
    let policy = Policy::new()
        .attempts(3)
        .attempt_timeout(secs(10))
        .deadline(micros(9_999_999))
        .breaker(&breaker);
    fail(&breaker, at(0));
    let error = clock.block_on(policy.execute(&clock, pending::<Result<u8, Fault>>)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::Deadline, 1));
    assert_eq!(breaker.circuit().phase(), Phase::Closed { history: 1 });
    fail(&breaker, clock.now());
    assert_eq!(breaker.state(clock.now()), State::Open, "the run of two was not broken");

    // As a probe it gives its place back.
    clock.advance(secs(61));
    let _ = clock.block_on(policy.execute(&clock, pending::<Result<u8, Fault>>));
    assert_eq!(breaker.circuit().phase(), NO_PROBE);
}

#[test]
fn a_classifier_says_what_running_out_of_time_means_and_is_not_asked_about_a_cut_one() {
    #[derive(Clone, Copy, Debug)]
    struct Billed<'a>(&'a Cell<u32>);
    impl Classifier<Fault> for Billed<'_> {
        fn classify(&self, error: &Fault) -> Verdict {
            error.verdict()
        }
        fn timed_out(&self) -> Verdict {
            self.0.set(self.0.get() + 1);
            Verdict::of(Class::Timeout).retry(Retry::Once)
        }
    }
    let (clock, asked) = (ManualClock::new(), Cell::new(0));
    let policy = Policy::new().attempts(9).attempt_timeout(secs(5)).classify(Billed(&asked));
    let hanging = pending::<Result<u8, Fault>>;
    let error = clock.block_on(policy.execute(&clock, hanging)).unwrap_err();
    assert_eq!((error.stopped, error.attempts, asked.get()), (Reason::Class, 2, 2));

    asked.set(0);
    let cut = policy.deadline(secs(3));
    let error = clock.block_on(cut.execute(&clock, hanging)).unwrap_err();
    assert_eq!((error.stopped, error.attempts, asked.get()), (Reason::Deadline, 1, 0));
}

// --- 4. The conditions of a retry -----------------------------------------------------------------

#[test]
fn the_first_condition_that_does_not_hold_is_the_reason() {
    let expected = [
        Reason::Class,
        Reason::Attempts,
        Reason::Budget,
        Reason::Window,
        Reason::Deadline,
        Reason::AskedWait,
        Reason::BreakerOpen,
    ];
    // The first `hold` conditions hold, and none of the others.
    for hold in 0..=expected.len() {
        let (clock, random) = (ManualClock::new(), Cell::new(0));
        let breaker = Breaker::new(Trip::after(1), secs(if hold > 6 { 5 } else { 60 }));
        let budget = Budget::with_rule(BudgetRule::new(10, 0, Duration::ZERO));
        if hold <= 2 {
            assert_eq!((0..5).filter(|_| budget.withdraw(at(0))).count(), 4, "half is left");
        }
        let policy = Policy::new()
            .attempts(if hold > 1 { 2 } else { 1 })
            .backoff(Backoff::constant(secs(1)))
            .retry_window(secs(if hold > 3 { 10 } else { 9 }))
            .deadline(secs(if hold > 4 { 11 } else { 10 }))
            .max_asked_wait(secs(if hold > 5 { 10 } else { 9 }))
            .budget(&budget)
            .breaker(&breaker);
        let verdict = Verdict::of(Class::Transient).not_before(secs(10));
        let verdict = verdict.retry(if hold > 0 { Retry::Yes } else { Retry::Never });
        let policy = policy.classify(move |_: &Fault| verdict);

        let mut run = policy.start(clock.now(), 0);
        let attempt = granted(run.attempt(clock.now()).next);
        let failed = Some(Err::<u8, _>(fault(Class::Transient)));
        let bits = || {
            random.set(random.get() + 1);
            0
        };
        match (run.settle(attempt, clock.now(), failed, bits).next, expected.get(hold)) {
            (Next::Done(Err(error)), Some(&reason)) => {
                assert_eq!(error.stopped, reason, "the first {hold} hold");
                assert!(error.retry_at >= Some(at(10)), "what was asked for is not lost");
                assert!(random.get() <= 1);
            }
            (Next::Retry(wake_up), None) => {
                assert_eq!((wake_up, random.get()), (at(10), 1), "all hold");
            }
            (next, reason) => panic!("{next:?} instead of {reason:?}"),
        }
    }
}

#[test]
fn a_failure_that_is_not_worth_a_retry_says_so_even_when_time_is_up() {
    let policy = Policy::new().attempts(3).deadline(secs(5));
    for (class, reason) in [(Class::Auth, Reason::Class), (Class::Transient, Reason::Deadline)] {
        let mut run = policy.start(at(0), 0);
        let attempt = granted(run.attempt(at(0)).next);
        let failed = Some(Err::<u8, _>(fault(class)));
        let Next::Done(Err(error)) = run.settle(attempt, at(5), failed, zero).next else {
            panic!("no retry after the deadline")
        };
        assert_eq!(error.stopped, reason, "{class}");
    }
}

#[test]
fn nobody_sleeps_towards_a_refusal() {
    let clock = ManualClock::new();
    let breaker = Breaker::new(Trip::after(2), secs(60));
    let log = Log::default();
    let policy = Policy::new()
        .attempts(5)
        .backoff(Backoff::constant(secs(20)))
        .breaker(&breaker)
        .observer(&log);
    let error = clock.block_on(policy.execute(&clock, failing)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::BreakerOpen, 2));
    assert_eq!(clock.now(), at(20), "it returned when its own failure had opened the breaker");
    let remaining = breaker.remaining(clock.now());
    assert_eq!(remaining, secs(60));
    assert!(error.retry_at >= Some(at(80)), "and says when it will admit");
    assert!(error.retry_at <= Some(at(80).after(TICK)));
    let told = log.take();
    assert_eq!(told[1], Event::Opened);
    assert!(matches!(
        told[2],
        Event::Refused { stage: Stage::Retry, reason: Reason::BreakerOpen, wait: Some(w) }
            if w >= secs(60) && w <= secs(60) + TICK
    ));
}

#[test]
fn a_breaker_that_admits_at_the_wake_up_lets_the_retry_wait_for_it() {
    let clock = ManualClock::new();
    let breaker = Breaker::new(Trip::after(1), secs(5));
    let policy = Policy::new().attempts(2).backoff(Backoff::constant(secs(6))).breaker(&breaker);
    let number = Cell::new(0);
    let operation = || {
        number.set(number.get() + 1);
        ready(if number.get() == 1 { Err(fault(Class::Transient)) } else { Ok(7) })
    };
    assert_eq!(clock.block_on(policy.execute(&clock, operation)), Ok(7));
    assert_eq!((clock.now(), breaker.state(clock.now())), (at(6), State::Closed));
}

#[test]
fn a_breaker_opened_by_others_meanwhile_refuses_the_retry_with_the_last_error() {
    let (clock, breaker) = (ManualClock::new(), Breaker::new(Trip::after(2), secs(60)));
    let policy = Policy::new().attempts(3).backoff(Backoff::constant(secs(6))).breaker(&breaker);
    let mut execution = pin!(policy.execute(&clock, failing));
    assert!(poll(execution.as_mut()).is_pending());
    fail(&breaker, clock.now());
    clock.advance(secs(6));
    let Poll::Ready(Err(error)) = poll(execution) else { panic!("it is refused") };
    assert_eq!((error.stopped, error.attempts), (Reason::BreakerOpen, 1));
    assert_eq!(error.last, Some(fault(Class::Transient)));
}

#[test]
fn only_a_retryable_failure_takes_a_token_and_only_a_success_gives() {
    let (clock, budget) =
        (ManualClock::new(), Budget::with_rule(BudgetRule::new(10, 1000, Duration::ZERO)));
    let policy = Policy::new().attempts(1).budget(&budget);
    for (result, tokens) in [
        (Err(fault(Class::Transient)), 9),
        (Err(fault(Class::Permanent)), 9),
        (Err(fault(Class::RateLimited)), 8),
        (Ok(7), 9),
    ] {
        let _ = clock.block_on(policy.execute_once(&clock, ready(result)));
        assert_eq!(budget.tokens(), tokens, "after {result:?}");
    }
}

#[test]
fn a_verdict_of_once_is_retried_once_in_an_execution() {
    let clock = ManualClock::new();
    let once = |_: &Fault| Verdict::of(Class::Timeout).retry(Retry::Once);
    let policy = Policy::new().attempts(5).classify(once);
    let error = clock.block_on(policy.execute(&clock, failing)).unwrap_err();
    assert_eq!((error.attempts, error.stopped), (2, Reason::Class));
}

// --- 5. Given up ----------------------------------------------------------------------------------

#[test]
fn a_fallback_gets_the_error_and_decides() {
    let policy = Policy::new().attempts(2).metrics(&SHARED).backoff(Backoff::constant(secs(3)));
    let expected = |error: Error<Fault>| {
        assert_eq!((error.attempts, error.stopped), (2, Reason::Attempts));
        assert_eq!((error.last, error.class), (Some(fault(Class::Quota)), Some(Class::Quota)));
        error
    };
    // A verdict of its own, so that the class is one that is never guessed.
    let policy = policy.classify(|_: &Fault| Verdict::of(Class::Quota).retry(Retry::Yes));
    let quota = || ready(Err::<u8, _>(fault(Class::Quota)));
    let clock = ManualClock::new();

    let answers = |error| Ok::<u8, OrElseError<Fault, &str>>(expected(error).attempts as u8);
    assert_eq!(clock.block_on(policy.execute_or_else(&clock, quota, answers)), Ok(2));
    let stands = |error| Err::<u8, _>(OrElseError::<_, &str>::GaveUp(expected(error)));
    let answer = clock.block_on(policy.execute_or_else(&clock, quota, stands));
    assert!(matches!(answer, Err(OrElseError::GaveUp(error)) if error.attempts == 2));
    let fails = |error| {
        expected(error);
        Err::<u8, _>(OrElseError::Fallback("no cache"))
    };
    let answer = clock.block_on(policy.execute_or_else(&clock, quota, fails));
    assert_eq!(answer, Err(OrElseError::Fallback("no cache")));

    let began = clock.now();
    let slowly = |error| {
        let clock = &clock;
        async move {
            clock.sleep_until(clock.now().after(secs(40))).await;
            Ok::<u8, OrElseError<Fault, &str>>(expected(error).attempts as u8)
        }
    };
    assert_eq!(clock.block_on(policy.execute_or_else_async(&clock, quota, slowly)), Ok(2));
    assert_eq!(clock.now(), began.after(secs(43)));

    let calls = SHARED.snapshot().calls;
    assert_eq!((calls.started, calls.fell_back, calls.failed), (4, 2, 2));
}

#[test]
fn a_fallback_answers_for_a_refusal_too_and_not_for_a_success() {
    let (clock, metrics, bulkhead) = (ManualClock::new(), METRICS, Bulkhead::new(1));
    let policy = Policy::new().bulkhead(&bulkhead).metrics(&metrics);
    let asked = Cell::new(0);
    let fallback = |error: Error<Fault>| {
        asked.set(asked.get() + 1);
        assert_eq!((error.stopped, error.attempts), (Reason::BulkheadFull, 0));
        Ok::<_, OrElseError<Fault, ()>>(1)
    };
    assert_eq!(clock.block_on(policy.execute_or_else(&clock, succeeding, fallback)), Ok(7));
    let taken = bulkhead.try_acquire().unwrap();
    assert_eq!(clock.block_on(policy.execute_or_else(&clock, succeeding, fallback)), Ok(1));
    let fails = |error| Err(OrElseError::<Fault, ()>::GaveUp(error));
    assert!(clock.block_on(policy.execute_or_else(&clock, succeeding, fails)).is_err());
    drop(taken);
    let calls = metrics.snapshot().calls;
    assert_eq!((asked.get(), calls.succeeded, calls.fell_back, calls.refused), (1, 1, 1, 1));
}

#[test]
fn a_fallback_runs_without_a_slot_or_a_deadline() {
    let (clock, bulkhead) = (ManualClock::new(), Bulkhead::new(1));
    let policy = Policy::new().deadline(secs(1)).bulkhead(&bulkhead);
    let fallback = |_| async {
        assert_eq!(bulkhead.taken(), 0);
        (&clock).sleep_until(at(500)).await;
        Ok::<u8, OrElseError<Fault, ()>>(1)
    };
    let answer = policy.execute_or_else_async(&clock, failing, fallback);
    assert_eq!((clock.block_on(answer), clock.now()), (Ok(1), at(500)));
}

// --- 7. Events ------------------------------------------------------------------------------------

#[test]
fn events_come_in_the_order_of_what_happened() {
    let (clock, log) = (ManualClock::new(), Log::default());
    let breaker = Breaker::new(Trip::after(2), secs(5));
    let policy = Policy::new()
        .attempts(4)
        .backoff(Backoff::constant(secs(6)))
        .breaker(&breaker)
        .observer(&log);
    let number = Cell::new(0);
    let operation = || {
        number.set(number.get() + 1);
        ready(match number.get() {
            1 => Err(fault(Class::Transient)),
            2 => Err(fault(Class::Overloaded)),
            3 => Err(fault(Class::RateLimited)),
            _ => Ok(7),
        })
    };
    assert_eq!(clock.block_on(policy.execute(&clock, operation)), Ok(7));
    let retry = |attempt, class| Event::Retry { attempt, wait: secs(6), class };
    assert_eq!(
        log.take(),
        [
            retry(1, Class::Transient),
            Event::Opened,
            retry(2, Class::Overloaded),
            Event::HalfOpened,
            retry(3, Class::RateLimited),
            Event::Closed,
        ]
    );
}

#[test]
fn an_event_is_told_after_state_has_moved_and_before_the_wait() {
    /// What was told when, and the breaker, the slots taken and the tokens left by then.
    type Seen = (Event, u64, State, u32, u32);
    #[derive(Default)]
    struct Witness<'a> {
        world: Option<(&'a ManualClock, &'a Breaker, &'a Bulkhead, &'a Budget)>,
        seen: Mutex<Vec<Seen>>,
    }
    impl Observe for Witness<'_> {
        fn observe(&self, event: &Event) {
            let (clock, breaker, bulkhead, budget) = self.world.unwrap();
            let now = clock.now();
            let (state, taken, tokens) = (breaker.state(now), bulkhead.taken(), budget.tokens());
            self.seen.lock().unwrap().push((*event, now.as_micros(), state, taken, tokens));
        }
    }
    let clock = ManualClock::new();
    let (breaker, bulkhead) = (Breaker::new(Trip::after(2), secs(60)), Bulkhead::new(3));
    let budget = Budget::with_rule(BudgetRule::new(10, 0, Duration::ZERO));
    let world = Some((&clock, &breaker, &bulkhead, &budget));
    let witness = Witness { world, ..Witness::default() };
    let policy = Policy::new()
        .attempts(2)
        .backoff(Backoff::constant(secs(3)))
        .breaker(&breaker)
        .bulkhead(&bulkhead)
        .budget(&budget)
        .observer(&witness);
    let wait = secs(3);
    let _ = clock.block_on(policy.execute(&clock, failing));
    clock.advance(secs(70));
    let _ = clock.block_on(policy.execute(&clock, succeeding));
    let class = Class::Transient;
    assert_eq!(
        *witness.seen.lock().unwrap(),
        [
            // Not yet waited, and the slot is free: nobody holds one while it waits.
            (Event::Retry { attempt: 1, wait, class }, 0, State::Closed, 0, 9),
            // The token is taken in the same step.
            (Event::Opened, 3_000_000, State::Open, 0, 8),
            // Told before the operation is asked for its attempt: the probe holds a slot.
            (Event::HalfOpened, 73_000_000, State::HalfOpen, 1, 8),
            (Event::Closed, 73_000_000, State::Closed, 0, 8),
        ]
    );
}

#[test]
fn a_refusal_is_told_with_its_stage_and_the_wait_where_that_is_known() {
    let (clock, log) = (ManualClock::new(), Log::default());
    let (breaker, bulkhead) = (Breaker::new(Trip::after(1), secs(60)), Bulkhead::new(1));
    let policy = Policy::new().breaker(&breaker).bulkhead(&bulkhead).observer(&log);
    let taken = bulkhead.try_acquire().unwrap();
    let _ = clock.block_on(policy.execute(&clock, succeeding));
    drop(taken);
    fail(&breaker, clock.now());
    let error = clock.block_on(policy.execute(&clock, succeeding)).unwrap_err();
    let [full, Event::Refused { stage, reason, wait: Some(wait) }] = log.take()[..] else {
        panic!("two refusals, the second with its wait")
    };
    let (no_wait, by) = (None, Stage::Bulkhead);
    assert_eq!(full, Event::Refused { stage: by, reason: Reason::BulkheadFull, wait: no_wait });
    assert_eq!((stage, reason), (Stage::Breaker, Reason::BreakerOpen));
    assert!(secs(60) <= wait && wait <= secs(60) + TICK);
    assert_eq!(error.retry_at, Some(clock.now().after(wait)));
}

#[test]
fn a_closure_observes_and_nobody_does_too() {
    let (clock, breaker) = (ManualClock::new(), Breaker::new(Trip::after(1), secs(60)));
    let heard = Mutex::new(Vec::new());
    let listens = |event: &Event| heard.lock().unwrap().push(*event);
    let policy = Policy::new().breaker(&breaker);
    let _ = clock.block_on(policy.observer(&listens).execute(&clock, failing));
    assert_eq!(*heard.lock().unwrap(), [Event::Opened]);
    let error = clock.block_on(policy.observer(&()).execute(&clock, failing)).unwrap_err();
    assert_eq!((error.stopped, heard.lock().unwrap().len()), (Reason::BreakerOpen, 1));
}

#[test]
fn an_observer_may_ask_the_breaker_that_it_hears_of() {
    struct Curious<'a>(&'a ManualClock, &'a Breaker, Mutex<Vec<Event>>);
    impl Observe for Curious<'_> {
        fn observe(&self, event: &Event) {
            self.2.lock().unwrap().push(*event);
            // Nothing is half-done: the breaker answers, and takes another outcome.
            if matches!(event, Event::Opened) {
                assert!(self.1.try_acquire(self.0.now()).is_err());
                assert!(self.1.try_acquire(self.0.now().after(secs(61))).is_ok());
            }
        }
    }
    let (clock, breaker) = (ManualClock::new(), Breaker::new(Trip::after(1), secs(60)));
    let curious = Curious(&clock, &breaker, Mutex::default());
    let policy = Policy::new().breaker(&breaker).observer(&curious);
    let _ = clock.block_on(policy.execute(&clock, failing));
    assert_eq!(*curious.2.lock().unwrap(), [Event::Opened]);
    assert_eq!(breaker.circuit().phase(), NO_PROBE, "the observer's probe moved it on");
}

// --- What these tests share -----------------------------------------------------------------------

#[derive(Debug, Default)]
struct Log(Mutex<Vec<Event>>);

impl Observe for Log {
    fn observe(&self, event: &Event) {
        self.0.lock().unwrap().push(*event);
    }
}

impl Log {
    fn take(&self) -> Vec<Event> {
        core::mem::take(&mut self.0.lock().unwrap())
    }
}

const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

#[expect(clippy::declare_interior_mutable_const, reason = "each use is a fresh one")]
const METRICS: Metrics = Metrics::new();
static SHARED: Metrics = Metrics::new();
const NO_PROBE: Phase = Phase::HalfOpen { in_flight: 0, succeeded: 0 };
/// A circuit's coarse time.
const TICK: Duration = Duration::from_micros(1 << 14);
