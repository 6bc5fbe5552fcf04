//! What an operation is registered with, and what comes of it: a strategy with single settings
//! changed, laid over one another by precedence.

use core::fmt;
use core::time::Duration;

use super::key::{KEYS, Key, OutOfRange};
use crate::clock::micros;
use crate::policy::plan::{PLAN_WORDS, Plan};
use crate::policy::{Backoff, BackoffError, Growth, Jitter, Settings, Strategy};
use crate::state::limit_rule::LIMIT_RULE_WORDS;
use crate::state::settings::{LIMITS_AT, RULE_WORDS, WINDOW_AT, WORDS, Words};
use crate::state::window_rule::WINDOW_RULE_WORDS;
use crate::state::{BudgetRule, LimitRule, Mode, Rule, Trip, WindowRule, WindowRuleError};

/// A strategy, if one is named, and settings given on top of it.
///
/// ```
/// use steadfast::orchestrator::{Key, Registration};
/// use steadfast::Strategy;
///
/// const SUMMARIZE: Registration =
///     Registration::by(Strategy::Critical).given(Key::Attempts, 5).given(Key::OpenFor, 90_000_000);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    strategy: Option<Strategy>,
    given: u32,
    values: [u32; KEYS],
}

/// Two settings that do not go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Conflict {
    /// The shortest wait is not below the longest.
    MinNotBelowMax,
    /// More failures are asked for than outcomes are looked at.
    OfLastBelowFailures,
    /// A rate is given, and not of what: outcomes or a time.
    RateOfNothing,
    /// A rate of slow outcomes is given, and not when one is slow.
    SlowAfterMissing,
    /// Rates are of outcomes and of a time at once.
    OfLastAndWithin,
    /// A time is given, and no rate.
    WithinAlone,
    /// More failures are asked for than a breaker remembers whose window is a time.
    FailuresBesideWithin,
    /// The longest open period is shorter than the first.
    OpenMaxBelowOpenFor,
    /// The table of the orchestrator has less window than that takes.
    WindowTooSmall,
}

/// What is allowed, and probably not meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Warning {
    /// One execution alone may open the breaker: it opens after fewer failures than attempts + 2.
    OpensAlone,
    /// The same by a rate, which needs fewer calls than attempts + 2.
    RatesAlone,
    /// The retry window is over before the last retry may start.
    WindowShort,
    /// More than seven attempts.
    ManyAttempts,
    /// More probes than failures open the breaker.
    ManyProbes,
    /// A probe that takes all the time of an attempt comes late.
    LeaseShort,
    /// When an outcome is slow is given, and no rate of slow ones.
    SlowAfterAlone,
    /// The outcomes that a rate needs are given, and no rate.
    MinCallsAlone,
}

/// Where a setting comes from: the strongest first, and what nobody gives last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Origin {
    /// The live configuration, for this operation.
    Configured,
    /// What the operation was registered with.
    Registered,
    /// The live configuration, for every strategy.
    EveryStrategy,
    /// The strategy.
    Strategy,
    /// The strategy, which is the default one.
    DefaultStrategy,
    /// Nobody says it: it follows from another setting that was given. So the lease follows from
    /// the timeout of an attempt.
    Derived,
}

/// The settings that an operation has, each with its origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effective {
    strategy: Strategy,
    named_by: Origin,
    registered: u32,
    configured: u32,
    every: u32,
    settings: Settings,
}

impl Registration {
    /// Nothing: the default strategy as it is.
    #[must_use]
    pub const fn new() -> Self {
        Self { strategy: None, given: 0, values: [0; KEYS] }
    }

    /// A strategy as it is.
    #[must_use]
    pub const fn by(strategy: Strategy) -> Self {
        Self::new().strategy(strategy)
    }

    /// The same by another strategy.
    #[must_use]
    pub const fn strategy(self, strategy: Strategy) -> Self {
        Self { strategy: Some(strategy), ..self }
    }

    /// The same with one setting given, as its [kind](Key::kind) counts: a length in microseconds.
    /// In a `static`, one out of range does not compile.
    #[must_use]
    pub const fn given(self, key: Key, value: u64) -> Self {
        match self.try_given(key, value) {
            Ok(registration) => registration,
            Err(OutOfRange(_)) => panic!("a setting is out of its range: see `Key::range`"),
        }
    }

    /// The same for a value that comes at run time.
    ///
    /// # Errors
    ///
    /// It is out of range.
    pub const fn try_given(mut self, key: Key, value: u64) -> Result<Self, OutOfRange> {
        match key.check(value) {
            Ok(value) => {
                set(&mut self.values, key, value);
                self.given |= key.bit();
                Ok(self)
            }
            Err(error) => Err(error),
        }
    }

    /// The strategy that it names.
    #[must_use]
    pub const fn named(&self) -> Option<Strategy> {
        self.strategy
    }

    /// What it gives for `key`, if it does.
    #[must_use]
    pub const fn get(&self, key: Key) -> Option<u64> {
        if self.given & key.bit() == 0 { None } else { Some(get(&self.values, key)) }
    }

    /// All that it gives.
    pub fn iter(&self) -> impl Iterator<Item = (Key, u64)> + '_ {
        Key::ALL.into_iter().filter_map(|key| Some((key, self.get(key)?)))
    }

    pub(super) const fn to_words(self) -> [u32; LAYER] {
        let mut words = [0; LAYER];
        words[0] = match self.strategy {
            None => 0,
            Some(strategy) => strategy as u32 + 1,
        };
        words[1] = self.given;
        copy(&mut words, 2, &self.values);
        words
    }

    pub(super) const fn from_words(words: [u32; LAYER]) -> Self {
        let strategy = match words[0] {
            0 => None,
            strategy => Some(strategy_of(strategy - 1)),
        };
        let mut values = [0; KEYS];
        copy_from(&mut values, &words, 2);
        Self { strategy, given: words[1], values }
    }
}

impl Default for Registration {
    fn default() -> Self {
        Self::new()
    }
}

impl Effective {
    /// Lays them over one another: `configured` over `registered` over `every` over the strategy
    /// that the strongest of them names.
    ///
    /// # Errors
    ///
    /// What comes of it is at odds with itself.
    pub const fn resolve(
        default: Strategy,
        every: &Registration,
        registered: &Registration,
        configured: &Registration,
    ) -> Result<Self, Conflict> {
        let (strategy, named_by) = named(default, registered, configured);
        let Laid { values, every, registered, configured } =
            Laid::out(strategy, every, registered, configured);
        match settings_of(&values) {
            Ok(settings) => {
                Ok(Self { strategy, named_by, registered, configured, every, settings })
            }
            Err(conflict) => Err(conflict),
        }
    }

    /// Every reason for which [`resolve`](Self::resolve) fails of the same; its own is the first.
    pub fn conflicts(
        default: Strategy,
        every: &Registration,
        registered: &Registration,
        configured: &Registration,
    ) -> impl Iterator<Item = Conflict> + use<> {
        let (strategy, _) = named(default, registered, configured);
        let Laid { values, .. } = Laid::out(strategy, every, registered, configured);
        Conflict::ALL.into_iter().filter(move |conflict| conflict.is_in(&values))
    }

    /// The strategy.
    #[must_use]
    pub const fn strategy(&self) -> Strategy {
        self.strategy
    }

    /// Who named the strategy.
    #[must_use]
    pub const fn named_by(&self) -> Origin {
        self.named_by
    }

    /// What `key` is, as its [kind](Key::kind) counts; 0 slots are no bulkhead. Lengths of the breaker
    /// and the budget are kept in units of 32 µs, rounded up.
    #[must_use]
    pub const fn get(&self, key: Key) -> u64 {
        get(&values_of(&self.settings), key)
    }

    /// Where that comes from.
    #[must_use]
    pub const fn origin(&self, key: Key) -> Origin {
        let bit = key.bit();
        if self.configured & bit != 0 {
            Origin::Configured
        } else if self.registered & bit != 0 {
            Origin::Registered
        } else if self.every & bit != 0 {
            Origin::EveryStrategy
        } else if (self.configured | self.registered | self.every) & sources(key) != 0 {
            Origin::Derived
        } else if matches!(self.named_by, Origin::DefaultStrategy) {
            Origin::DefaultStrategy
        } else {
            Origin::Strategy
        }
    }

    /// The same, if windows of `words` are enough for it.
    pub(super) const fn in_windows_of(self, words: usize) -> Result<Self, Conflict> {
        if self.settings.breaker_window.words() <= words {
            Ok(self)
        } else {
            Err(Conflict::WindowTooSmall)
        }
    }

    /// All of it as one.
    #[must_use]
    pub const fn settings(&self) -> Settings {
        self.settings
    }

    /// What is allowed, and probably not meant.
    pub fn warnings(&self) -> impl Iterator<Item = Warning> {
        let settings = self.settings();
        let (failures, attempts) = (settings.failures(), settings.attempts);
        let given = self.configured | self.registered | self.every;
        let gives = |key: Key| given & key.bit() != 0;
        let (window, one_more) = (settings.breaker_window, attempts.saturating_add(2));
        let waits = (1..attempts)
            .fold(Duration::ZERO, |sum, k| sum.saturating_add(settings.backoff.longest(k)));
        let breaks = settings.breaker_enabled;
        [
            (breaks && failures < one_more, Warning::OpensAlone),
            (breaks && window.has_rate() && window.calls_needed() < one_more, Warning::RatesAlone),
            (gives(Key::SlowAfter) && window.slow_rate_limit().is_none(), Warning::SlowAfterAlone),
            (gives(Key::MinCalls) && !window.has_rate(), Warning::MinCallsAlone),
            (settings.retry_enabled && settings.window < waits, Warning::WindowShort),
            (attempts > 7, Warning::ManyAttempts),
            (breaks && settings.breaker.probe_count() > failures, Warning::ManyProbes),
            (
                breaks && settings.breaker.lease_for() < settings.attempt_timeout,
                Warning::LeaseShort,
            ),
        ]
        .into_iter()
        .filter_map(|(holds, warning)| holds.then_some(warning))
    }

    pub(super) const fn to_words(self) -> Words {
        let mut words = [0; WORDS];
        copy(&mut words, 0, &self.settings.breaker.to_words());
        copy(&mut words, RULE_WORDS, &Plan::of(&self.settings).to_words());
        copy(&mut words, WINDOW_AT, &self.settings.breaker_window.to_words());
        copy(&mut words, LIMITS_AT, &self.settings.limits.to_words());
        let named =
            self.strategy as u32 | (self.named_by as u32) << 8 | (self.settings.mode as u32) << 16;
        copy(&mut words, ORIGINS, &[named, self.registered, self.configured, self.every]);
        words
    }

    #[allow(clippy::indexing_slicing, reason = "of lengths that are constants")]
    pub(super) const fn from_words(words: &Words) -> Self {
        let (mut rule, mut plan) = ([0; RULE_WORDS], [0; PLAN_WORDS]);
        let (mut window, mut limits) = ([0; WINDOW_RULE_WORDS], [0; LIMIT_RULE_WORDS]);
        copy_from(&mut rule, words, 0);
        copy_from(&mut plan, words, RULE_WORDS);
        copy_from(&mut window, words, WINDOW_AT);
        copy_from(&mut limits, words, LIMITS_AT);
        let [named, registered, configured, every] =
            [words[ORIGINS], words[ORIGINS + 1], words[ORIGINS + 2], words[ORIGINS + 3]];
        let (breaker, mode) = (Rule::from_words(rule), mode_of(named >> 16));
        let strategy = strategy_of(named & 0xff);
        let breaker_window = WindowRule::from_words(window);
        let limits = LimitRule::from_words(limits);
        let settings = Settings { breaker, breaker_window, limits, mode, ..strategy.settings() };
        Self {
            strategy,
            named_by: match named >> 8 & 0xff {
                0 => Origin::Configured,
                1 => Origin::Registered,
                _ => Origin::DefaultStrategy,
            },
            registered,
            configured,
            every,
            settings: Plan::from_words(&plan).within(&settings),
        }
    }
}

impl Conflict {
    /// In the order in which they are found.
    const ALL: [Self; 8] = [
        Self::MinNotBelowMax,
        Self::OfLastBelowFailures,
        Self::RateOfNothing,
        Self::SlowAfterMissing,
        Self::OfLastAndWithin,
        Self::WithinAlone,
        Self::FailuresBesideWithin,
        Self::OpenMaxBelowOpenFor,
    ];

    /// The first of them that is among `values`.
    #[allow(clippy::indexing_slicing, reason = "within the array's length")]
    const fn first_in(values: &[u32; KEYS]) -> Option<Self> {
        let mut at = 0;
        while at < Self::ALL.len() {
            if Self::ALL[at].is_in(values) {
                return Some(Self::ALL[at]);
            }
            at += 1;
        }
        None
    }

    /// Whether it is among `values`.
    const fn is_in(self, values: &[u32; KEYS]) -> bool {
        let [one, other] = self.keys();
        let (one, other) = (get(values, one), get(values, other));
        let (of_last, within) = (get(values, Key::OfLast), get(values, Key::Within));
        match self {
            Self::MinNotBelowMax => one >= other,
            // None: it follows from the other. Beside a rate, it is of the rate alone.
            Self::OfLastBelowFailures => one != 0 && one < other && !has_rate(values),
            Self::RateOfNothing => has_rate(values) && of_last == 0 && within == 0,
            Self::SlowAfterMissing => one != 0 && other == 0,
            Self::OfLastAndWithin => one != 0 && other != 0,
            Self::WithinAlone => one != 0 && !has_rate(values),
            Self::FailuresBesideWithin => one > REMEMBERED && other != 0,
            // In the unit that both are kept in.
            Self::OpenMaxBelowOpenFor => one != 0 && one.div_ceil(32) < other.div_ceil(32),
            Self::WindowTooSmall => false,
        }
    }

    /// The two keys.
    #[must_use]
    pub const fn keys(self) -> [Key; 2] {
        match self {
            Self::MinNotBelowMax => [Key::Min, Key::Max],
            Self::OfLastBelowFailures | Self::WindowTooSmall => [Key::OfLast, Key::Failures],
            Self::RateOfNothing => [Key::FailureRate, Key::OfLast],
            Self::SlowAfterMissing => [Key::SlowRate, Key::SlowAfter],
            Self::OfLastAndWithin => [Key::OfLast, Key::Within],
            Self::WithinAlone => [Key::Within, Key::FailureRate],
            Self::FailuresBesideWithin => [Key::Failures, Key::Within],
            Self::OpenMaxBelowOpenFor => [Key::OpenMax, Key::OpenFor],
        }
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, other] = self.keys();
        let must = match self {
            Self::MinNotBelowMax => "must be below",
            Self::OfLastBelowFailures | Self::OpenMaxBelowOpenFor => "must not be below",
            Self::SlowAfterMissing => "needs",
            Self::OfLastAndWithin => "must not be given beside",
            Self::RateOfNothing => {
                return write!(f, "{one} or {} needs {other} or {}", Key::SlowRate, Key::Within);
            }
            Self::WithinAlone => {
                return write!(f, "{one} needs {other} or {}", Key::SlowRate);
            }
            Self::FailuresBesideWithin => {
                return write!(f, "{one} is {REMEMBERED} at most beside {other}");
            }
            Self::WindowTooSmall => {
                return f.write_str(
                    "the table's windows are too small for breaker.of_last, breaker.failures or breaker.within",
                );
            }
        };
        write!(f, "{one} {must} {other}")
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OpensAlone => {
                "breaker.failures is less than retry.attempts + 2: one execution may open the breaker"
            }
            Self::RatesAlone => {
                "breaker.min_calls is less than retry.attempts + 2: one execution may open the breaker"
            }
            Self::WindowShort => "retry.window is over before the last retry may start",
            Self::ManyAttempts => "retry.attempts is more than 7",
            Self::ManyProbes => "breaker.probes is more than breaker.failures",
            Self::SlowAfterAlone => "breaker.slow_after is given without breaker.slow_rate",
            Self::MinCallsAlone => {
                "breaker.min_calls is given without breaker.failure_rate or breaker.slow_rate"
            }
            Self::LeaseShort => {
                "breaker.lease is shorter than timeout.attempt: a slow probe comes late"
            }
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "configured",
            Self::Registered => "registered",
            Self::EveryStrategy => "configured for every strategy",
            Self::Strategy => "strategy",
            Self::DefaultStrategy => "default strategy",
            Self::Derived => "derived from other settings",
        })
    }
}

impl core::error::Error for Conflict {}

/// Words of a stored registration.
pub(super) const LAYER: usize = KEYS + 2;

/// Where in the words it says where the others come from.
const ORIGINS: usize = LIMITS_AT + LIMIT_RULE_WORDS;
const _: () = assert!(WINDOW_AT == RULE_WORDS + PLAN_WORDS, "as many words as a plan has");
const _: () = assert!(
    ORIGINS == WINDOW_AT + WINDOW_RULE_WORDS + LIMIT_RULE_WORDS && WORDS == ORIGINS + 4,
    "as many words as are written"
);
const RATES: u32 = Key::FailureRate.bit() | Key::SlowRate.bit();
/// The outcomes that a circuit remembers itself.
const REMEMBERED: u64 = 23;

// A length in a word: whole microseconds up to 35 minutes, beyond that units of 64 µs, rounded up
// (whole seconds are whole units).
const COARSE: u32 = 1 << 31;
const UNIT_SHIFT: u32 = 6;

#[allow(clippy::indexing_slicing, reason = "a key is an index")]
const fn set(values: &mut [u32; KEYS], key: Key, value: u64) {
    values[key as usize] = match value {
        0..=0x7fff_ffff => value as u32,
        _ if !matches!(key.kind(), super::key::Kind::Length) => value as u32,
        _ => COARSE | (value.div_ceil(1 << UNIT_SHIFT) as u32 & !COARSE),
    };
}

#[allow(clippy::indexing_slicing, reason = "a key is an index")]
const fn get(values: &[u32; KEYS], key: Key) -> u64 {
    let word = values[key as usize];
    match word & COARSE {
        0 => word as u64,
        _ if !matches!(key.kind(), super::key::Kind::Length) => word as u64,
        _ => ((word & !COARSE) as u64) << UNIT_SHIFT,
    }
}

/// What `key` follows from where nobody gives it.
const fn sources(key: Key) -> u32 {
    match key {
        Key::OfLast => Key::Failures.bit() | Key::Within.bit(),
        Key::MinCalls => RATES,
        Key::Lease => Key::OpenFor.bit() | Key::AttemptTimeout.bit(),
        _ => 0,
    }
}

/// Lays `layer` over `values`. What it silences there: settings that its own exclude or make void.
#[allow(clippy::indexing_slicing, reason = "a key is an index")]
const fn lay_over(values: &mut [u32; KEYS], layer: &Registration) -> u32 {
    let mut silenced = 0;
    let rated = has_rate(values) || layer.given & RATES != 0;
    // So many failures in a row, unless the same layer says among how many, or a rate is of those.
    if layer.given & Key::Failures.bit() != 0 && !rated {
        silenced |= Key::OfLast.bit();
    }
    // A rate is of the one or of the other.
    if layer.given & Key::Within.bit() != 0 {
        silenced |= Key::OfLast.bit();
    }
    if layer.given & Key::OfLast.bit() != 0 {
        silenced |= Key::Within.bit();
    }
    let mut at = 0;
    while at < KEYS {
        if layer.given & 1 << at != 0 {
            values[at] = layer.values[at];
        } else if silenced & 1 << at != 0 {
            values[at] = 0;
        }
        at += 1;
    }
    silenced
}

#[allow(clippy::indexing_slicing, reason = "of lengths that are constants")]
const fn copy<const N: usize>(to: &mut [u32], from: usize, words: &[u32; N]) {
    let mut at = 0;
    while at < N {
        to[from + at] = words[at];
        at += 1;
    }
}

#[allow(clippy::indexing_slicing, reason = "of lengths that are constants")]
const fn copy_from<const N: usize>(to: &mut [u32; N], words: &[u32], from: usize) {
    let mut at = 0;
    while at < N {
        to[at] = words[from + at];
        at += 1;
    }
}

const fn strategy_of(index: u32) -> Strategy {
    match index {
        0 => Strategy::Aggressive,
        2 => Strategy::Conservative,
        3 => Strategy::Critical,
        _ => Strategy::Balanced,
    }
}

const fn mode_of(index: u32) -> Mode {
    match index {
        1 => Mode::ForcedOpen,
        2 => Mode::ForcedClosed,
        3 => Mode::Shadow,
        _ => Mode::Normal,
    }
}

/// What settings say, key by key.
const fn values_of(settings: &Settings) -> [u32; KEYS] {
    let mut values = [0; KEYS];
    let (backoff, rule, budget) = (&settings.backoff, &settings.breaker, &settings.budget);
    let (jitter, kind) = match backoff.jitter_kind() {
        Jitter::None => (Duration::ZERO, 0),
        Jitter::Additive(most) => (most, 1),
        Jitter::Full => (Duration::ZERO, 2),
        Jitter::Equal => (Duration::ZERO, 3),
        Jitter::Decorrelated => (Duration::ZERO, 4),
    };
    set(&mut values, Key::RetryEnabled, settings.retry_enabled as u64);
    set(&mut values, Key::Attempts, settings.attempts as u64);
    set(&mut values, Key::Growth, backoff.growth() as u64);
    set(&mut values, Key::Multiplier, micros(backoff.multiplier()));
    set(&mut values, Key::Min, micros(backoff.min()));
    set(&mut values, Key::Max, micros(backoff.max()));
    set(&mut values, Key::Jitter, micros(jitter));
    set(&mut values, Key::JitterKind, kind);
    set(&mut values, Key::Window, micros(settings.window));
    set(&mut values, Key::MaxAskedWait, micros(settings.max_asked_wait));
    set(&mut values, Key::Tokens, budget.tokens() as u64);
    set(&mut values, Key::PerSuccess, budget.per_success() as u64);
    set(&mut values, Key::Refill, micros(budget.refill_period()));
    set(&mut values, Key::AttemptTimeout, micros(settings.attempt_timeout));
    set(&mut values, Key::Deadline, micros(settings.deadline));
    set(&mut values, Key::BreakerEnabled, settings.breaker_enabled as u64);
    let (window, trip) = (&settings.breaker_window, rule.trip());
    let (failures, of_last) = match window.failures_of_last() {
        Some(counted) => counted,
        None => (trip.failures(), trip.window()),
    };
    let (of_last, within) = match (window.outcomes(), window.time()) {
        (Some(outcomes), _) => (outcomes, Duration::ZERO),
        (None, Some(time)) => (0, time),
        (None, None) => (of_last, Duration::ZERO),
    };
    let failure_rate = match window.failure_rate_limit() {
        Some(rate) => rate,
        None => 0,
    };
    let (slow_rate, slow_after) = match window.slow_rate_limit() {
        Some((rate, slow_after)) => (rate, micros(slow_after)),
        None => (0, 0),
    };
    let needed = if window.has_rate() { window.calls_needed() } else { 0 };
    set(&mut values, Key::Failures, failures as u64);
    set(&mut values, Key::OfLast, of_last as u64);
    set(&mut values, Key::FailureRate, failure_rate as u64);
    set(&mut values, Key::SlowRate, slow_rate as u64);
    set(&mut values, Key::SlowAfter, slow_after);
    set(&mut values, Key::Within, micros(within));
    set(&mut values, Key::MinCalls, needed as u64);
    set(&mut values, Key::OpenFor, micros(rule.open_for()));
    set(&mut values, Key::OpenGrowth, rule.growth_tenths() as u64);
    set(&mut values, Key::OpenMax, micros(rule.open_max()));
    set(&mut values, Key::Probes, rule.probe_count() as u64);
    set(&mut values, Key::Lease, micros(rule.lease_for()));
    set(&mut values, Key::Slots, settings.slots as u64);
    let (requests, tokens) =
        (settings.limits.requests_per_minute(), settings.limits.tokens_per_minute());
    if let Some(requests) = requests {
        set(&mut values, Key::RequestsPerMinute, requests as u64);
    }
    if let Some(tokens) = tokens {
        set(&mut values, Key::TokensPerMinute, tokens as u64);
    }
    set(&mut values, Key::Mode, settings.mode as u64);
    values
}

/// The strategy that is the strongest, and who named it.
const fn named(
    default: Strategy,
    registered: &Registration,
    configured: &Registration,
) -> (Strategy, Origin) {
    match (configured.strategy, registered.strategy) {
        (Some(strategy), _) => (strategy, Origin::Configured),
        (None, Some(strategy)) => (strategy, Origin::Registered),
        (None, None) => (default, Origin::DefaultStrategy),
    }
}

/// The values of a strategy under those given, and which each layer gave that are not silenced.
struct Laid {
    values: [u32; KEYS],
    every: u32,
    registered: u32,
    configured: u32,
}

impl Laid {
    const fn out(
        strategy: Strategy,
        every: &Registration,
        registered: &Registration,
        configured: &Registration,
    ) -> Self {
        // What follows from the others follows from what they become.
        let mut values = values_of(&strategy.settings());
        set(&mut values, Key::OfLast, 0);
        set(&mut values, Key::OpenMax, 0);
        set(&mut values, Key::Lease, 0);
        lay_over(&mut values, every);
        let by_registered = lay_over(&mut values, registered);
        let by_configured = lay_over(&mut values, configured);
        Self {
            values,
            every: every.given & !by_registered & !by_configured,
            registered: registered.given & !by_configured,
            configured: configured.given,
        }
    }
}

const fn settings_of(values: &[u32; KEYS]) -> Result<Settings, Conflict> {
    if let Some(conflict) = Conflict::first_in(values) {
        return Err(conflict);
    }
    let growth = match get(values, Key::Growth) {
        0 => Growth::Constant,
        1 => Growth::Linear,
        _ => Growth::Exponential,
    };
    let jitter = match get(values, Key::JitterKind) {
        0 => Jitter::None,
        1 => Jitter::Additive(length(values, Key::Jitter)),
        2 => Jitter::Full,
        3 => Jitter::Equal,
        _ => Jitter::Decorrelated,
    };
    let multiplier = length(values, Key::Multiplier);
    let (min, max) = (length(values, Key::Min), length(values, Key::Max));
    let backoff = match Backoff::try_new(growth, multiplier, min, max) {
        Ok(backoff) => match backoff.try_jitter(jitter) {
            Ok(backoff) => backoff,
            // Never: the key's range ends at an hour.
            Err(_) => backoff,
        },
        Err(BackoffError::MinNotBelowMax | BackoffError::TooLong) => {
            return Err(Conflict::MinNotBelowMax);
        }
    };
    let breaker = match rule_of(values) {
        Ok(rule) => rule,
        Err(conflict) => return Err(conflict),
    };
    let (tokens, per_success) = (get(values, Key::Tokens), get(values, Key::PerSuccess));
    let refill = length(values, Key::Refill);
    let budget = match BudgetRule::try_new(tokens as u32, per_success as u32, refill) {
        Ok(budget) => budget,
        // Never: the keys' ranges are the budget's.
        Err(_) => const { BudgetRule::new(1, 0, Duration::ZERO) },
    };
    Ok(Settings {
        attempts: get(values, Key::Attempts) as u32,
        backoff,
        window: length(values, Key::Window),
        attempt_timeout: length(values, Key::AttemptTimeout),
        deadline: length(values, Key::Deadline),
        max_asked_wait: length(values, Key::MaxAskedWait),
        breaker,
        breaker_window: window_of(values),
        budget,
        slots: get(values, Key::Slots) as u32,
        limits: limits_of(values),
        retry_enabled: get(values, Key::RetryEnabled) != 0,
        breaker_enabled: get(values, Key::BreakerEnabled) != 0,
        mode: mode_of(get(values, Key::Mode) as u32),
    })
}

/// None where there is none, which no limit is.
const fn limits_of(values: &[u32; KEYS]) -> LimitRule {
    let mut rule = LimitRule::NONE;
    if let Ok(limited) = rule.try_requests(get(values, Key::RequestsPerMinute) as u32) {
        rule = limited;
    }
    if let Ok(limited) = rule.try_tokens(get(values, Key::TokensPerMinute) as u32) {
        rule = limited;
    }
    rule
}

/// The failures that open a breaker, and among how many outcomes they are counted.
const fn counted(values: &[u32; KEYS]) -> (u32, u32) {
    let failures = get(values, Key::Failures) as u32;
    match get(values, Key::OfLast) as u32 {
        0 => (failures, failures),
        // Those of a rate.
        _ if has_rate(values) => (failures, failures),
        of_last => (failures, of_last),
    }
}

const fn has_rate(values: &[u32; KEYS]) -> bool {
    get(values, Key::FailureRate) != 0 || get(values, Key::SlowRate) != 0
}

/// What a breaker does not remember itself.
const fn window_of(values: &[u32; KEYS]) -> WindowRule {
    /// What is out of range is not in `values`, and changes nothing.
    const fn or(made: Result<WindowRule, WindowRuleError>, rule: WindowRule) -> WindowRule {
        match made {
            Ok(made) => made,
            Err(_) => rule,
        }
    }
    let mut rule = WindowRule::NONE;
    let (failures, among) = counted(values);
    if among as u64 > REMEMBERED {
        rule = or(rule.try_failures(failures, among), rule);
    }
    if has_rate(values) {
        let slow_after = length(values, Key::SlowAfter);
        rule = or(rule.try_over_last(get(values, Key::OfLast) as u32), rule);
        rule = or(rule.try_within(length(values, Key::Within)), rule);
        rule = or(rule.try_failure_rate(get(values, Key::FailureRate) as u32), rule);
        rule = or(rule.try_slow_rate(get(values, Key::SlowRate) as u32, slow_after), rule);
        rule = or(rule.try_min_calls(get(values, Key::MinCalls) as u32), rule);
    }
    rule
}

const fn rule_of(values: &[u32; KEYS]) -> Result<Rule, Conflict> {
    let open_for = length(values, Key::OpenFor);
    let remembered = REMEMBERED as u32;
    let made = match counted(values) {
        (failures, _) if failures > remembered => Rule::try_by(Trip::NEVER, open_for),
        // Of more outcomes than it remembers, it sees the last ones.
        (failures, among) if among > remembered => Rule::try_new(failures, remembered, open_for),
        (failures, among) => Rule::try_new(failures, among, open_for),
    };
    let mut rule = match made {
        Ok(rule) => rule,
        // Never: the key's range is the rule's.
        Err(_) => return Err(Conflict::OpenMaxBelowOpenFor),
    };
    if let Ok(probing) = rule.try_probes(get(values, Key::Probes) as u32) {
        rule = probing;
    }
    let growth = get(values, Key::OpenGrowth) as u32;
    let open_max = match get(values, Key::OpenMax) {
        0 => rule.open_max(),
        open_max => Duration::from_micros(open_max),
    };
    rule = match rule.try_open_growth(growth, open_max) {
        Ok(rule) => rule,
        Err(_) => return Err(Conflict::OpenMaxBelowOpenFor),
    };
    // Longer than an attempt may take, or its outcome always comes too late; and no shorter than the
    // pause before it.
    let lease = match get(values, Key::Lease) {
        0 => {
            let twice = get(values, Key::AttemptTimeout) * 2;
            let open_for = micros(open_for);
            let (_, longest) = Key::Lease.range();
            let lease = if twice > open_for { twice } else { open_for };
            if lease < longest { lease } else { longest }
        }
        lease => lease,
    };
    match rule.try_lease(Duration::from_micros(lease)) {
        Ok(leased) => Ok(leased),
        // Never: the key's range is the lease's.
        Err(_) => Ok(rule),
    }
}

const fn length(values: &[u32; KEYS], key: Key) -> Duration {
    Duration::from_micros(get(values, key))
}
