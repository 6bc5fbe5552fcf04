//! Whole executions, one step at a time: attempts, retries, hedges, cancellation, metrics.

use oorandom::Rand32;
use steadfast::policy::{Attempt, Leave, Next, Run, Step};
use steadfast::state::{COARSE, Mode, Window, WindowRule};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Class, Instant, Jitter, Metrics, Policy, Retry,
    Rule, Strategy, Trip, Verdict,
};

use core::time::Duration;

use super::{Tell, length, one_of, place};

type Given = fn(&u32) -> Verdict;

/// What the executions share.
pub(super) struct Services {
    breaker: Breaker,
    bulkhead: Bulkhead,
    budget: Budget,
    metrics: Metrics<COARSE>,
    window: Window<{ Window::words(8) }>,
}

pub(super) struct Executions<'p> {
    services: &'p Services,
    policies: &'p [Policy<'p, Given>; 6],
    run: Option<Run<'p, u32, Given>>,
    attempts: [Option<Attempt<'p>>; 2],
    over: bool,
}

impl Services {
    pub(super) const fn new() -> Self {
        let rule = Rule::new(Trip::after(3).of_last(5), Duration::from_secs(2))
            .probes(2)
            .lease(Duration::from_secs(5))
            .open_growth(15, Duration::from_secs(20));
        Self {
            breaker: Breaker::with_rule(rule),
            bulkhead: Bulkhead::new(1),
            budget: Budget::with_rule(BudgetRule::new(10, 500, Duration::from_secs(5))),
            metrics: Metrics::new(),
            window: Window::new(
                WindowRule::over_last(8)
                    .failure_rate(600)
                    .slow_rate(900, Duration::from_millis(1))
                    .min_calls(4),
            ),
        }
    }

    pub(super) fn policies(&self) -> [Policy<'_, Given>; 6] {
        let Self { breaker, bulkhead, budget, metrics, window } = self;
        let whole = |policy: Policy<'static>| {
            let policy: Policy<'_> = policy;
            policy
                .breaker(breaker)
                .bulkhead(bulkhead)
                .budget(budget)
                .metrics(metrics)
                .classify(verdict as Given)
        };
        let backoff = Backoff::exponential(
            Duration::from_millis(10),
            Duration::from_millis(15),
            Duration::from_secs(4),
        );
        let short = Policy::new()
            .attempts(6)
            .backoff(backoff.jitter(Jitter::Decorrelated))
            .attempt_timeout(Duration::from_millis(500))
            .deadline(Duration::from_secs(5))
            .retry_window(Duration::from_secs(4))
            .max_asked_wait(Duration::from_secs(2));
        let bare = Policy::new().attempts(4).backoff(backoff.jitter(Jitter::Full)).metrics(metrics);
        let [aggressive, balanced, conservative, critical] =
            Strategy::ALL.map(|strategy| whole(Policy::of(strategy)));
        [
            aggressive,
            balanced,
            conservative,
            critical,
            whole(short).window(window),
            bare.classify(verdict as Given),
        ]
    }
}

impl<'p> Executions<'p> {
    pub(super) const fn new(services: &'p Services, policies: &'p [Policy<'p, Given>; 6]) -> Self {
        Self { services, policies, run: None, attempts: [None, None], over: false }
    }

    /// The instant that is waited for, if any.
    pub(super) fn step(
        &mut self,
        random: &mut Rand32,
        now: Instant,
        tell: Tell<'_>,
    ) -> Option<Instant> {
        let Services { breaker, budget, metrics, .. } = self.services;
        match random.rand_range(0..200) {
            0..4 => tell(format_args!("{:?}, raw {:?}", metrics.snapshot(), metrics.raw().calls)),
            4 => tell(format_args!("metrics reset: {:?}", metrics.reset())),
            5 => {
                let mode = one_of(random, Mode::ALL);
                tell(format_args!("breaker forced {mode:?}: {:?}", breaker.force(now, mode)));
            }
            6 => tell(format_args!("breaker reset: {:?}", breaker.reset())),
            7 => {
                tell(format_args!("breaker forced normal: {:?}", breaker.force(now, Mode::Normal)))
            }
            8..12 => tell(format_args!(
                "breaker at {now:?}: {:?}, {:?}, {:?}; {} tokens",
                breaker.state(now),
                breaker.remaining(now),
                breaker.circuit(),
                budget.tokens(),
            )),
            _ => return self.go_on(random, now, tell),
        }
        None
    }

    fn go_on(&mut self, random: &mut Rand32, now: Instant, tell: Tell<'_>) -> Option<Instant> {
        let Some(run) = &mut self.run else {
            let which = random.rand_range(0..6);
            self.run = Some(self.policies[which as usize].start(now, 0));
            self.over = false;
            tell(format_args!("run by policy {which} at {now:?}"));
            return None;
        };
        let draw = random.rand_u32();
        let under_way = place(&self.attempts, draw % 2);
        let free = self.attempts.iter().position(Option::is_none);
        match (random.rand_range(0..100), under_way, free) {
            (0..2, _, _) => {
                self.run = None;
                self.attempts = [None, None];
                tell(format_args!("run dropped"));
            }
            (2..5, Some(at), _) => {
                if let Some(attempt) = self.attempts[at].take() {
                    run.cancel(attempt);
                }
                tell(format_args!("attempt cancelled"));
            }
            // A second one, or one when it is over, now and then.
            (0..12, _, Some(place)) | (_, None, Some(place)) if !self.over || draw & 7 == 0 => {
                let Step { next, events } = run.attempt(now);
                match next {
                    Leave::Granted(attempt) => {
                        let (made, ends) = (attempt.made(), attempt.ends());
                        tell(format_args!(
                            "leave at {now:?}: {made:?}, until {ends:?}, {events:?}"
                        ));
                        self.attempts[place] = Some(attempt);
                    }
                    Leave::Refused(error) => {
                        tell(format_args!("refused at {now:?}: {error:?}, {events:?}"));
                        self.over = true;
                    }
                    Leave::NotNow => tell(format_args!("not now, at {now:?}: {events:?}")),
                }
            }
            (_, Some(at), _) => {
                let attempt = self.attempts[at].take()?;
                let (result, bits) = (result(random, draw), random.rand_u32());
                let Step { next, events } = run.settle(attempt, now, result, || bits);
                tell(format_args!("{result:?} at {now:?}, {bits}: {next:?}, {events:?}"));
                match next {
                    Next::Retry(at) => return Some(at),
                    Next::Done(_) => self.over = true,
                    Next::Pending => {}
                }
            }
            (_, None, _) => {
                self.run = None;
                tell(format_args!("run ended"));
            }
        }
        None
    }
}

pub(super) fn result(random: &mut Rand32, answer: u32) -> Option<Result<u32, u32>> {
    match random.rand_range(0..20) {
        0..9 => Some(Ok(answer)),
        9 => None,
        _ => {
            // What was asked for is short more often than not.
            let wait = length(random).as_micros() as u32 >> (answer % 16);
            Some(Err(wait << 8 | random.rand_range(0..256)))
        }
    }
}

/// An error's low bits say what it is, the others what wait it asks for, in milliseconds.
pub(super) fn verdict(error: &u32) -> Verdict {
    let (what, wait) = (*error as usize & 0x1f, *error >> 8);
    let verdict = match what {
        0..9 => Verdict::of(CLASSES[what]),
        9 => Verdict::of(Class::Transient).retry(Retry::Never),
        10 => Verdict::of(Class::Permanent).retry(Retry::Once),
        11..14 => Verdict::of(Class::Overloaded).retry(Retry::Once),
        _ => Verdict::of(Class::Transient),
    };
    match *error & 0xc0 {
        0 => verdict.not_before(Duration::from_millis(wait.into())),
        _ => verdict,
    }
}

const CLASSES: [Class; 9] = [
    Class::Transient,
    Class::Timeout,
    Class::Overloaded,
    Class::RateLimited,
    Class::Permanent,
    Class::Auth,
    Class::Quota,
    Class::Context,
    Class::Policy,
];
