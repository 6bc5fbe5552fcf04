#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::float_arithmetic)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod clock;
mod energy;
mod error;
mod fault;
#[cfg(feature = "defmt")]
mod format;
pub mod orchestrator;
pub mod policy;
pub mod state;

pub use clock::{Clock, Instant, ManualClock, ManualSleep, Sleep, Wait};
pub use energy::Frugal;
pub use error::{Error, OrElseError, Reason};
pub use orchestrator::Orchestrator;
pub use policy::{
    Backoff, Class, Classifier, Classify, Event, Jitter, Observe, Policy, Retry, RetryAll,
    Strategy, Verdict,
};
pub use state::{
    Breaker, Budget, BudgetRule, Bulkhead, LimitRule, Limiter, Metrics, Permit, Rule, Trip, Window,
    WindowRule,
};
#[cfg(feature = "macros")]
pub use steadfast_macros::resilient;
