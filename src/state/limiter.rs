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
/// A bucket holds what its limit allows in a minute and fills up at that rate. So in any time of T
/// seconds no more is taken than limit · (1 + T/60), to a millisecond of that rate, and but for what
/// earlier calls gave back. What a call takes is rounded up to 62.5 ns of the rate: all of up to
/// ten million requests a minute can be taken at once, and of as many tokens, one by one, 99 %.
///
/// A clock that steps back by more than about 9 s stands still for a bucket: nothing comes too early, and
/// nobody waits for longer than without the step.
///
/// ```
/// use steadfast::Instant;
/// use steadfast::state::{LimitRule, Limiter};
///
/// static LIMITER: Limiter = Limiter::new(LimitRule::requests(60).and_tokens(90_000));
///
/// # let clock = || Instant::from_micros(0);
/// if let Ok(reservation) = LIMITER.try_reserve(clock(), 1_200) {
///     // Dropped before that, it would give back what it took.
///     let spent = reservation.begin();
///     // .. make the call; its answer says what it took ..
///     spent.settle(clock(), 950);
/// }
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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

    /// Whether [`take`](Self::take) would find that much at `at`: loads, and nothing else, unless the
    /// clock was set back.
    ///
    /// # Errors
    ///
    /// It would not.
    fn look(&self, at: Instant, tokens: u32) -> Result<(), Limited>;

    /// Gives back what was taken for a call that was not made.
    fn refund(&self, taken: Taken);

    /// Has the tokens of a call that was made be `actual` instead of the `estimated` ones that were
    /// taken: once for each call, at the `now` that the clock then says. More than the bucket has is a
    /// debt, of one bucket at most.
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
    /// The second in which it was taken.
    second: u32,
}

/// Requests and tokens for a call that is about to be made. Dropped before it [begins](Self::begin),
/// it gives them back.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "dropped, it gives back what it took: begin it"]
pub struct Reservation<L: Limit> {
    limiter: L,
    taken: Option<Taken>,
    estimated: u32,
}

/// Requests and tokens of a call that has begun: they are spent, whatever becomes of it.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
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

    /// What one request costs, and what `tokens` do.
    const fn prices(&self, tokens: u32) -> (Price, Price) {
        let (request, token) = (time(1, self.requests), time(1, self.tokens));
        let most_requests = match self.requests {
            // All of them, whatever is rounded up of each.
            0..=EXACT => self.requests * request,
            _ => MINUTE,
        };
        let most_tokens = match self.tokens {
            0 => 0,
            exact if MINUTE % exact == 0 => MINUTE,
            // As much more as so many calls round up, and never a whole token.
            _ => MINUTE + if token > ROUNDED { ROUNDED } else { token - 1 },
        };
        (
            Price { time: request, most: most_requests },
            Price { time: time(tokens, self.tokens), most: most_tokens },
        )
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

    fn look(&self, at: Instant, tokens: u32) -> Result<(), Limited> {
        let Limiter { rule, buckets } = self.borrow();
        buckets.look(rule, at, tokens)
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

    fn look(&self, at: Instant, tokens: u32) -> Result<(), Limited> {
        (**self).look(at, tokens)
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
        // Nothing is taken of the one that the other would have to give back, if that can be seen.
        self.look(rule, now, tokens)?;
        let limited = |wait| Limited::at(now, wait);
        let (of_requests, of_tokens) = rule.prices(tokens);
        let now = Reading::of(now);
        let requests = self.requests.take(now, of_requests).map_err(limited)?;
        match self.tokens.take(now, of_tokens) {
            Ok(tokens) => Ok(Taken { requests, tokens }),
            Err(wait) => {
                self.requests.refund(requests);
                Err(limited(wait))
            }
        }
    }

    /// See [`Limit::look`].
    ///
    /// # Errors
    ///
    /// There is less left of one of them: the longer wait is told.
    pub fn look(&self, rule: &LimitRule, at: Instant, tokens: u32) -> Result<(), Limited> {
        let (of_requests, of_tokens) = rule.prices(tokens);
        if of_tokens.time > of_tokens.most {
            return Err(Limited { admits_at: Instant::MAX });
        }
        let now = Reading::of(at);
        match self.requests.lacks(now, of_requests).max(self.tokens.lacks(now, of_tokens)) {
            0 => Ok(()),
            wait => Err(Limited::at(at, wait)),
        }
    }

    /// See [`Limit::refund`].
    pub fn refund(&self, taken: Taken) {
        self.requests.refund(taken.requests);
        self.tokens.refund(taken.tokens);
    }

    /// See [`Limit::settle`].
    pub fn settle(&self, rule: &LimitRule, now: Instant, estimated: u32, actual: u32) {
        match time(actual.saturating_sub(estimated), rule.tokens) {
            // As if none of it had come back meanwhile: that depends on what others took.
            0 => self.tokens.give_back(time(estimated.saturating_sub(actual), rule.tokens)),
            more => self.tokens.charge(Reading::of(now), more),
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

/// What a call costs: time of the bucket's, of `most` that it holds. Nothing where there is no limit.
#[derive(Clone, Copy)]
struct Price {
    time: u32,
    most: u32,
}

/// An instant as the two words say it.
#[derive(Clone, Copy)]
struct Reading {
    units: u32,
    second: u32,
}

/// What a reading says of the second in which a bucket was last moved.
enum Since {
    /// It is now, or was a moment ago: the hot word holds.
    Lately,
    /// It was so long ago that the bucket is full.
    Long,
    /// It is yet to come: the clock was set back.
    Never,
}

impl Bucket {
    const fn new() -> Self {
        // By a clock's first readings too, it was moved long ago.
        Self { words: WordPair::new(0, 0u32.wrapping_sub(IDLE_SECONDS)) }
    }

    fn take(&self, now: Reading, price: Price) -> Result<Part, u32> {
        match price.most {
            0 => Ok(Part { price: 0, since: 0, second: 0 }),
            _ => self.update(now, |missing| price.on_top_of(missing)),
        }
    }

    /// How long until that much is there.
    fn lacks(&self, now: Reading, price: Price) -> u32 {
        let (hot, cold) = self.load(now);
        match price.on_top_of(now.missing(hot, cold)) {
            Err(wait) if price.most > 0 => wait,
            _ => 0,
        }
    }

    /// The words; if the clock was set back, as if it had not been: else nothing would come back until
    /// it is where it was.
    fn load(&self, now: Reading) -> (u32, u32) {
        let (hot, cold) = self.words.load();
        match now.since(cold) {
            Since::Never => {
                let next = (now.units.wrapping_add(lead(hot, cold)), now.second);
                self.words.replace((hot, cold), next, WHEN_TAKEN);
                self.words.load()
            }
            _ => (hot, cold),
        }
    }

    /// Takes what is more than there is, too.
    fn charge(&self, now: Reading, time: u32) {
        // The reading may be one from before the call; nobody is let in by it.
        let (_, cold) = self.words.load();
        let charged = |missing: u32| Ok(missing.saturating_add(time).min(2 * MINUTE));
        // It refuses nothing.
        let _: Result<Part, u32> = self.update(now.or_second(cold), charged);
    }

    /// Replaces what is missing at `now` by what `step` makes of it, unless that refuses.
    fn update(&self, now: Reading, step: impl Fn(u32) -> Result<u32, u32>) -> Result<Part, u32> {
        let mut renewed = false;
        loop {
            let (hot, cold) = self.load(now);
            // Whoever sees the cold word that is about to be written goes by the hot one, so that must
            // say full before. Once: two callers whose clocks differ would undo it for ever.
            if matches!(now.since(cold), Since::Long) && !renewed && hot != now.units && RENEWS {
                self.words.replace((hot, cold), (now.units, cold), Order::HotFirst);
                renewed = true;
                continue;
            }
            let missing = now.missing(hot, cold);
            let more = step(missing)?;
            let next = now.units.wrapping_add(more);
            if self.words.replace((hot, cold), (next, now.second), WHEN_TAKEN) {
                let since = now.units.wrapping_add(missing);
                let price = more.saturating_sub(missing);
                return Ok(Part { price, since, second: now.second });
            }
        }
    }

    /// Gives back what of `part` has not come back by itself, as of when the bucket was last moved.
    fn refund(&self, part: Part) {
        let (_, cold) = self.words.load();
        let back = match cold.wrapping_sub(part.second) {
            0..=REFILLED_SECONDS => match (cold << SECOND_SHIFT).wrapping_sub(part.since) {
                passed @ 0..=0x7fff_ffff => passed,
                _ => 0,
            },
            // All of it, or the clock was set back, and nobody knows.
            _ => part.price,
        };
        self.give_back(part.price.saturating_sub(back));
    }

    fn give_back(&self, time: u32) {
        loop {
            let (hot, cold) = self.words.load();
            // Full when it was last moved is as full as it gets; and an instant before that could be
            // taken for one to come.
            let next = hot.wrapping_sub(time.min(lead(hot, cold)));
            if self.words.replace((hot, cold), (next, cold), Order::HotFirst) {
                return;
            }
        }
    }
}

impl Price {
    /// What is missing once that is taken too, or how long until it can be.
    const fn on_top_of(self, missing: u32) -> Result<u32, u32> {
        let next = missing.saturating_add(self.time);
        if next <= self.most { Ok(next) } else { Err(next - self.most) }
    }
}

impl Reading {
    const fn of(now: Instant) -> Self {
        let micros = now.as_micros();
        Self {
            units: (micros << UNIT_SHIFT) as u32,
            second: (micros >> (SECOND_SHIFT - UNIT_SHIFT)) as u32,
        }
    }

    /// The same, or the beginning of `second` if that is later.
    const fn or_second(self, second: u32) -> Self {
        match second.wrapping_sub(self.second) {
            1..=0x7fff_ffff => Self { units: second << SECOND_SHIFT, second },
            _ => self,
        }
    }

    const fn since(self, moved: u32) -> Since {
        match self.second.wrapping_sub(moved) {
            0..IDLE_SECONDS => Since::Lately,
            IDLE_SECONDS..=0x7fff_ffff => Since::Long,
            // Another caller's reading was a little later.
            passed if passed >= 0u32.wrapping_sub(STEP_SECONDS) => Since::Lately,
            _ => Since::Never,
        }
    }

    /// What is missing by these words.
    const fn missing(self, hot: u32, cold: u32) -> u32 {
        match self.since(cold) {
            Since::Lately => at_most_ahead(hot.wrapping_sub(self.units)),
            Since::Long => 0,
            Since::Never => lead(hot, cold),
        }
    }
}

/// What was missing when the bucket was last moved, and up to a second more.
const fn lead(hot: u32, cold: u32) -> u32 {
    at_most_ahead(hot.wrapping_sub(cold << SECOND_SHIFT))
}

/// Whatever is farther ahead has passed.
const fn at_most_ahead(ahead: u32) -> u32 {
    if ahead <= MOST_AHEAD { ahead } else { 0 }
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

/// The time in which `count` of `per_minute` come back, rounded up; where there is no limit, none. It
/// saturates.
const fn time(count: u32, per_minute: u32) -> u32 {
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
/// What was taken, with all that was missing before, is back after so many.
const REFILLED_SECONDS: u32 = MINUTE.div_ceil(1 << SECOND_SHIFT) + 1;
/// Requests a minute whose rounding adds less than a second to the minute.
const EXACT: u32 = 10_000_000;
/// 256 µs.
const ROUNDED: u32 = 1 << (8 + UNIT_SHIFT);
// What was moved before that is told from what is to come, when the word comes round.
const _: () = assert!((MOST_AHEAD as u64 + ((IDLE_SECONDS as u64 + 1) << SECOND_SHIFT)) < 1 << 32);
