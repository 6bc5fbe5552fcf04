//! A budget of retries: what keeps a failing service from being hit harder than a healthy one.

use core::fmt;
use core::time::Duration;

use super::word::AtomicWord;
use crate::clock::{Instant, duration, micros};

/// Tokens for retries that calls share: a failure takes one, a success gives a part of one, time
/// gives a few back.
///
/// A retry is allowed while more than half of the tokens are left after the failure has taken its
/// own. In a total outage that bounds attempts to requests + tokens/2 + one per refill period.
/// A full budget is only read by a success. 20 bytes.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Budget {
    rule: BudgetRule,
    tokens: SharedTokens,
}

/// A budget's tokens without its rule, which comes with each call: for rules that change while it
/// runs. More than a rule's are as many as it has.
#[derive(Debug)]
pub struct SharedTokens {
    /// Tokens left, in thousandths.
    balance: AtomicWord,
    /// The tick up to which refills have been claimed.
    claimed: AtomicWord,
}

/// How many tokens, and how they come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BudgetRule {
    full: u32,
    per_success: u32,
    /// In units of 32 µs, rounded up.
    refill: u32,
}

/// What is wrong with a [`BudgetRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum BudgetRuleError {
    /// It has 1 to 10 000 tokens.
    Tokens,
    /// A success gives 0 to 10 000 thousandths of one.
    PerSuccess,
    /// One comes back every 24 h or more often; zero for never.
    Refill,
}

impl BudgetRule {
    /// `tokens` (1 to 10 000); a success gives `per_success` thousandths of one (up to 10 000); one
    /// more comes each `refill` (up to 24 h, zero for never), up to a retry's worth above half.
    /// A full budget of n tokens pays for (n − 1) / 2 retries in a row, so one of 1 or 2 for none.
    #[must_use]
    pub const fn new(tokens: u32, per_success: u32, refill: Duration) -> Self {
        match Self::try_new(tokens, per_success, refill) {
            Ok(rule) => rule,
            Err(error) => panic!("{}", error.message()),
        }
    }

    /// The same for numbers that come at run time.
    pub const fn try_new(
        tokens: u32,
        per_success: u32,
        refill: Duration,
    ) -> Result<Self, BudgetRuleError> {
        if tokens == 0 || tokens > 10_000 {
            return Err(BudgetRuleError::Tokens);
        }
        if per_success > 10 * TOKEN {
            return Err(BudgetRuleError::PerSuccess);
        }
        let refill = match micros(refill) {
            micros @ 0..=86_400_000_000 => micros.div_ceil(1 << UNIT_SHIFT) as u32,
            _ => return Err(BudgetRuleError::Refill),
        };
        Ok(Self { full: tokens * TOKEN, per_success, refill })
    }

    /// Tokens when full.
    #[must_use]
    pub const fn tokens(&self) -> u32 {
        self.full / TOKEN
    }

    /// What a success gives, in thousandths of a token.
    #[must_use]
    pub const fn per_success(&self) -> u32 {
        self.per_success
    }

    /// The same with another refill (up to 24 h, zero for never).
    #[must_use]
    pub const fn refill(self, refill: Duration) -> Self {
        Self::new(self.tokens(), self.per_success, refill)
    }

    pub(crate) const fn to_words(self) -> [u32; 3] {
        [self.full, self.per_success, self.refill]
    }

    /// What [`to_words`](Self::to_words) gave.
    pub(crate) const fn from_words([full, per_success, refill]: [u32; 3]) -> Self {
        Self { full, per_success, refill }
    }

    /// How often a token comes back, rounded up to 32 µs; zero for never.
    #[must_use]
    pub const fn refill_period(&self) -> Duration {
        duration((self.refill as u64) << UNIT_SHIFT)
    }

    /// A failure's part: what is left of `balance` with `refills` more, and whether a retry is paid.
    #[must_use]
    pub const fn fail(&self, balance: u32, refills: u32) -> (u32, bool) {
        let cap = self.refill_cap();
        // Under another rule it may have been more.
        let balance = self.with(balance, 0);
        let balance = if balance < cap {
            let refilled = balance.saturating_add(refills.saturating_mul(TOKEN));
            if refilled < cap { refilled } else { cap }
        } else {
            balance
        };
        let left = balance.saturating_sub(TOKEN);
        (left, left > self.full / 2)
    }

    /// A success's part: what is left of `balance`.
    #[must_use]
    pub const fn succeed(&self, balance: u32) -> u32 {
        self.with(balance, self.per_success)
    }

    /// `balance` with so many thousandths more, up to a full one.
    const fn with(&self, balance: u32, more: u32) -> u32 {
        let balance = balance.saturating_add(more);
        if balance < self.full { balance } else { self.full }
    }

    /// What `balance`, under the rule `before`, is under this one: the same share of a full one.
    fn share(&self, balance: u32, before: &Self) -> u32 {
        let share = u64::from(balance) * u64::from(self.full);
        let share = share.checked_div(before.full.into()).unwrap_or(share);
        share.min(self.full.into()) as u32
    }

    /// The refills due at `now`, and up to when that claims them. A clock that stepped back claims
    /// none and begins again there.
    #[must_use]
    pub const fn claim(&self, claimed: u32, now: Instant) -> (u32, u32) {
        let now = later(claimed, tick(now));
        let elapsed = now.wrapping_sub(claimed);
        if self.refill == 0 || elapsed > u32::MAX / 2 {
            return (now, 0);
        }
        // One tick more: a claim begins somewhere in its tick, and never comes early.
        let period = self.refill.div_ceil(1 << (TICK_SHIFT - UNIT_SHIFT)) + 1;
        let refills = elapsed / period;
        (claimed.wrapping_add(refills * period), refills)
    }

    /// Half, one token, and the least more: so that the failure which takes the token leaves more
    /// than half, and an idle device may retry once per refill.
    const fn refill_cap(&self) -> u32 {
        let cap = self.full / 2 + TOKEN + 1;
        if cap < self.full { cap } else { self.full }
    }
}

impl Budget {
    /// A full budget by `rule`.
    #[must_use]
    pub const fn with_rule(rule: BudgetRule) -> Self {
        Self { rule, tokens: SharedTokens::full(&rule) }
    }

    /// Takes a failure's token at `now`, and tells whether a retry is paid.
    #[must_use]
    pub fn withdraw(&self, now: Instant) -> bool {
        self.tokens.withdraw(&self.rule, now)
    }

    /// Gives a success's part of a token.
    pub fn deposit(&self) {
        self.tokens.deposit(&self.rule);
    }

    /// Whole tokens left.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        self.tokens.tokens()
    }

    /// What it follows.
    #[must_use]
    pub const fn rule(&self) -> &BudgetRule {
        &self.rule
    }

    pub(crate) const fn shared(&self) -> &SharedTokens {
        &self.tokens
    }
}

impl SharedTokens {
    /// As many as `rule` has.
    #[must_use]
    pub const fn full(rule: &BudgetRule) -> Self {
        Self { balance: AtomicWord::new(rule.full), claimed: AtomicWord::new(0) }
    }

    /// See [`Budget::withdraw`].
    #[must_use]
    pub fn withdraw(&self, rule: &BudgetRule, now: Instant) -> bool {
        let full_enough = self.balance.load() >= rule.refill_cap();
        let refills = self.claimed.update(|claimed| match full_enough {
            // Nothing is due: the period begins with this failure.
            true => (later(claimed, tick(now)), 0),
            false => rule.claim(claimed, now),
        });
        self.balance.update(|balance| rule.fail(balance, refills))
    }

    /// See [`Budget::deposit`].
    pub fn deposit(&self, rule: &BudgetRule) {
        self.balance.update(|balance| (rule.succeed(balance), ()));
    }

    /// Gives back a token of an attempt that is not made.
    pub(crate) fn give_back(&self, rule: &BudgetRule) {
        self.balance.update(|balance| (rule.with(balance, TOKEN), ()));
    }

    /// Whole tokens left.
    #[must_use]
    pub fn tokens(&self) -> u32 {
        self.balance.load() / TOKEN
    }

    /// Keeps the share of a full budget that is left, where `rule` comes after `before`.
    pub(crate) fn keep_share(&self, before: &BudgetRule, rule: &BudgetRule) {
        if before.full != rule.full {
            self.balance.update(|balance| (rule.share(balance, before), ()));
        }
    }
}

impl BudgetRuleError {
    const fn message(self) -> &'static str {
        match self {
            Self::Tokens => "a retry budget has 1 to 10000 tokens",
            Self::PerSuccess => "a success gives 0 to 10000 thousandths of a token",
            Self::Refill => "a token comes back within 24 h, or never",
        }
    }
}

impl fmt::Display for BudgetRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for BudgetRuleError {}

/// Coarse time, modulo 2^32 ticks of 2^14 µs (2.2 years).
const fn tick(now: Instant) -> u32 {
    (now.as_micros() >> TICK_SHIFT) as u32
}

/// The tick that is now, or the one up to which refills have been claimed if that is a little later:
/// by another caller's reading, so that no time has passed and none comes back.
const fn later(claimed: u32, now: u32) -> u32 {
    if now.wrapping_sub(claimed) > u32::MAX - STEP_TICKS { claimed } else { now }
}

const TOKEN: u32 = 1000;
const TICK_SHIFT: u32 = 14;
/// 2^5 µs a unit of the refill period.
const UNIT_SHIFT: u32 = 5;
/// How far two readings of a clock may disagree: 64 s, as for the breaker.
const STEP_TICKS: u32 = 64_000_000 >> TICK_SHIFT;
