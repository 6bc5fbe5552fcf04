//! An operation of the table, to look at.

use core::time::Duration;

use super::entry::Entry;
use super::name::Name;
use super::registration::Effective;
use crate::clock::Instant;
use crate::state::{
    BreakerOpen, FINE, Guarded, Metrics, Mode, Permit, Rule, SharedCircuit, Snapshot, State,
    Transition,
};

/// One operation, to look at.
#[derive(Clone, Copy, Debug)]
pub struct View<'o, const BUCKETS: usize = FINE, const SHARDS: usize = 1> {
    entry: &'o Entry,
    metrics: &'o Metrics<BUCKETS, SHARDS>,
}

/// The breaker of an operation. All its callers share it, under a rule that may change.
#[derive(Clone, Copy, Debug)]
pub struct OperationBreaker<'o> {
    entry: &'o Entry,
}

impl<'o, const BUCKETS: usize, const SHARDS: usize> View<'o, BUCKETS, SHARDS> {
    pub(super) const fn new(entry: &'o Entry, metrics: &'o Metrics<BUCKETS, SHARDS>) -> Self {
        Self { entry, metrics }
    }

    /// The operation's name.
    #[must_use]
    pub fn name(&self) -> Name {
        self.entry.name()
    }

    /// Its settings, each with its origin.
    #[must_use]
    pub fn effective(&self) -> Effective {
        self.entry.effective()
    }

    /// Its breaker.
    #[must_use]
    pub const fn breaker(&self) -> OperationBreaker<'o> {
        OperationBreaker { entry: self.entry }
    }

    /// Its metrics.
    #[must_use]
    pub const fn metrics(&self) -> &'o Metrics<BUCKETS, SHARDS> {
        self.metrics
    }

    /// What happened since its metrics were made or last reset.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.metrics.snapshot()
    }
}

impl OperationBreaker<'_> {
    /// What it is doing.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        self.shared().load().state(&self.rule(), now)
    }

    /// For how long it still refuses: see [`Breaker::remaining`](crate::Breaker::remaining).
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Duration {
        self.shared().load().remaining(&self.rule(), now)
    }

    /// The rule that it follows at the moment.
    #[must_use]
    pub fn rule(&self) -> Rule {
        Guarded::rule(self)
    }

    /// Whether executions ask it at all.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.entry.effective().settings().breaker_enabled
    }

    /// What it is doing, if anybody asks it.
    pub(super) fn state_if_enabled(&self, now: Instant) -> Option<State> {
        self.is_enabled().then(|| self.state(now))
    }

    /// Whether it acts on what it sees.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.shared().load().mode()
    }

    /// Acts by `mode` from now on, until told otherwise or a configuration changes `breaker.mode`.
    pub fn force(&self, now: Instant, mode: Mode) -> Option<Transition> {
        self.shared().force(now, mode)
    }

    /// Closes it, and forgets what it saw.
    pub fn reset(&self) -> Option<Transition> {
        self.shared().reset()
    }

    /// Asks for leave to make an attempt, beside those of executions.
    ///
    /// # Errors
    ///
    /// It is open, or all its probes are under way.
    pub fn try_acquire(&self, now: Instant) -> Result<Permit<Self>, BreakerOpen> {
        Permit::try_acquire(*self, now)
    }
}

impl Guarded for OperationBreaker<'_> {
    type Followed<'a>
        = Rule
    where
        Self: 'a;

    fn shared(&self) -> &SharedCircuit {
        &self.entry.shared().circuit
    }

    fn rule(&self) -> Rule {
        self.entry.shared().settings.rule()
    }
}
