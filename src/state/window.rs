//! A window: outcomes that judge a circuit, by a ring of them or by slices of a time.

use core::time::Duration;

use super::circuit::Outcome;
use super::evidence::{ClosedPhase, Evidence, Seen};
use super::ring::{self, FULL_WINDOW, Ring};
use super::slices::{COUNTS, FEWEST_SLICES, Slices};
use super::window_rule::WindowRule;
use super::word::AtomicWord;
use crate::clock::{Instant, micros};
use crate::fault;

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

impl Window<0> {
    /// The words that a window needs to remember so many outcomes.
    #[must_use]
    pub const fn words(outcomes: u32) -> usize {
        ring::words(outcomes)
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

    fn ended(&self, epoch: u32) {
        self.shared.ended(epoch);
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
        let failed = matches!(outcome, Outcome::Failure);
        let slow = rule.is_slow(micros(took)) && !(failed && fault::MISSED_SLOW);
        let seen = Seen { failed, slow };
        match rule.within {
            0 => Ring::of(&self.head, &self.cells).enter(rule, phase, seen),
            within => Slices::of(&self.head, &self.cells).enter(rule, phase, seen, now, within),
        }
    }

    /// See [`Evidence::ended`].
    pub fn ended(&self, epoch: u32) {
        ring::forget(&self.head, epoch);
    }
}

impl<const WORDS: usize> Default for SharedWindow<WORDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl WindowRule {
    /// The words that a window needs for it.
    pub(crate) const fn words(&self) -> usize {
        match (self.is_none(), self.within) {
            (true, _) => 0,
            (_, 0) => ring::words(self.looks_at()),
            _ => FEWEST_SLICES * COUNTS,
        }
    }
}

/// No window: for tables on devices that go without.
pub const NO_WINDOW: usize = 0;
