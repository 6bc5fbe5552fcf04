//! Embassy's clock, over embassy's driver that is moved by hand (a tick is a microsecond).

use core::pin::pin;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Wake;

use embassy_time::{Duration as Ticks, MockDriver};
use steadfast::policy::Made;
use steadfast::{Backoff, Breaker, Clock as _, Instant, Jitter, Policy, Reason, Sleep as _, Trip};
use steadfast_embassy::EmbassyClock;

static CLOCK: EmbassyClock = EmbassyClock::seeded(b"a unique id");

#[test]
fn it_reads_what_the_driver_reads() {
    let _at_zero = at_zero();
    assert_eq!(CLOCK.now(), Instant::ORIGIN);
    advance(1_234_567);
    assert_eq!(CLOCK.now(), Instant::from_micros(1_234_567));
}

#[test]
fn a_wait_wakes_its_task_at_its_instant_and_not_before() {
    let _at_zero = at_zero();
    let (wakes, waker) = counted();
    let mut context = Context::from_waker(&waker);
    let mut wait = pin!(CLOCK.sleep_until(Instant::from_micros(1_000)));
    assert!(wait.as_mut().poll(&mut context).is_pending());
    advance(999);
    assert_eq!(wakes.0.load(Relaxed), 0);
    assert!(wait.as_mut().poll(&mut context).is_pending());
    advance(1);
    assert_eq!(wakes.0.load(Relaxed), 1);
    assert!(wait.as_mut().poll(&mut context).is_ready());
}

#[test]
fn a_wait_begins_when_first_polled() {
    let _at_zero = at_zero();
    let (wakes, waker) = counted();
    let wait = CLOCK.sleep_until(Instant::from_micros(1_000));
    advance(5_000);
    assert_eq!(wakes.0.load(Relaxed), 0);
    // Embassy's timers let others run once, whatever the time.
    let (mut wait, mut context) = (pin!(wait), Context::from_waker(&waker));
    assert!(wait.as_mut().poll(&mut context).is_pending());
    assert_eq!(wakes.0.load(Relaxed), 1);
    assert!(wait.as_mut().poll(&mut context).is_ready());
}

#[test]
fn a_wait_for_the_last_instant_does_not_end() {
    let _at_zero = at_zero();
    let mut context = Context::from_waker(Waker::noop());
    let mut wait = pin!(CLOCK.sleep_until(Instant::MAX));
    assert!(wait.as_mut().poll(&mut context).is_pending());
    advance(1 << 60);
    assert!(wait.as_mut().poll(&mut context).is_pending());
}

#[test]
fn an_execution_waits_between_attempts_and_never_less() {
    let _at_zero = at_zero();
    let policy = Policy::new()
        .attempts(3)
        .backoff(Backoff::constant(Duration::from_millis(100)).jitter(Jitter::Equal))
        .retry_all();
    let made = Mutex::new(Vec::new());
    let result = run(policy.execute(&CLOCK, || {
        made.lock().unwrap().push(CLOCK.now());
        async { Err::<(), _>("down") }
    }));
    assert_eq!(result.unwrap_err().attempts, 3);
    let made = made.into_inner().unwrap();
    for pair in made.windows(2) {
        let waited = pair[1].since(pair[0]);
        assert!(waited >= Duration::from_millis(50), "{waited:?}");
        assert!(waited <= Duration::from_micros(100_001), "{waited:?}");
    }
    assert_ne!(made[1].since(made[0]), made[2].since(made[1]), "each wait draws anew");
}

#[test]
fn an_attempt_that_hangs_is_cut_by_embassys_time() {
    let _at_zero = at_zero();
    let breaker = Breaker::new(Trip::after(1), Duration::from_secs(1));
    let policy = Policy::new().attempt_timeout(Duration::from_millis(20)).breaker(&breaker);
    let hang = |_made: Made| core::future::pending::<Result<(), &str>>();
    let error = run(policy.retry_all().execute_told(&CLOCK, hang)).unwrap_err();
    assert_eq!((error.stopped, CLOCK.now()), (Reason::Attempts, Instant::from_micros(20_000)));
    assert!(breaker.try_acquire(CLOCK.now()).is_err());
}

/// Polls whenever it is woken, and moves the driver on by a microsecond when it is not.
fn run<T>(future: impl Future<Output = T>) -> T {
    let (wakes, waker) = counted();
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    for _ in 0..1_000_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        while wakes.0.swap(0, Relaxed) == 0 {
            advance(1);
        }
    }
    panic!("no end");
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

fn advance(micros: u64) {
    MockDriver::get().advance(Ticks::from_ticks(micros));
}

/// The driver is the process's only one: tests take turns.
fn at_zero() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    MockDriver::get().reset();
    turn
}
