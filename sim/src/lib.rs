//! Many astromesh engines on one virtual clock and a faulty network.
//!
//! A [`World`] is a pure function of its seed and of what a test does to it: the same seed gives the
//! same bytes in the same order ([`World::transcript`]). It plays the host's part as well: joining
//! through seeds over HTTP, and exchanging views when an engine asks for it.
//!
//! * [`world`]: the clock, the agenda, and what a test can do to the nodes
//! * [`node`]: one process with its engine, its socket buffer and its state
//! * [`network`]: delay, loss, duplication, cuts
//! * [`checks`]: what must hold after every step and at the end
//! * [`operations`]: bytes to a sequence of operations, for fuzzing
//! * [`plan`]: a mesh as its operator plans it, played through and measured
//! * [`report`]: the figures of a plan
//! * `watch`: deaths, false deaths and the spread of news, read off the events
//!
//! It opens no socket, reads no clock and prints nothing.

pub mod checks;
pub mod network;
pub mod node;
pub mod operations;
pub mod plan;
pub mod report;
mod watch;
pub mod world;

pub use checks::Violation;
pub use network::NetworkConfig;
pub use plan::Plan;
pub use report::{Report, Spread};
pub use world::{Observation, World, WorldConfig};
