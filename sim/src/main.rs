//! Runs seeds and says which broke a promise, with the command that runs that one again.

use core::time::Duration;
use std::process::{ExitCode, exit};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use steadfast_sim::run;

fn main() -> ExitCode {
    let Some(Orders { from, seeds, only }) = Orders::parse(std::env::args().skip(1)) else {
        eprintln!("usage: steadfast-sim [--seeds COUNT] [--from FIRST] | --seed ONE");
        return ExitCode::from(2);
    };
    let (first, count) = only.map_or((from, seeds), |seed| (seed, 1));
    let (mut hash, mut events, mut calls, mut attempts) = (0_u64, 0, 0, 0);
    let (mut hedges, mut grown, mut orders) = (0, 0, 0);
    if only.is_none() {
        // The report says it, and the replay shows where.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let (begins, begun) = channel();
    thread::spawn(move || watch(first, &begun));
    let began = std::time::Instant::now();
    for seed in first..first.saturating_add(count) {
        let _ = begins.send(seed);
        let report = run(seed, only.is_some());
        if let Some(violation) = report.violation {
            broken(seed, &violation);
            return ExitCode::FAILURE;
        }
        hash = hash.rotate_left(1) ^ report.hash;
        events += report.events;
        calls += report.calls;
        attempts += report.attempts;
        hedges += report.hedges;
        grown += report.grown;
        orders += report.orders;
    }
    println!(
        "{count} seeds from {first}: {calls} calls, {attempts} attempts ({hedges} beside another), \
         {grown} longer open periods, {orders} orders, {events} events; trace {hash:016x}",
    );
    eprintln!("in {:.1?}", began.elapsed());
    ExitCode::SUCCESS
}

fn broken(seed: u64, violation: &str) {
    eprintln!("seed {seed}: {violation}");
    eprintln!("replay: cargo run --release -p steadfast-sim -- --seed {seed}");
}

/// Ends it all when the seed under way does not end: of a loop within one poll no ledger knows.
fn watch(mut seed: u64, begun: &Receiver<u64>) {
    loop {
        match begun.recv_timeout(LONGEST) {
            Ok(next) => seed = next,
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                broken(seed, "a poll never ends");
                exit(1);
            }
        }
    }
}

struct Orders {
    from: u64,
    seeds: u64,
    only: Option<u64>,
}

impl Orders {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut orders = Self { from: 0, seeds: 300, only: None };
        while let Some(name) = arguments.next() {
            let number = arguments.next()?.parse().ok()?;
            match name.as_str() {
                "--from" => orders.from = number,
                "--seeds" => orders.seeds = number,
                "--seed" => orders.only = Some(number),
                _ => return None,
            }
        }
        Some(orders)
    }
}

/// For a seed, which takes hundredths of a second; printed, some seconds.
const LONGEST: Duration = Duration::from_secs(60);
