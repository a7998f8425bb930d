//! The HTTP server of a node.

pub mod types;
