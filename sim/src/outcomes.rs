//! What a closed breaker saw, as a list of all of it, and what its rules say of that.

use steadfast::Rule;
use steadfast::state::{Evidence, FULL_WINDOW, Window, WindowRule};

use crate::plan::{Dice, MS, S, micros};

/// A window with what is known of it from outside.
pub(crate) struct Watched {
    pub(crate) window: Box<dyn Evidence>,
    rule: WindowRule,
    /// Of a time, in which a third of its words are.
    slices: u64,
}

/// Since the breaker was last closed.
#[derive(Default)]
pub(crate) struct Outcomes {
    seen: Vec<Outcome>,
    /// From which on the window looks at them.
    since: usize,
    latest: u64,
}

struct Outcome {
    slice: u64,
    failed: bool,
    slow: bool,
}

impl Watched {
    pub(crate) fn new(dice: &mut Dice) -> Option<Self> {
        let none = WindowRule::NONE;
        let outcomes =
            if dice.chance(80) { dice.scale(1, 40) } else { dice.scale(20, 1024) } as u32;
        let over = match dice.chance(50) {
            true => none.try_over_last(outcomes),
            false => none.try_within(micros(dice.scale(50 * MS, 1800 * S))),
        };
        let mut rule = over.unwrap_or_else(|error| panic!("{error}"));
        if rule.time().is_none() && dice.chance(25) {
            rule = rule.failures(1 + dice.below(u64::from(outcomes)) as u32, outcomes);
        }
        if dice.chance(70) {
            rule = rule.failure_rate(dice.between(50, 1000) as u32);
        }
        if dice.chance(60) {
            rule = rule.slow_rate(dice.between(50, 1000) as u32, micros(dice.scale(MS, 60 * S)));
        }
        if dice.chance(70) {
            rule = rule.min_calls(dice.scale(1, 20) as u32);
        }
        let few = rule.time().is_some() || outcomes <= 128;
        let (window, words): (Box<dyn Evidence>, _) = match few && dice.chance(50) {
            true => (Box::new(Window::<FEW>::new(rule)), FEW),
            false => (Box::new(Window::<FULL_WINDOW>::new(rule)), FULL_WINDOW),
        };
        (!rule.is_none()).then_some(Self { window, rule, slices: words as u64 / 3 })
    }
}

impl Outcomes {
    pub(crate) fn enter(&mut self, window: Option<&Watched>, now: u64, failed: bool, took: u64) {
        let within = window.and_then(|window| Some((window.rule.time()?, window.slices)));
        let slice = within.map_or(0, |(time, slices)| {
            let slice = now / (time.as_micros() as u64).div_ceil(slices);
            // A step back by all of the time begins anew; a smaller one is none.
            if slice + slices <= self.latest {
                (self.since, self.latest) = (self.seen.len(), slice);
            }
            slice
        });
        self.latest = self.latest.max(slice);
        let slow_after = window.and_then(|window| Some(window.rule.slow_rate_limit()?.1));
        let slow = slow_after.is_some_and(|after| u128::from(took) >= after.as_micros());
        self.seen.push(Outcome { slice: self.latest, failed, slow });
    }

    /// A closed phase begins that goes on from them; its window begins anew.
    pub(crate) fn go_on(&mut self) {
        (self.since, self.latest) = (self.seen.len(), 0);
    }

    /// Whether they open it, by its own rule or by its window.
    pub(crate) fn open(&self, rule: &Rule, window: Option<&Watched>) -> bool {
        let trip = rule.trip();
        let last = self.seen.iter().rev().take(trip.window() as usize);
        let failures = last.filter(|outcome| outcome.failed).count();
        // More than enough from when it was forced closed: a success opens it no more than ever.
        let failed = self.seen.last().is_some_and(|outcome| outcome.failed);
        failed && failures >= trip.failures() as usize
            || window.is_some_and(|window| self.judged_by(window))
    }

    fn judged_by(&self, &Watched { ref rule, slices, .. }: &Watched) -> bool {
        let last = |count: u32| self.seen[self.since..].iter().rev().take(count as usize);
        if let Some((failures, among)) = rule.failures_of_last() {
            if last(among).filter(|outcome| outcome.failed).count() >= failures as usize {
                return true;
            }
        }
        let seen: Vec<_> = match rule.outcomes() {
            Some(outcomes) => last(outcomes).collect(),
            None => last(u32::MAX).filter(|seen| seen.slice + slices > self.latest).collect(),
        };
        let reaches = |part: usize, rate: Option<u32>| {
            rate.is_some_and(|rate| part * 1000 >= seen.len() * rate as usize)
        };
        let failed = seen.iter().filter(|outcome| outcome.failed).count();
        let slow = seen.iter().filter(|outcome| outcome.slow).count();
        seen.len() >= rule.calls_needed() as usize
            && (reaches(failed, rule.failure_rate_limit())
                || reaches(slow, rule.slow_rate_limit().map(|(rate, _)| rate)))
    }
}

/// Words for 128 outcomes, or four slices of a time.
const FEW: usize = Window::words(128);
