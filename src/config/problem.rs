//! What is wrong with the configuration, said so that it can be mended at once.
//!
//! Owns the shape and the text of a problem, and of where a value came from. Refuses to decide what
//! is a problem.

use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::secret;

/// The most problems kept; whoever has more has the wrong file.
pub const PROBLEMS_MAX: usize = 100;

/// The longest piece of a wrong value that is repeated, in characters.
const VALUE_CHARS_MAX: usize = 80;

/// Where a value came from: the layer that set it, and the place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nothing set it.
    Default,
    /// The file, or the directory that should hold it.
    File {
        /// The file or directory.
        path: PathBuf,
        /// Line in the file, counted from 1; `None` when the file as a whole is meant.
        line: Option<usize>,
    },
    /// The environment variable of this name.
    Variable(String),
    /// This flag, such as `--port`.
    Flag(&'static str),
}

impl Origin {
    /// A file as a whole.
    pub(super) fn file(path: &Path) -> Self {
        Self::File { path: path.to_owned(), line: None }
    }

    /// The file in the order of its lines, then the layers above it.
    const fn order(&self) -> (u8, Option<usize>) {
        match self {
            Self::Default => (0, None),
            Self::File { line, .. } => (1, *line),
            Self::Variable(_) => (2, None),
            Self::Flag(_) => (3, None),
        }
    }
}

impl fmt::Display for Origin {
    /// `default`, `FILE:LINE`, the name of the variable, or the flag.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line: None } => path.display().fmt(f),
            Self::File { path, line: Some(line) } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it is.
    pub origin: Origin,
    /// Dotted path such as `spec.mesh.seeds[1]`; empty when the file or variable as a whole is meant.
    pub key: String,
    /// What stands there, as JSON; long values are cut.
    pub value: Option<String>,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// All of it on one line, for a log.
    #[must_use]
    pub fn one_line(&self) -> String {
        self.to_string().replace("\n    ", "; ")
    }

    /// What is wrong and what to do, without where: `KEY: what (got VALUE); remedy`.
    #[must_use]
    pub fn advice(&self) -> String {
        let key = if self.key.is_empty() { String::new() } else { format!("{}: ", self.key) };
        let value = self.value.as_ref().map(|value| format!(" (got {value})")).unwrap_or_default();
        let remedy = if self.remedy.is_empty() { "" } else { "; " };
        format!("{key}{}{value}{remedy}{}", self.what, self.remedy)
    }
}

impl fmt::Display for Problem {
    /// `ORIGIN: KEY: what (got VALUE)`, and the remedy on a second, indented line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.origin.fmt(f)?;
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.what)?;
        if let Some(value) = &self.value {
            write!(f, " (got {value})")?;
        }
        write!(f, "\n    {}", self.remedy)
    }
}

/// Everything that is wrong; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    /// Found, but not kept.
    omitted: usize,
}

impl Problems {
    /// Problems in their order; `None` when there are none.
    #[must_use]
    pub fn gather(problems: impl IntoIterator<Item = Problem>) -> Option<Self> {
        let mut gathered = Gathered::default();
        problems.into_iter().for_each(|problem| gathered.add(problem));
        gathered.into_result().err()
    }

    /// How many there are, those included that were not kept.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.list.len() + self.omitted
    }

    /// The problems in the order of the file; those of variables follow.
    #[must_use]
    pub fn list(&self) -> &[Problem] {
        &self.list
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self { list: vec![problem], omitted: 0 }
    }
}

impl fmt::Display for Problems {
    /// One block for each problem.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        if self.omitted > 0 {
            write!(f, "\nand {} more problems", self.omitted)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Gathers problems, at most [`PROBLEMS_MAX`] of them, and counts the rest.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    list: Vec<Problem>,
    omitted: usize,
}

impl Gathered {
    pub(super) fn add(&mut self, problem: Problem) {
        if self.list.len() < PROBLEMS_MAX {
            self.list.push(problem);
        } else {
            self.omitted += 1;
        }
    }

    /// The problems in their order; `Ok` when there are none.
    pub(super) fn into_result(mut self) -> Result<(), Problems> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.list.sort_by_key(|problem| problem.origin.order());
        Err(Problems { list: self.list, omitted: self.omitted })
    }
}

/// The value at a path as a problem repeats it.
pub(super) fn shown(path: &str, value: &Value) -> String {
    let key = path.rsplit('.').next().unwrap_or(path);
    let text = secret::repeated(key.split('[').next().unwrap_or(key), value);
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
