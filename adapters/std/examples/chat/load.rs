//! The load: calls that arrive by a seeded schedule, each in its own task, entered in one book.

use core::{error, time::Duration};
use std::sync::Arc;

use rand::{RngExt as _, SeedableRng as _, rngs::SmallRng};
use steadfast::{Event, Reason, state::State};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use crate::{
    client::{CallError, Chat},
    progress::Progress,
    script::{self, CALLS_PER_SECOND, LARGE, SMALL},
    service::Service,
};

/// How one call ended for who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// By the large model.
    Answered,
    /// By the small model, after attempts on the large one.
    FellBack,
    /// By the small model, no attempt on the large one having been allowed.
    FellBackAtOnce,
    Failed,
}

/// One call, seen from outside; times count from the start of the script.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) started: Duration,
    pub(crate) latency: Duration,
    pub(crate) outcome: Outcome,
}

/// What happened, as told to the book.
#[derive(Debug)]
pub(crate) enum Mark {
    /// A request to the large model goes out, the call's first or a later one.
    Attempt(Instant, u32),
    Call(Call),
    /// The policy did something.
    Event(Instant, Event),
}

/// Everything that happened in one run.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) calls: Vec<Call>,
    /// When requests to the large model went out, answered or not.
    pub(crate) attempts: Vec<Duration>,
    /// Where the breaker went, and when; it begins closed.
    pub(crate) breaker: Vec<(Duration, State)>,
    pub(crate) retries: usize,
    /// Why attempts were not made, one entry for each.
    pub(crate) refusals: Vec<Reason>,
}

impl Run {
    fn note(&mut self, epoch: Instant, mark: Mark) {
        match mark {
            Mark::Attempt(at, number) => {
                self.attempts.push(at - epoch);
                self.retries += usize::from(number > 1);
            }
            Mark::Call(call) => self.calls.push(call),
            Mark::Event(at, event) => match event {
                Event::Refused { reason, .. } => self.refusals.push(reason),
                Event::Opened => self.breaker.push((at - epoch, State::Open)),
                Event::HalfOpened => self.breaker.push((at - epoch, State::HalfOpen)),
                Event::Closed => self.breaker.push((at - epoch, State::Closed)),
                _ => {}
            },
        }
    }
}

/// What one call has at hand.
#[derive(Debug)]
pub(crate) struct Caller {
    number: usize,
    large: Chat,
    small: Chat,
    marks: UnboundedSender<Mark>,
}

impl Caller {
    /// One attempt on the large model.
    pub(crate) async fn ask_large(&self, attempt: u32) -> Result<String, CallError> {
        self.tell(Mark::Attempt(Instant::now(), attempt));
        self.large.ask(format!("{}.{attempt}", self.number), self.question()).await
    }

    /// One attempt on the small model.
    pub(crate) async fn ask_small(&self) -> Result<String, CallError> {
        self.small.ask(format!("{}.small", self.number), self.question()).await
    }

    fn question(&self) -> &'static str {
        QUESTIONS.get(self.number % QUESTIONS.len()).copied().unwrap_or_default()
    }

    fn tell(&self, mark: Mark) {
        // The book closes when every call is in it.
        let _ = self.marks.send(mark);
    }
}

/// Where a run's marks arrive.
#[derive(Debug)]
pub(crate) struct Book {
    marks: UnboundedReceiver<Mark>,
    pen: UnboundedSender<Mark>,
}

impl Book {
    pub(crate) fn new() -> Self {
        let (pen, marks) = mpsc::unbounded_channel();
        Self { marks, pen }
    }

    /// For who has something to enter besides the calls.
    pub(crate) fn pen(&self) -> UnboundedSender<Mark> {
        self.pen.clone()
    }

    /// Plays the script once, with every call of the schedule made by `call`, and returns when all
    /// have ended.
    pub(crate) async fn fill<C, F>(
        mut self,
        title: &'static str,
        seed: u64,
        call: C,
    ) -> Result<Run, Box<dyn error::Error>>
    where
        C: Fn(Arc<Caller>) -> F,
        F: Future<Output = Outcome> + Send + 'static,
    {
        let epoch = Instant::now();
        let large = Service::start(LARGE, seed, epoch).await?;
        let small = Service::start(SMALL, seed, epoch).await?;
        let (large_chat, small_chat) =
            (Chat::at(large.address, LARGE)?, Chat::at(small.address, SMALL)?);
        let arrivals = arrivals(seed);
        let mut calls = JoinSet::new();
        for (number, at) in arrivals.iter().enumerate() {
            let (large, small, marks) = (large_chat.clone(), small_chat.clone(), self.pen.clone());
            let caller = Arc::new(Caller { number, large, small, marks });
            let ending = call(Arc::clone(&caller));
            let arrival = epoch + *at;
            calls.spawn(async move {
                sleep_until(arrival).await;
                let started = Instant::now();
                let outcome = ending.await;
                let (latency, started) = (started.elapsed(), started - epoch);
                caller.tell(Mark::Call(Call { started, latency, outcome }));
            });
        }

        let progress = Progress::new(title);
        let mut run = Run::default();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        while run.calls.len() < arrivals.len() {
            tokio::select! {
                Some(mark) = self.marks.recv() => run.note(epoch, mark),
                Some(Err(panicked)) = calls.join_next() => return Err(panicked.into()),
                _ = tick.tick() => progress.show(&run, epoch.elapsed()),
            }
        }
        progress.finish();
        Ok(run)
    }
}

/// When the calls arrive: independent of each other and of what became of earlier ones.
fn arrivals(seed: u64) -> Vec<Duration> {
    let mut chance = SmallRng::seed_from_u64(seed);
    let gaps = core::iter::repeat_with(|| {
        let uniform: f64 = chance.random();
        Duration::from_secs_f64(-(1.0 - uniform).ln() / CALLS_PER_SECOND)
    });
    let times = gaps.scan(Duration::ZERO, |at, gap| {
        *at += gap;
        Some(*at)
    });
    times.take_while(|at| *at < script::length()).collect()
}

const QUESTIONS: [&str; 4] = [
    "What does a circuit breaker protect: the caller or the called?",
    "Why does a retry need a budget?",
    "Summarise the minutes of the last meeting.",
    "Which of these invoices are overdue?",
];
const TICK: Duration = Duration::from_millis(50);
