//! Environment variables: what of a configuration they say.

use std::collections::BTreeMap;
use std::ffi::OsString;

use steadfast::Strategy;
use steadfast::orchestrator::{ConfigError, Effective, Key, Kind, Name, Origin, Registration};

use super::document::{Document, with};
use super::flat::{self, Flat};
use super::preset::Preset;
use super::problem::{Problem, Problems};
use super::tree::{Node, scalar};
use super::value::{STRATEGY, read_strategy, segment};

/// What environment variables say, and what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// What documents lie over: a preset, or the single variables.
    given: Vec<Variable>,
    /// A document of its own.
    pub(crate) custom: Option<String>,
    pub(crate) problems: Problems,
}

/// A variable that says something.
#[derive(Debug)]
struct Variable {
    name: String,
    says: Says,
}

#[derive(Debug)]
enum Says {
    Preset(Preset),
    Setting(&'static Flat, u64),
    DefaultStrategy(Strategy),
    Strategy(Name, Strategy),
}

impl Environment {
    pub(crate) fn read<K: Into<OsString>, V: Into<OsString>>(
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut environment = Self::default();
        let mut vars = environment.relevant(vars);
        let (preset, custom) = (vars.remove(PRESET), vars.remove(CUSTOM_CONFIG));
        if preset.is_none() && custom.is_none() {
            environment.single(vars);
        }
        if let Some(preset) = preset {
            environment.preset(&preset);
        }
        Self { custom, ..environment }
    }

    /// What documents lie over. What does not go together is left out, and what a table objects to,
    /// whose operations have the settings `effective` now.
    pub(crate) fn fit(
        &mut self,
        objections: impl Fn(&Document) -> Vec<ConfigError>,
        effective: impl Fn(&Name) -> Option<Effective>,
    ) -> Document {
        loop {
            let (document, before) = (self.document(), self.given.len());
            self.leave_out_for_strategies(&document);
            if self.given.len() == before {
                // One at a time: what is left out for it may have caused the others.
                match objections(&document).first() {
                    Some(objection) => self.leave_out(&document, objection, &effective),
                    None => return document,
                }
            }
            if self.given.len() == before {
                return document;
            }
        }
    }

    /// The variables that are gone by.
    pub(crate) fn names(&self) -> String {
        self.given.iter().map(|variable| variable.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The variables that mean something here, and are not empty.
    fn relevant<K: Into<OsString>, V: Into<OsString>>(
        &mut self,
        vars: impl IntoIterator<Item = (K, V)>,
    ) -> BTreeMap<String, String> {
        let mut relevant = BTreeMap::new();
        for (name, value) in vars {
            let Ok(name) = name.into().into_string() else { continue };
            let single = flat::ALL.iter().any(|flat| flat.variable == name);
            if !single && !name.ends_with(STRATEGY_OF) && ![PRESET, CUSTOM_CONFIG].contains(&&*name)
            {
                continue;
            }
            match value.into().into_string() {
                Ok(value) if value.trim().is_empty() => {}
                Ok(value) => {
                    relevant.insert(name, value.trim().to_owned());
                }
                Err(_) => self.problems.push(Problem::new(name, "is not UTF-8")),
            }
        }
        relevant
    }

    fn preset(&mut self, name: &str) {
        match name.parse::<Preset>() {
            Ok(preset) => self.give(PRESET, Says::Preset(preset)),
            Err(_) => {
                let what = format!("{name:?} is no preset");
                self.problems.push(Problem::new(PRESET, what).allowed(PRESETS));
            }
        }
    }

    /// The variables that set one thing each. One that is wrong is left out.
    fn single(&mut self, vars: BTreeMap<String, String>) {
        for (name, value) in vars {
            if let Some(flat) = flat::ALL.iter().find(|flat| flat.variable == name) {
                let on = if flat.is_flag() { flag(&value) } else { None };
                match flat.read(&on.map_or_else(|| scalar(&value), Node::Flag)) {
                    Ok(value) => self.give(&name, Says::Setting(flat, value)),
                    Err(what) => {
                        self.problems.push(Problem::new(name, what).allowed(flat.allowed()));
                    }
                }
            } else if let Some(operation) = name.strip_suffix(STRATEGY_OF) {
                self.strategy(&name, operation, value);
            }
        }
    }

    fn strategy(&mut self, variable: &str, operation: &str, value: String) {
        let strategy = match read_strategy(&Node::Text(value)) {
            Ok(strategy) => strategy,
            Err(what) => {
                return self.problems.push(Problem::new(variable, what).allowed(STRATEGY));
            }
        };
        if operation == DEFAULT {
            return self.give(variable, Says::DefaultStrategy(strategy));
        }
        match Name::new(&operation.to_lowercase()) {
            Ok(name) => self.give(variable, Says::Strategy(name, strategy)),
            Err(error) => self.problems.push(Problem::new(variable, error.to_string())),
        }
    }

    fn give(&mut self, name: &str, says: Says) {
        self.given.push(Variable { name: name.into(), says });
    }

    fn document(&self) -> Document {
        let mut document = Document::default();
        for Variable { says, .. } in &self.given {
            match *says {
                Says::Preset(preset) => document = document.under(preset.document()).document,
                Says::Setting(flat, value) => {
                    document.every = with(document.every, flat.key, value);
                }
                Says::DefaultStrategy(strategy) => document.default_strategy = Some(strategy),
                Says::Strategy(name, strategy) => {
                    document.operations.retain(|(there, _)| *there != name);
                    document.operations.push((name, Registration::by(strategy)));
                }
            }
        }
        document
    }

    /// Leaves out what is not for every strategy.
    fn leave_out_for_strategies(&mut self, document: &Document) {
        for (conflict, problem) in document.strategy_problems() {
            let keys = conflict.keys();
            let Problem { mut path, mut what, .. } = problem;
            for flat in keys.into_iter().filter_map(Flat::of) {
                path = path.replace(flat.name, flat.variable);
                what = what.replace(flat.name, flat.variable);
            }
            self.problems.push(Problem::new(path, what));
            self.given.retain(|variable| !variable.sets_one_of(&keys));
        }
    }

    /// Leaves out what causes `objection`, and says so.
    fn leave_out(
        &mut self,
        document: &Document,
        objection: &ConfigError,
        effective: impl Fn(&Name) -> Option<Effective>,
    ) {
        let causes = self.causes(objection, effective);
        let (left_out, given): (Vec<_>, _) =
            core::mem::take(&mut self.given).into_iter().partition(|it| causes.contains(&it.name));
        self.given = given;
        let names = causes.join(", ");
        match objection {
            ConfigError::Operation(operation, conflict) if names != PRESET => {
                let rename = |what: String, it: &Variable| match it.says {
                    Says::Setting(flat, _) => what.replace(flat.key.path(), flat.variable),
                    _ => what,
                };
                let what = left_out.iter().fold(conflict.to_string(), rename);
                let operation = segment(operation.as_str());
                let what = format!("{what}, and is not for operations.{operation}");
                self.problems.push(Problem::new(names, what));
            }
            _ if left_out.is_empty() => {}
            _ => self.problems.push_all_of(&names, document.problem(objection).into()),
        }
    }

    /// The names of the variables without which there would be no `objection`.
    fn causes(
        &self,
        objection: &ConfigError,
        effective: impl Fn(&Name) -> Option<Effective>,
    ) -> Vec<String> {
        let named = |is: &dyn Fn(&Variable) -> bool| -> Vec<String> {
            self.given.iter().filter(|it| is(it)).map(|it| it.name.clone()).collect()
        };
        let ConfigError::Operation(operation, conflict) = objection else {
            // Too many operations: the last of those that are new.
            let new = |it: &Variable| matches!(&it.says, Says::Strategy(name, _) if effective(name).is_none());
            return named(&new).pop().into_iter().collect();
        };
        // Under a setting of the operation's own, the variable's does not count.
        let own = |key| effective(operation).is_some_and(|it| it.origin(key) == Origin::Registered);
        let keys: Vec<_> = conflict.keys().into_iter().filter(|key| !own(*key)).collect();
        let by_strategy =
            |it: &Variable| matches!(&it.says, Says::Strategy(name, _) if name == operation);
        let by_default = |it: &Variable| matches!(it.says, Says::DefaultStrategy(_));
        let by_preset = |it: &Variable| matches!(it.says, Says::Preset(_));
        let suspects: [&dyn Fn(&Variable) -> bool; 4] =
            [&|it| it.sets_one_of(&keys), &by_strategy, &by_default, &by_preset];
        suspects.into_iter().map(named).find(|causes| !causes.is_empty()).unwrap_or_default()
    }
}

impl Variable {
    fn sets_one_of(&self, keys: &[Key]) -> bool {
        matches!(self.says, Says::Setting(flat, _) if keys.contains(&flat.key))
    }
}

/// What people write for on and off.
fn flag(text: &str) -> Option<bool> {
    let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    let (on, off) = (is(["true", "yes", "on", "1"]), is(["false", "no", "off", "0"]));
    (on || off).then_some(on)
}

const PRESETS: Kind = Kind::Choice(PRESET_NAMES);
const PRESET_NAMES: &[&str] =
    &[Preset::ALL[0].name(), Preset::ALL[1].name(), Preset::ALL[2].name()];
const PRESET: &str = "RESILIENCE_PRESET";
pub(crate) const CUSTOM_CONFIG: &str = "RESILIENCE_CUSTOM_CONFIG";
/// `AI_SUMMARIZE_RESILIENCE_STRATEGY` is the strategy of `ai_summarize`.
const STRATEGY_OF: &str = "_RESILIENCE_STRATEGY";
/// Except for this one.
const DEFAULT: &str = "DEFAULT";
