//! Waits of a device that counts its wake-ups: which are waited for, which are paid, and when not.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use core::cell::{Cell, RefCell};
use core::future::ready;
use core::time::Duration;
use std::sync::Mutex;

use steadfast::policy::{Next, Pace, Stage};
use steadfast::state::COUNT_ONLY;
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Class, Classifier, Classify as _, Clock as _, Error,
    Event, Frugal, Instant, Jitter, ManualClock, Metrics, Policy, Reason, Retry, Trip, Verdict,
    Wait,
};

use common::{Fault, at, fault, granted, millis, secs, zero};

const FAILED: Verdict = Verdict::of(Class::Transient);
const HOUR: Duration = secs(3600);
/// A retry 2 s after each failure.
const POLICY: Policy<'_> = Policy::new().attempts(3).backoff(Backoff::constant(secs(2)));

/// The application wakes up each 10 s.
const fn each_ten_seconds(earliest: Instant) -> Option<Instant> {
    Some(Instant::from_micros(earliest.as_micros().next_multiple_of(10_000_000)))
}

/// At which seconds the attempts at what fails are made, and what comes of them.
fn attempts(policy: Policy<'_>, clock: impl Wait) -> (Vec<u64>, Error<Fault>) {
    let mut made = Vec::new();
    let error = policy.execute_blocking(&clock, |_| {
        made.push(clock.now().since(Instant::ORIGIN).as_secs());
        Err::<u8, _>(fault(Class::Transient))
    });
    (made, error.unwrap_err())
}

// --- Alignment ------------------------------------------------------------------------------------

#[test]
fn a_retry_waits_for_the_application_s_next_wake_up_and_tells_how_long() {
    let waits = Mutex::new(Vec::new());
    let observer = |event: &Event| {
        if let Event::Retry { wait, .. } = event {
            waits.lock().unwrap().push(*wait);
        }
    };
    let clock = ManualClock::new();
    let frugal = Frugal::new(&clock).aligned(each_ten_seconds, secs(10));
    clock.advance(secs(3));
    let (made, _) = attempts(POLICY.observer(&observer), &frugal);
    assert_eq!(made, [3, 10, 20]);
    assert_eq!(*waits.lock().unwrap(), [secs(7), secs(10)]);
}

#[test]
fn every_driver_waits_for_it_and_pays() {
    for driver in 0..4 {
        let (clock, made) = (ManualClock::new(), RefCell::new(Vec::new()));
        // After the failure at 10 s there is none left.
        let once = |earliest| each_ten_seconds(earliest).filter(|next| *next <= at(10));
        let frugal = Frugal::new(&clock).wakes_per_hour(0).aligned(once, secs(10));
        let fails = || {
            made.borrow_mut().push(clock.now());
            Err::<u8, _>(fault(Class::Transient))
        };
        let result = match driver {
            0 => clock.block_on(POLICY.execute(&frugal, || ready(fails()))),
            1 => clock.block_on(POLICY.execute_mut(&frugal, async || fails())),
            2 => POLICY.execute_blocking(&frugal, |_| fails()),
            _ => {
                let mut run = POLICY.start(clock.now(), 0);
                loop {
                    let attempt = granted(run.attempt(clock.now()).next);
                    let pace = (zero, &frugal);
                    match run.settle(attempt, clock.now(), Some(fails()), pace).next {
                        Next::Retry(at) => clock.wait_until(at),
                        next => break Err(given_up(next)),
                    }
                }
            }
        };
        assert_eq!(*made.borrow(), [at(0), at(10)], "driver {driver}");
        assert_eq!(result.unwrap_err().stopped, Reason::Budget, "driver {driver}");
    }
}

#[test]
fn no_wait_is_shorter_than_the_service_asked() {
    let asked = Verdict::of(Class::RateLimited).not_before(secs(12));
    let policy = POLICY.classify(move |_: &Fault| asked);
    let clock = ManualClock::new();
    let frugal = Frugal::new(&clock).aligned(each_ten_seconds, secs(10));
    assert_eq!(after_a_failure(policy, (zero, &frugal)), Ok(at(20)));
    // 12 s after 1 s, whatever is said of wake-ups before that.
    for wake_up in [None, Some(at(2)), Some(at(13))] {
        let frugal = Frugal::new(&clock).aligned(|_| wake_up, secs(10));
        assert_eq!(after_a_failure(policy, (zero, &frugal)), Ok(at(13)), "{wake_up:?}");
    }
}

#[test]
fn nobody_s_wake_up_comes_before_the_earliest_instant() {
    let pace = Told::to_wake_up(at(2));
    assert_eq!(after_a_failure(POLICY, &pace), Ok(at(3)));
    assert_eq!(pace.paid.take(), [(at(1), at(3))], "that is the wake-up there is");
}

#[test]
fn a_wake_up_that_would_lose_the_retry_is_not_waited_for() {
    let policy = POLICY.attempt_timeout(secs(5));
    for (policy, expected) in [
        (policy.retry_window(secs(10)), Ok(at(10))),
        (policy.retry_window(millis(9_999)), Ok(at(3))),
        (policy.retry_window(secs(3)), Ok(at(3))),
        (policy.retry_window(millis(2_999)), Err(Reason::Window)),
        (policy.deadline(secs(15)), Ok(at(10))),
        // The attempt would have less than its 5 s.
        (policy.deadline(millis(14_999)), Ok(at(3))),
        (policy.deadline(secs(10)), Ok(at(3))),
        (policy.deadline(millis(3_001)), Ok(at(3))),
        (policy.deadline(secs(3)), Err(Reason::Deadline)),
        // It would have what is left, and that would be less.
        (POLICY.deadline(HOUR), Ok(at(3))),
    ] {
        let pace = Told::to_wake_up(at(10));
        assert_eq!(after_a_failure(policy, &pace), expected, "{policy:?}");
        let paid = expected.map(|until| (at(1), until));
        assert_eq!(pace.paid.take(), Vec::from_iter(paid), "{policy:?}");
    }
}

#[test]
fn a_wake_up_that_is_too_far_is_not_waited_for() {
    let clock = ManualClock::new();
    for (at_most, expected) in [(secs(7), at(10)), (millis(6_999), at(3)), (secs(0), at(3))] {
        let frugal = Frugal::new(&clock).aligned(each_ten_seconds, at_most);
        assert_eq!(after_a_failure(POLICY, (zero, &frugal)), Ok(expected), "{at_most:?}");
    }
}

#[test]
fn a_wake_up_is_waited_for_until_the_breaker_admits() {
    let breaker = Breaker::new(Trip::after(1), secs(5));
    let policy = POLICY.breaker(&breaker);
    let closed_again = Told::to_wake_up(at(10));
    assert_eq!(after_a_failure(policy, &closed_again), Ok(at(10)), "it opened until 6 s");
    breaker.reset();
    let still_open = Told::to_wake_up(at(5));
    assert_eq!(after_a_failure(policy, &still_open), Err(Reason::BreakerOpen));
    assert_eq!(still_open.paid.take(), []);
}

#[test]
fn jitter_does_not_grow_by_what_is_waited_for_besides() {
    let jitter = Jitter::Decorrelated; // up to three times the last wait
    let backoff = Backoff::linear(secs(1), secs(1), secs(1000)).jitter(jitter);
    let policy = Policy::new().attempts(4).backoff(backoff);
    let waits = |more| {
        let waits = RefCell::new(Vec::new());
        let (mut run, mut now) = (policy.start(at(0), 0), at(0));
        for _ in 0..3 {
            let attempt = granted(run.attempt(now).next);
            let failed = Some(Err::<u8, _>(fault(Class::Transient)));
            let pace = Longest { waits: &waits, now, more };
            let Next::Retry(at) = run.settle(attempt, now, failed, pace).next else {
                panic!("no retry")
            };
            assert_eq!(at.since(now), waits.borrow().last().unwrap().saturating_add(more));
            now = at;
        }
        waits.into_inner()
    };
    let own = waits(secs(0));
    assert!(own[0] == secs(1) && own[1] > millis(2_999) && own[2] > millis(8_999), "{own:?}");
    assert_eq!(waits(secs(50)), own);
}

// --- Which retries take a wake-up -----------------------------------------------------------------

#[test]
fn a_retry_without_a_wait_takes_no_wake_up() {
    let pace = Told { broke: true, ..Told::to_wake_up(at(10)) };
    let policy = POLICY.backoff(Backoff::constant(secs(0)));
    assert_eq!(after_a_failure(policy, &pace), Ok(at(1)));
    assert_eq!((pace.asked.get(), pace.paid.take()), (0, vec![]));
}

#[test]
fn an_attempt_beside_another_takes_no_wake_up() {
    let pace = Told { broke: true, ..Told::to_wake_up(at(10)) };
    let mut run = POLICY.start(at(0), 0);
    let first = granted(run.attempt(at(0)).next);
    let second = granted(run.attempt(at(1)).next);
    let failed = Some(Err::<u8, _>(fault(Class::Transient)));
    assert!(matches!(run.settle(first, at(2), failed, &pace).next, Next::Pending));
    assert_eq!((pace.asked.get(), pace.paid.take()), (0, vec![]));
    assert_eq!(given_up(run.settle(second, at(3), failed, &pace).next).stopped, Reason::Budget);
    assert_eq!((pace.asked.get(), pace.paid.take()), (1, vec![(at(3), at(10))]), "one retry");
}

#[test]
fn nothing_is_charged_for_a_retry_that_another_rule_refuses() {
    let open = Breaker::new(Trip::after(1), secs(60));
    let budget = Budget::with_rule(BudgetRule::new(1, 0, secs(0)));
    let never: fn(&Fault) -> Verdict = |_| FAILED.retry(Retry::Never);
    let asked: fn(&Fault) -> Verdict = |_| FAILED.not_before(secs(9));
    let yes = POLICY.classify(Fault::verdict as fn(&Fault) -> Verdict);
    for (policy, reason) in [
        (yes.classify(never), Reason::Class),
        (yes.attempts(1), Reason::Attempts),
        (yes.budget(&budget), Reason::Budget),
        (yes.retry_window(secs(2)), Reason::Window),
        (yes.deadline(secs(2)), Reason::Deadline),
        (yes.classify(asked).max_asked_wait(secs(8)), Reason::AskedWait),
        (yes.breaker(&open), Reason::BreakerOpen),
    ] {
        let pace = Told::default();
        assert_eq!(after_a_failure(policy, &pace), Err(reason));
        assert_eq!(pace.paid.take(), [], "{reason:?}");
    }
    let pace = Told::default();
    assert_eq!(after_a_failure(yes, &pace), Ok(at(3)));
    assert_eq!(pace.paid.take(), [(at(1), at(3))], "once, when all else holds");
}

// --- The budget of wake-ups -----------------------------------------------------------------------

#[test]
fn a_spent_wake_budget_refuses_says_so_and_counts() {
    let refused = Mutex::new(Vec::new());
    let observer = |event: &Event| {
        if matches!(event, Event::Refused { .. }) {
            refused.lock().unwrap().push(*event);
        }
    };
    let (clock, metrics) = (ManualClock::new(), Metrics::<COUNT_ONLY>::new());
    let tokens = Budget::with_rule(BudgetRule::new(10, 0, secs(0)));
    let frugal = Frugal::new(&clock).wakes_per_hour(1);
    let policy = POLICY.metrics(&metrics).budget(&tokens).observer(&observer);

    let (made, error) = attempts(policy, &frugal);
    assert_eq!((made, error.stopped, error.attempts), (vec![0, 2], Reason::Budget, 2));
    let (stage, reason) = (Stage::Retry, Reason::Budget);
    assert_eq!(*refused.lock().unwrap(), [Event::Refused { stage, reason, wait: None }]);
    assert_eq!(tokens.tokens(), 8, "each failure took its token, as ever");

    let books = metrics.snapshot();
    assert_eq!((books.refusals.budget, books.attempts.started), (1, 2));
    assert_eq!((books.attempts.failed, books.attempts.in_flight), (2, 0));
    assert_eq!((books.calls.started, books.calls.failed, books.calls.in_flight), (1, 1, 0));
}

#[test]
fn wake_ups_come_back_one_by_one_and_never_early() {
    let clock = ManualClock::new();
    for (wakes, part) in [(1, HOUR), (4, HOUR / 4), (60, secs(60)), (3600, secs(1))] {
        for start in [0, 5_000_000, 0x1234_5678_9abc, ERA * 3 + 16_383] {
            let frugal = Frugal::new(&clock).wakes_per_hour(wakes);
            let began = Instant::from_micros(start);
            let pays = |now: Instant| frugal.pay_for_wake_up(now, Instant::MAX);
            for n in 0..wakes {
                assert!(pays(began), "{n} of {wakes} in a row");
            }
            for n in 1..=3 {
                assert!(
                    !pays(began.after(part * n - micro())),
                    "number {n} of {wakes} from {start}"
                );
                assert!(pays(began.after((part + LATE) * n)), "number {n} of {wakes} from {start}");
            }
            let mut now = began.after((part + LATE) * 3);
            // Soon after an hour all are back, and no more than that; longer ago is no different.
            for later in [(part + LATE) * wakes.into(), HOUR * 24 * 365] {
                now = now.after(later);
                assert_eq!((0..=wakes).filter(|_| pays(now)).count(), usize::from(wakes));
            }
        }
    }
}

#[test]
fn what_is_refused_takes_nothing() {
    let clock = ManualClock::new();
    let frugal = Frugal::new(&clock).wakes_per_hour(1);
    let pays = |now| frugal.pay_for_wake_up(now, now.after(secs(1)));
    assert!(pays(at(0)));
    for now in 1..3600 {
        assert!(!pays(at(now)), "at {now} s");
    }
    assert!(pays(at(3601)));
}

#[test]
fn over_many_hours_no_more_wake_ups_are_paid_than_were_allowed() {
    let clock = ManualClock::new();
    for wakes in [0_u16, 1, 7, 60, 1000, 3600, u16::MAX] {
        let frugal = Frugal::new(&clock).wakes_per_hour(wakes);
        // Ten hours, and somebody wants to wake up thirty times a second.
        let paid = (0..36_000 * 30)
            .filter(|n| frugal.pay_for_wake_up(Instant::from_micros(n * 33_333), Instant::MAX))
            .count();
        let wakes = usize::from(wakes);
        assert!(paid <= 11 * wakes, "{paid} at {wakes} an hour");
        // Each takes up to 33 ms more to come back.
        assert!(paid * (3600 + wakes * 33 / 1000) >= 36_000 * wakes, "{paid} at {wakes} an hour");
    }
}

#[test]
fn what_is_owed_is_owed_still_when_coarse_time_begins_anew() {
    let clock = ManualClock::new();
    let frugal = Frugal::new(&clock).wakes_per_hour(1);
    let pays = |now: Instant| frugal.pay_for_wake_up(now, now.after(secs(1)));
    let eve = Instant::from_micros(ERA - 10_000_000);
    assert!(pays(Instant::from_micros(ERA / 2)) && pays(eve));
    assert!(!pays(eve) && !pays(eve.after(secs(10))) && !pays(eve.after(HOUR - micro())));
    assert!(pays(eve.after(secs(3601))));
}

#[test]
fn a_clock_that_steps_back_pays_no_more_and_never_wedges() {
    let clock = ManualClock::new();
    let frugal = Frugal::new(&clock).wakes_per_hour(1);
    let pays = |secs| frugal.pay_for_wake_up(at(secs), at(secs + 1));
    assert!(pays(100_000));
    assert!(!pays(99_999) && !pays(99_940), "another caller's reading, a minute older");
    assert!(pays(10), "a day back, nobody knows what is owed");
    assert!(!pays(11) && pays(3612));
}

#[test]
fn a_wake_up_of_the_application_costs_nothing() {
    let clock = ManualClock::new();
    let frugal = Frugal::new(&clock).aligned(each_ten_seconds, secs(7)).wakes_per_hour(1);
    // 10 s is too far from 2 s, which is paid; it is near 4 s; and 20 s is too far from 12 s.
    let (made, error) = attempts(POLICY.attempts(4), &frugal);
    assert_eq!((made, error.stopped), (vec![0, 2, 10], Reason::Budget));
}

#[test]
fn an_instant_at_which_the_application_wakes_up_costs_nothing_however_it_was_found() {
    let clock = ManualClock::new();
    let frugal = Frugal::new(&clock).wakes_per_hour(0).aligned(each_ten_seconds, secs(0));
    assert!(frugal.pay_for_wake_up(at(1), at(10)));
    assert!(!frugal.pay_for_wake_up(at(1), at(11)));
    let every = POLICY.attempts(3).backoff(Backoff::constant(secs(10)));
    assert_eq!(attempts(every, &frugal).0, [0, 10, 20]);
}

#[test]
fn a_clock_that_knows_its_energy_is_asked_for_what_nothing_else_was_said() {
    let clock = ManualClock::new();
    let inner = Frugal::new(&clock).wakes_per_hour(0).aligned(each_ten_seconds, secs(10));
    let outer = Frugal::new(&inner);
    assert_eq!(outer.next_wake_up(at(3)), at(10));
    assert!(outer.pay_for_wake_up(at(1), at(10)) && !outer.pay_for_wake_up(at(1), at(3)));
    let other = |earliest: Instant| Some(earliest.after(secs(1)));
    let outer = Frugal::new(&inner).aligned(other, secs(1));
    assert_eq!(outer.next_wake_up(at(3)), at(4));
    let past = Frugal::new(&inner).aligned(|_| Some(at(2)), secs(1));
    assert_eq!(past.next_wake_up(at(3)), at(10));
}

// --- What the tests share -------------------------------------------------------------------------

/// Answers what it is told to, and writes down what it is asked.
#[derive(Default)]
struct Told {
    wake_up: Option<Instant>,
    broke: bool,
    asked: Cell<u32>,
    paid: RefCell<Vec<(Instant, Instant)>>,
}

impl Told {
    fn to_wake_up(at: Instant) -> Self {
        Self { wake_up: Some(at), ..Self::default() }
    }
}

impl Pace for &Told {
    fn random(&self) -> u32 {
        0
    }

    fn next_wake_up(&self, earliest: Instant) -> Instant {
        self.asked.set(self.asked.get() + 1);
        self.wake_up.unwrap_or(earliest)
    }

    fn pay_for_wake_up(&self, now: Instant, at: Instant) -> bool {
        self.paid.borrow_mut().push((now, at));
        !self.broke
    }
}

/// The longest waits, each followed by so much more.
struct Longest<'w> {
    waits: &'w RefCell<Vec<Duration>>,
    now: Instant,
    more: Duration,
}

impl Pace for Longest<'_> {
    fn random(&self) -> u32 {
        u32::MAX
    }

    fn next_wake_up(&self, earliest: Instant) -> Instant {
        self.waits.borrow_mut().push(earliest.since(self.now));
        earliest.after(self.more)
    }
}

/// What follows a first attempt that began at the origin and failed at 1 s.
fn after_a_failure<C>(policy: Policy<'_, C>, pace: impl Pace) -> Result<Instant, Reason>
where
    C: Classifier<Fault>,
{
    let mut run = policy.start(at(0), 0);
    let attempt = granted(run.attempt(at(0)).next);
    let failed = Some(Err::<u8, _>(fault(Class::Transient)));
    match run.settle(attempt, at(1), failed, pace).next {
        Next::Retry(at) => Ok(at),
        next => Err(given_up(next).stopped),
    }
}

fn given_up(next: Next<u8, Fault>) -> Error<Fault> {
    match next {
        Next::Done(Err(error)) => error,
        next => panic!("not given up: {next:?}"),
    }
}

const fn micro() -> Duration {
    Duration::from_micros(1)
}

/// How much later than its part of an hour a wake-up comes back, at most.
const LATE: Duration = millis(33);
/// After this many microseconds coarse time begins anew.
const ERA: u64 = 1 << 46;
