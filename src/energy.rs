//! A clock that spares wake-ups.

use core::fmt;
use core::time::Duration;

use crate::clock::{Clock, Instant, Sleep, Wait, micros};
use crate::state::word::AtomicWord;

/// A clock that knows when the application wakes up anyway, and how many other wake-ups an hour the
/// device can pay for.
///
/// A retry that has to wait waits on for the application's next wake-up, if it is near, which costs
/// nothing. Any other wake-up for a retry is paid out of a budget; once that is spent, there is no
/// retry, for [`Reason::Budget`](crate::Reason::Budget). Waits are never shorter for it, and no
/// retry is lost by waiting on: see [`policy`](crate::policy). It is shared by reference, so that
/// all executions pay out of one budget, in a `static` or on the stack.
///
/// ```
/// use core::time::Duration;
/// use steadfast::{Backoff, Clock, Frugal, Instant, ManualClock, Policy, Reason};
///
/// /// A sensor is read each minute.
/// fn next_reading(earliest: Instant) -> Option<Instant> {
///     let minutes = earliest.as_micros().div_ceil(60_000_000);
///     Some(Instant::from_micros(minutes * 60_000_000))
/// }
///
/// static TIMER: ManualClock = ManualClock::new(); // stands for the hardware's
/// // In a `static`, the application's wake-ups come last: their type is then the default one.
/// static CLOCK: Frugal<&ManualClock> =
///     Frugal::new(&TIMER).wakes_per_hour(1).aligned(next_reading, Duration::from_secs(45));
///
/// let policy = Policy::new().attempts(9).backoff(Backoff::constant(Duration::from_secs(10)));
/// let mut made = Vec::new();
/// let answer = policy.retry_all().execute_blocking(&CLOCK, |_| {
///     made.push(CLOCK.now().since(Instant::ORIGIN).as_secs());
///     Err::<u8, _>("down")
/// });
/// // The next reading was 50 s after 0:10, which is too far: this wake-up was paid. 1:00 was free,
/// // and 1:10 is not to be had.
/// assert_eq!(made, [0, 10, 60]);
/// assert_eq!(answer.unwrap_err().stopped, Reason::Budget);
/// ```
pub struct Frugal<C, W = fn(Instant) -> Option<Instant>> {
    clock: C,
    wake_ups: W,
    /// In microseconds.
    at_most: u64,
    budget: Option<WakeBudget>,
}

/// So many wake-ups an hour. The one word says until when those that were paid use up what comes
/// back, so that what comes in need not be written.
#[derive(Debug)]
struct WakeBudget {
    /// How long one takes to come back, in ticks.
    period: u32,
    /// What may be owed at once, in ticks.
    most: u32,
    owed_until: AtomicWord,
}

impl<C> Frugal<C> {
    /// `clock` as it is: nothing is aligned, and all is paid.
    #[must_use]
    pub const fn new(clock: C) -> Self {
        Self { clock, wake_ups: |_| None, at_most: 0, budget: None }
    }
}

impl<C: Copy, W: Copy> Frugal<C, W> {
    /// Pays for up to `wakes` wake-ups in a row; each comes back after that part of an hour, and up
    /// to 33 ms later. So there are no more than twice as many in any hour, and `wakes` an hour in the
    /// long run. With zero there are none but the application's own.
    ///
    /// A wake-up is paid when the retry is decided on, and is not given back if the execution is
    /// dropped before.
    #[must_use]
    pub const fn wakes_per_hour(self, wakes: u16) -> Self {
        Self { budget: Some(WakeBudget::per_hour(wakes)), ..self }
    }

    /// Has retries wait up to `at_most` more for the application's next wake-up: `wake_ups` says
    /// when that is, at the instant it is given or after it, if at all.
    ///
    /// `wake_ups` is called for each wait, and should say the same for the same instant: a wake-up is
    /// known for the application's own by its being the next one at that very instant.
    #[must_use]
    pub const fn aligned<V>(self, wake_ups: V, at_most: Duration) -> Frugal<C, V>
    where
        V: Fn(Instant) -> Option<Instant>,
    {
        Frugal { clock: self.clock, wake_ups, at_most: micros(at_most), budget: self.budget }
    }
}

impl WakeBudget {
    const fn per_hour(wakes: u16) -> Self {
        let part = match wakes {
            0 => HOUR,
            _ => HOUR.div_ceil(wakes as u32),
        };
        // One tick more: a period begins somewhere in its tick, and never ends early.
        let period = part + 1;
        Self { period, most: wakes as u32 * period, owed_until: AtomicWord::new(0) }
    }

    fn pay(&self, now: Instant) -> bool {
        self.owed_until.update(|until| self.paid(until, tick(now)))
    }

    /// Until when is owed after one more wake-up at `now`, and whether it is paid: if not, nothing
    /// is owed for it.
    const fn paid(&self, until: u32, now: u32) -> (u32, bool) {
        let owed = match until.wrapping_sub(now) {
            // What a clock that stepped back a little finds, too; further off, nobody knows.
            owed if owed <= self.most + STEP => owed,
            _ => 0,
        };
        match owed + self.period <= self.most {
            true => (now.wrapping_add(owed + self.period), true),
            false => (until, false),
        }
    }
}

impl<C: Clock, W: Fn(Instant) -> Option<Instant>> Clock for Frugal<C, W> {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn unix_micros(&self) -> Option<u64> {
        self.clock.unix_micros()
    }

    fn shard_hint(&self) -> usize {
        self.clock.shard_hint()
    }

    fn next_wake_up(&self, earliest: Instant) -> Instant {
        match (self.wake_ups)(earliest) {
            Some(at) if earliest <= at && at <= earliest.plus(self.at_most) => at,
            _ => self.clock.next_wake_up(earliest),
        }
    }

    fn pay_for_wake_up(&self, now: Instant, at: Instant) -> bool {
        if (self.wake_ups)(at) == Some(at) {
            return true;
        }
        match &self.budget {
            Some(budget) => budget.pay(now),
            None => self.clock.pay_for_wake_up(now, at),
        }
    }
}

impl<C: Sleep, W: Fn(Instant) -> Option<Instant>> Sleep for Frugal<C, W> {
    type Sleeping = C::Sleeping;

    fn sleep_until(&self, at: Instant) -> C::Sleeping {
        self.clock.sleep_until(at)
    }

    fn random(&self) -> u32 {
        self.clock.random()
    }
}

impl<C: Wait, W: Fn(Instant) -> Option<Instant>> Wait for Frugal<C, W> {
    fn wait_until(&self, at: Instant) {
        self.clock.wait_until(at);
    }

    fn random(&self) -> u32 {
        self.clock.random()
    }
}

impl<C: fmt::Debug, W> fmt::Debug for Frugal<C, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frugal")
            .field("clock", &self.clock)
            .field("at_most", &Duration::from_micros(self.at_most))
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

#[cfg(feature = "defmt")]
impl<C: defmt::Format, W> defmt::Format for Frugal<C, W> {
    fn format(&self, f: defmt::Formatter<'_>) {
        let Self { clock, wake_ups: _, at_most, budget } = self;
        let most = budget.as_ref().map(|budget| budget.most / budget.period);
        defmt::write!(
            f,
            "Frugal {{ clock: {}, at_most: {=u64:us} s, wakes_per_hour: {} }}",
            clock,
            *at_most,
            most
        );
    }
}

/// Coarse time, modulo 2^32 ticks of 2^14 µs (2.2 years).
const fn tick(now: Instant) -> u32 {
    (now.as_micros() >> TICK_SHIFT) as u32
}

const TICK_SHIFT: u32 = 14;
const HOUR: u32 = 3_600_000_000_u64.div_ceil(1 << TICK_SHIFT) as u32;
/// How far two readings of a clock may disagree: 64 s, as for the breaker.
const STEP: u32 = 64_000_000 >> TICK_SHIFT;
