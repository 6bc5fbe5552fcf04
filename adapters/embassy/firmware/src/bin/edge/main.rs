//! An edge client: asks a model about each reading of a sensor, over HTTP, and has an answer of its
//! own for when the model has none.
//!
//! The network is a UART that QEMU bridges to the chat service (`line.rs`); any other
//! `embedded_nal_async::TcpConnect` may take its place. At the end the metrics go out over another
//! UART, and `devices` compares them with what was printed.
#![no_std]
#![no_main]

mod advice;
mod line;
mod uart;

use core::convert::Infallible;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use embassy_time::{Duration, Instant, Timer};
use embedded_io_async::Write as _;
use firmware::{board, executor};
use portable_atomic::{AtomicU32, Ordering};
use semihosting::{print, println};
use static_cell::StaticCell;
use steadfast::orchestrator::{Key, Orchestrator, Registration};
use steadfast::state::{COARSE, NO_WINDOW};
use steadfast::{Class, Clock as _, Error, OrElseError, Strategy};
use steadfast_embassy::{EmbassyClock, Pump};

use crate::advice::{Advice, By, CallError, Reading, ask};
use crate::line::Line;
use crate::uart::Uart;

static ORCHESTRATOR: Orchestrator<1, COARSE, 1, NO_WINDOW> = Orchestrator::new()
    .operation(
        "ai_reading",
        Registration::by(Strategy::Aggressive)
            .given(Key::Attempts, 3)
            .given(Key::Multiplier, millis(100))
            .given(Key::Min, millis(100))
            .given(Key::Max, millis(800))
            .given(Key::Jitter, millis(100))
            .given(Key::Window, millis(2_000))
            .given(Key::MaxAskedWait, millis(1_500))
            .given(Key::Tokens, 10)
            .given(Key::PerSuccess, 1_000)
            .given(Key::Refill, millis(2_000))
            .given(Key::AttemptTimeout, millis(700))
            .given(Key::Deadline, millis(2_500))
            .given(Key::Failures, 5)
            .given(Key::OpenFor, millis(1_500))
            .given(Key::Lease, millis(3_000)),
    )
    .watched_by(&EVENTS);

/// Printing takes its time, so it is not done in the middle of an execution.
static EVENTS: Pump<16> = Pump::new();

static METRICS: Uart = Uart::at(0x4000_e000);
static NETWORK: Uart = Uart::at(0x4000_d000);
static REQUESTS: AtomicU32 = AtomicU32::new(1);

#[cortex_m_rt::entry]
fn start() -> ! {
    METRICS.start();
    NETWORK.start();
    // SAFETY: the handler is there, and nothing is in a critical section that it could break.
    unsafe {
        NVIC::unmask(Irq(METRICS_IRQ));
        NVIC::unmask(Irq(NETWORK_IRQ));
    }
    executor::run(|spawner| {
        spawner.spawn(edge().expect("spawned once"));
        spawner.spawn(say().expect("spawned once"));
    })
}

#[cortex_m_rt::exception]
fn SysTick() {
    executor::tick();
}

#[cortex_m_rt::exception]
unsafe fn DefaultHandler(number: i16) {
    match number.cast_unsigned() {
        METRICS_IRQ => METRICS.interrupt(),
        NETWORK_IRQ => NETWORK.interrupt(),
        _ => panic!("interrupt {number}"),
    }
}

#[embassy_executor::task]
async fn edge() {
    static LINE: StaticCell<Line> = StaticCell::new();
    let line = &*LINE.init(Line::over(&NETWORK));
    let clock = &EmbassyClock::seeded(&DEVICE);
    let handle = ORCHESTRATOR.get("ai_reading").expect("registered");

    // Whoever bridges the line has connected by then.
    Timer::after_millis(500).await;
    let mut mistaken = 0;
    let mut due = Instant::now();
    for reading in (1..).map(Reading::of) {
        let begun = Instant::now();
        if begun.as_millis() >= ENDS {
            break;
        }
        let answer = handle
            .execute_or_else(clock, || asked(line, reading), |error| instead(reading, error))
            .await;
        tell(reading, begun, &answer);
        mistaken += u32::from(answer.is_ok_and(|advice| reading.is_mistaken(&advice)));
        due = (due + EVERY).max(Instant::now());
        Timer::at(due).await;
    }
    let lost = say_all();
    println!(
        "{mistaken} answers mistaken, {} skipped, {} bytes lost, {lost} events lost",
        line.skipped(),
        NETWORK.lost()
    );

    let mut buffer = [0; 768];
    let report = ORCHESTRATOR.report(clock.now(), None);
    let sent = match postcard::to_slice_cobs(&report, &mut buffer) {
        Ok(frame) => (&METRICS).write_all(frame).await.is_ok() && (&METRICS).flush().await.is_ok(),
        Err(_) => false,
    };
    board::end(mistaken == 0 && lost == 0 && sent);
}

/// One attempt, which prints when it begins and how it ends. If it is given up, nothing is printed.
async fn asked(line: &Line, reading: Reading) -> Result<Advice, CallError> {
    let id = REQUESTS.fetch_add(1, Ordering::Relaxed);
    println!("     > {} request {id} of call {}", millis_now(), reading.number);
    let answer = ask(line, id, reading).await;
    match &answer {
        Ok(_) => println!("     < {} request {id}: answered", millis_now()),
        Err(error) => println!("     < {} request {id}: {error}", millis_now()),
    }
    answer
}

/// Prints what executions did, whenever there is time.
#[embassy_executor::task]
async fn say() {
    loop {
        EVENTS.more().await;
        let lost = say_all();
        if lost > 0 {
            println!("{lost} events lost");
        }
    }
}

/// Prints what there is, and returns how many events there was no room for.
fn say_all() -> u32 {
    while let Some(told) = EVENTS.take() {
        println!("     · {}", told.event);
    }
    EVENTS.take_lost()
}

/// What the device answers by itself: most of it, but not what only the model can know, nor what the
/// service says is wrong with the request.
fn instead(
    reading: Reading,
    error: Error<CallError>,
) -> Result<Advice, OrElseError<CallError, Infallible>> {
    match error.class {
        Some(Class::Permanent | Class::Auth | Class::Quota | Class::Context) => {
            Err(OrElseError::GaveUp(error))
        }
        _ if reading.number % 5 == 0 => Err(OrElseError::GaveUp(error)),
        _ => {
            match &error.last {
                Some(last) => println!("     · the device answers: {error}: {last}"),
                None => println!("     · the device answers: {error}"),
            }
            Ok(reading.canned())
        }
    }
}

fn tell(
    reading: Reading,
    begun: Instant,
    answer: &Result<Advice, OrElseError<CallError, Infallible>>,
) {
    let (at, took) = (begun.as_millis(), begun.elapsed().as_millis());
    print!("{at:5} call {} ", reading.number);
    match answer {
        Ok(Advice { by: By::Model, text }) => print!("answered: {text}"),
        Ok(Advice { by: By::Device, text }) => print!("fell back: {text}"),
        Err(OrElseError::GaveUp(error)) if error.attempts == 0 => print!("refused: {error}"),
        Err(OrElseError::GaveUp(error)) => print!("failed: {error}"),
        Err(OrElseError::Fallback(never)) => match *never {},
    }
    println!(", after {took} ms");
}

/// An interrupt of the board.
#[derive(Clone, Copy)]
struct Irq(u16);

// SAFETY: both are numbers of the board's interrupts.
unsafe impl InterruptNumber for Irq {
    fn number(self) -> u16 {
        self.0
    }
}

fn millis_now() -> u64 {
    Instant::now().as_millis()
}

const fn millis(millis: u64) -> u64 {
    millis * 1_000
}

const METRICS_IRQ: u16 = 33;
const NETWORK_IRQ: u16 = 6;
const DEVICE: [u8; 4] = *b"edge";
const EVERY: Duration = Duration::from_millis(500);
/// When the service has lived through its script, and been well again for a while.
const ENDS: u64 = 33_000;
