//! What firmware logs is loggable, and names, numbers and lengths go out as what they are.
#![cfg(feature = "defmt")]

use core::time::Duration;

use defmt::Format;
use steadfast::orchestrator::{
    Allowed, Config, ConfigError, Conflict, Effective, Health, Key, Kind, Name, NameError,
    Orchestrator, Origin, OutOfRange, Overrides, RegisterError, Registration, ResetError,
    UnknownKey, UnknownOperation, Value, Warning,
};
use steadfast::policy::{
    BackoffError, ByError, Events, Growth, Made, PolicyError, RetryAll, Settings, Stage,
    UnknownStrategy,
};
use steadfast::state::{
    Admission, Attempts, BreakerOpen, BudgetRuleError, BulkheadFull, Calls, Circuit, Latency, Mode,
    NoSlots, Outcome, Phase, Refusals, ResetBusy, RuleError, Settled, Snapshot, State, Tally,
    Ticket, Transition, Transitions, UnknownMode,
};
use steadfast::{
    Backoff, BudgetRule, Class, Error, Event, Instant, Jitter, OrElseError, Reason, Retry, Rule,
    Strategy, Trip, Verdict,
};

#[test]
fn every_value_that_firmware_may_hold_is_logged() {
    fn all<T: Format>() {}
    all::<(Instant, Error<u8>, OrElseError<u8, u8>, Reason)>();
    all::<(Backoff, BackoffError, Growth, Jitter, Class, Retry, Verdict, ByError, RetryAll)>();
    all::<(Event, Events, Stage, Made, PolicyError, Strategy, Settings, UnknownStrategy)>();
    all::<(Circuit, Phase, Rule, RuleError, Trip, Ticket, Admission, Outcome, Settled)>();
    all::<(Transition, State, BreakerOpen, Mode, UnknownMode, BulkheadFull, NoSlots)>();
    all::<(BudgetRule, BudgetRuleError, Tally, ResetBusy)>();
    all::<(Snapshot, Calls, Attempts, Refusals, Transitions, Latency)>();
    all::<(Name, NameError, Key, Kind, Value, OutOfRange, UnknownKey, Allowed, Overrides)>();
    all::<(Registration, Effective, Origin, Conflict, Warning, Health<4>)>();
    all::<(Config<4>, ConfigError, RegisterError, ResetError, UnknownOperation)>();
}

#[test]
fn an_instant_is_its_microseconds() {
    assert_eq!(logged(&Instant::from_micros(0x0102_0304_0506)), [6, 5, 4, 3, 2, 1, 0, 0]);
}

#[test]
fn a_name_is_text() {
    let name = Name::new("ai_summarize").unwrap();
    assert_eq!(logged(&name), text("ai_summarize"));
}

#[test]
fn a_retry_tells_its_number_and_its_wait() {
    let wait = Duration::from_nanos(1_500_000_999);
    let bytes = logged(&Event::Retry { attempt: 7, wait, class: Class::Timeout });
    assert!(contains(&bytes, &7_u32.to_le_bytes()), "{bytes:?}");
    assert!(contains(&bytes, &1_500_001_u64.to_le_bytes()), "{bytes:?}");
}

#[test]
fn a_refusal_tells_its_wait_where_there_is_one() {
    let (stage, reason) = (Stage::Breaker, Reason::BreakerOpen);
    let wait = Duration::from_millis(0x1234);
    let (told, micros) = (Event::Refused { stage, reason, wait: Some(wait) }, 0x1234_u64 * 1000);
    assert!(contains(&logged(&told), &micros.to_le_bytes()));
    let bytes = logged(&Event::Refused { stage, reason, wait: None });
    assert!(bytes.len() < logged(&told).len() - 8, "{bytes:?}");
}

#[test]
fn no_limit_is_no_number() {
    let limited = logged(&Verdict::of(Class::Transient).not_before(Duration::from_secs(5)));
    let unlimited = logged(&Verdict::of(Class::Transient).not_before(Duration::MAX));
    assert!(contains(&limited, &5_000_000_u64.to_le_bytes()));
    assert_eq!(unlimited.len(), limited.len() - 8, "{unlimited:?}");
}

#[test]
fn a_registration_tells_what_it_gives_under_its_path() {
    let bytes = logged(&Registration::by(Strategy::Critical).given(Key::Attempts, 5));
    assert!(contains(&bytes, &text("retry.attempts")), "{bytes:?}");
    assert!(contains(&bytes, &5_u64.to_le_bytes()), "{bytes:?}");
    assert!(!contains(&bytes, &text("retry.window")), "{bytes:?}");
}

#[test]
fn health_tells_who_is_open() {
    static TABLE: Orchestrator<2> = Orchestrator::new()
        .operation("ai_summarize", Registration::new())
        .operation("ai_classify", Registration::new());
    let now = Instant::from_micros(1);
    TABLE.breaker("ai_classify").unwrap().force(now, Mode::ForcedOpen);
    let bytes = logged(&TABLE.health(now, None));
    assert!(contains(&bytes, &text("ai_classify")), "{bytes:?}");
    assert!(!contains(&bytes, &text("ai_summarize")), "{bytes:?}");
}

/// The bytes that go out for `value`, but for what says which text they stand in.
fn logged(value: &impl Format) -> Vec<u8> {
    let text = size_of_val(&defmt::export::fetch_string_index());
    defmt::export::fetch_bytes();
    value.format(defmt::export::make_formatter());
    defmt::export::fetch_bytes().split_off(text)
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
