//! Calls protected by a breaker that may have any rule: with probes, a lease and growth.
#![no_std]
#![no_main]

use core::hint::black_box;
use firmware::image;
use firmware::protected::{FULL, both, protected, unheard};
use steadfast::Breaker;

static BREAKER: Breaker = Breaker::with_rule(FULL);

image!(main);

fn main() -> bool {
    both(call, unheard)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call(now: u64, works: bool) -> bool {
    protected(black_box(&BREAKER), now, works)
}
