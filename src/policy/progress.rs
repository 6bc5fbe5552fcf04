//! How far an execution has come: what knows neither answers nor errors.

use super::attempt::Attempt;
use super::classify::{Class, Retry};
use super::event::{Event, Events, Stage};
use crate::clock::Instant;
use crate::error::{Error, Reason};
use crate::state::{Meter, Settled};

/// An execution, but for its policy and its last error. Dropped before its end, it counts as cancelled.
#[derive(Debug)]
#[repr(C)] // A Cortex-M0 reaches the bytes at a pointer in one instruction if they are its first.
pub(super) struct Progress<'p> {
    pub(super) under_way: u8,
    /// What came of the step.
    pub(super) came: Came,
    /// What the step did to the breaker.
    pub(super) settled: Settled,
    /// Why there is no further attempt.
    pub(super) reason: Reason,
    pub(super) class: Option<Class>,
    /// The least that the failures since an attempt last began alone allow.
    pub(super) allowed: Retry,
    pub(super) retried_once: bool,
    /// One of them came while another attempt was under way, and whether one follows is not decided.
    pub(super) undecided: bool,
    /// Whether any of those failures asked to be left alone.
    pub(super) asked: bool,
    pub(super) ended: bool,
    pub(super) keep_open: bool,
    pub(super) made: u32,
    /// As many as the policy says, or one.
    pub(super) attempts: u32,
    /// When the step is taken that it is at.
    pub(super) now: Instant,
    /// When the next attempt is made; or until when it is refused.
    pub(super) until: Instant,
    pub(super) ends: Instant,
    pub(super) began: Instant,
    /// Until when, [`NOBODY_KNOWS`] if none did; once it is over, as [`Error::retry_at`].
    pub(super) asked_until: Instant,
    /// In microseconds.
    pub(super) previous_wait: u64,
    pub(super) books: Option<Books<'p>>,
    pub(super) shard: usize,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// An attempt, its answer, or nothing yet.
    Nothing,
    /// Another attempt is to be made.
    Again,
    /// The attempt asked for is refused.
    Refused,
    /// There is none after a failure.
    GaveUp,
}

/// How a call ended that the operation did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    GaveUp,
    FellBack,
}

/// What a policy counts into, with what counts: linked where it is given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Books<'p> {
    pub(super) meter: &'p dyn Meter,
    pub(super) count: Count,
}

type Count = fn(&dyn Meter, &Progress<'_>, Entry<'_, '_>);

/// What there is to count.
#[derive(Clone, Copy)]
pub(super) enum Entry<'a, 'p> {
    /// An attempt is made.
    Granted(&'a Attempt<'p>),
    Succeeded(&'a Attempt<'p>),
    Failed(&'a Attempt<'p>),
    TimedOut(&'a Attempt<'p>),
    /// An attempt is not made, and the call goes on.
    Refused,
    /// An attempt is not made, and the call is over.
    GaveUp,
    /// The call ends, which was over.
    Ended,
    FellBack,
    Cancelled,
}

impl Progress<'_> {
    /// Makes no attempt after the first.
    pub(super) const fn only_once(&mut self) {
        self.attempts = 1;
    }

    /// Why it is over.
    pub(super) const fn error<E>(&self, last: Option<E>) -> Error<E> {
        Error {
            last,
            stopped: self.reason,
            attempts: self.made,
            retry_at: known(self.asked_until),
            class: self.class,
        }
    }

    /// Ends a call that was kept open.
    pub(super) fn end(&mut self, how: Ended) {
        if !self.ended {
            self.ended = true;
            self.enter(match how {
                Ended::GaveUp => Entry::Ended,
                Ended::FellBack => Entry::FellBack,
            });
        }
    }

    /// What happened in this step.
    pub(super) fn events(&self) -> Events {
        let moved = match self.settled {
            Settled::Moved(moved) => Some(Event::moved(moved)),
            Settled::Counted | Settled::Shadowed | Settled::Late => None,
        };
        let refused = |stage| {
            let wait = known(self.until).map(|until| until.since(self.now));
            Event::Refused { stage, reason: self.reason, wait }
        };
        let came = match (self.came, self.class, self.reason) {
            (Came::Again, Some(class), _) => {
                let wait = self.until.since(self.now);
                Some(Event::Retry { attempt: self.made, wait, class })
            }
            (Came::Refused, _, reason) => Some(refused(Stage::of(reason))),
            // The failure was told already.
            (Came::GaveUp, _, Reason::Class | Reason::Attempts) => None,
            (Came::GaveUp, ..) => Some(refused(Stage::Retry)),
            (Came::Nothing | Came::Again, ..) => None,
        };
        Events::new(moved, came)
    }

    #[inline(never)] // Mostly there is nobody who counts.
    pub(super) fn enter(&self, entry: Entry<'_, '_>) {
        if let Some(Books { meter, count }) = self.books {
            count(meter, self, entry);
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.enter(Entry::Cancelled);
        }
    }
}

/// Nobody knows when a breaker that is forced open will admit.
const fn known(until: Instant) -> Option<Instant> {
    match until {
        NOBODY_KNOWS | Instant::MAX => None,
        _ => Some(until),
    }
}

/// What stands for no instant: nobody refuses until then, or asks to be left alone.
pub(super) const NOBODY_KNOWS: Instant = Instant::ORIGIN;
