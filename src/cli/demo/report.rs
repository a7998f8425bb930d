//! What the demo found out, for programs: `demo --json`.

use serde::Serialize;

use super::traffic::Tally;
use super::view::Sighting;

/// All that the demo measured. Acts that were not reached are `null`.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report {
    /// From the first process to a common view of all nodes.
    pub(super) formed_ms: u64,
    /// The nodes, as started first.
    pub(super) nodes: Vec<Started>,
    /// The requests of the second act.
    pub(super) spread: Option<Tally>,
    /// The third act.
    pub(super) kill: Option<Kill>,
    /// The fourth act.
    pub(super) comeback: Option<Comeback>,
    /// How each node ended; empty when they were kept.
    pub(super) stopped: Vec<Stopped>,
    /// Whole time of the demo.
    pub(super) total_ms: u64,
}

/// A node as started.
#[derive(Debug, Serialize)]
pub(super) struct Started {
    /// Its label.
    pub(super) name: String,
    /// Its base URL.
    pub(super) url: String,
    /// Its process id.
    pub(super) pid: u32,
}

/// A worker was killed.
#[derive(Debug, Serialize)]
pub(super) struct Kill {
    /// Which.
    pub(super) victim: String,
    /// What the others knew when.
    pub(super) sightings: Vec<Sighting>,
    /// The requests sent before, during and after.
    pub(super) requests: Tally,
}

/// It was started again.
#[derive(Debug, Serialize)]
pub(super) struct Comeback {
    /// From its start to a common view of all nodes.
    pub(super) rejoined_ms: u64,
    /// Whether it has the id it had before.
    pub(super) same_id: bool,
    /// Members in the view, dead and left ones included.
    pub(super) members: usize,
}

/// A node was stopped.
#[derive(Debug, Serialize)]
pub(super) struct Stopped {
    /// Its label.
    pub(super) name: String,
    /// `exit code 0` if all went well.
    pub(super) how: String,
}
