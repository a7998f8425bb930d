//! Joining the mesh, over HTTP: through the seeds, and when none of them answers through members
//! that were alive when this node last looked.
//!
//! Owns whom to ask, when and how often. It never gives up, for a seed may come back, and asks
//! again from time to time, for a seed may have been replaced.

use std::net::SocketAddr;
use std::time::Duration;

use astromesh_swim::Origin;
use astromesh_wire::NodeId;
use reqwest::StatusCode;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tracing::{debug, info, warn};
use url::Url;

use super::http::{CallError, call, claims};
use super::peers::{Peer, PeersFile};
use super::seeds::{self, Asked, Joining, SeedFault};
use super::{Handle, json};
use crate::api::types::MeshState;
use crate::directory::{Member, Snapshot};

/// First and longest wait between tries while nobody has answered, or while this node is alone.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Wait between two rounds over the seeds once the mesh is found: for a seed that was replaced, or
/// a part of the mesh that lost sight of this one.
const REVISIT: Duration = Duration::from_secs(60);

/// Of the rounds over the seeds in a whole mesh, one in so many asks also those that are live
/// members: some ten minutes apart.
const REVISITS_PER_FULL_ROUND: u32 = 10;

/// Rounds in a hurry that somebody answered, some five minutes, before the smaller mesh is the mesh.
const HURRIED_ROUNDS_MAX: u32 = 60;

/// Rounds without an answer before an operator is told.
const FAILURES_BEFORE_WARNING: u32 = 5;

/// Addresses of one seed that are tried in a round.
const ADDRESSES_MAX: usize = 16;

/// Members from before that are asked at once: most of them may be gone, and one is enough.
const FORMER_AT_ONCE: usize = 3;

/// Why somebody did not help.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error("cannot resolve the host: {0}")]
    Resolve(std::io::Error),
    #[error("{0}")]
    Call(#[from] CallError),
    #[error("every address of it is this node itself")]
    Itself,
    #[error("it belongs to the cluster `{0}` (spec.mesh.cluster)")]
    OtherCluster(String),
}

impl JoinError {
    /// What happened, for those who know which seed it was.
    fn brief(&self) -> String {
        match self {
            Self::Call(error) => error.brief(),
            Self::Resolve(_) | Self::Itself | Self::OtherCluster(_) => self.to_string(),
        }
    }

    const fn fault(&self) -> Option<SeedFault> {
        Some(match self {
            Self::Itself => return None,
            Self::Resolve(_) => SeedFault::Name,
            Self::OtherCluster(_) | Self::Call(CallError::Status(StatusCode::CONFLICT, _)) => {
                SeedFault::OtherCluster
            }
            Self::Call(CallError::Status(status, _)) => SeedFault::Refused(status.as_u16()),
            Self::Call(CallError::Http(_)) => SeedFault::Unreachable,
            Self::Call(CallError::TooLarge | CallError::Shape(_) | CallError::Outdated) => {
                SeedFault::NoNode
            }
        })
    }

    /// It is there and says no; an operator has to look.
    const fn is_refusal(&self) -> bool {
        matches!(self, Self::OtherCluster(_) | Self::Call(CallError::Status(..)))
    }
}

fn asked(outcome: &Result<Option<NodeId>, JoinError>) -> Asked {
    match outcome {
        Ok(id) => Asked::Joined(*id),
        Err(error) => {
            error.fault().map_or(Asked::Itself, |fault| Asked::Failed(fault, error.brief()))
        }
    }
}

/// Joins the mesh, and keeps asking for as long as the node runs. Other seeds are asked at once.
pub(super) async fn join(
    handle: Handle,
    mut urls: watch::Receiver<Vec<Url>>,
    file: PeersFile,
    told: watch::Sender<Joining>,
) {
    let mut former = Former { file, waiting: Vec::new() };
    former.fill().await;
    let mut seeds = Seeds::new(told);
    seeds.replace(&urls.borrow_and_update());
    while seeds.list.is_empty() && former.waiting.is_empty() {
        // Whoever has neither seeds nor a past waits to be asked, or for seeds.
        if urls.changed().await.is_err() {
            return;
        }
        seeds.replace(&urls.borrow_and_update());
    }
    let mut wait = RETRY_FIRST;
    let mut rounds: u32 = 0;
    let mut has_joined = false;
    let mut failures: u32 = 0;
    let mut largest = 1;
    let mut hurried: u32 = 0;
    loop {
        if handle.directory.snapshot().local_has_left() {
            return;
        }
        rounds = rounds.wrapping_add(1);
        let ask_all = wait < REVISIT || rounds.is_multiple_of(REVISITS_PER_FULL_ROUND);
        let Round { mut answered, mut joined } = seeds.ask(&handle, ask_all, has_joined).await;
        let is_alone = handle.directory.snapshot().live().count() == 1;
        if !joined && is_alone && former.ask(&handle, has_joined).await {
            (answered, joined) = (true, true);
        }
        let live = handle.directory.snapshot().live().count();
        if seeds.list.is_empty() && live > 1 {
            // Nobody is left to be asked, nor needed.
            answered = true;
        }
        largest = largest.max(live);
        if joined && !has_joined {
            has_joined = true;
            seeds.told.send_modify(|joining| joining.has_joined = true);
            info!("joined the mesh");
        }
        if !answered {
            failures = failures.saturating_add(1);
            if failures == FAILURES_BEFORE_WARNING && !has_joined {
                warn!(
                    seeds = ?seeds.list.iter().map(|seed| seed.url.as_str()).collect::<Vec<_>>(),
                    "nobody has answered so far, no seed and no member known from before; serving \
                     alone and trying on. Check that spec.mesh.seeds names reachable nodes"
                );
            }
        }
        // In a hurry while alone, and for a while after a fifth of the mesh went out of sight.
        let is_whole = answered && live > 1 && live * 5 >= largest * 4;
        hurried = if is_whole || !answered { 0 } else { hurried + 1 };
        if is_whole || hurried >= HURRIED_ROUNDS_MAX {
            largest = live;
            wait = REVISIT;
        } else {
            wait = (wait * 2).min(RETRY_MAX);
        }
        tokio::select! {
            () = tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())) => {}
            Ok(()) = urls.changed() => {
                seeds.replace(&urls.borrow_and_update());
                (wait, failures) = (RETRY_FIRST, 0);
            }
        }
    }
}

/// The seeds, and whether a refusal has been reported.
#[derive(Debug)]
struct Seeds {
    list: Vec<Seed>,
    has_refused: bool,
    /// Where it is said what came of asking.
    told: watch::Sender<Joining>,
}

/// A seed, and the member that answered for it last.
#[derive(Debug)]
struct Seed {
    url: Url,
    answered_by: Option<NodeId>,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    /// Somebody did, or there was no need to ask.
    answered: bool,
    /// Another node took this one in.
    joined: bool,
}

impl Seeds {
    /// None yet; what comes of asking is told there.
    const fn new(told: watch::Sender<Joining>) -> Self {
        Self { list: Vec::new(), has_refused: false, told }
    }

    /// These and no others; of those that stay it is known who answered last.
    fn replace(&mut self, urls: &[Url]) {
        let before = std::mem::take(&mut self.list);
        let answered_by = |url: &Url| {
            let same = before.iter().find(|seed| seed.url == *url);
            same.and_then(|seed| seed.answered_by)
        };
        let seed = |url: &Url| Seed { url: url.clone(), answered_by: answered_by(url) };
        self.list = urls.iter().map(seed).collect();
        self.has_refused = false;
        self.told.send_modify(|joining| joining.replace(urls));
    }

    /// Asks one after the other; those that are live members only if `ask_all`.
    async fn ask(&mut self, handle: &Handle, ask_all: bool, has_joined: bool) -> Round {
        let mut round = Round::default();
        for seed in &mut self.list {
            if !ask_all && seed.is_live_in(&handle.directory.snapshot()) {
                // The gossip keeps us in touch with it; its whole view need not be fetched.
                round.answered = true;
                continue;
            }
            let outcome = join_through(handle, &seed.url, has_joined).await;
            seeds::note(&self.told, &seed.url, asked(&outcome));
            match outcome {
                Ok(id) => {
                    seed.answered_by = id;
                    round = Round { answered: true, joined: true };
                }
                // A seed list shared by all nodes names this node too.
                Err(JoinError::Itself) => round.answered = true,
                Err(error) if error.is_refusal() && !self.has_refused => {
                    self.has_refused = true;
                    warn!(seed = %seed.url, %error, "a seed refuses this node; trying on");
                }
                Err(error) => debug!(seed = %seed.url, %error, "a seed did not answer"),
            }
        }
        round
    }
}

impl Seed {
    fn is_live_in(&self, snapshot: &Snapshot) -> bool {
        let member = self.answered_by.and_then(|id| snapshot.member(id));
        member.is_some_and(Member::is_live)
    }
}

/// Members that were alive when this node last looked.
#[derive(Debug)]
struct Former {
    file: PeersFile,
    /// Those still to be asked, in random order.
    waiting: Vec<Url>,
}

impl Former {
    /// Asks the next few at once; true as soon as one of them has taken this node in.
    async fn ask(&mut self, handle: &Handle, has_joined: bool) -> bool {
        if self.waiting.is_empty() {
            self.fill().await;
        }
        let mut asked = JoinSet::new();
        for url in self.waiting.split_off(self.waiting.len().saturating_sub(FORMER_AT_ONCE)) {
            let handle = handle.clone();
            asked.spawn(async move {
                let outcome = join_through(&handle, &url, has_joined).await;
                if let Err(error) = &outcome {
                    debug!(%url, %error, "a member from before did not answer");
                }
                outcome.is_ok()
            });
        }
        while let Some(outcome) = asked.join_next().await {
            if matches!(outcome, Ok(true)) {
                return true;
            }
        }
        false
    }

    /// Everybody anew, as the file says now. What is wrong with it is said by whoever writes it.
    async fn fill(&mut self) {
        let file = self.file.clone();
        if let Ok(Ok(peers)) = spawn_blocking(move || file.read()).await {
            self.waiting = peers.into_iter().map(Peer::into_url).collect();
            fastrand::shuffle(&mut self.waiting);
        }
    }
}

/// Joins through the first address of a node that answers and is not this node; says who that was.
async fn join_through(
    handle: &Handle,
    url: &Url,
    has_joined: bool,
) -> Result<Option<NodeId>, JoinError> {
    let mut last = JoinError::Itself;
    for address in resolve(url).await.map_err(JoinError::Resolve)?.into_iter().take(ADDRESSES_MAX) {
        let snapshot = handle.directory.snapshot();
        let Some(local) = snapshot.member(snapshot.local) else { return Ok(None) };
        let mut own = json::node(local, snapshot.leader);
        own.cluster = Some(handle.cluster().to_owned());
        match call::<_, MeshState>(url, Some(address), "v1/mesh/join", &own).await {
            Ok(state) if state.this_node.as_deref() == Some(own.node_id.as_str()) => {}
            Ok(MeshState { cluster: Some(other), .. }) if other != handle.cluster() => {
                return Err(JoinError::OtherCluster(other));
            }
            Ok(state) => {
                let origin = if has_joined { Origin::Sync } else { Origin::Join };
                adopt(handle, &state, origin).await;
                return Ok(state.this_node.and_then(|id| id.parse().ok()));
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// The addresses of a node, asked for anew each time.
async fn resolve(url: &Url) -> std::io::Result<Vec<SocketAddr>> {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// Takes in the view of another node, and where it sees this one.
async fn adopt(handle: &Handle, state: &MeshState, origin: Origin) {
    let mut outcome = handle.merge(claims(&state.nodes), state.term, origin).await;
    if let Some(ip) = state.observed_ip.as_deref().and_then(|ip| ip.parse().ok()) {
        outcome = outcome.and(handle.observed(ip).await);
    }
    if outcome.is_err() {
        debug!("the node is stopping");
    }
}
