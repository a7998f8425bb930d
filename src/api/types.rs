//! The JSON of the HTTP API, shared by the server and the command line.
//!
//! Shapes are those that users of Astromesh know; fields beyond them are marked as ours.

use serde::{Deserialize, Serialize};

pub use crate::agent::types::{AgentStatus, AgentSummary, RunRequest, RunResponse};

/// The body of every error: `{"detail", "code", "request_id"}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// For people: a string, or for code `invalid_request` a list of problems.
    pub detail: serde_json::Value,
    /// For programs; the codes are listed in `docs/http-api.md`.
    pub code: String,
    /// Also in the header `x-request-id`, and in the log.
    pub request_id: String,
}

/// `GET /v1/health`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// Always `ok`: a node that cannot say so does not answer.
    pub status: String,
    /// Version of the daemon.
    pub version: String,
}

/// `GET /v1/agents`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentList {
    /// Agents of this node first, then (ours) those that only other nodes run.
    pub agents: Vec<AgentEntry>,
}

/// One row of [`AgentList`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentEntry {
    /// Name, version, namespace, status and error.
    #[serde(flatten)]
    pub summary: AgentSummary,
    /// Ours: names of the nodes in the mesh that run it and are alive or suspect.
    #[serde(default)]
    pub nodes: Vec<String>,
}

/// A node, as in `GET /v1/mesh/state` and in the bodies of join, heartbeat and gossip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// UUID.
    pub node_id: String,
    /// The label given by its operator.
    pub name: String,
    /// `http://host:port` of its HTTP server.
    pub url: String,
    /// Names of the services it offers.
    #[serde(default)]
    pub services: Vec<String>,
    /// Names of the agents it runs.
    #[serde(default)]
    pub agents: Vec<String>,
    /// How busy it is.
    #[serde(default)]
    pub load: NodeLoad,
    /// Whether it leads.
    #[serde(default)]
    pub leader: bool,
    /// Seconds since 1970; shown, never compared.
    pub joined_at: f64,
    /// Seconds since 1970 at which the answering node last heard from it; shown, never compared.
    pub last_heartbeat: f64,
    /// `alive`, `suspect`, `dead` or `left`.
    #[serde(default = "alive")]
    pub status: String,
    /// Ours: where its gossip socket is reached; host and port of `url` if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gossip_address: Option<String>,
    /// Ours: grows with each start of its process.
    #[serde(default)]
    pub generation: u32,
    /// Ours: grows with each refutation.
    #[serde(default)]
    pub incarnation: u32,
    /// Ours: grows when address, name, services or agents change; 0 while only the state of this
    /// generation has been heard of.
    #[serde(default = "first_revision")]
    pub revision: u32,
    /// Ours: grows with each load that the node announces.
    #[serde(default)]
    pub load_sequence: u32,
    /// Ours: the node has more agents than fit a datagram; `agents` may lag behind.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub agents_elsewhere: bool,
    /// Ours, in the body of a join: the cluster that the node wants to join.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

const fn first_revision() -> u32 {
    1
}

fn alive() -> String {
    "alive".to_owned()
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct NodeLoad {
    /// Processor use of the host in percent.
    #[serde(default)]
    pub cpu_percent: f64,
    /// Memory use of the host in percent.
    #[serde(default)]
    pub memory_percent: f64,
    /// Agent runs in flight on the node.
    #[serde(default)]
    pub active_requests: u32,
}

/// `GET /v1/mesh/state` and the answer to `POST /v1/mesh/join`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeshState {
    /// Every member this node knows, itself included, ordered by id.
    pub nodes: Vec<Node>,
    /// The leader's id.
    pub leader_id: Option<String>,
    /// Grows with each change of this node's view.
    pub version: u64,
    /// Ours: id of the node that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub this_node: Option<String>,
    /// Ours: grows with each change of leader.
    #[serde(default)]
    pub term: u64,
    /// Ours: name of the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Ours, in the answer to a join only: the IP address the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_ip: Option<String>,
}

/// `POST /v1/mesh/leave`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LeaveRequest {
    /// The node that leaves: the id of the node asked, `self` for the same, or the id of a dead one.
    pub node_id: String,
}

/// `POST /v1/mesh/gossip`, both ways.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GossipBody {
    /// The sender's whole view.
    pub nodes: Vec<Node>,
    /// Ours: the sender's count of leaders.
    #[serde(default)]
    pub term: u64,
}

/// `POST /v1/mesh/election`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ElectionRequest {
    /// Required, and ignored: the rule needs no candidates.
    pub candidate_id: String,
    /// Required, and ignored.
    pub node_id: String,
}

/// The answer to `POST /v1/mesh/election`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ElectionResponse {
    /// The leader in this node's view.
    pub leader_id: Option<String>,
}

/// The answer to `POST /v1/mesh/leave` and `/heartbeat`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StatusOk {
    /// Always `ok`.
    pub status: String,
}

/// `GET /v1/system/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SystemStatus {
    /// Version of the daemon.
    pub version: String,
    /// Seconds since the process started.
    pub uptime_seconds: f64,
    /// `system` when the configuration is `/etc/astromesh/runtime.yaml`, else `dev`.
    pub mode: String,
    /// Agent files found, drafts included.
    pub agents_loaded: usize,
    /// Process id.
    pub pid: u32,
    /// Which services are on.
    pub services: std::collections::BTreeMap<String, bool>,
    /// Static peers; empty when the mesh is on.
    pub peers: Vec<Peer>,
    /// `null` when the mesh is off.
    pub mesh: Option<MeshStatus>,
}

/// A static peer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// Label.
    pub name: String,
    /// Base URL.
    pub url: String,
    /// Services it offers.
    pub services: Vec<String>,
}

/// The mesh part of [`SystemStatus`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MeshStatus {
    /// Always true.
    pub enabled: bool,
    /// This node's id.
    pub node_id: String,
    /// This node's name.
    pub node_name: String,
    /// The leader's id.
    pub leader: Option<String>,
    /// Members alive or suspect, this node included.
    pub cluster_size: usize,
    /// This node's own state: `alive` or `left`.
    pub status: String,
    /// Ours: name of the cluster.
    #[serde(default)]
    pub cluster: String,
    /// Ours: where others reach this node's gossip socket.
    #[serde(default)]
    pub gossip_address: String,
    /// Ours: counters of the gossip engine, by name; names in `docs/http-api.md`.
    #[serde(default)]
    pub counters: std::collections::BTreeMap<String, u64>,
}
