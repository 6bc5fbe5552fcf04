//! Finding an operation by its name, beside the maps that one would take instead.
//!
//! All find the same names in the same order, every name as often as any other.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::RwLock;
use std::thread;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use steadfast::Orchestrator;
use steadfast::orchestrator::Registration;
use steadfast::state::COUNT_ONLY;

fn lookup(criterion: &mut Criterion) {
    // Full tables, and tables that are half full.
    table::<64>(criterion, 64);
    table::<128>(criterion, 64);
    table::<2_000>(criterion, 1_000);
    table::<20_000>(criterion, 10_000);
    table::<10_000>(criterion, 10_000);
}

fn table<const N: usize>(criterion: &mut Criterion, operations: usize) {
    let names: Vec<String> =
        (0..operations).map(|number| format!("ai_operation_{number}")).collect();
    let orchestrator = large::<N>();
    let locked = RwLock::new(HashMap::new());
    let sharded = DashMap::new();
    for (number, name) in names.iter().enumerate() {
        let _handle = orchestrator.register(name, Registration::new()).expect("there is a place");
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
    group.bench_function(id("orchestrator"), |b| b.iter(|| orchestrator.get(next()).is_ok()));
    group.bench_function(id("RwLock<HashMap>"), |b| {
        b.iter(|| locked.read().expect("nobody panics").get(next()).copied());
    });
    group.bench_function(id("DashMap"), |b| b.iter(|| sharded.get(next()).map(|found| *found)));
    group.finish();
}

/// Made by a thread with room for it: an initial value passes over the stack.
fn large<const N: usize>() -> &'static Orchestrator<N, COUNT_ONLY> {
    let make = || &*Box::leak(Box::new(Orchestrator::new()));
    let maker = thread::Builder::new().stack_size(1 << 28).spawn(make);
    maker.expect("there is memory").join().expect("nobody panics")
}

criterion_group!(benches, lookup);
criterion_main!(benches);
