//! All routes of the HTTP server.
//!
//! Owns the paths, and the order of what surrounds them. Routes of other modules, such as those of
//! the mesh, are merged in and get the same surroundings.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderName;
use axum::middleware::{from_fn, map_request};
use axum::routing::{get, post};
use tower_http::cors::{Any, CorsLayer};

use super::app::App;
use super::body::BodyLimit;
use super::error::{ApiError, Code};
use super::{agents, frame, models, records, system, tools};
use crate::routing::headers::NODE;

/// The whole API: the routes of this module and `extra`, whose handlers may use [`super::Json`]
/// and return [`ApiError`].
pub fn router(app: Arc<App>, extra: Router) -> Router {
    let limit = BodyLimit(app.config.api.body_bytes_max);
    let set_limit = move |mut request: Request| async move {
        request.extensions_mut().insert(limit);
        request
    };
    // The outermost layer is the last one: id, then CORS, so that preflights end there and errors
    // carry its headers, then the bodies of errors.
    Router::new()
        .route("/v1/health", get(system::health))
        .route("/v1/system/status", get(system::status))
        .route("/v1/agents", get(agents::list))
        .route("/v1/agents/", get(agents::list))
        .route("/v1/models", get(models::list))
        .route("/v1/models/", get(models::list))
        .route("/v1/chat/completions", post(models::chat))
        .route("/v1/inference/{*path}", post(models::chat_here))
        .route("/v1/providers", get(agents::providers))
        .route("/v1/providers/", get(agents::providers))
        .route("/v1/agents/{name}", get(agents::document))
        .route("/v1/agents/{name}/run", post(agents::run))
        .route("/v1/traces", get(records::traces))
        .route("/v1/traces/", get(records::traces))
        .route("/v1/traces/{id}", get(records::trace))
        .route("/v1/traces/{id}/", get(records::trace))
        .route("/v1/usage", get(records::usage))
        .route("/v1/usage/", get(records::usage))
        .with_state(Arc::clone(&app))
        .merge(tools::router(app))
        .merge(extra)
        .fallback(async || ApiError::new(Code::NotFound, "Not Found"))
        .method_not_allowed_fallback(async || {
            ApiError::new(Code::MethodNotAllowed, "Method Not Allowed")
        })
        .layer(map_request(set_limit))
        .layer(from_fn(frame::render))
        .layer(cors())
        .layer(from_fn(frame::identify))
}

/// Pages of any origin may call: the API has no cookies that they could misuse.
fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(Any)
        .allow_headers(Any)
        .expose_headers([frame::REQUEST_ID, HeaderName::from_static(NODE)])
        .vary([])
}
