//! Events told in one place, and formatted in another.

use core::cell::RefCell;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};

use critical_section::Mutex;
use heapless::Deque;
use steadfast::Observe;
use steadfast::orchestrator::{Name, Watch};
use steadfast::policy::Event;

/// Keeps what executions tell, up to `N` events, until somebody has the time to say it.
///
/// It is an [`Observe`] for a policy and a [`Watch`] for an orchestrator, from any task, interrupt
/// or core. Being told, it copies some 80 bytes in a critical section, and formats nothing. When it
/// is full it keeps what it has, for that is how the trouble began, and counts what is lost.
///
/// ```
/// use steadfast::Policy;
/// use steadfast_embassy::Pump;
///
/// static PUMP: Pump<16> = Pump::new();
/// static POLICY: Policy = Policy::new().attempts(3).observer(&PUMP);
/// ```
///
/// With the feature `defmt`, `drain` and `run` say it; else [`take`](Self::take) it and say it.
#[derive(Debug)]
pub struct Pump<const N: usize>(Mutex<RefCell<Kept<N>>>);

/// Something that an execution did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The operation, if it was one of an orchestrator.
    pub operation: Option<Name>,
    /// What it did.
    pub event: Event,
}

/// A wait for something to [take](Pump::take).
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct More<'p, const N: usize>(&'p Pump<N>);

#[derive(Debug)]
struct Kept<const N: usize> {
    told: Deque<Told, N>,
    lost: u32,
    waiting: Option<Waker>,
}

impl<const N: usize> Pump<N> {
    /// One that was told nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(RefCell::new(Kept { told: Deque::new(), lost: 0, waiting: None })))
    }

    /// The oldest event that it keeps.
    pub fn take(&self) -> Option<Told> {
        self.with(|kept| kept.told.pop_front())
    }

    /// How many events were lost since this was last asked.
    pub fn take_lost(&self) -> u32 {
        self.with(|kept| core::mem::take(&mut kept.lost))
    }

    /// Waits until there is something to take. One task at a time waits: of two, the one that
    /// began later is woken.
    pub const fn more(&self) -> More<'_, N> {
        More(self)
    }

    fn tell(&self, told: Told) {
        let waiting = self.with(|kept| {
            if kept.told.push_back(told).is_err() {
                kept.lost = kept.lost.saturating_add(1);
            }
            kept.waiting.take()
        });
        // Outside of the section: what it takes to wake a task is the executor's affair.
        if let Some(waker) = waiting {
            waker.wake();
        }
    }

    fn with<T: Default>(&self, act: impl FnOnce(&mut Kept<N>) -> T) -> T {
        critical_section::with(|section| {
            // Nobody else is in a section, and `act` does not enter another.
            self.0.borrow(section).try_borrow_mut().map(|mut kept| act(&mut kept))
        })
        .unwrap_or_default()
    }
}

#[cfg(feature = "defmt")]
impl<const N: usize> Pump<N> {
    /// Says all that it keeps: that a breaker opened or that events were lost as a warning, that one
    /// tries again or closed as information, the rest to debug. The time that is logged is that of
    /// saying it.
    pub fn drain(&self) {
        while let Some(told) = self.take() {
            match told.event {
                Event::Opened => defmt::warn!("{}", told),
                Event::HalfOpened | Event::Closed => defmt::info!("{}", told),
                _ => defmt::debug!("{}", told),
            }
        }
        match self.take_lost() {
            0 => {}
            lost => defmt::warn!("{=u32} events lost", lost),
        }
    }

    /// [Drains](Self::drain) it whenever there is something, for ever: a task of low priority.
    pub async fn run(&self) -> ! {
        loop {
            self.more().await;
            self.drain();
        }
    }
}

#[cfg(feature = "defmt")]
impl<const N: usize> defmt::Format for Pump<N> {
    fn format(&self, f: defmt::Formatter<'_>) {
        let (kept, lost) = self.with(|kept| (kept.told.len(), kept.lost));
        defmt::write!(f, "Pump {{ kept: {=usize} of {=usize}, lost: {=u32} }}", kept, N, lost);
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Told {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self.operation {
            Some(name) => defmt::write!(f, "{}: {}", name, self.event),
            None => defmt::write!(f, "{}", self.event),
        }
    }
}

impl<const N: usize> Default for Pump<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Observe for Pump<N> {
    fn observe(&self, event: &Event) {
        self.tell(Told { operation: None, event: *event });
    }
}

impl<const N: usize> Watch for Pump<N> {
    fn watch(&self, operation: &str, event: &Event) {
        self.tell(Told { operation: Name::new(operation).ok(), event: *event });
    }
}

impl<const N: usize> Future for More<'_, N> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        // Made and dropped outside of the section; looked for and registered within one.
        let mut waker = Some(context.waker().clone());
        let waits = self.0.with(|kept| {
            let waits = kept.told.is_empty() && kept.lost == 0;
            if waits {
                core::mem::swap(&mut kept.waiting, &mut waker);
            }
            waits
        });
        if waits { Poll::Pending } else { Poll::Ready(()) }
    }
}
