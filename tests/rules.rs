//! What may be set: each bound, just inside and just outside; and what was set can be read.

mod common;

use core::time::Duration;
use std::panic::catch_unwind;
use std::sync::Mutex;

use steadfast::orchestrator::{Key, Overrides, Registration};
use steadfast::policy::{BackoffError, Growth, PolicyError};
use steadfast::state::{BudgetRuleError, Circuit, NoSlots, RuleError, SharedCircuit, SharedSlots};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Event, Instant, Jitter, ManualClock, Metrics,
    Orchestrator, Policy, Rule, Strategy, Trip,
};

use common::{fault, millis, secs};

// --- Bounds ---------------------------------------------------------------------------------------

#[test]
fn b28_zero_attempts_and_zero_times_are_refused() {
    let policy = Policy::new();
    assert_eq!(policy.try_attempts(0).err(), Some(PolicyError::Attempts));
    assert_eq!(policy.try_attempt_timeout(NONE).err(), Some(PolicyError::AttemptTimeout));
    assert_eq!(policy.try_deadline(NONE).err(), Some(PolicyError::Deadline));
    assert!(policy.try_attempts(1).is_ok());
    assert!(policy.try_attempt_timeout(NANO).is_ok());
    assert!(policy.try_deadline(NANO).is_ok());
}

#[test]
fn b28_a_bulkhead_without_a_slot_is_refused() {
    assert_eq!(Bulkhead::try_new(0).err(), Some(NoSlots));
    for slots in [1, u32::MAX] {
        let bulkhead = Bulkhead::try_new(slots).unwrap();
        assert!(bulkhead.try_acquire().is_ok());
        assert_eq!(bulkhead.slots(), slots);
    }
}

#[test]
fn b28_a_rule_that_could_not_work_is_refused() {
    for (failures, of_last, open_for, expected) in [
        (1, 1, SHORTEST, None),
        (23, 23, DAY, None),
        (0, 0, MINUTE, Some(RuleError::Failures)),
        (0, 5, MINUTE, Some(RuleError::Failures)),
        (24, 24, MINUTE, Some(RuleError::Failures)),
        (u32::MAX, u32::MAX, MINUTE, Some(RuleError::Failures)),
        (1, 0, MINUTE, Some(RuleError::Window)),
        (3, 2, MINUTE, Some(RuleError::Window)),
        (3, 24, MINUTE, Some(RuleError::Window)),
        (3, 3, NONE, Some(RuleError::OpenFor)),
        (3, 3, SHORTEST - MICRO, Some(RuleError::OpenFor)),
        (3, 3, DAY + NANO, Some(RuleError::OpenFor)),
        (3, 3, Duration::MAX, Some(RuleError::OpenFor)),
    ] {
        assert_eq!(Rule::try_new(failures, of_last, open_for).err(), expected);
    }
    let rule = Rule::try_new(3, 3, MINUTE).unwrap();
    for probes in [1, 63] {
        assert_eq!(rule.try_probes(probes).unwrap().probe_count(), probes);
    }
    for probes in [0, 64, 257, u32::MAX] {
        assert_eq!(rule.try_probes(probes).err(), Some(RuleError::Probes));
    }
    for lease in [SHORTEST, DAY] {
        let told = rule.try_lease(lease).unwrap().lease_for();
        assert!(lease <= told && told < lease + 32 * MICRO);
    }
    for lease in [NONE, SHORTEST - MICRO, DAY + NANO, Duration::MAX] {
        assert_eq!(rule.try_lease(lease).err(), Some(RuleError::Lease));
    }
}

#[test]
fn b28_an_open_period_that_shrinks_or_grows_beyond_measure_is_refused() {
    let rule = Rule::new(Trip::after(1), MINUTE);
    for (tenths, most, expected) in [
        (10, MINUTE, None),
        (100, DAY, None),
        (9, HOUR, Some(RuleError::Growth)),
        (101, HOUR, Some(RuleError::Growth)),
        (256 + 10, HOUR, Some(RuleError::Growth)),
        (20, MINUTE - 32 * MICRO, Some(RuleError::OpenMax)),
        (20, DAY + NANO, Some(RuleError::OpenMax)),
    ] {
        assert_eq!(rule.try_open_growth(tenths, most).err(), expected, "{tenths} {most:?}");
    }
}

#[test]
fn b28_an_operation_is_not_twice_in_a_table() {
    let twice = catch_unwind(|| {
        Orchestrator::<2>::new()
            .operation("op", Registration::by(Strategy::Critical))
            .operation("op", Registration::by(Strategy::Aggressive))
    });
    assert!(twice.is_err(), "the second would never be found");
}

#[test]
fn b28_a_budget_that_could_not_work_is_refused() {
    for (tokens, per_success, refill, expected) in [
        (1, 0, NONE, None),
        (10_000, 10_000, DAY, None),
        (0, 100, MINUTE, Some(BudgetRuleError::Tokens)),
        (10_001, 100, MINUTE, Some(BudgetRuleError::Tokens)),
        (u32::MAX, 0, NONE, Some(BudgetRuleError::Tokens)),
        (10, 10_001, MINUTE, Some(BudgetRuleError::PerSuccess)),
        (1, u32::MAX, NONE, Some(BudgetRuleError::PerSuccess)),
        (10, 100, DAY + NANO, Some(BudgetRuleError::Refill)),
        (10, 100, Duration::MAX, Some(BudgetRuleError::Refill)),
    ] {
        assert_eq!(BudgetRule::try_new(tokens, per_success, refill).err(), expected);
    }
}

#[test]
fn b28_a_backoff_that_could_not_work_is_refused() {
    let over = HOUR + NANO;
    for growth in [Growth::Constant, Growth::Linear, Growth::Exponential] {
        let refused = |multiplier, min, max| Backoff::try_new(growth, multiplier, min, max).err();
        assert_eq!(refused(secs(1), secs(2), secs(3)), None);
        assert_eq!(refused(HOUR, NONE, HOUR), None);
        assert_eq!(refused(NONE, HOUR - MICRO, HOUR), None);
        assert_eq!(refused(secs(1), NONE, NONE), Some(BackoffError::MinNotBelowMax));
        assert_eq!(refused(secs(1), secs(3), secs(3)), Some(BackoffError::MinNotBelowMax));
        assert_eq!(refused(secs(1), secs(4), secs(3)), Some(BackoffError::MinNotBelowMax));
        assert_eq!(refused(over, secs(2), secs(3)), Some(BackoffError::TooLong));
        assert_eq!(refused(secs(1), secs(2), over), Some(BackoffError::TooLong));
        assert_eq!(refused(secs(1), Duration::MAX, HOUR), Some(BackoffError::TooLong));
    }
    let plain = Backoff::constant(HOUR);
    assert_eq!(plain.try_jitter(Jitter::Additive(over)), Err(BackoffError::TooLong));
    assert!(plain.try_jitter(Jitter::Additive(HOUR)).is_ok());
}

// --- What was set ---------------------------------------------------------------------------------

#[test]
fn a_number_that_comes_at_run_time_makes_what_one_in_a_static_makes() {
    const RULE: Rule = Rule::new(Trip::after(3).of_last(7), MINUTE).probes(2).lease(HOUR);
    const BUDGET: BudgetRule = BudgetRule::new(10, 100, MINUTE);
    const LINEAR: Backoff = Backoff::linear(SHORTEST, NONE, MINUTE).jitter(Jitter::Equal);
    const EXPONENTIAL: Backoff = Backoff::exponential(SHORTEST, SHORTEST, HOUR);

    let rule = Rule::try_new(3, 7, MINUTE).and_then(|rule| rule.try_probes(2));
    assert_eq!(rule.and_then(|rule| rule.try_lease(HOUR)), Ok(RULE));
    assert_eq!(BudgetRule::try_new(10, 100, MINUTE), Ok(BUDGET));
    let linear = Backoff::try_new(Growth::Linear, SHORTEST, NONE, MINUTE);
    assert_eq!(linear.and_then(|linear| linear.try_jitter(Jitter::Equal)), Ok(LINEAR));
    assert_eq!(Backoff::try_new(Growth::Exponential, SHORTEST, SHORTEST, HOUR), Ok(EXPONENTIAL));
}

#[test]
fn what_a_rule_was_made_of_can_be_read() {
    let rule = Rule::new(Trip::after(3).of_last(7), MINUTE).probes(2).lease(HOUR);
    assert_eq!((rule.trip().failures(), rule.trip().window(), rule.probe_count()), (3, 7, 2));
    assert_eq!((rule.open_for(), rule.lease_for()), (MINUTE, HOUR));
    assert_eq!(Breaker::with_rule(rule).rule(), &rule);

    let budget = BudgetRule::new(10, 100, MINUTE);
    assert_eq!((budget.tokens(), budget.per_success()), (10, 100));
    assert_eq!(Budget::with_rule(budget).rule(), &budget);
}

#[test]
fn a_budget_with_another_refill_is_the_same_but_for_that() {
    let rule = BudgetRule::new(10, 100, MINUTE);
    let faster = rule.refill(secs(1));
    assert_eq!(faster, BudgetRule::new(10, 100, secs(1)));
    let (later, none) = (Instant::ORIGIN.after(secs(30)), rule.refill(NONE));
    assert_eq!(rule.claim(0, later).1, 0);
    assert!(faster.claim(0, later).1 > 20);
    assert_eq!(none.claim(0, Instant::ORIGIN.after(HOUR)).1, 0, "never");
}

#[test]
fn a_lease_that_is_not_set_is_five_minutes_or_as_long_as_the_period() {
    for (open_for, lease) in [(SHORTEST, 300), (MINUTE, 300), (secs(300), 300), (HOUR, 3600)] {
        assert_eq!(Rule::new(Trip::after(1), open_for).lease_for(), secs(lease), "{open_for:?}");
    }
}

#[test]
fn an_open_period_grows_by_its_tenths_up_to_its_longest() {
    let rule = Rule::new(Trip::after(1), MINUTE).open_growth(20, secs(400));
    for (opening, period) in [(0, 60), (1, 60), (2, 120), (3, 240), (4, 400), (5, 400), (99, 400)] {
        assert_eq!(rule.open_period(opening), secs(period), "opening {opening}");
    }
    let steady = Rule::new(Trip::after(1), MINUTE);
    assert_eq!((steady.open_period(1), steady.open_period(15)), (MINUTE, MINUTE));
    let slowly = steady.open_growth(11, DAY);
    assert!(slowly.open_period(14) < slowly.open_period(15));
    assert_eq!(slowly.open_period(15), slowly.open_period(16), "it counts to 15");
}

#[test]
fn what_a_caller_sets_is_what_it_executes_by_and_the_rest_stays() {
    let table = Orchestrator::<1>::new().operation("op", Registration::by(Strategy::Critical));
    let handle = table.get("op").unwrap();
    let own = handle.settings();
    assert_eq!(handle.with(Overrides::new()).settings(), own);

    let limits = Overrides::new().attempts(4).attempt_timeout(secs(3)).deadline(secs(9));
    let mut expected = own;
    (expected.attempts, expected.attempt_timeout, expected.deadline) = (4, secs(3), secs(9));
    assert_eq!(handle.with(limits).settings(), expected);
    let checked = Overrides::new().try_attempts(4).and_then(|o| o.try_attempt_timeout(secs(3)));
    assert_eq!(checked.and_then(|o| o.try_deadline(secs(9))), Ok(limits), "each keeps the others");

    let waits = Overrides::new().backoff(Backoff::constant(secs(1)));
    let waits = waits.retry_window(secs(7)).max_asked_wait(secs(2));
    let mut expected = own;
    expected.backoff = Backoff::constant(secs(1));
    (expected.window, expected.max_asked_wait) = (secs(7), secs(2));
    assert_eq!(handle.with(waits).settings(), expected);
}

#[test]
fn every_growth_and_every_jitter_can_be_registered() {
    for (number, growth) in (0..).zip([Growth::Constant, Growth::Linear, Growth::Exponential]) {
        for (kind, jitter) in (0..).zip([
            Jitter::None,
            Jitter::Additive(secs(2)),
            Jitter::Full,
            Jitter::Equal,
            Jitter::Decorrelated,
        ]) {
            let registration = Registration::new()
                .given(Key::Growth, number)
                .given(Key::JitterKind, kind)
                .given(Key::Jitter, 2_000_000);
            let table = Orchestrator::<1>::new().operation("op", registration);
            let (balanced, told) = (Strategy::Balanced.settings().backoff, table.effective("op"));
            let (least, most) = (balanced.min(), balanced.max());
            let expected = Backoff::try_new(growth, balanced.multiplier(), least, most);
            assert_eq!(told.unwrap().settings().backoff, expected.unwrap().jitter(jitter));
        }
    }
}

#[test]
fn a_registration_tells_what_it_gives_and_by_default_that_is_nothing() {
    let registration =
        Registration::by(Strategy::Critical).given(Key::Slots, 3).given(Key::Attempts, 4);
    let given: Vec<_> = registration.iter().collect();
    assert_eq!(given, [(Key::Attempts, 4), (Key::Slots, 3)]);
    assert_eq!((registration.get(Key::Slots), registration.get(Key::Min)), (Some(3), None));
    let none = Registration::default();
    assert_eq!((none.named(), none.iter().count()), (None, 0));
}

#[test]
fn a_table_made_at_run_time_is_the_one_that_a_static_has() {
    const fn three(table: Orchestrator<3>) -> Orchestrator<3> {
        table
            .operation("first", Registration::by(Strategy::Critical).given(Key::Attempts, 2))
            .operation("second", Registration::new().given(Key::Slots, 1))
            .operation("third", Registration::by(Strategy::Aggressive))
            .watched_by(&HEARS)
    }
    static TABLE: Orchestrator<3> = three(Orchestrator::new());
    static HEARD: Mutex<Vec<(String, Event)>> = Mutex::new(Vec::new());
    const HEARS: fn(&str, &Event) = |operation, event| {
        HEARD.lock().unwrap().push((operation.to_owned(), *event));
    };
    let table = three(Orchestrator::default());
    for name in ["first", "second", "third"] {
        assert_eq!(table.effective(name).unwrap(), TABLE.effective(name).unwrap());
    }
    assert_eq!((table.len(), TABLE.len()), (3, 3));

    let (clock, fails) = (ManualClock::new(), |_| Err::<u8, _>("down"));
    let first = table.get("first").unwrap().retry_all();
    assert_eq!(first.execute_blocking(&clock, fails).unwrap_err().attempts, 2);
    assert!(
        matches!(HEARD.lock().unwrap()[..], [(ref name, Event::Retry { .. })] if name == "first")
    );
    for view in table.iter() {
        let started = u64::from(view.name().as_str() == "first");
        assert_eq!(view.metrics().snapshot().calls.started, started, "{}", view.name());
        assert_eq!(view.metrics().snapshot(), view.snapshot());
    }
    assert_eq!(TABLE.iter().map(|view| view.snapshot().calls.started).sum::<u64>(), 0);
}

#[test]
fn by_default_a_policy_makes_one_attempt_and_limits_nothing() {
    for policy in [Policy::default(), Policy::new()] {
        let mut run = policy.start(Instant::ORIGIN, 0);
        let attempt = common::granted(run.attempt(Instant::ORIGIN).next);
        assert_eq!((attempt.made().time_left, attempt.ends()), (Duration::MAX, Instant::MAX));
        let failed = Some(Err::<u8, _>(fault(steadfast::Class::Transient)));
        let steadfast::policy::Next::Done(Err(error)) =
            run.settle(attempt, Instant::ORIGIN, failed, common::zero).next
        else {
            panic!("no second attempt")
        };
        assert_eq!((error.stopped, error.attempts), (steadfast::Reason::Attempts, 1));
    }
}

#[test]
fn by_default_a_circuit_is_closed_slots_are_free_and_metrics_are_zero() {
    assert_eq!(SharedSlots::default().taken(), 0);
    assert_eq!(SharedCircuit::default().load(), Circuit::CLOSED);
    assert_eq!(<Metrics>::default().snapshot(), <Metrics>::new().snapshot());
    assert_eq!(<Metrics>::default().snapshot().calls.started, 0);
}

const NONE: Duration = Duration::ZERO;
const NANO: Duration = Duration::from_nanos(1);
const MICRO: Duration = Duration::from_micros(1);
/// The shortest open period and lease.
const SHORTEST: Duration = millis(50);
const MINUTE: Duration = secs(60);
const HOUR: Duration = secs(3600);
const DAY: Duration = secs(86_400);
