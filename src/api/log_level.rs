//! `/v1/system/log-level`: what is logged, and the change of that while the node runs.
//!
//! Owns the names of modules and levels in JSON. What is changed here lasts until it is reset, the
//! configuration is loaded again, or the node stops.

use std::collections::BTreeMap;
use std::str::FromStr;

use axum::extract::{Request, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tracing::Level;

use super::body;
use super::error::{ApiError, Code};
use super::types::{LogLevels, LogLevelsChange};
use crate::config::{LogLevel, log_modules};
use crate::telemetry::logging::Log;

/// The routes.
pub fn router(log: Log) -> Router {
    Router::new().route("/v1/system/log-level", get(show).put(change).delete(reset)).with_state(log)
}

async fn show(State(log): State<Log>) -> Json<LogLevels> {
    Json(levels(&log))
}

async fn change(State(log): State<Log>, request: Request) -> Result<Json<LogLevels>, ApiError> {
    body::refuse_pages(&request)?;
    let LogLevelsChange { level, levels: modules } = body::parse(&body::read(request).await?)?;
    let mut problems = Vec::new();
    let level = level.and_then(|name| read_level(&[json!("level")], &name, &mut problems));
    let mut changes = Vec::new();
    for (module, name) in modules {
        let place = [json!("levels"), json!(module)];
        if !log_modules().any(|known| known == module) {
            let names = log_modules().collect::<Vec<_>>().join(", ");
            problems.push(problem(&place, &format!("no such module: use {names}"), &json!(module)));
        }
        let level: Option<Level> =
            name.and_then(|name: String| read_level(&place, &name, &mut problems));
        changes.push((module, level));
    }
    if !problems.is_empty() {
        return Err(ApiError { code: Code::InvalidRequest, detail: Value::Array(problems) });
    }
    log.change_levels(|levels| {
        levels.level = level.unwrap_or(levels.level);
        for (module, level) in changes {
            match level {
                Some(level) => drop(levels.modules.insert(module, level)),
                None => drop(levels.modules.remove(&module)),
            }
        }
    });
    Ok(changed(&log))
}

async fn reset(State(log): State<Log>, request: Request) -> Result<Json<LogLevels>, ApiError> {
    body::refuse_pages(&request)?;
    log.reset_levels();
    Ok(changed(&log))
}

fn changed(log: &Log) -> Json<LogLevels> {
    let now = levels(log);
    tracing::info!(filter = now.filter, "what is logged was changed");
    Json(now)
}

fn levels(log: &Log) -> LogLevels {
    let now = log.levels();
    let name = |level: Level| LogLevel::from(level).name().to_owned();
    let modules = now.modules.into_iter().map(|(module, level)| (module, name(level)));
    LogLevels {
        level: name(now.level),
        levels: modules.collect::<BTreeMap<_, _>>(),
        filter: log.filter(),
        format: log.shape().name().to_owned(),
        file: log.file().map(|path| path.display().to_string()),
    }
}

fn read_level(place: &[Value], name: &str, problems: &mut Vec<Value>) -> Option<Level> {
    match LogLevel::from_str(name) {
        Ok(level) => Some(level.into()),
        Err(unknown) => {
            problems.push(problem(place, &unknown.to_string(), &json!(name)));
            None
        }
    }
}

fn problem(place: &[Value], message: &str, input: &Value) -> Value {
    let mut location = vec![json!("body")];
    location.extend_from_slice(place);
    json!({"type": "value_error", "loc": location, "msg": message, "input": input})
}
