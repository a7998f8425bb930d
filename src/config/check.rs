//! The comparison of values with the table in `schema`.
//!
//! Owns the walk that finds every problem of a document, the same for a single value from above the
//! file, and the hints for keys that are not in the table. Refuses to read values beyond saying
//! what is wrong with them.

use std::path::Path;

use serde_json::Value;

use super::kind::Kind;
use super::problem::{Gathered, Origin, Problem, Problems, shown};
use super::schema::{Key, RENAMED, WhenMissing, find, names_in, paths};
use super::yaml::Document;

/// Names at least this similar (Jaro-Winkler, 0 to 1) are taken for slips of the finger.
const SIMILARITY_MIN: f64 = 0.85;

/// Compares all of a document with the table.
pub(super) fn document(file: &Path, document: &Document) -> Gathered {
    let mut gathered = Gathered::default();
    let origin =
        |path: &str| Origin::File { path: file.to_owned(), line: Some(document.line(path)) };
    let mut check = Check { origin: &origin, gathered: &mut gathered };
    match document.value() {
        Value::Null => {}
        root @ Value::Object(_) => check.section("", "", root),
        other => check.add("", Some(other), "must be a mapping", "begin with `spec:`"),
    }
    gathered
}

/// Compares the value of one key with the table; it comes from `origin` as a whole.
pub(super) fn value(origin: &Origin, key: &Key, value: &Value, gathered: &mut Gathered) {
    Check { origin: &|_| origin.clone(), gathered }.key(key.path, key.path, key, value);
}

/// As [`value`], of a value by itself.
pub(super) fn single(origin: &Origin, key: &Key, given: &Value) -> Result<(), Problems> {
    let mut gathered = Gathered::default();
    value(origin, key, given, &mut gathered);
    gathered.into_result()
}

/// Finds the problems of one layer.
struct Check<'a> {
    /// Where the value at a path comes from.
    origin: &'a dyn Fn(&str) -> Origin,
    gathered: &'a mut Gathered,
}

impl Check<'_> {
    /// Notes a problem at a path.
    fn add(&mut self, path: &str, value: Option<&Value>, what: &str, remedy: &str) {
        self.gathered.add(Problem {
            origin: (self.origin)(path),
            key: path.to_owned(),
            value: value.map(|value| shown(path, value)),
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    /// Checks what is in a mapping. `path` is where it is, `pattern` its path in the table.
    fn section(&mut self, path: &str, pattern: &str, mapping: &Value) {
        let entries = mapping.as_object().into_iter().flatten();
        for (name, value) in entries {
            let (path, pattern) = (join(path, name), join(pattern, name));
            match find(&pattern) {
                Some(key) => self.key(&path, &pattern, key, value),
                None => self.unknown(&path, &pattern, value),
            }
        }
    }

    /// Checks the value of a key and what is in it.
    fn key(&mut self, path: &str, pattern: &str, key: &Key, value: &Value) {
        // Nothing after the colon is the same as no key at all, except where one is required.
        if value.is_null() && key.default != WhenMissing::Required {
            return;
        }
        let faults = key.kind.check(value);
        let is_sound = faults.is_empty();
        for fault in faults {
            let item = fault.item.and_then(|index| Some((index, value.get(index)?)));
            match item {
                Some((index, item)) => {
                    let path = format!("{path}[{index}]");
                    self.add(&path, Some(item), &fault.what, &fault.remedy);
                }
                None => self.add(path, Some(value), &fault.what, &fault.remedy),
            }
        }
        match key.kind {
            Kind::Section if is_sound => self.section(path, pattern, value),
            Kind::Sections { .. } if is_sound => self.sections(path, pattern, value),
            _ => {}
        }
    }

    /// Checks the mappings in a list.
    fn sections(&mut self, path: &str, pattern: &str, list: &Value) {
        let pattern = format!("{pattern}[]");
        for (index, item) in list.as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}[{index}]");
            if let Some(fault) = Kind::Section.check(item).first() {
                self.add(&path, Some(item), &fault.what, &fault.remedy);
                continue;
            }
            self.section(&path, &pattern, item);
            for name in names_in(&pattern) {
                let is_required = find(&join(&pattern, name))
                    .is_some_and(|key| key.default == WhenMissing::Required);
                if is_required && item.get(name).is_none() {
                    let remedy = format!("add `{name}:` to this item");
                    self.add(&join(&path, name), None, "is missing", &remedy);
                }
            }
        }
    }

    /// Notes a key that is not in the table; inside a section that other documents have, each key.
    fn unknown(&mut self, path: &str, pattern: &str, value: &Value) {
        if let Some((_, remedy)) = RENAMED.iter().find(|(renamed, _)| *renamed == pattern) {
            return self.add(path, Some(value), "unknown key", remedy);
        }
        let inside = format!("{pattern}.");
        match value.as_object() {
            Some(mapping) if RENAMED.iter().any(|(renamed, _)| renamed.starts_with(&inside)) => {
                for (name, value) in mapping {
                    self.unknown(&join(path, name), &join(pattern, name), value);
                }
            }
            _ => self.add(path, Some(value), "unknown key", &hint(pattern)),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// What may have been meant by an unknown key: a similar one beside it, else the only one of the
/// same name elsewhere, else the list of what is possible.
fn hint(pattern: &str) -> String {
    let (section, name) = pattern.rsplit_once('.').unwrap_or(("", pattern));
    let similar = names_in(section)
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    if let Some((_, other)) = similar {
        return format!("did you mean {other}?");
    }
    let suffix = format!(".{name}");
    let mut elsewhere = paths().filter(|path| path.ends_with(&suffix));
    if let (Some(path), None) = (elsewhere.next(), elsewhere.next()) {
        return format!("did you mean {path}?");
    }
    let names: Vec<_> = names_in(section).collect();
    if names.is_empty() {
        return "remove it".to_owned();
    }
    format!("remove it; possible here: {}", names.join(", "))
}
