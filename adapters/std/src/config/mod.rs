//! Configuration from outside: JSON, presets and environment variables.
//!
//! A document is a JSON object of at most 16 KiB and 8 levels. All that is wrong with it is found at
//! once ([`Problems`]), and if anything is, nothing of it is gone by. `{}` says nothing.
//!
//! ```
//! use steadfast_std::Resilience;
//!
//! let problems = Resilience::new()
//!     .configure_json(r#"{ "operations": { "summarize": { "retry": { "attempts": 0, "wait": 1 } } } }"#)
//!     .unwrap_err();
//! assert_eq!(problems.len(), 2);
//! assert_eq!(
//!     problems.iter().next().unwrap().to_string(),
//!     "operations.summarize.retry.attempts: 0 is out of range: a whole number, 1 to 50"
//! );
//! ```
//!
//! # Structured
//!
//! `default_strategy` (`aggressive`, `balanced`, `conservative` or `critical`) and `operations`: each
//! name with a strategy's name, or with an object of a `strategy` and the settings in which the
//! operation differs from it. They are those of [`Key`](steadfast::orchestrator::Key), nested as
//! their paths say:
//!
//! ```json
//! {
//!     "default_strategy": "balanced",
//!     "operations": {
//!         "classify": "aggressive",
//!         "summarize": {
//!             "strategy": "critical",
//!             "retry": { "attempts": 5, "max": 30, "budget": { "tokens": 20 } },
//!             "timeout": { "attempt": 45.5 },
//!             "breaker": { "failures": 8, "open_for": 90 },
//!             "bulkhead": { "slots": 16 },
//!             "limits": { "requests_per_minute": 600, "tokens_per_minute": 90000 }
//!         }
//!     }
//! }
//! ```
//!
//! A breaker opens after `failures` in a row, or among the last `of_last` outcomes. Beside that it
//! opens by rates, in percent: of failures (`failure_rate`), and of attempts that took `slow_after`
//! seconds or longer (`slow_rate`). Rates are of the last `of_last` outcomes, `failures` then being in a
//! row, or of those `within` so many seconds. They open nothing before there are `min_calls` outcomes:
//! `of_last` if not given, or 10 `within` a time.
//!
//! ```json
//! {
//!     "operations": {
//!         "summarize": { "breaker": { "failure_rate": 50, "within": 60, "min_calls": 20 } },
//!         "classify": { "breaker": { "slow_rate": 80, "slow_after": 2.5, "of_last": 100 } }
//!     }
//! }
//! ```
//!
//! `limits.requests_per_minute` and `tokens_per_minute` are buckets of a minute's worth. What a call
//! takes of the tokens is what its handle says: `Handle::estimate`.
//!
//! # Flat
//!
//! Few settings, which every strategy has from then on, and keeps its own character elsewhere:
//!
//! | key | sets | bounds |
//! |---|---|---|
//! | `retry_attempts` | `retry.attempts` | 1 to 10 |
//! | `circuit_breaker_threshold` | `breaker.failures` | 1 to 20 |
//! | `recovery_timeout` | `breaker.open_for` | 10 to 300 s |
//! | `exponential_multiplier` | `retry.multiplier` | 0.1 to 5 s |
//! | `exponential_min` | `retry.min` | 0.5 to 10 s |
//! | `exponential_max` | `retry.max` | 5 to 120 s |
//! | `jitter_enabled` | `retry.jitter_kind`: `additive` or `none` | `true` or `false` |
//! | `jitter_max` | `retry.jitter` | 0.1 to 10 s |
//! | `max_delay_seconds` | `retry.window` | 5 to 600 s |
//! | `default_strategy` | as above | |
//! | `operation_overrides` | the strategy of each operation | |
//!
//! What is probably not meant by it is warned of strategy by strategy: a threshold of 8 is enough for
//! three of them, and not for the seven attempts of `critical`.
//!
//! A document may have both forms: what the structured one says of an operation wins over what the
//! flat one says for every strategy. An operation has one strategy, wherever it is named.
//!
//! # Numbers
//!
//! A whole number is written with digits alone: `3.0` and `3e0` are none. Other numbers may have
//! decimals and an exponent, and are taken from their text: `0.1` s is 100 000 µs, to the microsecond.
//! What is smaller than a setting counts (microseconds; thousandths of `per_success`; tenths of
//! `open_growth`) rounds up. Bounds are inclusive. Strings are not numbers.

mod document;
mod environment;
mod flat;
mod number;
mod preset;
mod problem;
mod tree;
mod value;
pub(crate) mod warning;

pub use document::config_from_json;
pub(crate) use document::{Document, Reading};
pub(crate) use environment::{CUSTOM_CONFIG, Environment};
pub use preset::{Preset, UnknownPreset};
pub use problem::{Problem, Problems};
