//! What a wait between two attempts is made of besides its length: chance, and wake-ups.

use crate::clock::{Clock, Instant};

/// What a [`Run`](super::Run) asks for when there is to be a wait.
///
/// A closure `Fn() -> u32` is one that gives random bits and has all the energy there is; a pair of
/// such a closure and a reference to a clock asks the clock about wake-ups.
pub trait Pace {
    /// 32 random bits, drawn once for each wait. See [`Sleep::random`](crate::Sleep::random).
    fn random(&self) -> u32;

    /// See [`Clock::next_wake_up`].
    fn next_wake_up(&self, earliest: Instant) -> Instant {
        earliest
    }

    /// See [`Clock::pay_for_wake_up`].
    fn pay_for_wake_up(&self, _now: Instant, _at: Instant) -> bool {
        true
    }
}

impl<R: Fn() -> u32> Pace for R {
    fn random(&self) -> u32 {
        self()
    }
}

impl<R: Fn() -> u32, K: Clock + ?Sized> Pace for (R, &K) {
    fn random(&self) -> u32 {
        self.0()
    }

    fn next_wake_up(&self, earliest: Instant) -> Instant {
        self.1.next_wake_up(earliest)
    }

    fn pay_for_wake_up(&self, now: Instant, at: Instant) -> bool {
        self.1.pay_for_wake_up(now, at)
    }
}
