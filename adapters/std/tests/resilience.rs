//! What an application makes once: how it is configured, and what its operations go by.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::time::Duration;
use std::ffi::OsString;

use steadfast::orchestrator::{
    Effective, Key, Name, Orchestrator, Origin, RegisterError, Registration, Warning,
};
use steadfast::state::{FINE, NO_WINDOW};
use steadfast::{ManualClock, Strategy};
use steadfast_std::config::{Preset, Problems};
use steadfast_std::{OperationWarning, Resilience};

fn lines(problems: &Problems) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

/// All that operations go by.
fn everything<const N: usize>(resilience: &Resilience<N>) -> Vec<(Name, Effective)> {
    resilience.orchestrator().iter().map(|view| (view.name(), view.effective())).collect()
}

fn register<const N: usize>(resilience: &Resilience<N>, name: &str, registration: Registration) {
    assert!(resilience.register(name, registration).is_ok(), "{name}");
}

fn get(resilience: &Resilience, name: &str, key: Key) -> u64 {
    resilience.orchestrator().effective(name).unwrap().get(key)
}

/// Attempts, threshold, open for, window, multiplier, min and max.
const CHARACTER: [Key; 7] =
    [Key::Attempts, Key::Failures, Key::OpenFor, Key::Window, Key::Multiplier, Key::Min, Key::Max];

fn character(resilience: &Resilience, name: &str) -> (Strategy, [u64; 7]) {
    register(resilience, name, Registration::new());
    let effective = resilience.orchestrator().effective(name).unwrap();
    (effective.strategy(), CHARACTER.map(|key| effective.get(key)))
}

#[test]
fn a_document_is_gone_by_at_once_and_the_next_one_instead_of_it() {
    let resilience = Resilience::new();
    let handle = resilience.register("a", Registration::new()).unwrap();
    assert_eq!(handle.settings().attempts, 3);
    resilience.configure_json(r#"{"operations": {"a": {"retry": {"attempts": 6}}}}"#).unwrap();
    assert_eq!(handle.settings().attempts, 6);
    resilience.configure_json(r#"{"retry_attempts": 4, "default_strategy": "critical"}"#).unwrap();
    assert_eq!(handle.settings().attempts, 4);
    assert_eq!(handle.settings().deadline, Duration::from_secs(900));
    resilience.configure_json("{}").unwrap();
    assert_eq!(handle.settings(), Strategy::Balanced.settings());
}

#[test]
fn operations_of_a_document_are_registered_and_execute() {
    let resilience = Resilience::new();
    assert!(resilience.operation("a").is_err());
    resilience.configure_json(r#"{"operations": {"a": {"retry": {"attempts": 2}}}}"#).unwrap();
    let (clock, mut calls) = (ManualClock::new(), 0);
    let handle = resilience.operation("a").unwrap().retry_all();
    let result = clock.block_on(handle.execute(&clock, || {
        calls += 1;
        async { Err::<(), _>("no") }
    }));
    assert_eq!(result.unwrap_err().attempts, 2);
    assert_eq!(calls, 2);
    assert!(resilience.operation("b").is_err());
    assert_eq!(resilience.orchestrator().len(), 1);
}

#[test]
fn nothing_of_a_document_is_gone_by_if_anything_is_wrong() {
    let resilience = Resilience::new();
    register(&resilience, "a", Registration::new());
    resilience.configure_json(r#"{"retry_attempts": 4, "operations": {"a": "critical"}}"#).unwrap();
    let before = everything(&resilience);
    for text in [
        r#"{"retry_attempts": 5, "operations": {"a": "aggressive", "b": {"retry": {"attempts": 0}}}}"#,
        r#"{"retry_attempts": 5, "unknown": 1}"#,
        r#"{"operations": {"a": "aggressive", "b": {"retry": {"max": 1}}}}"#,
        r#"{"retry_attempts": 5, "exponential_min": 3}"#,
        "{\"retry_attempts\": 5",
    ] {
        assert!(resilience.configure_json(text).is_err(), "{text}");
        assert_eq!(everything(&resilience), before, "{text}");
    }
}

#[test]
fn what_is_at_odds_with_a_registration_is_told_for_every_operation() {
    static TABLE: Orchestrator<4> = Orchestrator::new()
        .operation("a", Registration::new().given(Key::Max, 50_000_000))
        .operation("b", Registration::new());
    let resilience = Resilience::over(&TABLE);
    let before = everything(&resilience);
    let text = r#"{"operations": {
        "a": {"retry": {"min": 40}},
        "b": {"retry": {"min": 40}},
        "c": {"retry": {"max": 0.5}, "breaker": {"failures": 4}},
        "d": {"retry": {"attempts": 51}}
    }}"#;
    assert_eq!(
        lines(&resilience.configure_json(text).unwrap_err()),
        [
            "operations.d.retry.attempts: 51 is out of range: a whole number, 1 to 50",
            "operations.b.retry.min: retry.min must be below retry.max",
            "operations.c.retry.max: retry.min must be below retry.max",
        ]
    );
    assert_eq!(everything(&resilience), before);
    let only_a = r#"{"operations": {"a": {"retry": {"min": 40}}}}"#;
    resilience.configure_json(only_a).unwrap();
    assert_eq!(TABLE.effective("a").unwrap().get(Key::Min), 40_000_000);
}

#[test]
fn what_a_window_cannot_do_is_told_at_the_setting_that_asks_for_it() {
    const RATE_OF_NOTHING: &str =
        "breaker.failure_rate or breaker.slow_rate needs breaker.of_last or breaker.within";
    const ALONE: &str = "breaker.within needs breaker.failure_rate or breaker.slow_rate";
    const BOTH: &str = "breaker.of_last must not be given beside breaker.within";
    const AT_MOST: &str = "breaker.failures is 23 at most beside breaker.within";
    let resilience = Resilience::new();
    register(&resilience, "a", Registration::new());
    let before = everything(&resilience);
    for (breaker, expected) in [
        (r#"{"failure_rate": 50}"#, &[("failure_rate", RATE_OF_NOTHING)][..]),
        (r#"{"slow_rate": 50, "slow_after": 1}"#, &[("slow_rate", RATE_OF_NOTHING)]),
        (
            r#"{"failure_rate": 9, "slow_rate": 9, "slow_after": 1}"#,
            &[("failure_rate", RATE_OF_NOTHING)],
        ),
        (
            r#"{"slow_rate": 50, "of_last": 9}"#,
            &[("slow_rate", "breaker.slow_rate needs breaker.slow_after")],
        ),
        (
            r#"{"slow_rate": 50}"#,
            &[
                ("slow_rate", RATE_OF_NOTHING),
                ("slow_rate", "breaker.slow_rate needs breaker.slow_after"),
            ],
        ),
        (r#"{"failure_rate": 50, "of_last": 9, "within": 9}"#, &[("of_last", BOTH)]),
        (r#"{"within": 60}"#, &[("within", ALONE)]),
        (r#"{"failures": 24, "failure_rate": 50, "within": 60}"#, &[("failures", AT_MOST)]),
        (r#"{"failures": 24, "within": 60}"#, &[("failures", AT_MOST)]),
    ] {
        let text = format!("{{\"operations\": {{\"a\": {{\"breaker\": {breaker}}}}}}}");
        let found = resilience.configure_json(&text).unwrap_err();
        let expected: Vec<_> = expected
            .iter()
            .map(|(key, what)| format!("operations.a.breaker.{key}: {what}"))
            .collect();
        assert_eq!(lines(&found), expected, "{text}");
        assert_eq!(everything(&resilience), before, "{text}");
    }
}

#[test]
fn a_window_that_the_table_has_no_room_for_is_told_at_the_setting_that_asks_for_it() {
    static TABLE: Orchestrator<4, FINE, 1, NO_WINDOW> = Orchestrator::new();
    const TOO_SMALL: &str = "the table's windows are too small for breaker.of_last, \
                             breaker.failures or breaker.within";
    let resilience = Resilience::over(&TABLE);
    for (key, breaker) in [
        ("of_last", r#"{"of_last": 24}"#),
        ("of_last", r#"{"failure_rate": 50, "of_last": 9}"#),
        ("failures", r#"{"failures": 24}"#),
        ("within", r#"{"failure_rate": 50, "within": 60}"#),
    ] {
        let text = format!("{{\"operations\": {{\"a\": {{\"breaker\": {breaker}}}}}}}");
        let found = resilience.configure_json(&text).unwrap_err();
        assert_eq!(lines(&found), [format!("operations.a.breaker.{key}: {TOO_SMALL}")], "{text}");
    }
    let fits = r#"{"operations": {"a": {"breaker": {"failures": 5, "of_last": 23}}}}"#;
    assert!(resilience.configure_json(fits).is_ok());
}

#[test]
fn what_is_said_for_every_strategy_is_told_where_it_is_not_for_an_operation() {
    static TABLE: Orchestrator<2> = Orchestrator::new()
        .operation("a", Registration::new().given(Key::OpenMax, 60_000_000))
        .operation("b", Registration::new());
    let resilience = Resilience::over(&TABLE);
    assert_eq!(
        lines(&resilience.configure_json(r#"{"recovery_timeout": 61}"#).unwrap_err()),
        ["recovery_timeout: breaker.open_max must not be below recovery_timeout, \
          and is not for operations.a"]
    );
    resilience.configure_json(r#"{"recovery_timeout": 60}"#).unwrap();
}

#[test]
fn what_only_follows_from_another_problem_is_not_told() {
    let resilience = Resilience::new();
    register(&resilience, "a", Registration::new());
    // 40 s are more than the longest wait of balanced, but a longer one was meant.
    let text = r#"{"operations": {"a": {"retry": {"min": 40, "max": "50"}}}}"#;
    assert_eq!(
        lines(&resilience.configure_json(text).unwrap_err()),
        ["operations.a.retry.max: \"50\" is not a number: a number of seconds, 0 to 3600"]
    );
    let text = r#"{"exponential_max": 121, "operations": {"a": {"retry": {"min": 40}}}}"#;
    assert_eq!(resilience.configure_json(text).unwrap_err().len(), 1);
}

#[test]
fn a_full_table_is_a_problem_with_its_capacity() {
    let resilience = Resilience::<2>::default();
    register(&resilience, "a", Registration::new());
    let found = resilience.configure_json(r#"{"operations": {"b": {}, "c": {}}}"#).unwrap_err();
    assert_eq!(lines(&found), ["operations: all 2 places of the table are taken"]);
    assert_eq!(everything(&resilience).len(), 1);
    resilience.configure_json(r#"{"operations": {"a": {}, "c": {}}}"#).unwrap();
    let full = RegisterError::Full { capacity: 2 };
    assert_eq!(resilience.register("b", Registration::new()).unwrap_err(), full);
}

#[test]
fn a_large_table_is_made_on_a_small_stack() {
    let resilience = Resilience::<10_000>::default();
    for at in 0..9_999 {
        register(&resilience, &format!("operation {at}"), Registration::new());
    }
    resilience
        .configure_json(r#"{"operations": {"operation 9998": "critical", "new": {}}}"#)
        .unwrap();
    assert_eq!(resilience.orchestrator().len(), 10_000);
    let last = resilience.orchestrator().effective("operation 9998").unwrap();
    assert_eq!(last.strategy(), Strategy::Critical);
}

#[test]
fn warnings_are_returned_with_the_operation_and_what_they_are_about_holds() {
    let resilience = Resilience::new();
    let warnings = resilience
        .configure_json(r#"{"operations": {"a": {"retry": {"attempts": 8}}, "b": "critical"}}"#)
        .unwrap();
    let shown: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert!(shown.contains(&"a: retry.attempts is more than 7".to_owned()), "{shown:?}");
    assert!(shown.iter().all(|line| line.starts_with("a: ")), "{shown:?}");
    assert_eq!(get(&resilience, "a", Key::Attempts), 8);
    assert_eq!(resilience.warnings(), warnings);
}

#[test]
fn what_is_said_for_every_strategy_is_warned_of_by_each_strategy() {
    let resilience = Resilience::new();
    let shown = |text| {
        let warnings = resilience.configure_json(text).unwrap();
        warnings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // 7 attempts are critical's alone.
    assert_eq!(
        shown(r#"{"circuit_breaker_threshold": 8}"#),
        ["by critical: breaker.failures is less than retry.attempts + 2: \
          one execution may open the breaker"]
    );
    assert_eq!(shown(r#"{"circuit_breaker_threshold": 9}"#), [""; 0]);
    assert_eq!(
        shown(r#"{"max_delay_seconds": 7}"#),
        ["balanced", "critical"]
            .map(|name| format!("by {name}: retry.window is over before the last retry may start"))
    );
    // An operation may be better off than its strategy.
    let text = r#"{"circuit_breaker_threshold": 8, "operations": {
        "a": {"strategy": "critical", "retry": {"attempts": 6}}, "b": "critical"
    }}"#;
    let lines = shown(text);
    let whose: Vec<_> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(whose, ["by critical", "b"]);
}

#[test]
fn presets_are_what_the_contract_says() {
    for (preset, strategy, values) in [
        (Preset::Simple, Strategy::Balanced, [3, 5, 60, 60, 1_000, 2_000, 10_000]),
        (Preset::Development, Strategy::Aggressive, [2, 3, 30, 40, 500, 1_000, 5_000]),
        (Preset::Production, Strategy::Conservative, [5, 10, 120, 100, 1_500, 2_000, 30_000]),
    ] {
        let resilience = Resilience::new();
        resilience.configure_preset(preset).unwrap();
        let [attempts, failures, open_for, window, multiplier, min, max] = values;
        let [open_for, window] = [open_for, window].map(|seconds| seconds * 1_000_000);
        let [multiplier, min, max] = [multiplier, min, max].map(|millis| millis * 1_000);
        let expected = [attempts, failures, open_for, window, multiplier, min, max];
        assert_eq!(character(&resilience, "a"), (strategy, expected), "{preset}");
        resilience.configure_json("{}").unwrap();
        assert_eq!(character(&resilience, "a"), (strategy, expected), "{preset}");

        let (resilience, found) = Resilience::from_vars([("RESILIENCE_PRESET", preset.name())]);
        assert_eq!(lines(&found), [""; 0]);
        assert_eq!(character(&resilience, "a"), (strategy, expected), "{preset}");
    }
}

#[test]
fn documents_lie_over_the_preset_one_after_the_other() {
    let (resilience, found) = Resilience::from_vars([
        ("RESILIENCE_PRESET", "production"),
        ("RESILIENCE_CUSTOM_CONFIG", r#"{"retry_attempts": 4, "operations": {"a": "critical"}}"#),
    ]);
    assert_eq!(lines(&found), [""; 0]);
    assert_eq!(get(&resilience, "a", Key::Attempts), 4);
    assert_eq!(get(&resilience, "a", Key::Failures), 10);
    let effective = resilience.orchestrator().effective("a").unwrap();
    assert_eq!(
        (effective.strategy(), effective.named_by()),
        (Strategy::Critical, Origin::Configured)
    );

    resilience.configure_json("{}").unwrap();
    assert_eq!(get(&resilience, "a", Key::Attempts), 5);
    let effective = resilience.orchestrator().effective("a").unwrap();
    assert_eq!(effective.strategy(), Strategy::Conservative);
    assert_eq!(effective.origin(Key::Attempts), Origin::EveryStrategy);
}

#[test]
fn a_wrong_preset_or_document_is_named_and_the_rest_is_gone_by() {
    let (resilience, found) = Resilience::from_vars([
        ("RESILIENCE_PRESET", "fast"),
        ("RESILIENCE_CUSTOM_CONFIG", r#"{"retry_attempts": 4}"#),
    ]);
    assert_eq!(
        lines(&found),
        ["RESILIENCE_PRESET: \"fast\" is no preset: simple, development or production"]
    );
    assert_eq!(character(&resilience, "a").1[0], 4);

    let (resilience, found) = Resilience::from_vars([
        ("RESILIENCE_PRESET", "production"),
        ("RESILIENCE_CUSTOM_CONFIG", r#"{"retry_attempts": 11, "exponential_min": "1"}"#),
        // Not looked at, for a preset is set.
        ("RETRY_MAX_ATTEMPTS", "none"),
    ]);
    assert_eq!(
        lines(&found),
        [
            "RESILIENCE_CUSTOM_CONFIG: retry_attempts: 11 is out of range: a whole number, 1 to 10",
            "RESILIENCE_CUSTOM_CONFIG: exponential_min: \"1\" is not a number: \
             a number of seconds, 0.5 to 10",
        ]
    );
    assert_eq!(character(&resilience, "a").1[0], 5);

    let (resilience, found) = Resilience::from_vars([("RESILIENCE_CUSTOM_CONFIG", "[")]);
    assert!(lines(&found)[0].starts_with("RESILIENCE_CUSTOM_CONFIG: not JSON: "), "{found}");
    assert_eq!(character(&resilience, "a").1[0], 3);

    // A document alone is enough for single variables not to be looked at.
    let (resilience, found) = Resilience::from_vars([
        ("RESILIENCE_CUSTOM_CONFIG", r#"{"circuit_breaker_threshold": 9}"#),
        ("RETRY_MAX_ATTEMPTS", "4"),
        ("AI_SUMMARIZE_RESILIENCE_STRATEGY", "critical"),
    ]);
    assert_eq!(lines(&found), [""; 0]);
    assert_eq!(character(&resilience, "a").1[..2], [3, 9]);
    assert!(resilience.operation("ai_summarize").is_err());

    let keys: Vec<_> = (0..20).map(|at| format!("\"key_{at}\": 1")).collect();
    let many = format!("{{{}}}", keys.join(","));
    let (_, found) = Resilience::from_vars([("RESILIENCE_CUSTOM_CONFIG", many)]);
    assert_eq!((found.len(), found.iter().len(), found.more()), (20, 16, 4));

    // At odds with the preset, whose longest wait is 5 s.
    let (_, found) = Resilience::from_vars([
        ("RESILIENCE_PRESET", "development"),
        ("RESILIENCE_CUSTOM_CONFIG", r#"{"exponential_min": 5}"#),
    ]);
    assert_eq!(found.len(), 1);
    assert!(lines(&found)[0].starts_with("RESILIENCE_CUSTOM_CONFIG: exponential_min: "), "{found}");
}

#[test]
fn single_variables_set_one_thing_each() {
    let (resilience, found) = Resilience::from_vars([
        ("RETRY_MAX_ATTEMPTS", "4"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", " 9 "),
        ("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "45.5"),
        ("DEFAULT_RESILIENCE_STRATEGY", "conservative"),
        ("RETRY_MAX_DELAY", "90"),
        ("RETRY_EXPONENTIAL_MULTIPLIER", "0.1"),
        ("RETRY_EXPONENTIAL_MIN", "0.5"),
        ("RETRY_EXPONENTIAL_MAX", "20"),
        ("RETRY_JITTER_ENABLED", "Yes"),
        ("RETRY_JITTER_MAX", "0.3"),
        ("AI_SUMMARIZE_RESILIENCE_STRATEGY", "critical"),
        ("RESILIENCE_PRESET", ""),
        ("RESILIENCE_CUSTOM_CONFIG", "  "),
        ("PATH", "/bin"),
        ("RETRY_MAX", "x"),
    ]);
    assert_eq!(lines(&found), [""; 0]);
    let expected = [4, 9, 45_500_000, 90_000_000, 100_000, 500_000, 20_000_000];
    assert_eq!(character(&resilience, "a"), (Strategy::Conservative, expected));
    assert_eq!(get(&resilience, "a", Key::JitterKind), 1);
    assert_eq!(get(&resilience, "a", Key::Jitter), 300_000);
    let summarize = resilience.orchestrator().effective("ai_summarize").unwrap();
    assert_eq!(summarize.strategy(), Strategy::Critical);
    assert_eq!(summarize.get(Key::Attempts), 4);
    assert_eq!(resilience.orchestrator().len(), 2);

    for (written, kind) in
        [("1", 1), ("on", 1), ("TRUE", 1), ("0", 0), ("off", 0), ("False", 0), ("no", 0)]
    {
        let (resilience, found) = Resilience::from_vars([("RETRY_JITTER_ENABLED", written)]);
        assert_eq!(lines(&found), [""; 0]);
        character(&resilience, "a");
        assert_eq!(get(&resilience, "a", Key::JitterKind), kind, "{written}");
    }
}

#[test]
fn each_single_variable_that_is_wrong_is_named_and_the_others_are_gone_by() {
    let long = format!("{}_RESILIENCE_STRATEGY", "A".repeat(33));
    let (resilience, found) = Resilience::from_vars([
        ("RETRY_MAX_ATTEMPTS", "11"),
        ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "21"),
        ("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "soon"),
        ("DEFAULT_RESILIENCE_STRATEGY", "Balanced"),
        ("RETRY_MAX_DELAY", "4.9"),
        ("RETRY_EXPONENTIAL_MULTIPLIER", "NaN"),
        ("RETRY_EXPONENTIAL_MIN", "0.49"),
        ("RETRY_EXPONENTIAL_MAX", "2m"),
        ("RETRY_JITTER_ENABLED", "2"),
        ("RETRY_JITTER_MAX", "0x1"),
        ("AI_SUMMARIZE_RESILIENCE_STRATEGY", "fast"),
        ("AI_CLASSIFY_RESILIENCE_STRATEGY", "critical"),
        (long.as_str(), "critical"),
    ]);
    let mut found = lines(&found);
    found.sort();
    assert_eq!(
        found,
        [
            format!("{long}: an operation's name has 32 bytes at most"),
            "AI_SUMMARIZE_RESILIENCE_STRATEGY: \"fast\" is not among them: \
             aggressive, balanced, conservative or critical"
                .into(),
            "CIRCUIT_BREAKER_FAILURE_THRESHOLD: 21 is out of range: a whole number, 1 to 20".into(),
            "CIRCUIT_BREAKER_RECOVERY_TIMEOUT: \"soon\" is not a number: \
             a number of seconds, 10 to 300"
                .into(),
            "DEFAULT_RESILIENCE_STRATEGY: \"Balanced\" is not among them (did you mean balanced?): \
             aggressive, balanced, conservative or critical"
                .into(),
            "RETRY_EXPONENTIAL_MAX: \"2m\" is not a number: a number of seconds, 5 to 120".into(),
            "RETRY_EXPONENTIAL_MIN: 0.49 is out of range: a number of seconds, 0.5 to 10".into(),
            "RETRY_EXPONENTIAL_MULTIPLIER: NaN is not a number: a number of seconds, 0.1 to 5"
                .into(),
            "RETRY_JITTER_ENABLED: 2 is not true or false: true or false".into(),
            "RETRY_JITTER_MAX: \"0x1\" is not a number: a number of seconds, 0.1 to 10".into(),
            "RETRY_MAX_ATTEMPTS: 11 is out of range: a whole number, 1 to 10".into(),
            "RETRY_MAX_DELAY: 4.9 is out of range: a number of seconds, 5 to 600".to_owned(),
        ]
    );
    assert_eq!(character(&resilience, "a").1[0], 3);
    let classify = resilience.orchestrator().effective("ai_classify").unwrap();
    assert_eq!(classify.strategy(), Strategy::Critical);
}

#[test]
fn single_variables_that_do_not_go_together_are_left_out_by_name() {
    let (resilience, found) = Resilience::from_vars([
        ("RETRY_EXPONENTIAL_MIN", "10"),
        ("RETRY_EXPONENTIAL_MAX", "6"),
        ("RETRY_MAX_ATTEMPTS", "5"),
    ]);
    assert_eq!(
        lines(&found),
        ["RETRY_EXPONENTIAL_MIN: RETRY_EXPONENTIAL_MIN must be below RETRY_EXPONENTIAL_MAX, \
          and is not for aggressive, balanced, conservative, critical"]
    );
    let expected = [5, 8, 60_000_000, 30_000_000, 1_000_000, 2_000_000, 10_000_000];
    assert_eq!(character(&resilience, "a"), (Strategy::Balanced, expected));
}

#[cfg(unix)]
#[test]
fn a_variable_that_is_not_text_is_named() {
    use std::os::unix::ffi::OsStringExt as _;
    let (_, found) = Resilience::from_vars([
        (OsString::from("RETRY_MAX_ATTEMPTS"), OsString::from_vec(vec![0xff])),
        (OsString::from_vec(vec![0xff]), OsString::from("3")),
    ]);
    assert_eq!(lines(&found), ["RETRY_MAX_ATTEMPTS: is not UTF-8"]);
}

#[test]
fn a_variable_at_odds_with_a_registration_is_left_out_by_name_and_no_other() {
    static TABLE: Orchestrator<3> = Orchestrator::new()
        .operation("a", Registration::new().given(Key::Max, 3_000_000))
        .operation("b", Registration::new())
        .operation("c", Registration::new().given(Key::OpenMax, 60_000_000));
    let resilience = Resilience::over(&TABLE);
    let found = resilience.configure_vars([
        ("RETRY_EXPONENTIAL_MIN", "5"),
        ("RETRY_EXPONENTIAL_MAX", "50"),
        ("RETRY_MAX_ATTEMPTS", "4"),
        ("CIRCUIT_BREAKER_RECOVERY_TIMEOUT", "61"),
        ("A_RESILIENCE_STRATEGY", "conservative"),
        ("B_RESILIENCE_STRATEGY", "critical"),
        ("D_RESILIENCE_STRATEGY", "critical"),
    ]);
    let mut found = lines(&found);
    found.sort();
    assert_eq!(
        found,
        [
            // Conservative waits 4 s at least.
            "A_RESILIENCE_STRATEGY: retry.min must be below retry.max, and is not for operations.a",
            "CIRCUIT_BREAKER_RECOVERY_TIMEOUT: breaker.open_max must not be below \
             CIRCUIT_BREAKER_RECOVERY_TIMEOUT, and is not for operations.c",
            "D_RESILIENCE_STRATEGY: operations: all 3 places of the table are taken",
            "RETRY_EXPONENTIAL_MIN: RETRY_EXPONENTIAL_MIN must be below retry.max, \
             and is not for operations.a",
        ]
    );
    let get = |name, key| TABLE.effective(name).unwrap().get(key);
    assert_eq!([get("a", Key::Attempts), get("b", Key::Attempts)], [4, 4]);
    assert_eq!([get("b", Key::Min), get("b", Key::Max)], [3_000_000, 50_000_000]);
    assert_eq!(TABLE.effective("b").unwrap().strategy(), Strategy::Critical);
    assert_eq!(TABLE.effective("a").unwrap().strategy(), Strategy::Balanced);
}

#[test]
fn a_default_strategy_or_a_preset_at_odds_with_a_registration_is_left_out() {
    static TABLE: Orchestrator<1> =
        Orchestrator::new().operation("a", Registration::new().given(Key::Max, 3_000_000));
    let resilience = Resilience::over(&TABLE);
    let found = resilience.configure_vars([
        ("DEFAULT_RESILIENCE_STRATEGY", "conservative"),
        ("RETRY_MAX_ATTEMPTS", "4"),
    ]);
    assert_eq!(
        lines(&found),
        ["DEFAULT_RESILIENCE_STRATEGY: retry.min must be below retry.max, \
          and is not for operations.a"]
    );
    assert_eq!(TABLE.effective("a").unwrap().get(Key::Attempts), 4);

    static SLOW: Orchestrator<1> =
        Orchestrator::new().operation("a", Registration::new().given(Key::Min, 6_000_000));
    let resilience = Resilience::over(&SLOW);
    let found = resilience.configure_vars([
        ("RESILIENCE_PRESET", "development"),
        ("RESILIENCE_CUSTOM_CONFIG", r#"{"retry_attempts": 6}"#),
    ]);
    assert_eq!(
        lines(&found),
        ["RESILIENCE_PRESET: exponential_min: exponential_min must be below exponential_max, \
          and is not for operations.a"]
    );
    assert_eq!(SLOW.effective("a").unwrap().get(Key::Attempts), 6);
}

#[test]
fn what_variables_are_warned_of_stands_beside_their_problems() {
    let warned = |vars: &[(&str, &str)]| {
        let (_, found) = Resilience::from_vars(vars.iter().copied());
        let warnings = found.warnings().iter().map(ToString::to_string).collect::<Vec<_>>();
        (found.len(), warnings)
    };
    const OPENS_ALONE: &str = "breaker.failures is less than retry.attempts + 2: \
                               one execution may open the breaker";
    let by = |names: &[&str]| names.iter().map(|name| format!("{name}: {OPENS_ALONE}")).collect();
    let threshold = ("CIRCUIT_BREAKER_FAILURE_THRESHOLD", "8");
    assert_eq!(warned(&[]), (0, vec![]));
    assert_eq!(warned(&[threshold]), (0, by(&["by critical"])));
    let summarize = ("SUMMARIZE_RESILIENCE_STRATEGY", "critical");
    let wrong = ("RETRY_MAX_ATTEMPTS", "0");
    let both = by(&["by critical", "summarize"]);
    assert_eq!(warned(&[threshold, summarize, wrong]), (1, both));
    // The document's are those of all that is gone by, the preset among it.
    let preset = ("RESILIENCE_PRESET", "simple");
    let document = ("RESILIENCE_CUSTOM_CONFIG", r#"{"operations": {"a": "balanced"}}"#);
    assert_eq!(warned(&[preset]), (0, vec![]));
    let (none, warnings) =
        warned(&[preset, ("RESILIENCE_CUSTOM_CONFIG", r#"{"retry_attempts": 4}"#)]);
    assert_eq!((none, warnings.len()), (0, 4), "{warnings:?}");
    assert_eq!(warned(&[preset, document]), (0, vec![]));
}

#[test]
fn the_process_environment_can_be_read_whatever_is_in_it() {
    let (resilience, _) = Resilience::from_env();
    assert!(resilience.register("a", Registration::new()).is_ok());
}

#[test]
fn a_table_written_by_many_at_once_is_busy_for_nobody() {
    let resilience = Resilience::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || {
                for at in 0..50 {
                    let name = format!("{thread} {}", at % 10);
                    register(&resilience, &name, Registration::new());
                    resilience.configure_json(r#"{"retry_attempts": 4}"#).unwrap();
                    resilience.configure_preset(Preset::Simple).unwrap();
                    // Who goes round it may be told to come again.
                    let direct = resilience.orchestrator().register(&name, Registration::new());
                    assert!(matches!(direct, Ok(_) | Err(RegisterError::Busy)));
                }
            });
        }
    });
    assert_eq!(resilience.orchestrator().len(), 40);
}

#[test]
fn a_warning_says_whose_it_is() {
    fn sent<T: Send + Sync + 'static>(_: &T) {}
    let resilience = Resilience::new();
    sent(&resilience);
    let warnings = resilience.configure_preset(Preset::Development).unwrap();
    sent(&warnings);
    let opens_alone = |warning: &OperationWarning| {
        (warning.operation, warning.warning) == (None, Warning::OpensAlone)
    };
    assert!(warnings.iter().all(opens_alone), "{warnings:?}");
    assert_eq!(Vec::from_iter(warnings.iter().map(|warning| warning.strategy)), Strategy::ALL);
}
