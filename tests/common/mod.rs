//! What the tests of executions share.
#![allow(dead_code, clippy::unwrap_used, reason = "each takes what it needs")]

use core::fmt;
use core::future::{Future, poll_fn, ready};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::thread;

use steadfast::policy::{Attempt, Leave};
use steadfast::state::Outcome;
use steadfast::{Breaker, Class, Classify, Instant, Verdict};

/// An error that says its class, told from others of it by a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) class: Class,
    pub(crate) number: u32,
}

impl Classify for Fault {
    fn verdict(&self) -> Verdict {
        Verdict::of(self.class)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fault {}", self.class, self.number)
    }
}

impl core::error::Error for Fault {}

pub(crate) const fn fault(class: Class) -> Fault {
    Fault { class, number: 0 }
}

pub(crate) fn failing() -> impl Future<Output = Result<u8, Fault>> {
    ready(Err(fault(Class::Transient)))
}

pub(crate) fn succeeding() -> impl Future<Output = Result<u8, Fault>> {
    ready(Ok(7))
}

/// One failed attempt of somebody else.
pub(crate) fn fail(breaker: &Breaker, now: Instant) {
    let _ = breaker.try_acquire(now).unwrap().settle(now, Outcome::Failure);
}

pub(crate) fn granted<E: fmt::Debug>(leave: Leave<'_, E>) -> Attempt<'_> {
    match leave {
        Leave::Granted(attempt) => attempt,
        other => panic!("not granted: {other:?}"),
    }
}

pub(crate) fn poll<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Pending so many times, whatever the clock says.
pub(crate) async fn yields(times: u32) {
    let mut left = times;
    poll_fn(|_| match left {
        0 => Poll::Ready(()),
        _ => {
            left -= 1;
            Poll::Pending
        }
    })
    .await;
}

/// What `ask` answers at last. Other threads go on meanwhile.
///
/// Ten seconds is more than a busy machine leaves a thread aside that holds what others wait for:
/// after that, nobody does.
pub(crate) fn patiently<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let began = std::time::Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        match ask() {
            Some(answer) => return answer,
            None => thread::yield_now(),
        }
    }
    panic!("no answer in ten seconds")
}

/// The shortest waits.
pub(crate) const fn zero() -> u32 {
    0
}

pub(crate) const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub(crate) const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn at(secs: u64) -> Instant {
    Instant::from_micros(secs * 1_000_000)
}
