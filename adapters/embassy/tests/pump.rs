//! Events kept for later.

use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::task::{Context, Waker};
use core::time::Duration;
use std::sync::Arc;
use std::task::Wake;
use std::thread;

use steadfast::orchestrator::{Orchestrator, Registration, Watch as _};
use steadfast::{Breaker, Class, Event, ManualClock, Observe as _, Policy, Trip};
use steadfast_embassy::{Pump, Told};

#[test]
fn events_are_taken_in_the_order_of_telling() {
    let pump = Pump::<4>::new();
    assert_eq!(pump.take(), None);
    pump.observe(&retry(1));
    pump.watch("ai_summarize", &Event::Opened);
    assert_eq!(pump.take(), Some(Told { operation: None, event: retry(1) }));
    let Told { operation, event } = pump.take().unwrap();
    assert_eq!((operation.unwrap().as_str(), event), ("ai_summarize", Event::Opened));
    assert_eq!((pump.take(), pump.take_lost()), (None, 0));
}

#[test]
fn what_does_not_fit_is_counted_and_the_oldest_are_kept() {
    let pump = Pump::<4>::new();
    (1..=7).for_each(|attempt| pump.observe(&retry(attempt)));
    assert_eq!(pump.take_lost(), 3);
    assert_eq!(pump.take_lost(), 0);
    let kept: Vec<_> = core::iter::from_fn(|| pump.take()).map(|told| told.event).collect();
    assert_eq!(kept, [1, 2, 3, 4].map(retry));
    pump.observe(&retry(8));
    assert_eq!(pump.take().unwrap().event, retry(8));
}

#[test]
fn it_is_told_what_executions_do() {
    static BREAKER: Breaker = Breaker::new(Trip::after(2), Duration::from_secs(1));
    static PUMP: Pump<8> = Pump::new();
    let clock = ManualClock::new();
    let policy = Policy::new().attempts(2).breaker(&BREAKER).observer(&PUMP).retry_all();
    let result = clock.block_on(policy.execute(&clock, || async { Err::<(), _>("down") }));
    assert!(result.is_err());
    let told: Vec<_> = core::iter::from_fn(|| PUMP.take()).collect();
    assert!(told.iter().all(|told| told.operation.is_none()), "{told:?}");
    assert!(matches!(told[0].event, Event::Retry { attempt: 1, .. }), "{told:?}");
    assert_eq!(told[1].event, Event::Opened);
}

#[test]
fn it_watches_an_orchestrator() {
    static PUMP: Pump<8> = Pump::new();
    static OPERATIONS: Orchestrator<2> =
        Orchestrator::new().operation("ai_classify", Registration::new()).watched_by(&PUMP);
    let clock = ManualClock::new();
    let classify = OPERATIONS.get("ai_classify").unwrap().retry_all();
    let result = clock.block_on(classify.execute(&clock, || async { Err::<(), _>("down") }));
    assert!(result.is_err());
    assert_eq!(PUMP.take().unwrap().operation.unwrap().as_str(), "ai_classify");
}

#[test]
fn whoever_waits_for_more_is_woken_once_there_is() {
    let pump = Pump::<1>::new();
    let (wakes, waker) = counted();
    let mut context = Context::from_waker(&waker);
    let mut more = pin!(pump.more());
    assert!(more.as_mut().poll(&mut context).is_pending());
    assert_eq!(wakes.0.load(Relaxed), 0);
    pump.observe(&Event::Opened);
    assert_eq!(wakes.0.load(Relaxed), 1);
    assert!(more.as_mut().poll(&mut context).is_ready());
    // What was lost is something to say, too.
    pump.observe(&Event::Closed);
    assert!(pump.take().is_some());
    assert!(pin!(pump.more()).poll(&mut context).is_ready());
    assert_eq!(pump.take_lost(), 1);
    assert!(pin!(pump.more()).poll(&mut context).is_pending());
    assert_eq!(wakes.0.load(Relaxed), 1);
}

#[test]
fn the_last_one_who_waits_is_woken() {
    let pump = Pump::<1>::new();
    let ((early, one), (late, other)) = (counted(), counted());
    assert!(pin!(pump.more()).poll(&mut Context::from_waker(&one)).is_pending());
    assert!(pin!(pump.more()).poll(&mut Context::from_waker(&other)).is_pending());
    pump.observe(&Event::Opened);
    assert_eq!((early.0.load(Relaxed), late.0.load(Relaxed)), (0, 1));
}

#[test]
fn told_from_many_threads_all_are_taken_or_counted_as_lost() {
    let pump = Pump::<16>::new();
    let (mut taken, mut lost) = (0, 0);
    thread::scope(|scope| {
        let tellers: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| (0..5_000).for_each(|attempt| pump.observe(&retry(attempt)))))
            .collect();
        while !tellers.iter().all(|teller| teller.is_finished()) {
            taken += core::iter::from_fn(|| pump.take()).count();
            lost += pump.take_lost() as usize;
        }
    });
    taken += core::iter::from_fn(|| pump.take()).count();
    lost += pump.take_lost() as usize;
    assert_eq!(taken + lost, 15_000);
}

#[cfg(feature = "defmt")]
mod said {
    use defmt::export::fetch_bytes;

    use super::*;

    const LEVELS: Option<&str> = option_env!("DEFMT_LOG");

    #[test]
    fn what_is_tested_here_is_compiled_with_all_levels_of_defmt() {
        assert_eq!(LEVELS, Some("debug"), "the repository's .cargo/config.toml sets DEFMT_LOG");
    }

    #[test]
    fn draining_leaves_nothing() {
        let pump = Pump::<2>::new();
        (1..=3).for_each(|attempt| pump.observe(&retry(attempt)));
        pump.drain();
        assert_eq!((pump.take(), pump.take_lost()), (None, 0));
    }

    #[test]
    fn each_event_is_said_and_how_many_were_lost() {
        let pump = Pump::<2>::new();
        pump.watch("ai_summarize", &retry(0x0102_0304));
        pump.watch("ai_classify", &Event::Opened);
        (0..0x0506).for_each(|_| pump.observe(&Event::Closed));
        fetch_bytes();
        pump.drain();
        let bytes = fetch_bytes();
        let at = |part: &[u8]| bytes.windows(part.len()).position(|window| window == part).unwrap();
        assert!(at(b"ai_summarize") < at(&[4, 3, 2, 1]));
        assert!(at(&[4, 3, 2, 1]) < at(b"ai_classify"));
        assert!(at(b"ai_classify") < at(&[6, 5, 0, 0]));
    }

    #[test]
    fn a_task_that_runs_it_says_each_event_when_it_comes() {
        let pump = Pump::<2>::new();
        let (wakes, waker) = counted();
        let mut context = Context::from_waker(&waker);
        let mut run = pin!(pump.run());
        fetch_bytes();
        for woken in 1..=3 {
            assert!(run.as_mut().poll(&mut context).is_pending());
            pump.watch("ai_classify", &Event::Closed);
            assert_eq!(wakes.0.load(Relaxed), woken);
            assert_eq!(fetch_bytes(), []);
            assert!(run.as_mut().poll(&mut context).is_pending());
            let bytes = fetch_bytes();
            assert!(bytes.windows(11).any(|window| window == b"ai_classify"), "{bytes:?}");
        }
    }
}

const fn retry(attempt: u32) -> Event {
    Event::Retry { attempt, wait: Duration::from_millis(200), class: Class::Timeout }
}

#[derive(Default)]
struct Wakes(AtomicU32);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

fn counted() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::new(Wakes::default());
    (Arc::clone(&wakes), wakes.into())
}
