//! Waits: tables of the formulas, and bounds over all attempt numbers.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use core::time::Duration;

use proptest::prelude::*;
use steadfast::policy::Growth;
use steadfast::{Backoff, Jitter};

const HOUR: Duration = Duration::from_secs(3600);
const NONE: Duration = Duration::ZERO;
const GROWTHS: [Growth; 3] = [Growth::Constant, Growth::Linear, Growth::Exponential];

// --- Tables --------------------------------------------------------------------------------------

#[test]
fn waits_grow_by_the_formula_between_min_and_max() {
    let secs = Duration::from_secs;
    let [constant, linear, exponential] =
        GROWTHS.map(|growth| Backoff::try_new(growth, secs(2), secs(3), secs(20)).unwrap());
    let table = [
        (1, 3, 3, 3),
        (2, 3, 4, 4),
        (3, 3, 6, 8),
        (4, 3, 8, 16),
        (5, 3, 10, 20),
        (9, 3, 18, 20),
        (10, 3, 20, 20),
        (11, 3, 20, 20),
        (u32::MAX, 3, 20, 20),
    ];
    for (failed, by_constant, by_linear, by_exponential) in table {
        assert_eq!(constant.wait(failed, NONE, 7), secs(by_constant), "{failed}");
        assert_eq!(linear.wait(failed, NONE, 7), secs(by_linear), "{failed}");
        assert_eq!(exponential.wait(failed, NONE, 7), secs(by_exponential), "{failed}");
    }
    assert_eq!(Backoff::linear(secs(2), secs(3), secs(20)), linear);
    assert_eq!(Backoff::exponential(secs(2), secs(3), secs(20)), exponential);
    assert_eq!(Backoff::constant(secs(5)).wait(9, NONE, 7), secs(5));
}

#[test]
fn the_strategies_waits_are_those_of_their_table() {
    use steadfast::Strategy::{Aggressive, Balanced, Conservative, Critical};
    // Milliseconds without jitter, then the most that jitter adds.
    let table: [(_, &[u64], _); 4] = [
        (Aggressive, &[250, 500, 1000, 2000, 2000], 500),
        (Balanced, &[2000, 2000, 4000, 8000, 10_000, 10_000], 2000),
        (Conservative, &[4000, 4000, 8000, 16_000, 30_000], 2000),
        (Critical, &[3000, 3000, 6000, 12_000, 24_000, 48_000, 60_000], 5000),
    ];
    for (strategy, waits, jitter) in table {
        let backoff = strategy.settings().backoff;
        for (n, wait) in waits.iter().enumerate() {
            let failed = n as u32 + 1;
            assert_eq!(backoff.wait(failed, NONE, 0), Duration::from_millis(*wait), "{strategy}");
            let longest = Duration::from_millis(wait + jitter);
            assert_eq!(backoff.longest(failed), longest, "{strategy}");
            let half = backoff.wait(failed, NONE, 1 << 31);
            assert_eq!(half, Duration::from_millis(wait + jitter / 2), "{strategy}");
        }
    }
}

#[test]
fn each_jitter_takes_its_share_of_the_wait() {
    let micros = Duration::from_micros;
    let plain = Backoff::constant(micros(1000));
    let quarters = [0, 1 << 30, 1 << 31, 3 << 30, u32::MAX];
    for (jitter, expected) in [
        (Jitter::None, [1000, 1000, 1000, 1000, 1000]),
        (Jitter::Additive(micros(400)), [1000, 1100, 1200, 1300, 1400]),
        (Jitter::Full, [0, 250, 500, 750, 1000]),
        (Jitter::Equal, [500, 625, 750, 875, 1000]),
    ] {
        let backoff = plain.jitter(jitter);
        let waits = quarters.map(|random| backoff.wait(1, NONE, random));
        assert_eq!(waits, expected.map(micros), "{jitter:?}");
    }
    let decorrelated = Backoff::exponential(micros(1), micros(1000), micros(5000));
    let decorrelated = decorrelated.jitter(Jitter::Decorrelated);
    for (previous, expected) in [
        // The first has none before it.
        (0, [1000, 1000, 1000, 1000, 1000]),
        (1000, [1000, 1500, 2000, 2500, 3000]),
        (3000, [1000, 3000, 5000, 5000, 5000]),
    ] {
        let waits = quarters.map(|random| decorrelated.wait(1, micros(previous), random));
        assert_eq!(waits, expected.map(micros), "{previous}");
    }
}

#[test]
fn the_sum_with_additive_jitter_is_not_capped_again() {
    let secs = Duration::from_secs;
    let backoff =
        Backoff::exponential(secs(1), secs(1), secs(10)).jitter(Jitter::Additive(secs(4)));
    assert_eq!(backoff.wait(9, NONE, 1 << 31), secs(12));
    assert_eq!(backoff.longest(9), secs(14));
}

#[test]
fn parts_of_a_microsecond_are_rounded_up() {
    let micros = Duration::from_micros;
    assert_eq!(Backoff::constant(Duration::from_nanos(1)).wait(1, NONE, 0), micros(1));
    assert_eq!(Backoff::constant(Duration::from_nanos(1001)).wait(1, NONE, 0), micros(2));
    let jitter = |jitter| Backoff::constant(micros(3)).jitter(jitter);
    assert_eq!(jitter(Jitter::Full).wait(1, NONE, 1), micros(1));
    assert_eq!(jitter(Jitter::Equal).wait(1, NONE, 0), micros(2));
    assert_eq!(jitter(Jitter::Equal).wait(1, NONE, 1), micros(3));
    let additive = jitter(Jitter::Additive(Duration::from_nanos(900)));
    assert_eq!(additive.wait(1, NONE, 1), micros(4));
}

#[test]
fn a_wait_asked_for_is_the_least_there_is() {
    let secs = Duration::from_secs;
    let backoff = Backoff::exponential(secs(1), secs(2), secs(10));
    for (asked, jitter, random, expected) in [
        (30, Jitter::None, 9, 30),
        (1, Jitter::None, 9, 2),
        (0, Jitter::None, 9, 2),
        (30, Jitter::Additive(secs(4)), 1 << 31, 32),
        (1, Jitter::Additive(secs(4)), 1 << 31, 4),
        (30, Jitter::Full, 0, 30),
        (30, Jitter::Full, 1 << 31, 31),
        (30, Jitter::Equal, 1 << 31, 31),
        (30, Jitter::Decorrelated, 1 << 31, 31),
    ] {
        let backoff = backoff.jitter(jitter);
        let wait = backoff.wait_asked(secs(asked), 1, NONE, random);
        assert_eq!(wait, secs(expected), "{asked} {jitter:?}");
    }
    // Nobody can wait that long, but nobody panics.
    let forever = backoff.jitter(Jitter::Full).wait_asked(Duration::MAX, 1, NONE, u32::MAX);
    assert_eq!(forever, Duration::MAX);
}

#[test]
fn a_wait_asked_for_in_parts_of_a_microsecond_is_no_shorter_than_the_schedules_own() {
    let backoff = Backoff::constant(Duration::from_micros(2));
    let wait = backoff.wait_asked(Duration::from_nanos(1500), 1, NONE, 0);
    assert_eq!(wait, Duration::from_micros(2));
}

// --- Bounds --------------------------------------------------------------------------------------

#[test]
fn b16_an_attempt_number_beyond_all_doublings_waits_for_the_longest() {
    for min in [NONE, Duration::from_micros(1), HOUR / 2] {
        for multiplier in [Duration::from_nanos(1), Duration::from_secs(1), HOUR] {
            let backoff = Backoff::exponential(multiplier, min, HOUR);
            for failed in [33, 34, 64, 65, 1100, u32::MAX - 1, u32::MAX] {
                assert_eq!(backoff.wait(failed, NONE, 0), HOUR, "{failed}");
            }
        }
    }
    let linear = Backoff::linear(Duration::from_micros(1), NONE, HOUR);
    assert_eq!(linear.wait(1100, NONE, 0), Duration::from_micros(1100));
    assert_eq!(linear.wait(u32::MAX, NONE, 0), HOUR);
}

#[test]
fn r01_around_each_boundary_the_wait_is_within_its_bounds() {
    let lengths = [0, 1, 2, 3, 999_999, 1_000_000, 3_599_999_999, 3_600_000_000];
    let lengths = lengths.map(Duration::from_micros);
    let mut numbers: Vec<u32> = (0..=70).collect();
    for power in 7..32 {
        numbers.extend([(1 << power) - 1, 1 << power, (1 << power) + 1]);
    }
    numbers.extend([1100, u32::MAX - 1, u32::MAX]);
    let mut checked = 0_u32;
    for (multiplier, min, max) in triples(&lengths) {
        for (growth, jitter) in kinds(&lengths) {
            let Ok(backoff) = Backoff::try_new(growth, multiplier, min, max) else { continue };
            let backoff = backoff.jitter(jitter);
            for failed in numbers.iter().step_by(5).chain(&numbers[numbers.len() - 3..]) {
                for random in [0, 1, 1 << 31, u32::MAX] {
                    let wait = backoff.wait(*failed, max, random);
                    within_bounds(wait, jitter, min, max);
                    assert!(wait <= backoff.longest(*failed), "{backoff:?} {failed}");
                    checked += 1;
                }
            }
        }
    }
    assert!(checked > 100_000, "{checked}");
}

proptest! {
    #![proptest_config(cases(8192))]

    #[test]
    fn r01_no_wait_leaves_its_bounds_or_is_shorter_than_the_formula(
        (backoff, terms) in any_backoff(),
        failed in any_number(),
        previous in any_length(),
        random: u32,
    ) {
        let previous = previous.min(terms.max);
        let wait = backoff.wait(failed, previous, random);
        within_bounds(wait, terms.jitter, terms.min, terms.max);
        // Rounded up, by two parts of a microsecond at the most.
        let (formula, wait) = (terms.formula(failed, previous, random), wait.as_micros() << 33);
        prop_assert!(wait >= formula, "{wait} < {formula}");
        prop_assert!(wait < formula + (2 << 33), "{wait} > {formula}");
    }

    #[test]
    fn a_decorrelated_wait_after_a_long_one_is_not_shorter_than_the_formula(
        (backoff, mut terms) in any_backoff(),
        previous: u64,
        random: u32,
    ) {
        // The wait before may have been asked for, and be longer than all of the schedule's own.
        terms.jitter = Jitter::Decorrelated;
        let previous = Duration::from_micros(previous >> 8);
        let wait = backoff.jitter(Jitter::Decorrelated).wait(1, previous, random);
        let formula = terms.formula(1, previous, random);
        prop_assert!(wait.as_micros() << 33 >= formula, "{wait:?} < {}", formula >> 33);
        prop_assert!(wait <= terms.max);
    }

    #[test]
    fn r04_jitter_never_makes_a_wait_shorter_than_asked(
        (backoff, terms) in any_backoff(),
        asked in (0..400_000_u64, 0..1_000_000_000_u32),
        failed in any_number(),
        previous in any_length(),
        random: u32,
    ) {
        let asked = Duration::new(asked.0, asked.1);
        let wait = backoff.wait_asked(asked, failed, previous, random);
        prop_assert!(wait >= asked);
        prop_assert!(wait >= backoff.wait(failed, previous, random));
        // Nor longer than the longer of the two and all of the jitter.
        let most = match terms.jitter {
            Jitter::None => NONE,
            Jitter::Additive(most) => most,
            _ => terms.max.max(terms.min),
        };
        let own = backoff.wait(failed, previous, random);
        prop_assert!(wait <= asked.max(own) + most + Duration::from_micros(1));
    }

    #[test]
    fn more_chance_is_never_a_shorter_wait(
        (backoff, _) in any_backoff(),
        failed in any_number(),
        previous in any_length(),
        random in any::<(u32, u32)>(),
    ) {
        let [less, more] = [random.0.min(random.1), random.0.max(random.1)]
            .map(|random| backoff.wait(failed, previous, random));
        prop_assert!(less <= more);
        prop_assert!(backoff.wait(failed.saturating_add(1), previous, random.0)
            >= backoff.wait(failed, previous, random.0));
    }
}

// --- Helpers -------------------------------------------------------------------------------------

/// What a schedule was made of.
#[derive(Clone, Copy, Debug)]
struct Terms {
    growth: Growth,
    multiplier: Duration,
    min: Duration,
    max: Duration,
    jitter: Jitter,
}

impl Terms {
    /// The contract's formula, exactly: in parts of a microsecond, 2^33 to each.
    fn formula(&self, failed: u32, previous: Duration, random: u32) -> u128 {
        let [multiplier, min, max] = [self.multiplier, self.min, self.max].map(|d| d.as_micros());
        let k = u128::from(failed.max(1));
        let grown = match self.growth {
            Growth::Constant => multiplier,
            Growth::Linear => multiplier * k,
            Growth::Exponential => multiplier << (k - 1).min(60),
        };
        let d = grown.min(max).max(min);
        // U[0, whole): `random` parts of 2^32.
        let share = |whole: u128| whole * u128::from(random) * 2;
        match self.jitter {
            Jitter::None => d << 33,
            Jitter::Additive(most) => (d << 33) + share(most.as_micros()),
            Jitter::Full => share(d),
            Jitter::Equal => (d << 32) + share(d) / 2,
            Jitter::Decorrelated => {
                let most = (previous.as_micros() * 3).max(min);
                (max << 33).min((min << 33) + share(most - min))
            }
        }
    }
}

fn within_bounds(wait: Duration, jitter: Jitter, min: Duration, max: Duration) {
    let (least, most) = match jitter {
        Jitter::None | Jitter::Decorrelated => (min, max),
        Jitter::Additive(jitter) => (min, max + jitter),
        // These take from the wait.
        Jitter::Full => (NONE, max),
        Jitter::Equal => (min / 2, max),
    };
    assert!(least <= wait && wait <= most, "{jitter:?}: {wait:?} of {least:?} to {most:?}");
}

fn triples(lengths: &[Duration]) -> impl Iterator<Item = (Duration, Duration, Duration)> {
    lengths.iter().flat_map(move |a| {
        lengths.iter().flat_map(move |b| lengths.iter().map(move |c| (*a, *b, *c)))
    })
}

fn kinds(lengths: &[Duration]) -> Vec<(Growth, Jitter)> {
    let additive = [lengths[0], lengths[1], lengths[lengths.len() - 1]].map(Jitter::Additive);
    let jitters = [Jitter::None, Jitter::Full, Jitter::Equal, Jitter::Decorrelated];
    let jitters = jitters.into_iter().chain(additive);
    jitters.flat_map(|jitter| GROWTHS.map(|growth| (growth, jitter))).collect()
}

/// Nothing is written into the tree: a failing input is shown, and made into a test by hand.
fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn any_length() -> impl Strategy<Value = Duration> {
    let micros = prop_oneof![0..10_u64, 0..5_000_000_u64, 0..=3_600_000_000_u64];
    micros.prop_map(Duration::from_micros)
}

fn any_number() -> impl Strategy<Value = u32> {
    prop_oneof![0..70_u32, any::<u32>(), Just(u32::MAX)]
}

fn any_backoff() -> impl Strategy<Value = (Backoff, Terms)> {
    let jitter = prop_oneof![
        Just(Jitter::None),
        any_length().prop_map(Jitter::Additive),
        Just(Jitter::Full),
        Just(Jitter::Equal),
        Just(Jitter::Decorrelated),
    ];
    let lengths = (any_length(), any_length(), any_length());
    (0..3_usize, lengths, jitter).prop_filter_map(
        "the shortest wait is below the longest",
        |(growth, (multiplier, min, max), jitter)| {
            let (min, max) = (min.min(max), min.max(max));
            let terms = Terms { growth: GROWTHS[growth], multiplier, min, max, jitter };
            let backoff = Backoff::try_new(terms.growth, multiplier, min, max).ok()?;
            Some((backoff.jitter(jitter), terms))
        },
    )
}
