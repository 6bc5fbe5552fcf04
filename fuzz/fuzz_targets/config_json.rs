//! Any text, as a configuration: it is gone by as a whole or not at all.
#![no_main]

use libfuzzer_sys::fuzz_target;
use steadfast::Strategy;
use steadfast::orchestrator::{Effective, Key, Name, Orchestrator, Registration};
use steadfast_std::Resilience;
use steadfast_std::config::config_from_json;

/// Operations of documents stay in it, so it fills up, and documents meet a full one too.
static TABLE: Orchestrator<12> = Orchestrator::new()
    .operation("a", Registration::by(Strategy::Critical))
    .operation("b", Registration::new().given(Key::Max, 50_000_000));

fuzz_target!(|text: &str| {
    // What is known for good is found once.
    thread_local! {
        static RESILIENCE: Resilience<12> = Resilience::over(&TABLE);
    }
    let resilience = RESILIENCE.with(|resilience| *resilience);
    let read = config_from_json::<256>(text);
    let before = everything();
    match resilience.configure_json(text) {
        Ok(warnings) => {
            let config = read.expect("what is gone by can be read");
            let given = config.operations().map(|(_, registration)| registration);
            for (key, value) in given.chain([config.every_strategy()]).flat_map(Registration::iter)
            {
                // A long time is kept in units of 64 µs, rounded up.
                assert_eq!(key.check(value), Ok(value), "{key} of {text}");
            }
            let after = everything();
            assert_eq!(resilience.configure_json(text), Ok(warnings), "{text}");
            assert_eq!(everything(), after, "{text}");
            resilience.configure_json("{}").expect("nothing is always possible");
            let [a, b] = ["a", "b"].map(|name| TABLE.effective(name).expect("it is registered"));
            assert_eq!((a.strategy(), a.get(Key::Attempts)), (Strategy::Critical, 7));
            assert_eq!((b.strategy(), b.get(Key::Max)), (Strategy::Balanced, 50_000_000));
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert_eq!(problems.iter().len() + problems.more(), problems.len());
            assert!(problems.iter().len() <= 16);
            let shown = problems.to_string();
            assert!(shown.lines().count() <= 17, "{shown}");
            assert!(shown.lines().all(|line| line.len() < 4_000), "{shown}");
            assert_eq!(everything(), before, "{text}");
        }
    }
});

fn everything() -> Vec<(Name, Effective)> {
    TABLE.iter().map(|view| (view.name(), view.effective())).collect()
}
