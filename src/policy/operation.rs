//! What a policy executes: something that makes an attempt each time it is asked to.

use core::future::Future;
use core::time::Duration;

/// Makes the attempts of one execution.
///
/// Implemented by what [`Policy::execute`](super::Policy::execute) and its siblings make of a
/// closure or a future; there is no need to implement it by hand.
pub trait Operation {
    /// One attempt.
    type Attempt: Future<Output = Result<Self::Answer, Self::Error>>;
    /// What it is made for.
    type Answer;
    /// Why it may fail.
    type Error;
    /// Whether there is one attempt to make, however many a policy allows.
    const ONLY_ONCE: bool = false;
    /// Whether it looks at what it is told of the attempt.
    const LISTENS: bool = true;

    /// Makes an attempt, or none if there is none left to make.
    fn attempt(&mut self, made: Made) -> Option<Self::Attempt>;
}

/// What an attempt may want to know of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Made {
    /// Its number, counted from 1.
    pub attempt: u32,
    /// The time it has: [`Duration::MAX`] where there is no limit.
    pub time_left: Duration,
}

/// A closure without an argument.
#[derive(Clone, Copy, Debug)]
pub struct Plain<F>(pub(crate) F);

/// A closure that is told which attempt it makes.
#[derive(Clone, Copy, Debug)]
pub struct Told<F>(pub(crate) F);

/// One future, and so one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Once<F>(pub(crate) Option<F>);

impl Made {
    pub(super) const fn new(attempt: u32, time_left: Duration) -> Self {
        Self { attempt, time_left }
    }
}

impl<T, E, F: FnMut() -> Fut, Fut: Future<Output = Result<T, E>>> Operation for Plain<F> {
    type Attempt = Fut;
    type Answer = T;
    type Error = E;
    const LISTENS: bool = false;

    fn attempt(&mut self, _made: Made) -> Option<Fut> {
        Some((self.0)())
    }
}

impl<T, E, F: FnMut(Made) -> Fut, Fut: Future<Output = Result<T, E>>> Operation for Told<F> {
    type Attempt = Fut;
    type Answer = T;
    type Error = E;

    fn attempt(&mut self, made: Made) -> Option<Fut> {
        Some((self.0)(made))
    }
}

impl<T, E, Fut: Future<Output = Result<T, E>>> Operation for Once<Fut> {
    type Attempt = Fut;
    type Answer = T;
    type Error = E;
    const ONLY_ONCE: bool = true;
    const LISTENS: bool = false;

    fn attempt(&mut self, _made: Made) -> Option<Fut> {
        self.0.take()
    }
}
