//! What answers when the operation does not.

use core::borrow::Borrow;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::classify::Classifier;
use super::execute::Execute;
use super::operation::{Operation, Plain};
use super::progress::Ended;
use super::{Policy, Source};
use crate::clock::Sleep;
use crate::error::{Error, OrElseError};

impl<C> Policy<'_, C> {
    /// [`execute`](Self::execute), and when it gives up, `fallback` decides: it answers, lets the
    /// error stand ([`OrElseError::GaveUp`]), or fails by itself ([`OrElseError::Fallback`]).
    ///
    /// The fallback runs without a timeout, permit or slot.
    ///
    /// # Errors
    ///
    /// What `fallback` returns.
    pub const fn execute_or_else<K, F, Fut, B, T, E, X>(
        &self,
        clock: K,
        operation: F,
        fallback: B,
    ) -> ExecuteOrElse<'_, K, C, Plain<F>, Now<B>>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        B: FnOnce(Error<E>) -> Result<T, OrElseError<E, X>>,
    {
        self.execute(clock, operation).or_else(fallback)
    }

    /// [`execute_or_else`](Self::execute_or_else) with a fallback that takes its time.
    ///
    /// Cancel-safe as [`execute`](Self::execute): a call dropped while its fallback runs counts as
    /// cancelled.
    ///
    /// # Errors
    ///
    /// What `fallback` returns.
    pub const fn execute_or_else_async<K, F, Fut, B, Alt, T, E, X>(
        &self,
        clock: K,
        operation: F,
        fallback: B,
    ) -> ExecuteOrElse<'_, K, C, Plain<F>, Later<B>>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        B: FnOnce(Error<E>) -> Alt,
        Alt: Future<Output = Result<T, OrElseError<E, X>>>,
    {
        self.execute(clock, operation).or_else_async(fallback)
    }
}

impl<'p, K: Sleep, C, O: Operation, S, P> Execute<'p, K, C, O, S, P>
where
    P: Borrow<Policy<'p, C>>,
{
    /// When this gives up, `fallback` decides: see
    /// [`execute_or_else`](Policy::execute_or_else). For executions of every kind, before they are
    /// first polled.
    pub const fn or_else<B, X>(self, fallback: B) -> ExecuteOrElse<'p, K, C, O, Now<B>, S, P>
    where
        B: FnOnce(Error<O::Error>) -> Result<O::Answer, OrElseError<O::Error, X>>,
    {
        ExecuteOrElse::new(self, Now(fallback))
    }

    /// [`or_else`](Self::or_else) with a fallback that takes its time.
    pub const fn or_else_async<B, Alt>(
        self,
        fallback: B,
    ) -> ExecuteOrElse<'p, K, C, O, Later<B>, S, P>
    where
        B: FnOnce(Error<O::Error>) -> Alt,
        Alt: Future,
    {
        ExecuteOrElse::new(self, Later(fallback))
    }
}

/// What makes the fallback's future of an error.
pub trait Fallback<E> {
    /// The future.
    type Answer: Future;
    /// Asks for it, once.
    fn answer(self, error: Error<E>) -> Self::Answer;
}

/// A fallback that answers at once.
#[derive(Clone, Copy, Debug)]
pub struct Now<B>(B);

/// A fallback that returns a future.
#[derive(Clone, Copy, Debug)]
pub struct Later<B>(B);

/// The answer of a fallback that answered at once.
#[derive(Clone, Copy, Debug)]
pub struct Answered<R>(Option<R>);

pin_project! {
    /// An execution with a fallback: what [`Policy::execute_or_else`] returns.
    #[must_use = "futures do nothing unless polled"]
    pub struct ExecuteOrElse<
        'p,
        K: Sleep,
        C,
        O: Operation,
        B: Fallback<O::Error>,
        S = &'p Policy<'p, C>,
        P = S,
    > {
        fallback: Option<B>,
        // Declared before `execute`, which counts the call.
        #[pin]
        answering: Option<B::Answer>,
        #[pin]
        execute: Execute<'p, K, C, O, S, P>,
    }
}

impl<'p, K: Sleep, C, O: Operation, B: Fallback<O::Error>, S, P> ExecuteOrElse<'p, K, C, O, B, S, P>
where
    P: Borrow<Policy<'p, C>>,
{
    const fn new(execute: Execute<'p, K, C, O, S, P>, fallback: B) -> Self {
        Self { fallback: Some(fallback), answering: None, execute }
    }
}

impl<'p, T, E, X, K, C, O, B, S, P> Future for ExecuteOrElse<'p, K, C, O, B, S, P>
where
    S: Source<'p, C, Policy = P>,
    P: Borrow<Policy<'p, C>>,
    K: Sleep,
    O: Operation<Answer = T, Error = E>,
    C: Classifier<E>,
    B: Fallback<E, Answer: Future<Output = Result<T, OrElseError<E, X>>>>,
{
    type Output = Result<T, OrElseError<E, X>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(answering) = this.answering.as_mut().as_pin_mut() {
                let answer = ready!(answering.poll(context));
                let how = if answer.is_ok() { Ended::FellBack } else { Ended::GaveUp };
                this.execute.end(how);
                this.answering.set(None);
                return Poll::Ready(answer);
            }
            match (ready!(this.execute.as_mut().drive(context, true)), this.fallback.take()) {
                (Ok(answer), _) => return Poll::Ready(Ok(answer)),
                (Err(error), Some(fallback)) => this.answering.set(Some(fallback.answer(error))),
                (Err(error), None) => return Poll::Ready(Err(OrElseError::GaveUp(error))),
            }
        }
    }
}

impl<E, R, B: FnOnce(Error<E>) -> R> Fallback<E> for Now<B> {
    type Answer = Answered<R>;

    fn answer(self, error: Error<E>) -> Answered<R> {
        Answered(Some((self.0)(error)))
    }
}

// Not `core::future::Ready`, which panics when polled after its end.
impl<R> Future for Answered<R> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<R> {
        self.get_mut().0.take().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<R> Unpin for Answered<R> {}

impl<E, Alt: Future, B: FnOnce(Error<E>) -> Alt> Fallback<E> for Later<B> {
    type Answer = Alt;

    fn answer(self, error: Error<E>) -> Alt {
        (self.0)(error)
    }
}

impl<K: Sleep, C, O: Operation, B: Fallback<O::Error>, S, P> fmt::Debug
    for ExecuteOrElse<'_, K, C, O, B, S, P>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecuteOrElse").field("execute", &self.execute).finish_non_exhaustive()
    }
}
