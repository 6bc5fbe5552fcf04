//! The policy: balanced, with its times divided for a life of seconds.

use std::sync::{Arc, OnceLock};

use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Error, Event, Jitter, Metrics, Observe,
    OrElseError, Policy, Reason, Strategy, Trip,
};
use steadfast_std::TokioClock;
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, timeout},
};

use crate::{
    client::CallError,
    load::{self, Caller, Mark, Outcome},
    script::{ATTEMPT_TIMEOUT, FALLBACK_TIMEOUT},
};

pub(crate) static BREAKER: Breaker = Breaker::new(Trip::after(FAILURES), OPEN_FOR);
static BULKHEAD: Bulkhead = Bulkhead::new(SLOTS);
static BUDGET: Budget = Budget::with_rule(..);
pub(crate) static METRICS: Metrics = Metrics::new();
pub(crate) static RECORDER: Recorder = Recorder::new();

static POLICY: Policy = Policy::of(Strategy::Balanced)
    .backoff(Backoff::exponential(..).jitter(..))
    .retry_window(..)
    .attempt_timeout(ATTEMPT_TIMEOUT)
    .deadline(DEADLINE)
    .max_asked_wait(..)
    .breaker(&BREAKER)
    .bulkhead(&BULKHEAD)
    .budget(&BUDGET)
    .metrics(&METRICS)
    .observer(&RECORDER);

/// One call: the large model under the policy, then the small one.
pub(crate) async fn call(caller: Arc<Caller>) -> Outcome {
    let (caller, mut attempt) = (&*caller, 0);
    let large = || {
        attempt += 1;
        let answer = caller.ask_large(attempt);
        async move { answer.await.map(|_| Outcome::Answered) }
    };
    let small = |error: Error<CallError>| async move {
        // What no retry can help, no other model can.
        if error.stopped == Reason::Class {
            return Err(OrElseError::GaveUp(error));
        }
        let outcome = if error.attempts == 0 { Outcome::FellBackAtOnce } else { Outcome::FellBack };
        match timeout(FALLBACK_TIMEOUT, caller.ask_small()).await {
            Ok(Ok(_)) => Ok(outcome),
            Ok(Err(error)) => Err(OrElseError::Fallback(error)),
            Err(_) => Err(OrElseError::Fallback(CallError::TimedOut)),
        }
    };
    POLICY.execute_or_else_async(&CLOCK, large, small).await.unwrap_or(Outcome::Failed)
}

/// Enters what the policy does in the book of the run.
#[derive(Debug)]
pub(crate) struct Recorder {
    pen: OnceLock<UnboundedSender<Mark>>,
}

impl Recorder {
    const fn new() -> Self {
        Self { pen: OnceLock::new() }
    }

    /// Only the first pen is used.
    pub(crate) fn write_with(&self, pen: UnboundedSender<Mark>) {
        let _ = self.pen.set(pen);
    }
}

impl Observe for Recorder {
    fn observe(&self, event: &Event) {
        let now = Instant::now();
        let mark = match event {
            Event::Retry { .. } => Mark::Retry,
            Event::Refused { .. } => Mark::Refusal,
            Event::Opened => Mark::Breaker(now, load::Breaker::Open),
            Event::HalfOpened => Mark::Breaker(now, load::Breaker::HalfOpen),
            Event::Closed => Mark::Breaker(now, load::Breaker::Closed),
            _ => return,
        };
        if let Some(pen) = self.pen.get() {
            let _ = pen.send(mark);
        }
    }
}
