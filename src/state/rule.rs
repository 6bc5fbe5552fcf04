//! When a circuit opens, for how long, and how it closes again.

use core::time::Duration;

use crate::clock::{duration, micros};
use crate::fault;

/// When a circuit opens, for how long, and how it closes again. 16 bytes; made anew to change it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    trip: Trip,
    probes: u8,
    growth: u8,
    pub(super) open_for: Span,
    open_max: Span,
    pub(super) lease: Span,
}

/// How many failures among how many outcomes open a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Trip {
    failures: u8,
    window: u8,
}

/// What is wrong with a [`Rule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RuleError {
    /// It opens after 1 to 23 failures.
    Failures,
    /// The failures are counted among as many outcomes or more, up to 23.
    Window,
    /// It stays open for 50 ms to 24 h.
    OpenFor,
    /// It makes 1 to 63 probes.
    Probes,
    /// A probe may take 50 ms to 24 h.
    Lease,
    /// The open period grows by 1.0 to 10.0 times, in tenths.
    Growth,
    /// It grows to its own length or more, up to 24 h.
    OpenMax,
}

impl Trip {
    /// Never opens by its own history: by a [`Window`](super::Window) alone, or by force.
    pub const NEVER: Self = Self { failures: HISTORY as u8 + 1, window: HISTORY as u8 };

    /// Opens after `failures` in a row, 1 to 23.
    #[must_use]
    pub const fn after(failures: u32) -> Self {
        assert!(0 < failures && failures <= HISTORY, "1 to 23 failures");
        Self { failures: failures as u8, window: failures as u8 }
    }

    /// Opens after that many among the last `outcomes` (up to 23), not only in a row.
    #[must_use]
    pub const fn of_last(self, outcomes: u32) -> Self {
        assert!(
            self.failures as u32 <= outcomes && outcomes <= HISTORY,
            "as many outcomes as failures or more, up to 23"
        );
        Self { window: outcomes as u8, ..self }
    }

    /// The failures that open it: more than the outcomes if it is never.
    #[must_use]
    pub const fn failures(self) -> u32 {
        self.failures as u32
    }

    /// The outcomes among which they are counted.
    #[must_use]
    pub const fn window(self) -> u32 {
        self.window as u32
    }
}

impl Rule {
    /// Opens by `trip`, stays open for `open_for` (50 ms to 24 h), closes when one probe succeeds.
    ///
    /// A probe's [lease](Self::lease) is as long as the circuit stays open, and five minutes at least.
    #[must_use]
    pub const fn new(trip: Trip, open_for: Duration) -> Self {
        match Self::try_by(trip, open_for) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for numbers that come at run time.
    pub const fn try_new(
        failures: u32,
        of_last: u32,
        open_for: Duration,
    ) -> Result<Self, RuleError> {
        if failures == 0 || failures > HISTORY {
            return Err(RuleError::Failures);
        }
        if of_last < failures || of_last > HISTORY {
            return Err(RuleError::Window);
        }
        Self::try_by(Trip { failures: failures as u8, window: of_last as u8 }, open_for)
    }

    /// [`new`](Self::new) for a length that comes at run time.
    pub const fn try_by(trip: Trip, open_for: Duration) -> Result<Self, RuleError> {
        let Some(open) = Span::try_new(open_for) else {
            return Err(RuleError::OpenFor);
        };
        let lease = if open.0 > Span::FIVE_MINUTES.0 { open } else { Span::FIVE_MINUTES };
        Ok(Self { trip, probes: 1, growth: TENTHS, open_for: open, open_max: Span::DAY, lease })
    }

    /// Closes when that many probes succeed (1 to 63), and lets as many go at once.
    #[must_use]
    pub const fn probes(self, probes: u32) -> Self {
        match self.try_probes(probes) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a number that comes at run time.
    pub const fn try_probes(self, probes: u32) -> Result<Self, RuleError> {
        match probes {
            1..=COUNT => Ok(Self { probes: probes as u8, ..self }),
            _ => Err(RuleError::Probes),
        }
    }

    /// Replaces probes that have not reported for `lease` (50 ms to 24 h). Longer than an attempt
    /// may take, or its outcome always comes too late.
    #[must_use]
    pub const fn lease(self, lease: Duration) -> Self {
        match self.try_lease(lease) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a length that comes at run time.
    pub const fn try_lease(self, lease: Duration) -> Result<Self, RuleError> {
        match Span::try_new(lease) {
            Some(lease) => Ok(Self { lease, ..self }),
            None => Err(RuleError::Lease),
        }
    }

    /// Stays open longer each time that it opens before it was closed again: `tenths` / 10 times as
    /// long as the time before (10 to 100, which is 1.0 to 10.0), up to `open_max` (as long as the
    /// first time to 24 h). From the 15th time on it stays as it is.
    #[must_use]
    pub const fn open_growth(self, tenths: u32, open_max: Duration) -> Self {
        match self.try_open_growth(tenths, open_max) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for numbers that come at run time.
    pub const fn try_open_growth(self, tenths: u32, open_max: Duration) -> Result<Self, RuleError> {
        if tenths < TENTHS as u32 || tenths > MOST_TENTHS {
            return Err(RuleError::Growth);
        }
        match Span::try_new(open_max) {
            Some(open_max) if open_max.0 >= self.open_for.0 => {
                Ok(Self { growth: tenths as u8, open_max, ..self })
            }
            _ => Err(RuleError::OpenMax),
        }
    }

    /// When it opens.
    #[must_use]
    pub const fn trip(&self) -> Trip {
        self.trip
    }

    /// For how long it stays open at first, rounded up to 32 µs.
    #[must_use]
    pub const fn open_for(&self) -> Duration {
        duration(self.open_for.micros())
    }

    /// For how long it stays open at the `level`-th opening since it was last closed: the first
    /// period times the growth as often as it opened before, each time rounded up, by less
    /// than 0.03 % and 32 µs.
    #[must_use]
    pub const fn open_period(&self, level: u32) -> Duration {
        let level = if level < LEVEL { level } else { LEVEL };
        duration(self.open_span(level).micros())
    }

    /// How much longer each open period is than the one before, in tenths: 10 if they do not grow.
    #[must_use]
    pub const fn growth_tenths(&self) -> u32 {
        self.growth as u32
    }

    /// What the open period grows up to, rounded up to 32 µs: 24 h if not told otherwise.
    #[must_use]
    pub const fn open_max(&self) -> Duration {
        duration(self.open_max.micros())
    }

    /// For how long a probe may not report, rounded up to 32 µs.
    #[must_use]
    pub const fn lease_for(&self) -> Duration {
        duration(self.lease.micros())
    }

    /// Probes that close it, and that go at once.
    #[must_use]
    pub const fn probe_count(&self) -> u32 {
        self.probes as u32
    }

    pub(crate) const fn to_words(self) -> [u32; 4] {
        let Self { trip, probes, growth, open_for, open_max, lease } = self;
        let small = u32::from_le_bytes([trip.failures, trip.window, probes, growth]);
        [small, open_for.0, open_max.0, lease.0]
    }

    /// What [`to_words`](Self::to_words) gave.
    pub(crate) const fn from_words([small, open_for, open_max, lease]: [u32; 4]) -> Self {
        let [failures, window, probes, growth] = small.to_le_bytes();
        let trip = Trip { failures, window };
        let (open_for, open_max, lease) = (Span(open_for), Span(open_max), Span(lease));
        Self { trip, probes, growth, open_for, open_max, lease }
    }

    #[inline]
    pub(super) const fn open_span(&self, level: u32) -> Span {
        if self.growth > TENTHS { self.grown_span(level) } else { self.open_for }
    }

    #[inline(never)]
    const fn grown_span(&self, level: u32) -> Span {
        let factor = growth_factor(self.growth);
        let (mut span, mut left) = (self.open_for, level);
        while left > 1 {
            let Some(grown) = span.times(factor, self.open_max) else {
                return self.open_max;
            };
            span = grown;
            left -= 1;
        }
        span
    }
}

impl RuleError {
    const fn message(self) -> &'static str {
        match self {
            Self::Failures => "a breaker opens after 1 to 23 failures",
            Self::Window => "failures are counted among as many outcomes or more, up to 23",
            Self::OpenFor => "a breaker stays open for 50 ms to 24 h",
            Self::Probes => "a breaker makes 1 to 63 probes",
            Self::Lease => "a probe's lease is 50 ms to 24 h",
            Self::Growth => "an open period grows by 1.0 to 10.0 times: 10 to 100 tenths",
            Self::OpenMax => "an open period grows to its own length or more, up to 24 h",
        }
    }
}

impl core::fmt::Display for RuleError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for RuleError {}

/// A length of 50 ms to 24 h in units of 32 µs, rounded up: as long as 32 bits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(u32);

impl Span {
    /// Longer than most attempts may take: the outcome of a probe that takes longer comes late.
    const FIVE_MINUTES: Self = Self(300_000_000 >> SPAN_SHIFT);
    const DAY: Self = Self((86_400_000_000_u64 >> SPAN_SHIFT) as u32);

    const fn try_new(length: Duration) -> Option<Self> {
        match micros(length) {
            micros @ 50_000..=86_400_000_000 => Some(Self::micros_up(micros)),
            _ => None,
        }
    }

    pub(super) const fn micros_up(micros: u64) -> Self {
        Self(micros.div_ceil(1 << SPAN_SHIFT) as u32)
    }

    /// In ticks, rounded up.
    pub(super) const fn ticks(self) -> u32 {
        self.0.wrapping_add((1 << TICK_SPANS) - 1) >> TICK_SPANS
    }

    /// So many microseconds of a tick, rounded up.
    pub(super) const fn begun(micros: u32) -> Self {
        let up = if fault::EARLY_PROBE { 0 } else { (1 << SPAN_SHIFT) - 1 };
        Self((micros + up) >> SPAN_SHIFT)
    }

    /// In ticks, rounded up, from the beginning of one of which so much is over.
    pub(super) const fn ticks_from(self, begun: Self) -> u32 {
        let until = self.plus(begun);
        if fault::EARLY_PROBE { until.0 >> TICK_SPANS } else { until.ticks() }
    }

    /// Sixteen times as long, in ticks, rounded up.
    pub(super) const fn ticks_of_sixteen(self) -> u32 {
        self.0.wrapping_add((1 << (TICK_SPANS - 4)) - 1) >> (TICK_SPANS - 4)
    }

    /// The sum of two lengths, up to 38 hours.
    #[cfg(not(fault = "unwrap"))]
    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0.wrapping_add(other.0))
    }

    #[cfg(fault = "unwrap")]
    #[expect(clippy::unwrap_used, reason = "planted, to see that an image with it does not link")]
    pub(super) const fn plus(self, other: Self) -> Self {
        Self(self.0.checked_add(other.0).unwrap())
    }

    /// `factor` / 2^12 times as long, rounded up, if that is not more than `longest`, which it was not.
    ///
    /// Half by half, for cores that multiply 32 bits and no more.
    #[inline(always)]
    const fn times(self, factor: u32, longest: Self) -> Option<Self> {
        let (high, low) = ((self.0 >> 16) * factor, (self.0 & 0xffff) * factor);
        // Else the sum is at most 2^20 longer than the longest, which is 2^20 less than 2^32 at most.
        if high > longest.0 >> 4 {
            return None;
        }
        let grown = (high << 4) + ((low + 0xfff) >> 12);
        if grown <= longest.0 { Some(Self(grown)) } else { None }
    }

    pub(super) const fn micros(self) -> u64 {
        (self.0 as u64) << SPAN_SHIFT
    }
}

/// 2^12 / 10 times as much, rounded up.
const fn growth_factor(tenths: u8) -> u32 {
    // Without a division: 2^20 / 10 is 104857.6, and 208 in 256 round up what is not whole already.
    (tenths as u32 * 104_858 + 208) >> 8
}

const _: () = {
    let mut tenths = TENTHS;
    while tenths as u32 <= MOST_TENTHS {
        assert!(growth_factor(tenths) == ((tenths as u32) << 12).div_ceil(TENTHS as u32));
        tenths += 1;
    }
};

/// No growth, and the most there is.
const TENTHS: u8 = 10;
const MOST_TENTHS: u32 = 100;
/// 2^5 µs a unit of a span.
const SPAN_SHIFT: u32 = 5;
/// 2^14 µs a tick.
pub(super) const TICK_SHIFT: u32 = 14;
/// 2^9 units of a span a tick.
const TICK_SPANS: u32 = TICK_SHIFT - SPAN_SHIFT;

// What the circuit's words have room for: outcomes, probes, openings in a row.
pub(super) const HISTORY: u32 = 23;
pub(super) const COUNT: u32 = 0x3f;
pub(super) const LEVEL: u32 = 0xf;
