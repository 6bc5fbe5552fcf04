//! How long the core is awake while a service is out for 30 s, how often it wakes up for something,
//! and whether anything is done before its time: no retry before the service's wait is over, no probe
//! before the breaker's.
//!
//! Four times: with nothing else to do; beside a sensor that is read each second; beside it by a clock
//! that has retries wait for the next reading, for which the device wakes up anyway; and by one that can
//! pay for one retry's wake-up an hour.
//!
//! It runs by virtual time (`-icount shift=6,sleep=off`): 64 ns an instruction, about what one takes
//! on these cores, and the same result each time.
#![no_std]
#![no_main]

use core::cell::Cell;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use critical_section::Mutex;
use embassy_executor::Spawner;
use embassy_time::{Instant, Timer};
use firmware::board;
use firmware::executor::{self, Rest};
use semihosting::println;
use static_cell::StaticCell;
use steadfast::policy::{Backoff, Event, Jitter, Observe, Policy};
use steadfast::state::{COUNT_ONLY, Metrics, Snapshot};
use steadfast::{
    Breaker, Budget, BudgetRule, Class, Classify, Clock, Frugal, Rule, Sleep, Trip, Verdict,
};
use steadfast_embassy::EmbassyClock;

/// What executions share in one outage.
struct Common {
    breaker: Breaker,
    budget: Budget,
    metrics: Metrics<COUNT_ONLY>,
}

impl Common {
    const fn new() -> Self {
        Self {
            breaker: Breaker::with_rule(RULE),
            budget: Budget::with_rule(BudgetRule::new(20, 1_000, Duration::from_secs(2))),
            metrics: Metrics::new(),
        }
    }

    const fn policy(&'static self) -> Policy<'static> {
        Policy::new()
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
            .breaker(&self.breaker)
            .budget(&self.budget)
            .metrics(&self.metrics)
            .observer(&Watched)
    }
}

static ALONE: Common = Common::new();
static PLAIN: Common = Common::new();
static FRUGAL: Common = Common::new();
static PAYING: Common = Common::new();
static BY_ALONE: Policy = ALONE.policy();
static BY_PLAIN: Policy = PLAIN.policy();
static BY_FRUGAL: Policy = FRUGAL.policy();
static BY_PAYING: Policy = PAYING.policy();

#[cortex_m_rt::entry]
fn start() -> ! {
    executor::run(|spawner| spawner.spawn(outages(spawner).expect("spawned once")))
}

#[cortex_m_rt::exception]
fn SysTick() {
    executor::tick();
}

/// The application's own wake-ups: it reads a sensor each second.
#[embassy_executor::task]
async fn sensor() {
    for second in Instant::now().as_secs() + 1.. {
        Timer::at(Instant::from_secs(second)).await;
    }
}

/// When the sensor is read, at `from` or after it.
fn next_reading(from: steadfast::Instant) -> Option<steadfast::Instant> {
    let second = from.as_micros().div_ceil(1_000_000);
    Some(steadfast::Instant::from_micros(second * 1_000_000))
}

#[embassy_executor::task]
async fn outages(spawner: Spawner) {
    static CLOCK: StaticCell<Waking> = StaticCell::new();

    let clock = &*CLOCK.init(Waking(EmbassyClock::seeded(b"sleep")));
    let alone = outage(clock, &BY_ALONE, &ALONE).await;
    spawner.spawn(sensor().expect("spawned once"));
    let plain = outage(clock, &BY_PLAIN, &PLAIN).await;
    let frugal = Frugal::new(clock).wakes_per_hour(0).aligned(next_reading, Duration::from_secs(1));
    let frugal = outage(&frugal, &BY_FRUGAL, &FRUGAL).await;
    let paying = Frugal::new(clock).wakes_per_hour(1);
    let paying = outage(&paying, &BY_PAYING, &PAYING).await;

    println!(
        "{}: {alone}; with a sensor: {plain}; frugal: {frugal}; paying for one: {paying}",
        board::NAME
    );
    let early = critical_section::with(|section| EARLY.borrow(section).get());
    if early > 0 {
        println!("{early} waits, attempts and probes ended or began before their time");
    }
    let too_long = alone.is_awake_beyond(AWAKE_AT_MOST)
        | plain.is_awake_beyond(AWAKE_WITH_SENSOR)
        | frugal.is_awake_beyond(AWAKE_WITH_SENSOR);
    let spared = frugal.rest.polls < plain.rest.polls && frugal.seen.retries >= plain.seen.retries;
    if !spared {
        println!("no wake-up is spared, or retries are");
    }
    let paid = paying.seen.retries == 1 && paying.seen.refusals.budget > 0;
    if !paid {
        println!("{} retries are made where one can be paid for", paying.seen.retries);
    }
    let happened = alone.has_all() && plain.has_all() && frugal.has_all();
    board::end(happened && early == 0 && !too_long && spared && paid);
}

/// Calls a service that is out, for as long as it is.
async fn outage<K: Sleep>(clock: &K, policy: &Policy<'static>, common: &Common) -> Outage {
    let begun = Instant::now();
    let before = executor::rest();
    while begun.elapsed() < OUTAGE {
        let answer = policy
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
    Outage { rest, whole, seen: common.metrics.snapshot() }
}

/// What was measured in an outage.
struct Outage {
    rest: Rest,
    whole: Duration,
    seen: Snapshot,
}

impl Outage {
    /// In hundredths of a percent.
    fn awake(&self) -> u64 {
        executor::awake(&self.rest, self.whole)
    }

    /// Whether it was awake for more hundredths of a percent, which it says then.
    fn is_awake_beyond(&self, most: u64) -> bool {
        let too_long = self.awake() > most;
        if too_long {
            println!("awake for more than {}.{:02} %", most / 100, most % 100);
        }
        too_long
    }

    /// Whether there was what is measured.
    fn has_all(&self) -> bool {
        let Snapshot { retries, breaker, calls, .. } = self.seen;
        retries > 0 && breaker.half_opened > 1 && calls.succeeded == 0
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rest, whole, seen } = self;
        let awake = self.awake();
        write!(f, "awake {}.{:02} % of {} s, ", awake / 100, awake % 100, whole.as_secs())?;
        write!(f, "woken up {} times for something; ", rest.polls)?;
        let probes = seen.breaker.half_opened;
        write!(f, "{} attempts, {} retries, {probes} probes", seen.attempts.started, seen.retries)
    }
}

/// Embassy's clock, whose waits are looked after; but one that ends them early where that is what the
/// check is to find.
struct Waking(EmbassyClock);

/// A wait that must not end before its time.
struct Waited {
    timer: Timer,
    until: steadfast::Instant,
}

impl Clock for Waking {
    fn now(&self) -> steadfast::Instant {
        self.0.now()
    }
}

impl Sleep for Waking {
    type Sleeping = Waited;

    fn sleep_until(&self, at: steadfast::Instant) -> Waited {
        let early = if cfg!(fault = "early_wake") { ROUNDED_DOWN } else { 0 };
        let wakes = steadfast::Instant::from_micros(at.as_micros().saturating_sub(early));
        Waited { timer: self.0.sleep_until(wakes), until: at }
    }

    fn random(&self) -> u32 {
        self.0.random()
    }
}

impl Future for Waited {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        ready!(Pin::new(&mut self.timer).poll(context));
        expect(Instant::now().as_micros() >= self.until.as_micros());
        Poll::Ready(())
    }
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
            Event::HalfOpened => expect_since(&OPENED, RULE.open_for()),
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
        expect(then.borrow(section).get().is_some_and(|then| wait <= then.elapsed().into()));
    });
}

/// Counts what comes before its time.
fn expect(is_time: bool) {
    critical_section::with(|section| {
        let early = EARLY.borrow(section);
        early.set(early.get() + u32::from(!is_time));
    });
}

const RULE: Rule = Rule::new(Trip::after(12), Duration::from_secs(3));
/// What a clock that rounds down is early by, in microseconds: a tick of the timer.
const ROUNDED_DOWN: u64 = 10_000;
const OUTAGE: embassy_time::Duration = embassy_time::Duration::from_secs(30);
const ASKED: Duration = Duration::from_millis(300);
/// In hundredths of a percent; most of it is the timer's interrupt.
#[cfg(target_has_atomic = "32")]
const AWAKE_AT_MOST: u64 = 60;
#[cfg(not(target_has_atomic = "32"))]
const AWAKE_AT_MOST: u64 = 150;
/// The same, beside a sensor that is read each second.
#[cfg(target_has_atomic = "32")]
const AWAKE_WITH_SENSOR: u64 = 80;
#[cfg(not(target_has_atomic = "32"))]
const AWAKE_WITH_SENSOR: u64 = 220;
