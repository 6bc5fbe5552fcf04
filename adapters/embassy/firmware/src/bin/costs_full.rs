//! Calls protected by a breaker with all there is to a rule, which is a constant, and that is told its
//! mode.
#![no_std]
#![no_main]

use core::time::Duration;
use firmware::image;
use firmware::protected::{Always, Fixed, both, protected};
use steadfast::state::{Guarded as _, Mode, Transition};
use steadfast::{Instant, Rule, Trip};

struct Full;

static BREAKER: Fixed<Full> = Fixed::new();

impl Always for Full {
    const RULE: Rule = Rule::new(Trip::after(3).of_last(9), Duration::from_secs(30))
        .probes(3)
        .lease(Duration::from_secs(60))
        .open_growth(15, Duration::from_secs(3_600));
}

image!(main);

fn main() -> bool {
    both(call, told)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call(now: u64, works: bool) -> bool {
    protected(&BREAKER, now, works)
}

fn told(now: u64, mode: Mode) -> Option<Transition> {
    (&BREAKER).shared().force(Instant::from_micros(now), mode)
}
