//! The async driver of a [`Run`].

use core::borrow::Borrow;
use core::fmt;
use core::future::{Future, poll_fn};
use core::marker::PhantomData;
use core::mem;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;

use pin_project_lite::pin_project;

use super::attempt::Attempt;
use super::classify::Classifier;
use super::operation::{Made, Once, Operation, Plain, Told};
use super::progress::{Came, Ended, Progress};
use super::run::{Next, Run, settled};
use super::terms::Terms;
use super::{Policy, Source};
use crate::clock::{Instant, Sleep};
use crate::error::{Error, Reason};

impl<C> Policy<'_, C> {
    /// Makes attempts at `operation` until one succeeds or this policy gives up.
    ///
    /// # Cancel-safety
    ///
    /// Dropped at any point, the future gives back every permit and slot that it holds; the breaker
    /// learns nothing from it.
    ///
    /// # Errors
    ///
    /// No attempt succeeded: the operation's last [error](Error::last) and the
    /// [reason](Error::stopped) why there was no further attempt.
    pub const fn execute<K, F, Fut, T, E>(
        &self,
        clock: K,
        operation: F,
    ) -> Execute<'_, K, C, Plain<F>>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Execute::new(self, clock, Plain(operation))
    }

    /// [`execute`](Self::execute) for an operation that wants to know the attempt's number and the
    /// time it has.
    ///
    /// # Errors
    ///
    /// As of [`execute`](Self::execute).
    pub const fn execute_told<K, F, Fut, T, E>(
        &self,
        clock: K,
        operation: F,
    ) -> Execute<'_, K, C, Told<F>>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut(Made) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Execute::new(self, clock, Told(operation))
    }

    /// [`execute`](Self::execute) for one plain future, which is one attempt however many the
    /// policy allows.
    ///
    /// # Errors
    ///
    /// As of [`execute`](Self::execute).
    pub const fn execute_once<K, Fut, T, E>(
        &self,
        clock: K,
        attempt: Fut,
    ) -> Execute<'_, K, C, Once<Fut>>
    where
        K: Sleep,
        C: Classifier<E>,
        Fut: Future<Output = Result<T, E>>,
    {
        Execute::new(self, clock, Once(Some(attempt)))
    }

    /// [`execute`](Self::execute) for an async closure that changes what it captures.
    ///
    /// Its future is not named, and not provably `Send` where the closure borrows.
    ///
    /// # Errors
    ///
    /// As of [`execute`](Self::execute).
    pub async fn execute_mut<T, E>(
        &self,
        clock: impl Sleep,
        operation: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classifier<E>,
    {
        execute_mut(self, clock, operation).await
    }
}

pub(crate) async fn execute_mut<'p, T, E, C: Classifier<E>>(
    source: impl Source<'p, C>,
    clock: impl Sleep,
    mut operation: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, Error<E>> {
    let mut run = Run::new(source.policy(), clock.now(), clock.shard_hint());
    let mut attempt = Attempt::none();
    loop {
        run.ask_and_tell(clock.now(), &mut attempt)?;
        let result = within(&clock, attempt.ends(), operation()).await;
        let pace = (|| clock.random(), &clock);
        match run.settle_and_tell(&mut attempt, clock.now(), result, &pace) {
            Next::Done(result) => return result,
            Next::Retry(at) => clock.sleep_until(at).await,
            Next::Pending => {}
        }
    }
}

/// The future's output, or `None` once `ends` has come.
async fn within<F: Future>(clock: &impl Sleep, ends: Instant, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let first = poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await;
    match first {
        Poll::Ready(output) => Some(output),
        Poll::Pending if ends == Instant::MAX => Some(future.await),
        Poll::Pending => {
            let mut timer = pin!(clock.sleep_until(ends));
            poll_fn(|context| match future.as_mut().poll(context) {
                Poll::Ready(output) => Poll::Ready(Some(output)),
                Poll::Pending => timer.as_mut().poll(context).map(|()| None),
            })
            .await
        }
    }
}

pin_project! {
    /// An execution under way: what [`Policy::execute`] returns.
    ///
    /// It begins when first polled. Dropped, it gives everything back.
    ///
    /// `S` is where its policy `P` comes from when it begins.
    // `P` by itself, and not `S::Policy`: the compiler forgets how lifetimes go together when it asks
    // whether an `async` block that awaits this can be sent.
    #[must_use = "futures do nothing unless polled"]
    pub struct Execute<'p, K: Sleep, C, O: Operation, S = &'p Policy<'p, C>, P = S> {
        clock: K,
        operation: O,
        // In this order they are dropped: an attempt has really ended before its permit and slot go back,
        // and that before its call ends.
        #[pin]
        doing: Doing<O::Attempt>,
        #[pin]
        timer: Option<K::Sleeping>,
        begun: Option<Begun<'p>>,
        last: Option<O::Error>,
        policy: Course<S, P>,
        classifies: PhantomData<fn() -> C>,
    }
}

/// Before an execution begins it has its policy's source, from then on its policy.
enum Course<S, P> {
    Before(S),
    Begun(P),
    // While it begins.
    Between,
}

/// The attempt that is under way, or none, and all that goes on with it.
struct Begun<'p> {
    attempt: Attempt<'p>,
    progress: Progress<'p>,
}

impl<'p> Begun<'p> {
    /// Puts one into `place`, where there is none.
    #[cfg_attr(not(target_pointer_width = "64"), inline(never))] // Once for all policies.
    fn begin(place: &mut Option<Self>, terms: &Terms<'p>, now: Instant, shard: usize) {
        let begun = Self { attempt: Attempt::none(), progress: Progress::begun(terms, now, shard) };
        mem::forget(place.replace(begun));
    }
}

pin_project! {
    /// What an execution is doing.
    #[project = DoingNow]
    enum Doing<A> {
        // Before the first attempt.
        Beginning,
        Attempting { #[pin] future: A },
        // Between two attempts.
        Waiting,
        Done,
    }
}

impl<'p, K: Sleep, C, O: Operation, S, P> Execute<'p, K, C, O, S, P> {
    pub(crate) const fn new(source: S, clock: K, operation: O) -> Self {
        Self {
            clock,
            operation,
            doing: Doing::Beginning,
            timer: None,
            begun: None,
            last: None,
            policy: Course::Before(source),
            classifies: PhantomData,
        }
    }

    /// Ends a call that was kept open.
    pub(super) fn end(self: Pin<&mut Self>, how: Ended) {
        if let Some(begun) = self.project().begun {
            begun.progress.end(how);
        }
    }
}

impl<'p, K, C, O, S, P> Execute<'p, K, C, O, S, P>
where
    K: Sleep,
    O: Operation,
    C: Classifier<O::Error>,
    S: Source<'p, C, Policy = P>,
    P: Borrow<Policy<'p, C>>,
{
    /// Polls it. If it is to `keep_open` its call, its end is left to [`end`](Self::end): a fallback
    /// follows.
    #[inline]
    pub(super) fn drive(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        keep_open: bool,
    ) -> Poll<Result<O::Answer, Error<O::Error>>> {
        let mut this = self.project();
        let clock = &*this.clock;
        // Looked at where it is, for what has begun is not to be moved.
        if let Course::Before(_) = this.policy {
            let Course::Before(source) = mem::replace(this.policy, Course::Between) else {
                return Poll::Pending;
            };
            let now = clock.now();
            let policy = source.policy();
            Begun::begin(this.begun, &policy.borrow().terms, now, clock.shard_hint());
            *this.policy = Course::Begun(policy);
            if let Some(Begun { progress, .. }) = this.begun {
                if O::ONLY_ONCE {
                    progress.only_once();
                }
            }
        }
        let (Course::Begun(policy), Some(begun)) = (&*this.policy, this.begun) else {
            return Poll::Pending;
        };
        let Begun { attempt, progress } = begun;
        if keep_open {
            progress.keep_open = true;
        }
        let policy = (*policy).borrow();
        // Each turn waits for what is under way, if anything is, and then settles it or asks for the next
        // attempt: one place for each, whatever is waited for.
        let answer = loop {
            let (result, attempting, until) = match this.doing.as_mut().project() {
                // One clock reading at each boundary: what begins the execution begins its first
                // attempt.
                DoingNow::Beginning => (None, false, None),
                DoingNow::Attempting { future } => match future.poll(context) {
                    Poll::Ready(result) => (Some(result), true, None),
                    Poll::Pending if attempt.ends == Instant::MAX => return Poll::Pending,
                    // The timer is made once it is needed: most attempts that are ready at once never
                    // make one.
                    Poll::Pending => (None, true, Some(attempt.ends)),
                },
                DoingNow::Waiting => (None, false, Some(progress.until)),
                // Polled after its end, which a future need not answer.
                DoingNow::Done => return Poll::Pending,
            };
            if let Some(until) = until {
                if this.timer.is_none() {
                    this.timer.set(Some(clock.sleep_until(until)));
                }
                match this.timer.as_mut().as_pin_mut() {
                    Some(timer) => ready!(timer.poll(context)),
                    None => return Poll::Pending,
                }
            }
            if attempting {
                this.doing.set(Doing::Waiting);
            }
            this.timer.set(None);
            if attempting || until.is_some() {
                progress.now = clock.now();
            }
            if attempting {
                let pace = (|| clock.random(), clock);
                let settled = settled(progress, policy, attempt, result, this.last, &pace);
                progress.tell(&policy.terms);
                match settled {
                    Ok(answer) => break Some(answer),
                    Err(Came::GaveUp) => break None,
                    Err(Came::Again | Came::Nothing | Came::Refused) => {}
                }
            } else {
                let granted = progress.ask(&policy.terms, attempt);
                progress.tell(&policy.terms);
                if !granted {
                    break None;
                }
                let made = match O::LISTENS {
                    true => attempt.made(),
                    false => Made::new(attempt.number, Duration::MAX),
                };
                match this.operation.attempt(made) {
                    Some(future) => this.doing.set(Doing::Attempting { future }),
                    None => {
                        drop(mem::replace(attempt, Attempt::none()));
                        progress.over(Reason::Attempts);
                        break None;
                    }
                }
            }
        };
        this.doing.set(Doing::Done);
        Poll::Ready(match answer {
            Some(answer) => Ok(answer),
            None => Err(progress.error(this.last.take())),
        })
    }
}

impl<'p, K, C, O, S, P> Future for Execute<'p, K, C, O, S, P>
where
    K: Sleep,
    O: Operation,
    C: Classifier<O::Error>,
    S: Source<'p, C, Policy = P>,
    P: Borrow<Policy<'p, C>>,
{
    type Output = Result<O::Answer, Error<O::Error>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.drive(context, false)
    }
}

impl<K: Sleep, C, O: Operation, S, P> fmt::Debug for Execute<'_, K, C, O, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execute")
            .field("begun", &matches!(self.policy, Course::Begun(_)))
            .finish_non_exhaustive()
    }
}
