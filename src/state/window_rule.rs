//! By what share of failures, or of slow outcomes, a window opens its circuit.

use core::time::Duration;

use crate::clock::{duration, micros};

/// When the outcomes in a [`Window`](super::Window) open its circuit.
///
/// ```
/// use core::time::Duration;
/// use steadfast::state::WindowRule;
///
/// // Half of the last 100 failed, or 80 % of them took two seconds or longer.
/// const BY_COUNT: WindowRule =
///     WindowRule::over_last(100).failure_rate(500).slow_rate(800, Duration::from_secs(2));
/// // Half of those of the last minute failed, and there were 20 at least.
/// const BY_TIME: WindowRule =
///     WindowRule::within(Duration::from_secs(60)).failure_rate(500).min_calls(20);
/// // 30 of the last 200 failed.
/// const MANY: WindowRule = WindowRule::NONE.failures(30, 200);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowRule {
    /// So many failures, of so many outcomes; zero for no such limit.
    pub(super) failures: u16,
    pub(super) failures_of: u16,
    /// Rates in thousandths; zero for no limit.
    failure_rate: u16,
    slow_rate: u16,
    /// What the rates are of: outcomes, or a time in microseconds.
    pub(super) of_last: u16,
    pub(super) within: u64,
    min_calls: u32,
    slow_after: u64,
}

/// What is wrong with a [`WindowRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WindowRuleError {
    /// Of 1 to 1024 outcomes, and no more of them failures.
    OfLast,
    /// A window is 50 ms to 24 h long.
    Within,
    /// A rate is 1 to 1000 thousandths.
    Rate,
    /// An outcome is slow after 1 ms to 24 h.
    SlowAfter,
    /// 1 to 100 000 outcomes.
    MinCalls,
}

impl WindowRule {
    /// Nothing opens the circuit.
    pub const NONE: Self = Self {
        failures: 0,
        failures_of: 0,
        failure_rate: 0,
        slow_rate: 0,
        of_last: 0,
        within: 0,
        min_calls: 0,
        slow_after: 0,
    };

    /// Rates are of the last `outcomes`, 1 to 1024.
    #[must_use]
    pub const fn over_last(outcomes: u32) -> Self {
        match Self::NONE.try_over_last(outcomes) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a number that comes at run time.
    ///
    /// # Errors
    ///
    /// It is out of range.
    pub const fn try_over_last(self, outcomes: u32) -> Result<Self, WindowRuleError> {
        match outcomes {
            1..=MOST_OUTCOMES => Ok(Self { of_last: outcomes as u16, within: 0, ..self }),
            _ => Err(WindowRuleError::OfLast),
        }
    }

    /// Rates are of the outcomes within `time`, 50 ms to 24 h.
    #[must_use]
    pub const fn within(time: Duration) -> Self {
        match Self::NONE.try_within(time) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a length that comes at run time.
    ///
    /// # Errors
    ///
    /// It is out of range.
    pub const fn try_within(self, time: Duration) -> Result<Self, WindowRuleError> {
        match micros(time) {
            within @ 50_000..=DAY => Ok(Self { of_last: 0, within, ..self }),
            _ => Err(WindowRuleError::Within),
        }
    }

    /// Opens after `failures` among the last `outcomes`, 1 to 1024. Not counted by a window over a
    /// time.
    #[must_use]
    pub const fn failures(self, failures: u32, outcomes: u32) -> Self {
        match self.try_failures(failures, outcomes) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for numbers that come at run time.
    ///
    /// # Errors
    ///
    /// There are more failures than outcomes, or they are out of range.
    pub const fn try_failures(self, failures: u32, outcomes: u32) -> Result<Self, WindowRuleError> {
        if failures == 0 || failures > outcomes || outcomes > MOST_OUTCOMES {
            return Err(WindowRuleError::OfLast);
        }
        Ok(Self { failures: failures as u16, failures_of: outcomes as u16, ..self })
    }

    /// Opens when so many thousandths of the outcomes are failures, 1 to 1000: 500 is half of them.
    #[must_use]
    pub const fn failure_rate(self, thousandths: u32) -> Self {
        match self.try_failure_rate(thousandths) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a number that comes at run time.
    ///
    /// # Errors
    ///
    /// It is out of range.
    pub const fn try_failure_rate(self, thousandths: u32) -> Result<Self, WindowRuleError> {
        match thousandths {
            1..=1000 => Ok(Self { failure_rate: thousandths as u16, ..self }),
            _ => Err(WindowRuleError::Rate),
        }
    }

    /// Opens when so many thousandths of the outcomes, 1 to 1000, took `slow_after` or longer (1 ms
    /// to 24 h), however they ended.
    #[must_use]
    pub const fn slow_rate(self, thousandths: u32, slow_after: Duration) -> Self {
        match self.try_slow_rate(thousandths, slow_after) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for what comes at run time.
    ///
    /// # Errors
    ///
    /// It is out of range.
    pub const fn try_slow_rate(
        self,
        thousandths: u32,
        slow_after: Duration,
    ) -> Result<Self, WindowRuleError> {
        match (thousandths, micros(slow_after)) {
            (1..=1000, slow_after @ 1_000..=DAY) => {
                Ok(Self { slow_rate: thousandths as u16, slow_after, ..self })
            }
            (1..=1000, _) => Err(WindowRuleError::SlowAfter),
            _ => Err(WindowRuleError::Rate),
        }
    }

    /// No rate opens the circuit before there are so many outcomes, 1 to 100 000, or as many as the
    /// window looks at. If not told, that is all of a window over outcomes, and
    /// [ten](Self::MIN_CALLS) within a time.
    #[must_use]
    pub const fn min_calls(self, calls: u32) -> Self {
        match self.try_min_calls(calls) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a number that comes at run time.
    ///
    /// # Errors
    ///
    /// It is out of range.
    pub const fn try_min_calls(self, calls: u32) -> Result<Self, WindowRuleError> {
        match calls {
            1..=MOST_CALLS => Ok(Self { min_calls: calls, ..self }),
            _ => Err(WindowRuleError::MinCalls),
        }
    }

    /// Outcomes within a time before a rate opens the circuit, if not told otherwise.
    pub const MIN_CALLS: u32 = 10;

    /// The failures that open it, and of how many outcomes.
    #[must_use]
    pub const fn failures_of_last(&self) -> Option<(u32, u32)> {
        match self.failures {
            0 => None,
            failures => Some((failures as u32, self.failures_of as u32)),
        }
    }

    /// The outcomes that rates are of, if they are not of a time.
    #[must_use]
    pub const fn outcomes(&self) -> Option<u32> {
        if self.of_last == 0 { None } else { Some(self.of_last as u32) }
    }

    /// The time that rates are of.
    #[must_use]
    pub const fn time(&self) -> Option<Duration> {
        if self.within == 0 { None } else { Some(duration(self.within)) }
    }

    /// The rate of failures that opens it, in thousandths.
    #[must_use]
    pub const fn failure_rate_limit(&self) -> Option<u32> {
        if self.failure_rate == 0 { None } else { Some(self.failure_rate as u32) }
    }

    /// The rate of slow outcomes that opens it, in thousandths, and after what time one is slow.
    #[must_use]
    pub const fn slow_rate_limit(&self) -> Option<(u32, Duration)> {
        match self.slow_rate {
            0 => None,
            rate => Some((rate as u32, duration(self.slow_after))),
        }
    }

    /// The outcomes that there must be before a rate opens it.
    #[must_use]
    pub const fn calls_needed(&self) -> u32 {
        let of_last = self.of_last as u32;
        match self.min_calls {
            0 if of_last > 0 => of_last,
            0 => Self::MIN_CALLS,
            // More never come together.
            calls if of_last > 0 && calls > of_last => of_last,
            calls => calls,
        }
    }

    /// Whether a rate opens the circuit.
    #[must_use]
    pub const fn has_rate(&self) -> bool {
        self.failure_rate > 0 || self.slow_rate > 0
    }

    /// Whether nothing opens the circuit.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.failures == 0 && !self.has_rate()
    }

    pub(crate) const fn to_words(self) -> [u32; WINDOW_RULE_WORDS] {
        [
            (self.failures as u32) << 16 | self.failures_of as u32,
            (self.failure_rate as u32) << 16 | self.slow_rate as u32,
            self.of_last as u32,
            self.min_calls,
            self.within as u32,
            (self.within >> 32) as u32,
            self.slow_after as u32,
            (self.slow_after >> 32) as u32,
        ]
    }

    /// What [`to_words`](Self::to_words) gave.
    pub(crate) const fn from_words(words: [u32; WINDOW_RULE_WORDS]) -> Self {
        let [failures, rates, of_last, min_calls, within, within_high, slow, slow_high] = words;
        Self {
            failures: (failures >> 16) as u16,
            failures_of: failures as u16,
            failure_rate: (rates >> 16) as u16,
            slow_rate: rates as u16,
            of_last: of_last as u16,
            within: (within_high as u64) << 32 | within as u64,
            min_calls,
            slow_after: (slow_high as u64) << 32 | slow as u64,
        }
    }

    /// Of the last outcomes, those that matter.
    pub(super) const fn looks_at(&self) -> u32 {
        let of_last = if self.of_last > self.failures_of { self.of_last } else { self.failures_of };
        of_last as u32
    }

    pub(super) const fn is_slow(&self, took: u64) -> bool {
        self.slow_rate > 0 && took >= self.slow_after
    }

    /// Whether these rates open the circuit.
    pub(super) const fn judges(&self, calls: u32, failed: u32, slow: u32) -> bool {
        calls > 0
            && calls >= self.calls_needed()
            && (reaches(failed, calls, self.failure_rate) || reaches(slow, calls, self.slow_rate))
    }
}

impl Default for WindowRule {
    fn default() -> Self {
        Self::NONE
    }
}

/// Whether `part` of `whole` is `rate` thousandths or more; a rate of zero is no limit.
const fn reaches(part: u32, whole: u32, rate: u16) -> bool {
    rate > 0 && part as u64 * 1000 >= whole as u64 * rate as u64
}

impl WindowRuleError {
    const fn message(self) -> &'static str {
        match self {
            Self::OfLast => "a window looks at 1 to 1024 outcomes, no fewer than its failures",
            Self::Within => "a window over a time is 50 ms to 24 h long",
            Self::Rate => "a rate is 1 to 1000 thousandths",
            Self::SlowAfter => "an outcome is slow after 1 ms to 24 h",
            Self::MinCalls => "a window asks for 1 to 100000 outcomes",
        }
    }
}

impl core::fmt::Display for WindowRuleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for WindowRuleError {}

/// Words of a rule.
pub(crate) const WINDOW_RULE_WORDS: usize = 8;
pub(super) const MOST_OUTCOMES: u32 = 1024;
const MOST_CALLS: u32 = 100_000;
const DAY: u64 = 86_400_000_000;
