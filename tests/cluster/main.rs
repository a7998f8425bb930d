//! Real daemons, real sockets, real signals: the mesh as its operator meets it.
//!
//! Every test starts its own nodes on free loopback ports, with directories of their own, and fails
//! if a node logged an error that the test did not expect. Tests that take minutes or need network
//! namespaces are ignored by default; `cargo test --test cluster -- --ignored` runs them.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests, whose output is for people")]

mod collector;
mod commands;
mod doctor;
mod harness;
mod hostile;
mod lifecycle;
mod membership;
mod model_server;
mod models;
mod observe;
mod partition;
mod records;
mod reload;
mod reloads;
mod restart;
mod runs;
mod traces;
