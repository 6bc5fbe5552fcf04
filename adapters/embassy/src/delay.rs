//! The clock of firmware that blocks: a counter to read, and a delay of `embedded-hal` to wait by.

use core::cell::RefCell;
use core::fmt;

use embedded_hal::delay::DelayNs;
use steadfast::{Clock, Instant, Wait};

use crate::random::Random;

/// Reads a counter, waits by a delay: [`execute_blocking`](steadfast::Policy::execute_blocking).
///
/// `counter` returns microseconds since any origin, in 64 bits: one that comes round after 32 bits
/// looks like a clock that steps back, and a wait across it lasts until it has come up again. All
/// clocks that lead to one breaker read one counter.
///
/// It is for one thread of execution; an interrupt handler has one of its own, over the same
/// counter. There is none that counts its own delays instead of reading a counter: to it, no time
/// would pass between two waits, so a breaker that refuses would refuse for ever.
pub struct DelayClock<D, N> {
    delay: RefCell<D>,
    counter: N,
    random: Random,
}

impl<D: DelayNs, N: Fn() -> u64> DelayClock<D, N> {
    /// Waits by `delay` until `counter` says that it is time; random by the device's unique id.
    pub const fn new(delay: D, counter: N, id: &[u8]) -> Self {
        Self { delay: RefCell::new(delay), counter, random: Random::seeded(id) }
    }

    /// The delay and the counter.
    pub fn release(self) -> (D, N) {
        (self.delay.into_inner(), self.counter)
    }
}

impl<D: DelayNs, N: Fn() -> u64> Clock for DelayClock<D, N> {
    fn now(&self) -> Instant {
        Instant::from_micros((self.counter)())
    }
}

impl<D: DelayNs, N: Fn() -> u64> Wait for DelayClock<D, N> {
    /// Delays until the counter is there. Not the delay decides, for it may be made of cycles that
    /// are counted at another frequency than the counter's.
    fn wait_until(&self, at: Instant) {
        while let left @ 1.. = at.as_micros().saturating_sub((self.counter)()) {
            // Taken only while a delay asks this very clock to wait; then the counter alone is
            // waited for.
            if let Ok(mut delay) = self.delay.try_borrow_mut() {
                delay.delay_us(u32::try_from(left).unwrap_or(u32::MAX));
            }
        }
    }

    fn random(&self) -> u32 {
        self.random.draw()
    }
}

impl<D, N> fmt::Debug for DelayClock<D, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayClock").field("random", &self.random).finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<D, N> defmt::Format for DelayClock<D, N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "DelayClock {{ random: {} }}", self.random);
    }
}
