//! The routes of what runs left behind on this node: traces, and what each agent used.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderValue;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use url::form_urlencoded;

use super::app::App;
use super::error::{ApiError, Code};
use super::types::{TraceList, TraceRecord, UsageReport};
use crate::routing::headers::NODE;

/// Traces in one answer, unless the request says otherwise, and at most.
const TRACES_DEFAULT: usize = 20;
const TRACES_MAX: usize = 100;

/// `GET /v1/traces/`: those of this node, the newest first.
pub async fn traces(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = query.unwrap_or_default();
    let value = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value)
    };
    let limit = match value("limit") {
        None => TRACES_DEFAULT,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=TRACES_MAX).contains(limit))
            .ok_or_else(|| bad_limit(&text))?,
    };
    let kept = app.records.traces(value("agent").as_deref(), limit);
    let traces: Vec<&TraceRecord> = kept.iter().map(AsRef::as_ref).collect();
    Ok(named(&app, Json(TraceList { traces }).into_response()))
}

fn bad_limit(text: &str) -> ApiError {
    let problem = json!([{
        "type": "value_error", "loc": ["query", "limit"],
        "msg": format!("must be a whole number from 1 to {TRACES_MAX}"), "input": text,
    }]);
    ApiError { code: Code::InvalidRequest, detail: problem }
}

/// `GET /v1/traces/{id}`. Asked here when this node keeps it, or no live member does.
pub async fn trace(
    State(app): State<Arc<App>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let trace = id.ok().and_then(|Path(id)| app.records.trace(&id));
    let Some(trace) = trace else {
        let detail = "Trace not found; a node keeps its last traces only, in memory";
        return Err(ApiError::new(Code::TraceNotFound, detail));
    };
    Ok(named(&app, Json(trace.as_ref()).into_response()))
}

/// `GET /v1/usage`: what each agent did and used on this node.
pub async fn usage(State(app): State<Arc<App>>) -> Response {
    let (since, agents) = (app.records.since(), app.records.usage());
    named(&app, Json(UsageReport { since, agents }).into_response())
}

/// Says in the answer whose records these are.
fn named(app: &App, mut response: Response) -> Response {
    if let Ok(name) = HeaderValue::from_str(&app.config.mesh.node_name) {
        response.headers_mut().insert(NODE, name);
    }
    response
}
