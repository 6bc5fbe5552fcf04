//! One policy tells the same story under tokio, smol, pollster, a manual clock and a loop by hand.

#![allow(clippy::unwrap_used, missing_docs)]

use core::future::pending;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{LazyLock, Mutex};
use std::time::Instant as StdInstant;

use smol::Timer;
use steadfast::policy::Stage;
use steadfast::state::COUNT_ONLY;
use steadfast::{
    Backoff, Breaker, Class, Classify, Clock, Error, Event, Instant, ManualClock, Metrics,
    OrElseError, Policy, Reason, Sleep, Trip, Verdict,
};
use steadfast_std::TokioClock;

const POLICY: Policy =
    Policy::new().attempts(3).backoff(Backoff::exponential(ms(2), ms(1), ms(50)));

#[test]
fn on_a_manual_clock() {
    let clock = ManualClock::new();
    assert_eq!(clock.block_on(scenario(&clock)), expected());
}

#[test]
fn in_a_loop_by_hand() {
    let clock = ManualClock::new();
    let mut story = pin!(scenario(&clock));
    let mut context = Context::from_waker(Waker::noop());
    let story = loop {
        match story.as_mut().poll(&mut context) {
            Poll::Ready(story) => break story,
            Poll::Pending => clock.advance(Duration::from_micros(137)),
        }
    };
    assert_eq!(story, expected());
}

#[tokio::test(start_paused = true)]
async fn under_tokio_with_its_time_paused() {
    assert_eq!(scenario(TokioClock::new()).await, expected());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_task_of_tokios_threads() {
    assert_eq!(tokio::spawn(scenario(TokioClock::new())).await.unwrap(), expected());
}

#[test]
fn under_smol() {
    assert_eq!(smol::block_on(scenario(TimerClock)), expected());
}

#[test]
fn in_a_task_of_smols_threads() {
    assert_eq!(smol::block_on(smol::spawn(scenario(TimerClock))), expected());
}

#[test]
fn under_pollster() {
    assert_eq!(pollster::block_on(scenario(TimerClock)), expected());
}

/// Executions of all kinds one after another, each with what came of it. No step is in a hurry, so
/// a slow machine tells the same story.
async fn scenario<C: Sleep>(clock: C) -> Story {
    let breaker = Breaker::new(Trip::after(4), ms(50));
    let metrics = Metrics::<COUNT_ONLY>::new();
    let events = Mutex::new(Vec::new());
    let observer = |event: &Event| events.lock().unwrap().push(*event);
    let policy = POLICY.breaker(&breaker).metrics(&metrics).observer(&observer);
    let mut ends = Vec::new();
    let began = clock.now();

    // The third attempt answers: after 2 ms and 4 ms.
    let third = policy.execute_told(&clock, |this| async move {
        if this.attempt < 3 { Err(Fault::Reset) } else { Ok(3) }
    });
    ends.push(End::of(third.await));
    assert!(clock.now().since(began) >= ms(6));

    // Nothing mends this one.
    ends.push(End::of(policy.execute(&clock, || async { Err(Fault::BadRequest) }).await));

    // Two attempts hang until their time is over.
    let timed = policy.attempts(2).attempt_timeout(ms(3));
    let began = clock.now();
    ends.push(End::of(timed.execute(&clock, pending::<Result<u32, Fault>>).await));
    assert!(clock.now().since(began) >= ms(8));

    // An attempt that the deadline cuts says nothing to the breaker.
    let cut = policy.deadline(ms(3));
    ends.push(End::of(cut.execute(&clock, pending::<Result<u32, Fault>>).await));

    // A server that wants to be left alone for longer than allowed.
    let impatient = policy.max_asked_wait(ms(10));
    ends.push(End::of(impatient.execute(&clock, || async { Err(Fault::Busy(ms(11))) }).await));

    // The third and fourth failure in a row open the breaker. The fallback answers.
    let mut admits_at = None;
    let answer = policy
        .execute_or_else_async(
            &clock,
            || async { Err(Fault::Reset) },
            |error: Error<Fault>| {
                admits_at = error.retry_at;
                let end = End::of(Err(error));
                async { Ok::<_, OrElseError<Fault, Fault>>(end) }
            },
        )
        .await;
    ends.push(answer.unwrap());

    // The breaker admits when it said it would. The probe fails; the next one does not.
    for result in [Err(Fault::Reset), Ok(7)] {
        let at = admits_at.take().unwrap();
        clock.sleep_until(at).await;
        assert!(clock.now() >= at);
        let end = policy.execute(&clock, || async { result }).await;
        admits_at = end.as_ref().err().and_then(|error| error.retry_at);
        ends.push(End::of(end));
    }
    ends.push(End::of(policy.execute_once(&clock, async { Ok(8) }).await));

    let snapshot = metrics.snapshot();
    let calls = snapshot.calls;
    Story {
        ends,
        events: events.into_inner().unwrap().into_iter().map(without_remaining).collect(),
        calls: [calls.started, calls.succeeded, calls.failed, calls.fell_back, calls.in_flight],
        attempts: [
            snapshot.attempts.started,
            snapshot.attempts.succeeded,
            snapshot.attempts.failed,
            snapshot.attempts.timed_out,
        ],
        retries: snapshot.retries,
    }
}

fn expected() -> Story {
    let retry = |attempt, wait, class| Event::Retry { attempt, wait: ms(wait), class };
    let refused = |reason| Event::Refused { stage: Stage::Retry, reason, wait: None };
    let gave_up = |stopped, attempts, class, last| End::GaveUp { stopped, attempts, class, last };
    Story {
        ends: vec![
            End::Answer(3),
            gave_up(Reason::Class, 1, Class::Permanent, Some(Fault::BadRequest)),
            gave_up(Reason::Attempts, 2, Class::Timeout, None),
            gave_up(Reason::Deadline, 1, Class::Timeout, None),
            gave_up(Reason::AskedWait, 1, Class::RateLimited, Some(Fault::Busy(ms(11)))),
            gave_up(Reason::BreakerOpen, 2, Class::Transient, Some(Fault::Reset)),
            gave_up(Reason::BreakerOpen, 1, Class::Transient, Some(Fault::Reset)),
            End::Answer(7),
            End::Answer(8),
        ],
        events: vec![
            retry(1, 2, Class::Transient),
            retry(2, 4, Class::Transient),
            retry(1, 2, Class::Timeout),
            refused(Reason::Deadline),
            refused(Reason::AskedWait),
            retry(1, 2, Class::Transient),
            Event::Opened,
            refused(Reason::BreakerOpen),
            Event::HalfOpened,
            Event::Opened,
            refused(Reason::BreakerOpen),
            Event::HalfOpened,
            Event::Closed,
        ],
        calls: [9, 3, 5, 1, 0],
        attempts: [13, 3, 7, 3],
        retries: 4,
    }
}

#[derive(Debug, PartialEq)]
struct Story {
    ends: Vec<End>,
    events: Vec<Event>,
    /// Started, succeeded, failed, fell back, in flight.
    calls: [u64; 5],
    /// Started, succeeded, failed, timed out.
    attempts: [u64; 4],
    retries: u64,
}

/// How an execution ended, without its instants.
#[derive(Debug, PartialEq)]
enum End {
    Answer(u32),
    GaveUp { stopped: Reason, attempts: u32, class: Class, last: Option<Fault> },
}

impl End {
    const fn of(result: Result<u32, Error<Fault>>) -> Self {
        match result {
            Ok(answer) => Self::Answer(answer),
            Err(Error { stopped, attempts, class, last, .. }) => {
                Self::GaveUp { stopped, attempts, class: class.unwrap(), last }
            }
        }
    }
}

/// How long a refusal lasts depends on when it came.
const fn without_remaining(event: Event) -> Event {
    match event {
        Event::Refused { stage, reason, .. } => Event::Refused { stage, reason, wait: None },
        event => event,
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Reset,
    BadRequest,
    Busy(Duration),
}

impl Classify for Fault {
    fn verdict(&self) -> Verdict {
        match *self {
            Self::Reset => Verdict::of(Class::Transient),
            Self::BadRequest => Verdict::of(Class::Permanent),
            Self::Busy(wait) => Verdict::of(Class::RateLimited).not_before(wait),
        }
    }
}

/// All it takes to bring another executor's timers: `async-io`'s here, in which real time passes.
#[derive(Clone, Copy, Debug)]
struct TimerClock;

struct TimerSleep(Timer);

static ORIGIN: LazyLock<StdInstant> = LazyLock::new(StdInstant::now);

impl Clock for TimerClock {
    fn now(&self) -> Instant {
        Instant::from_micros(ORIGIN.elapsed().as_micros().try_into().unwrap())
    }
}

impl Sleep for TimerClock {
    type Sleeping = TimerSleep;

    fn sleep_until(&self, at: Instant) -> TimerSleep {
        TimerSleep(Timer::at(*ORIGIN + at.since(Instant::ORIGIN)))
    }

    fn random(&self) -> u32 {
        4 // No policy here leaves anything to chance.
    }
}

impl Future for TimerSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(drop)
    }
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
