//! A cap on requests and tokens a minute, as providers count them.

use core::borrow::Borrow;
use core::fmt;

use super::bucket::{Bucket, Part, Reading, UNIT_SHIFT, ahead, time};
use super::limit_rule::LimitRule;
use crate::clock::Instant;
use crate::fault;

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

    /// Whether [`take`](Self::take) would find that much at `at`, if nobody else takes any: nothing is
    /// taken. `now` is what the clock says; an `at` before that counts as it.
    ///
    /// # Errors
    ///
    /// It would not.
    fn foresee(&self, now: Instant, at: Instant, tokens: u32) -> Result<(), Limited>;

    /// Gives back what was taken for a call that was not made.
    fn refund(&self, taken: Taken);

    /// Has the tokens of a call that was made be `actual` instead of the `estimated` ones that were
    /// taken: once for each call, at the `now` that the clock then says. More than the bucket has is a
    /// debt, of one bucket at most. What comes back is reckoned by the limit as it is then: where that
    /// is lower than it was when they were taken, it is a larger share.
    fn settle(&self, now: Instant, estimated: u32, actual: u32);
}

/// What was taken of both buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Taken {
    requests: Part,
    tokens: Part,
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

    fn foresee(&self, now: Instant, at: Instant, tokens: u32) -> Result<(), Limited> {
        let Limiter { rule, buckets } = self.borrow();
        buckets.foresee(rule, now, at, tokens)
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

    fn foresee(&self, now: Instant, at: Instant, tokens: u32) -> Result<(), Limited> {
        (**self).foresee(now, at, tokens)
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
        self.foresee(rule, now, now, tokens)?;
        let limited = |wait| Limited::at(now, wait);
        let reading = Reading::of(now);
        let (of_requests, of_tokens) = rule.prices(tokens);
        let requests = self.requests.take(reading, of_requests).map_err(limited)?;
        match self.tokens.take(reading, of_tokens) {
            Ok(tokens) => Ok(Taken { requests, tokens }),
            Err(wait) => {
                self.requests.refund(requests);
                Err(limited(wait))
            }
        }
    }

    /// See [`Limit::foresee`].
    ///
    /// # Errors
    ///
    /// There is less left of one of them: the longer wait is told.
    pub fn foresee(
        &self,
        rule: &LimitRule,
        now: Instant,
        at: Instant,
        tokens: u32,
    ) -> Result<(), Limited> {
        let (of_requests, of_tokens) = rule.prices(tokens);
        if of_tokens.time > of_tokens.most {
            return Err(Limited { admits_at: Instant::MAX });
        }
        let (reading, ahead) = (Reading::of(now), ahead(now, at));
        let requests = self.requests.lacks(reading, ahead, of_requests);
        match requests.max(self.tokens.lacks(reading, ahead, of_tokens)) {
            0 => Ok(()),
            wait => Err(Limited::at(at.max(now), wait)),
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
            _ if fault::FREE_TOKENS => {}
            more => self.tokens.charge(Reading::of(now), more),
        }
    }
}

impl Default for SharedBuckets {
    fn default() -> Self {
        Self::new()
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
        if let (Some(taken), false) = (self.taken, fault::LOST_REFUND) {
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
        let micros = match fault::EARLY_LIMIT {
            true => wait >> UNIT_SHIFT,
            false => wait.div_ceil(1 << UNIT_SHIFT),
        };
        Self { admits_at: now.plus(micros as u64) }
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

impl core::error::Error for Limited {}
