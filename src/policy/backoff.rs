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
    jitter: Chance,
    /// Of additive jitter.
    added: u32,
}

/// A back-off as executions follow it. How it grows, and what it leaves to chance, is behind pointers:
/// an image links no others than are chosen before it runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) backoff: Backoff,
    grow: Grow,
    draw: Draw,
}

/// What becomes of a multiplier after so many failed attempts before the last one, saturating.
type Grow = fn(u32, u32) -> u32;
/// The wait, of the one before jitter, the one before that wait, and random bits.
type Draw = fn(&Backoff, u32, u64, u32) -> u64;

/// A [`Jitter`] without its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chance {
    None,
    Additive,
    Full,
    Equal,
    Decorrelated,
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
                Ok(Self { growth, multiplier, min, max, jitter: Chance::None, added: 0 })
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
        let (jitter, added) = match jitter {
            Jitter::None => (Chance::None, 0),
            Jitter::Additive(most) => match short(most) {
                Some(most) => (Chance::Additive, most),
                None => return Err(BackoffError::TooLong),
            },
            Jitter::Full => (Chance::Full, 0),
            Jitter::Equal => (Chance::Equal, 0),
            Jitter::Decorrelated => (Chance::Decorrelated, 0),
        };
        Ok(Self { jitter, added, ..self })
    }

    pub(super) const fn to_words(self) -> [u32; 5] {
        let growth = match self.growth {
            Growth::Constant => 0,
            Growth::Linear => 1,
            Growth::Exponential => 2,
        };
        let kinds = growth << 8 | self.jitter as u32;
        [kinds, self.multiplier, self.min, self.max, self.added]
    }

    /// What [`to_words`](Self::to_words) gave.
    pub(super) const fn from_words([kinds, multiplier, min, max, added]: [u32; 5]) -> Self {
        let growth = match kinds >> 8 {
            0 => Growth::Constant,
            1 => Growth::Linear,
            _ => Growth::Exponential,
        };
        let jitter = match kinds & 0xff {
            0 => Chance::None,
            1 => Chance::Additive,
            2 => Chance::Full,
            3 => Chance::Equal,
            _ => Chance::Decorrelated,
        };
        Self { growth, multiplier, min, max, jitter, added }
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
        match self.jitter {
            Chance::None => Jitter::None,
            Chance::Additive => Jitter::Additive(duration(self.added as u64)),
            Chance::Full => Jitter::Full,
            Chance::Equal => Jitter::Equal,
            Chance::Decorrelated => Jitter::Decorrelated,
        }
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
    const fn micros(&self, asked: Option<u64>, failed: u32, previous: u64, random: u32) -> u64 {
        let planned = self.planned(failed);
        let own = match self.jitter {
            Chance::None => self.certain(planned, previous, random),
            Chance::Additive => self.additive(planned, previous, random),
            Chance::Full => self.full(planned, previous, random),
            Chance::Equal => self.equal(planned, previous, random),
            Chance::Decorrelated => self.decorrelated(planned, previous, random),
        };
        match asked {
            Some(asked) => self.at_least(asked, own, planned, random),
            None => own,
        }
    }

    const fn certain(&self, planned: u32, _previous: u64, _random: u32) -> u64 {
        planned as u64
    }

    const fn additive(&self, planned: u32, _previous: u64, random: u32) -> u64 {
        planned as u64 + share(self.added, random) as u64
    }

    const fn full(&self, planned: u32, _previous: u64, random: u32) -> u64 {
        share(planned, random) as u64
    }

    const fn equal(&self, planned: u32, _previous: u64, random: u32) -> u64 {
        (planned - planned / 2) as u64 + share(planned / 2, random) as u64
    }

    const fn decorrelated(&self, _planned: u32, previous: u64, random: u32) -> u64 {
        let most = if previous < u64::MAX / 3 { previous * 3 } else { u64::MAX };
        let chance = most.saturating_sub(self.min as u64);
        let (high, low) = ((chance >> 32) as u32, chance as u32);
        let wait = (high as u64 * random as u64)
            .saturating_add(share(low, random) as u64)
            .saturating_add(self.min as u64);
        if wait < self.max as u64 { wait } else { self.max as u64 }
    }

    /// The later of the wait `asked` for, to which jitter adds, and of its `own`.
    const fn at_least(&self, asked: u64, own: u64, planned: u32, random: u32) -> u64 {
        let most = match self.jitter {
            Chance::None | Chance::Additive => self.added,
            Chance::Full | Chance::Equal | Chance::Decorrelated => planned,
        };
        let jitter = share(most, random) as u64;
        let asked = match fault::EARLY_WAIT {
            true => asked.saturating_sub(jitter),
            false => asked.saturating_add(jitter),
        };
        if asked > own { asked } else { own }
    }

    /// The longest wait there can be after the `failed`-th failed attempt.
    #[must_use]
    pub const fn longest(&self, failed: u32) -> Duration {
        match self.jitter {
            Chance::Decorrelated => duration(self.max as u64),
            _ => self.wait(failed, Duration::ZERO, u32::MAX),
        }
    }

    /// The wait before jitter, in microseconds.
    const fn planned(&self, failed: u32) -> u32 {
        let before = failed.saturating_sub(1);
        self.bounded(match self.growth {
            Growth::Constant => constant(self.multiplier, before),
            Growth::Linear => linear(self.multiplier, before),
            Growth::Exponential => exponential(self.multiplier, before),
        })
    }

    const fn bounded(&self, wait: u32) -> u32 {
        match wait {
            wait if wait < self.min => self.min,
            wait if wait < self.max => wait,
            _ => self.max,
        }
    }

    const fn unbounded(growth: Growth, multiplier: u32) -> Self {
        Self { growth, multiplier, min: 0, max: multiplier, jitter: Chance::None, added: 0 }
    }
}

impl Schedule {
    pub(super) const NONE: Self = Self::of(Backoff::unbounded(Growth::Constant, 0));

    pub(super) const fn of(backoff: Backoff) -> Self {
        let grow: Grow = match backoff.growth {
            Growth::Constant => constant,
            Growth::Linear => linear,
            Growth::Exponential => exponential,
        };
        let draw: Draw = match backoff.jitter {
            Chance::None => Backoff::certain,
            Chance::Additive => Backoff::additive,
            Chance::Full => Backoff::full,
            Chance::Equal => Backoff::equal,
            Chance::Decorrelated => Backoff::decorrelated,
        };
        Self { backoff, grow, draw }
    }

    /// [`Backoff::wait`] in microseconds, or [`Backoff::wait_asked`].
    pub(super) fn micros(
        &self,
        asked: Option<u64>,
        failed: u32,
        previous: u64,
        random: u32,
    ) -> u64 {
        let Self { backoff, grow, draw } = self;
        let planned = backoff.bounded(grow(backoff.multiplier, failed.saturating_sub(1)));
        let own = draw(backoff, planned, previous, random);
        match asked {
            Some(asked) => backoff.at_least(asked, own, planned, random),
            None => own,
        }
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

const fn constant(multiplier: u32, _before: u32) -> u32 {
    multiplier
}

const fn linear(multiplier: u32, before: u32) -> u32 {
    multiplier.saturating_mul(before.saturating_add(1))
}

const fn exponential(multiplier: u32, before: u32) -> u32 {
    let grown = multiplier << (before & 31);
    // Beyond that many doublings any multiplier of a microsecond is past the hour.
    let lost = before >= u32::BITS && multiplier > 0 || grown >> (before & 31) != multiplier;
    if lost { u32::MAX } else { grown }
}

/// `random` / 2^32 of `whole`, rounded up.
#[inline(never)] // A core that multiplies no more than 32 bits needs much for it.
const fn share(whole: u32, random: u32) -> u32 {
    let product = whole as u64 * random as u64;
    (product >> 32) as u32 + (product as u32 != 0) as u32
}
