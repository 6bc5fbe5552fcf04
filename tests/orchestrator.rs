//! Named operations: precedence, isolation, live configuration, modes, and a table of fixed size.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::cell::Cell;
use core::future::{pending, ready};
use core::pin::pin;
use core::task::{Context, Waker};
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Mutex;

use steadfast::orchestrator::{
    Config, ConfigError, Conflict, Effective, Handle, Key, Kind, Name, NameError, Origin,
    OutOfRange, Overrides, RegisterError, Registration, ResetError, UnknownOperation, Value,
    Warning,
};
use steadfast::policy::{Leave, Next, RetryAll, Stage};
use steadfast::state::{
    COUNT_ONLY, Guarded as _, LimitRule, Mode, NO_WINDOW, Outcome, Settled, State, Trip, Window,
    WindowRule,
};
use steadfast::{
    Backoff, Class, Clock as _, Event, Instant, ManualClock, OrElseError, Orchestrator, Reason,
    Strategy, Verdict,
};

// --- Precedence -----------------------------------------------------------------------------------

#[test]
fn an_operation_without_a_word_goes_by_the_default_strategy() {
    static TABLE: Orchestrator<4> = Orchestrator::new().operation("plain", Registration::new());
    assert_eq!(TABLE.get("plain").unwrap().settings(), Strategy::Balanced.settings());
    let effective = TABLE.effective("plain").unwrap();
    assert_eq!(effective.strategy(), Strategy::Balanced);
    for key in Key::ALL {
        assert_eq!(effective.origin(key), Origin::DefaultStrategy, "{key}");
    }
}

#[test]
fn what_is_given_wins_from_the_call_down_to_the_default_strategy() {
    let table = Orchestrator::<4>::new();
    let attempts = |table: &Orchestrator<4>| table.get("op").unwrap().settings().attempts;
    table.register("op", Registration::new()).unwrap();
    assert_eq!(attempts(&table), 3, "default strategy: balanced");

    table.configure(&Config::<1>::new().with_default_strategy(Strategy::Conservative)).unwrap();
    assert_eq!(attempts(&table), 2, "default strategy: configured");

    table.register("op", Registration::by(Strategy::Critical)).unwrap();
    assert_eq!(attempts(&table), 7, "strategy registered");
    table.register("op", Registration::by(Strategy::Critical).given(Key::Attempts, 6)).unwrap();
    assert_eq!(attempts(&table), 6, "single field registered");

    let configured = Registration::by(Strategy::Aggressive);
    table.configure(&Config::<1>::new().try_operation("op", configured).unwrap()).unwrap();
    assert_eq!(attempts(&table), 6, "a registered field wins over a configured strategy's");
    let configured = configured.given(Key::Attempts, 4);
    table.configure(&Config::<1>::new().try_operation("op", configured).unwrap()).unwrap();
    assert_eq!(attempts(&table), 4, "single field configured");

    let handle = table.get("op").unwrap().strategy(Strategy::Conservative);
    assert_eq!(handle.settings().attempts, 2, "strategy given with the handle");
    let handle = handle.with(Overrides::new().attempts(9));
    assert_eq!(handle.settings().attempts, 9, "given with the handle");
    assert_eq!(attempts(&table), 4, "and nobody else's");
}

#[test]
fn every_setting_names_its_origin() {
    let table = Orchestrator::<4>::new();
    let registered =
        Registration::by(Strategy::Critical).given(Key::Attempts, 6).given(Key::Window, 60_000_000);
    table.register("op", registered).unwrap();
    let config = Config::<1>::new()
        .with_every_strategy(
            Registration::new().given(Key::Deadline, 77_000_000).given(Key::Window, 5_000_000),
        )
        .try_operation("op", Registration::new().given(Key::Attempts, 5))
        .unwrap();
    table.configure(&config).unwrap();
    let effective = table.effective("op").unwrap();
    let said = |key| (effective.get(key), effective.origin(key));
    assert_eq!(said(Key::Attempts), (5, Origin::Configured));
    assert_eq!(said(Key::Window), (60_000_000, Origin::Registered));
    assert_eq!(said(Key::Deadline), (77_000_000, Origin::EveryStrategy));
    assert_eq!(said(Key::Failures), (20, Origin::Strategy));
    assert_eq!(
        (effective.strategy(), effective.named_by()),
        (Strategy::Critical, Origin::Registered)
    );
    assert_eq!(effective.settings().window, secs(60));
}

#[test]
fn what_follows_from_a_given_setting_says_so_and_what_is_made_void_is_nobodys() {
    let table = Orchestrator::<2>::new();
    let counted = Registration::new().given(Key::Failures, 5).given(Key::OfLast, 10);
    table.register("counted", counted).unwrap();
    let rate = Registration::new().given(Key::FailureRate, 500).given(Key::OfLast, 50);
    table.register("rate", rate).unwrap();
    let said = |name, key| {
        let effective = table.effective(name).unwrap();
        (effective.get(key), effective.origin(key))
    };
    assert_eq!(said("counted", Key::OfLast), (10, Origin::Registered));
    assert_eq!(said("counted", Key::Lease), (120_000_000, Origin::DefaultStrategy));
    assert_eq!(said("rate", Key::MinCalls), (50, Origin::Derived));
    let config = Config::<2>::new()
        .try_operation(
            "counted",
            Registration::new().given(Key::Failures, 15).given(Key::AttemptTimeout, 90_000_000),
        )
        .unwrap()
        .try_operation("rate", Registration::new().given(Key::Within, 60_000_000))
        .unwrap();
    table.configure(&config).unwrap();
    assert_eq!(said("counted", Key::OfLast), (15, Origin::Derived));
    assert_eq!(said("counted", Key::Lease), (180_000_000, Origin::Derived));
    assert_eq!(said("counted", Key::OpenMax), (86_400_000_000, Origin::DefaultStrategy));
    assert_eq!(said("rate", Key::OfLast), (0, Origin::Derived));
    assert_eq!(said("rate", Key::FailureRate), (500, Origin::Registered));
    assert_eq!(said("rate", Key::MinCalls), (10, Origin::Derived));
}

#[test]
fn what_two_layers_give_is_given() {
    let table = Orchestrator::<1>::new();
    let twice = Registration::new().given(Key::OpenFor, 90_000_000).given(Key::MinCalls, 20);
    table.register("op", twice).unwrap();
    for config in [
        Config::<1>::new().with_every_strategy(twice),
        Config::new().try_operation("op", twice).unwrap(),
    ] {
        table.configure(&config).unwrap();
        let effective = table.effective("op").unwrap();
        assert_eq!(effective.origin(Key::Lease), Origin::Derived);
        assert_eq!(effective.warnings().collect::<Vec<_>>(), [Warning::MinCallsAlone]);
    }
}

#[test]
fn outcomes_of_one_layer_take_the_place_of_a_time_of_the_layer_below() {
    let table = Orchestrator::<1>::new();
    let within = Registration::new().given(Key::Within, 60_000_000).given(Key::FailureRate, 500);
    table.register("op", within).unwrap();
    let of_last = Registration::new().given(Key::OfLast, 50);
    table.configure(&Config::<1>::new().try_operation("op", of_last).unwrap()).unwrap();
    let effective = table.effective("op").unwrap();
    assert_eq!((effective.get(Key::OfLast), effective.get(Key::Within)), (50, 0));
}

#[test]
fn as_many_failures_as_a_circuit_remembers_itself_go_beside_a_time() {
    let table = Orchestrator::<1>::new();
    let beside = |failures| {
        let within = Registration::new().given(Key::Within, 60_000_000);
        let rate = within.given(Key::FailureRate, 500).given(Key::Failures, failures);
        table.register("op", rate).map(|_| ())
    };
    assert_eq!(beside(24), Err(RegisterError::Conflict(Conflict::FailuresBesideWithin)));
    assert_eq!(beside(23), Ok(()));
}

#[test]
fn failures_and_a_rate_of_one_layer_leave_the_outcomes_of_the_layer_below() {
    let table = Orchestrator::<1>::new();
    table.register("op", Registration::new().given(Key::OfLast, 40)).unwrap();
    let both = Registration::new().given(Key::Failures, 9).given(Key::FailureRate, 500);
    table.configure(&Config::<1>::new().try_operation("op", both).unwrap()).unwrap();
    let effective = table.effective("op").unwrap();
    assert_eq!((effective.get(Key::OfLast), effective.get(Key::Failures)), (40, 9));
    assert_eq!(effective.origin(Key::OfLast), Origin::Registered);
}

#[test]
fn what_is_registered_holds_without_what_is_configured() {
    let table = Orchestrator::<1>::new();
    let configured = Registration::new().given(Key::Max, 100_000_000);
    let config = Config::<1>::new().try_operation("op", configured).unwrap();
    table.configure(&config).unwrap();
    let odd = Registration::new().given(Key::Min, 50_000_000);
    let error = table.get_or_register("op", odd).map(|_| ()).unwrap_err();
    assert_eq!(error, RegisterError::Conflict(Conflict::MinNotBelowMax));
    assert!(table.configure(&Config::<0>::new()).is_ok());
}

#[test]
fn what_is_switched_off_stays_off_for_a_caller_that_names_a_strategy() {
    let table = Orchestrator::<1>::new();
    let off = Registration::new().given(Key::RetryEnabled, 0);
    let handle = table.register("op", off).unwrap().strategy(Strategy::Critical).retry_all();
    assert!(!handle.settings().retry_enabled);
    let clock = ManualClock::new();
    let failed = clock.block_on(handle.execute(&clock, || ready(Err::<u8, u8>(1)))).unwrap_err();
    assert_eq!((failed.attempts, failed.stopped), (1, Reason::Attempts));
}

#[test]
fn an_operation_takes_no_more_requests_and_tokens_than_its_limits_and_others_have_their_own() {
    let table = Orchestrator::<2>::new();
    let limited =
        Registration::new().given(Key::RequestsPerMinute, 3).given(Key::TokensPerMinute, 1_000);
    let limited = table.register("limited", limited).unwrap().estimate(400).retry_all();
    let free = table.register("free", Registration::new()).unwrap().estimate(400).retry_all();
    let clock = ManualClock::new();
    let call = |handle: &Handle<'_, RetryAll>| {
        let refused = |error: steadfast::Error<&str>| (error.stopped, error.retry_at);
        clock.block_on(handle.execute(&clock, || ready(Ok::<u8, &str>(1)))).map_err(refused)
    };
    let until = |seconds: u64| Some(Instant::from_micros(seconds * 1_000_000));
    assert_eq!((call(&limited), call(&limited)), (Ok(1), Ok(1)));
    // 800 of 1000 tokens are taken, and 200 are missing.
    assert_eq!(call(&limited), Err((Reason::Limited, until(12))));
    assert!((0..100).all(|_| call(&free).is_ok()));
    // The first took less than it was taken to.
    limited.settle_tokens(clock.now(), 200);
    assert_eq!(call(&limited), Ok(1));
    assert_eq!(call(&limited), Err((Reason::Limited, until(24))));
    // Without a limit of tokens, that of requests is what is left.
    let more = Registration::new().given(Key::TokensPerMinute, 1 << 31);
    table.configure(&Config::<1>::new().try_operation("limited", more).unwrap()).unwrap();
    assert_eq!(call(&limited), Err((Reason::Limited, until(20))));
    let more = more.given(Key::RequestsPerMinute, 1 << 31);
    table.configure(&Config::<1>::new().try_operation("limited", more).unwrap()).unwrap();
    clock.advance(secs(60));
    assert!((0..100).all(|_| call(&limited).is_ok()));
    let metrics = table.metrics("limited").unwrap().snapshot();
    assert_eq!((metrics.refusals.limited, metrics.calls.refused), (3, 3));
}

#[test]
fn nobody_sleeps_towards_a_limit_of_the_operation() {
    let table = Orchestrator::<1>::new();
    let limited = plain(5).given(Key::RequestsPerMinute, 2);
    let slowly = Overrides::new().backoff(Backoff::constant(secs(4)));
    let handle = table.register("op", limited).unwrap().retry_all().with(slowly);
    let clock = ManualClock::new();
    let error = clock.block_on(handle.execute(&clock, fail)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::Limited, 2));
    assert!(error.last.is_some());
    // At 0 and 4 s; at 8 s there is none.
    assert_eq!(clock.now(), Instant::from_micros(4_000_000));
    assert_eq!(table.metrics("op").unwrap().snapshot().refusals.limited, 1);
}

#[test]
fn limits_and_windows_hold_for_a_caller_that_names_a_strategy() {
    let table = Orchestrator::<2>::new();
    let limited = Registration::new().given(Key::RequestsPerMinute, 2);
    let judged = Registration::new()
        .given(Key::Failures, 23)
        .given(Key::OfLast, 30)
        .given(Key::FailureRate, 1000)
        .given(Key::MinCalls, 2);
    let clock = ManualClock::new();
    let handle =
        table.register("limited", limited).unwrap().strategy(Strategy::Critical).retry_all();
    let call = || clock.block_on(handle.execute(&clock, succeed));
    assert!(call().is_ok() && call().is_ok());
    assert_eq!(call().unwrap_err().stopped, Reason::Limited);

    let handle = table.register("judged", judged).unwrap().strategy(Strategy::Critical).retry_all();
    let once = handle.with(Overrides::new().attempts(1));
    for expected in [State::Closed, State::Open] {
        let _error = clock.block_on(once.execute(&clock, fail)).unwrap_err();
        assert_eq!(table.breaker("judged").unwrap().state(clock.now()), expected);
    }
}

#[test]
fn the_window_of_an_operation_forgets_a_phase_before_its_number_comes_again() {
    let table = Orchestrator::<1>::new();
    let clock = ManualClock::new();
    let rule =
        plain(1).given(Key::Failures, 23).given(Key::OfLast, 10).given(Key::FailureRate, 500);
    let handle = table.register("op", rule).unwrap().retry_all();
    let breaker = table.breaker("op").unwrap();
    let number = || breaker.shared().load().to_bits().0 >> 24 & 63;
    let failed = || {
        let _error = clock.block_on(handle.execute(&clock, fail)).unwrap_err();
        breaker.state(clock.now())
    };
    let epoch = number();
    assert!((0..9).all(|_| failed() == State::Closed));
    assert_eq!(failed(), State::Open);
    let _ = breaker.reset();
    while number() != epoch {
        let _ = breaker.reset();
    }
    assert!((0..9).all(|_| failed() == State::Closed));
    assert_eq!(failed(), State::Open);
}

#[test]
fn what_callers_share_comes_from_the_registration_alone() {
    let table = Orchestrator::<4>::new();
    let registration = Registration::by(Strategy::Critical).given(Key::Slots, 2);
    let handle = table.register("op", registration).unwrap();
    let own = handle.settings();
    let others = handle.strategy(Strategy::Aggressive).settings();
    assert_eq!((others.attempts, others.deadline), (5, secs(20)));
    assert_eq!((others.breaker, others.budget, others.slots), (own.breaker, own.budget, 2));
}

#[test]
fn each_of_the_four_is_resolved_as_it_stands_in_its_table() {
    for strategy in Strategy::ALL {
        let table = Orchestrator::<1>::new();
        let settings = table.register("op", Registration::by(strategy)).unwrap().settings();
        assert_eq!(settings, strategy.settings(), "{strategy}");
        assert_eq!(table.effective("op").unwrap().warnings().count(), 0, "{strategy}");
    }
}

// --- Executions -----------------------------------------------------------------------------------

#[test]
fn an_execution_under_way_keeps_what_it_started_with_and_the_next_one_sees_the_new_values() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<1>::new());
    let handle = table.register("op", plain(3)).unwrap().retry_all();
    let made = Cell::new(0);
    let failing = || {
        made.set(made.get() + 1);
        if made.get() == 1 {
            let fewer = Config::<1>::new().try_operation("op", plain(1)).unwrap();
            table.configure(&fewer).unwrap();
        }
        ready(Err::<u8, _>("down"))
    };
    let error = clock.block_on(handle.execute(&clock, failing)).unwrap_err();
    assert_eq!((error.attempts, made.get()), (3, 3), "the one under way");
    let error = clock.block_on(handle.execute(&clock, failing)).unwrap_err();
    assert_eq!((error.attempts, made.get()), (1, 4), "the next one, by the same handle");
}

#[test]
fn an_attempt_settles_by_the_rule_that_is_current_then() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<1>::new());
    let handle = table.register("op", plain(1).given(Key::Failures, 20)).unwrap().retry_all();
    let mut execution = pin!(handle.execute(&clock, || async {
        clock_sleep(&clock, secs(5)).await;
        Err::<u8, _>("down")
    }));
    let mut context = Context::from_waker(Waker::noop());
    assert!(execution.as_mut().poll(&mut context).is_pending());
    let stricter = plain(1).given(Key::Failures, 1);
    table.configure(&Config::<1>::new().try_operation("op", stricter).unwrap()).unwrap();
    let _error = clock.block_on(execution).unwrap_err();
    assert_eq!(table.breaker("op").unwrap().state(clock.now()), State::Open);
}

#[test]
fn breaker_state_and_history_survive_a_replacement() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<1>::new());
    let handle = table.register("op", plain(1).given(Key::Failures, 3)).unwrap().retry_all();
    for _ in 0..2 {
        let _error = clock.block_on(handle.execute(&clock, fail)).unwrap_err();
    }
    let longer = plain(1).given(Key::Failures, 3).given(Key::OpenFor, 200_000_000);
    table.configure(&Config::<1>::new().try_operation("op", longer).unwrap()).unwrap();
    let _error = clock.block_on(handle.execute(&clock, fail)).unwrap_err();
    let breaker = table.breaker("op").unwrap();
    assert_eq!(breaker.state(clock.now()), State::Open, "the third failure in a row");
    assert_eq!(breaker.remaining(clock.now()).as_secs(), 200);
    let as_long = longer.given(Key::OpenFor, 150_000_000);
    table.configure(&Config::<1>::new().try_operation("op", as_long).unwrap()).unwrap();
    assert_eq!(breaker.state(clock.now()), State::Open);
    table.configure(&Config::<1>::new()).unwrap();
    assert_eq!(breaker.state(clock.now()), State::HalfOpen, "open for longer than it may be now");
}

#[test]
fn retries_and_breaker_can_be_switched_off_each() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<2>::new());
    let once = plain(5).given(Key::RetryEnabled, 0);
    let unbroken = plain(1).given(Key::BreakerEnabled, 0).given(Key::Failures, 1);
    let once = table.register("once", once).unwrap().retry_all();
    let unbroken = table.register("unbroken", unbroken).unwrap().retry_all();
    let error = clock.block_on(once.execute(&clock, fail)).unwrap_err();
    assert_eq!((error.attempts, error.stopped), (1, Reason::Attempts));
    for _ in 0..10 {
        let error = clock.block_on(unbroken.execute(&clock, fail)).unwrap_err();
        assert_eq!(error.attempts, 1, "never refused");
    }
    assert!(!table.breaker("unbroken").unwrap().is_enabled());
    assert!(table.breaker("once").unwrap().is_enabled());
}

#[test]
fn operations_are_isolated_from_one_another() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<8>::new());
    let registration = plain(2).given(Key::Failures, 1).given(Key::Slots, 1);
    let bad = table.register("bad", registration).unwrap().retry_all();
    let good = table.register("good", registration).unwrap().retry_all();
    let mut hanging = pin!(bad.execute(&clock, pending::<Result<u8, &str>>));
    assert!(hanging.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let full = clock.block_on(bad.execute(&clock, fail)).unwrap_err();
    assert_eq!(full.stopped, Reason::BulkheadFull);
    assert_eq!(clock.block_on(good.execute(&clock, succeed)), Ok(7));
    assert!(clock.block_on(hanging).is_err());
    assert_eq!(table.breaker("bad").unwrap().state(clock.now()), State::Open);
    let bad = table.metrics("bad").unwrap().snapshot();
    let good = table.metrics("good").unwrap().snapshot();
    assert_eq!((bad.calls.started, bad.calls.failed, bad.calls.refused), (2, 1, 1));
    assert_eq!((good.calls.started, good.calls.succeeded, good.attempts.failed), (1, 1, 0));
    assert!(!table.is_healthy(clock.now()));
    assert_eq!(table.breaker("good").unwrap().state(clock.now()), State::Closed);
}

#[test]
fn every_way_to_execute_goes_through_a_handle() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<1>::new());
    let handle = table.register("op", plain(2)).unwrap().retry_all();
    let stand = |error: steadfast::Error<&'static str>| match error.attempts {
        2 => Ok::<_, OrElseError<_, ()>>(8),
        _ => Err(OrElseError::GaveUp(error)),
    };
    assert_eq!(clock.block_on(handle.execute(&clock, succeed)), Ok(7));
    assert_eq!(
        clock.block_on(handle.execute_told(&clock, |made| ready(Ok::<_, &str>(made.attempt)))),
        Ok(1)
    );
    let once = clock.block_on(handle.execute_once(&clock, fail())).unwrap_err();
    assert_eq!(once.attempts, 1);
    assert_eq!(clock.block_on(handle.execute_or_else(&clock, fail, stand)), Ok(8));
    let later = handle.execute_or_else_async(&clock, fail, |error| ready(stand(error)));
    assert_eq!(clock.block_on(later), Ok(8));
    let mut count = 0;
    let counting = async || {
        count += 1;
        Ok::<_, &str>(count)
    };
    assert_eq!(clock.block_on(handle.execute_mut(&clock, counting)), Ok(1));
    assert_eq!(handle.execute_blocking(&clock, |_| Ok::<_, &str>(3)), Ok(3));
    assert_eq!(handle.execute_blocking_or_else(&clock, |_| Err::<u8, _>("down"), stand), Ok(8));
    let mut run = handle.start(clock.now(), 0);
    let Leave::Granted(attempt) = run.attempt(clock.now()).next else { panic!("granted") };
    let step = run.settle(attempt, clock.now(), Some(Ok::<u8, &str>(9)), || 0);
    assert!(matches!(step.next, Next::Done(Ok(9))));
    let calls = table.metrics("op").unwrap().snapshot().calls;
    assert_eq!((calls.started, calls.succeeded, calls.failed, calls.fell_back), (9, 5, 1, 3));
}

#[test]
fn an_execution_outlives_its_handle_and_can_be_sent() {
    static TABLE: Orchestrator<1> = Orchestrator::new().operation("op", Registration::new());
    fn sendable<T: Send + 'static>(value: T) -> T {
        value
    }
    static CLOCK: ManualClock = ManualClock::new();
    let execution = {
        let handle = TABLE.get("op").unwrap().classify(|_: &u8| Verdict::of(Class::Permanent));
        sendable(handle.execute(&CLOCK, || ready(Err::<u8, u8>(1))))
    };
    assert_eq!(CLOCK.block_on(execution).unwrap_err().stopped, Reason::Class);
}

#[test]
fn an_async_block_that_awaits_an_execution_can_be_sent() {
    static TABLE: Orchestrator<1> = Orchestrator::new().operation("op", Registration::new());
    static CLOCK: ManualClock = ManualClock::new();
    fn sendable<F: Future + Send + 'static>(future: F) -> F {
        future
    }
    let executions = sendable(async {
        let handle = TABLE.get("op").unwrap().retry_all();
        let failing = || ready(Err::<u8, u8>(1));
        let now = |_| Ok::<_, OrElseError<u8, ()>>(2);
        let later = |_| ready(Ok::<_, OrElseError<u8, ()>>(3));
        (
            handle.execute(&CLOCK, succeed).await.unwrap(),
            handle.execute_or_else(&CLOCK, failing, now).await,
            handle.execute_or_else_async(&CLOCK, failing, later).await,
        )
    });
    assert_eq!(CLOCK.block_on(executions), (7, Ok(2), Ok(3)));
}

#[test]
fn a_watch_is_told_what_each_operation_does() {
    static TOLD: Mutex<Vec<(String, Event)>> = Mutex::new(Vec::new());
    static TABLE: Orchestrator<3> = Orchestrator::new()
        .operation("one", Registration::new().given(Key::Failures, 1).given(Key::Attempts, 1))
        .watched_by(&|operation: &str, event: &Event| {
            TOLD.lock().unwrap().push((operation.to_owned(), *event));
        });
    let clock = ManualClock::new();
    let one = TABLE.get("one").unwrap().retry_all();
    let two = TABLE.register("two", plain(2)).unwrap().retry_all();
    let _error = clock.block_on(one.execute(&clock, fail)).unwrap_err();
    let _error = clock.block_on(one.execute(&clock, fail)).unwrap_err();
    let _error = clock.block_on(two.execute(&clock, fail)).unwrap_err();
    let told = TOLD.lock().unwrap();
    assert_eq!(told[0], ("one".to_owned(), Event::Opened));
    assert!(matches!(
        told[1],
        (ref one, Event::Refused { stage: Stage::Breaker, reason: Reason::BreakerOpen, .. }) if one == "one"
    ));
    assert!(matches!(told[2], (ref two, Event::Retry { attempt: 1, .. }) if two == "two"));
    assert_eq!(told.len(), 3);
}

#[test]
fn a_watch_is_told_of_operations_that_are_named_after_it_too() {
    static TOLD: Mutex<Vec<(String, Event)>> = Mutex::new(Vec::new());
    static TABLE: Orchestrator<1> = Orchestrator::new()
        .watched_by(&|operation: &str, event: &Event| {
            TOLD.lock().unwrap().push((operation.to_owned(), *event));
        })
        .operation("op", Registration::new().given(Key::Failures, 1).given(Key::Attempts, 1));
    let clock = ManualClock::new();
    let op = TABLE.get("op").unwrap().retry_all();
    let _error = clock.block_on(op.execute(&clock, fail)).unwrap_err();
    assert_eq!(*TOLD.lock().unwrap(), [("op".to_owned(), Event::Opened)]);
}

// --- A budget whose tokens change ------------------------------------------------------------------

#[test]
fn a_budget_that_becomes_smaller_or_larger_keeps_the_share_that_is_left() {
    let clock = ManualClock::new();
    let failing = |tokens: [u64; 2], failures: u32| {
        let table = Orchestrator::<1>::new();
        let by = |tokens| plain(1).given(Key::Tokens, tokens).given(Key::BreakerEnabled, 0);
        let handle = table.register("op", by(tokens[0])).unwrap().retry_all();
        for _ in 0..failures {
            let _ = clock.block_on(handle.execute(&clock, fail)).unwrap_err();
        }
        let config = Config::<1>::new().try_operation("op", by(tokens[1])).unwrap();
        table.configure(&config).unwrap();
        let patient = Overrides::new().attempts(1_000).retry_window(Duration::MAX);
        let handle = handle.with(patient.deadline(Duration::MAX));
        clock.block_on(handle.execute(&clock, fail)).unwrap_err().attempts - 1
    };
    for (tokens, failures, retries) in [
        ([10_000, 10], 0, 4),
        ([10, 100], 0, 49),
        ([10, 100], 4, 9),
        ([100, 10], 4, 4),
        ([100, 10], 40, 0),
        ([10, 10], 2, 2),
    ] {
        assert_eq!(failing(tokens, failures), retries, "{tokens:?}, {failures} failures before");
    }
}

#[test]
fn an_operation_that_was_configured_before_it_is_registered_has_all_its_tokens() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<1>::new());
    let named = Registration::new().given(Key::Attempts, 3).given(Key::Min, 0);
    table.configure(&Config::<1>::new().try_operation("op", named).unwrap()).unwrap();
    let registration = Registration::by(Strategy::Critical).given(Key::Multiplier, 1);
    let op = table.register("op", registration.given(Key::JitterKind, 0)).unwrap().retry_all();
    let error = clock.block_on(op.execute(&clock, fail)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::Attempts, 3));
}

// --- Modes ----------------------------------------------------------------------------------------

#[test]
fn a_configured_mode_holds_until_a_configuration_says_another() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<1>::new());
    let handle = table.register("op", plain(1)).unwrap().retry_all();
    let mode = |mode: Mode| {
        let registration = plain(1).given(Key::Mode, mode as u64);
        table.configure(&Config::<1>::new().try_operation("op", registration).unwrap()).unwrap();
    };
    let breaker = table.breaker("op").unwrap();
    mode(Mode::ForcedOpen);
    let error = clock.block_on(handle.execute(&clock, succeed)).unwrap_err();
    assert_eq!((error.stopped, error.attempts), (Reason::BreakerOpen, 0));
    assert_eq!((breaker.mode(), breaker.state(clock.now())), (Mode::ForcedOpen, State::Open));
    clock.advance(secs(100_000));
    assert!(clock.block_on(handle.execute(&clock, succeed)).is_err(), "for as long as it is said");

    mode(Mode::Normal);
    assert_eq!(clock.block_on(handle.execute(&clock, succeed)), Ok(7));
    assert_eq!(breaker.state(clock.now()), State::Closed);

    mode(Mode::ForcedClosed);
    for _ in 0..50 {
        assert_eq!(clock.block_on(handle.execute(&clock, fail)).unwrap_err().attempts, 1);
    }
    assert_eq!(breaker.state(clock.now()), State::Closed);
}

#[test]
fn a_mode_given_in_a_static_holds_from_the_beginning() {
    for mode in Mode::ALL {
        let clock = ManualClock::new();
        let table = Orchestrator::<1>::new().operation("op", mode_of(mode));
        let breaker = table.breaker("op").unwrap();
        assert_eq!(breaker.mode(), mode);
        assert_eq!(breaker.state(clock.now()) == State::Open, mode == Mode::ForcedOpen);
        let handle = table.get("op").unwrap().retry_all();
        let answer = clock.block_on(handle.execute(&clock, succeed));
        assert_eq!(answer.is_err(), mode == Mode::ForcedOpen);
        table
            .configure(&Config::<1>::new().try_operation("op", mode_of(Mode::Normal)).unwrap())
            .unwrap();
        assert_eq!(clock.block_on(handle.execute(&clock, succeed)), Ok(7), "as a probe");
    }
}

// A tick of the circuit's is 2^14 µs, and 2^24 of them are as none.
#[test]
fn a_breaker_that_is_configured_open_no_longer_admits_by_any_reading() {
    let clock = ManualClock::new();
    for micros in [0, 1 << 38, 3 << 38] {
        for before in [0, 1, 30, 600, 3_600, 3_663, 3_665, 86_400] {
            let Some(now) = u64::checked_sub(micros, before * 1_000_000) else { continue };
            clock.set(Instant::from_micros(now));
            let table = Orchestrator::<1>::new();
            let handle = table.register("op", plain(1).given(Key::OpenFor, 3_600_000_000)).unwrap();
            let configure = |mode| {
                let config = Config::<1>::new().try_operation("op", mode_of(mode)).unwrap();
                table.configure(&config).unwrap();
            };
            configure(Mode::ForcedOpen);
            assert_eq!(table.breaker("op").unwrap().state(clock.now()), State::Open);
            configure(Mode::Normal);
            assert_eq!(table.breaker("op").unwrap().state(clock.now()), State::HalfOpen);
            let probe = handle.retry_all().execute(&clock, succeed);
            assert_eq!(clock.block_on(probe), Ok(7), "{before} s before");
        }
    }
}

#[test]
fn a_mode_forced_by_hand_survives_a_configuration_that_says_nothing_of_it() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<1>::new());
    let handle = table.register("op", plain(1)).unwrap().retry_all();
    let breaker = table.breaker("op").unwrap();
    breaker.force(clock.now(), Mode::ForcedOpen);
    table.configure(&Config::<1>::new().try_operation("op", plain(2)).unwrap()).unwrap();
    assert_eq!(breaker.mode(), Mode::ForcedOpen);
    assert!(clock.block_on(handle.execute(&clock, succeed)).is_err());
    breaker.force(clock.now(), Mode::Normal);
    assert_eq!(clock.block_on(handle.execute(&clock, succeed)), Ok(7), "as a probe");
}

#[test]
fn an_operation_in_shadow_decides_and_counts_and_refuses_nobody() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<1>::new());
    let registration = plain(1).given(Key::Failures, 2).given(Key::Mode, Mode::Shadow as u64);
    let handle = table.register("op", registration).unwrap().retry_all();
    for _ in 0..10 {
        assert_eq!(clock.block_on(handle.execute(&clock, fail)).unwrap_err().attempts, 1);
    }
    assert_eq!(table.breaker("op").unwrap().state(clock.now()), State::Open);
    let snapshot = table.metrics("op").unwrap().snapshot();
    assert_eq!((snapshot.breaker.opened, snapshot.refusals.breaker_open), (1, 0));
    assert_eq!(snapshot.breaker.late_outcomes, 0, "what it would have refused is not late");
}

#[test]
fn a_breaker_is_reset_apart_from_its_metrics() {
    let (clock, table) = (ManualClock::new(), Orchestrator::<1>::new());
    let handle = table.register("op", plain(1).given(Key::Failures, 1)).unwrap().retry_all();
    let _error = clock.block_on(handle.execute(&clock, fail)).unwrap_err();
    let breaker = table.breaker("op").unwrap();
    table.reset_metrics("op").unwrap();
    assert_eq!(breaker.state(clock.now()), State::Open, "the metrics' reset leaves it");
    assert_eq!(table.metrics("op").unwrap().snapshot().calls.started, 0);
    assert_eq!(table.metrics("op").unwrap().raw().calls.started, 1, "what exporters see");
    breaker.reset();
    assert_eq!(breaker.state(clock.now()), State::Closed);
    assert_eq!(clock.block_on(handle.execute(&clock, succeed)), Ok(7));
    assert_eq!(table.reset_metrics("nobody"), Err(ResetError::UnknownOperation));
    table.reset_all_metrics().unwrap();
    assert_eq!(table.iter().map(|view| view.snapshot().calls.started).sum::<u64>(), 0);
}

#[test]
fn a_caller_with_its_own_way_asks_the_operations_breaker_under_its_live_rule() {
    let table = Orchestrator::<1>::new();
    table.register("op", plain(1).given(Key::Failures, 2)).unwrap();
    let breaker = table.breaker("op").unwrap();
    let now = Instant::ORIGIN;
    let permit = breaker.try_acquire(now).unwrap();
    assert_eq!(permit.settle(now, Outcome::Failure), Settled::Counted);
    let permit = breaker.try_acquire(now).unwrap();
    table.register("op", plain(1).given(Key::Failures, 3)).unwrap();
    assert_eq!(permit.settle(now, Outcome::Failure), Settled::Counted, "three, by now");
    assert_eq!(breaker.rule().trip().failures(), 3);
}

// --- The table ------------------------------------------------------------------------------------

#[test]
fn a_full_table_says_how_many_places_it_has() {
    let table = Orchestrator::<3>::new();
    for name in ["a", "b", "c"] {
        table.register(name, Registration::new()).unwrap();
    }
    let full = table.register("d", Registration::new()).unwrap_err();
    assert_eq!(full, RegisterError::Full { capacity: 3 });
    assert_eq!(full.to_string(), "all 3 places of the table are taken");
    assert!(table.register("c", Registration::by(Strategy::Critical)).is_ok(), "known already");
    let more = Config::<1>::new().try_operation("d", Registration::new()).unwrap();
    assert_eq!(table.configure(&more), Err(ConfigError::Full { capacity: 3 }));
    assert_eq!((table.len(), table.capacity()), (3, 3));
}

#[test]
fn a_thousand_unknown_names_do_not_grow_the_table() {
    let table = Orchestrator::<2>::new();
    table.register("known", Registration::new()).unwrap();
    for number in 0..1_000 {
        let name = format!("unknown_{number}");
        assert_eq!(table.get(&name).unwrap_err(), UnknownOperation);
        assert!(table.effective(&name).is_err() && table.metrics(&name).is_err());
        assert!(table.breaker(&name).is_err() && table.reset_metrics(&name).is_err());
    }
    assert_eq!(table.len(), 1);
    assert!(table.register("second", Registration::new()).is_ok());
}

#[test]
fn whoever_interrupts_a_writer_is_told_busy_and_still_finds_and_executes() {
    let (table, clock) = (Orchestrator::<3>::new(), ManualClock::new());
    table.register("op", Registration::new()).unwrap();
    let odd = Registration::new().given(Key::Min, 2_000_000).given(Key::Max, 1_000_000);
    let config = Config::<1>::new().try_operation("op", odd).unwrap();
    let mut told = 0;
    // It has the right to write while it tells.
    table.check(&config, |conflict| {
        told += 1;
        assert!(matches!(conflict, ConfigError::Operation(..)), "{conflict}");
        let busy = table.register("other", Registration::new()).map(|_| ());
        assert_eq!(busy, Err(RegisterError::Busy));
        assert_eq!(table.get_or_register("op", odd).map(|_| ()), Err(RegisterError::Busy));
        assert_eq!(table.configure(&Config::<1>::new()), Err(ConfigError::Busy));
        let handle = table.get("op").unwrap().retry_all();
        assert_eq!(clock.block_on(handle.execute(&clock, || ready(Ok::<_, u8>(5)))), Ok(5));
    });
    assert_eq!(told, 1);
    assert!(table.register("other", Registration::new()).is_ok());
}

#[test]
fn names_of_all_kinds_are_found_again() {
    let mut names: Vec<String> = (0..200).map(|number| format!("operation_{number}")).collect();
    names.extend(
        ["a", "aaaa", "aaaaa", "ä", "流", "ai.summarize/v2", &"x".repeat(32)].map(String::from),
    );
    let table = Orchestrator::<207>::new();
    for (number, name) in names.iter().enumerate() {
        let attempts = number as u64 % 50 + 1;
        table.register(name, Registration::new().given(Key::Attempts, attempts)).unwrap();
    }
    for (number, name) in names.iter().enumerate() {
        let handle = table.get(name).unwrap();
        assert_eq!(handle.settings().attempts as usize, number % 50 + 1, "{name}");
        assert_eq!(handle.name().as_str(), name);
    }
    let mut seen: Vec<_> = table.iter().map(|view| view.name().to_string()).collect();
    seen.sort();
    names.sort();
    assert_eq!(seen, names, "each once");
}

#[test]
fn names_are_one_to_thirty_two_bytes_without_nul() {
    let table = Orchestrator::<2>::new();
    let register = |name: &str| table.register(name, Registration::new()).map(|_| ()).unwrap_err();
    assert_eq!(register(""), RegisterError::Name(NameError::Empty));
    assert_eq!(register(&"x".repeat(33)), RegisterError::Name(NameError::TooLong));
    assert_eq!(register("a\0b"), RegisterError::Name(NameError::Nul));
    assert_eq!(register("ü".repeat(17).as_str()), RegisterError::Name(NameError::TooLong));
    assert!(Name::new(&"ü".repeat(16)).is_ok());
    assert!(table.is_empty());
}

#[test]
fn names_given_in_a_static_are_there_from_the_beginning() {
    static TABLE: Orchestrator<2> = Orchestrator::new()
        .operation("ai_summarize", Registration::by(Strategy::Critical).given(Key::Attempts, 4))
        .operation("ai_classify", Registration::by(Strategy::Aggressive));
    let effective = TABLE.effective("ai_summarize").unwrap();
    assert_eq!((effective.get(Key::Attempts), effective.strategy()), (4, Strategy::Critical));
    let full_tokens = TABLE.get("ai_classify").unwrap().settings().budget.tokens();
    assert_eq!(full_tokens, 10);
    assert_eq!(TABLE.len(), 2);
}

// --- Configurations -------------------------------------------------------------------------------

#[test]
fn a_configuration_that_is_at_odds_changes_nothing() {
    let table = Orchestrator::<4>::new();
    table.register("first", Registration::new()).unwrap();
    table.register("second", Registration::new().given(Key::Min, 8_000_000)).unwrap();
    let before: Vec<_> = table.iter().map(|view| view.effective()).collect();
    let config = Config::<4>::new()
        .with_default_strategy(Strategy::Critical)
        .try_operation("first", Registration::new().given(Key::Attempts, 9))
        .unwrap()
        .try_operation("second", Registration::new().given(Key::Max, 8_000_000))
        .unwrap()
        .try_operation("third", Registration::new())
        .unwrap();
    let error = table.configure(&config).unwrap_err();
    assert_eq!(
        error,
        ConfigError::Operation(Name::new("second").unwrap(), Conflict::MinNotBelowMax)
    );
    assert_eq!(error.to_string(), "operation second: retry.min must be below retry.max");
    let after: Vec<_> = table.iter().map(|view| view.effective()).collect();
    assert_eq!(before, after);
    assert_eq!(table.len(), 2, "nor is a new one there");
}

#[test]
fn what_holds_for_every_strategy_is_checked_against_every_strategy() {
    let every = Registration::new().given(Key::Min, 3_000_000);
    let config = Config::<1>::new().with_every_strategy(every);
    let refused = ConfigError::Strategy(Strategy::Aggressive, Conflict::MinNotBelowMax);
    assert_eq!(Orchestrator::<1>::new().configure(&config), Err(refused), "2 s at most, there");
    let every = every.given(Key::Max, 9_000_000);
    assert_eq!(
        Orchestrator::<1>::new().configure(&Config::<1>::new().with_every_strategy(every)),
        Ok(())
    );
}

#[test]
fn the_empty_configuration_changes_nothing_and_takes_back_what_was_configured() {
    let table = Orchestrator::<2>::new();
    table.register("op", Registration::by(Strategy::Critical)).unwrap();
    let before = table.effective("op").unwrap();
    table.configure(&Config::<1>::new()).unwrap();
    assert_eq!(table.effective("op").unwrap(), before);
    let other = Registration::new().given(Key::Attempts, 2);
    table.configure(&Config::<1>::new().try_operation("op", other).unwrap()).unwrap();
    assert_ne!(table.effective("op").unwrap(), before);
    table.configure(&Config::<1>::new()).unwrap();
    assert_eq!(table.effective("op").unwrap(), before);
}

#[test]
fn a_configured_operation_that_nobody_registered_is_registered() {
    let table = Orchestrator::<2>::new();
    let critical = Registration::by(Strategy::Critical);
    table.configure(&Config::<1>::new().try_operation("later", critical).unwrap()).unwrap();
    assert_eq!(table.get("later").unwrap().settings().attempts, 7);
    table.register("later", Registration::by(Strategy::Aggressive)).unwrap();
    assert_eq!(
        table.get("later").unwrap().settings().attempts,
        7,
        "configured wins over registered"
    );
    assert_eq!(table.len(), 1);
}

#[test]
fn an_operation_is_registered_by_whoever_says_first_what_it_goes_by() {
    let table = Orchestrator::<2>::new();
    let [aggressive, critical] = [Strategy::Aggressive, Strategy::Critical].map(Registration::by);
    let five = Registration::new().given(Key::Attempts, 5);
    table.configure(&Config::<1>::new().try_operation("op", five).unwrap()).unwrap();
    let registered = |registration| {
        let handle = table.get_or_register("op", registration).unwrap();
        (handle.named_strategy(), handle.settings().attempts)
    };
    assert_eq!(registered(Registration::new()), (Strategy::Balanced, 5), "nothing is said yet");
    assert_eq!(registered(aggressive), (Strategy::Aggressive, 5), "a configuration lies over it");
    assert_eq!(registered(critical), (Strategy::Aggressive, 5));
    let handle = table.get("op").unwrap().strategy(Strategy::Conservative);
    assert_eq!(handle.named_strategy(), Strategy::Conservative, "the caller's");
    table.configure(&Config::<1>::new()).unwrap();
    assert_eq!(registered(critical), (Strategy::Aggressive, 5), "its own 5 attempts");
    assert_eq!(table.len(), 1);
}

#[test]
fn a_configuration_holds_each_operation_once_and_only_so_many() {
    let one = Config::<1>::new().try_operation("op", Registration::new()).unwrap();
    let name = Name::new("op").unwrap();
    let twice = one.clone().try_operation("op", Registration::new()).unwrap_err();
    assert_eq!(twice, ConfigError::Twice(name));
    let more = one.try_operation("other", Registration::new()).unwrap_err();
    assert_eq!(more, ConfigError::TooMany(1));
    let none = Config::<1>::new().try_operation("", Registration::new()).unwrap_err();
    assert_eq!(none, ConfigError::Name(NameError::Empty));
}

// --- Settings -------------------------------------------------------------------------------------

#[test]
fn each_setting_is_taken_at_its_bounds_and_refused_beyond_them() {
    for key in Key::ALL {
        let (least, greatest) = key.range();
        for inside in [least, least + 1, greatest - 1, greatest] {
            let given = Registration::new().try_given(key, inside).unwrap();
            let kept = given.get(key).unwrap();
            // Above 35 minutes, lengths are kept in units of 64 µs, rounded up.
            assert!(kept >= inside && kept - inside < 64, "{key}: {inside} is kept as {kept}");
            assert!(kept == inside || (key.kind() == Kind::Length && inside >= 1 << 31));
        }
        let outside = [Some(greatest + 1), Some(u64::MAX), least.checked_sub(1)];
        for outside in outside.into_iter().flatten() {
            assert_eq!(Registration::new().try_given(key, outside), Err(OutOfRange(key)));
        }
    }
}

#[test]
fn settings_reach_the_policy_as_they_are_given() {
    let table = Orchestrator::<1>::new();
    let registration = Registration::by(Strategy::Critical)
        .given(Key::Growth, 1)
        .given(Key::Multiplier, 1_500_000)
        .given(Key::Min, 1)
        .given(Key::Max, 3_600_000_000)
        .given(Key::JitterKind, 3)
        .given(Key::Window, 86_400_000_000)
        .given(Key::MaxAskedWait, 0)
        .given(Key::AttemptTimeout, 1_000)
        .given(Key::Deadline, 86_399_000_000)
        .given(Key::Failures, 4)
        .given(Key::OfLast, 11)
        .given(Key::OpenFor, 50_000)
        .given(Key::OpenGrowth, 15)
        .given(Key::OpenMax, 600_000_000)
        .given(Key::Probes, 5)
        .given(Key::Lease, 90_000_000)
        .given(Key::Tokens, 77)
        .given(Key::PerSuccess, 250)
        .given(Key::Refill, 3_000_000)
        .given(Key::Slots, 12)
        .given(Key::RequestsPerMinute, 13)
        .given(Key::TokensPerMinute, 14);
    let settings = table.register("op", registration).unwrap().settings();
    let backoff =
        Backoff::linear(Duration::from_millis(1_500), Duration::from_micros(1), secs(3_600))
            .jitter(steadfast::Jitter::Equal);
    assert_eq!(settings.backoff, backoff);
    assert_eq!((settings.window, settings.max_asked_wait), (secs(86_400), Duration::ZERO));
    assert_eq!(
        (settings.attempt_timeout, settings.deadline),
        (Duration::from_millis(1), secs(86_399))
    );
    let rule = settings.breaker;
    assert_eq!((rule.trip().failures(), rule.trip().window(), rule.probe_count()), (4, 11, 5));
    assert_eq!(
        (rule.growth_tenths(), rule.open_max(), rule.lease_for()),
        (15, secs(600), secs(90))
    );
    assert_eq!(rule.open_for().as_micros().div_ceil(32), 50_000_u128.div_ceil(32));
    let budget = settings.budget;
    assert_eq!((budget.tokens(), budget.per_success(), budget.refill_period()), (77, 250, secs(3)));
    assert_eq!(settings.slots, 12);
    assert_eq!(settings.limits, LimitRule::requests(13).and_tokens(14));
}

#[test]
fn failures_alone_are_failures_in_a_row() {
    let table = Orchestrator::<1>::new();
    let of_last = Registration::new().given(Key::Failures, 3).given(Key::OfLast, 10);
    table.register("op", of_last).unwrap();
    let window = |table: &Orchestrator<1>| table.effective("op").unwrap().settings().breaker.trip();
    assert_eq!((window(&table).failures(), window(&table).window()), (3, 10));
    let configured = Registration::new().given(Key::Failures, 15);
    table.configure(&Config::<1>::new().try_operation("op", configured).unwrap()).unwrap();
    assert_eq!((window(&table).failures(), window(&table).window()), (15, 15));
}

#[test]
fn a_breaker_goes_by_the_window_that_is_configured() {
    let table = Orchestrator::<1>::new();
    let handle = table.register("op", Registration::new()).unwrap();
    let settings = |registration| {
        let config = Config::<1>::new().try_operation("op", registration).unwrap();
        table.configure(&config).unwrap();
        (handle.settings().breaker.trip(), handle.settings().breaker_window)
    };
    let none = WindowRule::NONE;
    assert_eq!(settings(Registration::new()), (Trip::after(8), none));
    // What the circuit remembers itself needs no window; beyond that it sees the last ones.
    let count = |failures, of_last| {
        let failures = Registration::new().given(Key::Failures, failures);
        settings(failures.given(Key::OfLast, of_last))
    };
    assert_eq!(count(23, 23), (Trip::after(23), none));
    assert_eq!(count(8, 23), (Trip::after(8).of_last(23), none));
    assert_eq!(count(8, 24), (Trip::after(8).of_last(23), none.failures(8, 24)));
    assert_eq!(count(24, 24), (Trip::NEVER, none.failures(24, 24)));
    assert_eq!(count(1024, 1024), (Trip::NEVER, none.failures(1024, 1024)));
    assert_eq!(handle.settings().failures(), 1024);
    // With a rate, `of_last` is of the rate, and failures are in a row.
    let rate = Registration::new().given(Key::FailureRate, 500);
    let by_count = settings(rate.given(Key::OfLast, 5));
    assert_eq!(by_count, (Trip::after(8), WindowRule::over_last(5).failure_rate(500)));
    let in_a_row = settings(rate.given(Key::OfLast, 50).given(Key::Failures, 30));
    let expected = WindowRule::over_last(50).failure_rate(500).failures(30, 30);
    assert_eq!(in_a_row, (Trip::NEVER, expected));
    let by_time = rate
        .given(Key::Within, 60_000_000)
        .given(Key::SlowRate, 1)
        .given(Key::SlowAfter, 2_500_000)
        .given(Key::MinCalls, 40);
    let expected = WindowRule::within(secs(60)).failure_rate(500).min_calls(40);
    let expected = expected.slow_rate(1, Duration::from_millis(2_500));
    assert_eq!(settings(by_time), (Trip::after(8), expected));
}

#[test]
fn a_window_of_a_day_remembers_hours_and_what_is_slow_after_hours_is_so() {
    let clock = ManualClock::new();
    let rates = Registration::new()
        .given(Key::Attempts, 1)
        .given(Key::FailureRate, 1_000)
        .given(Key::SlowRate, 1_000)
        .given(Key::SlowAfter, 7_200_000_000)
        .given(Key::Within, 86_400_000_000)
        .given(Key::MinCalls, 4)
        // As many of these as a ticket lasts: else what takes hours comes late.
        .given(Key::OpenFor, 3_600_000_000);
    for (fails, takes, opens) in [(true, 3_600, true), (false, 3_600, false), (false, 7_200, true)]
    {
        let table = Orchestrator::<1>::new();
        let handle = table.register("op", rates).unwrap().retry_all();
        let breaker = table.breaker("op").unwrap();
        for number in 1..=4 {
            assert_eq!(breaker.state(clock.now()), State::Closed, "{number} {fails} {takes}");
            let answered = handle.execute_blocking(&clock, |_| {
                clock.advance(secs(takes));
                if fails { Err("down") } else { Ok(()) }
            });
            assert_eq!(answered.is_err(), fails);
        }
        let opened = breaker.state(clock.now()) == State::Open;
        assert_eq!(opened, opens, "{fails} {takes}");
    }
}

#[test]
fn the_stronger_layer_says_what_a_rate_is_of() {
    let of_last = Registration::new().given(Key::FailureRate, 500).given(Key::OfLast, 50);
    let within = Registration::new().given(Key::Within, 60_000_000);
    let table = Orchestrator::<1>::new();
    table.register("op", of_last).unwrap();
    let configured = |registration| {
        let config = Config::<1>::new().try_operation("op", registration).unwrap();
        table.configure(&config).unwrap();
        let effective = table.effective("op").unwrap();
        [Key::Failures, Key::OfLast, Key::Within, Key::MinCalls].map(|key| effective.get(key))
    };
    assert_eq!(configured(Registration::new()), [8, 50, 0, 50]);
    assert_eq!(configured(within), [8, 0, 60_000_000, 10]);
    assert_eq!(configured(Registration::new().given(Key::Failures, 9)), [9, 50, 0, 50]);
    let effective = table.effective("op").unwrap();
    assert_eq!(effective.get(Key::FailureRate), 500);
    assert_eq!(Key::FailureRate.value(500).to_string(), "50");
    assert_eq!(Key::SlowAfter.value(effective.get(Key::SlowAfter)).to_string(), "none");
    assert_eq!(effective.origin(Key::Failures), Origin::Configured);
}

#[test]
fn a_window_is_judged_by_the_settings_of_the_moment() {
    let (table, clock) = (Orchestrator::<1>::new(), ManualClock::new());
    let rate = Registration::new().given(Key::Attempts, 1).given(Key::OfLast, 4);
    let handle = table.register("op", rate.given(Key::FailureRate, 1000)).unwrap().retry_all();
    let call = |answer: Result<(), ()>| {
        let answered = clock.block_on(handle.execute(&clock, || async { answer }));
        answered.err().map(|error| error.stopped)
    };
    for answer in [Ok(()), Err(()), Err(()), Err(())] {
        let _ = call(answer);
    }
    assert_eq!(table.breaker("op").unwrap().state(clock.now()), State::Closed, "3 of 4");
    let config = Config::<1>::new();
    let lower = Registration::new().given(Key::FailureRate, 750);
    table.configure(&config.try_operation("op", lower).unwrap()).unwrap();
    assert_eq!(call(Ok(())), None, "it counts, and makes it three of the last four");
    assert_eq!(table.breaker("op").unwrap().state(clock.now()), State::Open);
    assert_eq!(call(Ok(())), Some(Reason::BreakerOpen));
    assert_eq!(table.metrics("op").unwrap().snapshot().breaker.opened, 1);
}

#[test]
fn a_table_whose_windows_are_too_small_says_so_and_changes_nothing() {
    const WORDS: usize = Window::words(64);
    let table = Orchestrator::<2, COUNT_ONLY, 1, WORDS>::new();
    let count = |of_last| Registration::new().given(Key::OfLast, of_last);
    let fits = count(64);
    table.register("op", fits).unwrap();
    let error = table.register("other", count(65)).map(|_| ()).unwrap_err();
    assert_eq!(error, RegisterError::Conflict(Conflict::WindowTooSmall));
    let text = "the table's windows are too small for breaker.of_last, breaker.failures or \
                breaker.within";
    assert_eq!(error.to_string(), text);
    let config = Config::<2>::new().try_operation("op", count(65)).unwrap();
    let name = Name::new("op").unwrap();
    let error = ConfigError::Operation(name, Conflict::WindowTooSmall);
    assert_eq!(table.configure(&config), Err(error));
    assert_eq!(table.effective("op").unwrap().get(Key::OfLast), 64);
    let without = Orchestrator::<1, COUNT_ONLY, 1, NO_WINDOW>::new();
    assert!(without.register("op", count(23)).is_ok());
    let error = without.register("op", count(24)).map(|_| ()).unwrap_err();
    assert_eq!(error, RegisterError::Conflict(Conflict::WindowTooSmall));
}

#[test]
fn settings_that_do_not_go_together_name_each_other() {
    let conflict = |registration| {
        let error = Orchestrator::<1>::new().register("op", registration).map(|_| ()).unwrap_err();
        error.to_string()
    };
    let backoff = Registration::new().given(Key::Min, 10_000_000);
    assert_eq!(conflict(backoff), "retry.min must be below retry.max");
    let window = Registration::new().given(Key::Failures, 9).given(Key::OfLast, 8);
    assert_eq!(conflict(window), "breaker.of_last must not be below breaker.failures");
    let growth = Registration::new().given(Key::OpenMax, 59_000_000);
    assert_eq!(conflict(growth), "breaker.open_max must not be below breaker.open_for");
    let rate = Registration::new().given(Key::FailureRate, 500);
    let of_nothing =
        "breaker.failure_rate or breaker.slow_rate needs breaker.of_last or breaker.within";
    assert_eq!(conflict(rate), of_nothing);
    let slow = Registration::new().given(Key::SlowRate, 500);
    assert_eq!(conflict(slow.given(Key::SlowAfter, 1_000_000)), of_nothing);
    let slow = slow.given(Key::OfLast, 50);
    assert_eq!(conflict(slow), "breaker.slow_rate needs breaker.slow_after");
    let within = Registration::new().given(Key::Within, 60_000_000);
    let alone = "breaker.within needs breaker.failure_rate or breaker.slow_rate";
    assert_eq!(conflict(within), alone);
    let both = rate.given(Key::OfLast, 50).given(Key::Within, 60_000_000);
    assert_eq!(conflict(both), "breaker.of_last must not be given beside breaker.within");
    let many = rate.given(Key::Within, 60_000_000).given(Key::Failures, 24);
    assert_eq!(conflict(many), "breaker.failures is 23 at most beside breaker.within");
}

#[test]
fn what_is_probably_not_meant_is_warned_of() {
    let warnings = |registration| {
        let table = Orchestrator::<1>::new();
        table.register("op", registration).unwrap();
        table.effective("op").unwrap().warnings().collect::<Vec<_>>()
    };
    let base = Registration::by(Strategy::Balanced);
    assert_eq!(warnings(base), []);
    assert_eq!(warnings(base.given(Key::Failures, 5)), [], "attempts + 2");
    assert_eq!(warnings(base.given(Key::Failures, 4)), [Warning::OpensAlone]);
    let rate = base.given(Key::FailureRate, 500).given(Key::OfLast, 50);
    assert_eq!(warnings(rate.given(Key::MinCalls, 5)), [], "attempts + 2");
    assert_eq!(warnings(rate.given(Key::MinCalls, 4)), [Warning::RatesAlone]);
    assert_eq!(warnings(base.given(Key::MinCalls, 20)), [Warning::MinCallsAlone]);
    assert_eq!(warnings(rate.given(Key::SlowAfter, 2_000_000)), [Warning::SlowAfterAlone]);
    let slow = rate.given(Key::SlowRate, 500).given(Key::SlowAfter, 2_000_000);
    assert_eq!(warnings(slow), []);
    assert_eq!(warnings(base.given(Key::Window, 7_000_000)), [Warning::WindowShort]);
    let many =
        base.given(Key::Attempts, 8).given(Key::Failures, 10).given(Key::Window, 86_000_000_000);
    assert_eq!(warnings(many), [Warning::ManyAttempts]);
    assert_eq!(warnings(base.given(Key::Probes, 9)), [Warning::ManyProbes]);
    assert_eq!(warnings(base.given(Key::Lease, 59_000_000)), [Warning::LeaseShort]);
    assert_eq!(warnings(base.given(Key::AttemptTimeout, 3_000_000_000)), [], "the lease follows");
}

#[test]
fn values_are_shown_as_they_are_written() {
    let shown = |key: Key, value| key.value(value).to_string();
    assert_eq!(shown(Key::RetryEnabled, 1), "true");
    assert_eq!(shown(Key::Attempts, 50), "50");
    assert_eq!(shown(Key::Min, 1_500_000), "1.5s");
    assert_eq!(shown(Key::OpenGrowth, 15), "1.5");
    assert_eq!(shown(Key::PerSuccess, 50), "0.05");
    assert_eq!(shown(Key::Growth, 2), "exponential");
    assert_eq!(shown(Key::Slots, 0), "none");
    assert_eq!(Key::Slots.value(0), Value::None);
    assert_eq!(
        OutOfRange(Key::OpenFor).to_string(),
        "breaker.open_for is a number of seconds, 0.05 to 86400: 50000 to 86400000000 microseconds"
    );
    assert_eq!(
        OutOfRange(Key::Mode).to_string(),
        "breaker.mode is normal, forced_open, forced_closed or shadow"
    );
    for key in Key::ALL {
        assert_eq!(key.path().parse(), Ok(key));
        assert_eq!(Key::from_tag(key.tag()), Some(key));
    }
    assert_eq!(
        "retry.attempt".parse::<Key>().map_err(|error| error.to_string()),
        Err("no such setting".to_owned())
    );
}

// --- Helpers --------------------------------------------------------------------------------------

/// Balanced, so many attempts, hardly any wait, and an ample budget.
const fn plain(attempts: u64) -> Registration {
    Registration::by(Strategy::Balanced)
        .given(Key::Attempts, attempts)
        .given(Key::Multiplier, 1)
        .given(Key::Min, 0)
        .given(Key::JitterKind, 0)
        .given(Key::Tokens, 10_000)
}

async fn clock_sleep(clock: &ManualClock, length: Duration) {
    use steadfast::Sleep as _;
    clock.sleep_until(clock.now().after(length)).await;
}

const fn mode_of(mode: Mode) -> Registration {
    plain(1).given(Key::Mode, mode as u64)
}

fn fail() -> core::future::Ready<Result<u8, &'static str>> {
    ready(Err("down"))
}

fn succeed() -> core::future::Ready<Result<u8, &'static str>> {
    ready(Ok(7))
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_check_tells_every_objection_and_changes_nothing() {
    let orchestrator = Orchestrator::<3>::new()
        .operation("a", Registration::new().given(Key::Max, 50_000_000))
        .operation("b", Registration::new());
    let long = Registration::new().given(Key::Min, 40_000_000);
    let config = ["a", "b", "c", "d"]
        .into_iter()
        .fold(Config::<4>::new(), |config, name| config.try_operation(name, long).unwrap());
    let told = |config: &Config<4>| {
        let mut told = Vec::new();
        orchestrator.check(config, |objection| told.push(objection));
        told
    };
    let at_odds = |name| ConfigError::Operation(Name::new(name).unwrap(), Conflict::MinNotBelowMax);
    let expected = [at_odds("b"), at_odds("c"), at_odds("d"), ConfigError::Full { capacity: 3 }];
    assert_eq!(told(&config), expected);
    assert_eq!(orchestrator.configure(&config), Err(at_odds("b")));
    assert_eq!(orchestrator.len(), 2);

    let every = Registration::new().given(Key::Max, 2_500_000);
    let strategies = [Strategy::Conservative, Strategy::Critical]
        .map(|strategy| ConfigError::Strategy(strategy, Conflict::MinNotBelowMax));
    assert_eq!(told(&Config::new().with_every_strategy(every)), strategies);
    assert_eq!(told(&Config::new()), []);
}

#[test]
fn all_conflicts_of_an_operation_are_told_at_once_the_first_as_resolving_finds_it() {
    let none = Registration::new();
    let conflicts = |of: &Registration| -> Vec<Conflict> {
        Effective::conflicts(Strategy::Balanced, &none, &none, of).collect()
    };
    // Lengths around one another by a microsecond and by the unit that rules are kept in.
    let lengths = [1_000_000, 1_000_001, 1_000_032, 1_000_033];
    let mut found = BTreeSet::new();
    for (min, max) in pairs(&lengths) {
        for (open_for, open_max) in pairs(&lengths) {
            for (failures, of_last) in pairs(&[4, 5]) {
                let registration = Registration::new()
                    .given(Key::Min, min)
                    .given(Key::Max, max)
                    .given(Key::OpenFor, open_for)
                    .given(Key::OpenMax, open_max)
                    .given(Key::Failures, failures)
                    .given(Key::OfLast, of_last);
                let told = conflicts(&registration);
                let resolved = Effective::resolve(Strategy::Balanced, &none, &none, &registration);
                assert_eq!(told.first().copied(), resolved.err(), "{registration:?}");
                assert_eq!(told.contains(&Conflict::MinNotBelowMax), min >= max);
                assert_eq!(told.contains(&Conflict::OfLastBelowFailures), of_last < failures);
                let is_below = open_max.div_ceil(32) < open_for.div_ceil(32);
                assert_eq!(told.contains(&Conflict::OpenMaxBelowOpenFor), is_below);
                found.insert(told.len());
            }
        }
    }
    assert_eq!(found, BTreeSet::from([0, 1, 2, 3]));
    // What follows from the other is never at odds with it.
    assert_eq!(conflicts(&Registration::new().given(Key::Failures, 23)), []);
    assert_eq!(conflicts(&Registration::new().given(Key::OpenFor, 86_400_000_000)), []);
}

fn pairs(values: &[u64]) -> Vec<(u64, u64)> {
    values.iter().flat_map(|&one| values.iter().map(move |&other| (one, other))).collect()
}
