//! One operation's place in the table.

use super::name::{Name, NameWords};
use super::registration::{Effective, LAYER, Registration};
use crate::clock::Instant;
use crate::policy::plan::Plan;
use crate::policy::{Event, Observe};
use crate::state::settings::{RULE_WORDS, Shared};
use crate::state::word::{AtomicWord, Twin, Writer};
use crate::state::{Limit, Limited, Taken};

/// Whoever wants to know what the operations of an orchestrator do.
///
/// What holds for [`Observe`] holds here.
pub trait Watch: Sync {
    /// Takes notice of what `operation` did.
    fn watch(&self, operation: &str, event: &Event);
}

/// One operation: what its callers share, and where its settings come from.
#[derive(Debug)]
pub(super) struct Entry {
    name: NameWords,
    shared: Shared,
    /// By whom writes: nobody else looks at the two.
    registered: Layer,
    configured: Layer,
    watch: Option<&'static dyn Watch>,
}

/// What the live configuration says for every strategy, with the default strategy as its own.
#[derive(Debug)]
pub(super) struct Every(Twin<AtomicWord, LAYER>);

/// A registration that only who writes the table looks at.
#[derive(Debug)]
struct Layer([AtomicWord; LAYER]);

impl Layer {
    #[allow(clippy::indexing_slicing, reason = "const, and within the arrays' common length")]
    const fn new(registration: Registration) -> Self {
        let (words, mut at) = (registration.to_words(), 0);
        let mut layer = Self([const { AtomicWord::new(0) }; LAYER]);
        while at < LAYER {
            layer.0[at] = AtomicWord::new(words[at]);
            at += 1;
        }
        layer
    }

    fn store(&self, registration: &Registration) {
        for (cell, word) in self.0.iter().zip(registration.to_words()) {
            cell.write(word);
        }
    }

    fn load(&self) -> Registration {
        Registration::from_words(self.0.each_ref().map(AtomicWord::load))
    }
}

impl Entry {
    pub(super) const fn new(
        name: Option<Name>,
        registered: Registration,
        effective: Effective,
        watch: Option<&'static dyn Watch>,
    ) -> Self {
        let name = match name {
            Some(name) => NameWords::new(name.to_words()),
            None => NameWords::EMPTY,
        };
        let settings = effective.settings();
        Self {
            name,
            shared: Shared::new(effective.to_words(), &settings.budget, settings.mode),
            registered: Layer::new(registered),
            configured: Layer::new(Registration::new()),
            watch,
        }
    }

    pub(super) const fn watched_by(&mut self, watch: &'static dyn Watch) {
        self.watch = Some(watch);
    }

    pub(super) const fn watch(&self) -> Option<&'static dyn Watch> {
        self.watch
    }

    pub(super) const fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn name(&self) -> Name {
        self.name.name()
    }

    pub(super) fn is_named(&self, words: &[u32; 8]) -> bool {
        self.name.is(words)
    }

    /// The settings as they are now.
    pub(super) fn effective(&self) -> Effective {
        Effective::from_words(&self.shared.settings.load())
    }

    /// The settings, and what the same configuration says for every strategy.
    pub(super) fn effective_with(&self, every: &Every) -> (Effective, Registration) {
        loop {
            let (words, source, version) = self.shared.settings.load_of();
            let still = || self.shared.settings.version() == version;
            if let Some(every) = every.of(source, still) {
                return (Effective::from_words(&words), every);
            }
            // They have been replaced meanwhile.
        }
    }

    /// The part of them that an execution takes with it.
    pub(super) fn plan(&self) -> Plan {
        Plan::from_words(&self.shared.settings.load_from(RULE_WORDS))
    }

    // What follows is for whoever has the right to write the table.

    pub(super) fn registered(&self) -> Registration {
        self.registered.load()
    }

    pub(super) fn configured(&self) -> Registration {
        self.configured.load()
    }

    /// Gives a free place a name. Its tokens are full, which they stay under other settings.
    pub(super) fn occupy(&self, name: [u32; 8]) {
        self.name.store(name);
    }

    /// Makes callers see `effective`, which is what comes of the two registrations and of `every` as it is
    /// now.
    pub(super) fn replace(
        &self,
        writer: &Writer<'_>,
        registered: &Registration,
        configured: &Registration,
        effective: &Effective,
        every: &Every,
    ) {
        self.registered.store(registered);
        self.configured.store(configured);
        let (before, after) = (self.effective().settings(), effective.settings());
        // While the two disagree, tokens are few: no caller finds more than a rule has.
        let keep_share = || self.shared.tokens.keep_share(&before.budget, &after.budget);
        let fewer = after.budget.tokens() < before.budget.tokens();
        if fewer {
            keep_share();
        }
        self.shared.settings.replace(writer, effective.to_words(), every.0.version());
        if !fewer {
            keep_share();
        }
        // A mode set by hand stays until the settings say another one.
        if before.mode != after.mode {
            self.shared.circuit.configure(after.mode);
        }
    }
}

impl Every {
    pub(super) const fn new(every: Registration) -> Self {
        Self(Twin::holding(every.to_words()))
    }

    pub(super) fn load(&self) -> Registration {
        Registration::from_words(self.0.load())
    }

    /// What it said when it was of the version `source`, from which settings come that are `still` what
    /// they were.
    fn of(&self, source: u32, still: impl FnOnce() -> bool) -> Option<Registration> {
        let (words, version) = self.0.load_of(0);
        if version == source {
            return Some(Registration::from_words(words));
        }
        // Somebody configures, and has not come to those settings. Until all of them are replaced,
        // nobody writes where that stands which was said before.
        let before = self.0.load_before(version);
        let is_before = version == source.wrapping_add(1) && still();
        is_before.then(|| Registration::from_words(before))
    }

    pub(super) fn replace(&self, writer: &Writer<'_>, every: &Registration) {
        self.0.replace(writer, every.to_words());
    }
}

impl Limit for Entry {
    fn take(&self, now: Instant, tokens: u32) -> Result<Taken, Limited> {
        self.shared.buckets.take(&self.shared.settings.limit_rule(), now, tokens)
    }

    fn foresee(&self, now: Instant, at: Instant, tokens: u32) -> Result<(), Limited> {
        self.shared.buckets.foresee(&self.shared.settings.limit_rule(), now, at, tokens)
    }

    fn refund(&self, taken: Taken) {
        self.shared.buckets.refund(taken);
    }

    fn settle(&self, now: Instant, estimated: u32, actual: u32) {
        self.shared.buckets.settle(&self.shared.settings.limit_rule(), now, estimated, actual);
    }
}

impl Observe for Entry {
    fn observe(&self, event: &Event) {
        if let Some(watch) = self.watch {
            watch.watch(self.name().as_str(), event);
        }
    }
}

impl core::fmt::Debug for dyn Watch {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Watch")
    }
}

impl<F: Fn(&str, &Event) + Sync> Watch for F {
    fn watch(&self, operation: &str, event: &Event) {
        self(operation, event);
    }
}
