//! Whether the server behind a model is there and takes our key, without asking the model.

use std::time::Duration;

use serde::Deserialize;

use super::OpenAi;
use crate::model::{Availability, ErrorCode, ModelError};

/// The longest list of models that is read, in bytes.
const LIST_BYTES_MAX: usize = 1024 * 1024;

#[derive(Deserialize)]
struct List {
    data: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    id: String,
}

impl OpenAi {
    /// Asks for the list of models, with the key of a call.
    pub(super) async fn list(&self, limit: Duration) -> Result<Availability, ModelError> {
        let key = self.key()?;
        let mut url = self.settings.endpoint.clone();
        // As for calls: what cannot have a path fails when it is used.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("models");
        }
        let mut request = self.http.get(url).timeout(limit);
        if let Some(key) = &key {
            request = request.bearer_auth(key);
        }
        let failed = |error: reqwest::Error| {
            if !error.is_timeout() {
                return self.transport_error(&error);
            }
            let seconds = limit.as_secs_f64();
            ModelError::new(
                ErrorCode::Timeout,
                format!("{}: no answer within {seconds} s", self.label()),
                "check that the provider is reachable from this host, and not overloaded",
            )
        };
        let mut response = request.send().await.map_err(failed)?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > LIST_BYTES_MAX {
                return Ok(Availability::Answers);
            }
            bytes.extend_from_slice(&chunk);
        }
        match status.as_u16() {
            200..=299 => Ok(self.find(&bytes)),
            404 | 405 | 501 => Ok(Availability::NoList(status.as_u16())),
            _ => Err(self.status_error(status, &bytes, key.as_deref())),
        }
    }

    fn find(&self, list: &[u8]) -> Availability {
        let Ok(List { data }) = serde_json::from_slice(list) else { return Availability::Answers };
        let model = self.settings.model.as_str();
        // Ollama lists `llama3:latest` for what may be called `llama3`.
        let is_it = |listed: &Listed| {
            let rest = listed.id.strip_prefix(model);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        };
        if data.is_empty() || data.iter().any(is_it) {
            Availability::Answers
        } else {
            Availability::NotListed
        }
    }
}
