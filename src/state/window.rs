//! How many of an operation's outcomes were failures, and how many were slow, over more of them than
//! a circuit remembers, or over a time: evidence beside the circuit's own history.

use core::time::Duration;

use super::circuit::Outcome;
use super::word::AtomicWord;
use crate::clock::{Instant, duration, micros};

/// When the outcomes in a [`Window`] open its circuit.
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
    failures: u16,
    failures_of: u16,
    /// Rates in thousandths; zero for no limit.
    failure_rate: u16,
    slow_rate: u16,
    /// What the rates are of: outcomes, or a time in microseconds.
    of_last: u16,
    within: u64,
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

/// Outcomes to judge a circuit by, beside its own history: failures and slow ones, by number and by
/// rate.
///
/// A rule over outcomes is exact: it sees the last so many that the closed circuit counted. One over a
/// time looks at it in `WORDS` / 3 slices, the newest of which is still filling: between all of
/// the time and one slice less. `WORDS` is what [`words`](Self::words) says for the outcomes to be
/// remembered: [`FULL_WINDOW`] is enough for any rule. A window forgets when its circuit leaves the
/// closed phase.
///
/// A success writes nothing while the window remembers nothing but successes that were not slow; under
/// a rule over a time every outcome writes two words. Callers that race with a circuit's closing may
/// have an outcome of theirs forgotten.
///
/// ```
/// use core::time::Duration;
/// use steadfast::state::{Window, WindowRule};
/// use steadfast::{Breaker, Policy, Trip};
///
/// static BREAKER: Breaker = Breaker::new(Trip::after(10), Duration::from_secs(30));
/// static WINDOW: Window<{ Window::words(100) }> =
///     Window::new(WindowRule::over_last(100).failure_rate(500));
/// static POLICY: Policy = Policy::new().breaker(&BREAKER).window(&WINDOW);
/// ```
#[derive(Debug)]
pub struct Window<const WORDS: usize = FULL_WINDOW> {
    rule: WindowRule,
    shared: SharedWindow<WORDS>,
}

/// A window without its rule, which comes with each outcome: for rules that change while it runs.
#[derive(Debug)]
pub struct SharedWindow<const WORDS: usize = FULL_WINDOW> {
    head: AtomicWord,
    cells: [AtomicWord; WORDS],
}

/// What judges a closed circuit by its outcomes, beside its own history.
pub trait Evidence: Sync {
    /// Enters an outcome that the circuit counted while it was closed in `epoch`, of an attempt that
    /// took so long. Whether the circuit is to open.
    fn enter(&self, now: Instant, epoch: u32, outcome: Outcome, took: Duration) -> bool;
}

// By hand: a supertrait would bring every window's formatting into a firmware's image.
impl core::fmt::Debug for dyn Evidence + '_ {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Evidence")
    }
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

    /// The words that a window needs for it.
    pub(crate) const fn words(&self) -> usize {
        match (self.is_none(), self.within) {
            (true, _) => 0,
            (_, 0) => Window::words(self.looks_at()),
            _ => FEWEST_SLICES * COUNTS,
        }
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
    const fn looks_at(&self) -> u32 {
        let of_last = if self.of_last > self.failures_of { self.of_last } else { self.failures_of };
        of_last as u32
    }

    const fn is_slow(&self, took: u64) -> bool {
        self.slow_rate > 0 && took >= self.slow_after
    }

    /// Whether these rates open the circuit.
    const fn judges(&self, calls: u32, failed: u32, slow: u32) -> bool {
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

impl Window<0> {
    /// The words that a window needs to remember so many outcomes.
    #[must_use]
    pub const fn words(outcomes: u32) -> usize {
        // One word is filling and the next is clear: those are not looked at in whole.
        2 * (outcomes.div_ceil(WORD) as usize + 2)
    }
}

impl<const WORDS: usize> Window<WORDS> {
    /// An empty window under `rule`. In a `static`, one with too few words for its rule does not
    /// compile.
    #[must_use]
    pub const fn new(rule: WindowRule) -> Self {
        assert!(rule.words() <= WORDS, "the window has too few words: see `Window::words`");
        Self { rule, shared: SharedWindow::new() }
    }

    /// What it goes by.
    #[must_use]
    pub const fn rule(&self) -> &WindowRule {
        &self.rule
    }
}

impl<const WORDS: usize> Evidence for Window<WORDS> {
    fn enter(&self, now: Instant, epoch: u32, outcome: Outcome, took: Duration) -> bool {
        self.shared.enter(&self.rule, now, epoch, outcome, took)
    }
}

impl<const WORDS: usize> SharedWindow<WORDS> {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { head: AtomicWord::new(0), cells: [const { AtomicWord::new(0) }; WORDS] }
    }

    /// See [`Evidence::enter`]. A rule for which there are too few words opens nothing.
    pub fn enter(
        &self,
        rule: &WindowRule,
        now: Instant,
        epoch: u32,
        outcome: Outcome,
        took: Duration,
    ) -> bool {
        if rule.is_none() || rule.words() > WORDS {
            return false;
        }
        let seen =
            Seen { failed: matches!(outcome, Outcome::Failure), slow: rule.is_slow(micros(took)) };
        match rule.within {
            0 => Ring::of(&self.head, &self.cells).enter(rule, epoch, seen),
            within => Slices::of(&self.head, &self.cells).enter(rule, epoch, seen, now, within),
        }
    }
}

impl<const WORDS: usize> Default for SharedWindow<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

/// An outcome as windows see it.
#[derive(Clone, Copy)]
struct Seen {
    failed: bool,
    slow: bool,
}

impl Seen {
    const fn is_good(self) -> bool {
        !self.failed && !self.slow
    }
}

/// A window over outcomes: a bit for each that failed, and one for each that was slow, in two rings.
///
/// The word after the one that is filling is always clear, so that a good outcome writes no bit. Who
/// takes the first place of a word clears the next, and has 32 outcomes' time for it.
struct Ring<'w> {
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
        self.0 >> KIND_SHIFT == epoch << 2 | RING
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
    fn of(head: &'w AtomicWord, cells: &'w [AtomicWord]) -> Self {
        let (failed, slow) = cells.split_at_checked(cells.len() / 2).unwrap_or_default();
        // No more than the head counts places.
        let some = |words: &'w [AtomicWord]| words.get(..FULL_WINDOW / 2).unwrap_or(words);
        Self { head, failed: some(failed), slow: some(slow) }
    }

    fn enter(&self, rule: &WindowRule, epoch: u32, seen: Seen) -> bool {
        let (places, looks_at) = (self.failed.len() as u32 * WORD, rule.looks_at());
        let head = RingHead(self.head.load());
        if seen.is_good() && head.is_of(epoch) && head.is_clean() && head.filled() >= looks_at {
            return false;
        }
        if !head.is_ring() {
            // What slices counted is no outcome.
            [self.failed, self.slow].into_iter().flatten().for_each(|cell| cell.write(0));
        }
        let (head, next) = self.head.update(|word| {
            let head = RingHead(word);
            let head = if head.is_of(epoch) { head } else { head.anew(epoch, places) };
            let next = head.next(epoch, places);
            (next.0, (head, next))
        });
        let place = head.place();
        if place % WORD == 0 {
            let word = (place / WORD + 1) as usize % self.failed.len().max(1);
            for words in [self.failed, self.slow] {
                if let Some(cell) = words.get(word) {
                    cell.write(0);
                }
            }
        }
        for (is, words) in [(seen.failed, self.failed), (seen.slow, self.slow)] {
            if let (true, Some(cell)) = (is, words.get((place / WORD) as usize)) {
                cell.update(|bits| (bits | 1 << (place % WORD), ()));
            }
        }
        let count = |words, of_last: u32| ones(words, place, of_last.min(next.filled()));
        if seen.is_good() && next.filled() >= looks_at {
            let bad = count(self.failed, looks_at) + count(self.slow, looks_at);
            if bad == 0 {
                // Older ones are forgotten, for a rule that comes to look at more.
                let clean = RingHead::new(epoch, looks_at, next.place()).0 | CLEAN;
                self.head.update(|word| (if word == next.0 { clean } else { word }, ()));
                return false;
            }
        } else if !seen.is_good() {
            // Whoever found the window clean meanwhile had not seen this bit.
            self.head.update(|word| {
                (if RingHead(word).is_of(epoch) { word & !CLEAN } else { word }, ())
            });
        }
        let failures = rule.failures.into();
        if failures > 0 && count(self.failed, rule.failures_of.into()) >= failures {
            return true;
        }
        let of_last = rule.of_last.into();
        let calls = next.filled().min(of_last);
        rule.judges(calls, count(self.failed, of_last), count(self.slow, of_last))
    }
}

/// A window over a time, in slices of it: how many outcomes each saw, how many failures, how many slow.
///
/// A count belongs to the slice whose number it carries, so that a slice that begins finds nothing.
struct Slices<'w> {
    head: &'w AtomicWord,
    calls: &'w [AtomicWord],
    failed: &'w [AtomicWord],
    slow: &'w [AtomicWord],
}

impl<'w> Slices<'w> {
    fn of(head: &'w AtomicWord, cells: &'w [AtomicWord]) -> Self {
        let slices = cells.len() / COUNTS;
        let (calls, rest) = cells.split_at_checked(slices).unwrap_or_default();
        let (failed, rest) = rest.split_at_checked(slices).unwrap_or_default();
        let (slow, _) = rest.split_at_checked(slices).unwrap_or_default();
        Self { head, calls, failed, slow }
    }

    fn enter(&self, rule: &WindowRule, epoch: u32, seen: Seen, now: Instant, within: u64) -> bool {
        let slices = self.calls.len() as u64;
        let reading = now.as_micros() / within.div_ceil(slices.max(1)).max(1);
        let head = self.head.load();
        let ahead = match head >> KIND_SHIFT == epoch << 2 | SLICES {
            // Of two readings out of order the later one holds.
            true => head.wrapping_sub(reading as u32) & SLICE_NUMBERS,
            false => SLICE_NUMBERS / 2,
        };
        let behind = (SLICE_NUMBERS + 1 - ahead) & SLICE_NUMBERS;
        let number = match u64::from(ahead) < slices {
            true => reading.saturating_add(ahead.into()),
            false => reading,
        };
        if u64::from(ahead) >= slices {
            if u64::from(behind) >= slices {
                // Nothing of what is there counts, whatever its numbers look like.
                [self.calls, self.failed, self.slow]
                    .into_iter()
                    .flatten()
                    .for_each(|cell| cell.write(0));
            }
            let next = (epoch << 2 | SLICES) << KIND_SHIFT | number as u32 & SLICE_NUMBERS;
            self.head.update(|word| (if word == head { next } else { word }, ()));
        }
        let place = (number % slices.max(1)) as usize;
        let count = |is: bool, words: &[AtomicWord]| {
            if let (true, Some(cell)) = (is, words.get(place)) {
                cell.update(|word| (counted(word, number), ()));
            }
        };
        count(true, self.calls);
        count(seen.failed, self.failed);
        count(seen.slow, self.slow);
        let sum = |words: &[AtomicWord]| {
            let of = |(back, at): (u64, usize)| {
                let number = number.wrapping_sub(back);
                words.get(at).map_or(0, |cell| count_in(cell.load(), number))
            };
            let first = slices.min(number.saturating_add(1));
            (0..first).map(|back| (back, ((number - back) % slices.max(1)) as usize)).map(of).sum()
        };
        rule.judges(sum(self.calls), sum(self.failed), sum(self.slow))
    }
}

/// What a slice's word says of the slice `number`.
const fn count_in(word: u32, number: u64) -> u32 {
    if word >> SLICE_SHIFT == number as u32 & TAGS { word & SLICE_COUNT } else { 0 }
}

/// The same word with one outcome more in the slice `number`.
const fn counted(word: u32, number: u64) -> u32 {
    let count = count_in(word, number);
    let count = if count < SLICE_COUNT { count + 1 } else { count };
    (number as u32 & TAGS) << SLICE_SHIFT | count
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

/// Words of a window for any rule: 1024 outcomes, or 22 slices of a time.
pub const FULL_WINDOW: usize = Window::words(MOST_OUTCOMES);
/// No window: for tables on devices that go without.
pub const NO_WINDOW: usize = 0;
/// Words of a rule.
pub(crate) const WINDOW_RULE_WORDS: usize = 8;
const MOST_OUTCOMES: u32 = 1024;
const MOST_CALLS: u32 = 100_000;
const DAY: u64 = 86_400_000_000;
/// Outcomes a word.
const WORD: u32 = u32::BITS;
const KIND_SHIFT: u32 = 24;
const RING: u32 = 1;
const SLICES: u32 = 2;
const CLEAN: u32 = 1 << 23;
const PLACE_BITS: u32 = 11;
const PLACES: u32 = (1 << PLACE_BITS) - 1;
const OUTCOMES: u32 = (1 << 12) - 1;
/// Fewer slices would be no window that slides.
const FEWEST_SLICES: usize = 4;
/// What a slice counts.
const COUNTS: usize = 3;
const SLICE_NUMBERS: u32 = (1 << 24) - 1;
const SLICE_SHIFT: u32 = 20;
const SLICE_COUNT: u32 = (1 << SLICE_SHIFT) - 1;
const TAGS: u32 = 0xfff;
