//! What an agent file says to whoever admits and relays requests for the agent.
//!
//! Owns the facts, not what is done with them: the HTTP plane counts, repeats and relays.

use std::sync::Arc;

/// The most requests that one agent may be limited to.
pub const CONCURRENT_MAX: u32 = 1_000_000;

/// How requests for an agent of this node are to be handled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offer {
    /// Requests that this node serves at once for this agent; 0 means no limit but the node's.
    pub max_concurrent: u32,
    /// Whether a request may be sent again when it may already have run.
    pub is_idempotent: bool,
    /// The process of its own that serves the agent; `None` when this node runs it.
    pub upstream: Option<Arc<UpstreamUrl>>,
}

/// Where a process that serves an agent listens, `http` only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// `HOST:PORT`, always with its port, IPv6 in brackets: for the connection and for `Host`.
    pub authority: String,
    /// What runs are sent to: begins with a slash, may hold a query.
    pub path: String,
}
