//! What the other images `costs_*` are compared with: calls without protection.
#![no_std]
#![no_main]

use core::hint::black_box;
use firmware::image;
use firmware::protected::{both, unheard};

image!(main);

fn main() -> bool {
    both(call, unheard)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call(now: u64, works: bool) -> bool {
    black_box(now);
    black_box(works)
}
