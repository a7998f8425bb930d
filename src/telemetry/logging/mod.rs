//! Log lines: what is logged, what a line looks like, and where it goes.
//!
//! Every line goes to the console, which is standard error or systemd's journal, and to the log
//! file if there is one. Each has a thread that writes; whoever logs waits for neither.
//!
//! * [`entry`]: an event before it has a shape
//! * [`shape`]: text, JSON, fields of the journal
//! * [`levels`]: which events are logged
//! * [`mod@file`]: the log file
//! * `journal`: systemd's journal
//! * `pipe`: the buffers and the thread of a stream
//! * `events`: the events of the code

pub mod entry;
mod events;
pub mod file;
mod journal;
pub mod levels;
pub(super) mod pipe;
pub mod shape;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use tracing_subscriber::layer::SubscriberExt;

use events::Events;
use file::{FILE_NAME, FileSettings, LogFile};
use journal::Journal;
use levels::{Levels, Switch};
use pipe::{Pipe, Stream, Writer};
use shape::{Colour, Shape};

use crate::telemetry::access::AccessLog;

/// The environment variable with a filter in the place of the levels.
const FILTER_VARIABLE: &str = "ASTROMESH_LOG";

const NO_FILTER: &str =
    "ASTROMESH_LOG is no filter; write one such as info,astromesh::gossip=debug";

/// How to log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What lines on the console look like.
    pub format: Format,
    /// What is logged.
    pub levels: Levels,
    /// The log file; `None` for none.
    pub file: Option<FileSettings>,
}

/// What lines on the console look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Fields when standard error is the journal, else text.
    Auto,
    /// Text, with colours on a terminal.
    Text,
    /// JSON.
    Json,
    /// Fields of the journal.
    Journald,
}

/// The log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file is that of another process.
    #[error(
        "another process writes the log file {0}; if that is this daemon, it runs already; else give this \
         daemon one of its own with spec.log.file.directory"
    )]
    Held(PathBuf),
    /// The log file.
    #[error(
        "cannot write the log file {path}: {error}; let the daemon's user write there, name another \
         place with spec.log.file.directory, or set spec.log.file.enabled to false"
    )]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The journal.
    #[error(
        "cannot reach journald at {socket}: {error}; set spec.log.format to text or json",
        socket = journal::SOCKET
    )]
    Journal {
        /// Why.
        error: io::Error,
    },
    /// The thread of a stream.
    #[error("cannot start the thread that writes the log: {0}")]
    Thread(io::Error),
}

/// The log of the process. Dropping it writes what is left; see [`Log`] for all that can be done
/// with it meanwhile.
#[derive(Debug)]
pub struct Logging {
    log: Log,
    /// The file first: what it says goes to the console.
    _writers: (Option<Writer>, Writer),
}

/// The log, for whoever changes or measures it; clones are the same log.
#[derive(Debug, Clone)]
pub struct Log {
    console: Pipe,
    file: Option<(Pipe, PathBuf)>,
    switch: Switch,
}

/// Starts logging. A second call in a process logs nothing of its own: the events go where the
/// first has led them.
///
/// # Errors
/// The file or the journal cannot be written, or there is no thread for it.
pub fn start(settings: Settings) -> Result<Logging, LogError> {
    let console = console(settings.format)?;
    let file = settings.file.map(|file| begin_file(file, &console.pipe())).transpose()?;
    let (writer, file) = file.map_or((None, None), |(writer, path)| {
        let pipe = writer.pipe();
        (Some(writer), Some((pipe, path)))
    });
    let filter = variable();
    let (environment, bad) = match filter.as_deref().map(levels::parse).transpose() {
        Ok(filter) => (filter, None),
        Err(error) => (None, Some(error)),
    };
    let (layer, switch) = Switch::new(settings.levels, environment);
    let log = Log { console: console.pipe(), file, switch };
    let subscriber =
        tracing_subscriber::registry().with(layer).with(Events { pipes: log.pipes().collect() });
    let started = tracing::subscriber::set_global_default(subscriber);
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
    if let Some(error) = bad {
        tracing::warn!(filter, error, "{NO_FILTER}");
    }
    Ok(Logging { log, _writers: (writer, console) })
}

/// What a start would warn of: `ASTROMESH_LOG`, when it is no filter.
#[must_use]
pub fn filter_warning() -> Option<String> {
    let filter = variable()?;
    let error = levels::parse(&filter).err()?;
    Some(format!("{NO_FILTER} (got {filter:?}: {error})"))
}

/// The filter of the environment. An empty variable counts as unset, as everywhere.
fn variable() -> Option<String> {
    std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.is_empty())
}

impl Logging {
    /// The log, for others.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log.clone()
    }
}

impl Log {
    /// For the requests.
    #[must_use]
    pub fn access_log(&self) -> AccessLog {
        AccessLog::new(self.pipes().collect())
    }

    /// What is logged.
    #[must_use]
    pub fn levels(&self) -> Levels {
        self.switch.now().0
    }

    /// The filter that the levels come to, or that `ASTROMESH_LOG` has put in their place.
    #[must_use]
    pub fn filter(&self) -> String {
        self.switch.now().1
    }

    /// Changes what is logged, until it is reset or the process ends.
    pub fn change_levels(&self, change: impl FnOnce(&mut Levels)) {
        self.switch.change(change);
    }

    /// Back to what is configured, or to `ASTROMESH_LOG` where that is set.
    pub fn reset_levels(&self) {
        self.switch.reset(None);
    }

    /// For a reload: what is configured now is what counts, and a log file that was moved away is
    /// let go.
    pub fn reload(&self, configured: Levels) {
        self.switch.reset(Some(configured));
        if let Some((pipe, _)) = &self.file {
            pipe.reopen();
        }
    }

    /// What lines on the console look like.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        self.console.shape()
    }

    /// The log file.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|(_, path)| path.as_path())
    }

    /// Lines written and lines dropped, on the console and in the file.
    #[must_use]
    pub fn lines(&self) -> [[u64; 2]; 2] {
        let file = self.file.as_ref().map(|(pipe, _)| pipe.lines());
        [self.console.lines(), file.unwrap_or_default()]
    }

    /// Waits until what was logged so far is written, at most a second for each stream: for those
    /// who end the process without letting go of [`Logging`].
    pub fn flush(&self) {
        self.pipes().for_each(|pipe| pipe.flush());
    }

    fn pipes(&self) -> impl Iterator<Item = Pipe> {
        [Some(&self.console), self.file.as_ref().map(|(pipe, _)| pipe)]
            .into_iter()
            .flatten()
            .cloned()
    }
}

fn begin_file(settings: FileSettings, console: &Pipe) -> Result<(Writer, PathBuf), LogError> {
    let path = settings.directory.join(FILE_NAME);
    let shape = settings.shape;
    let file = LogFile::open(settings, console.clone()).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => LogError::Held(path.clone()),
        _ => LogError::File { path: path.clone(), error },
    })?;
    let writer = pipe::start("log-file", shape, file).map_err(LogError::Thread)?;
    Ok((writer, path))
}

fn console(format: Format) -> Result<Writer, LogError> {
    let is_terminal = io::stderr().is_terminal();
    let variable = |name: &str| std::env::var(name).ok();
    let is_journal = || journal::is_stderr(variable("JOURNAL_STREAM").as_deref());
    let text = Shape::Text(colour(is_terminal, variable));
    let shape = match format {
        Format::Auto if !is_terminal && is_journal() => Shape::Journal,
        Format::Auto | Format::Text => text,
        Format::Json => Shape::Json,
        Format::Journald => Shape::Journal,
    };
    let stderr = |shape| pipe::start("log-console", shape, Stream(io::stderr()));
    let started = match shape {
        Shape::Journal => match Journal::connect(Path::new(journal::SOCKET)) {
            Ok(journal) => pipe::start("log-console", shape, journal),
            Err(error) if format == Format::Journald => return Err(LogError::Journal { error }),
            // Not to be seen from here, but journald reads standard error as well.
            Err(_) => stderr(text),
        },
        Shape::Text(_) | Shape::Json => stderr(shape),
    };
    started.map_err(LogError::Thread)
}

/// Colours on a terminal, unless it has none or nobody wants them (<https://no-color.org>).
fn colour(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Colour {
    let is_set = |name: &str| variable(name).is_some_and(|value| !value.is_empty());
    let is_dumb = variable("TERM").is_some_and(|term| term == "dumb");
    if is_terminal && !is_set("NO_COLOR") && !is_dumb { Colour::On } else { Colour::Off }
}
