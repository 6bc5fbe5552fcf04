//! Calls protected by a breaker that may have any rule: with probes, a lease and growth.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::time::Duration;
use firmware::image;
use firmware::protected::{both, protected, unheard};
use steadfast::{Breaker, Rule, Trip};

static BREAKER: Breaker = Breaker::with_rule(
    Rule::new(Trip::after(3).of_last(9), Duration::from_secs(30))
        .probes(3)
        .lease(Duration::from_secs(60))
        .open_growth(15, Duration::from_secs(3_600)),
);

image!(main);

fn main() -> bool {
    both(call, unheard)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call(now: u64, works: bool) -> bool {
    protected(black_box(&BREAKER), now, works)
}
