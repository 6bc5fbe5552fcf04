//! Every order in which writers and readers of an orchestrator's table can meet:
//! `RUSTFLAGS="--cfg loom"` runs them.
#![cfg(loom)]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;

use loom::thread;
use steadfast::orchestrator::{Config, Key, RegisterError, Registration};
use steadfast::policy::Leave;
use steadfast::state::{COUNT_ONLY, Mode, NO_WINDOW};
use steadfast::{Instant, Orchestrator, Strategy};

type Table = Orchestrator<2, COUNT_ONLY, 1, NO_WINDOW>;

#[test]
#[cfg_attr(any(mutant = "relaxed_stores", mutant = "relaxed_loads"), should_panic)]
fn an_operation_that_is_found_is_found_whole() {
    model(|| {
        let table = fresh(EMPTY);
        let registering = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.register("op", registration(5)).map(|_| ()))
        };
        if let Ok(handle) = table.get("op") {
            assert_eq!(handle.name().as_str(), "op");
            assert_eq!(handle.settings().attempts, 5);
        }
        registering.join().unwrap().unwrap();
        assert_eq!(table.get("op").unwrap().settings().attempts, 5);
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_stores",
        mutant = "anybody_writes"
    ),
    should_panic
)]
fn of_two_writers_one_is_told_busy_or_both_are_in() {
    model(|| {
        let table = fresh(EMPTY);
        let other = {
            let table = Arc::clone(&table);
            thread::spawn(move || table.register("other", registration(2)).map(|_| ()))
        };
        let results = [table.register("op", registration(1)).map(|_| ()), other.join().unwrap()];
        for result in results {
            assert!(matches!(result, Ok(()) | Err(RegisterError::Busy)), "{result:?}");
        }
        let registered = results.iter().filter(|result| result.is_ok()).count();
        assert!(registered > 0);
        assert_eq!(table.len(), registered);
        assert_eq!(table.get("op").is_ok(), results[0].is_ok());
        assert_eq!(table.get("other").is_ok(), results[1].is_ok());
        // And the next one gets in.
        assert!(table.register("op", registration(1)).is_ok());
    });
}

#[test]
#[cfg_attr(any(mutant = "lost_refund", mutant = "store_for_cas"), should_panic)]
fn what_a_limit_gave_to_a_caller_goes_back_when_another_has_the_probe() {
    explore(1, || {
        let table = fresh(EMPTY);
        let limited = registration(3)
            .given(Key::Failures, 1)
            .given(Key::OpenFor, 1_000_000)
            .given(Key::RequestsPerMinute, 3);
        let mut failing = table.register("op", limited).unwrap().retry_all().start::<u8>(at(0), 0);
        let Leave::Granted(attempt) = failing.attempt(at(0)).next else { panic!("refused") };
        let _ = failing.settle(attempt, at(0), Some(Err::<(), u8>(0)), || 0);
        let probing = {
            let table = Arc::clone(&table);
            thread::spawn(move || keeps_attempt(&table))
        };
        let mine = keeps_attempt(&table);
        assert!(mine ^ probing.join().unwrap(), "one probe");
        // Of three requests, the one that failed and the probe took one each.
        table.breaker("op").unwrap().force(at(2), Mode::ForcedClosed);
        assert!(keeps_attempt(&table), "the third");
    });
}

#[test]
#[cfg_attr(any(mutant = "relaxed_stores", mutant = "relaxed_loads"), should_panic)]
fn a_strategy_of_the_callers_own_is_of_the_configuration_that_the_rest_is_of() {
    explore(1, || {
        let table = fresh(EMPTY);
        let handle = table.register("op", Registration::new()).map(|_| ());
        assert!(handle.is_ok());
        configure(&table, 2);
        let configuring = {
            let table = Arc::clone(&table);
            thread::spawn(move || configure(&table, 3))
        };
        let settings = table.get("op").unwrap().strategy(Strategy::Critical).settings();
        assert!((2..=3).contains(&settings.attempts));
        assert_eq!(settings.slots, settings.attempts, "of two configurations");
        configuring.join().unwrap();
    });
}

/// Has every strategy say the same number twice: one that is shared, and one that is not.
fn configure(table: &Table, number: u64) {
    let every = Registration::new().given(Key::Attempts, number).given(Key::Slots, number);
    table.configure(&Config::<1>::new().with_every_strategy(every)).unwrap();
}

/// Whether it gets an attempt, which is then under way for good.
fn keeps_attempt(table: &Table) -> bool {
    let mut run = table.get("op").unwrap().retry_all().start::<u8>(at(2), 0);
    match run.attempt(at(2)).next {
        Leave::Granted(attempt) => core::mem::forget(attempt),
        _ => return false,
    }
    true
}

const fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

/// From memory to the heap: a table of loom's words is larger than the stacks of its threads. Its
/// words come to life when first read, which one thread must do for all.
#[inline(always)]
fn fresh(table: Table) -> Arc<Table> {
    let table = Arc::new(table);
    assert!(!format!("{table:?}").is_empty());
    table
}

#[allow(clippy::declare_interior_mutable_const, reason = "each use makes another")]
const EMPTY: Table = Table::new();
/// Settings that say the same number in several words.
const fn registration(number: u64) -> Registration {
    Registration::by(Strategy::Balanced)
        .given(Key::Attempts, number)
        .given(Key::Deadline, number * 1_000_000)
        .given(Key::Slots, number)
}

/// All orders with two preemptions: a registration writes some hundred words, and three are too
/// many. That replaced settings are read as one is shown in `loom.rs`, by two words.
fn model(run: impl Fn() + Sync + Send + 'static) {
    explore(2, run);
}

fn explore(preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(model.preemption_bound.unwrap_or(preemptions).min(preemptions));
    model.max_branches = 20_000;
    model.check(run);
}
