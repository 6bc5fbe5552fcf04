//! One recorded trace of inputs, and what the core decides on each of them: byte for byte the same
//! on every core and on the host.
//!
//! The inputs follow from a seed: outcomes, random bits, settings, and readings of a clock that
//! stands still, steps back, jumps, and passes the places where coarse time wraps. A decision is the
//! text that its `Debug` writes, with the state that it leaves behind, so a difference can be read.
//!
//! One thing differs between targets by design, and is out of this trace's reach: counters of
//! [`Metrics`](steadfast::Metrics) wrap at 2^32 where there are no 64-bit atomics. What is shared
//! is shown by what it answers, not by its own `Debug`, which names the atomics that it is made of.

mod clock;
mod executions;
mod machines;
mod table;
mod windows;

use core::fmt::{self, Write as _};
use core::hash::Hasher as _;
use core::time::Duration;

use fnv::FnvHasher;
use oorandom::Rand32;

use self::clock::Clock;
use self::executions::{Executions, Services};
use self::machines::{Backoffs, Budgets, Circuits, Slots};
use self::table::Table;
use self::windows::Windows;

/// Steps of the trace.
pub const STEPS: u32 = 48 * BLOCK;
/// Steps that have one hash together.
pub const BLOCK: u32 = 512;

/// Where a step's line goes.
type Tell<'t> = &'t mut dyn FnMut(fmt::Arguments<'_>);

/// Takes the trace, and hands on each step's number and line.
pub fn lines(mut tell: impl FnMut(u32, fmt::Arguments<'_>)) {
    let mut random = Rand32::new(SEED);
    let mut clock = Clock::new();
    let services = Services::new();
    let policies = services.policies();
    let mut executions = Executions::new(&services, &policies);
    let bulkhead = machines::bulkhead();
    let (mut circuits, mut budgets, mut slots) =
        (Circuits::new(), Budgets::new(), Slots::new(&bulkhead));
    let (mut windows, table) = (Windows::new(), Table::new());
    for step in 0..STEPS {
        let now = clock.read(&mut random);
        let tell: Tell<'_> = &mut |line| tell(step, line);
        match random.rand_range(0..100) {
            0..28 => circuits.step(&mut random, now, tell),
            28..36 => budgets.step(&mut random, now, tell),
            36..39 => slots.step(&mut random, tell),
            39..50 => windows.step(&mut random, now, tell),
            50..57 => Backoffs::step(&mut random, tell),
            57..90 => clock.wake(executions.step(&mut random, now, tell)),
            _ => table.step(&mut random, now, tell),
        }
    }
}

/// Takes the trace, hands on the hash of each block, and returns the hash of all.
pub fn blocks(mut tell: impl FnMut(u32, u64)) -> u64 {
    let (mut all, mut block) = (Hash::default(), Hash::default());
    lines(|step, line| {
        // They cannot fail.
        let _ = writeln!(all, "{step} {line}");
        let _ = writeln!(block, "{step} {line}");
        if (step + 1) % BLOCK == 0 {
            tell(step / BLOCK, core::mem::take(&mut block).0.finish());
        }
    });
    all.0.finish()
}

#[derive(Default)]
struct Hash(FnvHasher);

impl fmt::Write for Hash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// A length from nothing to 38 hours, as often long as short.
fn length(random: &mut Rand32) -> Duration {
    let shift = random.rand_range(0..38);
    Duration::from_micros((u64::from(random.rand_u32()) << 5) >> shift)
}

/// One of them.
fn one_of<T: Copy, const N: usize>(random: &mut Rand32, all: [T; N]) -> T {
    all[random.rand_range(0..N as u32) as usize]
}

/// The place from `first` on, around the end, where something is.
fn place<T>(all: &[Option<T>], first: u32) -> Option<usize> {
    let count = all.len();
    (0..count).map(|at| (at + first as usize) % count).find(|&at| all[at].is_some())
}

const SEED: u64 = 0x5eed_0f57_eadf_a575;

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    fn all() -> Vec<String> {
        let mut all = Vec::new();
        lines(|step, line| all.push(std::format!("{step} {line}")));
        all
    }

    #[test]
    fn the_trace_is_long_enough_and_the_same_each_time() {
        let first = all();
        assert_eq!(first.len(), STEPS as usize);
        const { assert!(STEPS >= 20_000 && STEPS % BLOCK == 0) };
        assert_eq!(first, all());
    }

    #[test]
    fn the_hash_of_a_block_is_that_of_its_lines() {
        let all = all();
        let mut seen = 0;
        let total = blocks(|block, hash| {
            assert_eq!(block, seen);
            let mut own = Hash::default();
            for line in &all[(block * BLOCK) as usize..][..BLOCK as usize] {
                writeln!(own, "{line}").unwrap();
            }
            assert_eq!(own.0.finish(), hash);
            seen += 1;
        });
        assert_eq!(seen, STEPS / BLOCK);
        let mut own = Hash::default();
        all.iter().for_each(|line| writeln!(own, "{line}").unwrap());
        assert_eq!(own.0.finish(), total);
    }

    #[test]
    fn the_trace_comes_by_whatever_the_core_may_decide() {
        let all = all();
        #[rustfmt::skip]
        let decisions = [
            "Admitted(", ": Refused, ", "Counted", "Moved(Opened)", "Moved(Closed)", "HalfOpened",
            "Late, ", "Shadowed, ", "forced ForcedOpen", "forced ForcedClosed", "forced Shadow",
            "level 15", "Err(Window)", "Err(OpenFor)", "Err(Growth)", "Err(OpenMax)",
            "paid true", "paid false", "Err(Tokens)", "Err(BulkheadFull)", "Err(TooLong)",
            "Err(MinNotBelowMax)", "Constant", "Linear", "Exponential", "jitter: None", "Additive",
            "Full,", "Equal", "Decorrelated", "attempt: 3", "Pending", "not now", "attempt cancelled",
            "run dropped", "Retry(", "Done(Ok", "stopped: Class", "stopped: Attempts",
            "stopped: Budget", "stopped: Window", "stopped: Deadline", "stopped: AskedWait",
            "stopped: BreakerOpen", "class: Some(Timeout)", "Refused { stage: Bulkhead",
            "metrics reset", "p99: Some", "Err(Full { capacity: 3 })", "Err(Conflict(",
            "OutOfRange", "configured: Ok(Ok(()))", "named_by: Configured", "UnknownOperation",
            "by outcomes opens: false", "by outcomes opens: true", "Err(OfLast)", "Err(Rate)",
            "by a time opens: false", "by a time opens: true", "Err(Within)", "Err(SlowAfter)",
            "Err(MinCalls)", "Err(Conflict(WindowTooSmall",
        ];
        let times = |decision: &str| all.iter().filter(|line| line.contains(decision)).count();
        let rare: Vec<_> = decisions.into_iter().filter(|decision| times(decision) < 3).collect();
        assert_eq!(rare, [""; 0]);
    }
}
