//! Random bits for devices that have no source of them: a fleet that fails together is not to retry
//! together.

use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Numbers that differ from device to device, from a device's unique id. Nobody is surprised by
/// them who knows the id: they are for jitter, and for nothing secret.
///
/// A device draws the same sequence each time that it starts. Seed it with more than the id (a
/// count of starts, noise of a converter) where that is not enough.
#[derive(Debug)]
pub struct Random {
    key: [u32; 2],
    drawn: AtomicU32,
}

impl Random {
    /// The sequence of the device with the unique id `id`. All of an id counts, its length too; two
    /// that differ in one bit give different sequences.
    #[must_use]
    pub const fn seeded(id: &[u8]) -> Self {
        let key = hash(id);
        Self { key: [key as u32, (key >> 32) as u32], drawn: AtomicU32::new(0) }
    }

    /// The next 32 bits. The sequence repeats after 2^32 of them.
    pub fn draw(&self) -> u32 {
        // A load and a store, for cores without compare-and-swap have no more: two who draw at once
        // may get the same number, and then wait equally long once.
        let drawn = self.drawn.load(Relaxed);
        self.drawn.store(drawn.wrapping_add(1), Relaxed);
        let [low, high] = self.key;
        mixed(mixed(drawn ^ low) ^ high)
    }
}

/// How much was drawn; the key follows from the device's id, and is left out.
#[cfg(feature = "defmt")]
impl defmt::Format for Random {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Random {{ drawn: {=u32} }}", self.drawn.load(Relaxed));
    }
}

/// FNV-1a, and what MurmurHash3 ends with, which spreads a difference over all bits.
#[allow(clippy::indexing_slicing, reason = "const, and within the id")]
const fn hash(id: &[u8]) -> u64 {
    let (mut hash, mut at) = (0xcbf2_9ce4_8422_2325_u64, 0);
    while at < id.len() {
        hash = (hash ^ id[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ hash >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ hash >> 33
}

/// What MurmurHash3 ends with for 32 bits: no two numbers become one.
const fn mixed(mut bits: u32) -> u32 {
    bits = (bits ^ bits >> 16).wrapping_mul(0x85eb_ca6b);
    bits = (bits ^ bits >> 13).wrapping_mul(0xc2b2_ae35);
    bits ^ bits >> 16
}
