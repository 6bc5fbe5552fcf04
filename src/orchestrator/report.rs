//! All that an orchestrator counted, for any format of serde.
//!
//! | path | what it says | unit |
//! |---|---|---|
//! | `operations.NAME.strategy` | the strategy that it goes by | a name |
//! | `operations.NAME.calls` | [`Calls`]: `started`, `succeeded`, `failed`, `refused`, `fell_back`, `cancelled`, `in_flight` | calls |
//! | `operations.NAME.attempts` | [`Attempts`]: `started`, `succeeded`, `failed`, `timed_out`, `cancelled`, `in_flight` | attempts |
//! | `operations.NAME.retries`, `slow` | see [`Snapshot`](crate::state::Snapshot) | attempts |
//! | `operations.NAME.refusals` | [`Refusals`]: `breaker_open`, `gated`, `bulkhead_full`, `limited`, `budget`, `window`, `deadline`, `asked_wait` | attempts not made |
//! | `operations.NAME.success_rate`, `failure_rate` | of the calls that finished; both 0 where none has | 1/100 of a percent |
//! | `operations.NAME.latency.p50`, `p95`, `p99` | [`Latency`]: how long successful calls took; null where unknown | µs |
//! | `operations.NAME.attempt_latency.p50`, `p95`, `p99` | how long attempts took; null where they are not counted ([`FINE_BOTH`](crate::state::FINE_BOTH)) | µs |
//! | `operations.NAME.last_success`, `last_failure` | when, to about a second; null if never, or without a wall clock | µs since 1970-01-01 UTC |
//! | `circuit_breakers.NAME.state` | `closed`, `open` or `half_open` | a name |
//! | `circuit_breakers.NAME.mode` | `normal`, `forced_open`, `forced_closed` or `shadow` | a name |
//! | `circuit_breakers.NAME.failure_threshold` | failures that open it | attempts |
//! | `circuit_breakers.NAME.recovery_timeout` | for how long it opens first, rounded up | s |
//! | `circuit_breakers.NAME.remaining_ms` | for how long it still refuses, rounded up; the open period if forced open | ms |
//! | `circuit_breakers.NAME.metrics` | [`Transitions`]: `opened`, `half_opened`, `closed`, `late_outcomes`, `shadowed` | times |
//! | `summary.total_operations` | operations | |
//! | `summary.total_circuit_breakers` | breakers that are switched on | |
//! | `summary.healthy_circuit_breakers` | those that are not open | |
//! | `summary.timestamp` | when that was; null without a wall clock | µs since 1970-01-01 UTC |
//!
//! Counts begin where the metrics were made or last reset. A breaker that is switched off
//! (`breaker.enabled`) is not among the `circuit_breakers`. Null is `None` where a format has that.

use core::fmt::Display;
use core::time::Duration;

use heapless::Vec;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::table::Orchestrator;
use super::view::View;
use crate::clock::{Instant, micros};
use crate::policy::Strategy;
use crate::state::{Attempts, Calls, FINE, Latency, Mode, Refusals, State, Transitions};

/// All that an orchestrator counted, as [`Orchestrator::report`] says it.
///
/// It holds references into the table, and the counters are read as it is serialised, operation by
/// operation, without an allocator. Which operations and breakers there are, and in what state, is
/// as it was when it was made, so all lengths are known beforehand.
#[derive(Clone, Debug)]
pub struct Report<'o, const N: usize, const BUCKETS: usize = FINE, const SHARDS: usize = 1> {
    seen: Vec<Seen<'o, BUCKETS, SHARDS>, N>,
    time: Time,
}

/// An operation, and the state of its breaker if that is switched on.
#[derive(Clone, Copy, Debug)]
struct Seen<'o, const BUCKETS: usize, const SHARDS: usize> {
    view: View<'o, BUCKETS, SHARDS>,
    state: Option<State>,
}

/// What two clocks say at once.
#[derive(Clone, Copy, Debug)]
struct Time {
    now: Instant,
    unix: Option<u64>,
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize>
    Orchestrator<N, BUCKETS, SHARDS, WINDOW>
{
    /// All that it counted and how its breakers are at `now`, which the wall clock calls `unix`
    /// ([`Clock::unix_micros`](crate::Clock::unix_micros)), to be serialised: see
    /// [`report`](super::report).
    #[must_use]
    pub fn report(&self, now: Instant, unix: Option<u64>) -> Report<'_, N, BUCKETS, SHARDS> {
        let mut seen = Vec::new();
        for view in self.iter() {
            // There are no more operations than places.
            let _ = seen.push(Seen { view, state: view.breaker().state_if_enabled(now) });
        }
        Report { seen, time: Time { now, unix } }
    }
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize> Report<'_, N, BUCKETS, SHARDS> {
    /// The state of each breaker that there is.
    fn states(&self) -> impl Iterator<Item = State> {
        self.seen.iter().filter_map(|seen| seen.state)
    }
}

/// A view of each operation, with the state that its breaker was in.
#[cfg(feature = "defmt")]
impl<const N: usize, const BUCKETS: usize, const SHARDS: usize> defmt::Format
    for Report<'_, N, BUCKETS, SHARDS>
{
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "Report {{ now: {}", self.time.now);
        self.seen.iter().for_each(|seen| defmt::write!(f, ", {} {}", seen.state, seen.view));
        defmt::write!(f, " }}");
    }
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize> Serialize
    for Report<'_, N, BUCKETS, SHARDS>
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let parts = Parts {
            operations: Operations(self),
            circuit_breakers: Breakers(self),
            summary: Summary {
                total_operations: self.seen.len(),
                total_circuit_breakers: self.states().count(),
                healthy_circuit_breakers: self.states().filter(|&s| s != State::Open).count(),
                timestamp: self.time.unix,
            },
        };
        parts.serialize(serializer)
    }
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize> Serialize
    for Operations<'_, '_, N, BUCKETS, SHARDS>
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.seen.len()))?;
        for seen in &self.0.seen {
            map.serialize_entry(&seen.view.name(), &seen.operation(self.0.time))?;
        }
        map.end()
    }
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize> Serialize
    for Breakers<'_, '_, N, BUCKETS, SHARDS>
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.states().count()))?;
        for seen in &self.0.seen {
            if let Some(state) = seen.state {
                map.serialize_entry(&seen.view.name(), &seen.breaker(state, self.0.time.now))?;
            }
        }
        map.end()
    }
}

impl<const BUCKETS: usize, const SHARDS: usize> Seen<'_, BUCKETS, SHARDS> {
    fn operation(&self, time: Time) -> Operation {
        let snapshot = self.view.snapshot();
        Operation {
            strategy: self.view.effective().strategy(),
            calls: snapshot.calls,
            attempts: snapshot.attempts,
            retries: snapshot.retries,
            slow: snapshot.slow,
            refusals: snapshot.refusals,
            success_rate: snapshot.success_rate(),
            failure_rate: snapshot.failure_rate(),
            latency: snapshot.latency,
            attempt_latency: snapshot.attempt_latency,
            last_success: time.unix(snapshot.last_success),
            last_failure: time.unix(snapshot.last_failure),
        }
    }

    fn breaker(&self, state: State, now: Instant) -> CircuitBreaker {
        let breaker = self.view.breaker();
        let rule = breaker.rule();
        // Closed when it was looked at, it may have opened since.
        let remaining = match state {
            State::Closed => Duration::ZERO,
            State::Open | State::HalfOpen => breaker.remaining(now),
        };
        CircuitBreaker {
            state,
            mode: breaker.mode(),
            failure_threshold: self.view.effective().settings().failures(),
            recovery_timeout: micros(rule.open_for()).div_ceil(1_000_000),
            remaining_ms: micros(remaining).div_ceil(1_000),
            metrics: self.view.snapshot().breaker,
        }
    }
}

impl Time {
    /// What the wall clock said at `then`.
    fn unix(self, then: Option<Instant>) -> Option<u64> {
        Some(self.unix?.saturating_sub(micros(self.now.since(then?))))
    }
}

#[derive(Serialize)]
struct Parts<'r, 'o, const N: usize, const BUCKETS: usize, const SHARDS: usize> {
    operations: Operations<'r, 'o, N, BUCKETS, SHARDS>,
    circuit_breakers: Breakers<'r, 'o, N, BUCKETS, SHARDS>,
    summary: Summary,
}

struct Operations<'r, 'o, const N: usize, const BUCKETS: usize, const SHARDS: usize>(
    &'r Report<'o, N, BUCKETS, SHARDS>,
);

struct Breakers<'r, 'o, const N: usize, const BUCKETS: usize, const SHARDS: usize>(
    &'r Report<'o, N, BUCKETS, SHARDS>,
);

#[derive(Serialize)]
struct Operation {
    #[serde(serialize_with = "as_text")]
    strategy: Strategy,
    calls: Calls,
    attempts: Attempts,
    retries: u64,
    slow: u64,
    refusals: Refusals,
    success_rate: u32,
    failure_rate: u32,
    latency: Latency,
    attempt_latency: Latency,
    last_success: Option<u64>,
    last_failure: Option<u64>,
}

#[derive(Serialize)]
struct CircuitBreaker {
    #[serde(serialize_with = "as_text")]
    state: State,
    #[serde(serialize_with = "as_text")]
    mode: Mode,
    failure_threshold: u32,
    recovery_timeout: u64,
    remaining_ms: u64,
    metrics: Transitions,
}

#[derive(Serialize)]
struct Summary {
    total_operations: usize,
    total_circuit_breakers: usize,
    healthy_circuit_breakers: usize,
    timestamp: Option<u64>,
}

fn as_text<S: Serializer>(name: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(name)
}
