//! A circuit that was saved goes on where it was.

mod common;

use steadfast::state::{Admission, Circuit, Outcome, SharedCircuit, State};
use steadfast::{Breaker, Instant, Rule, Trip};

use common::{at, fail, secs};

#[test]
fn a_breaker_goes_on_from_the_words_of_another() {
    let breaker = Breaker::with_rule(RULE);
    let then = |expected: State, now: Instant| {
        let (hot, cold) = breaker.circuit().to_bits();
        let resumed = Breaker::resume(RULE, Circuit::from_bits(hot, cold));
        assert_eq!((breaker.state(now), resumed.state(now)), (expected, expected));
        assert_eq!(resumed.remaining(now), breaker.remaining(now));
        assert_eq!(resumed.try_acquire(now).is_ok(), breaker.try_acquire(now).is_ok());
        resumed
    };
    fail(&breaker, at(0));
    // One failure was saved with it: the next one opens it.
    let resumed = then(State::Closed, at(1));
    fail(&resumed, at(1));
    assert_eq!(resumed.state(at(1)), State::Open);

    fail(&breaker, at(1));
    then(State::Open, at(30));
    let probe = breaker.try_acquire(at(62)).unwrap();
    then(State::HalfOpen, at(63));
    drop(probe);
    then(State::HalfOpen, at(64));
}

#[test]
fn one_saved_between_its_two_words_moves_on_as_the_pure_one_does() {
    let mut open = Circuit::CLOSED;
    for _ in 0..2 {
        let Admission::Admitted(ticket, _) = open.admit(&RULE, at(0)).1 else { panic!("closed") };
        open = open.settle(&RULE, at(0), ticket, Outcome::Failure).0;
    }
    // The hot word says that it opened, the cold one not yet.
    let lagging = Circuit::from_bits(open.to_bits().0, Circuit::CLOSED.to_bits().1);
    assert_ne!(lagging, open);
    let shared = SharedCircuit::resume(lagging);
    let Admission::Admitted(probe, Some(_)) = shared.admit(&RULE, at(61)) else {
        panic!("its period is over")
    };
    assert_eq!(shared.load(), open.admit(&RULE, at(61)).0);
    assert_eq!(shared.load().level(), 1, "the opening that was not written counts");
    let _ = shared.settle(&RULE, at(62), probe, Outcome::Failure);
    assert_eq!(shared.load().level(), 2);
}

const RULE: Rule = Rule::new(Trip::after(2), secs(60));
