//! What is wrong with a configuration: all of it, not only the first thing.

use core::fmt;

use super::warning::OperationWarning;

/// One thing that is wrong with a configuration, shown as
/// `operations.summarize.retry.attempts: 0 is out of range: a whole number, 1 to 50`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// Where it is: the keys that lead there, or the name of an environment variable. Empty where
    /// the whole document is meant.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What is allowed there, if that can be said in a line.
    pub allowed: Option<String>,
}

/// What is wrong with a configuration. The first 16 are kept, the others are counted.
///
/// Where the rest is gone by all the same, as that of an [environment](crate::Resilience::from_env),
/// what that is warned of stands beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    kept: Vec<Problem>,
    more: usize,
    warnings: Vec<OperationWarning>,
}

impl Problem {
    pub(crate) fn new(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into(), allowed: None }
    }

    pub(crate) fn allowed(self, allowed: impl fmt::Display) -> Self {
        Self { allowed: Some(allowed.to_string()), ..self }
    }
}

impl Problems {
    /// Those that are kept.
    pub fn iter(&self) -> core::slice::Iter<'_, Problem> {
        self.kept.iter()
    }

    /// How many there are, with those that are not kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len() + self.more
    }

    /// How many there are beside those that are kept.
    #[must_use]
    pub const fn more(&self) -> usize {
        self.more
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// What is probably not meant of that which is gone by. It is no problem.
    #[must_use]
    pub fn warnings(&self) -> &[OperationWarning] {
        &self.warnings
    }

    pub(crate) fn warn(&mut self, warnings: Vec<OperationWarning>) {
        self.warnings = warnings;
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        if self.kept.len() < KEPT {
            self.kept.push(problem);
        } else {
            self.more += 1;
        }
    }

    /// Those of a document that came in a variable.
    pub(crate) fn push_all_of(&mut self, variable: &str, problems: Self) {
        self.more += problems.more;
        for Problem { path, what, allowed } in problems.kept {
            let between = if path.is_empty() { "" } else { ": " };
            self.push(Problem { path: format!("{variable}{between}{path}"), what, allowed });
        }
    }

    pub(crate) fn or<T>(self, value: T) -> Result<T, Self> {
        if self.is_empty() { Ok(value) } else { Err(self) }
    }
}

impl<'p> IntoIterator for &'p Problems {
    type Item = &'p Problem;
    type IntoIter = core::slice::Iter<'p, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { kept: vec![problem], ..Self::default() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, what, allowed } = self;
        if !path.is_empty() {
            write!(f, "{path}: ")?;
        }
        f.write_str(what)?;
        allowed.iter().try_for_each(|allowed| write!(f, ": {allowed}"))
    }
}

/// One a line.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n{more} more"),
        }
    }
}

impl core::error::Error for Problem {}
impl core::error::Error for Problems {}

const KEPT: usize = 16;
