//! A file made from another: some keys set, the rest as it was.
//!
//! Owns the reading of `KEY=VALUE`. The result is checked as any configuration is, so that nothing
//! is written that no daemon would take. Comments are lost on the way. Refuses to write files.

use std::path::Path;
use std::str::FromStr;

use super::environment::{self, Environment};
use super::layers::Layers;
use super::problem::{Gathered, Origin, Problem, Problems, shown};
use super::{check, runtime, schema, search, yaml};

/// The flag that problems name.
const FLAG: &str = "--set";

/// A key and the text of its value, written as in an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    key: String,
    text: String,
}

/// The text is no setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write KEY=VALUE, such as spec.api.port=9000")]
pub struct NoSetting;

impl FromStr for Setting {
    type Err = NoSetting;

    fn from_str(text: &str) -> Result<Self, NoSetting> {
        let (key, text) = text.split_once('=').ok_or(NoSetting)?;
        if key.is_empty() {
            return Err(NoSetting);
        }
        Ok(Self { key: key.to_owned(), text: text.to_owned() })
    }
}

/// The text of `file` with these keys set.
///
/// # Errors
/// Everything that is wrong: in the file, with a setting, or with both together.
pub fn patched(file: &Path, settings: &[Setting]) -> Result<String, Problems> {
    let text = search::read_text(file)?;
    let document = yaml::Document::parse(&text).map_err(|error| super::unreadable(file, &error))?;
    let mut wrong = Gathered::default();
    let flags: Vec<_> = settings.iter().filter_map(|setting| setting.read(&mut wrong)).collect();
    let dir = file.parent().map(Path::to_owned).unwrap_or_default();
    let (layers, gathered) =
        Layers::read(file.to_owned(), dir, document, &Environment::default(), flags);
    wrong.into_result()?;
    runtime::build(&layers, gathered)?;
    yaml::write(layers.value()).map_err(|error| super::unreadable(file, &error).into())
}

impl Setting {
    fn read(&self, wrong: &mut Gathered) -> Option<super::layers::Flag> {
        let origin = Origin::Flag(FLAG);
        let mut add = |what: String, remedy: String| {
            wrong.add(Problem {
                origin: origin.clone(),
                key: self.key.clone(),
                value: Some(shown(&self.key, &self.text.as_str().into())),
                what,
                remedy,
            });
        };
        let Some(key) = schema::find(&self.key).filter(|key| environment::variable(key).is_some())
        else {
            let remedy = "name a key of docs/configuration.md that holds a value".to_owned();
            add("is no key that can be set".to_owned(), remedy);
            return None;
        };
        match environment::parse(key.kind, &self.text) {
            Ok(value) => {
                check::value(&origin, key, &value, wrong);
                Some((FLAG, key.path, value))
            }
            Err(fault) => {
                add(fault.what, fault.remedy);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text that comes of it, or that of the problems.
    fn patch(text: &str, settings: &[&str]) -> String {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("profile.yaml");
        std::fs::write(&file, text).unwrap();
        let settings: Vec<Setting> = settings.iter().map(|text| text.parse().unwrap()).collect();
        patched(&file, &settings).unwrap_or_else(|problems| problems.to_string())
    }

    #[test]
    fn keys_are_set_and_all_else_stays() {
        let profile = "# a profile\nspec:\n  services: {agents: false}\n  mesh:\n    enabled: true\n    \
                       seeds: [http://gateway:8000]\n";
        let settings = [
            "spec.api.port=9000",
            "spec.mesh.node_name=worker=1",
            "spec.mesh.seeds=http://a:1, http://b:2",
        ];
        let expected = "spec:\n  services:\n    agents: false\n  mesh:\n    enabled: true\n    seeds:\n    \
                        - http://a:1\n    - http://b:2\n    node_name: worker=1\n  api:\n    port: 9000\n";
        assert_eq!(patch(profile, &settings), expected);
    }

    #[test]
    fn what_no_daemon_would_take_is_refused_with_its_place() {
        for (text, setting, expected) in [
            ("spec: {}", "spec.api.port=99999", "--set: spec.api.port: is out of range"),
            ("spec: {}", "spec.api.prot=1", "--set: spec.api.prot: is no key that can be set"),
            ("spec: {}", "spec.api=1", "--set: spec.api: is no key that can be set"),
            ("spec: {}", "spec.mesh.seeds=gateway:8000", "--set: spec.mesh.seeds"),
            ("spec: {api: {port: x}}", "spec.api.workers=2", "profile.yaml:1: spec.api.port"),
            ("\t", "spec.api.workers=2", "cannot be read as YAML"),
        ] {
            let problems = patch(text, &[setting]);
            assert!(problems.contains(expected), "{setting}: {problems}");
        }
        assert_eq!("spec.api.port".parse::<Setting>(), Err(NoSetting));
        assert_eq!("=1".parse::<Setting>(), Err(NoSetting));
    }
}
