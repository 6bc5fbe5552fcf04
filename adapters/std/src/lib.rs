//! [`steadfast`] on `std`: clocks, and operations that are configured from outside.
//!
//! [`Resilience`] is what an application makes once. It holds its named operations and is configured
//! by the environment, by a preset, or by [JSON](config), also while it runs:
//!
//! ```
//! use steadfast_std::{Resilience, TokioClock};
//!
//! # async fn ask(prompt: &str) -> Result<String, std::io::Error> { Ok(prompt.to_uppercase()) }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // RESILIENCE_PRESET, RESILIENCE_CUSTOM_CONFIG: usable whatever is wrong with them.
//! let (resilience, problems) = Resilience::from_env();
//! for problem in &problems {
//!     eprintln!("{problem}");
//! }
//! for warning in problems.warnings() {
//!     eprintln!("{warning}");
//! }
//! for warning in resilience.configure_json(r#"{ "operations": { "summarize": "critical" } }"#)? {
//!     eprintln!("{warning}");
//! }
//!
//! let summarize = resilience.operation("summarize")?.retry_all(); // Copy, and 'static: keep it.
//! assert_eq!(summarize.execute(TokioClock::new(), || ask("hello")).await?, "HELLO");
//! # Ok(())
//! # }
//! ```
//!
//! With the feature `reload`, `Resilience::watch_file` follows a file. [`install`] makes one
//! `Resilience` the process's own, for code that nobody hands it to. With the feature `macros`, a
//! function is an operation of it by an attribute:
//! `#[steadfast::resilient("summarize", strategy = "critical", fallback = first_line)]`. What operations
//! do are spans, events and metrics with the features `tracing` and `metrics`.
//!
//! What other systems call all this is in a table in [`steadfast::orchestrator`].
//!
//! The clocks serve policies without names just as well:
//!
//! ```
//! use std::time::Duration;
//! use steadfast::{Backoff, Breaker, Policy, Trip};
//! use steadfast_std::TokioClock;
//!
//! static BREAKER: Breaker = Breaker::new(Trip::after(5), Duration::from_secs(30));
//! static POLICY: Policy = Policy::new()
//!     .attempts(3)
//!     .backoff(Backoff::constant(Duration::from_millis(100)))
//!     .attempt_timeout(Duration::from_secs(10))
//!     .breaker(&BREAKER);
//!
//! # async fn ask(prompt: &str) -> Result<String, std::io::Error> { Ok(prompt.to_uppercase()) }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let clock = TokioClock::new();
//! let answer = POLICY.retry_all().execute(&clock, || ask("hello")).await;
//! assert_eq!(answer.ok().as_deref(), Some("HELLO"));
//! # }
//! ```

pub mod config;
mod keyed;
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub mod observe;
mod process;
#[cfg(feature = "reload")]
mod reload;
mod report;
mod resilience;
#[cfg(feature = "macros")]
mod resilient;
mod thread;
mod tokio;

pub use crate::config::warning::OperationWarning;
pub use crate::keyed::{Full, Keyed};
pub use crate::process::{AlreadyInstalled, OperationError, install, operation};
#[cfg(feature = "reload")]
pub use crate::reload::{ReloadError, Watching};
pub use crate::resilience::Resilience;
#[cfg(feature = "macros")]
#[doc(hidden)]
pub use crate::resilient::macros as __macros;
#[cfg(feature = "macros")]
pub use crate::resilient::{Stopped, Why};
pub use crate::thread::ThreadClock;
pub use crate::tokio::TokioClock;
#[cfg(feature = "macros")]
pub use steadfast::resilient;
