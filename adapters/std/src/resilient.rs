//! What `#[resilient]` expands to, and what such a function returns when there is no error of its
//! own to return.

use core::fmt;

use steadfast::orchestrator::RegisterError;
use steadfast::{Class, Instant, Reason};

use crate::process::OperationError;

/// A call of a resilient function that ended without an answer, and without an error of the
/// function's own: all attempts were refused or ran out of time.
///
/// The function's error is made from it: `E: From<Stopped>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stopped {
    /// The operation.
    pub operation: &'static str,
    /// Why.
    pub why: Why,
    /// Attempts made.
    pub attempts: u32,
    /// When another call may find more luck, by the clock of this one. `None` where nobody knows.
    pub retry_at: Option<Instant>,
    /// What the last attempt's failure was. `None` if none came to an end.
    pub class: Option<Class>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Why {
    /// The execution gave up.
    GaveUp(Reason),
    /// The operation could not be registered, and no attempt was made.
    NotRegistered(RegisterError),
    /// Nothing is [installed](crate::install) in this process yet, and no attempt was made.
    NotInitialised,
}

impl Stopped {
    const fn never_began(operation: &'static str, why: Why) -> Self {
        Self { operation, why, attempts: 0, retry_at: None, class: None }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.operation)?;
        match (self.why, self.attempts) {
            (Why::NotRegistered(error), _) => return write!(f, "not registered: {error}"),
            (Why::NotInitialised, _) => return OperationError::NotInitialised.fmt(f),
            (Why::GaveUp(reason), 0) => write!(f, "{reason}, no attempt made")?,
            (Why::GaveUp(reason), 1) => write!(f, "{reason} after 1 attempt")?,
            (Why::GaveUp(reason), attempts) => write!(f, "{reason} after {attempts} attempts")?,
        }
        match self.class {
            Some(class) => write!(f, " ({class})"),
            None => Ok(()),
        }
    }
}

impl core::error::Error for Stopped {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.why {
            Why::NotRegistered(error) => Some(error),
            Why::GaveUp(_) | Why::NotInitialised => None,
        }
    }
}

/// For the attribute alone.
pub mod macros {
    use std::sync::OnceLock;
    use std::thread;

    use steadfast::orchestrator::{RegisterError, Registration};
    use steadfast::{Error, Orchestrator};

    pub use steadfast::orchestrator::Handle;
    pub use steadfast::{OrElseError, Strategy};

    pub use super::Stopped;
    use super::Why;
    #[cfg(feature = "tracing")]
    use crate::observe::{Trace as _, Traced};
    use crate::process;
    pub use crate::{ThreadClock, TokioClock};

    /// An operation as its function declares it, and its handle once it has been called.
    #[derive(Debug)]
    pub struct Declared {
        name: &'static str,
        registration: Registration,
        handle: OnceLock<Handle<'static>>,
    }

    impl Declared {
        /// Nothing is registered yet.
        #[must_use]
        pub const fn new(name: &'static str, strategy: Option<Strategy>) -> Self {
            let registration = match strategy {
                Some(strategy) => Registration::by(strategy),
                None => Registration::new(),
            };
            Self { name, registration, handle: OnceLock::new() }
        }

        /// The operation's handle in the process's own table, which registers it the first time.
        ///
        /// # Errors
        ///
        /// There is no such table, or it cannot be registered.
        pub fn installed(&self) -> Result<Handle<'static>, Stopped> {
            self.handle(|| process::get_or_register(self.name, self.registration))
        }

        /// The operation's handle in a table, which registers it the first time.
        ///
        /// # Errors
        ///
        /// It cannot be registered.
        pub fn of<
            const N: usize,
            const BUCKETS: usize,
            const SHARDS: usize,
            const WINDOW: usize,
        >(
            &self,
            orchestrator: impl Fn() -> &'static Orchestrator<N, BUCKETS, SHARDS, WINDOW>,
        ) -> Result<Handle<'static>, Stopped> {
            self.handle(|| Some(orchestrator().get_or_register(self.name, self.registration)))
        }

        fn handle(
            &self,
            register: impl Fn() -> Option<Result<Handle<'static>, RegisterError>>,
        ) -> Result<Handle<'static>, Stopped> {
            if let Some(handle) = self.handle.get() {
                return Ok(*handle);
            }
            let handle = loop {
                match register() {
                    Some(Ok(handle)) => break handle,
                    // Another thread is at it, for microseconds.
                    Some(Err(RegisterError::Busy)) => thread::yield_now(),
                    Some(Err(error)) => {
                        return Err(Stopped::never_began(self.name, Why::NotRegistered(error)));
                    }
                    None => return Err(Stopped::never_began(self.name, Why::NotInitialised)),
                }
            };
            Ok(*self.handle.get_or_init(|| handle))
        }
    }

    /// What the function executes by: each execution is a span.
    #[cfg(feature = "tracing")]
    pub fn executing<C: Clone>(handle: Handle<'_, C>) -> Traced<'_, C> {
        handle.traced()
    }

    /// What the function executes by: the operation as it is.
    #[cfg(not(feature = "tracing"))]
    pub const fn executing<C>(handle: Handle<'_, C>) -> Handle<'_, C> {
        handle
    }

    /// An argument again: the function has more attempts than arguments.
    pub fn cloned_for_each_attempt<T: Clone>(argument: &T) -> T {
        argument.clone()
    }

    /// The operation's own error, or what there is instead.
    pub fn error<E: From<Stopped>>(operation: &'static str, error: Error<E>) -> E {
        let Error { stopped, attempts, retry_at, class, .. } = error;
        error.last.unwrap_or_else(|| {
            E::from(Stopped { operation, why: Why::GaveUp(stopped), attempts, retry_at, class })
        })
    }

    /// The fallback's own error: it is handed the operation's.
    pub fn fallback_error<E: From<Stopped>>(
        operation: &'static str,
        ended: OrElseError<E, E>,
    ) -> E {
        match ended {
            OrElseError::Fallback(error) => error,
            OrElseError::GaveUp(gave_up) => error(operation, gave_up),
        }
    }
}
