//! Log lines on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. `level` is that of our own lines (`debug`, `info`, `warn`, `error`); libraries
/// speak from `warn` on. `ASTROMESH_LOG`, a filter such as `info,astromesh::gossip=debug`, replaces
/// both.
///
/// Calling it a second time in a process changes nothing.
pub fn start(level: &str) {
    let default = format!("warn,astromesh={level}");
    let filter =
        EnvFilter::try_from_env("ASTROMESH_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
    if let Err(error) = started {
        tracing::debug!(%error, "logging was started before");
    }
}
