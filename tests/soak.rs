//! Many threads under settings that are replaced all the while: nobody sees a part of two, and the
//! totals add up.
//!
//! A second of it, as all tests run. `STEADFAST_SOAK_SECONDS=20 cargo test --release --test soak` is the
//! long run, which is to keep the pace too: 1000 replacements a second of 200 operations' settings.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::disallowed_types)]

use core::future::ready;
use core::pin::pin;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::time::Instant as StdInstant;
use std::{env, thread};

use steadfast::orchestrator::{Config, ConfigError, Key, Registration};
use steadfast::state::{COUNT_ONLY, Snapshot};
use steadfast::{ManualClock, Orchestrator, Strategy};

const OPERATIONS: usize = 200;
const THREADS: usize = 8;
const REPLACEMENTS_A_SECOND: u128 = 1_000;

#[test]
fn under_replacements_no_setting_is_torn_and_all_totals_add_up() {
    static TABLE: Orchestrator<OPERATIONS, COUNT_ONLY> = Orchestrator::new();
    static CLOCK: ManualClock = ManualClock::new();
    let seconds = env::var("STEADFAST_SOAK_SECONDS").map_or(1, |text| text.parse().unwrap());
    let names: Vec<String> = (0..OPERATIONS).map(|number| format!("operation_{number}")).collect();
    for name in &names {
        let _handle = TABLE.register(name, Registration::new()).unwrap();
    }
    TABLE.configure(&Config::<1>::new().with_every_strategy(numbered(1))).unwrap();
    let (over, read, replaced) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let made: Vec<u64> = thread::scope(|scope| {
        let callers: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (names, over, read) = (&names, &over, &read);
                scope.spawn(move || {
                    let (mut made, mut at) = (0, thread * 7);
                    while !over.load(Relaxed) {
                        at = (at + 13) % OPERATIONS;
                        let handle = TABLE.get(&names[at]).unwrap().retry_all();
                        let settings = handle.settings();
                        let number = u64::from(settings.attempts);
                        assert_eq!(settings.deadline, Duration::from_secs(number), "torn");
                        assert_eq!(u64::from(settings.slots), 1_000 + number, "torn");
                        assert_eq!(u64::from(settings.breaker.probe_count()), number, "torn");
                        assert_eq!(u64::from(settings.budget.tokens()), number, "torn");
                        // Its own number, or that of all others beside one that is apart.
                        let critical = handle.strategy(Strategy::Critical).settings();
                        let shared = u64::from(critical.budget.tokens());
                        let every = critical.deadline.as_secs();
                        assert!(every == shared || every == 21 - shared, "torn");
                        let window = settings.breaker_window;
                        assert_eq!(window.outcomes().map(u64::from), Some(100 + number), "torn");
                        let rate = window.failure_rate_limit();
                        assert_eq!(rate.map(u64::from), Some(900 + number), "torn");
                        assert_eq!(u64::from(window.calls_needed()), number, "torn");
                        read.fetch_add(1, Relaxed);
                        let failing = (at + made as usize) % 5 == 0;
                        let call = || ready(if failing { Err("down") } else { Ok(()) });
                        let mut execution = pin!(handle.with(ONE_ATTEMPT).execute(&CLOCK, call));
                        let polled =
                            execution.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                        assert!(
                            matches!(polled, Poll::Ready(_)),
                            "one attempt that is ready at once"
                        );
                        made += 1;
                        if made % 64 == 0 {
                            // Threads are more than cores: the one that replaces is to have its turn.
                            thread::sleep(Duration::from_micros(100));
                        }
                    }
                    made
                })
            })
            .collect();
        let (began, mut number) = (StdInstant::now(), 1);
        while began.elapsed() < Duration::from_secs(seconds) {
            number = number % 20 + 1;
            let config = Config::<1>::new().with_every_strategy(numbered(number));
            // One of them is configured apart from the others.
            let name = &names[number as usize * 7 % OPERATIONS];
            let config = config.try_operation(name, numbered(21 - number)).unwrap();
            match TABLE.configure(&config) {
                Ok(()) => replaced.fetch_add(1, Relaxed),
                Err(ConfigError::Busy) => unreachable!("nobody else writes"),
                Err(error) => panic!("{error}"),
            };
            CLOCK.advance(Duration::from_millis(50));
            let due = u128::from(replaced.load(Relaxed)) * 1_000 / REPLACEMENTS_A_SECOND;
            thread::sleep(Duration::from_millis(due as u64).saturating_sub(began.elapsed()));
        }
        over.store(true, Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    let snapshots: Vec<Snapshot> = TABLE.iter().map(|view| view.snapshot()).collect();
    let calls = snapshots.iter().map(|snapshot| snapshot.calls.started).sum::<u64>();
    assert_eq!(calls, made.iter().sum::<u64>(), "each call is in exactly one operation's books");
    for Snapshot { calls, attempts, .. } in snapshots {
        let ended =
            calls.succeeded + calls.failed + calls.refused + calls.fell_back + calls.cancelled;
        assert_eq!((calls.started, calls.in_flight, attempts.in_flight), (ended, 0, 0));
        assert_eq!(attempts.started, attempts.succeeded + attempts.failed);
    }
    assert_eq!(TABLE.len(), OPERATIONS);
    let (replaced, read) = (replaced.into_inner(), read.into_inner());
    println!("{} replacements a second, {read} reads", replaced / seconds);
    // In a short run, tests share the machine, and a build that is not optimised takes ten times as long
    // for each.
    let least = if seconds < 20 { 5 } else { 900 };
    assert!(replaced >= least * seconds, "{replaced} replacements in {seconds} s");
    assert!(read > 1_000);
}

const ONE_ATTEMPT: steadfast::orchestrator::Overrides =
    steadfast::orchestrator::Overrides::new().attempts(1);

/// Settings that say the same number in several words.
const fn numbered(number: u64) -> Registration {
    Registration::new()
        .given(Key::Attempts, number)
        .given(Key::Deadline, number * 1_000_000)
        .given(Key::Slots, 1_000 + number)
        .given(Key::Probes, number)
        .given(Key::Tokens, number)
        .given(Key::OfLast, 100 + number)
        .given(Key::FailureRate, 900 + number)
        .given(Key::MinCalls, number)
        .given(Key::OpenFor, 50_000)
}
