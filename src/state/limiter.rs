//! A cap on requests and tokens a minute, as providers count them.

use core::borrow::Borrow;
use core::fmt;

use super::word::{Order, WordPair};
use crate::clock::Instant;

/// How many requests, and how many tokens of a model, a minute.
///
/// ```
/// use steadfast::state::LimitRule;
///
/// const RULE: LimitRule = LimitRule::requests(60).and_tokens(90_000);
/// assert_eq!(RULE.requests_per_minute(), Some(60));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LimitRule {
    /// A minute; zero for no limit.
    requests: u32,
    tokens: u32,
}

/// What is wrong with a [`LimitRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LimitRuleError {
    /// 1 to 2^31 requests a minute.
    Requests,
    /// 1 to 2^31 tokens a minute.
    Tokens,
}

/// Two buckets, of requests and of tokens, that calls share: 24 bytes, no lock, no heap.
///
/// A bucket holds what its limit allows in a minute and fills up at that rate, so that in any time of
/// T seconds no more is taken than limit · (1 + T/60). What is taken is rounded up to 62.5 ns of that
/// time: of ten million requests a minute, that costs 1 % at most.
///
/// A clock that steps back by more than 10 s finds a full bucket: once so much too early, and no wedge.
/// What is given back late is counted to a second.
///
/// ```
/// use steadfast::Instant;
/// use steadfast::state::{LimitRule, Limiter};
///
/// static LIMITER: Limiter = Limiter::new(LimitRule::requests(60).and_tokens(90_000));
///
/// let now = Instant::from_micros(0); // from your clock
/// if let Ok(reservation) = LIMITER.try_reserve(now, 1_200) {
///     // Dropped before that, it would give back what it took.
///     let spent = reservation.begin();
///     // .. make the call; its answer says what it took ..
///     spent.settle(now, 950);
/// }
/// ```
#[derive(Debug)]
pub struct Limiter {
    rule: LimitRule,
    buckets: SharedBuckets,
}

/// A limiter's buckets without its rule, which comes with each call: for rules that change while it
/// runs. A bucket keeps the share that is in it, whatever its limit becomes.
#[derive(Debug)]
pub struct SharedBuckets {
    requests: Bucket,
    tokens: Bucket,
}

/// Whatever takes requests and tokens, all or none: a [`Limiter`], or one whose rule changes.
pub trait Limit: Sync {
    /// Takes one request and `tokens`.
    ///
    /// # Errors
    ///
    /// There is less left of one of them: then nothing is taken.
    fn take(&self, now: Instant, tokens: u32) -> Result<Taken, Limited>;

    /// Gives back what was taken for a call that was not made.
    fn refund(&self, taken: Taken);

    /// Has the tokens of a call that was made be `actual` instead of the `estimated` ones that were
    /// taken. More than the bucket has is a debt, of one bucket at most.
    fn settle(&self, now: Instant, estimated: u32, actual: u32);
}

/// What was taken of both buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Taken {
    requests: Part,
    tokens: Part,
}

/// What was taken of a bucket, in units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Part {
    /// The time in which it comes back.
    price: u32,
    /// From when on that time counts: what was missing before comes back first.
    since: u32,
}

/// Requests and tokens for a call that is about to be made. Dropped before it [begins](Self::begin),
/// it gives them back.
#[derive(Debug)]
#[must_use = "dropped, it gives back what it took: begin it"]
pub struct Reservation<L: Limit> {
    limiter: L,
    taken: Option<Taken>,
    estimated: u32,
}

/// Requests and tokens of a call that has begun: they are spent, whatever becomes of it.
#[derive(Debug)]
pub struct Spent<L: Limit> {
    limiter: L,
    estimated: u32,
}

/// The limiter has fewer left than are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limited {
    /// When there will be enough, if nobody else takes any: [`Instant::MAX`] if the bucket itself
    /// holds less.
    pub admits_at: Instant,
}

impl LimitRule {
    /// No limit.
    pub const NONE: Self = Self { requests: 0, tokens: 0 };

    /// So many requests a minute, 1 to 2^31.
    #[must_use]
    pub const fn requests(per_minute: u32) -> Self {
        match Self::NONE.try_requests(per_minute) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a number that comes at run time.
    ///
    /// # Errors
    ///
    /// It is out of range.
    pub const fn try_requests(self, per_minute: u32) -> Result<Self, LimitRuleError> {
        match per_minute {
            1..=MOST_A_MINUTE => Ok(Self { requests: per_minute, ..self }),
            _ => Err(LimitRuleError::Requests),
        }
    }

    /// So many tokens a minute, 1 to 2^31, and any number of requests.
    #[must_use]
    pub const fn tokens(per_minute: u32) -> Self {
        Self::NONE.and_tokens(per_minute)
    }

    /// So many tokens a minute too, 1 to 2^31.
    #[must_use]
    pub const fn and_tokens(self, per_minute: u32) -> Self {
        match self.try_tokens(per_minute) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for a number that comes at run time.
    ///
    /// # Errors
    ///
    /// It is out of range.
    pub const fn try_tokens(self, per_minute: u32) -> Result<Self, LimitRuleError> {
        match per_minute {
            1..=MOST_A_MINUTE => Ok(Self { tokens: per_minute, ..self }),
            _ => Err(LimitRuleError::Tokens),
        }
    }

    /// The requests a minute, if they are limited.
    #[must_use]
    pub const fn requests_per_minute(&self) -> Option<u32> {
        if self.requests == 0 { None } else { Some(self.requests) }
    }

    /// The tokens a minute, if they are limited.
    #[must_use]
    pub const fn tokens_per_minute(&self) -> Option<u32> {
        if self.tokens == 0 { None } else { Some(self.tokens) }
    }

    /// Whether nothing is limited.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.requests == 0 && self.tokens == 0
    }

    pub(crate) const fn to_words(self) -> [u32; LIMIT_RULE_WORDS] {
        [self.requests, self.tokens]
    }

    /// What [`to_words`](Self::to_words) gave.
    pub(crate) const fn from_words([requests, tokens]: [u32; LIMIT_RULE_WORDS]) -> Self {
        Self { requests, tokens }
    }
}

impl Limiter {
    /// Full buckets under `rule`.
    #[must_use]
    pub const fn new(rule: LimitRule) -> Self {
        Self { rule, buckets: SharedBuckets::new() }
    }

    /// Takes one request and `tokens`, for a call that is about to be made.
    ///
    /// # Errors
    ///
    /// There is less left of one of them.
    pub fn try_reserve(&self, now: Instant, tokens: u32) -> Result<Reservation<&Self>, Limited> {
        Reservation::try_new(self, now, tokens)
    }

    /// What it goes by.
    #[must_use]
    pub const fn rule(&self) -> &LimitRule {
        &self.rule
    }
}

impl<B: Borrow<Limiter> + Sync> Limit for B {
    fn take(&self, now: Instant, tokens: u32) -> Result<Taken, Limited> {
        let Limiter { rule, buckets } = self.borrow();
        buckets.take(rule, now, tokens)
    }

    fn refund(&self, taken: Taken) {
        self.borrow().buckets.refund(taken);
    }

    fn settle(&self, now: Instant, estimated: u32, actual: u32) {
        let Limiter { rule, buckets } = self.borrow();
        buckets.settle(rule, now, estimated, actual);
    }
}

impl Limit for &(dyn Limit + '_) {
    fn take(&self, now: Instant, tokens: u32) -> Result<Taken, Limited> {
        (**self).take(now, tokens)
    }

    fn refund(&self, taken: Taken) {
        (**self).refund(taken);
    }

    fn settle(&self, now: Instant, estimated: u32, actual: u32) {
        (**self).settle(now, estimated, actual);
    }
}

impl SharedBuckets {
    /// Full.
    #[must_use]
    pub const fn new() -> Self {
        Self { requests: Bucket::new(), tokens: Bucket::new() }
    }

    /// See [`Limit::take`].
    ///
    /// # Errors
    ///
    /// There is less left of one of them: then nothing is taken, and the longer wait is told.
    pub fn take(&self, rule: &LimitRule, now: Instant, tokens: u32) -> Result<Taken, Limited> {
        let (of_requests, of_tokens) = (price(1, rule.requests), price(tokens, rule.tokens));
        if of_tokens > MINUTE {
            return Err(Limited { admits_at: Instant::MAX });
        }
        match self.requests.take_if(rule.requests, now, of_requests) {
            Ok(requests) => match self.tokens.take_if(rule.tokens, now, of_tokens) {
                Ok(tokens) => Ok(Taken { requests, tokens }),
                Err(wait) => {
                    self.requests.refund(requests);
                    Err(Limited::at(now, wait))
                }
            },
            Err(wait) => {
                let other = self.tokens.lacks(rule.tokens, now, of_tokens);
                Err(Limited::at(now, wait.max(other)))
            }
        }
    }

    /// See [`Limit::refund`].
    pub fn refund(&self, taken: Taken) {
        self.requests.refund(taken.requests);
        self.tokens.refund(taken.tokens);
    }

    /// See [`Limit::settle`].
    pub fn settle(&self, rule: &LimitRule, now: Instant, estimated: u32, actual: u32) {
        match price(actual.saturating_sub(estimated), rule.tokens) {
            0 => {
                let price = price(estimated.saturating_sub(actual), rule.tokens);
                // As if none of it had come back meanwhile: that depends on what others took.
                self.tokens.refund(Part { price, since: units(now) });
            }
            more => self.tokens.charge(now, more),
        }
    }
}

impl Default for SharedBuckets {
    fn default() -> Self {
        Self::new()
    }
}

/// What is left of a minute's worth, as the instant at which it is all there again.
///
/// So a limit is but the price of a request, as the part of a minute in which one comes back, and a
/// bucket goes on whatever the limit becomes. The hot word is that instant, in units of 2^-4 µs; it comes
/// round in 268 s, so the cold word says in which second of 2^20 µs it was last moved, and after two minutes
/// without a call the hot one says nothing: the bucket is full.
#[derive(Debug)]
struct Bucket {
    words: WordPair,
}

impl Bucket {
    const fn new() -> Self {
        // By a clock's first readings too, it was moved long ago.
        Self { words: WordPair::new(0, 0u32.wrapping_sub(IDLE_SECONDS)) }
    }

    fn take_if(&self, limit: u32, now: Instant, price: u32) -> Result<Part, u32> {
        match limit {
            0 => Ok(Part { price: 0, since: 0 }),
            _ => self.update(now, |missing| take(missing, price)),
        }
    }

    /// How long until `price` is there.
    fn lacks(&self, limit: u32, now: Instant, price: u32) -> u32 {
        let (hot, cold) = self.words.load();
        let missing = if is_idle(cold, now) { 0 } else { missing(hot, now) };
        match take(missing, price) {
            Err(wait) if limit > 0 => wait,
            _ => 0,
        }
    }

    /// Takes what is more than there is, too.
    fn charge(&self, now: Instant, price: u32) {
        let charged = |missing: u32| Ok(missing.saturating_add(price).min(2 * MINUTE));
        // It refuses nothing.
        let _: Result<Part, u32> = self.update(now, charged);
    }

    /// Replaces what is missing at `now` by what `step` makes of it, unless that refuses.
    fn update(&self, now: Instant, step: impl Fn(u32) -> Result<u32, u32>) -> Result<Part, u32> {
        let mut renewed = false;
        loop {
            let (hot, cold) = self.words.load();
            let idle = is_idle(cold, now);
            // Whoever sees the cold word that is about to be written goes by the hot one, so that must
            // say full before. Once: two callers whose clocks differ would undo it for ever.
            if idle && !renewed && hot != units(now) && RENEWS {
                self.words.replace((hot, cold), (units(now), cold), Order::HotFirst);
                renewed = true;
                continue;
            }
            let missing = if idle { 0 } else { missing(hot, now) };
            let more = step(missing)?;
            let next = units(now).wrapping_add(more);
            if self.words.replace((hot, cold), (next, second(now)), WHEN_TAKEN) {
                let since = units(now).wrapping_add(missing);
                return Ok(Part { price: more.saturating_sub(missing), since });
            }
        }
    }

    /// Gives back what of `part` has not come back by itself, as of when the bucket was last moved.
    fn refund(&self, part: Part) {
        loop {
            let (hot, cold) = self.words.load();
            let moved = cold << SECOND_SHIFT;
            let back = match moved.wrapping_sub(part.since) {
                passed @ 0..=MINUTE => passed,
                _ => 0,
            };
            // Full when it was last moved is as full as it gets; and an instant before that could be
            // taken for one to come.
            let lead = match hot.wrapping_sub(moved) {
                lead @ 0..=MOST_AHEAD => lead,
                _ => 0,
            };
            let next = hot.wrapping_sub(part.price.saturating_sub(back).min(lead));
            if self.words.replace((hot, cold), (next, cold), Order::HotFirst) {
                return;
            }
        }
    }
}

impl<L: Limit> Reservation<L> {
    /// Takes one request and `tokens` from `limiter`, and keeps the handle.
    ///
    /// # Errors
    ///
    /// There is less left of one of them.
    pub fn try_new(limiter: L, now: Instant, tokens: u32) -> Result<Self, Limited> {
        let taken = Some(limiter.take(now, tokens)?);
        Ok(Self { limiter, taken, estimated: tokens })
    }
}

impl<L: Limit + Clone> Reservation<L> {
    /// The call begins: what it took is spent.
    pub fn begin(mut self) -> Spent<L> {
        self.taken = None;
        Spent { limiter: self.limiter.clone(), estimated: self.estimated }
    }
}

impl<L: Limit> Drop for Reservation<L> {
    fn drop(&mut self) {
        if let Some(taken) = self.taken {
            self.limiter.refund(taken);
        }
    }
}

impl<L: Limit> Spent<L> {
    /// The call took `actual` tokens.
    pub fn settle(self, now: Instant, actual: u32) {
        self.limiter.settle(now, self.estimated, actual);
    }
}

impl Limited {
    /// `wait` in units of 2^-4 µs.
    const fn at(now: Instant, wait: u32) -> Self {
        Self { admits_at: now.plus(wait.div_ceil(1 << UNIT_SHIFT) as u64) }
    }
}

/// With so much more missing, or how long until that will do.
const fn take(missing: u32, price: u32) -> Result<u32, u32> {
    let next = missing.saturating_add(price);
    if next <= MINUTE { Ok(next) } else { Err(next - MINUTE) }
}

/// The time in which `count` of `per_minute` come back, rounded up; where there is no limit, none. It
/// saturates: whatever takes longer than a minute is more than a bucket holds.
const fn price(count: u32, per_minute: u32) -> u32 {
    match (count, per_minute) {
        (_, 0) | (0, _) => 0,
        // Where a core divides 64 bits by a function, most calls do without.
        (1, _) => MINUTE.div_ceil(per_minute),
        _ => match (count as u64 * MINUTE as u64).div_ceil(per_minute as u64) {
            time @ 0..=0xffff_ffff => time as u32,
            _ => u32::MAX,
        },
    }
}

/// What a hot word says is missing at `now`: nothing, if it could not.
const fn missing(hot: u32, now: Instant) -> u32 {
    match hot.wrapping_sub(units(now)) {
        ahead @ 0..=MOST_AHEAD => ahead,
        _ => 0,
    }
}

/// Whether a bucket that was last moved in that second is full by now.
const fn is_idle(moved: u32, now: Instant) -> bool {
    match second(now).wrapping_sub(moved) {
        0..IDLE_SECONDS => false,
        // Another caller's reading was a little later.
        passed => passed < u32::MAX - STEP_SECONDS,
    }
}

const fn units(now: Instant) -> u32 {
    (now.as_micros() << UNIT_SHIFT) as u32
}

const fn second(now: Instant) -> u32 {
    (now.as_micros() >> (SECOND_SHIFT - UNIT_SHIFT)) as u32
}

impl LimitRuleError {
    const fn message(self) -> &'static str {
        match self {
            Self::Requests => "a limit is 1 to 2147483648 requests a minute",
            Self::Tokens => "a limit is 1 to 2147483648 tokens a minute",
        }
    }
}

impl fmt::Display for LimitRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("limit reached")
    }
}

// By hand: a supertrait would bring every limiter's formatting into a firmware's image.
impl fmt::Debug for dyn Limit + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Limit")
    }
}

impl core::error::Error for LimitRuleError {}
impl core::error::Error for Limited {}

// Whoever sees what was taken must see that the bucket is not idle.
#[cfg(not(mutant = "bucket_hot_first"))]
const WHEN_TAKEN: Order = Order::ColdFirst;
// What does not hold, for `tests/loom_limiter.rs` to show which models catch it.
#[cfg(mutant = "bucket_hot_first")]
const WHEN_TAKEN: Order = Order::HotFirst;
const RENEWS: bool = !cfg!(mutant = "bucket_not_renewed");

/// Words of a rule.
pub(crate) const LIMIT_RULE_WORDS: usize = 2;
const MOST_A_MINUTE: u32 = 1 << 31;
/// 2^-4 µs a unit.
const UNIT_SHIFT: u32 = 4;
const MINUTE: u32 = 60_000_000 << UNIT_SHIFT;
/// 2^20 µs a second, in units.
const SECOND_SHIFT: u32 = 20 + UNIT_SHIFT;
/// How far two readings of a clock may disagree.
const STEP_SECONDS: u32 = 8;
/// A minute and a debt of another, to a reading that is older. Nothing is farther ahead.
const MOST_AHEAD: u32 = 2 * MINUTE + ((STEP_SECONDS + 2) << SECOND_SHIFT);
/// What is missing, two minutes at most, is back after so many.
const IDLE_SECONDS: u32 = 2 * MINUTE.div_ceil(1 << SECOND_SHIFT) + 2;
// What was moved before that is told from what is to come, when the word comes round.
const _: () = assert!((MOST_AHEAD as u64 + ((IDLE_SECONDS as u64 + 1) << SECOND_SHIFT)) < 1 << 32);
