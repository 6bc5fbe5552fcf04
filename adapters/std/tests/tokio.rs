//! `TokioClock`, and policies under tokio: paused time, many threads, one breaker for all of them.

#![allow(clippy::unwrap_used, missing_docs)]

use core::future::pending;
use core::time::Duration;
use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use steadfast::state::State;
use steadfast::{
    Backoff, Breaker, Bulkhead, Class, Classify, Clock as _, Error, Event, Instant, Metrics,
    OrElseError, Policy, Reason, Sleep, Trip, Verdict,
};
use steadfast_std::TokioClock;
use tokio::task::JoinHandle;
use tokio::time;

/// Fails so many times, then says how often it was asked.
#[derive(Debug)]
struct Service {
    failures: u32,
    asked: Mutex<u32>,
}

#[derive(Debug, PartialEq)]
struct Down;

mod clock {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_stands_still_while_tokio_is_paused_and_moves_as_tokio_does() {
        let clock = TokioClock::new();
        let before = clock.now();
        std::thread::sleep(ms(2));
        assert_eq!(clock.now(), before);
        time::advance(Duration::from_micros(1_234_567)).await;
        assert_eq!(clock.now(), before.after(Duration::from_micros(1_234_567)));
        time::sleep(Duration::from_secs(3_600)).await;
        assert!(clock.now().since(before) >= Duration::from_secs(3_601));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_is_never_early_and_a_timer_tick_late_at_most() {
        let clock = TokioClock::new();
        // From many phases of the timer's millisecond, and of the clock's microsecond.
        for step in 0..4_000_u32 {
            time::advance(Duration::from_nanos(u64::from(step) * 37_003 % 1_000_000)).await;
            let wait = Duration::from_micros(u64::from(step) * 7_919 % 5_000);
            let at = clock.now().after(wait);
            clock.sleep_until(at).await;
            assert!(clock.now() >= at, "{wait:?}: {:?} early", at.since(clock.now()));
            assert!(clock.now().since(at) <= ms(2), "{wait:?}: {:?} late", clock.now().since(at));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_into_the_past_ends_at_once() {
        let clock = TokioClock::new();
        let before = clock.now();
        clock.sleep_until(Instant::ORIGIN).await;
        clock.sleep_until(before).await;
        assert_eq!(clock.now(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sleep_without_an_end_goes_on() {
        let sleep = TokioClock::new().sleep_until(Instant::MAX);
        let year = Duration::from_secs(86_400 * 365);
        assert!(time::timeout(year, sleep).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn clocks_made_at_different_times_read_the_same() {
        let first = TokioClock::new();
        time::advance(Duration::from_secs(40)).await;
        assert_eq!(TokioClock::new().now(), first.now());
        assert_eq!(TokioClock::default().now(), first.now());
    }

    #[test]
    fn runtimes_side_by_side_have_one_origin() {
        let outside = TokioClock::new().now();
        let first = paused().block_on(async { TokioClock::new().now() });
        let second = paused().block_on(async { TokioClock::new().now() });
        assert!(outside <= first && first <= second);
        assert!(second <= TokioClock::new().now());
    }

    #[test]
    fn threads_get_different_shards_and_keep_theirs() {
        let clock = TokioClock::new();
        let shards: HashSet<_> = (0..4)
            .map(|_| std::thread::spawn(move || [clock.shard_hint(), clock.shard_hint()]))
            .map(|thread| thread.join().unwrap())
            .inspect(|[first, again]| assert_eq!(first, again))
            .collect();
        assert_eq!(shards.len(), 4);
    }

    #[test]
    fn random_bits_differ_between_draws_and_between_threads() {
        let draw = || (0..1_000).map(|_| TokioClock::new().random()).collect::<Vec<_>>();
        let (here, there) = (draw(), std::thread::spawn(draw).join().unwrap());
        let distinct: HashSet<_> = here.iter().chain(&there).collect();
        // By chance alone two of them are equal once in two thousand runs, eleven never.
        assert!(distinct.len() >= 1_990, "{} of 2000 differ", distinct.len());
        for bit in 0..32 {
            let ones = here.iter().filter(|bits| *bits >> bit & 1 == 1).count();
            assert!((300..700).contains(&ones), "bit {bit} is set in {ones} of 1000");
        }
    }

    #[test]
    fn the_wall_clock_is_read_beside_it() {
        let now = TokioClock::new().unix_micros().unwrap();
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let difference = since.saturating_sub(Duration::from_micros(now));
        assert!(difference < Duration::from_secs(60), "{difference:?}");
    }
}

mod spawned {
    use super::*;

    static POLICY: Policy =
        Policy::new().attempts(3).backoff(Backoff::constant(ms(1))).deadline(MINUTE);

    /// Code that knows nothing of its clock but what it needs.
    fn call<C>(clock: C, policy: &'static Policy<'static>, service: Arc<Service>) -> Answer
    where
        C: Sleep + Clone + Send + Sync + 'static,
        C::Sleeping: Send,
    {
        tokio::spawn(async move { policy.execute(&clock, || service.ask()).await })
    }

    /// The same with a policy that the task owns a share of.
    fn call_shared<C>(clock: C, policy: Arc<Policy<'static>>, service: Arc<Service>) -> Answer
    where
        C: Sleep + Clone + Send + Sync + 'static,
        C::Sleeping: Send,
    {
        tokio::spawn(async move {
            let fallback = |error| async { Err::<u32, _>(OrElseError::<_, Down>::GaveUp(error)) };
            let answer = policy.execute_or_else_async(clock.clone(), || service.ask(), fallback);
            answer.await.map_err(|error| match error {
                OrElseError::GaveUp(error) => error,
                OrElseError::Fallback(Down) => unreachable!("the fallback only gives up"),
            })
        })
    }

    /// The execution itself as the task's future.
    fn call_named<C>(clock: C, service: Arc<Service>) -> Answer
    where
        C: Sleep + Clone + Send + Sync + 'static,
        C::Sleeping: Send,
    {
        tokio::spawn(POLICY.execute(clock, move || {
            let service = Arc::clone(&service);
            async move { service.ask().await }
        }))
    }

    type Answer = JoinHandle<Result<u32, Error<Down>>>;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_static_policy_runs_in_spawned_tasks() {
        let answers: Vec<_> =
            (0..32).map(|_| call(TokioClock::new(), &POLICY, Service::after(2))).collect();
        for answer in answers {
            assert_eq!(answer.await.unwrap(), Ok(3));
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_arced_policy_runs_in_spawned_tasks() {
        let policy = Arc::new(POLICY.attempts(2));
        let calls = [1, 2].map(|failures| {
            call_shared(TokioClock::new(), Arc::clone(&policy), Service::after(failures))
        });
        let [enough, too_few] = calls;
        assert_eq!(enough.await.unwrap(), Ok(2));
        let error = too_few.await.unwrap().unwrap_err();
        assert_eq!((error.last, error.attempts), (Some(Down), 2));
        assert_eq!(error.stopped, Reason::Attempts);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn an_execution_is_itself_a_task() {
        assert_eq!(call_named(TokioClock::new(), Service::after(2)).await.unwrap(), Ok(3));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn tasks_on_two_threads_trip_one_breaker_once() {
        static BREAKER: Breaker = Breaker::new(Trip::after(16), MINUTE);
        static METRICS: Metrics = Metrics::new();
        static POLICY: Policy = Policy::new().breaker(&BREAKER).metrics(&METRICS);
        let service = Service::after(u32::MAX);
        let answers: Vec<_> =
            (0..64).map(|_| call(TokioClock::new(), &POLICY, Arc::clone(&service))).collect();
        let mut refused = 0;
        for answer in answers {
            match answer.await.unwrap().unwrap_err().stopped {
                Reason::Attempts => {}
                reason => {
                    assert_eq!(reason, Reason::BreakerOpen);
                    refused += 1;
                }
            }
        }
        let snapshot = METRICS.snapshot();
        assert_eq!(snapshot.breaker.opened, 1);
        assert_eq!(snapshot.calls.refused, refused);
        // 16 tripped it, the others were under way or refused.
        assert_eq!(snapshot.breaker.late_outcomes, 48 - refused);
        let one_more = call(TokioClock::new(), &POLICY, service).await.unwrap().unwrap_err();
        assert_eq!((one_more.stopped, one_more.attempts), (Reason::BreakerOpen, 0));
    }

    #[test]
    fn an_execution_is_send_when_its_parts_are() {
        fn of_any_clock<C>(clock: C) -> impl Send + 'static
        where
            C: Sleep + Send + 'static,
            C::Sleeping: Send,
        {
            POLICY.execute(clock, || async { Ok::<(), Down>(()) })
        }
        fn send<T: Send + 'static>(future: T) -> T {
            future
        }
        let (clock, ready) = (TokioClock::new(), || async { Ok::<(), Down>(()) });
        drop(of_any_clock(clock));
        drop(send(POLICY.execute(clock, ready)));
        drop(send(POLICY.execute_told(clock, |_| async { Ok::<(), Down>(()) })));
        drop(send(POLICY.execute_once(clock, ready())));
        drop(send(POLICY.execute_or_else(clock, ready, |error| {
            Err::<(), OrElseError<_, Down>>(OrElseError::GaveUp(error))
        })));
        drop(send(POLICY.execute_or_else_async(clock, ready, |error| async {
            Err::<(), OrElseError<_, Down>>(OrElseError::GaveUp(error))
        })));
    }
}

mod paused_time {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hanging_attempt_is_given_up_after_its_timeout_and_made_again() {
        let policy = Policy::new()
            .attempts(2)
            .attempt_timeout(ms(2_000))
            .backoff(Backoff::constant(ms(1_000)));
        let (error, took) = timed(policy.execute(TokioClock::new(), hang)).await;
        let error = error.unwrap_err();
        assert_eq!((error.stopped, error.attempts), (Reason::Attempts, 2));
        assert_eq!((error.last, error.class), (None, Some(Class::Timeout)));
        assert_about(took, ms(5_000));
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_outlives_the_deadline() {
        let policy = Policy::new().attempts(3).attempt_timeout(MINUTE).deadline(ms(3_000));
        let (error, took) = timed(policy.execute(TokioClock::new(), hang)).await;
        let error = error.unwrap_err();
        assert_eq!((error.stopped, error.attempts), (Reason::Deadline, 1));
        assert_about(took, ms(3_000));
    }

    #[tokio::test(start_paused = true)]
    async fn r02_no_wait_ends_after_the_deadline() {
        let policy =
            Policy::new().attempts(5).backoff(Backoff::constant(ms(300))).deadline(ms(500));
        let slow_failure = || async {
            time::sleep(ms(50)).await;
            Err::<u32, _>(Down)
        };
        let (error, took) = timed(policy.execute(TokioClock::new(), slow_failure)).await;
        let error = error.unwrap_err();
        assert_eq!((error.stopped, error.attempts), (Reason::Deadline, 2));
        assert_eq!(error.last, Some(Down));
        assert_about(took, ms(400));
    }

    #[tokio::test(start_paused = true)]
    async fn retries_come_after_their_waits_and_are_told_before_them() {
        let clock = TokioClock::new();
        let began = clock.now();
        let (told, made) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
        let observer =
            |event: &Event| told.lock().unwrap().push((clock.now().since(began), *event));
        let backoff = Backoff::exponential(ms(100), ms(1), ms(1_000));
        let policy = Policy::new().attempts(4).backoff(backoff).observer(&observer);
        let answer = policy.execute_told(clock, |this| {
            made.lock().unwrap().push(clock.now().since(began));
            async move { if this.attempt < 4 { Err(Down) } else { Ok("well") } }
        });
        assert_eq!(answer.await, Ok("well"));

        let due = [0, 100, 300, 700].map(ms);
        let made = made.into_inner().unwrap();
        assert_eq!(made.len(), 4);
        made.into_iter().zip(due).for_each(|(after, due)| assert_about(after, due));
        let told = told.into_inner().unwrap();
        assert_eq!(told.len(), 3);
        for (number, (after, event)) in told.into_iter().enumerate() {
            let (attempt, wait) = (number as u32 + 1, due[number + 1] - due[number]);
            assert_eq!(event, Event::Retry { attempt, wait, class: Class::Transient });
            assert_about(after, due[number]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fallback_answers_once_the_policy_gives_up() {
        let policy = Policy::new().attempts(2).backoff(Backoff::constant(ms(100)));
        let from_cache = |error: Error<Down>| match error.attempts {
            2 => Ok::<_, OrElseError<_, Down>>("cached"),
            _ => Err(OrElseError::GaveUp(error)),
        };
        let fail = || async { Err::<&str, _>(Down) };
        let answer = policy.execute_or_else(TokioClock::new(), fail, from_cache);
        let (answer, took) = timed(answer).await;
        assert_eq!(answer, Ok("cached"));
        assert_about(took, ms(100));
    }

    #[tokio::test(start_paused = true)]
    async fn an_async_fallback_takes_its_time() {
        let metrics = Metrics::<{ steadfast::state::COUNT_ONLY }>::new();
        let policy = Policy::new().deadline(ms(100)).metrics(&metrics);
        let ask_another = |error: Error<Down>| async move {
            time::sleep(ms(500)).await;
            match error.stopped {
                Reason::Deadline => Ok::<u32, OrElseError<_, Down>>(7),
                _ => Err(OrElseError::Fallback(Down)),
            }
        };
        let answer = policy.execute_or_else_async(TokioClock::new(), hang, ask_another);
        let (answer, took) = timed(answer).await;
        assert_eq!(answer, Ok(7));
        assert_about(took, ms(600));
        assert_eq!(metrics.snapshot().calls.fell_back, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn r09_dropped_during_a_wait_it_returns_at_once_and_gives_everything_back() {
        let (breaker, bulkhead) = (Breaker::new(Trip::after(1), MINUTE), Bulkhead::new(1));
        let metrics = Metrics::<{ steadfast::state::COUNT_ONLY }>::new();
        let policy = Policy::new()
            .attempts(2)
            .backoff(Backoff::constant(ms(90_000)))
            .breaker(&breaker)
            .bulkhead(&bulkhead)
            .metrics(&metrics);
        let execute = policy.execute(TokioClock::new(), || async { Err::<u32, _>(Down) });
        let (dropped, took) = timed(time::timeout(ms(250), execute)).await;
        assert!(dropped.is_err());
        assert_about(took, ms(250));
        assert_eq!(bulkhead.taken(), 0);
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.calls.cancelled, snapshot.calls.in_flight), (1, 0));
        assert_eq!((snapshot.attempts.failed, snapshot.attempts.in_flight), (1, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn dropped_while_it_asks_it_says_nothing_to_the_breaker() {
        let (breaker, bulkhead) = (Breaker::new(Trip::after(1), MINUTE), Bulkhead::new(1));
        let policy = Policy::new().breaker(&breaker).bulkhead(&bulkhead);
        let execute = policy.execute(TokioClock::new(), hang);
        let dropped = time::timeout(ms(250), async {
            tokio::join!(execute, async { assert_eq!(bulkhead.taken(), 1) })
        });
        assert!(dropped.await.is_err());
        assert_eq!(bulkhead.taken(), 0);
        assert_eq!(breaker.state(TokioClock::new().now()), State::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn two_clocks_see_one_breakers_time() {
        let breaker = Breaker::new(Trip::after(1), MINUTE);
        let policy = Policy::new().breaker(&breaker);
        let first = TokioClock::new();
        time::advance(Duration::from_secs(40)).await;
        let second = TokioClock::new();

        let fail = || async { Err::<u32, _>(Down) };
        policy.execute(first, fail).await.unwrap_err();
        time::advance(Duration::from_secs(59)).await;
        for clock in [first, second] {
            assert_eq!(breaker.state(clock.now()), State::Open);
            assert_about(breaker.remaining(clock.now()), ms(1_000));
            let error = policy.execute(clock, fail).await.unwrap_err();
            assert_eq!((error.stopped, error.attempts), (Reason::BreakerOpen, 0));
        }
        time::advance(ms(1_020)).await;
        assert_eq!(breaker.state(first.now()), State::HalfOpen);
        let answer = policy.execute(second, || async { Ok::<_, Down>("well") }).await;
        assert_eq!(answer, Ok("well"));
        assert_eq!(breaker.state(first.now()), State::Closed);
    }

    #[test]
    fn two_runtimes_see_one_breakers_time() {
        let breaker = Breaker::new(Trip::after(1), MINUTE);
        let policy = Policy::new().breaker(&breaker);
        let (first, second) = (paused(), paused());
        first.block_on(async {
            // Each runtime's paused time began when it was made; both count from one origin.
            policy.execute(TokioClock::new(), || async { Err::<u32, _>(Down) }).await.unwrap_err();
        });
        second.block_on(async {
            let clock = TokioClock::new();
            assert_eq!(breaker.state(clock.now()), State::Open);
            // The runtimes are less than half a minute apart, so between half a minute and a
            // minute and a half the breaker opens to probes.
            time::advance(Duration::from_secs(30)).await;
            assert_eq!(breaker.state(clock.now()), State::Open);
            time::advance(MINUTE).await;
            assert_eq!(breaker.state(clock.now()), State::HalfOpen);
        });
    }
}

impl Service {
    fn after(failures: u32) -> Arc<Self> {
        Arc::new(Self { failures, asked: Mutex::new(0) })
    }

    async fn ask(&self) -> Result<u32, Down> {
        // The next poll may be on another thread.
        tokio::task::yield_now().await;
        let mut asked = self.asked.lock().unwrap();
        *asked += 1;
        if *asked > self.failures { Ok(*asked) } else { Err(Down) }
    }
}

impl Classify for Down {
    fn verdict(&self) -> Verdict {
        Verdict::of(Class::Transient)
    }
}

async fn hang() -> Result<u32, Down> {
    pending().await
}

/// The future's output, and how long it took on the paused clock.
async fn timed<F: Future>(future: F) -> (F::Output, Duration) {
    let began = TokioClock::new().now();
    let output = future.await;
    (output, TokioClock::new().now().since(began))
}

/// Not earlier, and a few of tokio's milliseconds or one of the breaker's ticks later at most.
fn assert_about(took: Duration, due: Duration) {
    assert!(took >= due && took <= due + ms(17), "{took:?}, due after {due:?}");
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const MINUTE: Duration = Duration::from_secs(60);
