//! What a retry budget pays for in an outage, and that it comes back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use core::cmp::Reverse;
use core::time::Duration;
use std::collections::BinaryHeap;
use std::thread;

use proptest::prelude::*;
use steadfast::policy::{Leave, Next};
use steadfast::state::SharedTokens;
use steadfast::{Budget, BudgetRule, Instant, Policy};

const NOON: Instant = Instant::from_micros(43_200_000_001);
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const NEVER: Duration = Duration::ZERO;
/// What time is rounded up to.
const TICK: Duration = Duration::from_micros(1 << 14);

// --- What an outage costs ------------------------------------------------------------------------

#[test]
fn r06_sixty_requests_of_three_attempts_make_sixty_four_in_an_outage() {
    // All fail for the first time before one of them is made again: 64 / 60 = 1.07.
    let outage = Outage { requests: 60, every: Duration::from_millis(1), ..Outage::new() };
    assert_eq!(outage.attempts(&Budget::with_rule(BudgetRule::new(10, 100, NEVER))), 64);
    // One by one, the first spends a token on its last failure too.
    let outage = Outage { every: MINUTE, ..outage };
    assert_eq!(outage.attempts(&Budget::with_rule(BudgetRule::new(10, 100, NEVER))), 63);
}

#[test]
fn r06_an_outage_costs_its_requests_half_the_tokens_and_one_per_refill() {
    for every in [Duration::from_secs(10), Duration::from_secs(1), Duration::from_millis(10)] {
        for requests in [60, 600, 3000] {
            for tokens in [3, 6, 10, 20, 101] {
                let outage = Outage { requests, every, attempts: 7, ..Outage::new() };
                let budget = Budget::with_rule(BudgetRule::new(tokens, 100, MINUTE));
                let made = outage.attempts(&budget);
                let refills = (outage.length().as_secs() / 60) as u32;
                let bound = requests + tokens / 2 + refills;
                assert!(made <= bound, "{made} of {bound}: {every:?}, {tokens} tokens");
                // It is no gate either.
                assert!(made >= requests + tokens / 3, "{made}: {every:?}, {tokens} tokens");
            }
        }
    }
}

#[test]
fn a_refill_pays_for_one_more_retry_and_no_sooner_than_it_says() {
    for period in [Duration::from_millis(50), MINUTE, HOUR * 24] {
        let budget = spent(BudgetRule::new(10, 0, period));
        let mut now = NOON;
        let mut paid_of_a_hundred = |every: Duration| {
            let mut paid = 0;
            for _ in 0..100 {
                now = now.after(every);
                paid += u32::from(budget.withdraw(now));
            }
            paid
        };
        // One comes, one goes: from nothing it never gets above half.
        assert_eq!(paid_of_a_hundred(period), 0);
        // Left alone for long enough, it has one retry's worth again, and then one each refill.
        let whole = period + TICK * 2;
        assert_eq!(paid_of_a_hundred(whole * 7), 100);
        assert_eq!(paid_of_a_hundred(whole), 100);
        // Failures that come faster than refills use that up.
        assert!(paid_of_a_hundred(period / 4 * 3) <= 4);
        assert_eq!(paid_of_a_hundred(period / 4 * 3), 0);
    }
}

#[test]
fn r06_a_device_with_four_calls_an_hour_may_retry_again() {
    for tokens in 3..=200 {
        let budget = spent(BudgetRule::new(tokens, 0, MINUTE));
        // Time to fill half of it again.
        let began = NOON.after(MINUTE * (tokens / 2 + 4));
        for call in 0..100 {
            let now = began.after(Duration::from_secs(15 * 60) * call);
            let failures = [0, 3, 6].map(|seconds| now.after(Duration::from_secs(seconds)));
            let [first, _, third] = failures.map(|at| budget.withdraw(at));
            // A refill may come between the first and the second, and none before the third.
            assert!(first && !third, "{tokens} tokens, call {call}");
        }
    }
}

#[test]
fn without_refills_only_successes_bring_a_retry_back() {
    let budget = spent(BudgetRule::new(10, 100, NEVER));
    for days in 0..100 {
        assert!(!budget.withdraw(NOON.after(HOUR * 24 * days)));
    }
    assert_eq!(budget.tokens(), 0);
    // Each gives a tenth of a token: 60 lead to one above half, and one more is needed.
    for successes in 0..61 {
        assert_eq!(budget.tokens(), successes / 10);
        budget.deposit();
    }
    assert!(budget.withdraw(NOON));
    assert!(!budget.withdraw(NOON));
}

#[test]
fn a_fresh_budget_pays_for_half_of_its_tokens() {
    for tokens in (1..=300).chain([9999, 10_000]) {
        let budget = Budget::with_rule(BudgetRule::new(tokens, 0, NEVER));
        let paid = (0..tokens).map(|_| u32::from(budget.withdraw(NOON))).sum::<u32>();
        // More than half is left after each: one or two tokens pay for none.
        assert_eq!(paid, (tokens - 1) / 2);
    }
}

#[test]
fn under_a_rule_of_fewer_tokens_there_are_no_more_than_those() {
    let (many, few) = (BudgetRule::new(10_000, 100, NEVER), BudgetRule::new(10, 100, NEVER));
    let tokens = SharedTokens::full(&many);
    assert_eq!((0..20_000).filter(|_| tokens.withdraw(&few, NOON)).count(), 4);
}

// --- Time ----------------------------------------------------------------------------------------

#[test]
fn a_step_back_of_the_clock_freezes_no_refill() {
    for step in [Duration::from_micros(1), Duration::from_secs(1), HOUR, HOUR * 11] {
        let budget = spent(BudgetRule::new(10, 0, MINUTE));
        let mut now = NOON.after(HOUR * 24);
        assert!(budget.withdraw(now));
        now = Instant::from_micros(now.as_micros() - step.as_micros() as u64);
        assert!(!budget.withdraw(now), "{step:?}");
        // Two tokens were taken: as long after the step as without one.
        assert!(budget.withdraw(now.after((MINUTE + TICK * 2) * 2)), "{step:?}");
    }
}

#[test]
fn a_step_forward_brings_one_retry_at_the_most() {
    let budget = spent(BudgetRule::new(100, 0, MINUTE));
    let now = NOON.after(HOUR * 24 * 300);
    assert!(budget.withdraw(now));
    for _ in 0..1000 {
        assert!(!budget.withdraw(now));
    }
}

#[test]
fn refills_go_on_where_coarse_time_comes_round() {
    let round = Duration::from_micros(1 << 46);
    let now = Instant::from_micros(round.as_micros() as u64 - 30_000_000);
    let budget = Budget::with_rule(BudgetRule::new(4, 0, MINUTE));
    while budget.tokens() > 0 {
        let _ = budget.withdraw(now);
    }
    assert!(!budget.withdraw(now.after(MINUTE)));
    assert!(budget.withdraw(now.after(MINUTE * 6)));
}

#[test]
fn a_clock_that_reads_a_little_back_and_forth_brings_nothing_more() {
    let budget = spent(BudgetRule::new(10, 0, Duration::from_secs(1)));
    let mut paid = 0;
    for n in 0..100_000_u64 {
        // Ten seconds in all, read by two threads of which one is 100 ms behind.
        let behind = if n % 2 == 0 { 0 } else { 100_000 };
        let now = NOON.after(Duration::from_micros(1_000_000 + n * 100 - behind));
        paid += u32::from(budget.withdraw(now));
    }
    assert_eq!((paid, budget.tokens()), (0, 0));
}

#[test]
fn a_clock_that_reads_back_and_forth_brings_nothing_to_a_budget_that_is_just_full_enough() {
    for (period, behind) in [(100, 300), (1_000, 3_000), (30_000, 63_000)] {
        let budget = just_full_enough(BudgetRule::new(10, 1, Duration::from_millis(period)));
        let behind = before(NOON, Duration::from_millis(behind));
        // The first is by the reading that is behind. No time goes by.
        let readings = [behind, NOON].into_iter().cycle().take(1000);
        let paid: Vec<_> = readings.map(|now| budget.withdraw(now)).collect();
        assert_eq!(paid.iter().position(|&paid| !paid), Some(1), "{period} ms");
        assert_eq!((paid.iter().filter(|&&paid| paid).count(), budget.tokens()), (1, 0));
    }
}

#[test]
fn a_reading_a_little_old_of_a_full_budget_brings_no_refill_sooner() {
    let paid = |readings: &[u64]| {
        let budget = Budget::with_rule(BudgetRule::new(10, 0, Duration::from_secs(30)));
        let paid = |secs: &&u64| budget.withdraw(Instant::from_micros(**secs * 1_000_000));
        readings.iter().filter(paid).count()
    };
    assert_eq!(paid(&[100, 100, 100, 100, 100, 100, 100]), 4);
    assert_eq!(paid(&[100, 100, 100, 41, 100, 100, 100]), 4);
}

#[test]
fn a_budget_that_is_just_full_enough_begins_its_refill_with_the_next_failure() {
    let budget = just_full_enough(BudgetRule::new(10, 1, MINUTE));
    let began = NOON.after(MINUTE / 10 * 9);
    assert!(budget.withdraw(began));
    // A minute after noon, but not after the failure that left room for a refill.
    assert!(!budget.withdraw(began.after(MINUTE / 2)));
}

// --- The arithmetic ------------------------------------------------------------------------------

#[test]
fn a_full_budget_is_not_changed_by_a_success() {
    for tokens in [1, 2, 10, 10_000] {
        for per_success in [0, 1, 100, 10_000] {
            let rule = BudgetRule::new(tokens, per_success, MINUTE);
            assert_eq!(rule.succeed(tokens * 1000), tokens * 1000);
            let budget = Budget::with_rule(rule);
            budget.deposit();
            assert_eq!(budget.tokens(), tokens);
        }
    }
}

#[test]
fn a_retry_is_paid_while_more_than_half_is_left() {
    let rule = BudgetRule::new(10, 100, MINUTE);
    for (balance, refills, expected) in [
        (10_000, 0, (9000, true)),
        (6002, 0, (5002, true)),
        (6001, 0, (5001, true)),
        (6000, 0, (5000, false)),
        (500, 0, (0, false)),
        (0, 0, (0, false)),
        // A refill is a whole token, up to what one retry takes, and none above.
        (0, 1, (0, false)),
        (0, 2, (1000, false)),
        (5000, 1, (5000, false)),
        (5001, 1, (5001, true)),
        (5001, 9, (5001, true)),
        (0, u32::MAX, (5001, true)),
        (6001, 9, (5001, true)),
        (9000, 9, (8000, true)),
    ] {
        assert_eq!(rule.fail(balance, refills), expected, "{balance} and {refills}");
    }
    let odd = BudgetRule::new(5, 100, MINUTE);
    assert_eq!(odd.fail(3500, 0), (2500, false));
    assert_eq!(odd.fail(3501, 0), (2501, true));
}

#[test]
fn refills_are_claimed_once_and_never_early() {
    let rule = BudgetRule::new(10, 0, MINUTE);
    let later = (NOON.after(HOUR).as_micros() >> 14) as u32;
    let (began, none) = rule.claim(later, NOON);
    assert_eq!(none, 0, "a clock that stepped back");
    for now in [NOON, NOON.after(MINUTE)] {
        assert_eq!(rule.claim(began, now), (began, 0));
    }
    let (claimed, one) = rule.claim(began, NOON.after(MINUTE + TICK * 2));
    assert_eq!(one, 1);
    assert_eq!(rule.claim(claimed, NOON.after(MINUTE + TICK * 2)), (claimed, 0));
    // What is left of a period counts for the next.
    let (_, many) = rule.claim(began, NOON.after(MINUTE * 1000));
    assert!((990..1000).contains(&many), "{many}");
}

#[test]
fn a_refill_is_never_early_wherever_in_its_tick_the_claim_began() {
    let in_tick = |part: u64| Instant::from_micros((1000 << 14) + part);
    for period in [Duration::from_micros(1), TICK, TICK * 2, MINUTE, HOUR * 24] {
        let rule = BudgetRule::new(10, 0, period);
        for part in [0, 1, 8192, (1 << 14) - 1] {
            let too_soon = in_tick(part).after(period - Duration::from_micros(1));
            assert_eq!(rule.claim(1000, too_soon).1, 0, "{period:?} from {part} µs on");
            assert_eq!(rule.claim(1000, in_tick(part).after(period + TICK * 2)).1, 1);
        }
    }
}

#[test]
fn a_claim_tells_two_clocks_that_disagree_from_one_that_stepped_back() {
    let rule = BudgetRule::new(10, 0, MINUTE);
    let at = |tick: u32| Instant::from_micros(u64::from(tick) << 14);
    let claimed = 1 << 20;
    // 64 s are 3906 ticks: up to there it is another's reading, and the claim stands.
    assert_eq!(rule.claim(claimed, at(claimed - 3906)), (claimed, 0));
    assert_eq!(rule.claim(claimed, at(claimed - 3907)), (claimed - 3907, 0));
    // Ahead by half of what ticks can tell, and one more, which is a step back.
    let half = u32::MAX / 2;
    assert!(rule.claim(0, at(half)).1 > 500_000);
    assert_eq!(rule.claim(0, at(half + 1)), (half + 1, 0));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Failures, successes and time in any mixture, some by readings a little old: no more retries
    /// than were earned since the first reading.
    #[test]
    fn no_mixture_pays_for_more_than_its_tokens_successes_and_refills(
        tokens in prop_oneof![3..10_u32, 1..50_u32],
        per_success in prop_oneof![Just(0), Just(1000), 0..2000_u32],
        period in 50_u64..100_000,
        began in 64_000_000..u64::MAX / 2,
        steps in prop::collection::vec((0..6_u8, 0..50_000_u64), 1..400),
    ) {
        let period = Duration::from_millis(period);
        let budget = Budget::with_rule(BudgetRule::new(tokens, per_success, period));
        let mut now = Instant::from_micros(began);
        let (mut began, mut paid, mut earned) = (None, 0, u64::from(tokens) * 500);
        for (step, length) in steps {
            match step {
                0 => {
                    budget.deposit();
                    earned += u64::from(per_success);
                }
                1 => now = now.after(Duration::from_millis(length)),
                2 => now = now.after(Duration::from_micros(length)),
                _ => {
                    let behind = if step == 3 { length } else { 0 };
                    let reading = before(now, Duration::from_millis(behind));
                    began = began.or(Some(reading));
                    paid += u64::from(budget.withdraw(reading));
                }
            }
            let passed = began.map_or(NEVER, |began| now.since(began));
            let refills = (passed.as_micros() / period.as_micros()) as u64;
            prop_assert!(paid * 1000 <= earned + refills * 1000);
            prop_assert!(budget.tokens() <= tokens);
        }
    }
}

#[test]
fn eight_threads_withdraw_what_one_would() {
    for _ in 0..100 {
        let budget = Budget::with_rule(BudgetRule::new(10_000, 0, NEVER));
        let paid: u32 = thread::scope(|scope| {
            let threads = [(); 8].map(|()| {
                scope.spawn(|| (0..1000).map(|_| u32::from(budget.withdraw(NOON))).sum::<u32>())
            });
            threads.map(|thread| thread.join().unwrap()).into_iter().sum()
        });
        assert_eq!((paid, budget.tokens()), (4999, 2000));
    }
}

// --- Helpers -------------------------------------------------------------------------------------

/// A service that answers no request, and clients that keep coming.
#[derive(Clone, Copy)]
struct Outage {
    requests: u32,
    every: Duration,
    attempts: u32,
    wait: Duration,
}

impl Outage {
    const fn new() -> Self {
        let wait = Duration::from_secs(2);
        Self { requests: 60, every: Duration::from_secs(1), attempts: 3, wait }
    }

    /// From the first request to the last attempt.
    fn length(&self) -> Duration {
        self.every * self.requests + self.wait * self.attempts
    }

    /// The attempts that its executions make. They overlap where requests come faster than waits end.
    fn attempts(&self, budget: &Budget) -> u32 {
        let policy = Policy::new()
            .attempts(self.attempts)
            .backoff(steadfast::Backoff::constant(self.wait))
            .budget(budget)
            .retry_all();
        let starts = (0..self.requests).map(|n| NOON.after(self.every * n));
        let mut runs: Vec<_> = starts.map(|at| policy.start::<()>(at, 0)).collect();
        let starts = (0..self.requests).map(|n| Reverse((NOON.after(self.every * n), n as usize)));
        let mut due: BinaryHeap<_> = starts.collect();
        let mut made = 0;
        while let Some(Reverse((now, run))) = due.pop() {
            let Leave::Granted(attempt) = runs[run].attempt(now).next else {
                panic!("nothing else refuses an attempt");
            };
            made += 1;
            match runs[run].settle::<()>(attempt, now, Some(Err(())), || 0).next {
                Next::Retry(at) => due.push(Reverse((at, run))),
                Next::Done(result) => assert_eq!(result.unwrap_err().last, Some(())),
                Next::Pending => panic!("one attempt at a time"),
            }
        }
        made
    }
}

/// A budget of 10 tokens that is full enough for nothing to be due, and not by a thousandth more.
fn just_full_enough(rule: BudgetRule) -> Budget {
    let budget = Budget::with_rule(rule);
    // Four failures and a thousandth: half, a retry's worth, and the least more are left.
    for _ in 0..4 {
        assert!(budget.withdraw(NOON));
    }
    budget.deposit();
    budget
}

const fn before(now: Instant, by: Duration) -> Instant {
    Instant::from_micros(now.as_micros() - by.as_micros() as u64)
}

/// A budget without a token, at noon.
fn spent(rule: BudgetRule) -> Budget {
    let budget = Budget::with_rule(rule);
    while budget.tokens() > 0 {
        let _ = budget.withdraw(NOON);
    }
    budget
}
