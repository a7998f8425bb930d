//! Chat models of the mesh: whichever inference node serves the model and has the least to do.
//!
//! Owns the words for what the mesh says. Knows no node but its own, whose HTTP server is asked like
//! any client would ask it and finds the other; so a model on the same node is one among them.

use std::time::Duration;

use serde::Deserialize;

use super::server::{Answer, Call, KeyHeader, MORE_TOKENS, Server};
use super::{
    Access, Availability, ChatModel, ChatRequest, CheckFuture, Completion, CompletionFuture,
    ErrorCode, ModelError, Settings, openai,
};

/// What spans and sums call it.
const KIND: &str = "mesh";

/// What the mesh says when no node is left that could serve the model.
const NOBODY: [&str; 6] = [
    "model_not_found",
    "model_unavailable",
    "mesh_left",
    "nodes_unreachable",
    "hop_limit",
    "upstream_unreachable",
];

/// A model that some node of the mesh serves.
#[derive(Debug, Clone)]
pub struct Mesh {
    server: Server,
}

/// What an error of a node says for programs.
#[derive(Deserialize)]
struct Refusal {
    code: String,
}

impl Mesh {
    /// A model that is asked through the own node; the endpoint in the settings means nothing.
    #[must_use]
    pub fn new(access: &Access, mut settings: Settings) -> Self {
        settings.endpoint = access.node().clone();
        Self { server: Server::new(access.client.clone(), KeyHeader::Bearer, settings) }
    }

    async fn ask(&self, chat: ChatRequest<'_>) -> Result<Completion, ModelError> {
        let body = openai::body::request(&self.server.settings, chat.messages, chat.tools);
        let path = ["v1", "inference", self.name(), "chat", "completions"];
        let mut request = self.server.post(&path, &body);
        if let Some(traceparent) = chat.traceparent {
            request = request.header("traceparent", traceparent);
        }
        let answer = self.server.send(request, Call::Completion).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        let reading = openai::body::reading(&answer.bytes).map_err(|reason| {
            self.server.unreadable(
                &answer,
                "chat completion",
                &reason,
                "check the model server of the node that answered: it must speak the OpenAI protocol",
            )
        })?;
        self.server.message(reading, MORE_TOKENS)
    }

    fn refused(&self, answer: &Answer) -> ModelError {
        let code = serde_json::from_slice(&answer.bytes).map(|Refusal { code }| code);
        let model = self.name();
        match code.as_deref() {
            Ok(code) if NOBODY.contains(&code) => ModelError::new(
                ErrorCode::NoEligibleProvider,
                format!(
                    "no alive node serves {model}: {}",
                    answer.error_text().unwrap_or_else(|| code.to_owned())
                ),
                format!(
                    "`astromeshctl models list` shows what is served; get {model} on an inference node, \
                     as with `ollama pull {model}`, or add a fallback model"
                ),
            ),
            Ok("queue_full" | "queue_timeout") => self.server.refused(
                answer,
                Some("the nodes that serve the model are full: add one, or raise spec.api.model_max_concurrent there"),
            ),
            Ok(_) | Err(_) => self.server.refused(answer, None),
        }
    }

    /// A node without a mesh does not know what its peers serve.
    async fn list(&self, limit: Duration) -> Result<Availability, ModelError> {
        let request = self.server.get(&["v1", "models"]);
        let answer = self.server.send(request, Call::List(limit)).await?;
        if !answer.status.is_success() {
            return Err(self.server.refused(&answer, None));
        }
        let is_listed = openai::lists(&answer.bytes, self.name());
        Ok(if is_listed { Availability::Answers } else { Availability::NotListed })
    }
}

impl ChatModel for Mesh {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn name(&self) -> &str {
        &self.server.settings.model
    }

    fn complete<'a>(&'a self, request: ChatRequest<'a>) -> CompletionFuture<'a> {
        Box::pin(self.ask(request))
    }

    fn check(&self, limit: Duration) -> CheckFuture<'_> {
        Box::pin(self.list(limit))
    }
}
