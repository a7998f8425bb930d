//! The settings of the log, in the words of the telemetry.

use std::fs::File;

use super::who::Who;
use crate::config::{LogFile, LogFormat, Runtime};
use crate::telemetry::logging::file::FileSettings;
use crate::telemetry::logging::levels::Levels;
use crate::telemetry::logging::shape::{Colour, Shape};
use crate::telemetry::logging::{Format, LogError, Settings};

/// How a node with this configuration logs.
pub(super) fn settings(config: &Runtime) -> Settings {
    Settings {
        format: match config.log.format {
            LogFormat::Auto => Format::Auto,
            LogFormat::Text => Format::Text,
            LogFormat::Json => Format::Json,
            LogFormat::Journald => Format::Journald,
        },
        levels: levels(config),
        file: config.log.file.enabled.then(|| file(&config.log.file)),
    }
}

/// Why there is no log, with the name of who is in the way.
pub(super) fn report(error: &LogError) -> String {
    let LogError::Held(path) = error else { return error.to_string() };
    let holder = File::open(path).ok().and_then(|file| Who::locking(&file));
    match holder {
        Some(who) => format!(
            "the log file {} is written by {who}; if that is this daemon, it runs already; else give \
             this daemon one of its own with spec.log.file.directory",
            path.display()
        ),
        None => error.to_string(),
    }
}

/// What such a node logs.
pub(super) fn levels(config: &Runtime) -> Levels {
    let modules = config.log.levels.iter();
    Levels {
        level: config.log_level.into(),
        modules: modules.map(|(module, level)| (module.clone(), (*level).into())).collect(),
    }
}

fn file(file: &LogFile) -> FileSettings {
    let is_json = file.format == LogFormat::Json;
    FileSettings {
        directory: file.directory.clone(),
        bytes_max: file.bytes_max,
        files_max: file.files_max,
        shape: if is_json { Shape::Json } else { Shape::Text(Colour::Off) },
    }
}
