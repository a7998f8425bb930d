//! The settings of the log: levels, what lines look like, and the log file.
//!
//! Owns their meaning and the names of levels. Refuses to log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tracing::Level;

use super::SYSTEM_DIRECTORY;
use super::kind;
use super::runtime::Values;
use super::schema;

/// Log lines: what they look like and where they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// What lines on the console look like; default by what standard error is.
    pub format: LogFormat,
    /// The levels of those modules that have one of their own; by default `libraries`, which stands
    /// for all code that is not ours.
    pub levels: BTreeMap<String, LogLevel>,
    /// The log file.
    pub file: LogFile,
}

/// A file that lines go to as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Whether there is one; default false.
    pub enabled: bool,
    /// Where it is; default `/var/log/astromesh` for an installed package, else `log` in the data
    /// directory.
    pub directory: PathBuf,
    /// [`LogFormat::Text`] or [`LogFormat::Json`]; default text, unless the console has JSON.
    pub format: LogFormat,
    /// Longest file, 64 KiB to 1 TiB; default 64 MiB.
    pub bytes_max: u64,
    /// Files kept, the one that is written included, 1 to 1,000; default 8.
    pub files_max: u32,
}

/// What lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Fields when standard error is systemd's journal, else text.
    Auto,
    /// For people; in colour on a terminal.
    Text,
    /// An object a line.
    Json,
    /// Messages with fields to journald.
    Journald,
}

impl LogFormat {
    /// What the lines of a file look like where nothing else is said.
    pub(super) const fn of_file(self) -> Self {
        match self {
            Self::Json => Self::Json,
            Self::Auto | Self::Text | Self::Journald => Self::Text,
        }
    }

    /// The name in configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Text => "text",
            Self::Json => "json",
            Self::Journald => "journald",
        }
    }
}

/// How severe an event must be to be logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LogLevel {
    /// What peers do, too.
    Debug,
    /// The state of the node.
    Info,
    /// Something works less well than it should.
    Warning,
    /// Somebody must act.
    Error,
}

impl LogLevel {
    /// All levels, the most talkative first.
    pub const ALL: [Self; 4] = [Self::Debug, Self::Info, Self::Warning, Self::Error];

    /// The name in configuration and flags.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info => Self::INFO,
            LogLevel::Warning => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::TRACE | Level::DEBUG => Self::Debug,
            Level::INFO => Self::Info,
            Level::WARN => Self::Warning,
            Level::ERROR => Self::Error,
        }
    }
}

/// The text names no log level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such log level: use debug, info, warning or error")]
pub struct UnknownLogLevel;

impl FromStr for LogLevel {
    type Err = UnknownLogLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLogLevel> {
        Self::ALL.into_iter().find(|level| level.name() == text).ok_or(UnknownLogLevel)
    }
}

/// The modules that may have a level of their own.
pub fn log_modules() -> impl Iterator<Item = &'static str> {
    schema::names_in("spec.log.levels")
}

/// Reads the section of a document without problems.
pub(super) fn read(values: &Values<'_>) -> Log {
    let format = values.read("spec.log.format", kind::log_format);
    let level = |module: &'static str| {
        let level = values.read_if_sound(&format!("spec.log.levels.{module}"), kind::log_level)?;
        Some((module.to_owned(), level))
    };
    Log {
        format,
        levels: log_modules().filter_map(level).collect(),
        file: read_file(values, format),
    }
}

fn read_file(values: &Values<'_>, format: LogFormat) -> LogFile {
    let directory = values.path("spec.log.file.directory").unwrap_or_else(|| {
        if values.layers.dir == Path::new(SYSTEM_DIRECTORY) {
            PathBuf::from("/var/log/astromesh")
        } else {
            values.data_dir().join("log")
        }
    });
    let own_format = values.given("spec.log.file.format", kind::log_format);
    LogFile {
        enabled: values.read("spec.log.file.enabled", kind::boolean),
        directory,
        format: own_format.unwrap_or_else(|| format.of_file()),
        bytes_max: values.whole("spec.log.file.bytes_max"),
        files_max: values.whole("spec.log.file.files_max"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use crate::config::layers::Layers;
    use crate::config::yaml::Document;

    #[test]
    fn the_file_of_an_installed_package_is_where_packages_keep_it() {
        for (dir, expected) in
            [("/etc/astromesh", "/var/log/astromesh"), ("./config", "/srv/a/log")]
        {
            let document = Document::parse("spec: {}").unwrap();
            let environment = Environment::from_iter([("ASTROMESH_DATA_DIR", "/srv/a")]);
            let file = Path::new(dir).join("runtime.yaml");
            let (layers, _) = Layers::read(file, dir.into(), document, &environment, []);
            let file = read(&Values { layers: &layers }).file;
            assert_eq!(file.directory, Path::new(expected), "{dir}");
            assert_eq!((file.format, file.bytes_max), (LogFormat::Text, 64 << 20));
        }
    }

    #[test]
    fn each_module_that_may_log_has_a_level() {
        // The command line logs nothing.
        let modules = include_str!("../lib.rs").lines();
        let modules = modules.filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
        let modules: Vec<_> = modules.filter(|module| *module != "cli").collect();
        let named: Vec<_> = log_modules().filter(|module| *module != "libraries").collect();
        assert_eq!(named, modules);
    }
}
