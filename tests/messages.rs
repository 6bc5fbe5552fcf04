//! What errors, events and names say: what is wrong, and what would be right.
#![allow(clippy::unwrap_used)]

mod common;

use core::error::Error as _;
use core::fmt::{Debug, Display};
use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::collections::BTreeSet;
use std::panic::catch_unwind;

use steadfast::orchestrator::{
    Config, ConfigError, Conflict, Key, Name, NameError, Origin, Overrides, RegisterError,
    Registration, ResetError, UnknownOperation, Warning, Watch,
};
use steadfast::policy::{Growth, Stage};
use steadfast::state::{
    Admission, BulkheadFull, LimitRule, Limiter, Mode, Outcome, ResetBusy, SharedBuckets,
    SharedCircuit, SharedWindow, UnknownMode, Window, WindowRule,
};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Class, Event, Jitter, ManualClock, Metrics,
    OrElseError, Orchestrator, Policy, Reason, Rule, Strategy, Trip,
};

use common::{Fault, at, failing, fault, millis, poll, secs};

// --- What is refused, with its bounds -------------------------------------------------------------

#[test]
fn b28_an_error_and_an_assertion_say_the_same_of_a_number_just_outside() {
    let (policy, own, zero) = (Policy::new(), Overrides::new(), Duration::ZERO);
    let text = "a policy makes one attempt at least: the first one counts";
    refused(policy.try_attempts(0), || policy.attempts(0), text);
    refused(own.try_attempts(0), || own.attempts(0), text);
    let text = "an attempt's timeout is more than zero";
    refused(policy.try_attempt_timeout(zero), || policy.attempt_timeout(zero), text);
    refused(own.try_attempt_timeout(zero), || own.attempt_timeout(zero), text);
    let text = "a deadline is more than zero";
    refused(policy.try_deadline(zero), || policy.deadline(zero), text);
    refused(own.try_deadline(zero), || own.deadline(zero), text);
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

    for (tenths, most, text) in [
        (9, 60, "an open period grows by 1.0 to 10.0 times: 10 to 100 tenths"),
        (101, 60, "an open period grows by 1.0 to 10.0 times: 10 to 100 tenths"),
        (20, 59, "an open period grows to its own length or more, up to 24 h"),
        (20, 86_401, "an open period grows to its own length or more, up to 24 h"),
    ] {
        let most = secs(most);
        refused(rule.try_open_growth(tenths, most), || rule.open_growth(tenths, most), text);
    }

    for (tokens, per_success, refill, text) in [
        (0, 0, zero, "a retry budget has 1 to 10000 tokens"),
        (10_001, 0, zero, "a retry budget has 1 to 10000 tokens"),
        (10, 10_001, zero, "a success gives 0 to 10000 thousandths of a token"),
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
fn b28_a_window_and_a_limit_refuse_what_their_assertions_refuse() {
    let (none, day) = (WindowRule::NONE, secs(86_401));
    let text = "a window looks at 1 to 1024 outcomes, no fewer than its failures";
    refused(none.try_over_last(1_025), || WindowRule::over_last(1_025), text);
    refused(none.try_failures(6, 5), || none.failures(6, 5), text);
    let text = "a window over a time is 50 ms to 24 h long";
    refused(none.try_within(day), || WindowRule::within(day), text);
    let text = "a rate is 1 to 1000 thousandths";
    refused(none.try_failure_rate(1_001), || none.failure_rate(1_001), text);
    refused(none.try_slow_rate(0, secs(1)), || none.slow_rate(0, secs(1)), text);
    let text = "an outcome is slow after 1 ms to 24 h";
    refused(none.try_slow_rate(1, day), || none.slow_rate(1, day), text);
    let text = "a window asks for 1 to 100000 outcomes";
    refused(none.try_min_calls(0), || none.min_calls(0), text);

    let (none, most) = (LimitRule::NONE, (1 << 31) + 1);
    let text = "a limit is 1 to 2147483648 requests a minute";
    refused(none.try_requests(most), || LimitRule::requests(most), text);
    let text = "a limit is 1 to 2147483648 tokens a minute";
    refused(none.try_tokens(0), || LimitRule::tokens(0), text);
    refused(none.try_tokens(most), || none.and_tokens(most), text);
}

#[test]
fn what_is_made_by_default_is_empty_and_limits_nothing() {
    assert_eq!((WindowRule::default(), LimitRule::default()), (WindowRule::NONE, LimitRule::NONE));
    assert!(LimitRule::default().is_none() && WindowRule::default().is_none());
    assert!(SharedBuckets::default().take(&LimitRule::requests(1), at(0), 0).is_ok());
    let (rule, phase) = (WindowRule::NONE.failures(1, 1), SharedCircuit::new());
    let Admission::Admitted(ticket, None) = phase.admit(&Rule::new(Trip::NEVER, secs(1)), at(0))
    else {
        panic!("a closed circuit admits");
    };
    let window = <SharedWindow>::default();
    let phase = phase.closed_phase(ticket).unwrap();
    assert!(window.enter(&rule, at(0), phase, Outcome::Failure, secs(0)));
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

#[test]
fn a_setting_out_of_its_range_is_told_with_its_path_and_its_range() {
    for (key, outside, text) in [
        (Key::RetryEnabled, 2, "retry.enabled is true or false"),
        (Key::Attempts, 51, "retry.attempts is a whole number, 1 to 50"),
        (
            Key::OpenFor,
            49_999,
            "breaker.open_for is a number of seconds, 0.05 to 86400: 50000 to 86400000000 microseconds",
        ),
        (Key::OpenGrowth, 101, "breaker.open_growth is a number, 1 to 10: 10 to 100 tenths"),
        (
            Key::PerSuccess,
            10_001,
            "retry.budget.per_success is a number, 0 to 10: 0 to 10000 thousandths",
        ),
        (Key::Growth, 3, "retry.backoff is constant, linear or exponential"),
    ] {
        says(Registration::new().try_given(key, outside).unwrap_err(), text);
        let asserts = panics(|| Registration::new().given(key, outside));
        assert_eq!(asserts, "a setting is out of its range: see `Key::range`");
    }
}

#[test]
fn a_table_in_a_static_says_why_it_does_not_compile() {
    let plain = Registration::new();
    let with =
        |name, registration| panics(|| Orchestrator::<1>::new().operation(name, registration));
    let long = "x".repeat(33);
    for (name, error, text) in [
        ("", NameError::Empty, "an operation's name is not empty"),
        (&*long, NameError::TooLong, "an operation's name has 32 bytes at most"),
        ("a\0b", NameError::Nul, "an operation's name contains no NUL"),
    ] {
        assert_eq!(with(name, plain), text);
        says(Name::try_from(name).unwrap_err(), text);
        says(RegisterError::Name(error), text);
        says(ConfigError::Name(error), text);
    }
    let at_odds = plain.given(Key::Failures, 9).given(Key::OfLast, 8);
    assert_eq!(with("op", at_odds), "an operation's settings are at odds: see `Conflict`");
    let two = || Orchestrator::<1>::new().operation("one", plain).operation("two", plain);
    assert_eq!(panics(two), "more operations than the table has places");
    assert_eq!(panics(Orchestrator::<0>::new), "one place at least");
}

#[test]
fn a_configuration_says_where_it_is_wrong() {
    let (plain, name) = (Registration::new(), Name::new("ai_classify").unwrap());
    let one = Config::<1>::new().try_operation("ai_classify", plain).unwrap();
    let twice = one.clone().try_operation("ai_classify", plain);
    says(twice.unwrap_err(), "operation ai_classify is there twice");
    let more = Config::<0>::new().try_operation("ai_classify", plain);
    says(more.unwrap_err(), "a configuration has 0 operations at most");
    let every = Config::<1>::new().with_every_strategy(plain.given(Key::Min, 3_000_000));
    says(every.check().unwrap_err(), "strategy aggressive: retry.min must be below retry.max");
    let conflict = Conflict::OpenMaxBelowOpenFor;
    let text = "breaker.open_max must not be below breaker.open_for";
    says(RegisterError::Conflict(conflict), text);
    says(ConfigError::Operation(name, conflict), &format!("operation ai_classify: {text}"));
}

#[test]
fn a_table_says_the_same_of_what_is_refused_whoever_asks() {
    let full = "all 3 places of the table are taken";
    says(RegisterError::Full { capacity: 3 }, full);
    says(ConfigError::Full { capacity: 3 }, full);
    let busy = "the table is being written by another caller";
    says(RegisterError::Busy, busy);
    says(ConfigError::Busy, busy);
    let unknown = "no operation of that name is registered";
    says(UnknownOperation, unknown);
    says(ResetError::UnknownOperation, unknown);
    says(ResetError::Busy, &ResetBusy.to_string());
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
fn a_mode_is_read_as_it_is_written_and_another_is_told_all_of_them() {
    let told = "bypass".parse::<Mode>().unwrap_err();
    says(UnknownMode, "a breaker's mode is normal, forced_open, forced_closed or shadow");
    for mode in Mode::ALL {
        assert_eq!((mode.name().parse(), mode.to_string().as_str()), (Ok(mode), mode.name()));
        assert!(told.to_string().contains(mode.name()), "{mode}");
    }
    assert_eq!(Mode::default(), Mode::Normal);
}

#[test]
fn a_warning_begins_with_the_setting_that_it_is_of() {
    let warnings = [
        (Warning::OpensAlone, Key::Failures),
        (Warning::RatesAlone, Key::MinCalls),
        (Warning::WindowShort, Key::Window),
        (Warning::ManyAttempts, Key::Attempts),
        (Warning::ManyProbes, Key::Probes),
        (Warning::LeaseShort, Key::Lease),
        (Warning::SlowAfterAlone, Key::SlowAfter),
        (Warning::MinCallsAlone, Key::MinCalls),
    ];
    clauses(&warnings.map(|(warning, _)| warning));
    for (warning, key) in warnings {
        assert!(warning.to_string().starts_with(&format!("{key} is ")), "{warning}");
    }
}

#[test]
fn each_origin_of_a_setting_has_a_name() {
    clauses(&[
        Origin::Configured,
        Origin::Registered,
        Origin::EveryStrategy,
        Origin::Strategy,
        Origin::DefaultStrategy,
        Origin::Derived,
    ]);
    let table = Orchestrator::<1>::new();
    let registration = Registration::by(Strategy::Critical).given(Key::Attempts, 4);
    assert!(table.register("op", registration).is_ok());
    let effective = table.effective("op").unwrap();
    assert_eq!(effective.origin(Key::Attempts).to_string(), "registered");
    assert_eq!(effective.origin(Key::Min).to_string(), "strategy");
}

#[test]
fn a_name_is_shown_as_the_text_that_it_is() {
    let name = Name::new("ai.summarize/v2").unwrap();
    assert_eq!(format!("{name} {name:?}"), "ai.summarize/v2 \"ai.summarize/v2\"");
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
        (refused(Reason::Budget, None), "refused: budget spent"),
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
fn a_rule_shows_what_it_was_made_of() {
    let rule = Rule::new(Trip::after(3).of_last(9), secs(30))
        .probes(2)
        .lease(secs(60))
        .open_growth(15, secs(3_600));
    assert_eq!(
        format!("{rule:?}"),
        "Rule { trip: Trip { failures: 3, window: 9 }, open_for: 30s, growth_tenths: 15, \
         open_max: 3600s, probes: 2, lease: 60s }"
    );
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

#[test]
fn a_watch_is_shown_by_what_it_is() {
    let watch: &dyn Watch = &|_: &str, _: &Event| ();
    assert_eq!(format!("{watch:?}"), "Watch");
    static WINDOW: Window = Window::new(WindowRule::NONE);
    static LIMITER: Limiter = Limiter::new(LimitRule::NONE);
    static BUDGET: Budget = Budget::with_rule(BudgetRule::new(10, 1, secs(1)));
    let policy = Policy::new().window(&WINDOW).limiter(&LIMITER).budget(&BUDGET);
    let shown = format!("{policy:?}");
    assert!(shown.contains("Purse"), "{shown}");
    assert!(shown.contains("window: Some(Evidence)"), "{shown}");
    assert!(shown.contains("limiter: Some(Limit)"), "{shown}");
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
