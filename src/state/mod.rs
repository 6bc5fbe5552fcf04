//! State that calls share. Each kind is a word or a few.
//!
//! A kind is two things: a pure machine over its words, which takes the time as an argument and
//! returns the next words, and a handle that applies it atomically. What is acquired comes as a
//! guard that gives it back when dropped.
//!
//! | kind | machine | handle | guard |
//! |---|---|---|---|
//! | who may call at all | [`Circuit`] under a [`Rule`] | [`Breaker`], [`SharedCircuit`] | [`Permit`] |
//! | how many failed, or were slow | [`WindowRule`] | [`Window`] | |
//! | how many at once | a count | [`Bulkhead`] | [`Slot`] |
//! | how much a minute | [`LimitRule`] | [`Limiter`] | [`Reservation`] |
//! | how many retries | [`BudgetRule`] | [`Budget`] | |
//! | what happened | | [`Metrics`] | |

mod breaker;
mod bucket;
mod budget;
mod bulkhead;
mod circuit;
mod evidence;
mod histogram;
pub(crate) mod limit_rule;
mod limiter;
mod metrics;
mod mode;
pub(crate) mod pass;
mod ring;
mod rule;
pub(crate) mod settings;
mod slices;
mod window;
pub(crate) mod window_rule;
pub(crate) mod word;

pub use breaker::{Breaker, BreakerOpen, Guarded, Permit, SharedCircuit, State};
pub use budget::{Budget, BudgetRule, BudgetRuleError, SharedTokens};
pub use bulkhead::{Bulkhead, BulkheadFull, NoSlots, SharedSlots, Slot, Slotted};
pub use circuit::{Admission, Circuit, Outcome, Phase, Settled, Ticket, Transition};
pub use evidence::{ClosedPhase, Evidence};
pub use histogram::{COARSE, COARSE_BOTH, COUNT_ONLY, FINE, FINE_BOTH};
pub use limit_rule::{LimitRule, LimitRuleError};
pub use limiter::{Limit, Limited, Limiter, Reservation, SharedBuckets, Spent, Taken};
pub use metrics::{
    Attempts, Baseline, Calls, Latency, Meter, Metrics, Monotonic, Refusals, ResetBusy, Resettable,
    Snapshot, Tally, Transitions,
};
pub use mode::{Mode, UnknownMode};
pub use ring::FULL_WINDOW;
pub use rule::{Rule, RuleError, Trip};
pub use window::{NO_WINDOW, SharedWindow, Window};
pub use window_rule::{WindowRule, WindowRuleError};
