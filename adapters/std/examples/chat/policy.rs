//! The operation `chat` of an orchestrator: balanced, its times cut to a life of seconds; after it,
//! the small model.

use core::time::Duration;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use steadfast::{
    Error, Event, OrElseError, Orchestrator, Reason, Strategy,
    orchestrator::{Handle, Key, Registration, Watch},
    policy::Made,
    state::Snapshot,
};
use steadfast_std::{Resilience, TokioClock, Watching};
use tokio::{
    sync::mpsc::UnboundedSender,
    time::{Instant, timeout},
};

use crate::{
    client::CallError,
    load::{Caller, Mark, Outcome},
    script::{self, ATTEMPT_TIMEOUT, FALLBACK_TIMEOUT},
};

/// Enters what the operation does in the book of the run.
pub(crate) static RECORDER: Recorder = Recorder { pen: OnceLock::new() };

static OPERATIONS: Orchestrator<8> =
    Orchestrator::new().operation(CHAT, BALANCED_IN_SECONDS).watched_by(&RECORDER);

const CHAT: &str = "chat";
const BALANCED_IN_SECONDS: Registration = Registration::by(Strategy::Balanced)
    .given(Key::Multiplier, micros(script::BACKOFF.multiplier()))
    .given(Key::Min, micros(script::BACKOFF.min()))
    .given(Key::Max, micros(script::BACKOFF.max()))
    .given(Key::Jitter, micros(script::JITTER))
    .given(Key::Window, micros(script::RETRY_WINDOW))
    .given(Key::AttemptTimeout, micros(ATTEMPT_TIMEOUT))
    .given(Key::Deadline, micros(script::DEADLINE))
    .given(Key::MaxAskedWait, micros(script::ASKED_WAIT_AT_MOST))
    .given(Key::OpenFor, micros(script::OPEN_FOR))
    .given(Key::Lease, micros(script::LEASE))
    .given(Key::Refill, micros(script::REFILL))
    .given(Key::Slots, script::SLOTS as u64);

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
    let answer = chat().execute_told(CLOCK, large).or_else_async(small).await;
    answer.unwrap_or(Outcome::Failed)
}

/// Follows a configuration in a file: what it changes, the next call goes by.
pub(crate) fn follow(config: &Path) -> io::Result<Watching> {
    let shown = config.display().to_string();
    Resilience::over(&OPERATIONS).watch_file(config, move |change| match change {
        Ok(warnings) => {
            eprintln!("{shown}: applied");
            warnings.iter().for_each(|warning| eprintln!("{shown}: warning: {warning}"));
        }
        Err(error) => eprintln!("{shown}: not applied, what was configured stays: {error}"),
    })
}

/// What became of the calls.
pub(crate) fn counted() -> Snapshot {
    OPERATIONS.metrics(CHAT).expect("registered above").snapshot()
}

/// All that it counted and how its breaker is now, as JSON.
pub(crate) fn reported() -> Value {
    Resilience::over(&OPERATIONS).report(CLOCK)
}

fn chat() -> Handle<'static> {
    OPERATIONS.get(CHAT).expect("registered above")
}

const fn micros(length: Duration) -> u64 {
    length.as_micros() as u64
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

impl Watch for Recorder {
    fn watch(&self, _operation: &str, event: &Event) {
        if let Some(pen) = self.pen.get() {
            // The book closes when every call is in it.
            let _ = pen.send(Mark::Event(Instant::now(), *event));
        }
    }
}
