//! Readings of a clock that is as bad as clocks get.

use oorandom::Rand32;
use steadfast::Instant;

use super::length;

pub(super) struct Clock {
    micros: u64,
    wake: Option<Instant>,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self { micros: 0, wake: None }
    }

    /// Somebody waits until then.
    pub(super) fn wake(&mut self, at: Option<Instant>) {
        self.wake = at.or(self.wake);
    }

    pub(super) fn read(&mut self, random: &mut Rand32) -> Instant {
        let micros = self.micros;
        let some = length(random).as_micros() as u64;
        self.micros = match (random.rand_range(0..400), self.wake.take()) {
            (0..4, _) => micros.saturating_sub(some),
            (4..8, _) => micros.saturating_sub(some % 128_000_000),
            (8, _) => before_a_wrap(micros, 24, some),
            (9, _) => before_a_wrap(micros, 32, some),
            (10, _) => u64::MAX - some,
            (11..13, _) => u64::from(random.rand_u32()) << 8,
            // Nobody sees much at the end of time.
            (13..60, _) if micros > u64::MAX / 2 => some,
            (13..120, _) => micros,
            (120..200, Some(at)) => at.as_micros(),
            (200..220, Some(at)) => at.as_micros().saturating_sub(1),
            (120..250, _) => micros.saturating_add(1),
            (250..370, _) => micros.saturating_add(some >> 10),
            _ => micros.saturating_add(some),
        };
        Instant::from_micros(self.micros)
    }
}

/// A little before coarse time (ticks of 2^14 µs) of so many bits wraps.
fn before_a_wrap(micros: u64, bits: u32, little: u64) -> u64 {
    let period = 1 << (14 + bits);
    (micros & !(period - 1)).saturating_add(period).saturating_sub(1 + little % 100_000_000)
}
