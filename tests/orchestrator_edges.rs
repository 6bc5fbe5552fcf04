//! Operations at the edges: a table without a free place, and settings that are just enough.
#![allow(missing_docs, clippy::unwrap_used)]

use steadfast::orchestrator::{Allowed, Config, Key, Origin, Registration, Value, Warning};
use steadfast::{Orchestrator, Strategy};

#[test]
fn a_static_without_a_free_place_finds_each_of_its_operations() {
    const fn by(attempts: u64) -> Registration {
        Registration::new().given(Key::Attempts, attempts)
    }
    static TABLE: Orchestrator<12> = Orchestrator::new()
        .operation("complete", by(1))
        .operation("classify", by(2))
        .operation("embed", by(3))
        .operation("moderate", by(4))
        .operation("rerank", by(5))
        .operation("route", by(6))
        .operation("speak", by(7))
        .operation("summarize", by(8))
        .operation("tag", by(9))
        .operation("transcribe", by(10))
        .operation("translate", by(1))
        .operation("verify", by(2));
    let names = [
        ("complete", 1),
        ("classify", 2),
        ("embed", 3),
        ("moderate", 4),
        ("rerank", 5),
        ("route", 6),
        ("speak", 7),
        ("summarize", 8),
        ("tag", 9),
        ("transcribe", 10),
        ("translate", 1),
        ("verify", 2),
    ];
    for (name, attempts) in names {
        assert_eq!(TABLE.get(name).unwrap().settings().attempts, attempts, "{name}");
    }
    assert_eq!(TABLE.len(), 12);
    assert!(!TABLE.is_empty());
    assert!(Orchestrator::<1>::new().is_empty());
}

#[test]
fn an_operation_tells_which_of_the_four_it_goes_by() {
    for strategy in Strategy::ALL {
        let table = Orchestrator::<1>::new();
        let handle = table.register("op", Registration::by(strategy)).unwrap();
        assert_eq!(handle.named_strategy(), strategy);
        assert_eq!(table.effective("op").unwrap().strategy(), strategy);
    }
}

#[test]
fn an_operation_tells_who_named_its_strategy() {
    let table = Orchestrator::<1>::new();
    let is = |expected| {
        let effective = table.effective("op").unwrap();
        assert_eq!((effective.strategy(), effective.named_by()), expected);
    };
    table.register("op", Registration::new()).unwrap();
    is((Strategy::Balanced, Origin::DefaultStrategy));
    table.register("op", Registration::by(Strategy::Critical)).unwrap();
    is((Strategy::Critical, Origin::Registered));
    let aggressive = Registration::by(Strategy::Aggressive);
    table.configure(&Config::<1>::new().try_operation("op", aggressive).unwrap()).unwrap();
    is((Strategy::Aggressive, Origin::Configured));
}

#[test]
fn a_caller_that_names_a_strategy_leaves_alone_what_callers_share() {
    let table = Orchestrator::<1>::new();
    let registration = Registration::new().given(Key::BreakerEnabled, 0).given(Key::Slots, 3);
    let handle = table.register("op", registration).unwrap().strategy(Strategy::Critical);
    let settings = handle.settings();
    assert!(!settings.breaker_enabled);
    assert_eq!((settings.slots, settings.attempts), (3, 7));
}

#[test]
fn what_is_configured_for_every_strategy_holds_for_the_one_that_a_caller_names() {
    let table = Orchestrator::<1>::new();
    let every = Registration::new().given(Key::Attempts, 4);
    table.configure(&Config::<1>::new().with_every_strategy(every)).unwrap();
    let handle = table.register("op", Registration::new()).unwrap();
    let settings = handle.strategy(Strategy::Aggressive).settings();
    assert_eq!(settings.attempts, 4);
    assert_eq!(settings.backoff, Strategy::Aggressive.settings().backoff);
}

#[test]
fn what_is_just_enough_is_not_warned_of() {
    let warnings = |registration| {
        let table = Orchestrator::<1>::new();
        table.register("op", registration).unwrap();
        table.effective("op").unwrap().warnings().collect::<Vec<_>>()
    };
    let base = Registration::by(Strategy::Balanced);
    // Two waits of at most 4 s.
    assert_eq!(warnings(base.given(Key::Window, 8_000_000)), []);
    assert_eq!(warnings(base.given(Key::Window, 7_999_999)), [Warning::WindowShort]);
    let many =
        base.given(Key::Attempts, 7).given(Key::Failures, 10).given(Key::Window, 86_000_000_000);
    assert_eq!(warnings(many), []);
    assert_eq!(warnings(base.given(Key::Failures, 5).given(Key::Probes, 5)), []);
    assert_eq!(warnings(base.given(Key::Lease, 60_000_000)), []);
}

#[test]
fn what_there_need_not_be_is_shown_as_none_and_no_other_zero_is() {
    use Key::{FailureRate, MinCalls, OfLast, Slots, SlowAfter, SlowRate, Within};
    use Key::{RequestsPerMinute, TokensPerMinute};
    let limits = [Slots, RequestsPerMinute, TokensPerMinute];
    let may_be_none = [OfLast, FailureRate, SlowRate, SlowAfter, Within, MinCalls];
    let may_be_none = [&limits[..], &may_be_none].concat();
    for key in Key::ALL {
        assert_eq!(key.value(0) == Value::None, may_be_none.contains(&key), "{key}");
        assert_ne!(key.value(1), Value::None, "{key}");
    }
}

#[test]
fn the_documentation_of_keys_says_the_path_and_the_range_of_each() {
    let source = include_str!("../src/orchestrator/key.rs");
    for key in Key::ALL {
        let row = format!("/// | `{key}` | {} |", Allowed(key));
        assert!(source.lines().any(|line| line == row), "{row}");
    }
}
