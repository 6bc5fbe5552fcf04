//! What is left of a minute's worth, as two words.

use super::word::{Order, WordPair};
use crate::clock::Instant;

/// What was taken of a bucket, in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) struct Part {
    /// The time in which it comes back.
    price: u32,
    /// From when on that time counts: what was missing before comes back first.
    since: u32,
    /// The second in which it was taken.
    second: u32,
}

/// What is left of a minute's worth, as the instant at which it is all there again.
///
/// So a limit is but the price of a request, as the part of a minute in which one comes back, and a
/// bucket goes on whatever the limit becomes. The hot word is that instant, in units of 2^-4 µs; it comes
/// round in 268 s, so the cold word says in which second of 2^20 µs it was last moved, and after two minutes
/// without a call the hot one says nothing: the bucket is full.
#[derive(Debug)]
pub(super) struct Bucket {
    words: WordPair,
}

/// What a call costs: time of the bucket's, of `most` that it holds. Nothing where there is no limit.
#[derive(Clone, Copy)]
pub(super) struct Price {
    pub(super) time: u32,
    pub(super) most: u32,
}

/// An instant as the two words say it.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    units: u32,
    second: u32,
}

/// What a reading says of the second in which a bucket was last moved.
enum Since {
    /// It is now, or was a moment ago: the hot word holds.
    Lately,
    /// It was so long ago that the bucket is full.
    Long,
    /// It is yet to come: the clock was set back.
    Never,
}

impl Bucket {
    pub(super) const fn new() -> Self {
        // By a clock's first readings too, it was moved long ago; and it was full then, for by some
        // readings that is yet to come.
        let long_ago = 0u32.wrapping_sub(IDLE_SECONDS);
        Self { words: WordPair::new(long_ago << SECOND_SHIFT, long_ago) }
    }

    pub(super) fn take(&self, now: Reading, price: Price) -> Result<Part, u32> {
        match price.most {
            0 => Ok(Part { price: 0, since: 0, second: 0 }),
            _ => self.update(now, |missing| price.on_top_of(missing)),
        }
    }

    /// How much longer than `ahead` of `now` it takes until that much is there.
    pub(super) fn lacks(&self, now: Reading, ahead: u32, price: Price) -> u32 {
        if price.most == 0 {
            return 0;
        }
        let (hot, cold) = self.load(now);
        // Told by the reading: by an instant that is yet to come, a clock could have been set back.
        let missing = now.missing(hot, cold).saturating_sub(ahead);
        price.on_top_of(missing).err().unwrap_or(0)
    }

    /// The words; if the clock was set back, as if it had not been: else nothing would come back until
    /// it is where it was.
    fn load(&self, now: Reading) -> (u32, u32) {
        let (hot, cold) = self.words.load();
        match now.since(cold) {
            Since::Never => {
                let next = (now.units.wrapping_add(now.missing(hot, cold)), now.second);
                self.words.replace((hot, cold), next, WHEN_TAKEN);
                self.words.load()
            }
            _ => (hot, cold),
        }
    }

    /// Takes what is more than there is, too.
    pub(super) fn charge(&self, now: Reading, time: u32) {
        // The reading may be one from before the call; nobody is let in by it.
        let (_, cold) = self.words.load();
        let charged = |missing: u32| Ok(missing.saturating_add(time).min(2 * MINUTE));
        // It refuses nothing.
        let _: Result<Part, u32> = self.update(now.or_second(cold), charged);
    }

    /// Replaces what is missing at `now` by what `step` makes of it, unless that refuses.
    fn update(&self, now: Reading, step: impl Fn(u32) -> Result<u32, u32>) -> Result<Part, u32> {
        let mut renewed = false;
        loop {
            let (hot, cold) = self.load(now);
            // Whoever sees the cold word that is about to be written goes by the hot one, so that must
            // say full before. Once: two callers whose clocks differ would undo it for ever.
            if matches!(now.since(cold), Since::Long) && !renewed && hot != now.units && RENEWS {
                self.words.replace((hot, cold), (now.units, cold), Order::HotFirst);
                renewed = true;
                continue;
            }
            let missing = now.missing(hot, cold);
            let more = step(missing)?;
            let next = now.units.wrapping_add(more);
            if self.words.replace((hot, cold), (next, now.second), WHEN_TAKEN) {
                let since = now.units.wrapping_add(missing);
                let price = more.saturating_sub(missing);
                return Ok(Part { price, since, second: now.second });
            }
        }
    }

    /// Gives back what of `part` has not come back by itself, as of when the bucket was last moved.
    pub(super) fn refund(&self, part: Part) {
        let (_, cold) = self.words.load();
        // By a reading of a moment before, it may have been moved after.
        let back = match cold.wrapping_sub(part.second).wrapping_add(STEP_SECONDS) {
            0..=BACK_WITHIN => match (cold << SECOND_SHIFT).wrapping_sub(part.since) {
                passed @ 0..=0x7fff_ffff => passed,
                _ => 0,
            },
            // All of it, or the clock was set back, and nobody knows.
            _ => part.price,
        };
        self.give_back(part.price.saturating_sub(back));
    }

    pub(super) fn give_back(&self, time: u32) {
        loop {
            let (hot, cold) = self.words.load();
            // Full when it was last moved is as full as it gets; and an instant before that could be
            // taken for one to come.
            let next = hot.wrapping_sub(time.min(lead(hot, cold)));
            if self.words.replace((hot, cold), (next, cold), Order::HotFirst) {
                return;
            }
        }
    }
}

impl Price {
    /// What is missing once that is taken too, or how long until it can be.
    const fn on_top_of(self, missing: u32) -> Result<u32, u32> {
        let next = missing.saturating_add(self.time);
        if next <= self.most { Ok(next) } else { Err(next - self.most) }
    }
}

impl Reading {
    pub(super) const fn of(now: Instant) -> Self {
        let micros = now.as_micros();
        Self {
            units: (micros << UNIT_SHIFT) as u32,
            second: (micros >> (SECOND_SHIFT - UNIT_SHIFT)) as u32,
        }
    }

    /// The same, or the beginning of `second` if that is later.
    const fn or_second(self, second: u32) -> Self {
        match second.wrapping_sub(self.second) {
            1..=0x7fff_ffff => Self { units: second << SECOND_SHIFT, second },
            _ => self,
        }
    }

    const fn since(self, moved: u32) -> Since {
        match self.second.wrapping_sub(moved) {
            0..IDLE_SECONDS => Since::Lately,
            IDLE_SECONDS..=0x7fff_ffff => Since::Long,
            // Another caller's reading was a little later.
            passed if passed >= 0u32.wrapping_sub(STEP_SECONDS) => Since::Lately,
            _ => Since::Never,
        }
    }

    /// What is missing by these words.
    fn missing(self, hot: u32, cold: u32) -> u32 {
        match self.since(cold) {
            Since::Lately => at_most_ahead(hot.wrapping_sub(self.units)),
            Since::Long => 0,
            // No more than is ever missing: it counts the second anew each time.
            Since::Never => lead(hot, cold).min(2 * MINUTE),
        }
    }
}

/// What was missing when the bucket was last moved, and up to a second more.
const fn lead(hot: u32, cold: u32) -> u32 {
    at_most_ahead(hot.wrapping_sub(cold << SECOND_SHIFT))
}

/// Whatever is farther ahead has passed.
const fn at_most_ahead(ahead: u32) -> u32 {
    if ahead <= MOST_AHEAD { ahead } else { 0 }
}

/// How far ahead of `now` that is; it saturates, at more than is ever missing.
pub(super) const fn ahead(now: Instant, at: Instant) -> u32 {
    match at.micros_since(now) {
        micros @ 0..=0x0fff_ffff => (micros << UNIT_SHIFT) as u32,
        _ => u32::MAX,
    }
}

/// The time in which `count` of `per_minute` come back, rounded up; where there is no limit, none. It
/// saturates.
pub(super) const fn time(count: u32, per_minute: u32) -> u32 {
    match (count, per_minute) {
        (_, 0) | (0, _) => 0,
        // Where a core divides 64 bits by a function, most calls do without.
        (1, _) => MINUTE.div_ceil(per_minute),
        _ => match (count as u64 * MINUTE as u64).div_ceil(per_minute as u64) {
            time @ 0..=0xffff_ffff => time as u32,
            _ => u32::MAX,
        },
    }
}

// Whoever sees what was taken must see that the bucket is not idle.
#[cfg(not(mutant = "bucket_hot_first"))]
const WHEN_TAKEN: Order = Order::ColdFirst;
// What does not hold, for `tests/loom_limiter.rs` to show which models catch it.
#[cfg(mutant = "bucket_hot_first")]
const WHEN_TAKEN: Order = Order::HotFirst;
const RENEWS: bool = !cfg!(mutant = "bucket_not_renewed");

/// 2^-4 µs a unit.
pub(super) const UNIT_SHIFT: u32 = 4;
pub(super) const MINUTE: u32 = 60_000_000 << UNIT_SHIFT;
/// 2^20 µs a second, in units.
const SECOND_SHIFT: u32 = 20 + UNIT_SHIFT;
/// How far two readings of a clock may disagree.
const STEP_SECONDS: u32 = 8;
/// A minute and a debt of another, to a reading that is older. Nothing is farther ahead.
const MOST_AHEAD: u32 = 2 * MINUTE + ((STEP_SECONDS + 2) << SECOND_SHIFT);
/// What is missing, two minutes at most, is back after so many.
const IDLE_SECONDS: u32 = 2 * MINUTE.div_ceil(1 << SECOND_SHIFT) + 2;
/// What was taken, with all that was missing before, is back after so many.
const REFILLED_SECONDS: u32 = MINUTE.div_ceil(1 << SECOND_SHIFT);
const BACK_WITHIN: u32 = STEP_SECONDS + REFILLED_SECONDS;
// What was moved before that is told from what is to come, when the word comes round.
const _: () = assert!((MOST_AHEAD as u64 + ((IDLE_SECONDS as u64 + 1) << SECOND_SHIFT)) < 1 << 32);
