//! The daemon as a process: its start and end, its PID file, its exit codes, and what it tells a
//! service manager. Each test starts the real binary.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests")]

mod daemon;
mod manager;
mod panics;
mod pid_file;
mod refusals;
mod stop;
