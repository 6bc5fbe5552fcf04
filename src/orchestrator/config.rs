//! A live configuration: what operations go by from now on.

use core::fmt;

use heapless::Vec;

use super::name::{Name, NameError};
use super::registration::{Conflict, Effective, Registration};
use crate::policy::Strategy;

/// What operations go by: the default strategy, what holds for every strategy, and single
/// operations. Up to `M` of those.
///
/// It replaces what was configured before; what it does not mention is as it was registered. The
/// empty one changes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config<const M: usize> {
    default_strategy: Option<Strategy>,
    every: Registration,
    operations: Vec<(Name, Registration), M>,
}

/// Why a configuration is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ConfigError {
    /// The name of an operation is none.
    Name(NameError),
    /// An operation is in it twice.
    Twice(Name),
    /// It holds so many operations and no more.
    TooMany(usize),
    /// What comes of it for every strategy is at odds with this one.
    Strategy(Strategy, Conflict),
    /// What comes of it for this operation is at odds with itself.
    Operation(Name, Conflict),
    /// It names more operations than the table of an orchestrator has places for.
    Full {
        /// Places that there are.
        capacity: usize,
    },
    /// The table is being written by another caller.
    Busy,
}

impl<const M: usize> Config<M> {
    /// Nothing: operations go by what they are registered with.
    #[must_use]
    pub const fn new() -> Self {
        Self { default_strategy: None, every: Registration::new(), operations: Vec::new() }
    }

    /// Operations that name no strategy go by this one.
    #[must_use]
    pub fn with_default_strategy(self, strategy: Strategy) -> Self {
        Self { default_strategy: Some(strategy), ..self }
    }

    /// Every strategy has the settings that `every` gives, and keeps its own character elsewhere.
    /// A strategy that it names is not looked at.
    #[must_use]
    pub fn with_every_strategy(self, every: Registration) -> Self {
        Self { every, ..self }
    }

    /// The operation `name` goes by `registration`, which wins over what it was registered with.
    ///
    /// # Errors
    ///
    /// The name is none or there already, or there are too many.
    pub fn try_operation(
        mut self,
        name: &str,
        registration: Registration,
    ) -> Result<Self, ConfigError> {
        let name = Name::new(name).map_err(ConfigError::Name)?;
        if self.operations.iter().any(|(there, _)| *there == name) {
            return Err(ConfigError::Twice(name));
        }
        match self.operations.push((name, registration)) {
            Ok(()) => Ok(self),
            Err(_) => Err(ConfigError::TooMany(M)),
        }
    }

    /// What operations go by that name no strategy, if it says.
    #[must_use]
    pub const fn default_strategy(&self) -> Option<Strategy> {
        self.default_strategy
    }

    /// What holds for every strategy.
    #[must_use]
    pub const fn every_strategy(&self) -> &Registration {
        &self.every
    }

    /// The same with the default strategy as its own.
    pub(super) fn every_by_default(&self) -> Registration {
        self.every.strategy(self.default_strategy.unwrap_or_default())
    }

    /// What holds for single operations.
    pub fn operations(&self) -> impl Iterator<Item = (&Name, &Registration)> + Clone {
        self.operations.iter().map(|(name, registration)| (name, registration))
    }

    /// What holds for the operation `name`.
    #[must_use]
    pub fn operation(&self, name: &Name) -> Option<&Registration> {
        self.operations().find_map(|(there, registration)| (there == name).then_some(registration))
    }

    /// Checks what it comes to for every strategy, whatever operations there are.
    ///
    /// # Errors
    ///
    /// It is at odds with a strategy.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.conflicts().next().map_or(Ok(()), Err)
    }

    /// The strategies that it is at odds with.
    pub(super) fn conflicts(&self) -> impl Iterator<Item = ConfigError> + '_ {
        let none = Registration::new();
        Strategy::ALL.into_iter().flat_map(move |strategy| {
            let conflicts = Effective::conflicts(strategy, &self.every, &none, &none);
            conflicts.map(move |conflict| ConfigError::Strategy(strategy, conflict))
        })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Twice(name) => write!(f, "operation {name} is there twice"),
            Self::TooMany(most) => write!(f, "a configuration has {most} operations at most"),
            Self::Strategy(strategy, conflict) => write!(f, "strategy {strategy}: {conflict}"),
            Self::Operation(name, conflict) => write!(f, "operation {name}: {conflict}"),
            Self::Full { capacity } => write!(f, "all {capacity} places of the table are taken"),
            Self::Busy => f.write_str("the table is being written by another caller"),
        }
    }
}

impl core::error::Error for ConfigError {}
