//! Whether operations are well: said by their breakers, and by nothing else.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::time::Duration;

use steadfast::orchestrator::{Config, Health, Key, Name, Registration};
use steadfast::state::{Mode, Outcome};
use steadfast::{Instant, Orchestrator};

#[test]
fn an_empty_system_is_healthy() {
    let table = Orchestrator::<4>::new();
    let health = table.health(at(1), Some(5));
    assert!(health.healthy && table.is_healthy(at(1)));
    assert_eq!((health.total_operations, health.total_circuit_breakers), (0, 0));
    assert_eq!(health.timestamp, Some(5));
}

#[test]
fn who_is_open_and_who_is_half_open_is_named() {
    let table = table();
    trip(&table, "one", at(1));
    let health = table.health(at(2), None);
    assert!(!health.healthy && !table.is_healthy(at(2)));
    assert_eq!(names(&health), (vec!["one"], vec![]));
    assert_eq!((health.total_operations, health.total_circuit_breakers), (3, 3));
    assert_eq!(health.timestamp, None);

    trip(&table, "two", at(40));
    // `one` was open for a minute and is no longer, though nobody asked it: nobody is counted twice.
    let health = table.health(at(70), None);
    assert_eq!(names(&health), (vec!["two"], vec!["one"]));
    let health = table.health(at(120), None);
    let (open, mut half_open) = names(&health);
    half_open.sort_unstable();
    assert_eq!((open, half_open), (vec![], vec!["one", "two"]));
    assert!(health.healthy && table.is_healthy(at(120)), "half-open is not open");
    assert_eq!((health.total_operations, health.total_circuit_breakers), (3, 3));
}

#[test]
fn a_breaker_that_is_switched_off_is_none() {
    let table = table();
    trip(&table, "one", at(1));
    let off = Registration::new().given(Key::BreakerEnabled, 0);
    table.configure(&Config::<1>::new().try_operation("one", off).unwrap()).unwrap();
    let health = table.health(at(2), None);
    assert!(health.healthy && table.is_healthy(at(2)));
    assert_eq!(names(&health), (vec![], vec![]));
    assert_eq!((health.total_operations, health.total_circuit_breakers), (3, 2));

    table.configure(&Config::<1>::new()).unwrap();
    assert_eq!(names(&table.health(at(2), None)), (vec!["one"], vec![]), "its state went on");
}

#[test]
fn modes_count_by_the_state_that_they_make() {
    let table = table();
    table.breaker("one").unwrap().force(at(1), Mode::ForcedOpen);
    assert_eq!(names(&table.health(at(2), None)), (vec!["one"], vec![]));

    trip(&table, "two", at(1));
    table.breaker("two").unwrap().force(at(1), Mode::ForcedClosed);
    assert_eq!(names(&table.health(at(2), None)), (vec!["one"], vec![]));

    table.breaker("three").unwrap().force(at(1), Mode::Shadow);
    trip(&table, "three", at(1));
    let health = table.health(at(2), None);
    let (mut open, _) = names(&health);
    open.sort_unstable();
    assert_eq!(open, ["one", "three"], "in shadow: the state that it would be in");
}

#[test]
fn a_full_table_in_an_outage_is_named_whole() {
    let table = table();
    table.register("four", Registration::new()).unwrap();
    for name in ["one", "two", "three", "four"] {
        table.breaker(name).unwrap().force(at(1), Mode::ForcedOpen);
    }
    assert_eq!(table.health(at(2), None).open_circuit_breakers.len(), 4);
}

fn table() -> Orchestrator<4> {
    let table = Orchestrator::new();
    for name in ["one", "two", "three"] {
        table.register(name, Registration::new().given(Key::Failures, 1)).unwrap();
    }
    table
}

fn trip(table: &Orchestrator<4>, name: &str, now: Instant) {
    table.breaker(name).unwrap().try_acquire(now).unwrap().settle(now, Outcome::Failure);
}

fn names(health: &Health<4>) -> (Vec<&str>, Vec<&str>) {
    fn names(all: &[Name]) -> Vec<&str> {
        all.iter().map(Name::as_str).collect()
    }
    (names(&health.open_circuit_breakers), names(&health.half_open_circuit_breakers))
}

const fn at(secs: u64) -> Instant {
    Instant::ORIGIN.after(Duration::from_secs(secs))
}
