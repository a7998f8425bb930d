//! Handlers for agents: listed, shown and run, here or on the node that has them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use astromesh_wire::State as MemberState;
use astromesh_wire::limits::AGENT_NAME_BYTES_MAX;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderValue;
use axum::http::uri::PathAndQuery;
use axum::response::{IntoResponse, Response};
use axum::{Json, body::Body};

use super::app::App;
use super::body;
use super::error::{ApiError, Code};
use super::frame::RequestId;
use super::types::{AgentEntry, AgentList, AgentStatus, AgentSummary, RunRequest};
use crate::directory::Snapshot;
use crate::routing::forward::Here;
use crate::routing::headers::NODE;
use crate::routing::{Call, Routed};

/// `GET /v1/agents`.
pub async fn list(State(app): State<Arc<App>>) -> Json<AgentList> {
    let snapshot = app.directory.snapshot();
    let mut nodes = nodes_by_agent(&snapshot);
    let mut agents: Vec<AgentEntry> = Vec::new();
    for summary in app.agents.list() {
        let nodes = nodes.remove(&summary.name).unwrap_or_default();
        agents.push(AgentEntry { summary, nodes });
    }
    agents.extend(
        nodes.into_iter().map(|(name, nodes)| AgentEntry { summary: elsewhere(name), nodes }),
    );
    Json(AgentList { agents })
}

/// Names of the nodes that run each agent and are alive or suspect, sorted.
fn nodes_by_agent(snapshot: &Snapshot) -> BTreeMap<String, Vec<String>> {
    let mut nodes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for member in &snapshot.members {
        if matches!(member.state, MemberState::Alive | MemberState::Suspect) {
            for agent in &member.agents {
                nodes.entry(agent).or_default().insert(&member.name);
            }
        }
    }
    nodes
        .into_iter()
        .map(|(agent, nodes)| (agent.to_owned(), nodes.into_iter().map(str::to_owned).collect()))
        .collect()
}

/// Nodes tell each other the names of the agents they serve, and nothing else of them.
fn elsewhere(name: String) -> AgentSummary {
    AgentSummary {
        name,
        version: String::new(),
        namespace: String::new(),
        status: AgentStatus::Deployed,
        error: None,
    }
}

/// `GET /v1/agents/{name}`.
pub async fn document(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let name = agent_name(name)?;
    if let Some(document) = app.agents.document(&name) {
        return Ok(named(&app, Json(document).into_response()));
    }
    let call = call(name, request).await?;
    match app.router.route(&call, Here::DoesNotServe).await {
        Ok(Routed::Forwarded(response)) => Ok(response.map(Body::new)),
        // Not reached: a node that does not serve an agent is no candidate for it.
        Ok(Routed::Local(_)) => Err(ApiError::agent_not_found(&call.agent)),
        Err(error) => Err(ApiError::from_route(&call.agent, error)),
    }
}

/// `POST /v1/agents/{name}/run`.
pub async fn run(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let name = agent_name(name)?;
    let id = request.extensions().get::<RequestId>().cloned();
    let call = call(name, request).await?;
    let here = if app.agents.serves(&call.agent) { Here::Serves } else { Here::DoesNotServe };
    let guard = match app.router.route(&call, here).await {
        Ok(Routed::Forwarded(response)) => return Ok(response.map(Body::new)),
        Ok(Routed::Local(guard)) => guard,
        Err(error) => {
            let error = ApiError::from_route(&call.agent, error);
            tracing::debug!(agent = call.agent, code = error.code.name(), "run not routed");
            return Err(error);
        }
    };
    let outcome = run_here(&app, &call).await;
    drop(guard);
    if let Err(error) = &outcome
        && error.code == Code::Internal
    {
        let id = id.as_ref().map_or("", RequestId::as_str);
        tracing::error!(agent = call.agent, request.id = id, error = %error.detail, "run failed");
    }
    Ok(named(&app, outcome.into_response()))
}

async fn run_here(app: &App, call: &Call) -> Result<Response, ApiError> {
    let request: RunRequest = body::parse(&call.body)?;
    let answer = app.agents.run(&call.agent, request).await;
    answer
        .map(|answer| Json(answer).into_response())
        .map_err(|error| ApiError::from_run(&call.agent, error))
}

/// Says in the answer that this node gave it.
fn named(app: &App, mut response: Response) -> Response {
    if let Ok(name) = HeaderValue::from_str(&app.config.mesh.node_name) {
        response.headers_mut().insert(NODE, name);
    }
    response
}

/// A name that cannot be one is not found, like any other.
fn agent_name(name: Result<Path<String>, PathRejection>) -> Result<String, ApiError> {
    match name {
        Ok(Path(name)) if name.len() <= AGENT_NAME_BYTES_MAX => Ok(name),
        Ok(_) | Err(_) => Err(ApiError::new(Code::AgentNotFound, "No agent has such a name")),
    }
}

async fn call(agent: String, request: Request) -> Result<Call, ApiError> {
    let path_and_query = request.uri().path_and_query().cloned();
    let path_and_query = path_and_query.unwrap_or_else(|| PathAndQuery::from_static("/"));
    let (method, headers) = (request.method().clone(), request.headers().clone());
    let body = body::read(request).await?;
    Ok(Call { agent, method, path_and_query, headers, body })
}
