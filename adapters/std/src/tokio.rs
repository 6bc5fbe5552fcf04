//! Tokio's clock.

use core::time::Duration;

use steadfast::{Clock, Instant, Sleep};
use tokio::time;

use crate::thread::{origin, random, thread_number, unix_micros, whole_micros};

/// Tokio's clock, which `tokio::time::pause` stops and `advance` moves.
///
/// All of them in a process have one origin, so a breaker in a `static` sees one time.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TokioClock;

impl TokioClock {
    /// The clock of the runtime that it is used in.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        let origin = time::Instant::from_std(origin());
        whole_micros(time::Instant::now().saturating_duration_since(origin))
    }

    fn unix_micros(&self) -> Option<u64> {
        unix_micros()
    }

    fn shard_hint(&self) -> usize {
        thread_number()
    }
}

impl Sleep for TokioClock {
    type Sleeping = time::Sleep;

    /// Tokio rounds up to its millisecond, so this is never early. A wait of more than 30 years
    /// ends after those.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime with time enabled, as tokio's own timers do.
    fn sleep_until(&self, at: Instant) -> time::Sleep {
        time::sleep_until(
            time::Instant::from_std(origin()) + Duration::from_micros(at.as_micros()).min(FAR),
        )
    }

    fn random(&self) -> u32 {
        random()
    }
}

/// 30 years: tokio's own idea of a far future.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
