//! What is allowed, and probably not meant.

use core::fmt;

use steadfast::Strategy;
use steadfast::orchestrator::{Name, Warning};

/// What is allowed, and probably not meant: for one operation, or for those of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationWarning {
    /// The operation; none for what holds for operations that nothing else is said about.
    pub operation: Option<Name>,
    /// The strategy that it goes by, or that such operations go by.
    pub strategy: Strategy,
    /// What is probably not meant.
    pub warning: Warning,
}

/// `summarize: retry.attempts is more than 7`, or `by critical: ..` where no operation is meant.
impl fmt::Display for OperationWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.operation {
            Some(name) => write!(f, "{name}: {}", self.warning),
            None => write!(f, "by {}: {}", self.strategy, self.warning),
        }
    }
}
