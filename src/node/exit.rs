//! The exit codes of the daemon: which failure ends with which number.
//!
//! Owns the numbers, which scripts and service units rely on. Where sysexits.h has one that fits, it
//! is that.

use std::process::ExitCode;

use super::data_dir::DataDirError;
use super::listen::ListenError;
use super::pid_file::PidFileError;
use crate::gossip::identity::IdentityError;
use crate::telemetry::logging::LogError;

/// How the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Exit {
    /// It failed, at its start or while it ran, in a way that has no number of its own.
    Failed = 1,
    /// The configuration is wrong (`EX_USAGE`).
    BadConfig = 64,
    /// An address or a port cannot be had (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// A defect (`EX_SOFTWARE`).
    Internal = 70,
    /// The PID file or the log file cannot be written (`EX_CANTCREAT`).
    CannotCreate = 73,
    /// The data directory cannot be read or written (`EX_IOERR`).
    Io = 74,
    /// Another daemon has the data directory, the PID file or the log file (`EX_TEMPFAIL`).
    Running = 75,
    /// This user may not take the port (`EX_NOPERM`).
    NotPermitted = 77,
    /// A second SIGINT ended it at once.
    Interrupted = 130,
    /// A second SIGTERM ended it at once.
    Terminated = 143,
}

/// The table of all exit codes, for `--help`.
pub const HELP: &str = "\
Exit codes:
    0  stopped as told
    1  failed, at the start or later; the log says why
    2  wrong command line
   64  wrong configuration
   69  an address or port cannot be had
   70  internal error, please report it
   73  the PID file or the log file cannot be written
   74  the data directory cannot be read or written
   75  another daemon has the data directory, the PID file or the log file
   77  no permission to listen on the port
  130  ended at once by a second SIGINT
  143  ended at once by a second SIGTERM";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

impl Exit {
    /// The code for an error of the start.
    pub(super) fn of(error: &anyhow::Error) -> Self {
        error.chain().find_map(of_cause).unwrap_or(Self::Failed)
    }
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<Exit> {
    if let Some(error) = cause.downcast_ref::<ListenError>() {
        return Some(match error {
            ListenError::NotPermitted { .. } => Exit::NotPermitted,
            ListenError::InUse { .. }
            | ListenError::NotHere { .. }
            | ListenError::Io { .. }
            | ListenError::Passed(_) => Exit::Unavailable,
        });
    }
    if let Some(error) = cause.downcast_ref::<PidFileError>() {
        return Some(match error {
            PidFileError::Held { .. } => Exit::Running,
            PidFileError::NotOurs { .. } | PidFileError::Io { .. } => Exit::CannotCreate,
        });
    }
    if let Some(error) = cause.downcast_ref::<DataDirError>() {
        return Some(match error {
            DataDirError::Locked { .. } => Exit::Running,
            DataDirError::Io { .. } => Exit::Io,
        });
    }
    if let Some(error) = cause.downcast_ref::<LogError>() {
        return Some(match error {
            LogError::Held(_) => Exit::Running,
            LogError::File { .. } => Exit::CannotCreate,
            LogError::Journal { .. } | LogError::Thread(_) => Exit::Failed,
        });
    }
    cause.downcast_ref::<IdentityError>().map(|_| Exit::Io)
}
