//! What executions do, for those who watch: spans and events, and counters and gauges.
//!
//! Names of operations, reasons, classes, numbers and lengths are all that goes out: never an
//! argument, an answer, or the text of an error.

#[cfg(feature = "metrics")]
mod metrics;
#[cfg(feature = "tracing")]
mod tracing;

#[cfg(feature = "metrics")]
pub use self::metrics::{describe, publish};
#[cfg(feature = "tracing")]
pub use self::tracing::{Trace, Traced, Tracing};
