//! The policy: balanced, its times cut to a life of seconds; after it, the small model.

use core::time::Duration;
use std::sync::{Arc, OnceLock};

use steadfast::{
    Breaker, Budget, Bulkhead, Clock as _, Error, Event, Metrics, Observe, OrElseError, Policy,
    Reason, Rule, Strategy,
    policy::{Made, Settings},
    state::State,
};
use steadfast_std::TokioClock;
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, timeout},
};

use crate::{
    client::CallError,
    load::{Caller, Mark, Outcome},
    script::{self, ATTEMPT_TIMEOUT, FALLBACK_TIMEOUT},
};

const BALANCED: Settings = Strategy::Balanced.settings();
static BREAKER: Breaker =
    Breaker::with_rule(Rule::new(BALANCED.breaker.trip(), script::OPEN_FOR).lease(script::LEASE));
static BULKHEAD: Bulkhead = Bulkhead::new(script::SLOTS);
static BUDGET: Budget = Budget::with_rule(BALANCED.budget.refill(script::REFILL));
/// What became of the calls.
pub(crate) static METRICS: Metrics = Metrics::new();
/// Enters what the policy does in the book of the run.
pub(crate) static RECORDER: Recorder = Recorder { pen: OnceLock::new() };

static POLICY: Policy = Policy::of(Strategy::Balanced)
    .backoff(script::BACKOFF.jitter(script::JITTER))
    .retry_window(script::RETRY_WINDOW)
    .attempt_timeout(ATTEMPT_TIMEOUT)
    .deadline(script::DEADLINE)
    .max_asked_wait(script::ASKED_WAIT_AT_MOST)
    .breaker(&BREAKER)
    .bulkhead(&BULKHEAD)
    .budget(&BUDGET)
    .metrics(&METRICS)
    .observer(&RECORDER);

const CLOCK: TokioClock = TokioClock::new();

/// One call: the large model under the policy, and when that gives up, the small one.
pub(crate) async fn call(caller: Arc<Caller>) -> Outcome {
    let caller = &*caller;
    let large =
        |made: Made| async move { caller.ask_large(made.attempt).await.map(|_| Outcome::Answered) };
    let small = |error: Error<CallError>| async move {
        // What no retry can mend, no other model can.
        if error.stopped == Reason::Class {
            return Err(OrElseError::GaveUp(error));
        }
        match timeout(FALLBACK_TIMEOUT, caller.ask_small()).await {
            Ok(Ok(_)) if error.attempts == 0 => Ok(Outcome::FellBackAtOnce),
            Ok(Ok(_)) => Ok(Outcome::FellBack),
            Ok(Err(error)) => Err(OrElseError::Fallback(error)),
            Err(_) => Err(OrElseError::Fallback(CallError::TimedOut)),
        }
    };
    let answer = POLICY.execute_told(CLOCK, large).or_else_async(small).await;
    answer.unwrap_or(Outcome::Failed)
}

/// What the breaker does now, and for how much longer it refuses.
pub(crate) fn breaker() -> (State, Duration) {
    let now = CLOCK.now();
    (BREAKER.state(now), BREAKER.remaining(now))
}

/// Enters events in the book of a run.
#[derive(Debug)]
pub(crate) struct Recorder {
    pen: OnceLock<UnboundedSender<Mark>>,
}

impl Recorder {
    /// Uses `pen` from now on: the first one given.
    pub(crate) fn write_with(&self, pen: UnboundedSender<Mark>) {
        let _ = self.pen.set(pen);
    }
}

impl Observe for Recorder {
    fn observe(&self, event: &Event) {
        if let Some(pen) = self.pen.get() {
            // The book closes when every call is in it.
            let _ = pen.send(Mark::Event(Instant::now(), *event));
        }
    }
}
