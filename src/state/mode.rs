//! What an operator tells a breaker to do, whatever it finds.

use core::fmt;
use core::str::FromStr;

/// What a circuit does with what it decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// It does as it decides.
    #[default]
    Normal,
    /// It refuses everybody until the mode is changed; after that the next caller is a probe.
    ForcedOpen,
    /// It admits everybody. Outcomes are counted, and never open it.
    ForcedClosed,
    /// It decides and counts as ever, and refuses nobody: whom it would have refused is admitted
    /// with a ticket that counts for nothing.
    Shadow,
}

/// A name that is none of the four modes'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnknownMode;

impl Mode {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Normal, Self::ForcedOpen, Self::ForcedClosed, Self::Shadow];

    /// Its name, as configuration spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::Shadow => "shadow",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        Self::ALL.into_iter().find(|mode| mode.name() == name).ok_or(UnknownMode)
    }
}

impl fmt::Display for UnknownMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a breaker's mode is normal, forced_open, forced_closed or shadow")
    }
}

impl core::error::Error for UnknownMode {}
