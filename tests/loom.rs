//! Every order in which a few threads can meet on the words: `RUSTFLAGS="--cfg loom"` runs them.
#![cfg(loom)]
#![allow(missing_docs, clippy::disallowed_types, clippy::indexing_slicing, clippy::unwrap_used)]

use core::sync::atomic::{AtomicU32, Ordering::SeqCst};
use core::time::Duration;
use std::sync::Arc;

use loom::thread::{self, JoinHandle};
use steadfast::state::{
    Admission, COUNT_ONLY, Circuit, Meter as _, Mode, Outcome, Phase, Rule, Settled, SharedCircuit,
    SharedWindow, Slot, Tally, Ticket, Transition, WindowRule,
};
use steadfast::{Budget, BudgetRule, Bulkhead, Instant, Metrics, Trip};

/// The words by themselves, where a handle has too many of them for loom to try all orders.
#[allow(dead_code, reason = "only some are tried here")]
#[path = "../src/state/word.rs"]
mod word;
use word::{Twin, Writing};

// --- The circuit ----------------------------------------------------------------------------------

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn b11_failures_at_once_make_one_transition() {
    model_of_three(|| {
        let rule = Rule::new(Trip::after(2), OPEN_FOR);
        let circuit = closed();
        let tickets = [(); 3].map(|()| admitted(circuit.admit(&rule, at(0))));
        let settled = join(tickets.map(|ticket| {
            let circuit = Arc::clone(&circuit);
            thread::spawn(move || circuit.settle(&rule, at(0), ticket, Outcome::Failure))
        }));
        for what in [Settled::Counted, Settled::Moved(Transition::Opened), Settled::Late] {
            assert_eq!(settled.iter().filter(|&&settled| settled == what).count(), 1, "{what:?}");
        }
        assert!(matches!(circuit.load().phase(), Phase::Open { .. }));
        assert_eq!(circuit.load().level(), 1);
    });
}

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
#[cfg_attr(any(mutant = "relaxed_swaps", mutant = "cold_first"), ignore = "too many orders")]
fn b07_the_one_probe_goes_to_one_caller() {
    model_of_three(|| {
        let circuit = opened();
        let [one, other] = [(); 2].map(|()| spawn_admit(&circuit, RULE, OPEN_OVER));
        let mine = circuit.admit(&RULE, OPEN_OVER);
        let asked = [mine, one.join().unwrap(), other.join().unwrap()];
        let went: Vec<_> = asked.iter().filter(|&&admission| is_admitted(admission)).collect();
        assert!(
            matches!(went[..], [Admission::Admitted(_, Some(Transition::HalfOpened))]),
            "{went:?}"
        );
        assert_eq!(circuit.load().phase(), Phase::HalfOpen { in_flight: 1, succeeded: 0 });
    });
}

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn b07_probes_that_come_and_go_are_never_more_than_the_rule_says() {
    model(|| {
        let (circuit, live) = (half_open(RULE.probes(2)), live());
        let threads = [(); 2].map(|()| {
            let (circuit, live) = (Arc::clone(&circuit), Arc::clone(&live));
            thread::spawn(move || {
                for _ in 0..2 {
                    if let Admission::Admitted(ticket, _) =
                        circuit.admit(&RULE.probes(2), OPEN_OVER)
                    {
                        // The one that opened it is under way all the while.
                        assert!(live.fetch_add(1, SeqCst) < 1, "one more probe than allowed");
                        thread::yield_now();
                        live.fetch_sub(1, SeqCst);
                        circuit.release(ticket);
                    }
                }
            })
        });
        join(threads);
        assert_eq!(circuit.load().phase(), Phase::HalfOpen { in_flight: 1, succeeded: 0 });
    });
}

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn b04_a_late_release_leaves_the_probe_that_replaced_it() {
    model(|| {
        let circuit = opened();
        let overdue = admitted(circuit.admit(&RULE, OPEN_OVER));
        let replacing = spawn_admit(&circuit, RULE, LEASE_OVER);
        circuit.release(overdue);
        assert!(is_admitted(replacing.join().unwrap()));
        assert_eq!(circuit.load().phase(), Phase::HalfOpen { in_flight: 1, succeeded: 0 });
        assert!(!is_admitted(circuit.admit(&RULE, LEASE_OVER)));
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "cold_first",
        mutant = "relaxed_loads"
    ),
    should_panic
)]
fn a_probe_that_settles_while_it_is_replaced_is_counted_or_late() {
    model(|| {
        let circuit = opened();
        let probe = admitted(circuit.admit(&RULE, OPEN_OVER));
        let replacing = spawn_admit(&circuit, RULE, LEASE_OVER);
        let settled = circuit.settle(&RULE, JUST_BEFORE_LEASE_OVER, probe, Outcome::Success);
        assert!(is_admitted(replacing.join().unwrap()));
        let expected = match settled {
            Settled::Late => Phase::HalfOpen { in_flight: 1, succeeded: 0 },
            _ => Phase::Closed { history: 0 },
        };
        assert_eq!(circuit.load().phase(), expected, "{settled:?}");
    });
}

#[test]
#[cfg_attr(
    any(mutant = "relaxed_swaps", mutant = "cold_first", mutant = "relaxed_loads"),
    should_panic
)]
fn a_probe_that_fails_while_another_caller_asks_is_not_lost() {
    model(|| {
        let rule = RULE.probes(2);
        let circuit = half_open(rule);
        let young = admitted(circuit.admit(&rule, JUST_BEFORE_LEASE_OVER));
        let asking = spawn_admit(&circuit, rule, LEASE_OVER);
        let settled = circuit.settle(&rule, LEASE_OVER, young, Outcome::Failure);
        assert_eq!(settled, Settled::Moved(Transition::Opened), "replaced under its lease");
        assert!(!is_admitted(asking.join().unwrap()));
        assert_eq!(circuit.load().level(), 2);
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "hot_first",
        mutant = "relaxed_loads"
    ),
    should_panic
)]
fn a_second_probe_is_not_replaced_under_the_lease_of_the_first() {
    model(|| {
        let rule = RULE.probes(2);
        let circuit = half_open(rule);
        // The same slot, wanted by a caller within the first probe's lease and by one past it.
        let within = spawn_admit(&circuit, rule, JUST_BEFORE_LEASE_OVER);
        let past = circuit.admit(&rule, LEASE_OVER);
        let within = within.join().unwrap();
        assert!(is_admitted(within) != is_admitted(past), "{within:?} and {past:?}");
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "hot_first",
        mutant = "relaxed_loads"
    ),
    should_panic
)]
fn a_probe_in_a_slot_given_back_late_is_not_replaced() {
    model(|| {
        let rule = RULE.probes(2);
        let circuit = half_open(rule);
        let overdue = admitted(circuit.admit(&rule, OPEN_OVER));
        let asking = spawn_admit(&circuit, rule, LEASE_OVER);
        circuit.release(overdue);
        let mine = circuit.admit(&rule, LEASE_OVER);
        let theirs = asking.join().unwrap();
        for ticket in [mine, theirs].into_iter().filter_map(ticket) {
            let (_, settled) = circuit.load().settle(&rule, LEASE_OVER, ticket, Outcome::Failure);
            assert_ne!(settled, Settled::Late, "replaced under its lease");
        }
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "hot_first",
        mutant = "relaxed_loads"
    ),
    should_panic
)]
fn a_probe_by_a_clock_that_is_behind_is_not_replaced_either() {
    model(|| {
        let rule = RULE.probes(2);
        let circuit = half_open(rule);
        let overdue = admitted(circuit.admit(&rule, OPEN_OVER));
        let asking = spawn_admit(&circuit, rule, LEASE_OVER);
        circuit.release(overdue);
        let mine = circuit.admit(&rule, JUST_BEFORE_LEASE_OVER);
        let _ = asking.join().unwrap();
        if let Some(ticket) = ticket(mine) {
            let (_, settled) = circuit.load().settle(&rule, LEASE_OVER, ticket, Outcome::Failure);
            assert_ne!(settled, Settled::Late, "replaced under its lease");
        }
    });
}

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn a_half_open_circuit_whose_cold_word_lags_refuses_for_a_lease_and_no_longer() {
    model_of_three(|| {
        let circuit = opened();
        let probing = spawn_admit(&circuit, RULE, OPEN_OVER);
        let refused = thread::spawn({
            let circuit = Arc::clone(&circuit);
            move || {
                let asked = circuit.admit(&RULE, OPEN_OVER);
                let seen = circuit.load();
                if is_admitted(asked) {
                    assert_ne!(seen.remaining(&RULE, OPEN_OVER), Duration::ZERO);
                }
                (asked, seen)
            }
        });
        let (asked, seen) = refused.join().unwrap();
        assert!(is_admitted(asked) != is_admitted(probing.join().unwrap()));
        for circuit in [seen, circuit.load()] {
            assert!(!circuit.would_admit(&RULE, OPEN_OVER), "read as over: {circuit:?}");
        }
        assert!(is_admitted(circuit.admit(&RULE, LEASE_OVER)), "wedged: {circuit:?}");
    });
}

#[test]
#[cfg_attr(mutant = "cold_first", should_panic)]
fn two_probes_that_fail_at_once_are_one_opening() {
    model(|| {
        let rule = RULE.probes(2);
        let circuit = opened();
        let probes = [(); 2].map(|()| admitted(circuit.admit(&rule, OPEN_OVER)));
        join(probes.map(|ticket| {
            let circuit = Arc::clone(&circuit);
            thread::spawn(move || circuit.settle(&rule, OPEN_OVER, ticket, Outcome::Failure))
        }));
        assert_eq!(circuit.load().level(), 2);
    });
}

#[test]
#[cfg_attr(
    any(mutant = "relaxed_swaps", mutant = "cold_first", mutant = "relaxed_loads"),
    should_panic
)]
fn the_level_is_right_whenever_it_is_read() {
    model(|| {
        let circuit = opened();
        let probing = thread::spawn({
            let circuit = Arc::clone(&circuit);
            move || {
                let ticket = admitted(circuit.admit(&RULE, OPEN_OVER));
                circuit.settle(&RULE, OPEN_OVER, ticket, Outcome::Failure)
            }
        });
        for _ in 0..2 {
            let seen = circuit.load();
            let expected = if opened_twice(seen) { 2 } else { 1 };
            assert_eq!(seen.level(), expected, "{seen:?}");
        }
        assert_eq!(probing.join().unwrap(), Settled::Moved(Transition::Opened));
        assert_eq!(circuit.load().level(), 2);
    });
}

#[test]
#[cfg_attr(
    any(mutant = "relaxed_swaps", mutant = "cold_first", mutant = "relaxed_loads"),
    should_panic
)]
#[cfg_attr(mutant = "store_for_cas", ignore = "too many orders")]
fn the_level_is_right_after_two_transitions_that_a_refused_caller_overtakes() {
    model(|| {
        let circuit = closed();
        let ticket = admitted(circuit.admit(&RULE, at(0)));
        let opening = thread::spawn({
            let circuit = Arc::clone(&circuit);
            move || circuit.settle(&RULE, at(0), ticket, Outcome::Failure)
        });
        let probing = spawn_admit(&circuit, RULE, OPEN_OVER);
        let _ = circuit.admit(&RULE, OPEN_OVER);
        assert_eq!(opening.join().unwrap(), Settled::Moved(Transition::Opened));
        let _ = probing.join().unwrap();
        assert_eq!(circuit.load().level(), 1, "{:?}", circuit.load());
    });
}

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn two_that_find_it_is_to_open_are_one_transition() {
    model(|| {
        let circuit = closed();
        let [one, two] = [(); 2].map(|()| admitted(circuit.admit(&RULE, at(0))));
        let other = thread::spawn({
            let circuit = Arc::clone(&circuit);
            move || circuit.trip(&RULE, at(0), two)
        });
        let settled = [circuit.trip(&RULE, at(0), one), other.join().unwrap()];
        let opened = Settled::Moved(Transition::Opened);
        assert_eq!(settled.iter().filter(|&&settled| settled == opened).count(), 1, "{settled:?}");
        assert_eq!(circuit.load().level(), 1);
    });
}

// --- Forced and reset -----------------------------------------------------------------------------

#[test]
#[cfg_attr(
    any(mutant = "store_for_cas", mutant = "hot_first", mutant = "one_step", mutant = "in_epoch"),
    should_panic
)]
fn whoever_forces_a_circuit_that_trips_finds_it_as_forced() {
    for mode in [Mode::ForcedOpen, Mode::ForcedClosed] {
        model(move || {
            let circuit = closed();
            let ticket = admitted(circuit.admit(&RULE, at(0)));
            let tripping = spawn_settle(&circuit, ticket, at(0), Outcome::Failure);
            let moved = circuit.force(at(0), mode);
            is_as_forced(&circuit, mode);
            let tripped = tripping.join().unwrap() == Settled::Moved(Transition::Opened);
            is_as_forced(&circuit, mode);
            // Each change of phase is told once.
            let expected = match mode {
                Mode::ForcedOpen => (!tripped).then_some(Transition::Opened),
                _ => tripped.then_some(Transition::Closed),
            };
            assert_eq!(moved, expected, "{mode}, tripped: {tripped}");
        });
    }
}

#[test]
#[cfg_attr(any(mutant = "store_for_cas", mutant = "hot_first", mutant = "one_step"), should_panic)]
fn whoever_forces_a_circuit_whose_probe_succeeds_finds_it_as_forced() {
    for mode in [Mode::ForcedOpen, Mode::ForcedClosed] {
        model(move || {
            let circuit = opened();
            let probe = admitted(circuit.admit(&RULE, OPEN_OVER));
            let settling = spawn_settle(&circuit, probe, OPEN_OVER, Outcome::Success);
            let moved = circuit.force(OPEN_OVER, mode);
            is_as_forced(&circuit, mode);
            let closed = settling.join().unwrap() == Settled::Moved(Transition::Closed);
            is_as_forced(&circuit, mode);
            let expected = match mode {
                Mode::ForcedOpen => Some(Transition::Opened),
                _ => (!closed).then_some(Transition::Closed),
            };
            assert_eq!(moved, expected, "{mode}, closed: {closed}");
        });
    }
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "hot_first",
        mutant = "relaxed_swaps",
        mutant = "cold_first",
        mutant = "relaxed_loads",
        mutant = "one_step",
        mutant = "in_epoch"
    ),
    should_panic
)]
fn a_probe_that_goes_while_it_is_forced_open_takes_nothing_from_that() {
    model(|| {
        let circuit = opened();
        let probing = spawn_admit(&circuit, RULE, OPEN_OVER);
        let _ = circuit.force(OPEN_OVER, Mode::ForcedOpen);
        is_as_forced(&circuit, Mode::ForcedOpen);
        let probe = ticket(probing.join().unwrap());
        is_as_forced(&circuit, Mode::ForcedOpen);
        if let Some(probe) = probe {
            let settled = circuit.settle(&RULE, OPEN_OVER, probe, Outcome::Success);
            assert_eq!(settled, Settled::Late);
        }
        assert_eq!(circuit.load().level(), 1);
        assert_eq!(circuit.force(OPEN_OVER, Mode::Normal), None);
        let probing = circuit.admit(&RULE, OPEN_OVER);
        assert!(matches!(probing, Admission::Admitted(_, Some(Transition::HalfOpened))));
    });
}

#[test]
#[cfg_attr(any(mutant = "store_for_cas", mutant = "in_epoch"), should_panic)]
fn of_two_that_force_at_once_one_has_the_mode_and_the_phase() {
    model(|| {
        let circuit = closed();
        let opening = spawn_force(&circuit, Mode::ForcedOpen);
        let _ = circuit.force(at(0), Mode::ForcedClosed);
        let _ = opening.join().unwrap();
        is_as_forced(&circuit, circuit.load().mode());
        assert_ne!(circuit.load().mode(), Mode::Normal);
    });
}

#[test]
#[cfg_attr(
    any(mutant = "store_for_cas", mutant = "one_step", mutant = "left_to_others"),
    should_panic
)]
#[cfg_attr(
    any(mutant = "relaxed_swaps", mutant = "cold_first", mutant = "relaxed_loads"),
    ignore = "too many orders"
)]
fn whoever_forces_what_another_forces_finds_it_as_forced_too() {
    model(|| {
        let circuit = closed();
        let forcing = spawn_force(&circuit, Mode::ForcedOpen);
        let mine = circuit.force(at(0), Mode::ForcedOpen);
        is_as_forced(&circuit, Mode::ForcedOpen);
        let moved = [mine, forcing.join().unwrap()];
        assert_eq!(moved.iter().flatten().count(), 1, "{moved:?}");
    });
}

#[test]
#[cfg_attr(any(mutant = "store_for_cas", mutant = "hot_first"), should_panic)]
fn a_mode_is_not_lost_to_a_lease_that_another_writes() {
    model(|| {
        let rule = RULE.probes(2);
        let circuit = half_open(rule);
        let probing = spawn_admit(&circuit, rule, JUST_BEFORE_LEASE_OVER);
        assert_eq!(circuit.force(OPEN_OVER, Mode::Shadow), None);
        assert!(is_admitted(probing.join().unwrap()));
        let seen = circuit.load();
        assert_eq!(seen.mode(), Mode::Shadow);
        assert_eq!(seen.phase(), Phase::HalfOpen { in_flight: 2, succeeded: 0 });
        let shadowed = admitted(circuit.admit(&rule, OPEN_OVER));
        assert!(shadowed.is_shadowed());
    });
}

#[test]
#[cfg_attr(any(mutant = "store_for_cas", mutant = "reset_in_epoch"), should_panic)]
fn a_failure_during_a_reset_is_of_before_it_or_late() {
    model(|| {
        let circuit = closed();
        let ticket = admitted(circuit.admit(&RULE, at(0)));
        let tripping = spawn_settle(&circuit, ticket, at(0), Outcome::Failure);
        let moved = circuit.reset();
        assert_eq!(circuit.load().phase(), Phase::Closed { history: 0 });
        let settled = tripping.join().unwrap();
        assert_eq!(circuit.load().phase(), Phase::Closed { history: 0 }, "{settled:?}");
        assert_eq!(circuit.load().level(), 0);
        let expected = match settled {
            Settled::Moved(Transition::Opened) => Some(Transition::Closed),
            settled => {
                assert_eq!(settled, Settled::Late);
                None
            }
        };
        assert_eq!(moved, expected);
    });
}

#[test]
#[cfg_attr(any(mutant = "store_for_cas", mutant = "hot_first", mutant = "one_step"), should_panic)]
fn a_reset_while_it_is_forced_open_leaves_it_open() {
    model(|| {
        let circuit = closed();
        let forcing = spawn_force(&circuit, Mode::ForcedOpen);
        let _ = circuit.reset();
        let _ = forcing.join().unwrap();
        is_as_forced(&circuit, Mode::ForcedOpen);
    });
}

// --- The window over outcomes ---------------------------------------------------------------------

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "unmet",
        mutant = "to_own_place",
        mutant = "blindly"
    ),
    should_panic
)]
fn of_failures_at_once_that_are_enough_one_opens_it() {
    // In the same word of the ring, and in two.
    for before in [0, 31] {
        model(move || {
            let (circuit, window) = (closed(), window());
            enter_all(&circuit, &window, &LONG, before, Outcome::Success);
            let other = spawn_enter(&circuit, &window, TWO_OF_TWO, at(0), Outcome::Failure);
            let mine = enter(&circuit, &window, &TWO_OF_TWO, at(0), Outcome::Failure);
            assert!(mine | other.join().unwrap(), "both missed the other");
        });
    }
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "unmet",
        mutant = "to_own_place",
        mutant = "blindly"
    ),
    should_panic
)]
fn a_failure_or_the_success_that_makes_the_number_full_opens_it() {
    model(|| {
        let (circuit, window) = (closed(), window());
        let other = spawn_enter(&circuit, &window, HALF_OF_TWO, at(0), Outcome::Success);
        let mine = enter(&circuit, &window, &HALF_OF_TWO, at(0), Outcome::Failure);
        assert!(mine | other.join().unwrap(), "both missed the other");
    });
}

#[test]
#[cfg_attr(any(mutant = "unmet", mutant = "clean_kept"), should_panic)]
fn no_window_stays_clean_with_a_failure_in_it() {
    model(|| {
        let (circuit, window) = (closed(), window());
        enter_all(&circuit, &window, &TWO_OF_THREE, 2, Outcome::Success);
        let other = spawn_enter(&circuit, &window, TWO_OF_THREE, at(0), Outcome::Failure);
        let _ = enter(&circuit, &window, &TWO_OF_THREE, at(0), Outcome::Success);
        assert!(!other.join().unwrap());
        // Three successes later that failure is none of the last three.
        enter_all(&circuit, &window, &TWO_OF_THREE, 3, Outcome::Success);
        assert!(!enter(&circuit, &window, &TWO_OF_THREE, at(0), Outcome::Failure));
        assert!(enter(&circuit, &window, &TWO_OF_THREE, at(0), Outcome::Failure));
    });
}

#[test]
#[cfg_attr(mutant = "unemptied", should_panic)]
fn what_was_in_a_place_a_ring_ago_is_nobodys_failure() {
    // All around, and once more a word and two: each word is one that comes next.
    for filled in [96, 128, 160] {
        explore(2, move || {
            let (circuit, window) = (closed(), Arc::new(SharedWindow::<THREE_OF_EACH>::new()));
            alternate(&circuit, &window, filled);
            are_good_at_once(&circuit, &window);
        });
    }
}

#[test]
#[cfg_attr(any(mutant = "store_for_cas", mutant = "uncleared"), should_panic)]
fn an_outcome_that_is_good_clears_its_place_where_another_is_late_to() {
    // In some of these orders this one has a word's first place and stands still before it clears the
    // next one, until that is in use by others.
    explore(1, || {
        let (circuit, window) = (closed(), Arc::new(SharedWindow::<THREE_OF_EACH>::new()));
        // All around: every other place of each word has a bit.
        alternate(&circuit, &window, 96);
        let others = thread::spawn({
            let (circuit, window) = (Arc::clone(&circuit), Arc::clone(&window));
            move || {
                let next = |rule, outcome| enter(&circuit, &window, rule, at(0), outcome);
                for _ in 0..30 {
                    assert!(!next(&ALL_OF_WORD, Outcome::Success));
                }
                // It is not clean, so each takes a place.
                assert!(!next(&ALL_OF_WORD, Outcome::Failure));
                for _ in 0..4 {
                    assert!(!next(&TWO_OF_WORD, Outcome::Success), "there was one failure");
                }
            }
        });
        enter_all(&circuit, &window, &ALL_OF_WORD, 1, Outcome::Success);
        others.join().unwrap();
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "reset_in_epoch",
        mutant = "stragglers",
        mutant = "blindly"
    ),
    should_panic
)]
fn a_straggler_takes_nothing_from_the_next_closed_phase_and_adds_nothing() {
    for rule in [TWO_OF_TWO, TWO_IN_TIME] {
        brief_model(move || {
            let (circuit, window) = (closed(), window());
            let ticket = admitted(circuit.admit(&RULE, at(0)));
            let straggler = thread::spawn({
                let (circuit, window) = (Arc::clone(&circuit), Arc::clone(&window));
                move || {
                    let phase = circuit.closed_phase(ticket).unwrap();
                    window.enter(&rule, at(0), phase, Outcome::Failure, Duration::ZERO)
                }
            });
            let _ = circuit.reset();
            assert!(!enter(&circuit, &window, &rule, at(0), Outcome::Failure), "one too many");
            assert!(enter(&circuit, &window, &rule, at(0), Outcome::Failure), "one was lost");
            assert!(!straggler.join().unwrap());
        });
    }
}

#[test]
#[cfg_attr(mutant = "reset_in_epoch", should_panic)]
fn a_straggler_that_saw_its_word_clear_fails_in_no_place_of_the_next_phase() {
    brief_model(|| {
        let (circuit, window) = (closed(), window());
        enter_all(&circuit, &window, &TWO_OF_TWO, 1, Outcome::Success);
        overtake(&circuit, &window, TWO_OF_TWO, Outcome::Failure, |circuit, window| {
            let _ = circuit.reset();
            // No bit of these says that the word was in use since.
            enter_all(circuit, window, &TWO_OF_TWO, 2, Outcome::Success);
        });
        enter_all(&circuit, &window, &TWO_OF_TWO, 1, Outcome::Failure);
    });
}

#[test]
#[cfg_attr(mutant = "uncleared", should_panic)]
#[cfg_attr(mutant = "store_for_cas", ignore = "too many orders")]
fn a_straggler_that_a_ring_has_overtaken_fails_in_no_place_of_the_next_phase() {
    explore(1, || {
        let (circuit, window) = (closed(), window_of::<THREE_OF_EACH>());
        enter_all(&circuit, &window, &ALL_OF_WORD, 1, Outcome::Success);
        overtake(&circuit, &window, THREE_OF_THREE, Outcome::Failure, |circuit, window| {
            let _ = circuit.reset();
            // The other two words; then a bit that says that its word is in use, and its place.
            alternate(circuit, window, 64);
            enter_all(circuit, window, &ALL_OF_WORD, 1, Outcome::Failure);
            enter_all(circuit, window, &ALL_OF_WORD, 1, Outcome::Success);
        });
        enter_all(&circuit, &window, &THREE_OF_THREE, 1, Outcome::Failure);
    });
}

#[test]
#[cfg_attr(mutant = "unemptied", should_panic)]
fn what_was_in_a_place_a_phase_ago_is_nobodys_failure() {
    // From the middle of a word and of the last one; and as many outcomes of the next phase.
    for (before, since) in [(98, 0), (98, 32), (166, 0), (70, 32)] {
        explore(2, move || {
            let (circuit, window) = (closed(), Arc::new(SharedWindow::<THREE_OF_EACH>::new()));
            alternate(&circuit, &window, before);
            let _ = circuit.reset();
            alternate(&circuit, &window, since);
            are_good_at_once(&circuit, &window);
        });
    }
}

#[test]
#[cfg_attr(mutant = "unemptied", should_panic)]
fn what_slices_counted_is_nobodys_failure_in_a_ring() {
    brief_model(|| {
        let (circuit, window) = (closed(), window());
        // Two bits of a word.
        enter_all(&circuit, &window, &IN_TIME.min_calls(9), 3, Outcome::Success);
        are_good_at_once(&circuit, &window);
    });
}

// --- The window over a time -----------------------------------------------------------------------

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "blindly",
        mutant = "unemptied"
    ),
    should_panic
)]
fn a_straggler_adds_nothing_to_the_next_phase_or_time_and_takes_nothing_from_it() {
    use Outcome::{Failure, Success};
    for later in [0, 100] {
        for (straggler, first, then) in
            [(Failure, Success, [Failure].as_slice()), (Success, Failure, &[Success, Failure])]
        {
            brief_model(move || {
                let (circuit, window) = (closed(), window());
                let enter = move |circuit: &SharedCircuit, window: &SharedWindow<FEW>, outcome| {
                    // Not all of them failed.
                    assert!(!enter(circuit, window, &TWO_IN_TIME, at(later), outcome));
                };
                overtake(&circuit, &window, TWO_IN_TIME, straggler, move |circuit, window| {
                    if later == 0 {
                        let _ = circuit.reset();
                    }
                    enter(circuit, window, first);
                });
                for &outcome in then {
                    enter(&circuit, &window, outcome);
                }
            });
        }
    }
}

#[test]
#[cfg_attr(
    any(mutant = "relaxed_swaps", mutant = "relaxed_loads", mutant = "unemptied"),
    should_panic
)]
fn a_rate_within_a_time_is_never_taken_for_more_than_it_is_as_that_goes_on() {
    // To the next slice, and back by more than all of it.
    for other in [100, 0] {
        brief_model(move || {
            let (circuit, window) = (closed(), window());
            let first = if other == 0 { 200 } else { 0 };
            for outcome in [Outcome::Success, Outcome::Failure] {
                assert!(!enter(&circuit, &window, &MOST_IN_TIME, at(first), outcome));
            }
            let other = spawn_enter(&circuit, &window, MOST_IN_TIME, at(other), Outcome::Success);
            assert!(!enter(&circuit, &window, &MOST_IN_TIME, at(first + 75), Outcome::Success));
            assert!(!other.join().unwrap());
        });
    }
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "unmet",
        mutant = "to_own_place",
        mutant = "blindly"
    ),
    should_panic
)]
fn of_failures_within_a_time_that_are_enough_one_opens_it() {
    // In the same slice, in two, and after a time that is longer than the window's.
    for (first, second) in [(0, 0), (0, 30), (1_000, 1_000)] {
        brief_model(move || {
            let (circuit, window) = (closed(), window());
            let _ = enter(&circuit, &window, &TWO_IN_TIME, at(0), Outcome::Failure);
            let rule = if first == 0 { THREE_IN_TIME } else { TWO_IN_TIME };
            let other = spawn_enter(&circuit, &window, rule, at(first), Outcome::Failure);
            let mine = enter(&circuit, &window, &rule, at(second), Outcome::Failure);
            assert!(mine | other.join().unwrap(), "both missed the other");
        });
    }
}

#[test]
#[cfg_attr(any(mutant = "store_for_cas", mutant = "relaxed_loads"), should_panic)]
fn a_rate_within_a_time_is_never_taken_for_more_than_it_is() {
    model(|| {
        let (circuit, window) = (closed(), window());
        enter_all(&circuit, &window, &MOST_IN_TIME, 2, Outcome::Success);
        let failing = thread::spawn({
            let (circuit, window) = (Arc::clone(&circuit), Arc::clone(&window));
            move || {
                let fail = || enter(&circuit, &window, &MOST_IN_TIME, at(0), Outcome::Failure);
                [fail(), fail()]
            }
        });
        // Two of four at most.
        assert!(!enter(&circuit, &window, &MOST_IN_TIME, at(0), Outcome::Success));
        assert_eq!(failing.join().unwrap(), [false; 2]);
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "halved_first"
    ),
    should_panic
)]
fn a_slice_that_is_full_is_never_taken_for_one_with_a_higher_rate() {
    model(|| {
        let (circuit, window) = (closed(), window());
        // One more, and it is full: a loom's slices are small.
        enter_all(&circuit, &window, &MOST_IN_TIME, 8, Outcome::Success);
        enter_all(&circuit, &window, &MOST_IN_TIME, 6, Outcome::Failure);
        let other = spawn_enter(&circuit, &window, MOST_IN_TIME, at(0), Outcome::Failure);
        assert!(!enter(&circuit, &window, &MOST_IN_TIME, at(0), Outcome::Success));
        // Seven of sixteen, or half of each.
        assert!(!other.join().unwrap());
    });
}

// --- The bulkhead ---------------------------------------------------------------------------------

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn a_bulkhead_is_never_over_its_slots_and_all_come_back() {
    model_of_three(|| {
        let (bulkhead, live) = (Arc::new(Bulkhead::new(2)), live());
        assert_eq!(bulkhead.taken(), 0);
        let threads = [(); 3].map(|()| {
            let (bulkhead, live) = (Arc::clone(&bulkhead), Arc::clone(&live));
            thread::spawn(move || {
                if let Ok(slot) = Slot::try_acquire(bulkhead) {
                    let over = live.fetch_add(1, SeqCst) >= 2;
                    thread::yield_now();
                    live.fetch_sub(1, SeqCst);
                    drop(slot);
                    assert!(!over, "one more than there are slots");
                }
            })
        });
        join(threads);
        assert_eq!(bulkhead.taken(), 0);
    });
}

// --- The budget -----------------------------------------------------------------------------------

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn failures_at_once_take_a_token_each() {
    model_of_three(|| {
        let budget = Arc::new(Budget::with_rule(BudgetRule::new(4, 0, Duration::ZERO)));
        assert_eq!(budget.tokens(), 4);
        let mine = budget.withdraw(at(0));
        let [one, other] = join([(); 2].map(|()| spawn_withdraw(&budget, at(0))));
        assert_eq!(budget.tokens(), 1);
        assert_eq!([mine, one, other].iter().filter(|&&paid| paid).count(), 1);
    });
}

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn a_success_during_failures_gives_its_part_and_no_more() {
    model_of_three(|| {
        let budget = Arc::new(Budget::with_rule(BudgetRule::new(4, 1000, Duration::ZERO)));
        let _ = budget.withdraw(at(0));
        let _ = budget.withdraw(at(0));
        let failing = [(); 2].map(|()| spawn_withdraw(&budget, at(0)));
        budget.deposit();
        join(failing);
        assert_eq!(budget.tokens(), 1);
    });
}

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn refills_are_claimed_once_and_none_is_lost() {
    model_of_three(|| {
        let rule = BudgetRule::new(10, 0, Duration::from_secs(1));
        let budget = Arc::new(Budget::with_rule(rule));
        // So few are left that there is room for refills, and enough for failures that come first.
        for _ in 0..8 {
            let _ = budget.withdraw(at(0));
        }
        // Two are due, and two are taken.
        let paid = join([(); 2].map(|()| spawn_withdraw(&budget, at(2_500))));
        assert_eq!((paid, budget.tokens()), ([false; 2], 2));
    });
}

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn no_refill_comes_of_readings_out_of_order_where_it_is_just_full_enough() {
    model_of_three(|| {
        let rule = BudgetRule::new(10, 1, Duration::from_secs(30));
        let budget = Arc::new(Budget::with_rule(rule));
        for _ in 0..4 {
            assert!(budget.withdraw(at(100_000)));
        }
        budget.deposit();
        // A retry's worth is left, for whoever comes first; and no time passes.
        let paid = join([41_000, 100_000].map(|millis| spawn_withdraw(&budget, at(millis))));
        assert_eq!(paid.iter().filter(|&&paid| paid).count(), 1);
        assert!(!budget.withdraw(at(100_000)));
        assert_eq!(budget.tokens(), 3);
    });
}

// --- The metrics ----------------------------------------------------------------------------------

#[test]
#[cfg_attr(any(mutant = "relaxed_counts", mutant = "relaxed_loads"), should_panic)]
fn a_call_that_starts_and_ends_is_under_way_at_most_once_to_whoever_reads() {
    model(|| {
        let metrics = metrics();
        let calling = thread::spawn({
            let metrics = Arc::clone(&metrics);
            move || {
                fail(&metrics);
                succeed(&metrics);
            }
        });
        let seen = metrics.snapshot();
        assert!(seen.calls.in_flight <= 2 && seen.calls.started <= 2, "{:?}", seen.calls);
        assert!(seen.attempts.in_flight <= 2 && seen.attempts.started <= 2, "{:?}", seen.attempts);
        calling.join().unwrap();
        let seen = metrics.snapshot();
        assert_eq!((seen.calls.started, seen.calls.in_flight), (2, 0));
        assert_eq!((seen.calls.succeeded, seen.calls.failed), (1, 1));
    });
}

#[test]
#[cfg_attr(mutant = "store_for_add", should_panic)]
fn calls_at_once_are_all_counted() {
    model_of_three(|| {
        let metrics = metrics();
        join([(); 2].map(|()| {
            let metrics = Arc::clone(&metrics);
            thread::spawn(move || {
                succeed(&metrics);
                fail(&metrics);
            })
        }));
        let seen = metrics.snapshot();
        assert_eq!((seen.calls.started, seen.calls.in_flight), (4, 0));
        assert_eq!((seen.calls.succeeded, seen.calls.failed), (2, 2));
    });
}

#[test]
#[cfg_attr(any(mutant = "relaxed_counts", mutant = "relaxed_loads"), should_panic)]
#[cfg_attr(mutant = "relaxed_stores", ignore = "too many orders")]
fn a_call_during_a_reset_is_counted_before_it_or_after_it() {
    model_of_three(|| {
        let metrics = metrics();
        let calling = thread::spawn({
            let metrics = Arc::clone(&metrics);
            move || fail(&metrics)
        });
        let reading = thread::spawn({
            let metrics = Arc::clone(&metrics);
            move || metrics.snapshot()
        });
        metrics.reset().unwrap();
        let after = metrics.snapshot();
        assert!(after.calls.started <= 1 && after.attempts.started <= 1, "{after:?}");
        calling.join().unwrap();
        let seen = reading.join().unwrap();
        assert!(seen.calls.started <= 1 && seen.attempts.started <= 1, "{seen:?}");
        let last = metrics.snapshot();
        assert_eq!(last.calls.in_flight, 0);
        assert!(last.calls.failed <= 1);
        if after.calls.in_flight == 1 {
            assert_eq!(last.calls.failed, 1, "under way at the reset, so counted after it");
        }
        assert_eq!(metrics.raw().calls.failed, 1);
    });
}

#[test]
#[cfg_attr(any(mutant = "relaxed_stores", mutant = "relaxed_loads"), should_panic)]
fn a_snapshot_during_a_reset_is_of_before_it_or_after_it() {
    model(|| {
        let metrics = metrics();
        refuse(&metrics);
        let resetting = thread::spawn({
            let metrics = Arc::clone(&metrics);
            move || metrics.reset().unwrap()
        });
        let seen = metrics.snapshot();
        let both = (seen.calls.refused, seen.refusals.breaker_open);
        assert!(both == (1, 1) || both == (0, 0), "{both:?}");
        resetting.join().unwrap();
        assert_eq!(metrics.snapshot().calls.refused, 0);
    });
}

#[test]
#[cfg_attr(any(mutant = "relaxed_stores", mutant = "relaxed_loads"), should_panic)]
fn a_twin_that_is_replaced_twice_while_it_is_read_is_read_whole() {
    model(|| {
        let twin = Arc::new(Twin::<word::Count, 2>::new());
        // Each copy is written once by this thread: loom wants one that was there before the others.
        for value in [1, 2] {
            replace(&twin, value);
        }
        let replacing = thread::spawn({
            let twin = Arc::clone(&twin);
            move || {
                for value in [3, 4] {
                    replace(&twin, value);
                }
            }
        });
        let [one, other] = twin.load();
        assert_eq!(one, other);
        replacing.join().unwrap();
        assert_eq!(twin.load(), [4; 2]);
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
fn resets_at_once_are_done_or_say_that_another_is_under_way() {
    brief_model(|| {
        let metrics = metrics();
        let resetting = thread::spawn({
            let metrics = Arc::clone(&metrics);
            move || {
                refuse(&metrics);
                metrics.reset().is_ok()
            }
        });
        let mine = metrics.reset().is_ok();
        let theirs = resetting.join().unwrap();
        assert!(mine || theirs, "both were told of another");
        let seen = metrics.snapshot();
        let both = (seen.calls.refused, seen.refusals.breaker_open);
        // Whichever was the last, it had seen that call.
        assert!(!theirs || both == (0, 0), "{both:?}");
        metrics.reset().unwrap();
    });
}

// --- What the models are made of ------------------------------------------------------------------

/// Replaces a twin that nobody else does.
fn replace(twin: &Twin<word::Count, 2>, value: u32) {
    let writing = Writing::new();
    twin.replace(&writing.try_begin().unwrap(), [value; 2]);
}

/// Runs `check` in every order with up to three preemptions, or `LOOM_MAX_PREEMPTIONS` if that is less.
fn model(check: impl Fn() + Send + Sync + 'static) {
    explore(3, check);
}

/// Two preemptions: three threads have too many orders with three.
fn model_of_three(check: impl Fn() + Send + Sync + 'static) {
    explore(2, check);
}

/// Two preemptions: what has many words has too many orders with three.
fn brief_model(check: impl Fn() + Send + Sync + 'static) {
    explore(2, check);
}

fn explore(preemptions: usize, check: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound =
        Some(builder.preemption_bound.unwrap_or(preemptions).min(preemptions));
    builder.max_branches = 10_000;
    builder.check(check);
}

fn join<T, const N: usize>(threads: [JoinHandle<T>; N]) -> [T; N] {
    threads.map(|thread| thread.join().unwrap())
}

/// A closed circuit. Loom's words come to life when first touched, which one thread must do for all.
fn closed() -> Arc<SharedCircuit> {
    let circuit = Arc::new(SharedCircuit::new());
    assert_eq!(circuit.load(), Circuit::CLOSED);
    circuit
}

/// A circuit that one failure has opened, at the origin.
fn opened() -> Arc<SharedCircuit> {
    let circuit = closed();
    let ticket = admitted(circuit.admit(&RULE, at(0)));
    let _ = circuit.settle(&RULE, at(0), ticket, Outcome::Failure);
    circuit
}

/// A circuit whose first probe is under way.
fn half_open(rule: Rule) -> Arc<SharedCircuit> {
    let circuit = opened();
    let _ = admitted(circuit.admit(&rule, OPEN_OVER));
    circuit
}

/// Counts who is in there at the moment. No word of a model: loom does not switch threads at it.
fn live() -> Arc<AtomicU32> {
    Arc::new(AtomicU32::new(0))
}

fn spawn_admit(circuit: &Arc<SharedCircuit>, rule: Rule, now: Instant) -> JoinHandle<Admission> {
    let circuit = Arc::clone(circuit);
    thread::spawn(move || circuit.admit(&rule, now))
}

fn spawn_settle(
    circuit: &Arc<SharedCircuit>,
    ticket: Ticket,
    now: Instant,
    outcome: Outcome,
) -> JoinHandle<Settled> {
    let circuit = Arc::clone(circuit);
    thread::spawn(move || circuit.settle(&RULE, now, ticket, outcome))
}

fn spawn_force(circuit: &Arc<SharedCircuit>, mode: Mode) -> JoinHandle<Option<Transition>> {
    let circuit = Arc::clone(circuit);
    thread::spawn(move || circuit.force(at(0), mode))
}

/// In the mode, in its phase, and doing as it says.
fn is_as_forced(circuit: &SharedCircuit, mode: Mode) {
    let seen = circuit.load();
    assert_eq!(seen.mode(), mode);
    let open = matches!(seen.phase(), Phase::Open { .. });
    assert_eq!((open, seen.is_closed()), (mode == Mode::ForcedOpen, mode == Mode::ForcedClosed));
    let asked = circuit.admit(&RULE, LEASE_OVER);
    assert_eq!(is_admitted(asked), mode == Mode::ForcedClosed);
}

/// A window that has come to life as [`closed`] does.
fn window() -> Arc<SharedWindow<FEW>> {
    window_of()
}

fn window_of<const WORDS: usize>() -> Arc<SharedWindow<WORDS>> {
    let window = Arc::new(SharedWindow::new());
    assert!(!format!("{window:?}").is_empty());
    window
}

/// Enters an outcome of an attempt that was admitted just now.
fn enter<const WORDS: usize>(
    circuit: &SharedCircuit,
    window: &SharedWindow<WORDS>,
    rule: &WindowRule,
    now: Instant,
    outcome: Outcome,
) -> bool {
    let ticket = admitted(circuit.admit(&RULE, now));
    window.enter(rule, now, circuit.closed_phase(ticket).unwrap(), outcome, Duration::ZERO)
}

fn enter_all<const WORDS: usize>(
    circuit: &SharedCircuit,
    window: &SharedWindow<WORDS>,
    rule: &WindowRule,
    count: u32,
    outcome: Outcome,
) {
    for _ in 0..count {
        assert!(!enter(circuit, window, rule, at(0), outcome));
    }
}

/// Enters outcomes of which every other is a failure, which is not enough to open it.
fn alternate<const WORDS: usize>(
    circuit: &SharedCircuit,
    window: &SharedWindow<WORDS>,
    count: u32,
) {
    for number in 0..count {
        let outcome = if number % 2 == 0 { Outcome::Failure } else { Outcome::Success };
        enter_all(circuit, window, &ALL_OF_WORD, 1, outcome);
    }
}

/// Of two that are good, one may have its place and not have said so yet: neither finds a failure.
fn are_good_at_once<const WORDS: usize>(
    circuit: &Arc<SharedCircuit>,
    window: &Arc<SharedWindow<WORDS>>,
) {
    let other = spawn_enter(circuit, window, ONE_OF_TWO, at(0), Outcome::Success);
    assert!(!enter(circuit, window, &ONE_OF_TWO, at(0), Outcome::Success));
    assert!(!other.join().unwrap());
}

/// Enters an outcome of the present closed phase at the origin, while `others` go on.
fn overtake<const WORDS: usize>(
    circuit: &Arc<SharedCircuit>,
    window: &Arc<SharedWindow<WORDS>>,
    rule: WindowRule,
    outcome: Outcome,
    others: impl FnOnce(&SharedCircuit, &SharedWindow<WORDS>) + 'static,
) {
    let ticket = admitted(circuit.admit(&RULE, at(0)));
    let others = thread::spawn({
        let (circuit, window) = (Arc::clone(circuit), Arc::clone(window));
        move || others(&circuit, &window)
    });
    let phase = circuit.closed_phase(ticket).unwrap();
    assert!(!window.enter(&rule, at(0), phase, outcome, Duration::ZERO));
    others.join().unwrap();
}

fn spawn_enter<const WORDS: usize>(
    circuit: &Arc<SharedCircuit>,
    window: &Arc<SharedWindow<WORDS>>,
    rule: WindowRule,
    now: Instant,
    outcome: Outcome,
) -> JoinHandle<bool> {
    let (circuit, window) = (Arc::clone(circuit), Arc::clone(window));
    thread::spawn(move || enter(&circuit, &window, &rule, now, outcome))
}

fn spawn_withdraw(budget: &Arc<Budget>, now: Instant) -> JoinHandle<bool> {
    let budget = Arc::clone(budget);
    thread::spawn(move || budget.withdraw(now))
}

fn admitted(admission: Admission) -> Ticket {
    ticket(admission).unwrap()
}

const fn ticket(admission: Admission) -> Option<Ticket> {
    match admission {
        Admission::Admitted(ticket, _) => Some(ticket),
        Admission::Refused => None,
    }
}

fn is_admitted(admission: Admission) -> bool {
    ticket(admission).is_some()
}

/// Opened again by its probe: later than at first.
const fn opened_twice(circuit: Circuit) -> bool {
    matches!(circuit.phase(), Phase::Open { .. }) && !circuit.would_admit(&RULE, OPEN_OVER)
}

fn metrics() -> Arc<Metrics<COUNT_ONLY>> {
    let metrics = Arc::new(Metrics::new());
    // Twice, for both copies of the baseline.
    metrics.reset().unwrap();
    metrics.reset().unwrap();
    let _ = metrics.snapshot();
    metrics
}

fn succeed(metrics: &Metrics<COUNT_ONLY>) {
    metrics.started(0);
    metrics.succeeded(0, at(0), Duration::ZERO, Duration::ZERO);
}

fn fail(metrics: &Metrics<COUNT_ONLY>) {
    metrics.started(0);
    metrics.count(Tally::AttemptFailed);
    metrics.count(Tally::CallFailed);
}

fn refuse(metrics: &Metrics<COUNT_ONLY>) {
    metrics.started(0);
    metrics.count(Tally::Unattempted);
    metrics.count(Tally::BreakerOpen);
    metrics.count(Tally::CallRefused);
}

const fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

const OPEN_FOR: Duration = Duration::from_secs(1);
const RULE: Rule = Rule::new(Trip::after(1), OPEN_FOR).lease(Duration::from_secs(10));
/// Words for 64 outcomes or four slices of a time.
const FEW: usize = 12;
/// Three words for failures, three for slow ones: for 32 outcomes, which are a word.
const THREE_OF_EACH: usize = 6;
const ALL_OF_WORD: WindowRule = WindowRule::NONE.failures(32, 32);
const ONE_OF_TWO: WindowRule = WindowRule::NONE.failures(1, 2);
const TWO_OF_WORD: WindowRule = WindowRule::NONE.failures(2, 32);
const TWO_OF_TWO: WindowRule = WindowRule::NONE.failures(2, 2);
const TWO_OF_THREE: WindowRule = WindowRule::NONE.failures(2, 3);
const THREE_OF_THREE: WindowRule = WindowRule::NONE.failures(3, 3);
const HALF_OF_TWO: WindowRule = WindowRule::over_last(2).failure_rate(500);
/// Never full in a model.
const LONG: WindowRule = WindowRule::over_last(64).failure_rate(1000);
/// Slices of 25 ms.
const IN_TIME: WindowRule = WindowRule::within(Duration::from_millis(100)).failure_rate(1000);
const TWO_IN_TIME: WindowRule = IN_TIME.min_calls(2);
const THREE_IN_TIME: WindowRule = IN_TIME.min_calls(3);
const MOST_IN_TIME: WindowRule = IN_TIME.failure_rate(600).min_calls(1);
const OPEN_OVER: Instant = at(1_100);
/// Past the lease of a probe that went at `OPEN_OVER`, and the moment before.
const LEASE_OVER: Instant = at(11_300);
const JUST_BEFORE_LEASE_OVER: Instant = at(11_000);
