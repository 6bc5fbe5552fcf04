//! What an orchestrator counted, as a document: complete, of one piece, and without an allocator.
#![cfg(feature = "serde")]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::future::ready;
use core::time::Duration;

use serde_json::{Value, json};
use steadfast::orchestrator::{Key, Overrides, Registration};
use steadfast::state::{COUNT_ONLY, Mode, Outcome};
use steadfast::{Clock as _, Instant, ManualClock, Orchestrator, Strategy};

const UNIX: u64 = 1_700_000_000_000_000;

#[test]
fn a_report_says_what_happened() {
    let (table, clock) = after_a_while();
    let counts = |started: u64, succeeded: u64, failed: u64| {
        json!({
            "started": started, "succeeded": succeeded, "failed": failed, "refused": 0,
            "fell_back": 0, "cancelled": 0, "in_flight": 0,
        })
    };
    let attempts = |started: u64, succeeded: u64, failed: u64| {
        json!({
            "started": started, "succeeded": succeeded, "failed": failed, "timed_out": 0,
            "cancelled": 0, "in_flight": 0,
        })
    };
    let refusals = |open: u64| {
        json!({
            "breaker_open": open, "gated": 0, "bulkhead_full": 0, "limited": 0, "budget": 0,
            "window": 0, "deadline": 0, "asked_wait": 0,
        })
    };
    let metrics = |opened: u64| {
        json!({
            "opened": opened, "half_opened": 0, "closed": 0, "late_outcomes": 0, "shadowed": 0,
        })
    };
    let nothing = json!({ "p50": null, "p95": null, "p99": null });
    // The middle of the bucket that 3 ms are in, which ends 6.25 % away at most.
    let three_millis = json!({ "p50": 2944, "p95": 2944, "p99": 2944 });
    let expected = json!({
        "operations": {
            "mixed": {
                "strategy": "critical",
                "calls": counts(3, 2, 1),
                "attempts": attempts(4, 2, 2),
                "retries": 1,
                "slow": 0,
                "refusals": refusals(0),
                "success_rate": 6_666,
                "failure_rate": 3_334,
                "latency": three_millis,
                "attempt_latency": nothing,
                "last_success": UNIX - 5_000_000 - PART,
                "last_failure": UNIX - 5_000_000 - PART,
            },
            "out": {
                "strategy": "aggressive",
                "calls": { "started": 2, "succeeded": 0, "failed": 1, "refused": 1,
                    "fell_back": 0, "cancelled": 0, "in_flight": 0 },
                "attempts": attempts(1, 0, 1),
                "retries": 0,
                "slow": 0,
                "refusals": refusals(2),
                "success_rate": 0,
                "failure_rate": 10_000,
                "latency": nothing,
                "attempt_latency": nothing,
                "last_success": null,
                "last_failure": UNIX - 5_000_000 - PART,
            },
            "idle": {
                "strategy": "balanced",
                "calls": counts(0, 0, 0),
                "attempts": attempts(0, 0, 0),
                "retries": 0,
                "slow": 0,
                "refusals": refusals(0),
                "success_rate": 0,
                "failure_rate": 0,
                "latency": nothing,
                "attempt_latency": nothing,
                "last_success": null,
                "last_failure": null,
            },
            "bare": {
                "strategy": "balanced",
                "calls": counts(0, 0, 0),
                "attempts": attempts(0, 0, 0),
                "retries": 0,
                "slow": 0,
                "refusals": refusals(0),
                "success_rate": 0,
                "failure_rate": 0,
                "latency": nothing,
                "attempt_latency": nothing,
                "last_success": null,
                "last_failure": null,
            },
        },
        "circuit_breakers": {
            "mixed": {
                "state": "closed", "mode": "normal", "failure_threshold": 20,
                "recovery_timeout": 300, "remaining_ms": 0, "metrics": metrics(0),
            },
            "out": {
                "state": "open", "mode": "normal", "failure_threshold": 1,
                "recovery_timeout": 9, "remaining_ms": 3_500, "metrics": metrics(1),
            },
            "idle": {
                "state": "closed", "mode": "shadow", "failure_threshold": 8,
                "recovery_timeout": 60, "remaining_ms": 0, "metrics": metrics(0),
            },
        },
        "summary": {
            "total_operations": 4,
            "total_circuit_breakers": 3,
            "healthy_circuit_breakers": 2,
            "timestamp": UNIX,
        },
    });
    let mut said = serde_json::to_value(table.report(clock.now(), Some(UNIX))).unwrap();
    // An open period ends at a tick of 16 ms.
    let remaining = &mut said["circuit_breakers"]["out"]["remaining_ms"];
    let millis = remaining.as_u64().unwrap();
    assert!((3_500..=3_517).contains(&millis), "{millis}");
    *remaining = json!(3_500);
    assert_eq!(said, expected);
}

#[test]
fn without_a_wall_clock_times_are_absent() {
    let (table, clock) = after_a_while();
    let said = serde_json::to_value(table.report(clock.now(), None)).unwrap();
    assert_eq!(said["summary"]["timestamp"], Value::Null);
    assert_eq!(said["operations"]["mixed"]["last_success"], Value::Null);
    assert_eq!(said["operations"]["out"]["last_failure"], Value::Null);
    assert_eq!(said["operations"]["mixed"]["calls"]["started"], 3);
}

#[test]
fn nothing_happened_before_the_epoch_or_after_the_report() {
    let (table, clock) = after_a_while();
    let last = |now, unix| {
        let said = serde_json::to_value(table.report(now, Some(unix))).unwrap();
        said["operations"]["out"]["last_failure"].as_u64()
    };
    assert_eq!(last(clock.now(), 3), Some(0), "a wall clock that was never set");
    assert_eq!(last(Instant::ORIGIN, UNIX), Some(UNIX), "a clock that went back");
}

#[test]
fn an_empty_table_makes_an_empty_report() {
    let table = Orchestrator::<2>::new();
    let said = serde_json::to_value(table.report(Instant::ORIGIN, None)).unwrap();
    let expected = json!({
        "operations": {},
        "circuit_breakers": {},
        "summary": {
            "total_operations": 0, "total_circuit_breakers": 0, "healthy_circuit_breakers": 0,
            "timestamp": null,
        },
    });
    assert_eq!(said, expected);
}

#[test]
fn periods_are_rounded_up() {
    let table = Orchestrator::<1>::new();
    let short = Registration::new().given(Key::OpenFor, 50_000).given(Key::Failures, 1);
    table.register("op", short).unwrap();
    let now = Instant::from_micros(1 << 20);
    table.breaker("op").unwrap().try_acquire(now).unwrap().settle(now, Outcome::Failure);
    let breaker = |now| {
        let said = serde_json::to_value(table.report(now, None)).unwrap();
        said["circuit_breakers"]["op"].clone()
    };
    assert_eq!(breaker(now)["recovery_timeout"], 1);
    let mut parts = 0;
    for micros in (0..90_000).step_by(130) {
        let now = now.after(Duration::from_micros(micros));
        let (said, remaining) = (breaker(now), table.breaker("op").unwrap().remaining(now));
        assert_eq!(
            said["remaining_ms"].as_u64().unwrap(),
            remaining.as_micros().div_ceil(1_000) as u64
        );
        let state = if remaining.is_zero() { "half_open" } else { "open" };
        assert_eq!(said["state"], state, "{remaining:?}");
        parts += usize::from(0 < remaining.as_micros() && remaining.as_micros() < 1_000);
    }
    assert!(parts > 0, "the last millisecond was not seen");
    assert_eq!(breaker(now.after(Duration::from_millis(90)))["state"], "half_open");
}

#[test]
fn without_a_histogram_there_are_no_quantiles() {
    let (table, clock) = (Orchestrator::<1, COUNT_ONLY>::new(), ManualClock::new());
    let handle = table.register("op", Registration::new()).unwrap().retry_all();
    clock.block_on(handle.execute(&clock, || ready(Ok::<_, u8>(())))).unwrap();
    let said = serde_json::to_value(table.report(clock.now(), None)).unwrap();
    assert_eq!(said["operations"]["op"]["calls"]["succeeded"], 1);
    assert_eq!(
        said["operations"]["op"]["latency"],
        json!({ "p50": null, "p95": null, "p99": null })
    );
}

#[test]
fn what_shadow_would_have_refused_is_counted_as_shadowed() {
    let (table, clock) = (Orchestrator::<1>::new(), ManualClock::new());
    let shadow = Registration::new().given(Key::Failures, 2).given(Key::Mode, 3);
    let handle = table.register("op", shadow).unwrap().with(Overrides::new().attempts(1));
    let handle = handle.retry_all();
    for _ in 0..5 {
        let call = handle.execute(&clock, || ready(Err::<(), _>("down")));
        assert!(clock.block_on(call).is_err());
    }
    let snapshot = table.metrics("op").unwrap().snapshot();
    assert_eq!((snapshot.breaker.opened, snapshot.breaker.shadowed), (1, 3));
    assert_eq!((snapshot.calls.failed, snapshot.calls.refused), (5, 0));
    assert_eq!(snapshot.refusals.breaker_open, 0, "nobody was refused");
    let said = serde_json::to_value(table.report(clock.now(), None)).unwrap();
    assert_eq!(said["circuit_breakers"]["op"]["metrics"]["shadowed"], 3);

    table.metrics("op").unwrap().reset().unwrap();
    assert_eq!(table.metrics("op").unwrap().snapshot().breaker.shadowed, 0);
    assert_eq!(table.metrics("op").unwrap().raw().breaker.shadowed, 3);
}

#[test]
fn health_is_the_document_that_it_says() {
    let (table, clock) = after_a_while();
    let expected = json!({
        "healthy": false,
        "open_circuit_breakers": ["out"],
        "half_open_circuit_breakers": [],
        "total_circuit_breakers": 3,
        "total_operations": 4,
        "timestamp": UNIX,
    });
    let health = table.health(clock.now(), Some(UNIX));
    assert_eq!(serde_json::to_value(health).unwrap(), expected);
}

/// What a reader on the other side makes of it, in a form whose lengths come first.
#[cfg(feature = "postcard")]
mod by_postcard {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Serialize};
    use steadfast::orchestrator::Config;

    use super::*;

    #[derive(Deserialize, Serialize)]
    struct Report<'a> {
        #[serde(borrow)]
        operations: BTreeMap<&'a str, Operation<'a>>,
        #[serde(borrow)]
        circuit_breakers: BTreeMap<&'a str, Breaker<'a>>,
        summary: Summary,
    }

    #[derive(Deserialize, Serialize)]
    struct Operation<'a> {
        strategy: &'a str,
        calls: Calls,
        attempts: Attempts,
        retries: u64,
        slow: u64,
        refusals: Refusals,
        success_rate: u32,
        failure_rate: u32,
        latency: Latency,
        attempt_latency: Latency,
        last_success: Option<u64>,
        last_failure: Option<u64>,
    }

    #[derive(Deserialize, Serialize)]
    struct Calls {
        started: u64,
        succeeded: u64,
        failed: u64,
        refused: u64,
        fell_back: u64,
        cancelled: u64,
        in_flight: u64,
    }

    #[derive(Deserialize, Serialize)]
    struct Attempts {
        started: u64,
        succeeded: u64,
        failed: u64,
        timed_out: u64,
        cancelled: u64,
        in_flight: u64,
    }

    #[derive(Deserialize, Serialize)]
    struct Refusals {
        breaker_open: u64,
        gated: u64,
        bulkhead_full: u64,
        limited: u64,
        budget: u64,
        window: u64,
        deadline: u64,
        asked_wait: u64,
    }

    #[derive(Deserialize, Serialize)]
    struct Latency {
        p50: Option<u64>,
        p95: Option<u64>,
        p99: Option<u64>,
    }

    #[derive(Deserialize, Serialize)]
    struct Breaker<'a> {
        state: &'a str,
        mode: &'a str,
        failure_threshold: u32,
        recovery_timeout: u64,
        remaining_ms: u64,
        metrics: Transitions,
    }

    #[derive(Deserialize, Serialize)]
    struct Transitions {
        opened: u64,
        half_opened: u64,
        closed: u64,
        late_outcomes: u64,
        shadowed: u64,
    }

    #[derive(Deserialize, Serialize)]
    struct Summary {
        total_operations: usize,
        total_circuit_breakers: usize,
        healthy_circuit_breakers: usize,
        timestamp: Option<u64>,
    }

    #[test]
    fn a_report_reads_the_same() {
        let (table, clock) = after_a_while();
        let (report, mut buffer) = (table.report(clock.now(), Some(UNIX)), [0; 1024]);
        let bytes = postcard::to_slice(&report, &mut buffer).unwrap();
        let (read, rest) = postcard::take_from_bytes::<Report<'_>>(bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!(serde_json::to_value(read).unwrap(), serde_json::to_value(report).unwrap());
    }

    #[test]
    fn a_report_stays_of_one_piece_while_the_table_changes() {
        let (table, clock) = after_a_while();
        let (report, mut buffer) = (table.report(clock.now(), None), [0; 1024]);
        let off = Registration::new().given(Key::BreakerEnabled, 0);
        let config = Config::<1>::new().with_every_strategy(off);
        table.configure(&config.try_operation("new", off).unwrap()).unwrap();
        table.breaker("out").unwrap().reset();
        assert!(table.metrics("new").is_ok());

        let bytes = postcard::to_slice(&report, &mut buffer).unwrap();
        let (read, rest) = postcard::take_from_bytes::<Report<'_>>(bytes).unwrap();
        assert!(rest.is_empty());
        assert_eq!((read.operations.len(), read.circuit_breakers.len()), (4, 3));
        let not_open = read.circuit_breakers.values().filter(|b| b.state != "open").count();
        assert_eq!(read.summary.healthy_circuit_breakers, not_open);
        assert_eq!(read.circuit_breakers["out"].state, "open", "as when it was made");
    }

    #[test]
    fn a_report_is_written_without_allocating() {
        let (table, clock) = after_a_while();
        let mut buffer = [0; 1024];
        let allocated = allocation_counter::measure(|| {
            let report = table.report(clock.now(), Some(UNIX));
            assert!(postcard::to_slice(&report, &mut buffer).is_ok());
            assert!(postcard::to_slice(&table.health(clock.now(), None), &mut buffer).is_ok());
        });
        assert_eq!(allocated.count_total, 0);
    }
}

/// Two successes after 3 ms each, one of them by a retry, and a failure; an outage; an operation that
/// nobody called, and one without a breaker. Five seconds later.
fn after_a_while() -> (Orchestrator<8>, ManualClock) {
    let (table, clock) = (Orchestrator::new(), ManualClock::new());
    let began = Instant::from_micros(MARK + PART);
    clock.set(began);
    let out = Registration::by(Strategy::Aggressive).given(Key::Failures, 1);
    let out = table.register("out", out.given(Key::OpenFor, 8_500_000)).unwrap();
    for _ in 0..2 {
        let call = out.retry_all().execute(&clock, || ready(Err::<(), _>("down")));
        assert!(clock.block_on(call).is_err());
    }

    let mixed = Registration::by(Strategy::Critical).given(Key::Multiplier, 0).given(Key::Min, 0);
    let mixed = table.register("mixed", mixed.given(Key::Jitter, 0)).unwrap().retry_all();
    for (attempts, ends) in
        [(2, vec![(3, true)]), (2, vec![(1, false), (2, true)]), (1, vec![(1, false)])]
    {
        let (mut ends, attempts) = (ends.into_iter(), Overrides::new().attempts(attempts));
        let call = mixed.with(attempts).execute(&clock, || {
            let (millis, good) = ends.next().unwrap();
            clock.advance(Duration::from_millis(millis));
            ready(if good { Ok(()) } else { Err("down") })
        });
        let _ = clock.block_on(call);
    }

    table.register("idle", Registration::new()).unwrap();
    table.breaker("idle").unwrap().force(clock.now(), Mode::Shadow);
    table.register("bare", Registration::new().given(Key::BreakerEnabled, 0)).unwrap();
    clock.set(began.after(Duration::from_secs(5)));
    (table, clock)
}

/// A multiple of 2^20 µs: what happens within as long after it is marked with it.
const MARK: u64 = 99 << 20;
const PART: u64 = 250_000;
