//! Agents: files, registry, runs.

pub mod types;
