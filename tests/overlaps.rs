//! What a run remembers of its failures: those since an attempt last began alone.

mod common;

use core::time::Duration;

use steadfast::policy::{Attempt, ByError, Next, Run};
use steadfast::{Class, Classify, Error, Policy, Reason, Retry, Verdict};

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
    let (first, second) = (granted(run.attempt(at(0)).next), granted(run.attempt(at(0)).next));
    assert!(matches!(settle(&mut run, first, 1, HOPELESS), Next::Pending));
    // Another one, while the second is under way.
    let third = granted(run.attempt(at(1)).next);
    assert!(matches!(settle(&mut run, second, 2, PLAIN), Next::Pending));
    assert_eq!(done(settle(&mut run, third, 3, PLAIN)).stopped, Reason::Class);
}

#[test]
fn a_failure_that_allows_one_retry_allows_one_while_attempts_overlap() {
    let policy = Policy::new().attempts(9);
    let mut run = policy.start(at(0), 0);
    let (first, second) = (granted(run.attempt(at(0)).next), granted(run.attempt(at(0)).next));
    assert!(matches!(settle(&mut run, first, 1, BILLED), Next::Pending));
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
    let (second, third) = (granted(run.attempt(at(2)).next), granted(run.attempt(at(2)).next));
    assert!(matches!(settle(&mut run, second, 3, BILLED), Next::Pending));
    assert_eq!(done(settle(&mut run, third, 4, PLAIN)).stopped, Reason::Class);
}

#[test]
fn a_wait_asked_for_holds_while_attempts_overlap() {
    let policy = Policy::new().attempts(9);
    let mut run = policy.start(at(0), 0);
    let (first, second) = (granted(run.attempt(at(0)).next), granted(run.attempt(at(0)).next));
    assert!(matches!(settle(&mut run, first, 1, ASKING), Next::Pending));
    let third = granted(run.attempt(at(1)).next);
    assert!(matches!(settle(&mut run, second, 2, PLAIN), Next::Pending));
    assert!(matches!(settle(&mut run, third, 3, PLAIN), Next::Retry(again) if again == at(11)));
}

#[test]
fn an_attempt_that_begins_alone_begins_without_the_past() {
    let policy = Policy::new().attempts(9);
    let mut run = policy.start(at(0), 0);
    let (first, second) = (granted(run.attempt(at(0)).next), granted(run.attempt(at(0)).next));
    assert!(matches!(settle(&mut run, first, 1, HOPELESS), Next::Pending));
    run.cancel(second);
    let third = granted(run.attempt(at(2)).next);
    assert!(matches!(settle(&mut run, third, 3, PLAIN), Next::Retry(again) if again == at(3)));
}

/// An error that is its own verdict.
#[derive(Clone, Copy, Debug)]
struct Failure(Verdict);

impl Classify for Failure {
    fn verdict(&self) -> Verdict {
        self.0
    }
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
