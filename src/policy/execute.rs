//! The async driver of a [`Run`].

use core::borrow::Borrow;
use core::fmt;
use core::future::{Future, poll_fn};
use core::mem;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use super::classify::Classifier;
use super::operation::{Made, Once, Operation, Plain, Told};
use super::run::{Attempt, Next, Run};
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
    loop {
        let step = run.alone(clock.now());
        run.tell(&step.events);
        let attempt = step.next?;
        let result = within(&clock, attempt.ends(), operation()).await;
        let pace = (|| clock.random(), &clock);
        let step = run.settle(attempt, clock.now(), result, pace);
        run.tell(&step.events);
        match step.next {
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
        keep_open: bool,
        // Declared before `run`, so that an attempt under way is dropped before its call is.
        #[pin]
        doing: Doing<'p, O::Attempt, K::Sleeping>,
        run: Course<S, Run<'p, O::Error, C, P>>,
    }
}

/// Before an execution begins it has its policy's source, from then on its run.
enum Course<S, R> {
    Before(S),
    Begun(R),
    // While it begins.
    Between,
}

pin_project! {
    /// What an execution is doing.
    #[project = DoingNow]
    enum Doing<'p, A, S> {
        // Between two attempts, or before the first.
        Asking,
        // `A` is dropped before its permit and slot go back: it has really ended then.
        Attempting { #[pin] future: A, #[pin] timer: Option<S>, attempt: Option<Attempt<'p>> },
        Waiting { #[pin] sleep: S },
        Done,
    }
}

impl<'p, K: Sleep, C, O: Operation, S, P: Borrow<Policy<'p, C>>> Execute<'p, K, C, O, S, P> {
    pub(crate) const fn new(source: S, clock: K, operation: O) -> Self {
        let run = Course::Before(source);
        Self { clock, operation, keep_open: false, doing: Doing::Asking, run }
    }

    /// Leaves the call's end to whoever takes the run: a fallback follows.
    pub(super) const fn keep_open(&mut self) {
        self.keep_open = true;
        if let Course::Begun(run) = &mut self.run {
            run.keep_open();
        }
    }

    /// The run, when it is over.
    pub(super) fn run(self: Pin<&mut Self>) -> Option<&mut Run<'p, O::Error, C, P>> {
        match self.project().run {
            Course::Begun(run) => Some(run),
            Course::Before(_) | Course::Between => None,
        }
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
        let mut this = self.project();
        let clock = &*this.clock;
        // One clock reading at each boundary: the first begins the execution and its first attempt.
        let mut reading = None;
        if !matches!(this.run, Course::Begun(_)) {
            if let Course::Before(source) = mem::replace(this.run, Course::Between) {
                let now = clock.now();
                reading = Some(now);
                let mut run = Run::new(source.policy(), now, clock.shard_hint());
                if O::ONLY_ONCE {
                    run.only_once();
                }
                if *this.keep_open {
                    run.keep_open();
                }
                *this.run = Course::Begun(run);
            }
        }
        let Course::Begun(run) = this.run else { return Poll::Pending };
        loop {
            match this.doing.as_mut().project() {
                DoingNow::Asking => {
                    let now = reading.take().unwrap_or_else(|| clock.now());
                    let step = run.alone(now);
                    run.tell(&step.events);
                    match step.next {
                        Ok(attempt) => match this.operation.attempt(attempt.made()) {
                            Some(future) => {
                                let attempt = Some(attempt);
                                let next = Doing::Attempting { future, timer: None, attempt };
                                this.doing.set(next);
                            }
                            None => {
                                run.cancel(attempt);
                                this.doing.set(Doing::Done);
                                return Poll::Ready(Err(run.over(Reason::Attempts)));
                            }
                        },
                        Err(error) => {
                            this.doing.set(Doing::Done);
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                DoingNow::Attempting { future, mut timer, attempt } => {
                    let ends = attempt.as_ref().map_or(Instant::MAX, Attempt::ends);
                    let result = match future.poll(context) {
                        Poll::Ready(result) => Some(result),
                        Poll::Pending if ends == Instant::MAX => return Poll::Pending,
                        Poll::Pending => {
                            // The timer is made once it is needed: most attempts that are ready at
                            // once never make one.
                            if timer.is_none() {
                                timer.set(Some(clock.sleep_until(ends)));
                            }
                            match timer.as_pin_mut() {
                                Some(timer) => ready!(timer.poll(context)),
                                None => return Poll::Pending,
                            }
                            None
                        }
                    };
                    let attempt = attempt.take();
                    this.doing.set(Doing::Asking);
                    let Some(attempt) = attempt else { continue };
                    let pace = (|| clock.random(), clock);
                    let step = run.settle(attempt, clock.now(), result, pace);
                    run.tell(&step.events);
                    match step.next {
                        Next::Done(result) => {
                            this.doing.set(Doing::Done);
                            return Poll::Ready(result);
                        }
                        Next::Retry(at) => {
                            this.doing.set(Doing::Waiting { sleep: clock.sleep_until(at) });
                        }
                        Next::Pending => {}
                    }
                }
                DoingNow::Waiting { sleep } => {
                    ready!(sleep.poll(context));
                    this.doing.set(Doing::Asking);
                }
                // Polled after its end, which a future need not answer.
                DoingNow::Done => return Poll::Pending,
            }
        }
    }
}

impl<K: Sleep, C, O: Operation, S, P> fmt::Debug for Execute<'_, K, C, O, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execute")
            .field("begun", &matches!(self.run, Course::Begun(_)))
            .finish_non_exhaustive()
    }
}
