//! The names of the headers that matter between nodes, and to clients.
//!
//! Owns the names alone; what they mean is in `docs/http-api.md`, and the data plane acts on them.

/// How many nodes have forwarded the request; missing means none.
pub const HOP: &str = "x-astromesh-hop";
/// The id of the node that forwarded the request.
pub const ORIGIN: &str = "x-astromesh-origin";
/// Name of the node that answered for the agent.
pub const NODE: &str = "x-astromesh-node";
/// The load of the node that answered, for the node that asked.
pub const LOAD: &str = "x-astromesh-load";
/// The load of the node that answered, in the words of ORCA, for anybody else.
pub const ORCA_LOAD: &str = "endpoint-load-metrics";
/// A node did not take a request, and why; nothing has happened.
pub const REFUSED: &str = "x-astromesh-refused";
/// The node is to let the request wait rather than refuse it for being full.
pub const MUST_QUEUE: &str = "x-astromesh-must-queue";
/// Time left for the request.
pub const DEADLINE: &str = "x-astromesh-deadline-ms";
/// Asks for [`WHY`].
pub const EXPLAIN: &str = "x-astromesh-explain";
/// What led to the choice of the node.
pub const WHY: &str = "x-astromesh-why";
/// Requests with the same value go to the same node while that is not much busier than others.
pub const SESSION: &str = "x-astromesh-session";
/// The answer is that of an earlier request with the same key.
pub const REPLAYED: &str = "x-astromesh-replayed";
/// Given by a client for which sending a request twice does no harm.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The span that a request belongs to, as W3C Trace Context says it.
pub const TRACEPARENT: &str = "traceparent";
/// What tracing systems say of it.
pub const TRACESTATE: &str = "tracestate";
/// Said by the data plane to the routes of its own node: the trace began here, and nobody exports it.
pub const UNTRACED: &str = "x-astromesh-untraced";
/// The id of a request.
pub const REQUEST_ID: &str = "x-request-id";
