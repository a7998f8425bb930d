//! The routes by which others look after this node: whether it lives, whether it takes work, and
//! what is wrong with it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::Uri;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::error::{ApiError, Code};
use super::types::{DoctorReport, StatusOk};
use crate::doctor::{Condition, Doctor};

/// The routes.
pub fn router(doctor: Arc<Doctor>) -> Router {
    Router::new()
        .route("/livez", get(alive))
        .route("/readyz", get(ready))
        .route("/v1/system/doctor", get(examine))
        .with_state(doctor)
}

/// `GET /livez`: whoever can answer lives.
async fn alive() -> Json<StatusOk> {
    Json(StatusOk { status: "ok".to_owned() })
}

/// `GET /readyz`, with `?verbose` for the conditions.
async fn ready(State(doctor): State<Arc<Doctor>>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let conditions = doctor.readiness();
    let lacks: Vec<&str> =
        conditions.iter().filter_map(|condition| condition.lacks.as_deref()).collect();
    if !lacks.is_empty() {
        return Err(ApiError::new(Code::NotReady, lacks.join("; ")));
    }
    let is_verbose = uri.query().is_some_and(|query| query.split('&').any(is_verbose));
    let mut answer = json!({"status": "ok"});
    if is_verbose {
        let checks =
            conditions.iter().map(|Condition { name, .. }| ((*name).to_owned(), json!("ok")));
        answer["checks"] = Value::Object(checks.collect());
    }
    Ok(Json(answer))
}

fn is_verbose(pair: &str) -> bool {
    pair.split('=').next() == Some("verbose")
}

/// `GET /v1/system/doctor`.
async fn examine(State(doctor): State<Arc<Doctor>>) -> Json<DoctorReport> {
    Json(doctor.report().await)
}
