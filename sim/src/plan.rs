//! What a seed decides before anything happens.

use core::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};
use steadfast::policy::Growth;
use steadfast::state::{Breaker, Budget, Bulkhead, LimitRule, Metrics};
use steadfast::{Backoff, BudgetRule, Jitter, Policy, Rule, Strategy, Trip};

use crate::limit::Limiting;
use crate::outcomes::Watched;

/// Chance: the same seed draws the same numbers on every machine.
pub(crate) struct Dice(Xoshiro256PlusPlus);

/// What calls share.
pub(crate) struct Shared {
    pub(crate) breaker: Option<Breaker>,
    pub(crate) window: Option<Watched>,
    pub(crate) limiter: Option<Limiting>,
    pub(crate) bulkhead: Option<Bulkhead>,
    pub(crate) budget: Option<Budget>,
    pub(crate) metrics: Metrics,
    /// How often the budget gets a token back, or 0.
    pub(crate) refill: u64,
}

/// What a policy promises, in microseconds: written down apart from the policy, to hold it to.
#[derive(Clone, Copy)]
pub(crate) struct Terms {
    strategy: Option<Strategy>,
    pub(crate) attempts: u32,
    growth: Growth,
    multiplier: u64,
    min: u64,
    max: u64,
    jitter: Jitter,
    pub(crate) window: u64,
    pub(crate) attempt_timeout: u64,
    pub(crate) deadline: u64,
    pub(crate) max_asked_wait: u64,
    /// Tokens that an attempt is taken to need.
    pub(crate) estimate: u32,
    /// A second attempt may be under way.
    pub(crate) hedges: bool,
    /// An attempt may outlive its time.
    pub(crate) overruns: bool,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// 0 to `end` - 1.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(end)) >> 64) as u64
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// As likely between 1 and 2 as between 1000 and 2000.
    pub(crate) fn scale(&mut self, low: u64, high: u64) -> u64 {
        let doublings = self.below(u64::from((high / low).ilog2()) + 1);
        let low = low << doublings;
        self.between(low, low.saturating_mul(2).min(high))
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Copy, const N: usize>(&mut self, from: [T; N]) -> T {
        let at = self.below(N as u64) as usize;
        from[at]
    }
}

impl Shared {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let strategy = dice.pick(Strategy::ALL);
        let named = strategy.settings();
        let window = if dice.chance(50) { Watched::new(dice) } else { None };
        let rule = match dice.chance(30) {
            true => named.breaker,
            false => rule(dice, window.is_some()),
        };
        let (paid, refill) = match (dice.chance(30), strategy) {
            (true, Strategy::Critical) => (named.budget, 15 * S),
            (true, _) => (named.budget, 60 * S),
            (false, _) => budget(dice),
        };
        Self {
            breaker: dice.chance(85).then(|| Breaker::with_rule(rule)),
            window,
            limiter: dice.chance(50).then(|| Limiting::new(limits(dice))),
            bulkhead: dice.chance(70).then(|| Bulkhead::new(dice.between(1, 8) as u32)),
            budget: dice.chance(80).then(|| Budget::with_rule(paid)),
            metrics: Metrics::new(),
            refill,
        }
    }

    /// Tokens that a call is taken to need: now and then more than there ever are.
    pub(crate) fn estimate(&self, dice: &mut Dice) -> u32 {
        let limit = self.limiter.as_ref().and_then(|limiter| limiter.rule().tokens_per_minute());
        let limit = u64::from(limit.unwrap_or(1_000));
        match dice.below(20) {
            0 => 0,
            1 => dice.between(limit, 2 * limit) as u32,
            _ => dice.scale(1, limit) as u32,
        }
    }
}

fn rule(dice: &mut Dice, judged: bool) -> Rule {
    let failures = dice.between(1, 23);
    let outcomes = dice.between(failures, 23);
    let open_for = micros(dice.scale(50 * MS, 300 * S));
    let rule = match judged && dice.chance(60) {
        true => Rule::try_by(Trip::NEVER, open_for),
        false => Rule::try_new(failures as u32, outcomes as u32, open_for),
    };
    let rule = rule.unwrap_or_else(|error| panic!("{error}")).probes(dice.between(1, 5) as u32);
    let rule =
        if dice.chance(70) { rule } else { rule.lease(micros(dice.scale(50 * MS, 300 * S))) };
    if dice.chance(50) {
        return rule;
    }
    let first = rule.open_for().as_micros() as u64;
    rule.open_growth(dice.between(11, 100) as u32, micros(dice.scale(first, 86_400 * S)))
}

pub(crate) fn limits(dice: &mut Dice) -> LimitRule {
    let requests = LimitRule::requests(dice.scale(1, 600) as u32);
    let tokens = dice.scale(1, 1_000_000) as u32;
    match dice.below(3) {
        0 => requests,
        1 => requests.and_tokens(tokens),
        _ => LimitRule::tokens(tokens),
    }
}

fn budget(dice: &mut Dice) -> (BudgetRule, u64) {
    let (tokens, per_success) = (dice.between(1, 30) as u32, dice.below(1001) as u32);
    let refill = if dice.chance(30) { 0 } else { dice.scale(100 * MS, 600 * S) };
    (BudgetRule::new(tokens, per_success, micros(refill)), refill)
}

impl Terms {
    pub(crate) fn new(dice: &mut Dice, shared: &Shared) -> Self {
        let estimate = shared.estimate(dice);
        if dice.chance(40) {
            return Self { estimate, ..Self::of(dice.pick(Strategy::ALL)) };
        }
        let min = dice.below(2) * dice.scale(MS, S);
        let added = micros(dice.scale(MS, 5 * S));
        Self {
            strategy: None,
            attempts: dice.between(1, 8) as u32,
            growth: dice.pick([Growth::Constant, Growth::Linear, Growth::Exponential]),
            multiplier: dice.scale(1, 10 * S),
            min,
            max: min + dice.scale(1, 60 * S),
            jitter: dice.pick([
                Jitter::None,
                Jitter::Additive(added),
                Jitter::Full,
                Jitter::Equal,
                Jitter::Decorrelated,
            ]),
            window: if dice.chance(30) { FOREVER } else { dice.scale(100 * MS, 300 * S) },
            attempt_timeout: if dice.chance(20) { FOREVER } else { dice.scale(10 * MS, 120 * S) },
            deadline: dice.scale(50 * MS, 900 * S),
            max_asked_wait: if dice.chance(30) { FOREVER } else { dice.scale(100 * MS, 120 * S) },
            estimate,
            hedges: false,
            overruns: false,
        }
    }

    /// The table of strategies, written a second time.
    const fn of(strategy: Strategy) -> Self {
        let (attempts, [multiplier, min, max, jitter], [window, timeout, deadline, asked]) =
            match strategy {
                Strategy::Aggressive => (5, [250, 250, 2_000, 500], [10, 10, 20, 5]),
                Strategy::Balanced => (3, [1_000, 2_000, 10_000, 2_000], [30, 60, 120, 30]),
                Strategy::Conservative => (2, [2_000, 4_000, 30_000, 2_000], [120, 120, 360, 60]),
                Strategy::Critical => (7, [1_500, 3_000, 60_000, 5_000], [300, 120, 900, 120]),
            };
        Self {
            strategy: Some(strategy),
            attempts,
            growth: Growth::Exponential,
            multiplier: multiplier * MS,
            min: min * MS,
            max: max * MS,
            jitter: Jitter::Additive(Duration::from_millis(jitter)),
            window: window * S,
            attempt_timeout: timeout * S,
            deadline: deadline * S,
            max_asked_wait: asked * S,
            estimate: 0,
            hedges: false,
            overruns: false,
        }
    }

    pub(crate) fn policy<'s>(&self, shared: &'s Shared) -> Policy<'s> {
        let mut policy = match self.strategy {
            Some(strategy) => Policy::of(strategy),
            None => {
                let [multiplier, min, max] = [self.multiplier, self.min, self.max].map(micros);
                let backoff = Backoff::try_new(self.growth, multiplier, min, max);
                Policy::new()
                    .attempts(self.attempts)
                    .backoff(backoff.unwrap_or_else(|error| panic!("{error}")).jitter(self.jitter))
                    .retry_window(micros(self.window))
                    .attempt_timeout(micros(self.attempt_timeout))
                    .deadline(micros(self.deadline))
                    .max_asked_wait(micros(self.max_asked_wait))
            }
        };
        policy = policy.metrics(&shared.metrics).estimate(self.estimate);
        if let Some(watched) = &shared.window {
            policy = policy.window(&*watched.window);
        }
        policy = shared.breaker.iter().fold(policy, |policy, breaker| policy.breaker(breaker));
        policy = shared.bulkhead.iter().fold(policy, |policy, slots| policy.bulkhead(slots));
        shared.budget.iter().fold(policy, |policy, budget| policy.budget(budget))
    }

    /// The shortest wait there may be after the `failed`-th failed attempt.
    pub(crate) fn least_wait(&self, failed: u32) -> u64 {
        let factor = match self.growth {
            Growth::Constant => 1,
            Growth::Linear => u64::from(failed),
            Growth::Exponential => 1 << (failed - 1),
        };
        let planned = (self.multiplier * factor).clamp(self.min, self.max);
        match self.jitter {
            Jitter::None | Jitter::Additive(_) => planned,
            Jitter::Equal => planned / 2,
            Jitter::Full => 0,
            Jitter::Decorrelated => self.min,
        }
    }
}

pub(crate) const fn micros(micros: u64) -> Duration {
    match micros {
        FOREVER => Duration::MAX,
        _ => Duration::from_micros(micros),
    }
}

pub(crate) const FOREVER: u64 = u64::MAX;
pub(crate) const MS: u64 = 1_000;
pub(crate) const S: u64 = 1_000_000;
