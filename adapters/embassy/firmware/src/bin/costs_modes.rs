//! Calls protected by a breaker that may have any rule, and that is told its mode.
#![no_std]
#![no_main]

use core::hint::black_box;
use firmware::image;
use firmware::protected::{FULL, both, protected};
use steadfast::state::{Mode, Transition};
use steadfast::{Breaker, Instant};

static BREAKER: Breaker = Breaker::with_rule(FULL);

image!(main);

fn main() -> bool {
    both(call, told)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call(now: u64, works: bool) -> bool {
    protected(black_box(&BREAKER), now, works)
}

fn told(now: u64, mode: Mode) -> Option<Transition> {
    black_box(&BREAKER).force(Instant::from_micros(now), mode)
}
