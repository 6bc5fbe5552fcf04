//! The machines that are arithmetic, and guards of what is shared.

use oorandom::Rand32;
use steadfast::policy::Growth;
use steadfast::state::{Admission, Circuit, Mode, Outcome, RuleError, Slot, Ticket};
use steadfast::{Backoff, Budget, BudgetRule, Bulkhead, Instant, Jitter, Rule, Trip};

use core::time::Duration;

use super::{Tell, length, one_of, place};

pub(super) struct Circuits {
    circuit: Circuit,
    rule: Rule,
    tickets: [Option<Ticket>; 6],
}

impl Circuits {
    pub(super) const fn new() -> Self {
        let rule = Rule::new(Trip::after(3), Duration::from_secs(1));
        Self { circuit: Circuit::CLOSED, rule, tickets: [None; 6] }
    }

    pub(super) fn step(&mut self, random: &mut Rand32, now: Instant, tell: Tell<'_>) {
        let Self { circuit, rule, .. } = *self;
        let draw = random.rand_u32();
        match (random.rand_range(0..100), place(&self.tickets, draw % 6)) {
            (0..35, Some(at)) => {
                let Some(ticket) = self.tickets[at].take() else { return };
                let outcome = one_of(random, [Outcome::Success, Outcome::Failure]);
                let (next, settled) = circuit.settle(&rule, now, ticket, outcome);
                self.circuit = next;
                tell(format_args!(
                    "circuit settles {ticket:?} at {now:?}, {outcome:?}: {settled:?}, {next:?}"
                ));
            }
            (0..75, _) => {
                let (next, admission) = circuit.admit(&rule, now);
                if let Admission::Admitted(ticket, _) = admission {
                    self.tickets[(draw % 6) as usize] = Some(ticket);
                }
                self.circuit = next;
                tell(format_args!("circuit admits at {now:?}: {admission:?}, {next:?}"));
            }
            (75..82, _) => {
                // Once more than it was given, now and then.
                if let Some(ticket) = self.tickets[(draw % 6) as usize] {
                    self.circuit = circuit.release(ticket);
                }
                tell(format_args!("circuit released: {:?}", self.circuit));
            }
            (82..85, _) => {
                let mode = one_of(random, Mode::ALL);
                let (next, moved) = circuit.force(now, mode);
                self.circuit = next;
                tell(format_args!("circuit forced {mode:?} at {now:?}: {moved:?}, {next:?}"));
            }
            (85, _) => {
                let (next, moved) = circuit.reset();
                self.circuit = next;
                tell(format_args!("circuit reset: {moved:?}, {next:?}"));
            }
            (86..90, _) => {
                let rule = new_rule(random);
                self.rule = rule.unwrap_or(self.rule);
                tell(format_args!("circuit's rule: {rule:?}"));
            }
            (90, _) => {
                self.circuit = Circuit::from_bits(draw, random.rand_u32());
                tell(format_args!("circuit from bits: {:?}", self.circuit));
            }
            _ => tell(format_args!(
                "circuit at {now:?}: {:?}, {:?}, {:?}, {:?}, level {}, period {:?}",
                circuit.state(&rule, now),
                circuit.remaining(&rule, now),
                circuit.admits_at(&rule, now),
                circuit.would_admit(&rule, now),
                circuit.level(),
                rule.open_period(draw % 20),
            )),
        }
    }
}

fn new_rule(random: &mut Rand32) -> Result<Rule, RuleError> {
    let (failures, more) = (random.rand_range(0..12), random.rand_range(0..17));
    let rule = Rule::try_new(failures, failures + more, length(random))?
        .try_probes(1 << random.rand_range(0..7))?;
    let rule = match random.rand_range(0..2) {
        0 => rule,
        _ => rule.try_lease(length(random))?,
    };
    match random.rand_range(0..2) {
        0 => Ok(rule),
        _ => rule.try_open_growth(random.rand_range(0..120), length(random)),
    }
}

pub(super) struct Budgets {
    budget: Budget,
    balance: u32,
    claimed: u32,
}

impl Budgets {
    pub(super) const fn new() -> Self {
        let rule = BudgetRule::new(10, 100, Duration::from_secs(60));
        Self { budget: Budget::with_rule(rule), balance: 0, claimed: 0 }
    }

    pub(super) fn step(&mut self, random: &mut Rand32, now: Instant, tell: Tell<'_>) {
        let rule = *self.budget.rule();
        match random.rand_range(0..20) {
            0..8 => {
                let paid = self.budget.withdraw(now);
                tell(format_args!("budget at {now:?}: paid {paid}, {} left", self.budget.tokens()));
            }
            8..12 => {
                self.budget.deposit();
                tell(format_args!("budget of {} after a success", self.budget.tokens()));
            }
            12..18 => {
                let (claimed, refills) = rule.claim(self.claimed, now);
                let (balance, paid) = rule.fail(self.balance, refills);
                let balance =
                    if random.rand_range(0..2) == 0 { balance } else { rule.succeed(balance) };
                (self.balance, self.claimed) = (balance, claimed);
                tell(format_args!(
                    "budget's rule at {now:?}: {refills} to {claimed}, paid {paid}, {balance}"
                ));
            }
            _ => {
                let tokens = random.rand_range(0..40) << random.rand_range(0..10);
                let rule =
                    BudgetRule::try_new(tokens, random.rand_range(0..12_000), length(random));
                if let Ok(rule) = rule {
                    self.budget = Budget::with_rule(rule);
                }
                tell(format_args!("budget's rule: {rule:?}"));
            }
        }
    }
}

pub(super) struct Slots<'b> {
    bulkhead: &'b Bulkhead,
    slots: [Option<Slot<&'b Bulkhead>>; 5],
}

pub(super) const fn bulkhead() -> Bulkhead {
    Bulkhead::new(4)
}

impl<'b> Slots<'b> {
    pub(super) const fn new(bulkhead: &'b Bulkhead) -> Self {
        Self { bulkhead, slots: [const { None }; 5] }
    }

    /// Takes a slot or gives one back.
    pub(super) fn step(&mut self, random: &mut Rand32, tell: Tell<'_>) {
        let slot = &mut self.slots[random.rand_range(0..5) as usize];
        let taken = match slot.take() {
            Some(slot) => {
                drop(slot);
                Ok(())
            }
            None => self.bulkhead.try_acquire().map(|taken| *slot = Some(taken)),
        };
        tell(format_args!("bulkhead: {taken:?}, {} taken", self.bulkhead.taken()));
    }
}

pub(super) struct Backoffs;

impl Backoffs {
    pub(super) fn step(random: &mut Rand32, tell: Tell<'_>) {
        let growth = one_of(random, [Growth::Constant, Growth::Linear, Growth::Exponential]);
        let jitter = length(random);
        let jitter = one_of(
            random,
            [
                Jitter::None,
                Jitter::Additive(jitter),
                Jitter::Full,
                Jitter::Equal,
                Jitter::Decorrelated,
            ],
        );
        let (multiplier, min, max) =
            (length(random) / 16, length(random) / 256, length(random) / 16);
        let backoff = Backoff::try_new(growth, multiplier, min, max)
            .and_then(|backoff| backoff.try_jitter(jitter));
        let Ok(backoff) = backoff else {
            return tell(format_args!("backoff: {backoff:?}"));
        };
        let failed = random.rand_u32() >> random.rand_range(16..32);
        let (asked, previous, bits) = (length(random), length(random), random.rand_u32());
        tell(format_args!(
            "{backoff:?}, {failed} failed, {previous:?} before, {bits}: {:?}, asked for {asked:?} {:?}, longest {:?}",
            backoff.wait(failed, previous, bits),
            backoff.wait_asked(asked, failed, previous, bits),
            backoff.longest(failed),
        ));
    }
}
