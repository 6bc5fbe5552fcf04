//! What was counted and how breakers are, as JSON that a page or a log takes.

use core::time::Duration;
use std::time::UNIX_EPOCH;

use serde_json::Value;
use steadfast::Clock;

use crate::resilience::Resilience;

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize>
    Resilience<N, BUCKETS, SHARDS, WINDOW>
{
    /// All that the operations counted and how their breakers are now: the core's
    /// [report](steadfast::orchestrator::report), with its times (`timestamp`, `last_success`,
    /// `last_failure`) in ISO 8601, UTC.
    ///
    /// ```
    /// use steadfast::orchestrator::Registration;
    /// use steadfast_std::{Resilience, TokioClock};
    ///
    /// let resilience = Resilience::new();
    /// resilience.register("summarize", Registration::new())?;
    /// let report = resilience.report(TokioClock::new());
    /// assert_eq!(report["operations"]["summarize"]["calls"]["started"], 0);
    /// assert!(report["summary"]["timestamp"].as_str().unwrap().ends_with('Z'));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn report(&self, clock: impl Clock) -> Value {
        let mut report = json(self.orchestrator().report(clock.now(), clock.unix_micros()));
        date(report.pointer_mut("/summary/timestamp"));
        let operations = report.get_mut("operations").and_then(Value::as_object_mut);
        for operation in operations.into_iter().flat_map(|operations| operations.values_mut()) {
            date(operation.get_mut("last_success"));
            date(operation.get_mut("last_failure"));
        }
        report
    }

    /// How the breakers are now, in short: the core's [`Health`](steadfast::orchestrator::Health),
    /// with its `timestamp` in ISO 8601, UTC.
    #[must_use]
    pub fn health(&self, clock: impl Clock) -> Value {
        let mut health = json(self.orchestrator().health(clock.now(), clock.unix_micros()));
        date(health.get_mut("timestamp"));
        health
    }
}

fn json(told: impl serde::Serialize) -> Value {
    serde_json::to_value(told).expect("maps by text, and numbers up to 64 bits")
}

/// Microseconds since 1970 become a date, or null after the year 9999.
fn date(time: Option<&mut Value>) {
    let Some(time) = time else { return };
    let Some(micros) = time.as_u64() else { return };
    *time = match micros {
        ..YEAR_10000 => {
            let at = UNIX_EPOCH + Duration::from_micros(micros);
            humantime::format_rfc3339_micros(at).to_string().into()
        }
        _ => Value::Null,
    };
}

const YEAR_10000: u64 = 253_402_300_800_000_000;
