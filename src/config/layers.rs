//! One value for each key, and where it came from.
//!
//! Owns the order of the layers: defaults < variables of others < file < environment < flags. Each layer is checked by
//! itself, so that a wrong value in the file is found even where a variable hides it. Refuses to
//! know what any key means.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::check;
use super::environment::{Environment, Said};
use super::problem::{Gathered, Origin, Problem, shown};
use super::schema::{KEYS, Key};
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
        let mut layers = Self { file, dir, document, value, above: BTreeMap::new() };
        for key in KEYS {
            if let Some(said) = environment.fallback(key) {
                let is_needed = layers.at(key.path).is_none();
                layers.take(key, said, is_needed, &mut gathered);
            }
            if let Some(said) = environment.value(key) {
                layers.take(key, said, true, &mut gathered);
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

    /// Checks what a variable says of a key, and sets the key if it is to.
    fn take(&mut self, key: &Key, said: Said, sets: bool, gathered: &mut Gathered) {
        let (name, text, value) = said;
        let origin = Origin::Variable(name);
        match value {
            Ok(value) => {
                check::value(&origin, key, &value, gathered);
                if sets {
                    self.set(key.path, value, origin);
                }
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
