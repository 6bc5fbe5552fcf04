//! `execute_blocking` on plain threads, beside async code under the same policy.

#![allow(clippy::unwrap_used, missing_docs)]

use core::time::Duration;
use std::panic::resume_unwind;
use std::sync::{Barrier, Mutex};
use std::thread;

use steadfast::state::{COUNT_ONLY, State};
use steadfast::{
    Backoff, Breaker, Bulkhead, Class, Classify, Clock as _, Error, Event, Instant, ManualClock,
    Metrics, OrElseError, Policy, Reason, Rule, Trip, Verdict, Wait as _,
};
use steadfast_std::{ThreadClock, TokioClock};

#[derive(Debug, PartialEq)]
struct Down;

mod clock {
    use super::*;

    #[test]
    fn a_wait_is_never_early() {
        let clock = ThreadClock::new();
        for step in 0..100 {
            let at = clock.now().after(Duration::from_micros(step * 7));
            clock.wait_until(at);
            let now = clock.now();
            assert!(now >= at, "{:?} early", at.since(now));
        }
    }

    #[test]
    fn a_wait_until_the_past_returns_at_once() {
        let clock = ThreadClock::new();
        let before = clock.now();
        for _ in 0..1_000 {
            clock.wait_until(Instant::ORIGIN);
            clock.wait_until(before);
        }
        assert!(clock.now().since(before) < ms(1_000));
    }

    #[test]
    fn it_never_steps_back_whatever_thread_reads_it() {
        let clock = ThreadClock::new();
        let last = Mutex::new(clock.now());
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        let mut last = last.lock().unwrap();
                        let now = clock.now();
                        assert!(now >= *last);
                        *last = now;
                    }
                });
            }
        });
    }

    #[test]
    fn threads_and_tasks_have_one_origin() {
        let (threads, tasks) = (ThreadClock::new(), TokioClock::new());
        for _ in 0..100 {
            let (before, between) = (threads.now(), tasks.now());
            assert!(before <= between && between <= threads.now());
        }
        let inside = runtime().block_on(async { tasks.now() });
        assert!(inside <= threads.now());
    }

    #[test]
    fn random_bits_differ_between_draws() {
        let mut draws: Vec<_> = (0..100).map(|_| ThreadClock::new().random()).collect();
        draws.sort_unstable();
        draws.dedup();
        assert!(draws.len() >= 98, "{} of 100 differ", draws.len());
    }
}

mod beside_tasks {
    use super::*;

    fn fail_in_a_thread(policy: &Policy) -> Error<Down> {
        let fail = |_| Err::<u32, _>(Down);
        thread::scope(|scope| {
            let thread = scope.spawn(|| policy.execute_blocking(ThreadClock::new(), fail));
            thread.join().unwrap().unwrap_err()
        })
    }

    fn fail_in_a_task(policy: &'static Policy) -> Error<Down> {
        let task =
            async { policy.execute(TokioClock::new(), || async { Err::<u32, _>(Down) }).await };
        runtime().block_on(task).unwrap_err()
    }

    #[test]
    fn a_thread_finds_open_what_a_task_has_opened() {
        static BREAKER: Breaker = Breaker::new(Trip::after(2), MINUTE);
        static POLICY: Policy = Policy::new().breaker(&BREAKER);
        fail_in_a_task(&POLICY);
        assert_eq!(fail_in_a_thread(&POLICY).stopped, Reason::Attempts);
        let (task, thread) = (fail_in_a_task(&POLICY), fail_in_a_thread(&POLICY));
        for error in [task, thread] {
            assert_eq!((error.stopped, error.attempts), (Reason::BreakerOpen, 0));
            let left = error.retry_at.unwrap().since(ThreadClock::new().now());
            assert!(left <= MINUTE + ms(17) && left > ms(30_000), "{left:?}");
        }
    }

    #[test]
    fn a_blocking_call_of_a_runtime_shares_the_breaker_of_its_tasks() {
        static BREAKER: Breaker = Breaker::new(Trip::after(2), MINUTE);
        static POLICY: Policy =
            Policy::new().attempts(3).backoff(Backoff::constant(ms(1))).breaker(&BREAKER);
        let error = runtime().block_on(async {
            let blocking = tokio::task::spawn_blocking(|| {
                POLICY.execute_blocking(ThreadClock::new(), |_| Err::<u32, _>(Down))
            });
            blocking.await.unwrap().unwrap_err()
        });
        assert_eq!((error.stopped, error.attempts), (Reason::BreakerOpen, 2));
        assert_eq!(BREAKER.state(TokioClock::new().now()), State::Open);
        assert_eq!(fail_in_a_task(&POLICY).attempts, 0);
    }
}

mod blocking {
    use super::*;

    #[test]
    fn retries_come_after_their_waits() {
        let clock = ThreadClock::new();
        let policy = Policy::new().attempts(3).backoff(Backoff::exponential(ms(2), ms(1), ms(9)));
        let mut made = Vec::new();
        let answer = policy.execute_blocking(clock, |this| {
            made.push(clock.now());
            if this.attempt < 3 { Err(Down) } else { Ok(this.attempt) }
        });
        assert_eq!(answer, Ok(3));
        assert_eq!(made.len(), 3);
        assert!(made[1].since(made[0]) >= ms(2));
        assert!(made[2].since(made[1]) >= ms(4));
    }

    #[test]
    fn each_attempt_is_told_the_time_it_has() {
        let clock = ManualClock::new();
        let policy = Policy::new()
            .attempts(9)
            .attempt_timeout(ms(400))
            .backoff(Backoff::constant(ms(100)))
            .deadline(ms(1_000));
        let mut told = Vec::new();
        let error = policy.execute_blocking(&clock, |this| {
            told.push((this.attempt, this.time_left));
            clock.advance(ms(300));
            Err::<u32, _>(Down)
        });
        // At 0, 400 and 800 ms; the third returns 100 ms after the deadline.
        assert_eq!(told, [(1, ms(400)), (2, ms(400)), (3, ms(200))]);
        assert_eq!(error.unwrap_err().stopped, Reason::Deadline);
    }

    #[test]
    fn without_a_limit_the_time_has_no_end() {
        let policy = Policy::new();
        let told =
            policy.execute_blocking(ThreadClock::new(), |this| Ok::<_, Down>(this.time_left));
        assert_eq!(told, Ok(Duration::MAX));
    }

    #[test]
    fn a_late_success_is_returned_and_counted_as_slow() {
        let clock = ThreadClock::new();
        let metrics = Metrics::<COUNT_ONLY>::new();
        let policy = Policy::new().attempts(3).attempt_timeout(ms(1)).metrics(&metrics);
        let answer = policy.execute_blocking(clock, |this| {
            clock.wait_until(clock.now().after(this.time_left + ms(1)));
            Ok::<_, Down>(this.attempt)
        });
        assert_eq!(answer, Ok(1));
        let snapshot = metrics.snapshot();
        assert_eq!(
            (snapshot.slow, snapshot.attempts.succeeded, snapshot.attempts.timed_out),
            (1, 1, 0)
        );
    }

    #[test]
    fn a_success_in_time_is_not_slow() {
        let clock = ManualClock::new();
        let metrics = Metrics::<COUNT_ONLY>::new();
        let policy = Policy::new().attempt_timeout(ms(5)).metrics(&metrics);
        for (takes, slow) in [(4_999, 0), (5_000, 0), (5_001, 1)] {
            let answer = policy.execute_blocking(&clock, |_| {
                clock.advance(Duration::from_micros(takes));
                Ok::<_, Down>(takes)
            });
            assert_eq!(answer, Ok(takes));
            assert_eq!(metrics.snapshot().slow, slow, "{takes} µs");
        }
    }

    #[test]
    fn b26_a_late_attempt_keeps_its_slot_until_it_has_ended() {
        let clock = ManualClock::new();
        let bulkhead = Bulkhead::new(1);
        let policy = Policy::new().attempt_timeout(ms(5)).bulkhead(&bulkhead);
        let answer = policy.execute_blocking(&clock, |_| {
            clock.advance(MINUTE);
            let inner = policy.execute_blocking(&clock, |_| Ok::<u32, Down>(1));
            Ok::<_, Down>(inner.unwrap_err().stopped)
        });
        assert_eq!(answer, Ok(Reason::BulkheadFull));
        assert_eq!(bulkhead.taken(), 0);
    }

    #[test]
    fn b04_the_late_failure_of_a_hung_probe_does_not_touch_what_came_after_it() {
        let clock = ManualClock::new();
        let rule = Rule::new(Trip::after(1), MINUTE).lease(MINUTE);
        let breaker = Breaker::with_rule(rule);
        let metrics = Metrics::<COUNT_ONLY>::new();
        let policy = Policy::new().breaker(&breaker).metrics(&metrics);
        policy.execute_blocking(&clock, |_| Err::<u32, _>(Down)).unwrap_err();
        clock.advance(MINUTE + ms(17));
        let hung = policy.execute_blocking(&clock, |_| {
            // Its lease of a minute runs out, and another probe finds the service well.
            clock.advance(2 * MINUTE);
            assert_eq!(policy.execute_blocking(&clock, |_| Ok::<_, Down>("well")), Ok("well"));
            Err::<u32, _>(Down)
        });
        assert_eq!(hung.unwrap_err().last, Some(Down));
        assert_eq!(breaker.state(clock.now()), State::Closed);
        let moves = metrics.snapshot().breaker;
        assert_eq!((moves.opened, moves.closed, moves.late_outcomes), (1, 1, 1));
    }

    #[test]
    fn a_panic_in_the_operation_gives_everything_back() {
        let (breaker, bulkhead) = (Breaker::new(Trip::after(1), MINUTE), Bulkhead::new(1));
        let metrics = Metrics::<COUNT_ONLY>::new();
        let policy = Policy::new().breaker(&breaker).bulkhead(&bulkhead).metrics(&metrics);
        let panicked = thread::scope(|scope| {
            // Says nothing on the way, unlike `panic!`.
            let operation = |_| -> Result<u32, Down> { resume_unwind(Box::new("broken")) };
            let policy = &policy;
            scope.spawn(move || policy.execute_blocking(ThreadClock::new(), operation)).join()
        });
        assert!(panicked.is_err());
        assert_eq!(bulkhead.taken(), 0);
        assert_eq!(breaker.state(ThreadClock::new().now()), State::Closed);
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.calls.cancelled, snapshot.calls.in_flight), (1, 0));
        assert_eq!((snapshot.attempts.cancelled, snapshot.attempts.in_flight), (1, 0));
    }

    #[test]
    fn a_fallback_answers_on_the_callers_thread() {
        let caller = thread::current().id();
        let answer = Policy::new().attempts(2).execute_blocking_or_else(
            ThreadClock::new(),
            |_| Err(Down),
            |error| match error.attempts {
                2 => Ok(thread::current().id()),
                _ => Err(OrElseError::<_, Down>::GaveUp(error)),
            },
        );
        assert_eq!(answer, Ok(caller));
    }
}

mod shared_by_eight_threads {
    use super::*;

    #[test]
    fn b11_they_trip_a_breaker_once_and_by_the_failure_that_does() {
        let breaker = Breaker::new(Trip::after(20), MINUTE);
        let metrics = Metrics::<COUNT_ONLY, 4>::new();
        let opened = Mutex::new(0);
        let count = |event: &Event| *opened.lock().unwrap() += u32::from(*event == Event::Opened);
        let policy = Policy::new().breaker(&breaker).metrics(&metrics).observer(&count);
        let (start, asked) = (Barrier::new(THREADS), Mutex::new(0));
        on_threads(|| {
            start.wait();
            for _ in 0..100 {
                let fail = |_| {
                    *asked.lock().unwrap() += 1;
                    Err::<u32, _>(Down)
                };
                policy.execute_blocking(ThreadClock::new(), fail).unwrap_err();
            }
        });
        assert_eq!(*opened.lock().unwrap(), 1);
        let (asked, snapshot) = (*asked.lock().unwrap(), metrics.snapshot());
        // 20 tripped it; each of the other threads may have been under way.
        assert!((20..20 + THREADS as u64).contains(&asked), "{asked} asked");
        assert_eq!(snapshot.breaker.opened, 1);
        assert_eq!(snapshot.breaker.late_outcomes, asked - 20);
        assert_eq!((snapshot.calls.failed, snapshot.calls.refused), (asked, 800 - asked));
        assert_eq!((snapshot.calls.started, snapshot.calls.in_flight), (800, 0));
        assert_eq!(snapshot.refusals.breaker_open, 800 - asked);
    }

    #[test]
    fn b07_one_probe_goes_when_all_ask_at_once() {
        let clock = ThreadClock::new();
        let breaker = Breaker::new(Trip::after(1), ms(50));
        let metrics = Metrics::<COUNT_ONLY>::new();
        let policy = Policy::new().breaker(&breaker).metrics(&metrics);
        let error = policy.execute_blocking(clock, |_| Err::<u32, _>(Down)).unwrap_err();
        assert_eq!(error.stopped, Reason::Attempts);
        let admits_at = error.retry_at.unwrap();

        // Whoever is refused, and whoever probes, waits for the others: no probe ends before all
        // have asked.
        let (all_asked, probes) = (Barrier::new(THREADS), Mutex::new(0));
        on_threads(|| {
            clock.wait_until(admits_at);
            let answer = policy.execute_blocking(clock, |_| {
                *probes.lock().unwrap() += 1;
                all_asked.wait();
                Ok::<_, Down>(())
            });
            if let Err(error) = answer {
                all_asked.wait();
                assert_eq!((error.stopped, error.attempts), (Reason::BreakerOpen, 0));
            }
        });
        assert_eq!(*probes.lock().unwrap(), 1);
        assert_eq!(breaker.state(clock.now()), State::Closed);
        let moves = metrics.snapshot().breaker;
        assert_eq!((moves.opened, moves.half_opened, moves.closed), (1, 1, 1));
        assert_eq!(metrics.snapshot().calls.refused, 7);
    }

    #[test]
    fn a_bulkhead_holds_its_number() {
        let bulkhead = Bulkhead::new(3);
        let policy = Policy::new().bulkhead(&bulkhead);
        let (all_asked, inside) = (Barrier::new(THREADS), Mutex::new(0));
        on_threads(|| {
            let answer = policy.execute_blocking(ThreadClock::new(), |_| {
                *inside.lock().unwrap() += 1;
                all_asked.wait();
                Ok::<_, Down>(())
            });
            if let Err(error) = answer {
                all_asked.wait();
                assert_eq!(error.stopped, Reason::BulkheadFull);
            }
        });
        assert_eq!(*inside.lock().unwrap(), 3);
        assert_eq!(bulkhead.taken(), 0);
    }

    fn on_threads(work: impl Fn() + Sync) {
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(&work);
            }
        });
    }

    const THREADS: usize = 8;
}

impl Classify for Down {
    fn verdict(&self) -> Verdict {
        Verdict::of(Class::Transient)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const MINUTE: Duration = Duration::from_secs(60);
