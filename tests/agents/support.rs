//! A configuration directory, a fake server, and shorthands for both.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};

use astromesh::agent::Records;
use astromesh::agent::types::{RunRequest, RunResponse};
use astromesh::agent::{Registry, RunError};
use astromesh::model::{Access, ModelError};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// A registry over these files, given by name and text.
pub(crate) fn registry(files: &[(&str, &str)]) -> Registry {
    let directory = TempDir::new().unwrap();
    let agents = directory.path().join("agents");
    std::fs::create_dir(&agents).unwrap();
    for (name, text) in files {
        std::fs::write(agents.join(format!("{name}.agent.yaml")), text).unwrap();
    }
    load(directory.path())
}

pub(crate) fn load(config_dir: &Path) -> Registry {
    Registry::load(config_dir, &Access::unused()).0
}

/// A registry with the agent `a`, whose `spec` is this YAML in flow style or indented by two.
pub(crate) fn agent(spec: &str) -> Registry {
    let registry = registry(&[("a", &format!("metadata: {{name: a}}\nspec:\n{spec}\n"))]);
    assert_eq!(registry.list()[0].error, None);
    registry
}

/// A model block for a fake server.
pub(crate) fn block(server: &Server) -> String {
    format!("{{model: m1, endpoint: \"http://{}/v1\"}}", server.address)
}

pub(crate) fn request(query: &str) -> RunRequest {
    serde_json::from_value(json!({"query": query})).unwrap()
}

pub(crate) async fn run(registry: &Registry, query: &str) -> RunResponse {
    registry.run("a", request(query), &Records::default()).await.unwrap()
}

pub(crate) async fn model_error(registry: &Registry) -> ModelError {
    match registry.run("a", request("q"), &Records::default()).await {
        Err(RunError::Model(error)) => error,
        other => panic!("not a model error: {other:?}"),
    }
}

/// One request as the fake server saw it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

/// A server that gives these answers in turn, and the last one for ever.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    script: Script,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Script {
    answers: Arc<Vec<(u16, String)>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(crate) async fn start(answers: Vec<Value>) -> Self {
        Self::raw(answers.into_iter().map(|answer| (200, answer.to_string())).collect()).await
    }

    pub(crate) async fn raw(answers: Vec<(u16, String)>) -> Self {
        let script = Script { answers: Arc::new(answers), seen: Arc::default() };
        let router = Router::new().fallback(answer).with_state(script.clone());
        let (address, tasks) = serve(router).await;
        Self { address, script, _tasks: tasks }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.script.seen.lock().unwrap().clone()
    }
}

/// Serves until the set is dropped.
pub(crate) async fn serve(router: Router) -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, tasks)
}

async fn answer(
    State(script): State<Script>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let mut seen = script.seen.lock().unwrap();
    let (status, text) = &script.answers[seen.len().min(script.answers.len() - 1)];
    seen.push(Seen { path: uri.to_string(), headers, body });
    (StatusCode::from_u16(*status).unwrap(), text.clone()).into_response()
}

/// A completion that is plain words, with 10 tokens read and 3 written.
pub(crate) fn words(text: &str) -> Value {
    json!({
        "choices": [{"message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 3},
    })
}

/// A completion that calls tools, given by name and arguments.
pub(crate) fn calls(calls: &[(&str, Value)]) -> Value {
    let calls: Vec<Value> = calls
        .iter()
        .enumerate()
        .map(|(index, (name, arguments))| {
            json!({
                "id": format!("c{index}"),
                "type": "function",
                "function": {"name": name, "arguments": arguments.to_string()},
            })
        })
        .collect();
    json!({
        "choices": [{"message": {"role": "assistant", "content": "thinking", "tool_calls": calls}}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 5},
    })
}
