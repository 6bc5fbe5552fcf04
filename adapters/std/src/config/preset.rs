//! The presets: flat documents by name.

use core::fmt;
use core::str::FromStr;

/// Settings for every operation, by where an application runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Preset {
    /// 3 attempts; breakers open after 5 failures, for 60 s; balanced.
    Simple,
    /// 2 attempts; breakers open after 3 failures, for 30 s; aggressive. One execution may open a
    /// breaker: 3 is less than 2 + 2.
    Development,
    /// 5 attempts; breakers open after 10 failures, for 120 s; conservative.
    Production,
}

/// A name that is none of the presets'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPreset;

impl Preset {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Simple, Self::Development, Self::Production];

    /// Its name, as `RESILIENCE_PRESET` spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Development => "development",
            Self::Production => "production",
        }
    }

    /// What it says, in the [flat form](crate::config).
    #[must_use]
    pub const fn document(self) -> &'static str {
        match self {
            Self::Simple => SIMPLE,
            Self::Development => DEVELOPMENT,
            Self::Production => PRODUCTION,
        }
    }
}

impl FromStr for Preset {
    type Err = UnknownPreset;

    fn from_str(name: &str) -> Result<Self, UnknownPreset> {
        Self::ALL.into_iter().find(|preset| preset.name() == name).ok_or(UnknownPreset)
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownPreset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a preset is simple, development or production")
    }
}

impl core::error::Error for UnknownPreset {}

// The retry window is 20 s for each attempt, and 120 s at most.
const SIMPLE: &str = r#"{
    "default_strategy": "balanced",
    "retry_attempts": 3,
    "circuit_breaker_threshold": 5,
    "recovery_timeout": 60,
    "exponential_multiplier": 1,
    "exponential_min": 2,
    "exponential_max": 10,
    "max_delay_seconds": 60
}"#;
const DEVELOPMENT: &str = r#"{
    "default_strategy": "aggressive",
    "retry_attempts": 2,
    "circuit_breaker_threshold": 3,
    "recovery_timeout": 30,
    "exponential_multiplier": 0.5,
    "exponential_min": 1,
    "exponential_max": 5,
    "max_delay_seconds": 40
}"#;
const PRODUCTION: &str = r#"{
    "default_strategy": "conservative",
    "retry_attempts": 5,
    "circuit_breaker_threshold": 10,
    "recovery_timeout": 120,
    "exponential_multiplier": 1.5,
    "exponential_min": 2,
    "exponential_max": 30,
    "max_delay_seconds": 100
}"#;
