//! Calls protected by a breaker whose rule is a constant.
#![no_std]
#![no_main]

use core::time::Duration;
use firmware::image;
use firmware::protected::{Always, Fixed, both, protected, unheard};
use steadfast::{Rule, Trip};

struct Thrice;

static BREAKER: Fixed<Thrice> = Fixed::new();

impl Always for Thrice {
    const RULE: Rule = Rule::new(Trip::after(3).of_last(9), Duration::from_secs(30));
}

image!(main);

fn main() -> bool {
    both(call, unheard)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call(now: u64, works: bool) -> bool {
    protected(&BREAKER, now, works)
}
