//! Where the conditions of a run meet their limits.

mod common;

use core::time::Duration;

use steadfast::orchestrator::{Overrides, Registration};
use steadfast::policy::{Class, Leave, Next, Stage, Verdict};
use steadfast::state::{Circuit, Mode, Outcome, State};
use steadfast::{
    Backoff, Breaker, Event, Instant, Jitter, Orchestrator, Policy, Reason, Strategy, Trip,
};

use common::{Fault, at, fault, granted, secs, zero};

#[test]
fn the_retry_window_is_for_retries_and_not_for_a_first_attempt_that_comes_late() {
    let policy = Policy::new().retry_window(secs(1));
    let mut run = policy.start::<Fault>(at(0), 0);
    assert_eq!(granted(run.attempt(at(5)).next).made().attempt, 1);
}

#[test]
fn nobody_says_when_a_breaker_that_is_forced_open_will_admit() {
    let breaker = Breaker::new(Trip::after(1), secs(60));
    breaker.force(at(0), Mode::ForcedOpen);
    let policy = Policy::new().breaker(&breaker);
    let mut run = policy.start::<Fault>(at(1), 0);
    let step = run.attempt(at(1));
    let Leave::Refused(error) = step.next else { panic!("it admits") };
    assert_eq!((error.stopped, error.retry_at), (Reason::BreakerOpen, None));
    let refused = Event::Refused { stage: Stage::Breaker, reason: Reason::BreakerOpen, wait: None };
    assert_eq!(step.events.iter().collect::<Vec<_>>(), [&refused]);
}

#[test]
fn a_limit_that_the_caller_takes_away_is_told_as_none() {
    let table = Orchestrator::<1>::new().operation("op", Registration::by(Strategy::Balanced));
    let none = Duration::MAX;
    let limits = Overrides::new()
        .retry_window(none)
        .attempt_timeout(none)
        .deadline(none)
        .max_asked_wait(none);
    let told = table.get("op").unwrap().with(limits).settings();
    assert_eq!([told.window, told.attempt_timeout, told.deadline, told.max_asked_wait], [none; 4]);
}

#[test]
fn a_longer_wait_than_allowed_is_one_where_the_clock_ends_before_it() {
    let now = Instant::from_micros(u64::MAX - 1_000_000);
    let asks = |_: &Fault| Verdict::of(Class::RateLimited).not_before(secs(60));
    let policy = Policy::new().attempts(3).max_asked_wait(secs(30)).classify(asks);
    let mut run = policy.start(now, 0);
    let attempt = granted(run.attempt(now).next);
    let failed = Some(Err::<u8, _>(fault(Class::RateLimited)));
    let Next::Done(Err(error)) = run.settle(attempt, now, failed, zero).next else {
        panic!("it goes on")
    };
    assert_eq!((error.stopped, error.retry_at), (Reason::AskedWait, None));
}

#[test]
fn an_execution_waits_as_its_back_off_says_whatever_grows_and_is_left_to_chance() {
    let growths = [
        Backoff::constant(secs(3)),
        Backoff::linear(secs(2), secs(1), secs(60)),
        Backoff::exponential(secs(1), secs(1), secs(60)),
    ];
    let jitters = [
        Jitter::None,
        Jitter::Additive(secs(5)),
        Jitter::Full,
        Jitter::Equal,
        Jitter::Decorrelated,
    ];
    let all = growths.iter().flat_map(|growth| jitters.map(|jitter| growth.jitter(jitter)));
    for backoff in all {
        for asked in [None, Some(secs(1)), Some(secs(7))] {
            let verdict = Verdict::of(Class::Transient);
            let verdict = asked.map_or(verdict, |asked| verdict.not_before(asked));
            let policy = Policy::new().attempts(5).backoff(backoff).classify(|_: &Fault| verdict);
            let (mut now, mut before) = (at(0), Duration::ZERO);
            let mut run = policy.start(now, 0);
            for failed in 1..5 {
                let attempt = granted(run.attempt(now).next);
                let error = Some(Err::<u8, _>(fault(Class::Transient)));
                let random = 0x9000_0000 + failed;
                let Next::Retry(next) = run.settle(attempt, now, error, || random).next else {
                    panic!("{failed} failed, {backoff:?}")
                };
                let wait = match asked {
                    None => backoff.wait(failed, before, random),
                    Some(asked) => backoff.wait_asked(asked, failed, before, random),
                };
                assert_eq!(next.since(now), wait, "{failed} failed, {asked:?} asked, {backoff:?}");
                (now, before) = (next, wait);
            }
        }
    }
}

#[test]
fn a_probe_that_another_policy_is_given_goes_back_where_that_has_no_breaker() {
    let breaker = Breaker::new(Trip::after(1), secs(1));
    let _ = breaker.try_acquire(at(0)).unwrap().settle(at(0), Outcome::Failure);
    let (mine, other) = (Policy::new().retry_all().breaker(&breaker), Policy::new().retry_all());
    let probe = granted(mine.start::<Fault>(at(2), 0).attempt(at(2)).next);
    assert!(breaker.try_acquire(at(2)).is_err());
    let failed = Some(Err::<u8, _>(fault(Class::Transient)));
    let _ = other.start(at(2), 0).settle(probe, at(2), failed, zero);
    assert_eq!(breaker.state(at(2)), State::HalfOpen);
    assert!(breaker.try_acquire(at(2)).is_ok());
}

#[test]
fn a_breaker_is_not_told_of_an_attempt_by_another_breakers_rule() {
    let (patient, strict) =
        (Breaker::new(Trip::after(20), secs(1)), Breaker::new(Trip::after(1), secs(1)));
    let mine = Policy::new().retry_all().breaker(&patient);
    let other = Policy::new().retry_all().breaker(&strict);
    let attempt = granted(mine.start::<Fault>(at(0), 0).attempt(at(0)).next);
    let failed = Some(Err::<u8, _>(fault(Class::Transient)));
    let step = other.start(at(0), 0).settle(attempt, at(0), failed, zero);
    assert!(step.events.iter().all(|event| !matches!(event, Event::Opened)));
    assert_eq!([patient.circuit(), strict.circuit()], [Circuit::CLOSED; 2]);
}

#[test]
fn a_verdict_says_what_wait_the_service_asked_for_as_long_as_microseconds_go() {
    let verdict = Verdict::of(Class::RateLimited);
    assert_eq!(verdict.asked_wait(), None);
    for (asked, told) in [
        (Duration::ZERO, Duration::ZERO),
        (Duration::from_nanos(1), Duration::from_micros(1)),
        (secs(30), secs(30)),
        (Duration::MAX, Duration::MAX),
    ] {
        assert_eq!(verdict.not_before(asked).asked_wait(), Some(told));
    }
}

#[test]
fn a_verdict_shows_the_wait_that_it_was_asked_for_as_a_length_of_time() {
    let limited = Verdict::of(Class::RateLimited);
    let shown = |wait| format!("{:?}", limited.not_before(wait));
    assert_eq!(
        shown(Duration::from_micros(1_500)),
        "Verdict { class: RateLimited, retry: Yes, asked_wait: Some(1.5ms) }"
    );
    let longest = format!("asked_wait: Some({:?})", Duration::MAX);
    assert!(shown(Duration::MAX).contains(&longest), "{}", shown(Duration::MAX));
    assert!(format!("{limited:?}").ends_with("asked_wait: None }"), "{limited:?}");
}
