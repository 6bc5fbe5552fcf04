//! Firmware without async: blocks once when it starts, and then runs a loop that never does.
//!
//! It joins a network by `execute_blocking` on a `DelayClock`, since there is nothing else to do yet.
//! After that each turn of the loop hands the task the time, and `Run` decides what is due: to ask
//! the UART, to look for its answer, or to let the turn pass. Both draw their jitter from the
//! device's id. Breaker and retries tell a `Pump`, which is emptied when a turn has time to spare.
//!
//! `std` is here for `println!` alone; a counter that each turn and each delay moves on stands for
//! the hardware's timer.
//!
//! `cargo run -p steadfast-embassy --example bare`

use core::cell::Cell;
use core::time::Duration;

use critical_section::Mutex;
use embedded_hal::delay::DelayNs;
use steadfast::policy::{Attempt, ByError, Events, Leave, Next, Run};
use steadfast::{
    Backoff, Breaker, Class, Classify, Error, Instant, Jitter, Observe as _, Policy, Trip, Verdict,
};
use steadfast_embassy::{DelayClock, Pump, Random};

static EVENTS: Pump<8> = Pump::new();
static JOIN: Policy = Policy::new()
    .attempts(5)
    .backoff(Backoff::constant(Duration::from_millis(500)).jitter(Jitter::Full))
    .observer(&EVENTS);

static BREAKER: Breaker = Breaker::new(Trip::after(3), Duration::from_millis(1500));
static READ: Policy = Policy::new()
    .attempts(2)
    .backoff(Backoff::constant(Duration::from_millis(200)).jitter(Jitter::Equal))
    .attempt_timeout(Duration::from_millis(100))
    .breaker(&BREAKER);

/// What the timer's interrupt counts up. Its 64 bits are two loads, hence the section.
static MICROS: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

fn main() {
    // On hardware it is read from the chip.
    let id = [0x2a, 0x00, 0x3b, 0x00, 0x0d, 0x50];

    let clock = DelayClock::new(Timer, micros, &id);
    let joined = JOIN.execute_blocking(&clock, |made| match made.attempt {
        ..3 => Err(NoAnswer),
        _ => Ok(()),
    });
    println!("{:5.2} s  joined: {}", seconds(), joined.is_ok());
    say();

    let random = Random::seeded(&id);
    let mut uart = Uart::default();
    let mut task = Task::Idle { until: now() };
    while now() < END {
        task = task.turn(now(), &mut uart, &random);
        // Ten milliseconds pass, whatever else the firmware does in a turn; what is left, it says.
        Timer.delay_ms(10);
        say();
    }
}

/// What the task does between two turns of the loop.
enum Task {
    /// The next reading is due at `until`.
    Idle { until: Instant },
    /// An attempt is to be made at `at`.
    Waiting { run: Execution, at: Instant },
    /// The UART has been asked.
    Asked { attempt: Attempt<'static>, run: Execution },
}

type Execution = Run<'static, NoAnswer, ByError>;

impl Task {
    /// Does what is due at `now`.
    fn turn(self, now: Instant, uart: &mut Uart, random: &Random) -> Self {
        match self {
            Self::Idle { until } if now < until => self,
            Self::Idle { .. } => Self::Waiting { run: READ.start(now, 0), at: now },
            Self::Waiting { at, .. } if now < at => self,
            Self::Waiting { mut run, .. } => {
                let step = run.attempt(now);
                tell(&step.events);
                match step.next {
                    Leave::Granted(attempt) => {
                        uart.asked = Some(now);
                        Self::Asked { attempt, run }
                    }
                    Leave::Refused(error) => Self::ended(now, Err(error)),
                    Leave::NotNow => Self::Waiting { run, at: now },
                }
            }
            Self::Asked { attempt, mut run } => {
                let result = uart.answer(now);
                if result.is_none() && now < attempt.ends() {
                    return Self::Asked { attempt, run };
                }
                let step = run.settle(attempt, now, result, || random.draw());
                tell(&step.events);
                match step.next {
                    Next::Done(result) => Self::ended(now, result),
                    Next::Retry(at) => Self::Waiting { run, at },
                    Next::Pending => Self::Waiting { run, at: now },
                }
            }
        }
    }

    fn ended(now: Instant, result: Result<u32, Error<NoAnswer>>) -> Self {
        match result {
            Ok(celsius) => println!("{:5.2} s  {celsius} °C", seconds()),
            Err(error) => println!("{:5.2} s  no reading: {error}", seconds()),
        }
        Self::Idle { until: now.after(Duration::from_secs(1)) }
    }
}

/// `Run` calls nobody: its events are returned, and this hands them on.
fn tell(events: &Events) {
    events.iter().for_each(|event| EVENTS.observe(event));
}

/// Says what was told; with the feature `defmt` this is `EVENTS.drain()`.
fn say() {
    while let Some(told) = EVENTS.take() {
        println!("{:5.2} s  · {}", seconds(), told.event);
    }
}

/// The hardware's delay.
struct Timer;

impl DelayNs for Timer {
    fn delay_ns(&mut self, ns: u32) {
        critical_section::with(|section| {
            let micros = MICROS.borrow(section);
            micros.set(micros.get() + u64::from(ns.div_ceil(1_000)));
        });
    }
}

fn micros() -> u64 {
    critical_section::with(|section| MICROS.borrow(section).get())
}

fn now() -> Instant {
    Instant::from_micros(micros())
}

fn seconds() -> f32 {
    Duration::from_micros(micros()).as_secs_f32()
}

/// A sensor behind a UART: asked once, it answers 30 ms later, but for two seconds of silence.
#[derive(Default)]
struct Uart {
    asked: Option<Instant>,
}

impl Uart {
    /// The answer, if it is there. Never blocks.
    fn answer(&mut self, now: Instant) -> Option<Result<u32, NoAnswer>> {
        let asked = self.asked.filter(|asked| now.since(*asked) >= Duration::from_millis(30))?;
        if (2..4).contains(&(asked.as_micros() / 1_000_000)) {
            return None;
        }
        self.asked = None;
        Some(Ok(21))
    }
}

/// Nobody answers.
struct NoAnswer;

impl Classify for NoAnswer {
    fn verdict(&self) -> Verdict {
        Verdict::of(Class::Transient)
    }
}

const END: Instant = Instant::from_micros(8_000_000);
