//! Settings that show whether they were torn: all of them follow from one number.

use steadfast::Strategy;
use steadfast::orchestrator::{Effective, Key, Registration};
use steadfast::policy::Settings;

/// The registration of the number `v`, from 1 to [`NUMBERS`].
pub(crate) fn of(v: u32) -> Registration {
    REGISTRATIONS[v as usize - 1]
}

/// That they are of one number, whichever.
pub(crate) fn assert_whole(settings: &Settings) {
    let v = settings.attempts;
    assert!((1..=NUMBERS).contains(&v), "settings of no number");
    assert_are(settings, v);
}

/// That they are of the number `v`.
pub(crate) fn assert_are(settings: &Settings, v: u32) {
    assert!(WHOLE[v as usize - 1] == *settings, "torn settings");
}

static REGISTRATIONS: [Registration; NUMBERS as usize] = {
    let (mut all, mut v) = ([Registration::new(); NUMBERS as usize], 0);
    while v < NUMBERS {
        all[v as usize] = registration(v as u64 + 1);
        v += 1;
    }
    all
};

static WHOLE: [Settings; NUMBERS as usize] = {
    let (mut all, mut v) = ([Strategy::Balanced.settings(); NUMBERS as usize], 0);
    let none = Registration::new();
    while v < NUMBERS {
        match Effective::resolve(Strategy::Balanced, &none, &registration(v as u64 + 1), &none) {
            Ok(effective) => all[v as usize] = effective.settings(),
            Err(_) => panic!("settings at odds"),
        }
        v += 1;
    }
    all
};

pub(crate) const FIRST: Registration = registration(1);

const fn registration(v: u64) -> Registration {
    Registration::by(Strategy::ALL[v as usize % 4])
        .given(Key::Attempts, v)
        .given(Key::Multiplier, v * MILLISECOND)
        .given(Key::Min, v * MILLISECOND)
        .given(Key::Max, v * MILLISECOND + 1)
        .given(Key::Jitter, v)
        .given(Key::Window, v * SECOND)
        .given(Key::MaxAskedWait, v * SECOND)
        .given(Key::Tokens, v)
        .given(Key::PerSuccess, v)
        .given(Key::Refill, v * SECOND)
        .given(Key::AttemptTimeout, v * SECOND)
        .given(Key::Deadline, v * SECOND)
        .given(Key::Failures, v)
        .given(Key::OpenFor, v * 64 * MILLISECOND)
        .given(Key::OpenMax, v * 640 * MILLISECOND)
        .given(Key::Probes, v)
        .given(Key::Lease, v * 64 * MILLISECOND)
        .given(Key::Slots, v)
}

pub(crate) const NUMBERS: u32 = 20;
const SECOND: u64 = 1_000_000;
const MILLISECOND: u64 = 1_000;
