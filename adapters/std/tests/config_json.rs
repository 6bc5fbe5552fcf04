//! Documents: what they come to, and all that is wrong with them.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;

use steadfast::Strategy;
use steadfast::orchestrator::{Allowed, Config, Key, Kind, Name, Registration};
use steadfast_std::config::{Problems, config_from_json};

fn read(text: &str) -> Result<Config<64>, Problems> {
    config_from_json(text)
}

fn problems(text: &str) -> Vec<String> {
    read(text).expect_err(text).iter().map(ToString::to_string).collect()
}

fn operation(text: &str, name: &str) -> Registration {
    *read(text).expect(text).operation(&Name::new(name).unwrap()).unwrap()
}

/// A document that gives the operation `a` one setting.
fn with(key: Key, value: &str) -> String {
    let mut parts = key.path().rsplit('.');
    let inner = format!("{{\"{}\": {value}}}", parts.next().unwrap());
    let nested = parts.fold(inner, |inner, part| format!("{{\"{part}\": {inner}}}"));
    format!("{{\"operations\": {{\"a\": {nested}}}}}")
}

/// As the contract has it, in its own decimals: path, what is expected there, the bounds with what
/// they are counted as, and what is just outside of them.
type Row = (&'static str, &'static str, [(&'static str, u64); 2], [&'static str; 4]);

const WHOLE: &str = "a whole number";
const SECONDS: &str = "a number of seconds";
const NUMBER: &str = "a number";
const OF_100: &str = "a number of percent";

const HOUR: [(&str, u64); 2] = [("0", 0), ("3600", 3_600_000_000)];
const BEYOND_HOUR: [&str; 4] = ["-0.000001", "-0.000000001", "3600.000001", "3600.0000000001"];
const DAY: [(&str, u64); 2] = [("0", 0), ("86400", 86_400_000_000)];
const BEYOND_DAY: [&str; 4] = ["-0.000001", "-0.000000001", "86400.000001", "86400.0000000001"];
const SOME_TIME: [(&str, u64); 2] = [("0.001", 1_000), ("86400", 86_400_000_000)];
const BEYOND_SOME: [&str; 4] = ["0", "0.000999999999", "86400.000001", "86400.0000000001"];
const OPEN: [(&str, u64); 2] = [("0.05", 50_000), ("86400", 86_400_000_000)];
const BEYOND_OPEN: [&str; 4] = ["0", "0.0499999999", "86400.000001", "86400.0000000001"];
const PERCENT: [(&str, u64); 2] = [("0.1", 1), ("100", 1_000)];
const BEYOND_PERCENT: [&str; 4] = ["0", "0.0999999999", "100.1", "100.0000000001"];

#[rustfmt::skip]
const BOUNDS: [Row; 27] = [
    ("retry.attempts",           WHOLE,   [("1", 1), ("50", 50)],         ["0", "-1", "51", "99999999999999999999999999"]),
    ("retry.multiplier",         SECONDS, HOUR,                           BEYOND_HOUR),
    ("retry.min",                SECONDS, HOUR,                           BEYOND_HOUR),
    ("retry.max",                SECONDS, HOUR,                           BEYOND_HOUR),
    ("retry.jitter",             SECONDS, HOUR,                           BEYOND_HOUR),
    ("retry.window",             SECONDS, DAY,                            BEYOND_DAY),
    ("retry.max_asked_wait",     SECONDS, DAY,                            BEYOND_DAY),
    ("retry.budget.tokens",      WHOLE,   [("1", 1), ("10000", 10_000)],  ["0", "-1", "10001", "18446744073709551617"]),
    ("retry.budget.per_success", NUMBER,  [("0", 0), ("10", 10_000)],     ["-0.001", "-0.000000001", "10.001", "10.0000000001"]),
    ("retry.budget.refill",      SECONDS, DAY,                            BEYOND_DAY),
    ("timeout.attempt",          SECONDS, SOME_TIME,                      BEYOND_SOME),
    ("timeout.deadline",         SECONDS, SOME_TIME,                      BEYOND_SOME),
    ("breaker.failures",         WHOLE,   [("1", 1), ("1024", 1_024)],    ["0", "-1", "1025", "4294967297"]),
    ("breaker.of_last",          WHOLE,   [("1", 1), ("1024", 1_024)],    ["0", "-1", "1025", "4294967297"]),
    ("breaker.failure_rate",     OF_100,  PERCENT,                        BEYOND_PERCENT),
    ("breaker.slow_rate",        OF_100,  PERCENT,                        BEYOND_PERCENT),
    ("breaker.slow_after",       SECONDS, SOME_TIME,                      BEYOND_SOME),
    ("breaker.within",           SECONDS, OPEN,                           BEYOND_OPEN),
    ("breaker.min_calls",        WHOLE,   [("1", 1), ("100000", 100_000)], ["0", "-1", "100001", "4294967297"]),
    ("breaker.open_for",         SECONDS, OPEN,                           BEYOND_OPEN),
    ("breaker.open_growth",      NUMBER,  [("1", 10), ("10", 100)],       ["0.9", "0.9999999999", "10.1", "10.0000000001"]),
    ("breaker.open_max",         SECONDS, OPEN,                           BEYOND_OPEN),
    ("breaker.probes",           WHOLE,   [("1", 1), ("63", 63)],         ["0", "-1", "64", "4294967297"]),
    ("breaker.lease",            SECONDS, OPEN,                           BEYOND_OPEN),
    ("bulkhead.slots",           WHOLE,   [("1", 1), ("2147483648", 2_147_483_648)], ["0", "-1", "2147483649", "4294967297"]),
    ("limits.requests_per_minute", WHOLE,   [("1", 1), ("2147483648", 2_147_483_648)], ["0", "-1", "2147483649", "4294967297"]),
    ("limits.tokens_per_minute", WHOLE,   [("1", 1), ("2147483648", 2_147_483_648)], ["0", "-1", "2147483649", "4294967297"]),
];

#[test]
fn every_setting_that_is_a_number_has_its_bounds_here() {
    let is_number = |key: &Key| !matches!(key.kind(), Kind::Flag | Kind::Choice(_));
    let numbers: Vec<_> = Key::ALL.into_iter().filter(is_number).map(Key::path).collect();
    assert_eq!(numbers, BOUNDS.map(|(path, ..)| path));
}

#[test]
fn each_bound_of_each_setting_is_inside() {
    for (path, _, inside, _) in BOUNDS {
        let key: Key = path.parse().unwrap();
        for (value, counted) in inside {
            let text = with(key, value);
            assert_eq!(operation(&text, "a").get(key), Some(counted), "{text}");
        }
    }
}

#[test]
fn just_beyond_each_bound_of_each_setting_is_outside() {
    for (path, what, [(least, _), (most, _)], outside) in BOUNDS {
        for value in outside {
            let text = with(path.parse().unwrap(), value);
            let shown = format!("{value} is out of range: {what}, {least} to {most}");
            assert_eq!(problems(&text), [format!("operations.a.{path}: {shown}")]);
        }
    }
}

#[test]
fn a_number_with_an_exponent_is_out_of_range_like_any_other() {
    assert_eq!(
        problems(&with(Key::Window, "1e30")),
        ["operations.a.retry.window: 1e30 is out of range: a number of seconds, 0 to 86400"]
    );
}

#[test]
fn each_choice_of_each_setting_is_one_and_nothing_else_is() {
    let mut seen = 0;
    for key in Key::ALL {
        let Kind::Choice(names) = key.kind() else { continue };
        for (at, name) in names.iter().enumerate() {
            let text = with(key, &format!("\"{name}\""));
            assert_eq!(operation(&text, "a").get(key), Some(at as u64));
            let shouted = name.to_uppercase();
            let expected =
                format!("operations.a.{key}: \"{shouted}\" is not among them: {}", Allowed(key));
            assert_eq!(problems(&with(key, &format!("\"{shouted}\""))), [expected]);
            seen += 1;
        }
        assert_eq!(problems(&with(key, "\"\"")).len(), 1);
    }
    assert_eq!(seen, 3 + 5 + 4);
}

#[test]
fn a_setting_takes_values_of_its_own_type_alone() {
    for key in Key::ALL {
        let values = [
            ("null", "null"),
            ("true", "true"),
            ("1", "1"),
            ("1.5", "1.5"),
            ("3.0", "3.0"),
            ("1e1", "1e1"),
            ("\"1\"", "\"1\""),
            ("[1]", "a list"),
            ("{}", "an object"),
            ("NaN", "NaN"),
            ("Infinity", "Infinity"),
            ("-Infinity", "-Infinity"),
        ];
        for (value, shown) in values {
            let fits = match key.kind() {
                Kind::Flag => value == "true",
                Kind::Count => value == "1",
                Kind::Choice(_) => false,
                _ => value.parse::<f64>().is_ok_and(f64::is_finite),
            };
            let text = with(key, value);
            if fits {
                assert!(operation(&text, "a").get(key).is_some(), "{text}");
                continue;
            }
            let expected = match key.kind() {
                Kind::Flag => "is not true or false",
                Kind::Count => "is not a whole number",
                // Text is what a choice takes; this one is none of its names.
                Kind::Choice(_) if value.contains(['"', 'N', 'I']) => "is not among them",
                Kind::Choice(_) => "is not a string",
                _ => "is not a number",
            };
            let expected = format!("operations.a.{key}: {shown} {expected}: {}", Allowed(key));
            assert_eq!(problems(&text), [expected]);
        }
    }
}

/// As the contract has it: name, setting, bounds, and what is just outside of them.
type Bounds = (&'static str, Key, [(&'static str, u64); 2], [&'static str; 4]);

const FLAT: [Bounds; 8] = [
    ("retry_attempts", Key::Attempts, [("1", 1), ("10", 10)], ["0", "11", "-1", "2.0"]),
    ("circuit_breaker_threshold", Key::Failures, [("1", 1), ("20", 20)], ["0", "21", "-1", "2.0"]),
    (
        "recovery_timeout",
        Key::OpenFor,
        [("10", 10_000_000), ("300", 300_000_000)],
        ["9.999999", "300.000001", "9.99999999", "300.00000001"],
    ),
    (
        "exponential_multiplier",
        Key::Multiplier,
        [("0.1", 100_000), ("5.0", 5_000_000)],
        ["0.099999", "5.000001", "0.09999999", "5.00000001"],
    ),
    (
        "exponential_min",
        Key::Min,
        [("0.5", 500_000), ("10.0", 10_000_000)],
        ["0.499999", "10.000001", "0.49999999", "10.00000001"],
    ),
    (
        "exponential_max",
        Key::Max,
        [("5.0", 5_000_000), ("120.0", 120_000_000)],
        ["4.999999", "120.000001", "4.99999999", "120.00000001"],
    ),
    (
        "jitter_max",
        Key::Jitter,
        [("0.1", 100_000), ("10.0", 10_000_000)],
        ["0.099999", "10.000001", "0.09999999", "10.00000001"],
    ),
    (
        "max_delay_seconds",
        Key::Window,
        [("5", 5_000_000), ("600", 600_000_000)],
        ["4.999999", "600.000001", "4.99999999", "600.00000001"],
    ),
];

#[test]
fn each_bound_of_the_flat_form_is_inside_and_just_beyond_is_not() {
    for (name, key, inside, outside) in FLAT {
        // So that the longest wait is longer than the shortest, for every strategy.
        let beside = match key {
            Key::Min => ", \"exponential_max\": 120",
            Key::Max => ", \"exponential_min\": 0.5",
            _ => "",
        };
        for (value, counted) in inside {
            let text = format!("{{\"{name}\": {value}{beside}}}");
            assert_eq!(read(&text).unwrap().every_strategy().get(key), Some(counted), "{text}");
        }
        for value in outside {
            let found = problems(&format!("{{\"{name}\": {value}{beside}}}"));
            assert_eq!(found.len(), 1, "{found:?}");
            let wrong = if value == "2.0" { "is not a whole number" } else { "is out of range" };
            assert!(found[0].starts_with(&format!("{name}: {value} {wrong}: a ")), "{found:?}");
        }
    }
}

#[test]
fn flat_jitter_is_on_or_off() {
    let kind = |text| read(text).unwrap().every_strategy().get(Key::JitterKind);
    assert_eq!(kind(r#"{"jitter_enabled": false}"#), Some(0));
    assert_eq!(kind(r#"{"jitter_enabled": true, "jitter_max": 0.1}"#), Some(1));
    assert_eq!(
        problems(r#"{"jitter_enabled": 1}"#),
        ["jitter_enabled: 1 is not true or false: true or false"]
    );
}

#[test]
fn nothing_said_is_nothing_configured() {
    for text in ["{}", " {\n} ", "\u{feff}{}", r#"{"operations": {}, "operation_overrides": {}}"#] {
        assert_eq!(read(text).unwrap(), Config::new(), "{text}");
    }
}

#[test]
fn an_operation_is_a_strategy_or_an_object() {
    let text = r#"{
        "default_strategy": "conservative",
        "operations": {
            "plain": "critical",
            "none": {},
            "whole": {
                "strategy": "aggressive",
                "retry": {"enabled": false, "min": 0.1, "max": 1.5e1, "budget": {"per_success": 0.25}},
                "breaker": {"open_for": 0.3, "open_growth": 2.5, "mode": "shadow"},
                "bulkhead": {"slots": 7},
                "limits": {"requests_per_minute": 600, "tokens_per_minute": 90000}
            }
        }
    }"#;
    let config = read(text).unwrap();
    assert_eq!(config.default_strategy(), Some(Strategy::Conservative));
    assert_eq!(operation(text, "plain"), Registration::by(Strategy::Critical));
    assert_eq!(operation(text, "none"), Registration::new());
    let whole = Registration::by(Strategy::Aggressive)
        .given(Key::RetryEnabled, 0)
        .given(Key::Min, 100_000)
        .given(Key::Max, 15_000_000)
        .given(Key::PerSuccess, 250)
        .given(Key::OpenFor, 300_000)
        .given(Key::OpenGrowth, 25)
        .given(Key::Mode, 3)
        .given(Key::Slots, 7)
        .given(Key::RequestsPerMinute, 600)
        .given(Key::TokensPerMinute, 90_000);
    assert_eq!(operation(text, "whole"), whole);
}

#[test]
fn both_forms_go_together_unless_they_contradict() {
    let text = r#"{
        "retry_attempts": 4,
        "operation_overrides": {"a": "critical", "b": "balanced", "c": "aggressive"},
        "operations": {"a": {"retry": {"attempts": 6}}, "b": "balanced"}
    }"#;
    assert_eq!(read(text).unwrap().every_strategy().get(Key::Attempts), Some(4));
    let a = Registration::by(Strategy::Critical).given(Key::Attempts, 6);
    assert_eq!(operation(text, "a"), a);
    assert_eq!(operation(text, "b"), Registration::by(Strategy::Balanced));
    assert_eq!(operation(text, "c"), Registration::by(Strategy::Aggressive));
    assert_eq!(
        problems(r#"{"operation_overrides": {"a": "critical"}, "operations": {"a": "balanced"}}"#),
        ["operation_overrides.a: is critical, and balanced in operations.a"]
    );
}

#[test]
fn a_document_is_an_object() {
    for text in ["[]", "[{}]", "1", "\"balanced\"", "null", "true", "NaN"] {
        assert_eq!(problems(text), ["is not an object"], "{text}");
    }
    assert_eq!(
        problems(r#"{"operations": [], "operation_overrides": 1}"#),
        ["operations: is not an object", "operation_overrides: is not an object"]
    );
    assert_eq!(
        problems(r#"{"operations": {"a": 1, "b": {"retry": 3}}}"#),
        [
            "operations.a: is neither the name of a strategy nor an object: \
             aggressive, balanced, conservative or critical",
            "operations.b.retry: is not an object",
        ]
    );
}

#[test]
fn what_is_not_json_is_told_with_its_place() {
    for text in
        ["", "{", "{\"a\": }", "{} {}", "{'a': 1}", "{\"a\": 01}", "{\"a\": .5}", "{a: NaN}"]
    {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{text}");
        assert!(found[0].starts_with("not JSON: "), "{text}: {found:?}");
        assert!(found[0].contains(" at line 1 column "), "{text}: {found:?}");
    }
}

#[test]
fn numbers_that_are_none_are_told_like_everything_else() {
    assert_eq!(
        problems(
            r#"{"retry_attempts": NaN, "exponential_max":-Infinity, "default_strategy": Infinity}"#
        ),
        [
            "retry_attempts: NaN is not a whole number: a whole number, 1 to 10",
            "exponential_max: -Infinity is not a number: a number of seconds, 5 to 120",
            "default_strategy: Infinity is not among them: \
             aggressive, balanced, conservative or critical",
        ]
    );
    let quoted = problems(r#"{"operations": {"NaN: NaN": {"retry": NaN}}}"#);
    assert_eq!(quoted, ["operations.\"NaN: NaN\".retry: is not an object"]);
}

#[test]
fn an_unknown_key_is_a_problem_that_says_what_may_have_been_meant() {
    for (text, expected) in [
        (
            r#"{"retry_atempts": 3}"#,
            "retry_atempts: is no setting (did you mean retry_attempts?): ",
        ),
        (r#"{"operation": {}}"#, "operation: is no setting (did you mean operations?): "),
        (r#"{"something": 3}"#, "something: is no setting: default_strategy, "),
        (
            r#"{"operations": {"a": {"rety": {}}}}"#,
            "operations.a.rety: is no setting (did you mean retry?): \
             breaker, bulkhead, limits, retry, strategy, timeout",
        ),
        (
            r#"{"operations": {"a": {"attempts": 3}}}"#,
            "operations.a.attempts: is no setting (did you mean retry.attempts?): ",
        ),
        (
            r#"{"operations": {"a": {"retry": {"budget": {"token": 3}}}}}"#,
            "operations.a.retry.budget.token: is no setting (did you mean tokens?): \
             per_success, refill, tokens",
        ),
        (
            r#"{"operations": {"a": {"retry.attempts": 3}}}"#,
            "operations.a.\"retry.attempts\": is no",
        ),
        (r#"{"": 3}"#, "\"\": is no setting: "),
        (r#"{"a\nb": 3}"#, "\"a\\nb\": is no setting: "),
    ] {
        let found = problems(text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{found:?}");
    }
}

#[test]
fn a_key_that_is_there_twice_is_a_problem_wherever_it_is() {
    let text = r#"{
        "retry_attempts": 3,
        "retry_attempts": 3,
        "operations": {"a": "balanced", "a": "balanced", "b": {"retry": {"min": 1, "min": 1, "m\u0069n": 1}}}
    }"#;
    let expected: BTreeSet<_> = [
        "retry_attempts: is there twice",
        "operations.a: is there twice",
        "operations.b.retry.min: is there twice",
    ]
    .map(String::from)
    .into();
    let found = problems(text);
    assert_eq!(found.len(), 4);
    assert_eq!(BTreeSet::from_iter(found), expected);
}

#[test]
fn a_name_of_an_operation_is_one() {
    let long = "a".repeat(33);
    let text = format!("{{\"operations\": {{\"\": {{}}, \"{long}\": {{}}, \"a\\u0000\": {{}}}}}}");
    assert_eq!(
        problems(&text),
        [
            "operations.\"\": an operation's name is not empty".into(),
            format!("operations.{long}: an operation's name has 32 bytes at most"),
            "operations.\"a\\0\": an operation's name contains no NUL".to_owned(),
        ]
    );
}

#[test]
fn settings_that_do_not_go_together_are_told_with_both_paths() {
    let text = r#"{"operations": {
        "a": {"retry": {"min": 5, "max": 5}},
        "b": {"retry": {"min": 9, "max": 5}, "breaker": {"failures": 5, "of_last": 4, "open_for": 9, "open_max": 8}}
    }}"#;
    assert_eq!(
        problems(text),
        [
            "operations.a.retry.min: retry.min must be below retry.max",
            "operations.b.retry.min: retry.min must be below retry.max",
            "operations.b.breaker.of_last: breaker.of_last must not be below breaker.failures",
            "operations.b.breaker.open_max: breaker.open_max must not be below breaker.open_for",
        ]
    );
    assert_eq!(
        problems(r#"{"exponential_min": 10, "exponential_max": 10}"#),
        ["exponential_min: exponential_min must be below exponential_max, \
          and is not for aggressive, balanced, conservative, critical"]
    );
    assert_eq!(
        problems(r#"{"exponential_min": 3}"#),
        [
            "exponential_min: exponential_min must be below exponential_max, and is not for aggressive"
        ]
    );
}

#[test]
fn what_only_follows_from_another_problem_is_not_told() {
    assert_eq!(
        problems(r#"{"exponential_max": "20", "exponential_min": 8}"#),
        ["exponential_max: \"20\" is not a number: a number of seconds, 5 to 120"]
    );
}

#[test]
fn a_document_has_16_kib_at_most() {
    let padded = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    assert!(read(&padded(16 * 1024)).is_ok());
    assert_eq!(
        problems(&padded(16 * 1024 + 1)),
        ["the document has 16385 bytes: 16384 bytes at most"]
    );
}

#[test]
fn a_document_has_8_levels_at_most() {
    let nested = |levels: usize| {
        format!("{}{}", "{\"a\":".repeat(levels - 1), "{}") + &"}".repeat(levels - 1)
    };
    assert!(problems(&nested(8))[0].starts_with("a: is no setting"));
    assert_eq!(problems(&nested(9)), ["the document is too deep: 8 levels at most"]);
    assert_eq!(problems(&"[".repeat(9)), ["the document is too deep: 8 levels at most"]);
    // Brackets in a string are none.
    let text = format!("{{\"default_strategy\": \"\\\"{}\"}}", "[".repeat(9));
    assert!(problems(&text)[0].starts_with("default_strategy: \"\\\"[[["));
}

#[test]
fn all_that_is_wrong_is_told_up_to_16() {
    let keys =
        |count| (0..count).map(|at| format!("\"key_{at}\": 1")).collect::<Vec<_>>().join(",");
    for count in 1..=40_usize {
        let found = read(&format!("{{{}}}", keys(count))).unwrap_err();
        assert_eq!((found.len(), found.iter().len()), (count, count.min(16)));
        assert_eq!(found.more(), count.saturating_sub(16));
        let lines: Vec<_> = found.to_string().lines().map(String::from).collect();
        assert_eq!(lines.len(), count.min(17));
        assert!(lines[0].starts_with("key_0: is no setting"));
        if count > 16 {
            assert_eq!(lines[16], format!("{} more", count - 16));
        }
    }
}

#[test]
fn a_problem_has_its_parts() {
    let found =
        read(r#"{"operations": {"ai_summarize": {"retry": {"attempts": 0}}}}"#).unwrap_err();
    let problem = found.iter().next().unwrap();
    assert_eq!(problem.path, "operations.ai_summarize.retry.attempts");
    assert_eq!(problem.what, "0 is out of range");
    assert_eq!(problem.allowed.as_deref(), Some("a whole number, 1 to 50"));
    assert_eq!(
        found.to_string(),
        "operations.ai_summarize.retry.attempts: 0 is out of range: a whole number, 1 to 50"
    );
}

#[test]
fn what_a_problem_cites_fits_into_a_line() {
    let long = "x".repeat(5_000);
    for text in [
        format!("{{\"{long}\": 1}}"),
        format!("{{\"default_strategy\": \"{long}\"}}"),
        format!("{{\"exponential_min\": {}}}", "9".repeat(5_000)),
        format!("{{\"operations\": {{\"{long}\": 1}}}}"),
    ] {
        let found = problems(&text);
        assert!(found.iter().all(|problem| problem.len() < 500), "{found:?}");
    }
}

#[test]
fn more_operations_than_there_is_room_for_are_a_problem() {
    let text = r#"{"operations": {"a": {}, "b": {}, "c": {}}}"#;
    assert!(config_from_json::<3>(text).is_ok());
    assert_eq!(
        config_from_json::<2>(text).unwrap_err().to_string(),
        "operations: a configuration has 2 operations at most"
    );
}
