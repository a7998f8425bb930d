//! The routes of the built-in tools: listed, described, and tried out.

use std::sync::Arc;

use astromesh_wire::Service;
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::{get, post};
use tokio::sync::Semaphore;

use super::app::App;
use super::body;
use super::error::{ApiError, Code};
use super::types::{BuiltinToolList, ToolAnswer, ToolEntry, ToolList, ToolRequest};
use crate::agent::BuiltinTools;

/// Tools that are tried at once. Agents have limits of their own; this is for people.
const CALLS_MAX: usize = 8;

/// The routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/tools", get(list))
        .route("/v1/tools/", get(list))
        .route("/v1/tools/builtin", get(builtin))
        .route("/v1/tools/builtin/", get(builtin))
        .route("/v1/tools/execute", post(execute))
        .with_state(app)
}

/// The tools that people may try out, and how many are being tried: across reloads the same.
#[derive(Debug)]
pub struct Bench {
    tools: BuiltinTools,
    slots: Semaphore,
}

impl Default for Bench {
    fn default() -> Self {
        Self { tools: BuiltinTools::default(), slots: Semaphore::new(CALLS_MAX) }
    }
}

type Json<T> = axum::Json<T>;

async fn list(State(app): State<Arc<App>>) -> Json<ToolList> {
    let entry = |tool: super::types::ToolSchema| ToolEntry {
        name: tool.name,
        description: tool.description,
        kind: "builtin".to_owned(),
    };
    let tools: Vec<ToolEntry> = app.bench.tools.list().into_iter().map(entry).collect();
    axum::Json(ToolList { count: tools.len(), tools })
}

async fn builtin(State(app): State<Arc<App>>) -> Json<BuiltinToolList> {
    let tools = app.bench.tools.list();
    axum::Json(BuiltinToolList { count: tools.len(), tools })
}

async fn execute(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Json<ToolAnswer>, ApiError> {
    body::refuse_pages(&request)?;
    let ToolRequest { tool_name, arguments } = body::parse(&body::read(request).await?)?;
    if !app.config.services.contains(Service::Tools) {
        let detail = "The tools are off on this node (spec.services.tools)";
        return Err(ApiError::new(Code::ToolsOff, detail));
    }
    let Ok(_slot) = app.bench.slots.try_acquire() else {
        let detail = format!("{CALLS_MAX} tools are being tried already; try again later");
        return Err(ApiError::new(Code::ToolsBusy, detail));
    };
    let answer = app.bench.tools.call(&tool_name, &arguments.unwrap_or_default()).await;
    answer.map(axum::Json).ok_or_else(|| {
        let detail = format!("Tool '{tool_name}' not found; GET /v1/tools lists them");
        ApiError::new(Code::ToolNotFound, detail)
    })
}
