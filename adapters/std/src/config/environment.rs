//! Environment variables: what of a configuration they say.

use std::collections::BTreeMap;
use std::ffi::OsString;

use steadfast::orchestrator::{Kind, Name, Registration};

use super::document::{Document, with};
use super::flat::{self, Flat};
use super::preset::Preset;
use super::problem::{Problem, Problems};
use super::tree::{Node, scalar};
use super::value::{STRATEGY, read_strategy};

/// What environment variables say, and what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// What documents lie over: a preset, or the single variables.
    pub(crate) ground: Document,
    /// The variables that it comes from.
    pub(crate) ground_from: String,
    /// A document of its own.
    pub(crate) custom: Option<String>,
    pub(crate) problems: Problems,
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
            Ok(preset) => {
                self.ground = Document::default().under(preset.document()).document;
                self.ground_from = PRESET.into();
            }
            Err(_) => {
                let what = format!("{name:?} is no preset");
                self.problems.push(Problem::new(PRESET, what).allowed(PRESETS));
            }
        }
    }

    /// The variables that set one thing each. One that is wrong is left out.
    fn single(&mut self, vars: BTreeMap<String, String>) {
        let mut given = Vec::new();
        self.ground_from = vars.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        for (name, value) in vars {
            if let Some(flat) = flat::ALL.iter().find(|flat| flat.variable == name) {
                let on = if flat.is_flag() { flag(&value) } else { None };
                match flat.read(&on.map_or_else(|| scalar(&value), Node::Flag)) {
                    Ok(value) => given.push((flat, value)),
                    Err(what) => {
                        self.problems.push(Problem::new(name, what).allowed(flat.allowed()));
                    }
                }
            } else if let Some(operation) = name.strip_suffix(STRATEGY_OF) {
                self.strategy(&name, operation, value);
            }
        }
        self.lay_out(given);
    }

    fn strategy(&mut self, variable: &str, operation: &str, value: String) {
        let strategy = match read_strategy(&Node::Text(value)) {
            Ok(strategy) => strategy,
            Err(what) => {
                return self.problems.push(Problem::new(variable, what).allowed(STRATEGY));
            }
        };
        if operation == DEFAULT {
            self.ground.default_strategy = Some(strategy);
            return;
        }
        match Name::new(&operation.to_lowercase()) {
            Ok(name) => {
                self.ground.operations.retain(|(there, _)| *there != name);
                self.ground.operations.push((name, Registration::by(strategy)));
            }
            Err(error) => self.problems.push(Problem::new(variable, error.to_string())),
        }
    }

    /// Sets what goes together, and leaves out what does not.
    fn lay_out(&mut self, mut given: Vec<(&'static Flat, u64)>) {
        loop {
            self.ground.every = given
                .iter()
                .fold(Registration::new(), |every, (flat, value)| with(every, flat.key, *value));
            let before = given.len();
            for (conflict, problem) in self.ground.strategy_problems() {
                let keys = conflict.keys();
                let Problem { mut path, mut what, .. } = problem;
                for flat in keys.into_iter().filter_map(Flat::of) {
                    path = path.replace(flat.name, flat.variable);
                    what = what.replace(flat.name, flat.variable);
                }
                self.problems.push(Problem::new(path, what));
                given.retain(|(flat, _)| !keys.contains(&flat.key));
            }
            if given.len() == before {
                return;
            }
        }
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
