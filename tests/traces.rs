//! Executions recorded from the reference system, made again: same schedule, attempts and result.
//!
//! Where our decided semantics differ, [`STOPPED_EARLIER`] and [`LATER`] say in which trace, where
//! and why; a deviation that they do not name fails, and so does one that they name in vain.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::BTreeMap;

use serde::Deserialize;
use steadfast::state::State;
use steadfast::{
    Backoff, Breaker, Class, Classify, Clock as _, Error, Instant, Jitter, ManualClock, Policy,
    Reason, Rule, Sleep as _, Trip, Verdict,
};

/// Trace, call, attempts made here, why it stopped.
///
/// `max_delay_stop`: the reference looks at its window only after a failure, so it begins an attempt
/// at 16 s with a window of 10 s. Here no attempt starts after the window: the wait of 8 s that
/// begins at 8 s would end outside, and the third attempt is the last.
const STOPPED_EARLIER: [(&str, usize, usize, Reason); 1] =
    [("max_delay_stop", 0, 3, Reason::Window)];

/// Trace, call, how much later the breaker admits, in microseconds.
///
/// `breaker_decorator_cycle`: an open period ends at the beginning of a tick of 2^14 µs, rounded
/// up. Opened at 0 s for 30 s it ends at tick 1832 (30.015488 s); opened there, at tick 3664
/// (60.030976 s), 30.015488 s later.
const LATER: [(&str, usize, u64); 2] =
    [("breaker_decorator_cycle", 5, 15_488), ("breaker_decorator_cycle", 6, 15_488)];

const NAMES: [&str; 8] = [
    "balanced_retry_then_ok",
    "balanced_exhausted_then_ok",
    "permanent_stops",
    "conservative_schedule_jitter0",
    "critical_schedule_jitter_max",
    "max_delay_stop",
    "breaker_decorator_cycle",
    "attempt_time_counts",
];

#[test]
fn every_trace_of_the_reference_comes_out_the_same_but_for_those_named() {
    let file: File = serde_json::from_str(include_str!("data/reference-traces.json")).unwrap();
    let names: Vec<_> = file.traces.iter().map(|trace| trace.name.as_str()).collect();
    assert_eq!(names, NAMES, "none is left out");

    let earlier: Vec<_> = STOPPED_EARLIER
        .iter()
        .map(|&(name, call, attempts, why)| (name.to_owned(), call, attempts, why))
        .collect();
    let later: Vec<_> =
        LATER.iter().map(|&(name, call, micros)| (name.to_owned(), call, micros)).collect();
    for driver in [Driver::Async, Driver::Blocking] {
        let mut deviations = Deviations::default();
        file.traces.iter().for_each(|trace| replay(trace, driver, &mut deviations));
        assert_eq!(deviations.stopped_earlier, earlier, "{driver:?}");
        assert_eq!(deviations.later, later, "{driver:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Driver {
    Async,
    Blocking,
}

/// What came out otherwise than it was recorded.
#[derive(Default)]
struct Deviations {
    stopped_earlier: Vec<(String, usize, usize, Reason)>,
    later: Vec<(String, usize, u64)>,
}

fn replay(trace: &Trace, driver: Driver, deviations: &mut Deviations) {
    let Trace { name, config, .. } = trace;
    let clock = ManualClock::new();
    clock.set_random(match trace.jitter_fraction {
        0.0 => 0,
        1.0 => u32::MAX,
        other => panic!("{name}: a fraction of {other} is not a bound"),
    });
    let rule = Rule::new(Trip::after(config.failure_threshold), secs(config.recovery_timeout))
        .probes(config.half_open_max_calls);
    let breaker = Breaker::with_rule(rule);
    let jitter =
        if config.jitter { Jitter::Additive(secs(config.jitter_max)) } else { Jitter::None };
    let [multiplier, min, max] =
        [config.exponential_multiplier, config.exponential_min, config.exponential_max].map(secs);
    let policy = Policy::new()
        .attempts(if trace.breaker_only { 1 } else { config.max_attempts })
        .backoff(Backoff::exponential(multiplier, min, max).jitter(jitter))
        .retry_window(secs(config.max_delay_seconds))
        .breaker(&breaker);

    // What each attempt of the trace ends in: past the script's end as at its end, and without a
    // script always the same.
    let made = Cell::new(0);
    let began = RefCell::new(Vec::new());
    let outcomes = RefCell::new(Vec::new());
    let attempt = || {
        let script = trace.script.as_ref().unwrap_or(&trace.calls[0].outcomes);
        let outcome = script[made.get().min(script.len() - 1)].clone();
        made.set(made.get() + 1);
        began.borrow_mut().push(clock.now());
        outcomes.borrow_mut().push(outcome.clone());
        match outcome.as_str() {
            "ok" => Ok(()),
            "transient" => Err(Fault(Class::Transient)),
            "unavailable" => Err(Fault(Class::Overloaded)),
            "rate_limit" => Err(Fault(Class::RateLimited)),
            "permanent" => Err(Fault(Class::Permanent)),
            other => panic!("{name}: no such outcome: {other}"),
        }
    };

    let mut drift = Duration::ZERO;
    for (index, expected) in trace.calls.iter().enumerate() {
        for step in trace.before.iter().flatten().filter(|(call, _)| **call == index.to_string()) {
            step.1.iter().for_each(|step| clock.advance(secs(step.advance)));
        }
        assert_eq!(clock.now(), Instant::ORIGIN.after(secs(expected.start_s) + drift), "{name}");

        let execute = || match driver {
            Driver::Async => clock.block_on(policy.execute(&clock, || {
                let result = attempt();
                let sleep = (&clock).sleep_until(clock.now().after(secs(trace.attempt_seconds)));
                async move {
                    sleep.await;
                    result
                }
            })),
            Driver::Blocking => policy.execute_blocking(&clock, |_| {
                let result = attempt();
                clock.advance(secs(trace.attempt_seconds));
                result
            }),
        };
        let mut result = execute();
        if said(&result) == "circuit_open" && expected.result != "circuit_open" {
            let late = breaker.remaining(clock.now());
            assert!(!late.is_zero() && late <= TICK, "{name} {index}: {late:?}");
            deviations.later.push((name.clone(), index, late.as_micros() as u64));
            drift += late;
            clock.advance(late);
            result = execute();
        }
        let (mut outcomes, began) = (outcomes.take(), began.take());
        let mut waits: Vec<_> = began
            .windows(2)
            .map(|pair| pair[1].since(pair[0]) - secs(trace.attempt_seconds))
            .collect();

        let attempts = outcomes.len();
        if attempts < expected.attempts {
            let Err(error) = &result else { panic!("{name} {index}: answered too early") };
            deviations.stopped_earlier.push((name.clone(), index, attempts, error.stopped));
            // Up to there it is the same.
            outcomes.extend_from_slice(&expected.outcomes[attempts..]);
            waits.extend(expected.waits_s[attempts - 1..].iter().map(|&wait| secs(wait)));
        } else {
            assert_eq!(attempts, expected.attempts, "{name} {index}");
        }
        let expected_waits: Vec<_> = expected.waits_s.iter().map(|&wait| secs(wait)).collect();
        let found = if trace.breaker_only && said(&result) == "exhausted" {
            "failed"
        } else {
            said(&result)
        };
        assert_eq!(found, expected.result, "{name} {index}");
        assert_eq!(outcomes, expected.outcomes, "{name} {index}");
        assert_eq!(waits, expected_waits, "{name} {index}");
        if let Err(error) = result {
            assert_eq!(error.attempts as usize, attempts, "{name} {index}");
        }
        if let Some(state) = &expected.state {
            let found = match breaker.state(clock.now()) {
                State::Closed => "closed",
                State::Open => "open",
                State::HalfOpen => "half_open",
            };
            assert_eq!(found, state, "{name} {index}");
        }
        clock.advance(secs(trace.advance_between_calls));
    }
}

/// The reference's word for a result.
fn said(result: &Result<(), Error<Fault>>) -> &'static str {
    match result {
        Ok(()) => "ok",
        Err(error) => match error.stopped {
            Reason::Attempts | Reason::Window => "exhausted",
            Reason::Class => "permanent",
            Reason::BreakerOpen => "circuit_open",
            other => panic!("the reference has no {other:?}"),
        },
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Fault(Class);

impl Classify for Fault {
    fn verdict(&self) -> Verdict {
        Verdict::of(self.0)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(rename = "comment")]
    _comment: String,
    traces: Vec<Trace>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Trace {
    name: String,
    breaker_only: bool,
    config: Config,
    script: Option<Vec<String>>,
    attempt_seconds: f64,
    advance_between_calls: f64,
    jitter_fraction: f64,
    before: Option<BTreeMap<String, Vec<Before>>>,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    max_attempts: u32,
    max_delay_seconds: f64,
    exponential_multiplier: f64,
    exponential_min: f64,
    exponential_max: f64,
    jitter: bool,
    jitter_max: f64,
    failure_threshold: u32,
    recovery_timeout: f64,
    half_open_max_calls: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Before {
    advance: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    start_s: f64,
    result: String,
    attempts: usize,
    outcomes: Vec<String>,
    waits_s: Vec<f64>,
    state: Option<String>,
}

/// To the microsecond, which the records are exact to.
fn secs(secs: f64) -> Duration {
    Duration::from_micros((secs * 1e6).round() as u64)
}

/// A circuit's coarse time.
const TICK: Duration = Duration::from_micros(1 << 14);
