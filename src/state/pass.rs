//! A breaker as an execution finds it.

use core::time::Duration;

use super::breaker::{Breaker, BreakerOpen, Guarded, SharedCircuit};
use super::circuit::{Outcome, Settled, Ticket};
use super::evidence::Evidence;
use super::rule::Rule;
use super::settings::{LiveSettings, Shared};
use crate::clock::Instant;

/// A breaker: under its own rule, or under settings that change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BreakerRef<'s> {
    circuit: &'s SharedCircuit,
    rule: RuleRef<'s>,
}

#[derive(Clone, Copy, Debug)]
enum RuleRef<'s> {
    Own(&'s Rule),
    /// With what reads it: linked where it is live.
    Live(&'s LiveSettings, fn(&LiveSettings) -> Rule),
}

/// A [`Permit`](super::Permit) that is no guard and knows no rule: an `Attempt` is its guard, and a
/// policy has the rule.
#[derive(Debug)]
#[must_use = "settle it or give it back: else its probe is lost until its lease ends"]
pub(crate) struct Pass<'c> {
    circuit: &'c SharedCircuit,
    ticket: Ticket,
}

impl<'s> BreakerRef<'s> {
    pub(crate) const fn own(breaker: &'s Breaker) -> Self {
        Self { circuit: breaker.shared_circuit(), rule: RuleRef::Own(breaker.rule()) }
    }

    pub(crate) const fn live(shared: &'s Shared) -> Self {
        Self { circuit: &shared.circuit, rule: RuleRef::Live(&shared.settings, LiveSettings::rule) }
    }
}

impl Guarded for BreakerRef<'_> {
    type Followed<'a>
        = Rule
    where
        Self: 'a;

    fn shared(&self) -> &SharedCircuit {
        self.circuit
    }

    #[inline(never)] // Seldom asked for, in several places.
    fn rule(&self) -> Rule {
        match self.rule {
            RuleRef::Own(rule) => *rule,
            RuleRef::Live(settings, rule) => rule(settings),
        }
    }
}

impl<'c> Pass<'c> {
    /// Whether the breaker became half-open by it, too.
    pub(crate) fn try_acquire(
        breaker: &BreakerRef<'c>,
        now: Instant,
    ) -> Result<(Self, bool), BreakerOpen> {
        let circuit = breaker.circuit;
        let (ticket, half_opened) = circuit.admit_by(|| breaker.rule(), now)?;
        Ok((Self { circuit, ticket }, half_opened))
    }

    /// By the rule that `breaker` follows now.
    pub(crate) fn settle(
        self,
        breaker: &BreakerRef<'_>,
        now: Instant,
        outcome: Outcome,
    ) -> Settled {
        self.circuit.settle_by(|| breaker.rule(), now, self.ticket, outcome)
    }

    /// With how long the attempt took.
    pub(crate) fn settle_with(
        self,
        breaker: &BreakerRef<'_>,
        now: Instant,
        ended: (Outcome, Duration),
        evidence: &dyn Evidence,
    ) -> Settled {
        self.circuit.settle_with(|| breaker.rule(), now, self.ticket, ended, evidence)
    }

    pub(crate) fn give_back(self) {
        self.circuit.release(self.ticket);
    }

    /// Whether `breaker` gave it.
    pub(crate) fn is_of(&self, breaker: &BreakerRef<'_>) -> bool {
        core::ptr::eq(self.circuit, breaker.circuit)
    }

    pub(crate) const fn shadowed(&self) -> bool {
        self.ticket.is_shadowed()
    }
}
