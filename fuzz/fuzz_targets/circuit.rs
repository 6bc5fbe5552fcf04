//! Any sequence of admissions, outcomes, times and rules, against what must hold after each.
#![no_main]

use core::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use steadfast::state::{
    Admission, Circuit, Mode, Outcome, Phase, Rule, Settled, SharedCircuit, Ticket, Transition,
};
use steadfast::{Instant, Trip};

#[derive(Arbitrary, Debug)]
struct Input {
    words: Option<(u32, u32)>,
    start: u64,
    rule: Numbers,
    operations: Vec<Operation>,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    Admit,
    /// Which ticket, and whether the attempt worked.
    Settle(u8, bool),
    Release(u8),
    /// Time goes by.
    Pass(Length),
    /// The clock steps without time going by.
    Ahead(Length),
    Back(Length),
    Set(u64),
    Follow(Numbers),
    /// Which mode.
    Force(u8),
    Reset,
    /// As `Settle`, and other evidence says that it is to open.
    Trip(u8, bool),
}

/// A rule's numbers, good or not.
#[derive(Arbitrary, Debug)]
struct Numbers {
    failures: u8,
    window: u8,
    probes: u8,
    open_for: Length,
    lease: Length,
    growth: u8,
    open_max: Length,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Length {
    Micros(u32),
    Millis(u16),
    Seconds(u16),
    Hours(u8),
}

impl Length {
    fn get(self) -> Duration {
        match self {
            Self::Micros(n) => Duration::from_micros(n.into()),
            Self::Millis(n) => Duration::from_millis(n.into()),
            Self::Seconds(n) => Duration::from_secs(n.into()),
            Self::Hours(n) => Duration::from_secs(u64::from(n) * 3600),
        }
    }
}

impl Numbers {
    /// The rule that they make, after a look at those that make none.
    fn rule(&self) -> Option<Rule> {
        let (failures, window) = (self.failures % 26, self.window % 26);
        let (open_for, lease) = (self.open_for.get(), self.lease.get());
        let allowed = Duration::from_millis(50)..=Duration::from_secs(86_400);
        let probes = u32::from(self.probes % 66);
        // Half of them do not grow.
        let growth = if self.growth > 127 { 10 } else { u32::from(self.growth % 105) };
        let open_max = match growth {
            10 => Duration::from_secs(86_400),
            _ => self.open_max.get(),
        };
        let by_evidence = failures == 25;
        let rule = match by_evidence {
            true => Rule::try_by(Trip::NEVER, open_for),
            false => Rule::try_new(failures.into(), window.into(), open_for),
        };
        let rule = rule
            .and_then(|rule| rule.try_probes(probes))
            .and_then(|rule| rule.try_lease(lease))
            .and_then(|rule| rule.try_open_growth(growth, open_max));
        let by_itself = (1..=23).contains(&failures) && (failures..=23).contains(&window);
        let good = (by_evidence || by_itself)
            && (1..=63).contains(&probes)
            && allowed.contains(&open_for)
            && allowed.contains(&lease)
            && (10..=100).contains(&growth)
            && allowed.contains(&open_max)
            // Both are rounded up to it.
            && open_max.as_micros().div_ceil(32) >= open_for.as_micros().div_ceil(32);
        assert_eq!(rule.is_ok(), good, "numbers are judged otherwise");
        rule.ok()
    }
}

fuzz_target!(|input: Input| {
    let rule = input.rule.rule().unwrap_or(const { Rule::new(Trip::after(3), SECOND) });
    let mut books = Books {
        // Words that no history made may be of a forced mode, and not in its phase.
        circuit: input.words.map_or(Circuit::CLOSED, |(hot, cold)| {
            SharedCircuit::resume(Circuit::from_bits(hot, cold)).load()
        }),
        rule,
        now: Instant::from_micros(input.start),
        mode: Mode::Normal,
        epoch: 0,
        tickets: Vec::new(),
        probes: input.words.is_none().then_some(0),
        opened: None,
    };
    books.mode = books.circuit.mode();
    books.has_an_exit();
    for operation in input.operations {
        match operation {
            Operation::Admit => books.admit(),
            Operation::Settle(which, worked) => {
                let outcome = if worked { Outcome::Success } else { Outcome::Failure };
                books.settle(which, outcome);
            }
            Operation::Trip(which, worked) => {
                let outcome = if worked { Outcome::Success } else { Outcome::Failure };
                if let Some((held, Settled::Counted)) = books.settle(which, outcome) {
                    books.trip(&held);
                }
            }
            Operation::Release(which) => books.release(which),
            Operation::Pass(length) => books.pass(length.get()),
            Operation::Ahead(length) => books.step(books.now.after(length.get())),
            Operation::Back(length) => {
                let micros = length.get().as_micros() as u64;
                let at = books.now.as_micros().saturating_sub(micros);
                books.step(Instant::from_micros(at));
            }
            Operation::Set(micros) => books.step(Instant::from_micros(micros)),
            Operation::Follow(numbers) => books.follow(numbers.rule()),
            Operation::Force(mode) => books.force(Mode::ALL[usize::from(mode % 4)]),
            Operation::Reset => books.reset(),
        }
        books.has_an_exit();
    }
});

/// The circuit, and what is known of it without looking at its words.
struct Books {
    circuit: Circuit,
    rule: Rule,
    now: Instant,
    mode: Mode,
    /// Counts transitions and replaced probes, without wrapping.
    epoch: u64,
    tickets: Vec<Held>,
    /// Probes that succeeded in this half-open phase. `None` if it began with arbitrary words, or
    /// an outcome from 64 epochs ago was taken for one of this.
    probes: Option<u32>,
    opened: Option<Opened>,
}

struct Held {
    ticket: Ticket,
    epoch: u64,
    at: Instant,
}

/// An open period that is known from its beginning.
struct Opened {
    rule: Rule,
    level: u32,
    /// Time that went by, whatever the clock said.
    elapsed: Duration,
    ahead: Duration,
    back: Duration,
}

impl Books {
    fn admit(&mut self) {
        let (before, rule, now) = (self.circuit, self.rule, self.now);
        let would = before.would_admit(&rule, now);
        let (after, admission) = before.admit(&rule, now);
        self.circuit = after;
        let moved_on = epoch_bits(before) != epoch_bits(after);
        match admission {
            Admission::Admitted(ticket, moved) if ticket.is_shadowed() => {
                assert!(would && moved.is_none());
                assert_eq!(self.mode, Mode::Shadow, "shadowed");
                assert!(!before.is_closed(), "a closed circuit would have refused");
                assert_eq!(before.phase(), after.phase(), "a shadowed attempt moved it");
                assert!(!moved_on, "a shadowed attempt moved the epoch");
                self.not_open_too_long();
                for outcome in [Outcome::Success, Outcome::Failure] {
                    let settled = after.settle(&rule, now, ticket, outcome);
                    assert_eq!(settled, (after, Settled::Shadowed), "it counted");
                }
                assert_eq!(after.release(ticket), after, "it gave something back");
            }
            Admission::Refused if self.mode == Mode::ForcedOpen => {
                assert!(!would, "it said that it would admit");
                assert_eq!(before, after, "a refusal moved it");
            }
            Admission::Refused => {
                assert!(!would, "it said that it would admit");
                assert_eq!(self.mode, Mode::Normal, "it refused");
                assert!(!before.is_closed(), "a closed circuit refused");
                assert_eq!(before.phase(), after.phase(), "a refusal moved it");
                assert!(!moved_on, "a refusal moved the epoch");
                assert_eq!(after.admit(&rule, now).0, after, "a second refusal wrote");
                self.not_open_too_long();
            }
            Admission::Admitted(ticket, moved) => {
                assert!(would, "it said that it would refuse");
                assert_ne!(self.mode, Mode::ForcedOpen, "it admitted");
                assert!(self.mode != Mode::ForcedClosed || before.is_closed(), "not closed");
                self.epoch += u64::from(moved_on);
                match (before.phase(), moved) {
                    (Phase::Closed { .. }, None) => assert_eq!(before, after, "admitting wrote"),
                    (Phase::Open { .. }, Some(Transition::HalfOpened)) => {
                        self.not_open_too_briefly();
                        self.probes = Some(0);
                    }
                    (Phase::HalfOpen { .. }, None) => {}
                    _ => panic!("{before:?} moved by {moved:?}"),
                }
                self.opened = None;
                self.tickets.push(Held { ticket, epoch: self.epoch, at: now });
                if let (Phase::HalfOpen { .. }, Some(succeeded)) = (after.phase(), self.probes) {
                    // With a rule of fewer probes what succeeded is cut to leave one to go.
                    let most = rule.probe_count();
                    let succeeded = succeeded.min(most - 1);
                    if moved_on {
                        self.probes = Some(succeeded);
                    }
                    let of_this_epoch =
                        self.tickets.iter().filter(|held| held.epoch == self.epoch).count();
                    assert!(of_this_epoch as u32 + succeeded <= most, "too many probes");
                }
            }
        }
    }

    fn settle(&mut self, which: u8, outcome: Outcome) -> Option<(Held, Settled)> {
        let held = self.take(which)?;
        let before = self.circuit;
        let (after, settled) = before.settle(&self.rule, self.now, held.ticket, outcome);
        self.circuit = after;
        let stale = self.is_stale(&held);
        if stale {
            assert_eq!(settled, Settled::Late, "an outcome of another epoch was counted");
        }
        match settled {
            Settled::Shadowed => panic!("a ticket that counts was taken for one that does not"),
            Settled::Late => {
                assert_eq!(before, after, "a late outcome changed something");
                let open = matches!(before.phase(), Phase::Open { .. });
                // One of 64 epochs ago may be taken for one of this, and need not be.
                let other = self.epoch != held.epoch;
                assert!(other || open || self.may_be_old(&held), "a fresh outcome came late");
            }
            Settled::Counted => {
                assert_eq!(epoch_bits(before), epoch_bits(after), "counting moved the epoch");
                if let (Phase::HalfOpen { .. }, Some(succeeded)) = (after.phase(), &mut self.probes)
                {
                    assert_eq!(outcome, Outcome::Success, "a failed probe was counted");
                    *succeeded += 1;
                    assert!(*succeeded < self.rule.probe_count(), "enough succeeded to close it");
                }
            }
            Settled::Moved(transition) => {
                assert_ne!(epoch_bits(before), epoch_bits(after), "the epoch stayed");
                match (before.phase(), transition, after.phase()) {
                    (Phase::Closed { .. }, Transition::Opened, Phase::Open { .. })
                    | (Phase::HalfOpen { .. }, Transition::Opened, Phase::Open { .. }) => {
                        assert_eq!(outcome, Outcome::Failure, "a success opened it");
                        assert_ne!(self.mode, Mode::ForcedClosed, "it opened");
                        let by_itself = self.rule.trip() != Trip::NEVER || !before.is_closed();
                        assert!(by_itself, "it opened");
                        assert_eq!(after.level(), (before.level() + 1).min(15));
                        self.opens();
                    }
                    (Phase::HalfOpen { .. }, Transition::Closed, Phase::Closed { history: 0 }) => {
                        self.epoch += 1;
                        self.probes = Some(0);
                        assert_eq!(outcome, Outcome::Success, "a failure closed it");
                        assert_eq!(after.level(), 0, "closed with openings");
                    }
                    phases => panic!("{phases:?}"),
                }
            }
        }
        self.forget_probes_of_a_wrapped_epoch(&held);
        Some((held, settled))
    }

    /// Opens on other evidence, by an outcome that was counted.
    fn trip(&mut self, held: &Held) {
        let before = self.circuit;
        let (after, settled) = before.trip(&self.rule, self.now, held.ticket);
        self.circuit = after;
        if !before.is_closed() || self.mode == Mode::ForcedClosed {
            assert_eq!((after, settled), (before, Settled::Counted), "it tripped");
            return;
        }
        assert_eq!(settled, Settled::Moved(Transition::Opened), "it did not trip");
        assert!(matches!(after.phase(), Phase::Open { .. }));
        assert_ne!(epoch_bits(before), epoch_bits(after), "the epoch stayed");
        self.opens();
        let again = after.trip(&self.rule, self.now, held.ticket);
        assert_eq!(again, (after, Settled::Counted), "it tripped twice");
    }

    /// What an opening begins.
    fn opens(&mut self) {
        self.epoch += 1;
        self.probes = Some(0);
        let (rule, level, zero) = (self.rule, self.circuit.level(), Duration::ZERO);
        let (elapsed, ahead, back) = (zero, zero, zero);
        self.opened = Some(Opened { rule, level, elapsed, ahead, back });
    }

    fn release(&mut self, which: u8) {
        let Some(held) = self.take(which) else { return };
        let before = self.circuit;
        self.circuit = before.release(held.ticket);
        if self.is_stale(&held) || before.is_closed() {
            assert_eq!(before, self.circuit, "a late release changed something");
        }
        self.forget_probes_of_a_wrapped_epoch(&held);
    }

    fn pass(&mut self, length: Duration) {
        self.now = self.now.after(length);
        if let Some(opened) = &mut self.opened {
            opened.elapsed += length;
        }
    }

    fn step(&mut self, now: Instant) {
        if let Some(opened) = &mut self.opened {
            opened.ahead = opened.ahead.saturating_add(now.since(self.now));
            opened.back = opened.back.saturating_add(self.now.since(now));
        }
        self.now = now;
    }

    fn follow(&mut self, rule: Option<Rule>) {
        if let Some(rule) = rule {
            self.rule = rule;
        }
    }

    fn force(&mut self, mode: Mode) {
        let before = self.circuit;
        let (after, moved) = before.force(self.now, mode);
        assert_eq!(after.mode(), mode);
        let moved_on = epoch_bits(before) != epoch_bits(after);
        let forced = matches!(mode, Mode::ForcedOpen | Mode::ForcedClosed);
        if mode == self.mode {
            assert_eq!((after, moved), (before, None), "told again, it moved");
        } else {
            assert_eq!(moved_on, forced, "told {mode}, it moved the epoch");
        }
        let phase = after.phase();
        match mode {
            Mode::ForcedOpen => assert!(matches!(phase, Phase::Open { .. }), "not open"),
            Mode::ForcedClosed => assert!(after.is_closed(), "not closed"),
            Mode::Normal | Mode::Shadow => {
                let at_once =
                    self.mode != Mode::ForcedOpen || after.would_admit(&self.rule, self.now);
                assert!(at_once, "forced open no longer, no probe goes");
                assert_eq!(moved, None);
            }
        }
        self.epoch += u64::from(moved_on);
        (self.circuit, self.mode) = (after, mode);
        if forced {
            (self.opened, self.probes) = (None, Some(0));
        }
    }

    fn reset(&mut self) {
        let before = self.circuit;
        let (after, moved) = before.reset();
        assert_eq!((after.mode(), after.level()), (before.mode(), 0));
        self.circuit = after;
        if self.mode == Mode::ForcedOpen {
            assert_eq!((after.phase(), moved), (before.phase(), None));
            return;
        }
        assert_eq!(after.phase(), Phase::Closed { history: 0 });
        assert_eq!(moved.is_none(), before.is_closed());
        self.epoch += 1;
        (self.opened, self.probes) = (None, Some(0));
    }

    /// From wherever it is, with nobody reporting anything, it admits before long, unless told not to.
    fn has_an_exit(&self) {
        let (rule, now) = (&self.rule, self.now);
        assert_eq!(self.circuit.mode(), self.mode, "the mode was lost");
        let longest = rule.open_period(15).max(rule.lease_for());
        if self.mode == Mode::ForcedOpen {
            assert!(self.circuit.remaining(rule, now) <= longest, "it refuses for too long");
            assert_eq!(self.circuit.admits_at(rule, now), Instant::MAX);
            return;
        }
        let (circuit, admission) = self.circuit.admit(rule, now);
        let at = circuit.admits_at(rule, now);
        assert!(self.circuit.remaining(rule, now) <= longest, "it refuses for too long");
        assert!(at.since(now) <= longest + DISAGREEMENT + UNIT, "it admits too late");
        if matches!(admission, Admission::Refused) && at < END_OF_TIME {
            assert!(at > now, "it refuses, and says that it admits");
            assert!(circuit.would_admit(rule, at), "it refuses when it said that it admits");
        }
    }

    /// Not longer than its period, a tick, and what the clock stepped back.
    fn not_open_too_long(&self) {
        let Some(Opened { rule, level, elapsed, ahead, back }) = &self.opened else { return };
        let longest = rule.open_period(*level) + TICK + *back;
        // Coarse time comes round after 76 hours: what is long over looks like what is to come.
        let to_come = self.rule.open_period(*level).max(longest) + DISAGREEMENT + TICK;
        if *elapsed + *ahead + to_come < ROUND && self.now < END_OF_TIME {
            assert!(*elapsed < longest, "open for {elapsed:?}, more than {longest:?}");
        }
    }

    /// Not shorter than its period, if the clock did not jump and the rule still asks for as much.
    fn not_open_too_briefly(&self) {
        let Some(Opened { rule, level, elapsed, ahead, back }) = &self.opened else { return };
        let period = rule.open_period(*level);
        let same = self.rule.open_period(*level) >= period;
        if same && *back < DISAGREEMENT && self.now < END_OF_TIME {
            assert!(*elapsed + *ahead >= period, "open for {elapsed:?} only");
        }
    }

    fn take(&mut self, which: u8) -> Option<Held> {
        let which = usize::from(which).checked_rem(self.tickets.len())?;
        Some(self.tickets.swap_remove(which))
    }

    /// Of another epoch, and known to be: after 64 epochs the number comes round again.
    fn is_stale(&self, held: &Held) -> bool {
        (self.epoch - held.epoch) % 64 != 0
    }

    fn forget_probes_of_a_wrapped_epoch(&mut self, held: &Held) {
        if self.epoch != held.epoch && !self.is_stale(held) {
            self.probes = None;
        }
    }

    /// Whether its age may be past what the rule allows, by a clock that may have stepped.
    fn may_be_old(&self, held: &Held) -> bool {
        let limit = match self.circuit.phase() {
            Phase::HalfOpen { .. } => self.rule.lease_for(),
            _ => (self.rule.open_for() * 16).max(Duration::from_secs(15 * 60)),
        };
        let age = self.now.as_micros().wrapping_sub(held.at.as_micros());
        let age = age % ROUND.as_micros() as u64;
        Duration::from_micros(age) > limit
    }
}

/// The six bits of the hot word that move at each transition.
fn epoch_bits(circuit: Circuit) -> u32 {
    circuit.to_bits().0 >> 24 & 0x3f
}

const SECOND: Duration = Duration::from_secs(1);
/// An open period is rounded up to it.
const TICK: Duration = Duration::from_micros(1 << 14);
/// A lease is rounded up to it.
const UNIT: Duration = Duration::from_micros(1 << 17);
/// How far two readings of a clock may disagree.
const DISAGREEMENT: Duration = Duration::from_secs(64);
/// Coarse time comes round again.
const ROUND: Duration = Duration::from_micros(1 << 38);
/// The last week that an [`Instant`] can tell: waits are cut off there.
const END_OF_TIME: Instant = Instant::from_micros(u64::MAX - (1 << 40));
