//! A window over a time.

use super::evidence::{ClosedPhase, Seen};
use super::ring::{FULL_WINDOW, KIND_SHIFT, STRAGGLERS, TO_OWN_PLACE, empty};
use super::window_rule::WindowRule;
use super::word::{AtomicWord, meet};
use crate::clock::Instant;
use crate::fault;

/// A window over a time, in slices of it: how many outcomes each saw, how many failures, how many slow.
///
/// A count belongs to the epoch and the slice that it carries, so that a slice that begins finds nothing.
///
/// | bits | |
/// |---|---|
/// | 26‥32 | epoch of the circuit |
/// | 18‥26 | number of the slice, modulo 256 |
/// | 0‥18 | outcomes |
pub(super) struct Slices<'w> {
    head: &'w AtomicWord,
    calls: &'w [AtomicWord],
    failed: &'w [AtomicWord],
    slow: &'w [AtomicWord],
}

/// What became of an outcome.
#[derive(Clone, Copy)]
enum Counted {
    One,
    /// And there is no room for another.
    Last,
    Not,
}

/// The slice that an outcome belongs to.
#[derive(Clone, Copy)]
struct Slice {
    epoch: u32,
    number: u64,
}

impl<'w> Slices<'w> {
    pub(super) fn of(head: &'w AtomicWord, cells: &'w [AtomicWord]) -> Self {
        // No more than numbers tell apart, however seldom there is an outcome.
        let slices = (cells.len() / COUNTS).min(FULL_WINDOW / COUNTS);
        let (calls, rest) = cells.split_at_checked(slices).unwrap_or_default();
        let (failed, rest) = rest.split_at_checked(slices).unwrap_or_default();
        let (slow, _) = rest.split_at_checked(slices).unwrap_or_default();
        Self { head, calls, failed, slow }
    }

    pub(super) fn enter(
        &self,
        rule: &WindowRule,
        phase: ClosedPhase<'_>,
        seen: Seen,
        now: Instant,
        within: u64,
    ) -> bool {
        let length = within.div_ceil(self.count().max(1)).max(1);
        // Slices of another length are numbered far from these, but for some three in a million instants:
        // what counted in them does not in these.
        let apart = length.wrapping_mul(SCATTERS) & u64::from(SLICE_NUMBERS);
        let reading = (now.as_micros() / length).saturating_add(apart);
        let Some(slice) = self.find(phase, reading) else { return false };
        self.count_in(slice, seen);
        meet();
        let Some(slice) = self.newest(slice) else { return false };
        // Outcomes last, for those that were counted as failed are among them by then; and first, for
        // they may be halved meanwhile.
        let [before, failed, slow, after] =
            [self.calls, self.failed, self.slow, self.calls].map(|counts| self.sum(slice, counts));
        rule.judges(before.max(after), failed, slow)
    }

    /// The slice that is filling, by the readings up to this one: unless the phase is over.
    fn find(&self, phase: ClosedPhase<'_>, reading: u64) -> Option<Slice> {
        let epoch = phase.epoch();
        self.head.update_published(|head| {
            let is_of = is_slice_of(head, epoch);
            // As in a ring.
            if !is_of && !STRAGGLERS && phase.is_over() {
                return (head, None);
            }
            let ahead = head.wrapping_sub(reading as u32) & SLICE_NUMBERS;
            let behind = (SLICE_NUMBERS + 1 - ahead) & SLICE_NUMBERS;
            if is_of && u64::from(ahead) < self.count() {
                // Of two readings out of order the later one holds.
                let number = reading.saturating_add(ahead.into());
                return (head, Some(Slice { epoch, number }));
            }
            let found = || self.head.published() == head;
            if !is_of || u64::from(behind) >= self.count() {
                // Nothing of what is there counts, whatever its numbers look like.
                self.counts().flatten().for_each(|cell| empty(cell, found));
            } else {
                // A count that nobody writes any more would be one of this slice again when numbers
                // come round.
                for back in 0..behind.into() {
                    let place = self.place(Slice { epoch, number: reading.wrapping_sub(back) });
                    let cells = self.counts().filter_map(|counts| counts.get(place));
                    cells.for_each(|cell| empty(cell, found));
                }
            }
            let next = (epoch << 2 | SLICES) << KIND_SHIFT | reading as u32 & SLICE_NUMBERS;
            (next, Some(Slice { epoch, number: reading }))
        })
    }

    /// Counts an outcome in its slice, unless its counters are another's by now.
    fn count_in(&self, slice: Slice, seen: Seen) {
        let place = self.place(slice);
        let count = |counts: &[AtomicWord]| {
            let count = |word| match self.newest(slice) {
                Some(_) => slice.counted(word),
                None => (word, Counted::Not),
            };
            counts.get(place).map_or(Counted::Not, |cell| cell.update_published(count))
        };
        let counted = count(self.calls);
        if let Counted::Not = counted {
            return;
        }
        for (is, counts) in [(seen.failed, self.failed), (seen.slow, self.slow)] {
            if is {
                count(counts);
            }
        }
        if let Counted::Last = counted {
            // As many of each as of all: what is asked for is a rate. All of them last, and until then
            // none is counted.
            let order = match HALVED_FIRST {
                true => [self.calls, self.failed, self.slow],
                false => [self.failed, self.slow, self.calls],
            };
            for counts in order {
                if let Some(cell) = counts.get(place) {
                    cell.update_published(|word| (slice.halved(word), ()));
                }
            }
        }
    }

    /// Outcomes in the slices up to this one.
    fn sum(&self, slice: Slice, counts: &[AtomicWord]) -> u32 {
        let seen = self.count().saturating_sub(fault::LOST_SLICE.into());
        let slices = (0..seen).filter_map(|back| slice.before(back));
        let of = |slice| {
            counts.get(self.place(slice)).map_or(0, |cell| slice.count_in(cell.published()))
        };
        slices.map(of).sum()
    }

    /// The slice that is filling by now, if this one is still looked at.
    fn newest(&self, slice: Slice) -> Option<Slice> {
        let head = self.head.published();
        let ahead = u64::from(head.wrapping_sub(slice.number as u32) & SLICE_NUMBERS);
        let number = slice.number.saturating_add(if TO_OWN_PLACE { 0 } else { ahead });
        (is_slice_of(head, slice.epoch) && ahead < self.count())
            .then_some(Slice { number, ..slice })
    }

    fn place(&self, slice: Slice) -> usize {
        (slice.number % self.count().max(1)) as usize
    }

    const fn count(&self) -> u64 {
        self.calls.len() as u64
    }

    /// In the order in which to empty them: outcomes last, so that nobody takes a rate for more than it is.
    fn counts(&self) -> impl Iterator<Item = &'w [AtomicWord]> {
        [self.failed, self.slow, self.calls].into_iter()
    }
}

impl Slice {
    fn before(self, back: u64) -> Option<Self> {
        Some(Self { number: self.number.checked_sub(back)?, ..self })
    }

    const fn tag(self) -> u32 {
        self.epoch << TAG_NUMBER_BITS | self.number as u32 & TAG_NUMBERS
    }

    /// What a word says of it.
    const fn count_in(self, word: u32) -> u32 {
        if word >> SLICE_SHIFT == self.tag() { word & SLICE_COUNT } else { 0 }
    }

    /// The same word with one outcome more, if there is room for it.
    const fn counted(self, word: u32) -> (u32, Counted) {
        let tag = self.tag() << SLICE_SHIFT;
        match self.count_in(word) {
            SLICE_COUNT => (word, Counted::Not),
            LAST => (tag | SLICE_COUNT, Counted::Last),
            count => (tag | (count + 1), Counted::One),
        }
    }

    /// The same word with half of what it says of it.
    const fn halved(self, word: u32) -> u32 {
        word - self.count_in(word).div_ceil(2)
    }
}

const fn is_slice_of(head: u32, epoch: u32) -> bool {
    head >> KIND_SHIFT == epoch << 2 | SLICES
}

const SLICES: u32 = 2;
/// Fewer slices would be no window that slides.
pub(super) const FEWEST_SLICES: usize = 4;
/// What a slice counts.
pub(super) const COUNTS: usize = 3;
const SLICE_NUMBERS: u32 = (1 << 24) - 1;
/// Lengths that are near each other, or multiples, are far apart by it: 2^32 divided by the golden ratio.
const SCATTERS: u64 = 0x9e37_79b9;
/// Half of them are still as many outcomes as a rule may ask for.
const SLICE_SHIFT: u32 = 18;
// No loom counts farther than four bits.
const SLICE_COUNT: u32 = if cfg!(loom) { 15 } else { (1 << SLICE_SHIFT) - 1 };
const LAST: u32 = SLICE_COUNT - 1;
const TAG_NUMBER_BITS: u32 = 8;
const TAG_NUMBERS: u32 = (1 << TAG_NUMBER_BITS) - 1;

// What `tests/loom.rs` breaks.
/// Of a slice that is full, all outcomes are halved before those that failed.
const HALVED_FIRST: bool = cfg!(mutant = "halved_first");
