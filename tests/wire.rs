//! Configurations as bytes: the same on every machine, read strictly, and never a panic.
#![cfg(feature = "postcard")]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use steadfast::Strategy as Named;
use steadfast::orchestrator::wire::{BufferTooSmall, WireError};
use steadfast::orchestrator::{Config, Key, Kind, Name, NameError, Registration};

// --- The form -------------------------------------------------------------------------------------

// Written out by hand, byte by byte: no number of the message is ever a word in memory, so a machine
// of another order of bytes or width of words reads and writes the same.
#[rustfmt::skip]
const GOLDEN: &[u8] = &[
    1,                              // version
    4,                              // default strategy: critical
    0, 1,                           // every strategy: none named, one setting
        2, 5,                       //   retry.attempts = 5
    2,                              // two operations
    2, b'a', b'i',                  // "ai"
    1, 3,                           //   aggressive, three settings
        3, 1,                       //     retry.backoff = linear
        24, 0x80, 0x95, 0xf5, 0x2a, //     breaker.open_for = 90 000 000 µs: 0, 21, 117, 42 · 128^k
        28, 0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,
                                    //     breaker.lease = 86 400 000 000 µs, stored in units of 64 µs
    3, 0xe2, 0x82, 0xac,            // "€"
    0, 0,                           //   no strategy, no setting
];

fn golden() -> Config<2> {
    let ai = Registration::by(Named::Aggressive)
        .given(Key::Growth, 1)
        .given(Key::OpenFor, 90_000_000)
        .given(Key::Lease, 86_400_000_000);
    Config::new()
        .with_default_strategy(Named::Critical)
        .with_every_strategy(Registration::new().given(Key::Attempts, 5))
        .try_operation("ai", ai)
        .unwrap()
        .try_operation("€", Registration::new())
        .unwrap()
}

#[test]
fn a_configuration_is_these_bytes_on_every_machine() {
    let mut buffer = [0; 64];
    assert_eq!(golden().to_postcard(&mut buffer), Ok(GOLDEN));
    assert_eq!(Config::from_postcard(GOLDEN), Ok(golden()));
}

// Every setting at its greatest value.
#[rustfmt::skip]
const FULL: &[u8] = &[
    1, 0, 0, 0, 1,                               // no default, nothing for every strategy, one operation
    1, b'x',
    4, 32,                                       // critical, all settings
        1,  1,                                   //   retry.enabled = true
        2,  50,                                  //   retry.attempts = 50
        3,  2,                                   //   retry.backoff = exponential
        4,  0x80, 0xc8, 0xce, 0xb4, 0x0d,        //   retry.multiplier = 3 600 000 000 µs
        5,  0x80, 0xc8, 0xce, 0xb4, 0x0d,        //   retry.min
        6,  0x80, 0xc8, 0xce, 0xb4, 0x0d,        //   retry.max
        7,  0x80, 0xc8, 0xce, 0xb4, 0x0d,        //   retry.jitter
        8,  4,                                   //   retry.jitter_kind = decorrelated
        9,  0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,  //   retry.window = 86 400 000 000 µs
        10, 0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,  //   retry.max_asked_wait
        11, 0x90, 0x4e,                          //   retry.budget.tokens = 10 000
        12, 0x90, 0x4e,                          //   retry.budget.per_success = 10 000 thousandths
        13, 0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,  //   retry.budget.refill = 86 400 000 000 µs
        14, 0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,  //   timeout.attempt
        15, 0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,  //   timeout.deadline
        16, 1,                                   //   breaker.enabled = true
        17, 0x80, 0x08,                          //   breaker.failures = 1 024
        18, 0x80, 0x08,                          //   breaker.of_last = 1 024
        19, 0xe8, 0x07,                          //   breaker.failure_rate = 1 000 tenths
        20, 0xe8, 0x07,                          //   breaker.slow_rate = 1 000 tenths
        21, 0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,  //   breaker.slow_after = 86 400 000 000 µs
        22, 0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,  //   breaker.within
        23, 0xa0, 0x8d, 0x06,                    //   breaker.min_calls = 100 000
        24, 0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,  //   breaker.open_for = 86 400 000 000 µs
        25, 100,                                 //   breaker.open_growth = 100 tenths
        26, 0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,  //   breaker.open_max = 86 400 000 000 µs
        27, 63,                                  //   breaker.probes = 63
        28, 0x80, 0xc0, 0xdd, 0xee, 0xc1, 0x02,  //   breaker.lease = 86 400 000 000 µs
        29, 3,                                   //   breaker.mode = shadow
        30, 0x80, 0x80, 0x80, 0x80, 0x08,        //   bulkhead.slots = 2 147 483 648
        31, 0x80, 0x80, 0x80, 0x80, 0x08,        //   limits.requests_per_minute
        32, 0x80, 0x80, 0x80, 0x80, 0x08,        //   limits.tokens_per_minute
];

#[test]
fn all_settings_at_their_greatest_are_these_bytes_on_every_machine() {
    let each = Key::ALL.into_iter().fold(Registration::by(Named::Critical), |all, key| {
        all.try_given(key, key.range().1).unwrap()
    });
    let config = Config::<1>::new().try_operation("x", each).unwrap();
    assert_eq!(written(&config), FULL);
    assert_eq!(Config::from_postcard(FULL), Ok(config));
}

// What a machine of 32 bits does, whatever the order of its bytes: it takes one byte after the
// other, and puts no two of them together in memory.
#[test]
fn a_reader_by_bytes_and_words_of_32_bits_gets_the_same_numbers() {
    fn halves(bytes: &mut impl Iterator<Item = u8>) -> [u32; 2] {
        let [mut high, mut low] = [0; 2];
        for place in (0..64).step_by(7) {
            let byte = bytes.next().unwrap();
            let seven = u32::from(byte & 0x7f);
            low |= seven.checked_shl(place).unwrap_or(0);
            high |= match place {
                0..32 => seven.checked_shr(32 - place).unwrap_or(0),
                _ => seven.checked_shl(place - 32).unwrap_or(0),
            };
            if byte < 0x80 {
                break;
            }
        }
        [high, low]
    }
    let (head, settings) = FULL.split_at(9);
    assert_eq!(head.last(), Some(&32), "so many settings follow");
    let mut bytes = settings.iter().copied();
    for key in Key::ALL {
        assert_eq!(bytes.next(), Some(key.tag()));
        let (_, max) = key.range();
        assert_eq!(halves(&mut bytes), [(max >> 32) as u32, max as u32], "{key}");
    }
    assert_eq!(bytes.next(), None);
}

#[test]
fn the_empty_configuration_is_five_bytes() {
    let mut buffer = [0; 64];
    let empty = [1, 0, 0, 0, 0].as_slice();
    assert_eq!(Config::<0>::new().to_postcard(&mut buffer), Ok(empty));
    assert_eq!(Config::<0>::from_postcard(empty), Ok(Config::new()));
}

#[test]
fn strategies_have_the_numbers_that_the_table_says() {
    for (number, strategy) in (1..).zip(Named::ALL) {
        let bytes = [1, number, 0, 0, 1, 1, b'x', number, 0];
        let config = Config::<1>::from_postcard(&bytes).unwrap();
        assert_eq!(config.default_strategy(), Some(strategy));
        assert_eq!(config.operation(&Name::new("x").unwrap()).unwrap().named(), Some(strategy));
        assert_eq!(written(&config), bytes);
    }
}

// Tags, the places of names and bounds are for good: a row that changes breaks what devices have
// stored. The rows are the contract's, in its own numbers, and nothing of the table that they judge.
#[test]
fn tags_and_choices_stay_what_they_are() {
    use Kind::{Choice, Count, Flag, Length, Percent, Tenths, Thousandths};
    const GROWTHS: &[&str] = &["constant", "linear", "exponential"];
    const JITTERS: &[&str] = &["none", "additive", "full", "equal", "decorrelated"];
    const MODES: &[&str] = &["normal", "forced_open", "forced_closed", "shadow"];
    #[rustfmt::skip]
    let expected = [
        (1,  "retry.enabled",            Flag,             0,      1),
        (2,  "retry.attempts",           Count,            1,      50),
        (3,  "retry.backoff",            Choice(GROWTHS),  0,      2),
        (4,  "retry.multiplier",         Length,           0,      3_600_000_000),
        (5,  "retry.min",                Length,           0,      3_600_000_000),
        (6,  "retry.max",                Length,           0,      3_600_000_000),
        (7,  "retry.jitter",             Length,           0,      3_600_000_000),
        (8,  "retry.jitter_kind",        Choice(JITTERS),  0,      4),
        (9,  "retry.window",             Length,           0,      86_400_000_000),
        (10, "retry.max_asked_wait",     Length,           0,      86_400_000_000),
        (11, "retry.budget.tokens",      Count,            1,      10_000),
        (12, "retry.budget.per_success", Thousandths,      0,      10_000),
        (13, "retry.budget.refill",      Length,           0,      86_400_000_000),
        (14, "timeout.attempt",          Length,           1_000,  86_400_000_000),
        (15, "timeout.deadline",         Length,           1_000,  86_400_000_000),
        (16, "breaker.enabled",          Flag,             0,      1),
        (17, "breaker.failures",         Count,            1,      1_024),
        (18, "breaker.of_last",          Count,            1,      1_024),
        (19, "breaker.failure_rate",     Percent,          1,      1_000),
        (20, "breaker.slow_rate",        Percent,          1,      1_000),
        (21, "breaker.slow_after",       Length,           1_000,  86_400_000_000),
        (22, "breaker.within",           Length,           50_000, 86_400_000_000),
        (23, "breaker.min_calls",        Count,            1,      100_000),
        (24, "breaker.open_for",         Length,           50_000, 86_400_000_000),
        (25, "breaker.open_growth",      Tenths,           10,     100),
        (26, "breaker.open_max",         Length,           50_000, 86_400_000_000),
        (27, "breaker.probes",           Count,            1,      63),
        (28, "breaker.lease",            Length,           50_000, 86_400_000_000),
        (29, "breaker.mode",             Choice(MODES),    0,      3),
        (30, "bulkhead.slots",           Count,            1,      2_147_483_648_u64),
        (31, "limits.requests_per_minute", Count,          1,      2_147_483_648),
        (32, "limits.tokens_per_minute", Count,            1,      2_147_483_648),
    ];
    let row = |key: Key| (key.tag(), key.path(), key.kind(), key.range().0, key.range().1);
    let all: Vec<_> = Key::ALL.into_iter().map(row).collect();
    assert_eq!(all, expected);
}

#[test]
fn other_formats_get_the_same_parts() {
    let json = serde_json::json!([
        1,
        4,
        [0, [[2, 5]]],
        [["ai", [1, [[3, 1], [24, 90_000_000], [28, 86_400_000_000_u64]]]], ["€", [0, []]]]
    ]);
    assert_eq!(serde_json::to_value(golden()).unwrap(), json);
    assert_eq!(serde_json::from_value::<Config<2>>(json.clone()).unwrap(), golden());
    assert_eq!(serde_json::from_str::<Config<2>>(&json.to_string()).unwrap(), golden());
}

#[test]
fn other_formats_say_what_is_wrong() {
    let cases = [
        ("[2,0,[0,[]],[]]", "a configuration of version 2, where 1 is read"),
        ("[1,5,[0,[]],[]]", "no strategy has the number 5"),
        ("[1,0,[0,[[2,51]]],[]]", "retry.attempts is a whole number, 1 to 50"),
        ("[1,0,[0,[[2,3],[2,3]]],[]]", "retry.attempts is given twice"),
        ("[1,0,[0,[]],[[\"\",[0,[]]]]]", "an operation's name is not empty"),
        ("[1,0,[0,[]]]", "invalid length 3, expected one more"),
        ("[1,0,[0,[]],[],7]", "trailing characters"),
        ("{}", "expected a version, a strategy, settings for every strategy, and operations"),
        ("[1,0,7,[]]", "expected a strategy and settings"),
        ("[1,0,[0,7],[]]", "expected tags with values"),
        ("[1,0,[0,[]],7]", "expected operations"),
        ("[1,0,[0,[]],[7]]", "expected a name and settings"),
        ("[1,0,[0,[]],[[7,[0,[]]]]]", "expected the name of an operation"),
    ];
    for (json, says) in cases {
        let error = serde_json::from_str::<Config<2>>(json).unwrap_err().to_string();
        assert!(error.contains(says), "{json}: {error}");
    }
}

// --- There and back -------------------------------------------------------------------------------

#[test]
fn all_settings_at_both_ends_come_back() {
    let full = |end: fn((u64, u64)) -> u64| {
        let each = Key::ALL.into_iter().fold(Registration::by(Named::Critical), |all, key| {
            all.try_given(key, end(key.range())).unwrap()
        });
        let long = "x".repeat(32);
        let config = Config::<2>::new().with_default_strategy(Named::Balanced);
        let config = config.with_every_strategy(each).try_operation("x", each).unwrap();
        config.try_operation(&long, each).unwrap()
    };
    for config in [full(|(min, _)| min), full(|(_, max)| max)] {
        assert_eq!(Config::from_postcard(&written(&config)), Ok(config.clone()));
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config<2>>(&json).unwrap(), config);
    }
    // One name is 31 bytes short of the longest.
    let longest = written(&full(|(_, max)| max)).len();
    assert_eq!(longest + 31, Config::<2>::POSTCARD_BYTES);
}

#[test]
fn a_length_beyond_35_minutes_comes_back_as_it_is_stored() {
    for micros in [(1 << 31) - 1, 1 << 31, (1 << 31) + 1, 3_600_000_001, 86_399_999_999] {
        let every = Registration::new().given(Key::Window, micros);
        let stored = every.get(Key::Window).unwrap();
        assert!(micros <= stored && stored < micros + 64, "{micros} is stored as {stored}");
        let config = Config::<0>::new().with_every_strategy(every);
        let read = Config::<0>::from_postcard(&written(&config)).unwrap();
        assert_eq!(read.every_strategy().get(Key::Window), Some(stored));
        assert_eq!(read, config);
    }
}

#[test]
fn a_buffer_that_is_too_small_is_an_error() {
    for size in 0..GOLDEN.len() {
        assert_eq!(golden().to_postcard(&mut vec![0; size]), Err(BufferTooSmall), "{size}");
    }
    assert_eq!(BufferTooSmall.to_string(), "a configuration's bytes do not fit the buffer");
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_again(config in config()) {
        prop_assert_eq!(Config::from_postcard(&written(&config)), Ok(config.clone()));
        let json = serde_json::to_string(&config).unwrap();
        prop_assert_eq!(serde_json::from_str::<Config<4>>(&json).unwrap(), config);
    }

    #[test]
    fn a_configuration_that_is_cut_is_none(config in config()) {
        let bytes = written(&config);
        for end in 0..bytes.len() {
            prop_assert_eq!(Config::<4>::from_postcard(&bytes[..end]), Err(WireError::Truncated));
        }
    }

    #[test]
    fn one_byte_changed_reads_as_a_configuration_or_as_none(
        config in config(),
        change in 1..=255_u8,
    ) {
        let mut bytes = written(&config);
        for at in 0..bytes.len() {
            bytes[at] ^= change;
            is_a_configuration_or_none(&bytes);
            bytes[at] ^= change;
        }
    }

    #[test]
    fn any_bytes_read_as_a_configuration_or_as_none(mut bytes in vec(any::<u8>(), 0..64)) {
        is_a_configuration_or_none(&bytes);
        if let Some(version) = bytes.first_mut() {
            *version = 1;
        }
        is_a_configuration_or_none(&bytes);
    }
}

#[test]
fn each_byte_of_the_golden_one_changed_reads_as_a_configuration_or_as_none() {
    let mut read = 0;
    for at in 0..GOLDEN.len() {
        for byte in 0..=255 {
            let mut bytes = GOLDEN.to_vec();
            bytes[at] = byte;
            read += usize::from(is_a_configuration_or_none(&bytes));
        }
    }
    assert!(read > GOLDEN.len(), "only {read} read as a configuration");
}

/// Whether it is one, which is then a good one.
fn is_a_configuration_or_none(bytes: &[u8]) -> bool {
    let Ok(config) = Config::<4>::from_postcard(bytes) else { return false };
    let all = config.operations().map(|(_, registration)| registration);
    for (key, value) in all.chain([config.every_strategy()]).flat_map(Registration::iter) {
        assert!(key.check(value).is_ok(), "{key} = {value}");
    }
    assert_eq!(Config::from_postcard(&written(&config)), Ok(config));
    true
}

// --- What is wrong --------------------------------------------------------------------------------

#[test]
fn what_is_wrong_is_said() {
    let max = 51;
    #[rustfmt::skip]
    let cases: &[(&[u8], WireError)] = &[
        (&[], WireError::Truncated),
        (&[0, 0, 0, 0, 0], WireError::Version(0)),
        // Of whatever follows, nothing is looked at.
        (&[2], WireError::Version(2)),
        (&[1, 5, 0, 0, 0], WireError::Strategy(5)),
        (&[1, 0, 9, 0, 0], WireError::Strategy(9)),
        (&[1, 0, 0, 0, 1, 1, b'x', 255, 0], WireError::Strategy(255)),
        // Kept for settings that do not exist yet, and never used.
        (&[1, 0, 0, 1, 33, 1, 0], WireError::Tag(33)),
        (&[1, 0, 0, 1, 0, 1, 0], WireError::Tag(0)),
        (&[1, 0, 0, 1, 2, 0, 0], WireError::OutOfRange(Key::Attempts)),
        (&[1, 0, 0, 1, 2, max, 0], WireError::OutOfRange(Key::Attempts)),
        (&[1, 0, 0, 1, 16, 2, 0], WireError::OutOfRange(Key::BreakerEnabled)),
        (&[1, 0, 0, 1, 29, 4, 0], WireError::OutOfRange(Key::Mode)),
        (&[1, 0, 0, 2, 2, 3, 2, 3, 0], WireError::KeyTwice(Key::Attempts)),
        (&[1, 0, 0, 0, 1, 0, 0, 0], WireError::Name(NameError::Empty)),
        (&[1, 0, 0, 0, 1, 1, 0, 0, 0], WireError::Name(NameError::Nul)),
        (&[1, 0, 0, 0, 1, 1, 0xff, 0, 0], WireError::NotText),
        (&[1, 0, 0, 0, 2, 1, b'x', 0, 0, 1, b'y', 0, 0], WireError::TooMany(1)),
        (&[1, 0, 0, 0, 0, 0], WireError::Trailing(1)),
        (&[1, 0, 0, 0, 0, 1, 2, 3], WireError::Trailing(3)),
        (&[1, 0, 0, 1, 2], WireError::Truncated),
        // Eleven bytes are more than 64 bits, on any machine.
        (&[1, 0, 0, 1, 2, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], WireError::Malformed),
        (&[1, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1], WireError::Malformed),
    ];
    for (bytes, error) in cases {
        assert_eq!(Config::<1>::from_postcard(bytes), Err(*error), "{bytes:?}");
    }
    let twice = [1, 0, 0, 0, 2, 1, b'x', 0, 0, 1, b'x', 0, 0];
    let x = Name::new("x").unwrap();
    assert_eq!(Config::<2>::from_postcard(&twice), Err(WireError::Twice(x)));
    let mut long = vec![1, 0, 0, 0, 1, 33];
    long.extend([b'x'; 33]);
    long.extend([0, 0]);
    let error = WireError::Name(NameError::TooLong);
    assert_eq!(Config::<1>::from_postcard(&long), Err(error));
}

#[test]
fn a_length_without_end_ends_with_the_bytes() {
    // 2^32 - 1 operations, settings, letters: fewer bytes are there.
    let many = [255, 255, 255, 255, 15];
    for start in [&[1, 0, 0][..], &[1, 0, 0, 0], &[1, 0, 0, 0, 1]] {
        let bytes = [start, &many].concat();
        assert_eq!(Config::<1>::from_postcard(&bytes), Err(WireError::Truncated), "{bytes:?}");
    }
}

#[test]
fn errors_say_what_is_wrong_in_words() {
    let x = Name::new("x").unwrap();
    let cases = [
        (WireError::Version(7), "a configuration of version 7, where 1 is read"),
        (WireError::Strategy(7), "no strategy has the number 7"),
        (WireError::Tag(7), "no setting has the tag 7"),
        (
            WireError::OutOfRange(Key::OpenFor),
            "breaker.open_for is a number of seconds, 0.05 to 86400: 50000 to 86400000000 microseconds",
        ),
        (WireError::KeyTwice(Key::OpenFor), "breaker.open_for is given twice"),
        (WireError::Name(NameError::Nul), "an operation's name contains no NUL"),
        (WireError::NotText, "an operation's name is UTF-8"),
        (WireError::Twice(x), "operation x is there twice"),
        (WireError::TooMany(3), "a configuration has 3 operations at most"),
        (WireError::Truncated, "a configuration that ends too soon"),
        (WireError::Trailing(3), "3 bytes after the end of a configuration"),
        (WireError::Malformed, "a number in a configuration is too long"),
    ];
    for (error, says) in cases {
        assert_eq!(error.to_string(), says);
    }
}

// --- Any configuration ----------------------------------------------------------------------------

fn config() -> impl Strategy<Value = Config<4>> {
    let operations = btree_map("[a-z€._-]{1,8}", registration(), 0..4);
    (strategy(), registration(), operations).prop_map(|(strategy, every, operations)| {
        let config = Config::new().with_every_strategy(every);
        let config = strategy.into_iter().fold(config, Config::with_default_strategy);
        operations.into_iter().fold(config, |config, (name, registration)| {
            config.try_operation(&name, registration).unwrap()
        })
    })
}

fn registration() -> impl Strategy<Value = Registration> {
    let value = (0..Key::ALL.len(), any::<u64>(), 0_u32..64);
    (strategy(), vec(value, 0..6)).prop_map(|(strategy, values)| {
        let registration = strategy.map_or_else(Registration::new, Registration::by);
        values.into_iter().fold(registration, |registration, (key, value, shift)| {
            let key = Key::ALL[key];
            let (min, max) = key.range();
            // Of all sizes: most numbers of 64 bits are too large for any setting.
            registration.given(key, min + (value >> shift) % (max - min + 1))
        })
    })
}

fn strategy() -> impl Strategy<Value = Option<Named>> {
    proptest::option::of(proptest::sample::select(Named::ALL.as_slice()))
}

fn written<const M: usize>(config: &Config<M>) -> Vec<u8> {
    let mut buffer = vec![0; Config::<M>::POSTCARD_BYTES];
    config.to_postcard(&mut buffer).unwrap().to_vec()
}
