//! Whoever uses the world: the main loop, and the interrupt.

use core::hint::black_box;
use core::time::Duration;

use oorandom::Rand32;
use portable_atomic::{AtomicU32, Ordering};
use steadfast::orchestrator::{Config, ConfigError, RegisterError, ResetError};
use steadfast::policy::{Leave, Next};
use steadfast::state::{Meter as _, Mode, Outcome, Settled, Tally, Transition};
use steadfast::{Class, Verdict};

use super::settings;
use super::world::{CALLED, LIVE, NEW_NAMES, SLOTS, World, now, pass};

/// One of the two.
pub(crate) struct Party {
    random: Rand32,
    interrupts: bool,
    pub(crate) seen: Seen,
    /// The same of all worlds before.
    before: Seen,
    pub(crate) meetings: Meetings,
}

/// What one of them did and saw in one world.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    pub(crate) guarded: Calls,
    pub(crate) executed: Calls,
    pub(crate) opened: u32,
    pub(crate) half_opened: u32,
    pub(crate) closed: u32,
    pub(crate) late: u32,
    pub(crate) withdrawn: u32,
    pub(crate) deposited: u32,
    /// A bit for each new name.
    pub(crate) registered: u32,
}

#[derive(Clone, Default)]
pub(crate) struct Calls {
    succeeded: u32,
    failed: u32,
    refused: u32,
    cancelled: u32,
    attempts: u32,
}

/// What the interrupt found, in all worlds.
#[derive(Clone, Default)]
pub(crate) struct Meetings {
    pub(crate) interrupts: u32,
    pub(crate) landed: [u32; Doing::ALL.len()],
    pub(crate) busy: u32,
    pub(crate) resetting: u32,
    pub(crate) read_under_writer: u32,
    pub(crate) replaced_under_reader: u32,
}

/// What the main loop is in the middle of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    Nothing,
    Guarding,
    Executing,
    Registering,
    Configuring,
    Reading,
    Resetting,
    Counting,
    Forcing,
}

static DOING: AtomicU32 = AtomicU32::new(0);

impl Doing {
    pub(crate) const ALL: [Self; 9] = [
        Self::Nothing,
        Self::Guarding,
        Self::Executing,
        Self::Registering,
        Self::Configuring,
        Self::Reading,
        Self::Resetting,
        Self::Counting,
        Self::Forcing,
    ];

    fn of_main() -> Self {
        Self::ALL[DOING.load(Ordering::Relaxed) as usize]
    }
}

impl Party {
    pub(crate) fn main() -> Self {
        Self::new(1, false)
    }

    pub(crate) fn interrupt() -> Self {
        Self::new(2, true)
    }

    fn new(seed: u64, interrupts: bool) -> Self {
        let (seen, meetings) = (Seen::default(), Meetings::default());
        Self { random: Rand32::new(seed), interrupts, before: seen.clone(), seen, meetings }
    }

    pub(crate) fn draw(&mut self) -> u32 {
        self.random.rand_u32()
    }

    /// In a new world.
    pub(crate) fn begin_anew(&mut self) {
        self.before = self.before.plus(&core::mem::take(&mut self.seen));
    }

    pub(crate) const fn before(&self) -> &Seen {
        &self.before
    }

    /// The interrupt has come: in the middle of what?
    pub(crate) fn meet(&mut self) {
        self.meetings.interrupts += 1;
        self.meetings.landed[Doing::of_main() as usize] += 1;
    }

    pub(crate) fn step(&mut self, world: &World) {
        pass(self.draw() % 64);
        match self.draw() % 64 {
            0..30 => self.does(Doing::Guarding, |party| party.guard(world)),
            30..42 => self.does(Doing::Executing, |party| party.execute(world)),
            42..44 => self.does(Doing::Registering, |party| party.register(world)),
            44 => self.does(Doing::Configuring, |party| party.configure(world)),
            45..48 => self.does(Doing::Reading, |party| party.read(world)),
            48..54 => self.does(Doing::Resetting, |party| party.reset(world)),
            54..57 => self.does(Doing::Counting, |party| party.count(world)),
            _ => self.does(Doing::Forcing, |party| party.force(world)),
        }
    }

    fn does(&mut self, what: Doing, act: impl FnOnce(&mut Self)) {
        if self.interrupts {
            return act(self);
        }
        DOING.store(what as u32, Ordering::Relaxed);
        act(self);
        DOING.store(Doing::Nothing as u32, Ordering::Relaxed);
    }

    /// A call by hand: slot, permit, outcome, token, metrics.
    fn guard(&mut self, world: &World) {
        let World { breaker, bulkhead, budget, metrics, .. } = world;
        metrics.started(0);
        let refused = |party: &mut Self, why| {
            metrics.count(why);
            metrics.count(Tally::Unattempted);
            metrics.count(Tally::CallRefused);
            party.seen.guarded.refused += 1;
        };
        // Without one now and then, for the other party's outcomes to come in between.
        let slot = match self.draw() % 2 {
            0 => None,
            _ => match bulkhead.try_acquire() {
                Ok(slot) => Some(slot),
                Err(_) => return refused(self, Tally::BulkheadFull),
            },
        };
        assert!(bulkhead.taken() <= SLOTS, "more slots taken than there are");
        let Ok(permit) = breaker.try_acquire(now()) else {
            return refused(self, Tally::BreakerOpen);
        };
        if permit.transition().is_some() {
            self.moved(Transition::HalfOpened, world);
        }
        self.seen.guarded.attempts += 1;
        self.work();
        let failed = match self.draw() % 8 {
            0 => {
                drop((permit, slot));
                metrics.count(Tally::AttemptCancelled);
                metrics.count(Tally::CallCancelled);
                self.seen.guarded.cancelled += 1;
                return;
            }
            draw => draw < 4,
        };
        let outcome = if failed { Outcome::Failure } else { Outcome::Success };
        match permit.settle(now(), outcome) {
            Settled::Moved(transition) => self.moved(transition, world),
            Settled::Late => {
                metrics.count(Tally::LateOutcome);
                self.seen.late += 1;
            }
            Settled::Counted | Settled::Shadowed => {}
        }
        drop(slot);
        if failed {
            let _ = budget.withdraw(now());
            self.seen.withdrawn += 1;
            metrics.count(Tally::AttemptFailed);
            metrics.count(Tally::CallFailed);
            metrics.failed(0, now(), Duration::ZERO);
            self.seen.guarded.failed += 1;
        } else {
            // Never more than were taken, so that none is more than there is room for.
            if self.seen.deposited < self.seen.withdrawn {
                budget.deposit();
                self.seen.deposited += 1;
            }
            metrics.succeeded(0, now(), Duration::ZERO, Duration::ZERO);
            self.seen.guarded.succeeded += 1;
        }
    }

    fn moved(&mut self, transition: Transition, world: &World) {
        let (seen, tally) = match transition {
            Transition::Opened => (&mut self.seen.opened, Tally::Opened),
            Transition::HalfOpened => (&mut self.seen.half_opened, Tally::HalfOpened),
            Transition::Closed => (&mut self.seen.closed, Tally::Closed),
        };
        *seen += 1;
        world.metrics.count(tally);
    }

    /// An operation, with retries.
    fn execute(&mut self, world: &World) {
        let name = if self.draw() % 2 == 0 { CALLED } else { LIVE };
        let handle = world.table.get(name).expect("it was there from the beginning");
        let mut run = handle.classify(|_: &u32| Verdict::of(Class::Transient)).start(now(), 0);
        loop {
            let attempt = match run.attempt(now()).next {
                Leave::Granted(attempt) => attempt,
                Leave::Refused(error) if error.attempts == 0 => {
                    break self.seen.executed.refused += 1;
                }
                Leave::Refused(_) => break self.seen.executed.failed += 1,
                Leave::NotNow => panic!("no attempt is under way"),
            };
            self.seen.executed.attempts += 1;
            self.work();
            let draw = self.draw();
            let answer = match draw % 8 {
                0 => {
                    drop((attempt, run));
                    break self.seen.executed.cancelled += 1;
                }
                1 => None,
                2..5 => Some(Err(draw)),
                _ => Some(Ok(draw)),
            };
            match run.settle(attempt, now(), answer, || draw).next {
                Next::Done(Ok(_)) => break self.seen.executed.succeeded += 1,
                Next::Done(Err(_)) => break self.seen.executed.failed += 1,
                Next::Retry(at) => pass(at.since(now()).as_millis() as u32 + 1),
                Next::Pending => panic!("no attempt is under way"),
            }
        }
    }

    fn register(&mut self, world: &World) {
        let (at, v) = (self.draw() as usize % NEW_NAMES.len(), self.number());
        match world.table.register(NEW_NAMES[at], settings::of(v)) {
            Ok(handle) => {
                self.seen.registered |= 1 << at;
                self.replaced();
                let settings = handle.settings();
                if self.interrupts {
                    settings::assert_are(&settings, v);
                } else {
                    settings::assert_whole(&settings);
                }
            }
            Err(RegisterError::Busy) => self.is_told_busy(),
            Err(error) => panic!("{error}"),
        }
    }

    fn configure(&mut self, world: &World) {
        let v = self.number();
        let config = Config::<1>::new().try_operation(LIVE, settings::of(v));
        let config = config.expect("it has room for one");
        match world.table.configure(&config) {
            Ok(()) => {
                self.replaced();
                let effective = world.table.effective(LIVE).expect("it is there");
                if self.interrupts {
                    settings::assert_are(&effective.settings(), v);
                } else {
                    settings::assert_whole(&effective.settings());
                }
            }
            Err(ConfigError::Busy) => self.is_told_busy(),
            Err(_) => panic!("a configuration is refused"),
        }
    }

    fn read(&mut self, world: &World) {
        if self.interrupts && matches!(Doing::of_main(), Doing::Registering | Doing::Configuring) {
            self.meetings.read_under_writer += 1;
        }
        for name in [LIVE].iter().chain(&NEW_NAMES) {
            if let Ok(effective) = world.table.effective(name) {
                settings::assert_whole(&effective.settings());
            }
            if let Ok(handle) = world.table.get(name) {
                settings::assert_whole(&handle.settings());
                assert_eq!(handle.name().as_str(), *name);
            }
        }
        let breaker = world.table.breaker(LIVE).expect("it is there");
        let rule = breaker.rule();
        assert_eq!(
            rule.open_for(),
            Duration::from_millis(64) * rule.trip().failures(),
            "a torn rule"
        );
    }

    fn reset(&mut self, world: &World) {
        let own = world.metrics.reset().is_err();
        let operation = match world.table.reset_metrics(LIVE) {
            Ok(()) => false,
            Err(ResetError::Busy) => true,
            Err(error) => panic!("{error}"),
        };
        if own || operation {
            assert!(self.interrupts, "who has preempted nobody is told busy");
            self.meetings.resetting += 1;
        }
    }

    /// No call is under way twice, and none has ended that did not begin.
    fn count(&mut self, world: &World) {
        let operation = world.table.metrics(LIVE).expect("it is there");
        let snapshots = [world.metrics.snapshot(), operation.snapshot()];
        // The main loop's one, or those that began and ended while the main loop was counting.
        let most = if self.interrupts { 1 } else { MOST_MEANWHILE };
        for counted in snapshots {
            assert!(counted.calls.in_flight <= most, "calls under way");
            assert!(counted.attempts.in_flight <= most, "attempts under way");
            assert!(counted.calls.started < 1_000_000, "counted before it was reset");
        }
    }

    fn force(&mut self, world: &World) {
        let forced = &world.forced;
        if self.draw() % 3 == 0 {
            let mode = Mode::ALL[self.draw() as usize % 4];
            let _ = forced.force(now(), mode);
            if self.interrupts {
                assert_eq!(forced.mode(), mode, "a mode is lost");
            }
        }
        if self.draw() % 8 == 0 {
            let _ = forced.reset();
        }
        if let Ok(permit) = forced.try_acquire(now()) {
            self.work();
            match self.draw() % 4 {
                0 => drop(permit),
                1 | 2 => drop(permit.settle(now(), Outcome::Failure)),
                _ => drop(permit.settle(now(), Outcome::Success)),
            }
        }
    }

    /// Takes some time.
    fn work(&mut self) {
        for turn in 0..self.draw() % 512 {
            black_box(turn);
        }
        pass(self.draw() % 16);
    }

    fn number(&mut self) -> u32 {
        1 + self.draw() % settings::NUMBERS
    }

    fn replaced(&mut self) {
        if self.interrupts && Doing::of_main() == Doing::Reading {
            self.meetings.replaced_under_reader += 1;
        }
    }

    fn is_told_busy(&mut self) {
        assert!(self.interrupts, "who has preempted nobody is told busy");
        self.meetings.busy += 1;
    }
}

impl Seen {
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            guarded: self.guarded.plus(&other.guarded),
            executed: self.executed.plus(&other.executed),
            opened: self.opened + other.opened,
            half_opened: self.half_opened + other.half_opened,
            closed: self.closed + other.closed,
            late: self.late + other.late,
            withdrawn: self.withdrawn + other.withdrawn,
            deposited: self.deposited + other.deposited,
            registered: self.registered | other.registered,
        }
    }
}

impl Calls {
    fn plus(&self, other: &Self) -> Self {
        Self {
            succeeded: self.succeeded + other.succeeded,
            failed: self.failed + other.failed,
            refused: self.refused + other.refused,
            cancelled: self.cancelled + other.cancelled,
            attempts: self.attempts + other.attempts,
        }
    }

    /// As metrics tell it when none is under way: calls started, succeeded, failed, refused,
    /// cancelled, under way; attempts started, under way.
    pub(crate) fn tallied(&self) -> [u64; 8] {
        let Self { succeeded, failed, refused, cancelled, attempts } = *self;
        let started = succeeded + failed + refused + cancelled;
        [started, succeeded, failed, refused, cancelled, 0, attempts, 0].map(u64::from)
    }
}

/// Calls of interrupts that came while the main loop was counting.
const MOST_MEANWHILE: u64 = 100;
