//! The routes by which people watch the mesh: the history of a member, and everything live.
//!
//! What they tell is what the answering node saw; nothing can be changed here.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::stream;

use super::error::{ApiError, Code};
use super::mesh::{Mesh, stopping};
use super::types::{MeshEvent, NodeHistory};
use crate::gossip::{HistoryError, ListenError};

/// Silence after which a listener gets a comment, so that both ends know that the other is there.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Members named when several could be meant.
const NAMED_MAX: usize = 5;

/// `GET /v1/mesh/nodes/{id}/history`.
pub(super) async fn history(
    State(mesh): State<Mesh>,
    key: Result<Path<String>, PathRejection>,
) -> Result<Json<NodeHistory>, ApiError> {
    let handle = mesh.handle()?;
    let Path(key) = key.map_err(|_| not_found("that"))?;
    match handle.history(key.clone()).await {
        Ok(history) => Ok(Json(history)),
        Err(HistoryError::Unknown) => Err(not_found(&format!("'{key}'"))),
        Err(HistoryError::Ambiguous(meant)) => {
            let named = meant.iter().take(NAMED_MAX).map(|(name, id)| format!("{name} ({id})"));
            let named = named.collect::<Vec<_>>().join(", ");
            let more = if meant.len() > NAMED_MAX { ", and others" } else { "" };
            let detail =
                format!("'{key}' stands for several members: {named}{more}; give more of the id");
            Err(ApiError::new(Code::NodeAmbiguous, detail))
        }
        Err(HistoryError::Stopped(stopped)) => Err(stopping(stopped)),
    }
}

fn not_found(key: &str) -> ApiError {
    let detail = format!(
        "No member is called {key} or has an id that begins so, nor had in the last hour; \
         GET /v1/mesh/state lists the members"
    );
    ApiError::new(Code::NodeNotFound, detail)
}

/// `GET /v1/mesh/events`.
pub(super) async fn events(
    State(mesh): State<Mesh>,
    headers: HeaderMap,
) -> Result<impl IntoResponse, ApiError> {
    let handle = mesh.handle()?;
    // What is no number of ours is like one that is not known any more.
    let last_seen = headers
        .get("last-event-id")
        .map(|value| value.to_str().ok().and_then(|text| text.parse().ok()).unwrap_or(0));
    let listener = handle.listen(last_seen).await.map_err(|error| match error {
        ListenError::TooMany(error) => {
            let detail = format!("{error}; ask another node, or try again later");
            ApiError::new(Code::TooManyListeners, detail)
        }
        ListenError::Stopped(stopped) => stopping(stopped),
    })?;
    let events = stream::unfold(listener, |mut listener| async {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(sent(&event)), listener))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn sent(event: &MeshEvent) -> Event {
    let text = serde_json::to_string(event).unwrap_or_default();
    Event::default().id(event.id.to_string()).event(event.news.name()).data(text)
}
