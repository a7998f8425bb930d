//! What of the data plane a reload replaces, as one value.
//!
//! Owns nothing but the list. Each request reads it once, when its head has come, and keeps it to
//! the end of its answer: what it asked for is served by the agents, the routes and the limits with
//! which it began.

use std::fmt;
use std::sync::Arc;

use super::settings::Settings;
use crate::api::Agents;
use crate::inference::Served;
use crate::telemetry::access::AccessLog;
use crate::telemetry::otlp::Tracer;

/// What a request begins with.
pub struct Live {
    /// The label of this node.
    pub node_name: String,
    /// The agents of this node.
    pub agents: Arc<dyn Agents>,
    /// The models of this node.
    pub models: Served,
    /// The routes of this node, which serve the same agents and models.
    pub router: axum::Router,
    /// Deadlines and limits.
    pub settings: Settings,
    /// Where each request gets a line; `None` when that is off.
    pub access_log: Option<AccessLog>,
    /// Where the spans of requests go; `None` when they are not exported.
    pub tracer: Option<Tracer>,
}

impl fmt::Debug for Live {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Live")
            .field("node_name", &self.node_name)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
