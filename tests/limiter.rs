//! Requests and tokens a minute: buckets, reservations, and the stage of an execution.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use core::cell::Cell;
use core::future::Future as _;
use core::pin::pin;
use core::task::{Context, Waker};
use core::time::Duration;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use common::{failing, succeeding};
use proptest::prelude::*;
use steadfast::policy::Stage;
use steadfast::state::{
    Limit, LimitRule, LimitRuleError, Limited, Limiter, Reservation, SharedBuckets,
};
use steadfast::{
    Backoff, Breaker, Class, Clock as _, Event, Instant, ManualClock, Metrics, Policy, Reason,
    Trip, Verdict,
};

const MINUTE: u64 = 60_000_000;

const fn at(micros: u64) -> Instant {
    Instant::from_micros(micros)
}

fn spend(limiter: &Limiter, now: Instant, tokens: u32) -> Result<(), Limited> {
    let _ = limiter.try_reserve(now, tokens)?.begin();
    Ok(())
}

fn taken(limiter: &Limiter, now: Instant, most: u32) -> u32 {
    (0..most).take_while(|_| spend(limiter, now, 0).is_ok()).count() as u32
}

#[test]
fn a_bucket_holds_a_minute_and_fills_up_in_one() {
    for limit in [1, 3, 7, 9, 60, 700, 1_000, 9_999, 45_001] {
        let limiter = Limiter::new(LimitRule::requests(limit));
        assert_eq!(taken(&limiter, at(0), 2 * limit), limit);
        // So much earlier none has come back, and so much later one has.
        let one = MINUTE.div_ceil(limit.into());
        assert_eq!(taken(&limiter, at(one - one.min(2)), limit), 0, "{limit}");
        assert_eq!(taken(&limiter, at(one), limit), 1, "{limit}");
        // A little later: what is rounded up of each adds up.
        assert_eq!(taken(&limiter, at(one + MINUTE + 1_000), 2 * limit), limit);
        assert_eq!(taken(&limiter, at(one + 100 * MINUTE), 2 * limit), limit);
    }
}

#[test]
fn tokens_taken_one_by_one_are_all_that_a_minute_has_and_not_one_more() {
    for limit in [7, 700, 9_999] {
        let limiter = Limiter::new(LimitRule::tokens(limit));
        let one = |now| spend(&limiter, at(now), 1).is_ok();
        assert_eq!((0..2 * limit).take_while(|_| one(0)).count() as u32, limit);
        assert!(!one(1_000), "{limit}");
    }
    // A token is 256 µs, rounded up, and what is rounded up is allowed for by less than a token.
    let limiter = Limiter::new(LimitRule::tokens(234_376));
    spend(&limiter, at(0), 234_376).unwrap();
    assert!(limiter.try_reserve(at(0), 1).is_err());
}

#[test]
fn a_rule_is_none_only_if_it_limits_nothing() {
    for (rule, none) in [
        (LimitRule::NONE, true),
        (LimitRule::requests(1), false),
        (LimitRule::tokens(1), false),
        (LimitRule::requests(1).and_tokens(1), false),
    ] {
        assert_eq!(rule.is_none(), none, "{rule:?}");
    }
}

#[test]
fn a_refusal_says_when_there_is_enough_and_takes_nothing() {
    let limiter = Limiter::new(LimitRule::requests(7).and_tokens(1_000));
    spend(&limiter, at(0), 900).unwrap();
    let refused = limiter.try_reserve(at(1_000), 500).unwrap_err();
    // 400 are missing, and 60 a millisecond come back.
    assert_eq!(refused, Limited { admits_at: at(24_000_000) });
    for _ in 0..1_000 {
        assert_eq!(limiter.try_reserve(at(1_000), 500).unwrap_err(), refused);
    }
    assert!(limiter.try_reserve(at(23_999_999), 500).is_err());
    spend(&limiter, at(24_000_000), 500).unwrap();
}

#[test]
fn of_two_buckets_the_longer_wait_is_told_and_none_is_taken() {
    let limiter = Limiter::new(LimitRule::requests(2).and_tokens(600));
    spend(&limiter, at(0), 600).unwrap();
    // A request is left, tokens are not: the request is not lost.
    for _ in 0..10 {
        let wait = limiter.try_reserve(at(0), 100).unwrap_err();
        assert_eq!(wait.admits_at, at(10_000_000));
    }
    spend(&limiter, at(0), 0).unwrap();
    // Now neither is: a request comes back after 30 s, six tokens after 0.6 s, 600 after 60 s.
    assert_eq!(limiter.try_reserve(at(0), 6).unwrap_err().admits_at, at(30_000_000));
    assert_eq!(limiter.try_reserve(at(0), 600).unwrap_err().admits_at, at(60_000_000));
}

#[test]
fn a_request_larger_than_the_bucket_is_refused_for_ever() {
    let limiter = Limiter::new(LimitRule::tokens(100));
    assert_eq!(limiter.try_reserve(at(0), 101).unwrap_err().admits_at, Instant::MAX);
    spend(&limiter, at(0), 100).unwrap();
    assert_eq!(limiter.try_reserve(at(0), u32::MAX).unwrap_err().admits_at, Instant::MAX);
}

#[test]
fn what_is_dropped_before_it_begins_goes_back_and_what_has_begun_is_spent() {
    let limiter = Limiter::new(LimitRule::requests(1).and_tokens(10));
    for _ in 0..100 {
        drop(limiter.try_reserve(at(0), 10).unwrap());
    }
    spend(&limiter, at(0), 10).unwrap();
    assert!(limiter.try_reserve(at(0), 0).is_err());
}

#[test]
fn a_refund_never_fills_a_bucket_beyond_its_minute() {
    let limiter = Limiter::new(LimitRule::requests(10));
    let held: Vec<_> = (0..10).map(|_| limiter.try_reserve(at(0), 0).unwrap()).collect();
    // Most of it has come back by itself when the ten are given back.
    assert_eq!(taken(&limiter, at(54_000_000), 20), 9);
    drop(held);
    assert_eq!(taken(&limiter, at(54_000_000), 20), 1, "what nine that were spent leave of ten");
    assert_eq!(taken(&limiter, at(54_000_000), 20), 0);
}

#[test]
fn what_an_answer_took_corrects_what_was_estimated_both_ways() {
    let limiter = Limiter::new(LimitRule::tokens(1_000));
    limiter.try_reserve(at(0), 800).unwrap().begin().settle(at(0), 300);
    limiter.try_reserve(at(0), 700).unwrap().begin().settle(at(0), 700);
    assert!(limiter.try_reserve(at(0), 1).is_err(), "all of a thousand");
    let limiter = Limiter::new(LimitRule::tokens(1_000));
    limiter.try_reserve(at(0), 100).unwrap().begin().settle(at(0), 1_500);
    // A debt of 500: 30 s until it is paid, and a little for the first token.
    assert_eq!(limiter.try_reserve(at(0), 0).unwrap_err().admits_at, at(30_000_000));
    assert_eq!(limiter.try_reserve(at(0), 1).unwrap_err().admits_at, at(30_060_000));
    let limiter = Limiter::new(LimitRule::tokens(1_000));
    limiter.try_reserve(at(0), 0).unwrap().begin().settle(at(0), u32::MAX);
    assert_eq!(limiter.try_reserve(at(0), 0).unwrap_err().admits_at, at(MINUTE), "one bucket");
}

#[test]
fn a_clock_that_steps_back_stands_still_and_wedges_nobody() {
    for step in [1_000, 7_000_000, 11_000_000, MINUTE, 3_600_000_000, 86_400_000_000] {
        let limiter = Limiter::new(LimitRule::requests(6));
        let noon = 432_000_000_000_u64;
        assert_eq!(taken(&limiter, at(noon), 10), 6);
        assert_eq!(taken(&limiter, at(noon - step), 10), 0, "{step}");
        // The second of the last call, and all that was missing, from the new reading on.
        let refused = limiter.try_reserve(at(noon - step), 0).unwrap_err();
        let wait = refused.admits_at.since(at(noon - step));
        let longest = Duration::from_micros(MINUTE / 6 + step.min(11_000_000) + 1_048_576);
        assert!(wait <= longest, "{step}: {wait:?}");
        assert_eq!(taken(&limiter, refused.admits_at, 10), 1, "{step}");
        assert_eq!(taken(&limiter, at(noon - step + 2 * MINUTE), 10), 6, "{step}");
    }
}

#[test]
fn readings_that_come_out_of_order_give_no_more() {
    let noon = 432_000_000_000_u64;
    for before in [1_000, 500_000, 2_000_000, 7_000_000] {
        let limiter = Limiter::new(LimitRule::requests(60));
        assert_eq!(taken(&limiter, at(noon), 61), 60);
        for _ in 0..10 {
            assert!(limiter.try_reserve(at(noon - before), 0).is_err(), "{before}");
            let refused = limiter.try_reserve(at(noon), 0).unwrap_err();
            assert_eq!(refused.admits_at, at(noon + 1_000_000), "{before}");
        }
    }
}

#[test]
fn a_debt_stays_one_however_often_the_clock_is_set_back() {
    let limiter = Limiter::new(LimitRule::tokens(1_000));
    // The last microsecond of a second of 2^20 µs, all of which counts as missing each time.
    let end_of = |second: u64| at((second << 20) + 0xf_ffff);
    limiter.settle(end_of(10_000), 0, 5_000);
    for number in 1..40 {
        let now = end_of(10_000 - 10 * number);
        let refused = limiter.try_reserve(now, 0).map(drop).unwrap_err();
        assert!(refused.admits_at <= now.after(Duration::from_secs(62)), "{number}: {refused:?}");
    }
}

#[test]
fn the_longest_debt_is_as_long_when_the_clock_is_set_back() {
    let limiter = Limiter::new(LimitRule::tokens(1_000));
    let noon = 41_200 << 20;
    limiter.settle(at(noon), 0, u32::MAX);
    for hours in 0..4 {
        let now = noon - hours * 3_600_000_000;
        let refused = limiter.try_reserve(at(now), 1_000).map(drop).unwrap_err();
        assert_eq!(refused.admits_at, at(now + 2 * MINUTE), "{hours}");
    }
}

#[test]
fn a_reservation_goes_back_though_another_was_made_by_an_earlier_reading() {
    let now = 100 << 20;
    for behind in [1, 3_444_130, 8 << 20] {
        let limiter = Limiter::new(LimitRule::requests(3));
        let held = limiter.try_reserve(at(now), 0).unwrap();
        spend(&limiter, at(now - behind), 0).unwrap();
        drop(held);
        assert_eq!(taken(&limiter, at(now), 3), 2, "{behind}");
    }
}

#[test]
fn an_answer_that_is_settled_by_an_old_reading_fills_no_bucket() {
    for old in [0, 20_000_000, 59_000_000, 3_000_000_000] {
        let limiter = Limiter::new(LimitRule::tokens(60_000));
        let now = 3_600_000_000;
        let spent = limiter.try_reserve(at(now - old), 1_000).unwrap().begin();
        while spend(&limiter, at(now), 1_000).is_ok() {}
        spent.settle(at(now - old), 2_000);
        assert!(spend(&limiter, at(now), 1).is_err(), "{old}");
        assert!(spend(&limiter, at(now + 900_000), 1).is_err(), "{old}");
        assert!(spend(&limiter, at(now + 2_100_000), 1).is_ok(), "{old}");
    }
}

#[test]
fn a_reservation_that_is_held_for_long_gives_back_what_time_has_not() {
    for held in [59_000_000, 70_000_000, 120_000_000, 290_000_000, 3_600_000_000] {
        let limiter = Limiter::new(LimitRule::requests(10));
        let all: Vec<_> = (0..10).map(|_| limiter.try_reserve(at(0), 0).unwrap()).collect();
        let there = taken(&limiter, at(held), 20);
        drop(all);
        assert!(there + taken(&limiter, at(held), 20) <= 10, "{held}");
    }
}

#[test]
fn a_reservation_of_almost_a_minute_ago_gives_back_what_is_left_of_it() {
    // The last microsecond of a second of the bucket's, and the first one of the 58th after it.
    let (taken_at, now) = (at(1_048_575), at(58 * 1_048_576));
    let limiter = Limiter::new(LimitRule::tokens(1_000));
    let held = limiter.try_reserve(taken_at, 1_000).unwrap();
    // All but 3.9 tokens are back by then.
    spend(&limiter, now, 996).unwrap();
    assert!(limiter.try_reserve(now, 1).is_err());
    drop(held);
    spend(&limiter, now, 3).unwrap();
    assert!(limiter.try_reserve(now, 2).is_err());
}

#[test]
fn the_longest_debt_is_paid_to_the_last_token() {
    let limiter = Limiter::new(LimitRule::tokens(1_000));
    let noon = 41_200 * 1_048_576 + 1_048_575;
    limiter.try_reserve(at(noon), 1_000).unwrap().begin().settle(at(noon), u32::MAX);
    // Two minutes, also by a reading of nine seconds before, the most that a bucket allows for.
    let before = (41_200 - 8) * 1_048_576;
    let refused = limiter.try_reserve(at(before), 1_000).unwrap_err();
    assert_eq!(refused.admits_at, at(noon + 2 * MINUTE));
    for early in [60_000_000, 1_000_000, 400_000, 1_000] {
        let refused = limiter.try_reserve(at(noon + 2 * MINUTE - early), 1_000).unwrap_err();
        assert_eq!(refused.admits_at, at(noon + 2 * MINUTE), "{early}");
    }
    spend(&limiter, at(noon + 2 * MINUTE), 1_000).unwrap();
}

#[test]
fn a_bucket_that_nobody_took_from_is_full_by_any_clock() {
    for eighth in 0..=7 {
        // Seconds of 2^20 µs come round after 2^32 of them.
        for now in [eighth << 49, (eighth << 49) + (1 << 51) - 1, u64::MAX - (eighth << 49)] {
            let limiter = Limiter::new(LimitRule::tokens(60));
            assert!(limiter.try_reserve(at(now), 60).is_ok(), "{now}");
        }
    }
}

#[test]
fn an_idle_bucket_is_full_however_long_it_was_idle() {
    // The hot word comes round every 2^28 µs: everywhere on that circle, and some times around it.
    for eighth in 0..80 {
        let limiter = Limiter::new(LimitRule::tokens(60));
        let (first, idle) = (5_000_000_u64, 125_000_000 + (eighth << 25));
        spend(&limiter, at(first), 60).unwrap();
        assert_eq!(spend(&limiter, at(first + idle), 60), Ok(()), "{idle}");
        assert!(spend(&limiter, at(first + idle), 60).is_err());
    }
}

#[test]
fn a_bucket_keeps_its_share_when_its_limit_changes() {
    let buckets = SharedBuckets::new();
    let (small, large) = (LimitRule::tokens(100), LimitRule::tokens(10_000));
    buckets.take(&small, at(0), 50).unwrap();
    assert!(buckets.take(&large, at(0), 5_001).is_err());
    buckets.take(&large, at(0), 5_000).unwrap();
    buckets.take(&LimitRule::NONE, at(0), 5_000).unwrap();
    assert!(buckets.take(&small, at(0), 1).is_err());
}

#[test]
fn whoever_only_looks_fills_no_bucket_however_far_ahead() {
    let limiter = Limiter::new(LimitRule::requests(60));
    let noon = at(1_000_000_000);
    assert_eq!(taken(&limiter, noon, 100), 60);
    let years = Duration::from_secs(80 * 365 * 86_400);
    for ahead in [Instant::MAX, noon.after(years), noon.after(years / 2), at(0)] {
        let _ = limiter.foresee(noon, ahead, 0);
        assert_eq!(taken(&limiter, noon, 100), 0, "{ahead:?}");
    }
}

#[test]
fn a_wait_of_ages_that_a_service_asks_for_fills_no_bucket() {
    let limiter = Limiter::new(LimitRule::requests(60));
    let policy = Policy::new()
        .attempts(2)
        .limiter(&limiter)
        .classify(|(): &()| Verdict::of(Class::RateLimited).not_before(Duration::MAX));
    let clock = ManualClock::new();
    clock.set(at(1_000_000_000));
    assert_eq!(taken(&limiter, clock.now(), 59), 59);
    let mut call = pin!(policy.execute(&clock, || async { Err::<(), _>(()) }));
    assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    assert_eq!(taken(&limiter, clock.now(), 100), 0);
}

#[test]
fn after_a_step_back_a_bucket_fills_by_whoever_is_refused() {
    let limiter = Limiter::new(LimitRule::requests(60));
    assert_eq!(taken(&limiter, at(7_200_000_000), 100), 60);
    let back = at(3_600_000_000);
    assert_eq!(taken(&limiter, back, 100), 0);
    let half = taken(&limiter, back.after(Duration::from_secs(30)), 100);
    assert!((28..=30).contains(&half), "{half}");
}

#[test]
fn after_a_step_back_whoever_only_looks_is_told_when_there_is_enough() {
    let (noon, back) = (at(7_200_000_000), at(3_600_000_000));
    for ahead in [0, 1, 20] {
        let limiter = Limiter::new(LimitRule::requests(1));
        spend(&limiter, noon, 0).unwrap();
        let ahead = back.after(Duration::from_secs(ahead));
        let Limited { admits_at } = limiter.foresee(back, ahead, 0).unwrap_err();
        // The second of the last call counts anew.
        assert!((60_000_000..61_100_000).contains(&admits_at.since(back).as_micros()));
        assert_eq!(limiter.foresee(back, admits_at, 0), Ok(()));
        let before = at(admits_at.as_micros() - 1);
        assert_eq!(limiter.foresee(back, before, 0), Err(Limited { admits_at }));
        assert_eq!(spend(&limiter, before, 0), Err(Limited { admits_at }));
        assert_eq!(spend(&limiter, admits_at, 0), Ok(()));
    }
}

#[test]
fn however_far_ahead_one_looks_what_is_missing_has_come_back_by_then() {
    let limiter = Limiter::new(LimitRule::requests(1));
    let noon = at(432_000_000_000);
    spend(&limiter, noon, 0).unwrap();
    for ahead in [60, 300, 3_600, 80 * 365 * 86_400, 160 * 365 * 86_400, u64::MAX] {
        let then = noon.after(Duration::from_secs(ahead));
        assert_eq!(limiter.foresee(noon, then, 0), Ok(()), "{ahead} s");
    }
    let earlier = Err(Limited { admits_at: noon.after(Duration::from_secs(60)) });
    assert_eq!(limiter.foresee(noon, at(0), 0), earlier, "an instant before now counts as now");
}

#[test]
fn a_clock_set_back_during_an_attempt_leaves_it_its_retry() {
    let limiter = Limiter::new(LimitRule::requests(2));
    let clock = ManualClock::new();
    clock.set(at(7_200_000_000));
    spend(&limiter, clock.now(), 0).unwrap();
    let policy = Policy::new()
        .attempts(2)
        .backoff(Backoff::constant(Duration::from_secs(45)))
        .limiter(&limiter)
        .classify(|(): &()| Verdict::of(Class::Transient));
    let calls = Cell::new(0);
    let answer = clock.block_on(policy.execute(&clock, || async {
        calls.set(calls.get() + 1);
        match calls.get() {
            1 => {
                clock.set(at(3_600_000_000));
                Err(())
            }
            _ => Ok(()),
        }
    }));
    // One has come back after 31 s at most.
    assert_eq!((answer.is_ok(), clock.now()), (true, at(3_645_000_000)));
}

#[test]
fn a_handle_may_be_shared_and_outlive_the_caller() {
    fn lives<T: Send + 'static>(_: &T) {}
    let limiter = Arc::new(Limiter::new(LimitRule::requests(1)));
    let reservation = Reservation::try_new(Arc::clone(&limiter), at(0), 0).unwrap();
    lives(&reservation);
    assert!(limiter.try_reserve(at(0), 0).is_err());
    drop(reservation);
    let spent = Reservation::try_new(limiter, at(0), 0).unwrap().begin();
    lives(&spent);
}

#[test]
fn a_limiter_behind_a_reference_of_its_kind_is_the_same_limiter() {
    let limiter = Limiter::new(LimitRule::requests(2).and_tokens(100));
    let any: &dyn Limit = &limiter;
    assert_eq!((&any).foresee(at(0), at(0), 100), Ok(()));
    assert_eq!((&any).foresee(at(0), at(0), 101), Err(Limited { admits_at: Instant::MAX }));
    drop(Reservation::try_new(any, at(0), 100).unwrap());
    Reservation::try_new(any, at(0), 100).unwrap().begin().settle(at(0), 40);
    let look = |tokens| limiter.foresee(at(0), at(0), tokens);
    assert!(look(60).is_ok() && look(61).is_err());
    assert_eq!(limiter.rule().tokens_per_minute(), Some(100));
}

#[test]
fn numbers_out_of_range_are_refused_and_those_just_inside_are_not() {
    let none = LimitRule::NONE;
    assert_eq!(none.try_requests(0), Err(LimitRuleError::Requests));
    assert_eq!(none.try_requests((1 << 31) + 1), Err(LimitRuleError::Requests));
    assert_eq!(none.try_requests(1 << 31).unwrap().requests_per_minute(), Some(1 << 31));
    assert_eq!(none.try_tokens(0), Err(LimitRuleError::Tokens));
    assert_eq!(none.try_tokens((1 << 31) + 1), Err(LimitRuleError::Tokens));
    assert_eq!(none.try_tokens(1 << 31).unwrap().tokens_per_minute(), Some(1 << 31));
    assert_eq!((none.requests_per_minute(), none.tokens_per_minute()), (None, None));
    let told = none.try_tokens(0).unwrap_err().to_string();
    assert_eq!(told, "a limit is 1 to 2147483648 tokens a minute");
    assert_eq!(Limited { admits_at: at(0) }.to_string(), "limit reached");
}

#[test]
fn threads_together_take_no_more_than_there_is() {
    let limiter = Limiter::new(LimitRule::requests(1_000));
    let together = Barrier::new(4);
    let caller = || {
        together.wait();
        let mut spent = 0;
        for number in 0..2_000 {
            match limiter.try_reserve(at(number % 3), 0) {
                // Some of them are given back.
                Ok(reservation) if number % 5 == 0 => drop(reservation),
                Ok(reservation) => {
                    let _ = reservation.begin();
                    spent += 1;
                }
                Err(_) => {}
            }
        }
        spent
    };
    let spent: u32 = thread::scope(|scope| {
        let callers: Vec<_> = (0..4).map(|_| scope.spawn(caller)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).sum()
    });
    // Whoever was refused while another held one that it gave back left one.
    let rest = taken(&limiter, at(2), 1_000);
    assert_eq!(spent + rest, 1_000);
}

// Against a bucket in exact numbers.

#[derive(Clone, Copy, Debug)]
enum Step {
    Take {
        tokens: u32,
        begin: bool,
    },
    Settle {
        estimated: u32,
        actual: u32,
    },
    Wait(u64),
    /// A reservation that is dropped many steps later.
    Hold(u32),
    Drop,
}

fn steps(limit: u32) -> impl Strategy<Value = Vec<Step>> {
    let tokens = 0..=limit + limit / 8;
    let step = prop_oneof![
        6 => (tokens.clone(), any::<bool>())
            .prop_map(|(tokens, begin)| Step::Take { tokens, begin }),
        1 => (tokens.clone(), tokens)
            .prop_map(|(estimated, actual)| Step::Settle { estimated, actual }),
        4 => (0..MINUTE / 4).prop_map(Step::Wait),
        1 => (MINUTE..3 * MINUTE).prop_map(Step::Wait),
        1 => (0..1_u64 << 40).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    // The reference counts in tokens by microseconds of a minute, which come out even.
    #[test]
    fn a_bucket_never_gives_what_is_not_there_and_gives_all_that_is(
        (limit, steps) in (1..=5_000_u32).prop_flat_map(|limit| (Just(limit), steps(limit))),
    ) {
        let limiter = Limiter::new(LimitRule::tokens(limit));
        let (mut now, mut level) = (7_u64, i128::from(limit) * i128::from(MINUTE));
        // Each time it may be off by a unit of 2^-4 µs.
        let (full, mut rounded, mut refunded) = (level, 0, 0);
        for step in steps {
            match step {
                Step::Wait(micros) => {
                    now += micros;
                    level = full.min(level + i128::from(limit) * i128::from(micros));
                }
                Step::Hold(_) | Step::Drop => {}
                Step::Settle { estimated, actual } => {
                    limiter.settle(at(now), estimated, actual);
                    let more = i128::from(actual) - i128::from(estimated);
                    level = (level - more * i128::from(MINUTE)).clamp(-full, full);
                    rounded += 1;
                    refunded += i128::from(actual < estimated);
                }
                Step::Take { tokens, begin } => {
                    let price = i128::from(tokens) * i128::from(MINUTE);
                    match limiter.try_reserve(at(now), tokens) {
                        Ok(reservation) => {
                            // And 256 µs, by which many that were rounded up are as many as there are.
                            let most = level + (refunded + 257) * i128::from(limit);
                            prop_assert!(price <= most, "at {now}");
                            if begin {
                                let _ = reservation.begin();
                                level -= price;
                                rounded += 1;
                            }
                        }
                        Err(limited) => {
                            let missing = price - level + rounded * i128::from(limit);
                            prop_assert!(missing > 0, "at {now}: {level} of {full}, {tokens} asked");
                            let wait = limited.admits_at.since(at(now)).as_micros() as i128;
                            if tokens <= limit {
                                let most = missing / i128::from(limit) + 2;
                                prop_assert!(wait <= most, "{wait} of {most}");
                                // And then it is there.
                                now = limited.admits_at.as_micros();
                                level = full.min(level + i128::from(limit) * wait);
                                prop_assert!(limiter.try_reserve(at(now), tokens).is_ok());
                            } else {
                                prop_assert_eq!(limited.admits_at, Instant::MAX);
                            }
                        }
                    }
                }
            }
        }
    }
}

proptest! {
    #[test]
    fn in_no_time_is_more_taken_than_a_bucket_and_what_comes_back_in_it(
        (limit, steps) in (1..=2_000_u32).prop_flat_map(|limit| (Just(limit), holds(limit))),
    ) {
        let limiter = Limiter::new(LimitRule::tokens(limit));
        let (mut now, mut spent, mut held) = (0_u64, Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Wait(micros) => now += micros,
                Step::Take { tokens, .. } => if spend(&limiter, at(now), tokens).is_ok() {
                    spent.push((now, u128::from(tokens)));
                },
                Step::Hold(tokens) => held.extend(limiter.try_reserve(at(now), tokens).ok()),
                Step::Drop | Step::Settle { .. } => held.clear(),
            }
        }
        for (first, &(begin, _)) in spent.iter().enumerate() {
            let mut sum = 0;
            for &(end, tokens) in &spent[first..] {
                sum += tokens;
                // What was given back is counted to a second of 2^20 µs.
                let time = u128::from(MINUTE + end - begin + 1_048_576 + 257);
                prop_assert!(sum * u128::from(MINUTE) <= u128::from(limit) * time, "{begin} to {end}");
            }
        }
    }
}

fn holds(limit: u32) -> impl Strategy<Value = Vec<Step>> {
    let tokens = 0..=limit;
    let step = prop_oneof![
        6 => tokens.clone().prop_map(|tokens| Step::Take { tokens, begin: true }),
        3 => tokens.prop_map(Step::Hold),
        2 => Just(Step::Drop),
        4 => (0..MINUTE / 4).prop_map(Step::Wait),
        1 => (MINUTE / 2..3 * MINUTE).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

// In an execution.

#[test]
fn an_attempt_that_is_limited_is_not_made_and_the_error_says_until_when() {
    static LIMITER: Limiter = Limiter::new(LimitRule::requests(2).and_tokens(1_000));
    static METRICS: Metrics = Metrics::new();
    let told: &'static Mutex<Vec<Event>> = Box::leak(Box::default());
    let observer = move |event: &Event| told.lock().unwrap().push(*event);
    let policy =
        Policy::new().limiter(&LIMITER).estimate(500).metrics(&METRICS).observer(&observer);
    let clock = ManualClock::new();
    for _ in 0..2 {
        assert_eq!(clock.block_on(policy.execute(&clock, succeeding)), Ok(7));
    }
    let made = Cell::new(0);
    let refused = clock
        .block_on(policy.execute(&clock, || {
            made.set(made.get() + 1);
            succeeding()
        }))
        .unwrap_err();
    assert_eq!((refused.stopped, refused.attempts, made.get()), (Reason::Limited, 0, 0));
    assert_eq!(refused.retry_at, Some(at(30_000_000)));
    let wait = Some(Duration::from_secs(30));
    let (stage, reason) = (Stage::Limiter, Reason::Limited);
    assert_eq!(*told.lock().unwrap(), [Event::Refused { stage, reason, wait }]);
    assert_eq!(METRICS.snapshot().refusals.limited, 1);
    clock.advance(Duration::from_secs(30));
    assert!(clock.block_on(policy.execute(&clock, succeeding)).is_ok());
}

#[test]
fn each_attempt_takes_the_tokens_that_it_is_estimated_to_take() {
    let limiter = Limiter::new(LimitRule::tokens(1_000));
    let policy = Policy::new().limiter(&limiter).estimate(600);
    let clock = ManualClock::new();
    assert!(clock.block_on(policy.execute(&clock, succeeding)).is_ok());
    // 400 are left, and 200 are missing.
    let limited = clock.block_on(policy.execute(&clock, succeeding)).unwrap_err();
    assert_eq!((limited.stopped, limited.retry_at), (Reason::Limited, Some(at(12_000_000))));
    let smaller = policy.estimate(400);
    assert!(clock.block_on(smaller.execute(&clock, succeeding)).is_ok());
}

#[test]
fn each_attempt_takes_a_request_and_nobody_sleeps_towards_a_refusal() {
    static LIMITER: Limiter = Limiter::new(LimitRule::requests(3));
    let policy = Policy::new().attempts(5).limiter(&LIMITER).retry_all();
    let clock = ManualClock::new();
    let slowly = policy.backoff(Backoff::constant(Duration::from_secs(4)));
    let limited = clock.block_on(slowly.execute(&clock, failing)).unwrap_err();
    // Made at 0, 4 and 8 s; at 12 s there is none.
    assert_eq!((limited.stopped, limited.attempts), (Reason::Limited, 3));
    assert!(limited.last.is_some(), "the last error is kept");
    assert_eq!((clock.now(), limited.retry_at), (at(8_000_000), Some(at(20_000_000))));
    // One that comes back during the wait is enough.
    let later = policy.backoff(Backoff::constant(Duration::from_secs(12)));
    clock.advance(Duration::from_secs(12));
    let limited = clock.block_on(later.execute(&clock, failing)).unwrap_err();
    assert_eq!((limited.attempts, clock.now()), (1, at(20_000_000)));
    let later = policy.backoff(Backoff::constant(Duration::from_secs(20))).attempts(2);
    clock.advance(Duration::from_secs(20));
    let made = clock.block_on(later.execute(&clock, failing)).unwrap_err();
    assert_eq!((made.stopped, made.attempts), (Reason::Attempts, 2));
}

#[test]
fn what_the_limiter_gave_goes_back_when_the_breaker_then_refuses() {
    // The breaker's last probe slot is taken between the look and the permit.
    struct Racing<'b>(&'b Limiter, &'b Breaker, ManualClock);
    impl Limit for Racing<'_> {
        fn take(&self, now: Instant, tokens: u32) -> Result<steadfast::state::Taken, Limited> {
            core::mem::forget(self.1.try_acquire(now).unwrap());
            self.0.take(now, tokens)
        }
        fn foresee(&self, now: Instant, at: Instant, tokens: u32) -> Result<(), Limited> {
            self.0.foresee(now, at, tokens)
        }
        fn refund(&self, taken: steadfast::state::Taken) {
            self.0.refund(taken);
        }
        fn settle(&self, _: Instant, _: u32, _: u32) {}
    }
    let (limiter, breaker) = (
        Limiter::new(LimitRule::requests(1)),
        Breaker::new(Trip::after(1), Duration::from_secs(1)),
    );
    common::fail(&breaker, at(0));
    let racing = Racing(&limiter, &breaker, ManualClock::new());
    racing.2.advance(Duration::from_secs(2));
    let policy = Policy::new().breaker(&breaker).limiter(&racing);
    let refused = racing.2.block_on(policy.execute(&racing.2, succeeding)).unwrap_err();
    assert_eq!((refused.stopped, refused.attempts), (Reason::BreakerOpen, 0));
    assert!(limiter.try_reserve(racing.2.now(), 0).is_ok(), "the request is there again");
}

#[test]
fn b25_refusals_by_our_own_limiter_do_not_trip_it() {
    let (limiter, breaker) = (
        Limiter::new(LimitRule::requests(1)),
        Breaker::new(Trip::after(1), Duration::from_secs(1)),
    );
    let policy = Policy::new().breaker(&breaker).limiter(&limiter);
    let clock = ManualClock::new();
    assert!(clock.block_on(policy.execute(&clock, succeeding)).is_ok());
    for _ in 0..100 {
        let refused = clock.block_on(policy.execute(&clock, succeeding)).unwrap_err();
        assert_eq!(refused.stopped, Reason::Limited);
    }
}
