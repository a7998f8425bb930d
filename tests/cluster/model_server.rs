//! A model server for the tests: it has the models it is told, lists them as Ollama and as OpenAI do,
//! and answers chats by what the last message says.

use std::io::Error;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

/// Answers until it is stopped or dropped; then nothing listens there, and every connection is closed.
pub(crate) struct ModelServer {
    pub(crate) address: SocketAddr,
    shared: Shared,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone)]
struct Shared(Arc<Inner>);

struct Inner {
    name: String,
    state: Mutex<Records>,
    go_on: watch::Sender<bool>,
}

/// What it has and has seen.
#[derive(Default)]
pub(crate) struct Records {
    pub(crate) models: Vec<String>,
    /// Headers and body of each chat.
    pub(crate) chats: Vec<(HeaderMap, Value)>,
    /// Chats that are being answered.
    pub(crate) active: usize,
    /// Times that it was asked for its models.
    pub(crate) lists: usize,
    /// It no longer answers that.
    pub(crate) is_mute: bool,
}

/// One chat that is being answered.
struct Active(Shared);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.0.state.lock().unwrap().active -= 1;
    }
}

impl ModelServer {
    pub(crate) fn start(models: &[&str]) -> Self {
        Self::start_at("server", ([127, 0, 0, 1], 0).into(), models)
    }

    pub(crate) fn named(name: &str, models: &[&str]) -> Self {
        Self::start_at(name, ([127, 0, 0, 1], 0).into(), models)
    }

    pub(crate) fn start_at(name: &str, address: SocketAddr, models: &[&str]) -> Self {
        let models = models.iter().map(ToString::to_string).collect();
        let records = Records { models, ..Records::default() };
        let go_on = watch::Sender::new(false);
        let inner = Inner { name: name.to_owned(), state: Mutex::new(records), go_on };
        let shared = Shared(Arc::new(inner));
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/api/tags", get(tags))
            .route("/v1/models", get(list))
            .route("/v1/chat/completions", post(chat))
            .with_state(shared.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        // A runtime of its own takes all connections with it.
        let thread = std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_all().build().unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let server = async { axum::serve(listener, router).await.unwrap() };
                tokio::select! {
                    () = server => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    pub(crate) fn records(&self) -> MutexGuard<'_, Records> {
        self.shared.0.state.lock().unwrap()
    }

    /// Lets those chats end that wait.
    pub(crate) fn go_on(&self) {
        self.shared.0.go_on.send_replace(true);
    }

    /// Stops it now.
    pub(crate) fn stop(self) -> SocketAddr {
        self.address
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

async fn tags(State(Shared(shared)): State<Shared>) -> Json<Value> {
    let row = |name: &String| json!({"name": name, "size": 1});
    let mut state = shared.state.lock().unwrap();
    state.lists += 1;
    let models: Vec<Value> = state.models.iter().map(row).collect();
    Json(json!({"models": models}))
}

async fn list(State(Shared(shared)): State<Shared>) -> Json<Value> {
    let row = |name: &String| json!({"id": name, "object": "model"});
    let is_mute = shared.state.lock().unwrap().is_mute;
    if is_mute {
        std::future::pending::<()>().await;
    }
    let mut state = shared.state.lock().unwrap();
    state.lists += 1;
    let models: Vec<Value> = state.models.iter().map(row).collect();
    Json(json!({"object": "list", "data": models}))
}

/// What the last message says decides: `wait` waits until it may go on, `tool` too and then calls a
/// tool, `fail` fails and repeats the key and the query, anything else is answered at once.
async fn chat(
    State(shared): State<Shared>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = serde_json::from_slice(&body).unwrap();
    let active = {
        let mut state = shared.0.state.lock().unwrap();
        state.chats.push((headers.clone(), body.clone()));
        state.active += 1;
        Active(shared.clone())
    };
    let messages = body["messages"].as_array().unwrap();
    let said = messages.last().unwrap()["content"].as_str().unwrap().to_owned();
    if said == "fail" {
        let key = headers.get("authorization").map(|key| key.to_str().unwrap()).unwrap_or_default();
        let message = format!("too much for {key} at {}", query.unwrap_or_default());
        let error = json!({"error": {"message": message, "code": "busy"}});
        return (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "7")], Json(error))
            .into_response();
    }
    if body["stream"] == true {
        return events(shared, active, said == "break");
    }
    if said == "wait" || said == "tool" {
        wait(&shared).await;
    }
    if said == "tool" {
        let function = json!({"name": "datetime_now", "arguments": "{}"});
        let calls = json!([{"id": "1", "type": "function", "function": function}]);
        let message = json!({"role": "assistant", "content": null, "tool_calls": calls});
        return Json(json!({"choices": [{"message": message}]})).into_response();
    }
    let content = format!("{}: {said}", shared.0.name);
    let message = json!({"role": "assistant", "content": content});
    let usage = json!({"prompt_tokens": 3, "completion_tokens": 5});
    Json(json!({"model": body["model"], "choices": [{"message": message}], "usage": usage}))
        .into_response()
}

async fn wait(shared: &Shared) {
    shared.0.go_on.subscribe().wait_for(|go_on| *go_on).await.unwrap();
}

/// One event at once, then the last when it may go on, or a broken connection.
fn events(shared: Shared, active: Active, breaks: bool) -> Response {
    let parts = stream::unfold((0, shared, active), move |(number, shared, active)| async move {
        let part = match number {
            0 => "data: first\n\n",
            1 if breaks => {
                wait(&shared).await;
                return Some((Err(Error::other("broken")), (2, shared, active)));
            }
            1 => {
                wait(&shared).await;
                "data: [DONE]\n\n"
            }
            _ => return None,
        };
        Some((Ok::<_, Error>(part), (number + 1, shared, active)))
    });
    ([("content-type", "text/event-stream")], Body::from_stream(parts)).into_response()
}
