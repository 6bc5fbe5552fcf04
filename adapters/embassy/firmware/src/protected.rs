//! The application in the images whose size is compared: it makes calls, of which it is told when
//! they are made and whether they work.

use core::future::Future;
use core::hint::black_box;
use core::marker::PhantomData;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use steadfast::state::{Guarded, Mode, Outcome, SharedCircuit, Transition};
use steadfast::{Clock, Instant, Permit, Rule, Sleep, Trip};

/// Its clock and its timer.
#[derive(Clone, Copy)]
pub struct Timer(pub u64);

/// What it waits for: ready at the second poll.
pub struct Soon<T>(Option<T>, bool);

/// What an operator's mode is told to.
pub type Told = fn(u64, Mode) -> Option<Transition>;

/// A breaker whose rule is that of `R`.
pub struct Fixed<R>(SharedCircuit, PhantomData<R>);

/// A rule that is a constant.
pub trait Always {
    const RULE: Rule;
}

/// Calls `call` once as it mostly ends, then once as it seldom does. If an operator comes, `told` hears of
/// it.
#[unsafe(no_mangle)] // `costs_table` looks for it.
#[inline(never)]
pub fn both(call: extern "C" fn(u64, bool) -> bool, told: Told) -> bool {
    if black_box(false) {
        black_box(told(black_box(6), black_box(Mode::Shadow)));
    }
    let healthy = call(black_box(7), black_box(true));
    let failing = call(black_box(8), black_box(false));
    healthy && !failing
}

/// Where there is nobody to hear of a mode.
#[inline(never)]
pub fn unheard(_: u64, _: Mode) -> Option<Transition> {
    black_box(None)
}

/// A rule with all there is to one, and a growth that is no power of two.
pub const FULL: Rule = Rule::new(Trip::after(3).of_last(9), Duration::from_secs(30))
    .probes(3)
    .lease(Duration::from_secs(60))
    .open_growth(15, Duration::from_secs(3_600));

/// A call that `breaker` protects.
#[inline(always)]
pub fn protected<B: Guarded>(breaker: B, now: u64, works: bool) -> bool {
    let Ok(permit) = Permit::try_acquire(breaker, Instant::from_micros(now)) else { return false };
    let works = black_box(works);
    let outcome = if works { Outcome::Success } else { Outcome::Failure };
    permit.settle(Instant::from_micros(black_box(now)), outcome);
    works
}

/// An answer, or an error's code.
#[inline(always)]
pub fn answer(works: bool) -> Soon<Result<u32, u8>> {
    soon(if black_box(works) { Ok(black_box(1)) } else { Err(black_box(2)) })
}

/// Polls until it is ready.
#[inline(always)]
pub fn wait_for<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
}

impl<R> Fixed<R> {
    pub const fn new() -> Self {
        Self(SharedCircuit::new(), PhantomData)
    }
}

impl<R: Always> Guarded for &Fixed<R> {
    type Followed<'a>
        = &'static Rule
    where
        Self: 'a;

    fn shared(&self) -> &SharedCircuit {
        &self.0
    }

    fn rule(&self) -> &'static Rule {
        const { &R::RULE }
    }
}

const fn soon<T>(value: T) -> Soon<T> {
    Soon(Some(value), false)
}

impl<T: Unpin> Future for Soon<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        match core::mem::replace(&mut self.1, true) {
            true => self.0.take().map_or(Poll::Pending, Poll::Ready),
            false => Poll::Pending,
        }
    }
}

impl Clock for Timer {
    fn now(&self) -> Instant {
        Instant::from_micros(black_box(self.0))
    }
}

impl Sleep for Timer {
    type Sleeping = Soon<()>;

    fn sleep_until(&self, at: Instant) -> Soon<()> {
        black_box(at);
        soon(())
    }

    fn random(&self) -> u32 {
        black_box(4)
    }
}
