//! The HTTP calls to other nodes that membership needs, and the comparison of views.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use astromesh_swim::{Claim, Origin};
use astromesh_wire::NodeId;
use reqwest::Client;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tracing::debug;
use url::Url;

use super::{Handle, Request, json};
use crate::api::types::{ErrorBody, GossipBody, MeshState};

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

/// Wait before a member is asked for its agents again.
const AGENTS_RETRY: Duration = Duration::from_secs(1);

/// Why a call to another node failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
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

impl CallError {
    /// What happened, for those who know to whom.
    pub(super) fn brief(&self) -> String {
        let Self::Http(error) = self else { return self.to_string() };
        let mut innermost: &dyn std::error::Error = error;
        while let Some(inner) = innermost.source() {
            innermost = inner;
        }
        innermost.to_string()
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

/// What the nodes in another node's view claim; those that make no sense are left out.
pub(super) fn claims(nodes: &[crate::api::types::Node]) -> Vec<Claim> {
    let claim = |node| match json::claim(node) {
        Ok(claim) => Some(claim),
        Err(error) => {
            debug!(node.id = %node.node_id, %error, "ignoring a node in another node's view");
            None
        }
    };
    nodes.iter().filter_map(claim).collect()
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
        if handle.request(Request::AgentsOf(id, edition, json::agents(&node))).await.is_err() {
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
pub(super) async fn call<B: Serialize + Sync, T: DeserializeOwned>(
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
