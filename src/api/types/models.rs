//! The shapes of what is said of models, as clients of the `OpenAI` API know them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::api::error::Code;

/// `GET /v1/models`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelList {
    /// Always `list`.
    pub object: String,
    /// Sorted by id.
    pub data: Vec<ModelEntry>,
}

/// One row of [`ModelList`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// The name of the model.
    pub id: String,
    /// Always `model`.
    pub object: String,
    /// Always 0: nobody says when it was made.
    pub created: u64,
    /// Always `astromesh`.
    pub owned_by: String,
    /// Ours: names of the nodes in the mesh that serve it and are alive or suspect.
    #[serde(default)]
    pub nodes: Vec<String>,
}

impl ModelEntry {
    /// A model at these nodes.
    #[must_use]
    pub fn new(id: &str, nodes: Vec<String>) -> Self {
        Self {
            id: id.to_owned(),
            object: "model".to_owned(),
            created: 0,
            owned_by: "astromesh".to_owned(),
            nodes,
        }
    }
}

/// An error, as clients of the `OpenAI` API look for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFault {
    /// For people.
    pub message: String,
    /// `invalid_request_error` or `server_error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `model` when there is no such model.
    pub param: Option<String>,
    /// For programs.
    pub code: String,
}

impl ModelFault {
    pub(super) fn new(code: Code, detail: &Value) -> Self {
        let is_callers = code.status().is_client_error();
        let kind = if is_callers { "invalid_request_error" } else { "server_error" };
        Self {
            message: detail.as_str().map_or_else(|| detail.to_string(), str::to_owned),
            kind: kind.to_owned(),
            param: (code == Code::ModelNotFound).then(|| "model".to_owned()),
            code: code.name().to_owned(),
        }
    }
}
