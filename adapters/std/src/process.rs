//! The process's own [`Resilience`], for code that nobody hands one to.

use core::fmt;
use std::sync::OnceLock;

use steadfast::orchestrator::{Handle, UnknownOperation};

use crate::resilience::Resilience;

/// Why the process has no such operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OperationError {
    /// Nobody has [installed](install) anything yet.
    NotInitialised,
    /// It has no operation of that name.
    Unknown(UnknownOperation),
}

/// The process has one already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyInstalled;

/// Makes `resilience` the process's own: [`operation`] finds its operations from now on.
///
/// # Errors
///
/// There is one already, and it stays.
pub fn install<const N: usize, const BUCKETS: usize, const SHARDS: usize>(
    resilience: Resilience<N, BUCKETS, SHARDS>,
) -> Result<(), AlreadyInstalled> {
    let find = move |name: &str| resilience.operation(name);
    INSTALLED.set(Box::new(find)).map_err(|_| AlreadyInstalled)
}

/// A handle of the operation `name` of the process's own [`Resilience`].
///
/// # Errors
///
/// There is none of that name, or nothing is [installed](install) yet.
///
/// ```
/// use steadfast::orchestrator::Registration;
/// use steadfast_std::{OperationError, Resilience, install, operation};
///
/// assert_eq!(operation("summarize").err(), Some(OperationError::NotInitialised));
/// let resilience = Resilience::new();
/// install(resilience)?;
/// let summarize = resilience.register("summarize", Registration::new())?;
/// assert_eq!(operation("summarize")?.name(), summarize.name());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn operation(name: &str) -> Result<Handle<'static>, OperationError> {
    let find = INSTALLED.get().ok_or(OperationError::NotInitialised)?;
    find(name).map_err(OperationError::Unknown)
}

type Find = dyn Fn(&str) -> Result<Handle<'static>, UnknownOperation> + Send + Sync;

static INSTALLED: OnceLock<Box<Find>> = OnceLock::new();

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInitialised => f.write_str("no resilience is installed in this process yet"),
            Self::Unknown(error) => error.fmt(f),
        }
    }
}

impl fmt::Display for AlreadyInstalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a resilience is installed in this process already")
    }
}

impl core::error::Error for OperationError {}
impl core::error::Error for AlreadyInstalled {}
