//! Why an execution ended without an answer.

use core::fmt;

use crate::clock::Instant;
use crate::policy::classify::Class;

/// An execution ended without an answer.
///
/// [`source`](core::error::Error::source) is the operation's last error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Error<E> {
    /// The operation's last error. `None` if no attempt returned one: all were refused or ran out
    /// of time.
    pub last: Option<E>,
    /// Why no further attempt was made.
    pub stopped: Reason,
    /// Attempts made.
    pub attempts: u32,
    /// When another execution may find more luck: the breaker admits then, or the service asked for
    /// it. `None` where nobody knows.
    pub retry_at: Option<Instant>,
    /// What the last attempt's failure was. `None` if none came to an end.
    pub class: Option<Class>,
}

/// Why no further attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Reason {
    /// The failure is of a class that another attempt would not mend.
    Class,
    /// All attempts have been made.
    Attempts,
    /// The retry budget is spent, or the clock's budget of wake-ups.
    Budget,
    /// The retry would start after the retry window.
    Window,
    /// The deadline has passed, or the wait would end after it.
    Deadline,
    /// The service asked for a longer wait than the policy allows.
    AskedWait,
    /// The breaker refuses, or would refuse at the end of the wait.
    BreakerOpen,
    /// Nobody may call yet.
    Gated,
    /// All slots of the bulkhead are taken.
    BulkheadFull,
    /// The limiter has none left.
    Limited,
}

/// What an execution with a fallback ends in when the fallback has no answer either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OrElseError<E, X> {
    /// The fallback let the execution's error stand.
    GaveUp(Error<E>),
    /// The fallback failed by itself.
    Fallback(X),
}

impl<E> Error<E> {
    /// The operation's last error.
    #[must_use]
    pub fn into_inner(self) -> Option<E> {
        self.last
    }
}

impl Reason {
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Class => "not worth a retry",
            Self::Attempts => "no attempts left",
            Self::Budget => "budget spent",
            Self::Window => "retry window over",
            Self::Deadline => "deadline passed",
            Self::AskedWait => "asked to wait longer than allowed",
            Self::BreakerOpen => "breaker open",
            Self::Gated => "nobody may call yet",
            Self::BulkheadFull => "bulkhead full",
            Self::Limited => "limit reached",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// The reason and the class; the last error itself is the source, and is not repeated.
impl<E> fmt::Display for Error<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stopped.fmt(f)?;
        match self.attempts {
            0 => f.write_str(", no attempt made")?,
            1 => f.write_str(" after 1 attempt")?,
            n => write!(f, " after {n} attempts")?,
        }
        match self.class {
            Some(class) => write!(f, " ({class})"),
            None => Ok(()),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for Error<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        self.last.as_ref().map(|error| error as _)
    }
}

impl<E, X: fmt::Display> fmt::Display for OrElseError<E, X> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GaveUp(error) => error.fmt(f),
            Self::Fallback(error) => write!(f, "fallback failed: {error}"),
        }
    }
}

impl<E, X> core::error::Error for OrElseError<E, X>
where
    E: core::error::Error + 'static,
    X: core::error::Error + 'static,
{
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::GaveUp(error) => error.source(),
            Self::Fallback(error) => error.source(),
        }
    }
}
