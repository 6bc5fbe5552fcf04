//! The circuit against a naive model: a list of outcomes, instants, and no word to be packed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use core::time::Duration;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, TestRunner};
use steadfast::state::{
    Admission, Circuit, Mode, Outcome, Phase, Rule, Settled, SharedCircuit, State, Ticket,
    Transition,
};
use steadfast::{Instant, Trip};

/// How many operations there are in one case: enough for a few openings, few enough to shrink.
const OPERATIONS_A_CASE: usize = 500;
/// As many as fit into a second or a few; `STEADFAST_MODEL_OPERATIONS` asks for another number.
const OPERATIONS: usize = 50_000;

#[test]
fn any_sequence_of_operations_ends_where_a_naive_model_does() {
    let operations = std::env::var("STEADFAST_MODEL_OPERATIONS")
        .map_or(OPERATIONS, |number| number.parse().expect("a number of operations"));
    let cases = operations.div_ceil(OPERATIONS_A_CASE) as u32;
    let start = prop_oneof![Just(0), 0..u64::MAX >> 1, Just((1 << 38) - 1)];
    let case = (start, rule(), proptest::collection::vec(operation(), OPERATIONS_A_CASE));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&case, |(start, rule, operations)| {
            let mut pair = Pair::new(Instant::from_micros(start), rule);
            for operation in operations {
                pair.operate(operation)?;
            }
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn random_operations_reach_every_phase_and_every_answer() {
    let mut runner = TestRunner::deterministic();
    let mut seen = Seen::default();
    for _ in 0..100 {
        let case = proptest::collection::vec(operation(), OPERATIONS_A_CASE);
        let operations = case.new_tree(&mut runner).unwrap().current();
        let rule = rule().new_tree(&mut runner).unwrap().current();
        let mut pair = Pair::new(Instant::ORIGIN, rule);
        for operation in operations {
            pair.operate(operation).unwrap();
        }
        seen.add(&pair.seen);
    }
    let Seen { opened, half_opened, closed, replaced, refused, stale, old, grown, .. } = seen;
    let Seen { forced_open, forced_closed, left_open, spared, shadowed, reset, tripped, .. } = seen;
    for (what, times) in [
        ("opened", opened),
        ("half-opened", half_opened),
        ("closed", closed),
        ("probes replaced after their lease", replaced),
        ("refusals", refused),
        ("outcomes of another epoch", stale),
        ("outcomes too old", old),
        ("openings for longer than the first", grown),
        ("forced open", forced_open),
        ("forced closed", forced_closed),
        ("forced open no longer", left_open),
        ("failures that did not open it, forced closed", spared),
        ("admitted by the shadow mode", shadowed),
        ("closed by a reset", reset),
        ("openings on other evidence", tripped),
    ] {
        assert!(times >= 10, "{what}: {times}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Operation {
    Admit,
    Settle(usize, Outcome),
    /// Settles one, and what else it says asks for opening if it was counted.
    Trip(usize, Outcome),
    Drop(usize),
    /// Time goes by.
    Pass(u64),
    /// The clock steps back.
    Back(u64),
    /// The clock is set to an instant that is near where its coarse time comes round.
    Wrap(u64),
    /// Settings change.
    Follow(Rule),
    Force(Mode),
    Reset,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => Just(Operation::Admit),
        5 => any::<usize>().prop_map(|which| Operation::Settle(which, Outcome::Failure)),
        3 => any::<usize>().prop_map(|which| Operation::Settle(which, Outcome::Success)),
        1 => (any::<usize>(), prop_oneof![Just(Outcome::Success), Just(Outcome::Failure)])
            .prop_map(|(which, outcome)| Operation::Trip(which, outcome)),
        1 => any::<usize>().prop_map(Operation::Drop),
        5 => length().prop_map(Operation::Pass),
        1 => length().prop_map(Operation::Back),
        1 => (0..1_000_u64, 0..1_u64 << 20).prop_map(|(round, offset)| {
            Operation::Wrap((round << 37).saturating_sub(1 << 19) + offset)
        }),
        1 => rule().prop_map(Operation::Follow),
        // Not for long in a mode in which little happens.
        1 => prop_oneof![3 => Just(Mode::Normal), 2 => prop::sample::select(&Mode::ALL[1..])]
            .prop_map(Operation::Force),
        1 => prop::bool::weighted(0.3).prop_map(|reset| match reset {
            true => Operation::Reset,
            false => Operation::Admit,
        }),
    ]
}

/// From microseconds to days, each size as often as another.
fn length() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..20_000_u64,
        0..2_000_000_u64,
        0..200_000_000_u64,
        0..20_000_000_000_u64,
        0..300_000_000_000_u64,
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let span =
        prop_oneof![50_000..200_000_u64, 50_000..90_000_000_u64, 50_000..=86_400_000_000_u64];
    let trip = (1..=23_u32).prop_flat_map(|failures| (Just(failures), failures..=23));
    let short = (1..=3_u32).prop_flat_map(|failures| (Just(failures), failures..=8));
    let by_itself = prop_oneof![short, trip]
        .prop_map(|(failures, window)| Trip::after(failures).of_last(window));
    let trip = prop_oneof![7 => by_itself, 1 => Just(Trip::NEVER)];
    let probes = prop_oneof![1..=4_u32, 1..=63_u32];
    let growth = prop_oneof![Just(10), 10..=30_u32, 10..=100_u32];
    (trip, span.clone(), span, probes, growth, 0..=86_400_000_000_u64).prop_map(
        |(trip, open_for, lease, probes, growth, open_max)| {
            let open_max = Duration::from_micros(open_max.max(open_for));
            Rule::new(trip, Duration::from_micros(open_for))
                .lease(Duration::from_micros(lease))
                .probes(probes)
                .open_growth(growth, open_max)
        },
    )
}

/// The circuit as arithmetic, the same one shared, and the model, side by side.
struct Pair {
    shared: SharedCircuit,
    circuit: Circuit,
    model: Model,
    rule: Rule,
    now: Instant,
    held: Vec<(Ticket, Leave)>,
    seen: Seen,
}

/// How often the model came by.
#[derive(Clone, Copy, Default)]
struct Seen {
    opened: u32,
    half_opened: u32,
    closed: u32,
    replaced: u32,
    refused: u32,
    stale: u32,
    old: u32,
    grown: u32,
    forced_open: u32,
    forced_closed: u32,
    left_open: u32,
    spared: u32,
    shadowed: u32,
    reset: u32,
    tripped: u32,
}

impl Pair {
    fn new(now: Instant, rule: Rule) -> Self {
        Self {
            shared: SharedCircuit::new(),
            circuit: Circuit::CLOSED,
            model: Model::new(),
            rule,
            now,
            held: Vec::new(),
            seen: Seen::default(),
        }
    }

    fn operate(&mut self, operation: Operation) -> Result<(), TestCaseError> {
        match operation {
            Operation::Admit => self.admit()?,
            Operation::Settle(which, outcome) => {
                self.settle(which, outcome)?;
            }
            Operation::Trip(which, outcome) => {
                if let Some((ticket, leave, Settled::Counted)) = self.settle(which, outcome)? {
                    self.trip(ticket, leave)?;
                }
            }
            Operation::Drop(which) => self.release(which),
            Operation::Pass(micros) => self.set(self.now.as_micros().saturating_add(micros)),
            Operation::Back(micros) => self.set(self.now.as_micros().saturating_sub(micros)),
            Operation::Wrap(at) => self.set(at),
            Operation::Follow(rule) => self.rule = rule,
            Operation::Force(mode) => self.force(mode)?,
            Operation::Reset => self.reset()?,
        }
        self.forget();
        self.same()
    }

    fn admit(&mut self) -> Result<(), TestCaseError> {
        let (rule, now) = (self.rule, self.now);
        let (circuit, admission) = self.circuit.admit(&rule, now);
        prop_assert_eq!(self.shared.admit(&rule, now), admission, "shared");
        prop_assert_eq!(self.circuit.would_admit(&rule, now), admission != Admission::Refused);
        self.circuit = circuit;
        let epoch = self.model.epoch;
        match (admission, self.model.admit(&rule, now)) {
            (Admission::Refused, None) => self.seen.refused += 1,
            (Admission::Admitted(ticket, moved), Some((leave, half_opened))) => {
                prop_assert_eq!(moved, half_opened.then_some(Transition::HalfOpened));
                self.seen.half_opened += u32::from(half_opened);
                self.seen.replaced += u32::from(!half_opened && self.model.epoch != epoch);
                self.seen.shadowed += u32::from(!leave.counts);
                prop_assert_eq!(ticket.is_shadowed(), !leave.counts);
                self.held.push((ticket, leave));
            }
            (said, expected) => prop_assert!(false, "{said:?}, expected {expected:?}"),
        }
        Ok(())
    }

    fn settle(
        &mut self,
        which: usize,
        outcome: Outcome,
    ) -> Result<Option<(Ticket, Leave, Settled)>, TestCaseError> {
        let Some((ticket, leave)) = self.take(which) else { return Ok(None) };
        let (rule, now, epoch) = (self.rule, self.now, self.model.epoch);
        let (circuit, settled) = self.circuit.settle(&rule, now, ticket, outcome);
        prop_assert_eq!(self.shared.settle(&rule, now, ticket, outcome), settled, "shared");
        self.circuit = circuit;
        prop_assert_eq!(settled, self.model.settle(&rule, now, leave, outcome));
        match settled {
            Settled::Moved(Transition::Closed) => self.seen.closed += 1,
            Settled::Moved(_) => {
                self.seen.opened += 1;
                self.seen.grown += u32::from(period(&rule, self.model.level) > rule.open_for());
            }
            Settled::Late if leave.epoch == epoch => self.seen.old += 1,
            Settled::Late => self.seen.stale += 1,
            Settled::Counted => {
                let spared = matches!(&self.model.phase, Doing::Closed { outcomes }
                    if trips(&rule, outcomes) && outcome == Outcome::Failure);
                self.seen.spared += u32::from(spared);
            }
            Settled::Shadowed => {}
        }
        Ok(Some((ticket, leave, settled)))
    }

    fn trip(&mut self, ticket: Ticket, leave: Leave) -> Result<(), TestCaseError> {
        let (rule, now) = (self.rule, self.now);
        let (circuit, settled) = self.circuit.trip(&rule, now, ticket);
        prop_assert_eq!(self.shared.trip(&rule, now, ticket), settled, "shared");
        self.circuit = circuit;
        prop_assert_eq!(settled, self.model.trip(&rule, now, leave));
        self.seen.tripped += u32::from(settled != Settled::Counted);
        Ok(())
    }

    fn force(&mut self, mode: Mode) -> Result<(), TestCaseError> {
        let had = self.model.mode;
        let (circuit, moved) = self.circuit.force(self.now, mode);
        prop_assert_eq!(self.shared.force(self.now, mode), moved, "shared");
        self.circuit = circuit;
        prop_assert_eq!(moved, self.model.force(self.now, mode));
        self.seen.forced_open += u32::from(moved == Some(Transition::Opened));
        self.seen.forced_closed += u32::from(moved == Some(Transition::Closed));
        if had == Mode::ForcedOpen && mode != had {
            self.seen.left_open += 1;
            prop_assert!(circuit.would_admit(&self.rule, self.now), "no probe at once");
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), TestCaseError> {
        let (circuit, moved) = self.circuit.reset();
        prop_assert_eq!(self.shared.reset(), moved, "shared");
        self.circuit = circuit;
        prop_assert_eq!(moved, self.model.reset());
        self.seen.reset += u32::from(moved.is_some());
        Ok(())
    }

    fn release(&mut self, which: usize) {
        if let Some((ticket, leave)) = self.take(which) {
            self.circuit = self.circuit.release(ticket);
            self.shared.release(ticket);
            self.model.release(leave);
        }
    }

    fn set(&mut self, micros: u64) {
        // Far enough from the last instant there is that no wait is cut off there.
        self.now = Instant::from_micros(micros.min(u64::MAX >> 1));
    }

    fn take(&mut self, which: usize) -> Option<(Ticket, Leave)> {
        let which = which.checked_rem(self.held.len())?;
        Some(self.held.swap_remove(which))
    }

    /// An epoch has a number of a few bits: what is as old as that many epochs is not reported.
    fn forget(&mut self) {
        let epoch = self.model.epoch;
        self.held.retain(|(_, leave)| epoch - leave.epoch < 64);
    }

    /// What can be seen of the two is the same.
    fn same(&self) -> Result<(), TestCaseError> {
        let (circuit, model, rule, now) = (self.circuit, &self.model, &self.rule, self.now);
        prop_assert_eq!(self.shared.load(), circuit, "shared");
        match (circuit.phase(), &model.phase) {
            (Phase::Closed { history }, Doing::Closed { outcomes }) => {
                let failures = outcomes.iter().filter(|failed| **failed).count();
                prop_assert_eq!(history.count_ones() as usize, failures);
            }
            (Phase::Open { .. }, Doing::Open { .. }) => {}
            (
                Phase::HalfOpen { in_flight, succeeded },
                Doing::HalfOpen { under_way, worked, .. },
            ) => prop_assert_eq!((in_flight, succeeded), (*under_way, *worked)),
            (phase, doing) => prop_assert!(false, "{phase:?}, expected {doing:?}"),
        }
        prop_assert_eq!(circuit.mode(), model.mode);
        prop_assert_eq!(circuit.level(), model.level);
        let waits = model.left(rule, now);
        let left = match model.mode {
            Mode::Normal => Some(waits),
            Mode::ForcedOpen => None,
            Mode::ForcedClosed | Mode::Shadow => Some(Duration::ZERO),
        };
        let longest = match model.phase {
            Doing::Open { .. } => period(rule, model.level),
            _ => rule.lease_for(),
        };
        prop_assert_eq!(circuit.remaining(rule, now), left.unwrap_or(longest).min(longest));
        prop_assert_eq!(
            circuit.admits_at(rule, now),
            left.map_or(Instant::MAX, |left| now.after(left))
        );
        prop_assert_eq!(circuit.would_admit(rule, now), left.is_some_and(|left| left.is_zero()));
        let state = match (model.mode, &model.phase) {
            (Mode::ForcedOpen, _) => State::Open,
            (Mode::ForcedClosed, _) | (_, Doing::Closed { .. }) => State::Closed,
            (_, Doing::Open { .. }) if !waits.is_zero() => State::Open,
            _ => State::HalfOpen,
        };
        prop_assert_eq!(circuit.state(rule, now), state);
        Ok(())
    }
}

/// The breaker told as plainly as can be.
struct Model {
    /// Counts transitions and replaced probes. It never wraps.
    epoch: u64,
    /// Openings since it was last closed, up to 15.
    level: u32,
    mode: Mode,
    phase: Doing,
}

#[derive(Debug)]
enum Doing {
    Closed {
        /// Whether each failed, oldest first.
        outcomes: Vec<bool>,
    },
    Open {
        until: u64,
    },
    HalfOpen {
        under_way: u32,
        worked: u32,
        /// Until when the youngest probe has leave not to report.
        lease: u64,
    },
}

/// What the model knows of an attempt that it admitted.
#[derive(Clone, Copy, Debug)]
struct Leave {
    epoch: u64,
    at: Instant,
    /// Not by the shadow mode alone.
    counts: bool,
}

impl Model {
    const fn new() -> Self {
        Self { epoch: 0, level: 0, mode: Mode::Normal, phase: EMPTY }
    }

    /// Leave for an attempt, and whether that made it half-open.
    fn admit(&mut self, rule: &Rule, now: Instant) -> Option<(Leave, bool)> {
        let refused = !self.left(rule, now).is_zero();
        match self.mode {
            Mode::ForcedOpen => return None,
            Mode::Normal if refused => return None,
            Mode::Shadow if refused => {
                return Some((Leave { epoch: self.epoch, at: now, counts: false }, false));
            }
            _ => {}
        }
        let lease = rounded_up(now.as_micros() + micros(rule.lease_for()), LEASE_UNIT);
        let mut half_opened = false;
        match &mut self.phase {
            Doing::Closed { .. } => {}
            Doing::Open { .. } => {
                half_opened = true;
                self.move_to(Doing::HalfOpen { under_way: 1, worked: 0, lease });
            }
            Doing::HalfOpen { under_way, worked, lease: youngest }
                if 0 < *under_way && *under_way + *worked < rule.probe_count() =>
            {
                *under_way += 1;
                *youngest = lease;
            }
            Doing::HalfOpen { worked, .. } => {
                // All probes have reported, or are given up: this one is first of a new epoch. At
                // least one more must succeed, even if the rule has come to ask for fewer.
                let worked = (*worked).min(rule.probe_count() - 1);
                self.move_to(Doing::HalfOpen { under_way: 1, worked, lease });
            }
        }
        Some((Leave { epoch: self.epoch, at: now, counts: true }, half_opened))
    }

    fn settle(&mut self, rule: &Rule, now: Instant, leave: Leave, outcome: Outcome) -> Settled {
        if !leave.counts {
            return Settled::Shadowed;
        }
        if leave.epoch != self.epoch || self.is_old(rule, now, leave) {
            return Settled::Late;
        }
        match (&mut self.phase, outcome) {
            (Doing::Closed { outcomes }, _) => {
                outcomes.push(outcome == Outcome::Failure);
                let kept = outcomes.len().saturating_sub(23);
                outcomes.drain(..kept);
                if outcome == Outcome::Failure
                    && trips(rule, outcomes)
                    && self.mode != Mode::ForcedClosed
                {
                    return self.open(rule, now);
                }
                Settled::Counted
            }
            (Doing::HalfOpen { .. }, Outcome::Failure) => self.open(rule, now),
            (Doing::HalfOpen { under_way, worked, .. }, Outcome::Success) => {
                *under_way -= 1;
                *worked += 1;
                if *worked < rule.probe_count() {
                    return Settled::Counted;
                }
                self.level = 0;
                self.move_to(EMPTY);
                Settled::Moved(Transition::Closed)
            }
            // Nothing is admitted in the epoch of an open circuit.
            (Doing::Open { .. }, _) => Settled::Late,
        }
    }

    fn trip(&mut self, rule: &Rule, now: Instant, leave: Leave) -> Settled {
        let heeded = leave.counts && leave.epoch == self.epoch && !self.is_old(rule, now, leave);
        match self.phase {
            Doing::Closed { .. } if heeded && self.mode != Mode::ForcedClosed => {
                self.open(rule, now)
            }
            _ => Settled::Counted,
        }
    }

    const fn release(&mut self, leave: Leave) {
        if let (Doing::HalfOpen { under_way, .. }, true) =
            (&mut self.phase, leave.counts && leave.epoch == self.epoch)
        {
            *under_way -= 1;
        }
    }

    fn force(&mut self, now: Instant, mode: Mode) -> Option<Transition> {
        let had = core::mem::replace(&mut self.mode, mode);
        let open_no_longer = Doing::Open { until: rounded_down(now.as_micros(), OPEN_UNIT) };
        match (had, mode) {
            _ if had == mode => None,
            (_, Mode::ForcedOpen) => {
                let was_open = matches!(self.phase, Doing::Open { .. });
                self.move_to(open_no_longer);
                (!was_open).then_some(Transition::Opened)
            }
            (_, Mode::ForcedClosed) => {
                self.level = 0;
                let phase = core::mem::replace(&mut self.phase, EMPTY);
                let was_closed = matches!(phase, Doing::Closed { .. });
                self.move_to(if was_closed { phase } else { EMPTY });
                (!was_closed).then_some(Transition::Closed)
            }
            (Mode::ForcedOpen, _) => {
                self.phase = open_no_longer;
                None
            }
            _ => None,
        }
    }

    fn reset(&mut self) -> Option<Transition> {
        self.level = 0;
        if self.mode == Mode::ForcedOpen {
            return None;
        }
        let was_closed = matches!(self.phase, Doing::Closed { .. });
        self.move_to(EMPTY);
        (!was_closed).then_some(Transition::Closed)
    }

    /// For how long it decides to refuse.
    fn left(&self, rule: &Rule, now: Instant) -> Duration {
        match self.phase {
            Doing::Closed { .. } => Duration::ZERO,
            Doing::Open { until } => left(until, now, OPEN, period(rule, self.level)),
            Doing::HalfOpen { under_way, worked, lease } => {
                if under_way == 0 || under_way + worked < rule.probe_count() {
                    return Duration::ZERO;
                }
                left(lease, now, LEASE, rule.lease_for())
            }
        }
    }

    /// A probe's leave is over after its lease, any other's after 16 open periods or 15 minutes.
    fn is_old(&self, rule: &Rule, now: Instant, leave: Leave) -> bool {
        let limit = match self.phase {
            Doing::HalfOpen { .. } => micros(rule.lease_for()),
            _ => micros(rule.open_for() * 16).max(micros(Duration::from_secs(15 * 60))),
        };
        let limit = rounded_up(limit, OPEN_UNIT);
        let [began, now] = [leave.at, now].map(|at| rounded_down(at.as_micros(), OPEN_UNIT));
        if now <= began + AGES_KNOWN && began <= now + STEPS_KNOWN {
            return began + limit < now;
        }
        // As the clock goes round, the longest of all ages are steps back, which count for nothing.
        let age = now.wrapping_sub(began) % OPEN_ROUND;
        limit < age && age < OPEN_ROUND - OPEN_UNIT - STEPS_BACK
    }

    fn open(&mut self, rule: &Rule, now: Instant) -> Settled {
        self.level = (self.level + 1).min(15);
        let until = rounded_up(now.as_micros() + micros(period(rule, self.level)), OPEN_UNIT);
        self.move_to(Doing::Open { until });
        Settled::Moved(Transition::Opened)
    }

    fn move_to(&mut self, phase: Doing) {
        self.epoch += 1;
        self.phase = phase;
    }
}

impl Seen {
    const fn add(&mut self, other: &Self) {
        self.opened += other.opened;
        self.half_opened += other.half_opened;
        self.closed += other.closed;
        self.replaced += other.replaced;
        self.refused += other.refused;
        self.stale += other.stale;
        self.old += other.old;
        self.grown += other.grown;
        self.forced_open += other.forced_open;
        self.forced_closed += other.forced_closed;
        self.left_open += other.left_open;
        self.spared += other.spared;
        self.shadowed += other.shadowed;
        self.reset += other.reset;
        self.tripped += other.tripped;
    }
}

/// Whether so many of the last outcomes failed that the rule opens it.
fn trips(rule: &Rule, outcomes: &[bool]) -> bool {
    let window = outcomes.len().saturating_sub(rule.trip().window() as usize);
    let failures = outcomes[window..].iter().filter(|failed| **failed).count();
    failures >= rule.trip().failures() as usize
}

/// How long the rule has it stay open at its `level`-th opening: as it says, which is the formula,
/// rounded up by less than it promises.
fn period(rule: &Rule, level: u32) -> Duration {
    let (tenths, before) = (u128::from(rule.growth_tenths()), level.max(1) - 1);
    let [first, longest] = [rule.open_for(), rule.open_max()].map(|length| length.as_micros());
    let exact = tenths.pow(before).saturating_mul(first) / 10_u128.pow(before);
    let period = rule.open_period(level);
    assert!(exact.min(longest) <= period.as_micros(), "{rule:?} {level}: {period:?}");
    assert!(period.as_micros() <= (exact + exact / 1000 + 32).min(longest), "{rule:?} {level}");
    period
}

/// How the end of an open period or of a lease is kept, in microseconds.
#[derive(Clone, Copy)]
struct End {
    /// It is one of these.
    unit: u64,
    /// It goes round with that.
    round: u64,
    /// It is known by all that is no longer before it, and after it less the longest that may be left:
    /// `PROOF.md` says so.
    known: u64,
}

/// What is left until `until`: nothing if that is more than `span` and a disagreement between two
/// readings can explain. By plain numbers, and past what is known by a clock that goes round.
fn left(until: u64, now: Instant, end: End, span: Duration) -> Duration {
    let now = now.as_micros();
    // In units, it may be that much beyond.
    let longest = rounded_up(micros(span) + DISAGREEMENT, OPEN_UNIT) + end.unit - OPEN_UNIT;
    let ticks = match now + longest <= until + end.known && until <= now + end.known {
        true => rounded_up(until.saturating_sub(now), OPEN_UNIT),
        false => until.wrapping_sub(rounded_down(now, OPEN_UNIT)) % end.round,
    };
    if ticks > longest {
        return Duration::ZERO;
    }
    Duration::from_micros(ticks.saturating_sub(now % OPEN_UNIT))
}

const fn rounded_up(micros: u64, unit: u64) -> u64 {
    micros.div_ceil(unit) * unit
}

const fn rounded_down(micros: u64, unit: u64) -> u64 {
    micros / unit * unit
}

fn micros(length: Duration) -> u64 {
    length.as_micros().try_into().unwrap()
}

const EMPTY: Doing = Doing::Closed { outcomes: Vec::new() };
const OPEN: End = End { unit: OPEN_UNIT, round: OPEN_ROUND, known: 76 * HOUR };
const LEASE: End = End { unit: LEASE_UNIT, round: LEASE_UNIT << 20, known: 38 * HOUR };
const OPEN_UNIT: u64 = 1 << 14;
const OPEN_ROUND: u64 = OPEN_UNIT << 24;
const LEASE_UNIT: u64 = 1 << 17;
/// An attempt's age is known for as long, and a step back behind it.
const AGES_KNOWN: u64 = 66 * HOUR;
const STEPS_KNOWN: u64 = 9 * HOUR;
const HOUR: u64 = 3_600_000_000;
/// How far two readings of a clock may disagree.
const DISAGREEMENT: u64 = 64_000_000;
/// How far a clock may step back behind an attempt (9.5 hours) before that is taken for an age.
const STEPS_BACK: u64 = OPEN_UNIT << 21;
