//! `GET /metrics`: what this node counts, for Prometheus; and `GET /v1/metrics/`, the same as JSON.
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
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Number;
use url::form_urlencoded;

use super::error::{ApiError, Code};
use super::reload::Reloads;
use super::types::{AgentUsage, MetricsReport, RunTimes};
use crate::agent::Records;
use crate::telemetry::labels::{MemberState, RunOutcome};
use crate::telemetry::logging::Log;
use crate::telemetry::metrics::{Agents, Gossip, Metrics, Readings};
use crate::telemetry::numbers::Summary;
use crate::telemetry::{numbers, page, process::Process};
use crate::{directory, gossip};

/// A gossip thread that is busier than this is left out of the answer.
pub(super) const GOSSIP_WAIT_MAX: Duration = Duration::from_millis(250);

/// Those numbers of the gossip that rise and fall.
const GOSSIP_LEVELS: [&str; 2] = ["event_listeners", "local_health"];

/// Where the page gets its numbers.
#[derive(Clone)]
pub struct Sources {
    /// What is counted.
    pub metrics: Metrics,
    /// What runs left behind.
    pub records: Records,
    /// The log; `None` where there is none, as in tests.
    pub log: Option<Log>,
    /// The members of the mesh.
    pub directory: directory::Reader,
    /// The gossip; `None` when the mesh is off.
    pub mesh: Option<gossip::Handle>,
    /// How reloads went; `None` where nobody reloads, as in tests.
    pub reloads: Option<Reloads>,
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

/// The routes; without sources (the service `observability` is off) there are none.
pub fn router(sources: Option<Sources>) -> Router {
    match sources {
        Some(sources) => Router::new()
            .route("/metrics", get(page))
            .route("/v1/metrics", get(report))
            .route("/v1/metrics/", get(report))
            .with_state(sources),
        None => Router::new(),
    }
}

async fn page(State(sources): State<Sources>) -> Result<impl IntoResponse, ApiError> {
    let text = gathered(sources, |sources, readings| sources.metrics.page(readings)).await?;
    Ok(([(CONTENT_TYPE, page::CONTENT_TYPE)], text))
}

/// `GET /v1/metrics/`: the numbers of the page; `?agent=` leaves those of one agent.
async fn report(
    State(sources): State<Sources>,
    RawQuery(query): RawQuery,
) -> Result<Json<MetricsReport>, ApiError> {
    let query = query.unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let agent = pairs.find(|(key, value)| key == "agent" && !value.is_empty());
    let numbers = match agent {
        Some((_, agent)) => {
            let mut usage = sources.records.usage();
            usage.retain(|usage| usage.agent == agent);
            numbers::of_agents(agents(&usage))
        }
        None => gathered(sources, |sources, readings| sources.metrics.numbers(readings)).await?,
    };
    let exact = |(name, value): (String, f64)| (name, exact(value));
    let times = |(name, summary): (String, Summary)| {
        let Summary { count, sum, min, max } = summary;
        (name, RunTimes { count, sum, avg: sum / count as f64, min, max })
    };
    Ok(Json(MetricsReport {
        counters: numbers.counters.into_iter().map(exact).collect(),
        gauges: numbers.gauges.into_iter().map(exact).collect(),
        histograms: numbers.histograms.into_iter().map(times).collect(),
    }))
}

/// What agents did and used, in the order of the labels.
fn agents(usage: &[AgentUsage]) -> Agents {
    let mut agents = Agents::default();
    for usage in usage {
        let row = |labels: &[&str]| {
            [&[usage.agent.as_str()], labels].concat().into_iter().map(str::to_owned).collect()
        };
        for (outcome, runs) in [
            (RunOutcome::Ok, usage.runs_ok),
            (RunOutcome::Error, usage.runs_failed),
            (RunOutcome::Canceled, usage.runs_canceled),
        ] {
            agents.runs.push((row(&[outcome.name()]), runs));
        }
        agents.run_times.push((row(&[]), usage.times));
        for model in &usage.models {
            let labels: [&str; 2] = [&model.provider, &model.model];
            agents.model_calls.push((row(&labels), model.calls));
            agents.model_failures.push((row(&labels), model.failed));
            agents.tokens_in.push((row(&labels), model.tokens_in));
            agents.tokens_out.push((row(&labels), model.tokens_out));
        }
        for tool in &usage.tools {
            agents.tool_calls.push((row(&[&tool.tool]), tool.calls));
            agents.tool_failures.push((row(&[&tool.tool]), tool.failed));
        }
    }
    agents
}

/// A number without `.0` where it is whole.
fn exact(value: f64) -> Number {
    // Beyond 2^53 floating point numbers are not exact anyway.
    let is_whole = value.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&value);
    if is_whole {
        return (value as u64).into();
    }
    Number::from_f64(value).unwrap_or_else(|| 0.into())
}

/// What this makes of the numbers of this moment.
async fn gathered<T: Send + 'static>(
    sources: Sources,
    make: impl FnOnce(&Sources, Readings) -> T + Send + 'static,
) -> Result<T, ApiError> {
    let gossip = match &sources.mesh {
        // A node that is stopping has none to ask any more.
        Some(mesh) => tokio::time::timeout(GOSSIP_WAIT_MAX, mesh.counters()).await.ok(),
        None => None,
    };
    let gossip = gossip.and_then(Result::ok).map(by_kind);
    // On a thread of its own: listing descriptors takes the longer the more connections there are.
    let made = tokio::task::spawn_blocking(move || {
        let readings = readings(&sources, gossip);
        make(&sources, readings)
    });
    made.await.map_err(|panic| ApiError::new(Code::Internal, panic.to_string()))
}

fn readings(sources: &Sources, gossip: Option<Gossip>) -> Readings {
    let levels = (sources.levels)();
    let lines = sources.log.as_ref().map(Log::lines);
    let reloads = sources.reloads.as_ref().map(Reloads::status).unwrap_or_default();
    Readings {
        running: levels.running.into(),
        queued: levels.queued.into(),
        ejected: levels.ejected.into(),
        results: levels.results,
        members: members(&sources.directory.snapshot()),
        gossip,
        agents: agents(&sources.records.usage()),
        reloads: [reloads.count.saturating_sub(reloads.failed), reloads.failed],
        log_lines: lines.unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION"),
        process: Process::read(),
    }
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
    let (levels, events): (Vec<_>, Vec<_>) =
        counters.into_iter().partition(|(name, _)| GOSSIP_LEVELS.contains(&name.as_str()));
    let rows = |counters: Vec<(String, u64)>| {
        counters.into_iter().map(|(name, count)| (vec![name], count)).collect()
    };
    Gossip { events: rows(events), levels: rows(levels) }
}
