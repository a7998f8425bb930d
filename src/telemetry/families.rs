//! The names of the metrics: every family with its kind, unit and labels.
//!
//! Owns the declarations and nothing that counts. Whoever adds a family adds it here, and its numbers
//! in `metrics`.

use super::cells::BOUNDS;
use super::labels::{
    Arrival, Connect, Deadline, Direction, EjectionCause, InFlight, Keyed, Label, Limit, LineFate,
    LoadSource, LogStream, MemberState, Outcome, Phase, PickReason, Place, Refusal, ReloadOutcome,
    RetryCause, RetryDenial, RouteClass, RunOutcome, Side, SpanFate, Use,
};

/// One name on the page.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// The name without the suffixes for unit and kind.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// What is counted.
    pub unit: Unit,
    /// Its labels; at most three.
    pub labels: &'static [Label],
    /// What it means, for people.
    pub help: &'static str,
}

/// What kind of number a family holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Durations by upper bounds, which are in nanoseconds.
    Histogram(&'static [u64; BOUNDS]),
    /// Always 1; its labels say something.
    Info,
}

/// The unit of a family, the last word of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    None,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}

impl Family {
    const fn new(
        name: &'static str,
        kind: Kind,
        unit: Unit,
        labels: &'static [Label],
        help: &'static str,
    ) -> Self {
        Self { name, kind, unit, labels, help }
    }

    /// How many combinations of label values there are.
    pub(super) const fn combinations(&self) -> usize {
        let mut product = 1;
        let mut index = 0;
        while index < self.labels.len() {
            product *= self.labels[index].values.len();
            index += 1;
        }
        product
    }

    /// The name as people query it, without the suffixes of a histogram.
    #[must_use]
    pub fn full_name(&self) -> String {
        let unit = match self.unit {
            Unit::None => "",
            Unit::Seconds => "_seconds",
            Unit::Bytes => "_bytes",
        };
        let kind = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram(_) => "",
        };
        format!("{}{unit}{kind}", self.name)
    }
}

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const S: u64 = 1_000 * MS;

/// From a cached answer to a long run of a large model.
pub const ANSWER_NS: &[u64; BOUNDS] = &[
    MS,
    2 * MS,
    5 * MS,
    10 * MS,
    25 * MS,
    50 * MS,
    100 * MS,
    250 * MS,
    500 * MS,
    S,
    2500 * MS,
    5 * S,
    10 * S,
    30 * S,
    60 * S,
    300 * S,
];

/// Fine around the 40 µs that are the goal.
pub(super) const ADDED_NS: &[u64; BOUNDS] = &[
    10 * US,
    20 * US,
    30 * US,
    40 * US,
    50 * US,
    75 * US,
    100 * US,
    150 * US,
    250 * US,
    500 * US,
    MS,
    2500 * US,
    10 * MS,
    50 * MS,
    250 * MS,
    S,
];

/// A label with values that nobody here knows.
const fn free(key: &'static str) -> Label {
    Label { key, values: &[] }
}

macro_rules! families {
    ($($ident:ident: $name:literal, $kind:expr, $unit:ident, [$($label:expr),*], $help:literal;)+) => {
        $(
            #[doc = $help]
            pub const $ident: Family =
                Family::new($name, $kind, Unit::$unit, &[$($label),*], $help);
        )+
        /// Every family, in the order of the page.
        pub const ALL: &[Family] = &[$($ident),+];
    };
}

families! {
    REQUESTS: "astromesh_requests", Kind::Counter, None,
        [RouteClass::LABEL, Arrival::LABEL, Outcome::LABEL],
        "Requests that ended.";
    REQUEST_DURATION: "astromesh_request_duration", Kind::Histogram(ANSWER_NS), Seconds,
        [RouteClass::LABEL],
        "From the last byte of a request's head to the last byte of its answer.";
    FIRST_BYTE: "astromesh_first_byte", Kind::Histogram(ANSWER_NS), Seconds, [],
        "From the last byte of a request's head to the head of its answer being passed on.";
    ADDED_LATENCY: "astromesh_added_latency", Kind::Histogram(ADDED_NS), Seconds, [Place::LABEL],
        "Time a request spent in this node without waiting for a slot or for the one that serves it.";
    QUEUE_WAIT: "astromesh_queue_wait", Kind::Histogram(ANSWER_NS), Seconds, [],
        "Time that requests waited for a slot, whether they got it or not.";
    REQUESTS_IN_FLIGHT: "astromesh_requests_in_flight", Kind::Gauge, None, [InFlight::LABEL],
        "Requests for agents, and chats with models, that run here, were sent to others, or wait for a slot.";
    PICKS: "astromesh_picks", Kind::Counter, None, [Place::LABEL, PickReason::LABEL],
        "Choices of a node, one for each attempt.";
    REFUSALS: "astromesh_refusals", Kind::Counter, None, [Side::LABEL, Refusal::LABEL],
        "Requests refused before they ran: by this node (sent) or by others (met).";
    RETRIES: "astromesh_retries", Kind::Counter, None, [RetryCause::LABEL],
        "Attempts after the first, by what became of the one before.";
    RETRIES_DENIED: "astromesh_retries_denied", Kind::Counter, None, [RetryDenial::LABEL],
        "Failures that were passed on to the client, by why there was no other attempt.";
    EJECTIONS: "astromesh_ejections", Kind::Counter, None, [EjectionCause::LABEL],
        "Times a node began to be passed over, for all agents or for one.";
    EJECTED_NODES: "astromesh_ejected_nodes", Kind::Gauge, None, [],
        "Nodes that are passed over now, for all agents or for some.";
    CLIENT_CONNECTIONS: "astromesh_client_connections", Kind::Gauge, None, [],
        "Connections of clients and nodes to this node.";
    CLIENT_CONNECTIONS_ACCEPTED: "astromesh_client_connections_accepted", Kind::Counter, None, [],
        "Connections that were accepted.";
    UPSTREAM_CONNECTIONS: "astromesh_upstream_connections", Kind::Gauge, None, [Use::LABEL],
        "Connections of this node to others.";
    UPSTREAM_CONNECTS: "astromesh_upstream_connects", Kind::Counter, None, [Connect::LABEL],
        "Times a connection to another node was needed.";
    CLIENT_CANCELLATIONS: "astromesh_client_cancellations", Kind::Counter, None, [Phase::LABEL],
        "Requests whose client went away, by how far they were.";
    DEADLINES: "astromesh_deadlines", Kind::Counter, None, [Deadline::LABEL],
        "Time limits that were reached.";
    LIMITS: "astromesh_limits", Kind::Counter, None, [Limit::LABEL],
        "Bounds that were reached.";
    TRANSFERRED: "astromesh_transferred", Kind::Counter, Bytes, [Direction::LABEL],
        "Bytes on connections of clients, heads and framing included.";
    IDEMPOTENCY: "astromesh_idempotent_requests", Kind::Counter, None, [Keyed::LABEL],
        "Requests with an idempotency key that reached the node that runs them.";
    LOAD_RECORDS: "astromesh_load_records", Kind::Counter, None, [LoadSource::LABEL],
        "News of how busy other nodes are.";
    MEMBERS: "astromesh_members", Kind::Gauge, None, [MemberState::LABEL],
        "Members of the mesh as this node sees them, itself included.";
    GOSSIP_EVENTS: "astromesh_gossip_events", Kind::Counter, None, [free("event")],
        "Counters of the gossip. Missing while the mesh is off or its thread is busy.";
    GOSSIP_LEVELS: "astromesh_gossip_level", Kind::Gauge, None, [free("of")],
        "Levels of the gossip. Missing when its counters are.";
    AGENT_RUNS: "astromesh_agent_runs", Kind::Counter, None, [free("agent"), RunOutcome::LABEL],
        "Runs on this node, of agents that are no processes of their own.";
    AGENT_RUN_DURATION: "astromesh_agent_run", Kind::Histogram(ANSWER_NS), Seconds, [free("agent")],
        "From the beginning of a run to its end.";
    AGENT_MODEL_CALLS: "astromesh_agent_model_calls", Kind::Counter, None,
        [free("agent"), free("provider"), free("model")],
        "Calls of models that were answered.";
    AGENT_MODEL_FAILURES: "astromesh_agent_model_failures", Kind::Counter, None,
        [free("agent"), free("provider"), free("model")],
        "Calls of models that failed.";
    AGENT_TOKENS_IN: "astromesh_agent_tokens_in", Kind::Counter, None,
        [free("agent"), free("provider"), free("model")],
        "Tokens that models read, as their servers tell.";
    AGENT_TOKENS_OUT: "astromesh_agent_tokens_out", Kind::Counter, None,
        [free("agent"), free("provider"), free("model")],
        "Tokens that models wrote, as their servers tell.";
    AGENT_TOOL_CALLS: "astromesh_agent_tool_calls", Kind::Counter, None,
        [free("agent"), free("tool")],
        "Calls of tools.";
    AGENT_TOOL_FAILURES: "astromesh_agent_tool_failures", Kind::Counter, None,
        [free("agent"), free("tool")],
        "Calls of tools that did not work.";
    RELOADS: "astromesh_reloads", Kind::Counter, None, [ReloadOutcome::LABEL],
        "Times the configuration was read again.";
    SPANS: "astromesh_otlp_spans", Kind::Counter, None, [SpanFate::LABEL],
        "Spans of traces that were to be sent to a collector.";
    LOG_LINES: "astromesh_log_lines", Kind::Counter, None, [LogStream::LABEL, LineFate::LABEL],
        "Lines of the log, those of the access log included.";
    BUILD: "astromesh_build", Kind::Info, None, [free("version")],
        "The version of this node.";
    PROCESS_START_TIME: "process_start_time", Kind::Gauge, Seconds, [],
        "When the process started, in seconds since 1970.";
    PROCESS_CPU: "process_cpu", Kind::Counter, Seconds, [],
        "Processor time used.";
    PROCESS_MEMORY: "process_resident_memory", Kind::Gauge, Bytes, [],
        "Memory in use, as the kernel counts it.";
    PROCESS_OPEN_FDS: "process_open_fds", Kind::Gauge, None, [],
        "Open file descriptors.";
    PROCESS_THREADS: "process_threads", Kind::Gauge, None, [],
        "Threads.";
}
