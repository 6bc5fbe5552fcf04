//! Firmware without async, on any board: a call that blocks by a `DelayClock` and sleeps meanwhile, and
//! a super-loop that hands a `Run` the time; by a timer's interrupt, whose ticks are the only time.
//!
//! It fails if a retry comes before its time, or if anything else comes of it than must.
#![no_std]
#![no_main]

use core::cell::Cell;
use core::time::Duration;

use critical_section::Mutex;
use embedded_hal::delay::DelayNs;
use firmware::{board, image, on_tick};
use portable_atomic::{AtomicU32, Ordering};
use semihosting::println;
use steadfast::policy::{Events, Leave, Next};
use steadfast::{
    Backoff, Breaker, Class, Classify, Event, Instant, Jitter, Policy, Reason, Trip, Verdict,
};
use steadfast_embassy::{DelayClock, Pump, Random};

static EVENTS: Pump<16> = Pump::new();
static JOIN: Policy = Policy::new()
    .attempts(5)
    .backoff(Backoff::constant(WAIT).jitter(Jitter::Additive(Duration::from_millis(50))))
    .observer(&EVENTS);

static BREAKER: Breaker = Breaker::new(Trip::after(3), OPEN_FOR);
static READ: Policy = Policy::new()
    .attempts(2)
    .backoff(Backoff::constant(WAIT))
    .attempt_timeout(Duration::from_millis(100))
    .breaker(&BREAKER);

/// What the timer's interrupt counts up: 64 bits are two loads, hence the section.
static MICROS: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));
static NAPS: AtomicU32 = AtomicU32::new(0);

image!(main);
on_tick!(tick);

fn tick() {
    critical_section::with(|section| {
        let micros = MICROS.borrow(section);
        micros.set(micros.get() + TICK);
    });
}

fn micros() -> u64 {
    critical_section::with(|section| MICROS.borrow(section).get())
}

/// Sleeps until an interrupt: the clock looks again.
struct Idle;

impl DelayNs for Idle {
    fn delay_ns(&mut self, _at_most: u32) {
        board::idle();
        NAPS.fetch_add(1, Ordering::Relaxed);
    }
}

fn main() -> bool {
    board::tick_every(CYCLES_A_TICK);
    let (joined, early) = join();
    let looped = turns();
    println!(
        "{}: joined after {} waits, slept {} times; {} turns: {} readings, {} refusals, {} probes, {} early",
        board::NAME,
        joined,
        NAPS.load(Ordering::Relaxed),
        looped.turns,
        looped.readings,
        looped.refusals,
        looped.probes,
        early + looped.early,
    );
    let slept = NAPS.load(Ordering::Relaxed) >= 2 * WAIT.as_micros() as u32 / TICK as u32;
    let all = looped.readings > 0 && looped.refusals > 0 && looped.probes == 1;
    joined == 2 && slept && all && early + looped.early == 0
}

/// Blocks until the third attempt works: how often it waited, and how often for too short a time.
fn join() -> (u32, u32) {
    let clock = DelayClock::new(Idle, micros, b"bare");
    let (mut failed_at, mut early) = (None, 0);
    let joined = JOIN.execute_blocking(&clock, |made| {
        early += u32::from(failed_at.is_some_and(|at| micros() < at + WAIT.as_micros() as u64));
        match made.attempt {
            ..3 => {
                failed_at = Some(micros());
                Err(NoAnswer)
            }
            _ => Ok(()),
        }
    });
    let retry = |event: &Event| matches!(event, Event::Retry { .. });
    let told = core::iter::from_fn(|| EVENTS.take()).filter(|told| retry(&told.event)).count();
    (if joined.is_ok() { told as u32 } else { 0 }, early)
}

/// What the super-loop saw.
#[derive(Default)]
struct Looped {
    turns: u32,
    readings: u32,
    refusals: u32,
    probes: u32,
    early: u32,
    opened_at: Option<Instant>,
}

impl Looped {
    /// What a step told that was taken at `now`.
    fn tell(&mut self, events: Events, now: Instant) {
        for event in events.iter() {
            match event {
                Event::Opened => self.opened_at = Some(now),
                Event::HalfOpened => {
                    self.probes += 1;
                    let open = self.opened_at.map(|at| now.since(at));
                    self.early += u32::from(open.is_none_or(|open| open < OPEN_FOR));
                }
                _ => {}
            }
        }
    }
}

/// Reads a sensor that is silent for two seconds, without ever waiting for it.
fn turns() -> Looped {
    let random = Random::seeded(b"bare");
    let mut seen = Looped::default();
    let begins = micros();
    let now = || Instant::from_micros(micros() - begins);
    while now() < END {
        let mut again = Duration::from_millis(200);
        let mut run = READ.start::<NoAnswer>(now(), 0);
        let mut due = now();
        loop {
            seen.turns += 1;
            board::idle();
            if now() < due {
                continue;
            }
            let asked = now();
            let step = run.attempt(asked);
            seen.tell(step.events, asked);
            let attempt = match step.next {
                Leave::Granted(attempt) => attempt,
                Leave::Refused(error) => {
                    seen.refusals += u32::from(error.stopped == Reason::BreakerOpen);
                    // At each tick, for a probe to come as soon as it may.
                    again = Duration::ZERO;
                    break;
                }
                Leave::NotNow => continue,
            };
            let answer = loop {
                seen.turns += 1;
                board::idle();
                let answered = now().since(asked) >= Duration::from_millis(30);
                match (answered && !is_silent(asked), now() < attempt.ends()) {
                    (true, _) => break Some(Ok(21_u32)),
                    (false, true) => {}
                    (false, false) => break None,
                }
            };
            let settled = now();
            let step = run.settle(attempt, settled, answer, || random.draw());
            seen.tell(step.events, settled);
            match step.next {
                Next::Done(result) => {
                    seen.readings += u32::from(result.is_ok());
                    break;
                }
                Next::Retry(at) => {
                    seen.early += u32::from(at.since(settled) < WAIT);
                    due = at;
                }
                Next::Pending => {}
            }
        }
        let next = now().after(again);
        while now() < next {
            board::idle();
        }
    }
    seen
}

fn is_silent(at: Instant) -> bool {
    (1..3).contains(&(at.as_micros() / 1_000_000))
}

/// Nobody answers.
struct NoAnswer;

impl Classify for NoAnswer {
    fn verdict(&self) -> Verdict {
        Verdict::of(Class::Transient)
    }
}

const WAIT: Duration = Duration::from_millis(200);
const OPEN_FOR: Duration = Duration::from_millis(1_800);
const END: Instant = Instant::from_micros(6_000_000);
/// What a tick stands for. It is no matter how long it takes on the board.
const TICK: u64 = 1_000;
const CYCLES_A_TICK: u32 = 10_000;
