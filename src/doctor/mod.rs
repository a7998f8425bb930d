//! What is wrong with this node and its surroundings, and what to do about it.
//!
//! Owns the checks, their words and their remedies, and the limits on what asking costs: everything
//! outgoing runs at once, each answer and the whole have a deadline, and reports wait for each
//! other. Changes nothing and decides nothing; no answer holds a key.
//!
//! * [`report`]: the shape of an answer
//! * `readiness`: whether this node takes work
//! * `network`: what the mesh checks look at; `mesh`, `members` and `address`: those checks
//! * `agents`: agents, their models and tools; `models`: model servers; `host`: what the system grants
//! * `ask`: questions to other nodes

mod address;
mod agents;
mod ask;
mod host;
mod members;
mod mesh;
mod models;
mod network;
mod readiness;
pub mod report;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::agent::Registry;
use crate::api::types::ReloadStatus;
use crate::config::Runtime;
use crate::gossip;
use crate::inference::Served;
use crate::routing::LocalLoad;
use network::{Mute, Network};
pub use readiness::Condition;
use report::{Check, Report, Status};

/// Time for a whole report.
const REPORT_MAX: Duration = Duration::from_secs(5);

/// Of that, time for whatever is asked of others.
const ASKING_MAX: Duration = Duration::from_millis(4_500);

/// A directory is looked at by one report at a time, for a disk that hangs keeps the thread that
/// looks. A look takes milliseconds; one that takes longer than this holds up others no longer.
const DISK_WAIT_MAX: Duration = Duration::from_secs(1);

/// Reports that are made at once; others wait.
const REPORTS_MAX: usize = 2;

/// What a reload may replace.
#[derive(Debug, Clone)]
pub struct Current {
    /// The settings.
    pub config: Arc<Runtime>,
    /// The agents of this node.
    pub agents: Arc<Registry>,
}

/// What the doctor looks at.
#[derive(Clone)]
pub struct Setup {
    /// Settings and agents as they are now.
    pub current: Arc<dyn Fn() -> Current + Send + Sync>,
    /// How reloads went.
    pub reload: Arc<dyn Fn() -> ReloadStatus + Send + Sync>,
    /// Where the HTTP server listens.
    pub http: SocketAddr,
    /// When the process started.
    pub started: std::time::Instant,
    /// The gossip; `None` when the mesh is off.
    pub mesh: Option<gossip::Handle>,
    /// Whether this node drains.
    pub load: LocalLoad,
    /// For questions to other nodes; follows no redirects.
    pub client: Client,
    /// The models that this node serves.
    pub models: Served,
}

/// Examines this node.
pub struct Doctor {
    current: Arc<dyn Fn() -> Current + Send + Sync>,
    reload: Arc<dyn Fn() -> ReloadStatus + Send + Sync>,
    http: SocketAddr,
    started: std::time::Instant,
    mesh: Option<gossip::Handle>,
    load: LocalLoad,
    client: Client,
    models: Served,
    turns: Semaphore,
    disks: Disks,
}

impl fmt::Debug for Setup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Setup").field("http", &self.http).finish_non_exhaustive()
    }
}

impl fmt::Debug for Doctor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Doctor").field("http", &self.http).finish_non_exhaustive()
    }
}

impl Doctor {
    /// One for this node.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { current, reload, http, started, mesh, load, client, models } = setup;
        let turns = Semaphore::new(REPORTS_MAX);
        let disks = Disks::default();
        Self { current, reload, http, started, mesh, load, client, models, turns, disks }
    }

    /// Looks at everything; takes five seconds at most, once it is its turn.
    pub async fn report(&self) -> Report {
        // Never closed; each report asks dozens of others.
        let _turn = self.turns.acquire().await;
        let Current { config, agents } = (self.current)();
        let began = Instant::now();
        let until = began + ASKING_MAX;
        let (network, providers, peers, disks, file_limits) = tokio::join!(
            self.network(until),
            agents::providers(&agents, until),
            self.peers(&config, until),
            self.disks.check(&config, began + REPORT_MAX),
            blocking(began + REPORT_MAX, host::file_limits),
        );
        let bound = network.as_ref().and_then(|network| network.as_ref().ok()?.inspection.bound);
        let mut checks = vec![
            ("runtime".to_owned(), host::runtime(&config, self.started.elapsed())),
            ("ports".to_owned(), host::ports(self.http, bound)),
            ("reload".to_owned(), host::reload(&(self.reload)())),
            ("file_limits".to_owned(), file_limits),
        ];
        checks.extend(disks);
        match (&network, &self.mesh) {
            (Some(Ok(network)), Some(mesh)) => {
                checks.push(("mesh".to_owned(), mesh::check(network)));
                checks.push(("address".to_owned(), address::check(network)));
                checks.extend(mesh::seeds(network));
                checks.push(("clock".to_owned(), address::clock(network)));
                checks
                    .push(("socket_buffers".to_owned(), host::socket_buffers(&network.inspection)));
                checks.extend(members::checks(mesh, network, began + REPORT_MAX).await);
            }
            (Some(Err(mute)), _) => checks.push(("mesh".to_owned(), mesh::mute(*mute))),
            (None, _) | (_, None) => checks.push(("mesh".to_owned(), mesh::off(&config))),
        }
        checks.extend(peers);
        checks.push(("agents".to_owned(), agents::agents(&agents)));
        checks.extend(providers);
        checks.push(("tools".to_owned(), agents::tools(&agents)));
        checks.extend(models::checks(&self.models));
        Report::of(checks)
    }

    async fn network(&self, until: Instant) -> Option<Result<Network, Mute>> {
        Some(Network::gather(self.mesh.as_ref()?, &self.client, until).await)
    }

    /// A row for each static peer, which count only without a mesh.
    async fn peers(&self, config: &Runtime, until: Instant) -> Vec<(String, Check)> {
        if config.mesh.enabled {
            return Vec::new();
        }
        let peers = &config.peers;
        let tasks = peers.iter().map(|peer| ask::health(&self.client, &peer.url)).collect();
        let asked = ask::all(tasks, until).await;
        let row = |(peer, asked): (&crate::config::Peer, Option<Result<String, ask::Fault>>)| {
            let check = match asked {
                Some(Ok(version)) => Check::ok(format!("a node of version {version}")),
                Some(Err(fault)) if fault.kind == ask::FaultKind::NoNode => Check::bad(
                    Status::Degraded,
                    format!("answers, but not as a node: {}", fault.text),
                    "a peer may be any HTTP server that has /v1/agents/NAME/run; if it should be \
                     a node, mend its url in spec.peers",
                ),
                Some(Err(fault)) => mesh::failed(&fault),
                None => Check::bad(
                    Status::Unreachable,
                    "was not asked, for there was no time",
                    "ask again: others took too long",
                ),
            };
            (format!("peer:{}", peer.name), check.with("url", peer.url.as_str()))
        };
        peers.iter().zip(asked).map(row).collect()
    }
}

/// The directories that are written, each with the turn of whoever looks at it.
struct Disks {
    data: Arc<Semaphore>,
    log: Arc<Semaphore>,
}

impl Default for Disks {
    fn default() -> Self {
        Self { data: Arc::new(Semaphore::new(1)), log: Arc::new(Semaphore::new(1)) }
    }
}

impl Disks {
    /// A row for each.
    async fn check(&self, config: &Runtime, until: Instant) -> Vec<(String, Check)> {
        let log = config.log.file.enabled.then(|| config.log.file.directory.clone());
        let (data, log) = tokio::join!(
            disk(&self.data, Some(config.data_dir.clone()), until),
            disk(&self.log, log, until),
        );
        let rows = [("disk", data), ("disk:log", log)];
        rows.into_iter().filter_map(|(name, check)| Some((name.to_owned(), check?))).collect()
    }
}

async fn disk(turn: &Arc<Semaphore>, path: Option<PathBuf>, until: Instant) -> Option<Check> {
    let path = path?;
    Some(alone(turn, until, move || host::disk(&path)).await)
}

/// The same as [`blocking`], unless an earlier look still has the turn.
async fn alone(
    turn: &Arc<Semaphore>,
    until: Instant,
    look: impl FnOnce() -> Check + Send + 'static,
) -> Check {
    let wait = until.min(Instant::now() + DISK_WAIT_MAX);
    let Ok(Ok(permit)) = timeout_at(wait, Arc::clone(turn).acquire_owned()).await else {
        let message = "an earlier look at it still hangs, so it was not looked at again";
        return Check::bad(Status::Error, message, HANGING);
    };
    let look = move || {
        // Given back when the system answers, however late.
        let _permit = permit;
        look()
    };
    blocking(until, look).await
}

/// What this comes to on a thread that may block; after the deadline it is left to itself.
async fn blocking(until: Instant, look: impl FnOnce() -> Check + Send + 'static) -> Check {
    match timeout_at(until, tokio::task::spawn_blocking(look)).await {
        Ok(Ok(check)) => check,
        Ok(Err(panic)) => {
            Check::bad(Status::Error, panic.to_string(), "this is a defect: report it")
        }
        Err(_) => Check::bad(
            Status::Error,
            format!("no answer of the system within {} s", REPORT_MAX.as_secs()),
            HANGING,
        ),
    }
}

const HANGING: &str = "look whether a disk or a network drive hangs";

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::network::within;
    use super::*;

    #[tokio::test]
    async fn a_disk_that_hangs_costs_one_thread_and_is_looked_at_again_when_it_is_back() {
        let turn = Arc::new(Semaphore::new(1));
        let soon = || Instant::now() + Duration::from_millis(50);
        let (back, hangs) = mpsc::channel::<()>();

        let first = alone(&turn, soon(), move || {
            hangs.recv().unwrap_or_default();
            Check::ok("late")
        });
        assert!(first.await.message.starts_with("no answer of the system"));
        let second = alone(&turn, soon(), || panic!("there is a thread that waits already"));
        assert!(second.await.message.contains("still hangs"));

        drop(back);
        let third = alone(&turn, Instant::now() + REPORT_MAX, || Check::ok("back")).await;
        assert_eq!(third, Check::ok("back"));
    }

    #[tokio::test]
    async fn a_gossip_thread_that_does_not_answer_is_told_apart_from_one_that_has_ended() {
        let until = Instant::now() + Duration::from_millis(20);
        let silent = within(until, std::future::pending::<Result<(), gossip::Stopped>>()).await;
        assert_eq!(silent, Err(Mute::Silent));
        let stopped = within(until, async { Err::<(), _>(gossip::Stopped) }).await;
        assert_eq!(stopped, Err(Mute::Stopped));
        assert!(mesh::mute(Mute::Silent).message.contains("does not answer"));
    }
}
