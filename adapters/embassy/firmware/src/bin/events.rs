//! What calls do, kept by a `Pump` and said by a task of its own: as defmt logs it, by semihosting. The
//! host decodes that by this image's symbols.
//!
//! A service that is down until the breaker opens, refusals until its period is over, the probe that
//! closes it again; then more at once than the pump keeps.
#![no_std]
#![no_main]

use defmt_semihosting as _;
use embassy_executor::Spawner;
use embassy_time::{Instant, Timer};
use firmware::{board, executor};
use static_cell::StaticCell;
use steadfast::Clock as _;
use steadfast::orchestrator::{Handle, Key, Orchestrator, Registration};
use steadfast::policy::RetryAll;
use steadfast::state::Mode;
use steadfast_embassy::{EmbassyClock, Pump};

static PUMP: Pump<KEPT> = Pump::new();
static OPERATIONS: Orchestrator<1> = Orchestrator::new()
    .operation(
        "ai_summarize",
        Registration::new()
            .given(Key::Attempts, 2)
            .given(Key::Growth, CONSTANT)
            .given(Key::Multiplier, 250_000)
            .given(Key::Min, 0)
            .given(Key::JitterKind, NONE)
            .given(Key::Failures, 3)
            .given(Key::OfLast, 3)
            .given(Key::OpenFor, 2_000_000)
            .given(Key::Probes, 1),
    )
    .watched_by(&PUMP);

defmt::timestamp!("{=u64:us}", Instant::now().as_micros());

#[cortex_m_rt::entry]
fn start() -> ! {
    executor::run(|spawner| spawner.spawn(calls(spawner).expect("spawned once")))
}

#[cortex_m_rt::exception]
fn SysTick() {
    executor::tick();
}

/// Says what the calls do, whenever they wait.
#[embassy_executor::task]
async fn say() {
    PUMP.run().await
}

#[embassy_executor::task]
async fn calls(spawner: Spawner) {
    static CLOCK: StaticCell<EmbassyClock> = StaticCell::new();

    if !cfg!(fault = "nobody_says") {
        spawner.spawn(say().expect("spawned once"));
    }
    let clock = &*CLOCK.init(EmbassyClock::seeded(b"events"));
    let summarize = OPERATIONS.get("ai_summarize").expect("registered").retry_all();
    let breaker = OPERATIONS.breaker("ai_summarize").expect("registered");

    // The second call's retry would be the fourth failure: the third opens it.
    let mut as_expected = !call(&summarize, clock, false).await;
    as_expected &= !call(&summarize, clock, false).await;
    as_expected &= !call(&summarize, clock, true).await;
    Timer::after_millis(1_900).await;
    as_expected &= !call(&summarize, clock, true).await;
    Timer::after_millis(200).await;
    as_expected &= call(&summarize, clock, true).await;
    Timer::after_millis(100).await;

    breaker.force(clock.now(), Mode::ForcedOpen);
    for _ in 0..KEPT + LOST {
        as_expected &= !call(&summarize, clock, true).await;
    }
    Timer::after_millis(100).await;
    board::end(as_expected);
}

/// Whether it succeeds, with a service that works or does not.
async fn call(summarize: &Handle<'_, RetryAll>, clock: &EmbassyClock, works: bool) -> bool {
    summarize.execute(clock, || async move { works.then_some(()).ok_or("down") }).await.is_ok()
}

/// As many events as the pump keeps, and as it then does not.
const KEPT: usize = 8;
const LOST: usize = 3;
// As `Key` numbers the choices.
const CONSTANT: u64 = 0;
const NONE: u64 = 0;
