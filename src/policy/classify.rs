//! What an error says: its class, and what follows from it.

use core::time::Duration;

use crate::clock::{duration, micros};

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Class {
    /// It may work the next time: a reset connection, a 500.
    Transient,
    /// It did not answer in time.
    Timeout,
    /// The service has too much to do: a 503, a 529.
    Overloaded,
    /// The caller asks too often: a 429.
    RateLimited,
    /// It will never work: a 400, a 404.
    Permanent,
    /// The caller is not known or not allowed: a 401, a 403.
    Auth,
    /// The caller has used up what it paid for.
    Quota,
    /// The request is too large for the model.
    Context,
    /// The content is refused.
    Policy,
}

/// Whether a failed attempt may be made again. In this order, the least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Retry {
    /// No.
    Never,
    /// Once in an execution.
    Once,
    /// As often as the policy allows.
    Yes,
}

impl Retry {
    /// What is left when either decides.
    pub(super) const fn least(self, other: Self) -> Self {
        if (self as u8) < other as u8 { self } else { other }
    }
}

/// What to do about an error.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Verdict {
    /// What kind of failure it was: it decides what the breaker makes of it.
    pub class: Class,
    /// Whether it may be made again.
    pub retry: Retry,
    /// How long the service asked to be left alone, in microseconds.
    pub(super) asked_wait: Option<u64>,
}

/// An error that says its class.
#[diagnostic::on_unimplemented(
    message = "nothing says which class an error `{Self}` is of",
    note = "implement `Classify` for it, or give the policy or handle `.classify(..)` or `.retry_all()`"
)]
pub trait Classify {
    /// What this error says.
    fn verdict(&self) -> Verdict;
}

/// Tells the errors of an operation apart.
///
/// A closure or function `Fn(&E) -> Verdict` is one.
#[diagnostic::on_unimplemented(
    message = "nothing says which class an error `{E}` is of",
    note = "implement `Classify` for it, or give the policy or handle `.classify(..)` or `.retry_all()`"
)]
pub trait Classifier<E: ?Sized> {
    /// What `error` says.
    fn classify(&self, error: &E) -> Verdict;

    /// What it says that an attempt did not end within its time. An attempt cut by the deadline of
    /// the execution is not asked about.
    fn timed_out(&self) -> Verdict {
        Verdict::of(Class::Timeout)
    }
}

/// Errors say their own class: they implement [`Classify`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ByError;

/// Every error is transient.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RetryAll;

impl Verdict {
    /// What the class alone says.
    pub const fn of(class: Class) -> Self {
        Self { class, retry: class.retry(), asked_wait: None }
    }

    /// Not before so long after the failure: the service asked to be left alone for `wait`. A part
    /// of a microsecond counts whole.
    pub const fn not_before(self, wait: Duration) -> Self {
        Self { asked_wait: Some(micros(wait)), ..self }
    }

    /// For how long the service asked to be left alone: [`Duration::MAX`] for longer than
    /// microseconds go (584 000 years).
    #[must_use]
    pub const fn asked_wait(&self) -> Option<Duration> {
        match self.asked_wait {
            None => None,
            Some(u64::MAX) => Some(Duration::MAX),
            Some(micros) => Some(duration(micros)),
        }
    }

    /// May be made again that often, whatever the class says.
    pub const fn retry(self, retry: Retry) -> Self {
        Self { retry, ..self }
    }
}

impl Class {
    /// Whether failures of this class are made again, unless a verdict says otherwise.
    #[must_use]
    pub const fn retry(self) -> Retry {
        match self {
            Self::Transient | Self::Timeout | Self::Overloaded | Self::RateLimited => Retry::Yes,
            Self::Permanent | Self::Auth | Self::Quota | Self::Context | Self::Policy => {
                Retry::Never
            }
        }
    }

    /// Whether failures of this class count for the breaker. The others say nothing of the other
    /// side's health: they neither add to a run of failures nor break it.
    #[must_use]
    pub const fn fails(self) -> bool {
        match self {
            Self::Transient | Self::Timeout | Self::Overloaded => true,
            Self::RateLimited
            | Self::Permanent
            | Self::Auth
            | Self::Quota
            | Self::Context
            | Self::Policy => false,
        }
    }

    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::RateLimited => "rate limited",
            Self::Permanent => "permanent",
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::Context => "context",
            Self::Policy => "policy",
        }
    }
}

impl core::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Verdict")
            .field("class", &self.class)
            .field("retry", &self.retry)
            .field("asked_wait", &self.asked_wait())
            .finish()
    }
}

impl core::fmt::Display for Class {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text())
    }
}

impl Classify for core::convert::Infallible {
    fn verdict(&self) -> Verdict {
        match *self {}
    }
}

impl<E: Classify + ?Sized> Classify for &E {
    fn verdict(&self) -> Verdict {
        E::verdict(self)
    }
}

impl<E: Classify + ?Sized> Classifier<E> for ByError {
    fn classify(&self, error: &E) -> Verdict {
        error.verdict()
    }
}

impl<E: ?Sized> Classifier<E> for RetryAll {
    fn classify(&self, _error: &E) -> Verdict {
        Verdict::of(Class::Transient)
    }
}

impl<E: ?Sized, F: Fn(&E) -> Verdict> Classifier<E> for F {
    fn classify(&self, error: &E) -> Verdict {
        self(error)
    }
}
