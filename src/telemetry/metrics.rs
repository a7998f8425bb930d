//! What a node counts and times, and the methods that count.
//!
//! Owns the numbers; their names are in [`families`]. A request costs some dozen increments of
//! atomics, each resolved when this was compiled; nothing here locks, allocates or reads a clock
//! while a request waits. All threads count in the same cells. What somebody else knows anyway, such
//! as the number of members, is not kept here but given when a page is asked for, see [`Readings`].
//!
//! [`families`]: super::families

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::cells::{Counts, Distribution, Histogram};
use super::families::*;
use super::labels::{
    Arrival, Connect, Deadline, Direction, EjectionCause, Keyed, Limit, LineFate, LoadSource,
    LogStream, MemberState, Outcome, Phase, PickReason, Place, Refusal, ReloadOutcome, RetryCause,
    RetryDenial, RouteClass, Side, SpanFate,
};
use super::numbers::{self, Numbers};
use super::page::{self, Values};
use super::process::Process;

/// Numbers by the values of their labels, in the order of the family's labels.
pub type Rows = Vec<(Vec<String>, u64)>;

/// All numbers.
#[derive(Debug, Default)]
struct Cells {
    requests: Counts<{ REQUESTS.combinations() }>,
    request_duration: [Histogram; REQUEST_DURATION.combinations()],
    first_byte: [Histogram; 1],
    added_latency: [Histogram; ADDED_LATENCY.combinations()],
    queue_wait: [Histogram; 1],
    /// Requests sent to others: begun, ended.
    asks: Counts<2>,
    picks: Counts<{ PICKS.combinations() }>,
    refusals: Counts<{ REFUSALS.combinations() }>,
    retries: Counts<{ RETRIES.combinations() }>,
    retries_denied: Counts<{ RETRIES_DENIED.combinations() }>,
    ejections: Counts<{ EJECTIONS.combinations() }>,
    client_connections: AtomicI64,
    accepted: Counts<1>,
    upstream_connections: AtomicI64,
    /// Connections that became idle, and idle ones that were closed.
    parked: Counts<2>,
    connects: Counts<{ UPSTREAM_CONNECTS.combinations() }>,
    cancellations: Counts<{ CLIENT_CANCELLATIONS.combinations() }>,
    deadlines: Counts<{ DEADLINES.combinations() }>,
    limits: Counts<{ LIMITS.combinations() }>,
    transferred: Counts<{ TRANSFERRED.combinations() }>,
    idempotency: Counts<{ IDEMPOTENCY.combinations() }>,
    load_records: Counts<{ LOAD_RECORDS.combinations() }>,
    spans: Counts<{ SPANS.combinations() }>,
}

/// The counters of a node; clones count in the same place.
#[derive(Debug, Clone)]
pub struct Metrics {
    cells: Arc<Cells>,
    started: SystemTime,
}

/// A request that ended, however.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// What it asked for.
    pub class: RouteClass,
    /// Who sent it.
    pub from: Arrival,
    /// How it ended.
    pub outcome: Outcome,
    /// From the last byte of its head to the last byte of its answer.
    pub duration: Duration,
    /// From the last byte of its head until the head of the answer was passed on; `None` if none
    /// was.
    pub first_byte: Option<Duration>,
    /// Where it was served and what this node added: (the last attempt's first byte was written −
    /// the last byte of the request's head was read − the wait for a slot) + (the head of the
    /// answer was passed on − it had been read). Connecting counts, and so do attempts before the
    /// last one. `None` if nobody answered.
    pub added: Option<(Place, Duration)>,
    /// Bytes read from the client, its head included.
    pub bytes_in: u64,
    /// Bytes written to the client, the head included.
    pub bytes_out: u64,
}

/// Counts down again when dropped.
#[derive(Debug)]
pub struct OpenConnection {
    cells: Arc<Cells>,
    level: fn(&Cells) -> &AtomicI64,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        (self.level)(&self.cells).fetch_sub(1, Ordering::Relaxed);
    }
}

/// What others know at the moment when a page is asked for.
#[derive(Debug, Default)]
pub struct Readings {
    /// Requests for agents that run on this node.
    pub running: u64,
    /// Requests that wait for a slot.
    pub queued: u64,
    /// Nodes that are passed over.
    pub ejected: u64,
    /// Results that were too long to be kept, and those that were dropped for newer ones.
    pub results: [u64; 2],
    /// Members by state, in the order of [`MemberState::ALL`].
    pub members: [u64; MemberState::ALL.len()],
    /// Counters of the gossip by name, and those of its numbers that are levels.
    pub gossip: Option<Gossip>,
    /// What agents did and used.
    pub agents: Agents,
    /// Reloads by outcome, in the order of [`ReloadOutcome::ALL`].
    pub reloads: [u64; ReloadOutcome::ALL.len()],
    /// Lines of the log by stream and fate, in the order of [`LogStream::ALL`] and
    /// [`LineFate::ALL`].
    pub log_lines: [[u64; LineFate::ALL.len()]; LogStream::ALL.len()],
    /// The version of the program.
    pub version: &'static str,
    /// The process; `None` where the system does not tell.
    pub process: Option<Process>,
}

/// The numbers of the gossip by name.
#[derive(Debug, Default)]
pub struct Gossip {
    /// Those that only grow.
    pub events: Rows,
    /// Those that rise and fall.
    pub levels: Rows,
}

/// What the agents of this node did and used, each field for the family of its name.
#[derive(Debug, Default)]
pub struct Agents {
    /// By agent and outcome.
    pub runs: Rows,
    /// By agent, over [`ANSWER_NS`].
    pub run_times: Vec<(Vec<String>, Distribution)>,
    /// By agent, provider and model, like the next three.
    pub model_calls: Rows,
    /// Calls that were not answered.
    pub model_failures: Rows,
    /// Tokens read.
    pub tokens_in: Rows,
    /// Tokens written.
    pub tokens_out: Rows,
    /// By agent and tool.
    pub tool_calls: Rows,
    /// Calls of tools that did not work.
    pub tool_failures: Rows,
}

impl Agents {
    pub(super) fn into_values(self) -> [(Family, Values); 8] {
        [
            (AGENT_RUNS, Values::Rows(self.runs)),
            (AGENT_RUN_DURATION, Values::TimedRows(self.run_times)),
            (AGENT_MODEL_CALLS, Values::Rows(self.model_calls)),
            (AGENT_MODEL_FAILURES, Values::Rows(self.model_failures)),
            (AGENT_TOKENS_IN, Values::Rows(self.tokens_in)),
            (AGENT_TOKENS_OUT, Values::Rows(self.tokens_out)),
            (AGENT_TOOL_CALLS, Values::Rows(self.tool_calls)),
            (AGENT_TOOL_FAILURES, Values::Rows(self.tool_failures)),
        ]
    }
}

impl Default for Metrics {
    /// Made when the process starts: that is what the page calls its start.
    fn default() -> Self {
        Self { cells: Arc::default(), started: SystemTime::now() }
    }
}

impl Metrics {
    /// A request ended. Once for each, refused and malformed ones included.
    pub fn ended(&self, ended: &Ended) {
        let cells = &*self.cells;
        let index = (ended.class.index() * Arrival::ALL.len() + ended.from.index())
            * Outcome::ALL.len()
            + ended.outcome.index();
        cells.requests.add(index, 1);
        cells.request_duration[ended.class.index()].observe(ANSWER_NS, ended.duration);
        if let Some(first_byte) = ended.first_byte {
            cells.first_byte[0].observe(ANSWER_NS, first_byte);
        }
        if let Some((place, added)) = ended.added {
            cells.added_latency[place.index()].observe(ADDED_NS, added);
        }
        cells.transferred.add(Direction::In.index(), ended.bytes_in);
        cells.transferred.add(Direction::Out.index(), ended.bytes_out);
    }

    /// A node was chosen. Once for each attempt.
    pub fn picked(&self, place: Place, reason: PickReason) {
        self.cells.picks.add(place.index() * PickReason::ALL.len() + reason.index(), 1);
    }

    /// A request goes to another node; [`Self::ask_ended`] must follow.
    pub fn ask_began(&self) {
        self.cells.asks.add(0, 1);
    }

    /// A request to another node is over.
    pub fn ask_ended(&self) {
        self.cells.asks.add(1, 1);
    }

    /// A request waited for a slot, and got it or not.
    pub fn queued(&self, wait: Duration) {
        self.cells.queue_wait[0].observe(ANSWER_NS, wait);
    }

    /// This node refused a request, or met a refusal.
    pub fn refused(&self, side: Side, kind: Refusal) {
        self.cells.refusals.add(side.index() * Refusal::ALL.len() + kind.index(), 1);
    }

    /// A request is tried again.
    pub fn retried(&self, cause: RetryCause) {
        self.cells.retries.add(cause.index(), 1);
    }

    /// A request failed and is not tried again.
    pub fn retry_denied(&self, cause: RetryDenial) {
        self.cells.retries_denied.add(cause.index(), 1);
    }

    /// A node is passed over from now on.
    pub fn ejected(&self, cause: EjectionCause) {
        self.cells.ejections.add(cause.index(), 1);
    }

    /// A connection of a client was accepted; it counts as open until the guard is dropped.
    #[must_use]
    pub fn client_connected(&self) -> OpenConnection {
        self.cells.accepted.add(0, 1);
        self.open(|cells| &cells.client_connections)
    }

    /// A connection to another node was made; it counts as open until the guard is dropped.
    #[must_use]
    pub fn upstream_connected(&self) -> OpenConnection {
        self.cells.connects.add(Connect::Opened.index(), 1);
        self.open(|cells| &cells.upstream_connections)
    }

    /// A connection to another node could not be made.
    pub fn upstream_failed(&self) {
        self.cells.connects.add(Connect::Failed.index(), 1);
    }

    /// A connection to another node became idle; [`Self::upstream_reused`] or
    /// [`Self::upstream_expired`] must follow.
    pub fn upstream_parked(&self) {
        self.cells.parked.add(0, 1);
    }

    /// An idle connection carries a request again.
    pub fn upstream_reused(&self) {
        self.cells.connects.add(Connect::Reused.index(), 1);
    }

    /// An idle connection was closed, by whichever end.
    pub fn upstream_expired(&self) {
        self.cells.parked.add(1, 1);
    }

    /// A client went away.
    pub fn canceled(&self, phase: Phase) {
        self.cells.cancellations.add(phase.index(), 1);
    }

    /// A time limit was reached.
    pub fn timed_out(&self, deadline: Deadline) {
        self.cells.deadlines.add(deadline.index(), 1);
    }

    /// A bound was reached.
    pub fn limited(&self, limit: Limit) {
        self.cells.limits.add(limit.index(), 1);
    }

    /// What became of a request with an idempotency key.
    pub fn keyed(&self, result: Keyed) {
        self.cells.idempotency.add(result.index(), 1);
    }

    /// So many news of how busy other nodes are.
    pub fn heard(&self, source: LoadSource, count: u64) {
        self.cells.load_records.add(source.index(), count);
    }

    /// So many spans came to this end.
    pub fn spans(&self, fate: SpanFate, count: u64) {
        self.cells.spans.add(fate.index(), count);
    }

    fn open(&self, level: fn(&Cells) -> &AtomicI64) -> OpenConnection {
        level(&self.cells).fetch_add(1, Ordering::Relaxed);
        OpenConnection { cells: Arc::clone(&self.cells), level }
    }

    /// Everything as `OpenMetrics` text, of the type [`page::CONTENT_TYPE`].
    #[must_use]
    pub fn page(&self, readings: Readings) -> String {
        page::write(self.values(readings))
    }

    /// The same as numbers.
    #[must_use]
    pub fn numbers(&self, readings: Readings) -> Numbers {
        numbers::of(self.values(readings))
    }

    fn values(&self, readings: Readings) -> Vec<(Family, Values)> {
        values(&self.cells, self.started, readings)
    }
}

/// A level; a guard may be dropped by another thread than the one that made it, never before it.
fn level(level: &AtomicI64) -> u64 {
    u64::try_from(level.load(Ordering::Relaxed)).unwrap_or(0)
}

fn distributions<const N: usize>(histograms: &[Histogram; N]) -> Values {
    Values::Distributions(histograms.iter().map(Histogram::values).collect())
}

/// Each family with its values, in the order of [`ALL`].
fn values(cells: &Cells, started: SystemTime, readings: Readings) -> Vec<(Family, Values)> {
    fn counts<const N: usize>(values: [u64; N]) -> Values {
        Values::Counts(values.to_vec())
    }
    let [asks_begun, asks_ended] = cells.asks.values();
    let connects = cells.connects.values();
    let [parked, expired] = cells.parked.values();
    let idle = parked.saturating_sub(expired).saturating_sub(connects[Connect::Reused.index()]);
    let busy = level(&cells.upstream_connections).saturating_sub(idle);
    let in_flight = [readings.running, asks_begun.saturating_sub(asks_ended), readings.queued];
    let mut limits = cells.limits.values();
    for (limit, count) in
        [Limit::ResultBytes, Limit::ResultsBytes].into_iter().zip(readings.results)
    {
        limits[limit.index()] = count;
    }
    let client_connections = level(&cells.client_connections);
    let mut values = vec![
        (REQUESTS, counts(cells.requests.values())),
        (REQUEST_DURATION, distributions(&cells.request_duration)),
        (FIRST_BYTE, distributions(&cells.first_byte)),
        (ADDED_LATENCY, distributions(&cells.added_latency)),
        (QUEUE_WAIT, distributions(&cells.queue_wait)),
        (REQUESTS_IN_FLIGHT, counts(in_flight)),
        (PICKS, counts(cells.picks.values())),
        (REFUSALS, counts(cells.refusals.values())),
        (RETRIES, counts(cells.retries.values())),
        (RETRIES_DENIED, counts(cells.retries_denied.values())),
        (EJECTIONS, counts(cells.ejections.values())),
        (EJECTED_NODES, counts([readings.ejected])),
        (CLIENT_CONNECTIONS, counts([client_connections])),
        (CLIENT_CONNECTIONS_ACCEPTED, counts(cells.accepted.values())),
        (UPSTREAM_CONNECTIONS, counts([busy, idle])),
        (UPSTREAM_CONNECTS, counts(connects)),
        (CLIENT_CANCELLATIONS, counts(cells.cancellations.values())),
        (DEADLINES, counts(cells.deadlines.values())),
        (LIMITS, counts(limits)),
        (TRANSFERRED, counts(cells.transferred.values())),
        (IDEMPOTENCY, counts(cells.idempotency.values())),
        (LOAD_RECORDS, counts(cells.load_records.values())),
        (MEMBERS, counts(readings.members)),
    ];
    if let Some(Gossip { events, levels }) = readings.gossip {
        values
            .extend([(GOSSIP_EVENTS, Values::Rows(events)), (GOSSIP_LEVELS, Values::Rows(levels))]);
    }
    values.extend(readings.agents.into_values());
    values.extend([
        (RELOADS, counts(readings.reloads)),
        (SPANS, counts(cells.spans.values())),
        (LOG_LINES, Values::Counts(readings.log_lines.as_flattened().to_vec())),
        (BUILD, Values::Rows(vec![(vec![readings.version.to_owned()], 1)])),
    ]);
    let started = started.duration_since(UNIX_EPOCH).unwrap_or_default();
    values.push((PROCESS_START_TIME, Values::Real(started.as_secs_f64())));
    if let Some(process) = readings.process {
        values.extend([
            (PROCESS_CPU, Values::Real(process.cpu_seconds)),
            (PROCESS_MEMORY, counts([process.resident_bytes])),
            (PROCESS_OPEN_FDS, counts([process.open_fds])),
            (PROCESS_THREADS, counts([process.threads])),
        ]);
    }
    values
}
