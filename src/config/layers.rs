//! One value for each key, and where it came from.
//!
//! Owns the order of the layers: defaults < variables of others < file < environment < flags. Each layer is checked by
//! itself, so that a wrong value in the file is found even where a variable hides it; but variables of
//! others only where they set something. Refuses to know what any key means.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::check;
use super::environment::{Environment, Said};
use super::problem::{Gathered, Origin, Problem, Problems, shown};
use super::schema::{self, KEYS, Key, WhenMissing};
use super::yaml::Document;

/// The layers above the defaults, put together.
#[derive(Debug, Clone)]
pub(super) struct Layers {
    pub(super) file: PathBuf,
    pub(super) dir: PathBuf,
    document: Document,
    /// What the layers say together.
    value: Value,
    /// Where those keys come from that are set above the file.
    above: BTreeMap<&'static str, Origin>,
    /// What is odd but no problem.
    pub(super) warnings: Vec<String>,
}

/// A key that a flag sets: the flag, the path, and the value.
pub(super) type Flag = (&'static str, &'static str, Value);

impl Layers {
    /// Puts the layers together and finds what is wrong with each.
    pub(super) fn read(
        file: PathBuf,
        dir: PathBuf,
        document: Document,
        environment: &Environment,
        flags: impl IntoIterator<Item = Flag>,
    ) -> (Self, Gathered) {
        let mut gathered = check::document(&file, &document);
        let value = document.value().clone();
        let (above, warnings) = (BTreeMap::new(), Vec::new());
        let mut layers = Self { file, dir, document, value, above, warnings };
        for key in KEYS {
            if let Some(said) = environment.value(key) {
                layers.take(key, said, &mut gathered);
            }
        }
        for (fallback, key, said) in environment.fallbacks() {
            if layers.at(key.path).is_some() {
                continue;
            }
            let mut found = Gathered::default();
            layers.take(key, said, &mut found);
            let off = fallback.switches.iter().find(|switch| !layers.is_on(switch));
            match (found.into_result(), off) {
                (Ok(()), _) => {}
                (Err(problems), Some(switch)) => layers.pass_over(key.path, &problems, switch),
                (Err(problems), None) => {
                    problems.list().iter().cloned().for_each(|problem| gathered.add(problem));
                }
            }
        }
        for (flag, path, value) in flags {
            layers.set(path, value, Origin::Flag(flag));
        }
        (layers, gathered)
    }

    /// What the layers say about a path such as `spec.mesh.enabled`; `None` where they say nothing
    /// or `null`. For keys without dots; what is in a list is reached through the list.
    pub(super) fn at(&self, path: &str) -> Option<&Value> {
        let value = path.split('.').try_fold(&self.value, |value, key| value.get(key))?;
        if value.is_null() { None } else { Some(value) }
    }

    /// What the layers say together.
    pub(super) const fn value(&self) -> &Value {
        &self.value
    }

    /// Where the value at this path comes from.
    pub(super) fn origin(&self, path: &str) -> Origin {
        if let Some(origin) = self.above.get(path) {
            return origin.clone();
        }
        if self.at(path).is_none() {
            return Origin::Default;
        }
        Origin::File { path: self.file.clone(), line: Some(self.document.line(path)) }
    }

    /// Notes a problem with what the layers say together; the value is the one at the path.
    pub(super) fn add(&self, path: &str, what: &str, remedy: &str, gathered: &mut Gathered) {
        gathered.add(Problem {
            origin: self.origin(path),
            key: path.to_owned(),
            value: self.at(path).map(|value| shown(path, value)),
            what: what.to_owned(),
            remedy: remedy.to_owned(),
        });
    }

    /// Whether a switch is on, be it by its default.
    fn is_on(&self, path: &str) -> bool {
        match self.at(path) {
            Some(value) => *value == true,
            None => schema::find(path).is_some_and(|key| key.default == WhenMissing::Is("true")),
        }
    }

    /// Forgets what a variable of others says, which is wrong but would have no effect.
    fn pass_over(&mut self, path: &'static str, problems: &Problems, switch: &str) {
        self.set(path, Value::Null, Origin::Default);
        self.above.remove(path);
        let lines = problems.list().iter().map(|problem| {
            format!("{}; nothing comes of it while {switch} is not true", problem.one_line())
        });
        self.warnings.extend(lines);
    }

    /// Checks what a variable says of a key, and sets the key.
    fn take(&mut self, key: &Key, said: Said, gathered: &mut Gathered) {
        let (name, text, value) = said;
        let origin = Origin::Variable(name);
        match value {
            Ok(value) => {
                check::value(&origin, key, &value, gathered);
                self.set(key.path, value, origin);
            }
            Err(fault) => gathered.add(Problem {
                origin,
                key: key.path.to_owned(),
                value: Some(shown(key.path, &text.into())),
                what: fault.what,
                remedy: fault.remedy,
            }),
        }
    }

    fn set(&mut self, path: &'static str, value: Value, origin: Origin) {
        let mut place = &mut self.value;
        for step in path.split('.') {
            // What is no mapping here is either nothing or a problem that was noted.
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            place = &mut place[step];
        }
        *place = value;
        self.above.insert(path, origin);
    }
}
