//! Asking other nodes over HTTP: who they are, how they see this node, what their clock says.
//!
//! Owns the limits: how long one answer may take, how large it may be, and how many are asked at
//! once.

use std::time::{Duration, SystemTime};

use futures_util::stream::{self, StreamExt};
use reqwest::Client;
use reqwest::header::CONNECTION;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::api::types::{ErrorBody, NodeHistory};
use crate::model::{Cause, causes};

/// Time for one answer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(3);

/// The largest answer that is read: a status or a history is far smaller.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// How many are asked at once.
const AT_ONCE: usize = 16;

/// What a node said.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) version: String,
    /// `None` when its mesh is off.
    pub(super) mesh: Option<Mesh>,
    /// How it sees this node; `None` when it was not asked or did not say.
    pub(super) sees: Option<Sees>,
    /// Seconds that its clock is ahead of ours.
    pub(super) clock_ahead: Option<f64>,
}

/// The mesh part of a node's status.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Mesh {
    pub(super) node_id: String,
    pub(super) node_name: String,
    #[serde(default)]
    pub(super) cluster: String,
}

/// How a node sees this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sees {
    /// As a member of this state.
    As(String),
    /// Not at all.
    Nothing,
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) kind: FaultKind,
    /// For people, without the URL.
    pub(super) text: String,
}

/// Why there was no answer, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// The host name has no address.
    Name,
    /// Nothing listens there.
    Refused,
    /// No answer in time.
    Late,
    /// The network failed otherwise.
    Network,
    /// An answer, but not that of a node.
    NoNode,
}

#[derive(Deserialize)]
struct Status {
    version: String,
    #[serde(default)]
    mesh: Option<Mesh>,
}

/// Asks a node who it is, and if it is another one, how it sees the node `own_id`.
pub(super) async fn ask(client: &Client, base: &Url, own_id: &str) -> Result<Said, Fault> {
    let Answer { body: Status { version, mesh }, .. } =
        get(client, base, &["v1", "system", "status"]).await?;
    let mut said = Said { version, mesh, sees: None, clock_ahead: None };
    if said.mesh.as_ref().is_none_or(|mesh| mesh.node_id == own_id) {
        return Ok(said);
    }
    let path = ["v1", "mesh", "nodes", own_id, "history"];
    match get::<NodeHistory>(client, base, &path).await {
        Ok(Answer { body, asked_at, answered_at }) => {
            // When it wrote that is not known better than this.
            said.clock_ahead = Some(body.now - f64::midpoint(asked_at, answered_at));
            said.sees = Some(body.status.map_or(Sees::Nothing, Sees::As));
        }
        Err(fault) if fault.text.contains("node_not_found") => said.sees = Some(Sees::Nothing),
        Err(_) => {}
    }
    Ok(said)
}

struct Answer<T> {
    body: T,
    /// Seconds since 1970.
    asked_at: f64,
    answered_at: f64,
}

async fn get<T: DeserializeOwned>(
    client: &Client,
    base: &Url,
    path: &[&str],
) -> Result<Answer<T>, Fault> {
    let mut url = base.clone();
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().extend(path);
    }
    let asked_at = unix();
    // Each question shows whether a connection can be made now.
    let request = client.get(url).header(CONNECTION, "close").timeout(ANSWER_MAX);
    let mut response = request.send().await.map_err(|error| fault(&error))?;
    let status = response.status();
    let answered_at = unix();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| fault(&error))? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(no_node("its answer is too large"));
        }
        bytes.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        let code = serde_json::from_slice::<ErrorBody>(&bytes).map(|body| body.code);
        let code = code.unwrap_or_default();
        return Err(no_node(format!("it answered HTTP {} {code}", status.as_u16()).trim_end()));
    }
    let body = serde_json::from_slice(&bytes)
        .map_err(|_| no_node("its answer is not that of an astromesh node"))?;
    Ok(Answer { body, asked_at, answered_at })
}

fn unix() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn no_node(text: &str) -> Fault {
    Fault { kind: FaultKind::NoNode, text: text.to_owned() }
}

fn fault(error: &reqwest::Error) -> Fault {
    if error.is_timeout() {
        let text = format!("no answer within {} s", ANSWER_MAX.as_secs());
        return Fault { kind: FaultKind::Late, text };
    }
    let causes = causes(error);
    let kind = match causes.kind {
        Cause::Refused => FaultKind::Refused,
        Cause::NameUnknown => FaultKind::Name,
        Cause::Other if error.is_connect() => FaultKind::Network,
        Cause::Other => FaultKind::NoNode,
    };
    Fault { kind, text: causes.root }
}

/// Whether an HTTP server at `base` answers `GET /v1/health` as a node does.
pub(super) async fn health(client: &Client, base: &Url) -> Result<String, Fault> {
    let answer = get::<crate::api::types::Health>(client, base, &["v1", "health"]).await?;
    Ok(answer.body.version)
}

/// What these come to, a few at a time; `None` for those that do not end in time.
pub(super) async fn all<T>(tasks: Vec<impl Future<Output = T>>, until: Instant) -> Vec<Option<T>> {
    let mut results: Vec<Option<T>> = tasks.iter().map(|_| None).collect();
    let numbered =
        tasks.into_iter().enumerate().map(|(index, task)| async move { (index, task.await) });
    let mut running = Box::pin(stream::iter(numbered).buffer_unordered(AT_ONCE));
    while let Ok(Some((index, result))) = timeout_at(until, running.next()).await {
        if let Some(place) = results.get_mut(index) {
            *place = Some(result);
        }
    }
    results
}
