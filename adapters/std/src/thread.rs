//! The clock of plain threads, and what it shares with the other clocks of `std`.

use core::hash::BuildHasher as _;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::hash::RandomState;
use std::sync::OnceLock;
use std::thread;
use std::time::{Instant as StdInstant, SystemTime};

use steadfast::{Clock, Instant, Wait};

/// The monotonic clock of `std`, for callers that block:
/// [`execute_blocking`](steadfast::Policy::execute_blocking).
///
/// All of them in a process have one origin, so a breaker in a `static` sees one time.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ThreadClock;

impl ThreadClock {
    /// The process's clock.
    #[must_use]
    pub const fn new() -> Self {
        Self
    }
}

impl Clock for ThreadClock {
    fn now(&self) -> Instant {
        whole_micros(StdInstant::now().saturating_duration_since(origin()))
    }

    fn unix_micros(&self) -> Option<u64> {
        unix_micros()
    }

    fn shard_hint(&self) -> usize {
        thread_number()
    }
}

impl Wait for ThreadClock {
    fn wait_until(&self, at: Instant) {
        // A sleep may end early only by the part of a microsecond that the reading leaves out.
        while let left @ 1.. = at.as_micros().saturating_sub(self.now().as_micros()) {
            thread::sleep(Duration::from_micros(left));
        }
    }

    fn random(&self) -> u32 {
        random()
    }
}

/// The origin of the process's clocks: an hour before they are first asked, so that a runtime whose
/// time was paused a little earlier is not before it.
pub(crate) fn origin() -> StdInstant {
    static ORIGIN: OnceLock<StdInstant> = OnceLock::new();
    *ORIGIN.get_or_init(|| {
        let now = StdInstant::now();
        now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
    })
}

/// The instant so long after the origin, a part of a microsecond left out: never ahead of time.
pub(crate) fn whole_micros(elapsed: Duration) -> Instant {
    Instant::from_micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

/// The wall clock.
pub(crate) fn unix_micros() -> Option<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_micros()).ok()
}

/// Random bits, from the seed that the operating system gives each thread.
pub(crate) fn random() -> u32 {
    // Each `RandomState` of a thread has other keys than the one before.
    RandomState::new().hash_one(()) as u32
}

/// A number for each thread, in the order in which they first ask.
pub(crate) fn thread_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.with(|number| *number)
}
