//! Counters and gauges as a recorder of the `metrics` crate has them, and as Prometheus reads them.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::future::{pending, ready};
use core::pin::pin;
use core::task::{Context, Waker};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use metrics::with_local_recorder;
use metrics_exporter_prometheus::PrometheusBuilder;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use steadfast::orchestrator::{Config, Handle, Key, Registration};
use steadfast::policy::RetryAll;
use steadfast::state::{Mode, Snapshot};
use steadfast::{Class, Clock as _, ManualClock, OrElseError, Orchestrator, Strategy, Verdict};
use steadfast_std::observe::{describe, publish};

#[test]
fn counters_are_what_the_metrics_say_before_and_after_a_reset() {
    let (table, clock, recorder) = (table(), ManualClock::new(), DebuggingRecorder::new());
    mixture(&table, &clock);
    let published = || {
        with_local_recorder(&recorder, || publish(&table, clock.now()));
        let keys = recorder.snapshotter().snapshot().into_vec().into_iter();
        keys.map(|(key, _, _, value)| (key.key().to_string(), value)).collect::<BTreeMap<_, _>>()
    };
    let before = table.metrics("ask").unwrap().snapshot();
    assert_eq!(before, table.metrics("ask").unwrap().raw());
    assert!(before.calls.succeeded > 0 && before.calls.refused > 0 && before.calls.fell_back > 0);
    assert!(before.retries > 0 && before.slow > 0 && before.breaker.late_outcomes > 0);
    assert!(before.attempts.timed_out > 0 && before.attempts.cancelled > 0);
    assert!(before.calls.failed > 0 && before.calls.cancelled > 0 && before.breaker.opened > 0);
    assert!(before.breaker.shadowed > 0);
    assert_counters_say(&published(), &before);

    table.reset_all_metrics().unwrap();
    mixture(&table, &clock);
    let since = table.metrics("ask").unwrap().snapshot();
    assert!(since.calls.started < 2 * before.calls.started);
    let raw = table.metrics("ask").unwrap().raw();
    assert_eq!(raw.calls.started, before.calls.started + since.calls.started, "it never goes back");
    assert_counters_say(&published(), &raw);
}

#[test]
fn gauges_say_what_is_now() {
    let (table, clock) = (table(), ManualClock::new());
    let handle = table.get("ask").unwrap().retry_all();
    let page = || {
        let recorder = PrometheusBuilder::new().build_recorder();
        with_local_recorder(&recorder, || publish(&table, clock.now()));
        recorder.handle().render()
    };
    let mut first = Box::pin(handle.execute(&clock, pending::<Result<u8, u8>>));
    assert!(pin!(&mut first).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let text = page();
    assert_line(&text, "steadfast_calls_in_flight{operation=\"ask\"} 1");
    assert_line(&text, "steadfast_attempts_in_flight{operation=\"ask\"} 1");
    assert_line(&text, "steadfast_breaker_state{operation=\"ask\",state=\"closed\"} 1");
    assert_line(&text, "steadfast_strategy{operation=\"ask\",strategy=\"critical\"} 1");
    assert_line(&text, "steadfast_strategy{operation=\"ask\",strategy=\"balanced\"} 0");
    assert!(!text.contains("steadfast_call_latency_seconds"), "no call has succeeded");
    drop(first);

    assert!(clock.block_on(handle.execute(&clock, || ready(Err::<u8, u8>(1)))).is_err());
    clock.advance(Duration::from_millis(500));
    let text = page();
    assert_line(&text, "steadfast_calls_in_flight{operation=\"ask\"} 0");
    assert_line(&text, "steadfast_breaker_state{operation=\"ask\",state=\"closed\"} 0");
    assert_line(&text, "steadfast_breaker_state{operation=\"ask\",state=\"open\"} 1");
    let remaining = value(&text, "steadfast_breaker_remaining_seconds{operation=\"ask\"}");
    assert!((299.5..299.6).contains(&remaining), "{remaining}");
    clock.advance(Duration::from_secs(301));
    assert_line(&page(), "steadfast_breaker_state{operation=\"ask\",state=\"half_open\"} 1");

    let slow = handle.execute_blocking(&clock, |_| {
        clock.advance(Duration::from_secs(2));
        Ok::<u8, u8>(1)
    });
    assert_eq!(slow, Ok(1));
    let text = page();
    let median = value(&text, "steadfast_call_latency_seconds{operation=\"ask\",quantile=\"0.5\"}");
    assert!((1.8..2.2).contains(&median), "{median}");
}

#[test]
fn a_breaker_that_is_switched_off_is_in_no_state() {
    let (table, clock) = (table(), ManualClock::new());
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = || {
        with_local_recorder(&recorder, || publish(&table, clock.now()));
        recorder.handle().render()
    };
    table.breaker("ask").unwrap().force(clock.now(), Mode::ForcedOpen);
    let text = page();
    assert_line(&text, "steadfast_breaker_state{operation=\"ask\",state=\"open\"} 1");
    assert!(value(&text, "steadfast_breaker_remaining_seconds{operation=\"ask\"}") > 0.0);

    let off = Registration::new().given(Key::BreakerEnabled, 0);
    let config = Config::<1>::new().try_operation("ask", off).unwrap();
    table.configure(&config).unwrap();
    let text = page();
    for state in ["closed", "open", "half_open"] {
        let line = format!("steadfast_breaker_state{{operation=\"ask\",state=\"{state}\"}} 0");
        assert_line(&text, &line);
    }
    assert_line(&text, "steadfast_breaker_remaining_seconds{operation=\"ask\"} 0");
    assert_line(&text, "steadfast_breaker_state{operation=\"idle\",state=\"closed\"} 1");
    assert_eq!(table.health(clock.now(), None).total_circuit_breakers, 1, "the sum of all");
}

#[test]
fn a_page_for_prometheus_describes_what_is_on_it() {
    let (table, clock) = (table(), ManualClock::new());
    let recorder = PrometheusBuilder::new().build_recorder();
    mixture(&table, &clock);
    let raw = table.metrics("ask").unwrap().raw();
    with_local_recorder(&recorder, || {
        describe();
        publish(&table, clock.now());
    });
    let text = recorder.handle().render();
    let succeeded = raw.calls.succeeded;
    assert_line(&text, "# HELP steadfast_calls_total Calls that ended, by how.");
    assert_line(&text, "# TYPE steadfast_calls_total counter");
    assert_line(
        &text,
        &format!("steadfast_calls_total{{operation=\"ask\",outcome=\"succeeded\"}} {succeeded}"),
    );
    assert_line(&text, "# TYPE steadfast_breaker_state gauge");
    for line in text.lines().filter(|line| line.starts_with("# TYPE")) {
        let name = line.split(' ').nth(2).unwrap();
        assert!(text.contains(&format!("# HELP {name} ")), "{name} is not described");
    }
}

#[test]
fn publishing_twice_counts_once() {
    let (table, clock) = (table(), ManualClock::new());
    let recorder = PrometheusBuilder::new().build_recorder();
    mixture(&table, &clock);
    let page = || {
        with_local_recorder(&recorder, || publish(&table, clock.now()));
        let text = recorder.handle().render();
        text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
    };
    assert_eq!(page(), page());
}

// --- Helpers --------------------------------------------------------------------------------------

const fn table() -> Orchestrator<4> {
    let frail = Registration::by(Strategy::Critical)
        .given(Key::Attempts, 2)
        .given(Key::Failures, 1)
        .given(Key::OpenFor, 300_000_000);
    Orchestrator::new().operation("ask", frail).operation("idle", Registration::new())
}

/// Calls that end in every way that there is, and an attempt in every way but one.
fn mixture(table: &Orchestrator<4>, clock: &ManualClock) {
    let handle: Handle<'_, RetryAll> = table.get("ask").unwrap().retry_all();
    let fails = || ready(Err::<u8, u8>(1));
    let spare = |_| Ok::<u8, OrElseError<u8, ()>>(2);
    for _ in 0..3 {
        assert!(clock.block_on(handle.execute(clock, || ready(Ok::<u8, u8>(1)))).is_ok());
    }
    let mut dropped = Box::pin(handle.execute(clock, pending::<Result<u8, u8>>));
    assert!(pin!(&mut dropped).poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(dropped);
    assert!(clock.block_on(handle.execute(clock, fails)).is_err(), "failed, and opened it");
    assert!(clock.block_on(handle.execute(clock, fails)).is_err(), "refused");
    assert_eq!(clock.block_on(handle.execute_or_else(clock, fails, spare)), Ok(2));
    clock.advance(Duration::from_secs(301));
    let hangs = clock.block_on(handle.execute(clock, pending::<Result<u8, u8>>));
    assert!(hangs.is_err(), "a probe that timed out");
    clock.advance(Duration::from_secs(301));
    assert!(clock.block_on(handle.execute(clock, || ready(Ok::<u8, u8>(1)))).is_ok(), "closed");

    let limited = table.get("ask").unwrap().classify(|_: &u8| Verdict::of(Class::RateLimited));
    let mut attempts = 0..2;
    let second = limited.execute_blocking(clock, |_| attempts.next().filter(|&n| n > 0).ok_or(1));
    assert_eq!(second, Ok(1), "a retry");
    let slow = handle.execute_blocking(clock, |_| {
        clock.advance(Duration::from_secs(121));
        Ok::<u8, u8>(1)
    });
    assert!(slow.is_ok());
    let late = handle.execute_blocking(clock, |_| {
        table.breaker("ask").unwrap().force(clock.now(), Mode::ForcedOpen);
        table.breaker("ask").unwrap().force(clock.now(), Mode::Normal);
        table.breaker("ask").unwrap().reset();
        Err::<u8, u8>(1)
    });
    assert!(late.is_err());
    let breaker = table.breaker("ask").unwrap();
    breaker.force(clock.now(), Mode::Shadow);
    assert!(clock.block_on(handle.execute(clock, fails)).is_err(), "opens it");
    assert!(clock.block_on(handle.execute(clock, || ready(Ok::<u8, u8>(1)))).is_ok(), "shadowed");
    breaker.force(clock.now(), Mode::Normal);
    breaker.reset();
}

fn value(page: &str, name: &str) -> f64 {
    let value = page.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    value.trim().parse().unwrap()
}

fn assert_line(page: &str, line: &str) {
    assert!(page.lines().any(|there| there == line), "{line}\nis not in\n{page}");
}

fn assert_counters_say(published: &BTreeMap<String, DebugValue>, raw: &Snapshot) {
    let (calls, attempts, refusals) = (&raw.calls, &raw.attempts, &raw.refusals);
    let counters = [
        ("calls_total", "outcome = succeeded", calls.succeeded),
        ("calls_total", "outcome = failed", calls.failed),
        ("calls_total", "outcome = refused", calls.refused),
        ("calls_total", "outcome = fell_back", calls.fell_back),
        ("calls_total", "outcome = cancelled", calls.cancelled),
        ("attempts_total", "outcome = succeeded", attempts.succeeded),
        ("attempts_total", "outcome = failed", attempts.failed),
        ("attempts_total", "outcome = timed_out", attempts.timed_out),
        ("attempts_total", "outcome = cancelled", attempts.cancelled),
        ("attempts_slow_total", "", raw.slow),
        ("retries_total", "", raw.retries),
        ("refusals_total", "reason = breaker_open", refusals.breaker_open),
        ("refusals_total", "reason = gated", refusals.gated),
        ("refusals_total", "reason = bulkhead_full", refusals.bulkhead_full),
        ("refusals_total", "reason = limited", refusals.limited),
        ("refusals_total", "reason = budget", refusals.budget),
        ("refusals_total", "reason = window", refusals.window),
        ("refusals_total", "reason = deadline", refusals.deadline),
        ("refusals_total", "reason = asked_wait", refusals.asked_wait),
        ("breaker_transitions_total", "to = open", raw.breaker.opened),
        ("breaker_transitions_total", "to = half_open", raw.breaker.half_opened),
        ("breaker_transitions_total", "to = closed", raw.breaker.closed),
        ("breaker_late_outcomes_total", "", raw.breaker.late_outcomes),
        ("breaker_shadowed_total", "", raw.breaker.shadowed),
    ];
    for (name, label, value) in counters {
        let separator = if label.is_empty() { "" } else { ", " };
        let key = format!("Key(steadfast_{name}, [operation = ask{separator}{label}])");
        assert_eq!(published.get(&key), Some(&DebugValue::Counter(value)), "{key}");
    }
    let counted = published.iter().filter(|(key, value)| {
        key.contains("operation = ask") && matches!(value, DebugValue::Counter(_))
    });
    assert_eq!(counted.count(), counters.len(), "no counter but these");
}
