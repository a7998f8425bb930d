//! The layer above the file: environment variables.
//!
//! Owns the rule that gives each key its variable, how the text of a variable becomes a value, and
//! the warnings about variables that mean nothing here. Refuses to judge values: they are checked
//! as those of the file are.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use serde_json::Value;

use super::kind::{Fault, Kind};
use super::schema::{self, Key, RENAMED};
use super::yaml;

/// What every variable of ours begins with.
const PREFIX: &str = "ASTROMESH_";

/// The variable that names a configuration directory.
pub(super) const CONFIG_DIR: &str = "ASTROMESH_CONFIG_DIR";

/// Variables that are no key: of this program, of the entrypoint of the container image, and of
/// the Python system, where they have no counterpart here. Nothing is said about them.
const OTHERS: &[&str] = &[
    CONFIG_DIR,
    "ASTROMESH_LOG",
    "ASTROMESH_DAEMON_URL",
    "ASTROMESH_ROLE",
    "ASTROMESH_NODE_NAME",
    "ASTROMESH_SEEDS",
    "ASTROMESH_PORT",
    "ASTROMESH_AUTO_CONFIG",
    "ASTROMESH_PERSIST_AGENTS",
    "ASTROMESH_TEMPLATES_DIR",
    "ASTROMESH_SKIP_RUNTIME",
    "ASTROMESH_CORS_ORIGINS",
    "ASTROMESH_FORCE_PYTHON",
    "ASTROMESH_LOG_DATEFMT",
    "ASTROMESH_LOG_CONFIGURE",
    "ASTROMESH_SSE_POLL_INTERVAL",
    "ASTROMESH_SSE_KEEPALIVE_EVERY",
    "ASTROMESH_SSE_IDLE_EXIT_AFTER",
    "ASTROMESH_NEXUS_URL",
    "ASTROMESH_PROFILE",
];

/// Variables of OpenTelemetry and of the Python system that set a key which nothing else sets: its
/// own variable and the file win. A switch is before what depends on it.
const FALLBACKS: &[Fallback] = &[
    Fallback {
        path: "spec.observability.otlp.enabled",
        variable: "ASTROMESH_OTLP_ENABLED",
        switches: &[],
    },
    Fallback {
        path: "spec.observability.otlp.endpoint",
        variable: "OTEL_EXPORTER_OTLP_ENDPOINT",
        switches: EXPORT,
    },
    Fallback {
        path: "spec.observability.otlp.protocol",
        variable: "OTEL_EXPORTER_OTLP_PROTOCOL",
        switches: EXPORT,
    },
];

/// What has to be true for traces to be exported.
const EXPORT: &[&str] = &["spec.services.observability", "spec.observability.otlp.enabled"];

/// A variable that sets a key which nothing else sets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fallback {
    /// The key.
    pub(super) path: &'static str,
    variable: &'static str,
    /// Keys that are true where the key is used. Elsewhere the variable is meant for other programs
    /// perhaps, and may hold what only they understand.
    pub(super) switches: &'static [&'static str],
}

/// Variables that the Python system reads or its documents name, with what to use here.
const INSTEAD: &[(&str, &str)] = &[
    ("ASTROMESH_LOG_THIRDPARTY_LEVEL", "use ASTROMESH_LOG_LEVELS_LIBRARIES"),
    ("ASTROMESH_MESH_BIND_PORT", "use ASTROMESH_API_PORT, which gossip shares"),
    (
        "ASTROMESH_MESH_SUSPECT_THRESHOLD",
        "use ASTROMESH_MESH_FAILURE_TIMEOUT, in seconds instead of milliseconds",
    ),
    (
        "ASTROMESH_MESH_DEAD_THRESHOLD",
        "use ASTROMESH_MESH_DEAD_TIMEOUT, in seconds instead of milliseconds",
    ),
];

/// Names at least this similar (Jaro-Winkler, 0 to 1) are taken for slips of the finger. They are
/// longer than keys, so more of them is alike by chance.
const SIMILARITY_MIN: f64 = 0.9;

/// The variables of a process that concern us: those that begin with `ASTROMESH_`, and
/// a few of OpenTelemetry.
///
/// Empty ones count as unset.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, OsString>,
}

impl Environment {
    /// Those of this process.
    #[must_use]
    pub fn of_this_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect()
    }

    /// A variable that holds a path.
    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.variables.get(name).map(PathBuf::from)
    }

    /// What the variable of a key says: its name, its text, and the value that this stands for.
    pub(super) fn value(&self, key: &Key) -> Option<Said> {
        self.said(key, variable(key)?)
    }

    /// The variables that set keys which nothing else sets, with those keys.
    pub(super) fn fallbacks(&self) -> impl Iterator<Item = (Fallback, &'static Key, Said)> {
        FALLBACKS.iter().filter_map(|fallback| {
            let key = schema::find(fallback.path)?;
            Some((*fallback, key, self.fallback(key, fallback.variable)?))
        })
    }

    fn fallback(&self, key: &Key, name: &str) -> Option<Said> {
        let (name, text, value) = self.said(key, name.to_owned())?;
        // The Python system takes more words.
        let value = match text.to_ascii_lowercase().as_str() {
            "1" | "yes" | "on" if key.kind == Kind::Bool => Ok(true.into()),
            "0" | "no" | "off" if key.kind == Kind::Bool => Ok(false.into()),
            _ => value,
        };
        Some((name, text, value))
    }

    fn said(&self, key: &Key, name: String) -> Option<Said> {
        let text = self.variables.get(&name)?;
        let value = match text.to_str() {
            Some(text) => parse(key.kind, text),
            None => Err(Fault::new("is not UTF-8", "set it to text")),
        };
        Some((name, text.to_string_lossy().into_owned(), value))
    }

    /// A line for each variable that means nothing here.
    pub(super) fn warnings(&self) -> Vec<String> {
        let known: Vec<String> = schema::variables().collect();
        let unknown = self.variables.keys().filter(|name| !known.contains(name));
        unknown
            .filter(|name| !is_fallback(name))
            .filter(|name| !OTHERS.contains(&name.as_str()))
            .map(|name| format!("{name} sets nothing: {}", hint(name, &known)))
            .collect()
    }
}

impl<N: Into<String>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .filter(|(name, value)| {
                (name.starts_with(PREFIX) || is_fallback(name)) && !value.is_empty()
            })
            .collect();
        Self { variables }
    }
}

/// What a variable says: its name, its text, and the value that this stands for.
pub(super) type Said = (String, String, Result<Value, Fault>);

fn is_fallback(name: &str) -> bool {
    FALLBACKS.iter().any(|fallback| fallback.variable == name)
}

/// The variable that sets a key: `ASTROMESH_` and its path below `spec`. Sections have none, nor
/// has what is inside the items of a list.
pub(super) fn variable(key: &Key) -> Option<String> {
    if matches!(key.kind, Kind::Section | Kind::Free) || key.path.contains("[]") {
        return None;
    }
    name_of(key.path)
}

fn name_of(path: &str) -> Option<String> {
    let inside = path.strip_prefix("spec.")?;
    Some(format!("{PREFIX}{}", inside.replace('.', "_").to_ascii_uppercase()))
}

/// What to do about a variable that is not known.
fn hint(name: &str, known: &[String]) -> String {
    if let Some((_, instead)) = INSTEAD.iter().find(|(other, _)| *other == name) {
        return (*instead).to_owned();
    }
    let is_renamed = |path: &str| name_of(path).is_some_and(|renamed| renamed == name);
    if let Some((_, instead)) = RENAMED.iter().find(|(path, _)| is_renamed(path)) {
        return (*instead).to_owned();
    }
    let bare = |name: &str| name.trim_start_matches(PREFIX).to_owned();
    let names = known.iter().map(String::as_str).chain(OTHERS.iter().copied());
    let similar = names
        .map(|other| (strsim::jaro_winkler(&bare(name), &bare(other)), other))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    match similar {
        Some((_, other)) => format!("did you mean {other}?"),
        None => "no key has this name; docs/configuration.md lists the variables".to_owned(),
    }
}

/// The value that a text stands for: text as it is, items between commas, and what else there is
/// as in the file.
pub(super) fn parse(kind: Kind, text: &str) -> Result<Value, Fault> {
    match kind {
        Kind::Exactly(_)
        | Kind::Text { .. }
        | Kind::Ip
        | Kind::Socket
        | Kind::Advertise
        | Kind::BaseUrl
        | Kind::Endpoint
        | Kind::OtlpProtocol => Ok(text.into()),
        // The Python system takes these in capitals too.
        Kind::LogLevel | Kind::LogFormat(_) => Ok(text.to_ascii_lowercase().into()),
        Kind::Path => {
            // Whoever sets a variable is in a directory, and means that one.
            let path = std::path::absolute(text);
            let path = path.map_err(|error| Fault::new(error.to_string(), "set it to a path"))?;
            path.to_str().map(Value::from).ok_or_else(|| {
                Fault::new("lies in a directory whose name is not UTF-8", "set an absolute path")
            })
        }
        Kind::BaseUrls { .. } | Kind::Services if !text.trim_start().starts_with('[') => {
            Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect())
        }
        Kind::Section
        | Kind::Sections { .. }
        | Kind::Free
        | Kind::Bool
        | Kind::Ratio
        | Kind::Integer { .. }
        | Kind::Seconds { .. }
        | Kind::SecondsOrOff { .. }
        | Kind::Workers
        | Kind::BaseUrls { .. }
        | Kind::Services
        | Kind::Detection => yaml::read(text).map_err(|error| {
            let what = format!("cannot be read as YAML: {}", error.message);
            Fault::new(what, "write it as in the file, a list as [a, b] or as JSON")
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_keys_share_a_variable() {
        let mut names: Vec<_> = schema::variables().collect();
        names.extend(OTHERS.iter().map(|name| (*name).to_owned()));
        names.extend(INSTEAD.iter().map(|(name, _)| (*name).to_owned()));
        names.extend(FALLBACKS.iter().map(|fallback| fallback.variable.to_owned()));
        names.sort();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
    }

    #[test]
    fn a_variable_that_sets_nothing_is_named_with_what_to_do() {
        for (name, expected) in [
            ("ASTROMESH_API_PROT", "did you mean ASTROMESH_API_PORT?"),
            ("ASTROMESH_MESH_SEED", "did you mean ASTROMESH_MESH_SEEDS?"),
            ("ASTROMESH_CONFIG_DIRECTORY", "did you mean ASTROMESH_CONFIG_DIR?"),
            ("ASTROMESH_LOG_THIRDPARTY_LEVEL", "use ASTROMESH_LOG_LEVELS_LIBRARIES"),
            ("ASTROMESH_MESH_BIND_PORT", "use ASTROMESH_API_PORT, which gossip shares"),
            ("ASTROMESH_MESH_ROUTING_STRATEGY", "remove it: routing is by least connections"),
            ("ASTROMESH_XYZZY", "no key has this name; docs/configuration.md lists the variables"),
        ] {
            let environment: Environment = [(name, "1")].into_iter().collect();
            assert_eq!(environment.warnings(), [format!("{name} sets nothing: {expected}")]);
        }
        for name in ["ASTROMESH_LOG", "ASTROMESH_ROLE", "ASTROMESH_API_PORT", "PATH"] {
            let environment: Environment = [(name, "1")].into_iter().collect();
            assert_eq!(environment.warnings(), Vec::<String>::new(), "{name}");
        }
    }
}
