//! What an execution did, as values: handed on after state has moved, and before the wait.

use core::fmt;
use core::time::Duration;

use super::classify::Class;
use crate::error::Reason;
use crate::state::Transition;

/// Something that an execution did, and that is rare enough to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// Attempt number `attempt` failed, and the next is made after `wait`.
    Retry {
        /// The failed attempt, counted from 1.
        attempt: u32,
        /// Until the next one.
        wait: Duration,
        /// What the failure was.
        class: Class,
    },
    /// The breaker opened.
    Opened,
    /// The breaker became half-open: this attempt is a probe.
    HalfOpened,
    /// The breaker closed.
    Closed,
    /// An attempt was not made.
    Refused {
        /// Who refused.
        stage: Stage,
        /// Why.
        reason: Reason,
        /// How long it would have to wait, where that is known.
        wait: Option<Duration>,
    },
}

/// Who may refuse an attempt, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Stage {
    /// The time that the execution has.
    Time,
    /// The breaker, and first of all by a look at it.
    Breaker,
    /// The gate: nobody before an instant that the service asked for.
    Gate,
    /// The bulkhead.
    Bulkhead,
    /// The limiter of requests and tokens.
    Limiter,
    /// The decision to retry, after a failed attempt.
    Retry,
}

/// Whoever wants to know what executions do.
///
/// An observer may read state and change it: nothing is half-done when it is called. It should not
/// take long, for the execution waits for it. A closure `Fn(&Event)` is one.
pub trait Observe: Sync {
    /// Takes notice of `event`.
    fn observe(&self, event: &Event);
}

/// The events of one step, oldest first: two at the most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Events([Option<Event>; 2]);

impl Events {
    pub(super) const fn new(first: Option<Event>, second: Option<Event>) -> Self {
        Self([first, second])
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Event> {
        self.0.iter().flatten()
    }
}

impl Stage {
    /// Who refuses an attempt that is asked for, for `reason`.
    pub(super) const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Deadline | Reason::Window => Self::Time,
            Reason::BreakerOpen => Self::Breaker,
            Reason::Gated => Self::Gate,
            Reason::BulkheadFull => Self::Bulkhead,
            Reason::Limited => Self::Limiter,
            Reason::Class | Reason::Attempts | Reason::Budget | Reason::AskedWait => Self::Retry,
        }
    }
}

impl Event {
    pub(super) const fn moved(transition: Transition) -> Self {
        match transition {
            Transition::Opened => Self::Opened,
            Transition::HalfOpened => Self::HalfOpened,
            Transition::Closed => Self::Closed,
        }
    }
}

impl Observe for () {
    fn observe(&self, _event: &Event) {}
}

impl<F: Fn(&Event) + Sync> Observe for F {
    fn observe(&self, event: &Event) {
        self(event);
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Retry { attempt, wait, class } => {
                write!(f, "attempt {attempt} failed ({class}), next in {wait:?}")
            }
            Self::Opened => f.write_str("breaker opened"),
            Self::HalfOpened => f.write_str("breaker half-open"),
            Self::Closed => f.write_str("breaker closed"),
            Self::Refused { reason, wait: Some(wait), .. } => {
                write!(f, "refused: {reason}, for {wait:?}")
            }
            Self::Refused { reason, wait: None, .. } => write!(f, "refused: {reason}"),
        }
    }
}
