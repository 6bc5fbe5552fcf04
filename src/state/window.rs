//! How many of an operation's outcomes were failures, and how many were slow, over more of them than
//! a circuit remembers, or over a time: evidence beside the circuit's own history.

use core::time::Duration;

use super::circuit::{Circuit, Outcome};
use super::word::{AtomicWord, WordPair, meet};
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
/// a rule over a time every outcome writes a word. Of outcomes that come at once, the last one sees all
/// that are bad; a success beside them may be forgotten. One of a closed phase that is over counts for
/// nothing.
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
    /// Enters an outcome that the circuit counted in `phase`, of an attempt that took so long. Whether
    /// the circuit is to open.
    fn enter(&self, now: Instant, phase: ClosedPhase<'_>, outcome: Outcome, took: Duration)
    -> bool;
}

/// A closed phase of a circuit: evidence is of one, and not of what came before.
#[derive(Clone, Copy, Debug)]
pub struct ClosedPhase<'c> {
    words: &'c WordPair,
    epoch: u32,
}

impl<'c> ClosedPhase<'c> {
    pub(super) const fn new(words: &'c WordPair, epoch: u32) -> Self {
        Self { words, epoch }
    }

    /// The epoch that it is: 0 to 63, after which they begin anew.
    #[must_use]
    pub const fn epoch(self) -> u32 {
        self.epoch
    }

    /// Whether the circuit has left it.
    #[must_use]
    pub fn is_over(self) -> bool {
        let circuit = Circuit::from_bits(self.words.hot(), 0);
        !circuit.is_closed() || circuit.epoch() != self.epoch
    }
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
    fn enter(
        &self,
        now: Instant,
        phase: ClosedPhase<'_>,
        outcome: Outcome,
        took: Duration,
    ) -> bool {
        self.shared.enter(&self.rule, now, phase, outcome, took)
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
        phase: ClosedPhase<'_>,
        outcome: Outcome,
        took: Duration,
    ) -> bool {
        if rule.is_none() || rule.words() > WORDS {
            return false;
        }
        let seen =
            Seen { failed: matches!(outcome, Outcome::Failure), slow: rule.is_slow(micros(took)) };
        match rule.within {
            0 => Ring::of(&self.head, &self.cells).enter(rule, phase, seen),
            within => Slices::of(&self.head, &self.cells).enter(rule, phase, seen, now, within),
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
///
/// An outcome takes its place, sets its bits, meets the others and judges what there is then: of
/// those that come at once, the last one finds the bits of all.
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
    fn of(head: &'w AtomicWord, cells: &'w [AtomicWord]) -> Self {
        let (failed, slow) = cells.split_at_checked(cells.len() / 2).unwrap_or_default();
        // No more than the head counts places.
        let some = |words: &'w [AtomicWord]| words.get(..FULL_WINDOW / 2).unwrap_or(words);
        Self { head, failed: some(failed), slow: some(slow) }
    }

    fn enter(&self, rule: &WindowRule, phase: ClosedPhase<'_>, seen: Seen) -> bool {
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

    /// Sets the bits of what an outcome was, unless its word is another's by now.
    fn mark(&self, epoch: u32, place: u32, seen: Seen) {
        for (is, words) in [(seen.failed, self.failed), (seen.slow, self.slow)] {
            if let (true, Some(cell)) = (is, words.get((place / WORD) as usize)) {
                cell.update_published(|bits| {
                    let head = RingHead(self.head.published());
                    let gone = !head.is_of(epoch) || head.keeps_clear(place / WORD, self.places());
                    (if gone { bits } else { bits | 1 << (place % WORD) }, ())
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

/// A window over a time, in slices of it: how many outcomes each saw, how many failures, how many slow.
///
/// A count belongs to the epoch and the slice that it carries, so that a slice that begins finds nothing.
///
/// | bits | |
/// |---|---|
/// | 26‥32 | epoch of the circuit |
/// | 18‥26 | number of the slice, modulo 256 |
/// | 0‥18 | outcomes |
struct Slices<'w> {
    head: &'w AtomicWord,
    calls: &'w [AtomicWord],
    failed: &'w [AtomicWord],
    slow: &'w [AtomicWord],
}

/// The slice that an outcome belongs to.
#[derive(Clone, Copy)]
struct Slice {
    epoch: u32,
    number: u64,
}

impl<'w> Slices<'w> {
    fn of(head: &'w AtomicWord, cells: &'w [AtomicWord]) -> Self {
        // No more than numbers tell apart, however seldom there is an outcome.
        let slices = (cells.len() / COUNTS).min(FULL_WINDOW / COUNTS);
        let (calls, rest) = cells.split_at_checked(slices).unwrap_or_default();
        let (failed, rest) = rest.split_at_checked(slices).unwrap_or_default();
        let (slow, _) = rest.split_at_checked(slices).unwrap_or_default();
        Self { head, calls, failed, slow }
    }

    fn enter(
        &self,
        rule: &WindowRule,
        phase: ClosedPhase<'_>,
        seen: Seen,
        now: Instant,
        within: u64,
    ) -> bool {
        let reading = now.as_micros() / within.div_ceil(self.count().max(1)).max(1);
        let Some(slice) = self.find(phase, reading) else { return false };
        self.count_in(slice, seen);
        meet();
        let Some(slice) = self.newest(slice) else { return false };
        // Outcomes last: those that were counted as failed are among them by then.
        let [failed, slow, calls] =
            [self.failed, self.slow, self.calls].map(|counts| self.sum(slice, counts));
        rule.judges(calls, failed, slow)
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
            if !is_of || u64::from(behind) >= self.count() {
                // Nothing of what is there counts, whatever its numbers look like.
                let found = || self.head.published() == head;
                self.counts().flatten().for_each(|cell| empty(cell, found));
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
                None => (word, false),
            };
            counts.get(place).is_some_and(|cell| cell.update_published(count))
        };
        if count(self.calls) {
            // As many of each as of all: what is asked for is a rate.
            for cell in [self.failed, self.slow].iter().filter_map(|counts| counts.get(place)) {
                cell.update_published(|word| (slice.halved(word), ()));
            }
        }
        for (is, counts) in [(seen.failed, self.failed), (seen.slow, self.slow)] {
            if is {
                count(counts);
            }
        }
    }

    /// Outcomes in the slices up to this one.
    fn sum(&self, slice: Slice, counts: &[AtomicWord]) -> u32 {
        let slices = (0..self.count()).filter_map(|back| slice.before(back));
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

    fn counts(&self) -> impl Iterator<Item = &'w [AtomicWord]> {
        [self.calls, self.failed, self.slow].into_iter()
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

    /// The same word with one outcome more, and whether those before were halved for it.
    const fn counted(self, word: u32) -> (u32, bool) {
        let count = self.count_in(word);
        let full = count == SLICE_COUNT;
        let count = if full { count / 2 } else { count };
        (self.tag() << SLICE_SHIFT | (count + 1), full)
    }

    /// The same word with half of what it says of it.
    const fn halved(self, word: u32) -> u32 {
        word - self.count_in(word).div_ceil(2)
    }
}

const fn is_slice_of(head: u32, epoch: u32) -> bool {
    head >> KIND_SHIFT == epoch << 2 | SLICES
}

/// Empties a word while it `is_idle`: what comes into it afterwards stays.
fn empty(cell: &AtomicWord, is_idle: impl Fn() -> bool) {
    cell.update_published(|word| {
        let emptied = word != 0 && (BLINDLY || is_idle());
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
/// Half of them are still as many outcomes as a rule may ask for.
const SLICE_SHIFT: u32 = 18;
const SLICE_COUNT: u32 = (1 << SLICE_SHIFT) - 1;
const TAG_NUMBER_BITS: u32 = 8;
const TAG_NUMBERS: u32 = (1 << TAG_NUMBER_BITS) - 1;

// What `tests/loom.rs` breaks.
/// What came after its own place is none of an outcome's business.
const TO_OWN_PLACE: bool = cfg!(mutant = "to_own_place");
/// Whoever fails leaves it to others that the window is said to be clean.
const CLEAN_KEPT: bool = cfg!(mutant = "clean_kept");
/// An outcome of a phase that is over begins it anew.
const STRAGGLERS: bool = cfg!(mutant = "stragglers");
/// What is emptied may have come to use.
const BLINDLY: bool = cfg!(mutant = "blindly");
