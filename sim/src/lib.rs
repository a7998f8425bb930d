//! Many astromesh engines on one virtual clock and a faulty network.
//!
//! A [`World`] is a pure function of its seed and of what a test does to it: the same seed gives the
//! same bytes in the same order ([`World::transcript`]). It plays the host's part as well: joining
//! through seeds over HTTP, and exchanging views when an engine asks for it.
//!
//! * [`world`]: the time, and what a test can do to the nodes
//! * [`node`], [`clock`]: one process with its engine, its socket buffer, its state and its clock
//! * [`network`]: delay, loss, duplication, cuts
//! * [`faults`]: counters that prove that faults happened
//! * [`checks`]: what must hold after every step and at the end
//! * [`ledger`]: who died, who knows, and who was declared dead without having died
//! * [`scenario`]: files that say what happens to a mesh and what is expected of it
//! * [`operations`]: bytes to a sequence of operations, for fuzzing
//! * [`plan`]: a mesh as its operator plans it, played through and measured
//! * [`report`]: the figures of a plan
//! * `watch`: deaths, false deaths and the spread of news, read off the events
//!
//! It opens no socket, reads no clock and prints nothing.

mod agenda;
pub mod checks;
pub mod clock;
pub mod faults;
mod join;
pub mod ledger;
pub mod network;
pub mod node;
pub mod operations;
mod payload;
pub mod plan;
pub mod report;
pub mod scenario;

mod watch;
pub mod world;

pub use checks::Violation;
pub use faults::Faults;
pub use network::NetworkConfig;
pub use plan::Plan;
pub use report::{Report, Spread};
pub use world::{Observation, World, WorldConfig};
