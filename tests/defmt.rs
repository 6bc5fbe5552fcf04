//! What firmware logs is loggable, and names, numbers and lengths go out as what they are.
#![cfg(feature = "defmt")]
#![allow(clippy::unwrap_used)]

use core::time::Duration;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use defmt::Format;
use steadfast::orchestrator::{
    Allowed, Config, ConfigError, Conflict, Effective, Handle, Health, Key, Kind, Name, NameError,
    OperationBreaker, Orchestrator, Origin, OutOfRange, Overrides, RegisterError, Registration,
    ResetError, UnknownKey, UnknownOperation, Value, View, Warning,
};
use steadfast::policy::{
    Attempt, BackoffError, ByError, Events, Growth, Leave, Made, Next, PolicyError, RetryAll, Run,
    Settings, Stage, Step, UnknownStrategy,
};
use steadfast::state::{
    Admission, Attempts, BreakerOpen, BudgetRuleError, BulkheadFull, COUNT_ONLY, Calls, Circuit,
    ClosedPhase, Evidence, Guarded as _, Latency, LimitRule, LimitRuleError, Limited, Limiter,
    Meter as _, Mode, Monotonic, NoSlots, Outcome, Phase, Refusals, Reservation, ResetBusy,
    Resettable, RuleError, Settled, SharedBuckets, SharedCircuit, SharedSlots, SharedTokens,
    SharedWindow, Slot, Snapshot, Spent, State, Taken, Tally, Ticket, Transition, Transitions,
    UnknownMode, Window, WindowRule, WindowRuleError,
};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Class, Error, Event, Frugal, Instant, Jitter,
    ManualClock, Metrics, OrElseError, Permit, Policy, Reason, Retry, Rule, Strategy, Trip,
    Verdict,
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
    all::<(WindowRule, WindowRuleError)>();
    all::<(LimitRule, LimitRuleError, Limited, Taken)>();
}

#[cfg(feature = "postcard")]
#[test]
fn what_is_wrong_with_the_bytes_of_a_configuration_is_logged() {
    use steadfast::orchestrator::wire::{BufferTooSmall, WireError};

    fn all<T: Format>() {}
    all::<(WireError, BufferTooSmall)>();
}

/// By the source: a type that is new is in no list of this file.
#[test]
fn no_type_of_the_core_is_left_out_but_futures_and_what_wraps_closures() {
    let source = source_below(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")));
    let name = |from: &str| -> String {
        from.chars().take_while(|&char| char.is_alphanumeric() || char == ':').collect()
    };
    // An `impl` may go over several lines.
    let in_one_line = source.split_whitespace().collect::<Vec<_>>().join(" ");
    let implemented: Vec<String> = in_one_line
        .split("Format for ")
        .skip(1)
        .filter_map(|whose| name(whose).rsplit("::").next().map(str::to_owned))
        .collect();
    let mut left_out = Vec::new();
    let mut derived = false;
    for line in source.lines().map(str::trim_start) {
        let item = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
        derived = !line.is_empty() && (derived || line.contains("derive(defmt::Format)"));
        left_out.extend(item.map(name).filter(|whose| !derived && !implemented.contains(whose)));
        derived &= item.is_none();
    }
    left_out.sort();
    let known = ["Answered", "Execute", "ExecuteOrElse", "Later", "ManualSleep", "Now", "Once"];
    assert_eq!(left_out, [&known[..], &["Plain", "Told"]].concat());
}

fn source_below(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(
            |path| {
                if path.is_dir() { source_below(&path) } else { fs::read_to_string(path).unwrap() }
            },
        )
        .collect()
}

#[test]
fn every_part_that_calls_share_is_logged() {
    fn all<T: Format>() {}
    all::<(Breaker, SharedCircuit, Permit<&Breaker>, Permit<&'static Breaker>)>();
    all::<(Bulkhead, SharedSlots, Slot<&Bulkhead>, Slot<&SharedSlots>)>();
    all::<(Limiter, SharedBuckets, Reservation<&Limiter>, Spent<&Limiter>)>();
    all::<(Budget, SharedTokens, Window, SharedWindow, Metrics, Metrics<1, 1, Monotonic>)>();
    all::<(Policy<'_>, Run<'_, u8, ByError>, Attempt<'_>, Frugal<u8>)>();
    all::<(Step<Leave<'_, u8>>, Step<Next<u8, u8>>)>();
    all::<(Orchestrator<2>, Handle<'_>, View<'_>, OperationBreaker<'_>)>();
    all::<(Resettable, Monotonic, ClosedPhase<'_>, ManualClock, Frugal<&ManualClock>)>();
}

#[test]
fn what_is_shared_is_logged_as_it_is_at_that_moment() {
    let breaker = Breaker::new(Trip::after(1), Duration::from_secs(30));
    let permit = breaker.try_acquire(Instant::from_micros(1 << 30)).unwrap();
    let _ = permit.settle(Instant::from_micros(1 << 30), Outcome::Failure);
    let (hot, _) = breaker.circuit().to_bits();
    assert!(contains(&logged(&Part(&breaker)), &hot.to_le_bytes()));

    let bulkhead = Bulkhead::new(0x4321);
    let slots: Vec<_> = (0..0x123).map(|_| bulkhead.try_acquire().unwrap()).collect();
    let bytes = logged(&Part(&slots[0]));
    for number in [0x4321_u32, 0x123].map(u32::to_le_bytes) {
        assert!(contains(&bytes, &number), "{bytes:?}");
    }

    let budget = Budget::with_rule(BudgetRule::new(0x1234, 0, Duration::ZERO));
    assert!(budget.withdraw(Instant::ORIGIN));
    assert!(contains(&logged(&Part(&budget)), &0x1233_u32.to_le_bytes()));

    let metrics: Metrics<COUNT_ONLY> = Metrics::new();
    (0..0x123).for_each(|_| metrics.count(Tally::Opened));
    assert!(contains(&logged(&metrics), &0x123_u64.to_le_bytes()));
}

#[test]
fn what_judges_a_breaker_and_what_limits_is_logged_by_its_rule_or_its_size() {
    let window = Window::<100>::new(WindowRule::NONE.failures(0x23, 0x31));
    let bytes = logged(&Part(&window));
    for number in [0x23_u32, 0x31].map(u32::to_le_bytes) {
        assert!(contains(&bytes, &number), "{bytes:?}");
    }
    assert!(contains(&logged(&Part(&SharedWindow::<0x123>::new())), &0x123_u32.to_le_bytes()));
    // What is left is not told, but of which it is.
    let silent = logged(&Part(&Silent));
    assert!(logged(&Part(&SharedBuckets::new())).len() > silent.len());

    let registration = Registration::new().given(Key::OpenFor, 77_000_000);
    let table = Orchestrator::<1>::new().operation("op", registration);
    let breaker = table.breaker("op").unwrap();
    breaker.force(Instant::from_micros(1 << 30), Mode::ForcedOpen);
    let bytes = logged(&Part(&breaker));
    let (hot, _) = breaker.shared().load().to_bits();
    assert!(hot != 0 && contains(&bytes, &hot.to_le_bytes()), "{bytes:?}");
    assert!(contains(&bytes, &77_000_000_u64.to_le_bytes()), "{bytes:?}");
}

#[test]
fn a_closed_phase_tells_its_epoch_and_whether_it_is_over() {
    struct Logging(Mutex<Vec<(u32, Vec<u8>)>>);
    impl Evidence for Logging {
        fn enter(&self, _: Instant, phase: ClosedPhase<'_>, _: Outcome, _: Duration) -> bool {
            self.0.lock().unwrap().push((phase.epoch(), logged(&Part(&phase))));
            false
        }

        fn ended(&self, _: u32) {}
    }
    let (breaker, clock) =
        (Breaker::new(Trip::after(1), Duration::from_millis(100)), ManualClock::new());
    let seen = Logging(Mutex::default());
    let policy = Policy::new().breaker(&breaker).window(&seen).retry_all();
    for outcome in [Ok(1), Err(2), Ok(3), Ok(4)] {
        assert_eq!(policy.execute_blocking(&clock, |_| outcome).is_ok(), outcome.is_ok());
        clock.advance(Duration::from_secs(1));
    }
    let seen = seen.0.into_inner().unwrap();
    let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
    assert!(first.0 < last.0, "another phase");
    for (epoch, bytes) in [first, last] {
        assert!(contains(bytes, &[&epoch.to_le_bytes()[..], &[0]].concat()), "{bytes:?}");
    }
}

#[test]
fn a_clock_moved_by_hand_tells_where_it_is() {
    let clock = ManualClock::new();
    clock.set(Instant::from_micros(0x0102_0304_0506));
    assert!(contains(&logged(&Part(&clock)), &0x0102_0304_0506_u64.to_le_bytes()));
}

#[cfg(feature = "serde")]
#[test]
fn a_report_tells_when_it_was_made_and_of_each_operation() {
    let table = Orchestrator::<1>::new().operation("ai_classify", Registration::new());
    let bytes = logged(&table.report(Instant::from_micros(0x0102_0304_0506), None));
    assert!(contains(&bytes, &text("ai_classify")), "{bytes:?}");
    assert!(contains(&bytes, &0x0102_0304_0506_u64.to_le_bytes()), "{bytes:?}");
}

#[test]
fn a_frugal_clock_tells_how_far_it_aligns_and_how_often_it_wakes() {
    let frugal = Frugal::new(0x41_u8).aligned(|_| None, Duration::from_micros(0x0506_0708));
    let without = logged(&Part(&frugal));
    assert!(contains(&without, &0x0506_0708_u64.to_le_bytes()), "{without:?}");
    let bytes = logged(&Part(&frugal.wakes_per_hour(0x123)));
    assert!(contains(&bytes, &0x123_u32.to_le_bytes()), "{bytes:?}");
    assert!(!contains(&without, &0x123_u32.to_le_bytes()));
}

#[test]
fn settings_tell_what_opens_the_breaker_beside_its_own_rule() {
    let mut settings = Strategy::Balanced.settings();
    let without = logged(&settings);
    settings.breaker_window = WindowRule::within(Duration::from_secs(77))
        .failure_rate(0x321)
        .slow_rate(0x234, Duration::from_secs(5))
        .min_calls(0x1234);
    let bytes = logged(&settings);
    for number in [0x321_u32, 0x234, 0x1234].map(u32::to_le_bytes) {
        assert!(contains(&bytes, &number) && !contains(&without, &number), "{bytes:?}");
    }
    for length in [77_000_000_u64, 5_000_000].map(u64::to_le_bytes) {
        assert!(contains(&bytes, &length) && !contains(&without, &length), "{bytes:?}");
    }
}

#[test]
fn a_step_tells_what_to_do_next() {
    let timeout = Duration::from_micros(0x0405_0607);
    let policy = Policy::new().attempts(3).attempt_timeout(timeout).retry_all();
    let mut run = policy.start::<u8>(Instant::ORIGIN, 0);
    let step = run.attempt(Instant::ORIGIN);
    let told = timeout.as_micros().to_le_bytes();
    assert!(contains(&logged(&Part(&step)), &told[..8]));
    assert!(contains(&logged(&policy), &told[..8]));
    assert_eq!(logged(&run), [1, 0, 0, 0, 1]);
    let Leave::Granted(attempt) = step.next else { panic!("not granted") };
    run.cancel(attempt);
    assert_eq!(logged(&run), [1, 0, 0, 0, 0], "none is under way");
}

#[test]
fn a_table_tells_of_each_operation() {
    let table = Orchestrator::<3>::new()
        .operation("ai_summarize", Registration::new())
        .operation("ai_classify", Registration::new().given(Key::Attempts, 0x31));
    let bytes = logged(&table);
    assert!(contains(&bytes, &text("ai_summarize")) && contains(&bytes, &text("ai_classify")));
    let bytes = logged(&table.get("ai_classify").unwrap());
    assert!(contains(&bytes, &text("ai_classify")), "{bytes:?}");
    assert!(contains(&bytes, &0x31_u32.to_le_bytes()), "{bytes:?}");
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
    assert!(contains(&bytes, b"timeout"), "{bytes:?}");
}

#[test]
fn a_refusal_tells_its_wait_where_there_is_one() {
    let (stage, reason) = (Stage::Breaker, Reason::BreakerOpen);
    let wait = Duration::from_millis(0x1234);
    let (told, micros) = (Event::Refused { stage, reason, wait: Some(wait) }, 0x1234_u64 * 1000);
    assert!(contains(&logged(&told), &micros.to_le_bytes()));
    let bytes = logged(&Event::Refused { stage, reason, wait: None });
    assert!(contains(&bytes, b"breaker open"), "{bytes:?}");
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

/// Something as a part of something else: what is derived goes out so alone.
struct Part<'v, T>(&'v T);

impl<T: Format> Format for Part<'_, T> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", self.0);
    }
}

/// Says nothing of itself.
struct Silent;

impl Format for Silent {
    fn format(&self, _: defmt::Formatter<'_>) {}
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
