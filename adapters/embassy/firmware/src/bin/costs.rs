//! Counts the instructions of what a call does, over many inputs, and prints the most.
//!
//! Under QEMU's `-icount shift=7`, which lets an instruction take 128 ns of the board's time:
//! more than a cycle of its timer, which so tells their number exactly.
#![no_std]
#![no_main]

use core::arch::asm;
use core::hint::black_box;

use firmware::board::counter;
use firmware::costs::{Call, INPUTS, Meanwhile, Wait};
use firmware::image;
use semihosting::println;
use steadfast::state::{COARSE, COUNT_ONLY, Monotonic, NO_WINDOW, Outcome};
use steadfast::{Breaker, Budget, Bulkhead, Metrics, Orchestrator};

image!(main);

/// What an operation with all its parts keeps in memory.
#[expect(dead_code, reason = "only its size is asked for")]
struct Operation<const BUCKETS: usize>(Breaker, Budget, Bulkhead, Metrics<BUCKETS, 1, Monotonic>);

fn main() -> bool {
    let meter = Meter::new();
    let exact = meter.is_exact();
    let mut most = [Most::default(); NAMES.len()];
    for number in 0..INPUTS {
        call(&meter, number, &mut most);
        wait_between(&meter, number, &mut most);
    }
    for (name, most) in NAMES.iter().zip(&most) {
        println!("instructions {name} {} {}", most.count, most.number);
    }
    println!("ram breaker {}", size_of::<Breaker>());
    println!("ram counters {}", size_of::<Operation<COUNT_ONLY>>());
    println!("ram histogram {}", size_of::<Operation<COARSE>>());
    println!("ram place {}", size_of::<Orchestrator<1, COUNT_ONLY, 1, NO_WINDOW>>());
    exact
}

/// A call of a breaker, from its question to its end.
fn call(meter: &Meter, number: u32, most: &mut [Most; NAMES.len()]) {
    let [healthy, admit, refuse, settled, released, both, grown, ..] = most;
    let input = Call::nth(number);
    let breaker = black_box(Breaker::resume(input.rule, input.circuit));
    let mut answer = None;
    let asked = meter.count(&mut || answer = Some(breaker.try_acquire(input.now)));
    let Some(Ok(permit)) = answer else { return refuse.at_least(asked, number) };
    admit.at_least(asked, number);
    meanwhile(&breaker, &input);
    let mut permit = Some(permit);
    let told = match input.outcome {
        Some(outcome) => {
            let told = meter.count(&mut || {
                black_box(permit.take().map(|permit| permit.settle(input.later, outcome)));
            });
            settled.at_least(told, number);
            told
        }
        None => {
            let told = meter.count(&mut || permit = None);
            released.at_least(told, number);
            told
        }
    };
    let call = if input.grows() { grown } else { both };
    call.at_least(asked + told, number);
    if input.is_healthy() {
        healthy.at_least(asked + told, number);
    }
}

/// What other callers do before the call ends.
fn meanwhile(breaker: &Breaker, input: &Call) {
    match input.meanwhile {
        None => {}
        Some(Meanwhile::Forces(mode)) => {
            breaker.force(input.now, mode);
        }
        Some(Meanwhile::Resets) => {
            breaker.reset();
        }
        Some(Meanwhile::Fails) => {
            if let Ok(other) = breaker.try_acquire(input.now) {
                other.settle(input.now, Outcome::Failure);
            }
        }
    }
}

/// A wait between two attempts.
fn wait_between(meter: &Meter, number: u32, most: &mut [Most; NAMES.len()]) {
    let [.., own, asked_for] = most;
    let Wait { backoff, failed, previous, random, asked, .. } = Wait::nth(number);
    match asked {
        None => {
            let count = meter.count(&mut || _ = black_box(backoff.wait(failed, previous, random)));
            own.at_least(count, number);
        }
        Some(asked) => {
            let count = meter.count(&mut || {
                black_box(backoff.wait_asked(asked, failed, previous, random));
            });
            asked_for.at_least(count, number);
        }
    }
}

const NAMES: [&str; 9] =
    ["healthy", "admit", "refuse", "settle", "release", "both", "grown", "wait", "asked_wait"];

/// The most instructions, and of which input.
#[derive(Clone, Copy, Default)]
struct Most {
    count: u32,
    number: u32,
}

impl Most {
    fn at_least(&mut self, count: u32, number: u32) {
        if count > self.count {
            *self = Self { count, number };
        }
    }
}

/// The board's counter, and what it says of instructions.
struct Meter {
    /// Cycles of nothing.
    none: u32,
    /// Cycles of [`MANY`] instructions.
    many: u32,
}

impl Meter {
    fn new() -> Self {
        counter::start();
        let spin = |turns| cycles(&mut || counter::spin(turns));
        Self { none: cycles(&mut || ()), many: spin(MANY / 2 + 9) - spin(9) }
    }

    /// Whether it tells of a few known numbers of instructions how many they are.
    fn is_exact(&self) -> bool {
        let found = [&mut nops::<1> as &mut dyn FnMut(), &mut nops::<70>, &mut nops::<151>]
            .map(|nops| self.count(nops));
        if found != [1, 70, 151] {
            println!("1, 70, 151 instructions counted as {found:?}: run it with -icount shift=7");
        }
        found == [1, 70, 151]
    }

    /// The instructions of an operation, with those that hand over what it takes and returns.
    fn count(&self, operation: &mut dyn FnMut()) -> u32 {
        let cycles = u64::from(cycles(operation).saturating_sub(self.none));
        let (many, of_many) = (u64::from(MANY), u64::from(self.many));
        ((cycles * many + of_many / 2) / of_many) as u32
    }
}

// One and the same code around each operation.
#[inline(never)]
fn cycles(operation: &mut dyn FnMut()) -> u32 {
    let began = counter::read();
    operation();
    counter::since(began)
}

fn nops<const N: usize>() {
    // SAFETY: they do nothing.
    unsafe { asm!(".rept {}", "nop", ".endr", const N, options(nomem, nostack, preserves_flags)) };
}

const MANY: u32 = 10_000;
