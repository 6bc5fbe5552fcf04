//! Faults for the simulation to find: `--cfg fault="lost_release"` and the like plants one, in its
//! test builds alone.

/// A dropped permit is not given back.
pub(crate) const LOST_RELEASE: bool = cfg!(fault = "lost_release");

/// A ticket of another epoch gives back what is not its own.
pub(crate) const STALE_RELEASE: bool = cfg!(fault = "stale_release");

/// Jitter takes from a wait that the service asked for.
pub(crate) const EARLY_WAIT: bool = cfg!(fault = "early_wait");

/// An open period is rounded down.
pub(crate) const EARLY_PROBE: bool = cfg!(fault = "early_probe");

/// A wait is not held against the deadline.
pub(crate) const DEADLINE_IGNORED: bool = cfg!(fault = "deadline_ignored");

/// A settled attempt is counted as dropped too.
pub(crate) const DOUBLE_COUNT: bool = cfg!(fault = "double_count");

/// Every retry is paid.
pub(crate) const FREE_RETRY: bool = cfg!(fault = "free_retry");

/// A reservation that is dropped is not given back. A mutant for the models of loom, too.
pub(crate) const LOST_REFUND: bool = cfg!(fault = "lost_refund") || cfg!(mutant = "lost_refund");

/// What a call took beyond its estimate is not charged for.
pub(crate) const FREE_TOKENS: bool = cfg!(fault = "free_tokens");

/// A limiter rounds down until when it refuses.
pub(crate) const EARLY_LIMIT: bool = cfg!(fault = "early_limit");

/// A retry that the limiter refuses is not counted as refused.
pub(crate) const UNCOUNTED_LIMIT: bool = cfg!(fault = "uncounted_limit");

/// A window over outcomes counts on from what was before it opened.
pub(crate) const KEPT_WINDOW: bool = cfg!(fault = "kept_window");

/// The oldest slice of a window is not looked at.
pub(crate) const LOST_SLICE: bool = cfg!(fault = "lost_slice");

/// What failed is not slow besides.
pub(crate) const MISSED_SLOW: bool = cfg!(fault = "missed_slow");
