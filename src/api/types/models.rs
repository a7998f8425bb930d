//! The shapes of lists of models.

use serde::{Deserialize, Serialize};

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
