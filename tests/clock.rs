//! Time: what an instant says, what a reference to a clock is, and the clock that is moved by hand.

mod common;

use core::cell::Cell;
use core::future::{Future as _, Ready, ready};
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::thread;

use steadfast::{Clock, Frugal, Instant, ManualClock, Sleep, Wait};

use common::{at, secs, yields};

// --- Instants -------------------------------------------------------------------------------------

#[test]
fn a_part_of_a_microsecond_counts_whole() {
    let nanos = |nanos| at(1).after(Duration::from_nanos(nanos)).since(at(1));
    assert_eq!(nanos(0), Duration::ZERO);
    for (length, whole) in [(1, 1), (999, 1), (1_000, 1), (1_001, 2), (999_999_999, 1_000_000)] {
        assert_eq!(nanos(length), Duration::from_micros(whole), "{length} ns");
    }
}

#[test]
fn what_no_instant_can_say_is_the_last_one_and_what_came_later_took_no_time() {
    assert_eq!(Instant::ORIGIN.after(Duration::MAX), Instant::MAX);
    assert_eq!(Instant::MAX.after(Duration::from_nanos(1)), Instant::MAX);
    // The last whole second that there is.
    let last = 18_446_744_073_709;
    let reached = Instant::ORIGIN.after(Duration::from_secs(last));
    assert_eq!(reached.as_micros(), last * 1_000_000);
    assert_eq!(at(5).since(at(3)), secs(2));
    assert_eq!(at(3).since(at(5)), Duration::ZERO);
}

// --- Any clock ------------------------------------------------------------------------------------

/// A clock that answers everything otherwise than the defaults.
#[derive(Debug, Default)]
struct Distinct {
    asked: Cell<Option<Instant>>,
}

impl Clock for Distinct {
    fn now(&self) -> Instant {
        at(11)
    }

    fn unix_micros(&self) -> Option<u64> {
        Some(22)
    }

    fn shard_hint(&self) -> usize {
        33
    }

    fn next_wake_up(&self, earliest: Instant) -> Instant {
        earliest.after(secs(66))
    }

    fn pay_for_wake_up(&self, now: Instant, at: Instant) -> bool {
        (now, at) != NOT_PAID
    }
}

const NOT_PAID: (Instant, Instant) = (at(7), at(77));

impl Sleep for Distinct {
    type Sleeping = Ready<()>;

    fn sleep_until(&self, at: Instant) -> Ready<()> {
        self.asked.set(Some(at));
        ready(())
    }

    fn random(&self) -> u32 {
        44
    }
}

impl Wait for Distinct {
    fn wait_until(&self, at: Instant) {
        self.asked.set(Some(at));
    }

    fn random(&self) -> u32 {
        55
    }
}

/// The next wake-up, and which others are paid.
type Energy = (Instant, [bool; 2]);

#[test]
fn a_reference_to_a_clock_says_what_the_clock_says_and_waits_as_it_does() {
    fn answers(clock: impl Sleep + Wait) -> (Instant, Option<u64>, usize, [u32; 2], Energy) {
        let random = [Sleep::random(&clock), Wait::random(&clock)];
        let (now, later) = NOT_PAID;
        let paid = [clock.pay_for_wake_up(now, later), clock.pay_for_wake_up(later, now)];
        let energy = (clock.next_wake_up(at(1)), paid);
        (clock.now(), clock.unix_micros(), clock.shard_hint(), random, energy)
    }
    let clock = Distinct::default();
    let expected = (at(11), Some(22), 33, [44, 55], (at(67), [false, true]));
    assert_eq!(answers(Distinct::default()), expected);
    assert_eq!(answers(&clock), expected);
    assert_eq!(answers(Frugal::new(&clock)), expected, "one that was told nothing");
    let asked = |wait: &dyn Fn()| {
        wait();
        clock.asked.take()
    };
    assert_eq!(asked(&|| drop(Sleep::sleep_until(&&clock, at(7)))), Some(at(7)));
    assert_eq!(asked(&|| Wait::wait_until(&&clock, at(8))), Some(at(8)));
    let frugal = Frugal::new(&clock);
    assert_eq!(asked(&|| drop(Sleep::sleep_until(&frugal, at(9)))), Some(at(9)));
    assert_eq!(asked(&|| Wait::wait_until(&frugal, at(10))), Some(at(10)));
}

#[test]
fn a_clock_knows_no_wall_time_one_shard_and_no_want_of_energy_unless_it_says_otherwise() {
    let clock = ManualClock::new();
    assert_eq!((clock.unix_micros(), clock.shard_hint()), (None, 0));
    assert_eq!((clock.next_wake_up(at(5)), clock.pay_for_wake_up(at(0), at(5))), (at(5), true));
}

// --- Moved by hand --------------------------------------------------------------------------------

#[test]
fn a_manual_clock_begins_at_the_origin_with_the_same_chance_each_time() {
    let (clock, other) = (ManualClock::default(), ManualClock::new());
    assert_eq!((clock.now(), other.now()), (Instant::ORIGIN, Instant::ORIGIN));
    assert_eq!(Sleep::random(&&clock), Sleep::random(&&other));
    clock.set_random(9);
    assert_eq!((Sleep::random(&&clock), Wait::random(&clock)), (9, 9));
    assert_ne!(Sleep::random(&&other), 9);
}

#[test]
fn a_wait_that_blocks_moves_the_clock_forward_alone() {
    let clock = ManualClock::new();
    clock.wait_until(at(5));
    clock.wait_until(at(3));
    assert_eq!(clock.now(), at(5));
    clock.set(at(3));
    assert_eq!(clock.now(), at(3), "backwards only when told so");
}

#[test]
fn the_earliest_wait_comes_first_and_each_ends_at_its_instant() {
    let clock = ManualClock::new();
    let (mut late, mut early) =
        (pin!((&clock).sleep_until(at(5))), pin!((&clock).sleep_until(at(3))));
    let mut ends = [None; 2];
    clock.block_on(core::future::poll_fn(|context: &mut Context<'_>| {
        for (sleep, end) in [&mut late, &mut early].into_iter().zip(&mut ends) {
            if end.is_none() && sleep.as_mut().poll(context).is_ready() {
                *end = Some(clock.now());
            }
        }
        if ends.contains(&None) { Poll::Pending } else { Poll::Ready(()) }
    }));
    assert_eq!(ends, [Some(at(5)), Some(at(3))]);
}

#[test]
fn a_wait_longer_than_a_word_of_microseconds_ends_at_its_instant_too() {
    let clock = ManualClock::new();
    for hours in [1, 2, 24 * 365] {
        let end = clock.now().after(secs(3600 * hours));
        clock.block_on((&clock).sleep_until(end));
        assert_eq!(clock.now(), end);
    }
}

#[test]
fn a_wait_of_just_a_word_of_microseconds_or_one_more_or_less_ends_too() {
    let word = u64::from(u32::MAX);
    for micros in [word - 1, word, word + 1] {
        let (clock, end) = (ManualClock::new(), Instant::from_micros(micros));
        let (mut sleep, mut polls) = (pin!((&clock).sleep_until(end)), 0);
        clock.block_on(core::future::poll_fn(|context: &mut Context<'_>| {
            polls += 1;
            assert!(polls < 1_000, "the clock stays at {:?}", clock.now());
            sleep.as_mut().poll(context)
        }));
        assert_eq!(clock.now(), end);
    }
}

#[test]
fn a_future_that_waits_for_something_else_is_polled_on_and_the_clock_stays() {
    let clock = ManualClock::new();
    clock.block_on(yields(1_000));
    assert_eq!(clock.now(), Instant::ORIGIN);
}

#[test]
fn a_reading_from_another_thread_is_never_half_of_one_time_and_half_of_another() {
    // The lower half of each time repeats its upper half.
    const TIMES: u64 = 2_000_000;
    let clock = ManualClock::new();
    let done = |now: Instant| now.as_micros() >> 32 == TIMES;
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut before = Instant::ORIGIN;
                while !done(before) {
                    let now = clock.now();
                    assert_eq!(now.as_micros() >> 32, now.as_micros() & 0xffff_ffff);
                    assert!(before <= now);
                    before = now;
                }
            });
        }
        for time in 1..=TIMES {
            clock.set(Instant::from_micros(time << 32 | time));
        }
    });
}
