//! Named operations: one object that an application makes once, names its operations in,
//! reconfigures while it runs, and watches.
//!
//! ```
//! use steadfast::orchestrator::{Orchestrator, Registration};
//! use steadfast::{ManualClock, Strategy};
//!
//! static ORCHESTRATOR: Orchestrator<8> = Orchestrator::new()
//!     .operation("ai_summarize", Registration::by(Strategy::Critical))
//!     .operation("ai_classify", Registration::new());
//!
//! # async fn call() -> Result<&'static str, &'static str> { Ok("an answer") }
//! # let clock = ManualClock::new();
//! let summarize = ORCHESTRATOR.get("ai_summarize")?.retry_all();
//! let answer = clock.block_on(summarize.execute(&clock, call));
//! assert_eq!(answer, Ok("an answer"));
//! # Ok::<(), steadfast::orchestrator::UnknownOperation>(())
//! ```
//!
//! # Which settings an operation has
//!
//! Highest first: what a caller [gives](Handle::with) · the strategy that it
//! [names](Handle::strategy) · the live [configuration](Config) of the operation · what it was
//! [registered](Orchestrator::register) with · the default strategy. Breaker, budget, bulkhead and
//! limits are shared by all callers of an operation: they come from configuration and registration
//! alone.
//!
//! # Names elsewhere
//!
//! | elsewhere | here |
//! |---|---|
//! | `with_resilience`, `with_operation_resilience` | [`get`](Orchestrator::get)`(name)?.`[`execute`](Handle::execute) |
//! | `with_aggressive_resilience` | [`Handle::strategy`]`(Strategy::Aggressive)` |
//! | `with_balanced_resilience` | `.strategy(Strategy::Balanced)` |
//! | `with_conservative_resilience` | `.strategy(Strategy::Conservative)` |
//! | `with_critical_resilience` | `.strategy(Strategy::Critical)` |
//! | the same as decorators | `#[steadfast::resilient("name", strategy = "critical", fallback = path)]` (feature `macros`, with `steadfast-std`) |
//! | `register_operation` | [`Orchestrator::register`] |
//! | `get_operation_config` | [`Orchestrator::effective`] |
//! | `get_or_create_circuit_breaker` | [`Orchestrator::breaker`] |
//! | `get_metrics`, `get_all_metrics` | [`Orchestrator::metrics`], [`Orchestrator::iter`]; as one document: `Orchestrator::report` (feature `serde`) |
//! | `reset_metrics` | [`Orchestrator::reset_metrics`], [`Orchestrator::reset_all_metrics`] |
//! | `is_healthy`, `get_health_status` | [`Orchestrator::is_healthy`], [`Orchestrator::health`] |

mod config;
mod entry;
mod handle;
mod health;
mod key;
mod name;
mod registration;
#[cfg(feature = "serde")]
pub mod report;
mod row;
mod table;
mod view;
#[cfg(feature = "serde")]
pub mod wire;

pub use config::{Config, ConfigError};
pub use entry::Watch;
pub use handle::{Handle, Overrides};
pub use health::Health;
pub use key::{Allowed, Key, Kind, OutOfRange, UnknownKey, Value};
pub use name::{Name, NameError};
pub use registration::{Conflict, Effective, Origin, Registration, Warning};
pub use table::{Orchestrator, RegisterError, ResetError, UnknownOperation};
pub use view::{OperationBreaker, View};
