//! The policy: balanced, its times cut to a life of seconds; after it, the small model.

use std::sync::{Arc, OnceLock};

use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Error, Event, Jitter, Metrics, Observe,
    OrElseError, Policy, Reason, Rule, Strategy, Trip,
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

/// The breaker before the large model.
pub(crate) static BREAKER: Breaker = Breaker::with_rule(
    Rule::new(Trip::after(script::FAILURES), script::OPEN_FOR).lease(script::LEASE),
);
static BULKHEAD: Bulkhead = Bulkhead::new(script::SLOTS);
static BUDGET: Budget = Budget::with_rule(BudgetRule::new(
    script::TOKENS,
    script::THOUSANDTHS_PER_SUCCESS,
    script::REFILL,
));
/// What became of the calls.
pub(crate) static METRICS: Metrics = Metrics::new();
/// Enters what the policy does in the book of the run.
pub(crate) static RECORDER: Recorder = Recorder { pen: OnceLock::new() };

static POLICY: Policy = Policy::of(Strategy::Balanced)
    .attempts(script::ATTEMPTS)
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

/// One call: the large model under the policy, and when that gives up, the small one.
pub(crate) async fn call(caller: Arc<Caller>) -> Outcome {
    let (caller, mut attempt) = (&*caller, 0);
    let large = || {
        attempt += 1;
        let answer = caller.ask_large(attempt);
        async { answer.await.map(|_| Outcome::Answered) }
    };
    let small = async |error: Error<CallError>| {};
    todo!()
}
