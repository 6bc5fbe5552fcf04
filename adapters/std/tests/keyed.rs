//! Breakers by key: bounded, shared, and forgotten only where nothing is lost.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::time::Duration;
use std::sync::{Arc, Barrier};
use std::thread;

use steadfast::state::{Mode, Outcome, Settled, State, Transition};
use steadfast::{Breaker, Clock as _, Instant, ManualClock, Permit, Policy, Rule, Trip};
use steadfast_std::{Full, Keyed};

#[test]
fn a_million_healthy_keys_find_a_place_and_do_not_grow_it_past_its_bound() {
    let keyed = Keyed::<u32>::new(RULE, 1_000, IDLE);
    for key in 0..1_000_000 {
        let breaker = keyed.breaker(&key, NOW).unwrap();
        breaker.try_acquire(NOW).unwrap().settle(NOW, Outcome::Success);
        if key % 10_000 == 0 {
            assert!(keyed.len() <= 1_000, "{}", keyed.len());
        }
    }
    assert_eq!(keyed.len(), 1_000);
}

#[test]
fn where_none_is_idle_it_is_full_and_says_how_many_places_it_has() {
    let keyed = Keyed::<u32>::new(RULE, 10, IDLE);
    let answers = (0..1_000).map(|key| keyed.breaker(&key, NOW).map(|breaker| fail(&breaker, NOW)));
    assert_eq!(answers.filter(Result::is_ok).count(), 10);
    let full = keyed.breaker(&1_000, NOW).unwrap_err();
    assert_eq!(full, Full { capacity: 10 });
    assert_eq!(full.to_string(), "all 10 places for keys are taken, and none is idle");
    assert_eq!(keyed.len(), 10);
    assert!(keyed.breaker(&0, NOW).is_ok(), "those who have a place keep it");
    assert!(keyed.breaker(&1_000, NOW.after(IDLE)).is_ok(), "idle by now");
}

#[test]
fn an_open_breaker_stays_open_whatever_keys_come_by() {
    let keyed = Keyed::<String>::new(RULE, 4, Duration::from_secs(3));
    open(&keyed, "down", NOW);
    let almost = NOW.after(Duration::from_secs(29));
    for now in [NOW, almost] {
        crowd(&keyed, now);
        assert_eq!(keyed.breaker("down", now).unwrap().state(now), State::Open);
    }
    let over = NOW.after(Duration::from_secs(31));
    crowd(&keyed, over);
    assert_eq!(keyed.breaker("down", over).unwrap().state(over), State::HalfOpen, "just asked for");
    let later = over.after(Duration::from_secs(3));
    crowd(&keyed, later);
    assert_eq!(keyed.breaker("down", later).unwrap().state(later), State::Closed, "forgotten");
}

#[test]
fn failures_are_remembered_for_the_idle_time() {
    let keyed = Keyed::<String>::new(RULE, 4, IDLE);
    let before = NOW.after(IDLE - Duration::from_micros(1));
    let state_after_one_more = |now| {
        let breaker = keyed.breaker("frail", now).unwrap();
        fail(&breaker, now);
        breaker.state(now)
    };
    assert_eq!(state_after_one_more(NOW), State::Closed);
    crowd(&keyed, before);
    assert_eq!(state_after_one_more(before), State::Open, "its second failure");

    let later = before.after(Duration::from_secs(31));
    keyed
        .breaker("frail", later)
        .unwrap()
        .try_acquire(later)
        .unwrap()
        .settle(later, Outcome::Success);
    assert_eq!(state_after_one_more(later), State::Closed);
    let idle = later.after(IDLE);
    crowd(&keyed, idle);
    assert_eq!(state_after_one_more(idle), State::Closed, "forgotten: its first failure");
}

#[test]
fn who_holds_a_breaker_has_the_same_as_all_others() {
    let keyed = Keyed::<String>::new(RULE, 4, IDLE);
    let held = keyed.breaker("held", NOW).unwrap();
    let long_after = NOW.after(10 * IDLE);
    crowd(&keyed, long_after);
    assert!(Arc::ptr_eq(&held, &keyed.breaker("held", long_after).unwrap()));
    let weakly = Arc::downgrade(&held);
    drop(held);
    crowd(&keyed, long_after);
    let again = weakly.upgrade().unwrap();
    assert!(Arc::ptr_eq(&again, &keyed.breaker("held", long_after).unwrap()));
}

#[test]
fn a_mode_that_was_forced_is_not_forgotten() {
    let keyed = Keyed::<String>::new(RULE, 4, IDLE);
    for (key, mode) in [("shadow", Mode::Shadow), ("closed", Mode::ForcedClosed)] {
        keyed.breaker(key, NOW).unwrap().force(NOW, mode);
    }
    let later = NOW.after(10 * IDLE);
    crowd(&keyed, later);
    assert_eq!(keyed.breaker("shadow", later).unwrap().mode(), Mode::Shadow);
    assert_eq!(keyed.breaker("closed", later).unwrap().mode(), Mode::ForcedClosed);
}

#[test]
fn a_permit_in_flight_settles_whether_its_key_is_kept_or_forgotten() {
    let keyed = Keyed::<String>::new(RULE, 1, IDLE);
    let later = NOW.after(10 * IDLE);
    let permit = |key| Permit::try_acquire(keyed.breaker(key, NOW).unwrap(), NOW).unwrap();
    let in_flight: [Permit<Arc<Breaker>>; 2] = [permit("tenant"), permit("tenant")];
    assert_eq!(keyed.breaker("other", later).unwrap_err(), Full { capacity: 1 }, "it is held");
    let [first, second] = in_flight;
    assert_eq!(first.settle(NOW, Outcome::Failure), Settled::Counted);

    assert!(keyed.forget("tenant") && !keyed.forget("tenant"));
    let anew = keyed.breaker("tenant", NOW).unwrap();
    fail(&anew, NOW);
    let opened = Settled::Moved(Transition::Opened);
    assert_eq!(second.settle(NOW, Outcome::Failure), opened, "its own second failure");
    assert_eq!(anew.state(NOW), State::Closed, "and no business of the new one");
    assert_eq!(keyed.len(), 1);
    assert!(keyed.forget("tenant") && keyed.breaker("other", NOW).is_ok(), "its place is free");
}

#[test]
fn a_call_may_ask_for_its_own_key_while_it_is_made() {
    let (keyed, clock) = (Keyed::<String>::new(RULE, 1, IDLE), ManualClock::new());
    let breaker = keyed.breaker("host", clock.now()).unwrap();
    let policy = Policy::new().breaker(&breaker).retry_all();
    let answer = policy.execute_blocking(&clock, |_| {
        let same = keyed.breaker("host", clock.now()).map_err(|_| "no place")?;
        if Arc::ptr_eq(&same, &breaker) { Ok(keyed.len()) } else { Err("another") }
    });
    assert_eq!(answer, Ok(1));
}

#[test]
fn threads_that_ask_for_the_same_new_key_get_the_same_breaker() {
    let (keyed, start) = (Keyed::<u32>::new(RULE, 200, IDLE), Barrier::new(4));
    let ask = || {
        start.wait();
        (0..200).map(|key| keyed.breaker(&key, NOW).unwrap()).collect::<Vec<_>>()
    };
    let asked = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for others in &asked[1..] {
        assert!(asked[0].iter().zip(others).all(|(one, other)| Arc::ptr_eq(one, other)));
    }
    assert_eq!(keyed.len(), 200);
}

#[test]
fn threads_that_crowd_it_do_not_grow_it_past_its_bound() {
    let keyed = Keyed::<u32>::new(RULE, 50, IDLE);
    thread::scope(|scope| {
        for number in 0..4 {
            let keyed = &keyed;
            scope.spawn(move || {
                for key in 0..20_000 {
                    // 4 are held at most: there is always a place.
                    let breaker = keyed.breaker(&(key * 4 + number), NOW).unwrap();
                    breaker.try_acquire(NOW).unwrap().settle(NOW, Outcome::Success);
                    assert!(key % 500 != 0 || keyed.len() <= 50);
                }
            });
        }
    });
    assert_eq!(keyed.len(), 50);
}

// --- Helpers --------------------------------------------------------------------------------------

fn fail(breaker: &Breaker, now: Instant) {
    breaker.try_acquire(now).unwrap().settle(now, Outcome::Failure);
}

fn open(keyed: &Keyed<String>, key: &str, now: Instant) {
    let breaker = keyed.breaker(key, now).unwrap();
    fail(&breaker, now);
    fail(&breaker, now);
    assert_eq!(breaker.state(now), State::Open);
}

/// Lets a hundred other keys by, which takes every place that can be had.
fn crowd(keyed: &Keyed<String>, now: Instant) {
    for number in 0..100 {
        keyed.breaker(&format!("other {number}"), now).unwrap();
    }
}

const NOW: Instant = Instant::from_micros(1_000_000);
const IDLE: Duration = Duration::from_secs(600);
/// Two failures in a row open it for half a minute.
const RULE: Rule = Rule::new(Trip::after(2), Duration::from_secs(30));
