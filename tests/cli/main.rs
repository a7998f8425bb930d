//! The real `astromeshctl` against a daemon that answers canned JSON: what it prints, where, and
//! with which exit code. No test needs a terminal, a fixed port or a real daemon.

#![expect(clippy::unwrap_used, reason = "tests")]

mod commands;
mod daemon;
mod doctor;
mod failures;
mod observe;
mod simulate;
