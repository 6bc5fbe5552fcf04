//! A circuit where its rules meet their limits, and what a healthy one does not do.

mod common;

use core::cell::Cell;
use core::time::Duration;
use std::collections::HashSet;

use steadfast::state::Transition::{Closed, Opened};
use steadfast::state::{
    Admission, BreakerOpen, Circuit, Guarded, Mode, Outcome, Phase, Settled, SharedCircuit, Ticket,
};
use steadfast::{Breaker, Instant, Permit, Rule, Trip};

use common::{at, secs};

#[test]
fn a_probe_that_reports_after_its_lease_is_late_though_none_replaced_it() {
    let rule = RULE.lease(secs(60));
    for (reports, expected) in [(92, Settled::Late), (91, Settled::Moved(Closed))] {
        let (half_open, probe) = admitted(opened(&rule).admit(&rule, at(31)));
        let (_, settled) = half_open.settle(&rule, at(reports), probe, Outcome::Success);
        assert_eq!(settled, expected, "after {} s", reports - 31);
    }
}

#[test]
fn told_the_mode_that_it_has_already_it_enters_the_phase_that_is_still_to_come() {
    let (forced, _) = Circuit::CLOSED.force(at(0), Mode::ForcedOpen);
    let between = Circuit::from_bits(Circuit::CLOSED.to_bits().0, forced.to_bits().1);
    let (next, moved) = between.force(at(1), Mode::ForcedOpen);
    assert!(matches!(next.phase(), Phase::Open { .. }), "{next:?}");
    assert_eq!(moved, Some(Opened));
}

#[test]
fn forced_open_and_closed_again_an_open_circuit_keeps_its_level_and_then_has_none() {
    let shared = SharedCircuit::resume(opened(&RULE));
    shared.force(at(1), Mode::ForcedOpen);
    assert_eq!(shared.load().level(), 1);
    shared.force(at(2), Mode::ForcedClosed);
    shared.force(at(3), Mode::ForcedOpen);
    assert_eq!(shared.load().level(), 0);
    // Nor has one that was saved closed, whatever level its words say.
    let saved = SharedCircuit::resume(Circuit::from_bits(0, 3 << 20));
    saved.force(at(3), Mode::ForcedOpen);
    assert_eq!(saved.load().level(), 0);
}

#[test]
fn a_closed_circuit_has_no_level_whatever_its_cold_word_still_says() {
    let (half_open, probe) = admitted(opened(&RULE).admit(&RULE, at(31)));
    assert_eq!(half_open.level(), 1);
    let (closed, _) = half_open.settle(&RULE, at(32), probe, Outcome::Success);
    let lagging = Circuit::from_bits(closed.to_bits().0, half_open.to_bits().1);
    assert_eq!(lagging.level(), 0);
    let (lagging, ticket) = admitted(lagging.admit(&RULE, at(33)));
    let (open, _) = lagging.settle(&RULE, at(33), ticket, Outcome::Failure);
    assert_eq!(open.level(), 1);
}

#[test]
fn a_ticket_from_less_than_nine_and_a_half_hours_ahead_is_young() {
    // 2^21 ticks and one; with one more it is 66 hours old.
    let steps_back = (1 << 21) + 1;
    let admitted_at = 1 << 23;
    let tick = |tick: u64| Instant::from_micros(tick << 14);
    let (circuit, ticket) = admitted(Circuit::CLOSED.admit(&RULE, tick(admitted_at)));
    let settled = |back| circuit.settle(&RULE, tick(admitted_at - back), ticket, Outcome::Failure);
    assert_eq!(settled(1).1, Settled::Moved(Opened));
    assert_eq!(settled(steps_back).1, Settled::Moved(Opened));
    assert_eq!(settled(steps_back + 1).1, Settled::Late);
}

#[test]
fn a_ticket_that_was_given_back_counts_for_nothing_and_gives_nothing_back_again() {
    for rule in [RULE, RULE.probes(2)] {
        let (half_open, given_back) = admitted(opened(&rule).admit(&rule, at(31)));
        let idle = half_open.release(given_back);
        assert_eq!(idle.phase(), Phase::HalfOpen { in_flight: 0, succeeded: 0 });
        assert_eq!(idle.release(given_back), idle);
        let (probing, _probe) = admitted(idle.admit(&rule, at(31)));
        let settled = probing.settle(&rule, at(31), given_back, Outcome::Success);
        assert_eq!(settled, (probing, Settled::Late));
        assert_eq!(probing.release(given_back), probing);
    }
}

#[test]
fn a_lease_that_nobody_has_written_yet_is_a_whole_one_from_now() {
    let rule = RULE.lease(secs(60));
    let lagging = Circuit::from_bits(2 << 30 | 1 << 24 | 1 << 6, 0);
    assert_eq!(lagging.admits_at(&rule, at(5)), at(65));
    assert_eq!(lagging.remaining(&rule, at(5)), secs(60));
}

#[test]
fn the_end_of_a_lease_is_nonsense_from_the_first_tick_that_nothing_explains() {
    // A lease and 64 s are 7569 ticks, and its end is rounded up by seven at most.
    let rule = RULE.lease(secs(60));
    let probing = Circuit::from_bits(2 << 30 | 1 << 24 | 1 << 6, 1 << 24 | 2_000);
    let admits =
        |before: u64| probing.would_admit(&rule, Instant::from_micros((16_000 - before) << 14));
    assert_eq!([0, 1, 7_576, 7_577].map(admits), [true, false, false, true]);
}

#[test]
fn an_outcome_counts_until_sixteen_open_periods_are_over_and_no_tick_longer() {
    // 61.44 s are 3750 ticks.
    let rule = Rule::new(Trip::after(1), Duration::from_micros(61_440_000));
    let tick = |tick: u64| Instant::from_micros(tick << 14);
    let (circuit, ticket) = admitted(Circuit::CLOSED.admit(&rule, tick(7)));
    let settled = |age: u64| circuit.settle(&rule, tick(7 + age), ticket, Outcome::Failure).1;
    assert_eq!((settled(60_000), settled(60_001)), (Settled::Moved(Opened), Settled::Late));
}

#[test]
fn a_period_that_grows_to_just_below_the_longest_is_not_the_longest() {
    let [first, second, longest] = [2_097_152, 16_777_216, 16_777_248].map(Duration::from_micros);
    let rule = Rule::new(Trip::after(1), first).open_growth(80, longest);
    assert_eq!([1, 2, 3].map(|level| rule.open_period(level)), [first, second, longest]);

    let grown_to =
        |longest| Rule::new(Trip::after(1), first).open_growth(15, longest).open_period(2);
    let (grown, unit) = (grown_to(secs(60)), Duration::from_micros(32));
    for longest in [grown - unit, grown, grown + unit] {
        assert_eq!(grown_to(longest), grown.min(longest));
    }
}

#[test]
fn a_trip_that_never_opens_does_not_open_by_failures_alone() {
    let rule = Rule::new(Trip::NEVER, secs(30));
    let (mut circuit, ticket) = admitted(Circuit::CLOSED.admit(&rule, at(0)));
    for number in 1..100 {
        let (next, settled) = circuit.settle(&rule, at(1), ticket, Outcome::Failure);
        assert_eq!(settled, Settled::Counted, "number {number}");
        circuit = next;
    }
}

#[test]
fn a_lease_farther_ahead_than_a_clock_may_step_is_over() {
    let rule = RULE.lease(secs(60));
    let until: u32 = 1_000; // In units of eight ticks.
    let circuit = Circuit::from_bits(2 << 30 | 1 << 6, until);
    // 60 s, and 64 s for a step, are 7569 ticks, and 947 units with the one that is under way.
    for (left, is_over) in [(946, false), (947, false), (948, true)] {
        let now = Instant::from_micros(u64::from(until - left) << 17);
        assert_eq!(circuit.would_admit(&rule, now), is_over, "{left} units ahead");
    }
}

#[test]
fn while_probes_come_and_go_no_hot_word_of_an_epoch_comes_twice() {
    let rule = RULE.probes(2);
    let (mut circuit, _stays) = admitted(opened(&rule).admit(&rule, at(31)));
    let mut seen = HashSet::from([circuit.to_bits().0]);
    for _ in 0..4000 {
        let (with_another, another) = admitted(circuit.admit(&rule, at(31)));
        assert_eq!(with_another.phase(), Phase::HalfOpen { in_flight: 2, succeeded: 0 });
        circuit = with_another.release(another);
        assert_eq!(circuit.phase(), Phase::HalfOpen { in_flight: 1, succeeded: 0 });
        for moved in [with_another, circuit] {
            assert!(seen.insert(moved.to_bits().0), "again: {moved:?}");
        }
    }
}

#[test]
fn a_lease_that_nobody_wrote_begins_when_somebody_looks_however_far_ahead() {
    let rule = RULE.lease(secs(60));
    let (closed, ticket) = admitted(Circuit::CLOSED.admit(&rule, at(0)));
    let (open, _) = closed.settle(&rule, at(0), ticket, Outcome::Failure);
    let (half_open, _probe) = admitted(open.admit(&rule, at(31)));
    // Whoever makes the probe is held up between the hot word and the cold one.
    let lagging = Circuit::from_bits(half_open.to_bits().0, open.to_bits().1);
    for ahead in [0, 1, 59] {
        let breaker = Breaker::resume(rule, lagging);
        if breaker.circuit() != lagging {
            return; // In critical sections both words move at once: none lags.
        }
        let look = |now, later| Guarded::foresee(&&breaker, at(now), at(later));
        assert_eq!(look(32, 32 + ahead).unwrap_err().admits_at, at(92));
        let admits_at = look(33, 33).unwrap_err().admits_at;
        assert!((at(92)..at(93)).contains(&admits_at), "it runs: {admits_at:?}");
        assert!(look(33, 91).is_err() && look(33, 94).is_ok());
        assert!(breaker.try_acquire(at(91)).is_err());
        assert!(breaker.try_acquire(at(94)).is_ok());
    }
}

#[test]
fn however_far_ahead_one_looks_an_open_period_is_over_by_then() {
    let breaker = Breaker::with_rule(RULE);
    let permit = breaker.try_acquire(at(0)).unwrap();
    assert_eq!(permit.settle(at(0), Outcome::Failure), Settled::Moved(Opened));
    let look = |later| Guarded::foresee(&&breaker, at(1), later);
    let admits_at = look(at(2)).unwrap_err().admits_at;
    let short_of = Instant::from_micros(admits_at.as_micros() - 1);
    assert_eq!(look(short_of), Err(BreakerOpen { admits_at }));
    // Coarse time comes round in 2^24 ticks of 2^14 µs.
    for rounds in [0, 1, 2, 1_000] {
        let later = Instant::from_micros(admits_at.as_micros() + (rounds << 38));
        assert_eq!(look(later), Ok(()), "{rounds}");
        let earlier = Instant::from_micros(short_of.as_micros() + (rounds << 38));
        assert_eq!(look(earlier).is_ok(), rounds > 0, "{rounds}");
    }
    assert_eq!(look(Instant::MAX), Ok(()));
    let _ = breaker.force(at(1), Mode::ForcedOpen);
    assert!(look(Instant::MAX).is_err(), "nobody knows when it is told otherwise");
}

#[test]
fn a_healthy_circuit_is_asked_for_no_rule() {
    let guarded = Asked::default();
    for second in [0, 1, 1_000_000] {
        let permit = Permit::try_acquire(&guarded, at(second)).unwrap();
        assert_eq!(permit.settle(at(second + 800), Outcome::Success), Settled::Counted);
        assert_eq!((Guarded::peek(&&guarded, at(second)), guarded.asked.get()), (Ok(()), 0));
    }
    let permit = Permit::try_acquire(&guarded, at(2_000_000)).unwrap();
    assert_eq!(permit.settle(at(2_000_000), Outcome::Failure), Settled::Moved(Opened));
    assert_eq!(guarded.asked.get(), 1);
}

const RULE: Rule = Rule::new(Trip::after(1), secs(30));

/// A circuit, and how often it was asked for its rule.
#[derive(Default)]
struct Asked {
    circuit: SharedCircuit,
    asked: Cell<u32>,
}

impl Guarded for &Asked {
    type Followed<'a>
        = Rule
    where
        Self: 'a;

    fn shared(&self) -> &SharedCircuit {
        &self.circuit
    }

    fn rule(&self) -> Rule {
        self.asked.set(self.asked.get() + 1);
        RULE
    }
}

/// Open since the origin.
fn opened(rule: &Rule) -> Circuit {
    let (closed, ticket) = admitted(Circuit::CLOSED.admit(rule, at(0)));
    closed.settle(rule, at(0), ticket, Outcome::Failure).0
}

fn admitted((circuit, admission): (Circuit, Admission)) -> (Circuit, Ticket) {
    match admission {
        Admission::Admitted(ticket, _) => (circuit, ticket),
        Admission::Refused => panic!("refused: {circuit:?}"),
    }
}
