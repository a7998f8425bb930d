//! Reads mappings of a document key by key and notes everything that is wrong with them.
//!
//! Owns what is said of a problem: file, line, key, value, what to write. Refuses to stop at the
//! first one.

use serde_json::{Map, Value};

use crate::config::yaml::Document;
use crate::config::{Origin, Problem, secret};

/// How many problems of one file are told; the rest is counted.
const PROBLEMS_MAX: usize = 50;

/// How much of a wrong value is shown, in characters.
const VALUE_CHARS_MAX: usize = 60;

/// What is wrong with one file.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    file: &'a str,
    document: &'a Document,
    found: Vec<Problem>,
    left_out: usize,
}

impl<'a> Problems<'a> {
    pub(super) fn new(file: &'a str, document: &'a Document) -> Self {
        Self { file, document, found: Vec::new(), left_out: 0 }
    }

    /// Notes that the value at this path is wrong; `what` says what to write instead.
    pub(super) fn add(&mut self, path: &Path, value: Option<&Value>, what: &str) {
        if self.found.len() >= PROBLEMS_MAX {
            self.left_out += 1;
            return;
        }
        self.found.push(Problem {
            key: path.dotted().to_owned(),
            value: value.map(|value| path.show(value)),
            ..problem(self.file, Some(self.document.line(&path.text)), what)
        });
    }

    /// All of them; empty when the file is fine.
    pub(super) fn into_list(mut self) -> Vec<Problem> {
        if self.left_out > 0 {
            let more = format!("and {} more problems", self.left_out);
            self.found.push(problem(self.file, None, more));
        }
        self.found
    }
}

/// A problem of a file as a whole, or of a line in it.
pub(in crate::agent) fn problem(
    file: &str,
    line: Option<usize>,
    what: impl Into<String>,
) -> Problem {
    Problem {
        origin: Origin::File { path: file.into(), line },
        key: String::new(),
        value: None,
        what: what.into(),
        remedy: REMEDY.to_owned(),
    }
}

/// A problem where only the file itself can be the remedy: `FILE:LINE: KEY: VALUE: what`.
pub(in crate::agent) fn one_line(problem: &Problem) -> String {
    let Problem { origin, key, value, what, .. } = problem;
    let mut text = origin.to_string();
    for part in [key, value.as_ref().unwrap_or(&String::new())] {
        if !part.is_empty() {
            text.push_str(": ");
            text.push_str(part);
        }
    }
    format!("{text}: {what}")
}

/// Beside what is said of the problem itself.
const REMEDY: &str = "mend the file, or remove it";

/// The way to a value, such as `spec.tools[1].name`.
#[derive(Debug, Clone, Default)]
pub(super) struct Path {
    text: String,
    /// The last key on the way, which tells whether the value is a secret.
    key: String,
}

impl Path {
    pub(super) fn key(&self, key: &str) -> Self {
        let dot = if self.text.is_empty() { "" } else { "." };
        Self { text: format!("{}{dot}{key}", self.text), key: key.to_owned() }
    }

    pub(super) fn index(&self, index: usize) -> Self {
        Self { text: format!("{}[{index}]", self.text), key: self.key.clone() }
    }

    fn dotted(&self) -> &str {
        if self.text.is_empty() { "document" } else { &self.text }
    }

    fn show(&self, value: &Value) -> String {
        let text = secret::repeated(&self.key, value);
        match text.char_indices().nth(VALUE_CHARS_MAX) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    }
}

/// One mapping of the document.
#[derive(Debug, Clone)]
pub(super) struct Section<'a> {
    pub(super) path: Path,
    pub(super) map: &'a Map<String, Value>,
}

impl<'a> Section<'a> {
    /// This value as a section, if it is a mapping.
    pub(super) fn new(value: &'a Value, path: Path, problems: &mut Problems<'_>) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self { path, map }),
            _ => {
                problems.add(&path, Some(value), "must be a mapping of keys to values");
                None
            }
        }
    }

    /// A key's value; a key without one counts as missing.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Notes each key that is not among these.
    pub(super) fn only_keys(&self, known: &[&str], problems: &mut Problems<'_>) {
        for key in self.map.keys().filter(|key| !known.contains(&key.as_str())) {
            let remedy = format!("unknown key; known here: {}", known.join(", "));
            problems.add(&self.path.key(key), None, &remedy);
        }
    }

    /// Notes that the value of this key is wrong.
    pub(super) fn wrong(&self, key: &str, remedy: &str, problems: &mut Problems<'_>) {
        problems.add(&self.path.key(key), self.value(key), remedy);
    }

    pub(super) fn section(&self, key: &str, problems: &mut Problems<'_>) -> Option<Self> {
        Self::new(self.value(key)?, self.path.key(key), problems)
    }

    /// The mappings of a list.
    pub(super) fn sections(&self, key: &str, problems: &mut Problems<'_>) -> Vec<Self> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Array(items)) => items
                .iter()
                .enumerate()
                .filter_map(|(index, item)| {
                    Section::new(item, self.path.key(key).index(index), problems)
                })
                .collect(),
            Some(_) => {
                self.wrong(key, "must be a list of mappings", problems);
                Vec::new()
            }
        }
    }

    pub(super) fn string(&self, key: &str, problems: &mut Problems<'_>) -> Option<&'a str> {
        let value = self.value(key)?;
        if value.as_str().is_none() {
            self.wrong(key, "must be text; put it in quotes", problems);
        }
        value.as_str()
    }

    pub(super) fn boolean(&self, key: &str, problems: &mut Problems<'_>) -> Option<bool> {
        let value = self.value(key)?;
        if value.as_bool().is_none() {
            self.wrong(key, "must be true or false", problems);
        }
        value.as_bool()
    }

    /// A whole number from `min` to `max`.
    pub(super) fn integer(
        &self,
        key: &str,
        (min, max): (u64, u64),
        problems: &mut Problems<'_>,
    ) -> Option<u64> {
        let number = self.value(key)?.as_u64().filter(|number| (min..=max).contains(number));
        if number.is_none() {
            self.wrong(key, &format!("must be a whole number from {min} to {max}"), problems);
        }
        number
    }

    /// A number above 0, at most `max`.
    pub(super) fn seconds(&self, key: &str, max: f64, problems: &mut Problems<'_>) -> Option<f64> {
        let number = self.value(key)?.as_f64().filter(|number| *number >= 0.001 && *number <= max);
        if number.is_none() {
            self.wrong(key, &format!("must be a number of seconds, at most {max}"), problems);
        }
        number
    }

    /// One of these words.
    pub(super) fn choice(
        &self,
        key: &str,
        words: &[&str],
        problems: &mut Problems<'_>,
    ) -> Option<&'a str> {
        let word = self.value(key)?.as_str().filter(|word| words.contains(word));
        if word.is_none() {
            self.wrong(key, &format!("must be one of {}", words.join(", ")), problems);
        }
        word
    }
}
