//! Handlers for models: listed in the shape that clients of OpenAI know.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;

use super::app::App;
use super::types::{ModelEntry, ModelList};

/// `GET /v1/models`: those of the whole mesh.
pub async fn list(State(app): State<Arc<App>>) -> Json<ModelList> {
    let snapshot = app.directory.snapshot();
    let models = snapshot.models().into_iter().map(|(model, nodes)| {
        ModelEntry::new(model, nodes.into_iter().map(str::to_owned).collect())
    });
    Json(ModelList { object: "list".to_owned(), data: models.collect() })
}
