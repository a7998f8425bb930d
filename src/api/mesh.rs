//! The routes of the mesh: state, join, leave, gossip, heartbeat, election; and those of
//! [`super::observe`].
//!
//! Owns the translation between their JSON and calls on the gossip. What others send is never
//! believed as such: the engine weighs it, asks whoever is new to answer a ping, and outbids
//! whatever is claimed about this node.

use axum::Router;
use axum::extract::{ConnectInfo, Request, State};
use axum::routing::{get, post};
use serde_json::json;

use super::body::{self, BodyLimit};
use super::error::{ApiError, Code};
use super::observe;
use super::server::Connection;
use super::types::{
    ElectionRequest, ElectionResponse, GossipBody, LeaveRequest, MeshState, Node, StatusOk,
};
use crate::gossip::json::{self as nodes, HeardAt};
use crate::gossip::{self, Claim, Handle, Origin};

/// The longest body of a mesh route: some 30,000 members.
const MESH_BODY_BYTES_MAX: usize = 16 << 20;

/// The routes; on a node whose mesh is off each of them answers 503.
pub fn router(mesh: Option<Handle>) -> Router {
    Router::new()
        .route("/v1/mesh/state", get(state))
        .route("/v1/mesh/nodes/{id}/history", get(observe::history))
        .route("/v1/mesh/events", get(observe::events))
        .route("/v1/mesh/join", post(join))
        .route("/v1/mesh/leave", post(leave))
        .route("/v1/mesh/gossip", post(exchange))
        .route("/v1/mesh/heartbeat", post(heartbeat))
        .route("/v1/mesh/election", post(election))
        .with_state(Mesh(mesh))
}

/// The gossip, if there is one.
#[derive(Debug, Clone)]
pub(super) struct Mesh(Option<Handle>);

impl Mesh {
    pub(super) fn handle(self) -> Result<Handle, ApiError> {
        self.0.ok_or_else(|| ApiError::new(Code::MeshDisabled, "Mesh not enabled on this node"))
    }

    /// The gossip of a node that takes part.
    fn member(self) -> Result<Handle, ApiError> {
        let handle = self.handle()?;
        if handle.directory().snapshot().local_has_left() {
            let detail = "This node has left the mesh; restart it to join again";
            return Err(ApiError::new(Code::MeshLeft, detail));
        }
        Ok(handle)
    }
}

type Json<T> = axum::Json<T>;

async fn state(State(mesh): State<Mesh>) -> Result<Json<MeshState>, ApiError> {
    let handle = mesh.handle()?;
    // The gossip of a node that is stopping does not tell any more.
    let heard_at = handle.heard_at().await.unwrap_or_default();
    Ok(axum::Json(mesh_state(&handle, &heard_at)))
}

fn mesh_state(handle: &Handle, heard_at: &HeardAt) -> MeshState {
    let mut state = nodes::state(&handle.directory().snapshot(), heard_at);
    state.cluster = Some(handle.cluster().to_owned());
    state
}

async fn join(
    State(mesh): State<Mesh>,
    ConnectInfo(connection): ConnectInfo<Connection>,
    request: Request,
) -> Result<Json<MeshState>, ApiError> {
    let handle = mesh.member()?;
    let node: Node = read(request).await?;
    if let Some(other) = node.cluster.as_deref().filter(|other| *other != handle.cluster()) {
        let detail = format!(
            "This node belongs to the cluster '{}', not to '{other}'; see spec.mesh.cluster",
            handle.cluster()
        );
        return Err(ApiError::new(Code::WrongCluster, detail));
    }
    let mut claim = claim(&node, &[])?;
    // A node that does not know its address yet says so with a wildcard or, without a route out,
    // with loopback; its gossip will come from where this request comes from.
    let peer = connection.peer.ip().to_canonical();
    let claimed = claim.record.address.ip();
    if claimed.is_unspecified() || (claimed.is_loopback() && !peer.is_loopback()) {
        claim.record.address.set_ip(peer);
    }
    let origin = Origin::Unasked;
    handle.merge(vec![claim], 0, origin).await.map_err(stopping)?;
    handle.observed(connection.local.ip()).await.map_err(stopping)?;
    let mut state = mesh_state(&handle, &HeardAt::new());
    state.observed_ip = Some(peer.to_string());
    Ok(axum::Json(state))
}

async fn leave(State(mesh): State<Mesh>, request: Request) -> Result<Json<StatusOk>, ApiError> {
    let handle = mesh.handle()?;
    let LeaveRequest { node_id } = read(request).await?;
    let local = handle.directory().snapshot().local;
    if node_id == "self" || node_id.parse() == Ok(local) {
        handle.leave().await.map_err(stopping)?;
    } else {
        let id = node_id.parse().map_err(|_| {
            invalid(&[json!("node_id")], "must be a UUID or \"self\"", &json!(node_id))
        })?;
        // Another one speaks for it: a dead member is let go, a live one has to answer a probe.
        handle.doubt(id).await.map_err(stopping)?;
    }
    Ok(ok())
}

async fn exchange(
    State(mesh): State<Mesh>,
    request: Request,
) -> Result<Json<GossipBody>, ApiError> {
    let handle = mesh.member()?;
    let body: GossipBody = read(request).await?;
    let claims = body
        .nodes
        .iter()
        .enumerate()
        .map(|(index, node)| claim(node, &[json!("nodes"), json!(index)]))
        .collect::<Result<Vec<_>, _>>()?;
    handle.merge(claims, body.term, Origin::Unasked).await.map_err(stopping)?;
    let MeshState { nodes, term, .. } = mesh_state(&handle, &HeardAt::new());
    Ok(axum::Json(GossipBody { nodes, term }))
}

async fn heartbeat(State(mesh): State<Mesh>, request: Request) -> Result<Json<StatusOk>, ApiError> {
    let handle = mesh.member()?;
    let node: Node = read(request).await?;
    let claim = claim(&node, &[])?;
    handle.merge(vec![claim], 0, Origin::Unasked).await.map_err(stopping)?;
    Ok(ok())
}

async fn election(
    State(mesh): State<Mesh>,
    request: Request,
) -> Result<Json<ElectionResponse>, ApiError> {
    let handle = mesh.handle()?;
    // Both fields are required, as they always were; the rule needs neither.
    let ElectionRequest { .. } = read(request).await?;
    let leader = handle.directory().snapshot().leader;
    Ok(axum::Json(ElectionResponse { leader_id: leader.map(|id| id.to_string()) }))
}

fn ok() -> Json<StatusOk> {
    axum::Json(StatusOk { status: "ok".to_owned() })
}

/// The body of a request that may change the mesh.
async fn read<T: serde::de::DeserializeOwned>(mut request: Request) -> Result<T, ApiError> {
    body::refuse_pages(&request)?;
    request.extensions_mut().insert(BodyLimit(MESH_BODY_BYTES_MAX));
    body::parse(&body::read(request).await?)
}

/// What a node in a body claims; `path` leads to it.
fn claim(node: &Node, path: &[serde_json::Value]) -> Result<Claim, ApiError> {
    nodes::claim(node).map_err(|bad| {
        let mut location = path.to_vec();
        location.push(json!(bad.field));
        invalid(&location, &bad.problem, &json!(node))
    })
}

fn invalid(path: &[serde_json::Value], message: &str, input: &serde_json::Value) -> ApiError {
    let mut location = vec![json!("body")];
    location.extend_from_slice(path);
    let field = path.last().and_then(serde_json::Value::as_str).unwrap_or_default();
    let input = input.get(field).unwrap_or(input);
    let detail = json!([{
        "type": "value_error", "loc": location, "msg": message, "input": input,
    }]);
    ApiError { code: Code::InvalidRequest, detail }
}

pub(super) fn stopping(error: gossip::Stopped) -> ApiError {
    ApiError::new(Code::MeshDisabled, error.to_string())
}
