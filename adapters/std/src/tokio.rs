//! Tokio's clock.

use std::time::Duration;

use steadfast::{Clock, Instant, Sleep};
use tokio::time;

use crate::thread::{random, thread_number, unix_micros, whole_micros};

/// Tokio's clock, which `tokio::time::pause` stops and `advance` moves.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    origin: time::Instant,
}

impl TokioClock {
    /// A clock whose origin is now. Calls that share a breaker must share an origin, so make one
    /// clock and copy it.
    #[must_use]
    pub fn new() -> Self {
        Self { origin: time::Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Instant {
        whole_micros(self.origin.elapsed())
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
        time::sleep_until(self.origin + Duration::from_micros(at.as_micros()).min(FAR))
    }

    fn random(&self) -> u32 {
        random()
    }
}

/// 30 years: tokio's own idea of a far future.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);
