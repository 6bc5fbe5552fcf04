//! The run: callers, and what befalls them: drops, clock steps, readings out of order, reboots.

use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Scope};

use steadfast::policy::{Event, Made};
use steadfast::state::{LimitRule, Mode};
use steadfast::{Clock, Error, Instant, Observe, OrElseError, Policy, Sleep};

use crate::clock::{MOST_DISORDER, Scale, Timeline, Until};
use crate::executor::{Boxed, Executor};
use crate::ledger::{Ended, Ledger};
use crate::limit::Reserving;
use crate::plan::{self, Dice, MS, S, Shared, Terms};
use crate::provider::{Fault, Provider, Reply};
use crate::{block, hedge};

/// What came of a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of the whole trace: the same for the same seed.
    pub hash: u64,
    /// Lines of the trace.
    pub events: u64,
    /// Calls begun.
    pub calls: u64,
    /// Attempts made.
    pub attempts: u64,
    /// Of those, made while another one was under way.
    pub hedges: u64,
    /// Times that a breaker opened for longer than at first.
    pub grown: u64,
    /// What an operator told breakers.
    pub orders: u64,
    /// The promise that was broken, if one was.
    pub violation: Option<String>,
}

/// Runs one seed, and prints its trace if asked to.
#[must_use]
pub fn run(seed: u64, print: bool) -> Report {
    let mut dice = Dice::new(seed);
    let clock = dice.scale(1, 1 << 44);
    let timeline = Arc::new(Timeline::new(clock, Dice::new(dice.bits())));
    let ledger = Mutex::new(Ledger::new(Arc::clone(&timeline), print));
    let mut totals = [0; 5];
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        // The shared state lives on, as in memory that a reboot keeps, or is made anew.
        for _ in 0..dice.between(1, 2) {
            let shared = Shared::new(&mut dice);
            held(&ledger).forget(&shared);
            for _ in 0..dice.between(1, 3) {
                let horizon = dice.scale(S, 1800 * S);
                let provider = Provider::new(&mut dice, timeline.world() + horizon);
                let chance = Mutex::new(Dice::new(dice.bits()));
                let world = World {
                    timeline: &timeline,
                    ledger: &ledger,
                    shared: &shared,
                    provider,
                    dice: chance,
                };
                world.live(&mut dice, horizon);
            }
            let more = held(&ledger).totals();
            totals.iter_mut().zip(more).for_each(|(total, more)| *total += more);
        }
    }));
    let violation = outcome.err().map(|panic| match panic.downcast::<String>() {
        Ok(what) => *what,
        Err(panic) => (*panic.downcast::<&str>().unwrap_or(Box::new("a panic"))).into(),
    });
    let (hash, events) = held(&ledger).hash();
    if print {
        println!("trace {hash:016x}");
    }
    let [calls, attempts, hedges, grown, orders] = totals;
    Report { hash, events, calls, attempts, hedges, grown, orders, violation }
}

/// From one reboot to the next.
pub(crate) struct World<'w> {
    pub(crate) timeline: &'w Timeline,
    ledger: &'w Mutex<Ledger>,
    pub(crate) shared: &'w Shared,
    provider: Provider,
    dice: Mutex<Dice>,
}

#[derive(Clone, Copy)]
enum Disturbance {
    ClockStep(i64),
    Disorder(u64),
    Reset,
    Limits(LimitRule),
    Force(Mode),
    ResetBreaker,
    Reboot,
}

#[derive(Clone, Copy)]
enum Kind {
    Told,
    Once,
    Mut,
    OrElse,
    OrElseLater,
    Hedge,
    Block,
    BlockOrElse,
}

impl World<'_> {
    fn live(&self, dice: &mut Dice, horizon: u64) {
        let terms: [Terms; 3] = core::array::from_fn(|_| Terms::new(dice, self.shared));
        let policies = terms.map(|terms| {
            let policy = terms.policy(self.shared).observer(self);
            (terms, if self.shared.limiter.is_some() { policy.limiter(self) } else { policy })
        });
        thread::scope(|scope| {
            let mut executor = Executor::default();
            for _ in 0..dice.between(1, 30) {
                let (terms, policy) = &policies[dice.below(3) as usize];
                let chance = Dice::new(dice.bits());
                executor.spawn(Box::pin(self.caller(scope, *terms, policy, horizon, chance)));
            }
            self.run(executor, dice, horizon);
        });
    }

    fn run(&self, mut executor: Executor<'_>, dice: &mut Dice, horizon: u64) {
        let mut disturbances = self.disturbances(dice, horizon);
        loop {
            self.book().check_ends();
            while executor.poll_one(|ready| dice.below(ready as u64) as usize) {
                self.book().check(self.shared);
                self.book().check_ends();
            }
            self.book().check_times(self.shared);
            if executor.is_over() {
                break;
            }
            if dice.chance(3) {
                executor.wake(dice.below(executor.len() as u64) as usize);
                continue;
            }
            let disturbed = disturbances.last().copied();
            match (self.timeline.next(), disturbed) {
                (next, Some((at, what))) if next.is_none_or(|next| at <= next) => {
                    disturbances.pop();
                    self.timeline.advance(at);
                    if !self.disturb(what) {
                        break;
                    }
                }
                (Some(next), _) => self.timeline.advance(next),
                (None, _) => panic!("a caller never ends"),
            }
        }
        self.dropping(|| drop(executor));
        let mut book = self.book();
        book.drop_all();
        book.check(self.shared);
        book.check_rest(self.shared);
    }

    /// What will befall all callers, the latest first.
    fn disturbances(&self, dice: &mut Dice, horizon: u64) -> Vec<(u64, Disturbance)> {
        let begin = self.timeline.world();
        let mut disturbances = Vec::new();
        let faulty = dice.chance(60);
        for _ in 0..if faulty { dice.below(6) } else { 0 } {
            let step = dice.scale(1, 3600 * S) as i64;
            let what = match dice.below(5) {
                0 => Disturbance::ClockStep(step),
                1 => Disturbance::ClockStep(-step),
                2 => Disturbance::Disorder(0),
                _ => Disturbance::Disorder(dice.scale(1, MOST_DISORDER)),
            };
            disturbances.push((begin + dice.below(horizon), what));
        }
        if dice.chance(30) {
            disturbances.push((begin + dice.below(horizon), Disturbance::Reset));
        }
        if dice.chance(30) {
            let limits = Disturbance::Limits(plan::limits(dice));
            disturbances.push((begin + dice.below(horizon), limits));
        }
        for _ in 0..if dice.chance(30) { dice.between(1, 6) } else { 0 } {
            let [back, forced @ ..] = Mode::ALL;
            let what = match dice.chance(20) {
                true => Disturbance::ResetBreaker,
                false if dice.chance(40) => Disturbance::Force(back),
                false => Disturbance::Force(dice.pick(forced)),
            };
            disturbances.push((begin + dice.below(horizon), what));
        }
        if dice.chance(40) {
            disturbances.push((begin + dice.below(horizon), Disturbance::Reboot));
        }
        disturbances.sort_by_key(|&(at, _)| core::cmp::Reverse(at));
        disturbances
    }

    /// False if this ends everything.
    fn disturb(&self, what: Disturbance) -> bool {
        let timeline = self.timeline;
        match what {
            Disturbance::ClockStep(by) => {
                timeline.step_clock(by);
                self.book().stepped();
                self.book().note(format_args!("the clock steps by {by}"));
            }
            Disturbance::Disorder(most) => {
                timeline.disorder(most);
                self.book().note(format_args!("readings are up to {most} µs late"));
            }
            Disturbance::Reset => {
                let reset = self.shared.metrics.reset();
                assert!(reset.is_ok(), "metrics cannot be reset");
                self.book().reset();
                self.book().note(format_args!("the metrics are reset"));
            }
            Disturbance::Limits(rule) => {
                if let Some(limiter) = &self.shared.limiter {
                    limiter.follow(rule);
                    self.book().limits(&rule);
                }
            }
            Disturbance::Force(mode) => self.book().force(mode, self.shared),
            Disturbance::ResetBreaker => self.book().reset_breaker(self.shared),
            Disturbance::Reboot => {
                if held(&self.dice).chance(50) {
                    timeline.step_clock(i64::MIN);
                }
                self.book().note(format_args!("reboot"));
                return false;
            }
        }
        true
    }

    /// Makes a few calls, one after the other.
    async fn caller<'s>(
        &'s self,
        scope: &'s Scope<'s, '_>,
        terms: Terms,
        policy: &'s Policy<'s>,
        horizon: u64,
        mut dice: Dice,
    ) {
        let begin = self.timeline.world() + dice.below(horizon);
        self.timeline.until(Scale::World, begin).await;
        for _ in 0..dice.between(1, 8) {
            let patience = if dice.chance(15) { dice.scale(MS, 100 * S) } else { u64::MAX };
            if self.shared.limiter.is_some() && dice.chance(15) {
                let reserving = Reserving::new(self.shared.estimate(&mut dice), &mut dice);
                self.reserves(reserving, patience).await;
                continue;
            }
            let kind = dice.pick([
                Kind::Told,
                Kind::Told,
                Kind::Once,
                Kind::Mut,
                Kind::OrElse,
                Kind::OrElseLater,
                Kind::Hedge,
                Kind::Hedge,
                Kind::Block,
                Kind::BlockOrElse,
            ]);
            let blocks = matches!(kind, Kind::Block | Kind::BlockOrElse);
            let mut terms = terms;
            if matches!(kind, Kind::Once) {
                terms.attempts = 1;
            }
            terms.hedges = matches!(kind, Kind::Hedge);
            terms.overruns = blocks && dice.chance(20);
            let call = self.book().call(terms);
            let until = self.timeline.world().saturating_add(patience);
            let until = self.timeline.until(Scale::World, until);
            let (fallback, length) = (dice.below(3), dice.scale(MS, 10 * S));
            let under_way = Some(self.call(scope, kind, call, policy, fallback, length));
            let how = Patient { world: self, call, under_way, until }.await;
            self.book().ended(call, &how);
            let pause = dice.below(3).min(1) * dice.scale(MS, horizon / 8 + MS);
            self.timeline.until(Scale::World, self.timeline.world() + pause).await;
        }
    }

    /// `length` µs take a fallback that thinks, the patience of whoever hedges, and an overrun.
    fn call<'c>(
        &'c self,
        scope: &'c Scope<'c, '_>,
        kind: Kind,
        call: usize,
        policy: &'c Policy<'c>,
        fallback: u64,
        length: u64,
    ) -> Boxed<'c, Ended> {
        let clock = Device { world: self, call };
        let give_up = move |error: &Error<Fault>| self.book().gave_up(call, error);
        // It answers, lets the error stand, or fails by itself.
        let fall_back = move |error: Error<Fault>| {
            give_up(&error);
            match fallback {
                0 => Ok(FELL_BACK),
                1 => Err(OrElseError::GaveUp(error)),
                _ => Err(OrElseError::Fallback(())),
            }
        };
        let plain = move |result: Result<bool, Error<Fault>>| match result {
            Ok(_) => Ended::Answered,
            Err(error) => {
                give_up(&error);
                Ended::GaveUp
            }
        };
        let or_else = move |result: Result<bool, OrElseError<Fault, ()>>| match result {
            Ok(FELL_BACK) => Ended::FellBack,
            Ok(_) => Ended::Answered,
            Err(_) => Ended::GaveUp,
        };
        let told = move |made| self.attempt(call, Some(made));
        let mute = move || self.attempt(call, None);
        let overrun = if self.book().overruns(call) { length } else { 0 };
        match kind {
            Kind::Told => Box::pin(async move { plain(policy.execute_told(clock, told).await) }),
            Kind::Once => {
                let attempt = async move { mute().await };
                Box::pin(async move { plain(policy.execute_once(clock, attempt).await) })
            }
            Kind::Mut => {
                Box::pin(
                    async move { plain(policy.execute_mut(clock, async || mute().await).await) },
                )
            }
            Kind::OrElse => Box::pin(async move {
                or_else(policy.execute_told(clock, told).or_else(fall_back).await)
            }),
            Kind::OrElseLater => Box::pin(async move {
                let later = |error| async move {
                    let answer = fall_back(error);
                    let at = self.timeline.world() + length;
                    self.timeline.until(Scale::World, at).await;
                    answer
                };
                or_else(policy.execute_told(clock, told).or_else_async(later).await)
            }),
            Kind::Hedge => {
                Box::pin(async move { plain(hedge::execute(self, call, policy, length).await) })
            }
            Kind::Block => Box::pin(block::call(scope, clock, overrun, move |caller| {
                plain(policy.execute_blocking(&caller, |made| caller.attempt(made)))
            })),
            Kind::BlockOrElse => Box::pin(block::call(scope, clock, overrun, move |caller| {
                let attempt = |made| caller.attempt(made);
                or_else(policy.execute_blocking_or_else(&caller, attempt, fall_back))
            })),
        }
    }

    pub(crate) fn attempt(&self, call: usize, made: Option<Made>) -> Attempting<'_> {
        let number = self.book().attempt(call, made, self.shared);
        let reply = self.provider.reply(self.timeline, &mut held(&self.dice));
        Attempting { world: self, call, number, reply }
    }

    pub(crate) fn dropping(&self, drop: impl FnOnce()) {
        self.book().dropping = true;
        drop();
        self.book().dropping = false;
    }

    pub(crate) fn book(&self) -> MutexGuard<'_, Ledger> {
        held(self.ledger)
    }
}

impl Observe for World<'_> {
    fn observe(&self, event: &Event) {
        self.book().event(event, self.shared);
    }
}

/// A call's clock.
#[derive(Clone, Copy)]
pub(crate) struct Device<'w> {
    pub(crate) world: &'w World<'w>,
    pub(crate) call: usize,
}

impl Clock for Device<'_> {
    fn now(&self) -> Instant {
        let reading = self.world.timeline.read();
        self.world.book().reads(self.call, reading.as_micros(), self.world.shared);
        reading
    }
}

impl<'w> Sleep for Device<'w> {
    type Sleeping = Until<'w>;

    fn sleep_until(&self, at: Instant) -> Until<'w> {
        self.world.timeline.until(Scale::Clock, at.as_micros())
    }

    fn random(&self) -> u32 {
        // The ends of the range too.
        match held(&self.world.dice).bits() {
            bits if bits % 16 == 0 => 0,
            bits if bits % 16 == 1 => u32::MAX,
            bits => (bits >> 32) as u32,
        }
    }
}

/// An attempt as the provider makes it, entered in the ledger.
pub(crate) struct Attempting<'w> {
    world: &'w World<'w>,
    call: usize,
    number: u32,
    reply: Reply<'w>,
}

impl Attempting<'_> {
    /// It returns by itself, without the provider's answer.
    pub(crate) fn give_up(&self, fault: Fault) -> Fault {
        self.world.book().replied(self.call, self.number, Err(fault));
        fault
    }
}

impl Future for Attempting<'_> {
    type Output = Result<bool, Fault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Poll::Ready(result) = Pin::new(&mut self.reply).poll(context) else {
            return Poll::Pending;
        };
        self.world.book().replied(self.call, self.number, result);
        if result.is_ok() {
            let estimate = self.world.book().estimate(self.call);
            self.world.settle_tokens(estimate, &mut held(&self.world.dice));
        }
        Poll::Ready(result.map(|()| !FELL_BACK))
    }
}

impl Drop for Attempting<'_> {
    fn drop(&mut self) {
        self.world.book().dropped(self.call, self.number);
    }
}

/// A call that its caller drops when it takes too long.
struct Patient<'w> {
    world: &'w World<'w>,
    call: usize,
    under_way: Option<Boxed<'w, Ended>>,
    until: Until<'w>,
}

impl Future for Patient<'_> {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        let world = self.world;
        world.book().polling(self.call);
        if Pin::new(&mut self.until).poll(context).is_ready() {
            world.dropping(|| self.under_way = None);
            return Poll::Ready(Ended::Dropped);
        }
        match &mut self.under_way {
            Some(call) => call.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

/// A mutex that a panic has not made useless: the panic is reported by itself.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const FELL_BACK: bool = true;
