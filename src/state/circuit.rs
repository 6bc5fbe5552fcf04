//! The circuit breaker as arithmetic: two words, a rule and a time in; the next words out.

use core::time::Duration;

use super::mode::Mode;
use super::rule::{COUNT, HISTORY, LEVEL, Rule, Span, TICK_SHIFT, Trip, before};
use crate::clock::{Instant, duration};
use crate::fault;

/// A breaker's whole state: a hot word that decides, and a cold one that follows it at transitions.
///
/// | bits  | hot   | closed                    | open               | half-open                   |
/// |-------|-------|---------------------------|--------------------|-----------------------------|
/// | 30‥32 | phase | `00`                      | `01`               | `10`                        |
/// | 24‥30 | epoch | moves at each transition, so that a late outcome finds itself stale |||
/// | 0‥24  |       | last 23 outcomes, newest lowest, a failure 1 | until when, in ticks | admissions (12‥24), probes in flight (6‥12), succeeded (0‥6) |
///
/// | bits  | cold                                                                            |
/// |-------|---------------------------------------------------------------------------------|
/// | 30‥32 | mode: `00` normal, `01` forced open, `10` forced closed, `11` shadow            |
/// | 24‥30 | epoch of the hot word that the rest belongs to                                  |
/// | 20‥24 | level: openings since it was last closed, up to 15                              |
/// | 0‥20  | until when the half-open lease runs, in units of eight ticks                    |
///
/// A tick is 2^14 µs (16.384 ms). A closed circuit whose last outcomes were successes is nothing but
/// its epoch, and a success does not change it: that is why a healthy breaker is only read.
///
/// At a transition the hot word moves first. A cold word of another epoch lags behind by the
/// transition that made the hot one, and what it would say follows from the phase; a refused caller
/// writes it. Within an epoch the cold word moves first: a probe's lease is there before the probe.
///
/// The mode is looked at where the hot word does not say closed, so a forced open circuit is Open in
/// its hot word too. All else keeps the mode, and whoever decided by another one loses the cold word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Circuit {
    hot: u32,
    cold: u32,
}

/// What a circuit's hot word says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Phase {
    /// Attempts go through and are counted.
    Closed {
        /// The last outcomes, newest lowest, a failure 1.
        history: u32,
    },
    /// Attempts are refused.
    Open {
        /// When it ends, in ticks of 2^14 µs, modulo 2^24 (about 76 hours).
        until: u32,
    },
    /// A few probes go through, to see.
    HalfOpen {
        /// Probes under way.
        in_flight: u32,
        /// Probes that succeeded.
        succeeded: u32,
    },
}

/// Leave to make one attempt, good for the epoch that gave it and for a limited time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "settle it or release it"]
pub struct Ticket(u32);

/// The answer to a request to make an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "an admitted attempt is settled or released by its ticket"]
pub enum Admission {
    /// Go ahead. It may have made the circuit half-open.
    Admitted(Ticket, Option<Transition>),
    /// The circuit is open, or its probes are under way.
    Refused,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome {
    /// It worked.
    Success,
    /// It failed, and that says something about the other side.
    Failure,
}

/// What a settled attempt brought about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Settled {
    /// It was counted.
    Counted,
    /// It was counted, and moved the circuit.
    Moved(Transition),
    /// It came too late and changed nothing.
    Late,
    /// Its attempt was admitted by the [mode](Mode) alone, so it counts for nothing.
    Shadowed,
}

/// A circuit's change of phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Transition {
    /// Too many failures, a failed probe, or forced.
    Opened,
    /// The open period is over: probes go.
    HalfOpened,
    /// The probes succeeded, or it was forced or reset.
    Closed,
}

/// What who asks is told: an [`Admission`] that says for how long a refusal holds.
#[derive(Clone, Copy)]
pub(super) enum Asked {
    Admitted(Ticket),
    /// As the first probe: the circuit became half-open.
    HalfOpened(Ticket),
    Refused(Wait),
}

/// What is told of an attempt.
#[derive(Clone, Copy)]
pub(super) enum Told {
    Ended(Outcome),
    /// It ended, which was counted, and by other evidence that is enough to open.
    Enough,
}

/// How the two words of a circuit were read.
#[derive(Clone, Copy)]
pub(super) enum Read {
    /// Another caller may have moved one and not yet the other.
    Apart,
    /// In one piece, as all that moves them leaves them: the cold word does not lag, a closed circuit's
    /// level is 0, and the phase is what the mode asks for.
    Whole,
}

/// An instant, in 32 bits at a time for cores that reckon in no more.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    /// Coarse time, modulo 2^32.
    tick: u32,
    /// In microseconds, modulo 2^32.
    low: u32,
}

/// For how long a circuit refuses, from the beginning of the tick that is now: in ticks, or else one
/// of the constants.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Wait(u32);

impl Circuit {
    /// Closed, without a failure.
    pub const CLOSED: Self = Self { hot: 0, cold: 0 };

    /// Asks for leave to make an attempt.
    ///
    /// An open circuit admits again once its period is over, as the first of its probes. A half-open
    /// one admits while a probe is left, and past its lease replaces the probes under way: their
    /// outcomes then come late.
    ///
    /// That is what it decides; a [mode](Mode) may have it do otherwise.
    pub const fn admit(self, rule: &Rule, now: Instant) -> (Self, Admission) {
        let (next, asked) = self.ask(rule, Moment::of(now), Read::Apart);
        let admission = match asked {
            Asked::Admitted(ticket) => Admission::Admitted(ticket, None),
            Asked::HalfOpened(ticket) => Admission::Admitted(ticket, Some(Transition::HalfOpened)),
            Asked::Refused(_) => Admission::Refused,
        };
        (next, admission)
    }

    /// [`admit`](Self::admit) that says of a refusal for how long it holds.
    #[inline(always)] // Into the one that asks.
    pub(super) const fn ask(self, rule: &Rule, now: Moment, read: Read) -> (Self, Asked) {
        let (next, wait) = if self.has_mode(Mode::ForcedOpen) {
            (self, Some(Wait::FOREVER))
        } else if self.is_closed() {
            (self, None)
        } else if read.apart() && self.has_mode(Mode::ForcedClosed) {
            (self, Some(Wait::FOREVER))
        } else {
            self.decide(rule, now, read)
        };
        let asked = match wait {
            Some(_) if self.refuses_nobody() => Asked::Admitted(Ticket::SHADOWED),
            Some(wait) => Asked::Refused(wait),
            None if self.is_open() => Asked::HalfOpened(next.ticket(now)),
            None => Asked::Admitted(next.ticket(now)),
        };
        (next, asked)
    }

    /// What a circuit that is not closed decides: for how long it refuses, if it does.
    #[inline(always)] // As `ask`.
    const fn decide(self, rule: &Rule, now: Moment, read: Read) -> (Self, Option<Wait>) {
        let (half_open, most) = (self.is_half_open(), rule.probe_count());
        let level = self.level_of(read);
        let mut wait = None;
        let hot = if half_open && self.has_slot(most) {
            // The lease is that of the youngest probe: none is replaced before its own is over.
            self.next_turn()
        } else {
            wait = self.waits_for(rule, now, level, read);
            if wait.is_none() {
                // Nobody else's outcome is awaited any more, so this probe gets an epoch and a lease
                // of its own. What succeeded counts on; but a rule of fewer probes may have come
                // meanwhile, and one more success must still close it.
                let succeeded = match half_open {
                    true if self.succeeded() < most => self.succeeded(),
                    true => most - 1,
                    false => 0,
                };
                self.next_epoch() | pack(Phase::HalfOpen { in_flight: 1, succeeded })
            } else if half_open && read.apart() && self.lags() {
                // Whoever made it half-open has not written its lease yet, and may never.
                self.hot
            } else {
                return (self, wait);
            }
        };
        let until = now.tick_after(rule.lease).wrapping_add(LEASE_UNIT - 1) >> LEASE_SHIFT;
        let kept = match read {
            Read::Whole => self.cold & (MODE_BITS | LEVEL << LEVEL_SHIFT),
            Read::Apart => self.cold & MODE_BITS | level << LEVEL_SHIFT,
        };
        (Self { hot, cold: kept | hot & EPOCH_BITS | until & LEASES }, wait)
    }

    /// Whether [`admit`](Self::admit) would admit at `now`, without asking for it.
    #[must_use]
    pub const fn would_admit(self, rule: &Rule, now: Instant) -> bool {
        matches!(self.admit(rule, now).1, Admission::Admitted(..))
    }

    /// Reports how an admitted attempt ended, at `now`.
    ///
    /// The outcome of an attempt that another epoch admitted, or too long ago, changes nothing.
    pub const fn settle(
        self,
        rule: &Rule,
        now: Instant,
        ticket: Ticket,
        outcome: Outcome,
    ) -> (Self, Settled) {
        self.count(rule, Moment::of(now), ticket, Told::Ended(outcome), Read::Apart)
    }

    /// What [`settle`](Self::settle) and [`trip`](Self::trip) do.
    #[inline(always)] // Into the one that settles.
    pub(super) const fn count(
        self,
        rule: &Rule,
        now: Moment,
        ticket: Ticket,
        told: Told,
        read: Read,
    ) -> (Self, Settled) {
        if !self.honours(rule, now, ticket, read) {
            // No circuit honours a shadowed one.
            let settled = if ticket.is_shadowed() { Settled::Shadowed } else { Settled::Late };
            return (self, settled);
        }
        let failed = !matches!(told, Told::Ended(Outcome::Success));
        if self.is_closed() {
            let (next, trips) = match told {
                Told::Enough => (self, true),
                Told::Ended(_) => {
                    let next = self.with_outcome(failed);
                    (next, failed && next.trips(rule.trip()))
                }
            };
            if !trips || self.has_mode(Mode::ForcedClosed) {
                return (next, Settled::Counted);
            }
        } else if matches!(told, Told::Enough) {
            return (self, Settled::Counted);
        } else if !failed && self.succeeded() + 1 < rule.probe_count() {
            return (self.with_one_less().with_success(), Settled::Counted);
        }
        let (phase, level, moved) = match failed {
            true => self.opened(rule, now, read),
            false => (Phase::Closed { history: 0 }, 0, Transition::Closed),
        };
        (self.enter(phase, level), Settled::Moved(moved))
    }

    /// Opens on evidence other than its history: on what else the outcome of `ticket`, which it
    /// counted while closed, says.
    pub const fn trip(self, rule: &Rule, now: Instant, ticket: Ticket) -> (Self, Settled) {
        match self.count(rule, Moment::of(now), ticket, Told::Enough, Read::Apart) {
            (next, Settled::Moved(moved)) => (next, Settled::Moved(moved)),
            (next, _) => (next, Settled::Counted),
        }
    }

    /// Gives a ticket back: the attempt was not made, or says nothing.
    #[must_use]
    pub const fn release(self, ticket: Ticket) -> Self {
        match self.is_half_open() && (self.gave(ticket) || fault::STALE_RELEASE) {
            true => self.with_one_less(),
            false => self,
        }
    }

    /// The same circuit in another mode, and the transition that makes, if any.
    ///
    /// What is under way when it is forced open or closed comes too late. The mode that it has
    /// already changes nothing.
    pub const fn force(self, now: Instant, mode: Mode) -> (Self, Option<Transition>) {
        self.forced(Some(Moment::of(now)), mode, Read::Apart)
    }

    /// What [`force`](Self::force) does; `now` if somebody knows it.
    #[inline(always)] // Into the one that is told.
    pub(super) const fn forced(
        self,
        now: Option<Moment>,
        mode: Mode,
        read: Read,
    ) -> (Self, Option<Transition>) {
        // Nothing expires where the mode stays.
        if self.has_mode(mode) && (!read.apart() || self.conforms()) {
            (self, None)
        } else {
            self.expired(now, mode, read).with_mode(mode, read).begun(now, read)
        }
    }

    /// Closed without a failure, in that mode.
    pub(super) const fn in_mode(mode: Mode) -> Self {
        Self::CLOSED.forced(None, mode, Read::Apart).0
    }

    /// Closed with an empty history, in a new epoch: what is under way comes too late. The mode
    /// stays: forced open, it forgets how often it opened and nothing else.
    pub const fn reset(self) -> (Self, Option<Transition>) {
        match (self.mode(), self.phase()) {
            (Mode::ForcedOpen, Phase::Open { .. }) => (self.with_cold(0, 0), None),
            (_, Phase::Closed { .. }) if RESET_IN_EPOCH => {
                (self.with(Phase::Closed { history: 0 }), None)
            }
            _ => self.closed(0),
        }
    }

    /// For how long it still refuses: between zero and the period of its [level](Self::level).
    ///
    /// Half-open with all its probes under way, that is what is left of their lease. Forced open, it
    /// is the whole period, for nobody knows when that ends.
    #[must_use]
    pub const fn remaining(self, rule: &Rule, now: Instant) -> Duration {
        let longest = match (self.mode(), self.phase()) {
            (Mode::ForcedOpen, _) | (_, Phase::Open { .. }) => self.open_span(rule).micros(),
            _ => rule.lease.micros(),
        };
        let left = match self.refuses_for(rule, Moment::of(now)) {
            Some(wait) => wait.micros(rule, now),
            None => 0,
        };
        duration(if left < longest { left } else { longest })
    }

    /// The instant at which it will admit, if nothing else happens: [`Instant::MAX`] if it is forced
    /// open.
    #[must_use]
    pub const fn admits_at(self, rule: &Rule, now: Instant) -> Instant {
        match self.refuses_for(rule, Moment::of(now)) {
            Some(wait) => wait.end(rule, now),
            None => now,
        }
    }

    /// What the hot word says.
    #[must_use]
    pub const fn phase(self) -> Phase {
        let payload = self.hot & PAYLOAD;
        match self.hot >> PHASE_SHIFT {
            0 => Phase::Closed { history: payload },
            1 => Phase::Open { until: payload },
            _ => Phase::HalfOpen { in_flight: self.in_flight(), succeeded: self.succeeded() },
        }
    }

    /// Whether everybody is admitted and counts.
    #[must_use]
    pub const fn is_closed(self) -> bool {
        self.hot >> PHASE_SHIFT == 0
    }

    /// What it was told to do.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match (self.cold & MODE_BITS) >> PHASE_SHIFT {
            0 => Mode::Normal,
            1 => Mode::ForcedOpen,
            2 => Mode::ForcedClosed,
            _ => Mode::Shadow,
        }
    }

    /// Openings since it was last closed, up to 15. To be forced open is none.
    #[must_use]
    #[inline(never)] // Once for all that asks.
    pub const fn level(self) -> u32 {
        let written = self.written_level();
        if self.is_closed() {
            return 0;
        }
        // A lagging cold word is one opening behind an open circuit, and none behind the half-open one
        // that follows it, or one that was forced open.
        let behind = self.must_catch_up() && !self.has_mode(Mode::ForcedOpen);
        if behind && written < LEVEL { written + 1 } else { written }
    }

    /// The same, of words that were so read.
    const fn level_of(self, read: Read) -> u32 {
        match read {
            Read::Apart => self.level(),
            Read::Whole => self.written_level(),
        }
    }

    /// The words themselves, hot and cold.
    #[must_use]
    pub const fn to_bits(self) -> (u32, u32) {
        (self.hot, self.cold)
    }

    /// The circuit that these words say. Any words do: no circuit is without a way out.
    #[must_use]
    pub const fn from_bits(hot: u32, cold: u32) -> Self {
        // No phase is `11`, which a shadowed ticket is to be unlike all.
        let hot = if hot >> PHASE_SHIFT == 3 { hot & !UNCOUNTED_BIT } else { hot };
        Self { hot, cold }
    }

    /// The circuit of words that [`to_bits`](Self::to_bits) gave.
    pub(super) const fn of_words(hot: u32, cold: u32) -> Self {
        Self { hot, cold }
    }

    /// Whether the hot word is all it takes to admit: the circuit is closed.
    pub(super) const fn admits_by(hot: u32, now: Moment) -> Option<Ticket> {
        if hot >> PHASE_SHIFT == 0 { Some(Self::of_words(hot, 0).ticket(now)) } else { None }
    }

    /// Whether a circuit with this hot word counts a success of `ticket` without moving.
    ///
    /// A closed circuit's ticket is good for 15 minutes at least, whatever the rule.
    pub(super) const fn unmoved_by_success(hot: u32, now: Moment, ticket: Ticket) -> bool {
        hot == ticket.0 & !TICKS && ticket.age(now) < QUARTER
    }

    const fn refuses_for(self, rule: &Rule, now: Moment) -> Option<Wait> {
        match self.mode() {
            Mode::Normal => self.decides_to_wait(rule, now),
            Mode::ForcedOpen => Some(Wait::FOREVER),
            Mode::ForcedClosed | Mode::Shadow => None,
        }
    }

    /// For how long it decides to refuse.
    pub(super) const fn decides_to_wait(self, rule: &Rule, now: Moment) -> Option<Wait> {
        match self.is_half_open() && self.has_slot(rule.probe_count()) || self.is_closed() {
            true => None,
            false => self.waits_for(rule, now, self.level(), Read::Apart),
        }
    }

    /// The same, of a circuit that is open at `level`, or half-open without a slot.
    ///
    /// Threads read clocks out of order, and clocks step. A reading a little before the one that set
    /// the end finds a little more left than the rule explains; one from far away finds nonsense, and
    /// the wait over.
    #[inline(always)]
    const fn waits_for(self, rule: &Rule, now: Moment, level: u32, read: Read) -> Option<Wait> {
        // The end is in whole ticks, or in units of eight: up to so many ticks `beyond` what was meant.
        let (until, modulus, beyond, span) = if self.is_half_open() {
            if self.in_flight() == 0 {
                return None;
            }
            if read.apart() && self.lags() {
                return Some(Wait::LEASE);
            }
            (
                self.cold << LEASE_SHIFT,
                LEASES << LEASE_SHIFT | (LEASE_UNIT - 1),
                LEASE_UNIT - 1,
                rule.lease,
            )
        } else {
            (self.hot, TICKS, 0, rule.open_span(before(level)))
        };
        let left = until.wrapping_sub(now.tick) & modulus;
        let most = span.plus(STEP_TOLERANCE).ticks() + beyond;
        if 0 < left && left <= most { Some(Wait(left)) } else { None }
    }

    /// What it becomes when it opens, for as long as the rule says.
    #[inline(always)] // As `enter`.
    const fn opened(self, rule: &Rule, now: Moment, read: Read) -> (Phase, u32, Transition) {
        let level = if read.apart() && self.is_closed() { 0 } else { self.written_level() };
        let before = if level < LEVEL { level } else { LEVEL - 1 };
        let until = now.tick_after(rule.open_span(before)) & TICKS;
        (Phase::Open { until }, before + 1, Transition::Opened)
    }

    /// The open period that it is in, if it is open.
    const fn open_span(self, rule: &Rule) -> Span {
        rule.open_span(before(self.level()))
    }

    /// The first step to another mode: an open period that was forced, and is to be no longer, ends
    /// now. Nothing changes until the mode does.
    ///
    /// Where nobody knows when now is, it ends as a half-open circuit without probes, which admits by
    /// any reading.
    pub(super) const fn expired(self, now: Option<Moment>, mode: Mode, read: Read) -> Self {
        // Read in one piece, it is only asked where the mode changes.
        let stays = read.apart() && matches!(mode, Mode::ForcedOpen);
        let ends = self.has_mode(Mode::ForcedOpen) && !stays;
        if !ends || read.apart() && !self.is_open() {
            return self;
        }
        self.with(match now {
            Some(now) => Phase::Open { until: now.tick & TICKS },
            None => Phase::HalfOpen { in_flight: 0, succeeded: 0 },
        })
    }

    /// The second step: the mode alone. A lagging cold word says first what the old mode has it say.
    pub(super) const fn with_mode(self, mode: Mode, read: Read) -> Self {
        if self.has_mode(mode) {
            return self;
        }
        let caught_up = if read.apart() && self.must_catch_up() { self.caught_up() } else { self };
        let bits = match mode {
            Mode::Normal => 0,
            Mode::ForcedOpen => 1,
            Mode::ForcedClosed => 2,
            Mode::Shadow => 3,
        };
        Self { cold: caught_up.cold & !MODE_BITS | bits << PHASE_SHIFT, ..caught_up }
    }

    /// The third step, to a forced mode: a new epoch, for whoever decided by the old mode and has yet
    /// to say so.
    pub(super) const fn begun(self, now: Option<Moment>, read: Read) -> (Self, Option<Transition>) {
        if self.has_mode(Mode::ForcedOpen) {
            // It is over when the mode changes, whatever it says now.
            let until = match now {
                Some(now) => now.tick & TICKS,
                None => 0,
            };
            let moved = if self.is_open() { None } else { Some(Transition::Opened) };
            (self.enter(Phase::Open { until }, self.level_of(read)), moved)
        } else if self.has_mode(Mode::ForcedClosed) {
            self.closed(if self.is_closed() { self.hot & PAYLOAD } else { 0 })
        } else {
            (self, None)
        }
    }

    /// The same circuit, in the phase that its mode asks for.
    pub(super) const fn conformed(self, now: Option<Moment>) -> (Self, Option<Transition>) {
        if self.conforms() { (self, None) } else { self.begun(now, Read::Apart) }
    }

    /// Whether it is in the phase that its mode asks for, if it asks for one.
    const fn conforms(self) -> bool {
        (self.is_open() || !self.has_mode(Mode::ForcedOpen))
            && (self.is_closed() || !self.has_mode(Mode::ForcedClosed))
    }

    /// Whether the mode admits whom it decides to refuse.
    const fn refuses_nobody(self) -> bool {
        matches!(self.mode(), Mode::ForcedClosed | Mode::Shadow)
    }

    pub(super) const fn has_mode(self, mode: Mode) -> bool {
        self.mode() as u32 == mode as u32
    }

    /// Closed because somebody said so.
    #[inline(always)] // As `enter`.
    const fn closed(self, history: u32) -> (Self, Option<Transition>) {
        let moved = if self.is_closed() { None } else { Some(Transition::Closed) };
        (self.enter(Phase::Closed { history }, 0), moved)
    }

    /// Whether `ticket` is of this epoch and young enough, and the mode lets it count.
    const fn honours(self, rule: &Rule, now: Moment, ticket: Ticket, read: Read) -> bool {
        // Forced open it is in a phase of which no ticket is, and forced closed it is closed.
        let heeded = !read.apart()
            || !self.has_mode(Mode::ForcedOpen)
                && (!self.has_mode(Mode::ForcedClosed) || self.is_closed());
        heeded && self.gave(ticket) && ticket.age(now) <= self.ticket_ticks(rule)
    }

    /// How old a ticket may get: what a wrapped epoch would otherwise let in is older.
    const fn ticket_ticks(self, rule: &Rule) -> u32 {
        if self.is_half_open() {
            return rule.lease.ticks();
        }
        let periods = rule.open_for.ticks_of_sixteen();
        if periods > QUARTER { periods } else { QUARTER }
    }

    /// Whether `ticket` is of this epoch, and a probe's exactly if this circuit is half-open: an
    /// epoch that came round makes no probe of an attempt that a closed circuit admitted.
    const fn gave(self, ticket: Ticket) -> bool {
        (ticket.0 ^ self.hot) & !TICKS == 0
    }

    const fn ticket(self, now: Moment) -> Ticket {
        Ticket(self.hot & !TICKS | now.tick & TICKS)
    }

    pub(super) const fn epoch(self) -> u32 {
        self.hot >> EPOCH_SHIFT & EPOCH
    }

    const fn is_open(self) -> bool {
        self.hot & OPEN_BIT != 0
    }

    const fn is_half_open(self) -> bool {
        self.hot & HALF_OPEN_BIT != 0
    }

    /// Probes under way, of a half-open circuit.
    const fn in_flight(self) -> u32 {
        self.hot >> COUNT_SHIFT & COUNT
    }

    /// Probes that succeeded, of a half-open circuit.
    const fn succeeded(self) -> u32 {
        self.hot & COUNT
    }

    /// Whether a half-open circuit has probes under way and lets another go beside them.
    const fn has_slot(self, most: u32) -> bool {
        // Where one is all there are, none goes beside it: the compiler drops the rest of it.
        self.in_flight() > 0 && 1 < most && self.in_flight() + self.succeeded() < most
    }

    const fn written_level(self) -> u32 {
        self.cold >> LEVEL_SHIFT & LEVEL
    }

    /// Whether the cold word belongs to an earlier epoch than the hot one.
    pub(super) const fn lags(self) -> bool {
        (self.cold ^ self.hot) & EPOCH_BITS != 0
    }

    const fn with_cold(self, level: u32, lease: u32) -> Self {
        let cold = self.cold & MODE_BITS | self.hot & EPOCH_BITS | level << LEVEL_SHIFT | lease;
        Self { cold, ..self }
    }

    /// The same epoch with other contents.
    const fn with(self, phase: Phase) -> Self {
        Self { hot: pack(phase) | self.hot & EPOCH_BITS, ..self }
    }

    /// The hot word of this half-open circuit with one more probe under way, which this epoch has not
    /// had: who found its probes overdue must not replace one that came into a slot given back since.
    const fn next_turn(self) -> u32 {
        self.hot & !PAYLOAD | self.hot.wrapping_add(TURN + PROBE) & PAYLOAD
    }

    /// The next epoch, in a hot word that says nothing else.
    const fn next_epoch(self) -> u32 {
        self.hot.wrapping_add(1 << EPOCH_SHIFT) & EPOCH_BITS
    }

    /// The same half-open circuit with one probe less under way, if there is one.
    const fn with_one_less(self) -> Self {
        let less = if self.in_flight() > 0 { PROBE } else { 0 };
        Self { hot: self.hot - less, ..self }
    }

    /// The same half-open circuit with one more success, for which its count has room.
    const fn with_success(self) -> Self {
        Self { hot: self.hot + 1, ..self }
    }

    /// The same closed circuit with one more outcome.
    const fn with_outcome(self, failed: bool) -> Self {
        self.with(Phase::Closed { history: (self.hot << 1 | failed as u32) & HISTORY_BITS })
    }

    /// Whether a closed circuit has seen the failures that open it.
    const fn trips(self, trip: Trip) -> bool {
        // The failures but one are taken away, for few cores count ones in one instruction.
        let mut counted = self.hot << (u32::BITS - trip.window());
        let mut left = trip.failures();
        while left > 1 {
            counted &= counted.wrapping_sub(1);
            left -= 1;
        }
        counted != 0
    }

    /// Whether the cold word must be written before the next transition: what a cold word says of a
    /// circuit that is closed or open can be told for one transition, not for two.
    pub(super) const fn must_catch_up(self) -> bool {
        self.lags() && !self.is_half_open()
    }

    /// The same circuit with a cold word of its own epoch.
    pub(super) const fn caught_up(self) -> Self {
        self.with_cold(self.level(), 0)
    }

    /// The next epoch, with a cold word that says so.
    #[inline(always)] // What is packed is known where it is called.
    const fn enter(self, phase: Phase, level: u32) -> Self {
        Self { hot: self.next_epoch() | pack(phase), ..self }.with_cold(level, 0)
    }
}

impl Ticket {
    /// As no circuit's hot word begins.
    const SHADOWED: Self = Self(HALF_OPEN_BIT | UNCOUNTED_BIT);

    /// Whether the [mode](Mode) alone admitted the attempt, which would have been refused.
    #[must_use]
    pub const fn is_shadowed(self) -> bool {
        self.0 >> PHASE_SHIFT == 3
    }

    /// Whether a half-open circuit gave it, and counts it.
    pub(super) const fn is_probe(self) -> bool {
        self.0 >> PHASE_SHIFT == 2
    }

    /// The epoch in which a closed circuit gave it.
    pub(super) const fn closed_in(self) -> Option<u32> {
        if self.0 >> PHASE_SHIFT == 0 { Some(self.0 >> EPOCH_SHIFT & EPOCH) } else { None }
    }

    /// Its age in ticks: zero if the clock stepped back behind it, by less than [`STEPS_BACK`].
    const fn age(self, now: Moment) -> u32 {
        let age = now.tick.wrapping_sub(self.0) & TICKS;
        if age < TICKS - STEPS_BACK { age } else { 0 }
    }
}

impl Read {
    const fn apart(self) -> bool {
        matches!(self, Self::Apart)
    }
}

impl Moment {
    pub(super) const fn of(now: Instant) -> Self {
        let micros = now.as_micros();
        Self { tick: (micros >> TICK_SHIFT) as u32, low: micros as u32 }
    }

    /// The first tick that begins a whole `span` after this or later, modulo 2^32.
    const fn tick_after(self, span: Span) -> u32 {
        self.tick.wrapping_add(span.ticks_from(self.low & (TICK - 1) as u32))
    }
}

impl Wait {
    /// As long as the mode stays.
    const FOREVER: Self = Self(u32::MAX);
    /// A whole lease, from now.
    const LEASE: Self = Self(u32::MAX - 1);

    #[inline(never)] // Once for all that is refused.
    pub(super) const fn end(self, rule: &Rule, now: Instant) -> Instant {
        now.plus(self.micros(rule, now))
    }

    const fn micros(self, rule: &Rule, now: Instant) -> u64 {
        match self {
            Self::FOREVER => u64::MAX,
            Self::LEASE => rule.lease.micros(),
            Self(ticks) => ((ticks as u64) << TICK_SHIFT) - (now.as_micros() & (TICK - 1)),
        }
    }
}

/// A hot word of epoch 0.
const fn pack(phase: Phase) -> u32 {
    match phase {
        Phase::Closed { history } => history,
        Phase::Open { until } => 1 << PHASE_SHIFT | until,
        Phase::HalfOpen { in_flight, succeeded } => {
            2 << PHASE_SHIFT | in_flight << COUNT_SHIFT | succeeded
        }
    }
}

const PHASE_SHIFT: u32 = 30;
const EPOCH_SHIFT: u32 = 24;
const EPOCH: u32 = 0x3f;
const EPOCH_BITS: u32 = EPOCH << EPOCH_SHIFT;
const MODE_BITS: u32 = 3 << PHASE_SHIFT;
const LEVEL_SHIFT: u32 = 20;
const PAYLOAD: u32 = 0x00ff_ffff;
const COUNT_SHIFT: u32 = 6;
const PROBE: u32 = 1 << COUNT_SHIFT;
const TURN: u32 = 1 << 12;
const HISTORY_BITS: u32 = (1 << HISTORY) - 1;
const TICKS: u32 = PAYLOAD;
/// As no hot word has both this bit and the next.
const OPEN_BIT: u32 = 1 << PHASE_SHIFT;
/// The top bit of a half-open hot word, and of a probe's ticket.
const HALF_OPEN_BIT: u32 = 1 << 31;
/// Beside it in a ticket: it counts for nothing.
const UNCOUNTED_BIT: u32 = 1 << 30;
/// 9.5 hours: how far a clock may step back behind a ticket before that counts as 66 hours of age.
const STEPS_BACK: u32 = 1 << 21;
const LEASES: u32 = 0x000f_ffff;
/// 2^14 µs: 24 bits of them are 76 hours.
const TICK: u64 = 1 << TICK_SHIFT;
/// Eight ticks a unit of the lease: 20 bits of them are 38 hours.
const LEASE_SHIFT: u32 = 3;
const LEASE_UNIT: u32 = 1 << LEASE_SHIFT;
/// How far two readings of a clock may disagree before a deadline is taken for nonsense: 64 s.
const STEP_TOLERANCE: Span = Span::micros_up(64_000_000);
/// 15 minutes in ticks: how old a ticket of a closed circuit may get at least.
const QUARTER: u32 = Span::micros_up(15 * 60 * 1_000_000).ticks();
/// What `tests/loom.rs` breaks: whoever asked before a reset is not told from others.
const RESET_IN_EPOCH: bool = cfg!(mutant = "reset_in_epoch");
