//! How long to wait before the next attempt: a pure function of its number and of random bits.

use core::fmt;
use core::time::Duration;

use crate::clock::{duration, micros};
use crate::fault;

/// A schedule of waits. Lengths are up to an hour, in whole microseconds, rounded up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    growth: Growth,
    multiplier: u32,
    min: u32,
    max: u32,
    jitter: Jitter,
}

/// How waits grow with the number k = 1, 2, … of failed attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Growth {
    /// `multiplier`
    Constant,
    /// `multiplier · k`
    Linear,
    /// `multiplier · 2^(k-1)`
    Exponential,
}

/// What chance adds to, or takes from, the wait `d` that the schedule gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter {
    /// `d`
    None,
    /// `d + U[0, j)`. The sum is not capped again.
    Additive(Duration),
    /// `U[0, d]`
    Full,
    /// `d/2 + U[0, d/2]`
    Equal,
    /// `min(max, U[min, 3 · previous wait])`, whatever the growth. It grows from `min`, which must
    /// not be zero for that.
    Decorrelated,
}

/// What is wrong with a [`Backoff`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BackoffError {
    /// A length is an hour at most.
    TooLong,
    /// The shortest wait is shorter than the longest.
    MinNotBelowMax,
}

impl Backoff {
    pub(super) const NONE: Self = Self::unbounded(Growth::Constant, 0);

    /// The same wait each time, without jitter.
    #[must_use]
    pub const fn constant(wait: Duration) -> Self {
        match short(wait) {
            Some(wait) => Self::unbounded(Growth::Constant, wait),
            None => panic!("{}", BackoffError::TooLong.message()),
        }
    }

    /// `max(min, min(multiplier · k, max))` after the k-th failed attempt, without jitter.
    #[must_use]
    pub const fn linear(multiplier: Duration, min: Duration, max: Duration) -> Self {
        match Self::try_new(Growth::Linear, multiplier, min, max) {
            Ok(backoff) => backoff,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// `max(min, min(multiplier · 2^(k-1), max))` after the k-th failed attempt, without jitter.
    #[must_use]
    pub const fn exponential(multiplier: Duration, min: Duration, max: Duration) -> Self {
        match Self::try_new(Growth::Exponential, multiplier, min, max) {
            Ok(backoff) => backoff,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// `growth` between `min` and `max`, for lengths that come at run time.
    ///
    /// # Errors
    ///
    /// A length is more than an hour, or `min` is not below `max`.
    pub const fn try_new(
        growth: Growth,
        multiplier: Duration,
        min: Duration,
        max: Duration,
    ) -> Result<Self, BackoffError> {
        match (short(multiplier), short(min), short(max)) {
            (Some(_), Some(min), Some(max)) if min >= max => Err(BackoffError::MinNotBelowMax),
            (Some(multiplier), Some(min), Some(max)) => {
                Ok(Self { growth, multiplier, min, max, jitter: Jitter::None })
            }
            _ => Err(BackoffError::TooLong),
        }
    }

    /// Leaves that much to chance.
    #[must_use]
    pub const fn jitter(self, jitter: Jitter) -> Self {
        match self.try_jitter(jitter) {
            Ok(backoff) => backoff,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a length that comes at run time.
    ///
    /// # Errors
    ///
    /// The jitter is more than an hour.
    pub const fn try_jitter(self, jitter: Jitter) -> Result<Self, BackoffError> {
        match jitter {
            Jitter::Additive(most) if short(most).is_none() => Err(BackoffError::TooLong),
            _ => Ok(Self { jitter, ..self }),
        }
    }

    pub(super) const fn to_words(self) -> [u32; 5] {
        let (kind, most) = match self.jitter {
            Jitter::None => (0, 0),
            Jitter::Additive(most) => (1, micros(most) as u32),
            Jitter::Full => (2, 0),
            Jitter::Equal => (3, 0),
            Jitter::Decorrelated => (4, 0),
        };
        let growth = match self.growth {
            Growth::Constant => 0,
            Growth::Linear => 1,
            Growth::Exponential => 2,
        };
        [growth << 8 | kind, self.multiplier, self.min, self.max, most]
    }

    /// What [`to_words`](Self::to_words) gave.
    pub(super) const fn from_words([kinds, multiplier, min, max, most]: [u32; 5]) -> Self {
        let growth = match kinds >> 8 {
            0 => Growth::Constant,
            1 => Growth::Linear,
            _ => Growth::Exponential,
        };
        let jitter = match kinds & 0xff {
            0 => Jitter::None,
            1 => Jitter::Additive(duration(most as u64)),
            2 => Jitter::Full,
            3 => Jitter::Equal,
            _ => Jitter::Decorrelated,
        };
        Self { growth, multiplier, min, max, jitter }
    }

    /// How the waits grow.
    #[must_use]
    pub const fn growth(&self) -> Growth {
        self.growth
    }

    /// What they grow from.
    #[must_use]
    pub const fn multiplier(&self) -> Duration {
        duration(self.multiplier as u64)
    }

    /// The shortest, before jitter.
    #[must_use]
    pub const fn min(&self) -> Duration {
        duration(self.min as u64)
    }

    /// The longest, before jitter.
    #[must_use]
    pub const fn max(&self) -> Duration {
        duration(self.max as u64)
    }

    /// What is left to chance.
    #[must_use]
    pub const fn jitter_kind(&self) -> Jitter {
        self.jitter
    }

    /// The wait after the `failed`-th failed attempt (0 counts as 1), if the wait before it was
    /// `previous`. Never shorter than the formula says for `random` / 2^32.
    #[must_use]
    pub const fn wait(&self, failed: u32, previous: Duration, random: u32) -> Duration {
        duration(self.micros(None, failed, micros(previous), random))
    }

    /// The wait if the service asked for `asked`: as long as that, and as the schedule's own.
    /// Jitter only adds to what was asked.
    #[must_use]
    pub const fn wait_asked(
        &self,
        asked: Duration,
        failed: u32,
        previous: Duration,
        random: u32,
    ) -> Duration {
        match self.micros(Some(micros(asked)), failed, micros(previous), random) {
            u64::MAX => Duration::MAX,
            wait => duration(wait),
        }
    }

    /// [`wait`](Self::wait) in microseconds, or [`wait_asked`](Self::wait_asked).
    pub(super) const fn micros(
        &self,
        asked: Option<u64>,
        failed: u32,
        previous: u64,
        random: u32,
    ) -> u64 {
        let planned = self.planned(failed);
        // What is left to chance, and how much of it there is beyond a wait that was asked for.
        let (chance, beyond) = match self.jitter {
            Jitter::None => (0, 0),
            Jitter::Additive(most) => (micros(most) as u32, micros(most) as u32),
            Jitter::Equal => (planned / 2, planned),
            Jitter::Full | Jitter::Decorrelated => (planned, planned),
        };
        let own = match self.jitter {
            Jitter::Decorrelated => self.decorrelated(previous, random) as u64,
            Jitter::None | Jitter::Additive(_) => planned as u64 + share(chance, random) as u64,
            Jitter::Full | Jitter::Equal => {
                (planned - chance) as u64 + share(chance, random) as u64
            }
        };
        let Some(asked) = asked else { return own };
        let jitter = share(beyond, random) as u64;
        let asked = match fault::EARLY_WAIT {
            true => asked.saturating_sub(jitter),
            false => asked.saturating_add(jitter),
        };
        if asked > own { asked } else { own }
    }

    const fn decorrelated(&self, previous: u64, random: u32) -> u32 {
        let most = if previous < u64::MAX / 3 { previous * 3 } else { u64::MAX };
        let chance = most.saturating_sub(self.min as u64);
        let (high, low) = ((chance >> 32) as u32, chance as u32);
        let wait = (high as u64 * random as u64)
            .saturating_add(share(low, random) as u64)
            .saturating_add(self.min as u64);
        if wait < self.max as u64 { wait as u32 } else { self.max }
    }

    /// The longest wait there can be after the `failed`-th failed attempt.
    #[must_use]
    pub const fn longest(&self, failed: u32) -> Duration {
        match self.jitter {
            Jitter::Decorrelated => duration(self.max as u64),
            _ => self.wait(failed, Duration::ZERO, u32::MAX),
        }
    }

    /// The wait before jitter, in microseconds.
    const fn planned(&self, failed: u32) -> u32 {
        let (multiplier, before) = (self.multiplier, failed.saturating_sub(1));
        let wait = match self.growth {
            Growth::Constant => Some(multiplier),
            Growth::Linear => multiplier.checked_mul(before.saturating_add(1)),
            // Beyond that many doublings any multiplier of a microsecond is past the hour.
            Growth::Exponential if before >= u32::BITS && multiplier > 0 => None,
            Growth::Exponential if multiplier << (before & 31) >> (before & 31) != multiplier => {
                None
            }
            Growth::Exponential => Some(multiplier << (before & 31)),
        };
        match wait {
            Some(wait) if wait < self.min => self.min,
            Some(wait) if wait < self.max => wait,
            _ => self.max,
        }
    }

    const fn unbounded(growth: Growth, multiplier: u32) -> Self {
        Self { growth, multiplier, min: 0, max: multiplier, jitter: Jitter::None }
    }
}

impl BackoffError {
    const fn message(self) -> &'static str {
        match self {
            Self::TooLong => "a back-off's lengths are an hour at most",
            Self::MinNotBelowMax => "a back-off's shortest wait is shorter than its longest",
        }
    }
}

impl fmt::Display for BackoffError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for BackoffError {}

/// Microseconds, if it is an hour at most.
const fn short(length: Duration) -> Option<u32> {
    match micros(length) {
        micros @ 0..=3_600_000_000 => Some(micros as u32),
        _ => None,
    }
}

/// `random` / 2^32 of `whole`, rounded up.
#[inline(never)] // A core that multiplies no more than 32 bits needs much for it.
const fn share(whole: u32, random: u32) -> u32 {
    let product = whole as u64 * random as u64;
    (product >> 32) as u32 + (product as u32 != 0) as u32
}
