//! A circuit that calls share.

use core::borrow::Borrow;
use core::time::Duration;

use super::circuit::{
    Admission, Asked, Circuit, Moment, Outcome, Phase, Read, Settled, Ticket, Told, Transition,
};
use super::evidence::{ClosedPhase, Evidence};
use super::mode::Mode;
use super::rule::{Rule, Trip};
use super::word::{Order, TOGETHER, WordPair};
use crate::clock::Instant;
use crate::fault;

/// A circuit breaker, for a `static` or a field: 24 bytes, no lock, no heap.
///
/// ```
/// use core::time::Duration;
/// use steadfast::{Breaker, Instant, Trip, state::Outcome};
///
/// static BREAKER: Breaker = Breaker::new(Trip::after(3).of_last(10), Duration::from_secs(30));
///
/// let now = Instant::from_micros(0); // from your clock
/// if let Ok(permit) = BREAKER.try_acquire(now) {
///     // .. make the call ..
///     permit.settle(now, Outcome::Success);
/// }
/// ```
///
/// A rule that could not work does not compile:
///
/// ```compile_fail
/// # use core::time::Duration;
/// # use steadfast::{Breaker, Trip};
/// static BREAKER: Breaker = Breaker::new(Trip::after(0), Duration::from_secs(30));
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Breaker {
    rule: Rule,
    circuit: SharedCircuit,
}

/// A circuit without its rule, which comes with each call: for rules that change while it runs.
#[derive(Debug)]
pub struct SharedCircuit {
    words: WordPair,
}

/// What for somebody asks.
#[derive(Clone, Copy)]
enum Asking {
    Going,
    Looking,
}

/// Leave to make one attempt. Dropped, it is given back and says nothing.
///
/// `B` is a reference to the breaker, or any handle of it: a permit by an `Arc<Breaker>` or a
/// `&'static Breaker` can live in a value that is `'static`. It settles once (B22):
///
/// ```compile_fail,E0382
/// # use core::time::Duration;
/// # use steadfast::{Breaker, Instant, Trip, state::Outcome};
/// # let breaker = Breaker::new(Trip::after(1), Duration::from_secs(1));
/// # let now = Instant::ORIGIN;
/// let permit = breaker.try_acquire(now)?;
/// permit.settle(now, Outcome::Failure);
/// permit.settle(now, Outcome::Failure); // moved already
/// # Ok::<(), steadfast::state::BreakerOpen>(())
/// ```
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "dropped, it says nothing of the attempt: settle it"]
pub struct Permit<B: Guarded> {
    breaker: B,
    ticket: Ticket,
    held: bool,
    half_opened: bool,
}

/// A circuit with the rule that it follows at the moment: any handle of a [`Breaker`].
///
/// A breaker whose rule is a constant has it neither in memory nor, if the compiler sees through it,
/// in what it decides: 8 bytes of memory, and less code.
///
/// ```
/// use core::time::Duration;
/// use steadfast::state::{Guarded, Outcome, SharedCircuit};
/// use steadfast::{Instant, Permit, Rule, Trip};
///
/// struct Fixed(SharedCircuit);
///
/// static BREAKER: Fixed = Fixed(SharedCircuit::new());
///
/// impl Guarded for &Fixed {
///     type Followed<'a>
///         = &'static Rule
///     where
///         Self: 'a;
///
///     fn shared(&self) -> &SharedCircuit {
///         &self.0
///     }
///
///     fn rule(&self) -> &'static Rule {
///         const { &Rule::new(Trip::after(3).of_last(9), Duration::from_secs(30)) }
///     }
/// }
///
/// let now = Instant::from_micros(0); // from your clock
/// let permit = Permit::try_acquire(&BREAKER, now)?;
/// permit.settle(now, Outcome::Success);
/// # assert_eq!(size_of::<Fixed>(), 8);
/// # Ok::<(), steadfast::state::BreakerOpen>(())
/// ```
pub trait Guarded {
    /// How it hands out its rule: a reference where it has one, a [`Rule`] where it makes one.
    type Followed<'a>: Borrow<Rule>
    where
        Self: 'a;

    /// The circuit.
    fn shared(&self) -> &SharedCircuit;

    /// Its rule. Asked for only where the circuit is not simply closed.
    fn rule(&self) -> Self::Followed<'_>;

    /// Whether an attempt would be admitted `now`: loads, and nothing else, unless a lease is missing,
    /// which then begins.
    ///
    /// # Errors
    ///
    /// It would not.
    fn peek(&self, now: Instant) -> Result<(), BreakerOpen> {
        match self.shared().is_closed() {
            true => Ok(()),
            false => self.shared().peek(self.rule().borrow(), now),
        }
    }

    /// Whether an attempt would be admitted at `at`, now or later, if nothing else happens. `now` is
    /// what the clock says, and what is done is what a [`peek`](Self::peek) does.
    ///
    /// # Errors
    ///
    /// It would not.
    fn foresee(&self, now: Instant, at: Instant) -> Result<(), BreakerOpen> {
        // Told by the reading: coarse time comes round, and a lease that nobody wrote begins now.
        match self.peek(now) {
            Err(open) if at < open.admits_at || open.admits_at == Instant::MAX => Err(open),
            _ => Ok(()),
        }
    }
}

/// The breaker refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BreakerOpen {
    /// When it will admit again, if nothing else happens: [`Instant::MAX`] if it is forced open.
    pub admits_at: Instant,
}

/// What a breaker is doing, as seen at some instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// Attempts go through.
    Closed,
    /// Attempts are refused.
    Open,
    /// Probes go through. An open breaker whose time is over is half-open.
    HalfOpen,
}

impl State {
    /// Its name: `closed`, `open` or `half_open`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

impl Breaker {
    /// A closed breaker that opens by `trip` and stays open for `open_for` (50 ms to 24 h).
    #[must_use]
    pub const fn new(trip: Trip, open_for: Duration) -> Self {
        Self::with_rule(Rule::new(trip, open_for))
    }

    /// A closed breaker that follows `rule`.
    #[must_use]
    pub const fn with_rule(rule: Rule) -> Self {
        Self::resume(rule, Circuit::CLOSED)
    }

    /// A breaker that goes on from `circuit`: one that was saved, by [`Circuit::to_bits`].
    #[must_use]
    pub const fn resume(rule: Rule, circuit: Circuit) -> Self {
        Self { rule, circuit: SharedCircuit::resume(circuit) }
    }

    /// Asks for leave to make an attempt.
    ///
    /// # Errors
    ///
    /// It is open, or all its probes are under way.
    pub fn try_acquire(&self, now: Instant) -> Result<Permit<&Self>, BreakerOpen> {
        Permit::try_acquire(self, now)
    }

    /// What it is doing.
    #[must_use]
    pub fn state(&self, now: Instant) -> State {
        self.circuit.load().state(&self.rule, now)
    }

    /// For how long it still refuses: from zero to the configured period, or, while its probes are
    /// under way, to their lease.
    #[must_use]
    pub fn remaining(&self, now: Instant) -> Duration {
        self.circuit.load().remaining(&self.rule, now)
    }

    /// What it was told to do.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.circuit.load().mode()
    }

    /// See [`SharedCircuit::force`].
    pub fn force(&self, now: Instant, mode: Mode) -> Option<Transition> {
        self.circuit.force(now, mode)
    }

    /// See [`SharedCircuit::reset`].
    pub fn reset(&self) -> Option<Transition> {
        self.circuit.reset()
    }

    /// What its circuit says.
    #[must_use]
    pub fn circuit(&self) -> Circuit {
        self.circuit.load()
    }

    pub(super) const fn shared_circuit(&self) -> &SharedCircuit {
        &self.circuit
    }

    /// What it follows.
    #[must_use]
    pub const fn rule(&self) -> &Rule {
        &self.rule
    }
}

impl SharedCircuit {
    /// Closed, without a failure.
    #[must_use]
    pub const fn new() -> Self {
        Self::resume(Circuit::CLOSED)
    }

    /// Closed, without a failure, in that mode.
    pub(crate) const fn in_mode(mode: Mode) -> Self {
        Self::resume(Circuit::in_mode(mode))
    }

    /// A circuit that goes on from `circuit`, in the phase that its mode asks for.
    #[must_use]
    pub const fn resume(circuit: Circuit) -> Self {
        let circuit = circuit.conformed(None).0;
        // Where words are read in one piece they are from the beginning as they are left later: nothing
        // lags, and a closed circuit has no level.
        let circuit = match TOGETHER && (circuit.lags() || circuit.is_closed()) {
            true => circuit.caught_up(),
            false => circuit,
        };
        let (hot, cold) = circuit.to_bits();
        Self { words: WordPair::new(hot, cold) }
    }

    /// See [`Circuit::admit`]. A closed circuit is only read.
    pub fn admit(&self, rule: &Rule, now: Instant) -> Admission {
        match self.admit_by(|| rule, now) {
            Ok((ticket, half_opened)) => {
                let moved = if half_opened { Some(Transition::HalfOpened) } else { None };
                Admission::Admitted(ticket, moved)
            }
            Err(_) => Admission::Refused,
        }
    }

    /// See [`Circuit::settle`]. A closed circuit without a failure is only read by a success.
    pub fn settle(&self, rule: &Rule, now: Instant, ticket: Ticket, outcome: Outcome) -> Settled {
        self.settle_by(|| rule, now, ticket, outcome)
    }

    /// Whether the circuit became half-open by it, too.
    pub(super) fn admit_by<R: Borrow<Rule>>(
        &self,
        rule: impl FnOnce() -> R,
        now: Instant,
    ) -> Result<(Ticket, bool), BreakerOpen> {
        let at = Moment::of(now);
        match Circuit::admits_by(self.words.hot(), at) {
            Some(ticket) => Ok((ticket, false)),
            None => {
                let rule = rule();
                let rule = rule.borrow();
                match self.ask(rule, at, Asking::Going) {
                    Asked::Admitted(ticket) => Ok((ticket, false)),
                    Asked::HalfOpened(ticket) => Ok((ticket, true)),
                    Asked::Refused(wait) => Err(BreakerOpen { admits_at: wait.end(rule, now) }),
                }
            }
        }
    }

    pub(super) fn settle_by<R: Borrow<Rule>>(
        &self,
        rule: impl FnOnce() -> R,
        now: Instant,
        ticket: Ticket,
        outcome: Outcome,
    ) -> Settled {
        let now = Moment::of(now);
        if matches!(outcome, Outcome::Success)
            && Circuit::unmoved_by_success(self.words.hot(), now, ticket)
        {
            return Settled::Counted;
        }
        self.count(rule().borrow(), now, ticket, Told::Ended(outcome))
    }

    /// [`settle_by`](Self::settle_by) that asks `evidence`, too.
    pub(super) fn settle_with<R: Borrow<Rule>>(
        &self,
        rule: impl Fn() -> R,
        now: Instant,
        ticket: Ticket,
        (outcome, took): (Outcome, Duration),
        evidence: &dyn Evidence,
    ) -> Settled {
        let settled = self.settle_by(&rule, now, ticket, outcome);
        let Some(phase) = self.closed_phase(ticket) else { return settled };
        let settled = match settled {
            Settled::Counted if evidence.enter(now, phase, outcome, took) => {
                self.trip(rule().borrow(), now, ticket)
            }
            settled => settled,
        };
        if let Settled::Moved(_) = settled {
            evidence.ended(phase.epoch());
        }
        settled
    }

    #[cold]
    fn ask(&self, rule: &Rule, now: Moment, asking: Asking) -> Asked {
        loop {
            if let Some(asked) = self.try_ask(rule, now, asking) {
                return asked;
            }
        }
    }

    #[inline(never)]
    fn try_ask(&self, rule: &Rule, now: Moment, asking: Asking) -> Option<Asked> {
        self.try_update(asking, |circuit| {
            let (next, asked) = circuit.ask(rule, now, READ);
            match (asking, asked) {
                (Asking::Looking, Asked::Admitted(_) | Asked::HalfOpened(_)) => (circuit, asked),
                // There is no lease that nobody wrote.
                (Asking::Looking, _) if TOGETHER => (circuit, asked),
                // Callers who only look would otherwise wait for ever for a lease that nobody wrote.
                (Asking::Looking | Asking::Going, _) => (next, asked),
            }
        })
    }

    #[cold]
    fn count(&self, rule: &Rule, now: Moment, ticket: Ticket, told: Told) -> Settled {
        loop {
            if let Some(settled) = self.try_count(rule, now, ticket, told) {
                return settled;
            }
        }
    }

    #[inline(never)]
    fn try_count(&self, rule: &Rule, now: Moment, ticket: Ticket, told: Told) -> Option<Settled> {
        self.try_update(Asking::Going, |circuit| circuit.count(rule, now, ticket, told, READ))
    }

    /// See [`Circuit::trip`].
    pub fn trip(&self, rule: &Rule, now: Instant, ticket: Ticket) -> Settled {
        match self.count(rule, Moment::of(now), ticket, Told::Enough) {
            Settled::Moved(moved) => Settled::Moved(moved),
            _ => Settled::Counted,
        }
    }

    /// The closed phase that gave `ticket`, if it is no probe's.
    #[must_use]
    pub fn closed_phase(&self, ticket: Ticket) -> Option<ClosedPhase<'_>> {
        ticket.closed_in().map(|epoch| ClosedPhase::new(&self.words, epoch))
    }

    /// Whether it is closed: everybody is admitted.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        Circuit::from_bits(self.words.hot(), 0).is_closed()
    }

    /// See [`Guarded::peek`].
    fn peek(&self, rule: &Rule, now: Instant) -> Result<(), BreakerOpen> {
        match self.ask(rule, Moment::of(now), Asking::Looking) {
            Asked::Admitted(_) | Asked::HalfOpened(_) => Ok(()),
            Asked::Refused(wait) => Err(BreakerOpen { admits_at: wait.end(rule, now) }),
        }
    }

    /// See [`Circuit::release`].
    pub fn release(&self, ticket: Ticket) {
        // Of attempts under way a half-open circuit counts its probes, and no other counts any.
        let counted = ticket.is_probe() || fault::STALE_RELEASE;
        if counted && !fault::LOST_RELEASE {
            self.give_back(ticket);
        }
    }

    #[cold]
    #[inline(never)] // Out of the way of those that settle.
    fn give_back(&self, ticket: Ticket) {
        self.update(Asking::Going, |circuit| (circuit.release(ticket), ()));
    }

    /// Sets its mode, and says what transition that made. See [`Circuit::force`].
    ///
    /// Whoever asks after that is answered by the mode. Whoever decided by the old one and was held
    /// up before it could be seen is too late.
    #[inline(never)] // Out of the way of those that ask.
    pub fn force(&self, now: Instant, mode: Mode) -> Option<Transition> {
        self.set_mode(Some(Moment::of(now)), mode)
    }

    /// The same by a configuration, which has no clock.
    pub(crate) fn configure(&self, mode: Mode) {
        self.set_mode(None, mode);
    }

    #[inline(always)] // As `force`.
    fn set_mode(&self, now: Option<Moment>, mode: Mode) -> Option<Transition> {
        // Where both words move at once, the mode and its phase can.
        if TOGETHER || ONE_STEP {
            return self.update(Asking::Going, |circuit| circuit.forced(now, mode, READ));
        }
        self.update(Asking::Going, |circuit| (circuit.expired(now, mode, READ), ()));
        let had = self.update(Asking::Going, |circuit| {
            (circuit.with_mode(mode, READ), circuit.has_mode(mode))
        });
        // By the mode that is then in the circuit: another caller may have set one since. And if it
        // was there before: whoever set it may be held up.
        self.update(Asking::Going, |circuit| match had || IN_EPOCH {
            true if LEFT_TO_OTHERS => (circuit, None),
            true => circuit.conformed(now),
            false => circuit.begun(now, READ),
        })
    }

    /// Closes it and forgets what it counted. See [`Circuit::reset`].
    pub fn reset(&self) -> Option<Transition> {
        self.update(Asking::Going, Circuit::reset)
    }

    /// The circuit as it is.
    #[must_use]
    pub fn load(&self) -> Circuit {
        let (hot, cold) = self.words.load();
        Circuit::of_words(hot, cold)
    }

    /// Replaces the circuit by what `step` makes of it, and returns what else `step` says.
    fn update<T>(&self, asking: Asking, step: impl Fn(Circuit) -> (Circuit, T)) -> T {
        loop {
            if let Some(output) = self.try_update(asking, &step) {
                return output;
            }
        }
    }

    /// The same, unless another caller is faster.
    #[inline(always)]
    fn try_update<T>(&self, asking: Asking, step: impl Fn(Circuit) -> (Circuit, T)) -> Option<T> {
        let moved = self.words.update_together(|hot, cold| {
            let (next, output) = step(Circuit::of_words(hot, cold));
            (next.to_bits(), output)
        });
        if moved.is_some() {
            return moved;
        }
        let circuit = self.load_for(asking);
        let (next, output) = step(circuit);
        if self.replace(circuit, next) { Some(output) } else { None }
    }

    /// The circuit; if it is to move, with a cold word that its next transition may leave behind.
    #[inline(never)] // Once for all that moves it, out of the way of what only reads it.
    fn load_for(&self, asking: Asking) -> Circuit {
        loop {
            let circuit = self.load();
            if !matches!(asking, Asking::Going) || !circuit.must_catch_up() {
                return circuit;
            }
            let next = circuit.caught_up();
            if self.replace(circuit, next) {
                return next;
            }
        }
    }

    /// Whether `next` took the place of `seen`: unless another caller was faster.
    #[inline(never)]
    fn replace(&self, seen: Circuit, next: Circuit) -> bool {
        let order = if seen.epoch() == next.epoch() { WITHIN_EPOCH } else { AT_TRANSITION };
        self.words.replace(seen.to_bits(), next.to_bits(), order)
    }
}

impl Default for SharedCircuit {
    fn default() -> Self {
        Self::new()
    }
}

impl Circuit {
    /// What a breaker with this circuit is doing; in shadow, what it would be doing.
    #[must_use]
    pub const fn state(self, rule: &Rule, now: Instant) -> State {
        match (self.mode(), self.phase()) {
            (Mode::ForcedOpen, _) => State::Open,
            (Mode::ForcedClosed, _) | (_, Phase::Closed { .. }) => State::Closed,
            (_, Phase::Open { .. }) if self.decides_to_wait(rule, Moment::of(now)).is_some() => {
                State::Open
            }
            (_, Phase::Open { .. } | Phase::HalfOpen { .. }) => State::HalfOpen,
        }
    }
}

impl<B: Borrow<Breaker>> Guarded for B {
    type Followed<'a>
        = &'a Rule
    where
        Self: 'a;

    fn shared(&self) -> &SharedCircuit {
        &self.borrow().circuit
    }

    fn rule(&self) -> &Rule {
        &self.borrow().rule
    }
}

impl<B: Guarded> Permit<B> {
    /// Asks `breaker` for leave to make an attempt. The permit keeps the handle.
    ///
    /// # Errors
    ///
    /// It is open, or all its probes are under way.
    pub fn try_acquire(breaker: B, now: Instant) -> Result<Self, BreakerOpen> {
        let (ticket, half_opened) = breaker.shared().admit_by(|| breaker.rule(), now)?;
        Ok(Self { breaker, ticket, held: true, half_opened })
    }

    /// Reports how the attempt ended.
    pub fn settle(mut self, now: Instant, outcome: Outcome) -> Settled {
        self.held = false;
        self.breaker.shared().settle_by(|| self.breaker.rule(), now, self.ticket, outcome)
    }

    /// Reports how the attempt ended and that it took so long, to the breaker and to `evidence`, by
    /// which the breaker may open, too.
    pub fn settle_with(
        mut self,
        now: Instant,
        outcome: Outcome,
        took: Duration,
        evidence: &dyn Evidence,
    ) -> Settled {
        self.held = false;
        let ended = (outcome, took);
        self.breaker.shared().settle_with(|| self.breaker.rule(), now, self.ticket, ended, evidence)
    }

    /// The transition that admitting this attempt made: it was the first probe.
    #[must_use]
    pub const fn transition(&self) -> Option<Transition> {
        if self.half_opened { Some(Transition::HalfOpened) } else { None }
    }

    /// Whether the breaker would have refused, but for its [mode](Mode): the outcome counts for
    /// nothing.
    #[must_use]
    pub const fn shadowed(&self) -> bool {
        self.ticket.is_shadowed()
    }
}

impl<B: Guarded> Drop for Permit<B> {
    fn drop(&mut self) {
        if self.held {
            self.breaker.shared().release(self.ticket);
        }
    }
}

impl core::fmt::Display for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.name())
    }
}

impl core::fmt::Display for BreakerOpen {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("breaker open")
    }
}

impl core::error::Error for BreakerOpen {}

/// How [`SharedCircuit::update`] reads the words that it moves.
const READ: Read = if TOGETHER { Read::Whole } else { Read::Apart };

// Within an epoch the cold word changes for a probe's lease, which must be there before the probe
// is: else another caller finds its slot taken under a lease that is over.
#[cfg(not(mutant = "hot_first"))]
const WITHIN_EPOCH: Order = Order::ColdFirst;
#[cfg(not(mutant = "cold_first"))]
const AT_TRANSITION: Order = Order::HotFirst;
// The wrong way round, for `tests/loom.rs` to show which models catch it.
#[cfg(mutant = "hot_first")]
const WITHIN_EPOCH: Order = Order::HotFirst;
#[cfg(mutant = "cold_first")]
const AT_TRANSITION: Order = Order::ColdFirst;

// Ways to force and to reset that do not hold, for the same.
/// A mode is set together with the transition to it, so that another caller's may overtake it.
const ONE_STEP: bool = cfg!(mutant = "one_step");
/// Whoever decided by the old mode may still say so.
const IN_EPOCH: bool = cfg!(mutant = "in_epoch");
/// Who finds the mode set leaves the transition to whoever set it.
const LEFT_TO_OTHERS: bool = cfg!(mutant = "left_to_others");
