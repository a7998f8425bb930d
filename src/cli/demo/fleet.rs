//! The four nodes of the demo together.
//!
//! Owns their start on free ports, the waiting for a common view, and their end. Whatever happens
//! between, the nodes end before their directory is removed.

use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::api::types::MeshState;
use crate::cli::client::Client;
use crate::cli::failure::Failure;

use super::model::Model;
use super::node::{Lifetime, Node, Plan};
use super::profile::Role;
use super::{ports, view};

/// Who takes part. The first is the gateway, and the seed of the others.
const CAST: [(&str, Role); 4] = [
    ("gateway", Role::Gateway),
    ("worker-1", Role::Worker),
    ("worker-2", Role::Worker),
    ("inference", Role::Inference),
];

/// How many nodes there are.
pub(super) const SIZE: usize = CAST.len();

/// How often new ports are chosen when another process was quicker to take one.
const STARTS_MAX: usize = 3;

/// How long nodes may take to answer, and then to agree.
const START_PATIENCE: Duration = Duration::from_secs(20);

/// How long a node may take to end after SIGTERM.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// The nodes and the directory that holds all they write.
#[derive(Debug)]
pub(super) struct Fleet {
    /// In the order of the cast. Before `dir`, so that they are dropped first.
    pub(super) nodes: Vec<Node>,
    /// Removed when dropped.
    pub(super) dir: TempDir,
    lifetime: Lifetime,
}

/// Why a start did not work.
enum StartProblem {
    /// Another process has the port by now.
    PortTaken,
    Other(Failure),
}

impl Fleet {
    /// An empty one, with its directory.
    pub(super) fn new(lifetime: Lifetime) -> Result<Self, Failure> {
        let dir = tempfile::Builder::new().prefix("astromesh-demo-").tempdir();
        let dir = dir.map_err(|error| Failure::Local {
            doing: "make a temporary directory",
            cause: error.to_string(),
        })?;
        Ok(Self { nodes: Vec::with_capacity(SIZE), dir, lifetime })
    }

    /// Starts all nodes and waits until each answers.
    pub(super) async fn start(&mut self, model: &Model) -> Result<(), Failure> {
        for attempt in 1..=STARTS_MAX {
            match self.try_start(model).await {
                Ok(()) => return Ok(()),
                Err(StartProblem::PortTaken) if attempt < STARTS_MAX => self.clear(),
                Err(StartProblem::PortTaken) => break,
                Err(StartProblem::Other(failure)) => return Err(failure),
            }
        }
        let message = format!("no free ports: others took them {STARTS_MAX} times");
        Err(Failure::Demo { message })
    }

    fn clear(&mut self) {
        // Dropping kills; the next attempt uses other ports and needs nothing of these.
        self.nodes.clear();
    }

    async fn try_start(&mut self, model: &Model) -> Result<(), StartProblem> {
        let other = StartProblem::Other;
        let ports = ports::free(SIZE).map_err(|error| {
            other(Failure::Local { doing: "find free ports", cause: error.to_string() })
        })?;
        let seed = format!("http://127.0.0.1:{}", ports[0]);
        for ((name, role), port) in CAST.into_iter().zip(ports) {
            let home = self.dir.path().join(name);
            let plan = Plan { name, role, port, home, lifetime: self.lifetime };
            let seeds = if role == Role::Gateway { vec![] } else { vec![seed.clone()] };
            plan.prepare(&seeds, model).map_err(other)?;
            self.nodes.push(plan.start().map_err(other)?);
        }
        let deadline = Instant::now() + START_PATIENCE;
        for index in 0..SIZE {
            while self.nodes[index].client.get(&["v1", "health"]).await.is_err() {
                self.check_start()?;
                if Instant::now() >= deadline {
                    return Err(other(self.explain(index, "does not answer")));
                }
                sleep(Duration::from_millis(10)).await;
            }
        }
        // One that answered could be a stranger on a port that ours did not get.
        self.check_start()
    }

    fn check_start(&mut self) -> Result<(), StartProblem> {
        let Some((index, how)) = self.ended() else { return Ok(()) };
        if self.nodes[index].plan.log_tail().to_lowercase().contains("in use") {
            return Err(StartProblem::PortTaken);
        }
        Err(StartProblem::Other(self.explain(index, &format!("ended with {how}"))))
    }

    fn ended(&mut self) -> Option<(usize, String)> {
        let ends = self.nodes.iter_mut().enumerate();
        ends.filter_map(|(index, node)| Some((index, node.ended()?))).next()
    }

    /// Waits until every node's view holds all nodes, alive, under the same leader.
    pub(super) async fn agreement(&mut self) -> Result<Vec<MeshState>, Failure> {
        let deadline = Instant::now() + START_PATIENCE;
        loop {
            if let Some((index, how)) = self.ended() {
                return Err(self.explain(index, &format!("ended with {how}")));
            }
            let mut views = Vec::with_capacity(SIZE);
            for node in &self.nodes {
                views.push(view::of(&node.client).await);
            }
            let complete: Option<Vec<MeshState>> = views.iter().cloned().collect();
            if let Some(complete) = complete.filter(|views| view::agree(views, SIZE)) {
                return Ok(complete);
            }
            if Instant::now() >= deadline {
                let whole = |view: &Option<MeshState>| {
                    view.as_ref().is_some_and(|v| view::is_whole(v, SIZE))
                };
                let behind = views.iter().position(|view| !whole(view)).unwrap_or(0);
                let seconds = START_PATIENCE.as_secs();
                let what = format!("does not share a view of {SIZE} alive after {seconds} s");
                return Err(self.explain(behind, &what));
            }
            sleep(view::POLL_INTERVAL).await;
        }
    }

    /// The gateway with the patience that requests need.
    pub(super) fn gateway(&self, patience: Duration) -> Result<Arc<Client>, Failure> {
        let port = self.nodes[0].plan.port;
        Ok(Arc::new(Client::to(crate::cli::client::loopback(port), patience)?))
    }

    /// A failure of one node, with the end of its log.
    pub(super) fn explain(&self, index: usize, what: &str) -> Failure {
        let plan = &self.nodes[index].plan;
        let mut message = format!("{} {what}", plan.name);
        let tail = plan.log_tail();
        if !tail.is_empty() {
            message = format!("{message}; its log ends with:\n{tail}");
        }
        Failure::Demo { message }
    }

    /// SIGTERM to all at once, SIGKILL to those that do not end; how each ended.
    pub(super) async fn stop(&mut self) -> Vec<(&'static str, String)> {
        for node in &self.nodes {
            node.terminate();
        }
        let deadline = Instant::now() + STOP_PATIENCE;
        let mut ends = Vec::with_capacity(SIZE);
        for node in &mut self.nodes {
            let how = node.wait(deadline.saturating_duration_since(Instant::now())).await;
            ends.push((node.plan.name, how));
        }
        self.nodes.clear();
        ends
    }

    /// Lets the nodes and their directory live on; where that is.
    pub(super) fn release(self) -> std::path::PathBuf {
        for node in self.nodes {
            node.release();
        }
        self.dir.keep()
    }
}
