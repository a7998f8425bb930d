//! astromesh: a daemon and a command line that turn any set of machines into one self-healing mesh
//! for AI agents.
//!
//! The two binaries are thin; everything lives here:
//!
//! * [`config`]: what can be set, and what is wrong with what was set
//! * [`gossip`]: the UDP socket, clock and HTTP join around the protocol engine of `astromesh-swim`
//! * [`directory`]: who serves what, as immutable snapshots
//! * [`routing`]: which node serves a request
//! * [`proxy`]: the HTTP data plane: every connection, and the way to the node that was chosen
//! * [`agent`]: agent files, their registry and their runs
//! * [`model`]: chat models
//! * [`inference`]: the models that a node serves to its mesh
//! * [`doctor`]: what is wrong with a node and its surroundings, and what to do
//! * [`api`]: the HTTP server of a node
//! * [`cli`]: the commands of `astromeshctl`
//! * [`telemetry`]: log lines, metrics, the access log
//! * [`node`]: the daemon, put together from all of these

pub mod agent;
pub mod api;
pub mod cli;
pub mod config;
pub mod directory;
pub mod doctor;
pub mod gossip;
pub mod inference;
pub mod model;
pub mod node;
pub mod proxy;
pub mod routing;
pub mod telemetry;
