//! Firmware without an executor: a loop that never blocks, and reads a sensor under a policy.
//!
//! Each turn of the loop hands the task the time, and the task does what is due: it asks for leave
//! to make an attempt, looks whether the UART has an answer, or finds that its wait is not over.
//! `Run` decides; nothing here waits or allocates. `std` is here for `println!` alone, and a
//! `ManualClock` stands for the hardware's timer.
//!
//! `cargo run --release -p steadfast --example super_loop`

use core::fmt;
use core::time::Duration;

use steadfast::policy::{Attempt, ByError, Events, Leave, Next, Run};
use steadfast::{
    Backoff, Breaker, Class, Classify, Clock as _, Error, Instant, Jitter, ManualClock, Policy,
    Trip, Verdict,
};

static BREAKER: Breaker = Breaker::new(Trip::after(3), Duration::from_millis(1500));
static POLICY: Policy = Policy::new()
    .attempts(2)
    .backoff(Backoff::constant(Duration::from_millis(200)).jitter(Jitter::Equal))
    .attempt_timeout(Duration::from_millis(100))
    .breaker(&BREAKER);

fn main() {
    let clock = ManualClock::new();
    let mut uart = Uart::default();
    let mut task = Task::Idle { until: clock.now() };
    while clock.now() < END {
        task = task.turn(clock.now(), &mut uart);
        // A turn takes 10 ms, whatever else the firmware does in it.
        clock.advance(Duration::from_millis(10));
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

type Execution = Run<'static, Garbled, ByError>;

impl Task {
    /// Does what is due at `now`.
    fn turn(self, now: Instant, uart: &mut Uart) -> Self {
        match self {
            Self::Idle { until } if now < until => self,
            Self::Idle { .. } => {
                Self::Waiting { run: POLICY.start(now, 0), at: now }.turn(now, uart)
            }
            Self::Waiting { at, .. } if now < at => self,
            Self::Waiting { mut run, .. } => {
                let step = run.attempt(now);
                tell(now, &step.events);
                match step.next {
                    Leave::Granted(attempt) => {
                        say(now, format_args!("attempt {}", attempt.made().attempt));
                        uart.ask(now);
                        Self::Asked { attempt, run }
                    }
                    Leave::Refused(error) => Self::ended(now, Err(error)),
                    Leave::NotNow => Self::Waiting { run, at: now }, // only beside a second attempt
                }
            }
            Self::Asked { attempt, mut run } => {
                let result = uart.answer(now);
                if result.is_none() && now < attempt.ends() {
                    return Self::Asked { attempt, run };
                }
                // On hardware: a generator seeded with the unique id, lest devices retry in step.
                let step = run.settle(attempt, now, result, || 0x8000_0000);
                tell(now, &step.events);
                match step.next {
                    Next::Done(result) => Self::ended(now, result),
                    Next::Retry(at) => Self::Waiting { run, at },
                    Next::Pending => Self::Waiting { run, at: now }, // only beside a second attempt
                }
            }
        }
    }

    fn ended(now: Instant, result: Result<u32, Error<Garbled>>) -> Self {
        match result {
            Ok(celsius) => say(now, format_args!("{celsius} °C")),
            Err(error) => say(now, format_args!("no reading: {error}")),
        }
        Self::Idle { until: now.after(Duration::from_secs(1)) }
    }
}

/// A fake sensor behind a UART: asked once, it answers 30 ms later, if at all.
#[derive(Default)]
struct Uart {
    asked: Option<Instant>,
}

impl Uart {
    /// Sends the question. An answer to an earlier one is forgotten.
    const fn ask(&mut self, now: Instant) {
        self.asked = Some(now);
    }

    /// The answer, if it is there. Never blocks.
    fn answer(&mut self, now: Instant) -> Option<Result<u32, Garbled>> {
        let asked = self.asked.filter(|asked| now.since(*asked) >= Duration::from_millis(30))?;
        let answer = match asked.as_micros() / 100_000 {
            // It restarts, and then its cable is loose.
            10..=11 => return None,
            12..=45 => Err(Garbled),
            _ => Ok(21),
        };
        self.asked = None;
        Some(answer)
    }
}

/// The answer's checksum is wrong.
struct Garbled;

impl Classify for Garbled {
    fn verdict(&self) -> Verdict {
        Verdict::of(Class::Transient)
    }
}

fn tell(now: Instant, events: &Events) {
    events.iter().for_each(|event| say(now, format_args!("· {event}")));
}

fn say(now: Instant, what: fmt::Arguments<'_>) {
    println!("{:5.2} s  {what}", now.since(Instant::ORIGIN).as_secs_f32());
}

const END: Instant = Instant::from_micros(7_000_000);
