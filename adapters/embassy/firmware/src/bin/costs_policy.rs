//! Calls with retries and a timeout, protected by a breaker.
#![no_std]
#![no_main]

use core::time::Duration;
use firmware::image;
use firmware::protected::{Timer, answer, both, unheard, wait_for};
use steadfast::policy::{Class, Verdict};
use steadfast::{Backoff, Breaker, Jitter, Policy, Trip};

static BREAKER: Breaker = Breaker::new(Trip::after(3).of_last(9), Duration::from_secs(30));
static POLICY: Policy<'static, fn(&u8) -> Verdict> = Policy::new()
    .attempts(3)
    .backoff(
        Backoff::exponential(
            Duration::from_millis(200),
            Duration::from_millis(100),
            Duration::from_secs(10),
        )
        .jitter(Jitter::Full),
    )
    .attempt_timeout(Duration::from_secs(5))
    .breaker(&BREAKER)
    .classify(verdict);

fn verdict(code: &u8) -> Verdict {
    match code {
        2 => Verdict::of(Class::Transient),
        _ => Verdict::of(Class::Permanent),
    }
}

image!(main);

fn main() -> bool {
    both(call, unheard)
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn call(now: u64, works: bool) -> bool {
    wait_for(POLICY.execute(Timer(now), || answer(works))).is_ok()
}
