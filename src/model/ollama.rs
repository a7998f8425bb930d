//! Chat models of Ollama, in its own protocol.
//!
//! Owns its paths and its words for failures; the JSON is in `body`, the place in `address`. It is
//! `/api/chat` that is spoken and not the OpenAI protocol below `/v1`, which takes none of Ollama's
//! options: a prompt longer than the default of `num_ctx` would be cut without a word.

mod address;
mod body;

use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;

use super::server::{Answer, Call, KeyHeader, Server};
use super::{
    Availability, ChatModel, ChatRequest, CheckFuture, Completion, CompletionFuture, ErrorCode,
    Message, ModelError, Settings, ToolSpec,
};

pub use address::{HOST_VARIABLE, base_url, server_url, url_of_host};

/// What spans and sums call it.
const KIND: &str = "ollama";

/// Parameters of the OpenAI protocol that Ollama would pass over, and what it has in their place.
pub const FOREIGN_PARAMETERS: &[(&str, &str)] = &[
    ("max_completion_tokens", "max_tokens"),
    ("response_format", "format"),
    ("reasoning_effort", "think"),
];

/// A model of Ollama.
#[derive(Debug, Clone)]
pub struct Ollama {
    server: Server,
}

#[derive(Deserialize)]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
}

/// The names of the models in an answer to `GET /api/tags`.
///
/// # Errors
/// It is no such answer.
pub fn listed(list: &[u8]) -> serde_json::Result<Vec<String>> {
    let Tags { models } = serde_json::from_slice(list)?;
    Ok(models.into_iter().map(|tag| tag.name).collect())
}

impl Ollama {
    /// A model that is asked through this client, which should be [`super::http_client`]: one that
    /// follows no redirects. The endpoint is that of the server, see [`server_url`].
    #[must_use]
    pub fn new(http: Client, mut settings: Settings) -> Self {
        settings.endpoint = server_url(settings.endpoint);
        Self { server: Server::new(http, KeyHeader::Bearer, settings) }
    }

    async fn ask(
        &self,
        messages: &[Message],
        tools: &[ToolSpec],
    ) -> Result<Completion, ModelError> {
        let body = body::request(&self.server.settings, messages, tools);
        let request = self.server.post(&["api", "chat"], &body);
        let answer = self.server.send(request, Call::Completion).await.map_err(where_it_may_be)?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        let reading = body::reading(&answer.bytes).map_err(|reason| {
            self.server.unreadable(
                &answer,
                "chat answer of Ollama",
                &reason,
                "check that Ollama is at endpoint; for a server that speaks the OpenAI protocol write provider: openai_compat",
            )
        })?;
        self.server.message(reading, "raise max_tokens or num_ctx in parameters")
    }

    async fn list(&self, limit: Duration) -> Result<Availability, ModelError> {
        let request = self.server.get(&["api", "tags"]);
        let answer = self.server.send(request, Call::List(limit)).await.map_err(where_it_may_be)?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        // A list that is longer than what is read, or of another kind, tells nothing.
        let Ok(models) = listed(&answer.bytes) else { return Ok(Availability::Answers) };
        let model = self.name();
        let is_it = |listed: &String| {
            let rest = listed.strip_prefix(model);
            rest.is_some_and(|rest| rest.is_empty() || rest == ":latest")
        };
        if models.iter().any(is_it) {
            return Ok(Availability::Answers);
        }
        Err(self.lacks_model("the server does not have it"))
    }

    fn refused(&self, answer: &Answer) -> ModelError {
        let said = answer.error_text();
        match (answer.status.as_u16(), said.as_deref()) {
            (404, Some(said)) if said.contains("not found") && said.contains("model") => {
                self.lacks_model(said)
            }
            (404, _) => {
                let hint = "no Ollama answers there: check endpoint, or OLLAMA_HOST where a block has none";
                ModelError { code: ErrorCode::OllamaNotFound, ..self.server.refused(answer, Some(hint)) }
            }
            (400, Some(said)) if said.contains("does not support tools") => self.server.refused(
                answer,
                Some("choose a model that calls tools, such as llama3.1 or qwen3, or remove tools from the agent"),
            ),
            _ => self.server.refused(answer, None),
        }
    }

    fn lacks_model(&self, what: &str) -> ModelError {
        ModelError {
            code: ErrorCode::OllamaNotFound,
            hint: format!("get it with `ollama pull {}` on the host of Ollama", self.name()),
            ..self.server.failed(what, "")
        }
    }
}

/// Says where to look when nobody answers.
fn where_it_may_be(error: ModelError) -> ModelError {
    let hint = match error.code {
        ErrorCode::ConnectionRefused => {
            "nothing listens there: start it with `ollama serve`, or set endpoint or OLLAMA_HOST to where it is"
        }
        ErrorCode::DnsResolutionFailed => {
            "check the host name in endpoint or OLLAMA_HOST, and this host's DNS"
        }
        ErrorCode::Timeout
        | ErrorCode::MissingApiKey
        | ErrorCode::NoEligibleProvider
        | ErrorCode::OllamaNotFound
        | ErrorCode::AllProvidersFailed => return error,
    };
    ModelError { hint: hint.to_owned(), ..error }
}

impl ChatModel for Ollama {
    fn kind(&self) -> &'static str {
        KIND
    }

    fn name(&self) -> &str {
        &self.server.settings.model
    }

    fn complete<'a>(&'a self, request: ChatRequest<'a>) -> CompletionFuture<'a> {
        Box::pin(self.ask(request.messages, request.tools))
    }

    fn check(&self, limit: Duration) -> CheckFuture<'_> {
        Box::pin(self.list(limit))
    }
}
