//! Calls protected by a breaker with all there is to a rule, which is a constant, and that is told its
//! mode.
#![no_std]
#![no_main]

use firmware::image;
use firmware::protected::{Always, FULL, Fixed, both, protected};
use steadfast::state::{Guarded as _, Mode, Transition};
use steadfast::{Instant, Rule};

struct Full;

static BREAKER: Fixed<Full> = Fixed::new();

impl Always for Full {
    const RULE: Rule = FULL;
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
