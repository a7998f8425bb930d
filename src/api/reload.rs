//! `POST /v1/system/reload`: the configuration and the agent files read again.
//!
//! Owns the way of a request to whoever reloads, and what is told of the last reload. Refuses to
//! read a file: the composition root does, one reload after the other, whoever asks for it.

use axum::extract::{Request, State};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use super::body;
use super::error::{ApiError, Code};
use super::types::{ConfigProblem, ReloadAnswer, ReloadStatus};
use crate::config::{Origin, Problem};

/// Reloads that may wait for one another; who asks for more waits before that.
const WAITING_MAX: usize = 16;

/// What came of a reload: what changed, or everything that kept it from being done.
pub type Outcome = Result<ReloadAnswer, Vec<ConfigProblem>>;

/// For those who ask for reloads; clones ask the same node.
#[derive(Debug, Clone)]
pub struct Reloads {
    orders: mpsc::Sender<oneshot::Sender<Outcome>>,
    status: watch::Receiver<ReloadStatus>,
}

/// For the one who reloads.
#[derive(Debug)]
pub struct Orders {
    /// To be done one after the other; nobody may wait any more for what came of one.
    pub orders: mpsc::Receiver<oneshot::Sender<Outcome>>,
    /// How the last one went.
    pub status: watch::Sender<ReloadStatus>,
}

/// The two ends.
#[must_use]
pub fn channel() -> (Reloads, Orders) {
    let (sender, orders) = mpsc::channel(WAITING_MAX);
    let (status, receiver) = watch::channel(ReloadStatus::default());
    (Reloads { orders: sender, status: receiver }, Orders { orders, status })
}

impl Reloads {
    /// How the last one went.
    #[must_use]
    pub fn status(&self) -> ReloadStatus {
        self.status.borrow().clone()
    }

    /// Reloads, after all that were asked for before; `None` when the node is stopping. Goes on
    /// when the future is dropped.
    pub async fn reload(&self) -> Option<Outcome> {
        let (reply, outcome) = oneshot::channel();
        self.orders.send(reply).await.ok()?;
        outcome.await.ok()
    }
}

/// The route.
pub fn router(reloads: Reloads) -> Router {
    Router::new().route("/v1/system/reload", post(reload)).with_state(reloads)
}

async fn reload(
    State(reloads): State<Reloads>,
    request: Request,
) -> Result<Json<ReloadAnswer>, ApiError> {
    body::refuse_pages(&request)?;
    match reloads.reload().await {
        Some(Ok(answer)) => Ok(Json(answer)),
        Some(Err(problems)) => Err(ApiError { code: Code::ReloadRefused, detail: json!(problems) }),
        None => Err(ApiError::new(Code::Draining, "This node is stopping; it does not reload")),
    }
}

/// A problem as it is told.
#[must_use]
pub fn problem(problem: &Problem) -> ConfigProblem {
    let (file, line) = match &problem.origin {
        Origin::File { path, line } => (Some(path.display().to_string()), *line),
        Origin::Default | Origin::Variable(_) | Origin::Flag(_) => (None, None),
    };
    ConfigProblem {
        msg: problem.one_line(),
        origin: problem.origin.to_string(),
        file,
        line,
        key: problem.key.clone(),
        value: problem.value.clone(),
        what: problem.what.clone(),
        remedy: problem.remedy.clone(),
    }
}
