//! Breakers by key: one for each tenant, host or model, and no more than there is room for.

use core::borrow::Borrow;
use core::fmt;
use core::hash::{BuildHasher as _, Hash};
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use steadfast::state::{Mode, Phase};
use steadfast::{Breaker, Instant, Rule};

/// A breaker for each key, all by one rule, up to so many.
///
/// ```
/// use std::time::Duration;
/// use steadfast::{Clock, Policy, Rule, Trip};
/// use steadfast_std::{Keyed, ThreadClock};
///
/// static POLICY: Policy = Policy::new().attempts(3);
///
/// let rule = Rule::new(Trip::after(5), Duration::from_secs(30));
/// let tenants: Keyed<String> = Keyed::new(rule, 10_000, Duration::from_secs(600));
///
/// let clock = ThreadClock::new();
/// let breaker = tenants.breaker("acme", clock.now())?;
/// let answer = POLICY.retry_all().breaker(&breaker).execute_blocking(&clock, |_| Ok::<_, ()>(1));
/// # assert_eq!(answer, Ok(1));
/// # Ok::<(), steadfast_std::Full>(())
/// ```
///
/// What it returns is an [`Arc`], so a [`Permit`](steadfast::Permit) by it is `'static`.
///
/// # What it forgets
///
/// A place is needed for a new key only when all are taken. Then one that is idle is given up: nobody
/// holds its breaker, nobody has forced its [mode](Breaker::force), and it
/// - has nothing to remember: it is closed, and the outcomes that it looks at are successes; or
/// - was not asked for during the idle time, and does not refuse.
///
/// So any number of healthy keys pass through a table of any size, and an open breaker stays open.
/// Where none is idle there is no place: [`Full`]. Whether such a call is refused, or made without a
/// breaker, is for the caller to say.
///
/// # Locks
///
/// Looking up a key locks a sixteenth of the table for a moment. With every place taken and none idle
/// in the key's own part, one caller at a time searches one part after the other. Nothing is locked
/// while a call is made.
pub struct Keyed<K> {
    rule: Rule,
    capacity: usize,
    idle_after: Duration,
    hasher: RandomState,
    shards: [Mutex<Shard<K>>; SHARDS],
    /// Places taken, or about to be.
    taken: AtomicUsize,
    /// Held by who looks for an idle key in all parts; before a part's own lock.
    searching: Mutex<()>,
}

/// All places are taken, and no key is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    /// Places that there are.
    pub capacity: usize,
}

type Shard<K> = HashMap<K, Kept, RandomState>;

#[derive(Debug)]
struct Kept {
    breaker: Arc<Breaker>,
    /// When it was last asked for.
    asked: Instant,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    /// Room for `capacity` breakers that follow `rule`. One that was not asked for during
    /// `idle_after` may be forgotten; longer than the rule's longest open period is wise.
    ///
    /// # Panics
    ///
    /// There is no room.
    #[must_use]
    pub fn new(rule: Rule, capacity: usize, idle_after: Duration) -> Self {
        assert!(capacity > 0, "one place at least");
        let hasher = RandomState::new();
        let shard = |_| Mutex::new(HashMap::with_hasher(hasher.clone()));
        let shards = core::array::from_fn(shard);
        let (taken, searching) = (AtomicUsize::new(0), Mutex::new(()));
        Self { rule, capacity, idle_after, hasher, shards, taken, searching }
    }

    /// The breaker of `key`, which is the same for all who ask while one of them holds it.
    ///
    /// # Errors
    ///
    /// It has none yet, and there is no place for it.
    pub fn breaker<Q>(&self, key: &Q, now: Instant) -> Result<Arc<Breaker>, Full>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let own = self.shard_of(key);
        let mut in_hand = false;
        loop {
            let mut shard = self.lock(own);
            if let Some(kept) = shard.get_mut(key) {
                kept.asked = kept.asked.max(now);
                if in_hand {
                    self.give_place();
                }
                return Ok(Arc::clone(&kept.breaker));
            }
            if in_hand || self.take_place() || self.forget_idle(&mut shard, now) {
                let breaker = Arc::new(Breaker::with_rule(self.rule));
                let kept = Kept { breaker: Arc::clone(&breaker), asked: now };
                shard.insert(key.to_owned(), kept);
                return Ok(breaker);
            }
            drop(shard);
            // One part at a time is locked, so another caller may have made one for the key since.
            in_hand = self.take_place_of_another(own, now);
            if !in_hand {
                return Err(Full { capacity: self.capacity });
            }
        }
    }

    /// Forgets `key`, whatever its breaker does; `false` if there was none. Who holds the breaker
    /// goes on with it, apart from those who ask later.
    pub fn forget<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let forgotten = self.lock(self.shard_of(key)).remove(key);
        if forgotten.is_some() {
            self.give_place();
        }
        forgotten.is_some()
    }

    fn shard_of<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // Not the bits by which the shard's own table goes.
        (self.hasher.hash_one(key) >> 32) as usize % SHARDS
    }

    fn take_place(&self) -> bool {
        let one_more = |taken| (taken < self.capacity).then_some(taken + 1);
        // Relaxed: a number and nothing else; the keys themselves are behind locks.
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    fn give_place(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    fn take_place_of_another(&self, own: usize, now: Instant) -> bool {
        // One at a time: else a place moves from a part that is not searched yet to one that was.
        let _searching = self.searching.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others = (own + 1..SHARDS).chain(0..=own);
        others.any(|other| self.forget_idle(&mut self.lock(other), now))
    }

    /// Takes an idle key out, if there is one. Its place stays taken.
    fn forget_idle(&self, shard: &mut Shard<K>, now: Instant) -> bool {
        let idle = shard
            .iter_mut()
            .find_map(|(key, kept)| kept.is_idle(now, self.idle_after).then(|| key.clone()));
        idle.is_some_and(|key| shard.remove(&key).is_some())
    }
}

impl<K> Keyed<K> {
    /// Keys that have a breaker. It locks the whole table for a moment.
    #[must_use]
    pub fn len(&self) -> usize {
        // All at once: a place that moves meanwhile would be counted twice.
        let shards: [_; SHARDS] = core::array::from_fn(|shard| self.lock(shard));
        shards.iter().map(|shard| shard.len()).sum()
    }

    /// Whether none has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keys that there is room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// What its breakers follow.
    #[must_use]
    pub const fn rule(&self) -> &Rule {
        &self.rule
    }

    #[allow(clippy::indexing_slicing, reason = "a shard's number")]
    fn lock(&self, shard: usize) -> MutexGuard<'_, Shard<K>> {
        // A key that panics when it is compared leaves the map as it was.
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_idle(&mut self, now: Instant, idle_after: Duration) -> bool {
        // Under the shard's lock nobody gets it anew.
        let Some(breaker) = Arc::get_mut(&mut self.breaker) else { return false };
        let circuit = breaker.circuit();
        match (circuit.mode(), circuit.phase()) {
            (Mode::Normal, Phase::Closed { history: 0 }) => true,
            (Mode::Normal, _) => {
                now.since(self.asked) >= idle_after && circuit.would_admit(breaker.rule(), now)
            }
            _ => false,
        }
    }
}

impl<K> fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyed")
            .field("rule", &self.rule)
            .field("capacity", &self.capacity)
            .field("idle_after", &self.idle_after)
            .field("taken", &self.taken)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "all {} places for keys are taken, and none is idle", self.capacity)
    }
}

impl core::error::Error for Full {}

const SHARDS: usize = 16;
