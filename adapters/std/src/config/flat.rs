//! The flat form: few settings, for every strategy.

use steadfast::orchestrator::{Key, Kind};

use super::number::within;
use super::tree::Node;
use super::value::{places, read};

/// A setting of the flat form, which is one of the structured form in narrower bounds.
#[derive(Debug)]
pub(super) struct Flat {
    pub(super) name: &'static str,
    /// The environment variable that sets it, where no preset and no document does.
    pub(super) variable: &'static str,
    pub(super) key: Key,
    /// Both allowed; none for what is on or off.
    bounds: Option<(&'static str, &'static str)>,
}

impl Flat {
    pub(super) fn of(key: Key) -> Option<&'static Self> {
        ALL.iter().find(|flat| flat.key == key)
    }

    /// What `node` comes to, as the kind of the [key](Self::key) counts.
    pub(super) fn read(&self, node: &Node) -> Result<u64, String> {
        read(self.kind(), self.range(), node)
    }

    pub(super) fn allowed(&self) -> String {
        match (self.kind(), self.bounds) {
            (kind, Some((least, most))) => format!("{kind}, {least} to {most}"),
            (kind, None) => kind.to_string(),
        }
    }

    pub(super) const fn is_flag(&self) -> bool {
        self.bounds.is_none()
    }

    const fn kind(&self) -> Kind {
        match self.bounds {
            Some(_) => self.key.kind(),
            None => Kind::Flag,
        }
    }

    fn range(&self) -> (u64, u64) {
        let Some((least, most)) = self.bounds else { return (0, 1) };
        let bound = |text| within(text, places(self.kind()), (0, u64::MAX - 1)).unwrap_or_default();
        (bound(least), bound(most))
    }
}

const fn flat(
    name: &'static str,
    variable: &'static str,
    key: Key,
    bounds: Option<(&'static str, &'static str)>,
) -> Flat {
    Flat { name, variable, key, bounds }
}

#[rustfmt::skip]
pub(super) const ALL: &[Flat] = &[
    flat("retry_attempts",            "RETRY_MAX_ATTEMPTS",               Key::Attempts,   Some(("1", "10"))),
    flat("circuit_breaker_threshold", "CIRCUIT_BREAKER_FAILURE_THRESHOLD", Key::Failures,  Some(("1", "20"))),
    flat("recovery_timeout",          "CIRCUIT_BREAKER_RECOVERY_TIMEOUT", Key::OpenFor,    Some(("10", "300"))),
    flat("exponential_multiplier",    "RETRY_EXPONENTIAL_MULTIPLIER",     Key::Multiplier, Some(("0.1", "5"))),
    flat("exponential_min",           "RETRY_EXPONENTIAL_MIN",            Key::Min,        Some(("0.5", "10"))),
    flat("exponential_max",           "RETRY_EXPONENTIAL_MAX",            Key::Max,        Some(("5", "120"))),
    // Off is the first kind of jitter, none; on is the second, additive.
    flat("jitter_enabled",            "RETRY_JITTER_ENABLED",             Key::JitterKind, None),
    flat("jitter_max",                "RETRY_JITTER_MAX",                 Key::Jitter,     Some(("0.1", "10"))),
    flat("max_delay_seconds",         "RETRY_MAX_DELAY",                  Key::Window,     Some(("5", "600"))),
];

#[cfg(test)]
mod tests {
    use super::{ALL, Kind};

    #[test]
    fn its_bounds_lie_within_those_of_the_setting() {
        for flat in ALL {
            let (least, most) = flat.range();
            assert!(least < most, "{}", flat.name);
            assert_eq!(flat.key.check(least), Ok(least), "{}", flat.name);
            assert_eq!(flat.key.check(most), Ok(most), "{}", flat.name);
        }
    }

    #[test]
    fn a_flag_chooses_between_no_jitter_and_an_additive_one() {
        let jitter = ALL.iter().find(|flat| flat.bounds.is_none()).unwrap();
        let Kind::Choice(names) = jitter.key.kind() else { panic!("{:?}", jitter.key) };
        assert_eq!(names[..2], ["none", "additive"]);
    }
}
