//! The table of named operations.

use core::fmt;
use core::iter::once;

use super::config::{Config, ConfigError};
use super::entry::{Every, Watch};
use super::handle::Handle;
use super::name::{FREE, Name, NameError};
use super::registration::{Conflict, Effective, Registration};
use super::row::Row;
use super::view::{OperationBreaker, View};
use crate::policy::Strategy;
use crate::state::word::{AtomicWord, Busy, Writer, Writing};
use crate::state::{FINE, FULL_WINDOW, Metrics, ResetBusy};

/// A table of `N` places for named operations, each with its own breaker, budget, bulkhead, metrics
/// and settings.
///
/// Finding an operation only reads and waits for nobody. Writing has one writer at a time; another
/// is told [busy](RegisterError::Busy), so an interrupt that preempts a writer does not hang.
/// `BUCKETS` and `SHARDS` are those of the [`Metrics`], `WINDOW` the words of each operation's
/// [`Window`](crate::state::Window): [`NO_WINDOW`](crate::state::NO_WINDOW) where no breaker goes by
/// rates or by more than 23 outcomes.
#[derive(Debug)]
pub struct Orchestrator<
    const N: usize,
    const BUCKETS: usize = FINE,
    const SHARDS: usize = 1,
    const WINDOW: usize = FULL_WINDOW,
> {
    /// Where a name is that hashes to it or before it, in the order of places.
    hashes: [AtomicWord; N],
    rows: [Row<BUCKETS, SHARDS, WINDOW>; N],
    every: Every,
    writing: Writing,
}

/// The table has no operation of that name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UnknownOperation;

/// Why the metrics of an operation are not reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ResetError {
    /// The table has no operation of that name.
    UnknownOperation,
    /// Another caller is resetting them.
    Busy,
}

/// Why an operation is not registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RegisterError {
    /// Its name is none.
    Name(NameError),
    /// What comes of the registration is at odds with itself.
    Conflict(Conflict),
    /// All places are taken.
    Full {
        /// Places that there are.
        capacity: usize,
    },
    /// The table is being written by another caller.
    Busy,
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize>
    Orchestrator<N, BUCKETS, SHARDS, WINDOW>
{
    /// A table without operations, by default balanced.
    #[must_use]
    pub const fn new() -> Self {
        assert!(N > 0, "one place at least");
        Self {
            hashes: [const { AtomicWord::new(FREE) }; N],
            rows: [const { Row::new(None, Registration::new(), BALANCED, None) }; N],
            every: Every::new(Registration::by(Strategy::Balanced)),
            writing: Writing::new(),
        }
    }

    /// The same with one operation more, in a `const` or `static`. What could not be registered does
    /// not compile.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "const, and within the table")]
    pub const fn operation(mut self, name: &str, registration: Registration) -> Self {
        let name = match Name::new(name) {
            Ok(name) => name,
            Err(error) => panic!("{}", error.message()),
        };
        let none = Registration::new();
        let effective = match resolve::<WINDOW>(&none, &registration, &none) {
            Ok(effective) => effective,
            Err(_) => panic!("an operation's settings are at odds: see `Conflict`"),
        };
        let hash = Name::hash(&name.to_words());
        let (mut place, mut seen) = (hash as usize % N, 0);
        while seen < N {
            let there = core::mem::replace(&mut self.hashes[place], AtomicWord::new(hash));
            let there = there.into_bits();
            if there == FREE {
                let watch = self.rows[place].entry.watch();
                self.rows[place] = Row::new(Some(name), registration, effective, watch);
                return self;
            }
            // Two names of one hash are told apart at run time, not here.
            assert!(there != hash, "an operation is there twice, or two have names of one hash");
            self.hashes[place] = AtomicWord::new(there);
            place = if place + 1 < N { place + 1 } else { 0 };
            seen += 1;
        }
        panic!("more operations than the table has places")
    }

    /// The same with `watch` told what its operations do.
    #[must_use]
    #[allow(clippy::indexing_slicing, reason = "const, and within the table")]
    pub const fn watched_by(mut self, watch: &'static dyn Watch) -> Self {
        let mut place = 0;
        while place < N {
            self.rows[place].entry.watched_by(watch);
            place += 1;
        }
        self
    }

    /// A handle of the operation `name`.
    ///
    /// # Errors
    ///
    /// No operation has that name, and none is made.
    pub fn get(&self, name: &str) -> Result<Handle<'_>, UnknownOperation> {
        self.find(name).map(|row| self.handle(row))
    }

    /// Registers the operation `name`, or registers it anew: its state goes on.
    ///
    /// # Errors
    ///
    /// The name is none, its settings are at odds, the table is full, or being written.
    pub fn register(
        &self,
        name: &str,
        registration: Registration,
    ) -> Result<Handle<'_>, RegisterError> {
        self.register_unless(name, registration, |_| false)
    }

    /// A handle of the operation `name`, which is registered with `registration` unless somebody has
    /// said before what it goes by. A live configuration that names it has not: it lies over
    /// `registration`.
    ///
    /// This is writing, even where it changes nothing: keep the handle.
    ///
    /// # Errors
    ///
    /// As of [`register`](Self::register).
    pub fn get_or_register(
        &self,
        name: &str,
        registration: Registration,
    ) -> Result<Handle<'_>, RegisterError> {
        self.register_unless(name, registration, |there| *there != Registration::new())
    }

    fn register_unless(
        &self,
        name: &str,
        registration: Registration,
        stands: impl FnOnce(&Registration) -> bool,
    ) -> Result<Handle<'_>, RegisterError> {
        let name = Name::new(name).map_err(RegisterError::Name)?;
        let writer = self.writing.try_begin().map_err(|Busy| RegisterError::Busy)?;
        let place = self.place(&name.to_words());
        let configured = match place {
            Place::Taken(row) if stands(&row.entry.registered()) => return Ok(self.handle(row)),
            Place::Taken(row) => row.entry.configured(),
            Place::Free(..) => Registration::new(),
            Place::None => return Err(RegisterError::Full { capacity: N }),
        };
        let every = self.every.load();
        // By itself too: a configuration that no longer names it must not be at odds with it.
        resolve::<WINDOW>(&every, &registration, &Registration::new())
            .map_err(RegisterError::Conflict)?;
        let effective = resolve::<WINDOW>(&every, &registration, &configured)
            .map_err(RegisterError::Conflict)?;
        let row = match place {
            Place::Taken(row) => {
                row.entry.replace(&writer, &registration, &configured, &effective, &self.every);
                row
            }
            Place::Free(hash, row) => {
                self.occupy(&writer, hash, row, name, [&registration, &configured], &effective)
            }
            Place::None => return Err(RegisterError::Full { capacity: N }),
        };
        Ok(self.handle(row))
    }

    /// Goes by `config` from now on, instead of what was configured before. Operations that it names
    /// and nobody registered are registered. Breakers keep their state and history.
    ///
    /// Each operation's settings change at once; executions under way keep what they began with,
    /// and their attempts settle by the new breaker rule. A breaker that is open for longer than its
    /// new rule explains lets a probe go.
    ///
    /// # Errors
    ///
    /// It is at odds with itself or with what is registered, or names too many operations, or the
    /// table is being written: then nothing has changed.
    pub fn configure<const M: usize>(&self, config: &Config<M>) -> Result<(), ConfigError> {
        let writer = self.writing.try_begin().map_err(|Busy| ConfigError::Busy)?;
        let every = config.every_by_default();
        let none = Registration::new();
        // First everything is checked, then everything is done.
        if let Some(objection) = self.objections(&writer, config).next() {
            return Err(objection);
        }
        self.every.replace(&writer, &every);
        for row in self.rows() {
            let configured = config.operation(&row.entry.name()).unwrap_or(&none);
            let registered = row.entry.registered();
            if let Ok(effective) = resolve::<WINDOW>(&every, &registered, configured) {
                row.entry.replace(&writer, &registered, configured, &effective, &self.every);
            }
        }
        for (name, configured) in config.operations() {
            if let (Place::Free(hash, row), Ok(effective)) =
                (self.place(&name.to_words()), resolve::<WINDOW>(&every, &none, configured))
            {
                self.occupy(&writer, hash, row, *name, [&none, configured], &effective);
            }
        }
        Ok(())
    }

    /// Tells every reason for which [`configure`](Self::configure) would not go by `config` now.
    /// Nothing changes.
    pub fn check<const M: usize>(&self, config: &Config<M>, tell: impl FnMut(ConfigError)) {
        match self.writing.try_begin() {
            Ok(writer) => self.objections(&writer, config).for_each(tell),
            Err(Busy) => once(ConfigError::Busy).for_each(tell),
        }
    }

    /// What is wrong with `config`, for whoever has the right to write the table.
    fn objections<'a, const M: usize>(
        &'a self,
        _: &'a Writer<'_>,
        config: &'a Config<M>,
    ) -> impl Iterator<Item = ConfigError> + 'a {
        let every = config.every_by_default();
        let none = Registration::new();
        let conflicts = move |name: Name, registered: &Registration, configured: &Registration| {
            let resolved = resolve::<WINDOW>(&every, registered, configured);
            let too_small = resolved.err().filter(|&conflict| conflict == Conflict::WindowTooSmall);
            Effective::conflicts(default_of(&every), &every, registered, configured)
                .chain(too_small)
                .map(move |conflict| ConfigError::Operation(name, conflict))
        };
        let registered = self.rows().flat_map(move |row| {
            let name = row.entry.name();
            let configured = config.operation(&name).unwrap_or(&none);
            conflicts(name, &row.entry.registered(), configured)
        });
        let unknown = |name: &Name| !matches!(self.place(&name.to_words()), Place::Taken(_));
        let new = config.operations().filter(move |(name, _)| unknown(name));
        let full = new.clone().count() > N - self.len();
        let new = new.flat_map(move |(name, configured)| conflicts(*name, &none, configured));
        let full = full.then_some(ConfigError::Full { capacity: N });
        config.conflicts().chain(registered).chain(new).chain(full)
    }

    /// The settings of the operation `name`, each with its origin.
    ///
    /// # Errors
    ///
    /// No operation has that name.
    pub fn effective(&self, name: &str) -> Result<Effective, UnknownOperation> {
        self.find(name).map(|row| row.entry.effective())
    }

    /// The breaker of the operation `name`.
    ///
    /// # Errors
    ///
    /// No operation has that name.
    pub fn breaker(&self, name: &str) -> Result<OperationBreaker<'_>, UnknownOperation> {
        self.find(name).map(|row| row.view().breaker())
    }

    /// The metrics of the operation `name`.
    ///
    /// # Errors
    ///
    /// No operation has that name.
    pub fn metrics(&self, name: &str) -> Result<&Metrics<BUCKETS, SHARDS>, UnknownOperation> {
        self.find(name).map(|row| &row.metrics)
    }

    /// Begins to count the operation `name` anew. Its breaker goes on as it is.
    ///
    /// # Errors
    ///
    /// No operation has that name, or another caller is doing the same.
    pub fn reset_metrics(&self, name: &str) -> Result<(), ResetError> {
        let row = self.find(name).map_err(|UnknownOperation| ResetError::UnknownOperation)?;
        row.metrics.reset().map_err(|ResetBusy| ResetError::Busy)
    }

    /// Begins to count all operations anew.
    ///
    /// # Errors
    ///
    /// Another caller is resetting one of them; the others have been reset.
    pub fn reset_all_metrics(&self) -> Result<(), ResetBusy> {
        let mut all = Ok(());
        for row in self.rows() {
            all = all.and(row.metrics.reset());
        }
        all
    }

    /// All operations, in no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = View<'_, BUCKETS, SHARDS>> {
        self.rows().map(Row::view)
    }

    /// Operations that there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows().count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Operations that there is room for.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        N
    }

    fn handle<'o>(&'o self, row: &'o Row<BUCKETS, SHARDS, WINDOW>) -> Handle<'o> {
        Handle::new(&row.entry, &self.every, &row.metrics, row)
    }

    fn rows(&self) -> impl Iterator<Item = &Row<BUCKETS, SHARDS, WINDOW>> {
        let taken = |hash: &AtomicWord| hash.published() != FREE;
        self.hashes.iter().zip(&self.rows).filter_map(move |(hash, row)| taken(hash).then_some(row))
    }

    fn find(&self, name: &str) -> Result<&Row<BUCKETS, SHARDS, WINDOW>, UnknownOperation> {
        let words = Name::words_of(name).ok_or(UnknownOperation)?;
        match self.place(&words) {
            Place::Taken(row) => Ok(row),
            Place::Free(..) | Place::None => Err(UnknownOperation),
        }
    }

    /// Where the name of these words is, or would be. Places are never given up, so a reader finds what is there for
    /// good, and a free place is the end of its search.
    fn place(&self, words: &[u32; 8]) -> Place<'_, BUCKETS, SHARDS, WINDOW> {
        let hash = Name::hash(words);
        let first = hash as usize % N;
        let places = self.hashes.iter().zip(&self.rows);
        for (there, row) in places.clone().skip(first).chain(places.take(first)) {
            match there.published() {
                FREE => return Place::Free((there, hash), row),
                other if other == hash && row.entry.is_named(words) => return Place::Taken(row),
                _ => {}
            }
        }
        Place::None
    }

    fn occupy<'o>(
        &self,
        writer: &Writer<'_>,
        (there, hash): (&AtomicWord, u32),
        row: &'o Row<BUCKETS, SHARDS, WINDOW>,
        name: Name,
        [registered, configured]: [&Registration; 2],
        effective: &Effective,
    ) -> &'o Row<BUCKETS, SHARDS, WINDOW> {
        row.entry.occupy(name.to_words());
        row.entry.replace(writer, registered, configured, effective, &self.every);
        // Last: whoever finds the name finds all of it.
        there.publish(hash);
        row
    }
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> Default
    for Orchestrator<N, BUCKETS, SHARDS, WINDOW>
{
    fn default() -> Self {
        Self::new()
    }
}

/// Where a name is.
enum Place<'o, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> {
    Taken(&'o Row<BUCKETS, SHARDS, WINDOW>),
    /// The first free place that it could have, and its hash.
    Free((&'o AtomicWord, u32), &'o Row<BUCKETS, SHARDS, WINDOW>),
    None,
}

/// Of `every`, whose strategy is the default one, and an operation's own, in windows of so many words.
const fn resolve<const WINDOW: usize>(
    every: &Registration,
    registered: &Registration,
    configured: &Registration,
) -> Result<Effective, Conflict> {
    match Effective::resolve(default_of(every), every, registered, configured) {
        Ok(effective) => effective.in_windows_of(WINDOW),
        conflict => conflict,
    }
}

/// The strategy of an operation that names none.
const fn default_of(every: &Registration) -> Strategy {
    match every.named() {
        Some(strategy) => strategy,
        None => Strategy::Balanced,
    }
}

/// What a place without an operation has.
const BALANCED: Effective = {
    let none = Registration::new();
    match Effective::resolve(Strategy::Balanced, &none, &none, &none) {
        Ok(effective) => effective,
        Err(_) => panic!("a strategy is never at odds with itself"),
    }
};

impl fmt::Display for UnknownOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no operation of that name is registered")
    }
}

impl fmt::Display for RegisterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(error) => error.fmt(f),
            Self::Conflict(conflict) => conflict.fmt(f),
            Self::Full { capacity } => write!(f, "all {capacity} places of the table are taken"),
            Self::Busy => f.write_str("the table is being written by another caller"),
        }
    }
}

impl fmt::Display for ResetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownOperation => UnknownOperation.fmt(f),
            Self::Busy => ResetBusy.fmt(f),
        }
    }
}

impl core::error::Error for UnknownOperation {}
impl core::error::Error for ResetError {}
impl core::error::Error for RegisterError {}
