//! `GET /metrics`: what this node counts, for Prometheus.
//!
//! Gathers what others know at that moment and hands it to [`telemetry::metrics`], which owns every
//! name. Takes no lock that a request may wait for; what could take its time (the gossip thread,
//! the kernel) has a limit or a thread of its own.
//!
//! [`telemetry::metrics`]: crate::telemetry::metrics

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use astromesh_wire::State as MemberIs;
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;

use super::error::{ApiError, Code};
use crate::telemetry::labels::MemberState;
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::{Gossip, Metrics, Readings};
use crate::telemetry::{page, process::Process};
use crate::{directory, gossip};

/// A gossip thread that is busier than this is left out of the page.
const GOSSIP_WAIT_MAX: Duration = Duration::from_millis(250);

/// Those numbers of the gossip that rise and fall.
const GOSSIP_LEVELS: [&str; 2] = ["event_listeners", "local_health"];

/// Where the page gets its numbers.
#[derive(Clone)]
pub struct Sources {
    /// What is counted.
    pub metrics: Metrics,
    /// The log; `None` where there is none, as in tests.
    pub log: Option<Log>,
    /// The members of the mesh.
    pub directory: directory::Reader,
    /// The gossip; `None` when the mesh is off.
    pub mesh: Option<gossip::Handle>,
    /// What runs and waits; must not wait for a lock that requests wait for.
    pub levels: Arc<dyn Fn() -> Levels + Send + Sync>,
}

/// What the parts that serve requests know at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Levels {
    /// Requests for agents that run on this node.
    pub running: u32,
    /// Requests that wait for a slot.
    pub queued: u32,
    /// Nodes that are passed over.
    pub ejected: u32,
    /// Results that were too long to be kept, and those that were dropped for newer ones, since the
    /// start.
    pub results: [u64; 2],
}

impl fmt::Debug for Sources {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sources").field("levels", &(self.levels)()).finish_non_exhaustive()
    }
}

/// The route; without sources (the service `observability` is off) there is none.
pub fn router(sources: Option<Sources>) -> Router {
    match sources {
        Some(sources) => Router::new().route("/metrics", get(page)).with_state(sources),
        None => Router::new(),
    }
}

async fn page(State(sources): State<Sources>) -> Result<impl IntoResponse, ApiError> {
    let gossip = match &sources.mesh {
        // A node that is stopping has none to ask any more.
        Some(mesh) => tokio::time::timeout(GOSSIP_WAIT_MAX, mesh.counters()).await.ok(),
        None => None,
    };
    let gossip = gossip.and_then(Result::ok).map(by_kind);
    // On a thread of its own: listing descriptors takes the longer the more connections there are.
    let text = tokio::task::spawn_blocking(move || text(&sources, gossip)).await;
    let text = text.map_err(|panic| ApiError::new(Code::Internal, panic.to_string()))?;
    Ok(([(CONTENT_TYPE, page::CONTENT_TYPE)], text))
}

fn text(sources: &Sources, gossip: Option<Gossip>) -> String {
    let levels = (sources.levels)();
    let lines = sources.log.as_ref().map(Log::lines);
    sources.metrics.page(Readings {
        running: levels.running.into(),
        queued: levels.queued.into(),
        ejected: levels.ejected.into(),
        results: levels.results,
        members: members(&sources.directory.snapshot()),
        gossip,
        log_lines: lines.unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION"),
        process: Process::read(),
    })
}

/// Members by state, in the order of [`MemberState::ALL`].
fn members(snapshot: &directory::Snapshot) -> [u64; MemberState::ALL.len()] {
    let mut counts = [0; MemberState::ALL.len()];
    for member in &snapshot.members {
        let state = match member.state {
            MemberIs::Alive => MemberState::Alive,
            MemberIs::Suspect => MemberState::Suspect,
            MemberIs::Dead => MemberState::Dead,
            MemberIs::Left => MemberState::Left,
        };
        counts[state.index()] += 1;
    }
    counts
}

fn by_kind(counters: BTreeMap<String, u64>) -> Gossip {
    let is_level = |(name, _): &(String, u64)| GOSSIP_LEVELS.contains(&name.as_str());
    let (levels, events) = counters.into_iter().partition(is_level);
    Gossip { events, levels }
}
