//! What may be set: each bound, just inside and just outside; and what was set can be read.

mod common;

use core::time::Duration;

use steadfast::policy::{BackoffError, Growth, PolicyError};
use steadfast::state::{BudgetRuleError, Circuit, NoSlots, RuleError, SharedCircuit};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Instant, Jitter, Metrics, Policy, Rule, Trip,
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
fn by_default_a_circuit_is_closed_and_metrics_are_zero() {
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
