//! Uses the whole core, and links against a panic handler that does not exist: if anything that is
//! used here could panic, the linker would miss it and say so.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use steadfast::orchestrator::Config;
use steadfast::policy::{Growth, Leave, Next};
use steadfast::state::{COARSE, Circuit, Outcome};
use steadfast::{
    Backoff, Breaker, Budget, BudgetRule, Bulkhead, Class, Classify, Clock, Error, Event, Frugal,
    Instant, Jitter, Metrics, OrElseError, Orchestrator, Policy, Rule, Sleep, Strategy, Trip,
    Verdict, Wait,
};

static BREAKER: Breaker = Breaker::new(Trip::after(3).of_last(9), Duration::from_secs(9));
static BULKHEAD: Bulkhead = Bulkhead::new(3);
static BUDGET: Budget = Budget::with_rule(Strategy::Balanced.settings().budget);
static METRICS: Metrics<COARSE, 2> = Metrics::new();
static POLICY: Policy = Policy::of(Strategy::Critical)
    .breaker(&BREAKER)
    .bulkhead(&BULKHEAD)
    .budget(&BUDGET)
    .metrics(&METRICS)
    .observer(&|event: &Event| {
        black_box(event);
    });

static FRUGAL: Frugal<Ticks> =
    Frugal::new(Ticks).wakes_per_hour(60).aligned(next_wake_up, Duration::from_secs(9));

static TABLE: Orchestrator<4, COARSE> = Orchestrator::new();

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
        table();
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
}

fn machines() {
    let (n, wait) = (black_box(5), black_box(Duration::from_secs(5)));
    if let Ok(rule) = Rule::try_new(n, n, wait)
        && let Ok(rule) = rule.try_probes(n)
        && let Ok(rule) = rule.try_lease(wait)
    {
        let now = Ticks.now();
        let circuit = black_box(Circuit::from_bits(n, n));
        black_box((circuit.remaining(&rule, now), circuit.admits_at(&rule, now), circuit.level()));
        let breaker = Breaker::resume(rule, circuit);
        black_box((breaker.state(now), breaker.remaining(now)));
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
        black_box(Budget::with_rule(rule).withdraw(Ticks.now()));
    }
    let snapshot = METRICS.snapshot();
    black_box((snapshot.success_rate(), snapshot.failure_rate(), METRICS.latency(n)));
    let _ = black_box(METRICS.reset());
}

fn table() {
    if let Ok(config) = Config::<4>::from_postcard(black_box(&[1, 0, 0, 0, 0])) {
        let _ = black_box(TABLE.configure(&config));
        let mut bytes = [0; Config::<4>::POSTCARD_BYTES];
        let _ = black_box(config.to_postcard(&mut bytes));
    }
    black_box(TABLE.health(Ticks.now(), None));
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
