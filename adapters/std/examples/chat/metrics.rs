//! The policy's metrics: held against what its callers saw, and as JSON.

use core::time::Duration;

use serde_json::{Value, json};
use steadfast::state::{Snapshot, State};

use crate::report::{self, Summary};

/// Everything here is counted twice: by the policy, and by the callers. Both must say the same.
pub(crate) fn check(metrics: &Snapshot, seen: &Summary) -> Result<(), String> {
    let figures = [
        ("calls", metrics.calls.started, seen.calls),
        ("succeeded", metrics.calls.succeeded, seen.answered),
        ("fell back", metrics.calls.fell_back, seen.fell_back + seen.fell_back_at_once),
        ("failed", metrics.calls.failed + metrics.calls.refused, seen.failed),
        ("attempts", metrics.attempts.started, seen.attempts),
        ("retries", metrics.retries, seen.retries),
    ];
    match figures.iter().find(|(_, counted, seen)| usize::try_from(*counted) != Ok(*seen)) {
        Some((what, counted, seen)) => {
            Err(format!("the policy counted {counted} {what}, its callers {seen}"))
        }
        None => Ok(()),
    }
}

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
