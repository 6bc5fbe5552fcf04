//! Deterministic simulation: many callers, a provider that misbehaves and a clock that lies, in
//! virtual time. One seed is a whole run.
//!
//! | file | holds |
//! |---|---|
//! | `plan.rs` | what a seed decides before anything happens |
//! | `clock.rs` | virtual time, and a clock that shows it wrongly |
//! | `executor.rs` | tasks, polled in an order that the seed decides |
//! | `hedge.rs`, `block.rs` | callers that make a second attempt, and callers that block |
//! | `limit.rs` | the limiter as it is watched, and callers who reserve by hand |
//! | `provider.rs` | the service that is called |
//! | `ledger.rs` | what happened, by a count of its own, and what must hold |
//! | `outcomes.rs` | all that a closed breaker saw, and whether that opens it |
//! | `buckets.rs` | requests and tokens that are left, in plain numbers |
//! | `world.rs` | the run: callers, drops, clock steps and reboots |
#![expect(clippy::indexing_slicing, reason = "a panic here ends the seed, and says so")]

mod block;
mod buckets;
mod clock;
mod executor;
mod hedge;
mod ledger;
mod limit;
mod outcomes;
mod plan;
mod provider;
mod world;

pub use world::{Report, run};
