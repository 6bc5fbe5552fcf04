//! How long calls took: counts on a logarithmic scale.

use core::time::Duration;

use super::word::AtomicWord;
use crate::clock::duration;

/// Eight buckets an octave from 64 µs to 71 min: a quantile is off by 6.25 % at most. 836 bytes.
pub const FINE: usize = 8 * OCTAVES + 1;
/// Two buckets an octave: off by 25 % at most. 212 bytes.
pub const COARSE: usize = 2 * OCTAVES + 1;
/// [`FINE`] of calls, and of attempts beside them. 1672 bytes.
pub const FINE_BOTH: usize = 2 * FINE;
/// [`COARSE`] of calls, and of attempts beside them. 424 bytes.
pub const COARSE_BOTH: usize = 2 * COARSE;
/// One bucket for all: it counts, and knows no quantiles. 4 bytes.
pub const COUNT_ONLY: usize = 1;

/// A histogram of calls, in `BUCKETS` buckets: [`FINE`], [`COARSE`] or [`COUNT_ONLY`]. With twice as
/// many, the second half is one of attempts.
#[derive(Debug)]
pub(crate) struct Histogram<const BUCKETS: usize> {
    buckets: [AtomicWord; BUCKETS],
}

impl<const BUCKETS: usize> Histogram<BUCKETS> {
    pub(crate) const fn new() -> Self {
        assert!(
            matches!(BUCKETS, FINE | COARSE | COUNT_ONLY | FINE_BOTH | COARSE_BOTH),
            "FINE, COARSE, COUNT_ONLY, FINE_BOTH or COARSE_BOTH"
        );
        Self { buckets: [const { AtomicWord::new(0) }; BUCKETS] }
    }

    /// Buckets of calls.
    pub(crate) const CALLS: usize = if BUCKETS % 2 == 0 { BUCKETS / 2 } else { BUCKETS };

    /// Counts a call. Nothing else is written.
    pub(crate) fn record(&self, micros: u64) {
        if let Some(bucket) = self.buckets.get(index(Self::CALLS, micros)) {
            bucket.add_one();
        }
    }

    /// Counts an attempt, where those are counted.
    pub(crate) fn record_attempt(&self, micros: u64) {
        if Self::CALLS < BUCKETS {
            let (_, attempts) = self.buckets.split_at(Self::CALLS);
            if let Some(bucket) = attempts.get(index(Self::CALLS, micros)) {
                bucket.add_one();
            }
        }
    }

    /// How many are in bucket `index`, modulo 2^32.
    pub(crate) fn bucket(&self, index: usize) -> u32 {
        self.buckets.get(index).map_or(0, AtomicWord::counted)
    }

    /// How many calls in all, modulo 2^32.
    pub(crate) fn total(&self) -> u32 {
        self.buckets
            .iter()
            .take(Self::CALLS)
            .fold(0, |sum, bucket| sum.wrapping_add(bucket.counted()))
    }
}

/// The bucket of a length of `micros`, among `buckets`.
#[must_use]
pub(crate) const fn index(buckets: usize, micros: u64) -> usize {
    let per_octave = buckets.saturating_sub(1) / OCTAVES;
    if per_octave == 0 || micros < LEAST {
        return 0;
    }
    let micros = if micros < MOST { micros as u32 } else { u32::MAX };
    let octave = micros.ilog2();
    // The bits below the leading one, as many as tell the buckets of an octave apart.
    let within = (micros << (31 - octave) & !(1 << 31)) >> (31 - per_octave.ilog2());
    1 + (octave - LEAST.ilog2()) as usize * per_octave + within as usize
}

/// The middle of bucket `index` among `buckets`: its upper end for the first, which has no lower.
#[must_use]
pub(crate) const fn value(buckets: usize, index: usize) -> Duration {
    let per_octave = buckets.saturating_sub(1) / OCTAVES;
    if per_octave == 0 || index == 0 {
        return duration(LEAST);
    }
    let (octave, within) = ((index - 1) / per_octave, (index - 1) % per_octave);
    // In halves of a bucket's width: `2 within + 1` of them above the octave's beginning.
    let steps = (2 * (per_octave + within) + 1) as u64;
    duration((LEAST << octave) * steps / (2 * per_octave as u64))
}

/// From 2^6 to 2^32 µs.
const OCTAVES: usize = 26;
const LEAST: u64 = 64;
const MOST: u64 = 1 << 32;
