//! Every order in which callers can meet on a limiter's buckets: `RUSTFLAGS="--cfg loom"` runs them.
#![cfg(loom)]
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;

use loom::thread::{self, JoinHandle};
use steadfast::Instant;
use steadfast::state::{LimitRule, SharedBuckets};

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "bucket_hot_first"
    ),
    should_panic
)]
fn of_callers_who_want_the_last_request_one_gets_it() {
    model(|| {
        let buckets = full();
        let other = take(&buckets, ONE, at(0));
        let mine = buckets.take(&ONE, at(0), 0).is_ok();
        assert!(mine ^ other.join().unwrap(), "one of two");
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "bucket_hot_first"
    ),
    should_panic
)]
fn of_callers_who_wake_an_idle_bucket_as_many_are_served_as_it_holds() {
    model(|| {
        let buckets = full();
        buckets.take(&ONE, at(5), 0).unwrap();
        let other = take(&buckets, ONE, COME_ROUND);
        let mine = buckets.take(&ONE, COME_ROUND, 0).is_ok();
        assert!(mine ^ other.join().unwrap(), "one of two");
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "bucket_hot_first",
        mutant = "bucket_not_renewed"
    ),
    should_panic
)]
fn a_bucket_that_another_caller_is_waking_refuses_nobody() {
    model(|| {
        let buckets = full();
        buckets.take(&TWO, at(5), 0).unwrap();
        let other = take(&buckets, TWO, COME_ROUND);
        let mine = buckets.take(&TWO, COME_ROUND, 0).is_ok();
        assert!(mine && other.join().unwrap(), "there are two");
        assert!(buckets.take(&TWO, COME_ROUND, 0).is_err(), "and no third");
    });
}

#[test]
#[cfg_attr(mutant = "store_for_cas", should_panic)]
fn what_goes_back_while_another_takes_is_there_again() {
    model(|| {
        let buckets = full();
        let held = buckets.take(&TWO, at(0), 0).unwrap();
        let other = take(&buckets, TWO, at(0));
        buckets.refund(held);
        assert!(other.join().unwrap(), "one was left in any case");
        assert!(buckets.take(&TWO, at(0), 0).is_ok(), "and one came back");
        assert!(buckets.take(&TWO, at(0), 0).is_err());
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "bucket_hot_first"
    ),
    should_panic
)]
fn of_two_buckets_both_or_none_are_taken() {
    model(|| {
        let rule = LimitRule::requests(2).and_tokens(1);
        let buckets = full();
        let other = {
            let buckets = Arc::clone(&buckets);
            thread::spawn(move || buckets.take(&rule, at(0), 1).is_ok())
        };
        let mine = buckets.take(&rule, at(0), 1).is_ok();
        assert!(mine ^ other.join().unwrap(), "one token");
        assert!(buckets.take(&rule, at(0), 0).is_ok(), "the request came back");
        assert!(buckets.take(&rule, at(0), 0).is_err());
    });
}

#[test]
#[cfg_attr(
    any(
        mutant = "store_for_cas",
        mutant = "relaxed_swaps",
        mutant = "relaxed_loads",
        mutant = "bucket_hot_first"
    ),
    should_panic
)]
fn what_an_answer_took_is_charged_beside_another_who_takes() {
    model(|| {
        let rule = LimitRule::tokens(4);
        let buckets = full();
        let other = {
            let buckets = Arc::clone(&buckets);
            thread::spawn(move || buckets.take(&rule, at(0), 1).is_ok())
        };
        buckets.settle(&rule, at(0), 0, 2);
        assert!(other.join().unwrap());
        assert!(buckets.take(&rule, at(0), 2).is_err(), "three of four are gone");
        assert!(buckets.take(&rule, at(0), 1).is_ok());
    });
}

/// Loom's words come to life when first read, which one thread must do for all.
fn full() -> Arc<SharedBuckets> {
    let buckets = Arc::new(SharedBuckets::new());
    assert!(!format!("{buckets:?}").is_empty());
    buckets
}

fn take(buckets: &Arc<SharedBuckets>, rule: LimitRule, now: Instant) -> JoinHandle<bool> {
    let buckets = Arc::clone(buckets);
    thread::spawn(move || buckets.take(&rule, now, 0).is_ok())
}

const fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

const ONE: LimitRule = LimitRule::requests(1);
const TWO: LimitRule = LimitRule::requests(2);
/// When the hot word that was written after five seconds looks as if half a minute were missing.
const COME_ROUND: Instant = at(5 + 60 + 268 - 30);

/// Runs `run` in every order with up to three preemptions, or `LOOM_MAX_PREEMPTIONS` if that is less.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(model.preemption_bound.unwrap_or(3).min(3));
    model.check(run);
}
