//! The HTTP server and the router with real sockets on loopback ports that the system picks.
//!
//! Owns nothing but tests. Nodes run in this process, with directories made by hand; where a node
//! must misbehave at an exact moment, a [`backend`] takes its place. Nothing here sleeps: what has
//! to be waited for is waited for by name.
#![expect(clippy::unwrap_used, reason = "tests")]

mod backend;
mod bytes;
mod client;
mod documented;
mod forwarding;
mod keys;
mod lifecycle;
mod limits;
mod metrics;
mod node;
mod raw;
mod routes;
mod streaming;
mod upstreams;
