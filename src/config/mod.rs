//! What can be set: layers, validation, and every problem named at once.
//!
//! Owns `runtime.yaml`: where it is looked for, its keys (one table, in `schema`), and what it
//! means together with the layers above it: defaults < file < environment < flags. Refuses to act
//! on any of it. A leaf: of our own code it knows only the names of services.
//!
//! The binaries call [`load`] with their flags and a way to look up environment variables, and
//! exit with 64 when it returns [`Problems`].

mod api;
mod check;
mod kind;
mod problem;
mod runtime;
pub mod schema;
mod search;
pub mod yaml;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

pub use api::{Api, UnknownWorkers, Workers};
pub use problem::{PROBLEMS_MAX, Problem, Problems};
pub use runtime::{Advertise, Detection, LogLevel, Mesh, Peer, Runtime, Services, UnknownLogLevel};

/// Where an installed package keeps its configuration.
pub const SYSTEM_DIRECTORY: &str = "/etc/astromesh";

/// Where a checkout keeps its configuration, seen from the working directory.
const LOCAL_DIRECTORY: &str = "./config";

/// The environment variable that names a configuration directory.
const CONFIG_DIR_VARIABLE: &str = "ASTROMESH_CONFIG_DIR";

/// The environment variable that names the data directory.
const DATA_DIR_VARIABLE: &str = "ASTROMESH_DATA_DIR";

/// What the flags say; each wins over file and environment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--config`: the configuration directory; it must hold a `runtime.yaml`.
    pub config: Option<PathBuf>,
    /// `--host`: address on which the HTTP server listens.
    pub host: Option<IpAddr>,
    /// `--port`: port of HTTP and gossip; 0 means any free port.
    pub port: Option<u16>,
    /// `--log-level`.
    pub log_level: Option<LogLevel>,
    /// `--workers`: threads that serve requests.
    pub workers: Option<Workers>,
}

/// Finds, reads and checks the configuration.
///
/// `environment` looks up a variable: `|name| std::env::var(name).ok()` in a program. Empty
/// variables count as unset. The directory is `--config`, else the first of
/// `$ASTROMESH_CONFIG_DIR`, `/etc/astromesh` and `./config` that holds a `runtime.yaml`. Blocks
/// while it reads one file of at most 1 MiB.
///
/// # Errors
/// Everything that is wrong, in the order of the file. Nothing has been changed.
pub fn load(
    overrides: &Overrides,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Runtime, Problems> {
    let dir = search::find_directory(overrides.config.as_deref(), &places(&environment))?;
    let file = dir.join(search::FILE_NAME);
    let text = search::read_text(&file)?;
    let document = yaml::Document::parse(&text).map_err(|error| unreadable(&file, &error))?;
    runtime::build(file, dir, &document, overrides, path_in(&environment, DATA_DIR_VARIABLE))
}

/// The directory that [`load`] takes when none is named; `None` when no place holds a
/// `runtime.yaml`.
#[must_use]
pub fn find(environment: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    search::find_directory(None, &places(&environment)).ok()
}

/// What holds where nothing is configured, for those who need no file.
#[must_use]
pub fn defaults() -> Runtime {
    let document = yaml::Document::parse("").expect("an empty text is sound YAML");
    runtime::build(PathBuf::new(), PathBuf::new(), &document, &Overrides::default(), None)
        .expect("the defaults have no problem")
}

/// Where a `runtime.yaml` is looked for, in this order.
fn places(environment: &impl Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let system = [SYSTEM_DIRECTORY.into(), LOCAL_DIRECTORY.into()];
    path_in(environment, CONFIG_DIR_VARIABLE).into_iter().chain(system).collect()
}

/// The path in an environment variable; an empty one counts as unset.
fn path_in(environment: &impl Fn(&str) -> Option<String>, name: &str) -> Option<PathBuf> {
    environment(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn unreadable(file: &Path, error: &yaml::YamlError) -> Problem {
    Problem {
        file: file.to_owned(),
        line: error.line,
        key: String::new(),
        value: None,
        what: format!("cannot be read as YAML: {}", error.message),
        remedy: "mend the text there; only the first problem of this kind is known".to_owned(),
    }
}
