//! What is wrong with the configuration, said so that it can be mended at once.
//!
//! Owns the shape and the text of a problem. Refuses to decide what is one.

use std::fmt;
use std::path::PathBuf;

/// The most problems kept; whoever has more has the wrong file.
pub const PROBLEMS_MAX: usize = 100;

/// The longest piece of a wrong value that is repeated, in characters.
const VALUE_CHARS_MAX: usize = 80;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the directory that should hold it.
    pub file: PathBuf,
    /// Line in the file, counted from 1; `None` when the file as a whole is meant.
    pub line: Option<usize>,
    /// Dotted path such as `spec.mesh.seeds[1]`; empty when the file as a whole is meant.
    pub key: String,
    /// What stands there, as JSON; long values are cut.
    pub value: Option<String>,
    /// What is wrong with it.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Problem {
    /// `FILE:LINE: KEY: what (got VALUE)`, and the remedy on a second, indented line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
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
    /// The problems in the order of the file.
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

    /// The problems in the order of their lines; `Ok` when there are none.
    pub(super) fn into_result(mut self) -> Result<(), Problems> {
        if self.list.is_empty() {
            return Ok(());
        }
        self.list.sort_by_key(|problem| problem.line);
        Err(Problems { list: self.list, omitted: self.omitted })
    }
}

/// A value as a problem repeats it.
pub(super) fn shown(value: &serde_json::Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
