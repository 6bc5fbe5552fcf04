//! What is exported as JSON says when in words that everybody reads.
#![allow(missing_docs, clippy::unwrap_used)]

use core::convert::Infallible;
use core::time::Duration;

use serde_json::{Value, json};
use steadfast::orchestrator::Registration;
use steadfast::{Clock, Instant, ManualClock};
use steadfast_std::Resilience;

/// A clock that knows the time of day: at its origin it is `since` microseconds after 1970.
struct Wall<'c> {
    clock: &'c ManualClock,
    since: Option<u64>,
}

impl Clock for Wall<'_> {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn unix_micros(&self) -> Option<u64> {
        Some(self.since? + self.now().as_micros())
    }
}

#[test]
fn a_report_says_when_in_iso_8601() {
    let (resilience, clock) = (Resilience::new(), ManualClock::new());
    // Named like a field, to be left alone.
    let timestamp = resilience.register("timestamp", Registration::new()).unwrap();
    timestamp.execute_blocking(&clock, |_| Ok::<_, Infallible>(())).unwrap();
    clock.advance(Duration::from_secs(3_600));

    let report = resilience.report(Wall { clock: &clock, since: Some(NOVEMBER) });
    assert_eq!(report["summary"]["timestamp"], "2023-11-14T23:13:20.000000Z");
    let operation = &report["operations"]["timestamp"];
    assert_eq!(operation["last_success"], "2023-11-14T22:13:20.000000Z");
    assert_eq!(
        (&operation["last_failure"], &operation["calls"]["succeeded"]),
        (&Value::Null, &json!(1))
    );
}

#[test]
fn health_says_when_in_iso_8601() {
    let (resilience, clock) = (Resilience::new(), ManualClock::new());
    let health = resilience.health(Wall { clock: &clock, since: Some(NOVEMBER + 1) });
    assert_eq!(health["timestamp"], "2023-11-14T22:13:20.000001Z");
    assert_eq!(health["healthy"], true);
}

#[test]
fn no_wall_clock_or_one_that_is_far_off_has_no_date() {
    let (resilience, clock) = (Resilience::new(), ManualClock::new());
    let at = |since| resilience.health(Wall { clock: &clock, since })["timestamp"].clone();
    assert_eq!(at(Some(253_402_300_799_999_999)), "9999-12-31T23:59:59.999999Z");
    for none in [None, Some(253_402_300_800_000_000), Some(u64::MAX)] {
        assert_eq!(at(none), Value::Null, "{none:?}");
    }
}

/// Microseconds from 1970 to 2023-11-14 22:13:20 UTC.
const NOVEMBER: u64 = 1_700_000_000_000_000;
