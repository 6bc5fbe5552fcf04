//! What the metrics say is what happened: at any moment, after any mixture, by any thread.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_types)]

use core::cell::{Cell, RefCell};
use core::future::{Future, pending};
use core::pin::Pin;
use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{Relaxed, SeqCst},
};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use steadfast::policy::Leave;
use steadfast::state::{
    Attempts, BudgetRule, COARSE, COARSE_BOTH, COUNT_ONLY, Calls, FINE, FINE_BOTH, Meter,
    Monotonic, Refusals, ResetBusy, Slot, Snapshot, Tally,
};
use steadfast::{
    Backoff, Breaker, Budget, Bulkhead, Class, Classify, Clock, Error, Instant, ManualClock,
    ManualSleep, Metrics, OrElseError, Policy, Reason, Sleep as _, Trip, Verdict, Wait,
};

// --- Any mixture ----------------------------------------------------------------------------------

/// What happens next to a few calls that run side by side.
#[derive(Clone, Debug)]
enum Step {
    /// Begins a call in a place, dropping what is there.
    Begin(usize, Vec<Script>, Fallback),
    /// Drops what is there.
    Drop(usize),
    /// Moves the clock, and polls each call.
    Advance(u64),
    /// Takes all free slots of the bulkhead, or gives them back.
    Crowd(bool),
    Reset,
}

/// What an attempt does.
#[derive(Clone, Copy, Debug)]
enum Script {
    Ends(u64, Option<Class>),
    Hangs,
}

#[derive(Clone, Copy, Debug)]
enum Fallback {
    None,
    Answers,
    AnswersAfter(u64),
    Stands,
    Fails,
}

/// What happened, counted by whoever made it happen.
#[derive(Clone, Copy, Debug, Default)]
struct Model {
    calls: Calls,
    attempts: Attempts,
    retries: u64,
    refusals: Refusals,
}

fn step() -> impl Strategy<Value = Step> {
    let class = prop_oneof![
        Just(Class::Transient),
        Just(Class::Overloaded),
        Just(Class::RateLimited),
        Just(Class::Permanent),
    ];
    let millis = prop_oneof![Just(0), 1_u64..7_000];
    let script = prop_oneof![
        3 => (millis.clone(), proptest::option::of(class)).prop_map(|(t, c)| Script::Ends(t, c)),
        1 => Just(Script::Hangs),
    ];
    let fallback = prop_oneof![
        2 => Just(Fallback::None),
        1 => Just(Fallback::Answers),
        1 => (0_u64..5_000).prop_map(Fallback::AnswersAfter),
        1 => Just(Fallback::Stands),
        1 => Just(Fallback::Fails),
    ];
    prop_oneof![
        5 => (0..PLACES, vec(script, 1..4), fallback).prop_map(|(p, s, f)| Step::Begin(p, s, f)),
        1 => (0..PLACES).prop_map(Step::Drop),
        5 => millis.prop_map(Step::Advance),
        1 => any::<bool>().prop_map(Step::Crowd),
        1 => Just(Step::Reset),
    ]
}

proptest! {
    #[test]
    fn at_any_moment_after_any_mixture_the_metrics_say_what_happened(steps in vec(step(), 1..60)) {
        let (clock, metrics) = (ManualClock::new(), Metrics::<COARSE, 2>::new());
        let (breaker, bulkhead) = (Breaker::new(Trip::after(4), secs(6)), Bulkhead::new(3));
        let budget = Budget::with_rule(BudgetRule::new(8, 500, secs(5)));
        let policy = Policy::new()
            .attempts(3)
            .attempt_timeout(secs(5))
            .deadline(secs(13))
            .retry_window(secs(9))
            .backoff(Backoff::constant(secs(2)))
            .max_asked_wait(secs(3))
            .breaker(&breaker)
            .bulkhead(&bulkhead)
            .budget(&budget)
            .metrics(&metrics);
        let model = RefCell::new(Model::default());
        let dropping = Cell::new(false);
        let world = World { clock: &clock, policy, model: &model, dropping: &dropping };
        let mut baseline = Model::default();
        let mut before = metrics.raw();
        let mut places: [Option<Running<'_>>; PLACES] = [const { None }; PLACES];
        let mut crowd: Vec<Slot<&Bulkhead>> = Vec::new();

        for step in steps {
            match step {
                Step::Begin(place, script, fallback) => {
                    world.drop_call(&mut places[place]);
                    places[place] = Some(world.begin(script, fallback));
                    world.poll(&mut places[place]);
                }
                Step::Drop(place) => world.drop_call(&mut places[place]),
                Step::Advance(millis) => {
                    clock.advance(Duration::from_millis(millis));
                    places.iter_mut().for_each(|call| world.poll(call));
                }
                Step::Crowd(true) => {
                    crowd.extend(core::iter::from_fn(|| bulkhead.try_acquire().ok()));
                }
                Step::Crowd(false) => crowd.clear(),
                Step::Reset => {
                    metrics.reset().unwrap();
                    baseline = *model.borrow();
                }
            }
            let (snapshot, raw, happened) = (metrics.snapshot(), metrics.raw(), *model.borrow());
            says(&raw, &happened)?;
            says(&snapshot, &happened.since(&baseline))?;
            adds_up(&snapshot)?;
            adds_up(&raw)?;
            never_goes_back(&before, &raw)?;
            before = raw;
        }
    }
}

/// Exactly the model's numbers.
fn says(snapshot: &Snapshot, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(snapshot.calls, model.calls);
    prop_assert_eq!(snapshot.attempts, model.attempts);
    prop_assert_eq!(snapshot.retries, model.retries);
    prop_assert_eq!(snapshot.refusals, model.refusals);
    let finished =
        model.calls.succeeded + model.calls.failed + model.calls.refused + model.calls.fell_back;
    let rate = (model.calls.succeeded * 10_000).checked_div(finished).map_or(0, |rate| rate as u32);
    prop_assert_eq!(snapshot.success_rate(), rate);
    let rest = if finished == 0 { 0 } else { 10_000 - rate };
    prop_assert_eq!(snapshot.failure_rate(), rest);
    Ok(())
}

/// The identities of both books, as whoever exports them would check them.
fn adds_up(snapshot: &Snapshot) -> Result<(), TestCaseError> {
    let Calls { started, succeeded, failed, refused, fell_back, cancelled, in_flight } =
        snapshot.calls;
    prop_assert_eq!(started, succeeded + failed + refused + fell_back + cancelled + in_flight);
    let Attempts { started, succeeded, failed, timed_out, cancelled, in_flight } =
        snapshot.attempts;
    prop_assert_eq!(started, succeeded + failed + timed_out + cancelled + in_flight);
    Ok(())
}

fn never_goes_back(before: &Snapshot, after: &Snapshot) -> Result<(), TestCaseError> {
    let (b, a) = (counters(before), counters(after));
    prop_assert!(b.iter().zip(&a).all(|(before, after)| before <= after), "{b:?} then {a:?}");
    Ok(())
}

/// Everything that only grows.
const fn counters(snapshot: &Snapshot) -> [u64; 20] {
    let Snapshot { calls, attempts, refusals, breaker, .. } = snapshot;
    [
        calls.started,
        calls.succeeded,
        calls.failed,
        calls.refused,
        calls.fell_back,
        calls.cancelled,
        attempts.started,
        attempts.failed,
        attempts.timed_out,
        attempts.cancelled,
        snapshot.retries,
        snapshot.slow,
        refusals.breaker_open,
        refusals.bulkhead_full,
        refusals.budget,
        refusals.window,
        refusals.deadline,
        refusals.asked_wait,
        breaker.opened,
        breaker.late_outcomes,
    ]
}

#[derive(Clone, Copy)]
struct World<'a> {
    clock: &'a ManualClock,
    policy: Policy<'a>,
    model: &'a RefCell<Model>,
    /// Whether it is the caller who drops what is dropped.
    dropping: &'a Cell<bool>,
}

/// How a call ended: `Err` has the number of its attempts.
type Ended = Result<u8, u32>;
type Running<'a> = Pin<Box<dyn Future<Output = Ended> + 'a>>;

impl<'a> World<'a> {
    fn begin(self, script: Vec<Script>, fallback: Fallback) -> Running<'a> {
        let mut model = self.model.borrow_mut();
        model.calls.started += 1;
        model.calls.in_flight += 1;
        drop(model);
        // The policy is copied into the future, which borrows from itself.
        Box::pin(async move {
            let (world, policy) = (self, self.policy);
            let mut number = 0;
            let operation = || {
                let mut model = world.model.borrow_mut();
                model.attempts.started += 1;
                model.attempts.in_flight += 1;
                model.retries += u64::from(number > 0);
                number += 1;
                world.attempt(script[(number - 1) % script.len()])
            };
            let given_up = |error: Error<Fault>| {
                world.count_refusal(error.stopped);
                error.attempts
            };
            type X = OrElseError<Fault, u32>;
            let answer = match fallback {
                Fallback::None => {
                    return policy.execute(world.clock, operation).await.map_err(given_up);
                }
                Fallback::Answers => {
                    let fallback = |error| {
                        given_up(error);
                        Ok::<_, X>(FALLBACK)
                    };
                    policy.execute_or_else(world.clock, operation, fallback).await
                }
                Fallback::AnswersAfter(millis) => {
                    let fallback = |error| {
                        given_up(error);
                        world.after(millis, Ok::<_, X>(FALLBACK))
                    };
                    policy.execute_or_else_async(world.clock, operation, fallback).await
                }
                Fallback::Stands => {
                    let fallback = |error| Err(OrElseError::GaveUp(error));
                    policy.execute_or_else(world.clock, operation, fallback).await
                }
                Fallback::Fails => {
                    let fallback = |error| Err(OrElseError::Fallback(given_up(error)));
                    policy.execute_or_else(world.clock, operation, fallback).await
                }
            };
            answer.map_err(|error| match error {
                OrElseError::GaveUp(error) => given_up(error),
                OrElseError::Fallback(attempts) => attempts,
            })
        })
    }

    fn attempt(self, script: Script) -> Attempting<'a> {
        let (millis, result) = match script {
            Script::Ends(millis, None) => (Some(millis), Ok(ANSWER)),
            Script::Ends(millis, Some(class)) => (Some(millis), Err(Fault(class))),
            Script::Hangs => (None, Ok(0)),
        };
        let sleep = millis.map(|millis| self.sleep(millis));
        Attempting { world: self, sleep, result, ended: false }
    }

    fn sleep(self, millis: u64) -> ManualSleep<'a> {
        self.clock.sleep_until(self.clock.now().after(Duration::from_millis(millis)))
    }

    fn after<T>(self, millis: u64, value: T) -> impl Future<Output = T> {
        let sleep = self.sleep(millis);
        async {
            sleep.await;
            value
        }
    }

    fn poll(self, call: &mut Option<Running<'a>>) {
        let Some(running) = call else { return };
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(ended) = running.as_mut().poll(&mut context) else { return };
        let mut model = self.model.borrow_mut();
        model.calls.in_flight -= 1;
        match ended {
            Ok(FALLBACK) => model.calls.fell_back += 1,
            Ok(_) => model.calls.succeeded += 1,
            Err(0) => model.calls.refused += 1,
            Err(_) => model.calls.failed += 1,
        }
        drop(model);
        *call = None;
    }

    fn drop_call(self, call: &mut Option<Running<'a>>) {
        if call.is_some() {
            let mut model = self.model.borrow_mut();
            model.calls.in_flight -= 1;
            model.calls.cancelled += 1;
        }
        self.dropping.set(true);
        *call = None;
        self.dropping.set(false);
    }

    fn count_refusal(self, reason: Reason) {
        let refusals = &mut self.model.borrow_mut().refusals;
        match reason {
            Reason::Class | Reason::Attempts => {}
            Reason::Budget => refusals.budget += 1,
            Reason::Window => refusals.window += 1,
            Reason::Deadline => refusals.deadline += 1,
            Reason::AskedWait => refusals.asked_wait += 1,
            Reason::BreakerOpen => refusals.breaker_open += 1,
            Reason::BulkheadFull => refusals.bulkhead_full += 1,
            other => panic!("nobody refuses for {other:?} here"),
        }
    }
}

/// An attempt that counts itself.
struct Attempting<'a> {
    world: World<'a>,
    sleep: Option<ManualSleep<'a>>,
    result: Result<u8, Fault>,
    ended: bool,
}

impl Future for Attempting<'_> {
    type Output = Result<u8, Fault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<u8, Fault>> {
        let Some(sleep) = &mut self.sleep else { return Poll::Pending };
        core::task::ready!(Pin::new(sleep).poll(context));
        self.ended = true;
        let attempts = &mut self.world.model.borrow_mut().attempts;
        attempts.in_flight -= 1;
        match self.result {
            Ok(_) => attempts.succeeded += 1,
            Err(_) => attempts.failed += 1,
        }
        Poll::Ready(self.result)
    }
}

impl Drop for Attempting<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let attempts = &mut self.world.model.borrow_mut().attempts;
        attempts.in_flight -= 1;
        match self.world.dropping.get() {
            true => attempts.cancelled += 1,
            false => attempts.timed_out += 1,
        }
    }
}

impl Model {
    /// What ended since, and what is in flight now.
    fn since(self, earlier: &Self) -> Self {
        let (c, a, r) = (self.calls, self.attempts, self.refusals);
        let (ec, ea, er) = (earlier.calls, earlier.attempts, earlier.refusals);
        let mut calls = Calls {
            started: 0,
            succeeded: c.succeeded - ec.succeeded,
            failed: c.failed - ec.failed,
            refused: c.refused - ec.refused,
            fell_back: c.fell_back - ec.fell_back,
            cancelled: c.cancelled - ec.cancelled,
            in_flight: c.in_flight,
        };
        // A call in flight at the reset is counted once, after it.
        calls.started = c.started - ec.started + ec.in_flight;
        let mut attempts = Attempts {
            started: 0,
            succeeded: a.succeeded - ea.succeeded,
            failed: a.failed - ea.failed,
            timed_out: a.timed_out - ea.timed_out,
            cancelled: a.cancelled - ea.cancelled,
            in_flight: a.in_flight,
        };
        attempts.started = a.started - ea.started + ea.in_flight;
        let mut refusals = Refusals::default();
        refusals.breaker_open = r.breaker_open - er.breaker_open;
        refusals.bulkhead_full = r.bulkhead_full - er.bulkhead_full;
        refusals.budget = r.budget - er.budget;
        refusals.window = r.window - er.window;
        refusals.deadline = r.deadline - er.deadline;
        refusals.asked_wait = r.asked_wait - er.asked_wait;
        Self { calls, attempts, refusals, retries: self.retries - earlier.retries }
    }
}

// --- Single facts ---------------------------------------------------------------------------------

#[test]
fn nothing_is_said_of_nothing() {
    let snapshot = Metrics::<FINE>::new().snapshot();
    assert_eq!((snapshot.success_rate(), snapshot.failure_rate()), (0, 0));
    assert_eq!(snapshot.calls, Calls::default());
    assert_eq!(snapshot.attempts, Attempts::default());
    assert_eq!((snapshot.last_success, snapshot.last_failure), (None, None));
    assert_eq!((snapshot.latency.p50, snapshot.latency.p99), (None, None));
}

#[test]
fn rates_are_hundredths_of_a_percent_of_the_calls_that_finished() {
    for (succeeded, failed, cancelled, success, failure) in [
        (1, 0, 0, 10_000, 0),
        (0, 1, 0, 0, 10_000),
        (1, 2, 0, 3_333, 6_667),
        (2, 1, 0, 6_666, 3_334),
        (1, 9_999, 0, 1, 9_999),
        (1, 0, 5, 10_000, 0),
        (0, 0, 5, 0, 0),
    ] {
        let (clock, metrics) = (ManualClock::new(), Metrics::<COUNT_ONLY>::new());
        let policy = Policy::new().metrics(&metrics);
        let make = |result| _ = policy.execute_blocking(&clock, |_| result);
        (0..succeeded).for_each(|_| make(Ok(ANSWER)));
        (0..failed).for_each(|_| make(Err(Fault(Class::Transient))));
        for _ in 0..cancelled {
            let mut run = policy.start::<Fault>(clock.now(), 0);
            assert!(matches!(run.attempt(clock.now()).next, Leave::Granted(_)));
        }
        let snapshot = metrics.snapshot();
        assert_eq!((snapshot.success_rate(), snapshot.failure_rate()), (success, failure));
        assert_eq!(snapshot.calls.cancelled, cancelled);
    }
}

#[test]
fn a_rate_of_more_calls_than_can_be_multiplied_is_the_same() {
    let mut snapshot = Metrics::<COUNT_ONLY>::new().snapshot();
    let mut rates = |succeeded, failed| {
        (snapshot.calls.succeeded, snapshot.calls.failed) = (succeeded, failed);
        (snapshot.success_rate(), snapshot.failure_rate())
    };
    let most = u64::MAX / 10_000;
    for many in [most, most + 1, u64::MAX / 4] {
        assert_eq!(rates(many, many), (5_000, 5_000), "{many}");
        assert_eq!(rates(many, many * 3), (2_500, 7_500), "{many}");
        assert_eq!(rates(many, 0), (10_000, 0), "{many}");
    }
}

#[test]
fn refused_and_fallen_back_calls_finished_without_success() {
    let (clock, metrics, bulkhead) =
        (ManualClock::new(), Metrics::<COUNT_ONLY>::new(), Bulkhead::new(1));
    let policy = Policy::new().metrics(&metrics).bulkhead(&bulkhead);
    assert_eq!(policy.execute_blocking(&clock, |_| Ok::<_, Fault>(ANSWER)), Ok(ANSWER));
    let _taken = bulkhead.try_acquire().unwrap();
    assert!(policy.execute_blocking(&clock, |_| Ok::<_, Fault>(ANSWER)).is_err());
    let answers = |_| Ok::<_, OrElseError<Fault, ()>>(FALLBACK);
    let fallback = policy.execute_blocking_or_else(&clock, |_| Ok(ANSWER), answers);
    assert_eq!(fallback, Ok(FALLBACK));
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.finished(), snapshot.success_rate()), (3, 3_333));
}

#[test]
fn a_reset_keeps_a_baseline_and_a_call_in_flight_is_counted_once_after_it() {
    let metrics = Metrics::<FINE>::new();
    let policy = Policy::new().attempts(2).metrics(&metrics);
    let ok = Some(Ok::<_, Fault>(ANSWER));
    let mut first = policy.start::<Fault>(at(0), 0);
    let Leave::Granted(attempt) = first.attempt(at(0)).next else { panic!() };
    let _ = first.settle(attempt, at(1), ok, || 0);
    let mut across = policy.start::<Fault>(at(2), 0);
    let Leave::Granted(attempt) = across.attempt(at(2)).next else { panic!() };

    metrics.reset().unwrap();
    let after = metrics.snapshot();
    assert_eq!((after.calls.started, after.calls.succeeded, after.calls.in_flight), (1, 0, 1));
    assert_eq!((after.attempts.started, after.attempts.in_flight), (1, 1));
    assert_eq!((after.success_rate(), after.failure_rate()), (0, 0));
    let raw = metrics.raw();
    assert_eq!((raw.calls.started, raw.calls.succeeded, raw.calls.in_flight), (2, 1, 1));
    assert_eq!(after.last_success, raw.last_success, "the times of the last ones stay");
    assert_eq!(after.latency, raw.latency, "and so do latencies");

    let _ = across.settle(attempt, at(3), ok, || 0);
    let after = metrics.snapshot();
    assert_eq!((after.calls.started, after.calls.succeeded, after.calls.in_flight), (1, 1, 0));
    assert_eq!((after.attempts.started, after.attempts.succeeded), (1, 1));
    metrics.reset().unwrap();
    assert_eq!(metrics.snapshot().calls, Calls::default());
    assert_eq!(metrics.raw().calls.succeeded, 2);
}

#[test]
fn a_run_dropped_before_its_first_attempt_leaves_no_attempt_in_flight() {
    let metrics = Metrics::<COUNT_ONLY>::new();
    let policy = Policy::new().metrics(&metrics);
    drop(policy.start::<Fault>(at(0), 0));
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.cancelled, snapshot.calls.in_flight), (1, 0));
    assert_eq!((snapshot.attempts.started, snapshot.attempts.in_flight), (0, 0));
}

#[test]
fn the_last_success_and_failure_are_told_to_about_a_second() {
    let (clock, metrics) = (ManualClock::new(), Metrics::<COUNT_ONLY>::new());
    let policy = Policy::new().metrics(&metrics);
    clock.advance(secs(100));
    let _ = policy.execute_blocking(&clock, |_| Err::<u8, _>(Fault(Class::Transient)));
    clock.advance(secs(50));
    let _ = policy.execute_blocking(&clock, |_| Ok::<_, Fault>(ANSWER));
    let near = |told: Option<Instant>, then: Instant| {
        let told = told.unwrap();
        told <= then && then.since(told) < Duration::from_micros(1 << 20)
    };
    let snapshot = metrics.snapshot();
    assert!(near(snapshot.last_failure, at(100)), "{snapshot:?}");
    assert!(near(snapshot.last_success, at(150)), "{snapshot:?}");
}

#[test]
fn what_the_breaker_did_is_counted() {
    let (clock, metrics) = (ManualClock::new(), Metrics::<COUNT_ONLY>::new());
    let breaker = Breaker::new(Trip::after(2), secs(5));
    let policy = Policy::new().metrics(&metrics).breaker(&breaker);
    let make = |result| _ = policy.execute_blocking(&clock, |_| result);
    let failure = Err(Fault(Class::Transient));
    // A straggler that began while it was closed.
    let mut straggler = policy.start(clock.now(), 0);
    let Leave::Granted(attempt) = straggler.attempt(clock.now()).next else { panic!() };
    make(failure);
    make(failure);
    make(failure);
    clock.advance(secs(6));
    make(failure);
    clock.advance(secs(6));
    make(Ok(ANSWER));
    let _ = straggler.settle(attempt, clock.now(), Some(failure), || 0);
    let snapshot = metrics.snapshot();
    let told = snapshot.breaker;
    assert_eq!((told.opened, told.half_opened, told.closed, told.late_outcomes), (2, 2, 1, 1));
    assert_eq!(snapshot.refusals.breaker_open, 1);
}

// --- Latency --------------------------------------------------------------------------------------

/// What a histogram of one length says of it.
fn said<const BUCKETS: usize>(micros: u64) -> u64 {
    let metrics = Metrics::<BUCKETS>::new();
    metrics.succeeded(0, at(0), Duration::from_micros(micros), secs(9));
    metrics.latency(5_000).unwrap().as_micros() as u64
}

/// Whether `told` is off by no more than a `part`-th of `exact`.
const fn within(told: u64, exact: u64, part: u64) -> bool {
    told.abs_diff(exact) * part <= exact
}

#[test]
fn a_quantile_is_as_near_as_promised_at_the_ends_of_every_octave() {
    for octave in 6..32 {
        for eighth in 8..16 {
            let edge = (1_u64 << octave) * eighth / 8;
            for micros in [edge.max(65) - 1, edge, edge + 1] {
                assert!(within(said::<FINE>(micros), micros, 16), "{micros} µs, fine");
                assert!(within(said::<COARSE>(micros), micros, 4), "{micros} µs, coarse");
            }
        }
    }
    for micros in [64, 71 * 60 * 1_000_000] {
        assert!(within(said::<FINE>(micros), micros, 16));
        assert!(within(said::<COARSE>(micros), micros, 4));
    }
}

#[test]
fn the_first_octave_begins_at_64_us_and_what_is_shorter_is_apart() {
    // 64 to 71 µs are one eighth of an octave, 64 to 95 one half, of which the middle is told.
    assert_eq!([said::<FINE>(63), said::<FINE>(64), said::<FINE>(71)], [64, 68, 68]);
    assert_eq!([said::<COARSE>(63), said::<COARSE>(64), said::<COARSE>(95)], [64, 80, 80]);
}

#[test]
fn what_is_outside_of_the_range_counts_at_its_ends() {
    let last = said::<FINE>((1 << 32) - 1);
    for micros in [1 << 32, 1 << 40, u64::MAX] {
        assert_eq!(said::<FINE>(micros), last);
    }
    for micros in [0, 1, 63] {
        assert_eq!((said::<FINE>(micros), said::<COARSE>(micros)), (64, 64));
    }
}

proptest! {
    #[test]
    fn a_quantile_of_many_is_as_near_as_promised(
        mut lengths in vec((6_u32..32, any::<u32>()).prop_map(|(octave, bits)| {
            (1_u64 << octave) + (u64::from(bits) & ((1 << octave) - 1))
        }), 1..200),
        per_myriad in 0_u32..=10_000,
    ) {
        let (fine, coarse) = (Metrics::<FINE, 2>::new(), Metrics::<COARSE, 3>::new());
        for (shard, &micros) in lengths.iter().enumerate() {
            fine.succeeded(shard, at(0), Duration::from_micros(micros), secs(9));
            coarse.succeeded(shard, at(0), Duration::from_micros(micros), secs(9));
        }
        lengths.sort_unstable();
        let rank = (lengths.len() * per_myriad as usize).div_ceil(10_000).max(1);
        let exact = lengths[rank - 1];
        let told = |latency: Option<Duration>| latency.unwrap().as_micros() as u64;
        prop_assert!(within(told(fine.latency(per_myriad)), exact, 16));
        prop_assert!(within(told(coarse.latency(per_myriad)), exact, 4));
    }
}

#[test]
fn a_call_is_timed_from_its_beginning_to_its_success() {
    let (clock, metrics) = (ManualClock::new(), Metrics::<FINE>::new());
    let policy = Policy::new().attempts(2).backoff(Backoff::constant(secs(6))).metrics(&metrics);
    let operation = |made: steadfast::policy::Made| {
        clock.advance(secs(2));
        if made.attempt == 1 { Err(Fault(Class::Transient)) } else { Ok(ANSWER) }
    };
    assert_eq!(policy.execute_blocking(&clock, operation), Ok(ANSWER));
    let _ = policy.execute_blocking(&clock, |_| Err::<u8, _>(Fault(Class::Permanent)));
    let told = metrics.snapshot().latency;
    assert!(within(told.p50.unwrap().as_micros() as u64, 10_000_000, 16), "{told:?}");
    assert_eq!(told.p50, told.p99, "calls that failed are not in it");
}

#[test]
fn an_end_without_its_beginning_is_a_wrong_number_and_no_panic() {
    let metrics = Metrics::<COUNT_ONLY>::new();
    metrics.succeeded(0, at(0), secs(1), secs(1));
    metrics.count(Tally::CallFailed);
    let told = metrics.snapshot();
    assert_eq!((told.calls.failed, told.attempts.failed), (1, 0));
    assert!(told.success_rate() + told.failure_rate() <= 10_000);
}

#[test]
fn attempts_are_timed_where_they_are_asked_for_and_count_nothing_else() {
    let (clock, metrics) = (ManualClock::new(), Metrics::<FINE_BOTH, 2>::new());
    let policy = Policy::new()
        .attempts(3)
        .attempt_timeout(secs(60))
        .backoff(Backoff::constant(secs(600)))
        .metrics(&metrics);
    // The third is the second call's only one.
    let lengths = [1, 20, 3].map(secs);
    let made = Cell::new(0);
    let operation = |_| {
        clock.advance(lengths[made.replace(made.get() + 1)]);
        if made.get() == 1 { Err(Fault(Class::Transient)) } else { Ok(ANSWER) }
    };
    assert_eq!(policy.execute_blocking(&clock, operation), Ok(ANSWER));
    assert_eq!(policy.execute_blocking(&clock, operation), Ok(ANSWER));
    let once = policy.attempts(1);
    let hangs = once.execute(&clock, pending::<Result<u8, Fault>>);
    assert!(clock.block_on(hangs).is_err());
    let near = |told: Option<Duration>, seconds: u64| {
        within(told.unwrap().as_micros() as u64, seconds * 1_000_000, 16)
    };
    for (part, seconds) in [(2_500, 1), (5_000, 3), (7_500, 20), (10_000, 60)] {
        assert!(near(metrics.attempt_latency(part), seconds), "{part}");
    }
    let told = metrics.snapshot();
    assert!(near(told.attempt_latency.p50, 3) && near(told.attempt_latency.p99, 60));
    assert!(near(metrics.latency(5_000), 3) && near(metrics.latency(10_000), 621));
    assert_eq!((told.calls.succeeded, told.calls.failed, told.attempts.started), (2, 1, 4));
    let coarse = Metrics::<COARSE_BOTH>::new();
    let policy = policy.metrics(&coarse);
    assert!(
        clock.block_on(policy.attempts(1).execute(&clock, pending::<Result<u8, Fault>>)).is_err()
    );
    let told = coarse.attempt_latency(5_000).map(|told| told.as_micros() as u64);
    assert!(told.is_some_and(|told| within(told, 60_000_000, 4)), "{told:?}");
    let off = Metrics::<FINE>::new();
    off.started(0);
    off.succeeded(0, at(0), secs(1), secs(1));
    assert_eq!((off.attempt_latency(5_000), off.snapshot().attempt_latency.p50), (None, None));
}

#[test]
fn without_a_histogram_successes_are_counted_and_quantiles_unknown() {
    let metrics = Metrics::<COUNT_ONLY>::new();
    metrics.started(0);
    metrics.succeeded(0, at(0), secs(1), secs(1));
    assert_eq!((metrics.latency(5_000), metrics.snapshot().calls.succeeded), (None, 1));
}

#[test]
fn what_is_never_reset_says_the_same_as_what_could_be() {
    let (resettable, monotonic) =
        (Metrics::<COUNT_ONLY>::new(), Metrics::<COUNT_ONLY, 1, Monotonic>::monotonic());
    for metrics in [&resettable as &dyn Meter, &monotonic] {
        let (clock, policy) = (ManualClock::new(), Policy::new().attempts(2).metrics(metrics));
        let mut attempts = 0;
        let operation = |_| {
            attempts += 1;
            if attempts == 2 { Ok(ANSWER) } else { Err(Fault(Class::Transient)) }
        };
        assert_eq!(policy.execute_blocking(&clock, operation), Ok(ANSWER));
        let _ = policy.execute_blocking(&clock, |_| Err::<u8, _>(Fault(Class::Permanent)));
    }
    let told: Snapshot = monotonic.snapshot();
    assert_eq!((told.calls.started, told.retries, told.calls.failed), (2, 1, 1));
    assert_eq!((told, monotonic.raw()), (resettable.snapshot(), told));
}

#[test]
fn histograms_are_as_small_as_promised() {
    let [fine, coarse, none] = [
        size_of::<Metrics<FINE>>(),
        size_of::<Metrics<COARSE>>(),
        size_of::<Metrics<COUNT_ONLY>>(),
    ];
    assert!(FINE * size_of::<u32>() <= 860);
    assert!(COARSE * size_of::<u32>() <= 240);
    assert!(COUNT_ONLY * size_of::<u32>() <= 4);
    // The metrics grow by no more than that, but for the filling of a cache line.
    assert!(fine - none <= 860 + 60, "{fine} - {none}");
    assert!(coarse - none <= 240 + 60, "{coarse} - {none}");
}

// --- Threads --------------------------------------------------------------------------------------

const THREADS: usize = 8;
const CALLS: u64 = 3_000;

/// A thread's own handle of the clock.
struct OfThread<'a>(&'a ManualClock, usize);

impl Clock for OfThread<'_> {
    fn now(&self) -> Instant {
        self.0.now()
    }

    fn shard_hint(&self) -> usize {
        self.1
    }
}

impl Wait for OfThread<'_> {
    fn wait_until(&self, _at: Instant) {}

    fn random(&self) -> u32 {
        0
    }
}

/// How many calls each thread has begun, or ended.
#[derive(Default)]
struct Progress([AtomicU64; THREADS]);

impl Progress {
    fn calls(&self) -> u64 {
        self.0.iter().map(|calls| calls.load(SeqCst)).sum()
    }

    /// Every fifth call, the third first, makes two; the others one.
    fn attempts(&self) -> u64 {
        self.0.iter().map(|calls| calls.load(SeqCst)).map(|calls| calls + (calls + 2) / 5).sum()
    }
}

#[test]
fn eight_threads_are_counted_exactly_and_never_seen_to_go_back() {
    counted_by_threads(&Metrics::<COUNT_ONLY, 1>::new());
    counted_by_threads(&Metrics::<FINE, 4>::new());
    counted_by_threads(&Metrics::<COARSE, 8>::new());
}

fn counted_by_threads<const BUCKETS: usize, const SHARDS: usize>(
    metrics: &Metrics<BUCKETS, SHARDS>,
) {
    let (clock, bulkhead) = (ManualClock::new(), Bulkhead::new(THREADS as u32));
    let policy = Policy::new().attempts(2).metrics(metrics).bulkhead(&bulkhead);
    let call = |clock: &OfThread<'_>, number: u64| match number % 5 {
        0..=1 => {
            let _ = policy.execute_blocking(clock, |_| Ok::<_, Fault>(ANSWER));
        }
        2 => {
            let _ = policy.execute_blocking(clock, |_| Err::<u8, _>(Fault(Class::Transient)));
        }
        3 => {
            let fails = |_| Err(Fault(Class::Permanent));
            let answers = |_| Ok::<_, OrElseError<Fault, ()>>(FALLBACK);
            let _ = policy.execute_blocking_or_else(clock, fails, answers);
        }
        _ => {
            let mut run = policy.start::<Fault>(clock.now(), clock.shard_hint());
            let _attempt = run.attempt(clock.now());
        }
    };
    let (begun, ended) = (Progress::default(), Progress::default());
    std::thread::scope(|scope| {
        let (call, begun, ended) = (&call, &begun, &ended);
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let clock = OfThread(&clock, thread);
                scope.spawn(move || {
                    for number in 0..CALLS {
                        begun.0[thread].store(number + 1, SeqCst);
                        call(&clock, number);
                        ended.0[thread].store(number + 1, SeqCst);
                    }
                })
            })
            .collect();
        let (mut before, mut at_reset) = (metrics.raw(), 0);
        while !threads.iter().all(|thread| thread.is_finished()) {
            let least = (ended.calls(), ended.attempts());
            let raw = metrics.raw();
            let snapshot = metrics.snapshot();
            // What ended in the meantime may be seen to begin, and not to end.
            let meanwhile = (ended.calls() - least.0, ended.attempts() - least.1);
            let most = (begun.calls(), begun.attempts());
            adds_up(&raw).unwrap();
            adds_up(&snapshot).unwrap();
            never_goes_back(&before, &raw).unwrap();
            let (calls, attempts) = (raw.calls, raw.attempts);
            assert!((least.0..=most.0).contains(&calls.started), "{least:?} to {most:?}: {raw:?}");
            assert!(
                (least.1..=most.1).contains(&attempts.started),
                "{least:?} to {most:?}: {raw:?}"
            );
            assert!(snapshot.calls.started <= most.0 - at_reset, "{snapshot:?}");
            for seen in [raw, snapshot] {
                // Of a call that is under way, one attempt may have ended and another begun meanwhile.
                let threads = THREADS as u64;
                assert!(seen.calls.in_flight <= threads + meanwhile.0, "{meanwhile:?}: {seen:?}");
                assert!(
                    seen.attempts.in_flight <= 2 * threads + meanwhile.1,
                    "{meanwhile:?}: {seen:?}"
                );
            }
            at_reset = ended.calls();
            metrics.reset().unwrap();
            before = raw;
        }
    });
    let raw = metrics.raw();
    let each = CALLS / 5 * THREADS as u64;
    let calls = raw.calls;
    assert_eq!((calls.started, calls.succeeded, calls.failed), (5 * each, 2 * each, each));
    assert_eq!((calls.fell_back, calls.cancelled, calls.in_flight), (each, each, 0));
    let attempts = raw.attempts;
    assert_eq!((attempts.started, attempts.succeeded), (6 * each, 2 * each));
    assert_eq!((attempts.failed, attempts.cancelled, attempts.in_flight), (3 * each, each, 0));
    assert_eq!((raw.retries, raw.refusals), (each, Refusals::default()));
}

#[test]
fn of_two_resets_at_once_one_is_told_so_and_the_other_is_done() {
    let metrics = Metrics::<FINE>::new();
    let policy = Policy::new().metrics(&metrics);
    assert!(policy.execute_blocking(ManualClock::new(), |_| Ok::<_, Fault>(ANSWER)).is_ok());
    let told = AtomicBool::new(false);
    let both = std::thread::scope(|scope| {
        let resetting = [(); 2].map(|()| {
            scope.spawn(|| {
                (0..1_000_000).any(|_| {
                    let busy = metrics.reset() == Err(ResetBusy);
                    told.fetch_or(busy, Relaxed) || busy
                })
            })
        });
        resetting.map(|thread| thread.join().unwrap())
    });
    assert_eq!(both, [true; 2], "none was ever in the other's way");
    assert_eq!(metrics.snapshot().calls, Calls::default());
    assert_eq!((metrics.raw().calls.succeeded, metrics.reset()), (1, Ok(())));
}

#[test]
fn any_hint_names_a_shard() {
    let metrics = Metrics::<FINE, 3>::new();
    for hint in [0, 1, 2, 3, 4, usize::MAX] {
        metrics.started(hint);
        metrics.succeeded(hint, at(0), secs(1), secs(1));
    }
    metrics.started(7);
    metrics.count(Tally::CallCancelled);
    let calls = metrics.snapshot().calls;
    assert_eq!((calls.started, calls.succeeded, calls.cancelled, calls.in_flight), (7, 6, 1, 0));
}

// --- What these tests share -----------------------------------------------------------------------

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault(Class);

impl Classify for Fault {
    fn verdict(&self) -> Verdict {
        match self.0 {
            // Sometimes longer than the policy allows.
            Class::RateLimited => Verdict::of(self.0).not_before(secs(4)),
            class => Verdict::of(class),
        }
    }
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn at(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}

const PLACES: usize = 5;
const ANSWER: u8 = 7;
const FALLBACK: u8 = 99;
