//! Calls protected by a breaker whose rule is a constant.
#![no_std]
#![no_main]

use core::time::Duration;
use firmware::image;
use firmware::protected::{both, protected};
use steadfast::state::{Guarded, SharedCircuit};
use steadfast::{Rule, Trip};

struct Fixed(SharedCircuit);

static BREAKER: Fixed = Fixed(SharedCircuit::new());

impl Guarded for &Fixed {
    type Followed<'a>
        = &'static Rule
    where
        Self: 'a;

    fn shared(&self) -> &SharedCircuit {
        &self.0
    }

    fn rule(&self) -> &'static Rule {
        const { &Rule::new(Trip::after(3).of_last(9), Duration::from_secs(30)) }
    }
}

image!(main);

fn main() -> bool {
    both(call)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call(now: u64, works: bool) -> bool {
    protected(&BREAKER, now, works)
}
