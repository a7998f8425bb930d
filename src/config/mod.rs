//! What can be set: layers, validation, and every problem named at once.
//!
//! Owns `runtime.yaml`: where it is looked for, its keys (one table, in `schema`), and what it
//! means together with the layers above it: defaults < file < environment < flags. Refuses to act
//! on any of it. A leaf: of our own code it knows only the names of services.
//!
//! The binaries call [`load`] with their flags and the environment, and exit with 64 when it
//! returns [`Problems`]. A new key is a row in `schema`, which gives it its variable and its row in
//! the reference, a line in `runtime` or a part of it that reads it, and a row in `reload`; a new flag
//! is a row in [`Overrides`].

mod api;
mod check;
mod environment;
mod kind;
mod layers;
mod log;
mod otlp;
mod patch;
mod problem;
mod reload;
mod runtime;
pub mod schema;
mod search;
pub mod secret;
mod show;
pub mod yaml;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

pub use api::{Api, UnknownWorkers, Workers};
pub use environment::Environment;
pub use log::{Log, LogFile, LogFormat, LogLevel, UnknownLogLevel, log_modules};
pub use otlp::{Otlp, OtlpProtocol, Ratio};
pub use patch::{NoSetting, Setting, patched};
pub use problem::{Origin, PROBLEMS_MAX, Problem, Problems};
pub use reload::{Reloaded, reload};
pub use runtime::{Advertise, Detection, Mesh, Peer, Runtime, Services};

use layers::{Flag, Layers};

/// The name of the file in the configuration directory.
pub const FILE_NAME: &str = "runtime.yaml";

/// Where an installed package keeps its configuration.
pub const SYSTEM_DIRECTORY: &str = "/etc/astromesh";

/// What a service manager tells the one process that it starts. Whoever starts another one removes
/// these, so that nobody speaks for the daemon.
pub const SERVICE_VARIABLES: [&str; 6] = [
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
];

/// Where a checkout keeps its configuration, seen from the working directory.
const LOCAL_DIRECTORY: &str = "./config";

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
    /// `--pid-file`: where the process id is kept.
    pub pid_file: Option<PathBuf>,
}

impl Overrides {
    /// The flags that are given, with the keys that they set.
    fn flags(&self) -> impl Iterator<Item = Flag> {
        let workers = |workers| match workers {
            Workers::Auto => "auto".into(),
            Workers::Threads(number) => number.get().into(),
        };
        let level = |level: LogLevel| level.name().into();
        // Whoever sets a flag is in a directory, and means that one.
        let absolute = |path: &PathBuf| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            path.to_string_lossy().into()
        };
        let flags: [(&str, &str, Option<Value>); 5] = [
            ("--host", "spec.api.host", self.host.map(|host| host.to_string().into())),
            ("--port", "spec.api.port", self.port.map(Value::from)),
            ("--log-level", "spec.log_level", self.log_level.map(level)),
            ("--workers", "spec.api.workers", self.workers.map(workers)),
            ("--pid-file", "spec.pid_file", self.pid_file.as_ref().map(absolute)),
        ];
        flags.into_iter().filter_map(|(flag, path, value)| Some((flag, path, value?)))
    }
}

/// Finds, reads and checks the configuration.
///
/// The directory is `--config`, else the first of `$ASTROMESH_CONFIG_DIR`, `/etc/astromesh` and
/// `./config` that holds a `runtime.yaml`. Blocks while it reads one file of at most 1 MiB.
///
/// # Errors
/// Everything that is wrong: the file in the order of its lines, then the variables. Nothing has
/// been changed.
pub fn load(overrides: &Overrides, environment: &Environment) -> Result<Runtime, Problems> {
    Effective::load(overrides, environment).map(|effective| effective.runtime)
}

/// The settings, and for each where it came from.
#[derive(Debug, Clone)]
pub struct Effective {
    /// The settings.
    pub runtime: Runtime,
    layers: Layers,
}

impl Effective {
    /// As [`load`].
    ///
    /// # Errors
    /// As [`load`].
    pub fn load(overrides: &Overrides, environment: &Environment) -> Result<Self, Problems> {
        let dir = directory(overrides, environment)?;
        let file = dir.join(FILE_NAME);
        let passed_over = environment
            .path(environment::CONFIG_DIR)
            .filter(|named| overrides.config.is_none() && *named != dir)
            .map(|named| {
                let (named, dir) = (named.display(), dir.display());
                format!(
                    "ASTROMESH_CONFIG_DIR is {named}, which holds no {FILE_NAME}: {dir} is taken"
                )
            });
        let mut effective = Self::read(file, dir, environment, overrides.flags())?;
        effective.runtime.warnings.extend(passed_over);
        effective.runtime.warnings.extend(environment.warnings());
        Ok(effective)
    }

    fn read(
        file: PathBuf,
        dir: PathBuf,
        environment: &Environment,
        flags: impl IntoIterator<Item = Flag>,
    ) -> Result<Self, Problems> {
        let text = search::read_text(&file)?;
        let document = yaml::Document::parse(&text).map_err(|error| unreadable(&file, &error))?;
        let (layers, gathered) = Layers::read(file, dir, document, environment, flags);
        Ok(Self { runtime: runtime::build(&layers, gathered)?, layers })
    }

    /// A `runtime.yaml` that says the same in every directory without variables and flags: each key
    /// with its value, and a comment that names where that came from. Secrets are `***`.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        show::yaml(&self.layers, &self.runtime)
    }

    /// The same for programs: `directory`, and for each of `keys` its `key`, `value` and `origin`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        show::json(&self.layers, &self.runtime)
    }
}

/// What a file in the format of `runtime.yaml` says by itself, without variables and flags.
///
/// # Errors
/// Everything that is wrong with the file.
pub fn load_file(file: &Path) -> Result<Runtime, Problems> {
    let dir = file.parent().unwrap_or_else(|| Path::new("")).to_owned();
    Effective::read(file.to_owned(), dir, &Environment::default(), [])
        .map(|effective| effective.runtime)
}

/// The value of the key at this path as a flag says it, checked as that of its variable is.
///
/// # Errors
/// Everything that is wrong with the text, or that there is no such key.
pub fn read_value(flag: &'static str, path: &str, text: &str) -> Result<Value, Problems> {
    let problem = |what: String, remedy: String| Problem {
        origin: Origin::Flag(flag),
        key: path.to_owned(),
        value: None,
        what,
        remedy,
    };
    let Some(key) = schema::find(path) else {
        return Err(problem("is no key".to_owned(), "name another".to_owned()).into());
    };
    let value =
        environment::parse(key.kind, text).map_err(|fault| problem(fault.what, fault.remedy))?;
    check::single(&Origin::Flag(flag), key, &value).map(|()| value)
}

/// The directory that [`load`] takes.
///
/// # Errors
/// No place holds a `runtime.yaml`.
pub fn directory(overrides: &Overrides, environment: &Environment) -> Result<PathBuf, Problems> {
    search::find_directory(overrides.config.as_deref(), &places(environment))
}

/// The directory that [`load`] takes when none is named; `None` when no place holds a
/// `runtime.yaml`.
#[must_use]
pub fn find(environment: &Environment) -> Option<PathBuf> {
    search::find_directory(None, &places(environment)).ok()
}

/// What holds where nothing is configured, for those who need no file.
#[must_use]
pub fn defaults() -> Runtime {
    let document = yaml::Document::parse("").expect("an empty text is sound YAML");
    let nothing = Environment::default();
    let (layers, gathered) = Layers::read(PathBuf::new(), PathBuf::new(), document, &nothing, []);
    runtime::build(&layers, gathered).expect("the defaults have no problem")
}

/// Where a `runtime.yaml` is looked for, in this order.
fn places(environment: &Environment) -> Vec<PathBuf> {
    let system = [SYSTEM_DIRECTORY.into(), LOCAL_DIRECTORY.into()];
    environment.path(environment::CONFIG_DIR).into_iter().chain(system).collect()
}

fn unreadable(file: &Path, error: &yaml::YamlError) -> Problem {
    Problem {
        origin: Origin::File { path: file.to_owned(), line: error.line },
        key: String::new(),
        value: None,
        what: format!("cannot be read as YAML: {}", error.message),
        remedy: "mend the text there; only the first problem of this kind is known".to_owned(),
    }
}
