//! Agents: files, registry, runs.
//!
//! [`Registry::load`] reads the files, [`Registry::run`] runs an agent: the system prompt is
//! rendered, a model is asked, the tools it wants are called, until it answers. An agent may instead
//! be a process of its own; then [`Registry::offer`] says where requests go. Sees models only through [`crate::model::ChatModel`]; knows neither the mesh nor the HTTP server.

mod file;
mod offer;
mod prompt;
mod providers;
mod react;
mod recording;
mod records;
mod registry;
mod run;
mod servers;
mod source;
mod template;
mod tools;
mod trace;
pub mod types;

pub use offer::{CONCURRENT_MAX, Offer, UpstreamUrl};
pub use records::{KEEPER_DIGITS, Records};
pub use registry::{Differences, FILES_MAX, Needs, Registry, RunError};
pub use servers::{ListProtocol, ModelServer};
pub use source::Findings;
pub use tools::BuiltinTools;
