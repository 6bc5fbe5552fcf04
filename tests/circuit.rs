//! The circuit as arithmetic: tables, naive models, and a walk of all that can be reached.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use core::cell::Cell;
use core::time::Duration;
use std::collections::HashSet;

use proptest::prelude::*;
use steadfast::Instant;
use steadfast::state::Outcome::{Failure, Success};
use steadfast::state::{
    Admission, Circuit, Mode, Outcome, Phase, Rule, RuleError, Settled, State, Ticket, Transition,
    Trip,
};

/// What an open period is rounded up to.
const TICK: Duration = Duration::from_micros(1 << 14);
/// What a lease is rounded up to.
const UNIT: Duration = Duration::from_micros(1 << 17);
/// How far two readings of a clock may disagree.
const STEP: Duration = Duration::from_secs(64);
/// After so long the circuit's coarse time comes round again: 2^24 ticks.
const ROUND: Duration = Duration::from_micros(1 << 38);
const HOUR: Duration = Duration::from_secs(3600);
/// Somewhere in a tick, with room to step back.
const NOON: Instant = Instant::from_micros(43_200_000_001);
const MINUTE: Rule = Rule::new(Trip::after(3), Duration::from_secs(60));

// --- What opens it -------------------------------------------------------------------------------

#[test]
fn a_run_of_failures_opens_it_and_a_shorter_one_does_not() {
    for failures in 1..=23 {
        let rule = Rule::new(Trip::after(failures), MINUTE.open_for());
        let almost = attempts(Circuit::CLOSED, &rule, &vec![Failure; failures as usize - 1]);
        assert!(almost.is_closed(), "{failures}");
        let broken = attempts(almost, &rule, &[Success]);
        assert!(attempts(broken, &rule, &[Failure]).is_closed() == (failures > 1), "{failures}");
        assert_eq!(attempts(almost, &rule, &[Failure]).state(&rule, NOON), State::Open);
    }
}

#[test]
fn b13_exactly_as_many_failures_as_the_threshold_open_it() {
    let half = Rule::new(Trip::after(5).of_last(10), MINUTE.open_for());
    let mut outcomes = [Success, Failure].repeat(5);
    let last = outcomes.pop().unwrap();
    let almost = attempts(Circuit::CLOSED, &half, &outcomes);
    assert!(almost.is_closed());
    assert!(!attempts(almost, &half, &[last]).is_closed());
}

#[test]
fn a_neutral_attempt_neither_adds_to_a_run_of_failures_nor_breaks_it() {
    let two = attempts(Circuit::CLOSED, &MINUTE, &[Failure, Failure]);
    let (same, ticket) = admitted(two, &MINUTE, NOON);
    assert_eq!(same.release(ticket), two);
    assert!(!attempts(two, &MINUTE, &[Failure]).is_closed());
}

#[test]
fn b23_a_hundred_thousand_failures_over_clock_steps_open_it_each_time_anew() {
    let rule = Rule::new(Trip::after(23), Duration::from_millis(50)).probes(2);
    let steps = [0, 3_600_000_000, 1, 1 << 38, 64_000_000, 86_400_000_000];
    let (mut circuit, mut opened) = (Circuit::CLOSED, 0);
    for n in 0..100_000_u64 {
        let noise = steps[n as usize % steps.len()];
        let back = if n % 7 < 3 { noise } else { 0 };
        let now = Instant::from_micros((1 << 40) + n * 200_000 - back);
        let (next, Admission::Admitted(ticket, _)) = circuit.admit(&rule, now) else {
            continue;
        };
        let (next, settled) = next.settle(&rule, now, ticket, Failure);
        opened += u32::from(settled == Settled::Moved(Transition::Opened));
        circuit = next;
    }
    // The first takes 23 failures, each later one a probe.
    assert!(opened > 50_000, "{opened}");
}

#[test]
fn a_healthy_circuit_is_not_changed_by_successes() {
    for hours in [0, 1, 77, 10_000] {
        let now = NOON.after(HOUR * hours);
        let (circuit, ticket) = admitted(Circuit::CLOSED, &MINUTE, now);
        assert_eq!(circuit, Circuit::CLOSED);
        let settled = circuit.settle(&MINUTE, now, ticket, Success);
        assert_eq!(settled, (Circuit::CLOSED, Settled::Counted));
    }
    // The same once failures have left the history.
    let failed = attempts(Circuit::CLOSED, &MINUTE, &[Failure, Failure]);
    assert_eq!(attempts(failed, &MINUTE, &[Success; 23]), Circuit::CLOSED);
}

proptest! {
    #![proptest_config(cases(256))]

    /// Attempts one after the other, on whole ticks, so that the model needs no rounding.
    #[test]
    fn attempts_one_by_one_are_as_in_the_naive_model(
        failures in 1..=23_u32,
        more in 0..23_u32,
        probes in 1..=4_u32,
        calls in prop::collection::vec((0..3_u8, 0..6_u64), 1..300),
    ) {
        let window = (failures + more).min(23);
        let rule = Rule::new(Trip::after(failures).of_last(window), TICK * 4).probes(probes);
        let mut naive = Naive::Closed(Vec::new());
        let (mut circuit, mut ticks) = (Circuit::CLOSED, 1000);
        for (outcome, wait) in calls {
            // Short waits while closed, or the window would never fill before the end.
            ticks += wait;
            let now = Instant::from_micros(ticks << 14);
            let outcome = [Some(Success), Some(Failure), None][outcome as usize];
            let (next, admission) = circuit.admit(&rule, now);
            prop_assert_eq!(matches!(admission, Admission::Admitted(..)), naive.admits(ticks));
            circuit = match (admission, outcome) {
                (Admission::Refused, _) => next,
                (Admission::Admitted(ticket, _), None) => next.release(ticket),
                (Admission::Admitted(ticket, _), Some(outcome)) => {
                    next.settle(&rule, now, ticket, outcome).0
                }
            };
            naive.attempt(&rule, ticks, outcome);
            prop_assert_eq!(circuit.state(&rule, now), naive.state(ticks));
        }
    }

    #[test]
    fn any_k_of_the_last_n_outcomes_open_it(
        failures in 1..=23_u32,
        more in 0..23_u32,
        outcomes in prop::collection::vec(prop::bool::weighted(0.3), 1..100),
    ) {
        let window = (failures + more).min(23);
        let rule = Rule::new(Trip::after(failures).of_last(window), Duration::from_secs(1));
        let mut circuit = Circuit::CLOSED;
        for n in 0..outcomes.len() {
            circuit = attempts(circuit, &rule, &[if outcomes[n] { Failure } else { Success }]);
            let last = &outcomes[(n + 1).saturating_sub(window as usize)..=n];
            let failed = last.iter().filter(|failed| **failed).count();
            prop_assert_eq!(circuit.is_closed(), failed < failures as usize);
            if !circuit.is_closed() {
                break;
            }
        }
    }
}

#[test]
fn b28_a_rule_that_could_not_work_is_refused() {
    let (period, day) = (Duration::from_secs(1), Duration::from_secs(86_400));
    let short = Duration::from_nanos(49_999_000);
    for (failures, of_last, open_for, expected) in [
        (1, 1, Duration::from_millis(50), None),
        (23, 23, day, None),
        (0, 1, period, Some(RuleError::Failures)),
        (24, 24, period, Some(RuleError::Failures)),
        (u32::MAX, u32::MAX, period, Some(RuleError::Failures)),
        (3, 2, period, Some(RuleError::Window)),
        (3, 24, period, Some(RuleError::Window)),
        (1, 0, period, Some(RuleError::Window)),
        (3, 3, Duration::ZERO, Some(RuleError::OpenFor)),
        (3, 3, short, Some(RuleError::OpenFor)),
        (3, 3, day + Duration::from_micros(1), Some(RuleError::OpenFor)),
        (3, 3, Duration::MAX, Some(RuleError::OpenFor)),
    ] {
        assert_eq!(Rule::try_new(failures, of_last, open_for).err(), expected);
    }
    for probes in [0, 64, 257, u32::MAX] {
        assert_eq!(MINUTE.try_probes(probes), Err(RuleError::Probes));
    }
    for lease in [Duration::ZERO, short, Duration::MAX] {
        assert_eq!(MINUTE.try_lease(lease), Err(RuleError::Lease));
    }
    let (minute, micro) = (MINUTE.open_for(), Duration::from_micros(1));
    for (tenths, open_max, expected) in [
        (10, minute, None),
        (100, day, None),
        (9, day, Some(RuleError::Growth)),
        (101, day, Some(RuleError::Growth)),
        (0, day, Some(RuleError::Growth)),
        (266, day, Some(RuleError::Growth)),
        (u32::MAX, day, Some(RuleError::Growth)),
        (20, minute - micro * 32, Some(RuleError::OpenMax)),
        (20, Duration::ZERO, Some(RuleError::OpenMax)),
        (20, day + micro, Some(RuleError::OpenMax)),
        (20, Duration::MAX, Some(RuleError::OpenMax)),
    ] {
        assert_eq!(MINUTE.try_open_growth(tenths, open_max).err(), expected, "{tenths}");
    }
}

#[test]
fn what_is_wrong_with_a_rule_is_told_with_what_is_right() {
    for (error, range) in [
        (RuleError::Failures, "1 to 23"),
        (RuleError::Window, "up to 23"),
        (RuleError::OpenFor, "50 ms to 24 h"),
        (RuleError::Probes, "1 to 63"),
        (RuleError::Lease, "50 ms to 24 h"),
        (RuleError::Growth, "10 to 100"),
        (RuleError::OpenMax, "up to 24 h"),
    ] {
        assert!(error.to_string().contains(range), "{error}");
    }
}

// --- How the open period grows -------------------------------------------------------------------

#[test]
fn a_rule_that_says_nothing_of_growth_has_none_and_shows_the_longest() {
    assert_eq!((MINUTE.growth_tenths(), MINUTE.open_max()), (10, HOUR * 24));
    for level in [0, 1, 2, 15, u32::MAX] {
        assert_eq!(MINUTE.open_period(level), MINUTE.open_for(), "{level}");
    }
}

#[test]
fn each_opening_in_a_row_lasts_as_many_times_longer_up_to_the_longest() {
    let seconds = |tenths, open_max, level| {
        let rule = MINUTE.open_growth(tenths, Duration::from_secs(open_max));
        assert_eq!((rule.growth_tenths(), rule.open_max().as_secs()), (tenths, open_max));
        rule.open_period(level).as_secs_f64()
    };
    for (tenths, open_max, level, expected) in [
        (20, 3600, 1, 60.0),
        (20, 3600, 2, 120.0),
        (20, 3600, 3, 240.0),
        (20, 3600, 6, 1920.0),
        (20, 3600, 7, 3600.0),
        (20, 3600, 15, 3600.0),
        (40, 3600, 3, 960.0),
        (80, 86_400, 4, 30_720.0),
        (100, 86_400, 5, 86_400.0),
        (20, 60, 9, 60.0),
        (20, 3600, 0, 60.0),
    ] {
        let period = seconds(tenths, open_max, level);
        assert!((period - expected).abs() < 0.001, "{tenths} {open_max} {level}: {period}");
    }
    // Where it does not double, it is a little longer.
    for (tenths, level, expected) in [
        (15, 2, 90.0),
        (15, 3, 135.0),
        (100, 4, 60_000.0),
        (11, 15, 227.8498),
        (11, 16, 227.8498),
        (11, u32::MAX, 227.8498),
    ] {
        let period = seconds(tenths, 86_400, level);
        assert!(expected <= period && period < expected * 1.001, "{tenths} {level}: {period}");
    }
}

#[test]
fn an_open_period_is_never_shorter_than_the_formula_nor_longer_by_its_rounding() {
    for open_for in [50_000_u64, 50_001, 333_333, 1_000_000, 59_999_999, 86_399_999_999] {
        for tenths in 10..=100_u32 {
            for open_max in [open_for, open_for * 3 + 7, 86_400_000_000] {
                let open_max = open_max.min(86_400_000_000);
                let rule = Rule::new(Trip::after(1), Duration::from_micros(open_for))
                    .open_growth(tenths, Duration::from_micros(open_max));
                let (mut power, mut last) = (1_u128, Duration::ZERO);
                for level in 1..=15 {
                    let period = rule.open_period(level);
                    let exact = u128::from(open_for).saturating_mul(power) / 10_u128.pow(level - 1);
                    // By a power of two only what is rounded up to 32 µs comes to it.
                    let rounding =
                        if [10, 20, 40, 80].contains(&tenths) { 0 } else { exact / 1000 };
                    let units = 32 + 32 * power / 10_u128.pow(level - 1);
                    let (least, most) = (exact.min(open_max.into()), exact + rounding + units);
                    assert!(period.as_micros() >= least, "{rule:?} {level}");
                    assert!(period.as_micros() <= most, "{rule:?} {level}");
                    assert!(last <= period && period <= rule.open_max(), "{rule:?} {level}");
                    (power, last) = (power * u128::from(tenths), period);
                }
                assert_eq!(rule.open_period(16), last);
            }
        }
    }
}

#[test]
fn a_circuit_that_opens_again_and_again_stays_open_longer_until_it_is_closed() {
    let rule = MINUTE.open_growth(20, HOUR);
    for _ in 0..2 {
        let (mut circuit, mut now) = (open(&rule, NOON), NOON);
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let period = MINUTE.open_for() * minutes;
            assert_eq!(circuit.remaining(&rule, now), period);
            assert!(!circuit.would_admit(&rule, before(now.after(period), TICK)));
            // Read by a thread whose clock is behind, too.
            assert_eq!(circuit.remaining(&rule, before(now, STEP - TICK * 2)), period);
            let ends = circuit.admits_at(&rule, now);
            assert!(ends < now.after(period).after(TICK), "{minutes}");
            let (probing, probe) = admitted(circuit, &rule, ends);
            now = ends;
            circuit = probing.settle(&rule, now, probe, Failure).0;
        }
        now = circuit.admits_at(&rule, now);
        let (probing, probe) = admitted(circuit, &rule, now);
        let closed = probing.settle(&rule, now, probe, Success).0;
        assert_eq!(closed.level(), 0);
        let again = attempts(closed, &rule, &[Failure; 3]);
        assert_eq!(again.remaining(&rule, NOON), MINUTE.open_for());
    }
}

#[test]
fn b15_a_step_of_the_clock_in_a_grown_period_makes_it_longer_by_the_step_at_most() {
    let rule = MINUTE.open_growth(30, HOUR);
    let (probing, ticket) = probe(&rule, NOON);
    let now = admits_at(&rule, NOON);
    let circuit = probing.settle(&rule, now, ticket, Failure).0;
    let period = MINUTE.open_for() * 3 * 1001 / 1000;
    for (step, longest) in [(1, 1), (63, 63), (65, 0), (3600, 0), (36_000, 0)] {
        let stepped = before(now, Duration::from_secs(step));
        let waits = circuit.admits_at(&rule, stepped).since(stepped);
        assert!(waits <= period + TICK + Duration::from_secs(longest), "{step}: {waits:?}");
        assert_eq!(waits.is_zero(), longest == 0, "{step}");
    }
}

#[test]
fn a_rule_rounds_its_lengths_up_to_32_us() {
    for micros in [50_000, 50_001, 60_000_000, 86_399_999_999, 86_400_000_000] {
        let length = Duration::from_micros(micros);
        let rule = MINUTE.lease(length);
        assert!(rule.lease_for() >= length, "{length:?}");
        assert!(rule.lease_for() < length + Duration::from_micros(32), "{length:?}");
    }
}

// --- Open ----------------------------------------------------------------------------------------

#[test]
fn it_stays_open_for_its_period_and_at_most_a_tick_more() {
    for open_for in [Duration::from_millis(50), Duration::from_secs(60), HOUR * 24] {
        let rule = Rule::new(Trip::after(1), open_for);
        for into_tick in [0, 1, 8191, 16_383] {
            let opened = Instant::from_micros((5 << 14) + into_tick);
            let circuit = open(&rule, opened);
            let ends = circuit.admits_at(&rule, opened);
            assert!(ends >= opened.after(open_for), "{open_for:?}");
            assert!(ends < opened.after(rule.open_for()).after(TICK), "{open_for:?}");
            assert!(circuit.would_admit(&rule, ends));
            assert!(!circuit.would_admit(&rule, before(ends, Duration::from_micros(1))));
        }
    }
}

#[test]
fn b32_what_remains_is_between_zero_and_the_configured_wait() {
    let circuit = open(&MINUTE, NOON);
    assert_eq!(circuit.remaining(&MINUTE, NOON), MINUTE.open_for());
    // Read by a thread whose clock is behind.
    for behind in [Duration::from_micros(1), Duration::from_secs(1), STEP] {
        assert_eq!(circuit.remaining(&MINUTE, before(NOON, behind)), MINUTE.open_for());
    }
    let mut last = MINUTE.open_for();
    for second in 0..70 {
        let now = NOON.after(Duration::from_secs(second));
        let remaining = circuit.remaining(&MINUTE, now);
        assert!(remaining <= last);
        assert_eq!(remaining.is_zero(), circuit.would_admit(&MINUTE, now));
        last = remaining;
    }
    assert_eq!(last, Duration::ZERO);
    // A probe's lease counts as a wait too.
    let rule = MINUTE.lease(Duration::from_secs(10));
    let (probing, _probe) = probe(&rule, NOON);
    let now = admits_at(&rule, NOON);
    assert_eq!(probing.remaining(&rule, now), rule.lease_for());
}

#[test]
fn b06_a_straggler_that_reports_to_an_open_circuit_changes_nothing() {
    let (closed, straggler) = admitted(Circuit::CLOSED, &MINUTE, NOON);
    let circuit = attempts(closed, &MINUTE, &[Failure; 3]);
    for outcome in [Success, Failure] {
        let late = circuit.settle(&MINUTE, NOON, straggler, outcome);
        assert_eq!(late, (circuit, Settled::Late));
    }
    assert_eq!(circuit.release(straggler), circuit);
}

#[test]
fn a_reading_a_little_older_than_the_trip_is_no_probe() {
    let circuit = open(&MINUTE, NOON);
    for behind in [Duration::from_micros(1), TICK, Duration::from_secs(63)] {
        assert!(!circuit.would_admit(&MINUTE, before(NOON, behind)), "{behind:?}");
    }
}

#[test]
fn b15_a_step_of_the_clock_makes_the_open_period_longer_by_the_step_at_most() {
    let second = Duration::from_secs(1);
    for moment in [Duration::ZERO, second * 29, second * 59] {
        for (back, step) in [
            (true, second),
            (true, second * 63),
            (true, STEP),
            (true, HOUR),
            (true, HOUR * 11),
            (false, second),
            (false, second * 61),
            (false, HOUR),
            (false, HOUR * 24 * 30),
            (false, ROUND - second),
            (false, ROUND + second),
        ] {
            let circuit = open(&MINUTE, NOON);
            let stepped = |real: Duration| match back {
                true => before(NOON.after(real), step),
                false => NOON.after(step).after(real),
            };
            let mut real = moment;
            while !circuit.would_admit(&MINUTE, stepped(real)) {
                real += TICK;
                assert!(real < HOUR, "wedged by {step:?}, back: {back}");
            }
            let longest = MINUTE.open_for() + TICK * 2;
            assert!(real <= longest + step.min(STEP + moment), "{step:?} back: {back}: {real:?}");
            if !back && step < ROUND - HOUR {
                assert!(real <= longest);
            }
        }
    }
}

/// The case asks for the period and 64 s from the opening on. An open word knows when it ends and not
/// when it began, so a step back late in the period counts from there.
#[test]
fn b15_from_any_reading_on_it_refuses_for_its_period_and_64_s_which_may_be_more_from_its_opening() {
    let (circuit, second) = (open(&MINUTE, NOON), Duration::from_secs(1));
    let mut most = Duration::ZERO;
    for moment in 0..60 {
        for step in 0..300 {
            let (moment, step) = (second * moment, second * step);
            let stepped = before(NOON.after(moment), step);
            let waits = circuit.admits_at(&MINUTE, stepped).since(stepped);
            assert!(waits <= MINUTE.open_for() + STEP + TICK, "{moment:?} {step:?}: {waits:?}");
            most = most.max(moment + waits);
        }
    }
    assert!(most > MINUTE.open_for() + STEP, "{most:?}: the case holds as it is written");
    assert!(most <= (MINUTE.open_for() + TICK) * 2 + STEP);
}

#[test]
fn b15_the_open_period_is_the_same_where_coarse_time_comes_round() {
    for round in 1..4 {
        let opened = before(Instant::ORIGIN.after(ROUND * round), Duration::from_secs(30));
        let circuit = open(&MINUTE, opened);
        for second in 0..60 {
            let now = opened.after(Duration::from_secs(second));
            assert!(!circuit.would_admit(&MINUTE, now), "{second}");
        }
        assert!(circuit.would_admit(&MINUTE, opened.after(MINUTE.open_for()).after(TICK)));
    }
}

#[test]
fn b15_a_call_after_days_of_silence_waits_for_a_period_and_64_s_at_most() {
    let circuit = open(&MINUTE, NOON);
    for hours in 1..400 {
        let now = NOON.after(HOUR * hours);
        let at = circuit.admits_at(&MINUTE, now);
        assert!(at.since(now) <= MINUTE.open_for() + STEP + TICK, "{hours}");
        assert!(circuit.would_admit(&MINUTE, at));
    }
}

#[test]
fn b17_a_million_requests_to_an_expired_circuit_make_one_probe() {
    let mut circuit = open(&MINUTE, NOON);
    let now = admits_at(&MINUTE, NOON);
    let mut made = 0;
    for _ in 0..1_000_000 {
        let (next, admission) = circuit.admit(&MINUTE, now);
        made += u32::from(matches!(admission, Admission::Admitted(..)));
        circuit = next;
    }
    assert_eq!(made, 1);
}

#[test]
fn the_level_counts_openings_until_it_closes() {
    let mut circuit = open(&MINUTE, NOON);
    let mut now = NOON;
    for openings in 1..40 {
        assert_eq!(circuit.level(), openings.min(15));
        now = circuit.admits_at(&MINUTE, now);
        let (probing, ticket) = admitted(circuit, &MINUTE, now);
        assert_eq!(probing.level(), openings.min(15));
        let closed = probing.settle(&MINUTE, now, ticket, Success).0;
        assert_eq!(closed.level(), 0);
        circuit = probing.settle(&MINUTE, now, ticket, Failure).0;
    }
}

// --- Half-open -----------------------------------------------------------------------------------

#[test]
fn b01_a_neutral_last_probe_lets_another_go() {
    for probes in 1..=3 {
        let rule = MINUTE.probes(probes);
        let (mut circuit, mut last) = probe(&rule, NOON);
        let now = admits_at(&rule, NOON);
        for _ in 1..probes {
            circuit = circuit.settle(&rule, now, last, Success).0;
            (circuit, last) = admitted(circuit, &rule, now);
        }
        assert!(!circuit.would_admit(&rule, now));
        let circuit = circuit.release(last);
        let (circuit, another) = admitted(circuit, &rule, now);
        assert!(circuit.settle(&rule, now, another, Success).0.is_closed());
    }
}

#[test]
fn b02_after_a_lost_probe_the_next_goes_within_one_lease() {
    for lease in [Duration::from_millis(50), Duration::from_secs(10), HOUR * 24] {
        let rule = MINUTE.lease(lease);
        let (circuit, _lost) = probe(&rule, NOON);
        let began = admits_at(&rule, NOON);
        assert!(!circuit.would_admit(&rule, before(began.after(lease), Duration::from_micros(1))));
        let latest = began.after(rule.lease_for()).after(UNIT);
        assert!(circuit.admits_at(&rule, began) < latest);
        assert!(circuit.would_admit(&rule, latest));
    }
}

#[test]
fn b03_while_probes_hang_for_days_refusals_last_one_lease() {
    let rule = MINUTE.lease(Duration::from_secs(600));
    let (mut circuit, _hung) = probe(&rule, NOON);
    let (mut admitted_at, mut hung) = (admits_at(&rule, NOON), 0);
    for seconds in (10..10 * 86_400).step_by(10) {
        let now = admits_at(&rule, NOON).after(Duration::from_secs(seconds));
        let (next, admission) = circuit.admit(&rule, now);
        circuit = next;
        if let Admission::Admitted(..) = admission {
            (admitted_at, hung) = (now, hung + 1);
        }
        assert!(now.since(admitted_at) <= rule.lease_for() + UNIT, "{seconds}");
    }
    // Each of them hangs, and none goes before the one before has had its time.
    assert!((1400..=1440).contains(&hung), "{hung}");
}

#[test]
fn b04_a_timed_out_probes_result_does_not_touch_a_newer_probe() {
    let (circuit, old) = probe(&MINUTE, NOON);
    let now = admits_at(&MINUTE, NOON).after(MINUTE.lease_for()).after(UNIT);
    let (newer, probe) = admitted(circuit, &MINUTE, now);
    for outcome in [Success, Failure] {
        assert_eq!(newer.settle(&MINUTE, now, old, outcome), (newer, Settled::Late));
    }
    assert_eq!(newer.release(old), newer);
    let closed = newer.settle(&MINUTE, now, probe, Success);
    assert_eq!(closed.1, Settled::Moved(Transition::Closed));
}

#[test]
fn b04_an_epoch_that_comes_round_again_lets_no_old_outcome_in() {
    let (_, closed_ticket) = admitted(Circuit::CLOSED, &MINUTE, NOON);
    let mut circuit = open(&MINUTE, NOON);
    let mut now = circuit.admits_at(&MINUTE, NOON);
    let mut old = vec![closed_ticket];
    for round in 0..200 {
        let (probing, ticket) = admitted(circuit, &MINUTE, now);
        // Past 64 epochs, and past 16 periods as well.
        if round >= 70 {
            let (closed, _) = probing.settle(&MINUTE, now, ticket, Success);
            for (circuit, old) in [(probing, &old), (closed, &old)].iter() {
                for old in &old[..old.len() - 40] {
                    assert_eq!(circuit.settle(&MINUTE, now, *old, Failure).1, Settled::Late);
                }
            }
        }
        old.push(ticket);
        circuit = probing.settle(&MINUTE, now, ticket, Failure).0;
        now = circuit.admits_at(&MINUTE, now);
        if round % 5 == 0 {
            // A neutral probe moves the epoch by one: openings come at odd and even ones.
            let (neutral, ticket) = admitted(circuit, &MINUTE, now);
            circuit = neutral.release(ticket);
        }
    }
}

#[test]
fn b09_a_cancelled_probe_is_neutral_and_gives_its_slot_back() {
    let rule = MINUTE.probes(2);
    let (one, first) = probe(&rule, NOON);
    let now = admits_at(&rule, NOON);
    let (two, second) = admitted(one, &rule, now);
    assert_eq!(two.phase(), Phase::HalfOpen { in_flight: 2, succeeded: 0 });
    assert!(!two.would_admit(&rule, now));
    assert_eq!(two.release(second).phase(), Phase::HalfOpen { in_flight: 1, succeeded: 0 });
    let none = two.release(second).release(first);
    assert_eq!(none.phase(), Phase::HalfOpen { in_flight: 0, succeeded: 0 });
    assert!(none.would_admit(&rule, now));
}

#[test]
fn b07_a_probe_is_not_replaced_before_its_own_lease_is_over() {
    let rule = MINUTE.probes(2).lease(Duration::from_secs(60));
    let (circuit, _hung) = probe(&rule, NOON);
    let began = admits_at(&rule, NOON);
    let late = began.after(Duration::from_secs(59));
    let (circuit, young) = admitted(circuit, &rule, late);
    // The first one's lease is over, the second is under way since two seconds.
    let now = began.after(Duration::from_secs(61));
    let (circuit, _) = circuit.admit(&rule, now);
    let (circuit, _) = circuit.admit(&rule, now);
    assert_eq!(circuit.settle(&rule, now, young, Success).1, Settled::Counted);
}

#[test]
fn b35_a_probe_without_a_verdict_neither_closes_nor_reopens() {
    let (mut circuit, mut probe) = probe(&MINUTE, NOON);
    let mut now = admits_at(&MINUTE, NOON);
    for _ in 0..1000 {
        circuit = circuit.release(probe);
        now = now.after(Duration::from_secs(1));
        assert_eq!(circuit.state(&MINUTE, now), State::HalfOpen);
        (circuit, probe) = admitted(circuit, &MINUTE, now);
    }
    assert!(circuit.settle(&MINUTE, now, probe, Success).0.is_closed());
}

#[test]
fn b37_one_failed_probe_reopens_whatever_the_closed_window_asks_for() {
    let rule = Rule::new(Trip::after(20).of_last(23), MINUTE.open_for()).probes(3);
    let (circuit, ticket) = probe(&rule, NOON);
    let now = admits_at(&rule, NOON);
    let circuit = circuit.settle(&rule, now, ticket, Success).0;
    let (circuit, ticket) = admitted(circuit, &rule, now);
    let (circuit, settled) = circuit.settle(&rule, now, ticket, Failure);
    assert_eq!(settled, Settled::Moved(Transition::Opened));
    // For a whole period again, and with nothing of the success that came before.
    assert!(circuit.admits_at(&rule, now) >= now.after(rule.open_for()));
    let now = circuit.admits_at(&rule, now);
    let (circuit, _) = admitted(circuit, &rule, now);
    assert_eq!(circuit.phase(), Phase::HalfOpen { in_flight: 1, succeeded: 0 });
}

#[test]
fn as_many_successes_as_probes_close_it_with_an_empty_history() {
    for probes in [1, 2, 3, 63] {
        let rule = MINUTE.probes(probes);
        let mut circuit = open(&rule, NOON);
        let now = admits_at(&rule, NOON);
        for made in 1..=probes {
            let (probing, ticket) = admitted(circuit, &rule, now);
            let (next, settled) = probing.settle(&rule, now, ticket, Success);
            assert_eq!(settled == Settled::Moved(Transition::Closed), made == probes);
            circuit = next;
        }
        assert_eq!(circuit.phase(), Phase::Closed { history: 0 });
    }
}

#[test]
fn a_replaced_probe_leaves_what_succeeded_before_it() {
    let rule = MINUTE.probes(2);
    let (circuit, first) = probe(&rule, NOON);
    let now = admits_at(&rule, NOON);
    let circuit = circuit.settle(&rule, now, first, Success).0;
    let (circuit, _lost) = admitted(circuit, &rule, now);
    let now = circuit.admits_at(&rule, now);
    let (circuit, next) = admitted(circuit, &rule, now);
    assert!(circuit.settle(&rule, now, next, Success).0.is_closed());
}

#[test]
fn a_rule_of_fewer_probes_that_comes_meanwhile_still_closes_it() {
    let (many, few) = (MINUTE.probes(9), MINUTE.probes(2));
    let mut circuit = open(&many, NOON);
    let now = admits_at(&many, NOON);
    for _ in 0..7 {
        let (probing, ticket) = admitted(circuit, &many, now);
        circuit = probing.settle(&many, now, ticket, Success).0;
    }
    let (probing, ticket) = admitted(circuit, &few, now);
    assert_eq!(probing.phase(), Phase::HalfOpen { in_flight: 1, succeeded: 1 });
    assert!(probing.settle(&few, now, ticket, Success).0.is_closed());
}

#[test]
fn a_lease_outlasts_a_step_back_by_the_step_at_most() {
    let (circuit, _lost) = probe(&MINUTE, NOON);
    let began = admits_at(&MINUTE, NOON);
    for step in [Duration::from_secs(1), Duration::from_secs(63), STEP * 2, HOUR, HOUR * 11] {
        let now = before(began, step);
        let waits = circuit.admits_at(&MINUTE, now).since(now);
        assert!(waits <= MINUTE.lease_for() + UNIT + step.min(STEP), "{step:?}");
        assert!(circuit.would_admit(&MINUTE, now.after(waits)), "{step:?}");
    }
}

// --- What it is told to do -----------------------------------------------------------------------

/// A closed circuit, one with a failure, an open one, one with a probe under way, one without.
fn circuits() -> [Circuit; 5] {
    let (probing, ticket) = probe(&MINUTE, NOON);
    let failed = attempts(Circuit::CLOSED, &MINUTE, &[Failure]);
    [Circuit::CLOSED, failed, open(&MINUTE, NOON), probing, probing.release(ticket)]
}

#[test]
fn modes_are_called_as_configuration_spells_them() {
    for (mode, name) in [
        (Mode::Normal, "normal"),
        (Mode::ForcedOpen, "forced_open"),
        (Mode::ForcedClosed, "forced_closed"),
        (Mode::Shadow, "shadow"),
    ] {
        assert_eq!((mode.name(), mode.to_string().as_str()), (name, name));
        assert_eq!(name.parse(), Ok(mode));
    }
    for name in ["", "Normal", "forced-open", "open"] {
        let error = name.parse::<Mode>().unwrap_err();
        assert!(Mode::ALL.iter().all(|mode| error.to_string().contains(mode.name())), "{error}");
    }
    assert_eq!(Mode::default(), Mode::Normal);
}

#[test]
fn the_mode_is_what_was_last_told_wherever_it_goes() {
    for circuit in circuits() {
        assert_eq!(circuit.mode(), Mode::Normal);
        for mode in Mode::ALL {
            let (forced, _) = circuit.force(NOON, mode);
            assert_eq!(forced.mode(), mode);
            // Told again, it changes nothing.
            assert_eq!(forced.force(NOON.after(HOUR), mode), (forced, None));
            let (next, admission) = forced.admit(&MINUTE, NOON.after(HOUR));
            assert_eq!(next.mode(), mode);
            if let Admission::Admitted(ticket, _) = admission {
                let settled = next.settle(&MINUTE, NOON.after(HOUR), ticket, Failure).0;
                assert_eq!((settled.mode(), next.release(ticket).mode()), (mode, mode));
            }
            assert_eq!(forced.reset().0.mode(), mode);
        }
    }
}

#[test]
fn forced_open_it_refuses_everybody_until_told_otherwise() {
    for circuit in circuits() {
        let (forced, moved) = circuit.force(NOON, Mode::ForcedOpen);
        let opened = (kind(circuit) != 1).then_some(Transition::Opened);
        assert_eq!(moved, opened, "{circuit:?}");
        assert_eq!(forced.level(), circuit.level(), "to be forced open is no opening");
        for hours in [0, 1, 24, 76, 77, 10_000] {
            let now = NOON.after(HOUR * hours);
            assert_eq!(forced.admit(&MINUTE, now), (forced, Admission::Refused));
            assert_eq!(forced.state(&MINUTE, now), State::Open);
            assert_eq!(forced.admits_at(&MINUTE, now), Instant::MAX);
            assert_eq!(forced.remaining(&MINUTE, now), MINUTE.open_for());
        }
    }
}

#[test]
fn forced_open_no_longer_the_next_caller_is_a_probe_at_once() {
    for circuit in circuits() {
        let (forced, _) = circuit.force(NOON, Mode::ForcedOpen);
        // Also where its end, were it not moved, looked as if it were to come: in 76 hours.
        for after in [Duration::ZERO, HOUR, ROUND - MINUTE.open_for() / 2, ROUND] {
            let now = NOON.after(after);
            let (normal, moved) = forced.force(now, Mode::Normal);
            assert_eq!((moved, normal.state(&MINUTE, now)), (None, State::HalfOpen));
            let (probing, admission) = normal.admit(&MINUTE, now);
            let Admission::Admitted(probe, Some(Transition::HalfOpened)) = admission else {
                panic!("{admission:?} after {after:?}");
            };
            assert_eq!(probing.settle(&MINUTE, now, probe, Success).0.level(), 0);
            let reopened = probing.settle(&MINUTE, now, probe, Failure).0;
            assert_eq!(reopened.level(), circuit.level() + 1);
            // Shadowed, it goes through half-open as well; forced closed, it is closed.
            let shadowed = forced.force(now, Mode::Shadow).0.admit(&MINUTE, now).1;
            assert!(matches!(shadowed, Admission::Admitted(_, Some(Transition::HalfOpened))));
            let (closed, moved) = forced.force(now, Mode::ForcedClosed);
            assert_eq!((moved, closed.is_closed()), (Some(Transition::Closed), true));
        }
    }
}

#[test]
fn forced_closed_it_admits_everybody_and_never_opens() {
    for circuit in circuits() {
        let (mut forced, moved) = circuit.force(NOON, Mode::ForcedClosed);
        assert_eq!(moved, (kind(circuit) != 0).then_some(Transition::Closed));
        assert_eq!(forced.level(), 0);
        for _ in 0..100 {
            let (next, ticket) = admitted(forced, &MINUTE, NOON);
            assert!(!ticket.is_shadowed());
            let (next, settled) = next.settle(&MINUTE, NOON, ticket, Failure);
            assert_eq!((settled, next.is_closed()), (Settled::Counted, true));
            forced = next;
        }
        // What was counted counts from then on: the next failure opens it.
        let (normal, moved) = forced.force(NOON, Mode::Normal);
        assert_eq!((moved, normal.is_closed()), (None, true));
        let opened = attempts(normal, &MINUTE, &[Failure]);
        assert_eq!((opened.state(&MINUTE, NOON), opened.level()), (State::Open, 1));
    }
}

#[test]
fn what_was_counted_while_closed_stays_when_it_is_forced_closed() {
    let failed = attempts(Circuit::CLOSED, &MINUTE, &[Failure, Failure]);
    let forced = failed.force(NOON, Mode::ForcedClosed).0;
    assert_eq!(forced.phase(), failed.phase());
}

#[test]
fn what_is_under_way_when_it_is_forced_comes_too_late() {
    for (circuit, ticket) in [admitted(Circuit::CLOSED, &MINUTE, NOON), probe(&MINUTE, NOON)] {
        let now = admits_at(&MINUTE, NOON);
        for mode in [Mode::ForcedOpen, Mode::ForcedClosed] {
            let forced = circuit.force(now, mode).0;
            for outcome in [Success, Failure] {
                let settled = forced.settle(&MINUTE, now, ticket, outcome);
                assert_eq!(settled, (forced, Settled::Late));
            }
            assert_eq!(forced.release(ticket), forced);
        }
        // In shadow it counts on.
        let shadow = circuit.force(now, Mode::Shadow).0;
        assert_ne!(shadow.settle(&MINUTE, now, ticket, Failure).1, Settled::Late);
    }
}

#[test]
fn a_forced_circuit_that_is_not_in_its_phase_yet_does_as_the_mode_says() {
    // Between the two steps of whoever forces it, or from words that no history made.
    let told = |circuit: Circuit, mode: u32| {
        let (hot, cold) = circuit.to_bits();
        Circuit::from_bits(hot, cold | mode << 30)
    };
    for (circuit, ticket) in [admitted(Circuit::CLOSED, &MINUTE, NOON), probe(&MINUTE, NOON)] {
        let now = admits_at(&MINUTE, NOON);
        for outcome in [Success, Failure] {
            let open = told(circuit, 1);
            assert_eq!(open.admit(&MINUTE, now), (open, Admission::Refused));
            assert_eq!(open.state(&MINUTE, now), State::Open);
            assert_eq!(open.settle(&MINUTE, now, ticket, outcome), (open, Settled::Late));
        }
    }
    for circuit in [open(&MINUTE, NOON), probe(&MINUTE, NOON).0] {
        let closed = told(circuit, 2);
        let (same, ticket) = admitted(closed, &MINUTE, NOON);
        assert_eq!((same, ticket.is_shadowed()), (closed, true));
        assert_eq!(closed.state(&MINUTE, NOON), State::Closed);
        assert_eq!(closed.remaining(&MINUTE, NOON), Duration::ZERO);
    }
    let (circuit, ticket) = probe(&MINUTE, NOON);
    let closed = told(circuit, 2);
    assert_eq!(closed.settle(&MINUTE, NOON, ticket, Failure), (closed, Settled::Late));
}

#[test]
fn the_level_that_a_lagging_cold_word_says_is_one_more_unless_it_was_forced_open() {
    let circuit = open(&MINUTE, NOON);
    let now = circuit.admits_at(&MINUTE, NOON);
    let (probing, ticket) = admitted(circuit, &MINUTE, now);
    let (_, cold) = probing.to_bits();
    let (hot, _) = probing.settle(&MINUTE, now, ticket, Failure).0.to_bits();
    assert_eq!(Circuit::from_bits(hot, cold).level(), 2);
    // As its cold word is while whoever forces it open has yet to write it.
    let told = Circuit::from_bits(hot, cold | 1 << 30);
    assert_eq!(told.level(), 1);
    assert_eq!(told.force(now, Mode::Normal).0.level(), 1);
}

#[test]
fn in_shadow_whom_it_would_have_refused_is_admitted_and_counts_for_nothing() {
    let shadow = |circuit: Circuit| circuit.force(NOON, Mode::Shadow).0;
    let now = admits_at(&MINUTE, NOON);
    let (probing, _probe) = probe(&MINUTE, NOON);
    for (circuit, now, state) in
        [(open(&MINUTE, NOON), NOON, State::Open), (probing, now, State::HalfOpen)]
    {
        let circuit = shadow(circuit);
        assert_eq!(circuit.state(&MINUTE, now), state);
        assert!(circuit.would_admit(&MINUTE, now));
        assert_eq!(circuit.remaining(&MINUTE, now), Duration::ZERO);
        assert_eq!(circuit.admits_at(&MINUTE, now), now);
        let (next, ticket) = admitted(circuit, &MINUTE, now);
        assert!(ticket.is_shadowed());
        assert_eq!(next, circuit);
        for outcome in [Success, Failure] {
            let settled = next.settle(&MINUTE, now, ticket, outcome);
            assert_eq!(settled, (next, Settled::Shadowed));
        }
        assert_eq!(next.release(ticket), next);
    }
}

#[test]
fn in_shadow_it_decides_and_counts_as_ever() {
    // Alike in all but the mode, whoever is admitted by it alone.
    let (mut normal, mut now) = (Circuit::CLOSED, NOON);
    let mut shadow = Circuit::CLOSED.force(NOON, Mode::Shadow).0;
    let rule = MINUTE.probes(2).open_growth(20, HOUR);
    for n in 0..5000_u32 {
        now = now.after(Duration::from_millis(u64::from(n * 7919 % 9001)));
        let (next, expected) = normal.admit(&rule, now);
        let (next_shadow, admission) = shadow.admit(&rule, now);
        let Admission::Admitted(ticket, _) = admission else { panic!("refused") };
        match expected {
            Admission::Refused => assert!(ticket.is_shadowed()),
            decided => assert_eq!(admission, decided),
        }
        (normal, shadow) = (next, next_shadow);
        let outcome = if n * 31 % 37 < 18 { Failure } else { Success };
        if let Admission::Admitted(expected, _) = expected {
            let (settled, what) = normal.settle(&rule, now, expected, outcome);
            normal = settled;
            let (settled, shadowed) = shadow.settle(&rule, now, ticket, outcome);
            shadow = settled;
            assert_eq!(what, shadowed);
        }
        assert_eq!(shadow.force(now, Mode::Normal).0, normal);
        assert_eq!(shadow.state(&rule, now), normal.state(&rule, now));
    }
    assert!(normal.level() > 0);
}

#[test]
fn reset_it_is_closed_without_a_failure_and_what_is_under_way_comes_late() {
    for mode in [Mode::Normal, Mode::ForcedClosed, Mode::Shadow] {
        for circuit in circuits() {
            let circuit = circuit.force(NOON, mode).0;
            let (reset, moved) = circuit.reset();
            assert_eq!(moved, (kind(circuit) != 0).then_some(Transition::Closed));
            assert_eq!(reset.phase(), Phase::Closed { history: 0 });
            assert_eq!((reset.level(), reset.mode()), (0, mode));
            if let Admission::Admitted(ticket, _) = circuit.admit(&MINUTE, NOON).1 {
                let late = if ticket.is_shadowed() { Settled::Shadowed } else { Settled::Late };
                assert_eq!(reset.settle(&MINUTE, NOON, ticket, Failure), (reset, late));
            }
        }
    }
}

#[test]
fn reset_while_forced_open_it_forgets_how_often_it_opened_and_stays_open() {
    for circuit in circuits() {
        let forced = circuit.force(NOON, Mode::ForcedOpen).0;
        let (reset, moved) = forced.reset();
        assert_eq!((reset.level(), moved), (0, None));
        assert_eq!(reset.phase(), forced.phase());
        assert_eq!(reset.admit(&MINUTE, NOON).1, Admission::Refused);
    }
}

// --- Words that no history made ------------------------------------------------------------------

#[test]
fn a_refused_caller_begins_the_lease_that_nobody_wrote() {
    let (probing, _lost) = probe(&MINUTE, NOON);
    let (hot, _) = probing.to_bits();
    // The cold words of the circuit as it was while closed, and while open.
    for (_, cold) in [Circuit::CLOSED.to_bits(), open(&MINUTE, NOON).to_bits()] {
        let now = admits_at(&MINUTE, NOON).after(HOUR);
        let lagging = Circuit::from_bits(hot, cold);
        assert_eq!(lagging.level(), cold >> 20 & 0xf);
        let (begun, admission) = lagging.admit(&MINUTE, now);
        assert_eq!(admission, Admission::Refused);
        assert_eq!(begun.phase(), probing.phase());
        assert_eq!(begun.admit(&MINUTE, now), (begun, Admission::Refused));
        let ends = begun.admits_at(&MINUTE, now);
        assert!(ends >= now.after(MINUTE.lease_for()));
        assert!(ends < now.after(MINUTE.lease_for()).after(UNIT));
        assert!(begun.would_admit(&MINUTE, ends));
    }
}

proptest! {
    #![proptest_config(cases(4096))]

    #[test]
    fn any_words_have_a_way_out(
        hot: u32,
        cold: u32,
        same_epoch: bool,
        now in 0..u64::MAX / 2,
        rule in any_rule(),
    ) {
        const EPOCH: u32 = 0x3f00_0000;
        let cold = if same_epoch { cold & !EPOCH | hot & EPOCH } else { cold };
        let circuit = Circuit::from_bits(hot, cold);
        let mut now = Instant::from_micros(now);
        let longest = rule.open_period(15);
        let configured = longest.max(rule.lease_for());
        prop_assert!(circuit.remaining(&rule, now) <= configured);
        // Whom a mode keeps out, or lets in, it does until it is changed.
        match circuit.mode() {
            Mode::ForcedOpen => {
                prop_assert!(!circuit.would_admit(&rule, now));
                prop_assert_eq!(circuit.admits_at(&rule, now), Instant::MAX);
            }
            Mode::ForcedClosed | Mode::Shadow => prop_assert!(circuit.would_admit(&rule, now)),
            Mode::Normal => {}
        }
        let circuit = circuit.force(now, Mode::Normal).0;
        // Whoever asks again when told to is admitted, and as many successes as the rule asks for
        // close it.
        let mut circuit = circuit;
        for _ in 0..rule.probe_count() {
            let (mut next, mut admission) = circuit.admit(&rule, now);
            if admission == Admission::Refused {
                let at = next.admits_at(&rule, now);
                prop_assert!(at.since(now) <= configured + STEP + UNIT);
                now = at;
                (next, admission) = next.admit(&rule, now);
            }
            let Admission::Admitted(ticket, _) = admission else {
                return Err(TestCaseError::fail(format!("refused: {next:?}")));
            };
            circuit = next.settle(&rule, now, ticket, Success).0;
        }
        prop_assert!(circuit.is_closed(), "{circuit:?}");
    }

    #[test]
    fn any_words_at_any_time_answer_without_panic_and_refusals_say_until_when(
        words in any::<(u32, u32)>(),
        other in any::<(u32, u32)>(),
        now in prop_oneof![any::<u64>(), u64::MAX - 200_000..=u64::MAX],
        before: u64,
        failed: bool,
        rule in any_rule(),
    ) {
        let circuit = Circuit::from_bits(words.0, words.1);
        let (now, before) = (Instant::from_micros(now), Instant::from_micros(before));
        let admits = circuit.would_admit(&rule, now);
        prop_assert_eq!(admits, circuit.remaining(&rule, now).is_zero());
        let at = circuit.admits_at(&rule, now);
        match circuit.mode() {
            Mode::ForcedOpen => prop_assert!(!admits && at == Instant::MAX),
            _ => prop_assert_eq!(admits, at <= now || now == Instant::MAX),
        }
        prop_assert!(circuit.level() <= 15);
        prop_assert_ne!(circuit.to_bits().0 >> 30, 3, "as a shadowed ticket begins");
        if let Admission::Admitted(ticket, _) =
            Circuit::from_bits(other.0, other.1).admit(&rule, before).1
        {
            let outcome = if failed { Failure } else { Success };
            let (next, settled) = circuit.settle(&rule, now, ticket, outcome);
            prop_assert!(settled != Settled::Late || next == circuit);
            prop_assert_eq!(settled == Settled::Shadowed, ticket.is_shadowed());
            prop_assert!(!ticket.is_shadowed() || next == circuit);
            let (hot, cold) = circuit.release(ticket).to_bits();
            prop_assert_eq!(cold, words.1);
            prop_assert!(hot == words.0 || kind(circuit) == 2);
        }
    }
}

// --- The walk ------------------------------------------------------------------------------------

/// All that up to nine steps can reach with one probe at a time.
#[test]
fn all_that_nine_steps_reach_keeps_its_promises() {
    let rule = Rule::new(Trip::after(1), TICK * 4).lease(UNIT);
    let moves = [1, 1 << 14, 1 << 17];
    assert!(walk(&rule, Steps { skews: &[0, -1], ..Steps::of(&moves) }, 9) > 50_000);
}

/// The same with readings that are older by more than a tick, and by a whole lease.
#[test]
fn all_that_eight_steps_reach_by_readings_of_ticks_ago_keeps_its_promises() {
    let rule = Rule::new(Trip::after(1), TICK * 4).probes(2).lease(UNIT);
    let skews = [0, -(1 << 14), -(1 << 17)];
    let moves = [5 << 14, (1 << 17) + 1];
    assert!(walk(&rule, Steps { skews: &skews, flights: 2, ..Steps::of(&moves) }, 8) > 50_000);
}

/// The same for two probes and a window.
#[test]
fn all_that_twelve_steps_reach_with_two_probes_keeps_its_promises() {
    let rule = Rule::new(Trip::after(2).of_last(3), TICK * 5).probes(2).lease(UNIT);
    assert!(walk(&rule, Steps::of(&[5 << 14, 6 << 14]), 12) > 50_000);
}

/// The same on a clock that steps back by 32 ms, 64 s, and an hour, and forward by an hour.
#[test]
fn all_that_eight_steps_reach_on_a_broken_clock_keeps_its_promises() {
    let rule = Rule::new(Trip::after(1), TICK * 4).probes(2).lease(UNIT);
    let clock = [-32_000, -64_000_000, -3_600_000_000, 3_600_000_000];
    assert!(walk(&rule, Steps { clock: &clock, ..Steps::of(&[5 << 14, 10 << 14]) }, 8) > 50_000);
}

/// The same on a clock that steps back by less than goes by.
#[test]
fn all_that_eight_steps_reach_on_a_clock_that_steps_back_a_little_keeps_its_promises() {
    let rule = Rule::new(Trip::after(1), TICK * 4).lease(UNIT);
    let clock = [-20_000, -70_000, -1_000_000];
    let moves = [(4 << 14) + 4000, 1_139_072, 2_000_000];
    let steps = Steps { clock: &clock, flights: 2, ..Steps::of(&moves) };
    assert!(walk(&rule, steps, 8) > 50_000);
}

/// The same with a period that grows: up to six openings in a row, of 4, a little more than 12 and 36, and
/// 80 ticks.
#[test]
fn all_that_eighteen_steps_reach_keeps_its_promises_while_the_period_grows() {
    let rule = Rule::new(Trip::after(1), TICK * 4).lease(UNIT).open_growth(30, TICK * 80);
    let moves = [5 << 14, 60 << 14];
    assert!(walk(&rule, Steps { skews: &[0], flights: 1, ..Steps::of(&moves) }, 18) > 50_000);
}

/// The same, told every mode at any time, and reset.
#[test]
fn all_that_seven_steps_reach_in_all_modes_keeps_its_promises() {
    let rule = Rule::new(Trip::after(1), TICK * 4).lease(UNIT).open_growth(20, TICK * 80);
    let moves = [1, 5 << 14, 1 << 17];
    let steps = Steps { modes: &Mode::ALL, resets: true, flights: 2, ..Steps::of(&moves) };
    assert!(walk(&rule, steps, 7) > 50_000);
}

/// The same with two probes, readings out of order and a clock that steps.
#[test]
fn all_that_six_steps_reach_in_all_modes_on_a_broken_clock_keeps_its_promises() {
    let rule = Rule::new(Trip::after(1), TICK * 4).probes(2).lease(UNIT).open_growth(20, TICK * 80);
    let clock = [-30_000, -1_000_000, -64_000_000, 3_600_000_000];
    let steps =
        Steps { clock: &clock, skews: &[0, -1], modes: &Mode::ALL, ..Steps::of(&[6 << 14]) };
    let steps = Steps { resets: true, ..steps };
    assert!(walk(&rule, steps, 6) > 50_000);
}

/// What may happen at each step.
#[derive(Clone, Copy)]
struct Steps<'s> {
    /// Time that passes.
    moves: &'s [u64],
    /// By how much the clock steps, and no time passes.
    clock: &'s [i64],
    /// By how much a caller's reading may be older than the clock.
    skews: &'s [i64],
    /// What it may be told.
    modes: &'s [Mode],
    resets: bool,
    /// How many may be under way.
    flights: usize,
}

impl<'s> Steps<'s> {
    const fn of(moves: &'s [u64]) -> Self {
        Self { moves, clock: &[], skews: &[0], modes: &[], resets: false, flights: 3 }
    }
}

/// How near the steps came to what is promised, in microseconds.
#[derive(Debug)]
struct Seen {
    /// Open for the longest, without a step back of the clock and after one.
    open: [Cell<u64>; 2],
    /// Without a probe for the longest.
    silent: [Cell<u64>; 2],
    /// Open for the shortest.
    over: Cell<u64>,
}

/// A circuit, what is under way, and what an observer with a perfect memory knows.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Node {
    circuit: Circuit,
    flights: Vec<Flight>,
    /// What the clock says.
    reading: u64,
    real: u64,
    epoch: u32,
    mode: Mode,
    /// Openings since it was last closed, other than by being told to.
    openings: u32,
    opened: Mark,
    /// It is open because it was told to: once it is not, for a tick at most.
    told: bool,
    probed: Mark,
    /// Probes that reported after their lease: their slots are not given back in this epoch.
    overdue: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Flight {
    epoch: u32,
    admitted: u64,
    ticket: Ticket,
    shadowed: bool,
}

/// When something happened, and how far the clock stepped back and forth since.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Mark {
    real: u64,
    /// How much older than the clock the reading was by which it happened.
    skew: u64,
    back: u64,
    forth: u64,
}

/// Visits every node that `depth` steps reach, checks each step, and says how many there are.
fn walk(rule: &Rule, steps: Steps<'_>, depth: u32) -> usize {
    let near = Seen::new();
    let mut level = HashSet::from([Node::start()]);
    let mut seen = level.clone();
    for _ in 0..depth {
        let mut next = HashSet::new();
        for node in &level {
            node.has_a_way_out(rule);
            node.steps(rule, steps, &near, |reached| {
                if seen.insert(reached.clone()) {
                    next.insert(reached);
                }
            });
        }
        level = next;
    }
    level.iter().for_each(|node| node.has_a_way_out(rule));
    println!("{} nodes, {near:?}", seen.len());
    near.is_near(steps);
    seen.len()
}

impl Seen {
    fn new() -> Self {
        let never = || Cell::new(u64::MAX);
        Self { open: [never(), never()], silent: [never(), never()], over: never() }
    }

    /// Each bound was met but for what it is rounded up by.
    fn is_near(&self, steps: Steps<'_>) {
        let stepped = usize::from(!steps.clock.is_empty());
        assert!(self.open[stepped].get() <= micros(TICK), "{self:?}");
        assert!(self.over.get() <= micros(TICK), "{self:?}");
        // With modes after a step of the clock, that takes a step more.
        if stepped == 0 || steps.modes.is_empty() {
            assert!(self.silent[stepped].get() <= micros(UNIT), "{self:?}");
        }
    }

    fn note(nearest: &Cell<u64>, distance: u64) {
        nearest.set(nearest.get().min(distance));
    }
}

impl Node {
    fn start() -> Self {
        let reading = NOON.as_micros();
        Self {
            circuit: Circuit::CLOSED,
            flights: Vec::new(),
            reading,
            real: 0,
            epoch: 0,
            mode: Mode::Normal,
            openings: 0,
            opened: Mark::default(),
            told: false,
            probed: Mark::default(),
            overdue: 0,
        }
    }

    fn steps(&self, rule: &Rule, steps: Steps<'_>, near: &Seen, mut reach: impl FnMut(Self)) {
        for &by in steps.moves {
            let (reading, real) = (self.reading + by, self.real + by);
            reach(Self { reading, real, ..self.clone() });
        }
        for &by in steps.clock {
            reach(self.stepped(by));
        }
        for &mode in steps.modes {
            reach(self.force(rule, mode));
        }
        if steps.resets {
            reach(self.reset());
        }
        // Other threads' readings, a little older.
        for skew in steps.skews {
            let now = self.reading.saturating_add_signed(*skew);
            if self.flights.len() < steps.flights {
                reach(self.admit(rule, now, near));
            }
            for flight in 0..self.flights.len() {
                reach(self.settle(rule, now, flight, Success));
                reach(self.settle(rule, now, flight, Failure));
            }
        }
        for flight in 0..self.flights.len() {
            reach(self.release(flight));
        }
    }

    fn stepped(&self, by: i64) -> Self {
        let mut next = self.clone();
        next.reading = self.reading.saturating_add_signed(by);
        for mark in [&mut next.opened, &mut next.probed] {
            mark.back += by.min(0).unsigned_abs();
            mark.forth += by.max(0).unsigned_abs();
        }
        next
    }

    fn admit(&self, rule: &Rule, now: u64, near: &Seen) -> Self {
        let (circuit, admission) = self.circuit.admit(rule, Instant::from_micros(now));
        let instant = Instant::from_micros(now);
        let admits = matches!(admission, Admission::Admitted(..));
        assert_eq!(admits, self.circuit.would_admit(rule, instant));
        assert_eq!(admits, self.circuit.remaining(rule, instant).is_zero());
        let skew = self.reading - now;
        let shadowed = matches!(admission, Admission::Admitted(ticket, _) if ticket.is_shadowed());
        assert!(!shadowed || self.mode == Mode::Shadow, "admitted by {:?}", self.mode);
        match (self.circuit.phase(), admission) {
            (_, Admission::Refused) if self.mode == Mode::ForcedOpen => {
                assert!(self.circuit.remaining(rule, instant) <= self.period(rule));
            }
            (_, Admission::Admitted(..)) if self.mode == Mode::ForcedOpen => {
                panic!("admitted by {:?}, forced open", self.circuit)
            }
            (Phase::Closed { .. }, Admission::Admitted(_, None)) => {
                assert_eq!(circuit, self.circuit)
            }
            _ if self.mode == Mode::ForcedClosed => panic!("{:?}, forced closed", self.circuit),
            (Phase::Open { .. }, _) if !admits || shadowed => {
                assert_eq!(admits, self.mode == Mode::Shadow);
                let open = self.since(&self.opened);
                let period = if self.told { Duration::ZERO } else { self.period(rule) };
                let longest = micros(period + TICK) + self.opened.back + skew;
                assert!(open < longest, "open for {open} µs: {:?}", self.circuit);
                Seen::note(&near.open[usize::from(self.opened.back > 0)], longest - open);
                assert!(self.circuit.remaining(rule, instant) <= self.period(rule));
            }
            (Phase::Open { .. }, Admission::Admitted(_, Some(Transition::HalfOpened))) => {
                let open = self.since(&self.opened);
                let shortest = micros(self.period(rule)) + self.opened.back + skew;
                // By so much less than when it opened that the end is taken for nonsense.
                let behind = (self.opened.back + skew).saturating_sub(open);
                if !self.told && behind + micros(TICK) < micros(STEP) {
                    assert!(open >= shortest, "open for {open} µs only: {:?}", self.circuit);
                    Seen::note(&near.over, open - shortest);
                }
            }
            (Phase::HalfOpen { .. }, _) if !admits || shadowed => {
                assert_eq!(admits, self.mode == Mode::Shadow);
                let silent = self.since(&self.probed);
                let longest = micros(rule.lease_for() + UNIT) + self.probed.back + skew;
                assert!(silent < longest, "no probe for {silent} µs: {:?}", self.circuit);
                Seen::note(&near.silent[usize::from(self.probed.back > 0)], longest - silent);
                assert!(self.circuit.remaining(rule, instant) <= rule.lease_for());
            }
            (Phase::HalfOpen { .. }, Admission::Admitted(_, None)) => {}
            (_, admission) => panic!("{admission:?} by {:?}", self.circuit),
        }
        if !admits || shadowed {
            assert_eq!(circuit, self.circuit, "a refusal moved it");
        }
        let mut next = self.then(circuit);
        if let Admission::Admitted(ticket, _) = admission {
            let flight = Flight { epoch: next.epoch, admitted: now, ticket, shadowed };
            next.flights.push(flight);
            next.flights
                .sort_unstable_by_key(|flight| (flight.epoch, flight.admitted, flight.shadowed));
            if !shadowed {
                next.probed = Mark { real: next.real, skew, ..Mark::default() };
            }
        }
        next.counts_its_probes(rule);
        next
    }

    fn settle(&self, rule: &Rule, now: u64, flight: usize, outcome: Outcome) -> Self {
        let Flight { epoch, admitted, ticket, shadowed } = self.flights[flight];
        let instant = Instant::from_micros(now);
        let (circuit, settled) = self.circuit.settle(rule, instant, ticket, outcome);
        let mut next = self.then(circuit);
        next.flights.remove(flight);
        if shadowed {
            let nothing = (self.circuit, Settled::Shadowed);
            assert_eq!((circuit, settled), nothing, "a ticket that counts for nothing");
            return next;
        }
        if epoch != self.epoch {
            assert_eq!((circuit, settled), (self.circuit, Settled::Late), "a late ticket");
        }
        match (self.circuit.phase(), circuit.phase(), settled) {
            (Phase::Closed { .. }, Phase::Closed { .. }, Settled::Counted)
            | (Phase::HalfOpen { .. }, Phase::HalfOpen { .. }, Settled::Counted) => {}
            (
                Phase::Closed { .. } | Phase::HalfOpen { .. },
                Phase::Open { .. },
                Settled::Moved(Transition::Opened),
            ) => {
                assert_eq!(outcome, Failure);
                assert_ne!(self.mode, Mode::ForcedClosed, "opened");
                let skew = self.reading - now;
                next.opened = Mark { real: next.real, skew, ..Mark::default() };
                (next.openings, next.told) = ((self.openings + 1).min(15), false);
            }
            (
                Phase::HalfOpen { succeeded, .. },
                Phase::Closed { history: 0 },
                Settled::Moved(Transition::Closed),
            ) => {
                assert_eq!((outcome, succeeded + 1), (Success, rule.probe_count()));
                next.openings = 0;
            }
            (_, _, Settled::Late) => {
                assert_eq!(circuit, self.circuit);
                if epoch == self.epoch {
                    let age = now.saturating_sub(admitted);
                    assert!(age > micros(rule.lease_for()), "late after {age} µs");
                    next.overdue += 1;
                }
            }
            moved => panic!("{moved:?}"),
        }
        next.counts_its_probes(rule);
        next
    }

    fn force(&self, rule: &Rule, mode: Mode) -> Self {
        let now = Instant::from_micros(self.reading);
        let (circuit, moved) = self.circuit.force(now, mode);
        assert_eq!(circuit.mode(), mode);
        let mut next = self.then(circuit);
        next.mode = mode;
        let was = kind(self.circuit);
        match mode {
            _ if mode == self.mode => assert_eq!((circuit, moved), (self.circuit, None)),
            Mode::ForcedOpen => {
                assert_eq!(moved, (was != 1).then_some(Transition::Opened));
                assert!(next.epoch > self.epoch && kind(circuit) == 1);
                next.told = true;
            }
            Mode::ForcedClosed => {
                assert_eq!(moved, (was != 0).then_some(Transition::Closed));
                assert!(next.epoch > self.epoch && circuit.is_closed());
                next.openings = 0;
            }
            Mode::Normal | Mode::Shadow => {
                assert_eq!((moved, next.epoch, kind(circuit)), (None, self.epoch, was));
                if self.mode == Mode::ForcedOpen {
                    assert!(circuit.would_admit(rule, now), "no probe at once");
                    next.opened = Mark { real: next.real, ..Mark::default() };
                }
            }
        }
        next
    }

    fn reset(&self) -> Self {
        let (circuit, moved) = self.circuit.reset();
        let mut next = self.then(circuit);
        next.openings = 0;
        if self.mode == Mode::ForcedOpen {
            assert_eq!((moved, circuit.phase()), (None, self.circuit.phase()));
        } else {
            assert_eq!(moved, (kind(self.circuit) != 0).then_some(Transition::Closed));
            assert_eq!(circuit.phase(), Phase::Closed { history: 0 });
            assert!(next.epoch > self.epoch);
        }
        next
    }

    /// What went by since by the clock, but for its steps back.
    const fn since(&self, mark: &Mark) -> u64 {
        self.real - mark.real + mark.skew + mark.forth
    }

    /// The open period that it is in or was in last.
    fn period(&self, rule: &Rule) -> Duration {
        let tenths = u64::from(rule.growth_tenths());
        let exact =
            (1..self.openings).fold(micros(rule.open_for()), |period, _| period * tenths / 10);
        let [least, most] = [exact, exact + exact / 1000 + 32].map(Duration::from_micros);
        let period = rule.open_period(self.openings);
        assert!(least.min(rule.open_max()) <= period && period <= most.min(rule.open_max()));
        period
    }

    fn release(&self, flight: usize) -> Self {
        let Flight { epoch, ticket, shadowed, .. } = self.flights[flight];
        let circuit = self.circuit.release(ticket);
        if shadowed || epoch != self.epoch || self.circuit.is_closed() {
            assert_eq!(circuit, self.circuit, "a late or neutral ticket");
        }
        let mut next = self.then(circuit);
        assert_eq!(next.epoch, self.epoch);
        next.flights.remove(flight);
        next
    }

    /// The same with a moved circuit. Each change of phase is a change of epoch.
    fn then(&self, circuit: Circuit) -> Self {
        let epoch = |circuit: Circuit| circuit.to_bits().0 >> 24 & 0x3f;
        let moved = epoch(circuit) != epoch(self.circuit);
        assert!(moved || kind(circuit) == kind(self.circuit));
        let mut next = Self { circuit, ..self.clone() };
        if moved {
            next.epoch += 1;
            next.overdue = 0;
        }
        next
    }

    fn counts_its_probes(&self, rule: &Rule) {
        if let Phase::HalfOpen { in_flight, succeeded } = self.circuit.phase() {
            assert!(in_flight + succeeded <= rule.probe_count(), "{:?}", self.circuit);
            let of_this_epoch = |flight: &&Flight| flight.epoch == self.epoch && !flight.shadowed;
            let flights = self.flights.iter().filter(of_this_epoch).count();
            assert_eq!(in_flight, flights as u32 + self.overdue, "{:?}", self.circuit);
        }
    }

    fn has_a_way_out(&self, rule: &Rule) {
        let now = Instant::from_micros(self.reading);
        assert_eq!(self.circuit.mode(), self.mode);
        assert_eq!(self.circuit.level(), self.openings, "{:?}", self.circuit);
        let at = self.circuit.admits_at(rule, now);
        if self.mode == Mode::ForcedOpen {
            assert_eq!(at, Instant::MAX);
            return;
        }
        assert!(self.circuit.would_admit(rule, at), "{:?}", self.circuit);
        assert!(at == now || !self.circuit.would_admit(rule, before(at, Duration::from_micros(1))));
        let longest = self.period(rule).max(rule.lease_for()) + UNIT + STEP;
        assert!(at.since(now) <= longest, "{:?}", self.circuit);
    }
}

// --- Helpers -------------------------------------------------------------------------------------

/// A breaker as one would write it without thinking about words: time in whole ticks.
enum Naive {
    Closed(Vec<Option<Outcome>>),
    Open { until: u64 },
    HalfOpen { succeeded: u32 },
}

impl Naive {
    const fn admits(&self, now: u64) -> bool {
        match self {
            Self::Open { until } => now >= *until,
            _ => true,
        }
    }

    const fn state(&self, now: u64) -> State {
        match self {
            Self::Closed(_) => State::Closed,
            Self::Open { .. } if !self.admits(now) => State::Open,
            _ => State::HalfOpen,
        }
    }

    fn attempt(&mut self, rule: &Rule, now: u64, outcome: Option<Outcome>) {
        if !self.admits(now) {
            return;
        }
        if let Self::Open { .. } = self {
            *self = Self::HalfOpen { succeeded: 0 };
        }
        let open = Self::Open { until: now + 4 };
        match (&mut *self, outcome) {
            (_, None) => {}
            (Self::Closed(outcomes), outcome) => {
                outcomes.push(outcome);
                let last = outcomes.iter().rev().take(rule.trip().window() as usize);
                let failures = last.filter(|outcome| **outcome == Some(Failure)).count();
                if failures >= rule.trip().failures() as usize {
                    *self = open;
                }
            }
            (Self::HalfOpen { .. }, Some(Failure)) => *self = open,
            (Self::HalfOpen { succeeded }, Some(Success)) => {
                *succeeded += 1;
                if *succeeded == rule.probe_count() {
                    *self = Self::Closed(Vec::new());
                }
            }
            (Self::Open { .. }, _) => unreachable!("it admitted"),
        }
    }
}

/// Nothing is written into the tree: a failing input is shown, and made into a test by hand.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let length = || prop_oneof![50_000..200_000_u64, 50_000..=86_400_000_000_u64];
    (1..=23_u32, 0..23_u32, length(), length(), 1..=63_u32, 10..=100_u32, length()).prop_map(
        |(failures, more, open_for, lease, probes, growth, open_max)| {
            let trip = Trip::after(failures).of_last((failures + more).min(23));
            Rule::new(trip, Duration::from_micros(open_for))
                .lease(Duration::from_micros(lease))
                .probes(probes)
                .open_growth(growth, Duration::from_micros(open_max.max(open_for)))
        },
    )
}

fn admitted(circuit: Circuit, rule: &Rule, now: Instant) -> (Circuit, Ticket) {
    match circuit.admit(rule, now) {
        (circuit, Admission::Admitted(ticket, _)) => (circuit, ticket),
        (circuit, Admission::Refused) => panic!("refused: {circuit:?}"),
    }
}

/// One attempt after the other, all at noon.
fn attempts(circuit: Circuit, rule: &Rule, outcomes: &[Outcome]) -> Circuit {
    outcomes.iter().fold(circuit, |circuit, outcome| {
        let (circuit, ticket) = admitted(circuit, rule, NOON);
        circuit.settle(rule, NOON, ticket, *outcome).0
    })
}

/// A circuit that opened at `now`.
fn open(rule: &Rule, now: Instant) -> Circuit {
    let circuit = (0..rule.trip().failures()).fold(Circuit::CLOSED, |circuit, _| {
        let (circuit, ticket) = admitted(circuit, rule, now);
        circuit.settle(rule, now, ticket, Failure).0
    });
    assert!(!circuit.is_closed());
    circuit
}

/// When a circuit that opened at `opened` admits again.
fn admits_at(rule: &Rule, opened: Instant) -> Instant {
    open(rule, opened).admits_at(rule, opened)
}

/// A circuit that opened at `opened` and made its first probe as soon as it could.
fn probe(rule: &Rule, opened: Instant) -> (Circuit, Ticket) {
    admitted(open(rule, opened), rule, admits_at(rule, opened))
}

const fn before(now: Instant, by: Duration) -> Instant {
    Instant::from_micros(now.as_micros() - micros(by))
}

const fn micros(length: Duration) -> u64 {
    length.as_micros() as u64
}

const fn kind(circuit: Circuit) -> u32 {
    match circuit.phase() {
        Phase::Closed { .. } => 0,
        Phase::Open { .. } => 1,
        Phase::HalfOpen { .. } => 2,
    }
}
