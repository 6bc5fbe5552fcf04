//! Evidence beside a circuit: outcomes entered into windows over outcomes and over a time.

use core::time::Duration;

use oorandom::Rand32;
use steadfast::state::{
    Admission, Outcome, SharedCircuit, SharedWindow, Window, WindowRule, WindowRuleError,
};
use steadfast::{Instant, Rule, Trip};

use super::{Tell, length, one_of};

pub(super) struct Windows {
    by_count: Judge,
    by_time: Judge,
}

/// A window, its rule, and the circuit that it judges.
struct Judge {
    window: SharedWindow<WORDS>,
    rule: WindowRule,
    circuit: SharedCircuit,
}

impl Windows {
    pub(super) const fn new() -> Self {
        Self { by_count: Judge::NEW, by_time: Judge::NEW }
    }

    pub(super) fn step(&mut self, random: &mut Rand32, now: Instant, tell: Tell<'_>) {
        let (is_of, judge, rule): (_, _, fn(&mut Rand32) -> _) = match random.rand_range(0..2) {
            0 => ("outcomes", &mut self.by_count, over_outcomes),
            _ => ("a time", &mut self.by_time, over_a_time),
        };
        match random.rand_range(0..40) {
            0..2 => {
                let rule = rule(random);
                judge.rule = rule.unwrap_or(judge.rule);
                tell(format_args!("window over {is_of}, its rule: {rule:?}"));
            }
            2 => {
                for _ in 0..random.rand_range(0..EPOCHS) {
                    let _ = judge.circuit.reset();
                }
                tell(format_args!("window over {is_of}, {:?}", judge.circuit.load()));
            }
            _ => judge.enter(is_of, random, now, tell),
        }
    }
}

impl Judge {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use makes another")]
    const NEW: Self =
        Self { window: SharedWindow::new(), rule: WindowRule::NONE, circuit: SharedCircuit::new() };

    fn enter(&mut self, is_of: &str, random: &mut Rand32, now: Instant, tell: Tell<'_>) {
        // Good spells and bad ones.
        let failures = if now.as_micros() >> 20 & 1 == 0 { 1 } else { 5 };
        let outcome =
            if random.rand_range(0..8) < failures { Outcome::Failure } else { Outcome::Success };
        let took = length(random) / 1024;
        let Self { window, rule, circuit } = self;
        let phase = match circuit.admit(&RULE, now) {
            Admission::Admitted(ticket, _) => circuit.closed_phase(ticket),
            Admission::Refused => None,
        };
        let opens = phase.is_some_and(|phase| window.enter(rule, now, phase, outcome, took));
        tell(format_args!(
            "window at {now:?}, {phase:?}: {outcome:?} after {took:?}, by {is_of} opens: {opens}",
            phase = circuit.load().phase(),
        ));
        // A phase of the circuit ends when it opens.
        if opens {
            let _ = circuit.reset();
        }
    }
}

fn over_outcomes(random: &mut Rand32) -> Result<WindowRule, WindowRuleError> {
    let outcomes = random.rand_range(0..140);
    let rule = WindowRule::NONE.try_over_last(outcomes)?;
    let rule = match random.rand_range(0..3) {
        0 => rule.try_failures(random.rand_range(0..160), outcomes)?,
        _ => rule,
    };
    rates(rule, random)
}

fn over_a_time(random: &mut Rand32) -> Result<WindowRule, WindowRuleError> {
    rates(WindowRule::NONE.try_within(length(random))?, random)
}

fn rates(rule: WindowRule, random: &mut Rand32) -> Result<WindowRule, WindowRuleError> {
    let rule = match random.rand_range(0..4) {
        0 => rule,
        _ => rule.try_failure_rate(random.rand_range(0..1_100))?,
    };
    let rule = match random.rand_range(0..2) {
        0 => rule,
        _ => rule.try_slow_rate(random.rand_range(1..1_100), length(random))?,
    };
    match one_of(random, [0, 0, 1, 3, 10, 50, 100_001]) {
        0 => Ok(rule),
        calls => rule.try_min_calls(calls),
    }
}

/// As many as 128 outcomes need, or four slices of a time: a rule may ask for more.
pub(super) const WORDS: usize = Window::words(128);
const RULE: Rule = Rule::new(Trip::NEVER, Duration::from_secs(30));
/// Of a circuit.
const EPOCHS: u32 = 64;
