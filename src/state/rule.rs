//! When a circuit opens, for how long, and how it closes again.

use core::time::Duration;

use crate::clock::{duration, micros};
use crate::fault;

/// When a circuit opens, for how long, and how it closes again. 16 bytes; made anew to change it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    counts: Counts,
    growth: OpenGrowth,
    pub(super) open_for: Span,
    open_max: Span,
    pub(super) lease: Span,
}

/// What a rule counts: failures (11‥16), probes (5‥11), and 32 less the outcomes that are looked at
/// (0‥5), which is how far a history is shifted to leave out the others.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Counts(u16);

/// How much longer an open period is than the one before: the binary logarithm of that, in 2^-14,
/// rounded up. A period is then one multiplication and one power away, however often it grew.
#[derive(Clone, Copy, PartialEq, Eq)]
struct OpenGrowth(u16);

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
        let (counts, growth) = (Counts::new(trip, 1), OpenGrowth::NONE);
        Ok(Self { counts, growth, open_for: open, open_max: Span::DAY, lease })
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
            1..=COUNT => Ok(Self { counts: Counts::new(self.trip(), probes), ..self }),
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
    /// first time to 24 h). From the 15th time on it stays as it is. [`open_period`](Self::open_period)
    /// says how exactly.
    #[must_use]
    pub const fn open_growth(self, tenths: u32, open_max: Duration) -> Self {
        match self.try_open_growth(tenths, open_max) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for numbers that come at run time.
    pub const fn try_open_growth(self, tenths: u32, open_max: Duration) -> Result<Self, RuleError> {
        let Some(growth) = OpenGrowth::try_by(tenths) else {
            return Err(RuleError::Growth);
        };
        match Span::try_new(open_max) {
            Some(open_max) if open_max.0 >= self.open_for.0 => {
                Ok(Self { growth, open_max, ..self })
            }
            _ => Err(RuleError::OpenMax),
        }
    }

    /// When it opens.
    #[must_use]
    pub const fn trip(&self) -> Trip {
        self.counts.trip()
    }

    /// For how long it stays open at first, rounded up to 32 µs.
    #[must_use]
    pub const fn open_for(&self) -> Duration {
        duration(self.open_for.micros())
    }

    /// For how long it stays open at the `level`-th opening since it was last closed: the first
    /// period times the growth to the power of the openings before, rounded up by less than 0.1 % and
    /// 32 µs. Where it grows by two, four or eight, only the 32 µs are left.
    #[must_use]
    pub const fn open_period(&self, level: u32) -> Duration {
        let level = if level < LEVEL { level } else { LEVEL };
        duration(self.open_span(before(level)).micros())
    }

    /// How much longer each open period is than the one before, in tenths: 10 if they do not grow.
    #[must_use]
    pub const fn growth_tenths(&self) -> u32 {
        self.growth.tenths()
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
        self.counts.probes()
    }

    pub(crate) const fn to_words(self) -> [u32; 4] {
        let Self { counts, growth, open_for, open_max, lease } = self;
        let small = counts.0 as u32 | (growth.0 as u32) << u16::BITS;
        [small, open_for.0, open_max.0, lease.0]
    }

    /// What [`to_words`](Self::to_words) gave.
    pub(crate) const fn from_words([small, open_for, open_max, lease]: [u32; 4]) -> Self {
        let (counts, growth) = (Counts(small as u16), OpenGrowth((small >> u16::BITS) as u16));
        let (open_for, open_max, lease) = (Span(open_for), Span(open_max), Span(lease));
        Self { counts, growth, open_for, open_max, lease }
    }

    /// For how long it stays open when it opened so often `before`, 14 times at most.
    #[inline]
    pub(super) const fn open_span(&self, before: u32) -> Span {
        if self.growth.0 > 0 { self.grown_span(before) } else { self.open_for }
    }

    #[inline(never)]
    const fn grown_span(&self, before: u32) -> Span {
        let (doublings, share) = self.growth.times(before);
        // Else both are at most the longest, which is 24 hours, so what follows has room in 32 bits.
        if doublings >= u32::BITS || self.open_for.0 > self.open_max.0 >> doublings {
            return self.open_max;
        }
        let doubled = self.open_for.0 << doublings;
        // Half by half, for cores that multiply 32 bits and no more.
        let more = (doubled >> 16) * share + (((doubled & 0xffff) * share + 0xffff) >> 16);
        match more > self.open_max.0 - doubled {
            true => self.open_max,
            false => Span(doubled + more),
        }
    }
}

impl Counts {
    const fn new(trip: Trip, probes: u32) -> Self {
        let left_out = u32::BITS - trip.window();
        Self((trip.failures() << 11 | probes << 5 | left_out) as u16)
    }

    const fn trip(self) -> Trip {
        let window = u32::BITS - (self.0 & 0x1f) as u32;
        Trip { failures: (self.0 >> 11) as u8, window: window as u8 }
    }

    const fn probes(self) -> u32 {
        self.0 as u32 >> 5 & COUNT
    }
}

impl OpenGrowth {
    const NONE: Self = Self(0);

    const fn try_by(tenths: u32) -> Option<Self> {
        if tenths < TENTHS || MOST_TENTHS < tenths {
            return None;
        }
        let mut logarithm = 0;
        while tenths >= TENTHS << (logarithm + 1) {
            logarithm += 1;
        }
        // What is left is from one to two, in 2^-31. Its square has twice the logarithm, so each gives
        // one more bit.
        let mut left = (((tenths as u64) << 31) / TENTHS as u64) >> logarithm;
        let mut bits = 0;
        while bits < OCTAVE_SHIFT {
            left = (left * left) >> 31;
            let twice = left >> 32;
            logarithm = logarithm << 1 | twice as u32;
            left >>= twice;
            bits += 1;
        }
        let up = (left > 1 << 31) as u32;
        Some(Self((logarithm + up) as u16))
    }

    const fn tenths(self) -> u32 {
        let (doublings, share) = self.times(1);
        (((1 << 16) + share) * TENTHS) << doublings >> 16
    }

    /// So many `times` over: how often that doubles, and how much more than one it is beside, in 2^-16.
    #[inline(always)]
    const fn times(self, times: u32) -> (u32, u32) {
        let logarithm = times * self.0 as u32;
        let part = logarithm & ((1 << OCTAVE_SHIFT) - 1);
        // 2^x - 1 for an x below one, by a polynomial that is 1 at 1 and nowhere less, but for what the
        // logarithm was rounded up by: 0.6953 x + 0.2285 x^2 + 0.0762 x^3. Its constants are of eight
        // bits, which a Cortex-M0 has without a load.
        let third = (39 * part) >> 7;
        let second = ((third + (117 << 7)) * part) >> OCTAVE_SHIFT;
        let share = ((second + (178 << 8)) * part) >> OCTAVE_SHIFT;
        (logarithm >> OCTAVE_SHIFT, share)
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

impl core::fmt::Debug for Rule {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Rule")
            .field("trip", &self.trip())
            .field("open_for", &self.open_for())
            .field("growth_tenths", &self.growth_tenths())
            .field("open_max", &self.open_max())
            .field("probes", &self.probe_count())
            .field("lease", &self.lease_for())
            .finish()
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

    /// In ticks, rounded up, from the beginning of one of which so many microseconds are over.
    pub(super) const fn ticks_from(self, begun: u32) -> u32 {
        // Both round up at once: a tick less one is a span less one and a tick less a span.
        let up = if fault::EARLY_PROBE { 0 } else { (1 << TICK_SHIFT) - 1 };
        self.plus(Self((begun + up) >> SPAN_SHIFT)).0 >> TICK_SPANS
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

    pub(super) const fn micros(self) -> u64 {
        (self.0 as u64) << SPAN_SHIFT
    }
}

/// Openings before that of `level`.
pub(super) const fn before(level: u32) -> u32 {
    level.saturating_sub(1)
}

const _: () = {
    let mut tenths = TENTHS;
    while tenths <= MOST_TENTHS {
        assert!(matches!(OpenGrowth::try_by(tenths), Some(growth) if growth.tenths() == tenths));
        tenths += 1;
    }
};

/// No growth, and the most there is.
const TENTHS: u32 = 10;
const MOST_TENTHS: u32 = 100;
/// 2^14 units of a logarithm are an octave: twice as long.
const OCTAVE_SHIFT: u32 = 14;
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
