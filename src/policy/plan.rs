//! What a policy goes by, in the form that executions read.

use core::time::Duration;

use super::backoff::Backoff;
use super::strategy::Settings;
use crate::clock::{duration, micros};
use crate::state::BudgetRule;

/// How often, and for how long in microseconds. What is not limited is [`NEVER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) attempts: u32,
    pub(crate) window: u64,
    pub(crate) attempt_timeout: u64,
    pub(crate) deadline: u64,
    pub(crate) max_asked_wait: u64,
}

/// Settings but for the breaker's rule: what an execution takes with it when it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) limits: Limits,
    pub(crate) backoff: Backoff,
    pub(crate) budget: BudgetRule,
    /// Of the bulkhead; zero for none.
    pub(crate) slots: u32,
    pub(crate) retry_enabled: bool,
    pub(crate) breaker_enabled: bool,
    /// Whether the breaker goes by a window, too.
    pub(crate) windowed: bool,
    /// Whether a limiter is asked.
    pub(crate) limited: bool,
}

impl Limits {
    pub(crate) const NONE: Self = Self {
        attempts: 1,
        window: NEVER,
        attempt_timeout: NEVER,
        deadline: NEVER,
        max_asked_wait: NEVER,
    };
}

impl Plan {
    pub(crate) const fn of(settings: &Settings) -> Self {
        Self {
            limits: Limits {
                attempts: settings.attempts,
                window: micros(settings.window),
                attempt_timeout: micros(settings.attempt_timeout),
                deadline: micros(settings.deadline),
                max_asked_wait: micros(settings.max_asked_wait),
            },
            backoff: settings.backoff,
            budget: settings.budget,
            slots: settings.slots,
            retry_enabled: settings.retry_enabled,
            breaker_enabled: settings.breaker_enabled,
            windowed: !settings.breaker_window.is_none(),
            limited: !settings.limits.is_none(),
        }
    }

    /// `settings` with what this says in place of what they say.
    pub(crate) const fn within(&self, settings: &Settings) -> Settings {
        let Limits { attempts, window, attempt_timeout, deadline, max_asked_wait } = self.limits;
        Settings {
            attempts,
            backoff: self.backoff,
            window: length(window),
            attempt_timeout: length(attempt_timeout),
            deadline: length(deadline),
            max_asked_wait: length(max_asked_wait),
            breaker: settings.breaker,
            breaker_window: settings.breaker_window,
            budget: self.budget,
            slots: self.slots,
            limits: settings.limits,
            retry_enabled: self.retry_enabled,
            breaker_enabled: self.breaker_enabled,
            mode: settings.mode,
        }
    }

    pub(crate) const fn to_words(self) -> [u32; PLAN_WORDS] {
        let Limits { attempts, window, attempt_timeout, deadline, max_asked_wait } = self.limits;
        let [kinds, multiplier, min, max, jitter] = self.backoff.to_words();
        let [full, per_success, refill] = self.budget.to_words();
        let switches = (self.limited as u32) << 3
            | (self.windowed as u32) << 2
            | (self.retry_enabled as u32) << 1
            | self.breaker_enabled as u32;
        [
            attempts,
            switches,
            kinds,
            multiplier,
            min,
            max,
            jitter, //
            low(window),
            high(window),
            low(attempt_timeout),
            high(attempt_timeout), //
            low(deadline),
            high(deadline),
            low(max_asked_wait),
            high(max_asked_wait), //
            full,
            per_success,
            refill,
            self.slots,
        ]
    }

    /// What [`to_words`](Self::to_words) gave.
    #[rustfmt::skip]
    pub(crate) const fn from_words(words: &[u32; PLAN_WORDS]) -> Self {
        let [
            attempts, switches, kinds, multiplier, min, max, jitter,
            window, window_high, attempt, attempt_high,
            deadline, deadline_high, asked, asked_high,
            full, per_success, refill, slots,
        ] = *words;
        Self {
            limits: Limits {
                attempts,
                window: join(window, window_high),
                attempt_timeout: join(attempt, attempt_high),
                deadline: join(deadline, deadline_high),
                max_asked_wait: join(asked, asked_high),
            },
            backoff: Backoff::from_words([kinds, multiplier, min, max, jitter]),
            budget: BudgetRule::from_words([full, per_success, refill]),
            slots,
            retry_enabled: switches & 2 != 0,
            breaker_enabled: switches & 1 != 0,
            windowed: switches & 4 != 0,
            limited: switches & 8 != 0,
        }
    }
}

const fn low(wide: u64) -> u32 {
    wide as u32
}

const fn high(wide: u64) -> u32 {
    (wide >> 32) as u32
}

const fn join(low: u32, high: u32) -> u64 {
    (high as u64) << 32 | low as u64
}

const fn length(micros: u64) -> Duration {
    match micros {
        NEVER => Duration::MAX,
        _ => duration(micros),
    }
}

pub(crate) const PLAN_WORDS: usize = 19;
const NEVER: u64 = u64::MAX;
