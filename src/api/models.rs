//! Handlers for models: listed, and asked, in the shapes that clients of the OpenAI API know.
//!
//! Which node serves a model is the data plane's to say. A request that names its model in the body is
//! sent to this node's own data plane once more, under the path that names it there.

use std::fmt::Write;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::{Map, Value, json};

use super::agents::named;
use super::app::App;
use super::body;
use super::error::{ApiError, Code};
use super::frame::REQUEST_ID;
use super::types::{ModelEntry, ModelList};
use crate::directory::{Snapshot, models};
use crate::inference::chat::{self, Answer, ChatError};
use crate::inference::served::Model;
use crate::routing::headers;

/// Where chats with a certain model are taken: its name follows, then [`CHAT`].
const INFERENCE: &str = "/v1/inference/";
/// What follows the name of the model.
const CHAT: &str = "/chat/completions";
/// Where chats are taken that name their model in the body.
const ANY_CHAT: &str = "/v1/chat/completions";

/// What a chat is, whatever its sender said of it.
const JSON: &str = "application/json";

/// The most models that an error names.
const NAMED_MAX: usize = 20;

/// What of a request says how it is to be treated on its way through the mesh.
const PASSED_ON: [HeaderName; 6] = [
    REQUEST_ID,
    HeaderName::from_static(headers::SESSION),
    HeaderName::from_static(headers::DEADLINE),
    HeaderName::from_static(headers::EXPLAIN),
    HeaderName::from_static(headers::TRACEPARENT),
    HeaderName::from_static(headers::TRACESTATE),
];

/// What of its answer the client sees.
const PASSED_BACK: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::RETRY_AFTER,
    HeaderName::from_static(headers::NODE),
    HeaderName::from_static(headers::WHY),
];

/// Whether a path is one of those on which clients of the OpenAI API look for errors.
pub(super) fn is_route(path: &str) -> bool {
    path == ANY_CHAT || path.starts_with(INFERENCE)
}

/// `GET /v1/models`: those of the whole mesh.
pub async fn list(State(app): State<Arc<App>>) -> Json<ModelList> {
    let snapshot = app.directory.snapshot();
    let models = snapshot.models().into_iter().map(|(model, nodes)| {
        ModelEntry::new(model, nodes.into_iter().map(str::to_owned).collect())
    });
    Json(ModelList { object: "list".to_owned(), data: models.collect() })
}

/// `POST /v1/chat/completions`: the body names the model.
pub async fn chat(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let passed_on = PASSED_ON.map(|name| (name.clone(), request.headers().get(name).cloned()));
    let body = body::read(request).await?;
    let chat: Map<String, Value> = body::parse(&body)?;
    let model = model_of(&chat)?;
    if !models::is_name(models::name(model)) {
        let detail = not_found(model, &app.directory.snapshot());
        return Err(ApiError::new(Code::ModelNotFound, detail));
    }
    let url = app.access.chat_url(model);
    // Each takes a second connection of this node, and must not keep it from the last one.
    let place = app.access.place().ok_or_else(|| {
        ApiError::new(Code::QueueFull, "As many chats pass through this node as may; ask another")
    })?;
    let mut asked = app.access.client.post(url).header(header::CONTENT_TYPE, JSON);
    for (name, value) in passed_on {
        if let Some(value) = value {
            asked = asked.header(name, value);
        }
    }
    let answer = asked.body(body).send().await.map_err(|error| {
        let why = crate::model::causes(&error).text;
        ApiError::new(Code::Internal, format!("This node does not reach its own server: {why}"))
    })?;
    let mut response = Response::builder().status(answer.status());
    for name in PASSED_BACK {
        if let Some(value) = answer.headers().get(&name) {
            response = response.header(name, value);
        }
    }
    Ok(response
        .body(Body::from_stream(answer.bytes_stream().map(move |part| {
            // Held until the last part, or until the client has left.
            let _held = &place;
            part
        })))
        .expect("it has only parts of an answer"))
}

/// The name of the model in a chat.
fn model_of(chat: &Map<String, Value>) -> Result<&str, ApiError> {
    let wrong = |kind: &str, message: &str| ApiError {
        code: Code::InvalidRequest,
        detail: json!([{"type": kind, "loc": ["body", "model"], "msg": message, "input": chat.get("model")}]),
    };
    match chat.get("model") {
        Some(Value::String(model)) if !model.is_empty() => Ok(model),
        Some(_) => {
            Err(wrong("type_error", "must be the name of a model, as GET /v1/models lists them"))
        }
        None => Err(wrong("missing", "Field required")),
    }
}

/// `POST /v1/inference/{model}/chat/completions`. The data plane has chosen this node for it, or
/// nobody can have the model.
pub async fn chat_here(
    State(app): State<Arc<App>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, ApiError> {
    let path = path.map(|Path(path)| path).unwrap_or_default();
    let Some(name) = path.strip_suffix(CHAT) else {
        return Err(ApiError::new(Code::NotFound, "Not Found"));
    };
    let Some(model) = app.models.get(name) else {
        let detail = not_found(name, &app.directory.snapshot());
        let error = ApiError::new(Code::ModelNotFound, detail);
        // It may have gone while the request waited for its place here, and be elsewhere.
        let may_be_elsewhere = models::is_name(models::name(name));
        return if may_be_elsewhere {
            Ok(named(&app, absent(error.into_response())))
        } else {
            Err(error)
        };
    };
    let chat: Map<String, Value> = body::parse(&body::read(request).await?)?;
    let response = match chat::ask(&app.access.client, &model, chat).await {
        Ok(answer) => passed(answer, &model),
        Err(error) => failed(name, &error),
    };
    Ok(named(&app, response))
}

/// An answer as it comes from the server.
fn passed(answer: Answer, model: &Model) -> Response {
    let body = match answer.body {
        chat::Body::Coming(response) => {
            let server = Arc::clone(&model.server);
            Body::from_stream(response.bytes_stream().inspect_err(move |error| {
                let (provider, error) = (&server.place.name, crate::model::causes(error).text);
                tracing::debug!(provider, error, "the model server broke off in its answer");
            }))
        }
        chat::Body::Whole(bytes) => Body::from(bytes),
    };
    let mut response = (answer.status, body).into_response();
    let lines =
        [(header::CONTENT_TYPE, answer.content_type), (header::RETRY_AFTER, answer.retry_after)];
    for (name, value) in lines {
        if let Some(value) = value {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// The server gave no answer. Where it has not seen the request, the data plane takes another node.
fn failed(model: &str, error: &ChatError) -> Response {
    let code = match error {
        ChatError::Unreachable(_) => Code::UpstreamUnreachable,
        ChatError::Broken(_) => Code::UpstreamConnectionLost,
        ChatError::NoKey(_) => Code::Model("model_missing_api_key"),
    };
    let response = ApiError::new(code, format!("Model '{model}': {error}")).into_response();
    if matches!(error, ChatError::Unreachable(_)) { absent(response) } else { response }
}

/// Has the data plane take another node.
fn absent(mut response: Response) -> Response {
    let absent = HeaderValue::from_static("absent");
    response.headers_mut().insert(HeaderName::from_static(headers::REFUSED), absent);
    response
}

/// What is said of a model that nobody serves, and what to do.
#[must_use]
pub fn not_found(model: &str, mesh: &Snapshot) -> String {
    let model = &model[..model.floor_char_boundary(models::NAME_BYTES_MAX)];
    let served = mesh.models();
    if served.is_empty() {
        return format!(
            "Model '{model}' not found: no alive node serves a model; it takes a node with the service \
             inference and a model server that answers, such as Ollama with OLLAMA_HOST set; \
             without a mesh, spec.peers with the service inference are asked"
        );
    }
    let mut text = format!("Model '{model}' not found; served are ");
    let named: Vec<&str> = served.keys().copied().take(NAMED_MAX).collect();
    text.push_str(&named.join(", "));
    if served.len() > NAMED_MAX {
        write!(text, " and {} more", served.len() - NAMED_MAX).expect("a string grows");
    }
    text.push_str("; `ollama pull` on an inference node adds one of Ollama's");
    text
}
