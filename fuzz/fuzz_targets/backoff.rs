//! Every wait, against the formula in 128-bit nanoseconds: in its range, and never below it.
#![no_main]

use core::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use steadfast::policy::{BackoffError, Growth};
use steadfast::{Backoff, Jitter};

#[derive(Arbitrary, Debug)]
struct Input {
    growth: u8,
    jitter: u8,
    multiplier: Length,
    min: Length,
    max: Length,
    most: Length,
    previous: Length,
    asked: Length,
    failed: u32,
    random: u32,
}

/// Lengths of all sizes; arbitrary seconds alone would all be too long.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Length {
    Nanos(u32),
    Micros(u32),
    Seconds(u16, u32),
    Any(u64, u32),
}

impl Length {
    fn get(self) -> Duration {
        match self {
            Self::Nanos(nanos) => Duration::from_nanos(nanos.into()),
            Self::Micros(micros) => Duration::from_micros(micros.into()),
            Self::Seconds(seconds, nanos) => Duration::new(seconds.into(), nanos % 1_000_000_000),
            Self::Any(seconds, nanos) => Duration::new(seconds, nanos % 1_000_000_000),
        }
    }
}

fuzz_target!(|input: Input| {
    let growth = match input.growth % 3 {
        0 => Growth::Constant,
        1 => Growth::Linear,
        _ => Growth::Exponential,
    };
    let jitter = match input.jitter % 5 {
        0 => Jitter::None,
        1 => Jitter::Additive(input.most.get()),
        2 => Jitter::Full,
        3 => Jitter::Equal,
        _ => Jitter::Decorrelated,
    };
    let (multiplier, min, max) = (input.multiplier.get(), input.min.get(), input.max.get());
    let made = Backoff::try_new(growth, multiplier, min, max);
    let too_long = [multiplier, min, max].iter().any(|&length| micros(length) > HOUR);
    let expected = match (too_long, micros(min) < micros(max)) {
        (true, _) => Some(BackoffError::TooLong),
        (_, false) => Some(BackoffError::MinNotBelowMax),
        _ => None,
    };
    assert_eq!(made.err(), expected, "the lengths are judged otherwise");
    let Ok(backoff) = made else { return };
    let Ok(backoff) = backoff.try_jitter(jitter) else {
        assert!(matches!(jitter, Jitter::Additive(most) if micros(most) > HOUR));
        return;
    };
    let (failed, random) = (input.failed, input.random);
    let (previous, asked) = (input.previous.get(), input.asked.get());
    let wait = backoff.wait(failed, previous, random);
    let exact = planned(growth, [multiplier, min, max], failed);
    never_below_the_formula(jitter, wait, exact, [min, max, previous], random);
    // Lengths are rounded up before they grow.
    let planned = planned(growth, [multiplier, min, max].map(rounded), failed);
    in_range(jitter, wait, planned, [min, max]);
    assert!(wait <= backoff.longest(failed), "longer than the longest");

    let after = backoff.wait_asked(asked, failed, previous, random);
    assert!(after >= asked.max(wait), "earlier than asked");
    let most = match jitter {
        Jitter::None => 0,
        Jitter::Additive(most) => nanos(most),
        _ => planned,
    };
    // What is not to be said in microseconds is longer than any limit.
    let longest = nanos(asked).saturating_add(most + SLACK);
    assert!(
        nanos(after) <= longest.max(nanos(wait))
            || after == Duration::MAX && longest / 1_000 >= u128::from(u64::MAX),
        "jitter adds more to what was asked than it may"
    );
    // A longer run of failures never waits less.
    let next = backoff.wait(failed.saturating_add(1), previous, random);
    assert!(next >= wait, "the next wait is shorter");
});

/// The wait before jitter, in exact nanoseconds.
fn planned(growth: Growth, [multiplier, min, max]: [Duration; 3], failed: u32) -> u128 {
    let failed = failed.max(1);
    let factor = match growth {
        Growth::Constant => 1,
        Growth::Linear => u128::from(failed),
        // Nothing above 2^62 is not past the longest wait, if it is a nanosecond at all.
        Growth::Exponential => 1 << (failed - 1).min(62),
    };
    (nanos(multiplier) * factor).min(nanos(max)).max(nanos(min))
}

/// All scaled by 2^32, so that nothing is rounded on this side.
fn never_below_the_formula(
    jitter: Jitter,
    wait: Duration,
    planned: u128,
    [min, max, previous]: [Duration; 3],
    random: u32,
) {
    let random = u128::from(random);
    let formula = match jitter {
        Jitter::None => planned << 32,
        Jitter::Additive(most) => (planned << 32) + nanos(most) * random,
        Jitter::Full => planned * random,
        Jitter::Equal => ((planned << 32) + planned * random).div_ceil(2),
        Jitter::Decorrelated => {
            let most = (nanos(previous) * 3).max(nanos(min));
            let drawn = (nanos(min) << 32) + (most - nanos(min)) * random;
            drawn.min(nanos(max) << 32)
        }
    };
    assert!(nanos(wait) << 32 >= formula, "earlier than the formula");
}

fn in_range(jitter: Jitter, wait: Duration, planned: u128, [min, max]: [Duration; 2]) {
    let wait = nanos(wait);
    let (least, most) = match jitter {
        Jitter::None => (planned, planned),
        Jitter::Additive(most) => (planned, planned + nanos(most)),
        Jitter::Full => (0, planned),
        Jitter::Equal => (planned / 2, planned),
        Jitter::Decorrelated => (nanos(min), nanos(max)),
    };
    assert!(least <= wait && wait <= most + SLACK, "{wait} is not in {least}..={most}");
}

fn nanos(length: Duration) -> u128 {
    length.as_nanos()
}

fn rounded(length: Duration) -> Duration {
    Duration::from_micros(micros(length).try_into().unwrap_or(u64::MAX))
}

fn micros(length: Duration) -> u128 {
    nanos(length).div_ceil(1000)
}

const HOUR: u128 = 3_600_000_000;
/// A jitter and a share of it are each rounded up to a microsecond.
const SLACK: u128 = 2_000;
