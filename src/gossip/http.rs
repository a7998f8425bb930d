//! Join and comparison of views: the HTTP calls to other nodes that membership needs.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use astromesh_swim::{Claim, Origin};
use astromesh_wire::NodeId;
use reqwest::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};
use url::Url;

use super::{Handle, Request, json};
use crate::api::types::{ErrorBody, GossipBody, MeshState};
use crate::directory::{Member, Snapshot};

/// What the gossip thread wants to know from another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Its whole view, in exchange for ours.
    Comparison(NodeId),
    /// Its agents, which are too many for its record.
    Agents(NodeId),
}

/// Wants that may wait; they come again if they are dropped.
pub(super) const WANTS_MAX: usize = 64;

/// Time for one call to another node.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Time to connect to another node.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The largest answer that is read: some 30,000 members.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// First and longest wait between tries while no seed has answered, or while this node is alone.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Wait before a member is asked for its agents again.
const AGENTS_RETRY: Duration = Duration::from_secs(1);

/// Wait between two rounds over the seeds once the mesh is found: for a seed that was replaced, or
/// a part of the mesh that lost sight of this one.
const REVISIT: Duration = Duration::from_secs(60);

/// Addresses of one seed that are tried in a round.
const ADDRESSES_MAX: usize = 16;

/// Why a seed did not help.
#[derive(Debug, thiserror::Error)]
enum JoinError {
    #[error("cannot resolve the host: {0}")]
    Resolve(std::io::Error),
    #[error("{0}")]
    Call(#[from] CallError),
    #[error("every address of the seed is this node itself")]
    Itself,
    #[error("it belongs to the cluster `{0}` (spec.mesh.cluster)")]
    OtherCluster(String),
}

#[derive(Debug, thiserror::Error)]
enum CallError {
    #[error("{}", chain(.0))]
    Http(#[from] reqwest::Error),
    #[error("answered {0}: {1}")]
    Status(reqwest::StatusCode, String),
    #[error("the answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the answer is not what was asked for: {0}")]
    Shape(#[from] serde_json::Error),
    #[error("the answer is older than what is known already")]
    Outdated,
}

impl JoinError {
    /// The seed is there and says no; an operator has to look.
    const fn is_refusal(&self) -> bool {
        matches!(self, Self::OtherCluster(_) | Self::Call(CallError::Status(..)))
    }
}

/// An error with its causes: the outermost alone says little.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// Joins the mesh through the seeds, and keeps asking them for as long as the node runs.
pub(super) async fn join(handle: Handle, seeds: Vec<Url>) {
    if seeds.is_empty() {
        return;
    }
    let mut seeds: Vec<Seed> =
        seeds.into_iter().map(|url| Seed { url, answered_by: None }).collect();
    let mut wait = RETRY_FIRST;
    let mut rounds: u32 = 0;
    let mut has_joined = false;
    let mut failures: u32 = 0;
    let mut refused = false;
    let mut largest = 1;
    let mut hurried: u32 = 0;
    loop {
        if handle.directory.snapshot().local_has_left() {
            return;
        }
        let (mut answered, mut joined) = (false, false);
        rounds = rounds.wrapping_add(1);
        let ask_all = wait < REVISIT || rounds.is_multiple_of(REVISITS_PER_FULL_ROUND);
        for seed in &mut seeds {
            if !ask_all && seed.is_live_in(&handle.directory.snapshot()) {
                // The gossip keeps us in touch with it; its whole view need not be fetched.
                answered = true;
                continue;
            }
            match join_one(&handle, &seed.url, has_joined).await {
                Ok(id) => {
                    seed.answered_by = id;
                    (answered, joined) = (true, true);
                }
                // A seed list shared by all nodes names this node too.
                Err(JoinError::Itself) => answered = true,
                Err(error) if error.is_refusal() && !refused => {
                    refused = true;
                    warn!(seed = %seed.url, %error, "a seed refuses this node; trying on");
                }
                Err(error) => debug!(seed = %seed.url, %error, "a seed did not answer"),
            }
        }
        let live = handle.directory.snapshot().live().count();
        largest = largest.max(live);
        if joined && !has_joined {
            has_joined = true;
            info!("joined the mesh");
        }
        if !answered {
            failures = failures.saturating_add(1);
            if failures == FAILURES_BEFORE_WARNING && !has_joined {
                warn!(
                    seeds = ?seeds.iter().map(|seed| seed.url.as_str()).collect::<Vec<_>>(),
                    "no seed has answered so far; serving alone and trying on. Check that \
                     spec.mesh.seeds names reachable nodes"
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
        tokio::time::sleep(wait.mul_f64(0.5 + fastrand::f64())).await;
    }
}

/// A seed, and the member that answered for it last.
#[derive(Debug)]
struct Seed {
    url: Url,
    answered_by: Option<NodeId>,
}

impl Seed {
    fn is_live_in(&self, snapshot: &Snapshot) -> bool {
        let member = self.answered_by.and_then(|id| snapshot.member(id));
        member.is_some_and(Member::is_live)
    }
}

/// Of the rounds over the seeds in a whole mesh, one in so many asks also those that are live
/// members: some ten minutes apart.
const REVISITS_PER_FULL_ROUND: u32 = 10;

/// Rounds in a hurry that seeds answered, some five minutes, before the smaller mesh is the mesh.
const HURRIED_ROUNDS_MAX: u32 = 60;

/// Rounds without an answer before an operator is told.
const FAILURES_BEFORE_WARNING: u32 = 5;

/// Joins through the first address of a seed that answers and is not this node; says who that was.
async fn join_one(
    handle: &Handle,
    seed: &Url,
    has_joined: bool,
) -> Result<Option<NodeId>, JoinError> {
    let mut last = JoinError::Itself;
    for address in resolve(seed).await.map_err(JoinError::Resolve)?.into_iter().take(ADDRESSES_MAX)
    {
        let snapshot = handle.directory.snapshot();
        let Some(local) = snapshot.member(snapshot.local) else { return Ok(None) };
        let mut own = json::node(local, snapshot.leader);
        own.cluster = Some(handle.cluster().to_owned());
        match call::<_, MeshState>(seed, Some(address), "v1/mesh/join", &own).await {
            Ok(state) if state.this_node.as_deref() == Some(own.node_id.as_str()) => {}
            Ok(MeshState { cluster: Some(other), .. }) if other != handle.cluster() => {
                return Err(JoinError::OtherCluster(other));
            }
            Ok(state) => {
                let origin = if has_joined { Origin::Sync } else { Origin::Join };
                adopt(handle, &state, origin).await;
                if let Some(ip) = state.observed_ip.as_deref().and_then(|ip| ip.parse().ok()) {
                    observed(handle, ip).await;
                }
                return Ok(state.this_node.and_then(|id| id.parse().ok()));
            }
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// The addresses of a seed, asked for anew each time.
async fn resolve(seed: &Url) -> std::io::Result<Vec<SocketAddr>> {
    let host = seed.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = seed.port_or_known_default().unwrap_or(80);
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

async fn observed(handle: &Handle, ip: IpAddr) {
    if handle.observed(ip).await.is_err() {
        debug!("the node is stopping");
    }
}

/// Takes in the view of another node.
async fn adopt(handle: &Handle, state: &MeshState, origin: Origin) {
    let claims = claims(&state.nodes);
    if handle.merge(claims, state.term, origin).await.is_err() {
        debug!("the node is stopping");
    }
}

fn claims(nodes: &[crate::api::types::Node]) -> Vec<Claim> {
    let claim = |node| match json::claim(node) {
        Ok(claim) => Some(claim),
        Err(error) => {
            warn!(node.id = %node.node_id, %error, "ignoring a node in another node's view");
            None
        }
    };
    nodes.iter().filter_map(claim).collect()
}

/// Does what the gossip thread wants, one after the other.
pub(super) async fn answer_wants(handle: Handle, mut wanted: mpsc::Receiver<Want>) {
    // Members whose agents could not be asked for; unlike a comparison nobody wants them again.
    let mut unanswered: BTreeSet<NodeId> = BTreeSet::new();
    loop {
        let want = tokio::select! {
            want = wanted.recv() => match want {
                Some(want) => want,
                None => return,
            },
            () = tokio::time::sleep(AGENTS_RETRY), if !unanswered.is_empty() => {
                match unanswered.pop_first() {
                    Some(id) => Want::Agents(id),
                    None => continue,
                }
            }
        };
        let result = match want {
            Want::Comparison(id) => compare(&handle, id).await,
            Want::Agents(id) => ask_agents(&handle, id).await,
        };
        if let Err(error) = result {
            debug!(?want, %error, "another node did not answer");
            if let Want::Agents(id) = want {
                unanswered.insert(id);
            }
        }
    }
}

/// Exchanges whole views with a member.
async fn compare(handle: &Handle, id: NodeId) -> Result<(), CallError> {
    let snapshot = handle.directory.snapshot();
    let Some(url) = member_url(handle, id) else { return Ok(()) };
    let MeshState { nodes, term, .. } = json::state(&snapshot, &json::HeardAt::new());
    let own = GossipBody { nodes, term };
    let theirs: GossipBody = call(&url, None, "v1/mesh/gossip", &own).await?;
    if handle.merge(claims(&theirs.nodes), theirs.term, Origin::Sync).await.is_err() {
        debug!("the node is stopping");
    }
    Ok(())
}

/// Asks a member for its own agents.
async fn ask_agents(handle: &Handle, id: NodeId) -> Result<(), CallError> {
    let Some(url) = member_url(handle, id) else { return Ok(()) };
    let response = client(&url, None)?.get(at(&url, "v1/mesh/state")).send().await?;
    let state: MeshState = read(response).await?;
    let id_text = id.to_string();
    if let Some(node) = state.nodes.into_iter().find(|node| node.node_id == id_text) {
        let edition = (node.generation, node.revision);
        let snapshot = handle.directory.snapshot();
        let known = snapshot.member(id).map(|member| (member.generation, member.revision));
        if known > Some(edition) {
            return Err(CallError::Outdated);
        }
        if handle.request(Request::AgentsOf(id, edition, node.agents)).await.is_err() {
            debug!("the node is stopping");
        }
    }
    Ok(())
}

fn member_url(handle: &Handle, id: NodeId) -> Option<Url> {
    let snapshot = handle.directory.snapshot();
    snapshot.member(id).and_then(|member| Url::parse(&member.url).ok())
}

/// One POST to another node.
async fn call<B: Serialize + Sync, T: DeserializeOwned>(
    base: &Url,
    address: Option<SocketAddr>,
    path: &str,
    body: &B,
) -> Result<T, CallError> {
    let response = client(base, address)?.post(at(base, path)).json(body).send().await?;
    read(response).await
}

/// A client for one call. Calls are rare (seconds to minutes apart) and must see changed names and
/// addresses, so nothing is pooled.
fn client(base: &Url, address: Option<SocketAddr>) -> reqwest::Result<Client> {
    let mut builder = Client::builder()
        .timeout(CALL_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
        .no_proxy();
    if base.scheme() == "http" {
        // Reading the host's certificates takes longer than the call.
        builder = builder.tls_certs_only([]);
    }
    if let (Some(address), Some(host)) = (address, base.host_str()) {
        builder = builder.resolve(host, address);
    }
    builder.build()
}

/// The URL of a path below a base URL, which may end in a slash or not.
fn at(base: &Url, path: &str) -> String {
    format!("{}/{path}", base.as_str().trim_end_matches('/'))
}

/// Reads an answer up to its limit.
async fn read<T: DeserializeOwned>(mut response: reqwest::Response) -> Result<T, CallError> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(CallError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        let body: Option<ErrorBody> = serde_json::from_slice(&body).ok();
        let detail = body.map_or_else(String::new, |body| body.detail.to_string());
        return Err(CallError::Status(status, detail));
    }
    Ok(serde_json::from_slice(&body)?)
}
