//! Virtual time, and a clock that shows it wrongly.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use steadfast::Instant;

use crate::plan::{Dice, MS};

/// The world's time, which only goes forward, and the device's clock, which may step.
pub(crate) struct Timeline(Mutex<Times>);

/// Which of the two a wait is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    World,
    Clock,
}

/// A wait until `at`, on one of the scales.
pub(crate) struct Until<'w> {
    timeline: &'w Timeline,
    scale: Scale,
    at: u64,
    registered: Option<u64>,
}

struct Times {
    world: u64,
    /// The clock is ahead of the world by this.
    ahead: i64,
    /// How far a reading may lag behind the clock: threads read it out of order.
    disorder: u64,
    dice: Dice,
    last: u64,
    /// The latest reading since the clock last stepped back, in ticks.
    latest: u64,
    climbed: u64,
    waits: u64,
    by_world: BTreeMap<(u64, u64), Waker>,
    by_clock: BTreeMap<(u64, u64), Waker>,
}

impl Timeline {
    pub(crate) const fn new(clock: u64, dice: Dice) -> Self {
        Self(Mutex::new(Times {
            world: 0,
            ahead: clock as i64,
            disorder: 0,
            dice,
            last: clock,
            latest: clock >> TICK_SHIFT,
            climbed: 0,
            waits: 0,
            by_world: BTreeMap::new(),
            by_clock: BTreeMap::new(),
        }))
    }

    /// What a caller reads: never after the clock, and sometimes a little before.
    pub(crate) fn read(&self) -> Instant {
        let mut times = self.times();
        let most = times.disorder;
        let late = times.dice.below(most + 1);
        let reading = times.clock().saturating_sub(late);
        let tick = reading >> TICK_SHIFT;
        times.climbed += tick.saturating_sub(times.latest);
        times.latest = times.latest.max(tick);
        times.last = reading;
        Instant::from_micros(reading)
    }

    /// What was read last.
    pub(crate) fn last(&self) -> u64 {
        self.times().last
    }

    /// How far the readings went beyond the latest before, in microseconds: what refills are claimed
    /// for. One that is older than others counts for nothing.
    pub(crate) fn climbed(&self) -> u64 {
        self.times().climbed << TICK_SHIFT
    }

    /// The same, for what begins now: its first reading may be older than the latest.
    pub(crate) fn climbs_anew(&self) -> u64 {
        self.times().begin_anew();
        self.climbed()
    }

    pub(crate) fn clock(&self) -> u64 {
        self.times().clock()
    }

    pub(crate) fn world(&self) -> u64 {
        self.times().world
    }

    pub(crate) const fn until(&self, scale: Scale, at: u64) -> Until<'_> {
        Until { timeline: self, scale, at, registered: None }
    }

    /// When the next wait ends, in the world's time.
    pub(crate) fn next(&self) -> Option<u64> {
        let times = self.times();
        let by_world = times.by_world.keys().next().map(|&(at, _)| at);
        let by_clock = times.by_clock.keys().next();
        let by_clock = by_clock.map(|&(at, _)| at.saturating_add_signed(-times.ahead));
        by_world.into_iter().chain(by_clock).min()
    }

    pub(crate) fn advance(&self, to: u64) {
        let mut times = self.times();
        times.world = times.world.max(to);
        times.wake_due();
    }

    pub(crate) fn step_clock(&self, by: i64) {
        let mut times = self.times();
        // Not before its origin.
        times.ahead = times.ahead.saturating_add(by).max(-(times.world as i64));
        times.begin_anew();
        times.wake_due();
    }

    pub(crate) fn disorder(&self, most: u64) {
        self.times().disorder = most;
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Times {
    const fn clock(&self) -> u64 {
        self.world.saturating_add_signed(self.ahead)
    }

    /// What is read from now on may be that old.
    fn begin_anew(&mut self) {
        let oldest = self.clock().saturating_sub(MOST_DISORDER) >> TICK_SHIFT;
        self.latest = self.latest.min(oldest);
    }

    fn wake_due(&mut self) {
        let (world, clock) = (self.world, self.clock());
        for (timers, now) in [(&mut self.by_world, world), (&mut self.by_clock, clock)] {
            while let Some(timer) = timers.first_entry().filter(|timer| timer.key().0 <= now) {
                timer.remove().wake();
            }
        }
    }

    const fn timers(&mut self, scale: Scale) -> &mut BTreeMap<(u64, u64), Waker> {
        match scale {
            Scale::World => &mut self.by_world,
            Scale::Clock => &mut self.by_clock,
        }
    }
}

impl Until<'_> {
    pub(crate) fn is_over(&self) -> bool {
        match self.scale {
            Scale::World => self.timeline.world() >= self.at,
            Scale::Clock => self.timeline.clock() >= self.at,
        }
    }
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.is_over() {
            return Poll::Ready(());
        }
        if self.at == u64::MAX {
            return Poll::Pending;
        }
        let mut times = self.timeline.times();
        times.waits += 1;
        let number = self.registered.unwrap_or(times.waits);
        times.timers(self.scale).insert((self.at, number), context.waker().clone());
        drop(times);
        self.registered = Some(number);
        Poll::Pending
    }
}

impl Drop for Until<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.registered {
            self.timeline.times().timers(self.scale).remove(&(self.at, number));
        }
    }
}

/// How far a reading lags behind the clock at most.
pub(crate) const MOST_DISORDER: u64 = 20 * MS;
/// The budget's coarse time, so that a reading which falls back over its edge counts as it does there.
const TICK_SHIFT: u32 = 14;
