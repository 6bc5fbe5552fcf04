//! Leave to make one attempt.

use core::time::Duration;

use super::operation::Made;
use crate::clock::Instant;
use crate::state::pass::Pass;
use crate::state::{Meter, SharedSlots, Tally};

/// Leave to make one attempt, with what it holds meanwhile. Dropped, it gives that back and says
/// nothing of the other side. A run that goes on must hear of it: [`Run::cancel`](super::Run::cancel).
#[derive(Debug)]
#[must_use = "settle it, or cancel it"]
#[repr(C)] // The byte first, as in `Progress`.
pub struct Attempt<'p> {
    /// The deadline comes before the attempt's own timeout.
    pub(super) cut: bool,
    pub(super) number: u32,
    pub(super) ends: Instant,
    pub(super) granted: Instant,
    pub(super) pass: Option<Pass<'p>>,
    pub(super) slot: Option<Held<'p>>,
    /// What it is to count into that it ended unsettled, until it is settled.
    pub(super) meter: Option<&'p dyn Meter>,
}

/// A slot of a bulkhead, with how it is given back: linked by who took it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held<'p> {
    pub(super) slots: &'p SharedSlots,
    pub(super) give_back: fn(&SharedSlots),
}

impl Attempt<'_> {
    /// None: it holds nothing, and was never granted.
    // No constant, which would be copied from a place of its own.
    pub(super) const fn none() -> Self {
        Self {
            pass: None,
            slot: None,
            meter: None,
            ends: Instant::MAX,
            cut: false,
            granted: Instant::MAX,
            number: 0,
        }
    }

    /// When it must have ended: [`Instant::MAX`] where there is no limit.
    #[must_use]
    pub const fn ends(&self) -> Instant {
        self.ends
    }

    /// Its number and its time.
    #[must_use]
    pub const fn made(&self) -> Made {
        let time_left = match self.ends.as_micros() {
            u64::MAX => Duration::MAX,
            _ => self.ends.since(self.granted),
        };
        Made::new(self.number, time_left)
    }

    pub(super) fn is_shadowed(&self) -> bool {
        self.pass.as_ref().is_some_and(Pass::shadowed)
    }

    /// Gives back what it holds: the permit first, for whoever finds the slot free finds the breaker
    /// as it is then.
    #[inline(never)] // Once for all that ends one.
    pub(super) fn give_back(&mut self) {
        if let Some(pass) = self.pass.take() {
            pass.give_back();
        }
        if let Some(Held { slots, give_back }) = self.slot.take() {
            give_back(slots);
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.give_back();
        if let Some(meter) = self.meter {
            meter.count(Tally::AttemptCancelled);
        }
    }
}
