//! The policy's metrics, held against what its callers saw.

use steadfast::state::Snapshot;

use crate::report::Summary;

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
