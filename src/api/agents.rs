//! Handlers for agents: listed, shown and run; and for the providers that they refer to. Which node runs them is the data plane's to say.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use astromesh_wire::State as MemberState;
use astromesh_wire::limits::AGENT_NAME_BYTES_MAX;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::app::App;
use super::body;
use super::error::{ApiError, Code};
use super::frame::RequestId;
use super::types::{AgentEntry, AgentList, AgentStatus, AgentSummary, ProviderList, RunRequest};
use crate::agent::types::Caller;
use crate::directory::Snapshot;
use crate::routing::headers::{NODE, TRACEPARENT, UNTRACED};
use crate::telemetry::otlp::TraceContext;

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

/// `GET /v1/providers`: those of this node.
pub async fn providers(State(app): State<Arc<App>>) -> Json<ProviderList> {
    Json(app.agents.providers())
}

/// `GET /v1/agents/{name}`. Asked only when this node has the agent, or nobody else has.
pub async fn document(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let name = agent_name(name)?;
    match app.agents.document(&name) {
        Some(document) => Ok(named(&app, Json(document).into_response())),
        None => Err(ApiError::agent_not_found(&name)),
    }
}

/// `POST /v1/agents/{name}/run`. The data plane has chosen this node for it.
pub async fn run(
    State(app): State<Arc<App>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let name = agent_name(name)?;
    let id = request.extensions().get::<RequestId>().cloned();
    let outcome = run_here(&app, &name, request).await;
    if let Err(error) = &outcome {
        log_failure(&name, id.as_ref().map_or("", RequestId::as_str), error);
    }
    Ok(named(&app, outcome.into_response()))
}

/// Of a model's failure only the code is logged: its message may repeat what the provider says.
fn log_failure(agent: &str, id: &str, error: &ApiError) {
    match error.code {
        Code::Internal => {
            tracing::error!(agent, request.id = id, error = %error.detail, "run failed");
        }
        Code::Model(code) => {
            tracing::warn!(agent, request.id = id, error.code = code, "run failed");
        }
        // What is wrong with a request is for who sent it.
        _ => {}
    }
}

async fn run_here(app: &App, name: &str, request: Request) -> Result<Response, ApiError> {
    let caller = caller(app, request.headers());
    let body = body::read(request).await?;
    let request = RunRequest { caller, ..body::parse(&body)? };
    let answer = app.agents.run(name, request, &app.records).await;
    answer
        .map(|answer| Json(answer).into_response())
        .map_err(|error| ApiError::from_run(name, error))
}

/// The span of the request: that of the data plane where traces are exported, else the client's.
fn caller(app: &App, headers: &HeaderMap) -> Option<Caller> {
    let context = TraceContext::parse(headers.get(TRACEPARENT)?.as_bytes())?;
    Some(Caller {
        trace_id: context.trace_id(),
        span_id: context.span_id(),
        is_sampled: context.is_sampled,
        is_known: !headers.contains_key(UNTRACED),
        observer: app.observer.clone().filter(|_| context.is_sampled),
    })
}

/// Says in the answer that this node gave it.
pub(super) fn named(app: &App, mut response: Response) -> Response {
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
