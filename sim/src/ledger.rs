//! What happened, by a count of its own, and what must hold: each promise is checked against it.

use core::time::Duration;
use core::{array, fmt};
use std::sync::Arc;

use steadfast::policy::{Event, Made, Stage};
use steadfast::state::{
    Breaker, Limit as _, LimitRule, Limited, Mode, Phase, Snapshot, State, Taken, Transition,
};
use steadfast::{Budget, Class, Classify as _, Error, Instant, Reason, Retry};

use crate::buckets::{Buckets, Parts};
use crate::clock::Timeline;
use crate::outcomes::Outcomes;
use crate::plan::{S, Shared, Terms};
use crate::provider::Fault;

/// The trace, the calls and the counts of one run.
pub(crate) struct Ledger {
    timeline: Arc<Timeline>,
    trace: Trace,
    calls: Vec<Call>,
    /// Being polled or dropped.
    current: usize,
    /// What is dropped now is dropped by its caller.
    pub(crate) dropping: bool,
    counts: [u64; PARTS],
    calls_begun: u64,
    attempts_made: u64,
    hedges: u64,
    /// Tasks were polled so often, since the first.
    polls: u64,
    /// The counts when the metrics were last reset.
    baseline: [u64; PARTS],
    /// What the breaker was told to do.
    mode: Mode,
    orders: u64,
    /// While it is open.
    open: Option<Open>,
    half_open: bool,
    /// Openings since it was last closed, up to 15; and those that were longer than the first.
    level: u32,
    grown: u64,
    /// Attempts that its mode alone admitted.
    shadowed: u64,
    /// Closed phases and what is not, each with a number.
    phase: u64,
    /// Of the closed phase.
    outcomes: Outcomes,
    /// What the breaker is being told.
    telling: Option<Telling>,
    /// What is left by the limiter, if there is one.
    buckets: Option<Buckets>,
    held: Vec<Held>,
    /// Who reserves by hand, or gives back, and how many did.
    pub(crate) reserving: Option<usize>,
    reservations: usize,
    /// Moves at each taking, charge, other rule and step of the clock.
    takings: u64,
    /// When whoever reserves by hand was told that there is enough, as the takings were then.
    promised: Vec<Promised>,
    /// Of the clock: what was old before one may look young after it.
    steps: u64,
    /// Epochs of probes: one begins when they are replaced, too.
    epoch: u64,
    /// Outcomes of this epoch's probes that came late.
    late: u64,
    /// What the readings had climbed when the shared state was made.
    climbed: u64,
}

struct Call {
    terms: Terms,
    began: Option<u64>,
    attempts: u32,
    under_way: Vec<Attempt>,
    last: Option<Fault>,
    /// What failed while another attempt was under way, since one last began alone.
    besides: Besides,
    /// It failed once by an error that allows one retry.
    retried_once: bool,
    /// The next attempt is made at this time of the clock, or later.
    not_before: u64,
    /// Its attempt that ended, until the next reading, by which that is reported; and how.
    ending: Option<(Attempt, Option<Result<(), Fault>>)>,
    /// Until when the limiter refused it last.
    limited: Option<Instant>,
    promised: Option<Promised>,
    gave_up: bool,
    ended: bool,
}

#[derive(Clone, Copy)]
struct Attempt {
    number: u32,
    granted: u64,
    ends: u64,
    /// The deadline comes first.
    cut: bool,
    probe: bool,
    /// Of that epoch, if it is a probe.
    epoch: u64,
    /// The closed phase in which it began, if it is no probe.
    phase: Option<u64>,
    steps: u64,
}

/// An open period, by the clock.
#[derive(Clone, Copy)]
struct Open {
    since: u64,
    /// Nobody is let through before, and somebody is from then on.
    least: u64,
    most: u64,
}

/// An outcome of an attempt that began in this closed phase, or of a probe of this epoch.
struct Telling {
    probe: bool,
    call: usize,
    now: u64,
    took: u64,
    failed: bool,
    /// So long ago that it may come late.
    old: bool,
    /// Outcomes that had come late before.
    late: u64,
}

/// What was taken for a call that has not begun.
struct Held {
    by_hand: Option<usize>,
    taken: Taken,
    tokens: u32,
    parts: Parts,
    now: u64,
}

/// There is enough at this instant, if nobody else takes any.
#[derive(Clone, Copy)]
struct Promised {
    at: u64,
    takings: u64,
}

/// What of failures has to be remembered until the other attempt has failed too.
#[derive(Clone, Copy, Default)]
struct Besides {
    asked_until: u64,
    never: bool,
    once: bool,
}

/// What is counted, in the order of [`counted`].
#[derive(Clone, Copy)]
enum Part {
    Answered,
    Failed,
    Refused,
    FellBack,
    Dropped,
    AttemptSucceeded,
    AttemptFailed,
    AttemptTimedOut,
    AttemptDropped,
    Retry,
    BreakerOpen,
    BulkheadFull,
    Limited,
    Budget,
    Window,
    Deadline,
    AskedWait,
    Opened,
    HalfOpened,
    Closed,
}

/// How a call ended.
pub(crate) enum Ended {
    Answered,
    GaveUp,
    FellBack,
    Dropped,
}

struct Trace {
    hash: u64,
    events: u64,
    print: bool,
}

impl Ledger {
    pub(crate) fn new(timeline: Arc<Timeline>, print: bool) -> Self {
        Self {
            timeline,
            trace: Trace { hash: 0xcbf2_9ce4_8422_2325, events: 0, print },
            calls: Vec::new(),
            current: 0,
            dropping: false,
            counts: [0; PARTS],
            calls_begun: 0,
            attempts_made: 0,
            hedges: 0,
            polls: 0,
            baseline: [0; PARTS],
            mode: Mode::Normal,
            orders: 0,
            open: None,
            half_open: false,
            level: 0,
            grown: 0,
            shadowed: 0,
            phase: 0,
            outcomes: Outcomes::default(),
            telling: None,
            buckets: None,
            held: Vec::new(),
            reserving: None,
            reservations: 0,
            takings: 0,
            promised: Vec::new(),
            steps: 0,
            epoch: 0,
            late: 0,
            climbed: 0,
        }
    }

    /// The shared state was made anew.
    pub(crate) fn forget(&mut self, shared: &Shared) {
        (self.counts, self.baseline) = ([0; PARTS], [0; PARTS]);
        (self.calls_begun, self.attempts_made, self.hedges) = (0, 0, 0);
        (self.mode, self.orders, self.grown, self.shadowed) = (Mode::Normal, 0, 0, 0);
        self.close();
        self.buckets = shared.limiter.as_ref().map(|limiter| Buckets::new(&limiter.rule()));
        self.climbed = self.timeline.climbs_anew();
    }

    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        let (world, clock) = (self.timeline.world(), self.timeline.clock());
        self.trace.line(&format!("{world:>12} {clock:>12} {what}"));
    }

    // --- What happens ---------------------------------------------------------------------------

    /// A call to come; its number.
    pub(crate) fn call(&mut self, terms: Terms) -> usize {
        self.calls.push(Call {
            terms,
            began: None,
            attempts: 0,
            under_way: Vec::new(),
            last: None,
            besides: Besides::default(),
            retried_once: false,
            not_before: 0,
            ending: None,
            limited: None,
            promised: None,
            gave_up: false,
            ended: false,
        });
        self.calls.len() - 1
    }

    /// Its attempts may outlive their time.
    pub(crate) fn overruns(&self, call: usize) -> bool {
        self.calls[call].terms.overruns
    }

    pub(crate) const fn polling(&mut self, call: usize) {
        self.current = call;
    }

    /// Tokens that each of its attempts is taken to need.
    pub(crate) fn estimate(&self, call: usize) -> u32 {
        self.calls[call].terms.estimate
    }

    /// The call reads the clock.
    pub(crate) fn reads(&mut self, call: usize, reading: u64, shared: &Shared) {
        self.told(shared, false);
        if let Some((attempt, result)) = self.calls[call].ending.take() {
            self.tells(call, reading, attempt, result, shared);
        }
        let entry = &mut self.calls[call];
        if entry.began.is_none() {
            entry.began = Some(reading);
            self.calls_begun += 1;
        }
    }

    /// The operation is asked for an attempt; its number.
    pub(crate) fn attempt(&mut self, call: usize, made: Option<Made>, shared: &Shared) -> u32 {
        let (now, clock) = (self.timeline.last(), self.timeline.clock());
        self.note(format_args!("call {call} attempts"));
        self.told(shared, false);
        self.starts(call, now);
        let shadowed = self.is_shadowed(shared);
        let phase = (!self.half_open && !shadowed).then_some(self.phase);
        let half_open = self.half_open && !shadowed;
        if half_open {
            let breaker = shared.breaker.as_ref().expect("it moved");
            let lease = breaker.rule().lease_for().as_micros() as u64;
            let young = |probe: &Attempt| {
                probe.probe
                    && probe.steps == self.steps
                    && now.saturating_sub(probe.granted) < lease
            };
            let young = self.under_way().filter(|probe| young(probe)).count();
            let most = breaker.rule().probe_count() as usize;
            assert!(young < most, "call {call} is probe {} of {most}", young + 1);
            // None is left of those before.
            if let Phase::HalfOpen { in_flight: 1, .. } = breaker.circuit().phase() {
                self.next_epoch();
            }
        }
        let open = self.open.is_some() && !shadowed;
        assert!(!open, "call {call} attempts while the breaker is open: {:?}", self.mode);

        let (entry, steps, epoch) = (&mut self.calls[call], self.steps, self.epoch);
        entry.attempts += 1;
        let (number, terms) = (entry.attempts, entry.terms);
        let (began, not_before) = (entry.began.unwrap_or(now), entry.not_before);
        let window = began.saturating_add(terms.window);
        let deadline = began.saturating_add(terms.deadline);
        let timeout = now.saturating_add(terms.attempt_timeout);
        let (ends, cut) = (timeout.min(deadline), deadline < timeout);
        let besides = entry.under_way.len();
        if besides == 0 {
            entry.besides = Besides::default();
        }
        entry.promised = None;
        let (granted, probe) = (now, half_open);
        let attempt = Attempt { number, granted, ends, cut, probe, epoch, phase, steps };
        entry.under_way.push(attempt);
        let most = if terms.hedges { 2 } else { 1 };
        self.attempts_made += 1;
        self.hedges += besides as u64;
        if number > 1 {
            self.count(Part::Retry);
        }

        assert!(besides < most, "call {call} has {} attempts under way", besides + 1);
        assert!(besides == 0 || !half_open, "call {call} hedges with a probe");
        assert!(number <= terms.attempts, "call {call} makes attempt {number}");
        assert!(now < deadline, "call {call} attempts at its deadline or later");
        assert!(clock >= not_before, "call {call} attempts {} µs early", not_before - clock);
        assert!(number == 1 || now <= window, "call {call} retries after its window");
        if let Some(made) = made {
            let left = made.time_left.as_micros() as u64;
            assert!(made.attempt == number, "call {call} is told the wrong number");
            assert!(left == ends - now, "call {call} has {} µs and is told {left}", ends - now);
        }
        number
    }

    /// No second attempt is made now, for `reason` if an event told one.
    pub(crate) fn no_second(&mut self, call: usize, reason: Option<Reason>, shared: &Shared) {
        self.note(format_args!("call {call} does not hedge"));
        let entry = &self.calls[call];
        let closed = self.is_closed();
        let asked = closed && entry.attempts < entry.terms.attempts;
        // All is asked for before the budget, which tells nobody.
        let unpaid = asked && reason.is_none();
        assert!(asked || reason.is_none(), "call {call} was not to ask: {reason:?}");
        assert!(!unpaid || shared.budget.is_some(), "call {call} may hedge, and does not");
        let reason = if unpaid { Some(Reason::Budget) } else { reason };
        reason.and_then(refused).into_iter().for_each(|part| self.count(part));
    }

    /// The attempt that ended failed, at `now`, while the other is under way.
    pub(crate) fn failed_besides(&mut self, call: usize, now: Instant) {
        let entry = &mut self.calls[call];
        let Some(verdict) = entry.last.map(|fault| fault.verdict()) else { return };
        let until = verdict.asked_wait().map_or(0, |asked| now.after(asked).as_micros());
        entry.besides.asked_until = entry.besides.asked_until.max(until);
        entry.besides.never |= verdict.retry == Retry::Never;
        entry.besides.once |= verdict.retry == Retry::Once;
    }

    /// The operation's future returns.
    pub(crate) fn replied(&mut self, call: usize, number: u32, result: Result<(), Fault>) {
        self.note(format_args!("call {call} gets {result:?}"));
        let entry = &mut self.calls[call];
        entry.ending = entry.end_attempt(number).map(|attempt| (attempt, Some(result)));
        match result {
            Ok(()) => self.count(Part::AttemptSucceeded),
            Err(fault) => {
                self.count(Part::AttemptFailed);
                self.calls[call].last = Some(fault);
            }
        }
    }

    /// The operation's future is dropped.
    pub(crate) fn dropped(&mut self, call: usize, number: u32) {
        let Some(attempt) = self.calls[call].end_attempt(number) else { return };
        self.note(format_args!("call {call} loses its attempt"));
        match self.dropping {
            true => self.count(Part::AttemptDropped),
            false => {
                self.count(Part::AttemptTimedOut);
                self.calls[call].ending = Some((attempt, None));
            }
        }
        // The next event of this call speaks of a timeout, not of the error before.
        self.calls[call].last = None;
    }

    /// A policy says what it did.
    pub(crate) fn event(&mut self, event: &Event, shared: &Shared) {
        let (call, now) = (self.current, self.timeline.last());
        self.note(format_args!("call {call}: {event}"));
        self.told(shared, matches!(event, Event::Opened));
        match *event {
            Event::Retry { attempt, wait, .. } => {
                self.retries(call, attempt, wait.as_micros() as u64, now)
            }
            Event::Refused { stage, reason: Reason::Limited, wait } => {
                self.limited(call, stage, wait, now)
            }
            Event::Refused { stage, reason: Reason::BreakerOpen, .. } => self.refuses(stage, now),
            Event::Opened => {
                let rule = shared.breaker.as_ref().expect("it moved").rule();
                assert!(self.mode != Mode::ForcedClosed, "the breaker opens, forced closed");
                self.level = (self.level + 1).min(15);
                let period = rule.open_period(self.level);
                self.grown += u64::from(period > rule.open_for());
                let least = now + period.as_micros() as u64;
                self.opens(Open { since: now, least, most: least + TICK });
                self.count(Part::Opened);
            }
            Event::HalfOpened => {
                let Some(open) = self.open.take() else { panic!("half-open, and was not open") };
                assert!(self.mode != Mode::ForcedOpen, "the breaker is half-open, forced open");
                let early = now < open.least && !open.is_forgotten(now);
                assert!(!early, "the breaker is half-open {} µs early", open.least - now);
                self.half_open = true;
                self.next_epoch();
                self.count(Part::HalfOpened);
            }
            Event::Closed => {
                self.close();
                self.count(Part::Closed);
            }
            _ => {}
        }
    }

    fn retries(&mut self, call: usize, attempt: u32, wait: u64, now: u64) {
        let takings = self.takings;
        let entry = &mut self.calls[call];
        entry.promised = Some(Promised { at: now.saturating_add(wait), takings });
        let verdict = entry.last.map(|fault| fault.verdict());
        let asked = verdict.and_then(|verdict| verdict.asked_wait());
        let asked = asked.map_or(0, |asked| asked.as_micros() as u64);
        let besides = entry.besides;
        let asked = asked.max(besides.asked_until.saturating_sub(now));
        let (terms, made, once) = (entry.terms, entry.attempts, entry.retried_once);
        let how = match verdict.map_or(Retry::Yes, |verdict| verdict.retry) {
            _ if besides.never => Retry::Never,
            Retry::Yes if besides.once => Retry::Once,
            how => how,
        };
        entry.retried_once |= how == Retry::Once;
        assert!(entry.under_way.is_empty(), "call {call} retries before its other attempt ends");
        entry.not_before = now.saturating_add(terms.least_wait(made).max(asked));
        assert!(attempt == made, "call {call} counts {attempt} attempts of {made}");
        assert!(how != Retry::Never, "call {call} retries what no retry mends");
        assert!(how != Retry::Once || !once, "call {call} retries twice what may be billed");
        assert!(asked <= terms.max_asked_wait, "call {call} waits {asked} µs as asked");
        assert!(wait >= asked, "call {call} waits {wait} µs, asked for {asked}");
    }

    /// The execution has no answer; a fallback may follow.
    pub(crate) fn gave_up(&mut self, call: usize, error: &Error<Fault>) {
        self.note(format_args!("call {call} gives up: {error}"));
        refused(error.stopped).into_iter().for_each(|part| self.count(part));
        let entry = &mut self.calls[call];
        entry.gave_up = true;
        let (made, said) = (entry.attempts, error.attempts);
        assert!(said == made, "call {call} made {made} attempts and says {said}");
        if error.stopped == Reason::Limited {
            let limited = entry.limited.filter(|&until| until < Instant::MAX);
            let told = limited.is_none() == error.retry_at.is_none() && error.retry_at >= limited;
            assert!(told, "call {call} is limited until {limited:?}, and says {error:?}");
        }
    }

    // --- What an operator tells the breaker -----------------------------------------------------

    /// Sets the breaker's mode.
    pub(crate) fn force(&mut self, mode: Mode, shared: &Shared) {
        let Some(breaker) = &shared.breaker else { return };
        let now = self.timeline.clock();
        let moved = breaker.force(Instant::from_micros(now), mode);
        self.note(format_args!("the breaker's mode is {mode}: {moved:?}"));
        self.orders += 1;
        let (had, was) = (core::mem::replace(&mut self.mode, mode), self.state());
        // Until it is no longer forced, and not a tick of its own longer.
        let open = Open { since: now, least: 0, most: now };
        match mode {
            _ if mode == had => {}
            Mode::ForcedOpen => self.opens(open),
            Mode::ForcedClosed if was == State::Closed => {
                self.phase += 1;
                self.outcomes.go_on();
            }
            Mode::ForcedClosed => self.close(),
            Mode::Normal | Mode::Shadow => {
                self.open = self.open.map(|was| if had == Mode::ForcedOpen { open } else { was });
            }
        }
        self.moved(was, moved);
        if had == Mode::ForcedOpen && mode != had {
            let circuit = breaker.circuit();
            let admits = circuit.would_admit(breaker.rule(), Instant::from_micros(now));
            assert!(admits, "forced open no longer, and refuses: {circuit:?}");
        }
    }

    /// Closes it and has it forget what it counted, unless it is forced open.
    pub(crate) fn reset_breaker(&mut self, shared: &Shared) {
        let Some(breaker) = &shared.breaker else { return };
        let moved = breaker.reset();
        self.note(format_args!("the breaker is reset: {moved:?}"));
        self.orders += 1;
        let was = self.state();
        match self.mode {
            Mode::ForcedOpen => self.level = 0,
            _ => self.close(),
        }
        self.moved(was, moved);
    }

    /// What was said of an order is what came of it.
    fn moved(&self, was: State, said: Option<Transition>) {
        let moved = match self.state() {
            is if is == was => None,
            State::Closed => Some(Transition::Closed),
            State::Open => Some(Transition::Opened),
            State::HalfOpen => Some(Transition::HalfOpened),
        };
        assert!(said == moved, "the order brings {moved:?}, and says {said:?}");
    }

    const fn state(&self) -> State {
        match (&self.open, self.half_open) {
            (Some(_), _) => State::Open,
            (None, true) => State::HalfOpen,
            (None, false) => State::Closed,
        }
    }

    /// Whether the attempt that begins was admitted by the mode alone.
    fn is_shadowed(&mut self, shared: &Shared) -> bool {
        let shadowed = shared.metrics.raw().breaker.shadowed;
        let is = core::mem::replace(&mut self.shadowed, shadowed) < shadowed;
        assert!(!is || self.mode == Mode::Shadow && !self.is_closed(), "not refused, and shadowed");
        is
    }

    /// A policy is refused by the breaker, by a reading of `now` or, of a retry, of an instant to come.
    fn refuses(&self, stage: Stage, now: u64) {
        let mode = self.mode;
        assert!(!matches!(mode, Mode::ForcedClosed | Mode::Shadow), "it refuses: {mode:?}");
        assert!(!self.is_closed(), "the breaker is closed, and refuses");
        let open = self.open.filter(|_| stage == Stage::Breaker && mode == Mode::Normal);
        let over = open.is_some_and(|open| open.most <= now);
        assert!(!over, "the breaker refuses when its open period is over");
    }

    // --- What the breaker is told ---------------------------------------------------------------

    /// An attempt that ended is about to be reported.
    fn tells(
        &mut self,
        call: usize,
        now: u64,
        attempt: Attempt,
        result: Option<Result<(), Fault>>,
        shared: &Shared,
    ) {
        let probe = self.holds_permit(&attempt);
        let counts = probe || self.is_closed() && attempt.phase == Some(self.phase);
        if shared.breaker.is_none() || !counts {
            return;
        }
        let class = match result {
            Some(Ok(())) => None,
            Some(Err(fault)) => Some(fault.verdict().class),
            None => Some(Class::Timeout),
        };
        // Cut by the deadline, it might have been about to answer.
        let timed_out = class == Some(Class::Timeout) && (now >= attempt.ends || result.is_none());
        if (timed_out && attempt.cut) || class.is_some_and(|class| !class.fails()) {
            return;
        }
        self.telling = Some(Telling {
            probe,
            call,
            now,
            took: now.saturating_sub(attempt.granted),
            failed: class.is_some(),
            old: attempt.steps != self.steps || now >= attempt.granted + 15 * 60 * S,
            late: shared.metrics.raw().breaker.late_outcomes,
        });
    }

    /// What it was told had it open, or not.
    fn told(&mut self, shared: &Shared, opened: bool) {
        let Some(told) = self.telling.take() else {
            assert!(!opened || self.half_open, "the breaker opens, and was told nothing");
            return;
        };
        let call = told.call;
        let late = shared.metrics.raw().breaker.late_outcomes > told.late;
        if told.probe {
            self.late += u64::from(late);
            return;
        }
        if late {
            assert!(told.old && !opened, "what became of call {call} comes late");
            return;
        }
        let (window, breaker) = (shared.window.as_ref(), shared.breaker.as_ref());
        self.outcomes.enter(window, told.now, told.failed, told.took);
        let spared = self.mode == Mode::ForcedClosed;
        let opens = breaker.is_some_and(|breaker| self.outcomes.open(breaker.rule(), window));
        let opens = opens && !spared;
        assert!(opens || !opened, "the breaker opens by call {call}, and nothing says so");
        assert!(opened || !opens, "the breaker does not open by call {call}");
    }

    // --- What the limiter gives -----------------------------------------------------------------

    /// Somebody reserves by hand, again if it has a number.
    pub(crate) fn reserves(&mut self, again: Option<usize>) -> usize {
        let number = again.unwrap_or(self.reservations);
        self.reservations = self.reservations.max(number + 1);
        self.reserving = Some(number);
        number
    }

    /// What was reserved by hand is for a call that begins.
    pub(crate) fn begins(&mut self, number: usize) {
        let before = self.held.len();
        self.held.retain(|held| held.by_hand != Some(number));
        assert!(self.held.len() + 1 == before, "reservation {number} is of nothing");
        self.note(format_args!("reservation {number} begins"));
    }

    /// The limiter was asked for a request and `tokens`.
    pub(crate) fn taken(&mut self, now: u64, tokens: u32, taken: Result<Taken, Limited>) {
        let by_hand = self.reserving.take();
        let who = by_hand.map_or("call", |_| "reservation");
        let number = by_hand.unwrap_or(self.current);
        let until = taken.err().map(|limited| limited.admits_at);
        self.note(format_args!("{who} {number} takes {tokens}: {until:?}"));
        let Some(buckets) = &mut self.buckets else { return };
        buckets.check(now, now, tokens.into(), until.map(Instant::as_micros));
        if let Ok(taken) = taken {
            let parts = buckets.take(now, tokens.into());
            self.held.push(Held { by_hand, taken, tokens, parts, now });
            self.takings += 1;
            return;
        }
        let (takings, until) = (self.takings, until.unwrap_or(Instant::MAX));
        let promised = match by_hand {
            Some(number) => {
                self.promised.resize(self.reservations, Promised { at: u64::MAX, takings: 0 });
                let next = Promised { at: until.as_micros(), takings };
                Some(core::mem::replace(&mut self.promised[number], next))
            }
            None => {
                self.calls[number].limited = Some(until);
                self.calls[number].promised.take()
            }
        };
        let broken = promised.is_some_and(|was| was.takings == takings && was.at <= now);
        assert!(!broken, "{who} {number} waited as long as it was told, and is refused");
    }

    /// It was asked whether it would have them at `at`.
    pub(crate) fn foreseen(&mut self, now: u64, at: u64, tokens: u32, seen: Result<(), Limited>) {
        let until = seen.err().map(|limited| limited.admits_at);
        if let Some(buckets) = &mut self.buckets {
            buckets.check(now, at, tokens.into(), until.map(Instant::as_micros));
        }
        self.calls[self.current].limited = until;
    }

    /// What was taken is given back.
    pub(crate) fn refunded(&mut self, taken: Taken) {
        let by_hand = self.reserving;
        let is = |held: &Held| held.by_hand == by_hand && held.taken == taken;
        let at = self.held.iter().position(is);
        let held = self.held.swap_remove(at.expect("it was taken"));
        self.note(format_args!("{} tokens go back", held.tokens));
        if let Some(buckets) = &mut self.buckets {
            buckets.refund(&held.parts);
        }
    }

    /// The limiter goes by another rule.
    pub(crate) fn limits(&mut self, rule: &LimitRule) {
        self.note(format_args!("limited by {rule:?}"));
        self.takings += 1;
        self.buckets.iter_mut().for_each(|buckets| buckets.follow(rule));
    }

    /// A call took `actual` tokens.
    pub(crate) fn settled(&mut self, now: u64, estimated: u32, actual: u32) {
        self.note(format_args!("{actual} tokens spent, {estimated} estimated"));
        self.takings += 1;
        if let Some(buckets) = &mut self.buckets {
            buckets.settle(now, estimated.into(), actual.into());
        }
    }

    /// An attempt has what it needs of the limiter.
    fn starts(&mut self, call: usize, now: u64) {
        if self.buckets.is_none() {
            return;
        }
        let estimate = self.estimate(call);
        let mine =
            |held: &Held| held.by_hand.is_none() && held.now == now && held.tokens == estimate;
        let Some(at) = self.held.iter().position(mine) else {
            panic!("call {call} attempts without a request")
        };
        self.held.swap_remove(at);
    }

    /// A refusal says what the limiter said.
    fn limited(&self, call: usize, stage: Stage, wait: Option<Duration>, now: u64) {
        let until = self.calls[call].limited;
        let needs = until.filter(|&until| until < Instant::MAX);
        let needs = needs.map(|until| until.since(Instant::from_micros(now)));
        let told = match stage {
            Stage::Limiter => wait == needs,
            _ => wait.is_none() == needs.is_none() && wait >= needs,
        };
        assert!(told && until.is_some(), "call {call} is limited for {wait:?}, not {needs:?}");
    }

    pub(crate) fn ended(&mut self, call: usize, how: &Ended) {
        let entry = &mut self.calls[call];
        let begun = entry.began.is_some();
        let again = core::mem::replace(&mut entry.ended, true);
        if again || !begun {
            return;
        }
        let (part, how) = match how {
            Ended::Answered => (Part::Answered, "answered"),
            Ended::GaveUp if entry.attempts == 0 => (Part::Refused, "refused"),
            Ended::GaveUp => (Part::Failed, "failed"),
            Ended::FellBack => (Part::FellBack, "fell back"),
            Ended::Dropped => (Part::Dropped, "dropped"),
        };
        self.count(part);
        self.note(format_args!("call {call} ends: {how}"));
    }

    /// All that runs was dropped at once.
    pub(crate) fn drop_all(&mut self) {
        (0..self.calls.len()).for_each(|call| self.ended(call, &Ended::Dropped));
    }

    /// The clock stepped.
    pub(crate) const fn stepped(&mut self) {
        self.steps += 1;
        self.takings += 1;
    }

    /// The metrics were reset.
    pub(crate) const fn reset(&mut self) {
        self.baseline = self.counts;
    }

    // --- What must hold -------------------------------------------------------------------------

    /// Before every poll and whenever time goes on: every caller ends.
    pub(crate) fn check_ends(&mut self) {
        self.polls += 1;
        let (polls, world) = (self.polls, self.timeline.world());
        assert!(polls <= MOST_POLLS, "a caller never ends: {polls} polls by {world} µs");
        assert!(world <= MOST_TIME, "a caller never ends: {world} µs with {polls} polls");
    }

    /// After every poll: parts add up, slots and permits are where the attempts are, retries are paid.
    pub(crate) fn check(&mut self, shared: &Shared) {
        self.told(shared, false);
        let lost = self.held.iter().any(|held| held.by_hand.is_none());
        assert!(!lost, "what was taken is held by no attempt");
        let (raw, recent) = (shared.metrics.raw(), shared.metrics.snapshot());
        let happened: [_; PARTS] = array::from_fn(|n| self.counts[n] - self.baseline[n]);
        assert!(counted(&raw) == self.counts, "counted {raw:?}, happened {:?}", self.counts);
        assert!(counted(&recent) == happened, "counted {recent:?}, happened {happened:?}");
        let calls = self.calls_begun - self.counts[..5].iter().sum::<u64>();
        let attempts = self.attempts_made - self.counts[5..9].iter().sum::<u64>();
        for said in [&raw, &recent] {
            assert!(said.calls.in_flight == calls, "{calls} calls are under way: {said:?}");
            assert!(said.attempts.in_flight == attempts, "{attempts} are under way: {said:?}");
        }
        let started = happened[..5].iter().sum::<u64>() + calls;
        assert!(recent.calls.started == started, "{started} calls, and {recent:?}");

        let under_way = self.under_way().count();
        if let Some(slots) = &shared.bulkhead {
            let taken = slots.taken() as usize;
            assert!(taken == under_way, "{taken} slots are taken by {under_way} attempts");
            assert!(under_way <= slots.slots() as usize, "{under_way} attempts at once");
        }
        if let Some(breaker) = &shared.breaker {
            self.check_modes(breaker);
            if let Phase::HalfOpen { in_flight, .. } = breaker.circuit().phase() {
                let probes = self.under_way().filter(|attempt| self.holds_permit(attempt)).count();
                // An outcome that comes late keeps its probe's place until the lease is over.
                let held = probes as u64 + self.late;
                assert!(
                    u64::from(in_flight) == held,
                    "{in_flight} permits are held by {held} probes"
                );
            }
        }
        if let Some(rule) = shared.budget.as_ref().map(Budget::rule) {
            let full = u64::from(rule.tokens()) * 1000;
            let given =
                self.counts[Part::AttemptSucceeded as usize] * u64::from(rule.per_success());
            let refilled = match shared.refill {
                0 => 0,
                period => (self.timeline.climbed() - self.climbed) * 1000 / period,
            };
            let (retries, most) =
                (self.counts[Part::Retry as usize], full - full / 2 + given + refilled);
            assert!(retries * 1000 <= most, "{retries} retries out of {most} thousandths");
        }
    }

    /// When all that is due has been done: nothing outlives its time.
    pub(crate) fn check_times(&mut self, shared: &Shared) {
        let now = self.timeline.clock();
        let outlives = |entry: &Call| {
            let deadline = entry.began?.saturating_add(entry.terms.deadline);
            if entry.terms.overruns {
                return None;
            }
            let over = !entry.gave_up && !entry.ended && now >= deadline;
            let attempt = entry.under_way.iter().any(|attempt| now >= attempt.ends);
            (over || attempt).then_some(if over { "deadline" } else { "attempt's time" })
        };
        let late = self.calls.iter().enumerate().find_map(|(n, entry)| Some((n, outlives(entry)?)));
        if let Some((call, what)) = late {
            panic!("call {call} outlives its {what}");
        }
        if let (Some(breaker), Some(open)) = (&shared.breaker, &self.open) {
            let at = Instant::from_micros(now);
            let refuses = breaker.state(at) == State::Open;
            let forced = self.mode == Mode::ForcedOpen;
            let (early, over) = (now < open.least && !open.is_forgotten(now), open.most <= now);
            assert!(refuses || !forced && !early, "the breaker is open for too short");
            assert!(!refuses || forced || !over, "the breaker is open for too long");
            let (remaining, period) =
                (breaker.remaining(at), breaker.rule().open_period(self.level));
            assert!(remaining <= period, "the breaker remains open for {remaining:?}");
        }
    }

    /// The breaker is in the phase and at the level that it came to, and does as it was told.
    fn check_modes(&self, breaker: &Breaker) {
        let (circuit, is) = (breaker.circuit(), self.state());
        let phase = match circuit.phase() {
            Phase::Closed { .. } => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        };
        assert!(phase == is, "the breaker is {phase}, and should be {is}");
        let (mode, level) = (circuit.mode(), circuit.level());
        assert!(mode == self.mode, "the breaker's mode is {mode}, and should be {}", self.mode);
        assert!(level == self.level, "it opened {} times, and says {level}", self.level);
        let admits_at =
            circuit.admits_at(breaker.rule(), Instant::from_micros(self.timeline.clock()));
        let forced = self.mode == Mode::ForcedOpen;
        assert!(forced == (admits_at == Instant::MAX), "{mode}, and it admits at {admits_at:?}");
    }

    /// When nothing runs: all is given back, and the breaker has a way out.
    pub(crate) fn check_rest(&mut self, shared: &Shared) {
        let under_way = self.under_way().count();
        assert!(under_way == 0, "{under_way} attempts are under way at rest");
        assert!(self.held.is_empty(), "{} reservations are held at rest", self.held.len());
        if let (Some(limiter), Some(buckets)) = (&shared.limiter, &mut self.buckets) {
            let now = self.timeline.clock();
            let left = buckets.there(now);
            let at = Instant::from_micros(now);
            let there = limiter.foresee(at, at, left.unwrap_or(0) as u32);
            assert!(left.is_none() || there.is_ok(), "{left:?} tokens are left, and {there:?}");
        }
        if let Some(breaker) = &shared.breaker {
            let now = Instant::from_micros(self.timeline.clock());
            let (circuit, rule) = (breaker.circuit(), breaker.rule());
            let circuit = match self.mode {
                Mode::ForcedOpen => circuit.force(now, Mode::Normal).0,
                _ => circuit,
            };
            let at = circuit.admits_at(rule, now);
            let admits = circuit.would_admit(rule, at);
            // A clock that stepped back adds a minute and a bit at most.
            let longest =
                rule.open_period(self.level).max(rule.lease_for()) + Duration::from_secs(65);
            assert!(at.since(now) <= longest, "refused until {at:?}: {breaker:?}");
            assert!(admits, "the breaker never admits: {breaker:?}");
        }
    }

    pub(crate) const fn hash(&self) -> (u64, u64) {
        (self.trace.hash, self.trace.events)
    }

    /// Calls, attempts, second ones, longer open periods and orders, since the shared state was made.
    pub(crate) const fn totals(&self) -> [u64; 5] {
        [self.calls_begun, self.attempts_made, self.hedges, self.grown, self.orders]
    }

    const fn is_closed(&self) -> bool {
        self.open.is_none() && !self.half_open
    }

    fn opens(&mut self, open: Open) {
        self.end_probes();
        self.phase += 1;
        (self.open, self.half_open) = (Some(open), false);
    }

    /// With nothing counted, in a phase of its own.
    fn close(&mut self) {
        self.end_probes();
        (self.open, self.half_open, self.level) = (None, false, 0);
        (self.phase, self.outcomes) = (self.phase + 1, Outcomes::default());
    }

    const fn next_epoch(&mut self) {
        (self.epoch, self.late) = (self.epoch + 1, 0);
    }

    /// Whether the breaker counts it among its probes.
    const fn holds_permit(&self, attempt: &Attempt) -> bool {
        self.half_open && attempt.probe && attempt.epoch == self.epoch
    }

    /// Those still under way are of an epoch that is over.
    fn end_probes(&mut self) {
        for attempt in self.calls.iter_mut().flat_map(|call| &mut call.under_way) {
            attempt.probe = false;
        }
    }

    const fn count(&mut self, part: Part) {
        self.counts[part as usize] += 1;
    }

    fn under_way(&self) -> impl Iterator<Item = &Attempt> {
        self.calls.iter().flat_map(|call| &call.under_way)
    }
}

impl Open {
    /// A clock that steps back by more than a minute finds the period over.
    const fn is_forgotten(self, now: u64) -> bool {
        now + 60 * S <= self.since
    }
}

impl Call {
    /// None if it had ended before.
    fn end_attempt(&mut self, number: u32) -> Option<Attempt> {
        let at = self.under_way.iter().position(|attempt| attempt.number == number)?;
        Some(self.under_way.remove(at))
    }
}

/// What a refusal counts as.
const fn refused(reason: Reason) -> Option<Part> {
    match reason {
        Reason::BreakerOpen => Some(Part::BreakerOpen),
        Reason::BulkheadFull => Some(Part::BulkheadFull),
        Reason::Limited => Some(Part::Limited),
        Reason::Budget => Some(Part::Budget),
        Reason::Window => Some(Part::Window),
        Reason::Deadline => Some(Part::Deadline),
        Reason::AskedWait => Some(Part::AskedWait),
        _ => None,
    }
}

/// What metrics say of each [`Part`].
const fn counted(snapshot: &Snapshot) -> [u64; PARTS] {
    let Snapshot { calls, attempts, refusals, breaker, retries, .. } = snapshot;
    [
        calls.succeeded,
        calls.failed,
        calls.refused,
        calls.fell_back,
        calls.cancelled,
        attempts.succeeded,
        attempts.failed,
        attempts.timed_out,
        attempts.cancelled,
        *retries,
        refusals.breaker_open,
        refusals.bulkhead_full,
        refusals.limited,
        refusals.budget,
        refusals.window,
        refusals.deadline,
        refusals.asked_wait,
        breaker.opened,
        breaker.half_opened,
        breaker.closed,
    ]
}

impl Trace {
    /// FNV-1a.
    fn line(&mut self, line: &str) {
        self.events += 1;
        if self.print {
            println!("{line}");
        }
        for byte in line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// A breaker opens at the beginning of a tick of its own.
const TICK: u64 = 1 << 14;
/// Each more than ten times what any of 10 000 seeds takes.
const MOST_POLLS: u64 = 100_000;
const MOST_TIME: u64 = 100_000 * S;
const PARTS: usize = Part::Closed as usize + 1;
