//! Whether operations are well, in short: what a probe of a load balancer asks for.

use heapless::Vec;

use super::name::Name;
use super::table::Orchestrator;
use crate::clock::Instant;
use crate::state::State;

/// How the breakers of an orchestrator are at one instant, of up to `N` operations.
///
/// A breaker that is switched off (`breaker.enabled`) is none: nobody asks it. One that is in
/// [shadow](crate::state::Mode::Shadow) is in the state that it would be in. With the feature
/// `serde` it is written under these names, names of operations as text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health<const N: usize> {
    /// No breaker is open. Without operations it holds.
    pub healthy: bool,
    /// The operations whose breakers refuse.
    pub open_circuit_breakers: Vec<Name, N>,
    /// The operations whose breakers try whether the service is back.
    pub half_open_circuit_breakers: Vec<Name, N>,
    /// Breakers that there are.
    pub total_circuit_breakers: usize,
    /// Operations that there are.
    pub total_operations: usize,
    /// When that was, in microseconds since 1970-01-01 UTC, where there is a wall clock.
    pub timestamp: Option<u64>,
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize>
    Orchestrator<N, BUCKETS, SHARDS, WINDOW>
{
    /// How its breakers are at `now`, which the wall clock calls `unix`
    /// ([`Clock::unix_micros`](crate::Clock::unix_micros)).
    ///
    /// It reads each breaker once and waits for nobody; an operation that is registered meanwhile
    /// may be left out.
    #[must_use]
    pub fn health(&self, now: Instant, unix: Option<u64>) -> Health<N> {
        let mut health = Health {
            healthy: true,
            open_circuit_breakers: Vec::new(),
            half_open_circuit_breakers: Vec::new(),
            total_circuit_breakers: 0,
            total_operations: 0,
            timestamp: unix,
        };
        for view in self.iter() {
            health.total_operations += 1;
            let Some(state) = view.breaker().state_if_enabled(now) else { continue };
            health.total_circuit_breakers += 1;
            // There are no more operations than places.
            let _ = match state {
                State::Closed => Ok(()),
                State::Open => health.open_circuit_breakers.push(view.name()),
                State::HalfOpen => health.half_open_circuit_breakers.push(view.name()),
            };
        }
        health.healthy = health.open_circuit_breakers.is_empty();
        health
    }

    /// Whether no breaker is open: [`Health::healthy`] alone.
    #[must_use]
    pub fn is_healthy(&self, now: Instant) -> bool {
        self.iter().all(|view| view.breaker().state_if_enabled(now) != Some(State::Open))
    }
}
