//! A few seeds, as a test: the binary runs many.

use steadfast_sim::run;

#[test]
fn a_seed_is_the_whole_run() {
    let hashes: Vec<_> = (0..10).map(|seed| run(seed, false)).collect();
    assert_eq!(hashes, (0..10).map(|seed| run(seed, false)).collect::<Vec<_>>());
    let distinct: std::collections::BTreeSet<_> = hashes.iter().map(|report| report.hash).collect();
    assert_eq!(distinct.len(), 10, "another seed is another run");
}

#[test]
fn a_hundred_seeds_hold() {
    let (mut calls, mut attempts, mut hedges, mut grown, mut orders) = (0, 0, 0, 0, 0);
    for seed in 0..100 {
        let report = run(seed, false);
        assert_eq!(report.violation, None, "seed {seed}");
        calls += report.calls;
        attempts += report.attempts;
        hedges += report.hedges;
        grown += report.grown;
        orders += report.orders;
    }
    assert!(calls > 2_000 && attempts > 2_000, "{calls} calls, {attempts} attempts");
    assert!(hedges > 100, "{hedges} of them hedge");
    assert!(grown > 50, "{grown} open periods are longer than the first");
    assert!(orders > 50, "{orders} orders of an operator");
}
