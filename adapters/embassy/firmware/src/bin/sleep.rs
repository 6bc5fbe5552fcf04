//! How long the core is awake while a service is out for 30 s, and whether anything is done before
//! its time: no retry before the service's wait is over, no probe before the breaker's.
//!
//! It runs by virtual time (`-icount shift=6,sleep=off`): 64 ns an instruction, about what one takes
//! on these cores, and the same result each time.
#![no_std]
#![no_main]

use core::cell::Cell;
use core::time::Duration;

use critical_section::Mutex;
use embassy_time::{Instant, Timer};
use firmware::{board, executor};
use semihosting::println;
use steadfast::policy::{Backoff, Event, Jitter, Observe, Policy};
use steadfast::state::{COUNT_ONLY, Metrics};
use steadfast::{
    Breaker, Budget, BudgetRule, Class, Classify, Clock as _, Sleep as _, Trip, Verdict,
};
use steadfast_embassy::EmbassyClock;

static BREAKER: Breaker = Breaker::new(Trip::after(6), Duration::from_secs(3));
static BUDGET: Budget = Budget::with_rule(BudgetRule::new(20, 1_000, Duration::from_secs(2)));
static METRICS: Metrics<COUNT_ONLY> = Metrics::new();
static POLICY: Policy = Policy::new()
    .attempts(4)
    .backoff(
        Backoff::exponential(
            Duration::from_millis(100),
            Duration::from_millis(100),
            Duration::from_millis(800),
        )
        .jitter(Jitter::Additive(Duration::from_millis(100))),
    )
    .attempt_timeout(Duration::from_millis(500))
    .deadline(Duration::from_secs(10))
    .breaker(&BREAKER)
    .budget(&BUDGET)
    .metrics(&METRICS)
    .observer(&Watched);

#[cortex_m_rt::entry]
fn start() -> ! {
    executor::run(|spawner| spawner.spawn(outage().expect("spawned once")))
}

#[cortex_m_rt::exception]
fn SysTick() {
    executor::tick();
}

#[embassy_executor::task]
async fn outage() {
    let clock = &EmbassyClock::seeded(b"sleep");
    let begun = Instant::now();
    let before = executor::rest();
    while begun.elapsed() < OUTAGE {
        let answer = POLICY
            .execute_told(clock, |made| async move {
                if made.attempt > 1 {
                    expect_since(&FAILED, ASKED);
                }
                Timer::after_millis(80).await;
                put(&FAILED);
                Err::<(), _>(Overloaded)
            })
            .await;
        // Before that, a call would only be refused.
        let retry_at = answer.err().and_then(|error| error.retry_at);
        let next = clock.now().after(Duration::from_millis(500));
        clock.sleep_until(retry_at.map_or(next, |at| at.max(next))).await;
    }
    let (rest, whole) = (executor::rest().since(&before), begun.elapsed().into());
    let awake = executor::awake(&rest, whole);
    let seen = METRICS.snapshot();
    println!(
        "{}: awake {}.{:02} % of an outage of {} s: {} calls, {} attempts, {} probes; {} polls, woken {} times",
        board::NAME,
        awake / 100,
        awake % 100,
        whole.as_secs(),
        seen.calls.started,
        seen.attempts.started,
        seen.breaker.half_opened,
        rest.polls,
        rest.naps,
    );
    let early = critical_section::with(|section| EARLY.borrow(section).get());
    if early > 0 {
        println!("{early} attempts before their time");
    }
    if awake > AWAKE_AT_MOST {
        println!("awake for more than {}.{:02} %", AWAKE_AT_MOST / 100, AWAKE_AT_MOST % 100);
    }
    let happened = seen.retries > 0 && seen.breaker.half_opened > 1 && seen.calls.succeeded == 0;
    board::end(happened && early == 0 && awake <= AWAKE_AT_MOST);
}

/// A service that has too much to do, and says for how long.
struct Overloaded;

impl Classify for Overloaded {
    fn verdict(&self) -> Verdict {
        Verdict::of(Class::Overloaded).not_before(ASKED)
    }
}

/// Notes when the breaker opens, and looks whether a probe comes later than its open period.
struct Watched;

impl Observe for Watched {
    fn observe(&self, event: &Event) {
        match event {
            Event::Opened => put(&OPENED),
            Event::HalfOpened => expect_since(&OPENED, BREAKER.rule().open_for()),
            _ => {}
        }
    }
}

type Shared<T> = Mutex<Cell<T>>;

static FAILED: Shared<Option<Instant>> = Mutex::new(Cell::new(None));
static OPENED: Shared<Option<Instant>> = Mutex::new(Cell::new(None));
static EARLY: Shared<u32> = Mutex::new(Cell::new(0));

fn put(at: &Shared<Option<Instant>>) {
    critical_section::with(|section| at.borrow(section).set(Some(Instant::now())));
}

/// Counts it if `then` is not that long ago.
fn expect_since(then: &Shared<Option<Instant>>, wait: Duration) {
    critical_section::with(|section| {
        let is_over = then.borrow(section).get().is_some_and(|then| wait <= then.elapsed().into());
        if !is_over {
            let early = EARLY.borrow(section);
            early.set(early.get() + 1);
        }
    });
}

const OUTAGE: embassy_time::Duration = embassy_time::Duration::from_secs(30);
const ASKED: Duration = Duration::from_millis(300);
/// In hundredths of a percent; 38 and 99 were measured, most of it the timer's interrupt.
#[cfg(target_has_atomic = "32")]
const AWAKE_AT_MOST: u64 = 60;
#[cfg(not(target_has_atomic = "32"))]
const AWAKE_AT_MOST: u64 = 150;
