//! What happened, counted: a healthy call writes two words, and the rest follows from them.

use core::fmt;
use core::time::Duration;

use super::histogram::{self, FINE, Histogram};
use super::word::{AtomicWord, Count, Twin, Width, Writing};
use crate::clock::{Instant, micros};

/// Counts what calls of one operation do.
///
/// `BUCKETS` is the resolution of the latency histogram ([`FINE`], [`COARSE`](super::COARSE) or
/// [`COUNT_ONLY`](super::COUNT_ONLY)), which is of calls, or of attempts too
/// ([`FINE_BOTH`](super::FINE_BOTH), [`COARSE_BOTH`](super::COARSE_BOTH)); `SHARDS` the copies of what every call writes, for many
/// threads; `B` whether it can be reset, which takes more than twice the counters' memory, or not
/// ([`Monotonic`]). Counters are as wide as the target counts atomically (64 bits, or 32 on devices)
/// and never go back.
#[derive(Debug)]
pub struct Metrics<const BUCKETS: usize = FINE, const SHARDS: usize = 1, B = Resettable> {
    shards: [Shard<BUCKETS>; SHARDS],
    tallies: [Count; TALLIES],
    last_success: AtomicWord,
    last_failure: AtomicWord,
    baseline: B,
}

/// Where a [`Metrics`] counts from: [`Resettable`] or [`Monotonic`].
pub trait Baseline: Sync {
    /// What was counted there.
    #[doc(hidden)]
    fn load(&self) -> [Width; ENDS];
}

/// What was counted when [`Metrics::reset`] was last called.
#[derive(Debug)]
pub struct Resettable {
    counted: Twin<Count, ENDS>,
    resetting: Writing,
}

/// Counts since it was made, always: for devices, where memory is scarce.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Monotonic;

/// What a policy counts into.
///
/// Implementations must be wait-free: an execution calls them between its steps.
pub trait Meter: Sync {
    /// A call began.
    fn started(&self, shard: usize);
    /// A call succeeded at `now`, after `latency`, of which its last attempt took `attempt`.
    fn succeeded(&self, shard: usize, now: Instant, latency: Duration, attempt: Duration);
    /// An attempt failed at `now`, in whatever way, and took `attempt`.
    fn failed(&self, shard: usize, now: Instant, attempt: Duration);
    /// Something rare happened.
    fn count(&self, what: Tally);
}

// By hand: a supertrait would bring every meter's formatting into a firmware's image.
impl fmt::Debug for dyn Meter + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meter")
    }
}

/// What is rare enough to be counted when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Tally {
    /// A call gave up after an attempt.
    CallFailed,
    /// A call ended without an attempt.
    CallRefused,
    /// A call was answered by its fallback.
    CallFellBack,
    /// A call was dropped.
    CallCancelled,
    /// An attempt failed.
    AttemptFailed,
    /// An attempt ran out of time.
    AttemptTimedOut,
    /// An attempt was dropped.
    AttemptCancelled,
    /// A call's first attempt was refused.
    Unattempted,
    /// An attempt after the first was made.
    Retried,
    /// An attempt succeeded after its time was over.
    Slow,
    /// Refused: the breaker is open.
    BreakerOpen,
    /// Refused: nobody may call yet.
    Gated,
    /// Refused: the bulkhead is full.
    BulkheadFull,
    /// Refused: the limiter has none left.
    Limited,
    /// Refused: the retry budget is spent, or the clock's budget of wake-ups.
    Budget,
    /// Refused: the retry window would be over.
    Window,
    /// Refused: the deadline would have passed.
    Deadline,
    /// Refused: the wait asked for is longer than allowed.
    AskedWait,
    /// The breaker opened.
    Opened,
    /// The breaker became half-open.
    HalfOpened,
    /// The breaker closed.
    Closed,
    /// An outcome came too late for the breaker.
    LateOutcome,
    /// The breaker admitted an attempt that it would have refused, but for its mode.
    Shadowed,
}

/// What a [`Metrics`] says, counted since it was made or last reset.
///
/// At any moment `calls.started` is the sum of the other calls, and `attempts.started` that of the
/// other attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Snapshot {
    /// Calls: executions of the policy.
    pub calls: Calls,
    /// Attempts that calls made.
    pub attempts: Attempts,
    /// Attempts after a call's first.
    pub retries: u64,
    /// Attempts that succeeded after their time was over, counted as succeeded too.
    pub slow: u64,
    /// Attempts not made, by reason.
    pub refusals: Refusals,
    /// What the breaker did.
    pub breaker: Transitions,
    /// When a call last succeeded, to about a second.
    pub last_success: Option<Instant>,
    /// When an attempt last failed, to about a second.
    pub last_failure: Option<Instant>,
    /// How long the calls took that succeeded, since the metrics were made.
    pub latency: Latency,
    /// How long the attempts took that ended, however they did; none where those are not counted.
    pub attempt_latency: Latency,
}

/// Calls by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Calls {
    /// All of them.
    pub started: u64,
    /// Answered by the operation.
    pub succeeded: u64,
    /// Given up after an attempt, without an answer.
    pub failed: u64,
    /// Ended without an attempt or an answer.
    pub refused: u64,
    /// Answered by the fallback.
    pub fell_back: u64,
    /// Dropped by the caller.
    pub cancelled: u64,
    /// Not ended yet.
    pub in_flight: u64,
}

/// Attempts by how they ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Attempts {
    /// All of them.
    pub started: u64,
    /// Succeeded.
    pub succeeded: u64,
    /// Failed by an error.
    pub failed: u64,
    /// Ran out of time.
    pub timed_out: u64,
    /// Dropped before their end.
    pub cancelled: u64,
    /// Not ended yet.
    pub in_flight: u64,
}

/// Attempts not made, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is the reason of its name")]
pub struct Refusals {
    pub breaker_open: u64,
    pub gated: u64,
    pub bulkhead_full: u64,
    pub limited: u64,
    pub budget: u64,
    pub window: u64,
    pub deadline: u64,
    pub asked_wait: u64,
}

/// What executions saw a breaker do. What it was told by hand, or by permits of somebody's own, is not
/// among it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Transitions {
    /// Times it opened.
    pub opened: u64,
    /// Times it became half-open.
    pub half_opened: u64,
    /// Times it closed.
    pub closed: u64,
    /// Outcomes that came too late and changed nothing.
    pub late_outcomes: u64,
    /// Attempts that it would have refused, but for its [mode](super::Mode): they were made, and are
    /// no refusals.
    pub shadowed: u64,
}

/// Quantiles of a latency; none where nothing was counted, or without a histogram.
///
/// With the feature `serde` they are written in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Latency {
    /// The median.
    #[cfg_attr(feature = "serde", serde(serialize_with = "in_micros"))]
    pub p50: Option<Duration>,
    /// Of 100 calls, 95 took no longer.
    #[cfg_attr(feature = "serde", serde(serialize_with = "in_micros"))]
    pub p95: Option<Duration>,
    /// Of 100 calls, 99 took no longer.
    #[cfg_attr(feature = "serde", serde(serialize_with = "in_micros"))]
    pub p99: Option<Duration>,
}

/// Another caller is resetting the same metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ResetBusy;

impl<const BUCKETS: usize, const SHARDS: usize> Metrics<BUCKETS, SHARDS> {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self::from(Resettable { counted: Twin::new(), resetting: Writing::new() })
    }

    /// Begins to count anew in [`snapshot`](Self::snapshot). Latencies and the times of the last
    /// success and failure stay; a call under way is counted once, after it.
    ///
    /// # Errors
    ///
    /// Another caller is doing the same.
    pub fn reset(&self) -> Result<(), ResetBusy> {
        let writer = self.baseline.resetting.try_begin().map_err(|_| ResetBusy)?;
        self.baseline.counted.replace(&writer, self.read().ends);
        Ok(())
    }
}

impl<const BUCKETS: usize, const SHARDS: usize> Metrics<BUCKETS, SHARDS, Monotonic> {
    /// All zero, and never reset.
    #[must_use]
    pub const fn monotonic() -> Self {
        Self::from(Monotonic)
    }
}

impl<const BUCKETS: usize, const SHARDS: usize, B> Metrics<BUCKETS, SHARDS, B> {
    const fn from(baseline: B) -> Self {
        assert!(SHARDS > 0, "one shard at least");
        Self {
            shards: [const { Shard::new() }; SHARDS],
            tallies: [const { Count::new() }; TALLIES],
            last_success: AtomicWord::new(NEVER),
            last_failure: AtomicWord::new(NEVER),
            baseline,
        }
    }

    /// What happened since it was made or last reset.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot
    where
        B: Baseline,
    {
        // The baseline first: what is counted meanwhile is never behind it.
        let baseline = self.baseline.load();
        self.report(&self.read(), &baseline)
    }

    /// What happened since it was made, whatever was reset: for exporters of counters.
    #[must_use]
    pub fn raw(&self) -> Snapshot {
        self.report(&self.read(), &[0; ENDS])
    }

    /// How long a call took that succeeded: `per_myriad` of 10 000 took no longer. `None` where
    /// nothing was counted, or without a histogram.
    #[must_use]
    pub fn latency(&self, per_myriad: u32) -> Option<Duration> {
        self.quantile(0, per_myriad)
    }

    /// How long an attempt took that ended, however it did: see [`latency`](Self::latency). `None`
    /// where attempts are not counted.
    #[must_use]
    pub fn attempt_latency(&self, per_myriad: u32) -> Option<Duration> {
        self.quantile(Histogram::<BUCKETS>::CALLS, per_myriad)
    }

    /// A quantile of the buckets from `first` on.
    fn quantile(&self, first: usize, per_myriad: u32) -> Option<Duration> {
        let buckets = Histogram::<BUCKETS>::CALLS;
        // Bucket by bucket: a shard's own total wraps at 2^32.
        let in_bucket = |index| {
            let of = |shard: &Shard<BUCKETS>| u64::from(shard.latency.bucket(first + index));
            self.shards.iter().map(of).sum::<u64>()
        };
        let total: u64 = (0..buckets).map(in_bucket).sum();
        if buckets == 1 || total == 0 {
            return None;
        }
        let rank = (total * u64::from(per_myriad.min(10_000))).div_ceil(10_000).max(1);
        let mut seen = 0_u64;
        let at = (0..buckets).find(|&index| {
            seen += in_bucket(index);
            seen >= rank
        })?;
        Some(histogram::value(buckets, at))
    }

    /// The counters as they are: ends before beginnings, so that none ends before it began.
    fn read(&self) -> Counted {
        let succeeded =
            self.shards.iter().fold(0, |sum: u32, shard| sum.wrapping_add(shard.latency.total()));
        let mut ends = [0; ENDS];
        for (end, tally) in ends.iter_mut().skip(1).zip(&self.tallies) {
            *end = tally.load();
        }
        let started =
            self.shards.iter().fold(0, |sum: Width, s| sum.wrapping_add(s.started.load()));
        // Calls under way are fewer than 2^32, so their number follows from the buckets' low bits,
        // and the successes from theirs.
        let others =
            CALL_ENDS.iter().fold(0, |sum: Width, &what| sum.wrapping_add(end(&ends, what)));
        let in_flight = (wide(started.wrapping_sub(others)) as u32).wrapping_sub(succeeded);
        if let Some(first) = ends.first_mut() {
            *first = started.wrapping_sub(others).wrapping_sub(in_flight as Width);
        }
        Counted { ends, in_flight, started }
    }

    fn report(&self, counted: &Counted, baseline: &[Width; ENDS]) -> Snapshot {
        let since = |what: Tally| wide(end(&counted.ends, what).wrapping_sub(end(baseline, what)));
        let first = |ends: &[Width; ENDS]| ends.first().copied().unwrap_or(0);
        let succeeded = wide(first(&counted.ends).wrapping_sub(first(baseline)));
        let calls = Calls {
            succeeded,
            failed: since(Tally::CallFailed),
            refused: since(Tally::CallRefused),
            fell_back: since(Tally::CallFellBack),
            cancelled: since(Tally::CallCancelled),
            in_flight: counted.in_flight.into(),
            started: 0,
        };
        let attempts = Attempts {
            succeeded,
            failed: since(Tally::AttemptFailed),
            timed_out: since(Tally::AttemptTimedOut),
            cancelled: since(Tally::AttemptCancelled),
            in_flight: counted.attempts_in_flight(),
            started: 0,
        };
        Snapshot {
            calls: Calls {
                started: sum([
                    calls.succeeded,
                    calls.failed,
                    calls.refused,
                    calls.fell_back,
                    calls.cancelled,
                    calls.in_flight,
                ]),
                ..calls
            },
            attempts: Attempts {
                started: sum([
                    attempts.succeeded,
                    attempts.failed,
                    attempts.timed_out,
                    attempts.cancelled,
                    attempts.in_flight,
                ]),
                ..attempts
            },
            retries: since(Tally::Retried),
            slow: since(Tally::Slow),
            refusals: Refusals {
                breaker_open: since(Tally::BreakerOpen),
                gated: since(Tally::Gated),
                bulkhead_full: since(Tally::BulkheadFull),
                limited: since(Tally::Limited),
                budget: since(Tally::Budget),
                window: since(Tally::Window),
                deadline: since(Tally::Deadline),
                asked_wait: since(Tally::AskedWait),
            },
            breaker: Transitions {
                opened: since(Tally::Opened),
                half_opened: since(Tally::HalfOpened),
                closed: since(Tally::Closed),
                late_outcomes: since(Tally::LateOutcome),
                shadowed: since(Tally::Shadowed),
            },
            last_success: coarse_instant(self.last_success.load()),
            last_failure: coarse_instant(self.last_failure.load()),
            latency: Latency {
                p50: self.latency(5_000),
                p95: self.latency(9_500),
                p99: self.latency(9_900),
            },
            attempt_latency: Latency {
                p50: self.attempt_latency(5_000),
                p95: self.attempt_latency(9_500),
                p99: self.attempt_latency(9_900),
            },
        }
    }

    fn shard(&self, hint: usize) -> Option<&Shard<BUCKETS>> {
        self.shards.get(hint % SHARDS)
    }
}

impl Baseline for Resettable {
    fn load(&self) -> [Width; ENDS] {
        self.counted.load()
    }
}

impl Baseline for Monotonic {
    fn load(&self) -> [Width; ENDS] {
        [0; ENDS]
    }
}

impl<const BUCKETS: usize, const SHARDS: usize> Default for Metrics<BUCKETS, SHARDS> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const BUCKETS: usize, const SHARDS: usize, B: Baseline> Meter for Metrics<BUCKETS, SHARDS, B> {
    fn started(&self, shard: usize) {
        if let Some(shard) = self.shard(shard) {
            shard.started.add_one();
        }
    }

    fn succeeded(&self, shard: usize, now: Instant, latency: Duration, attempt: Duration) {
        mark(&self.last_success, now);
        if let Some(shard) = self.shard(shard) {
            shard.latency.record(micros(latency));
            shard.latency.record_attempt(micros(attempt));
        }
    }

    fn failed(&self, shard: usize, now: Instant, attempt: Duration) {
        mark(&self.last_failure, now);
        if let Some(shard) = self.shard(shard) {
            shard.latency.record_attempt(micros(attempt));
        }
    }

    fn count(&self, what: Tally) {
        if let Some(tally) = self.tallies.get(what as usize) {
            tally.add_one();
        }
    }
}

impl Snapshot {
    /// Of the calls that finished, those that succeeded, in hundredths of a percent; 0 when none
    /// has finished.
    #[must_use]
    pub fn success_rate(&self) -> u32 {
        let (succeeded, finished) = (self.calls.succeeded, self.calls.finished());
        let rate = match succeeded.checked_mul(10_000) {
            Some(product) => product / finished.max(1),
            None => succeeded / (finished / 10_000).max(1),
        };
        rate.min(10_000) as u32
    }

    /// The rest of the calls that finished, in hundredths of a percent; 0 when none has.
    #[must_use]
    pub fn failure_rate(&self) -> u32 {
        match self.calls.finished() {
            0 => 0,
            _ => 10_000 - self.success_rate(),
        }
    }
}

impl Calls {
    /// Calls that came to an end and were not dropped.
    #[must_use]
    pub const fn finished(&self) -> u64 {
        let answered = self.succeeded.wrapping_add(self.fell_back);
        answered.wrapping_add(self.failed).wrapping_add(self.refused)
    }
}

/// What every call writes, on a cache line of its own.
#[derive(Debug)]
#[cfg_attr(target_pointer_width = "64", repr(align(64)))]
struct Shard<const BUCKETS: usize> {
    started: Count,
    latency: Histogram<BUCKETS>,
}

impl<const BUCKETS: usize> Shard<BUCKETS> {
    const fn new() -> Self {
        Self { started: Count::new(), latency: Histogram::new() }
    }
}

/// The counters at one reading. `ends` are the successes and each tally.
struct Counted {
    ends: [Width; ENDS],
    in_flight: u32,
    started: Width,
}

impl Counted {
    /// Every call makes a first attempt unless that is refused.
    fn attempts_in_flight(&self) -> u64 {
        let first = self.started.wrapping_sub(end(&self.ends, Tally::Unattempted));
        let made = first.wrapping_add(end(&self.ends, Tally::Retried));
        let ended =
            ATTEMPT_ENDS.iter().fold(self.ends.first().copied().unwrap_or(0), |sum, &what| {
                sum.wrapping_add(end(&self.ends, what))
            });
        // Fewer than 2^32, as calls are.
        u64::from(made.wrapping_sub(ended) as u32)
    }
}

fn end(ends: &[Width; ENDS], what: Tally) -> Width {
    ends.get(what as usize + 1).copied().unwrap_or(0)
}

/// It wraps: whoever counts an end without its beginning gets a wrong number, and nothing else.
fn sum<const N: usize>(counts: [u64; N]) -> u64 {
    counts.into_iter().fold(0, u64::wrapping_add)
}

#[allow(clippy::useless_conversion, reason = "narrower on devices")]
fn wide(count: Width) -> u64 {
    count.into()
}

/// Stores the time if the last mark is a second old: most calls only read it.
fn mark(word: &AtomicWord, now: Instant) {
    let mark = (now.as_micros() >> MARK_SHIFT) as u32;
    word.update(|_| (mark.saturating_add(1), ()));
}

fn coarse_instant(mark: u32) -> Option<Instant> {
    mark.checked_sub(1).map(|mark| Instant::from_micros(u64::from(mark) << MARK_SHIFT))
}

#[cfg(feature = "serde")]
fn in_micros<S: serde::Serializer>(
    length: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&length.map(micros), serializer)
}

impl fmt::Display for ResetBusy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the metrics are being reset already")
    }
}

impl core::error::Error for ResetBusy {}

// Ends before beginnings: the order of reading.
const CALL_ENDS: [Tally; 4] =
    [Tally::CallFailed, Tally::CallRefused, Tally::CallFellBack, Tally::CallCancelled];
const ATTEMPT_ENDS: [Tally; 3] =
    [Tally::AttemptFailed, Tally::AttemptTimedOut, Tally::AttemptCancelled];
const TALLIES: usize = Tally::Shadowed as usize + 1;
const ENDS: usize = TALLIES + 1;
const NEVER: u32 = 0;
/// 2^20 µs, about a second.
const MARK_SHIFT: u32 = 20;
