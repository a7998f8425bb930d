//! What can be set of the data plane, and the limits that cannot.

use std::time::Duration;

use socket2::TcpKeepalive;
use tokio::time::Instant;

use astromesh_wire::Service;

use crate::config;

/// Nodes that one request may fail at.
pub(super) const ATTEMPTS_MAX: usize = 3;
/// Nodes that may refuse a request before it is given up.
pub(super) const REFUSALS_MAX: usize = 6;
/// Hops after which a request is served where it is or not at all.
pub(super) const HOPS_MAX: u32 = 1;
/// Connections of clients open at once; more wait in the backlog of the listener. Below the 16,384
/// file descriptors that the service unit asks for, with room for connections to other nodes.
pub(super) const CONNECTIONS_MAX: usize = 10_000;
/// Time for the head of a request, and after an answer for the next one to begin.
pub(super) const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for the rest of a head that has begun, once the server stops.
pub(super) const STOPPING_HEAD_TIMEOUT: Duration = Duration::from_secs(1);
/// [`Settings::body_idle_timeout`], which the configuration cannot change.
const BODY_IDLE_MAX: Duration = Duration::from_secs(30);
/// Interim answers that wait for a client that does not read; further ones are dropped.
pub(super) const INTERIM_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a body under way in each direction: what was read and could not be written yet.
pub(super) const WINDOW_BYTES: usize = 64 * 1024;
/// Bytes of a request body kept so that it can be sent a second time.
pub(super) const REPLAY_BYTES_MAX: usize = 1024 * 1024;
/// Bytes read ahead of the next request of a client that does not wait for its answers.
pub(super) const PIPELINED_BYTES_MAX: usize = 64 * 1024;
/// With three probes 5 s apart, a host that vanished is noticed within 25 s of silence.
pub(super) const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(10))
    .with_interval(Duration::from_secs(5))
    .with_retries(3);
/// A request that waits this long for its answer begins to watch whether the node dies.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
/// Time that a node has to allow a body that would be lost if it refused.
pub(super) const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest wait for a client to take more of an answer of our own.
pub(super) const REPLY_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time for a client to close its end after an answer that closes the connection.
pub(super) const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes read in that time.
pub(super) const LINGER_BYTES_MAX: usize = 1024 * 1024;

/// Settings of the data plane; see `spec.api` in `docs/configuration.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Longest body of a request for an agent.
    pub body_bytes_max: usize,
    /// Time to connect to another node or an upstream.
    pub connect_timeout: Duration,
    /// From a request that was sent to the head of its answer.
    pub first_byte_timeout: Option<Duration>,
    /// Between two parts of an answer.
    pub idle_timeout: Option<Duration>,
    /// For everything, from the first byte of the request to the last of the answer.
    pub total_timeout: Option<Duration>,
    /// Longest wait for the next part of the body of a request.
    pub body_idle_timeout: Duration,
    /// Requests for agents that this node serves at once; 0 for no limit.
    pub max_concurrent: u32,
    /// Requests for models that this node serves at once; 0 for no limit.
    pub model_max_concurrent: u32,
    /// Which of the two is told to other nodes, that know one count and one limit of each node.
    pub limit_told: u32,
    /// Requests that may wait for a place.
    pub queue_max: u32,
    /// Wait for a place when this node is full.
    pub queue_timeout: Duration,
}

impl From<&config::Runtime> for Settings {
    fn from(config: &config::Runtime) -> Self {
        let api = &config.api;
        let runs_agents = config.services.contains(Service::Agents);
        Self {
            body_bytes_max: api.body_bytes_max,
            connect_timeout: api.connect_timeout,
            first_byte_timeout: api.first_byte_timeout,
            idle_timeout: api.idle_timeout,
            total_timeout: api.total_timeout,
            body_idle_timeout: BODY_IDLE_MAX,
            max_concurrent: api.max_concurrent,
            model_max_concurrent: api.model_max_concurrent,
            limit_told: if runs_agents { api.max_concurrent } else { api.model_max_concurrent },
            queue_max: api.queue_max,
            queue_timeout: api.queue_timeout,
        }
    }
}

/// The moment a limit ends that began then.
pub(super) fn after(began: Instant, limit: Option<Duration>) -> Option<Instant> {
    limit.and_then(|limit| began.checked_add(limit))
}
