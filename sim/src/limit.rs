//! The limiter as the world watches it, and callers who reserve by hand.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use std::sync::{Mutex, PoisonError};

use steadfast::Instant;
use steadfast::state::{Limit, LimitRule, Limited, Reservation, SharedBuckets, Taken};

use crate::clock::{Scale, Until};
use crate::executor::Boxed;
use crate::plan::{Dice, MS, S};
use crate::world::World;

/// A limiter whose rule changes.
pub(crate) struct Limiting {
    rule: Mutex<LimitRule>,
    buckets: SharedBuckets,
}

/// Who reserves by hand, and what for.
#[derive(Clone, Copy)]
pub(crate) struct Reserving {
    pub(crate) tokens: u32,
    /// What the call then takes.
    actual: u32,
    /// Until the call begins, in microseconds, and how long it takes.
    held: u64,
    length: u64,
    /// It comes to nothing before it begins.
    comes_to_nothing: bool,
}

/// What was reserved by hand. Dropped, it says whose it was.
struct Holding<'w> {
    world: &'w World<'w>,
    number: usize,
    reservation: Option<Reservation<&'w dyn Limit>>,
}

/// Work that is dropped when it takes too long.
struct Impatient<'w> {
    world: &'w World<'w>,
    work: Option<Boxed<'w, ()>>,
    until: Until<'w>,
}

impl Limiting {
    pub(crate) const fn new(rule: LimitRule) -> Self {
        Self { rule: Mutex::new(rule), buckets: SharedBuckets::new() }
    }

    pub(crate) fn rule(&self) -> LimitRule {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn follow(&self, rule: LimitRule) {
        *self.rule.lock().unwrap_or_else(PoisonError::into_inner) = rule;
    }
}

impl Limit for Limiting {
    fn take(&self, now: Instant, tokens: u32) -> Result<Taken, Limited> {
        self.buckets.take(&self.rule(), now, tokens)
    }

    fn foresee(&self, now: Instant, at: Instant, tokens: u32) -> Result<(), Limited> {
        self.buckets.foresee(&self.rule(), now, at, tokens)
    }

    fn refund(&self, taken: Taken) {
        self.buckets.refund(taken);
    }

    fn settle(&self, now: Instant, estimated: u32, actual: u32) {
        self.buckets.settle(&self.rule(), now, estimated, actual);
    }
}

impl Limit for World<'_> {
    fn take(&self, now: Instant, tokens: u32) -> Result<Taken, Limited> {
        let limiter = self.limiter();
        let taken = limiter.take(now, tokens);
        self.book().taken(now.as_micros(), tokens, taken);
        self.keeps_its_word(tokens, taken.err());
        taken
    }

    fn foresee(&self, now: Instant, at: Instant, tokens: u32) -> Result<(), Limited> {
        let seen = self.limiter().foresee(now, at, tokens);
        self.book().foreseen(now.as_micros(), at.as_micros(), tokens, seen);
        self.keeps_its_word(tokens, seen.err());
        seen
    }

    fn refund(&self, taken: Taken) {
        self.limiter().refund(taken);
        self.book().refunded(taken);
    }

    fn settle(&self, now: Instant, estimated: u32, actual: u32) {
        self.limiter().settle(now, estimated, actual);
        self.book().settled(now.as_micros(), estimated, actual);
    }
}

impl World<'_> {
    /// The answer says what the call took.
    pub(crate) fn settle_tokens(&self, estimated: u32, dice: &mut Dice) {
        if self.shared.limiter.is_some() && dice.chance(80) {
            let actual = spent(estimated, dice);
            self.settle(self.timeline.read(), estimated, actual);
        }
    }

    /// Nobody else takes any: then there is enough when it says so.
    fn keeps_its_word(&self, tokens: u32, refused: Option<Limited>) {
        let Some(Limited { admits_at }) =
            refused.filter(|limited| limited.admits_at < Instant::MAX)
        else {
            return;
        };
        let then = self.limiter().foresee(admits_at, admits_at, tokens);
        assert!(then.is_ok(), "refused until {admits_at:?}, and then {then:?}");
    }

    const fn limiter(&self) -> &Limiting {
        self.shared.limiter.as_ref().expect("it is asked for")
    }

    /// Reserves, and is dropped when it takes longer than `patience`.
    pub(crate) async fn reserves(&self, reserving: Reserving, patience: u64) {
        let until = self.timeline.world().saturating_add(patience);
        let until = self.timeline.until(Scale::World, until);
        let work: Boxed<'_, ()> = Box::pin(self.reserve(reserving));
        Impatient { world: self, work: Some(work), until }.await;
    }

    async fn reserve(&self, reserving: Reserving) {
        let limit: &dyn Limit = self;
        let mut number = self.book().reserves(None);
        let mut reserved = Reservation::try_new(limit, self.timeline.read(), reserving.tokens);
        if let Err(Limited { admits_at }) = reserved {
            if admits_at == Instant::MAX {
                return;
            }
            self.timeline.until(Scale::Clock, admits_at.as_micros()).await;
            number = self.book().reserves(Some(number));
            reserved = Reservation::try_new(limit, self.timeline.read(), reserving.tokens);
        }
        let Ok(reservation) = reserved else { return };
        let mut holding = Holding { world: self, number, reservation: Some(reservation) };
        self.pass(reserving.held).await;
        if reserving.comes_to_nothing {
            return;
        }
        let Some(reservation) = holding.reservation.take() else { return };
        self.book().begins(number);
        let spent = reservation.begin();
        self.pass(reserving.length).await;
        spent.settle(self.timeline.read(), reserving.actual);
    }

    async fn pass(&self, length: u64) {
        self.timeline.until(Scale::World, self.timeline.world() + length).await;
    }
}

impl Reserving {
    pub(crate) fn new(tokens: u32, dice: &mut Dice) -> Self {
        Self {
            tokens,
            actual: spent(tokens, dice),
            held: dice.below(2) * dice.scale(MS, 150 * S),
            length: dice.scale(MS, 60 * S),
            comes_to_nothing: dice.chance(40),
        }
    }
}

/// Less than was estimated, as much, or more.
fn spent(estimated: u32, dice: &mut Dice) -> u32 {
    match dice.below(4) {
        0 => estimated,
        1 => dice.below(u64::from(estimated) + 1) as u32,
        _ => dice.below(2 * u64::from(estimated) + 100) as u32,
    }
}

impl Drop for Holding<'_> {
    fn drop(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.world.book().reserving = Some(self.number);
            drop(reservation);
            self.world.book().reserving = None;
        }
    }
}

impl Future for Impatient<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Pin::new(&mut self.until).poll(context).is_ready() {
            let world = self.world;
            world.dropping(|| self.work = None);
            return Poll::Ready(());
        }
        match &mut self.work {
            Some(work) => work.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}
