//! Every number of the demonstration: the service's life, the load, the limits of both clients.

use core::time::Duration;

use steadfast::Backoff;

/// The large model's life, in order. The last phase lasts until the run ends.
pub(crate) const PHASES: [Act; 8] = [
    Act::of(Phase::Healthy, 3_000),
    Act::of(Phase::Slow, 2_500),
    Act::of(Phase::RateLimited, 2_500),
    Act::of(Phase::Overloaded, 2_500),
    Act::of(Phase::Silent, 2_500),
    Act::of(Phase::Resetting, 2_000),
    Act::of(Phase::Refusing, 2_000),
    Act::of(Phase::Recovered, 3_000),
];

/// Calls arrive at random, so many a second on average, whatever became of earlier ones.
pub(crate) const CALLS_PER_SECOND: f64 = 30.0;

pub(crate) const LARGE: Model = Model {
    name: "large",
    script: &PHASES,
    healthy: Latency::between(40, 200),
    slow: Latency::between(300, 1_400),
};

/// Where calls under the policy end up when the large model does not answer. It never fails here.
pub(crate) const SMALL: Model = Model {
    name: "small",
    script: &[Act::of(Phase::Healthy, u64::MAX)],
    healthy: Latency::between(15, 60),
    slow: Latency::between(15, 60),
};

/// For a device on a serial line, which cannot close a connection: what it gave up on comes late, or
/// keeps the line until the service cuts it.
pub(crate) const DEVICE: Model = Model {
    name: "large",
    script: &[
        Act::of(Phase::Healthy, 3_000),
        Act::of(Phase::RateLimited, 2_500),
        Act::of(Phase::Healthy, 2_000),
        Act::of(Phase::Overloaded, 3_000),
        Act::of(Phase::Recovered, 3_500),
        Act::of(Phase::Halting, 3_000),
        Act::of(Phase::Recovered, 3_500),
        Act::of(Phase::Halting, 1_500),
        Act::of(Phase::Resetting, 1_500),
        Act::of(Phase::Refusing, 2_000),
        Act::of(Phase::Recovered, u64::MAX),
    ],
    healthy: Latency::between(20, 80),
    slow: Latency::between(20, 80),
};

/// What a rate limited caller is told to wait.
pub(crate) const RETRY_AFTER_SECONDS: u64 = 1;

/// How long one attempt may take: all the care the bare client takes, and the policy's timeout.
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the small model may take.
pub(crate) const FALLBACK_TIMEOUT: Duration = Duration::from_secs(1);

// The rest of the policy. Counts are those of the balanced strategy; its times are in minutes, and
// cut here so that an outage of seconds shows them. In brackets what they are in the strategy.
pub(crate) const DEADLINE: Duration = Duration::from_secs(4); // (120 s)
pub(crate) const BACKOFF: Backoff = Backoff::exponential(
    Duration::from_millis(50),  // (1 s)
    Duration::from_millis(100), // (2 s)
    Duration::from_millis(500), // (10 s)
);
pub(crate) const JITTER: Duration = Duration::from_millis(100); // (2 s)
pub(crate) const RETRY_WINDOW: Duration = Duration::from_secs(3); // (30 s)
pub(crate) const ASKED_WAIT_AT_MOST: Duration = Duration::from_secs(2); // (30 s)
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(1); // (60 s)
pub(crate) const LEASE: Duration = Duration::from_secs(2); // (120 s)
pub(crate) const REFILL: Duration = Duration::from_secs(3); // (60 s)
/// Attempts under way at once; the strategy says nothing of it.
pub(crate) const SLOTS: u32 = 32;

/// How the service behaves for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Healthy,
    Slow,
    /// 429 with `Retry-After`.
    RateLimited,
    /// 503.
    Overloaded,
    /// Accepts, reads, and never answers.
    Silent,
    /// Stops in the middle of an answer; the rest follows when the phase ends.
    Halting,
    /// Cuts what is open and what comes with a TCP reset.
    Resetting,
    /// Nobody listens on the port.
    Refusing,
    Recovered,
}

impl Phase {
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Slow => "slow",
            Self::RateLimited => "429",
            Self::Overloaded => "503",
            Self::Silent => "never answers",
            Self::Halting => "halts",
            Self::Resetting => "resets",
            Self::Refusing => "refuses",
            Self::Recovered => "recovered",
        }
    }

    /// What the service does, for "while it".
    pub(crate) const fn deed(self) -> &'static str {
        match self {
            Self::Healthy | Self::Recovered => "is healthy",
            Self::Slow => "is slow",
            Self::RateLimited => "answers 429",
            Self::Overloaded => "answers 503",
            Self::Silent => "never answers",
            Self::Halting => "stops in mid-answer",
            Self::Resetting => "resets connections",
            Self::Refusing => "refuses connections",
        }
    }

    /// No call can succeed in an outage.
    pub(crate) const fn is_outage(self) -> bool {
        !matches!(self, Self::Healthy | Self::Slow | Self::Recovered)
    }

    /// Connections do not live into such a phase.
    pub(crate) const fn cuts(self) -> bool {
        matches!(self, Self::Resetting | Self::Refusing)
    }
}

/// A phase and how long it lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Act {
    pub(crate) phase: Phase,
    pub(crate) lasts: Duration,
}

impl Act {
    const fn of(phase: Phase, millis: u64) -> Self {
        Self { phase, lasts: Duration::from_millis(millis) }
    }
}

/// One of the two models served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Model {
    pub(crate) name: &'static str,
    pub(crate) script: &'static [Act],
    pub(crate) healthy: Latency,
    pub(crate) slow: Latency,
}

/// From the least to the most, the low end more often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    least: Duration,
    most: Duration,
}

impl Latency {
    const fn between(least_millis: u64, most_millis: u64) -> Self {
        Self {
            least: Duration::from_millis(least_millis),
            most: Duration::from_millis(most_millis),
        }
    }

    /// The latency that `chance`, of 0 to 1, stands for.
    pub(crate) fn at(self, chance: f64) -> Duration {
        self.least + (self.most - self.least).mul_f64(chance * chance)
    }
}

/// The acts with the time each begins at.
pub(crate) fn scenes(script: &[Act]) -> impl Iterator<Item = (Duration, Act)> {
    script.iter().scan(Duration::ZERO, |next, act| {
        let begins = *next;
        *next = begins.saturating_add(act.lasts);
        Some((begins, *act))
    })
}

/// The phase at `elapsed`; the last one has no end.
pub(crate) fn phase_at(script: &[Act], elapsed: Duration) -> Phase {
    let begun = scenes(script).take_while(|(begins, _)| *begins <= elapsed);
    begun.last().map_or(Phase::Healthy, |(_, act)| act.phase)
}

/// When the next phase begins for which `is_sought` holds.
pub(crate) fn next(
    script: &[Act],
    elapsed: Duration,
    is_sought: fn(Phase) -> bool,
) -> Option<Duration> {
    scenes(script)
        .find(|(begins, act)| elapsed < *begins && is_sought(act.phase))
        .map(|(begins, _)| begins)
}

/// How long calls arrive for.
pub(crate) fn length() -> Duration {
    PHASES.iter().map(|act| act.lasts).sum()
}

/// When the large model is back.
pub(crate) fn recovery() -> Duration {
    next(&PHASES, Duration::ZERO, |phase| phase == Phase::Recovered).unwrap_or_default()
}
