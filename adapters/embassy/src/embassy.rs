//! Embassy's clock.

use embassy_time::{Instant as Tick, TICK_HZ, Timer};
use steadfast::{Clock, Instant, Sleep};

use crate::random::Random;

/// Embassy's clock, at any tick rate. All of them have one origin, for there is one time driver.
///
/// A wait ends at a tick of the driver: never before the instant asked for, and up to one tick
/// later. It is one of embassy's timers, so it needs embassy's executor, or one of embassy-time's
/// features `generic-queue-..`.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct EmbassyClock {
    random: Random,
}

impl EmbassyClock {
    /// The clock of the device with the unique id `id`: see [`Random`].
    #[must_use]
    pub const fn seeded(id: &[u8]) -> Self {
        Self { random: Random::seeded(id) }
    }
}

impl Clock for EmbassyClock {
    fn now(&self) -> Instant {
        Instant::from_micros(micros(Tick::now().as_ticks(), TICK_HZ))
    }
}

impl Sleep for EmbassyClock {
    type Sleeping = Timer;

    fn sleep_until(&self, at: Instant) -> Timer {
        Timer::at(Tick::from_ticks(ticks(at.as_micros(), TICK_HZ)))
    }

    fn random(&self) -> u32 {
        self.random.draw()
    }
}

// Embassy's own conversions multiply before they divide, so they overflow, and round an instant
// down.

/// The last microsecond that has begun at tick number `ticks`, saturating.
const fn micros(ticks: u64, hz: u64) -> u64 {
    let common = gcd(hz, MICROS);
    let (of, per) = (MICROS / common, hz / common);
    (ticks / per).saturating_mul(of).saturating_add(ticks % per * of / per)
}

/// The first tick that is not before microsecond number `micros`, saturating.
const fn ticks(micros: u64, hz: u64) -> u64 {
    let common = gcd(hz, MICROS);
    let (of, per) = (hz / common, MICROS / common);
    (micros / per).saturating_mul(of).saturating_add((micros % per * of).div_ceil(per))
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

const MICROS: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::{micros, ticks};

    /// Of embassy's rates: the slowest, the fastest, those of crystals and of usual timers.
    const RATES: [u64; 14] = [
        1,
        10,
        100,
        128,
        1_000,
        1_024,
        32_768,
        99_000,
        1_000_000,
        1_048_576,
        12_500_000,
        48_000_000,
        133_000_000,
        5_242_880_000,
    ];

    /// Near zero, near each power of two, and at the end.
    fn samples() -> impl Iterator<Item = u64> {
        let near = |whole: u64| (0..300).map(move |by| whole.wrapping_add(by).wrapping_sub(150));
        (0..64).flat_map(move |power| near(1 << power)).chain(near(u64::MAX)).chain(near(0))
    }

    #[test]
    fn a_reading_is_the_microsecond_that_has_begun() {
        for hz in RATES {
            for tick in samples() {
                let exact = u128::from(tick) * 1_000_000 / u128::from(hz);
                assert_eq!(
                    micros(tick, hz),
                    u64::try_from(exact).unwrap_or(u64::MAX),
                    "{tick} {hz}"
                );
            }
        }
    }

    #[test]
    fn a_wait_ends_at_the_first_tick_that_is_not_early() {
        for hz in RATES {
            for at in samples() {
                let exact = (u128::from(at) * u128::from(hz)).div_ceil(1_000_000);
                assert_eq!(ticks(at, hz), u64::try_from(exact).unwrap_or(u64::MAX), "{at} {hz}");
            }
        }
    }

    #[test]
    fn at_the_end_of_a_wait_the_clock_reads_no_earlier_instant() {
        for hz in RATES {
            for at in samples() {
                // Beyond the last tick that there is, a wait never ends.
                let tick = ticks(at, hz);
                assert!(tick == u64::MAX || micros(tick, hz) >= at, "{at} µs at {hz} Hz");
            }
        }
    }
}
