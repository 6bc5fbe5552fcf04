//! What errors, events and names say: what is wrong, and what would be right.
#![allow(clippy::unwrap_used)]

mod common;

use core::error::Error as _;
use core::fmt::{Debug, Display};
use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::collections::BTreeSet;
use std::panic::catch_unwind;

use steadfast::policy::{Growth, Stage};
use steadfast::state::{BulkheadFull, ResetBusy};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Class, Event, Jitter, ManualClock, Metrics,
    OrElseError, Policy, Reason, Rule, Trip,
};

use common::{Fault, at, failing, fault, millis, poll, secs};

// --- What is refused, with its bounds -------------------------------------------------------------

#[test]
fn b28_an_error_and_an_assertion_say_the_same_of_a_number_just_outside() {
    let policy = Policy::new();
    refused(
        policy.try_attempts(0),
        || policy.attempts(0),
        "a policy makes one attempt at least: the first one counts",
    );
    refused(
        policy.try_attempt_timeout(Duration::ZERO),
        || policy.attempt_timeout(Duration::ZERO),
        "an attempt's timeout is more than zero",
    );
    refused(
        policy.try_deadline(Duration::ZERO),
        || policy.deadline(Duration::ZERO),
        "a deadline is more than zero",
    );
    refused(Bulkhead::try_new(0), || Bulkhead::new(0), "a bulkhead has one slot at least");

    let rule = Rule::new(Trip::after(1), secs(60));
    for open_for in [millis(49), secs(86_401)] {
        refused(
            Rule::try_new(1, 1, open_for),
            || Rule::new(Trip::after(1), open_for),
            "a breaker stays open for 50 ms to 24 h",
        );
        let text = "a probe's lease is 50 ms to 24 h";
        refused(rule.try_lease(open_for), || rule.lease(open_for), text);
    }
    for probes in [0, 64] {
        let text = "a breaker makes 1 to 63 probes";
        refused(rule.try_probes(probes), || rule.probes(probes), text);
    }

    for (tokens, per_success, refill, text) in [
        (0, 0, Duration::ZERO, "a retry budget has 1 to 10000 tokens"),
        (10_001, 0, Duration::ZERO, "a retry budget has 1 to 10000 tokens"),
        (10, 10_001, Duration::ZERO, "a success gives 0 to 10000 thousandths of a token"),
        (10, 100, secs(86_401), "a token comes back within 24 h, or never"),
    ] {
        refused(
            BudgetRule::try_new(tokens, per_success, refill),
            || BudgetRule::new(tokens, per_success, refill),
            text,
        );
    }

    let (over, too_long) = (secs(3601), "a back-off's lengths are an hour at most");
    let try_new = |growth, min, max| Backoff::try_new(growth, secs(1), min, max);
    let linear = |min, max| move || Backoff::linear(secs(1), min, max);
    let exponential = |min, max| move || Backoff::exponential(secs(1), min, max);
    let not_below = "a back-off's shortest wait is shorter than its longest";
    for (min, max, text) in [(secs(2), secs(2), not_below), (secs(2), over, too_long)] {
        refused(try_new(Growth::Linear, min, max), linear(min, max), text);
        refused(try_new(Growth::Exponential, min, max), exponential(min, max), text);
    }
    let (second, jitter) = (Backoff::constant(secs(1)), Jitter::Additive(over));
    refused(second.try_jitter(jitter), || second.jitter(jitter), too_long);
    refused(try_new(Growth::Constant, secs(0), over), || Backoff::constant(over), too_long);
}

#[test]
fn b28_a_trip_says_how_many_failures_there_may_be_among_how_many_outcomes() {
    for failures in [0, 24] {
        assert_eq!(
            Rule::try_new(failures, failures, secs(60)).unwrap_err().to_string(),
            "a breaker opens after 1 to 23 failures"
        );
        assert_eq!(panics(|| Trip::after(failures)), "1 to 23 failures");
    }
    for outcomes in [4, 24] {
        assert_eq!(
            Rule::try_new(5, outcomes, secs(60)).unwrap_err().to_string(),
            "failures are counted among as many outcomes or more, up to 23"
        );
        assert_eq!(
            panics(|| Trip::after(5).of_last(outcomes)),
            "as many outcomes as failures or more, up to 23"
        );
    }
}

#[test]
fn b28_metrics_say_that_a_shard_is_missing() {
    assert_eq!(panics(Metrics::<1, 0>::new), "one shard at least");
}

// --- Reasons and classes --------------------------------------------------------------------------

#[test]
fn every_reason_reads_as_a_clause_of_its_own() {
    clauses(&[
        Reason::Class,
        Reason::Attempts,
        Reason::Budget,
        Reason::Window,
        Reason::Deadline,
        Reason::AskedWait,
        Reason::BreakerOpen,
        Reason::Gated,
        Reason::BulkheadFull,
        Reason::Limited,
    ]);
}

#[test]
fn a_class_is_called_as_it_is_written() {
    let classes = [
        Class::Transient,
        Class::Timeout,
        Class::Overloaded,
        Class::RateLimited,
        Class::Permanent,
        Class::Auth,
        Class::Quota,
        Class::Context,
        Class::Policy,
    ];
    clauses(&classes);
    for class in classes {
        let written = format!("{class:?}").to_lowercase();
        assert_eq!(class.to_string().replace(' ', ""), written);
    }
}

#[test]
fn a_part_that_refuses_says_what_the_execution_says() {
    let (breaker, bulkhead) = (Breaker::new(Trip::after(1), secs(60)), Bulkhead::new(1));
    common::fail(&breaker, at(0));
    let open = breaker.try_acquire(at(0)).unwrap_err();
    says(open, &Reason::BreakerOpen.to_string());
    let _taken = bulkhead.try_acquire();
    says(bulkhead.try_acquire().unwrap_err(), &Reason::BulkheadFull.to_string());
    says(BulkheadFull, "bulkhead full");
    says(ResetBusy, "the metrics are being reset already");
}

// --- Executions -----------------------------------------------------------------------------------

#[test]
fn an_error_says_the_reason_the_attempts_and_the_class_and_its_source_says_the_rest() {
    let (clock, bulkhead) = (ManualClock::new(), Bulkhead::new(1));
    let policy = Policy::new().bulkhead(&bulkhead);
    let one = clock.block_on(policy.execute(&clock, failing)).unwrap_err();
    assert_eq!(one.to_string(), "no attempts left after 1 attempt (transient)");
    assert_eq!(one.source().unwrap().to_string(), "transient fault 0");
    assert_eq!(one.source().unwrap().downcast_ref::<Fault>(), Some(&fault(Class::Transient)));
    assert_eq!(one.into_inner(), Some(fault(Class::Transient)));

    let more = clock.block_on(policy.attempts(3).execute(&clock, failing)).unwrap_err();
    assert_eq!(more.to_string(), "no attempts left after 3 attempts (transient)");

    let _taken = bulkhead.try_acquire().unwrap();
    let none = clock.block_on(policy.execute(&clock, failing)).unwrap_err();
    assert_eq!(none.to_string(), "bulkhead full, no attempt made");
    assert!(none.source().is_none());
    assert_eq!(none.into_inner(), None);
}

#[test]
fn an_error_after_a_fallback_says_whose_it_is_and_its_source_is_not_what_it_said() {
    let clock = ManualClock::new();
    let gave_up = clock.block_on(Policy::new().execute(&clock, failing)).unwrap_err();
    let stands: OrElseError<Fault, OrElseError<Fault, Fault>> = OrElseError::GaveUp(gave_up);
    assert_eq!(stands.to_string(), gave_up.to_string());
    assert_eq!(stands.source().unwrap().to_string(), "transient fault 0");

    let own: OrElseError<Fault, OrElseError<Fault, Fault>> =
        OrElseError::Fallback(OrElseError::GaveUp(gave_up));
    assert_eq!(own.to_string(), format!("fallback failed: {gave_up}"));
    assert_eq!(own.source().unwrap().to_string(), "transient fault 0");
    let plain: OrElseError<Fault, Fault> = OrElseError::Fallback(fault(Class::Auth));
    assert_eq!(plain.to_string(), "fallback failed: auth fault 0");
    assert!(plain.source().is_none(), "it has no cause, and is said already");
}

#[test]
fn an_event_is_a_line_for_a_log() {
    let refused = |reason, wait| Event::Refused { stage: Stage::Breaker, reason, wait };
    for (event, text) in [
        (
            Event::Retry { attempt: 2, wait: millis(1_500), class: Class::RateLimited },
            "attempt 2 failed (rate limited), next in 1.5s",
        ),
        (Event::Opened, "breaker opened"),
        (Event::HalfOpened, "breaker half-open"),
        (Event::Closed, "breaker closed"),
        (refused(Reason::BreakerOpen, Some(secs(30))), "refused: breaker open, for 30s"),
        (refused(Reason::Budget, None), "refused: retry budget spent"),
    ] {
        assert_eq!(event.to_string(), text);
    }
}

// --- For whoever debugs ---------------------------------------------------------------------------

#[test]
fn a_policy_shows_its_limits_and_the_parts_it_has() {
    let breaker = Breaker::new(Trip::after(3), secs(60));
    let budget = Budget::with_rule(BudgetRule::new(10, 100, secs(60)));
    let shown = format!("{:?}", Policy::new().attempts(4).breaker(&breaker).budget(&budget));
    for part in [
        "attempts: 4".to_owned(),
        format!("backoff: {:?}", Backoff::constant(Duration::ZERO)),
        format!("{:?}", breaker.rule()),
        "bulkhead: None".to_owned(),
        format!("{:?}", budget.rule()),
        "classifier: ByError".to_owned(),
    ] {
        assert!(shown.contains(&part), "{part} in {shown}");
    }
}

#[test]
fn an_execution_shows_whether_it_has_begun() {
    let clock = ManualClock::new();
    let policy = Policy::new().attempts(2).backoff(Backoff::constant(secs(1)));
    let mut execution = policy.execute(&clock, failing);
    assert_eq!(format!("{execution:?}"), "Execute { begun: false, .. }");
    assert!(poll(core::pin::Pin::new(&mut execution)).is_pending());
    assert_eq!(format!("{execution:?}"), "Execute { begun: true, .. }");
    let with_fallback = execution.or_else(|error| Err(OrElseError::<_, Fault>::GaveUp(error)));
    assert_eq!(
        format!("{with_fallback:?}"),
        "ExecuteOrElse { execute: Execute { begun: true, .. }, .. }"
    );
}

#[test]
fn an_attempt_names_its_meter_and_does_not_show_all_its_counters() {
    let metrics = <Metrics>::new();
    let policy = Policy::new().metrics(&metrics);
    let attempt = common::granted(policy.start::<Fault>(at(0), 0).attempt(at(0)).next);
    let shown = format!("{attempt:?}");
    assert!(shown.contains("meter: Some(Meter)"), "{shown}");
    assert!(!shown.contains("shards"), "{shown}");
}

// --- What these tests share -----------------------------------------------------------------------

/// What was tried is refused and says `text`, and so is and says what asserts.
fn refused<T: Debug, E: core::error::Error>(
    tried: Result<T, E>,
    asserted: impl FnOnce() -> T,
    text: &str,
) {
    says(tried.unwrap_err(), text);
    assert_eq!(panics(asserted), text);
}

fn says(error: impl core::error::Error, text: &str) {
    assert_eq!(error.to_string(), text);
    assert!(error.source().is_none(), "it is the whole of it: {text}");
}

/// What `make` says when it panics.
fn panics<T: Debug>(make: impl FnOnce() -> T) -> String {
    let panic = catch_unwind(AssertUnwindSafe(make)).unwrap_err();
    let said = panic.downcast_ref::<String>().cloned();
    said.unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned())
}

/// Each begins in lower case, ends without a full stop, and is another's equal in nothing.
fn clauses(all: &[impl Display]) {
    let texts: BTreeSet<_> = all.iter().map(ToString::to_string).collect();
    for text in &texts {
        assert!(text.starts_with(|c: char| c.is_ascii_lowercase()), "{text}");
        assert!(!text.ends_with('.'), "{text}");
    }
    assert_eq!(texts.len(), all.len(), "each has its own");
}
