//! Callers that block. Each call has a thread of its own, and one thread at a time runs: a call asks
//! for what takes time and stands still until the executor has it.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};

use steadfast::policy::Made;
use steadfast::{Clock, Instant, Sleep as _, Wait};

use crate::clock::{Scale, Until};
use crate::ledger::Ended;
use crate::provider::Fault;
use crate::world::{Attempting, Device};

/// A blocking call's side of its thread: the clock it waits on, and the provider.
pub(crate) struct Caller<'w> {
    device: Device<'w>,
    asks: Sender<Ask>,
    answers: Receiver<Answer>,
}

/// The executor's side. Dropped, it ends the thread where it stands, as a panic there would.
pub(crate) struct Blocking<'s, 'w> {
    device: Device<'w>,
    /// How long an attempt may outlive its time, in µs of the clock.
    overrun: u64,
    doing: Doing<'w>,
    asks: Receiver<Ask>,
    answers: Option<Sender<Answer>>,
    thread: Option<ScopedJoinHandle<'s, Ended>>,
}

enum Ask {
    Until(Instant),
    Attempt(Made),
}

enum Answer {
    Over,
    Replied(Result<bool, Fault>),
}

enum Doing<'w> {
    /// The thread runs, and this one listens.
    Calling,
    Waiting(Until<'w>),
    Attempting(Attempting<'w>, Until<'w>),
}

/// Why the thread of a call that was dropped ends.
struct Dropped;

/// Begins a call, which runs when it is first polled.
pub(crate) fn call<'s, 'w: 's>(
    scope: &'s Scope<'s, '_>,
    device: Device<'w>,
    overrun: u64,
    call: impl FnOnce(Caller<'w>) -> Ended + Send + 's,
) -> Blocking<'s, 'w> {
    let ((asks, asked), (answers, answered)) = (channel(), channel());
    let caller = Caller { device, asks, answers: answered };
    let thread = scope.spawn(move || {
        caller.stand();
        call(caller)
    });
    let (answers, thread) = (Some(answers), Some(thread));
    Blocking {
        device,
        overrun,
        doing: Doing::Waiting(device.sleep_until(Instant::ORIGIN)),
        asks: asked,
        answers,
        thread,
    }
}

impl Caller<'_> {
    /// One attempt, which ends when its time is over or a little later.
    pub(crate) fn attempt(&self, made: Made) -> Result<bool, Fault> {
        match self.ask(Ask::Attempt(made)) {
            Answer::Replied(result) => result,
            Answer::Over => panic!("an attempt ends without a reply"),
        }
    }

    fn ask(&self, ask: Ask) -> Answer {
        let _ = self.asks.send(ask);
        self.stand()
    }

    fn stand(&self) -> Answer {
        self.answers.recv().unwrap_or_else(|_| resume_unwind(Box::new(Dropped)))
    }
}

impl Clock for &Caller<'_> {
    fn now(&self) -> Instant {
        self.device.now()
    }
}

impl Wait for &Caller<'_> {
    fn wait_until(&self, at: Instant) {
        self.ask(Ask::Until(at));
    }

    fn random(&self) -> u32 {
        self.device.random()
    }
}

impl Future for Blocking<'_, '_> {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Ended> {
        let this = &mut *self;
        loop {
            let answer = match &mut this.doing {
                Doing::Calling => match this.asks.recv() {
                    Ok(ask) => {
                        this.doing = this.begin(ask);
                        continue;
                    }
                    Err(_) => return Poll::Ready(this.end()),
                },
                Doing::Waiting(until) => {
                    ready!(Pin::new(until).poll(context));
                    Answer::Over
                }
                Doing::Attempting(reply, until) => match Pin::new(&mut *reply).poll(context) {
                    Poll::Ready(result) => Answer::Replied(result),
                    Poll::Pending => {
                        ready!(Pin::new(until).poll(context));
                        Answer::Replied(Err(reply.give_up(Fault::OutOfTime)))
                    }
                },
            };
            this.doing = Doing::Calling;
            if let Some(answers) = &this.answers {
                let _ = answers.send(answer);
            }
        }
    }
}

impl<'w> Blocking<'_, 'w> {
    fn begin(&self, ask: Ask) -> Doing<'w> {
        let Device { world, call } = self.device;
        match ask {
            Ask::Until(at) => Doing::Waiting(self.device.sleep_until(at)),
            Ask::Attempt(made) => {
                let time = made.time_left.as_micros() as u64;
                let ends = world.timeline.last().saturating_add(time).saturating_add(self.overrun);
                let until = world.timeline.until(Scale::Clock, ends);
                Doing::Attempting(world.attempt(call, Some(made)), until)
            }
        }
    }

    /// What the thread came to: its panic is a panic here.
    fn end(&mut self) -> Ended {
        let Some(thread) = self.thread.take() else { panic!("polled after its end") };
        thread.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl Drop for Blocking<'_, '_> {
    fn drop(&mut self) {
        // The attempt first: it is the provider's, and not held by the call.
        self.doing = Doing::Calling;
        self.answers = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
