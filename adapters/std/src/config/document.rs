//! A document: both forms, with everything that is wrong in it.

use std::collections::BTreeSet;

use steadfast::Strategy;
use steadfast::orchestrator::{
    Allowed, Config, ConfigError, Conflict, Effective, Key, Name, Registration,
};

use super::flat::{self, Flat};
use super::problem::{Problem, Problems};
use super::tree::{self, Node};
use super::value::{STRATEGY, hint, read, read_strategy, segment};

/// What a document says, or several of which later ones lie over earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) default_strategy: Option<Strategy>,
    pub(crate) every: Registration,
    pub(crate) operations: Vec<(Name, Registration)>,
}

/// A document that was read: what of it is sound, and what is wrong.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    pub(crate) document: Document,
    pub(crate) problems: Problems,
    /// Whether what it says for every strategy is all sound, so that operations can be judged by it.
    pub(crate) judges: bool,
}

/// Reads a configuration: see [`config`](super).
///
/// # Errors
///
/// All that is wrong with it, as far as that can be said without knowing what operations are
/// registered with. More than `M` operations are wrong too.
pub fn config_from_json<const M: usize>(text: &str) -> Result<Config<M>, Problems> {
    let Reading { document, mut problems, .. } = Document::default().under(text);
    match document.config() {
        Ok(config) => problems.or(config),
        Err(error) => {
            problems.push(document.problem(&error));
            Err(problems)
        }
    }
}

impl Reading {
    /// What needs no reading.
    pub(crate) fn of(document: Document) -> Self {
        Self { document, problems: Problems::default(), judges: true }
    }
}

impl Document {
    /// The document `text` over this one.
    pub(crate) fn under(&self, text: &str) -> Reading {
        let mut reader = Reader::default();
        match tree::read(text) {
            Ok(node) => reader.document(&node),
            Err(problem) => reader.problems.push(problem),
        }
        reader.finish(self)
    }

    pub(crate) fn config<const M: usize>(&self) -> Result<Config<M>, ConfigError> {
        let mut config = Config::new().with_every_strategy(self.every);
        if let Some(strategy) = self.default_strategy {
            config = config.with_default_strategy(strategy);
        }
        self.operations.iter().try_fold(config, |config, (name, registration)| {
            config.try_operation(name.as_str(), *registration)
        })
    }

    /// Where in this document `error` comes from.
    pub(crate) fn problem(&self, error: &ConfigError) -> Problem {
        match error {
            ConfigError::Operation(name, conflict) => self.operation_problem(name, *conflict),
            ConfigError::Strategy(strategy, conflict) => {
                self.strategy_problem(*conflict, &[*strategy])
            }
            ConfigError::TooMany(_) | ConfigError::Full { .. } => {
                Problem::new("operations", error.to_string())
            }
            _ => Problem::new("", error.to_string()),
        }
    }

    /// What it says for every strategy, against what each says by itself.
    pub(crate) fn strategy_problems(&self) -> Vec<(Conflict, Problem)> {
        let none = Registration::new();
        let mut found: Vec<(Conflict, Vec<Strategy>)> = Vec::new();
        let conflicts = Strategy::ALL.into_iter().flat_map(|strategy| {
            let conflicts = Effective::conflicts(strategy, &self.every, &none, &none);
            conflicts.map(move |conflict| (strategy, conflict))
        });
        for (strategy, conflict) in conflicts {
            match found.iter_mut().find(|(known, _)| *known == conflict) {
                Some((_, strategies)) => strategies.push(strategy),
                None => found.push((conflict, vec![strategy])),
            }
        }
        let problem = |(conflict, strategies): (Conflict, Vec<Strategy>)| {
            (conflict, self.strategy_problem(conflict, &strategies))
        };
        found.into_iter().map(problem).collect()
    }

    /// At what this document says of the operation, or else at what it says for every strategy.
    fn operation_problem(&self, name: &Name, conflict: Conflict) -> Problem {
        let (given, keys) = (self.operation(name), concerned(conflict));
        let path = format!("{OPERATIONS}.{}", segment(name.as_str()));
        if let Some(key) = keys.iter().find(|key| given.get(**key).is_some()) {
            return Problem::new(format!("{path}.{key}"), conflict.to_string());
        }
        let given = keys.into_iter().filter(|key| self.every.get(*key).is_some());
        let flat: Vec<_> = given.filter_map(Flat::of).collect();
        let rename = |what: String, flat: &&Flat| what.replace(flat.key.path(), flat.name);
        let what = flat.iter().fold(conflict.to_string(), rename);
        match flat.first() {
            Some(flat) => Problem::new(flat.name, format!("{what}, and is not for {path}")),
            None => Problem::new(path, what),
        }
    }

    fn strategy_problem(&self, conflict: Conflict, strategies: &[Strategy]) -> Problem {
        let name = |key| Flat::of(key).map_or_else(|| key.path(), |flat| flat.name);
        let keys = conflict.keys();
        let given = keys.into_iter().find(|key| self.every.get(*key).is_some());
        let what = keys
            .into_iter()
            .fold(conflict.to_string(), |what, key| what.replace(key.path(), name(key)));
        let whose: Vec<_> = strategies.iter().map(|strategy| strategy.name()).collect();
        let what = format!("{what}, and is not for {}", whose.join(", "));
        Problem::new(given.map_or("", name), what)
    }

    fn operation(&self, name: &Name) -> Registration {
        let there = self.operations.iter().find(|(there, _)| there == name);
        there.map_or_else(Registration::new, |(_, registration)| *registration)
    }

    fn lay_over(&mut self, above: &Self) {
        self.default_strategy = above.default_strategy.or(self.default_strategy);
        self.every = laid_over(self.every, &above.every);
        for (name, registration) in &above.operations {
            match self.operations.iter_mut().find(|(there, _)| there == name) {
                Some((_, below)) => *below = laid_over(*below, registration),
                None => self.operations.push((*name, *registration)),
            }
        }
    }
}

/// What is read so far.
#[derive(Debug, Default)]
struct Reader {
    problems: Problems,
    document: Document,
    overrides: Vec<(Name, Strategy)>,
    /// Operations of which something is wrong: they are not judged any further.
    unsound: BTreeSet<Name>,
    /// So many problems are there with what is said for every strategy.
    flat_problems: usize,
}

impl Reader {
    fn document(&mut self, node: &Node) {
        for (key, node) in self.entries("", node) {
            match key.as_str() {
                DEFAULT_STRATEGY => self.document.default_strategy = self.strategy(key, node),
                OPERATIONS => self.operations(node),
                OVERRIDES => self.overrides(node),
                _ => self.flat(key, node),
            }
        }
    }

    fn flat(&mut self, key: &str, node: &Node) {
        let Some(flat) = flat::ALL.iter().find(|flat| flat.name == key) else {
            let names = [DEFAULT_STRATEGY, OPERATIONS, OVERRIDES].into_iter();
            let names: Vec<_> = names.chain(flat::ALL.iter().map(|flat| flat.name)).collect();
            return self.unknown(segment(key), key, &names);
        };
        match flat.read(node) {
            Ok(value) => self.document.every = with(self.document.every, flat.key, value),
            Err(what) => {
                self.flat_problems += 1;
                self.problems.push(Problem::new(key, what).allowed(flat.allowed()));
            }
        }
    }

    fn operations(&mut self, node: &Node) {
        for (key, node) in self.entries(OPERATIONS, node) {
            let path = join(OPERATIONS, key);
            let Some(name) = self.name(&path, key) else { continue };
            let before = self.problems.len();
            let mut registration = Registration::new();
            match node {
                Node::Object(_) => self.group(&path, "", node, &mut registration),
                Node::Text(_) => {
                    if let Some(strategy) = self.strategy(&path, node) {
                        registration = Registration::by(strategy);
                    }
                }
                _ => {
                    let what = "is neither the name of a strategy nor an object";
                    self.problems.push(Problem::new(path.clone(), what).allowed(STRATEGY));
                }
            }
            self.conflicts(&path, &registration);
            if self.problems.len() > before {
                self.unsound.insert(name);
            }
            self.document.lay_over(&Document {
                operations: vec![(name, registration)],
                ..Document::default()
            });
        }
    }

    /// The settings of an operation under `prefix`, such as `retry.`.
    fn group(&mut self, path: &str, prefix: &str, node: &Node, into: &mut Registration) {
        for (key, node) in self.entries(path, node) {
            let (path, setting) = (join(path, key), format!("{prefix}{key}"));
            let setting = if key.contains('.') { "" } else { setting.as_str() };
            if setting == STRATEGY_KEY {
                if let Some(strategy) = self.strategy(&path, node) {
                    *into = into.strategy(strategy);
                }
            } else if let Ok(key) = setting.parse::<Key>() {
                match read(key.kind(), key.range(), node) {
                    Ok(value) => *into = with(*into, key, value),
                    Err(what) => {
                        self.problems.push(Problem::new(path, what).allowed(Allowed(key)));
                    }
                }
            } else if !setting.is_empty() && settings().any(|known| is_in(setting, known)) {
                self.group(&path, &format!("{setting}."), node, into);
            } else {
                let names: BTreeSet<_> = settings()
                    .filter_map(|known| known.strip_prefix(prefix)?.split('.').next())
                    .chain(prefix.is_empty().then_some(STRATEGY_KEY))
                    .collect();
                self.unknown(path, key, &Vec::from_iter(names));
            }
        }
    }

    fn overrides(&mut self, node: &Node) {
        for (key, node) in self.entries(OVERRIDES, node) {
            let path = join(OVERRIDES, key);
            let (name, strategy) = (self.name(&path, key), self.strategy(&path, node));
            self.overrides.extend(name.zip(strategy));
        }
    }

    /// What both forms say together, over `ground`.
    fn finish(mut self, ground: &Document) -> Reading {
        for (name, strategy) in core::mem::take(&mut self.overrides) {
            match self.document.operation(&name).named() {
                Some(other) if other != strategy => {
                    let name = segment(name.as_str());
                    let what = format!("is {strategy}, and {other} in {OPERATIONS}.{name}");
                    self.problems.push(Problem::new(join(OVERRIDES, &name), what));
                }
                _ => self.document.lay_over(&Document {
                    operations: vec![(name, Registration::by(strategy))],
                    ..Document::default()
                }),
            }
        }
        let mut document = ground.clone();
        document.lay_over(&self.document);
        let mut judges = self.flat_problems == 0;
        if judges {
            for (_, problem) in document.strategy_problems() {
                judges = false;
                self.problems.push(problem);
            }
        }
        document.operations.retain(|(name, _)| !self.unsound.contains(name));
        Reading { document, problems: self.problems, judges }
    }

    /// What is at odds in `registration` whatever lies below it.
    fn conflicts(&mut self, path: &str, registration: &Registration) {
        let none = Registration::new();
        for conflict in Effective::conflicts(Strategy::Balanced, &none, &none, registration) {
            let [one, other] = conflict.keys();
            if registration.get(one).is_some() && registration.get(other).is_some() {
                self.problems.push(Problem::new(format!("{path}.{one}"), conflict.to_string()));
            }
        }
    }

    /// What stands in an object, or that it is none. Keys that stand there twice are told.
    fn entries<'n>(&mut self, path: &str, node: &'n Node) -> &'n [(String, Node)] {
        let Node::Object(entries) = node else {
            self.problems.push(Problem::new(path, "is not an object"));
            return &[];
        };
        let mut seen = BTreeSet::new();
        for (key, _) in entries {
            if !seen.insert(key) {
                self.problems.push(Problem::new(join(path, key), "is there twice"));
            }
        }
        entries
    }

    fn name(&mut self, path: &str, key: &str) -> Option<Name> {
        Name::new(key)
            .map_err(|error| self.problems.push(Problem::new(path, error.to_string())))
            .ok()
    }

    fn strategy(&mut self, path: &str, node: &Node) -> Option<Strategy> {
        let problem = |what| self.problems.push(Problem::new(path, what).allowed(STRATEGY));
        read_strategy(node).map_err(problem).ok()
    }

    fn unknown(&mut self, path: String, key: &str, names: &[&str]) {
        let suffix = format!(".{key}");
        let elsewhere = settings().find(|known| known.ends_with(&suffix));
        let hint = match elsewhere {
            Some(known) => format!(" (did you mean {known}?)"),
            None => hint(key, names.iter().copied()),
        };
        let what = format!("is no setting{hint}");
        self.problems.push(Problem::new(path, what).allowed(names.join(", ")));
    }
}

/// The settings of which one, where it is given, is what is wrong.
fn concerned(conflict: Conflict) -> Vec<Key> {
    match conflict {
        Conflict::RateOfNothing => vec![Key::FailureRate, Key::SlowRate],
        Conflict::SlowAfterMissing => vec![Key::SlowRate],
        Conflict::WithinAlone => vec![Key::Within],
        Conflict::WindowTooSmall => vec![Key::OfLast, Key::Failures, Key::Within],
        _ => conflict.keys().into(),
    }
}

/// The same with a value that was read by the key's range.
pub(super) fn with(registration: Registration, key: Key, value: u64) -> Registration {
    registration.try_given(key, value).unwrap_or(registration)
}

fn laid_over(below: Registration, above: &Registration) -> Registration {
    let below = above.named().map_or(below, |strategy| below.strategy(strategy));
    above.iter().fold(below, |laid, (key, value)| with(laid, key, value))
}

/// Every setting that an operation has.
fn settings() -> impl Iterator<Item = &'static str> {
    Key::ALL.into_iter().map(Key::path)
}

fn is_in(group: &str, setting: &str) -> bool {
    setting.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'))
}

fn join(path: &str, key: &str) -> String {
    let between = if path.is_empty() { "" } else { "." };
    format!("{path}{between}{}", segment(key))
}

const DEFAULT_STRATEGY: &str = "default_strategy";
const OPERATIONS: &str = "operations";
const OVERRIDES: &str = "operation_overrides";
const STRATEGY_KEY: &str = "strategy";
