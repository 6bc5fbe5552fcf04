//! A cap on attempts under way at once.

use core::borrow::Borrow;
use core::fmt;

use super::word::AtomicWord;

/// So many slots, and no more. Nobody waits for one.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Bulkhead {
    slots: u32,
    taken: SharedSlots,
}

/// How many slots are taken, without how many there are, which comes with each call: for numbers
/// that change while it runs.
#[derive(Debug)]
pub struct SharedSlots(AtomicWord);

/// One slot, given back when dropped. `B` is a reference to the bulkhead or any handle of it.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "a slot is given back when dropped"]
pub struct Slot<B: Slotted>(B);

/// Whatever leads to the slots that are taken: any handle of a [`Bulkhead`].
pub trait Slotted {
    /// The slots that are taken.
    fn taken(&self) -> &SharedSlots;
}

/// No slot is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BulkheadFull;

/// A bulkhead has one slot at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct NoSlots;

impl Bulkhead {
    /// A bulkhead of `slots` slots, at least one.
    #[must_use]
    pub const fn new(slots: u32) -> Self {
        match Self::try_new(slots) {
            Ok(bulkhead) => bulkhead,
            Err(NoSlots) => panic!("a bulkhead has one slot at least"),
        }
    }

    /// The same for a number that comes at run time.
    ///
    /// # Errors
    ///
    /// There is no slot.
    pub const fn try_new(slots: u32) -> Result<Self, NoSlots> {
        match slots {
            0 => Err(NoSlots),
            _ => Ok(Self { slots, taken: SharedSlots::new() }),
        }
    }

    /// Takes a slot, if one is free.
    ///
    /// # Errors
    ///
    /// All are taken.
    pub fn try_acquire(&self) -> Result<Slot<&Self>, BulkheadFull> {
        Slot::try_acquire(self)
    }

    /// Slots taken at the moment.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.taken.taken()
    }

    /// Slots there are.
    #[must_use]
    pub const fn slots(&self) -> u32 {
        self.slots
    }

    pub(crate) const fn shared(&self) -> &SharedSlots {
        &self.taken
    }
}

impl SharedSlots {
    /// None taken.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicWord::new(0))
    }

    /// Takes one of `slots`, if one is free.
    ///
    /// # Errors
    ///
    /// All are taken.
    pub fn try_acquire(&self, slots: u32) -> Result<Slot<&Self>, BulkheadFull> {
        if self.take(slots) { Ok(Slot(self)) } else { Err(BulkheadFull) }
    }

    /// Takes one of `slots`, if one is free, for who [gives it back](Self::give_back) himself.
    pub(crate) fn take(&self, slots: u32) -> bool {
        self.0.update(|taken| take(taken, slots))
    }

    pub(crate) fn give_back(&self) {
        self.0.update(|taken| (give_back(taken), ()));
    }

    /// Slots taken at the moment.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.0.load()
    }
}

impl<B: Borrow<Bulkhead>> Slot<B> {
    /// Takes a slot of `bulkhead`, if one is free, and keeps the handle.
    ///
    /// # Errors
    ///
    /// All are taken.
    pub fn try_acquire(bulkhead: B) -> Result<Self, BulkheadFull> {
        let Bulkhead { slots, taken } = bulkhead.borrow();
        match taken.0.update(|taken| take(taken, *slots)) {
            true => Ok(Self(bulkhead)),
            false => Err(BulkheadFull),
        }
    }
}

impl<B: Borrow<Bulkhead>> Slotted for B {
    fn taken(&self) -> &SharedSlots {
        &self.borrow().taken
    }
}

impl Slotted for &SharedSlots {
    fn taken(&self) -> &SharedSlots {
        self
    }
}

impl<B: Slotted> Drop for Slot<B> {
    fn drop(&mut self) {
        self.0.taken().give_back();
    }
}

impl Default for SharedSlots {
    fn default() -> Self {
        Self::new()
    }
}

/// One more slot taken, and whether there was one.
const fn take(taken: u32, slots: u32) -> (u32, bool) {
    if taken < slots { (taken + 1, true) } else { (taken, false) }
}

const fn give_back(taken: u32) -> u32 {
    taken.saturating_sub(1)
}

impl fmt::Display for BulkheadFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bulkhead full")
    }
}

impl fmt::Display for NoSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bulkhead has one slot at least")
    }
}

impl core::error::Error for BulkheadFull {}
impl core::error::Error for NoSlots {}
