//! Time as a value: nothing below the drivers reads a clock.

use core::future::Future;
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use crate::state::word::{AtomicWord, WideWord};

/// A point on a monotonic clock, in microseconds since an arbitrary origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    micros: u64,
}

/// Reads a monotonic clock.
pub trait Clock {
    /// Never earlier than a previous reading.
    ///
    /// The state machines stay safe when it is: a step backwards counts as no time elapsed.
    fn now(&self) -> Instant;

    /// Microseconds since 1970-01-01 UTC, where there is a wall clock. Nothing is decided by it.
    fn unix_micros(&self) -> Option<u64> {
        None
    }

    /// A number that tends to differ between threads: it picks the shard of the counters to write.
    fn shard_hint(&self) -> usize {
        0
    }

    /// When the device had best wake up for a retry that must not come before `earliest`: later
    /// than that, where it wakes up anyway soon after. An answer before `earliest` counts as it.
    ///
    /// Asking changes nothing: the answer is not always taken.
    fn next_wake_up(&self, earliest: Instant) -> Instant {
        earliest
    }

    /// Whether there is energy for waking up at `at`, which is charged for if so. Asked at `now`,
    /// when nothing else stands against a retry at `at`.
    fn pay_for_wake_up(&self, _now: Instant, _at: Instant) -> bool {
        true
    }
}

/// Waits on a clock without blocking.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no clock that waits without blocking",
    note = "give `&ManualClock`, or the clock of an adapter: `TokioClock` of steadfast-std, `EmbassyClock` of steadfast-embassy",
    note = "a clock that blocks goes with `execute_blocking`"
)]
pub trait Sleep: Clock {
    /// Completes at the instant asked for or later, never before it.
    type Sleeping: Future<Output = ()>;

    /// A wait until `at`. It begins when first polled and costs nothing before.
    fn sleep_until(&self, at: Instant) -> Self::Sleeping;

    /// 32 random bits, drawn once for each wait.
    ///
    /// Implementations must give devices that start together different numbers, or they retry in
    /// step.
    fn random(&self) -> u32;
}

/// Waits on a clock by blocking the caller.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no clock that waits by blocking",
    note = "give `&ManualClock`, or the clock of an adapter: `ThreadClock` of steadfast-std, `DelayClock` of steadfast-embassy",
    note = "a clock that does not block goes with `execute`"
)]
pub trait Wait: Clock {
    /// Returns at `at` or later, never before it.
    fn wait_until(&self, at: Instant);

    /// 32 random bits, drawn once for each wait. See [`Sleep::random`].
    fn random(&self) -> u32;
}

/// A clock that moves only when told to, for tests and examples.
///
/// Use it by reference (`&clock` is the [`Sleep`]) from any thread; one thread at a time moves it.
/// A wait on it registers at its first poll and ends only after the clock has been moved to its end.
///
/// ```
/// use core::time::Duration;
/// use steadfast::{Clock, Instant, ManualClock, Sleep};
///
/// let clock = ManualClock::new();
/// clock.block_on((&clock).sleep_until(Instant::from_micros(5_000_000)));
/// assert_eq!(clock.now(), Instant::from_micros(5_000_000));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    now: WideWord,
    /// The shortest wait seen since it was last reset, in microseconds: saturated ones take several
    /// hops.
    shortest: AtomicWord,
    random: AtomicWord,
}

/// A wait on a [`ManualClock`].
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct ManualSleep<'c> {
    clock: &'c ManualClock,
    at: Instant,
}

impl Instant {
    /// The clock's origin.
    pub const ORIGIN: Self = Self::from_micros(0);

    /// The last instant there is.
    pub const MAX: Self = Self::from_micros(u64::MAX);

    /// The instant `micros` after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// The instant `wait` later, or the last instant there is. A part of a microsecond counts whole.
    #[must_use]
    pub const fn after(self, wait: Duration) -> Self {
        self.plus(micros(wait))
    }

    #[cfg_attr(not(target_pointer_width = "64"), inline(never))] // Two words, and a carry.
    pub(crate) const fn plus(self, micros: u64) -> Self {
        Self::from_micros(self.micros.saturating_add(micros))
    }

    /// The time from `earlier` to here, or zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        duration(self.micros_since(earlier))
    }

    pub(crate) const fn micros_since(self, earlier: Self) -> u64 {
        self.micros.saturating_sub(earlier.micros)
    }
}

impl ManualClock {
    /// A clock at the origin.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            now: WideWord::new(),
            shortest: AtomicWord::new(NO_WAIT),
            random: AtomicWord::new(0x2545_f491),
        }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().after(by));
    }

    /// Moves the clock to `now`, backwards too: what a broken clock does.
    pub fn set(&self, now: Instant) {
        self.now.store(now.as_micros());
    }

    /// Lets every later [`random`](Sleep::random) return `bits`: zero for the shortest waits.
    pub fn set_random(&self, bits: u32) {
        self.random.update(|_| (bits, ()));
    }

    /// Runs `future` to its end; when all of it is pending, moves the clock to the earliest wait.
    ///
    /// Without an allocator there is no waker that could tell who else has work left, so the future
    /// counts as pending when 32 polls at one instant left it so. A future that waits for
    /// something other than this clock is polled for ever.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let mut context = Context::from_waker(Waker::noop());
        loop {
            self.shortest.update(|_| (NO_WAIT, ()));
            for _ in 0..SETTLING_POLLS {
                if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
                    return output;
                }
            }
            match self.shortest.load() {
                NO_WAIT => core::hint::spin_loop(),
                micros => self.advance(Duration::from_micros(micros.into())),
            }
        }
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant::from_micros(self.now.load())
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Instant {
        C::now(self)
    }

    fn unix_micros(&self) -> Option<u64> {
        C::unix_micros(self)
    }

    fn shard_hint(&self) -> usize {
        C::shard_hint(self)
    }

    fn next_wake_up(&self, earliest: Instant) -> Instant {
        C::next_wake_up(self, earliest)
    }

    fn pay_for_wake_up(&self, now: Instant, at: Instant) -> bool {
        C::pay_for_wake_up(self, now, at)
    }
}

impl<'c> Sleep for &'c ManualClock {
    type Sleeping = ManualSleep<'c>;

    fn sleep_until(&self, at: Instant) -> ManualSleep<'c> {
        ManualSleep { clock: self, at }
    }

    /// What [`set_random`](ManualClock::set_random) set; a number near a seventh of the range before.
    fn random(&self) -> u32 {
        self.random.load()
    }
}

impl Wait for ManualClock {
    /// Moves the clock there.
    fn wait_until(&self, at: Instant) {
        self.set(self.now().max(at));
    }

    fn random(&self) -> u32 {
        self.random.load()
    }
}

impl<C: Sleep + ?Sized> Sleep for &C {
    type Sleeping = C::Sleeping;

    fn sleep_until(&self, at: Instant) -> C::Sleeping {
        C::sleep_until(self, at)
    }

    fn random(&self) -> u32 {
        C::random(self)
    }
}

impl<C: Wait + ?Sized> Wait for &C {
    fn wait_until(&self, at: Instant) {
        C::wait_until(self, at);
    }

    fn random(&self) -> u32 {
        C::random(self)
    }
}

impl Future for ManualSleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let left = self.at.micros_since(self.clock.now());
        if left == 0 {
            return Poll::Ready(());
        }
        let left = if left < NO_WAIT as u64 { left as u32 } else { NO_WAIT - 1 };
        self.clock.shortest.update(|shortest| (shortest.min(left), ()));
        // Nobody keeps wakers for a clock that is moved by hand: an executor polls again.
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Whole microseconds, a part of one counted whole, saturating.
#[inline(never)] // Once for all: a core that neither divides nor multiplies 64 bits needs much for it.
pub(crate) const fn micros(length: Duration) -> u64 {
    if length.as_secs() > u64::MAX / SECOND {
        return u64::MAX;
    }
    // By a thousand, rounded up: of numbers below 2^32 exactly, by a product that takes no division.
    let rounded = ((length.subsec_nanos() + 999) as u64 * 274_877_907) >> 38;
    (length.as_secs() * SECOND).saturating_add(rounded)
}

/// As long as so many microseconds.
#[inline(never)] // As above.
pub(crate) const fn duration(micros: u64) -> Duration {
    // Sixteen bits at a time, for cores that divide 32 bits at most, or none and call a function:
    // the one for 64 bits would be another.
    let (mut seconds, mut rest, mut left) = (0, 0, micros >> SECOND_SHIFT);
    let mut parts = 0;
    while parts < u64::BITS {
        parts += 16;
        rest = rest << 16 | (left >> 48) as u32;
        left <<= 16;
        seconds = seconds << 16 | (rest / SECOND_ODD) as u64;
        rest %= SECOND_ODD;
    }
    let rest = (rest << SECOND_SHIFT) + (micros as u32 & ((1 << SECOND_SHIFT) - 1));
    let nanos = rest * 1000;
    // They always are, which the compiler does not see: `new` panics on a sum that is too large.
    Duration::new(seconds, if nanos < 1_000_000_000 { nanos } else { 0 })
}

const SECOND: u64 = 1_000_000;
/// A second is so many times 2^6 µs.
const SECOND_ODD: u32 = 15_625;
const SECOND_SHIFT: u32 = 6;
const NO_WAIT: u32 = u32::MAX;
const SETTLING_POLLS: u32 = 32;
