//! Settings that change while they are used, and what callers under them share.

use super::breaker::SharedCircuit;
use super::budget::{BudgetRule, SharedTokens};
use super::bulkhead::SharedSlots;
use super::limit_rule::{LIMIT_RULE_WORDS, LimitRule};
use super::limiter::SharedBuckets;
use super::mode::Mode;
use super::rule::Rule;
use super::window_rule::{WINDOW_RULE_WORDS, WindowRule};
use super::word::{AtomicWord, Twin, Writer};

/// Settings as words. The first are the breaker's rule; what the others say is their owner's affair.
pub(crate) type Words = [u32; WORDS];

/// Several settings that are read and replaced as one: no reader sees a part of one replacement and
/// a part of another, and none waits for a writer. The last word is the version of what else they come
/// from.
#[derive(Debug)]
pub(crate) struct LiveSettings(Twin<AtomicWord, { WORDS + 1 }>);

/// What all callers of one operation share while its settings change.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: LiveSettings,
    pub(crate) circuit: SharedCircuit,
    pub(crate) tokens: SharedTokens,
    pub(crate) slots: SharedSlots,
    pub(crate) buckets: SharedBuckets,
}

impl LiveSettings {
    pub(crate) const fn new(words: Words) -> Self {
        Self(Twin::holding(with_source(words, 0)))
    }

    pub(crate) fn load(&self) -> Words {
        self.0.load_from(0)
    }

    /// All of them, the version of what they come from, and their own.
    pub(crate) fn load_of(&self) -> (Words, u32, u32) {
        let ([words @ .., source], version) = self.0.load_of::<{ WORDS + 1 }>(0);
        (words, source, version)
    }

    /// Some of them, from the one at `first` on.
    pub(crate) fn load_from<const M: usize>(&self, first: usize) -> [u32; M] {
        self.0.load_from(first)
    }

    pub(crate) fn version(&self) -> u32 {
        self.0.version()
    }

    pub(crate) fn replace(&self, writer: &Writer<'_>, words: Words, source: u32) {
        self.0.replace(writer, with_source(words, source));
    }

    pub(crate) fn rule(&self) -> Rule {
        Rule::from_words(self.0.load_from(0))
    }

    pub(crate) fn window_rule(&self) -> WindowRule {
        WindowRule::from_words(self.0.load_from(WINDOW_AT))
    }

    pub(crate) fn limit_rule(&self) -> LimitRule {
        LimitRule::from_words(self.0.load_from(LIMITS_AT))
    }
}

impl Shared {
    /// By settings that say that budget and that mode.
    pub(crate) const fn new(settings: Words, budget: &BudgetRule, mode: Mode) -> Self {
        Self {
            settings: LiveSettings::new(settings),
            circuit: SharedCircuit::in_mode(mode),
            tokens: SharedTokens::full(budget),
            slots: SharedSlots::new(),
            buckets: SharedBuckets::new(),
        }
    }
}

#[allow(clippy::indexing_slicing, reason = "const, and within the arrays' common length")]
const fn with_source(words: Words, source: u32) -> [u32; WORDS + 1] {
    let (mut all, mut at) = ([source; WORDS + 1], 0);
    while at < WORDS {
        all[at] = words[at];
        at += 1;
    }
    all
}

/// A breaker's rule, a policy's plan, a window's rule, a limiter's, and where they come from.
pub(crate) const WORDS: usize = LIMITS_AT + LIMIT_RULE_WORDS + 4;
pub(crate) const LIMITS_AT: usize = WINDOW_AT + WINDOW_RULE_WORDS;
pub(crate) const WINDOW_AT: usize = RULE_WORDS + 19;
pub(crate) const RULE_WORDS: usize = 4;
