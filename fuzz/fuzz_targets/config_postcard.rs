//! Any bytes as a configuration: read strictly, written the same, and applied wholly or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadfast::orchestrator::wire::WireError;
use steadfast::orchestrator::{Config, ConfigError, Effective, Key, Kind, Registration, Value};
use steadfast::{Orchestrator, Strategy};

type Table = Orchestrator<PLACES, 1>;

fuzz_target!(|bytes: &[u8]| {
    let config = match Config::<OPERATIONS>::from_postcard(bytes) {
        Ok(config) => config,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            if let WireError::Trailing(rest) = error {
                assert!(0 < rest && rest < bytes.len(), "{rest} of {} bytes", bytes.len());
            }
            return;
        }
    };
    assert_eq!(bytes.first(), Some(&1), "another version was read");
    let mut buffer = [0; Config::<OPERATIONS>::POSTCARD_BYTES];
    let written = config.to_postcard(&mut buffer).expect("a buffer that takes any configuration");
    assert_eq!(Config::from_postcard(written), Ok(config.clone()));
    for end in 0..written.len() {
        let cut = Config::<OPERATIONS>::from_postcard(&written[..end]);
        assert_eq!(cut, Err(WireError::Truncated));
    }
    let given = config.operations().map(|(_, registration)| registration);
    for (key, value) in given.chain([config.every_strategy()]).flat_map(Registration::iter) {
        assert!(key.check(value).is_ok(), "{key} = {value}");
    }

    let table = Table::new();
    let fast = Registration::by(Strategy::Aggressive).given(Key::OfLast, 20);
    table.register("fast", fast).expect("a place");
    table.register("a", Registration::new().given(Key::OpenFor, 7_200_000_000)).expect("a place");
    let before = effective(&table);
    match table.configure(&config) {
        Ok(()) => {
            assert_eq!(config.check(), Ok(()));
            for (name, registration) in config.operations() {
                let effective = table.effective(name.as_str()).expect("a configured operation");
                for (key, value) in registration.iter() {
                    is_given(&effective, key, value);
                }
                if let Some(strategy) = registration.named() {
                    assert_eq!(effective.strategy(), strategy, "{name}");
                }
            }
            for (name, effective) in effective(&table) {
                in_range(&name, &effective);
            }
            table.configure(&Config::<0>::new()).expect("what was registered goes together");
            let after = effective(&table);
            for there in &before {
                assert!(after.contains(there), "{} is not as it was registered", there.0);
            }
        }
        Err(error) => {
            match error {
                ConfigError::Strategy(..) => assert_eq!(config.check(), Err(error)),
                ConfigError::Operation(name, _) => {
                    let there = table.effective(name.as_str()).is_ok();
                    assert!(there || config.operation(&name).is_some(), "{name} is nobody's");
                }
                ConfigError::Full { capacity } => {
                    assert_eq!(capacity, PLACES);
                    assert!(config.operations().count() > PLACES - 2);
                }
                _ => panic!("{error}"),
            }
            assert_eq!(effective(&table), before, "{error}, and something has changed");
        }
    }
});

fn effective(table: &Table) -> Vec<(String, Effective)> {
    table.iter().map(|view| (view.name().to_string(), view.effective())).collect()
}

fn is_given(effective: &Effective, key: Key, value: u64) {
    let is = effective.get(key);
    let has = |key| effective.get(key) != 0;
    match key.kind() {
        // How much is drawn matters to one kind of jitter only.
        _ if key == Key::Jitter && effective.get(Key::JitterKind) != ADDITIVE => assert_eq!(is, 0),
        // What a rate of slow outcomes goes by, and what any rate does.
        _ if key == Key::SlowAfter && !has(Key::SlowRate) => assert_eq!(is, 0),
        _ if key == Key::MinCalls && !has(Key::SlowRate) && !has(Key::FailureRate) => {
            assert_eq!(is, 0);
        }
        _ if key == Key::MinCalls && has(Key::OfLast) => {
            assert_eq!(is, value.min(effective.get(Key::OfLast)), "{key}");
        }
        // Breaker and budget keep lengths in units of 32 µs, rounded up.
        Kind::Length => assert!(value <= is && is < value + 32, "{key} = {value} became {is}"),
        _ => assert_eq!(is, value, "{key}"),
    }
}

fn in_range(name: &str, effective: &Effective) {
    for key in Key::ALL {
        let value = effective.get(key);
        let none = key.value(0) == Value::None && value == 0;
        assert!(none || key.check(value).is_ok(), "{name}: {key} = {value}");
    }
    let settings = effective.settings();
    assert!(settings.backoff.min() < settings.backoff.max(), "{name}");
    assert!(settings.breaker.open_for() <= settings.breaker.open_max(), "{name}");
}

/// Operations that a configuration may have, and places for them: sometimes too few.
const OPERATIONS: usize = 6;
const PLACES: usize = 5;
/// Its place among the kinds of jitter.
const ADDITIVE: u64 = 1;
