//! Chat models of Anthropic, in its Messages protocol.
//!
//! Owns its paths, the version of the protocol and the words for failures; the JSON is in `body`.

mod body;

use std::time::Duration;

use reqwest::Client;

use super::server::{Answer, Call, KeyHeader, MORE_TOKENS, Server, without_path_end};
use super::{
    Availability, ChatModel, ChatRequest, CheckFuture, Completion, CompletionFuture, Message,
    ModelError, Settings, ToolSpec,
};

/// What spans and sums call it.
const KIND: &str = "anthropic";

/// The header that says how the JSON is to be read, and its value.
const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// Parameters of the OpenAI protocol, and what this one has in their place.
pub const FOREIGN_PARAMETERS: &[(&str, &str)] = &[
    ("max_completion_tokens", "max_tokens"),
    ("stop", "stop_sequences"),
    ("response_format", "output_config: {format: …}"),
    ("reasoning_effort", "output_config: {effort: …}"),
];

/// A model of Anthropic, or of a server that speaks as it does.
#[derive(Debug, Clone)]
pub struct Anthropic {
    server: Server,
}

impl Anthropic {
    /// A model that is asked through this client, which should be [`super::http_client`]: one that
    /// follows no redirects. The endpoint may end in `/v1` or not.
    #[must_use]
    pub fn new(http: Client, mut settings: Settings) -> Self {
        settings.endpoint = without_path_end(settings.endpoint, &["/v1"]);
        Self { server: Server::new(http, KeyHeader::ApiKey, settings) }
    }

    async fn ask(
        &self,
        messages: &[Message],
        tools: &[ToolSpec],
    ) -> Result<Completion, ModelError> {
        let body = body::request(&self.server.settings, messages, tools);
        let request = self.server.post(&["v1", "messages"], &body).header(VERSION.0, VERSION.1);
        let answer = self.server.send(request, Call::Completion).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer));
        }
        let reading = body::reading(&answer.bytes).map_err(|reason| {
            self.server.unreadable(
                &answer,
                "message of Anthropic",
                &reason,
                "check that endpoint speaks Anthropic's Messages protocol; for the OpenAI protocol write provider: openai_compat",
            )
        })?;
        self.server.message(reading, MORE_TOKENS)
    }

    /// Asks for what is known of the model: unlike the list of models this knows aliases too, and
    /// has no pages.
    async fn look(&self, limit: Duration) -> Result<Availability, ModelError> {
        let path = ["v1", "models", self.name()];
        let request = self.server.get(&path).header(VERSION.0, VERSION.1);
        let answer = self.server.send(request, Call::List(limit)).await?;
        match answer.status.as_u16() {
            200..=299 => Ok(Availability::Answers),
            404 if body::is_unknown(&answer.bytes) => Ok(Availability::NotListed),
            status @ (404 | 405 | 501) => Ok(Availability::NoList(status)),
            _ => Err(self.refused(&answer)),
        }
    }

    fn refused(&self, answer: &Answer) -> ModelError {
        let hint = match answer.status.as_u16() {
            400 => Some(
                "check model and parameters: recent models of Anthropic take no temperature, top_p or top_k",
            ),
            404 => Some("check model, and endpoint, which is the base URL with or without /v1"),
            413 => {
                Some("the conversation is too large; lower max_iterations, or what tools return")
            }
            529 => Some("Anthropic is overloaded; try again in a while, or add a fallback model"),
            _ => None,
        };
        self.server.refused(answer, hint)
    }
}

impl ChatModel for Anthropic {
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
        Box::pin(self.look(limit))
    }
}
