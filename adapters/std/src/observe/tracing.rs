//! Executions as spans of `tracing`, and what they do as events.

use core::future::Future;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::time::Duration;

use steadfast::orchestrator::{Handle, Watch};
use steadfast::policy::Made;
use steadfast::{Class, Classifier, Error, Event, Observe, OrElseError, Reason, Sleep, Wait};
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Level, Span, debug, event, info, info_span, warn};

/// Tells `tracing` what executions do, each step an event with the target `steadfast`.
///
/// | event | level | fields beside `operation` |
/// |---|---|---|
/// | breaker opened | warn | |
/// | breaker half-open, breaker closed | info | |
/// | retry | debug | `attempt` that failed, `class`, `wait_ms` |
/// | refused | debug | `stage`, `reason`, `wait_ms` where it is known |
///
/// What a failing service makes happen again and again is quiet, what happens once is not.
///
/// ```
/// use steadfast::Orchestrator;
/// use steadfast_std::observe::Tracing;
///
/// static ORCHESTRATOR: Orchestrator<8> = Orchestrator::new().watched_by(&Tracing);
/// ```
///
/// As the [`observer`](steadfast::Policy::observer) of a policy without a name, it says the same
/// without `operation`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tracing;

/// Handles that execute in a span.
pub trait Trace<'o, C> {
    /// The same operation, each execution in a span of its own.
    ///
    /// The span is an `execution` of level info with the target `steadfast`: `operation` and
    /// `strategy` from the beginning, and at the end `attempts`, `outcome` (`succeeded`, `failed`,
    /// `refused`, `fell_back` or `cancelled`, as [`Calls`](steadfast::state::Calls) counts them) and,
    /// where the operation gave no answer, the reason `stopped` and the last failure's `class`.
    fn traced(&self) -> Traced<'o, C>;
}

/// An operation that executes in spans: see [`Trace::traced`].
#[derive(Clone, Copy, Debug)]
#[must_use = "it does nothing by itself"]
pub struct Traced<'o, C> {
    handle: Handle<'o, C>,
}

impl<'o, C: Clone> Trace<'o, C> for Handle<'o, C> {
    fn traced(&self) -> Traced<'o, C> {
        Traced { handle: self.clone() }
    }
}

impl<'o, C: Clone> Traced<'o, C> {
    /// See [`Handle::execute`].
    ///
    /// # Errors
    ///
    /// As of [`Policy::execute`](steadfast::Policy::execute).
    pub fn execute<K, F, Fut, T, E>(
        &self,
        clock: K,
        operation: F,
    ) -> impl Future<Output = Result<T, Error<E>>> + use<'o, K, F, Fut, T, E, C>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let (handle, record) = self.begin();
        let span = record.span.clone();
        let execution = async move {
            let result = handle.execute(clock, record.counting(operation)).await;
            record.given(result)
        };
        execution.instrument(span)
    }

    /// See [`Handle::execute_once`].
    ///
    /// # Errors
    ///
    /// As of [`Policy::execute`](steadfast::Policy::execute).
    pub fn execute_once<K, Fut, T, E>(
        &self,
        clock: K,
        attempt: Fut,
    ) -> impl Future<Output = Result<T, Error<E>>> + use<'o, K, Fut, T, E, C>
    where
        K: Sleep,
        C: Classifier<E>,
        Fut: Future<Output = Result<T, E>>,
    {
        let (handle, record) = self.begin();
        let span = record.span.clone();
        let execution = async move {
            let attempt = async {
                record.attempt();
                attempt.await
            };
            let result = handle.execute_once(clock, attempt).await;
            record.given(result)
        };
        execution.instrument(span)
    }

    /// See [`Handle::execute_mut`].
    ///
    /// # Errors
    ///
    /// As of [`Policy::execute`](steadfast::Policy::execute).
    pub async fn execute_mut<T, E>(
        &self,
        clock: impl Sleep,
        mut operation: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classifier<E>,
    {
        let (handle, record) = self.begin();
        let span = record.span.clone();
        let execution = async move {
            let attempt = async || {
                record.attempt();
                operation().await
            };
            let result = handle.execute_mut(clock, attempt).await;
            record.given(result)
        };
        execution.instrument(span).await
    }

    /// See [`Handle::execute_or_else`].
    ///
    /// # Errors
    ///
    /// What `fallback` returns.
    pub fn execute_or_else<K, F, Fut, B, T, E, X>(
        &self,
        clock: K,
        operation: F,
        fallback: B,
    ) -> impl Future<Output = Result<T, OrElseError<E, X>>> + use<'o, K, F, Fut, B, T, E, X, C>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        B: FnOnce(Error<E>) -> Result<T, OrElseError<E, X>>,
    {
        let (handle, record) = self.begin();
        let span = record.span.clone();
        let execution = async move {
            let execution = handle.execute(clock, record.counting(operation));
            let result = execution.or_else(record.noting(fallback)).await;
            record.end(result.is_ok());
            result
        };
        execution.instrument(span)
    }

    /// See [`Handle::execute_or_else_async`].
    ///
    /// # Errors
    ///
    /// What `fallback`'s future ends in.
    pub fn execute_or_else_async<K, F, Fut, B, Alt, T, E, X>(
        &self,
        clock: K,
        operation: F,
        fallback: B,
    ) -> impl Future<Output = Result<T, OrElseError<E, X>>> + use<'o, K, F, Fut, B, Alt, T, E, X, C>
    where
        K: Sleep,
        C: Classifier<E>,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
        B: FnOnce(Error<E>) -> Alt,
        Alt: Future<Output = Result<T, OrElseError<E, X>>>,
    {
        let (handle, record) = self.begin();
        let span = record.span.clone();
        let execution = async move {
            let execution = handle.execute(clock, record.counting(operation));
            let result = execution.or_else_async(record.noting(fallback)).await;
            record.end(result.is_ok());
            result
        };
        execution.instrument(span)
    }

    /// See [`Handle::execute_blocking`].
    ///
    /// # Errors
    ///
    /// As of [`Policy::execute`](steadfast::Policy::execute).
    pub fn execute_blocking<T, E>(
        &self,
        clock: impl Wait,
        mut operation: impl FnMut(Made) -> Result<T, E>,
    ) -> Result<T, Error<E>>
    where
        C: Classifier<E>,
    {
        let (handle, record) = self.begin();
        let span = record.span.clone();
        let _entered = span.enter();
        let attempt = |made: Made| {
            record.attempt();
            operation(made)
        };
        let result = handle.execute_blocking(clock, attempt);
        record.given(result)
    }

    /// See [`Handle::execute_blocking_or_else`].
    ///
    /// # Errors
    ///
    /// What `fallback` returns.
    pub fn execute_blocking_or_else<T, E, X>(
        &self,
        clock: impl Wait,
        mut operation: impl FnMut(Made) -> Result<T, E>,
        fallback: impl FnOnce(Error<E>) -> Result<T, OrElseError<E, X>>,
    ) -> Result<T, OrElseError<E, X>>
    where
        C: Classifier<E>,
    {
        let (handle, record) = self.begin();
        let span = record.span.clone();
        let _entered = span.enter();
        let attempt = |made: Made| {
            record.attempt();
            operation(made)
        };
        let result = handle.execute_blocking_or_else(clock, attempt, record.noting(fallback));
        record.end(result.is_ok());
        result
    }

    fn begin(&self) -> (Handle<'o, C>, Record) {
        let handle = self.handle.clone();
        let span = info_span!(
            target: TARGET,
            "execution",
            operation = handle.name().as_str(),
            strategy = handle.named_strategy().name(),
            attempts = Empty,
            outcome = Empty,
            stopped = Empty,
            class = Empty,
        );
        let record = Record {
            span,
            attempts: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
            outcome: "cancelled",
        };
        (handle, record)
    }
}

/// What an execution's span is told at its end, which may be that it is dropped.
struct Record {
    span: Span,
    // Atomic for futures that go between threads: one writes at a time.
    attempts: AtomicU32,
    stopped: AtomicBool,
    outcome: &'static str,
}

impl Record {
    fn attempt(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    /// `operation`, whose attempts are counted.
    fn counting<'r, F: FnMut() -> Fut, Fut>(
        &'r self,
        mut operation: F,
    ) -> impl FnMut() -> Fut + use<'r, F, Fut> {
        move || {
            self.attempt();
            operation()
        }
    }

    /// `fallback`, which is to answer for what the operation did not.
    fn noting<'r, E, A, B: FnOnce(Error<E>) -> A>(
        &'r self,
        fallback: B,
    ) -> impl FnOnce(Error<E>) -> A + use<'r, E, A, B> {
        move |error| {
            self.stopped(&error);
            fallback(error)
        }
    }

    /// Ends an execution without a fallback.
    fn given<T, E>(self, result: Result<T, Error<E>>) -> Result<T, Error<E>> {
        if let Err(error) = &result {
            self.stopped(error);
        }
        self.end(result.is_ok());
        result
    }

    fn stopped<E>(&self, error: &Error<E>) {
        self.stopped.store(true, Ordering::Relaxed);
        let (reason, class): (Reason, Option<Class>) = (error.stopped, error.class);
        self.span.record("stopped", display(reason));
        if let Some(class) = class {
            self.span.record("class", display(class));
        }
    }

    fn end(mut self, answered: bool) {
        self.outcome = match (answered, *self.stopped.get_mut(), *self.attempts.get_mut()) {
            (true, false, _) => "succeeded",
            (true, true, _) => "fell_back",
            (false, _, 0) => "refused",
            (false, ..) => "failed",
        };
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.span.record("attempts", *self.attempts.get_mut());
        self.span.record("outcome", self.outcome);
    }
}

impl Watch for Tracing {
    fn watch(&self, operation: &str, event: &Event) {
        tell(Some(operation), event);
    }
}

impl Observe for Tracing {
    fn observe(&self, event: &Event) {
        tell(None, event);
    }
}

fn tell(operation: Option<&str>, event: &Event) {
    match event {
        Event::Opened => warn!(target: TARGET, operation, "breaker opened"),
        Event::HalfOpened => info!(target: TARGET, operation, "breaker half-open"),
        Event::Closed => info!(target: TARGET, operation, "breaker closed"),
        Event::Retry { attempt, wait, class } => {
            let wait_ms = millis(*wait);
            debug!(target: TARGET, operation, attempt, %class, wait_ms, "retry");
        }
        Event::Refused { stage, reason, wait } => {
            let wait_ms = wait.map(millis);
            debug!(target: TARGET, operation, ?stage, %reason, wait_ms, "refused");
        }
        other => event!(target: TARGET, Level::DEBUG, operation, "{other}"),
    }
}

/// Whole milliseconds, a part of one counted whole.
fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

const TARGET: &str = "steadfast";
