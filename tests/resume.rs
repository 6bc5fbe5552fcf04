//! A circuit that was saved goes on where it was.

mod common;

use steadfast::state::{
    Admission, Circuit, Mode, Outcome, Settled, SharedCircuit, State, Transition,
};
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
fn b30_one_that_was_saved_open_recovers_by_a_probe_whatever_the_clock_says_after_a_restart() {
    let (breaker, opened) = (Breaker::with_rule(RULE), at(36_000));
    (0..2).for_each(|_| fail(&breaker, opened));
    let (hot, cold) = breaker.circuit().to_bits();
    let longest = RULE.open_for() + secs(64);
    // A clock that begins anew, one that goes on, and ones that stand before and long after.
    for start in [0, 1, 35_000, 35_950, 36_001, 36_059, 36_100, 1_000_000] {
        let resumed = Breaker::resume(RULE, Circuit::from_bits(hot, cold));
        let now = at(start);
        let admits_at = match resumed.try_acquire(now) {
            Ok(probe) => {
                drop(probe);
                now
            }
            Err(refused) => refused.admits_at,
        };
        assert!(admits_at.since(now) <= longest, "{start}");
        let probe = resumed.try_acquire(admits_at).expect("nobody has to do anything for it");
        assert_eq!(resumed.state(admits_at), State::HalfOpen, "{start}");
        let settled = probe.settle(admits_at, Outcome::Success);
        assert_eq!(settled, Settled::Moved(Transition::Closed), "{start}");
    }
}

#[test]
fn b31_whoever_reads_what_was_saved_open_does_not_make_it_longer() {
    let breaker = Breaker::with_rule(RULE);
    (0..2).for_each(|_| fail(&breaker, at(0)));
    let saved = breaker.circuit();
    let ends = breaker.try_acquire(at(0)).unwrap_err().admits_at;
    for start in [1, 20, 59] {
        let (hot, cold) = saved.to_bits();
        let resumed = Breaker::resume(RULE, Circuit::from_bits(hot, cold));
        for now in start..=60 {
            assert_eq!(resumed.state(at(now)), State::Open);
            assert_eq!(resumed.try_acquire(at(now)).unwrap_err().admits_at, ends, "{start}: {now}");
        }
        assert_eq!(resumed.circuit(), saved, "what is saved next is the same");
        assert!(resumed.try_acquire(ends).is_ok());
    }
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

#[test]
fn a_mode_is_saved_with_the_rest() {
    for (mode, admitted) in [
        (Mode::Normal, None),
        (Mode::ForcedOpen, None),
        (Mode::ForcedClosed, Some(Settled::Counted)),
        (Mode::Shadow, Some(Settled::Shadowed)),
    ] {
        let breaker = Breaker::with_rule(RULE);
        (0..2).for_each(|_| fail(&breaker, at(0)));
        let (forced, moved) = breaker.circuit().force(at(1), mode);
        assert_eq!((breaker.force(at(1), mode), breaker.circuit()), (moved, forced), "{mode}");
        let (hot, cold) = forced.to_bits();
        let resumed = Breaker::resume(RULE, Circuit::from_bits(hot, cold));
        assert_eq!(resumed.mode(), mode);
        let settled = resumed.try_acquire(at(2)).ok().map(|permit| {
            let shadowed = permit.shadowed();
            let settled = permit.settle(at(2), Outcome::Failure);
            assert_eq!(shadowed, settled == Settled::Shadowed);
            settled
        });
        assert_eq!(settled, admitted, "{mode}");
    }
}

#[test]
fn a_reset_closes_what_was_saved_open_unless_it_is_forced_open() {
    for mode in Mode::ALL {
        let breaker = Breaker::with_rule(RULE);
        (0..2).for_each(|_| fail(&breaker, at(0)));
        let resumed = Breaker::resume(RULE, breaker.circuit().force(at(1), mode).0);
        let moved = resumed.reset();
        let open = mode == Mode::ForcedOpen;
        assert_eq!(resumed.state(at(1)) == State::Open, open, "{mode}");
        assert_eq!((resumed.mode(), resumed.circuit().level()), (mode, 0));
        assert_eq!(moved.is_none(), open || mode == Mode::ForcedClosed, "{mode}: {moved:?}");
    }
}

const RULE: Rule = Rule::new(Trip::after(2), secs(60));
