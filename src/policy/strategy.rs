//! The four named strategies.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use super::backoff::{Backoff, Jitter};
use crate::state::{BudgetRule, LimitRule, Mode, Rule, Trip, WindowRule};

/// A named policy: what it sets is in its [`settings`](Self::settings).
///
/// | | aggressive | balanced | conservative | critical |
/// |---|---:|---:|---:|---:|
/// | attempts | 5 | 3 | 2 | 7 |
/// | waits, doubled each time from | 0.25 s | 1 s | 2 s | 1.5 s |
/// | at least, at most | 0.25, 2 s | 2, 10 s | 4, 30 s | 3, 60 s |
/// | and up to so much more, at random | 0.5 s | 2 s | 2 s | 5 s |
/// | no retry begins after | 10 s | 30 s | 120 s | 300 s |
/// | the longest wait a service may ask for | 5 s | 30 s | 60 s | 120 s |
/// | time for an attempt | 10 s | 60 s | 120 s | 120 s |
/// | deadline | 20 s | 120 s | 360 s | 900 s |
/// | breaker: failures in a row | 7 | 8 | 10 | 20 |
/// | breaker: open for | 30 s | 60 s | 120 s | 300 s |
/// | breaker: lease of a probe | 30 s | 120 s | 240 s | 300 s |
/// | budget: tokens, and of one for a success | 10, 0.1 | 10, 0.1 | 6, 0.05 | 20, 0.2 |
/// | budget: one more each | 60 s | 60 s | 60 s | 15 s |
///
/// [`Policy::of`](super::Policy::of) takes the attempts, waits and times of it: a breaker and a budget
/// are shared, so they are made and given. Operations of an [`Orchestrator`](crate::Orchestrator) have
/// their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Strategy {
    /// User-facing calls: answer soon.
    Aggressive,
    /// Most calls.
    #[default]
    Balanced,
    /// Background work: spare the provider.
    Conservative,
    /// Must succeed, may wait.
    Critical,
}

/// What a strategy sets. Each part can be taken alone, or changed in a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// Attempts, the first included.
    pub attempts: u32,
    /// The waits between them.
    pub backoff: Backoff,
    /// No retry starts later than so long after the beginning.
    pub window: Duration,
    /// How long one attempt may take.
    pub attempt_timeout: Duration,
    /// How long the execution may take.
    pub deadline: Duration,
    /// The longest wait that a service may ask for.
    pub max_asked_wait: Duration,
    /// When the breaker opens, and for how long.
    pub breaker: Rule,
    /// What else opens it: rates, or failures among more outcomes than the breaker remembers.
    pub breaker_window: WindowRule,
    /// How many retries are paid.
    pub budget: BudgetRule,
    /// Attempts under way at once; zero for no such cap.
    pub slots: u32,
    /// Requests and tokens a minute.
    pub limits: LimitRule,
    /// Whether failures are retried at all. If not, there is one attempt, and nobody pays.
    pub retry_enabled: bool,
    /// Whether a breaker is asked at all.
    pub breaker_enabled: bool,
    /// Whether the breaker acts on what it sees.
    pub mode: Mode,
}

/// A name that is none of the four strategies'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnknownStrategy;

impl Settings {
    /// The failures that open the breaker, whether it remembers them itself or in its window.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        match self.breaker_window.failures_of_last() {
            Some((failures, _)) => failures,
            None => self.breaker.trip().failures(),
        }
    }
}

impl Strategy {
    /// All four.
    pub const ALL: [Self; 4] =
        [Self::Aggressive, Self::Balanced, Self::Conservative, Self::Critical];

    /// What it sets.
    #[must_use]
    pub const fn settings(self) -> Settings {
        match self {
            Self::Aggressive => AGGRESSIVE,
            Self::Balanced => BALANCED,
            Self::Conservative => CONSERVATIVE,
            Self::Critical => CRITICAL,
        }
    }

    /// Its name, as configuration spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aggressive => "aggressive",
            Self::Balanced => "balanced",
            Self::Conservative => "conservative",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        Self::ALL.into_iter().find(|strategy| strategy.name() == name).ok_or(UnknownStrategy)
    }
}

impl fmt::Display for UnknownStrategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a strategy is aggressive, balanced, conservative or critical")
    }
}

impl core::error::Error for UnknownStrategy {}

const AGGRESSIVE: Settings = Settings {
    attempts: 5,
    backoff: exponential(250, 250, 2_000, 500),
    window: Duration::from_secs(10),
    attempt_timeout: Duration::from_secs(10),
    deadline: Duration::from_secs(20),
    max_asked_wait: Duration::from_secs(5),
    breaker: breaker(7, 30, 30),
    budget: BudgetRule::new(10, 100, Duration::from_secs(60)),
    ..PLAIN
};

const BALANCED: Settings = Settings {
    attempts: 3,
    backoff: exponential(1_000, 2_000, 10_000, 2_000),
    window: Duration::from_secs(30),
    attempt_timeout: Duration::from_secs(60),
    deadline: Duration::from_secs(120),
    max_asked_wait: Duration::from_secs(30),
    breaker: breaker(8, 60, 120),
    budget: BudgetRule::new(10, 100, Duration::from_secs(60)),
    ..PLAIN
};

const CONSERVATIVE: Settings = Settings {
    attempts: 2,
    backoff: exponential(2_000, 4_000, 30_000, 2_000),
    window: Duration::from_secs(120),
    attempt_timeout: Duration::from_secs(120),
    deadline: Duration::from_secs(360),
    max_asked_wait: Duration::from_secs(60),
    breaker: breaker(10, 120, 240),
    budget: BudgetRule::new(6, 50, Duration::from_secs(60)),
    ..PLAIN
};

const CRITICAL: Settings = Settings {
    attempts: 7,
    backoff: exponential(1_500, 3_000, 60_000, 5_000),
    window: Duration::from_secs(300),
    attempt_timeout: Duration::from_secs(120),
    deadline: Duration::from_secs(900),
    max_asked_wait: Duration::from_secs(120),
    breaker: breaker(20, 300, 300),
    budget: BudgetRule::new(20, 200, Duration::from_secs(15)),
    ..PLAIN
};

/// What all of them share, and what each replaces.
const PLAIN: Settings = Settings {
    attempts: 1,
    backoff: Backoff::constant(Duration::ZERO),
    window: Duration::MAX,
    attempt_timeout: Duration::MAX,
    deadline: Duration::MAX,
    max_asked_wait: Duration::MAX,
    breaker: breaker(1, 60, 60),
    breaker_window: WindowRule::NONE,
    budget: BudgetRule::new(1, 0, Duration::ZERO),
    slots: 0,
    limits: LimitRule::NONE,
    retry_enabled: true,
    breaker_enabled: true,
    mode: Mode::Normal,
};

/// Milliseconds all.
const fn exponential(multiplier: u64, min: u64, max: u64, jitter: u64) -> Backoff {
    let [multiplier, min, max] =
        [Duration::from_millis(multiplier), Duration::from_millis(min), Duration::from_millis(max)];
    Backoff::exponential(multiplier, min, max)
        .jitter(Jitter::Additive(Duration::from_millis(jitter)))
}

/// Seconds. A lease twice as long as an attempt may take at least: a probe that uses its time up is
/// not late.
const fn breaker(failures: u32, open_for: u64, lease: u64) -> Rule {
    Rule::new(Trip::after(failures), Duration::from_secs(open_for))
        .lease(Duration::from_secs(lease))
}
