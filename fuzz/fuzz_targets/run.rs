//! Whole executions, by hand and by the async driver, against what a caller may rely on.
#![no_main]

use core::cell::{Cell, RefCell};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::{Mutex, MutexGuard};

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use steadfast::policy::{Attempt, Events, Growth, Leave, Next, Run};
use steadfast::state::{
    Attempts, Calls, FULL_WINDOW, Limit, LimitRule, Limited, Mode, Phase, Reservation,
    SharedBuckets, Snapshot, Taken, Window, WindowRule,
};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Class, Clock, Error, Event, Instant, Jitter,
    ManualClock, Metrics, Policy, Reason, Retry, Rule, Sleep, Trip, Verdict,
};

/// What is left of a limit, in plain numbers: the simulation's.
#[path = "../../sim/src/buckets.rs"]
mod buckets;
use buckets::{Buckets, Parts};

#[derive(Arbitrary, Debug)]
struct Input {
    settings: Settings,
    start: u64,
    by_hand: bool,
    operations: Vec<Operation>,
}

/// A policy's numbers, good or not: a bad one leaves the default.
#[derive(Arbitrary, Debug)]
struct Settings {
    attempts: u32,
    growth: u8,
    jitter: u8,
    lengths: [Length; 4],
    window: Option<Length>,
    timeout: Option<Length>,
    deadline: Option<Length>,
    max_asked_wait: Option<Length>,
    breaker: Option<(u8, u8, u8, Length, Length)>,
    slots: Option<u8>,
    budget: Option<(u16, u16, Length)>,
    judged: Option<Judged>,
    limits: Option<(Limits, u16)>,
}

/// Requests and tokens a minute: none where it is zero.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Limits {
    requests: u8,
    tokens: u32,
}

/// What else opens the breaker, and how it stays open.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Judged {
    failures: (u8, u8),
    failure_rate: u16,
    slow_rate: (u16, Length),
    within: Option<Length>,
    of_last: u8,
    min_calls: u8,
    /// Not by its own history.
    never: bool,
    growth: u8,
}

#[derive(Arbitrary, Debug)]
enum Operation {
    /// Drops the call in that place, if there is one, and begins another.
    Begin(u8),
    /// Asks for an attempt there.
    Attempt(u8),
    /// Ends one of the attempts there.
    Settle(u8, bool, Answer, u32),
    Cancel(u8, bool),
    /// Drops the attempt, and with it the chance to take it back.
    Forget(u8, bool),
    Drop(u8),
    /// Goes to where the last wait there ends.
    Sleep(u8),
    Pass(Length),
    Back(Length),
    Set(u64),
    /// Tells the breaker a mode, or to begin anew. By hand only.
    Force(u8),
    /// Reserves by hand, in that place, so many tokens.
    Reserve(bool, u16),
    /// Drops what is reserved there, or begins its call, which takes so many.
    Spend(bool, Option<u32>),
    /// Changes the limits.
    Limit(Limits),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Answer {
    Works,
    Fails(Said),
    /// By hand: it ran out of time. By the driver: it never answers.
    Hangs,
    /// By the driver only: it fails after so long.
    Later(Length, Said),
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Said {
    class: u8,
    retry: Option<u8>,
    asked: Option<Length>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Length {
    Micros(u16),
    Millis(u16),
    Seconds(u16),
    Any(u64),
}

impl Length {
    fn get(self) -> Duration {
        match self {
            Self::Micros(n) => Duration::from_micros(n.into()),
            Self::Millis(n) => Duration::from_millis(n.into()),
            Self::Seconds(n) => Duration::from_secs(n.into()),
            Self::Any(n) => Duration::from_secs(n),
        }
    }
}

impl Said {
    fn verdict(self) -> Verdict {
        let class = match self.class % 9 {
            0 => Class::Transient,
            1 => Class::Timeout,
            2 => Class::Overloaded,
            3 => Class::RateLimited,
            4 => Class::Permanent,
            5 => Class::Auth,
            6 => Class::Quota,
            7 => Class::Context,
            _ => Class::Policy,
        };
        let verdict = Verdict::of(class);
        let verdict = match self.asked {
            Some(asked) => verdict.not_before(asked.get()),
            None => verdict,
        };
        match self.retry {
            None => verdict,
            Some(retry) => verdict.retry(match retry % 3 {
                0 => Retry::Never,
                1 => Retry::Once,
                _ => Retry::Yes,
            }),
        }
    }
}

type Classifier = fn(&Said) -> Verdict;

fuzz_target!(|input: Input| {
    let Settings { breaker, slots, budget, judged, .. } = input.settings;
    let breaker = breaker.and_then(|numbers| rule(numbers, judged)).map(Breaker::with_rule);
    let window = judged.and_then(Judged::rule).map(Window::<FULL_WINDOW>::new);
    let bulkhead = slots.and_then(|slots| Bulkhead::try_new(u32::from(slots % 5)).ok());
    let budget = budget.and_then(|(tokens, per_success, refill)| {
        // As few as one execution can use up.
        BudgetRule::try_new(u32::from(tokens % 12), per_success.into(), refill.get()).ok()
    });
    let budget = budget.map(Budget::with_rule);
    let limiting = input.settings.limits.map(|(limits, _)| Limiting::new(limits.rule()));
    let metrics = Metrics::new();
    let shared = Shared {
        breaker: breaker.as_ref(),
        window: window.as_ref(),
        bulkhead: bulkhead.as_ref(),
        budget: budget.as_ref(),
        limiting: limiting.as_ref(),
        metrics: &metrics,
    };
    let (policy, promised) = policy(&input.settings, &shared);
    let clock = ManualClock::new();
    clock.set(Instant::from_micros(input.start));
    if input.by_hand {
        by_hand(&policy, &promised, &shared, &clock, &input.operations);
    } else {
        by_driver(&policy, &promised, &shared, &clock, &input.operations);
    }
    // Whatever was held has come back.
    if let Some(limiting) = &limiting {
        limiting.is_at_rest(clock.now());
    }
    let snapshot = metrics.snapshot();
    assert_eq!((snapshot.calls.in_flight, snapshot.attempts.in_flight), (0, 0));
    assert_eq!(bulkhead.as_ref().map_or(0, Bulkhead::taken), 0, "a slot was lost");
    let phase = breaker.map(|breaker| breaker.circuit().phase());
    // The slot of a probe that reported too late comes back with the next epoch.
    if let (Some(Phase::HalfOpen { in_flight, .. }), 0) = (phase, snapshot.breaker.late_outcomes) {
        assert_eq!(in_flight, 0, "a probe was lost");
    }
});

/// What calls share.
struct Shared<'a> {
    breaker: Option<&'a Breaker>,
    window: Option<&'a Window>,
    bulkhead: Option<&'a Bulkhead>,
    budget: Option<&'a Budget>,
    limiting: Option<&'a Limiting>,
    metrics: &'a Metrics,
}

/// What the policy promises.
#[derive(Clone, Copy)]
struct Promised<'a> {
    attempts: u32,
    window: Duration,
    timeout: Duration,
    deadline: Duration,
    max_asked_wait: Duration,
    backoff: Backoff,
    breaker: Option<&'a Breaker>,
    budget: Option<&'a Budget>,
    limiting: Option<&'a Limiting>,
    estimate: u32,
}

impl Promised<'_> {
    /// Whether the budget may have paid just now: what it paid left it more than half.
    fn paid(&self) -> bool {
        self.budget.is_none_or(|budget| budget.tokens() >= budget.rule().tokens() / 2)
    }
}

fn rule(
    (failures, window, probes, open_for, lease): (u8, u8, u8, Length, Length),
    judged: Option<Judged>,
) -> Option<Rule> {
    let by_itself = Rule::try_new((failures % 8).into(), (window % 24).into(), open_for.get());
    let made = match judged {
        Some(Judged { never: true, .. }) => Rule::try_by(Trip::NEVER, open_for.get()),
        _ => by_itself,
    };
    let growth = judged.map_or(10, |judged| 10 + u32::from(judged.growth % 91));
    made.and_then(|rule| rule.try_probes((probes % 5).into()))
        .and_then(|rule| rule.try_lease(lease.get()))
        .and_then(|rule| rule.try_open_growth(growth, Duration::from_secs(86_400)))
        .ok()
}

impl Judged {
    /// The window's rule, of those of its numbers that are good.
    fn rule(self) -> Option<WindowRule> {
        let (failures, of_last) = (u32::from(self.failures.0), u32::from(self.of_last) * 4);
        let (slow_rate, slow_after) = self.slow_rate;
        let none = WindowRule::NONE;
        let over = match self.within {
            Some(within) => none.try_within(within.get()),
            None => none.try_over_last(of_last),
        };
        let rule = over.ok()?;
        let rule = rule.try_failures(failures, u32::from(self.failures.1) * 4).unwrap_or(rule);
        let rule = rule.try_failure_rate(u32::from(self.failure_rate) % 1_100).unwrap_or(rule);
        let slow_rate = u32::from(slow_rate) % 1_100;
        let rule = rule.try_slow_rate(slow_rate, slow_after.get()).unwrap_or(rule);
        Some(rule.try_min_calls(self.min_calls.into()).unwrap_or(rule))
    }
}

fn policy<'a>(settings: &Settings, shared: &Shared<'a>) -> (Policy<'a, Classifier>, Promised<'a>) {
    let growth = match settings.growth % 3 {
        0 => Growth::Constant,
        1 => Growth::Linear,
        _ => Growth::Exponential,
    };
    let [multiplier, min, max, most] = settings.lengths.map(Length::get);
    let jitter = match settings.jitter % 5 {
        0 => Jitter::None,
        1 => Jitter::Additive(most),
        2 => Jitter::Full,
        3 => Jitter::Equal,
        _ => Jitter::Decorrelated,
    };
    let length = |length: Option<Length>| length.map_or(Duration::MAX, Length::get);
    let backoff = Backoff::try_new(growth, multiplier, min, max)
        .and_then(|backoff| backoff.try_jitter(jitter))
        .unwrap_or(Backoff::constant(Duration::ZERO));
    let mut promised = Promised {
        attempts: 1,
        window: length(settings.window),
        timeout: Duration::MAX,
        deadline: Duration::MAX,
        max_asked_wait: length(settings.max_asked_wait),
        backoff,
        breaker: shared.breaker,
        budget: shared.budget,
        limiting: shared.limiting,
        estimate: settings.limits.map_or(0, |(_, estimate)| estimate.into()),
    };
    let mut policy = Policy::new()
        .classify((|said: &Said| said.verdict()) as Classifier)
        .backoff(backoff)
        .retry_window(promised.window)
        .max_asked_wait(promised.max_asked_wait)
        .metrics(shared.metrics);
    if let Ok(better) = policy.try_attempts(settings.attempts) {
        (policy, promised.attempts) = (better, settings.attempts);
    }
    if let Ok(better) = policy.try_attempt_timeout(length(settings.timeout)) {
        (policy, promised.timeout) = (better, length(settings.timeout));
    }
    if let Ok(better) = policy.try_deadline(length(settings.deadline)) {
        (policy, promised.deadline) = (better, length(settings.deadline));
    }
    if let Some(breaker) = shared.breaker {
        policy = policy.breaker(breaker);
    }
    if let Some(window) = shared.window {
        policy = policy.window(window);
    }
    if let Some(bulkhead) = shared.bulkhead {
        policy = policy.bulkhead(bulkhead);
    }
    if let Some(budget) = shared.budget {
        policy = policy.budget(budget);
    }
    if let Some(limiting) = shared.limiting {
        policy = policy.limiter(limiting).estimate(promised.estimate);
    }
    (policy, promised)
}

// --- By hand --------------------------------------------------------------------------------------

/// What happened, counted by whoever made it happen.
#[derive(Clone, Copy, Default)]
struct Tallies {
    calls: Calls,
    attempts: Attempts,
    retries: u64,
    opened: u64,
    half_opened: u64,
    closed: u64,
    limited: u64,
}

/// A call that is driven by hand.
struct Driven<'p> {
    run: Run<'p, Said, Classifier>,
    attempts: Vec<Attempt<'p>>,
    began: Instant,
    made: u32,
    failed: bool,
    /// It has an answer, or has given up.
    over: bool,
    /// An attempt was dropped and not taken back: the run still waits for it.
    forgotten: u32,
    /// When it is to be attempted again.
    due: Option<Instant>,
    /// Until when it was asked to leave the service alone, by the failures since its last attempt.
    asked: Option<Instant>,
    /// Those of them that allow no retry, and those that allow one.
    never: bool,
    once: bool,
    retried_once: bool,
}

fn by_hand<'p>(
    policy: &'p Policy<'p, Classifier>,
    promised: &Promised<'_>,
    shared: &Shared<'_>,
    clock: &ManualClock,
    operations: &[Operation],
) {
    let mut calls: [Option<Driven<'p>>; 3] = [None, None, None];
    let mut tallies = Tallies::default();
    let mut reserved: [Option<(Reservation<&dyn Limit>, Taken)>; 2] = [None, None];
    for operation in operations {
        let now = clock.now();
        let place = |which: u8| usize::from(which) % 3;
        match *operation {
            Operation::Begin(which) => {
                end(&mut calls[place(which)], &mut tallies);
                calls[place(which)] = Some(Driven::begin(policy, now));
                tallies.calls.started += 1;
            }
            Operation::Attempt(which) => {
                if let Some(call) = &mut calls[place(which)] {
                    call.attempt(now, promised, shared, &mut tallies);
                }
            }
            Operation::Settle(which, second, answer, random) => {
                if let Some(call) = &mut calls[place(which)] {
                    call.settle(now, second, answer, random, promised, &mut tallies);
                }
            }
            Operation::Cancel(which, second) => {
                if let Some(call) = &mut calls[place(which)]
                    && let Some(attempt) = call.take(second)
                {
                    call.run.cancel(attempt);
                    tallies.attempts.cancelled += 1;
                }
            }
            Operation::Forget(which, second) => {
                if let Some(call) = &mut calls[place(which)]
                    && let Some(attempt) = call.take(second)
                {
                    drop(attempt);
                    call.forgotten += 1;
                    tallies.attempts.cancelled += 1;
                }
            }
            Operation::Force(what) => {
                if let Some(breaker) = shared.breaker {
                    let mode = Mode::ALL.get(usize::from(what % 5));
                    let _ = mode.map_or_else(|| breaker.reset(), |&mode| breaker.force(now, mode));
                }
            }
            Operation::Reserve(second, tokens) => {
                if let Some(limiting) = shared.limiting {
                    let place = &mut reserved[usize::from(second)];
                    *place = None;
                    let reservation =
                        Reservation::try_new(limiting as &dyn Limit, now, tokens.into());
                    *place = reservation.ok().zip(limiting.keeps());
                }
            }
            Operation::Spend(second, actual) => {
                let reserved = reserved[usize::from(second)].take();
                if let (Some((reservation, taken)), Some(actual)) = (reserved, actual) {
                    shared.limiting.into_iter().for_each(|limiting| limiting.spends(taken));
                    reservation.begin().settle(now, actual);
                }
            }
            Operation::Limit(limits) => {
                shared.limiting.into_iter().for_each(|limiting| limiting.follow(limits.rule()));
            }
            Operation::Drop(which) => end(&mut calls[place(which)], &mut tallies),
            Operation::Sleep(which) => {
                if let Some(due) = calls[place(which)].as_ref().and_then(|call| call.due) {
                    clock.set(due.max(now));
                }
            }
            ref step => step.turn(clock),
        }
        // The first attempt of a call is booked with the call.
        let unasked = calls.iter().flatten().filter(|call| call.made == 0 && !call.over).count();
        check(&tallies, unasked as u64, &shared.metrics.snapshot());
        let outstanding: usize = calls.iter().flatten().map(|call| call.attempts.len()).sum();
        if let Some(bulkhead) = shared.bulkhead {
            assert_eq!(bulkhead.taken() as usize, outstanding, "slots and attempts differ");
            assert!(bulkhead.taken() <= bulkhead.slots(), "more slots than there are");
        }
    }
    for call in &mut calls {
        end(call, &mut tallies);
    }
    check(&tallies, 0, &shared.metrics.snapshot());
}

impl<'p> Driven<'p> {
    fn begin(policy: &'p Policy<'p, Classifier>, now: Instant) -> Self {
        Self {
            run: policy.start(now, 0),
            attempts: Vec::new(),
            began: now,
            made: 0,
            failed: false,
            over: false,
            forgotten: 0,
            due: None,
            asked: None,
            never: false,
            once: false,
            retried_once: false,
        }
    }

    fn attempt(
        &mut self,
        now: Instant,
        promised: &Promised<'_>,
        shared: &Shared<'_>,
        tallies: &mut Tallies,
    ) {
        // A caller keeps to the instant that it was told. One with an attempt under way was not.
        let under_way = self.attempts.len() as u32 + self.forgotten;
        if under_way == 0 && self.due.is_some_and(|due| now < due) {
            return;
        }
        // Or refuses nobody.
        let closed = shared
            .breaker
            .is_none_or(|breaker| breaker.circuit().is_closed() || breaker.mode() == Mode::Shadow);
        let step = self.run.attempt(now);
        tallies.tell(&step.events);
        let began = usize::from(matches!(step.next, Leave::Granted(_)));
        shared.limiting.into_iter().for_each(|limiting| limiting.began(began));
        match step.next {
            Leave::Granted(attempt) => {
                assert!(!self.over, "an attempt after the end");
                tallies.retries += u64::from(self.made > 0);
                self.made += 1;
                tallies.attempts.started += 1;
                may_start(self.made, self.began, now, promised);
                assert!(under_way < 2, "a third attempt");
                assert!(under_way == 0 || closed, "a second probe");
                assert!(under_way == 0 || promised.paid(), "a second attempt that nobody paid");
                let ends = now.after(promised.timeout).min(self.began.after(promised.deadline));
                assert_eq!(attempt.ends(), ends, "it ends at another instant");
                assert_eq!(attempt.made().attempt, self.made);
                if under_way == 0 {
                    self.due = None;
                    self.asked = None;
                    (self.never, self.once) = (false, false);
                }
                self.attempts.push(attempt);
            }
            Leave::Refused(error) => {
                assert!(
                    under_way == 0 && !self.over,
                    "over while an attempt is under way, or twice"
                );
                self.over(&error, now, promised, tallies);
            }
            Leave::NotNow => assert!(under_way > 0 || self.over, "not now, and when?"),
        }
    }

    fn settle(
        &mut self,
        now: Instant,
        second: bool,
        answer: Answer,
        random: u32,
        promised: &Promised<'_>,
        tallies: &mut Tallies,
    ) {
        let Some(attempt) = self.take(second) else { return };
        let result = match answer {
            Answer::Works => Some(Ok(())),
            Answer::Fails(said) | Answer::Later(_, said) => Some(Err(said)),
            Answer::Hangs => None,
        };
        match (&result, self.over) {
            (Some(Ok(())), false) => tallies.attempts.succeeded += 1,
            (Some(Ok(())), true) => tallies.attempts.cancelled += 1,
            (Some(Err(_)), _) => tallies.attempts.failed += 1,
            (None, _) => tallies.attempts.timed_out += 1,
        }
        let asked = match result {
            Some(Err(said)) => said.verdict().asked_wait(),
            _ => None,
        };
        self.asked = self.asked.max(asked.map(|wait| now.after(wait)));
        if let Some(Err(said)) = result {
            self.never |= said.verdict().retry == Retry::Never;
            self.once |= said.verdict().retry == Retry::Once;
        }
        self.failed |= !matches!(result, Some(Ok(())));
        let (worked, drawn) = (matches!(result, Some(Ok(()))), Cell::new(0));
        let step = self.run.settle(attempt, now, result, || {
            drawn.set(drawn.get() + 1);
            random
        });
        tallies.tell(&step.events);
        let retries = step.events.iter().filter(|event| matches!(event, Event::Retry { .. }));
        assert_eq!(retries.count() == 1, matches!(step.next, Next::Retry(_)), "told otherwise");
        assert!(drawn.get() <= 1, "drew {} times", drawn.get());
        let under_way = self.attempts.len() as u32 + self.forgotten;
        match step.next {
            // Of an attempt that outlives its call only the breaker hears.
            Next::Pending | Next::Done(Ok(())) if self.over => {}
            _ if self.over => panic!("it ends twice, or goes on after its end"),
            Next::Done(Ok(())) => {
                assert!(worked, "an answer out of nothing");
                self.over = true;
                tallies.calls.succeeded += 1;
            }
            Next::Done(Err(error)) => {
                assert!(!worked, "an answer was lost");
                let until = self.asked.map_or(now, |asked| asked.max(now));
                self.over(&error, until, promised, tallies);
            }
            Next::Retry(at) => {
                assert!(!worked && under_way == 0, "no time to retry");
                assert!(self.made < promised.attempts, "a retry too many");
                assert!(promised.paid(), "a retry that nobody paid");
                assert!(!self.never, "a retry of what no retry mends");
                assert!(!(self.once && self.retried_once), "a second retry where one is allowed");
                self.retried_once |= self.once;
                may_start(self.made + 1, self.began, at, promised);
                let short = |asked: Duration| asked.min(LONGEST) <= promised.max_asked_wait;
                assert!(asked.is_none_or(short), "too long");
                let shortest = promised.backoff.wait(self.made, Duration::ZERO, 0);
                assert!(at >= now.after(shortest), "earlier than the back-off");
                assert!(asked.is_none_or(|asked| at >= now.after(asked)), "earlier than asked");
                assert!(self.asked.is_none_or(|asked| at >= asked), "earlier than the other asked");
                let limited =
                    |limiting: &Limiting| limiting.foresee(now, at, promised.estimate).is_err();
                assert!(!promised.limiting.is_some_and(limited), "towards a refusal");
                self.due = Some(at);
            }
            Next::Pending => assert!(under_way > 0, "pending, and on what?"),
        }
    }

    fn over(
        &mut self,
        error: &Error<Said>,
        until: Instant,
        promised: &Promised<'_>,
        tallies: &mut Tallies,
    ) {
        self.over = true;
        consistent(error, until, self.made, self.failed, promised);
        match self.made {
            0 => tallies.calls.refused += 1,
            _ => tallies.calls.failed += 1,
        }
    }

    fn take(&mut self, second: bool) -> Option<Attempt<'p>> {
        match (self.attempts.len(), second) {
            (0, _) => None,
            (2, true) => self.attempts.pop(),
            _ => Some(self.attempts.remove(0)),
        }
    }
}

/// Drops a call before its attempts, or after them: every second one.
fn end(place: &mut Option<Driven<'_>>, tallies: &mut Tallies) {
    let Some(Driven { run, attempts, made, over, .. }) = place.take() else { return };
    tallies.calls.cancelled += u64::from(!over);
    tallies.attempts.cancelled += attempts.len() as u64;
    if made % 2 == 0 {
        drop(run);
        drop(attempts);
    } else {
        drop(attempts);
        drop(run);
    }
}

impl Tallies {
    fn tell(&mut self, events: &Events) {
        for event in events.iter() {
            match event {
                Event::Opened => self.opened += 1,
                Event::HalfOpened => self.half_opened += 1,
                Event::Closed => self.closed += 1,
                Event::Refused { reason: Reason::Limited, .. } => self.limited += 1,
                _ => {}
            }
        }
    }
}

fn check(tallies: &Tallies, unasked: u64, seen: &Snapshot) {
    let Tallies { calls, mut attempts, .. } = *tallies;
    attempts.started += unasked;
    let ended = calls.succeeded + calls.failed + calls.refused + calls.fell_back + calls.cancelled;
    assert_eq!(seen.calls, Calls { in_flight: calls.started - ended, ..calls });
    let ended = attempts.succeeded + attempts.failed + attempts.timed_out + attempts.cancelled;
    assert_eq!(seen.attempts, Attempts { in_flight: attempts.started - ended, ..attempts });
    assert_eq!(seen.retries, tallies.retries);
    let moved = (seen.breaker.opened, seen.breaker.half_opened, seen.breaker.closed);
    assert_eq!(moved, (tallies.opened, tallies.half_opened, tallies.closed));
    assert_eq!(seen.refusals.limited, tallies.limited);
}

// --- By the driver --------------------------------------------------------------------------------

/// What is seen from inside of the operation.
#[derive(Default)]
struct Log {
    made: Cell<u32>,
    /// When the last attempt failed by itself, and until when it asked to be left alone.
    failed: RefCell<Option<Instant>>,
    works: Cell<bool>,
}

fn by_driver(
    policy: &Policy<'_, Classifier>,
    promised: &Promised<'_>,
    shared: &Shared<'_>,
    clock: &ManualClock,
    operations: &[Operation],
) {
    // The attempts take their answers from one end, the clock its steps from the other.
    let answers = RefCell::new(operations.iter().filter_map(|operation| match operation {
        Operation::Settle(_, _, answer, random) => Some((*answer, *random)),
        _ => None,
    }));
    let mut operations = operations.iter();
    let (mut started, mut limited) = (0, 0);
    while operations.len() > 0 {
        let (log, began) = (Log::default(), clock.now());
        let log = &log;
        let execution = policy.execute_told(clock, |made| {
            let now = clock.now();
            let number = log.made.get() + 1;
            log.made.set(number);
            assert_eq!(made.attempt, number);
            shared.limiting.into_iter().for_each(|limiting| limiting.began(1));
            may_start(number, began, now, promised);
            if let Some(asked) = log.failed.take() {
                assert!(now >= asked, "earlier than asked");
            }
            let (answer, random) = answers.borrow_mut().next().unwrap_or((Answer::Works, 0));
            clock.set_random(random);
            async move {
                let said = match answer {
                    Answer::Works => {
                        log.works.set(true);
                        return Ok(());
                    }
                    Answer::Fails(said) => said,
                    Answer::Later(after, said) => {
                        clock.sleep_until(now.after(after.get())).await;
                        said
                    }
                    Answer::Hangs => core::future::pending().await,
                };
                let asked = said.verdict().asked_wait().unwrap_or_default();
                *log.failed.borrow_mut() = Some(clock.now().after(asked));
                Err(said)
            }
        });
        started += 1;
        let mut polls = 0;
        {
            let mut execution = pin!(execution);
            let mut context = Context::from_waker(Waker::noop());
            loop {
                if let Poll::Ready(result) = execution.as_mut().poll(&mut context) {
                    polls += 1;
                    match result {
                        Ok(()) => assert!(log.works.get(), "an answer out of nothing"),
                        Err(error) => {
                            assert!(!log.works.get(), "an answer was lost");
                            limited += u64::from(error.stopped == Reason::Limited);
                            let (now, made) = (clock.now(), log.made.get());
                            let until = log.failed.take().map_or(now, |asked| asked.max(now));
                            consistent(&error, until, made, made > 0, promised);
                        }
                    }
                    break;
                }
                polls += 1;
                let calls = shared.metrics.snapshot().calls;
                assert_eq!((calls.started, calls.in_flight), (started, 1));
                match operations.next() {
                    // Dropped here.
                    None | Some(Operation::Drop(_)) => break,
                    Some(step) => step.turn(clock),
                }
            }
        }
        assert!(polls > 0);
        shared.limiting.into_iter().for_each(|limiting| limiting.began(0));
        let Snapshot { calls, attempts, refusals, .. } = shared.metrics.snapshot();
        assert_eq!(refusals.limited, limited);
        assert_eq!((calls.started, calls.in_flight, attempts.in_flight), (started, 0, 0));
        assert_eq!(shared.bulkhead.map_or(0, Bulkhead::taken), 0, "a slot was lost");
        operations.next();
    }
}

// --- Both -----------------------------------------------------------------------------------------

impl Operation {
    /// What it does to the clock, if it does.
    fn turn(&self, clock: &ManualClock) {
        match *self {
            Self::Pass(length) => clock.advance(length.get()),
            Self::Back(length) => {
                let back = u64::try_from(length.get().as_micros()).unwrap_or(u64::MAX);
                clock.set(Instant::from_micros(clock.now().as_micros().saturating_sub(back)));
            }
            Self::Set(micros) => clock.set(Instant::from_micros(micros)),
            _ => {}
        }
    }
}

/// A limiter whose rule changes, held to plain numbers.
struct Limiting {
    buckets: SharedBuckets,
    books: Mutex<Books>,
}

struct Books {
    rule: LimitRule,
    /// Until time comes that they do not know.
    numbers: Option<Buckets>,
    /// That of the first reading.
    era: Option<u64>,
    /// First of all what is reserved by hand.
    held: Vec<(Taken, Option<Parts>)>,
    by_hand: usize,
}

impl Limits {
    fn rule(self) -> LimitRule {
        let rule = LimitRule::NONE;
        let rule = rule.try_requests(self.requests.into()).unwrap_or(rule);
        rule.try_tokens(self.tokens).unwrap_or(rule)
    }
}

impl Limiting {
    fn new(rule: LimitRule) -> Self {
        let numbers = Some(Buckets::new(&rule));
        let books = Books { rule, numbers, era: None, held: Vec::new(), by_hand: 0 };
        Self { buckets: SharedBuckets::new(), books: Mutex::new(books) }
    }

    fn follow(&self, rule: LimitRule) {
        let mut books = self.books();
        books.rule = rule;
        books.numbers.iter_mut().for_each(|numbers| numbers.follow(&rule));
    }

    /// So many attempts began, with what each took.
    fn began(&self, attempts: usize) {
        let mut books = self.books();
        let kept = books.by_hand;
        assert_eq!(books.held.len(), kept + attempts, "attempts and what was taken differ");
        books.held.truncate(kept);
    }

    /// What was taken last, if anything was, is kept for a while.
    fn keeps(&self) -> Option<Taken> {
        let mut books = self.books();
        let taken = books.held.get(books.by_hand)?.0;
        books.by_hand += 1;
        Some(taken)
    }

    /// What was kept is of a call that begins.
    fn spends(&self, taken: Taken) {
        self.books().give_up(taken);
    }

    /// Nothing is held, and what was not spent is there.
    fn is_at_rest(&self, now: Instant) {
        let (rule, there) = {
            let mut books = self.books();
            assert_eq!(books.held.len(), 0, "what was taken is held for ever");
            let there = books.at(now).and_then(|(numbers, now)| numbers.there(now));
            (books.rule, there)
        };
        if let Some(tokens) = there {
            let tokens = u32::try_from(tokens).unwrap_or(0);
            assert!(self.buckets.foresee(&rule, now, now, tokens).is_ok(), "{tokens} tokens are lost");
        }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap()
    }
}

impl Books {
    /// The numbers, and an instant as they know it.
    fn at(&mut self, now: Instant) -> Option<(&mut Buckets, u64)> {
        let micros = now.as_micros();
        let era = *self.era.get_or_insert(micros / ERA);
        // Farther away, seconds come round; in every second era they do for a bucket that is new.
        let known = micros / ERA == era && era % 2 == 0 && micros % ERA < ERA - (1 << 30);
        let at = known.then_some(micros % ERA);
        if at.is_none() {
            self.numbers = None;
        }
        self.numbers.as_mut().zip(at)
    }

    /// Of two that are equal, either.
    fn give_up(&mut self, taken: Taken) -> Option<Parts> {
        let at = self.held.iter().position(|held| held.0 == taken).expect("it was taken");
        self.by_hand -= usize::from(at < self.by_hand);
        self.held.remove(at).1
    }

    fn check(&mut self, now: Instant, at: Instant, tokens: u32, refused: Option<Limited>) {
        if let Some((numbers, known)) = self.at(now) {
            let from_now = |at: Instant| match at.as_micros() {
                u64::MAX => u64::MAX,
                at => known.saturating_add(at.saturating_sub(now.as_micros())),
            };
            let until = refused.map(|limited| from_now(limited.admits_at));
            numbers.check(known, from_now(at), tokens.into(), until);
        }
    }
}

impl Limit for Limiting {
    fn take(&self, now: Instant, tokens: u32) -> Result<Taken, Limited> {
        let mut books = self.books();
        let taken = self.buckets.take(&books.rule, now, tokens);
        books.check(now, now, tokens, taken.err());
        if let Ok(taken) = taken {
            let parts = books.at(now).map(|(numbers, at)| numbers.take(at, tokens.into()));
            books.held.push((taken, parts));
        }
        taken
    }

    fn foresee(&self, now: Instant, at: Instant, tokens: u32) -> Result<(), Limited> {
        let mut books = self.books();
        let seen = self.buckets.foresee(&books.rule, now, at, tokens);
        books.check(now, at, tokens, seen.err());
        if let Err(Limited { admits_at }) = seen
            && admits_at < END_OF_TIME
        {
            let then = self.buckets.foresee(&books.rule, admits_at, admits_at, tokens);
            assert!(then.is_ok(), "refused until {admits_at:?}, and then {then:?}");
        }
        seen
    }

    fn refund(&self, taken: Taken) {
        self.buckets.refund(taken);
        let mut books = self.books();
        let parts = books.give_up(taken);
        match (parts, &mut books.numbers) {
            (Some(parts), Some(numbers)) => numbers.refund(&parts),
            _ => books.numbers = None,
        }
    }

    fn settle(&self, now: Instant, estimated: u32, actual: u32) {
        let mut books = self.books();
        self.buckets.settle(&books.rule, now, estimated, actual);
        if let Some((numbers, at)) = books.at(now) {
            numbers.settle(at, estimated.into(), actual.into());
        }
    }
}

/// The number of an attempt, and when it starts.
fn may_start(number: u32, began: Instant, at: Instant, promised: &Promised<'_>) {
    assert!(number <= promised.attempts, "an attempt too many");
    let ends = began.after(promised.deadline);
    assert!(at < ends || ends == Instant::MAX, "an attempt after the deadline");
    assert!(number == 1 || at <= began.after(promised.window), "an attempt after the window");
}

/// `until` is now, or when the service's wait ends.
fn consistent(
    error: &Error<Said>,
    until: Instant,
    made: u32,
    failed: bool,
    promised: &Promised<'_>,
) {
    assert_eq!(error.attempts, made, "it counts otherwise");
    assert_eq!(error.class.is_some(), failed, "a class of nothing, or none");
    assert!(failed || error.last.is_none(), "an error of nothing");
    match error.stopped {
        Reason::Attempts => assert_eq!(made, promised.attempts, "attempts are left"),
        Reason::Class | Reason::Budget | Reason::AskedWait => assert!(failed, "without one"),
        Reason::BreakerOpen => {
            let forced = promised.breaker.is_some_and(|breaker| breaker.mode() == Mode::ForcedOpen);
            let known = error.retry_at.is_some();
            assert!(known || forced || until >= END_OF_TIME, "nobody knows when");
        }
        Reason::Limited => assert!(promised.limiting.is_some(), "by nobody"),
        Reason::Gated => panic!("there is no such part"),
        _ => {}
    }
}

/// As long as a limiter tells before from after, in microseconds.
const ERA: u64 = 1 << 51;
/// The last week that an [`Instant`] can tell: waits are cut off there.
const END_OF_TIME: Instant = Instant::from_micros(u64::MAX - (1 << 40));
/// A longer wait is taken for one of this length.
const LONGEST: Duration = Duration::from_micros(u64::MAX);
