//! The real `astromeshctl` against a daemon that answers canned JSON: what it prints, where, and
//! with which exit code. No test needs a terminal of its own, a fixed port or a daemon that serves.

#![expect(clippy::unwrap_used, reason = "tests")]

mod commands;
mod configuration;
mod daemon;
mod doctor;
mod failures;
mod init;
mod observe;
mod simulate;
