//! The settings of the log, in the words of the telemetry.

use crate::config::{LogFile, LogFormat, Runtime};
use crate::telemetry::logging::file::FileSettings;
use crate::telemetry::logging::levels::Levels;
use crate::telemetry::logging::shape::{Colour, Shape};
use crate::telemetry::logging::{Format, Settings};

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
