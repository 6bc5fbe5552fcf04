//! The clock of firmware that blocks, over a counter and delays that are more or less right.

use core::cell::Cell;
use core::time::Duration;

use embedded_hal::delay::DelayNs;
use steadfast::{Backoff, Clock as _, Instant, Jitter, Policy, Wait as _};
use steadfast_embassy::DelayClock;

#[test]
fn it_reads_the_counter() {
    let counter = Cell::new(17);
    let clock = DelayClock::new(Delay::right(&counter), || counter.get(), b"id");
    assert_eq!(clock.now(), Instant::from_micros(17));
    counter.set(u64::MAX);
    assert_eq!(clock.now(), Instant::MAX);
}

#[test]
fn a_wait_is_one_delay_where_the_delay_is_right() {
    let counter = Cell::new(1_000);
    let clock = DelayClock::new(Delay::right(&counter), || counter.get(), b"id");
    clock.wait_until(Instant::from_micros(4_000));
    assert_eq!(counter.get(), 4_000);
    let (delay, _) = clock.release();
    assert_eq!(delay.asked, [3_000]);
}

#[test]
fn a_delay_that_ends_early_is_asked_again() {
    for percent in [1, 50, 97, 99] {
        let counter = Cell::new(0);
        let delay = Delay { percent, ..Delay::right(&counter) };
        let clock = DelayClock::new(delay, || counter.get(), b"id");
        clock.wait_until(Instant::from_micros(1_000_000));
        assert!(counter.get() >= 1_000_000, "{percent}: {}", counter.get());
        assert!(clock.release().0.asked.len() > 1);
    }
}

#[test]
fn an_instant_that_has_passed_is_not_waited_for() {
    let counter = Cell::new(1_000);
    let clock = DelayClock::new(Delay::right(&counter), || counter.get(), b"id");
    clock.wait_until(Instant::from_micros(1_000));
    clock.wait_until(Instant::ORIGIN);
    assert_eq!(clock.release().0.asked, []);
}

#[test]
fn a_wait_may_be_longer_than_a_delay_can_be() {
    let counter = Cell::new(0);
    let clock = DelayClock::new(Delay::right(&counter), || counter.get(), b"id");
    let day = 86_400_000_000;
    clock.wait_until(Instant::from_micros(day));
    assert_eq!(counter.get(), day);
    let asked = clock.release().0.asked;
    assert!(asked.iter().all(|&micros| micros > 0), "{asked:?}");
    assert_eq!(asked.iter().map(|&micros| u64::from(micros)).sum::<u64>(), day);
}

#[test]
fn an_execution_blocks_between_attempts() {
    let counter = Cell::new(0);
    let clock = DelayClock::new(Delay::right(&counter), || counter.get(), b"id");
    let policy = Policy::new()
        .attempts(3)
        .backoff(Backoff::constant(Duration::from_millis(100)).jitter(Jitter::Equal))
        .retry_all();
    let mut made = Vec::new();
    let result = policy.execute_blocking(&clock, |_| {
        made.push(counter.get());
        Err::<(), _>("down")
    });
    assert_eq!(result.unwrap_err().attempts, 3);
    let waits: Vec<_> = made.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits.iter().all(|wait| (50_000..=100_001).contains(wait)), "{waits:?}");
    assert_ne!(waits[0], waits[1], "each wait draws anew");
}

/// A delay that takes `percent` of the time that it is asked for, a microsecond at least.
struct Delay<'c> {
    counter: &'c Cell<u64>,
    percent: u64,
    asked: Vec<u32>,
}

impl<'c> Delay<'c> {
    const fn right(counter: &'c Cell<u64>) -> Self {
        Self { counter, percent: 100, asked: Vec::new() }
    }
}

impl DelayNs for Delay<'_> {
    fn delay_ns(&mut self, ns: u32) {
        self.delay_us(ns.div_ceil(1_000));
    }

    fn delay_us(&mut self, us: u32) {
        self.asked.push(us);
        self.counter.set(self.counter.get() + (u64::from(us) * self.percent / 100).max(1));
    }
}
