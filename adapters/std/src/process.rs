//! The process's own [`Resilience`], for code that nobody hands one to.

use core::fmt;
use std::sync::OnceLock;

use steadfast::orchestrator::{Handle, UnknownOperation};
#[cfg(feature = "macros")]
use steadfast::orchestrator::{RegisterError, Registration};

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
pub fn install<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize>(
    resilience: Resilience<N, BUCKETS, SHARDS, WINDOW>,
) -> Result<(), AlreadyInstalled> {
    INSTALLED.set(Box::new(resilience)).map_err(|_| AlreadyInstalled)
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
    let installed = INSTALLED.get().ok_or(OperationError::NotInitialised)?;
    installed.find(name).map_err(OperationError::Unknown)
}

/// The same, registered with `registration` unless somebody has said before what it goes by. `None`
/// if nothing is installed.
#[cfg(feature = "macros")]
pub(crate) fn get_or_register(
    name: &str,
    registration: Registration,
) -> Option<Result<Handle<'static>, RegisterError>> {
    INSTALLED.get().map(|installed| installed.get_or_register(name, registration))
}

/// A [`Resilience`] of any size.
trait Installed: Send + Sync {
    fn find(&self, name: &str) -> Result<Handle<'static>, UnknownOperation>;

    #[cfg(feature = "macros")]
    fn get_or_register(
        &self,
        name: &str,
        registration: Registration,
    ) -> Result<Handle<'static>, RegisterError>;
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> Installed
    for Resilience<N, BUCKETS, SHARDS, WINDOW>
{
    fn find(&self, name: &str) -> Result<Handle<'static>, UnknownOperation> {
        self.operation(name)
    }

    #[cfg(feature = "macros")]
    fn get_or_register(
        &self,
        name: &str,
        registration: Registration,
    ) -> Result<Handle<'static>, RegisterError> {
        self.orchestrator().get_or_register(name, registration)
    }
}

static INSTALLED: OnceLock<Box<dyn Installed>> = OnceLock::new();

impl fmt::Display for OperationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInitialised => f.write_str(
                "no resilience is installed in this process yet: see steadfast_std::install",
            ),
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
