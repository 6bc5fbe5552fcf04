//! What an application makes once: a table of operations, and what it is configured by.

use core::fmt;
use std::env;
use std::ffi::OsString;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use steadfast::Strategy;
use steadfast::orchestrator::{
    Config, ConfigError, Effective, Handle, Name, Orchestrator, RegisterError, Registration,
    UnknownOperation,
};
use steadfast::state::{FINE, FULL_WINDOW};

use crate::config::warning::OperationWarning;
use crate::config::{CUSTOM_CONFIG, Document, Environment, Preset, Problems, Reading};

/// The operations of an application, with `N` places for them, configured by presets, documents and
/// environment variables.
///
/// It is a handle, `Copy`, of a table that lives as long as the process: its [own](Self::new), or a
/// `static` of the application's. `BUCKETS`, `SHARDS` and `WINDOW` are those of the table.
///
/// ```
/// use steadfast_std::{Resilience, TokioClock};
///
/// # async fn ask(prompt: &str) -> Result<String, std::io::Error> { Ok(prompt.to_uppercase()) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let resilience = Resilience::new();
/// let warnings = resilience.configure_json(
///     r#"{ "operations": { "summarize": { "strategy": "critical", "retry": { "attempts": 5 } } } }"#,
/// )?;
/// assert!(warnings.is_empty());
/// let summarize = resilience.operation("summarize")?.retry_all();
/// let answer = summarize.execute(TokioClock::new(), || ask("hello")).await?;
/// assert_eq!(answer, "HELLO");
/// # Ok(())
/// # }
/// ```
pub struct Resilience<
    const N: usize = 64,
    const BUCKETS: usize = FINE,
    const SHARDS: usize = 1,
    const WINDOW: usize = FULL_WINDOW,
> {
    orchestrator: &'static Orchestrator<N, BUCKETS, SHARDS, WINDOW>,
    /// What documents lie over. Whoever configures holds it.
    ground: &'static Mutex<Document>,
}

impl Resilience {
    /// An empty table of 64 places. Other sizes: `Resilience::<256>::default()`. With the feature
    /// `tracing` it tells [`tracing`](https://docs.rs/tracing) what its operations do.
    ///
    /// It is never given back: make one, and copy it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, configured by the process's environment: see
    /// [`configure_env`](Self::configure_env). It can be used whatever is wrong there.
    #[must_use = "what is wrong with the environment is in it"]
    pub fn from_env() -> (Self, Problems) {
        Self::from_vars(env::vars_os())
    }

    /// The same, configured by `vars`.
    #[must_use = "what is wrong with the variables is in it"]
    pub fn from_vars<K: Into<OsString>, V: Into<OsString>>(
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> (Self, Problems) {
        let resilience = Self::new();
        let problems = resilience.configure_vars(vars);
        (resilience, problems)
    }
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize>
    Resilience<N, BUCKETS, SHARDS, WINDOW>
{
    /// For a table that the application has in a `static`. Once for each table, and copied: of two, each
    /// would undo what the other configures.
    #[must_use]
    pub fn over(orchestrator: &'static Orchestrator<N, BUCKETS, SHARDS, WINDOW>) -> Self {
        Self { orchestrator, ground: Box::leak(Box::default()) }
    }

    /// The table.
    #[must_use]
    pub const fn orchestrator(&self) -> &'static Orchestrator<N, BUCKETS, SHARDS, WINDOW> {
        self.orchestrator
    }

    /// A handle of the operation `name`, for as long as the process lives. Keep it: finding it again
    /// costs more than copying it.
    ///
    /// # Errors
    ///
    /// No operation has that name.
    pub fn operation(&self, name: &str) -> Result<Handle<'static>, UnknownOperation> {
        self.orchestrator.get(name)
    }

    /// Registers the operation `name`, or registers it anew. What is configured for it wins.
    ///
    /// # Errors
    ///
    /// As of [`Orchestrator::register`].
    pub fn register(
        &self,
        name: &str,
        registration: Registration,
    ) -> Result<Handle<'static>, RegisterError> {
        let _alone = self.ground();
        let busy = |error: &RegisterError| matches!(error, RegisterError::Busy);
        patiently(|| self.orchestrator.register(name, registration), busy)
    }

    /// Goes by the document `text` from now on, instead of by the one before, over the preset or the
    /// variables, if there are any. See [`config`](crate::config) for what it may say.
    ///
    /// Executions under way keep what they began with; breakers keep their state.
    ///
    /// # Errors
    ///
    /// All that is wrong with it. Then nothing has changed.
    pub fn configure_json(&self, text: &str) -> Result<Vec<OperationWarning>, Problems> {
        let ground = self.ground();
        self.go_by(ground.under(text))
    }

    /// Goes by `preset` from now on, instead of by what was configured before. Documents to come lie
    /// over it.
    ///
    /// # Errors
    ///
    /// It is at odds with what an operation is registered with. Then nothing has changed.
    pub fn configure_preset(&self, preset: Preset) -> Result<Vec<OperationWarning>, Problems> {
        let mut ground = self.ground();
        let reading = Document::default().under(preset.document());
        let document = reading.document.clone();
        let warnings = self.go_by(reading)?;
        *ground = document;
        Ok(warnings)
    }

    /// Goes by what the process's environment says, instead of by what was configured before:
    ///
    /// | variable | says |
    /// |---|---|
    /// | `RESILIENCE_PRESET` | the [preset](Preset): `simple`, `development` or `production` |
    /// | `RESILIENCE_CUSTOM_CONFIG` | a document over it |
    ///
    /// Where neither is set, single ones, in the bounds and units of the [flat form](crate::config):
    ///
    /// | variable | says |
    /// |---|---|
    /// | `RETRY_MAX_ATTEMPTS` | `retry_attempts` |
    /// | `CIRCUIT_BREAKER_FAILURE_THRESHOLD`, `CIRCUIT_BREAKER_RECOVERY_TIMEOUT` | `circuit_breaker_threshold`, `recovery_timeout` |
    /// | `RETRY_MAX_DELAY` | `max_delay_seconds` |
    /// | `RETRY_EXPONENTIAL_MULTIPLIER`, `_MIN`, `_MAX` | `exponential_multiplier`, `_min`, `_max` |
    /// | `RETRY_JITTER_ENABLED`, `RETRY_JITTER_MAX` | `jitter_enabled` (`true`, `yes`, `on`, `1`; `false`, `no`, `off`, `0`), `jitter_max` |
    /// | `DEFAULT_RESILIENCE_STRATEGY` | `default_strategy` |
    /// | `AI_SUMMARIZE_RESILIENCE_STRATEGY` | the strategy of `ai_summarize`: of the operation whose name that is in small letters |
    ///
    /// An empty variable is none.
    ///
    /// What is wrong is left out: an unknown preset, a document with anything wrong in it, a single
    /// variable, also one that is at odds with what an operation is registered with. Each problem
    /// names its variable; whether to go on is the caller's decision. What the rest is warned of is in
    /// [`Problems::warnings`].
    #[must_use = "what is wrong with the environment is in it"]
    pub fn configure_env(&self) -> Problems {
        self.configure_vars(env::vars_os())
    }

    /// The same for `vars`, each a name and a value.
    #[must_use = "what is wrong with the variables is in it"]
    pub fn configure_vars<K: Into<OsString>, V: Into<OsString>>(
        &self,
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Problems {
        let mut ground = self.ground();
        let mut environment = Environment::read(vars);
        let objections = |document: &Document| match document.config() {
            Ok(config) => self.objections(&config),
            Err(error) => vec![error],
        };
        let effective = |name: &Name| self.orchestrator.effective(name.as_str()).ok();
        let document = environment.fit(objections, effective);
        match self.go_by(Reading::of(document.clone())) {
            Ok(warnings) => {
                *ground = document;
                environment.problems.warn(warnings);
            }
            Err(wrong) => environment.problems.push_all_of(&environment.names(), wrong),
        }
        let Environment { custom, mut problems, .. } = environment;
        match custom.map(|text| self.go_by(ground.under(&text))) {
            Some(Ok(warnings)) => problems.warn(warnings),
            Some(Err(wrong)) => problems.push_all_of(CUSTOM_CONFIG, wrong),
            None => {}
        }
        problems
    }

    /// What is allowed, and probably not meant, as things are now.
    #[must_use]
    pub fn warnings(&self) -> Vec<OperationWarning> {
        self.orchestrator
            .iter()
            .flat_map(|view| warnings_of(Some(view.name()), &view.effective()))
            .collect()
    }

    /// All that is read is sound and goes together, or nothing changes.
    fn go_by(&self, reading: Reading) -> Result<Vec<OperationWarning>, Problems> {
        let Reading { document, mut problems, judges } = reading;
        let config: Config<MOST> = match document.config() {
            Ok(config) => config,
            Err(error) => {
                problems.push(document.problem(&error));
                return Err(problems);
            }
        };
        if judges {
            for error in self.objections(&config) {
                problems.push(document.problem(&error));
            }
        }
        problems.or(())?;
        let busy = |error: &ConfigError| matches!(error, ConfigError::Busy);
        patiently(|| self.orchestrator.configure(&config), busy)
            .map_err(|error| document.problem(&error))?;
        let none = Registration::new();
        let strategies = Strategy::ALL.into_iter().flat_map(|strategy| {
            Effective::resolve(strategy, &document.every, &none, &none)
                .map_or_else(|_| Vec::new(), |effective| warnings_of(None, &effective))
        });
        Ok(strategies.chain(self.warnings()).collect())
    }

    /// Why the table would not go by `config`.
    fn objections(&self, config: &Config<MOST>) -> Vec<ConfigError> {
        let mut found = Vec::new();
        self.orchestrator.check(config, |error| {
            if error != ConfigError::Busy {
                found.push(error);
            }
        });
        found
    }

    fn ground(&self) -> MutexGuard<'static, Document> {
        // It is replaced as a whole, so it is sound whatever panicked.
        self.ground.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> Default
    for Resilience<N, BUCKETS, SHARDS, WINDOW>
{
    /// An empty table of `N` places, never given back.
    fn default() -> Self {
        let make = || &*Box::leak(Box::new(table()));
        // A new table is on the stack before it is on the heap.
        let room = size_of::<Orchestrator<N, BUCKETS, SHARDS, WINDOW>>() * 4;
        let elsewhere = (room > LARGE)
            .then(|| thread::Builder::new().stack_size(room + LARGE).spawn(make).ok()?.join().ok());
        Self::over(elsewhere.flatten().unwrap_or_else(make))
    }
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> Clone
    for Resilience<N, BUCKETS, SHARDS, WINDOW>
{
    fn clone(&self) -> Self {
        *self
    }
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> Copy
    for Resilience<N, BUCKETS, SHARDS, WINDOW>
{
}

impl<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize> fmt::Debug
    for Resilience<N, BUCKETS, SHARDS, WINDOW>
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.orchestrator.iter().map(|view| view.name());
        f.debug_tuple("Resilience").field(&names.collect::<Vec<_>>()).finish()
    }
}

/// A table without operations.
const fn table<const N: usize, const BUCKETS: usize, const SHARDS: usize, const WINDOW: usize>()
-> Orchestrator<N, BUCKETS, SHARDS, WINDOW> {
    let table = Orchestrator::new();
    #[cfg(feature = "tracing")]
    let table = table.watched_by(&crate::observe::Tracing);
    table
}

fn warnings_of(operation: Option<Name>, effective: &Effective) -> Vec<OperationWarning> {
    let strategy = effective.strategy();
    let warnings = effective.warnings();
    warnings.map(|warning| OperationWarning { operation, strategy, warning }).collect()
}

/// What `act` comes to once no other writer of the table is in its way; each is there for
/// microseconds.
fn patiently<T, E>(
    mut act: impl FnMut() -> Result<T, E>,
    busy: impl Fn(&E) -> bool,
) -> Result<T, E> {
    for _ in 0..PATIENCE {
        match act() {
            Err(error) if busy(&error) => thread::yield_now(),
            done => return done,
        }
    }
    act()
}

/// Operations that a document may have.
const MOST: usize = 256;
const LARGE: usize = 1 << 20;
const PATIENCE: usize = 10_000;
