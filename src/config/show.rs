//! The effective configuration as text that people read and the daemon understands.
//!
//! Owns the layout: every key in the order of the table, each with a comment that names the layer
//! its value came from. What it writes is a `runtime.yaml` that means the same in any directory.
//! Refuses to show secrets.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::kind::Kind;
use super::layers::Layers;
use super::problem::Origin;
use super::runtime::Runtime;
use super::schema::{KEYS, Key, WhenMissing};
use super::secret::{BLANK, is_secret, without_secrets};
use super::yaml;

/// Where the comments begin, unless a value is longer.
const COMMENT_COLUMN: usize = 44;

/// All keys with their values.
pub(super) fn yaml(layers: &Layers, runtime: &Runtime) -> String {
    let mut text = String::new();
    for key in KEYS.iter().filter(|key| !key.path.contains("[]")) {
        let name = key.path.rsplit('.').next().unwrap_or(key.path);
        let depth = key.path.matches('.').count();
        if depth == 1 && key.kind == Kind::Section {
            text.push('\n');
        }
        let indent = "  ".repeat(depth);
        if key.kind == Kind::Section {
            let _infallible = writeln!(text, "{indent}{name}:");
            continue;
        }
        let origin = layers.origin(key.path);
        match shown(key, layers, runtime) {
            Shown::Value(Value::Array(items)) if !items.is_empty() => {
                line(&mut text, &format!("{indent}{name}:"), &comment(&origin));
                for item in items {
                    let _infallible = writeln!(text, "{indent}  - {}", scalar(&item));
                }
            }
            Shown::Value(value) => {
                line(&mut text, &format!("{indent}{name}: {}", scalar(&value)), &comment(&origin));
            }
            Shown::Unsayable(value) => {
                let said = format!("{indent}# {name}: {}", scalar(&value));
                let why = format!("{}, which alone can say so", comment(&origin));
                line(&mut text, &said, &why);
            }
            Shown::Nothing(words) => {
                let why = format!("{}: {words}", comment(&origin));
                line(&mut text, &format!("{indent}# {name}:"), &why);
            }
        }
    }
    text
}

/// All keys with their values for programs: `key`, `value` (`null` where there is none before the
/// daemon runs) and `origin`.
pub(super) fn json(layers: &Layers, runtime: &Runtime) -> Value {
    let keys = KEYS.iter().filter(|key| !key.path.contains("[]") && key.kind != Kind::Section);
    let entry = |key: &Key| {
        let value = match shown(key, layers, runtime) {
            Shown::Value(value) | Shown::Unsayable(value) => value,
            Shown::Nothing(_) => Value::Null,
        };
        json!({"key": key.path, "value": value, "origin": layers.origin(key.path).to_string()})
    };
    json!({"directory": layers.dir.display().to_string(), "keys": keys.map(entry).collect::<Vec<_>>()})
}

/// What can be shown of a key.
enum Shown<'a> {
    /// A value that a file may hold.
    Value(Value),
    /// A value that no file may hold.
    Unsayable(Value),
    /// No value, but why there is none.
    Nothing(&'a str),
}

fn shown<'a>(key: &'a Key, layers: &Layers, runtime: &Runtime) -> Shown<'a> {
    let given = layers.at(key.path).cloned();
    let value = match (given, key.default) {
        (Some(Value::String(path)), _) if key.kind == Kind::Path => {
            absolute(&layers.dir.join(path))
        }
        (Some(value), _) => value,
        (None, WhenMissing::Is(text)) => match yaml::read(text) {
            Ok(value) => value,
            Err(_) => Value::Null,
        },
        (None, WhenMissing::Computed(words)) => match computed(key.path, runtime) {
            Some(value) if key.kind.check(&value).is_empty() => value,
            Some(_) | None => return Shown::Nothing(words),
        },
        (None, WhenMissing::Required) => return Shown::Nothing("required in its list"),
    };
    let name = key.path.rsplit('.').next().unwrap_or(key.path);
    if is_secret(name) && !value.is_null() {
        return Shown::Value(BLANK.into());
    }
    let is_sayable = key.kind.check(&value).is_empty();
    let value = without_secrets(value);
    if is_sayable { Shown::Value(value) } else { Shown::Unsayable(value) }
}

/// The values of those keys whose defaults depend on others or on the host, and are known before
/// the daemon runs.
fn computed(path: &str, runtime: &Runtime) -> Option<Value> {
    match path {
        "spec.data_dir" => Some(absolute(&runtime.data_dir)),
        "spec.log.file.directory" => Some(absolute(&runtime.log.file.directory)),
        "spec.mesh.node_name" => Some(runtime.mesh.node_name.clone().into()),
        "spec.observability.otlp.endpoint" => {
            Some(runtime.otlp.endpoint.as_str().trim_end_matches('/').into())
        }
        "spec.mesh.bind" => Some(runtime.mesh.bind.to_string().into()),
        _ => None,
    }
}

/// A path that means the same when the text is put elsewhere.
fn absolute(path: &Path) -> Value {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.to_string_lossy().into_owned().into()
}

fn comment(origin: &Origin) -> String {
    // A line break in the name of a directory would end the comment.
    origin.to_string().replace(char::is_control, "?")
}

fn line(text: &mut String, said: &str, comment: &str) {
    let _infallible = writeln!(text, "{said:<COMMENT_COLUMN$}  # {comment}");
}

/// A value on one line: as people write it, or as JSON when it holds others.
fn scalar(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => value.to_string(),
        Value::String(text) if text.contains(char::is_control) => value.to_string(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            yaml::write(value).map_or_else(|_| value.to_string(), |text| text.trim_end().to_owned())
        }
    }
}
