//! What a run remembers of its failures: those since an attempt last began alone.

mod common;

use core::time::Duration;

use steadfast::policy::{Attempt, ByError, Leave, Next, Run};
use steadfast::{
    Budget, BudgetRule, Bulkhead, Class, Classify, Error, Policy, Reason, Retry, Verdict,
};

use common::{at, granted, zero};

/// A failure that is retried, one that is not, one that is once, and one that asks for ten seconds.
const PLAIN: Verdict = Verdict::of(Class::Transient);
const HOPELESS: Verdict = Verdict::of(Class::Permanent);
const BILLED: Verdict = Verdict::of(Class::Timeout).retry(Retry::Once);
const ASKING: Verdict = Verdict::of(Class::RateLimited).not_before(Duration::from_secs(10));

#[test]
fn what_one_failure_asked_for_is_not_said_of_the_next() {
    let policy = Policy::new().attempts(2);
    let mut run = policy.start(at(0), 0);
    let first = granted(run.attempt(at(0)).next);
    assert!(matches!(settle(&mut run, first, 0, ASKING), Next::Retry(again) if again == at(10)));
    let second = granted(run.attempt(at(10)).next);
    let error = done(settle(&mut run, second, 11, PLAIN));
    assert_eq!((error.stopped, error.retry_at), (Reason::Attempts, None));
}

#[test]
fn a_hopeless_failure_holds_while_attempts_overlap() {
    let policy = Policy::new().attempts(9);
    let mut run = policy.start(at(0), 0);
    let (first, second) = two(&mut run, 0);
    assert!(matches!(settle(&mut run, first, 1, HOPELESS), Next::Pending));
    assert!(matches!(run.attempt(at(1)).next, Leave::NotNow), "no other beside the second");
    assert_eq!(done(settle(&mut run, second, 2, PLAIN)).stopped, Reason::Class);
}

#[test]
fn a_failure_that_allows_one_retry_allows_one_while_attempts_overlap() {
    let policy = Policy::new().attempts(9);
    let mut run = policy.start(at(0), 0);
    let (first, second) = two(&mut run, 0);
    assert!(matches!(settle(&mut run, first, 1, BILLED), Next::Pending));
    assert!(matches!(run.attempt(at(1)).next, Leave::NotNow));
    assert!(matches!(settle(&mut run, second, 2, PLAIN), Next::Retry(_)));
    let third = granted(run.attempt(at(3)).next);
    assert_eq!(done(settle(&mut run, third, 4, BILLED)).stopped, Reason::Class);
}

#[test]
fn nobody_retries_again_beside_a_failure_that_allowed_one_retry() {
    let policy = Policy::new().attempts(9);
    let mut run = policy.start(at(0), 0);
    let first = granted(run.attempt(at(0)).next);
    assert!(matches!(settle(&mut run, first, 1, BILLED), Next::Retry(_)));
    let (second, third) = two(&mut run, 2);
    assert!(matches!(settle(&mut run, second, 3, BILLED), Next::Pending));
    assert_eq!(done(settle(&mut run, third, 4, PLAIN)).stopped, Reason::Class);
}

#[test]
fn a_wait_asked_for_holds_while_attempts_overlap() {
    let policy = Policy::new().attempts(9);
    let mut run = policy.start(at(0), 0);
    let (first, second) = two(&mut run, 0);
    assert!(matches!(settle(&mut run, first, 1, ASKING), Next::Pending));
    for second in [1, 10] {
        assert!(matches!(run.attempt(at(second)).next, Leave::NotNow), "{second}");
    }
    let third = granted(run.attempt(at(11)).next);
    assert!(matches!(settle(&mut run, second, 2, PLAIN), Next::Pending));
    assert!(matches!(settle(&mut run, third, 3, PLAIN), Next::Retry(again) if again == at(11)));
}

#[test]
fn another_goes_beside_the_second_once_the_first_has_failed_for_the_moment() {
    let policy = Policy::new().attempts(9);
    let mut run = policy.start(at(0), 0);
    let (first, second) = two(&mut run, 0);
    assert!(matches!(settle(&mut run, first, 1, PLAIN), Next::Pending));
    let third = granted(run.attempt(at(1)).next);
    assert!(matches!(settle(&mut run, second, 2, PLAIN), Next::Pending));
    assert!(matches!(settle(&mut run, third, 3, PLAIN), Next::Retry(again) if again == at(3)));
}

#[test]
fn after_the_last_one_under_way_is_taken_back_a_failure_beside_it_decides() {
    for (verdict, reason, retry_at) in
        [(HOPELESS, Reason::Class, None), (ASKING, Reason::AskedWait, Some(at(11)))]
    {
        let policy = Policy::new().attempts(9);
        let mut run = policy.start(at(0), 0);
        let (first, second) = two(&mut run, 0);
        assert!(matches!(settle(&mut run, first, 1, verdict), Next::Pending));
        run.cancel(second);
        let Leave::Refused(error) = run.attempt(at(2)).next else { panic!("{reason:?}") };
        assert_eq!((error.stopped, error.retry_at, error.attempts), (reason, retry_at, 2));
        assert_eq!(error.last.map(|Failure(last)| last), Some(verdict));
        assert!(matches!(run.attempt(at(20)).next, Leave::NotNow), "it is over");
    }
}

#[test]
fn after_the_last_one_under_way_is_taken_back_a_failure_beside_it_is_paid_for_once() {
    let budget = Budget::with_rule(BudgetRule::new(9, 0, Duration::ZERO));
    let policy = Policy::new().attempts(9).budget(&budget);
    let mut run = policy.start(at(0), 0);
    let (first, second) = two(&mut run, 0);
    assert_eq!(budget.tokens(), 8, "the second's");
    assert!(matches!(settle(&mut run, first, 1, PLAIN), Next::Pending));
    run.cancel(second);
    let third = granted(run.attempt(at(2)).next);
    assert_eq!(budget.tokens(), 7, "the failure's");
    run.cancel(third);
    let (fourth, fifth) = two(&mut run, 2);
    assert_eq!(budget.tokens(), 6, "nothing failed since: the fifth's");
    assert!(matches!(settle(&mut run, fourth, 3, PLAIN), Next::Pending));
    run.cancel(fifth);
    while budget.withdraw(at(3)) {}
    let Leave::Refused(error) = run.attempt(at(3)).next else { panic!("it is not paid") };
    assert_eq!(error.stopped, Reason::Budget);
}

#[test]
fn a_second_attempt_that_is_not_made_costs_no_token() {
    let (budget, bulkhead) =
        (Budget::with_rule(BudgetRule::new(10, 0, Duration::ZERO)), Bulkhead::new(1));
    let policy = Policy::new().attempts(9).budget(&budget).bulkhead(&bulkhead);
    let mut run = policy.start::<Failure>(at(0), 0);
    let _first = granted(run.attempt(at(0)).next);
    for _ in 0..20 {
        assert!(matches!(run.attempt(at(1)).next, Leave::NotNow));
    }
    assert_eq!(budget.tokens(), 10);
    // Nor does one that is not paid.
    while budget.withdraw(at(1)) {}
    let left = budget.tokens();
    let policy = Policy::new().attempts(9).budget(&budget);
    let mut run = policy.start::<Failure>(at(0), 0);
    let _first = granted(run.attempt(at(0)).next);
    assert!(matches!(run.attempt(at(1)).next, Leave::NotNow));
    assert_eq!((budget.tokens(), left), (5, 5));
}

#[test]
fn an_attempt_that_begins_alone_begins_without_the_past() {
    let policy = Policy::new().attempts(9);
    let mut run = policy.start(at(0), 0);
    let (first, second) = two(&mut run, 0);
    assert!(matches!(settle(&mut run, first, 1, ASKING), Next::Pending));
    run.cancel(second);
    let third = granted(run.attempt(at(11)).next);
    assert!(matches!(settle(&mut run, third, 12, PLAIN), Next::Retry(again) if again == at(12)));
}

/// An error that is its own verdict.
#[derive(Clone, Copy, Debug)]
struct Failure(Verdict);

impl Classify for Failure {
    fn verdict(&self) -> Verdict {
        self.0
    }
}

/// Two attempts at once.
fn two<'p>(run: &mut Run<'p, Failure, ByError>, secs: u64) -> (Attempt<'p>, Attempt<'p>) {
    (granted(run.attempt(at(secs)).next), granted(run.attempt(at(secs)).next))
}

fn settle<'p>(
    run: &mut Run<'p, Failure, ByError>,
    attempt: Attempt<'p>,
    secs: u64,
    verdict: Verdict,
) -> Next<u8, Failure> {
    run.settle(attempt, at(secs), Some(Err(Failure(verdict))), zero).next
}

fn done(next: Next<u8, Failure>) -> Error<Failure> {
    match next {
        Next::Done(Err(error)) => error,
        other => panic!("not given up: {other:?}"),
    }
}
