//! The machines with little to remember, walked: every sequence of steps to a stated depth, every
//! number where there are few enough.
#![allow(clippy::unwrap_used)]

use core::hint::black_box;
use core::time::Duration;

use steadfast::policy::Growth;
use steadfast::state::{SharedSlots, SharedTokens, Slot};
use steadfast::{Backoff, BudgetRule, Instant, Jitter};

#[test]
fn what_is_said_to_be_built_as_released_checks_no_arithmetic() {
    let is_checked = std::panic::catch_unwind(|| black_box(u8::MAX) + black_box(1)).is_err();
    assert!(!is_checked || std::env::var_os("STEADFAST_AS_RELEASED").is_none());
}

// --- The budget ----------------------------------------------------------------------------------

#[test]
fn whatever_is_left_a_failure_takes_one_token_and_a_success_gives_its_part() {
    let mut compared = 0_u32;
    for tokens in (1..=5).chain([10]) {
        for per_success in [0, 1, 100, 999, 1000, 2500] {
            let rule = BudgetRule::new(tokens, per_success, Duration::from_secs(60));
            let full = u64::from(tokens) * 1000;
            // Refills stop where a failure that takes its token leaves the least above half.
            let cap = (full / 2 + 1001).min(full);
            for balance in 0..=full {
                let succeeded = rule.succeed(balance as u32);
                assert_eq!(u64::from(succeeded), (balance + u64::from(per_success)).min(full));
                for refills in [0, 1, 2, 3, 10, 5_000_000, u32::MAX] {
                    let refilled = balance.max(cap.min(balance + u64::from(refills) * 1000));
                    let (left, paid) = rule.fail(balance as u32, refills);
                    assert_eq!(u64::from(left), refilled.saturating_sub(1000));
                    assert_eq!(paid, 2 * u64::from(left) > full, "{left} of {full}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 1_000_000, "{compared}");
}

#[derive(Clone, Copy, Debug)]
enum Spend {
    Fail,
    /// A failure that another caller's reading tells, older by so much.
    FailLate(Duration),
    Succeed,
    /// Time goes by.
    Pass(Duration),
    /// The clock steps back, and no time goes by.
    Back(Duration),
}

impl Spend {
    const fn behind(self) -> Duration {
        match self {
            Self::FailLate(behind) => behind,
            _ => Duration::ZERO,
        }
    }
}

#[test]
fn no_six_steps_pay_more_retries_than_tokens_successes_and_time_give() {
    let refill = Duration::from_secs(60);
    let steps = [
        Spend::Fail,
        Spend::Succeed,
        Spend::Pass(Duration::from_secs(1)),
        Spend::Pass(refill + TICK * 2),
        Spend::Pass(refill * 10),
        Spend::Back(Duration::from_secs(1)),
        Spend::Back(Duration::from_secs(3600)),
    ];
    spend_within_their_means(&steps, refill);
}

#[test]
fn no_six_steps_by_readings_out_of_order_pay_more_than_time_gives() {
    // Within the 64 s by which readings may disagree, and by more than a refill takes.
    let refill = Duration::from_secs(60);
    let steps = [
        Spend::Fail,
        Spend::FailLate(Duration::from_secs(1)),
        Spend::FailLate(Duration::from_secs(63)),
        Spend::Succeed,
        Spend::Pass(refill / 2 + TICK * 2),
        Spend::Pass(refill + TICK * 2),
    ];
    spend_within_their_means(&steps, refill);
}

fn spend_within_their_means(steps: &[Spend], refill: Duration) {
    for (tokens, per_success) in [(1, 0), (3, 100), (4, 1000), (7, 500)] {
        let rule = BudgetRule::new(tokens, per_success, refill);
        let (mut walked, mut at_most) = (0, 0);
        each_sequence(steps, 6, &mut |sequence| {
            at_most += u32::from(spends_within_its_means(&rule, sequence));
            walked += 1;
        });
        assert_eq!(walked, (0..=6).map(|depth| (steps.len() as u32).pow(depth)).sum::<u32>());
        assert!(tokens < 3 || at_most > 20, "{at_most} meet the bound by what comes back");
    }
}

/// Whether it paid for all that it may, and for more than it began with.
fn spends_within_its_means(rule: &BudgetRule, sequence: &[Spend]) -> bool {
    let (budget, mut now) = (SharedTokens::full(rule), NOON);
    let (mut paid, mut successes) = (0, 0);
    // Since the first failure, by whose reading time begins.
    let mut passed = None;
    for step in sequence {
        match *step {
            Spend::Fail | Spend::FailLate(_) => {
                let behind = step.behind();
                let before = budget.tokens();
                let paid_now = budget.withdraw(rule, earlier(now, behind));
                paid += u32::from(paid_now);
                assert!(!paid_now || 2 * budget.tokens() + 1 >= rule.tokens(), "half was spent");
                assert!(budget.tokens() + 1 >= before, "one failure took more than a token");
                passed = passed.or(Some(behind));
            }
            Spend::Succeed => {
                budget.deposit(rule);
                successes += 1;
            }
            Spend::Pass(length) => {
                now = now.after(length);
                passed = passed.map(|passed| passed + length);
            }
            Spend::Back(length) => now = earlier(now, length),
        }
        assert!(budget.tokens() <= rule.tokens(), "more than full");
    }
    let half = (rule.tokens() - 1) / 2;
    let given = (successes * rule.per_success()).div_ceil(1000);
    let passed = passed.unwrap_or_default();
    let refilled = (passed.as_micros() / rule.refill_period().as_micros()) as u32;
    assert!(
        paid <= half + given + refilled,
        "{paid} paid: {half} + {given} + {refilled}, {sequence:?}"
    );
    // From wherever it is: left alone for long enough, it pays for a retry.
    if rule.tokens() > 2 {
        // Where it was full enough, the period begins with this failure. A clock that stepped back by
        // less than a minute goes through it again: one period more.
        let periods = rule.tokens() / 2 + 3;
        let _ = budget.withdraw(rule, now);
        let later = now.after((rule.refill_period() + TICK * 2) * periods);
        assert!(budget.withdraw(rule, later), "no way out");
    }
    paid > half && paid == half + given + refilled
}

#[test]
fn refills_are_as_many_as_whole_periods_have_passed_and_none_is_claimed_twice() {
    // All readings of a few seconds, a tick apart, in pairs; around where coarse time comes round.
    let rule = BudgetRule::new(10, 0, Duration::from_millis(100));
    let mut claims = 0_u32;
    for origin in [1 << 20, (1_u64 << 46) - (1 << 20), u64::MAX - (1 << 30)] {
        for first in 0..130_u64 {
            let began = Instant::from_micros(origin + (first << 14));
            let (claimed, _) = rule.claim((began.as_micros() >> 14) as u32, began);
            for second in first..130 {
                let between = Instant::from_micros(origin + (second << 14) + 16_383);
                let (after, refills) = rule.claim(claimed, between);
                let ticks = second - first;
                let passed = (ticks << 14) + 16_383;
                assert!(u64::from(refills) * 100_000 <= passed, "{refills} in {passed} µs");
                assert!(u64::from(refills + 1) * 8 > ticks, "{refills} in {ticks} ticks");
                assert_eq!(rule.claim(after, between), (after, 0), "claimed twice");
                claims += 1;
            }
        }
    }
    assert!(claims > 20_000, "{claims}");
}

// --- The bulkhead --------------------------------------------------------------------------------

#[derive(Clone, Copy)]
enum Move {
    /// With so many slots: the number changes while it runs.
    Take(u32),
    GiveBackFirst,
    GiveBackLast,
}

#[test]
fn no_nine_steps_take_more_slots_than_there_are_or_lose_one() {
    let steps =
        [Move::Take(1), Move::Take(2), Move::Take(4), Move::GiveBackFirst, Move::GiveBackLast];
    let mut refused = 0_u32;
    each_sequence(&steps, 9, &mut |sequence| {
        let slots = SharedSlots::new();
        let mut held: Vec<Slot<&SharedSlots>> = Vec::new();
        for step in sequence {
            match *step {
                Move::Take(limit) => {
                    let free = held.len() < limit as usize;
                    let taken = slots.try_acquire(limit).ok();
                    assert_eq!(taken.is_some(), free, "{} of {limit}", held.len());
                    refused += u32::from(taken.is_none());
                    held.extend(taken);
                }
                Move::GiveBackFirst if !held.is_empty() => drop(held.remove(0)),
                Move::GiveBackFirst => {}
                Move::GiveBackLast => drop(held.pop()),
            }
            assert_eq!(slots.taken() as usize, held.len());
        }
        drop(held);
        assert_eq!(slots.taken(), 0, "one was lost");
    });
    assert!(refused > 100_000, "{refused}");
}

// --- The waits -----------------------------------------------------------------------------------

const HOUR: Duration = Duration::from_secs(3600);

#[test]
fn waits_never_fall_as_attempts_fail_whatever_their_number() {
    let lengths = [0, 1, 999_999, 60_000_000, 3_600_000_000];
    let lengths = lengths.map(Duration::from_micros);
    let jitters = [
        Jitter::None,
        Jitter::Additive(Duration::ZERO),
        Jitter::Additive(Duration::from_millis(500)),
        Jitter::Additive(HOUR),
        Jitter::Full,
        Jitter::Equal,
        Jitter::Decorrelated,
    ];
    let mut schedules = 0;
    for growth in [Growth::Constant, Growth::Linear, Growth::Exponential] {
        for multiplier in lengths {
            for (min, max) in [(0, 1), (0, 4), (1, 3), (2, 4)] {
                let (min, max) = (lengths[min], lengths[max]);
                let schedule = Backoff::try_new(growth, multiplier, min, max).unwrap();
                for jitter in jitters {
                    let schedule = schedule.jitter(jitter);
                    never_falls(&schedule, &numbers(growth, multiplier, min, max));
                    goes_by_the_wait_before(&schedule);
                    schedules += 1;
                }
            }
        }
    }
    assert_eq!(schedules, 3 * 5 * 4 * 7);
}

fn never_falls(schedule: &Backoff, numbers: &[u32]) {
    let bounds: Vec<_> = numbers.iter().map(|&failed| bounds(schedule, failed)).collect();
    for random in [0, 1 << 31, u32::MAX] {
        let mut last = Duration::ZERO;
        for (&failed, &(shortest, longest)) in numbers.iter().zip(&bounds) {
            let wait = schedule.wait(failed, schedule.min(), random);
            assert!(last <= wait, "{schedule:?} falls at {failed}: {last:?}, {wait:?}");
            assert!(shortest <= wait, "{schedule:?} is too short at {failed}: {wait:?}");
            assert!(wait <= longest, "{schedule:?} is past its longest at {failed}: {wait:?}");
            assert!(wait <= schedule.longest(failed), "{schedule:?} {failed}");
            last = wait;
        }
    }
}

/// The shortest and the longest wait that chance leaves.
fn bounds(schedule: &Backoff, failed: u32) -> (Duration, Duration) {
    let planned = Duration::from_micros(planned(schedule, failed) as u64);
    match schedule.jitter_kind() {
        Jitter::None => (planned, planned),
        Jitter::Additive(most) => (planned, planned + most),
        Jitter::Full => (Duration::ZERO, planned),
        Jitter::Equal => (planned / 2, planned),
        Jitter::Decorrelated => (schedule.min(), schedule.max()),
    }
}

/// Only decorrelated jitter goes by the wait before, and the longer that was, the longer it waits.
fn goes_by_the_wait_before(schedule: &Backoff) {
    let (min, max, micro) = (schedule.min(), schedule.max(), Duration::from_micros(1));
    let mut before: Vec<Duration> = [Duration::ZERO, micro, HOUR, Duration::MAX].to_vec();
    let third = |length: Duration| Duration::from_micros(length.as_micros() as u64 / 3);
    for length in [third(min), min, third(max), max] {
        before.extend([length.saturating_sub(micro), length, length + micro]);
    }
    before.sort_unstable();
    for random in [0, 1, 1 << 31, u32::MAX - 1, u32::MAX] {
        for failed in [0, 1, 2, 17, u32::MAX] {
            let mut last = schedule.wait(failed, Duration::ZERO, random);
            for &previous in &before {
                let wait = schedule.wait(failed, previous, random);
                is_within(schedule, planned(schedule, failed), previous, random, wait);
                match schedule.jitter_kind() {
                    Jitter::Decorrelated => assert!(last <= wait, "{schedule:?} {previous:?}"),
                    _ => assert_eq!(last, wait, "{schedule:?} {previous:?}"),
                }
                last = wait;
            }
        }
    }
}

/// What the schedule gives before jitter, in microseconds.
fn planned(schedule: &Backoff, failed: u32) -> u128 {
    let (multiplier, before) = (schedule.multiplier().as_micros(), failed.saturating_sub(1));
    let grown = match schedule.growth() {
        Growth::Constant => multiplier,
        Growth::Linear => multiplier * (u128::from(before) + 1),
        // An hour is less than 2^32 µs.
        Growth::Exponential => multiplier << before.min(32),
    };
    grown.min(schedule.max().as_micros()).max(schedule.min().as_micros())
}

/// No shorter than its formula says for `random`, and no longer than for any.
fn is_within(schedule: &Backoff, planned: u128, previous: Duration, random: u32, wait: Duration) {
    let (min, max) = (schedule.min().as_micros(), schedule.max().as_micros());
    // In halves of a microsecond, what is certain and what is left to chance.
    let (certain, chance) = match schedule.jitter_kind() {
        Jitter::None => (planned * 2, 0),
        Jitter::Additive(most) => (planned * 2, most.as_micros() * 2),
        Jitter::Full => (0, planned * 2),
        Jitter::Equal => (planned, planned),
        Jitter::Decorrelated => (min * 2, previous.as_micros() * 6),
    };
    let (chance, longest) = match schedule.jitter_kind() {
        Jitter::Decorrelated => (chance.saturating_sub(certain), max * 2),
        _ => (chance, certain + chance),
    };
    let share = (chance * u128::from(random) + u128::from(u32::MAX)) >> 32;
    let (wait, shortest) = (wait.as_micros() * 2, (certain + share).min(longest));
    assert!(shortest <= wait, "{schedule:?} {planned} {previous:?}: {wait} < {shortest} halves");
    let longest = longest.min(certain + chance);
    assert!(wait <= longest, "{schedule:?} {planned} {previous:?}: {wait} > {longest} halves");
}

/// All numbers of failed attempts up to ten thousand, and beyond that those around which a schedule
/// changes: where it reaches `min` and `max`, where bits carry, and the last there is.
fn numbers(growth: Growth, multiplier: Duration, min: Duration, max: Duration) -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..=10_000).collect();
    let mut around = |number: u128| {
        let number = number.min(u32::MAX.into()) as u32;
        numbers
            .extend((number.saturating_sub(2)..=number).chain(number..=number.saturating_add(2)));
    };
    if let (Growth::Linear, true) = (growth, !multiplier.is_zero()) {
        around(min.as_micros() / multiplier.as_micros());
        around(max.as_micros() / multiplier.as_micros());
    }
    for bit in 0..=32 {
        around(1 << bit);
    }
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

// --- What the walks are made of ------------------------------------------------------------------

/// Shows `visit` every sequence of `steps` that is `depth` long or shorter.
fn each_sequence<S: Copy>(steps: &[S], depth: usize, visit: &mut impl FnMut(&[S])) {
    fn longer<S: Copy>(
        steps: &[S],
        depth: usize,
        sequence: &mut Vec<S>,
        visit: &mut impl FnMut(&[S]),
    ) {
        visit(sequence);
        if sequence.len() < depth {
            for step in steps {
                sequence.push(*step);
                longer(steps, depth, sequence, visit);
                sequence.pop();
            }
        }
    }
    longer(steps, depth, &mut Vec::new(), visit);
}

const fn earlier(now: Instant, by: Duration) -> Instant {
    Instant::from_micros(now.as_micros() - by.as_micros() as u64)
}

const NOON: Instant = Instant::from_micros(43_200_000_001);
/// What a budget's time is rounded up to.
const TICK: Duration = Duration::from_micros(1 << 14);
