//! Named operations: registered, configured, looked at, executed by.

use oorandom::Rand32;
use steadfast::orchestrator::{Config, ConfigError, Key, OutOfRange, Registration};
use steadfast::policy::{Leave, Next};
use steadfast::state::COUNT_ONLY;
use steadfast::{Instant, Orchestrator, Strategy};

use super::executions::{result, verdict};
use super::windows::WORDS;
use super::{Tell, length, one_of};

pub(super) struct Table(Orchestrator<3, COUNT_ONLY, 1, WORDS>);

impl Table {
    pub(super) const fn new() -> Self {
        Self(Orchestrator::new())
    }

    pub(super) fn step(&self, random: &mut Rand32, now: Instant, tell: Tell<'_>) {
        let name = one_of(random, NAMES);
        match random.rand_range(0..20) {
            0..4 => match registration(random) {
                Ok(given) => {
                    let settings = self.0.register(name, given).map(|handle| handle.settings());
                    tell(format_args!("{name} registered: {settings:?}"));
                }
                Err(error) => tell(format_args!("{name}: {error:?}")),
            },
            4..6 => {
                let done = config(random, name).map(|config| self.0.configure(&config));
                tell(format_args!("{name} configured: {done:?}"));
            }
            6..9 => tell(format_args!("{name}: {:?}", self.0.effective(name))),
            9..11 => {
                let breaker = self.0.breaker(name).map(|breaker| {
                    (breaker.state(now), breaker.mode(), breaker.rule(), breaker.remaining(now))
                });
                let counted = self.0.metrics(name).map(|metrics| metrics.snapshot());
                tell(format_args!("{name} of {}: {breaker:?}, {counted:?}", self.0.len()));
            }
            _ => self.execute(name, random, now, tell),
        }
    }

    /// A whole execution, however long it waits.
    fn execute(&self, name: &str, random: &mut Rand32, now: Instant, tell: Tell<'_>) {
        let Ok(handle) = self.0.get(name) else {
            return tell(format_args!("{name} is not known"));
        };
        let mut run = handle.classify(verdict).start(now, 0);
        let (mut at, mut attempts) = (now, 0);
        let ended = loop {
            match run.attempt(at).next {
                Leave::Granted(attempt) => {
                    attempts += 1;
                    let ends = attempt.ends();
                    at = at.after(length(random) / 1024).min(ends);
                    let (answer, bits) = (result(random, attempts), random.rand_u32());
                    match run.settle(attempt, at, answer, || bits).next {
                        Next::Retry(then) => at = then,
                        Next::Done(result) => break Some(result),
                        Next::Pending => break None,
                    }
                }
                Leave::Refused(error) => break Some(Err(error)),
                Leave::NotNow => break None,
            }
        };
        tell(format_args!("{name} from {now:?} to {at:?}, {attempts} attempts: {ended:?}"));
    }
}

/// A few settings, now and then out of their range.
fn registration(random: &mut Rand32) -> Result<Registration, OutOfRange> {
    let mut given = match random.rand_range(0..2) {
        0 => Registration::new(),
        _ => Registration::by(one_of(random, Strategy::ALL)),
    };
    for _ in 0..random.rand_range(0..5) {
        let key = one_of(random, Key::ALL);
        let (least, most) = key.range();
        let value = match random.rand_range(0..8) {
            0 => most + 1,
            1 => most,
            _ => least + (length(random).as_micros() as u64) % (most - least + 1),
        };
        given = given.try_given(key, value)?;
    }
    Ok(given)
}

fn config(random: &mut Rand32, name: &str) -> Result<Config<1>, ConfigError> {
    let default = one_of(random, Strategy::ALL);
    let every = registration(random).unwrap_or_default();
    Config::new()
        .with_default_strategy(default)
        .with_every_strategy(every)
        .try_operation(name, registration(random).unwrap_or_default())
}

/// One more than there are places for.
const NAMES: [&str; 4] = ["summarize", "classify", "a name as long as names may be..", "é"];
