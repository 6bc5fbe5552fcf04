//! What judges a closed circuit by its outcomes, beside its own history.

use core::time::Duration;

use super::circuit::{Circuit, Outcome};
use super::word::WordPair;
use crate::clock::Instant;

/// What judges a closed circuit by its outcomes, beside its own history.
pub trait Evidence: Sync {
    /// Enters an outcome that the circuit counted in `phase`, of an attempt that took so long. Whether
    /// the circuit is to open.
    fn enter(&self, now: Instant, phase: ClosedPhase<'_>, outcome: Outcome, took: Duration)
    -> bool;

    /// The closed phase `epoch` is over: its number comes again.
    fn ended(&self, epoch: u32);
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

/// An outcome as windows see it.
#[derive(Clone, Copy)]
pub(super) struct Seen {
    pub(super) failed: bool,
    pub(super) slow: bool,
}

impl Seen {
    pub(super) const fn is_good(self) -> bool {
        !self.failed && !self.slow
    }
}
