//! Uses the whole core, and links against a panic handler that does not exist: if anything that is
//! used here could panic, the linker would miss it and say so.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use steadfast::orchestrator::{Config, Key, Name, Overrides, Registration};
use steadfast::policy::{Growth, Leave, Next};
use steadfast::state::{
    Admission, COARSE_BOTH, Circuit, Evidence, FULL_WINDOW, Guarded, Limit, LimitRule, Limiter,
    Mode, Outcome, SharedBuckets, SharedCircuit, SharedWindow, Window, WindowRule,
};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Class, Classify, Clock, Error, Event, Frugal,
    Instant, Jitter, Metrics, OrElseError, Orchestrator, Policy, Rule, Sleep, Strategy, Trip,
    Verdict, Wait,
};

static BREAKER: Breaker = Breaker::new(Trip::after(3).of_last(9), Duration::from_secs(9));
static BULKHEAD: Bulkhead = Bulkhead::new(3);
static BUDGET: Budget = Budget::with_rule(Strategy::Balanced.settings().budget);
static METRICS: Metrics<COARSE_BOTH, 2> = Metrics::new();
static LIMITER: Limiter = Limiter::new(LimitRule::requests(7).and_tokens(1_000));
static BY_COUNT: Window<{ Window::words(100) }> =
    Window::new(WindowRule::over_last(100).failure_rate(500).failures(20, 50));
static BY_TIME: Window = Window::new(
    WindowRule::within(Duration::from_secs(60)).slow_rate(500, Duration::from_secs(2)).min_calls(9),
);
static POLICY: Policy = Policy::of(Strategy::Critical)
    .breaker(&BREAKER)
    .window(&BY_COUNT)
    .bulkhead(&BULKHEAD)
    .limiter(&LIMITER)
    .estimate(300)
    .budget(&BUDGET)
    .metrics(&METRICS)
    .observer(&|event: &Event| {
        black_box(event);
    });

static FRUGAL: Frugal<Ticks> =
    Frugal::new(Ticks).wakes_per_hour(60).aligned(next_wake_up, Duration::from_secs(9));

static TABLE: Orchestrator<4, COARSE_BOTH> = Orchestrator::new();

#[derive(Clone, Copy, Debug)]
struct Fault(u8);

impl Classify for Fault {
    fn verdict(&self) -> Verdict {
        match self.0 {
            0 => Verdict::of(Class::RateLimited).not_before(black_box(Duration::MAX)),
            _ => Verdict::of(Class::Transient),
        }
    }
}

#[derive(Clone, Copy)]
struct Ticks;

impl Clock for Ticks {
    fn now(&self) -> Instant {
        Instant::from_micros(black_box(7))
    }
}

impl Sleep for Ticks {
    type Sleeping = Once<()>;

    fn sleep_until(&self, at: Instant) -> Once<()> {
        black_box(at);
        ready(())
    }

    fn random(&self) -> u32 {
        black_box(4)
    }
}

impl Wait for Ticks {
    fn wait_until(&self, at: Instant) {
        black_box(at);
    }

    fn random(&self) -> u32 {
        black_box(4)
    }
}

const fn next_wake_up(earliest: Instant) -> Option<Instant> {
    if earliest.as_micros() % 2 == 0 { Some(earliest) } else { None }
}

/// Ready once: `core::future::Ready` panics when polled after that.
struct Once<T>(Option<T>);

const fn ready<T>(value: T) -> Once<T> {
    Once(Some(value))
}

impl<T: Unpin> Future for Once<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        self.get_mut().0.take().map_or(Poll::Pending, Poll::Ready)
    }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    loop {
        executions();
        by_hand();
        machines();
        windows();
        limits();
        modes();
        table();
        names();
        handles();
    }
}

fn executions() {
    let operation = || ready(black_box(Err::<u32, Fault>(Fault(1))));
    let fallback = |error: Error<Fault>| match error.attempts {
        0 => Err(OrElseError::<_, u8>::GaveUp(error)),
        _ => Ok(black_box(7)),
    };
    poll(POLICY.execute(Ticks, operation));
    poll(POLICY.execute(&FRUGAL, operation));
    let _ = black_box(POLICY.execute_blocking(&FRUGAL, |_| black_box(Err::<u32, _>(Fault(0)))));
    poll(POLICY.execute_once(Ticks, operation()));
    poll(POLICY.execute_told(Ticks, |made| ready(Err::<(), _>(Fault(made.attempt as u8)))));
    poll(POLICY.execute_or_else(Ticks, operation, fallback));
    poll(POLICY.execute_or_else_async(Ticks, operation, |error| ready(fallback(error))));
    let _ = black_box(POLICY.execute_blocking(Ticks, |_| black_box(Err::<u32, _>(Fault(0)))));
    let _ = black_box(POLICY.execute_blocking_or_else(
        Ticks,
        |_| black_box(Err::<u32, _>(Fault(0))),
        fallback,
    ));
}

fn by_hand() {
    let mut run = POLICY.start(Ticks.now(), Ticks.shard_hint());
    while let Leave::Granted(attempt) = run.attempt(Ticks.now()).next {
        let result = black_box(Some(Err::<u32, _>(Fault(1))));
        match run.settle(attempt, Ticks.now(), result, || black_box(1)).next {
            Next::Retry(at) => Ticks.wait_until(at),
            _ => break,
        }
    }
    if let Leave::Granted(attempt) = run.attempt(Ticks.now()).next {
        run.cancel(attempt);
        black_box(run.attempt(Ticks.now()).next);
    }
}

fn machines() {
    let (n, wait) = (black_box(5), black_box(Duration::from_secs(5)));
    if let Ok(rule) = Rule::try_new(n, n, wait)
        && let Ok(rule) = rule.try_probes(n)
        && let Ok(rule) = rule.try_lease(wait)
        && let Ok(rule) = rule.try_open_growth(n, wait)
    {
        let now = Ticks.now();
        let circuit = black_box(Circuit::from_bits(n, n));
        black_box(rule.open_period(n));
        let _ = black_box(Rule::try_by(rule.trip(), wait));
        if let (next, Admission::Admitted(ticket, moved)) = circuit.admit(&rule, now) {
            black_box((next.settle(&rule, now, ticket, black_box(Outcome::Failure)), moved));
            black_box((next.trip(&rule, now, ticket), next.release(ticket)));
        }
        black_box((circuit.force(now, black_box(Mode::ForcedOpen)), circuit.reset()));
        black_box((circuit.remaining(&rule, now), circuit.admits_at(&rule, now), circuit.level()));
        let breaker = Breaker::resume(rule, circuit);
        black_box((breaker.state(now), breaker.remaining(now)));
        let _ = black_box(((&breaker).peek(now), (&breaker).foresee(now, now)));
        if let Ok(permit) = breaker.try_acquire(now) {
            black_box(permit.settle(now, black_box(Outcome::Failure)));
        }
    }
    for jitter in [Jitter::Full, Jitter::Equal, Jitter::Decorrelated, Jitter::Additive(wait)] {
        if let Ok(backoff) = Backoff::try_new(black_box(Growth::Linear), wait, wait, wait)
            && let Ok(backoff) = backoff.try_jitter(jitter)
        {
            black_box(backoff.wait_asked(wait, n, wait, n));
        }
    }
    if let Ok(rule) = BudgetRule::try_new(n, n, wait) {
        let budget = Budget::with_rule(rule);
        black_box(budget.withdraw(Ticks.now()));
        budget.deposit();
        black_box(budget.tokens());
    }
    black_box(METRICS.raw());
    let snapshot = METRICS.snapshot();
    black_box((snapshot.success_rate(), snapshot.failure_rate(), METRICS.latency(n)));
    black_box(METRICS.attempt_latency(n));
    let _ = black_box(METRICS.reset());
}

fn windows() {
    let (n, length, now) = (black_box(5), black_box(Duration::from_secs(5)), Ticks.now());
    let rule = black_box(WindowRule::NONE);
    let rule = rule.try_over_last(n).unwrap_or(rule);
    let rule = rule.try_within(length).unwrap_or(rule);
    let rule = rule.try_failures(n, n).unwrap_or(rule);
    let rule = rule.try_failure_rate(n).unwrap_or(rule);
    let rule = rule.try_slow_rate(n, length).unwrap_or(rule);
    let rule = rule.try_min_calls(n).unwrap_or(rule);
    black_box((rule.outcomes(), rule.time(), rule.calls_needed(), rule.slow_rate_limit()));
    // Under a rule that nobody knows before, with too few words, and with many.
    static FEW: SharedWindow<7> = SharedWindow::new();
    static ANY: SharedWindow<FULL_WINDOW> = SharedWindow::new();
    static MANY: SharedWindow<1000> = SharedWindow::new();
    static BREAKER: Breaker = Breaker::with_rule(Rule::new(Trip::NEVER, Duration::from_secs(9)));
    let breaker = &BREAKER;
    for outcome in [Outcome::Success, Outcome::Failure] {
        for evidence in [&BY_COUNT as &dyn Evidence, &BY_TIME] {
            if let Ok(permit) = breaker.try_acquire(now) {
                black_box(permit.settle_with(now, black_box(outcome), length, evidence));
            }
        }
        let circuit = black_box(SharedCircuit::new());
        if let Admission::Admitted(ticket, _) = circuit.admit(breaker.rule(), now)
            && let Some(phase) = circuit.closed_phase(ticket)
        {
            black_box(FEW.enter(&rule, now, phase, outcome, length));
            black_box(ANY.enter(&rule, now, phase, outcome, length));
            black_box(MANY.enter(&rule, now, phase, outcome, length));
            black_box(circuit.trip(breaker.rule(), now, ticket));
        }
    }
}

fn limits() {
    let (n, now) = (black_box(5), black_box(Ticks.now()));
    let rule = black_box(LimitRule::NONE);
    let rule = rule.try_requests(n).unwrap_or(rule);
    let rule = rule.try_tokens(n).unwrap_or(rule);
    static ANY: SharedBuckets = SharedBuckets::new();
    if let Ok(taken) = ANY.take(&rule, now, n) {
        ANY.refund(taken);
    }
    let _ = black_box(ANY.foresee(&rule, now, now, n));
    ANY.settle(&rule, now, n, black_box(9));
    if let Ok(reservation) = LIMITER.try_reserve(now, n) {
        reservation.begin().settle(now, n);
    }
    let _ = black_box(LIMITER.try_reserve(now, n));
    let limiter = black_box(&LIMITER as &dyn Limit);
    limiter.settle(now, n, n);
}

fn modes() {
    let now = Ticks.now();
    for mode in Mode::ALL {
        black_box(BREAKER.force(now, black_box(mode)));
        black_box((BREAKER.mode(), BREAKER.state(now), BREAKER.remaining(now)));
        if let Ok(permit) = BREAKER.try_acquire(now) {
            black_box((permit.transition(), permit.shadowed()));
        }
    }
    black_box(BREAKER.reset());
}

fn table() {
    if let Ok(config) = Config::<4>::from_postcard(black_box(&[1, 0, 0, 0, 0])) {
        let _ = black_box(TABLE.configure(&config));
        let mut bytes = [0; Config::<4>::POSTCARD_BYTES];
        let _ = black_box(config.to_postcard(&mut bytes));
    }
    black_box(TABLE.health(Ticks.now(), None));
    let mut bytes = [0; 1000];
    let report = TABLE.report(Ticks.now(), black_box(Some(7)));
    let _ = black_box(postcard::to_slice(&report, &mut bytes));
}

fn names() {
    let name = black_box("critical");
    let _ = black_box((name.parse::<Mode>(), name.parse::<Strategy>(), name.parse::<Key>()));
    let _ = black_box(Name::new(name));
}

fn handles() {
    let (name, now, n) = (black_box("op"), Ticks.now(), black_box(5));
    let mut registration = Registration::by(black_box(Strategy::Aggressive));
    for key in Key::ALL {
        registration = registration.try_given(key, black_box(50_000)).unwrap_or(registration);
    }
    let _ = black_box(TABLE.register(name, registration));
    let config = Config::<4>::new().with_default_strategy(black_box(Strategy::Critical));
    if let Ok(config) = config.with_every_strategy(registration).try_operation(name, registration) {
        let _ = black_box(TABLE.configure(&config));
    }
    if let Ok(handle) = TABLE.get_or_register(name, Registration::new()) {
        let wait = black_box(Duration::from_secs(5));
        let overrides = Overrides::new().max_asked_wait(wait).retry_window(wait);
        let overrides = overrides.try_attempts(black_box(5)).unwrap_or(overrides);
        let handle = handle.strategy(black_box(Strategy::Balanced)).with(overrides).estimate(n);
        handle.settle_tokens(now, n);
        black_box((handle.name(), handle.settings()));
        let operation = || ready(black_box(Err::<u32, Fault>(Fault(1))));
        poll(handle.execute(Ticks, operation));
        poll(handle.execute(&FRUGAL, operation));
        poll(handle.execute_once(Ticks, operation()));
        let _ = black_box(handle.execute_blocking(Ticks, |_| black_box(Err::<u32, _>(Fault(0)))));
        let fallback = |error: Error<Fault>| match error.attempts {
            0 => Err(OrElseError::<_, u8>::GaveUp(error)),
            _ => Ok(black_box(7)),
        };
        let blocking = |_| black_box(Err::<u32, _>(Fault(0)));
        poll(handle.execute_told(Ticks, |made| ready(Err::<(), _>(Fault(made.attempt as u8)))));
        poll(handle.execute_or_else(Ticks, operation, fallback));
        poll(handle.execute_or_else_async(Ticks, operation, |error| ready(fallback(error))));
        let _ = black_box(handle.execute_blocking_or_else(Ticks, blocking, fallback));
        let mut run = handle.start::<Fault>(now, Ticks.shard_hint());
        black_box(run.attempt(now).next);
    }
    if let Ok(breaker) = TABLE.breaker(name) {
        black_box((breaker.state(now), breaker.remaining(now), breaker.rule()));
        black_box(breaker.force(now, black_box(Mode::Shadow)));
        black_box(breaker.reset());
    }
    black_box(
        TABLE.effective(name).map(|effective| Key::ALL.map(|key| effective.origin(key))).ok(),
    );
    let _ = black_box((TABLE.reset_metrics(name), TABLE.reset_all_metrics(), TABLE.len()));
    for view in TABLE.iter() {
        black_box((view.name(), view.snapshot()));
    }
}

fn poll<F: Future>(future: F) {
    let mut future = pin!(future);
    while black_box(future.as_mut().poll(&mut Context::from_waker(Waker::noop()))).is_pending() {}
}

unsafe extern "C" {
    fn something_in_the_core_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: never: it does not link.
    unsafe { something_in_the_core_can_panic() }
}
