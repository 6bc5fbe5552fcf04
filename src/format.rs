//! How `defmt` shows what a derive would show poorly: lengths as seconds, names and settings as text.

use core::borrow::Borrow;
use core::time::Duration;

use defmt::{Format, Formatter, write};

use crate::clock::{Clock as _, Instant, ManualClock, duration, micros};
use crate::orchestrator::{
    Config, Effective, Handle, Health, Name, OperationBreaker, Orchestrator, Registration, Value,
    View,
};
use crate::policy::plan::Limits;
use crate::policy::{Attempt, Backoff, Event, Jitter, Made, Policy, Run, Settings, Verdict};
use crate::state::{
    Baseline, BudgetRule, ClosedPhase, Guarded as _, Latency, Metrics, Resettable, Rule,
    SharedBuckets, SharedCircuit, SharedSlots, SharedTokens, SharedWindow, Window, WindowRule,
};

/// Seconds, to the microsecond.
struct Length(Duration);

impl Format for Length {
    fn format(&self, f: Formatter<'_>) {
        match self.0 {
            Duration::MAX => write!(f, "unlimited"),
            length => write!(f, "{=u64:us} s", micros(length)),
        }
    }
}

impl Format for Instant {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u64:us}", self.as_micros());
    }
}

impl Format for Name {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=str}", self.as_str());
    }
}

/// The sentences of its `Display`.
impl Format for Event {
    fn format(&self, f: Formatter<'_>) {
        match *self {
            Self::Retry { attempt, wait, class } => {
                let class = class.text();
                write!(
                    f,
                    "attempt {=u32} failed ({=str}), next in {}",
                    attempt,
                    class,
                    Length(wait)
                );
            }
            Self::Opened => write!(f, "breaker opened"),
            Self::HalfOpened => write!(f, "breaker half-open"),
            Self::Closed => write!(f, "breaker closed"),
            Self::Refused { stage: _, reason, wait: Some(wait) } => {
                write!(f, "refused: {=str}, for {}", reason.text(), Length(wait));
            }
            Self::Refused { stage: _, reason, wait: None } => {
                write!(f, "refused: {=str}", reason.text());
            }
        }
    }
}

impl Format for Verdict {
    fn format(&self, f: Formatter<'_>) {
        let Self { class, retry, .. } = *self;
        write!(
            f,
            "Verdict {{ class: {}, retry: {}, asked_wait: {} }}",
            class,
            retry,
            self.asked_wait().map(Length)
        );
    }
}

impl Format for Made {
    fn format(&self, f: Formatter<'_>) {
        let Self { attempt, time_left } = *self;
        write!(f, "Made {{ attempt: {=u32}, time_left: {} }}", attempt, Length(time_left));
    }
}

impl Format for Jitter {
    fn format(&self, f: Formatter<'_>) {
        match *self {
            Self::None => write!(f, "None"),
            Self::Additive(most) => write!(f, "Additive({})", Length(most)),
            Self::Full => write!(f, "Full"),
            Self::Equal => write!(f, "Equal"),
            Self::Decorrelated => write!(f, "Decorrelated"),
        }
    }
}

impl Format for Backoff {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "Backoff {{ growth: {}, multiplier: {}, min: {}, max: {}, jitter: {} }}",
            self.growth(),
            Length(self.multiplier()),
            Length(self.min()),
            Length(self.max()),
            self.jitter_kind(),
        );
    }
}

impl Format for Rule {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "Rule {{ trip: {}, open_for: {}, growth_tenths: {=u32}, open_max: {}, probes: {=u32}, lease: {} }}",
            self.trip(),
            Length(self.open_for()),
            self.growth_tenths(),
            Length(self.open_max()),
            self.probe_count(),
            Length(self.lease_for()),
        );
    }
}

impl Format for BudgetRule {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "BudgetRule {{ tokens: {=u32}, thousandths_per_success: {=u32}, refill: {} }}",
            self.tokens(),
            self.per_success(),
            Length(self.refill_period()),
        );
    }
}

impl Format for Latency {
    fn format(&self, f: Formatter<'_>) {
        let Self { p50, p95, p99 } = *self;
        write!(
            f,
            "Latency {{ p50: {}, p95: {}, p99: {} }}",
            p50.map(Length),
            p95.map(Length),
            p99.map(Length)
        );
    }
}

impl Format for WindowRule {
    fn format(&self, f: Formatter<'_>) {
        if self.is_none() {
            return write!(f, "none");
        }
        write!(
            f,
            "WindowRule {{ failures: {}, of_last: {}, within: {}, ",
            self.failures_of_last(),
            self.outcomes(),
            self.time().map(Length),
        );
        write!(
            f,
            "failure_rate: {}, slow_rate: {}, min_calls: {=u32} }}",
            self.failure_rate_limit(),
            self.slow_rate_limit().map(|(rate, after)| (rate, Length(after))),
            self.calls_needed(),
        );
    }
}

impl Format for Settings {
    fn format(&self, f: Formatter<'_>) {
        let Self {
            attempts,
            backoff,
            window,
            attempt_timeout,
            deadline,
            max_asked_wait,
            breaker,
            breaker_window,
            budget,
            slots,
            limits,
            retry_enabled,
            breaker_enabled,
            mode,
        } = *self;
        write!(
            f,
            "Settings {{ attempts: {=u32}, backoff: {}, window: {}, attempt_timeout: {}, deadline: {}, max_asked_wait: {}, ",
            attempts,
            backoff,
            Length(window),
            Length(attempt_timeout),
            Length(deadline),
            Length(max_asked_wait),
        );
        write!(
            f,
            "breaker: {}, breaker_window: {}, budget: {}, slots: {=u32}, limits: {}, retry_enabled: {=bool}, breaker_enabled: {=bool}, mode: {} }}",
            breaker, breaker_window, budget, slots, limits, retry_enabled, breaker_enabled, mode,
        );
    }
}

impl Format for Value {
    fn format(&self, f: Formatter<'_>) {
        match *self {
            Self::Flag(on) => write!(f, "{=bool}", on),
            Self::Count(count) => write!(f, "{=u64}", count),
            Self::Length(length) => Length(length).format(f),
            Self::Thousandths(value) => write!(f, "{=u64}/1000", value),
            Self::Choice(name) => write!(f, "{=str}", name),
            Self::None => write!(f, "none"),
        }
    }
}

/// Each setting that it gives, under its path.
impl Format for Registration {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Registration {{ strategy: {}", self.named());
        for (key, value) in self.iter() {
            write!(f, ", {=str}: {}", key.path(), key.value(value));
        }
        write!(f, " }}");
    }
}

impl<const M: usize> Format for Config<M> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Config {{ default_strategy: {}, ", self.default_strategy());
        write!(f, "every_strategy: {}", self.every_strategy());
        for (name, registration) in self.operations() {
            write!(f, ", {}: {}", name, registration);
        }
        write!(f, " }}");
    }
}

/// Origins of single settings are left out: [`Effective::origin`] tells them.
impl Format for Effective {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "Effective {{ strategy: {}, named_by: {}, settings: {} }}",
            self.strategy(),
            self.named_by(),
            self.settings(),
        );
    }
}

impl<const N: usize> Format for Health<N> {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "Health {{ healthy: {=bool}, open: {=[?]}, half_open: {=[?]}, breakers: {=usize}, operations: {=usize}, timestamp: {} }}",
            self.healthy,
            self.open_circuit_breakers.as_slice(),
            self.half_open_circuit_breakers.as_slice(),
            self.total_circuit_breakers,
            self.total_operations,
            self.timestamp,
        );
    }
}

// What callers share is shown as it is at that moment. By `write!`: what is derived has no `format`
// that could be called.

impl Format for SharedCircuit {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{}", self.load());
    }
}

impl Format for ClosedPhase<'_> {
    fn format(&self, f: Formatter<'_>) {
        let (epoch, is_over) = (self.epoch(), self.is_over());
        write!(f, "ClosedPhase {{ epoch: {=u32}, is_over: {=bool} }}", epoch, is_over);
    }
}

impl Format for SharedSlots {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u32} taken", self.taken());
    }
}

impl Format for SharedTokens {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u32} left", self.tokens());
    }
}

/// What is left of each depends on when one asks.
impl Format for SharedBuckets {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "requests and tokens");
    }
}

impl<const WORDS: usize> Format for SharedWindow<WORDS> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=usize} words", WORDS);
    }
}

/// What was seen is left out: it is a bit for each outcome.
impl<const WORDS: usize> Format for Window<WORDS> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{}", self.rule());
    }
}

impl<const BUCKETS: usize, const SHARDS: usize, B: Baseline> Format
    for Metrics<BUCKETS, SHARDS, B>
{
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{}", self.snapshot());
    }
}

/// What it holds is what [`Metrics::snapshot`] leaves out.
impl Format for Resettable {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Resettable");
    }
}

impl Format for ManualClock {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "ManualClock {{ now: {} }}", self.now());
    }
}

/// What is shared, how errors are told apart and who is told are left out.
impl<C> Format for Policy<'_, C> {
    fn format(&self, f: Formatter<'_>) {
        let Limits { attempts, window, attempt_timeout, deadline, max_asked_wait } = *self.limits();
        write!(
            f,
            "Policy {{ attempts: {=u32}, backoff: {}, window: {}, attempt_timeout: {}, deadline: {}, max_asked_wait: {} }}",
            attempts,
            self.waits_by(),
            Length(duration(window)),
            Length(duration(attempt_timeout)),
            Length(duration(deadline)),
            Length(duration(max_asked_wait)),
        );
    }
}

impl<'p, E, C, P: Borrow<Policy<'p, C>>> Format for Run<'p, E, C, P> {
    fn format(&self, f: Formatter<'_>) {
        let (made, under_way) = self.progress();
        write!(f, "Run {{ made: {=u32}, under_way: {=u8} }}", made, under_way);
    }
}

impl Format for Attempt<'_> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Attempt {{ made: {}, ends: {} }}", self.made(), self.ends());
    }
}

/// By what an execution that began now would go.
impl<C> Format for Handle<'_, C> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Handle {{ name: {}, settings: {} }}", self.name(), self.settings());
    }
}

impl Format for OperationBreaker<'_> {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Breaker {{ rule: {}, circuit: {} }}", self.rule(), self.shared());
    }
}

impl<const BUCKETS: usize, const SHARDS: usize> Format for View<'_, BUCKETS, SHARDS> {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "View {{ name: {}, breaker: {}, counted: {} }}",
            self.name(),
            self.breaker(),
            self.snapshot()
        );
    }
}

/// A view of each operation.
impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> Format
    for Orchestrator<N, BUCKETS, SHARDS, WINDOW>
{
    fn format(&self, f: Formatter<'_>) {
        write!(f, "Orchestrator {{ capacity: {=usize}", N);
        self.iter().for_each(|view| write!(f, ", {}", view));
        write!(f, " }}");
    }
}
