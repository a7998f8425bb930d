//! Whether the server behind a model is there and takes our key, without asking the model.

use std::time::Duration;

use serde::Deserialize;

use super::OpenAi;
use crate::model::server::Call;
use crate::model::{Availability, ModelError};

#[derive(Deserialize)]
struct List {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

/// The names of the models in an answer to `GET /models`.
///
/// # Errors
/// It is no such answer.
pub fn listed(list: &[u8]) -> serde_json::Result<Vec<String>> {
    let List { data } = serde_json::from_slice(list)?;
    Ok(data.into_iter().map(|listed| listed.id).collect())
}

/// Ollama lists `llama3:latest` for what may be called `llama3`.
fn is(listed: &str, model: &str) -> bool {
    let rest = listed.strip_prefix(model);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
}

/// Whether the text is a list that has exactly this model, its default tag told or not.
pub(in crate::model) fn lists(list: &[u8], model: &str) -> bool {
    let model = model.strip_suffix(":latest").unwrap_or(model);
    listed(list).is_ok_and(|names| names.iter().any(|name| name == model))
}

impl OpenAi {
    /// Asks for the list of models, with the key of a call.
    pub(super) async fn list(&self, limit: Duration) -> Result<Availability, ModelError> {
        let answer = self.server.send(self.server.get(&["models"]), Call::List(limit)).await?;
        match answer.status.as_u16() {
            200..=299 if answer.is_cut => Ok(Availability::Answers),
            200..=299 => Ok(self.find(&answer.bytes)),
            status @ (404 | 405 | 501) => Ok(Availability::NoList(status)),
            _ => Err(self.server.refused(&answer, None)),
        }
    }

    fn find(&self, list: &[u8]) -> Availability {
        let Ok(names) = listed(list) else { return Availability::Answers };
        let model = self.server.settings.model.as_str();
        if names.is_empty() || names.iter().any(|name| is(name, model)) {
            Availability::Answers
        } else {
            Availability::NotListed
        }
    }
}
