//! The four named strategies: each row of their table, and what must follow from it.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use core::future::{pending, ready};
use core::time::Duration;

use steadfast::state::{Breaker, BudgetRule};
use steadfast::{
    Backoff, Class, Clock as _, Instant, Jitter, ManualClock, Policy, Reason, Strategy, Verdict,
};

/// A column of the table: times in milliseconds, `per_success` in thousandths of a token.
struct Column {
    strategy: Strategy,
    name: &'static str,
    attempts: u32,
    multiplier: u64,
    min: u64,
    max: u64,
    jitter: u64,
    window: u64,
    attempt_timeout: u64,
    deadline: u64,
    failures: u32,
    open_for: u64,
    probes: u32,
    max_asked_wait: u64,
    tokens: u32,
    per_success: u32,
    refill: u64,
}

const TABLE: [Column; 4] = [
    Column {
        strategy: Strategy::Aggressive,
        name: "aggressive",
        attempts: 5,
        multiplier: 250,
        min: 250,
        max: 2_000,
        jitter: 500,
        window: 10_000,
        attempt_timeout: 10_000,
        deadline: 20_000,
        failures: 7,
        open_for: 30_000,
        probes: 1,
        max_asked_wait: 5_000,
        tokens: 10,
        per_success: 100,
        refill: 60_000,
    },
    Column {
        strategy: Strategy::Balanced,
        name: "balanced",
        attempts: 3,
        multiplier: 1_000,
        min: 2_000,
        max: 10_000,
        jitter: 2_000,
        window: 30_000,
        attempt_timeout: 60_000,
        deadline: 120_000,
        failures: 8,
        open_for: 60_000,
        probes: 1,
        max_asked_wait: 30_000,
        tokens: 10,
        per_success: 100,
        refill: 60_000,
    },
    Column {
        strategy: Strategy::Conservative,
        name: "conservative",
        attempts: 2,
        multiplier: 2_000,
        min: 4_000,
        max: 30_000,
        jitter: 2_000,
        window: 120_000,
        attempt_timeout: 120_000,
        deadline: 360_000,
        failures: 10,
        open_for: 120_000,
        probes: 1,
        max_asked_wait: 60_000,
        tokens: 6,
        per_success: 50,
        refill: 60_000,
    },
    Column {
        strategy: Strategy::Critical,
        name: "critical",
        attempts: 7,
        multiplier: 1_500,
        min: 3_000,
        max: 60_000,
        jitter: 5_000,
        window: 300_000,
        attempt_timeout: 120_000,
        deadline: 900_000,
        failures: 20,
        open_for: 300_000,
        probes: 1,
        max_asked_wait: 120_000,
        tokens: 20,
        per_success: 200,
        refill: 15_000,
    },
];

#[test]
fn a_strategy_sets_attempts_and_times() {
    for row in TABLE {
        let settings = row.strategy.settings();
        assert_eq!(settings.attempts, row.attempts, "{}", row.name);
        assert_eq!(settings.window, ms(row.window), "{}", row.name);
        assert_eq!(settings.attempt_timeout, ms(row.attempt_timeout), "{}", row.name);
        assert_eq!(settings.deadline, ms(row.deadline), "{}", row.name);
        assert_eq!(settings.max_asked_wait, ms(row.max_asked_wait), "{}", row.name);
    }
}

#[test]
fn a_strategy_sets_the_back_off() {
    for row in TABLE {
        let settings = row.strategy.settings();
        let expected = Backoff::exponential(ms(row.multiplier), ms(row.min), ms(row.max))
            .jitter(Jitter::Additive(ms(row.jitter)));
        assert_eq!(settings.backoff, expected, "{}", row.name);
        // And as numbers, by the formula as it is written.
        for k in 1..=12 {
            let planned = (row.multiplier << (k - 1)).min(row.max).max(row.min);
            let wait = |random| settings.backoff.wait(k, Duration::ZERO, random);
            assert_eq!(wait(0), ms(planned), "{} {k}", row.name);
            assert_eq!(wait(1 << 31), ms(planned + row.jitter / 2), "{} {k}", row.name);
            assert_eq!(settings.backoff.longest(k), ms(planned + row.jitter), "{} {k}", row.name);
        }
    }
}

#[test]
fn a_strategy_sets_the_breaker() {
    for row in TABLE {
        let rule = row.strategy.settings().breaker;
        assert_eq!(rule.trip().failures(), row.failures, "{}", row.name);
        assert_eq!(rule.trip().window(), row.failures, "{}: in a row", row.name);
        assert_eq!(rule.open_for(), ms(row.open_for), "{}", row.name);
        assert_eq!(rule.probe_count(), row.probes, "{}", row.name);
        assert!(
            rule.lease_for() > ms(row.attempt_timeout),
            "{}: a probe that takes all its time is not late",
            row.name
        );
    }
}

#[test]
fn a_strategy_sets_the_retry_budget() {
    for row in TABLE {
        let budget = row.strategy.settings().budget;
        let expected = BudgetRule::new(row.tokens, row.per_success, ms(row.refill));
        assert_eq!(budget, expected, "{}", row.name);
        assert_eq!(budget.tokens(), row.tokens, "{}", row.name);
        assert_eq!(budget.succeed(0), row.per_success, "{}", row.name);
        let refills = |after| budget.claim(0, Instant::ORIGIN.after(after)).1;
        assert_eq!(refills(ms(row.refill)), 0, "{}: never early", row.name);
        assert_eq!(refills(ms(row.refill) + 2 * TICK), 1, "{}: two ticks late", row.name);
    }
}

#[test]
fn one_execution_alone_never_opens_the_breaker() {
    for strategy in Strategy::ALL {
        let settings = strategy.settings();
        assert!(settings.breaker.trip().failures() >= settings.attempts + 2, "{strategy}");

        let (clock, breaker) = (ManualClock::new(), Breaker::with_rule(settings.breaker));
        let policy = Policy::of(strategy).breaker(&breaker).retry_all();
        let operation = || ready(Err::<u8, _>("out"));
        let error = clock.block_on(policy.execute(&clock, operation)).unwrap_err();
        assert_eq!((error.attempts, error.stopped), (settings.attempts, Reason::Attempts));
        assert!(breaker.circuit().is_closed(), "{strategy}");
    }
}

#[test]
fn the_longest_waits_and_a_second_for_each_attempt_fit_into_the_window() {
    for strategy in Strategy::ALL {
        let settings = strategy.settings();
        let retries = settings.attempts - 1;
        let waits: Duration = (1..=retries).map(|k| settings.backoff.longest(k)).sum();
        assert!(waits + Duration::from_secs(retries.into()) <= settings.window, "{strategy}");

        let clock = ManualClock::new();
        clock.set_random(u32::MAX);
        let policy = Policy::of(strategy).retry_all();
        let second = || {
            // An attempt of a second, but for the last.
            let (clock, ends) = (&clock, clock.now().after(Duration::from_secs(1)));
            async move {
                steadfast::Sleep::sleep_until(&clock, ends).await;
                Err::<u8, _>("out")
            }
        };
        let error = clock.block_on(policy.execute(&clock, second)).unwrap_err();
        assert_eq!((error.attempts, error.stopped), (settings.attempts, Reason::Attempts));
    }
}

#[test]
fn the_budget_pays_all_the_retries_of_one_execution() {
    for strategy in Strategy::ALL {
        let settings = strategy.settings();
        assert!(settings.budget.tokens() / 2 >= settings.attempts - 1, "{strategy}");

        // The half that is spent before retries stop, and one more: it needs more than half left.
        let clock = ManualClock::new();
        let budget = steadfast::Budget::with_rule(settings.budget);
        let policy = Policy::of(strategy).budget(&budget).retry_all();
        let operation = || ready(Err::<u8, _>("out"));
        let error = clock.block_on(policy.execute(&clock, operation)).unwrap_err();
        assert_eq!((error.attempts, error.stopped), (settings.attempts, Reason::Attempts));
    }
}

#[test]
fn a_policy_of_a_strategy_does_what_the_strategy_sets() {
    for row in TABLE {
        let policy = Policy::of(row.strategy).retry_all();
        let clock = ManualClock::new();
        clock.set_random(0);
        let mut run = policy.start::<&str>(clock.now(), 0);
        let steadfast::policy::Leave::Granted(attempt) = run.attempt(clock.now()).next else {
            panic!("nothing refuses")
        };
        assert_eq!(attempt.made().time_left, ms(row.attempt_timeout), "{}", row.name);
        drop((run, attempt));

        let hang = || pending::<Result<u8, &str>>();
        let error = clock.block_on(policy.execute(&clock, hang)).unwrap_err();
        // What comes first: attempts, the window or the deadline, of attempts that use all their time.
        let mut now = row.attempt_timeout;
        let mut attempts = 1;
        let stopped = loop {
            let wait = (row.multiplier << (attempts - 1)).min(row.max).max(row.min);
            if attempts == row.attempts {
                break Reason::Attempts;
            } else if now + wait > row.window {
                break Reason::Window;
            } else if now + wait >= row.deadline {
                break Reason::Deadline;
            }
            now += wait + row.attempt_timeout;
            attempts += 1;
        };
        assert_eq!((error.attempts, error.stopped), (attempts, stopped), "{}", row.name);
        assert_eq!(clock.now(), Instant::ORIGIN.after(ms(now)), "{}", row.name);

        // The deadline alone, cutting the first attempt.
        let endless = policy.retry_window(Duration::MAX).attempt_timeout(Duration::MAX);
        let clock = ManualClock::new();
        let error = clock.block_on(endless.execute(&clock, hang)).unwrap_err();
        assert_eq!((error.attempts, error.stopped), (1, Reason::Deadline), "{}", row.name);
        assert_eq!(clock.now(), Instant::ORIGIN.after(ms(row.deadline)), "{}", row.name);

        let asks = |more| {
            let wait = ms(row.max_asked_wait + more);
            move |_: &&str| Verdict::of(Class::RateLimited).not_before(wait)
        };
        let clock = ManualClock::new();
        clock.set_random(0);
        // Without its window and deadline, which would come before it.
        let patient = Policy::of(row.strategy).retry_window(Duration::MAX).deadline(Duration::MAX);
        let too_long = patient.classify(asks(1));
        let failing = || ready(Err::<u8, _>("busy"));
        let error = clock.block_on(too_long.execute(&clock, failing)).unwrap_err();
        assert_eq!((error.attempts, error.stopped), (1, Reason::AskedWait), "{}", row.name);
        let just = patient.classify(asks(0));
        let error = clock.block_on(just.execute(&clock, failing)).unwrap_err();
        assert_eq!(error.attempts, row.attempts, "{}", row.name);
    }
}

#[test]
fn balanced_is_the_default() {
    assert_eq!(Strategy::default(), Strategy::Balanced);
}

#[test]
fn a_strategy_is_read_as_it_is_written() {
    assert_eq!(Strategy::ALL.len(), TABLE.len());
    for (strategy, row) in Strategy::ALL.into_iter().zip(TABLE) {
        assert_eq!(strategy, row.strategy);
        assert_eq!((strategy.name(), strategy.to_string().as_str()), (row.name, row.name));
        assert_eq!(row.name.parse(), Ok(strategy));
    }
    for unknown in ["", "Balanced", "BALANCED", " balanced", "balanced ", "balance", "bold"] {
        let error = unknown.parse::<Strategy>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a strategy is aggressive, balanced, conservative or critical"
        );
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The budget's coarse time.
const TICK: Duration = Duration::from_micros(1 << 14);
