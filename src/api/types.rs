//! The JSON of the HTTP API, shared by the server and the command line.
//!
//! Shapes are those that users of Astromesh know; fields beyond them are marked as ours.

mod models;
mod reload;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::Code;

pub use models::{ModelEntry, ModelFault, ModelList};
pub use reload::{AgentChanges, ConfigProblem, ReloadAnswer, ReloadStatus};

pub use crate::agent::types::{
    AgentStatus, AgentSummary, AgentUsage, ModelUsage, ProviderList, ProviderSummary, RunRequest,
    RunResponse, RunTimes, Span, ToolAnswer, ToolEntry, ToolSchema, TraceRecord, TraceStatus,
};
pub use crate::doctor::report::{Check, Report as DoctorReport, Status as CheckStatus};

/// The body of every error: `{"detail", "code", "request_id"}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ErrorBody {
    /// For people: a string, or for code `invalid_request` a list of problems.
    pub detail: Value,
    /// For programs; the codes are listed in `docs/http-api.md`.
    pub code: String,
    /// Also in the header `x-request-id`, and in the log.
    pub request_id: String,
    /// The same for clients of the OpenAI API; only on routes of models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ModelFault>,
}

impl ErrorBody {
    /// The body of an error with this code; `of_model` on routes of models.
    #[must_use]
    pub fn new(code: Code, detail: Value, request_id: String, of_model: bool) -> Self {
        let error = of_model.then(|| ModelFault::new(code, &detail));
        Self { detail, code: code.name().to_owned(), request_id, error }
    }
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

/// `GET /v1/tools`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolList {
    /// The built-in tools.
    pub tools: Vec<ToolEntry>,
    /// How many.
    pub count: usize,
}

/// `GET /v1/tools/builtin`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BuiltinToolList {
    /// The built-in tools with the schemas of their arguments.
    pub tools: Vec<ToolSchema>,
    /// How many.
    pub count: usize,
}

/// `POST /v1/tools/execute`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ToolRequest {
    /// The tool.
    pub tool_name: String,
    /// Its arguments; none if missing.
    #[serde(default)]
    pub arguments: Option<Value>,
}

/// `GET /v1/traces/`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TraceList<T = TraceRecord> {
    /// The newest first.
    pub traces: Vec<T>,
}

/// `GET /v1/metrics/`. Names are those of the page for Prometheus, with their labels.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct MetricsReport {
    /// What only grows; what is 0 is left out.
    pub counters: BTreeMap<String, serde_json::Number>,
    /// Durations in seconds.
    pub histograms: BTreeMap<String, RunTimes>,
    /// Ours: what rises and falls; what is 0 is left out.
    #[serde(default)]
    pub gauges: BTreeMap<String, serde_json::Number>,
}

/// `GET /v1/usage`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UsageReport {
    /// When counting began, in seconds since 1970: the start of the node.
    pub since: f64,
    /// By name.
    pub agents: Vec<AgentUsage>,
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
    /// Ours: those of `agents` to which a request may be sent again when it may already have run;
    /// none if missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idempotent_agents: Vec<String>,
    /// Ours: names of the models it serves; none if missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<String>,
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
    /// Ours: grows when address, name, services, agents or models change; 0 while only the state of this
    /// generation has been heard of.
    #[serde(default = "first_revision")]
    pub revision: u32,
    /// Ours: when the node counted its load, in units of 10 ms since its process began; the highest of
    /// a generation is the newest.
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
    /// Requests for agents and models in flight on the node.
    #[serde(default)]
    pub active_requests: u32,
    /// Ours: agent runs that it takes at once; missing, or 0, for any number.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub limit: u32,
    /// Ours: it takes no new runs and finishes those that it has.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
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

/// A member, as histories, verdicts and events name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRef {
    /// UUID; its first 10 hexadecimal digits if no more of it is known.
    pub node_id: String,
    /// Its name, if it is known.
    pub name: Option<String>,
}

/// `GET /v1/mesh/nodes/{id}/history`: what happened to a member, as the answering node saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeHistory {
    /// The member.
    pub node: NodeRef,
    /// `alive`, `suspect`, `dead` or `left`; `null` when it has been forgotten.
    pub status: Option<String>,
    /// The time on the answering node, seconds since 1970, as all times here.
    pub now: f64,
    /// What was before is not kept: an hour ago, or the start of the answering node.
    pub since: f64,
    /// Oldest first.
    pub changes: Vec<PastChange>,
    /// Why it was declared dead, each time; oldest first.
    pub verdicts: Vec<DeathVerdict>,
    /// Entries of this member that had to go before their time.
    pub dropped: u64,
}

/// A [`MemberChange`] and when the answering node learned of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastChange {
    /// When.
    pub at: f64,
    /// What.
    #[serde(flatten)]
    pub change: MemberChange,
}

/// A change of a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberChange {
    /// `joined`, `alive`, `suspect`, `dead`, `left`, `replaced`, `updated` or `reaped`.
    pub change: String,
    /// Which start of its process; 0 when it was forgotten.
    pub generation: u32,
    /// Its claim about itself that held then.
    pub incarnation: u32,
    /// Its gossip address before, if that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_address: Option<String>,
    /// Its gossip address since, if that changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Why a member was declared dead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeathVerdict {
    /// When it was decided, wherever that was.
    pub decided_at: f64,
    /// Which start of its process was declared dead.
    pub generation: u32,
    /// Which of its claims about itself that overruled.
    pub incarnation: u32,
    /// Who decided.
    pub accuser: NodeRef,
    /// `quorum`, `fallback`, `unreachable`, `timeout`, `hearsay` or `unknown`.
    pub rule: String,
    /// From the first ping without an answer to the verdict.
    pub open_seconds: f64,
    /// Pings of the accuser before it asked the others.
    pub tries: u8,
    /// Others that it asked to ping as well.
    pub helpers: u8,
    /// Of these, those that said that they had no answer either.
    pub nacks: u8,
    /// The accuser's own health; 0 is the best.
    pub health: u8,
    /// What the observers said.
    pub votes: Vec<CastVote>,
}

/// What one observer said about a member that was accused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CastVote {
    /// Who was asked.
    pub voter: NodeRef,
    /// `no` (no answer here either), `alive`, `abstain` or `silent`.
    pub vote: String,
    /// From the accusation to the vote; `null` for `silent`.
    pub after_seconds: Option<f64>,
}

/// One event of `GET /v1/mesh/events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeshEvent {
    /// Grows from event to event, also over restarts of the node. Text in JSON: it does not fit the
    /// numbers of every reader.
    #[serde(with = "number_as_text")]
    pub id: u64,
    /// When the node learned of it, seconds since 1970.
    pub at: f64,
    /// What happened.
    #[serde(flatten)]
    pub news: MeshNews,
}

mod number_as_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(number: &u64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        String::deserialize(from)?.parse().map_err(D::Error::custom)
    }
}

/// What happened in the mesh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum MeshNews {
    /// A member changed.
    Member {
        /// Which.
        node: NodeRef,
        /// How.
        #[serde(flatten)]
        change: MemberChange,
    },
    /// A member was declared dead, and this is why; once more if fuller evidence comes.
    Verdict {
        /// Which.
        node: NodeRef,
        /// Why.
        #[serde(flatten)]
        verdict: DeathVerdict,
    },
    /// Another member leads, or the count of leaders rose.
    Leader {
        /// Who; `null` when the node itself has left.
        node: Option<NodeRef>,
        /// Counts the leaders.
        term: u64,
    },
    /// Events after the one that was seen last are not kept any more.
    Missed {
        /// How many; `null` when the node was restarted since.
        count: Option<u64>,
    },
}

impl MeshNews {
    /// The name of the variant, as in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Member { .. } => "member",
            Self::Verdict { .. } => "verdict",
            Self::Leader { .. } => "leader",
            Self::Missed { .. } => "missed",
        }
    }
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
    pub services: BTreeMap<String, bool>,
    /// Static peers; empty when the mesh is on.
    pub peers: Vec<Peer>,
    /// `null` when the mesh is off.
    pub mesh: Option<MeshStatus>,
    /// Ours: what is wrong with the providers files of the node, a text for each file.
    #[serde(default)]
    pub provider_problems: Vec<String>,
    /// Ours: how the configuration was read again.
    #[serde(default)]
    pub reload: ReloadStatus,
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
    pub counters: BTreeMap<String, u64>,
}

/// `GET /v1/system/log-level`: what is logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLevels {
    /// The level of all modules that have none of their own.
    pub level: String,
    /// Levels of modules, by name.
    pub levels: BTreeMap<String, String>,
    /// What that comes to, or what `ASTROMESH_LOG` has put in its place.
    pub filter: String,
    /// What lines on the console look like: `text`, `json` or `journald`.
    pub format: String,
    /// The log file; `null` when there is none.
    pub file: Option<String>,
}

/// `PUT /v1/system/log-level`: what is left out stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLevelsChange {
    /// The new level of all modules that have none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// New levels of modules; `null` takes that of the module away.
    #[serde(default)]
    pub levels: BTreeMap<String, Option<String>>,
}
