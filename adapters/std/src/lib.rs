//! The clocks of `std` and tokio for [`steadfast`].
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

mod thread;
mod tokio;

pub use crate::thread::ThreadClock;
pub use crate::tokio::TokioClock;
