//! Failures and slow outcomes over a window, against a window that keeps every outcome in a list.
#![allow(clippy::unwrap_used, clippy::disallowed_types)]

use core::convert::Infallible;
use core::iter::repeat_n;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;
use steadfast::state::{
    Admission, Circuit, ClosedPhase, Evidence, FULL_WINDOW, Mode, NO_WINDOW, Outcome, Phase,
    Settled, SharedCircuit, SharedWindow, State, Ticket, Transition, Window, WindowRule,
    WindowRuleError,
};
use steadfast::{Breaker, Instant, ManualClock, Policy, Reason, Rule, Trip};

use Outcome::{Failure, Success};

const OPEN_FOR: Duration = Duration::from_secs(30);
const FAST: Duration = Duration::from_millis(1);
const SLOW: Duration = Duration::from_secs(2);

const fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1_000)
}

/// A circuit that is closed in an epoch.
const fn closed_in(epoch: u32) -> SharedCircuit {
    SharedCircuit::resume(Circuit::from_bits(epoch << 24, epoch << 24))
}

fn admitted(circuit: &SharedCircuit) -> Ticket {
    match circuit.admit(&Rule::new(Trip::NEVER, OPEN_FOR), at(0)) {
        Admission::Admitted(ticket, None) => ticket,
        refused => panic!("a closed circuit admits: {refused:?}"),
    }
}

fn phase(circuit: &SharedCircuit) -> ClosedPhase<'_> {
    circuit.closed_phase(admitted(circuit)).unwrap()
}

/// The closed phase of a circuit that never had another.
fn first() -> ClosedPhase<'static> {
    static CIRCUIT: SharedCircuit = SharedCircuit::new();
    phase(&CIRCUIT)
}

/// Enters outcomes, all of them fast, and says after which of them the window opened, if any did.
fn opens_after(rule: WindowRule, outcomes: impl IntoIterator<Item = Outcome>) -> Option<usize> {
    let window = SharedWindow::<FULL_WINDOW>::new();
    let opens = |outcome| window.enter(&rule, at(0), first(), outcome, FAST);
    outcomes.into_iter().position(opens).map(|place| place + 1)
}

fn times(count: usize, outcome: Outcome) -> impl Iterator<Item = Outcome> + Clone {
    repeat_n(outcome, count)
}

// Rules.

#[test]
fn b13_a_rate_that_is_just_reached_opens() {
    let half = WindowRule::over_last(10).failure_rate(500);
    assert_eq!(opens_after(half, times(5, Success).chain(times(5, Failure))), Some(10));
    assert_eq!(opens_after(half, times(6, Success).chain(times(4, Failure))), None);
    let within = WindowRule::within(Duration::from_secs(10)).failure_rate(500);
    assert_eq!(opens_after(within, times(5, Success).chain(times(5, Failure))), Some(10));
    assert_eq!(opens_after(within, times(6, Success).chain(times(5, Failure))), None);
}

#[test]
fn b14_more_calls_asked_for_than_the_window_has_are_as_many_as_it_has() {
    let rule = WindowRule::over_last(10).failure_rate(500).min_calls(100);
    assert_eq!(rule.calls_needed(), 10);
    assert_eq!(opens_after(rule, times(100, Failure)), Some(10));
}

#[test]
fn no_rate_opens_before_there_are_enough_outcomes() {
    let rule = WindowRule::over_last(100).failure_rate(10).min_calls(7);
    assert_eq!(opens_after(rule, times(100, Failure)), Some(7));
    let all = WindowRule::over_last(100).failure_rate(10);
    assert_eq!(opens_after(all, times(100, Failure)), Some(100));
    let within = WindowRule::within(OPEN_FOR).failure_rate(10);
    assert_eq!(opens_after(within, times(100, Failure)), Some(10));
}

#[test]
fn a_window_that_fills_with_a_success_above_its_rate_opens() {
    let rule = WindowRule::over_last(10).failure_rate(500);
    assert_eq!(opens_after(rule, times(9, Failure).chain(times(1, Success))), Some(10));
    let within = WindowRule::within(OPEN_FOR).failure_rate(500);
    assert_eq!(opens_after(within, times(9, Failure).chain(times(1, Success))), Some(10));
}

#[test]
fn failures_are_counted_among_a_thousand_outcomes() {
    let rule = WindowRule::NONE.failures(3, 1024);
    let spread = |between| {
        let two = times(1, Failure).chain(times(510, Success)).chain(times(1, Failure));
        two.chain(times(between, Success)).chain(times(1, Failure))
    };
    assert_eq!(opens_after(rule, spread(511)), Some(1024));
    assert_eq!(opens_after(rule, spread(512)), None);
    // The same after more good ones than it remembers.
    assert_eq!(opens_after(rule, times(2000, Success).chain(spread(511))), Some(3024));
    assert_eq!(opens_after(rule, times(2000, Success).chain(spread(512))), None);
}

#[test]
fn slow_outcomes_open_it_however_they_end() {
    let rule = WindowRule::over_last(4).slow_rate(500, SLOW);
    let window = SharedWindow::<FULL_WINDOW>::new();
    let just_below = SLOW - Duration::from_micros(1);
    let entered = [(Success, just_below), (Failure, SLOW), (Failure, just_below), (Success, SLOW)];
    let opened = entered.map(|(outcome, took)| window.enter(&rule, at(0), first(), outcome, took));
    assert_eq!(opened, [false, false, false, true]);
}

#[test]
fn an_outcome_leaves_a_window_over_a_time_when_the_time_is_over() {
    let rule = WindowRule::within(Duration::from_secs(22)).failure_rate(600).min_calls(2);
    // 22 slices of a second each.
    let later = |seconds: u64| {
        let window = SharedWindow::<FULL_WINDOW>::new();
        let enter = |millis, outcome| window.enter(&rule, at(millis), first(), outcome, FAST);
        [
            enter(500, Success),
            enter(900, Success),
            enter(21_999, Failure),
            enter(500 + seconds * 1_000, Failure),
        ]
    };
    assert_eq!(later(21), [false; 4], "two of four");
    assert_eq!(later(22), [false, false, false, true], "two of two");
}

#[test]
fn a_slice_that_is_full_counts_on_and_keeps_its_rate() {
    let day = WindowRule::within(Duration::from_secs(86_400));
    let rule = day.failure_rate(200).slow_rate(200, SLOW).min_calls(100_000);
    let (window, phase) = (SharedWindow::<12>::new(), first());
    let enter = |outcome, took| window.enter(&rule, at(0), phase, outcome, took);
    // A tenth of them fails, and another tenth is slow.
    for n in 0..600_000 {
        let outcome = if n % 10 == 0 { Failure } else { Success };
        let took = if n % 10 == 5 { SLOW } else { FAST };
        assert!(!enter(outcome, took), "{n}");
    }
    // A fifth of 2^18 at most, with those that were there.
    assert!((0..40_000).any(|_| enter(Failure, FAST)));
}

#[test]
fn a_slice_that_is_full_forgets_half_of_what_it_counted_and_no_more() {
    let rule = WindowRule::within(OPEN_FOR).failure_rate(1_000).min_calls(100_000);
    let window = SharedWindow::<12>::new();
    // It is full after 2^18 - 1, of which half are left.
    for number in 1..=270_000 {
        let opens = window.enter(&rule, at(0), first(), Failure, FAST);
        assert_eq!(opens, number >= 100_000, "{number}");
    }
}

#[test]
fn a_success_writes_nothing_once_all_that_a_window_looks_at_are_successes() {
    let rule = WindowRule::over_last(10).failure_rate(500);
    for failures in [0, 1] {
        let window = SharedWindow::<{ Window::words(10) }>::new();
        let enter = |outcome| assert!(!window.enter(&rule, at(0), first(), outcome, FAST));
        times(failures, Failure).for_each(enter);
        for n in 1..=12 {
            let before = format!("{window:?}");
            enter(Success);
            // With the tenth there are enough, and a failure has left.
            assert_eq!(format!("{window:?}") == before, n > 10, "{failures} {n}");
        }
    }
}

#[test]
fn a_phase_begins_anew_wherever_the_one_before_it_ended() {
    let (filling, two) =
        (WindowRule::over_last(32).slow_rate(1, SLOW), WindowRule::NONE.failures(2, 2));
    let (before, after) = (closed_in(5), closed_in(6));
    for ended in 0..100 {
        let window = SharedWindow::<{ Window::words(32) }>::new();
        for _ in 0..ended {
            let _ = window.enter(&filling, at(0), phase(&before), Failure, SLOW);
        }
        let fail = || window.enter(&two, at(0), phase(&after), Failure, FAST);
        assert!(!fail() && fail(), "{ended}");
    }
}

#[test]
fn a_step_back_by_all_of_a_time_begins_anew_and_a_smaller_one_is_none() {
    let rule = WindowRule::within(Duration::from_secs(22)).failure_rate(1000).min_calls(2);
    for (seconds, together) in [(21, true), (22, false)] {
        let window = SharedWindow::<FULL_WINDOW>::new();
        let fail = |millis| window.enter(&rule, at(millis), first(), Failure, FAST);
        assert!(!fail(30_500));
        assert_eq!(fail(30_500 - seconds * 1_000), together, "{seconds}");
    }
}

#[test]
fn a_rule_of_another_kind_finds_an_empty_window() {
    let (window, phase) = (SharedWindow::<FULL_WINDOW>::new(), first());
    let enter = |rule, outcome| window.enter(&rule, at(0), phase, outcome, FAST);
    let within = WindowRule::within(OPEN_FOR).failure_rate(1).min_calls(20);
    let among = WindowRule::NONE.failures(6, 20);
    for _ in 0..2 {
        // What is there is then read as something else: bits as counts, counts as bits.
        assert!((0..15).all(|_| !enter(within, Failure)));
        assert!((0..15).all(|_| !enter(among, Success)));
        assert!((0..5).all(|_| !enter(among, Failure)));
    }
}

#[test]
fn an_outcome_of_a_phase_that_is_over_changes_nothing() {
    let within = WindowRule::within(OPEN_FOR).failure_rate(1000).min_calls(2);
    for rule in [WindowRule::NONE.failures(2, 10), within] {
        let (window, circuit) = (SharedWindow::<FULL_WINDOW>::new(), SharedCircuit::new());
        let enter = |phase| window.enter(&rule, at(0), phase, Failure, FAST);
        let over = phase(&circuit);
        assert!(!enter(over));
        let _ = circuit.reset();
        assert_eq!((over.is_over(), over.epoch()), (true, 0));
        let phase = phase(&circuit);
        assert_eq!((phase.is_over(), phase.epoch()), (false, 1));
        // One of the next phase that forgets the first, and a straggler that is none of it.
        assert!(!enter(phase) && !enter(over) && !enter(over));
        assert!(enter(phase));
        let _ = circuit.trip(&Rule::new(Trip::NEVER, OPEN_FOR), at(0), admitted(&circuit));
        assert!(phase.is_over(), "open, it is not closed any more");
    }
}

#[test]
fn numbers_out_of_range_are_refused_and_those_just_inside_are_not() {
    use WindowRuleError::{MinCalls, OfLast, Rate, SlowAfter, Within};
    let none = WindowRule::NONE;
    assert_eq!(none.try_over_last(0), Err(OfLast));
    assert_eq!(none.try_over_last(1025), Err(OfLast));
    assert_eq!(none.try_over_last(1024).unwrap().outcomes(), Some(1024));
    assert_eq!(none.try_failures(0, 5), Err(OfLast));
    assert_eq!(none.try_failures(6, 5), Err(OfLast));
    assert_eq!(none.try_failures(5, 1025), Err(OfLast));
    assert_eq!(none.try_failures(5, 5).unwrap().failures_of_last(), Some((5, 5)));
    assert_eq!(none.try_failure_rate(0), Err(Rate));
    assert_eq!(none.try_failure_rate(1001), Err(Rate));
    assert_eq!(none.try_failure_rate(1000).unwrap().failure_rate_limit(), Some(1000));
    assert_eq!(none.try_slow_rate(0, SLOW), Err(Rate));
    assert_eq!(none.try_slow_rate(1001, SLOW), Err(Rate));
    assert_eq!(none.try_slow_rate(1, Duration::from_micros(999)), Err(SlowAfter));
    let (day, more) = (Duration::from_secs(86_400), Duration::from_micros(86_400_000_001));
    assert_eq!(none.try_slow_rate(1, more), Err(SlowAfter));
    assert_eq!(none.try_slow_rate(1, day).unwrap().slow_rate_limit(), Some((1, day)));
    assert_eq!(none.try_within(Duration::from_micros(49_999)), Err(Within));
    assert_eq!(none.try_within(more), Err(Within));
    assert_eq!(none.try_within(day).unwrap().time(), Some(day));
    assert_eq!(none.try_min_calls(0), Err(MinCalls));
    assert_eq!(none.try_min_calls(100_001), Err(MinCalls));
    assert_eq!(WindowRule::within(day).min_calls(100_000).calls_needed(), 100_000);
    let told = none.try_within(more).unwrap_err();
    assert_eq!(told.to_string(), "a window over a time is 50 ms to 24 h long");
}

#[test]
fn failures_of_hours_ago_never_come_back() {
    let rule = WindowRule::within(Duration::from_secs(60)).failure_rate(500);
    let window = SharedWindow::<FULL_WINDOW>::new();
    let slice = 60_000_u64.div_ceil(22);
    for number in 0..100 {
        let outcome = if number % 5 > 2 { Failure } else { Success };
        assert!(!window.enter(&rule, at(1), first(), outcome, FAST));
    }
    // Numbers of slices come round after 256 of them, and with their place after 2816.
    for number in 1..9_000 {
        for _ in 0..3 {
            assert!(!window.enter(&rule, at(number * slice), first(), Success, FAST), "{number}");
        }
    }
}

#[test]
fn failures_of_a_shorter_time_do_not_count_long_after_it_became_longer() {
    let of = |secs| WindowRule::within(Duration::from_secs(secs)).failure_rate(500).min_calls(10);
    let next = |secs| [(secs, secs + 1), (secs, 2 * secs), (20 * secs, secs)];
    let given = [(22, 440), (1, 86_400)].into_iter();
    for (before, after) in given.chain((1..=60).flat_map(next)) {
        for began in [0, 1, 21, 440, 100_000] {
            let window = SharedWindow::<FULL_WINDOW>::new();
            let enter = |secs: u64, rule: &WindowRule, outcome| {
                window.enter(rule, at(secs * 1_000_000), first(), outcome, FAST)
            };
            assert!((0..9).all(|_| !enter(began, &of(before), Failure)));
            assert!(!enter(began + 1, &of(after), Success));
            for later in [0, 1, after / 2, after, 2 * after] {
                assert!(!enter(began + 1 + later, &of(after), Failure), "{before} {after} {began}");
            }
        }
    }
}

#[test]
fn what_a_phase_saw_is_forgotten_when_its_number_comes_again() {
    let (breaker, window) = (breaker(), Window::<FULL_WINDOW>::new(HALF_OF_TEN));
    let number = || breaker.circuit().to_bits().0 >> 24 & 63;
    let epoch = number();
    times(10, Failure).for_each(|outcome| {
        let _ = made(&breaker, &window, at(0), outcome);
    });
    assert_eq!(breaker.state(at(0)), State::Open);
    let _ = breaker.reset();
    while number() != epoch {
        let _ = breaker.reset();
    }
    for _ in 0..9 {
        assert_eq!(made(&breaker, &window, at(0), Failure), Settled::Counted);
    }
    assert_eq!(made(&breaker, &window, at(0), Failure), Settled::Moved(Transition::Opened));
}

#[test]
fn the_end_of_another_phase_forgets_nothing() {
    let rules = [
        WindowRule::NONE.failures(3, 10),
        WindowRule::within(OPEN_FOR).failure_rate(1_000).min_calls(3),
    ];
    for rule in rules {
        let (circuit, window) = (closed_in(5), SharedWindow::<FULL_WINDOW>::new());
        let opens = || window.enter(&rule, at(0), phase(&circuit), Failure, FAST);
        assert!(!opens() && !opens());
        for epoch in [0, 4, 6, 63] {
            window.ended(epoch);
        }
        assert!(opens(), "{rule:?}");
    }
}

#[test]
fn a_word_too_many_changes_nothing() {
    let rule = WindowRule::over_last(20).slow_rate(500, SLOW);
    let (seven, six) = (SharedWindow::<7>::new(), SharedWindow::<6>::new());
    for number in 0..1_000_u32 {
        let took = if number.wrapping_mul(2_654_435_761) >> 30 == 0 { SLOW } else { FAST };
        let opens = [&seven as &dyn Opens, &six].map(|window| window.opens(&rule, took));
        assert_eq!(opens[0], opens[1], "{number}");
    }
}

/// Windows of any size.
trait Opens {
    fn opens(&self, rule: &WindowRule, took: Duration) -> bool;
}

impl<const WORDS: usize> Opens for SharedWindow<WORDS> {
    fn opens(&self, rule: &WindowRule, took: Duration) -> bool {
        self.enter(rule, at(0), first(), Success, took)
    }
}

#[test]
fn more_words_than_any_rule_needs_change_nothing() {
    let rules = [
        WindowRule::over_last(1024).failure_rate(500),
        WindowRule::NONE.failures(3, 1024),
        WindowRule::within(Duration::from_secs(22)).failure_rate(500).min_calls(3),
    ];
    for rule in rules {
        let window = SharedWindow::<FULL_WINDOW>::new();
        let larger = SharedWindow::<{ 4 * FULL_WINDOW }>::new();
        let mut bits = 1_u32;
        for step in 0..10_000 {
            // One in two fails, or one in 512: around what opens.
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let one_in = if rule.has_rate() { 2 } else { 512 };
            let outcome = if (bits >> 8) % one_in == 0 { Failure } else { Success };
            let now = at(step * 700);
            let opens = window.enter(&rule, now, first(), outcome, FAST);
            assert_eq!(larger.enter(&rule, now, first(), outcome, FAST), opens, "{rule:?} {step}");
        }
    }
}

#[test]
fn a_window_without_words_opens_nothing() {
    let window = SharedWindow::<NO_WINDOW>::new();
    for rule in [
        WindowRule::NONE.failures(1, 1),
        WindowRule::over_last(1).failure_rate(1),
        WindowRule::within(OPEN_FOR).failure_rate(1).min_calls(1),
    ] {
        assert!((0..100).all(|_| !window.enter(&rule, at(0), first(), Failure, SLOW)));
    }
}

#[test]
fn a_window_over_a_time_is_four_slices_at_least() {
    let rule = WindowRule::within(OPEN_FOR).failure_rate(1).min_calls(1);
    let (enough, too_few) = (SharedWindow::<12>::new(), SharedWindow::<11>::new());
    assert!(enough.enter(&rule, at(0), first(), Failure, FAST));
    assert!((0..100).all(|_| !too_few.enter(&rule, at(0), first(), Failure, FAST)));
}

#[test]
fn a_rule_is_of_so_many_outcomes_or_of_a_time_whichever_was_said_last() {
    let (outcomes, time) = (WindowRule::over_last(10), WindowRule::within(OPEN_FOR));
    assert_eq!(time.try_over_last(10), Ok(outcomes));
    assert_eq!(outcomes.try_within(OPEN_FOR), Ok(time));
}

// With a breaker.

static HALF_OF_TEN: WindowRule = WindowRule::over_last(10).failure_rate(500);

const fn breaker() -> Breaker {
    Breaker::with_rule(Rule::new(Trip::NEVER, OPEN_FOR).probes(2))
}

fn made(breaker: &Breaker, window: &dyn Evidence, now: Instant, outcome: Outcome) -> Settled {
    breaker.try_acquire(now).expect("admitted").settle_with(now, outcome, FAST, window)
}

#[test]
fn a_breaker_opens_by_its_window_alone_once_and_for_as_long_as_by_itself() {
    let (breaker, window) = (breaker(), Window::<FULL_WINDOW>::new(HALF_OF_TEN));
    for outcome in times(5, Success).chain(times(4, Failure)) {
        assert_eq!(made(&breaker, &window, at(0), outcome), Settled::Counted);
    }
    let (last, straggler) =
        (breaker.try_acquire(at(0)).unwrap(), breaker.try_acquire(at(0)).unwrap());
    let opened = last.settle_with(at(0), Failure, FAST, &window);
    assert_eq!(opened, Settled::Moved(Transition::Opened));
    assert_eq!(breaker.remaining(at(0)), OPEN_FOR);
    assert_eq!(straggler.settle_with(at(0), Failure, FAST, &window), Settled::Late);
}

#[test]
fn b37_half_open_probes_are_counted_by_themselves() {
    let (breaker, window) = (breaker(), Window::<FULL_WINDOW>::new(HALF_OF_TEN));
    times(10, Failure).for_each(|outcome| {
        let _ = made(&breaker, &window, at(0), outcome);
    });
    let later = at(31_000);
    assert_eq!(breaker.state(later), State::HalfOpen);
    // One failure is enough, whatever number of calls the window asks for.
    assert_eq!(made(&breaker, &window, later, Failure), Settled::Moved(Transition::Opened));
    let later = at(62_000);
    assert_eq!(made(&breaker, &window, later, Success), Settled::Counted);
    assert_eq!(made(&breaker, &window, later, Success), Settled::Moved(Transition::Closed));
    // And what was before is forgotten: nine failures are too few again.
    for _ in 0..9 {
        assert_eq!(made(&breaker, &window, later, Failure), Settled::Counted);
    }
    assert_eq!(made(&breaker, &window, later, Failure), Settled::Moved(Transition::Opened));
}

#[test]
fn a_breaker_that_is_forced_closed_stays_closed() {
    let (breaker, window) = (breaker(), Window::<FULL_WINDOW>::new(HALF_OF_TEN));
    let _ = breaker.force(at(0), Mode::ForcedClosed);
    for _ in 0..100 {
        assert_eq!(made(&breaker, &window, at(0), Failure), Settled::Counted);
    }
    assert!(matches!(breaker.circuit().phase(), Phase::Closed { .. }));
}

#[test]
fn an_execution_reports_how_long_its_attempt_took() {
    static BREAKER: Breaker = Breaker::with_rule(Rule::new(Trip::NEVER, OPEN_FOR));
    static WINDOW: Window<{ Window::words(4) }> =
        Window::new(WindowRule::over_last(4).slow_rate(500, SLOW));
    static POLICY: Policy = Policy::new().breaker(&BREAKER).window(&WINDOW);
    let clock = ManualClock::new();
    let call = |took| {
        let slow = || async {
            clock.advance(took);
            Ok::<_, Infallible>(())
        };
        clock.block_on(POLICY.retry_all().execute(&clock, slow))
    };
    for took in [FAST, SLOW, FAST, SLOW] {
        assert!(call(took).is_ok());
    }
    let refused = call(FAST).unwrap_err();
    assert_eq!(refused.stopped, Reason::BreakerOpen);
}

#[test]
fn threads_that_reach_the_rate_at_once_open_it_once() {
    let (breaker, window) = (breaker(), Window::<FULL_WINDOW>::new(HALF_OF_TEN));
    times(8, Failure).for_each(|outcome| {
        let _ = made(&breaker, &window, at(0), outcome);
    });
    let (opened, together) = (AtomicU32::new(0), Barrier::new(4));
    let permits: Vec<_> = (0..4).map(|_| breaker.try_acquire(at(0)).unwrap()).collect();
    thread::scope(|scope| {
        for permit in permits {
            scope.spawn(|| {
                together.wait();
                if let Settled::Moved(_) = permit.settle_with(at(0), Failure, FAST, &window) {
                    opened.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(opened.into_inner(), 1);
}

// Against the list.

/// A window that keeps everything.
#[derive(Default)]
struct Reference {
    epoch: Option<u32>,
    /// When, in slices of the rule's time; whether it failed; whether it was slow.
    outcomes: VecDeque<(u64, bool, bool)>,
    latest: u64,
}

impl Reference {
    const SLICES: u64 = 22;

    fn enter(&mut self, rule: &WindowRule, epoch: u32, now: u64, failed: bool, slow: bool) -> bool {
        let slice = rule.time().map_or(0, |time| {
            now / (u64::try_from(time.as_micros()).unwrap().div_ceil(Self::SLICES))
        });
        // A step back by all of the window, or a new epoch, begins anew; a smaller one is none.
        if self.epoch != Some(epoch) || slice + Self::SLICES <= self.latest {
            self.outcomes.clear();
            self.latest = slice;
        }
        self.epoch = Some(epoch);
        self.latest = self.latest.max(slice);
        self.outcomes.push_back((self.latest, failed, slow));
        let last = |count: u32| self.outcomes.iter().rev().take(count as usize);
        if let Some((failures, among)) = rule.failures_of_last() {
            if last(among).filter(|(_, failed, _)| *failed).count() >= failures as usize {
                return true;
            }
        }
        let in_time = |&&(slice, ..): &&(u64, bool, bool)| slice + Self::SLICES > self.latest;
        let seen: Vec<_> = match rule.outcomes() {
            Some(outcomes) => last(outcomes).copied().collect(),
            None => self.outcomes.iter().filter(in_time).copied().collect(),
        };
        let reaches = |part: usize, rate: Option<u32>| {
            rate.is_some_and(|rate| part * 1000 >= seen.len() * rate as usize)
        };
        let failed = seen.iter().filter(|(_, failed, _)| *failed).count();
        let slow = seen.iter().filter(|(.., slow)| *slow).count();
        rule.has_rate()
            && seen.len() >= rule.calls_needed() as usize
            && (reaches(failed, rule.failure_rate_limit())
                || reaches(slow, rule.slow_rate_limit().map(|(rate, _)| rate)))
    }
}

fn rules() -> impl Strategy<Value = WindowRule> {
    let over = prop_oneof![
        (1..=1024_u32).prop_map(WindowRule::over_last),
        (1..=64_u32).prop_map(WindowRule::over_last),
        (50_u64..100_000).prop_map(|millis| WindowRule::within(Duration::from_millis(millis))),
    ];
    let failures = prop_oneof![(1..=40_u32, 0..=1000_u32).prop_map(Some), Just(None)];
    let rates = (prop::option::of(1..=1000_u32), prop::option::of(1..=1000_u32));
    let least = prop::option::of(1..=200_u32);
    (over, failures, rates, least).prop_map(|(rule, failures, (failed, slow), least)| {
        let rule = match failures {
            // A window over a time counts none.
            Some((failures, more)) if rule.time().is_none() => {
                rule.failures(failures, (failures + more).min(1024))
            }
            _ => rule,
        };
        let rule = failed.map_or(rule, |rate| rule.failure_rate(rate));
        let rule = slow.map_or(rule, |rate| rule.slow_rate(rate, SLOW));
        least.map_or(rule, |least| rule.min_calls(least))
    })
}

/// What happens to a window: an outcome, much time, a step back, the next closed phase.
#[derive(Clone, Copy, Debug)]
enum Step {
    Outcomes { count: u16, failed: bool, slow: bool, apart: u32 },
    Forward(u64),
    Back(u64),
    Epoch,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let outcomes = (1..400_u16, any::<bool>(), any::<bool>(), 0..2_000_000_u32);
    let outcomes = outcomes.prop_map(|(count, failed, slow, apart)| Step::Outcomes {
        count: if failed || slow { count % 12 + 1 } else { count },
        failed,
        slow,
        apart,
    });
    prop::collection::vec(
        prop_oneof![
            12 => outcomes,
            1 => (0..u64::MAX >> 16).prop_map(Step::Forward),
            1 => (0..100_000_000_u64).prop_map(Step::Forward),
            1 => (0..4_000_000_000_u64).prop_map(Step::Back),
            1 => Just(Step::Epoch),
        ],
        1..40,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 300 } else { 3_000 }))]

    #[test]
    fn b15_a_window_says_what_a_list_of_all_outcomes_says(rule in rules(), steps in steps()) {
        let (window, mut reference) = (SharedWindow::<FULL_WINDOW>::new(), Reference::default());
        let (mut now, mut epoch, mut circuit) = (1_000_000_u64, 0_u32, closed_in(0));
        for step in steps {
            match step {
                Step::Forward(micros) => now = now.saturating_add(micros) % (u64::MAX >> 8),
                Step::Back(micros) => now = now.saturating_sub(micros),
                Step::Epoch => {
                    epoch = (epoch + 3) % 64;
                    circuit = closed_in(epoch);
                }
                Step::Outcomes { count, failed, slow, apart } => for _ in 0..count {
                    let outcome = if failed { Failure } else { Success };
                    let took = if slow { SLOW } else { FAST };
                    let slow = slow && rule.slow_rate_limit().is_some();
                    let opens = window.enter(&rule, Instant::from_micros(now), phase(&circuit), outcome, took);
                    let expected = reference.enter(&rule, epoch, now, failed, slow);
                    prop_assert_eq!(opens, expected, "at {}", now);
                    now += u64::from(apart);
                }
            }
        }
    }

    #[test]
    fn a_rule_that_changes_leaves_a_window_that_says_what_its_own_rule_says_in_the_end(
        rules in prop::collection::vec(rules(), 1..6),
        outcomes in prop::collection::vec(any::<bool>(), 0..60),
    ) {
        let window = SharedWindow::<FULL_WINDOW>::new();
        let last = *rules.last().unwrap();
        for rule in rules {
            for &failed in &outcomes {
                let outcome = if failed { Failure } else { Success };
                let _ = window.enter(&rule, at(0), first(), outcome, FAST);
            }
        }
        // So many successes are all that there is.
        for _ in 0..1024 {
            let _ = window.enter(&last, at(10_000_000), first(), Success, FAST);
        }
        let fresh = SharedWindow::<FULL_WINDOW>::new();
        for _ in 0..1024 {
            let _ = fresh.enter(&last, at(10_000_000), first(), Success, FAST);
        }
        for _ in 0..1024 {
            let opens = window.enter(&last, at(10_000_000), first(), Failure, FAST);
            prop_assert_eq!(opens, fresh.enter(&last, at(10_000_000), first(), Failure, FAST));
        }
    }
}

#[test]
fn a_circuit_trips_only_for_a_ticket_of_its_own_epoch() {
    let (circuit, rule) = (SharedCircuit::new(), Rule::new(Trip::NEVER, OPEN_FOR));
    let Admission::Admitted(ticket, None) = circuit.admit(&rule, at(0)) else {
        panic!("a closed circuit admits");
    };
    let _ = circuit.reset();
    assert_eq!(circuit.trip(&rule, at(0), ticket), Settled::Counted);
    assert!(circuit.is_closed());
}
