//! The machines and guards, under an interrupt that uses them too.
#![no_std]
#![no_main]

use firmware::{board, image, on_tick};
use portable_atomic::{AtomicU32, Ordering};
use semihosting::println;

static TICKS: AtomicU32 = AtomicU32::new(0);

image!(main);
on_tick!(tick);

fn tick() {
    TICKS.store(TICKS.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
}

fn main() -> bool {
    board::tick_every(10_000);
    while TICKS.load(Ordering::Relaxed) < 10 {
        board::idle();
    }
    println!("{}: {} ticks", board::NAME, TICKS.load(Ordering::Relaxed));
    true
}
