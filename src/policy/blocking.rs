//! The driver for callers that block: plain threads, and firmware without async.

use core::borrow::Borrow;

use super::attempt::Attempt;
use super::classify::Classifier;
use super::operation::Made;
use super::progress::Ended;
use super::run::{Next, Run};
use super::{Policy, Source};
use crate::clock::Wait;
use crate::error::{Error, OrElseError};

impl<C> Policy<'_, C> {
    /// Makes attempts at `operation` until one succeeds or this policy gives up, and blocks.
    ///
    /// Nobody can stop a function that blocks: it is told the time it has, and is to keep to it. A
    /// success that comes later is returned all the same, and counted as slow; its slot is held
    /// until it has come.
    ///
    /// # Errors
    ///
    /// As of [`execute`](Self::execute).
    pub fn execute_blocking<T, E>(
        &self,
        clock: impl Wait,
        operation: impl FnMut(Made) -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classifier<E>,
    {
        execute_blocking(self, clock, operation)
    }

    /// [`execute_blocking`](Self::execute_blocking), and when it gives up, `fallback` decides: see
    /// [`execute_or_else`](Self::execute_or_else).
    ///
    /// # Errors
    ///
    /// What `fallback` returns.
    pub fn execute_blocking_or_else<T, E, X>(
        &self,
        clock: impl Wait,
        operation: impl FnMut(Made) -> Result<T, E>,
        fallback: impl FnOnce(Error<E>) -> Result<T, OrElseError<E, X>>,
    ) -> Result<T, OrElseError<E, X>>
    where
        C: Classifier<E>,
    {
        execute_blocking_or_else(self, clock, operation, fallback)
    }
}

pub(crate) fn execute_blocking<'p, T, E, C: Classifier<E>>(
    source: impl Source<'p, C>,
    clock: impl Wait,
    operation: impl FnMut(Made) -> Result<T, E>,
) -> Result<T, Error<E>> {
    let mut run = Run::new(source.policy(), clock.now(), clock.shard_hint());
    drive(&mut run, &clock, operation)
}

pub(crate) fn execute_blocking_or_else<'p, T, E, X, C: Classifier<E>>(
    source: impl Source<'p, C>,
    clock: impl Wait,
    operation: impl FnMut(Made) -> Result<T, E>,
    fallback: impl FnOnce(Error<E>) -> Result<T, OrElseError<E, X>>,
) -> Result<T, OrElseError<E, X>> {
    let mut run = Run::new(source.policy(), clock.now(), clock.shard_hint());
    run.keep_open();
    drive(&mut run, &clock, operation).or_else(|error| {
        let answer = fallback(error);
        run.end(if answer.is_ok() { Ended::FellBack } else { Ended::GaveUp });
        answer
    })
}

fn drive<'p, T, E, C: Classifier<E>, P: Borrow<Policy<'p, C>>>(
    run: &mut Run<'p, E, C, P>,
    clock: &impl Wait,
    mut operation: impl FnMut(Made) -> Result<T, E>,
) -> Result<T, Error<E>> {
    let mut attempt = Attempt::none();
    loop {
        run.ask_and_tell(clock.now(), &mut attempt)?;
        let result = operation(attempt.made());
        let pace = (|| clock.random(), clock);
        match run.settle_and_tell(&mut attempt, clock.now(), Some(result), &pace) {
            Next::Done(result) => return result,
            Next::Retry(at) => clock.wait_until(at),
            Next::Pending => {}
        }
    }
}
