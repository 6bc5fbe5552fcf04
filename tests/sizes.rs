//! What things take, as DESIGN.md says it.
// The counters of a host: `--cfg sectioned` has those of a device.
#![cfg(not(sectioned))]

use core::future::{Ready, ready};

use steadfast::policy::{Attempt, ByError, Run};
use steadfast::state::{
    COARSE, COUNT_ONLY, FINE, FULL_WINDOW, Limiter, Monotonic, SharedCircuit, SharedWindow, Ticket,
};
use steadfast::{
    Backoff, Breaker, Budget, Bulkhead, Error, ManualClock, Metrics, Permit, Policy, Rule,
};

#[test]
fn design_says_the_sizes_that_there_are() {
    let clock = ManualClock::new();
    let policy = Policy::new().retry_all();
    let future = policy.execute(&clock, || -> Ready<Result<u32, u8>> { ready(Ok(1)) });
    let measured = [
        ("Rule", size_of::<Rule>()),
        ("SharedCircuit", size_of::<SharedCircuit>()),
        ("Breaker", size_of::<Breaker>()),
        ("Ticket", size_of::<Ticket>()),
        ("Permit<&Breaker>", size_of::<Permit<&Breaker>>()),
        ("Bulkhead", size_of::<Bulkhead>()),
        ("Budget", size_of::<Budget>()),
        ("Backoff", size_of::<Backoff>()),
        ("Limiter", size_of::<Limiter>()),
        ("Policy", size_of::<Policy>()),
        ("SharedWindow<FULL_WINDOW>", size_of::<SharedWindow<FULL_WINDOW>>()),
        ("Error<u8>", size_of::<Error<u8>>()),
        ("Attempt", size_of::<Attempt>()),
        ("Run<u8>", size_of::<Run<u8, ByError>>()),
        ("Execute of an 8-byte future", size_of_val(&future)),
        ("Metrics<FINE>", size_of::<Metrics<FINE>>()),
        ("Metrics<COARSE>", size_of::<Metrics<COARSE>>()),
        ("Metrics<COUNT_ONLY>", size_of::<Metrics<COUNT_ONLY>>()),
        ("Metrics<COUNT_ONLY, 1, Monotonic>", size_of::<Metrics<COUNT_ONLY, 1, Monotonic>>()),
    ];
    let design = include_str!("../DESIGN.md");
    for (name, bytes) in measured {
        let row = format!("| `{name}` | {bytes} |");
        assert!(design.contains(&row), "DESIGN.md lacks the row {row}");
    }
}
