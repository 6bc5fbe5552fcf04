//! A window over outcomes.

use super::evidence::{ClosedPhase, Seen};
use super::window_rule::{MOST_OUTCOMES, WindowRule};
use super::word::{AtomicWord, meet};
use crate::fault;

/// A window over outcomes: a bit for each that failed, and one for each that was slow, in two rings.
///
/// The word after the one that is filling is always clear, so that a good outcome writes no bit. Who
/// takes the first place of a word clears the next, and has 32 outcomes' time for it.
///
/// An outcome takes its place, sets its bits, meets the others and judges what there is then: of
/// those that come at once, the last one finds the bits of all.
pub(super) struct Ring<'w> {
    head: &'w AtomicWord,
    failed: &'w [AtomicWord],
    slow: &'w [AtomicWord],
}

/// The head of a ring: an epoch, how many outcomes there are, and where the next one goes.
///
/// | bits | |
/// |---|---|
/// | 26‥32 | epoch of the circuit |
/// | 24‥26 | `01`: a ring |
/// | 23 | clean: the outcomes that there are, and all since, are good |
/// | 11‥23 | outcomes, up to 4095 |
/// | 0‥11 | place of the next one |
#[derive(Clone, Copy, PartialEq, Eq)]
struct RingHead(u32);

impl RingHead {
    const fn is_of(self, epoch: u32) -> bool {
        self.0 >> KIND_SHIFT == epoch << 2 | RING || fault::KEPT_WINDOW && self.is_ring()
    }

    const fn is_ring(self) -> bool {
        self.0 >> KIND_SHIFT & 3 == RING
    }

    const fn is_clean(self) -> bool {
        self.0 & CLEAN != 0
    }

    const fn filled(self) -> u32 {
        self.0 >> PLACE_BITS & OUTCOMES
    }

    const fn place(self) -> u32 {
        self.0 & PLACES
    }

    /// Where the last outcome went.
    const fn newest(self, places: u32) -> u32 {
        let next = self.place();
        if next > 0 { next - 1 } else { places - 1 }
    }

    /// Whether a word is the one that is kept clear.
    const fn keeps_clear(self, word: u32, places: u32) -> bool {
        let next = self.newest(places) / WORD + 1;
        word == if next * WORD < places { next } else { 0 }
    }

    const fn new(epoch: u32, filled: u32, place: u32) -> Self {
        let filled = if filled < OUTCOMES { filled } else { OUTCOMES };
        Self((epoch << 2 | RING) << KIND_SHIFT | filled << PLACE_BITS | place)
    }

    /// With one outcome more, of as many places as there are.
    const fn next(self, epoch: u32, places: u32) -> Self {
        let place = if self.place() + 1 < places { self.place() + 1 } else { 0 };
        Self::new(epoch, self.filled() + 1, place)
    }

    /// Without an outcome, in the clear word of a ring of so many places.
    const fn anew(self, epoch: u32, places: u32) -> Self {
        // Whatever else had the head, its place is in range.
        let place = if self.is_ring() { self.place() } else { 0 };
        let word = place.div_ceil(WORD) * WORD;
        Self::new(epoch, 0, if word < places { word } else { 0 })
    }
}

impl<'w> Ring<'w> {
    pub(super) fn of(head: &'w AtomicWord, cells: &'w [AtomicWord]) -> Self {
        // As many of each, and no more than the head counts places.
        let words = (cells.len() / 2).min(FULL_WINDOW / 2);
        let (failed, rest) = cells.split_at_checked(words).unwrap_or_default();
        let (slow, _) = rest.split_at_checked(words).unwrap_or_default();
        Self { head, failed, slow }
    }

    pub(super) fn enter(&self, rule: &WindowRule, phase: ClosedPhase<'_>, seen: Seen) -> bool {
        let (epoch, looks_at) = (phase.epoch(), rule.looks_at());
        let Some(mine) = self.take_place(phase, |head| {
            seen.is_good() && head.is_clean() && head.filled() >= looks_at
        }) else {
            return false;
        };
        self.mark(epoch, mine.newest(self.places()), seen);
        meet();
        // The newest place by now: whoever took it may not have found these bits.
        let head = if TO_OWN_PLACE { mine } else { RingHead(self.head.load()) };
        if !head.is_of(epoch) {
            return false;
        }
        if seen.is_good() && head.filled() >= looks_at && self.bad(head, looks_at) == 0 {
            // Older ones are forgotten, for a rule that comes to look at more.
            let clean = RingHead::new(epoch, looks_at, head.place()).0 | CLEAN;
            self.head.update(|word| (if word == head.0 { clean } else { word }, ()));
            meet();
            // Of a bit that is set meanwhile, whoever set it finds this, or this finds the bit.
            if self.bad(head, looks_at) == 0 {
                return false;
            }
        }
        if !CLEAN_KEPT {
            self.head.update(|word| {
                (if RingHead(word).is_of(epoch) { word & !CLEAN } else { word }, ())
            });
        }
        self.judges(rule, head)
    }

    /// Takes the next place: unless the phase is over, or there is none needed.
    fn take_place(
        &self,
        phase: ClosedPhase<'_>,
        needs_none: impl Fn(RingHead) -> bool,
    ) -> Option<RingHead> {
        let (epoch, places) = (phase.epoch(), self.places());
        let taken = self.head.update_published(|word| {
            let head = RingHead(word);
            let head = match head.is_of(epoch) {
                true if needs_none(head) => return (word, None),
                true => head,
                // Asked after the head was read: a phase that this one gives way to has begun then.
                false if !STRAGGLERS && phase.is_over() => return (word, None),
                false => {
                    let anew = head.anew(epoch, places);
                    self.begin(word, anew.place() / WORD);
                    anew
                }
            };
            let next = head.next(epoch, places);
            (next.0, Some(next))
        })?;
        let place = taken.newest(places);
        if place % WORD == 0 {
            let clear = if place + WORD < places { place / WORD + 1 } else { 0 };
            for cell in self.both(clear) {
                empty(cell, || {
                    let head = RingHead(self.head.published());
                    head.is_of(epoch) && head.keeps_clear(clear, places)
                });
            }
        }
        Some(taken)
    }

    /// Sees to it that an epoch begins in a clear word, under the head that it found.
    fn begin(&self, head: u32, word: u32) {
        let found = || self.head.published() == head;
        match RingHead(head).is_ring() {
            true => self.both(word).for_each(|cell| empty(cell, found)),
            // What slices counted is no outcome.
            false => {
                [self.failed, self.slow].into_iter().flatten().for_each(|cell| empty(cell, found))
            }
        }
    }

    /// Sets the bits of what an outcome was, unless its word is another's by now. And clears them where
    /// it was good: whoever was to clear the word may be held up, and nobody else would.
    fn mark(&self, epoch: u32, place: u32, seen: Seen) {
        for (is, words) in [(seen.failed, self.failed), (seen.slow, self.slow)] {
            if let Some(cell) = words.get((place / WORD) as usize) {
                let bit = 1 << (place % WORD);
                cell.update_published(|bits| {
                    let head = RingHead(self.head.published());
                    let gone = !head.is_of(epoch) || head.keeps_clear(place / WORD, self.places());
                    match (gone, is) {
                        (true, _) => (bits, ()),
                        (false, true) => (bits | bit, ()),
                        (false, false) if UNCLEARED => (bits, ()),
                        (false, false) => (bits & !bit, ()),
                    }
                });
            }
        }
    }

    fn judges(&self, rule: &WindowRule, head: RingHead) -> bool {
        let failures = rule.failures.into();
        if failures > 0 && self.ones(self.failed, head, rule.failures_of.into()) >= failures {
            return true;
        }
        let of_last = rule.of_last.into();
        let (failed, slow) =
            (self.ones(self.failed, head, of_last), self.ones(self.slow, head, of_last));
        rule.judges(head.filled().min(of_last), failed, slow)
    }

    fn bad(&self, head: RingHead, of_last: u32) -> u32 {
        self.ones(self.failed, head, of_last) + self.ones(self.slow, head, of_last)
    }

    /// Bits of the last outcomes, as many as there are.
    fn ones(&self, words: &[AtomicWord], head: RingHead, of_last: u32) -> u32 {
        ones(words, head.newest(self.places()), of_last.min(head.filled()))
    }

    const fn places(&self) -> u32 {
        self.failed.len() as u32 * WORD
    }

    fn both(&self, word: u32) -> impl Iterator<Item = &'w AtomicWord> {
        [self.failed, self.slow].into_iter().filter_map(move |words| words.get(word as usize))
    }
}

/// Forgets what the closed phase `epoch` saw, whichever window that was.
pub(super) fn forget(head: &AtomicWord, epoch: u32) {
    let is_of = |word: u32| word != 0 && word >> EPOCH_SHIFT == epoch;
    head.update_published(|word| (if is_of(word) && !fault::KEPT_WINDOW { 0 } else { word }, ()));
}

/// Empties a word while it `is_idle`: what comes into it afterwards stays.
pub(super) fn empty(cell: &AtomicWord, is_idle: impl Fn() -> bool) {
    cell.update_published(|word| {
        let emptied = word != 0 && !UNEMPTIED && (BLINDLY || is_idle());
        (if emptied { 0 } else { word }, ())
    });
}

/// Bits that are set among the last `count` up to `place`, around the ring.
fn ones(words: &[AtomicWord], place: u32, count: u32) -> u32 {
    let (mut place, mut left, mut sum) = (place, count, 0);
    while left > 0 {
        let bits = (place % WORD + 1).min(left);
        let mask = (u32::MAX >> (WORD - bits)) << (place % WORD + 1 - bits);
        sum += words.get((place / WORD) as usize).map_or(0, |cell| cell.load() & mask).count_ones();
        left -= bits;
        place = if place >= bits { place - bits } else { words.len() as u32 * WORD - 1 };
    }
    sum
}

/// The words that a ring of so many outcomes needs.
pub(super) const fn words(outcomes: u32) -> usize {
    // One word is filling and the next is clear: those are not looked at in whole.
    2 * (outcomes.div_ceil(WORD) as usize + 2)
}

/// Words of a window for any rule: 1024 outcomes, or 22 slices of a time.
pub const FULL_WINDOW: usize = words(MOST_OUTCOMES);
/// Outcomes a word.
const WORD: u32 = u32::BITS;
pub(super) const KIND_SHIFT: u32 = 24;
const EPOCH_SHIFT: u32 = KIND_SHIFT + 2;
const RING: u32 = 1;
const CLEAN: u32 = 1 << 23;
const PLACE_BITS: u32 = 11;
const PLACES: u32 = (1 << PLACE_BITS) - 1;
const OUTCOMES: u32 = (1 << 12) - 1;

// What `tests/loom.rs` breaks.
/// What came after its own place is none of an outcome's business.
pub(super) const TO_OWN_PLACE: bool = cfg!(mutant = "to_own_place");
/// Whoever fails leaves it to others that the window is said to be clean.
const CLEAN_KEPT: bool = cfg!(mutant = "clean_kept");
/// An outcome of a phase that is over begins it anew.
pub(super) const STRAGGLERS: bool = cfg!(mutant = "stragglers");
/// What is emptied may have come to use.
const BLINDLY: bool = cfg!(mutant = "blindly");
/// What is to be emptied stays as it is.
const UNEMPTIED: bool = cfg!(mutant = "unemptied");
/// A good outcome leaves its place as it is.
const UNCLEARED: bool = cfg!(mutant = "uncleared");
