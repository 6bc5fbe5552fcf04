//! The only atomics, the only loop, the only switch between what provides them.
#![cfg_attr(
    not(loom),
    expect(clippy::disallowed_types, reason = "the one place that shares memory")
)]

use core::sync::atomic::Ordering::{self, Acquire, Relaxed, Release, SeqCst};

// Which atomics: the target's own where it has compare-and-swap (features change nothing there),
// else those that a feature provides. `--cfg sectioned` takes the critical sections anyway, to test
// them on a host.
#[cfg(loom)]
use self::loom_words::{AtomicU32, Total};
#[cfg(all(
    not(loom),
    feature = "critical-section",
    any(sectioned, not(target_has_atomic = "32"))
))]
use self::sectioned::AtomicU32;
#[cfg(all(not(loom), not(sectioned), target_has_atomic = "32"))]
use core::sync::atomic::AtomicU32;
#[cfg(not(loom))]
use core::sync::atomic::fence;
#[cfg(loom)]
use loom::sync::atomic::fence;
#[cfg(all(
    not(loom),
    feature = "portable-atomic",
    not(feature = "critical-section"),
    not(target_has_atomic = "32")
))]
use portable_atomic::AtomicU32;
#[cfg(all(
    not(feature = "portable-atomic"),
    not(feature = "critical-section"),
    not(target_has_atomic = "32")
))]
compile_error!(
    "this target has no compare-and-swap: turn on steadfast's feature `critical-section` (or `portable-atomic`)"
);

// A total is as wide as the target can count atomically: 64 bits on servers, 32 on devices.
#[cfg(all(not(loom), any(sectioned, not(target_has_atomic = "64"))))]
use AtomicU32 as Total;
#[cfg(all(not(loom), not(sectioned), target_has_atomic = "64"))]
use core::sync::atomic::AtomicU64 as Total;

/// What a [`Count`] counts in: it wraps at the width that the target has.
#[cfg(all(not(loom), not(sectioned), target_has_atomic = "64"))]
pub(crate) type Width = u64;
/// What a [`Count`] counts in: it wraps at the width that the target has.
#[cfg(not(all(not(loom), not(sectioned), target_has_atomic = "64")))]
pub(crate) type Width = u32;

/// A shared word that is moved by a pure function.
#[derive(Debug)]
pub(crate) struct AtomicWord(AtomicU32);

impl AtomicWord {
    pub(crate) const fn new(bits: u32) -> Self {
        Self(AtomicU32::new(bits))
    }

    // Relaxed: a word alone is the whole of what it says, so there is nothing beside it to see.
    pub(crate) fn load(&self) -> u32 {
        self.0.load(Relaxed)
    }

    /// Replaces the word by what `step` makes of it, and returns what else `step` says.
    ///
    /// `step` runs again when another caller moved the word meanwhile, so it must be pure. One
    /// that leaves the word as it is costs a load and no store.
    pub(crate) fn update<T>(&self, step: impl Fn(u32) -> (u32, T)) -> T {
        self.update_with(Relaxed, Relaxed, step)
    }

    /// As [`update`](Self::update), of a word that goes with others: `step` finds stored what was
    /// stored before the word that it is given, and shows with the next what was stored before that.
    pub(crate) fn update_published<T>(&self, step: impl Fn(u32) -> (u32, T)) -> T {
        self.update_with(Acquire, Release, step)
    }

    /// Counts one. It wraps.
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Release);
    }

    /// The count, with all that was counted before it: see [`Count::add_one`].
    pub(crate) fn counted(&self) -> u32 {
        self.load_with(Acquire)
    }

    /// Stores a word that a later [`publish`](Self::publish) of another shows.
    pub(crate) fn write(&self, bits: u32) {
        self.store(bits, Relaxed);
    }

    /// Stores a word, and shows with it all that was stored before.
    pub(crate) fn publish(&self, bits: u32) {
        self.store(bits, Release);
    }

    /// The word, with all that was stored before it was [published](Self::publish).
    pub(crate) fn published(&self) -> u32 {
        self.load_with(Acquire)
    }

    pub(crate) const fn into_bits(self) -> u32 {
        self.0.into_inner()
    }

    fn update_with<T>(&self, load: Ordering, store: Ordering, step: impl Fn(u32) -> (u32, T)) -> T {
        let mut seen = self.load_with(load);
        loop {
            let (next, output) = step(seen);
            if next == seen {
                return output;
            }
            match self.0.compare_exchange_weak(seen, next, store, load) {
                Ok(_) => return output,
                Err(actual) => seen = actual,
            }
        }
    }

    fn load_with(&self, order: Ordering) -> u32 {
        self.0.load(order)
    }

    fn store(&self, bits: u32, order: Ordering) {
        self.0.store(bits, order);
    }
}

/// Between what a caller stores in some words and what it loads from others. Of two that do so, one at
/// least finds what the other stored: whoever passes here later.
pub(crate) fn meet() {
    if !UNMET {
        fence(SeqCst);
    }
}

/// The right to write, for one caller at a time. Nobody waits for it.
#[derive(Debug)]
pub(crate) struct Writing(AtomicWord);

/// The right to write, given back when dropped.
#[derive(Debug)]
pub(crate) struct Writer<'w>(&'w Writing);

impl Writing {
    pub(crate) const fn new() -> Self {
        Self(AtomicWord::new(0))
    }

    pub(crate) fn try_begin(&self) -> Result<Writer<'_>, Busy> {
        // Acquire, with the release of whoever wrote before: what it wrote is seen.
        match self.0.0.compare_exchange(0, 1, Acquire, Relaxed) {
            Err(_) if !ANYBODY_WRITES => Err(Busy),
            Ok(_) | Err(_) => Ok(Writer(self)),
        }
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.0.0.publish(0);
    }
}

/// Two shared words, of which the hot one decides and the cold one follows.
#[derive(Debug)]
pub(crate) struct WordPair {
    hot: AtomicWord,
    cold: AtomicWord,
}

impl WordPair {
    pub(crate) const fn new(hot: u32, cold: u32) -> Self {
        Self { hot: AtomicWord::new(hot), cold: AtomicWord::new(cold) }
    }

    pub(crate) fn hot(&self) -> u32 {
        self.hot.load()
    }

    /// The two words: the hot one is never older than the cold one.
    pub(crate) fn load(&self) -> (u32, u32) {
        // Acquire, with the release in `update`: whoever sees a word sees the one stored before it.
        let mut cold = self.cold.load_with(Acquire);
        loop {
            let hot = self.hot.load_with(Acquire);
            // Again: one stored before this hot word must not be missed.
            let seen = self.cold.load_with(Acquire);
            if seen == cold {
                return (hot, cold);
            }
            cold = seen;
        }
    }

    /// Replaces the pair by what `step` makes of it, and returns what else `step` says: where both are
    /// moved [together](TOGETHER). Elsewhere it does nothing.
    #[cfg(all(
        not(loom),
        feature = "critical-section",
        any(sectioned, not(target_has_atomic = "32"))
    ))]
    pub(crate) fn update_together<T>(
        &self,
        step: impl FnOnce(u32, u32) -> ((u32, u32), T),
    ) -> Option<T> {
        critical_section::with(|_| {
            let ((hot, cold), output) = step(self.hot.load(), self.cold.load());
            // Whoever reads outside finds a cold word's hot one beside it, and is one behind at most.
            self.hot.0.store_within(hot);
            self.cold.0.store_within(cold);
            Some(output)
        })
    }

    /// Does nothing: a pair is [replaced](Self::replace), and by a loop.
    #[cfg(not(all(
        not(loom),
        feature = "critical-section",
        any(sectioned, not(target_has_atomic = "32"))
    )))]
    pub(crate) fn update_together<T>(
        &self,
        _: impl FnOnce(u32, u32) -> ((u32, u32), T),
    ) -> Option<T> {
        None
    }

    /// Replaces the pair `seen` by `next`, unless another caller did so first.
    ///
    /// The hot word alone decides who won, and moves first: a cold word lost to another caller was
    /// overtaken, so whoever reads must be able to tell a cold word that lags behind its hot word.
    /// With [`Order::ColdFirst`], nobody may see the new hot word with the old cold one; a caller who
    /// then loses the hot word leaves a cold word that must do no harm.
    pub(crate) fn replace(&self, seen: (u32, u32), next: (u32, u32), order: Order) -> bool {
        if seen == next {
            return true;
        }
        let moved = self.update_together(|hot, cold| {
            let found = (hot, cold) == seen;
            (if found { next } else { (hot, cold) }, found)
        });
        if let Some(won) = moved {
            return won;
        }
        // Release throughout: the second store must not be seen before the first.
        let replace = |(word, seen, next): (&AtomicWord, u32, u32)| {
            seen == next || word.0.compare_exchange(seen, next, Release, Relaxed).is_ok()
        };
        let hot = (&self.hot, seen.0, next.0);
        let cold = (&self.cold, seen.1, next.1);
        let (first, second) = match order {
            Order::HotFirst => (hot, cold),
            Order::ColdFirst => (cold, hot),
        };
        replace(first) && (replace(second) || order == Order::HotFirst)
    }
}

/// Whether both words of a [`WordPair`] are moved in one section: whoever moves them finds none that
/// lags behind the other.
pub(crate) const TOGETHER: bool = cfg!(all(
    not(loom),
    feature = "critical-section",
    any(sectioned, not(target_has_atomic = "32"))
));

/// Which word of a [`WordPair`] moves first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    HotFirst,
    ColdFirst,
}

/// A shared total that only grows.
#[derive(Debug)]
pub(crate) struct Count(Total);

impl Count {
    pub(crate) const fn new() -> Self {
        Self(Total::new(0))
    }

    // Release, with the acquire in `load`: whoever sees an end counted sees its beginning counted.
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Release);
    }

    pub(crate) fn load(&self) -> Width {
        self.0.load(Acquire)
    }
}

/// A 64-bit number in 32-bit words, written by one thread at a time and read by any.
#[derive(Debug)]
pub(crate) struct WideWord {
    announced: AtomicWord,
    low: AtomicWord,
    high: AtomicWord,
}

impl WideWord {
    pub(crate) const fn new() -> Self {
        Self { announced: AtomicWord::new(0), low: AtomicWord::new(0), high: AtomicWord::new(0) }
    }

    // The upper half is announced before the lower half changes and stored after it, so a reader
    // that finds it the same on both sides has a lower half that belongs to it.
    pub(crate) fn store(&self, value: u64) {
        let high = (value >> 32) as u32;
        self.announced.store(high, Release);
        self.low.store(value as u32, Release);
        self.high.store(high, Release);
    }

    pub(crate) fn load(&self) -> u64 {
        loop {
            let high = self.high.load_with(Acquire);
            let low = self.low.load_with(Acquire);
            if self.announced.load_with(Acquire) == high {
                return u64::from(high) << 32 | u64::from(low);
            }
        }
    }
}

/// Several words that are read and replaced as one.
///
/// Two copies and a version: a writer fills the copy that nobody reads and flips the version. A
/// reader reads again only if the version moved meanwhile, and waits for no writer.
#[derive(Debug)]
pub(crate) struct Twin<C, const N: usize> {
    /// Lowest bit: which copy is read. Moves by one at each replacement.
    version: AtomicWord,
    copies: [[C; N]; 2],
}

/// It is being replaced by another caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy;

/// A word of a [`Twin`]: an [`AtomicWord`] or a [`Count`].
pub(crate) trait Cell {
    const ZERO: Self;
    type Bits: Copy;
    const NONE: Self::Bits;
    fn bits(&self) -> Self::Bits;
    fn set(&self, bits: Self::Bits);
}

impl<C: Cell, const N: usize> Twin<C, N> {
    pub(crate) const fn new() -> Self {
        Self { version: AtomicWord::new(0), copies: [const { [const { C::ZERO }; N] }; 2] }
    }

    pub(crate) fn load(&self) -> [C::Bits; N] {
        self.load_from(0)
    }

    /// `M` words from the one at `first` on; zeros beyond the last.
    pub(crate) fn load_from<const M: usize>(&self, first: usize) -> [C::Bits; M] {
        self.load_of(first).0
    }

    /// The same, and which version they are of.
    pub(crate) fn load_of<const M: usize>(&self, first: usize) -> ([C::Bits; M], u32) {
        let mut version = self.version.load_with(Acquire);
        loop {
            let words = self.copy_of(version, first);
            let after = self.version.load_with(Relaxed);
            if after == version {
                return (words, version);
            }
            // The acquire that the relaxed load above was not.
            version = self.version.load_with(Acquire);
        }
    }

    /// The words before the replacement that made `version`, if nobody has begun the next one.
    pub(crate) fn load_before(&self, version: u32) -> [C::Bits; N] {
        self.copy_of(version.wrapping_sub(1), 0)
    }

    pub(crate) fn version(&self) -> u32 {
        self.version.load_with(Acquire)
    }

    fn copy_of<const M: usize>(&self, version: u32, first: usize) -> [C::Bits; M] {
        let [even, odd] = &self.copies;
        let copy = if version & 1 == 0 { even } else { odd };
        let mut words = [C::NONE; M];
        for (word, cell) in words.iter_mut().zip(copy.iter().skip(first)) {
            *word = cell.bits();
        }
        words
    }

    /// Replaces the words. All who do so have had the right to write from the same [`Writing`].
    pub(crate) fn replace(&self, _writer: &Writer<'_>, words: [C::Bits; N]) {
        let version = self.version.load();
        let [even, odd] = &self.copies;
        let idle = if version & 1 == 0 { odd } else { even };
        for (cell, word) in idle.iter().zip(words) {
            cell.set(word);
        }
        self.version.publish(version.wrapping_add(1));
    }
}

impl<const N: usize> Twin<AtomicWord, N> {
    /// One that holds `words` from the beginning.
    #[allow(clippy::indexing_slicing, reason = "const, and within the arrays' common length")]
    pub(crate) const fn holding(words: [u32; N]) -> Self {
        let mut twin = Self::new();
        let mut at = 0;
        while at < N {
            twin.copies[0][at] = AtomicWord::new(words[at]);
            at += 1;
        }
        twin
    }
}

// Acquire: a twin's version is read again after its words, not before. Release: a reader that sees
// one of these and reads the version again sees the flip before this one, and so knows that its copy
// was being refilled.
impl Cell for AtomicWord {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use makes another")]
    const ZERO: Self = Self::new(0);
    type Bits = u32;
    const NONE: u32 = 0;

    fn bits(&self) -> u32 {
        self.load_with(Acquire)
    }

    fn set(&self, bits: u32) {
        self.store(bits, Release);
    }
}

impl Cell for Count {
    #[allow(clippy::declare_interior_mutable_const, reason = "each use makes another")]
    const ZERO: Self = Self::new();
    type Bits = Width;
    const NONE: Width = 0;

    fn bits(&self) -> Width {
        self.load()
    }

    fn set(&self, bits: Width) {
        self.0.store(bits, Release);
    }
}

// What `--cfg mutant=".."` breaks beside `loom_words`.
/// Nothing stands between what is stored and what is loaded.
const UNMET: bool = cfg!(mutant = "unmet");
/// The right to write is everybody's.
const ANYBODY_WRITES: bool = cfg!(mutant = "anybody_writes");

/// Native loads, and read-modify-writes in a critical section: for cores without compare-and-swap.
#[cfg(all(not(loom), feature = "critical-section", any(sectioned, not(target_has_atomic = "32"))))]
mod sectioned {
    use core::sync::atomic::Ordering::{self, Relaxed};

    #[derive(Debug)]
    pub(super) struct AtomicU32(core::sync::atomic::AtomicU32);

    impl AtomicU32 {
        pub(super) const fn new(bits: u32) -> Self {
            Self(core::sync::atomic::AtomicU32::new(bits))
        }

        pub(super) fn load(&self, order: Ordering) -> u32 {
            self.0.load(order)
        }

        pub(super) const fn into_inner(self) -> u32 {
            self.0.into_inner()
        }

        pub(super) fn store(&self, bits: u32, order: Ordering) {
            // Inside too: a store between another core's load and store would be lost.
            critical_section::with(|_| self.0.store(bits, order));
        }

        /// In a section already.
        pub(super) fn store_within(&self, bits: u32) {
            self.0.store(bits, Ordering::Release);
        }

        pub(super) fn fetch_add(&self, n: u32, order: Ordering) -> u32 {
            critical_section::with(|_| {
                let seen = self.0.load(Relaxed);
                self.0.store(seen.wrapping_add(n), order);
                seen
            })
        }

        pub(super) fn compare_exchange(
            &self,
            seen: u32,
            next: u32,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u32, u32> {
            // The section orders everything in it; a store has no acquire to ask for.
            let store = if matches!(success, Relaxed) { Relaxed } else { Ordering::Release };
            let swap = || match self.0.load(failure) {
                actual if actual == seen => {
                    self.0.store(next, store);
                    Ok(actual)
                }
                actual => Err(actual),
            };
            if TORN_SWAP { swap() } else { critical_section::with(|_| swap()) }
        }

        pub(super) fn compare_exchange_weak(
            &self,
            seen: u32,
            next: u32,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u32, u32> {
            self.compare_exchange(seen, next, success, failure)
        }
    }

    /// What `--cfg fault=".."` breaks: an interrupt may come between the load and the store. For the
    /// devices to find, not for the simulation, which has no interrupts.
    const TORN_SWAP: bool = cfg!(fault = "torn_swap");
}

/// Loom's atomic, made on first use so that `new` stays `const` under loom too.
///
/// Of all accesses to a word loom remembers the last alone, so a thread that loads a word and then
/// moves it hides its race with another's load. Hence `turn`: a second word that every load moves,
/// relaxed, so that loom tries the loads of two threads in both orders too. Nobody loads a total to
/// move it: it does without.
#[cfg(loom)]
mod loom_words {
    extern crate std;
    use core::mem::ManuallyDrop;
    use core::sync::atomic::Ordering::{self, Relaxed, Release};
    use loom::sync::atomic::AtomicU32 as Word;
    use std::sync::OnceLock;

    // Without a destructor, as the real one: `const` functions may then drop what holds it.
    pub(super) struct AtomicU32<const TURNS: bool = true>(u32, ManuallyDrop<OnceLock<Words>>);

    pub(super) type Total = AtomicU32<false>;

    #[derive(Debug)]
    struct Words {
        word: Word,
        turn: Word,
    }

    impl<const TURNS: bool> AtomicU32<TURNS> {
        pub(super) const fn new(bits: u32) -> Self {
            Self(bits, ManuallyDrop::new(OnceLock::new()))
        }

        /// What it was made with: nobody has used it.
        pub(super) const fn into_inner(self) -> u32 {
            self.0
        }

        fn get(&self) -> &Words {
            self.1.get_or_init(|| Words { word: Word::new(self.0), turn: Word::new(0) })
        }

        pub(super) fn load(&self, order: Ordering) -> u32 {
            if TURNS {
                self.get().turn.fetch_add(1, Relaxed);
            }
            self.get().word.load(if RELAXED_LOADS { Relaxed } else { order })
        }

        pub(super) fn store(&self, bits: u32, order: Ordering) {
            self.get().word.store(bits, if RELAXED_STORES { Relaxed } else { order });
        }

        pub(super) fn fetch_add(&self, n: u32, order: Ordering) -> u32 {
            let order = if RELAXED_COUNTS { Relaxed } else { order };
            if STORE_FOR_ADD {
                let seen = self.load(Relaxed);
                self.get().word.store(seen.wrapping_add(n), order);
                return seen;
            }
            self.get().word.fetch_add(n, order)
        }

        pub(super) fn compare_exchange(
            &self,
            seen: u32,
            next: u32,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u32, u32> {
            let success = if RELAXED_SWAPS { Relaxed } else { success };
            if STORE_FOR_CAS {
                let actual = self.load(Relaxed);
                if actual != seen {
                    return Err(actual);
                }
                self.get().word.store(next, if success == Relaxed { Relaxed } else { Release });
                return Ok(seen);
            }
            self.get().word.compare_exchange(seen, next, success, failure)
        }

        pub(super) fn compare_exchange_weak(
            &self,
            seen: u32,
            next: u32,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u32, u32> {
            self.compare_exchange(seen, next, success, failure)
        }
    }

    // Reads it, as the real one does. Thereby a thread can bring all words to life that others use.
    impl<const TURNS: bool> core::fmt::Debug for AtomicU32<TURNS> {
        fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
            self.load(Relaxed).fmt(f)
        }
    }

    // What `--cfg mutant=".."` breaks, for `tests/loom.rs` to show which models catch it.
    const STORE_FOR_CAS: bool = cfg!(mutant = "store_for_cas");
    const STORE_FOR_ADD: bool = cfg!(mutant = "store_for_add");
    const RELAXED_COUNTS: bool = cfg!(mutant = "relaxed_counts");
    const RELAXED_SWAPS: bool = cfg!(mutant = "relaxed_swaps");
    const RELAXED_STORES: bool = cfg!(mutant = "relaxed_stores");
    const RELAXED_LOADS: bool = cfg!(mutant = "relaxed_loads");
}
