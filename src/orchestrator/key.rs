//! What can be configured: each setting with its path, its kind and its range.

use core::fmt;
use core::str::FromStr;
use core::time::Duration;

use crate::state::Mode;

/// A setting of an operation.
///
/// | path | as it is written |
/// |---|---|
/// | `retry.enabled` | true or false |
/// | `retry.attempts` | a whole number, 1 to 50 |
/// | `retry.backoff` | constant, linear or exponential |
/// | `retry.multiplier` | a number of seconds, 0 to 3600 |
/// | `retry.min` | a number of seconds, 0 to 3600 |
/// | `retry.max` | a number of seconds, 0 to 3600 |
/// | `retry.jitter` | a number of seconds, 0 to 3600 |
/// | `retry.jitter_kind` | none, additive, full, equal or decorrelated |
/// | `retry.window` | a number of seconds, 0 to 86400 |
/// | `retry.max_asked_wait` | a number of seconds, 0 to 86400 |
/// | `retry.budget.tokens` | a whole number, 1 to 10000 |
/// | `retry.budget.per_success` | a number, 0 to 10 |
/// | `retry.budget.refill` | a number of seconds, 0 to 86400 |
/// | `timeout.attempt` | a number of seconds, 0.001 to 86400 |
/// | `timeout.deadline` | a number of seconds, 0.001 to 86400 |
/// | `breaker.enabled` | true or false |
/// | `breaker.failures` | a whole number, 1 to 1024 |
/// | `breaker.of_last` | a whole number, 1 to 1024 |
/// | `breaker.failure_rate` | a number of percent, 0.1 to 100 |
/// | `breaker.slow_rate` | a number of percent, 0.1 to 100 |
/// | `breaker.slow_after` | a number of seconds, 0.001 to 86400 |
/// | `breaker.within` | a number of seconds, 0.05 to 86400 |
/// | `breaker.min_calls` | a whole number, 1 to 100000 |
/// | `breaker.open_for` | a number of seconds, 0.05 to 86400 |
/// | `breaker.open_growth` | a number, 1 to 10 |
/// | `breaker.open_max` | a number of seconds, 0.05 to 86400 |
/// | `breaker.probes` | a whole number, 1 to 63 |
/// | `breaker.lease` | a number of seconds, 0.05 to 86400 |
/// | `breaker.mode` | normal, forced_open, forced_closed or shadow |
/// | `bulkhead.slots` | a whole number, 1 to 2147483648 |
/// | `limits.requests_per_minute` | a whole number, 1 to 2147483648 |
/// | `limits.tokens_per_minute` | a whole number, 1 to 2147483648 |
///
/// Rates are in percent. A value counts as its [kind](Self::kind) does: a length in microseconds, a rate in
/// tenths of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is what its path says: see `Key::path`")]
pub enum Key {
    RetryEnabled,
    Attempts,
    Growth,
    Multiplier,
    Min,
    Max,
    Jitter,
    JitterKind,
    Window,
    MaxAskedWait,
    Tokens,
    PerSuccess,
    Refill,
    AttemptTimeout,
    Deadline,
    BreakerEnabled,
    Failures,
    OfLast,
    FailureRate,
    SlowRate,
    SlowAfter,
    Within,
    MinCalls,
    OpenFor,
    OpenGrowth,
    OpenMax,
    Probes,
    Lease,
    Mode,
    Slots,
    RequestsPerMinute,
    TokensPerMinute,
}

/// How a setting is written, and in what it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Kind {
    /// `true` (1) or `false` (0).
    Flag,
    /// A whole number.
    Count,
    /// A length of time in seconds, with decimals; counted in microseconds.
    Length,
    /// A number with decimals, counted in tenths.
    Tenths,
    /// A share of a hundred, with decimals; counted in tenths.
    Percent,
    /// A number with decimals, counted in thousandths.
    Thousandths,
    /// One of these names, counted from 0.
    Choice(&'static [&'static str]),
}

/// The value of a setting, for showing it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Value {
    /// It is on or off.
    Flag(bool),
    /// So many.
    Count(u64),
    /// So long.
    Length(Duration),
    /// So many thousandths.
    Thousandths(u64),
    /// That one.
    Choice(&'static str),
    /// There is none.
    None,
}

/// A value is not in the range of its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct OutOfRange(pub Key);

/// No setting has that path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnknownKey;

struct Spec {
    key: Key,
    /// In stored and sent configurations; never used again for another.
    tag: u8,
    path: &'static str,
    kind: Kind,
    min: u64,
    max: u64,
}

impl Key {
    /// All of them.
    #[allow(clippy::indexing_slicing, reason = "const, and within the table")]
    pub const ALL: [Self; KEYS] = {
        let mut all = [Self::RetryEnabled; KEYS];
        let mut at = 0;
        while at < KEYS {
            assert!(SPECS[at].key as usize == at, "the table is in the order of the keys");
            all[at] = SPECS[at].key;
            at += 1;
        }
        all
    };

    /// Its path in a configuration, such as `retry.attempts`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        self.spec().path
    }

    /// How it is written.
    #[must_use]
    pub const fn kind(self) -> Kind {
        self.spec().kind
    }

    /// Its least and its greatest value, as its [kind](Self::kind) counts.
    #[must_use]
    pub const fn range(self) -> (u64, u64) {
        (self.spec().min, self.spec().max)
    }

    /// Its number in stored configurations, the same in every version.
    #[must_use]
    pub const fn tag(self) -> u8 {
        self.spec().tag
    }

    /// The key with that [tag](Self::tag).
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.tag() == tag)
    }

    /// `value`, if it is in the range.
    ///
    /// # Errors
    ///
    /// It is not.
    pub const fn check(self, value: u64) -> Result<u64, OutOfRange> {
        let Spec { min, max, .. } = *self.spec();
        if min <= value && value <= max { Ok(value) } else { Err(OutOfRange(self)) }
    }

    /// What `value` says, for showing it.
    #[must_use]
    pub fn value(self, value: u64) -> Value {
        match self.kind() {
            _ if value == 0 && self.may_be_none() => Value::None,
            Kind::Flag => Value::Flag(value != 0),
            Kind::Count => Value::Count(value),
            Kind::Length => Value::Length(Duration::from_micros(value)),
            Kind::Tenths | Kind::Percent => Value::Thousandths(value * 100),
            Kind::Thousandths => Value::Thousandths(value),
            Kind::Choice(names) => {
                Value::Choice(names.get(value as usize).copied().unwrap_or_default())
            }
        }
    }

    /// Whether there may be none, which no configuration gives.
    const fn may_be_none(self) -> bool {
        use Key::{FailureRate, MinCalls, OfLast, RequestsPerMinute, Slots, SlowAfter, SlowRate};
        use Key::{TokensPerMinute, Within};
        matches!(
            self,
            OfLast
                | FailureRate
                | SlowRate
                | SlowAfter
                | Within
                | MinCalls
                | Slots
                | RequestsPerMinute
                | TokensPerMinute
        )
    }

    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
    }

    #[allow(clippy::indexing_slicing, reason = "as long as the keys are many")]
    const fn spec(self) -> &'static Spec {
        &SPECS[self as usize]
    }
}

impl FromStr for Key {
    type Err = UnknownKey;

    fn from_str(path: &str) -> Result<Self, UnknownKey> {
        Self::ALL.into_iter().find(|key| key.path() == path).ok_or(UnknownKey)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.path())
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Flag(on) => on.fmt(f),
            Self::Count(count) => count.fmt(f),
            Self::Length(length) => write!(f, "{length:?}"),
            Self::Thousandths(value) => decimals(f, value, 1_000),
            Self::Choice(name) => f.write_str(name),
            Self::None => f.write_str("none"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("true or false"),
            Self::Count => f.write_str("a whole number"),
            Self::Length => f.write_str("a number of seconds"),
            Self::Tenths | Self::Thousandths => f.write_str("a number"),
            Self::Percent => f.write_str("a number of percent"),
            Self::Choice(names) => {
                for (at, name) in names.iter().enumerate() {
                    let between = match at {
                        0 => "",
                        _ if at + 1 == names.len() => " or ",
                        _ => ", ",
                    };
                    write!(f, "{between}{name}")?;
                }
                Ok(())
            }
        }
    }
}

/// What is allowed, such as `a number of seconds, 0.05 to 86400`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Allowed(pub Key);

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spec { kind, min, max, .. } = *self.0.spec();
        let per_one = match kind {
            Kind::Flag | Kind::Choice(_) => return kind.fmt(f),
            Kind::Count => 1,
            Kind::Length => 1_000_000,
            Kind::Tenths | Kind::Percent => 10,
            Kind::Thousandths => 1_000,
        };
        write!(f, "{kind}, ")?;
        decimals(f, min, per_one)?;
        f.write_str(" to ")?;
        decimals(f, max, per_one)
    }
}

/// In the unit of [`Key::range`], which is what was given, and as configuration spells it.
impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spec { kind, min, max, .. } = *self.0.spec();
        write!(f, "{} is {}", self.0, Allowed(self.0))?;
        let unit = match kind {
            Kind::Flag | Kind::Choice(_) | Kind::Count => return Ok(()),
            Kind::Length => "microseconds",
            Kind::Tenths => "tenths",
            Kind::Percent => "tenths of a percent",
            Kind::Thousandths => "thousandths",
        };
        write!(f, ": {min} to {max} {unit}")
    }
}

impl fmt::Display for UnknownKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such setting")
    }
}

impl core::error::Error for OutOfRange {}
impl core::error::Error for UnknownKey {}

/// `value` parts of which `per_one` make one, as a decimal number without needless zeros.
fn decimals(f: &mut fmt::Formatter<'_>, value: u64, per_one: u64) -> fmt::Result {
    let (whole, mut rest, mut place) = (value / per_one, value % per_one, per_one);
    write!(f, "{whole}")?;
    if rest > 0 {
        f.write_str(".")?;
    }
    while rest > 0 && place > 1 {
        place /= 10;
        write!(f, "{}", rest / place)?;
        rest %= place;
    }
    Ok(())
}

const fn spec(key: Key, tag: u8, path: &'static str, kind: Kind, (min, max): (u64, u64)) -> Spec {
    Spec { key, tag, path, kind, min, max }
}

// A bit of a word each.
const _: () = assert!(KEYS <= 32);
/// How many settings there are.
pub(super) const KEYS: usize = SPECS.len();
const SECOND: u64 = 1_000_000;
const HOUR: (u64, u64) = (0, 3_600 * SECOND);
const DAY: (u64, u64) = (0, 86_400 * SECOND);
const SOME_TIME: (u64, u64) = (1_000, DAY.1);
const OPEN: (u64, u64) = (50_000, DAY.1);
const FLAG: (u64, u64) = (0, 1);
const GROWTHS: &[&str] = &["constant", "linear", "exponential"];
const JITTERS: &[&str] = &["none", "additive", "full", "equal", "decorrelated"];
const MODES: &[&str] =
    &[Mode::Normal.name(), Mode::ForcedOpen.name(), Mode::ForcedClosed.name(), Mode::Shadow.name()];
/// How many outcomes a window remembers.
const OUTCOMES: (u64, u64) = (1, 1024);
const RATE: (u64, u64) = (1, 1000);
/// Slots, or so many a minute.
const SHARE: (u64, u64) = (1, 1 << 31);

#[rustfmt::skip]
const SPECS: [Spec; 32] = {
    use Kind::{Choice, Count, Flag, Length, Percent, Tenths, Thousandths};
    [
        spec(Key::RetryEnabled,   1,  "retry.enabled",            Flag,             FLAG),
        spec(Key::Attempts,       2,  "retry.attempts",           Count,            (1, 50)),
        spec(Key::Growth,         3,  "retry.backoff",            Choice(GROWTHS),  (0, 2)),
        spec(Key::Multiplier,     4,  "retry.multiplier",         Length,           HOUR),
        spec(Key::Min,            5,  "retry.min",                Length,           HOUR),
        spec(Key::Max,            6,  "retry.max",                Length,           HOUR),
        spec(Key::Jitter,         7,  "retry.jitter",             Length,           HOUR),
        spec(Key::JitterKind,     8,  "retry.jitter_kind",        Choice(JITTERS),  (0, 4)),
        spec(Key::Window,         9,  "retry.window",             Length,           DAY),
        spec(Key::MaxAskedWait,   10, "retry.max_asked_wait",     Length,           DAY),
        spec(Key::Tokens,         11, "retry.budget.tokens",      Count,            (1, 10_000)),
        spec(Key::PerSuccess,     12, "retry.budget.per_success", Thousandths,      (0, 10_000)),
        spec(Key::Refill,         13, "retry.budget.refill",      Length,           DAY),
        spec(Key::AttemptTimeout, 14, "timeout.attempt",          Length,           SOME_TIME),
        spec(Key::Deadline,       15, "timeout.deadline",         Length,           SOME_TIME),
        spec(Key::BreakerEnabled, 16, "breaker.enabled",          Flag,             FLAG),
        spec(Key::Failures,       17, "breaker.failures",         Count,            OUTCOMES),
        spec(Key::OfLast,         18, "breaker.of_last",          Count,            OUTCOMES),
        spec(Key::FailureRate,    19, "breaker.failure_rate",     Percent,          RATE),
        spec(Key::SlowRate,       20, "breaker.slow_rate",        Percent,          RATE),
        spec(Key::SlowAfter,      21, "breaker.slow_after",       Length,           SOME_TIME),
        spec(Key::Within,         22, "breaker.within",           Length,           OPEN),
        spec(Key::MinCalls,       23, "breaker.min_calls",        Count,            (1, 100_000)),
        spec(Key::OpenFor,        24, "breaker.open_for",         Length,           OPEN),
        spec(Key::OpenGrowth,     25, "breaker.open_growth",      Tenths,           (10, 100)),
        spec(Key::OpenMax,        26, "breaker.open_max",         Length,           OPEN),
        spec(Key::Probes,         27, "breaker.probes",           Count,            (1, 63)),
        spec(Key::Lease,          28, "breaker.lease",            Length,           OPEN),
        spec(Key::Mode,           29, "breaker.mode",             Choice(MODES),    (0, 3)),
        spec(Key::Slots,          30, "bulkhead.slots",           Count,            SHARE),
        spec(Key::RequestsPerMinute, 31, "limits.requests_per_minute", Count,       SHARE),
        spec(Key::TokensPerMinute, 32, "limits.tokens_per_minute", Count,           SHARE),
    ]
};
