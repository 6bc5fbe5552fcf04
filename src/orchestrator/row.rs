//! One operation in the table: its entry, with what has a size of its own.

use core::time::Duration;

use super::entry::{Entry, Watch};
use super::name::Name;
use super::registration::{Effective, Registration};
use super::view::View;
use crate::clock::Instant;
use crate::state::{ClosedPhase, Evidence, Metrics, Outcome, SharedWindow};

#[derive(Debug)]
pub(super) struct Row<const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> {
    pub(super) entry: Entry,
    pub(super) metrics: Metrics<BUCKETS, SHARDS>,
    window: SharedWindow<WINDOW>,
}

impl<const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> Row<BUCKETS, SHARDS, WINDOW> {
    pub(super) const fn new(
        name: Option<Name>,
        registration: Registration,
        effective: Effective,
        watch: Option<&'static dyn Watch>,
    ) -> Self {
        let entry = Entry::new(name, registration, effective, watch);
        Self { entry, metrics: Metrics::new(), window: SharedWindow::new() }
    }

    pub(super) const fn view(&self) -> View<'_, BUCKETS, SHARDS> {
        View::new(&self.entry, &self.metrics)
    }
}

impl<const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> Evidence
    for Row<BUCKETS, SHARDS, WINDOW>
{
    fn enter(
        &self,
        now: Instant,
        phase: ClosedPhase<'_>,
        outcome: Outcome,
        took: Duration,
    ) -> bool {
        let rule = self.entry.shared().settings.window_rule();
        self.window.enter(&rule, now, phase, outcome, took)
    }

    fn ended(&self, epoch: u32) {
        self.window.ended(epoch);
    }
}
