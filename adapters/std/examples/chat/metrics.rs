//! The policy's metrics as JSON.

use core::time::Duration;

use serde_json::{Value, json};
use steadfast::state::{Snapshot, State};

use crate::report;

/// Everything that `metrics` say, and what the breaker does.
pub(crate) fn to_json(metrics: &Snapshot, breaker: State, refuses_for: Duration) -> Value {
    let Snapshot { calls, attempts, refusals, breaker: moves, latency, .. } = metrics;
    json!({
        "operation": "chat",
        "strategy": "balanced",
        "calls": {
            "started": calls.started,
            "succeeded": calls.succeeded,
            "failed": calls.failed,
            "refused": calls.refused,
            "fell_back": calls.fell_back,
            "cancelled": calls.cancelled,
            "in_flight": calls.in_flight,
        },
        "success_rate_percent": f64::from(metrics.success_rate()) / 100.0,
        "attempts": {
            "started": attempts.started,
            "succeeded": attempts.succeeded,
            "failed": attempts.failed,
            "timed_out": attempts.timed_out,
            "cancelled": attempts.cancelled,
            "in_flight": attempts.in_flight,
        },
        "retries": metrics.retries,
        "refusals": {
            "breaker_open": refusals.breaker_open,
            "gated": refusals.gated,
            "bulkhead_full": refusals.bulkhead_full,
            "limited": refusals.limited,
            "budget": refusals.budget,
            "window": refusals.window,
            "deadline": refusals.deadline,
            "asked_wait": refusals.asked_wait,
        },
        "breaker": {
            "state": report::name(breaker),
            "remaining_ms": millis(refuses_for),
            "opened": moves.opened,
            "half_opened": moves.half_opened,
            "closed": moves.closed,
            "late_outcomes": moves.late_outcomes,
        },
        "latency_of_successes_ms": {
            "p50": latency.p50.map(millis),
            "p95": latency.p95.map(millis),
            "p99": latency.p99.map(millis),
        },
    })
}

fn millis(length: Duration) -> f64 {
    length.as_secs_f64() * 1e3
}
