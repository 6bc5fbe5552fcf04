//! The metrics of an orchestrator, handed to whatever recorder the `metrics` crate has.

use core::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use steadfast::orchestrator::View;
use steadfast::state::{Snapshot, State};
use steadfast::{Instant, Orchestrator, Strategy};

/// Hands everything that `orchestrator` has counted, and what its breakers do at `now`, to the
/// recorder of the `metrics` crate, and so to Prometheus, OpenTelemetry, or whoever is installed.
///
/// Executions know nothing of it: call it before the exporter is read, as in the handler that
/// renders its page, or every few seconds where it pushes. It costs some 50 look-ups of the
/// recorder an operation, and waits for nobody.
///
/// Every metric has the label `operation`. Counters are absolute and never go back, whatever was
/// reset; two that publish at once do no harm.
///
/// | counter | label |
/// |---|---|
/// | `steadfast_calls_total` | `outcome`: succeeded, failed, refused, fell_back, cancelled |
/// | `steadfast_attempts_total` | `outcome`: succeeded, failed, timed_out, cancelled |
/// | `steadfast_attempts_slow_total` | |
/// | `steadfast_retries_total` | |
/// | `steadfast_refusals_total` | `reason`: breaker_open, gated, bulkhead_full, limited, budget, window, deadline, asked_wait |
/// | `steadfast_breaker_transitions_total` | `to`: open, half_open, closed |
/// | `steadfast_breaker_late_outcomes_total` | |
/// | `steadfast_breaker_shadowed_total` | |
///
/// | gauge | label |
/// |---|---|
/// | `steadfast_calls_in_flight`, `steadfast_attempts_in_flight` | |
/// | `steadfast_strategy` | `strategy`: 1 for the operation's, 0 for the others |
/// | `steadfast_breaker_state` | `state`: closed, open, half_open: 1 for its own, 0 for the others; 0 for all where the breaker is switched off |
/// | `steadfast_breaker_remaining_seconds` | until it admits again; 0 where it is switched off |
/// | `steadfast_call_latency_seconds` | `quantile`: 0.5, 0.95, 0.99 of the calls that succeeded, since the process began; missing before the first |
///
/// So the sum of all `steadfast_breaker_state` is the number of breakers that are switched on. A gauge
/// cannot be taken back: one that was published must say 0 when its breaker is switched off, or it
/// would stay open for ever.
///
/// ```
/// use steadfast::{Clock, Orchestrator};
/// use steadfast_std::{ThreadClock, observe};
///
/// static ORCHESTRATOR: Orchestrator<8> = Orchestrator::new();
///
/// observe::describe();
/// observe::publish(&ORCHESTRATOR, ThreadClock::new().now());
/// ```
pub fn publish<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize>(
    orchestrator: &Orchestrator<N, BUCKETS, SHARDS, WINDOW>,
    now: Instant,
) {
    for view in orchestrator.iter() {
        let operation = view.name().to_string();
        publish_counters(&operation, &view.metrics().raw());
        publish_gauges(&operation, &view, now);
    }
}

/// Tells the recorder what the metrics of [`publish`] are. Once, after it was installed.
pub fn describe() {
    let count = Unit::Count;
    describe_counter!(CALLS, count, "Calls that ended, by how.");
    describe_counter!(ATTEMPTS, count, "Attempts that ended, by how.");
    describe_counter!(SLOW, count, "Attempts that succeeded after their time was over.");
    describe_counter!(RETRIES, count, "Attempts after a call's first.");
    describe_counter!(REFUSALS, count, "Attempts not made, by reason.");
    describe_counter!(TRANSITIONS, count, "What breakers did.");
    describe_counter!(LATE, count, "Outcomes that came too late for the breaker.");
    describe_counter!(SHADOWED, count, "Attempts that a breaker in shadow would have refused.");
    describe_gauge!(CALLS_IN_FLIGHT, count, "Calls under way.");
    describe_gauge!(ATTEMPTS_IN_FLIGHT, count, "Attempts under way.");
    describe_gauge!(STRATEGY, count, "1 for the strategy that the operation goes by.");
    describe_gauge!(STATE, count, "1 for what the breaker is doing.");
    describe_gauge!(REMAINING, Unit::Seconds, "Until the breaker admits again.");
    describe_gauge!(LATENCY, Unit::Seconds, "How long calls took that succeeded.");
}

fn publish_counters(operation: &str, counted: &Snapshot) {
    let Snapshot { calls, attempts, refusals, breaker, .. } = counted;
    let absolute = |name: &'static str, value: u64| {
        counter!(name, "operation" => operation.to_owned()).absolute(value);
    };
    let each = |name: &'static str, label: &'static str, values: &[(&'static str, u64)]| {
        for &(is, value) in values {
            counter!(name, "operation" => operation.to_owned(), label => is).absolute(value);
        }
    };
    each(
        CALLS,
        "outcome",
        &[
            ("succeeded", calls.succeeded),
            ("failed", calls.failed),
            ("refused", calls.refused),
            ("fell_back", calls.fell_back),
            ("cancelled", calls.cancelled),
        ],
    );
    each(
        ATTEMPTS,
        "outcome",
        &[
            ("succeeded", attempts.succeeded),
            ("failed", attempts.failed),
            ("timed_out", attempts.timed_out),
            ("cancelled", attempts.cancelled),
        ],
    );
    each(
        REFUSALS,
        "reason",
        &[
            ("breaker_open", refusals.breaker_open),
            ("gated", refusals.gated),
            ("bulkhead_full", refusals.bulkhead_full),
            ("limited", refusals.limited),
            ("budget", refusals.budget),
            ("window", refusals.window),
            ("deadline", refusals.deadline),
            ("asked_wait", refusals.asked_wait),
        ],
    );
    each(
        TRANSITIONS,
        "to",
        &[("open", breaker.opened), ("half_open", breaker.half_opened), ("closed", breaker.closed)],
    );
    absolute(SLOW, counted.slow);
    absolute(RETRIES, counted.retries);
    absolute(LATE, breaker.late_outcomes);
    absolute(SHADOWED, breaker.shadowed);
    let set = |name: &'static str, value: u64| {
        gauge!(name, "operation" => operation.to_owned()).set(value as f64);
    };
    set(CALLS_IN_FLIGHT, calls.in_flight);
    set(ATTEMPTS_IN_FLIGHT, attempts.in_flight);
    let latency = &counted.latency;
    for (quantile, length) in [("0.5", latency.p50), ("0.95", latency.p95), ("0.99", latency.p99)] {
        if let Some(length) = length {
            gauge!(LATENCY, "operation" => operation.to_owned(), "quantile" => quantile)
                .set(length.as_secs_f64());
        }
    }
}

fn publish_gauges<const BUCKETS: usize, const SHARDS: usize>(
    operation: &str,
    view: &View<'_, BUCKETS, SHARDS>,
    now: Instant,
) {
    let (own, breaker) = (view.effective().strategy(), view.breaker());
    for strategy in Strategy::ALL {
        gauge!(STRATEGY, "operation" => operation.to_owned(), "strategy" => strategy.name())
            .set(one_if(strategy == own));
    }
    let doing = breaker.is_enabled().then(|| breaker.state(now));
    for (state, name) in
        [(State::Closed, "closed"), (State::Open, "open"), (State::HalfOpen, "half_open")]
    {
        gauge!(STATE, "operation" => operation.to_owned(), "state" => name)
            .set(one_if(doing == Some(state)));
    }
    let remaining = doing.map_or(Duration::ZERO, |_| breaker.remaining(now));
    gauge!(REMAINING, "operation" => operation.to_owned()).set(remaining.as_secs_f64());
}

const fn one_if(holds: bool) -> f64 {
    if holds { 1.0 } else { 0.0 }
}

const CALLS: &str = "steadfast_calls_total";
const ATTEMPTS: &str = "steadfast_attempts_total";
const SLOW: &str = "steadfast_attempts_slow_total";
const RETRIES: &str = "steadfast_retries_total";
const REFUSALS: &str = "steadfast_refusals_total";
const TRANSITIONS: &str = "steadfast_breaker_transitions_total";
const LATE: &str = "steadfast_breaker_late_outcomes_total";
const SHADOWED: &str = "steadfast_breaker_shadowed_total";
const CALLS_IN_FLIGHT: &str = "steadfast_calls_in_flight";
const ATTEMPTS_IN_FLIGHT: &str = "steadfast_attempts_in_flight";
const STRATEGY: &str = "steadfast_strategy";
const STATE: &str = "steadfast_breaker_state";
const REMAINING: &str = "steadfast_breaker_remaining_seconds";
const LATENCY: &str = "steadfast_call_latency_seconds";
