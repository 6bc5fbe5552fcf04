//! Finding an operation by its name, beside the maps that one would take instead.
//!
//! All find the same names in the same order, every name as often as any other. Of each sample the
//! fastest batch counts: what else runs on the cores makes none faster.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::RwLock;
use std::thread;
use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use steadfast::Orchestrator;
use steadfast::orchestrator::Registration;
use steadfast::state::{COUNT_ONLY, FULL_WINDOW, NO_WINDOW};

fn lookup(criterion: &mut Criterion) {
    // Full tables, and tables that are half full.
    tables::<64>(criterion, 64);
    tables::<128>(criterion, 64);
    tables::<2_000>(criterion, 1_000);
    tables::<20_000>(criterion, 10_000);
    tables::<10_000>(criterion, 10_000);
}

fn tables<const N: usize>(criterion: &mut Criterion, operations: usize) {
    let names: Vec<String> =
        (0..operations).map(|number| format!("ai_operation_{number}")).collect();
    let locked = RwLock::new(HashMap::new());
    let sharded = DashMap::new();
    for (number, name) in names.iter().enumerate() {
        locked.write().expect("nobody panics").insert(name.clone(), number);
        sharded.insert(name.clone(), number);
    }
    let mut group = criterion.benchmark_group("lookup");
    let id = |what: &str| BenchmarkId::new(what, format!("{operations} of {N}"));
    let mut at = 0;
    let mut next = || {
        at = (at + 7) % operations;
        black_box(names[at].as_str())
    };
    let with_windows = filled::<N, FULL_WINDOW>(&names);
    group.bench_function(id("orchestrator, FULL_WINDOW"), |b| {
        fastest(b, || with_windows.get(next()).is_ok());
    });
    let without = filled::<N, NO_WINDOW>(&names);
    group.bench_function(id("orchestrator, NO_WINDOW"), |b| {
        fastest(b, || without.get(next()).is_ok());
    });
    group.bench_function(id("RwLock<HashMap>"), |b| {
        fastest(b, || locked.read().expect("nobody panics").get(next()).is_some());
    });
    group.bench_function(id("DashMap"), |b| fastest(b, || sharded.get(next()).is_some()));
    group.finish();
}

/// The fastest batch, as often as `b` asks.
fn fastest(b: &mut Bencher<'_>, mut find: impl FnMut() -> bool) {
    b.iter_custom(|times| {
        let batches = times.div_ceil(BATCH);
        let fastest = (0..batches).map(|_| {
            let began = Instant::now();
            for _ in 0..BATCH {
                black_box(find());
            }
            began.elapsed()
        });
        fastest.min().unwrap_or(Duration::ZERO).mul_f64(times as f64 / BATCH as f64)
    });
}

fn filled<const N: usize, const WINDOW: usize>(names: &[String]) -> &'static Table<N, WINDOW> {
    let table = large();
    for name in names {
        let _handle = table.register(name, Registration::new()).expect("there is a place");
    }
    table
}

type Table<const N: usize, const WINDOW: usize> = Orchestrator<N, COUNT_ONLY, 1, WINDOW>;

/// Made by a thread with room for it: an initial value passes over the stack.
fn large<const N: usize, const WINDOW: usize>() -> &'static Table<N, WINDOW> {
    let make = || &*Box::leak(Box::new(Orchestrator::new()));
    let maker = thread::Builder::new().stack_size(1 << 28).spawn(make);
    maker.expect("there is memory").join().expect("nobody panics")
}

/// Some 50 µs: shorter than a turn on a core.
const BATCH: u64 = 2_000;

criterion_group!(benches, lookup);
criterion_main!(benches);
