//! Chat models behind the OpenAI chat completions protocol: OpenAI itself, and the many servers
//! that speak like it (vLLM, llama.cpp, TGI, gateways).
//!
//! Owns the path, the order of a call and its words for failures; the JSON is in `body`.

pub(super) mod body;
mod check;

use std::time::Duration;

use reqwest::Client;

use super::server::{Call, KeyHeader, MORE_TOKENS, Server};
pub use check::listed;
pub(super) use check::lists;

use super::{
    ChatModel, ChatRequest, CheckFuture, Completion, CompletionFuture, Message, ModelError,
    Settings, ToolSpec,
};

/// A model behind an OpenAI-compatible endpoint, which is the base URL without `/chat/completions`.
#[derive(Debug, Clone)]
pub struct OpenAi {
    server: Server,
}

impl OpenAi {
    /// A model that is asked through this client, which should be [`super::http_client`]: one that
    /// follows no redirects.
    #[must_use]
    pub fn new(http: Client, settings: Settings) -> Self {
        Self { server: Server::new(http, KeyHeader::Bearer, settings) }
    }

    async fn ask(
        &self,
        messages: &[Message],
        tools: &[ToolSpec],
    ) -> Result<Completion, ModelError> {
        let body = body::request(&self.server.settings, messages, tools);
        let request = self.server.post(&["chat", "completions"], &body);
        let answer = self.server.send(request, Call::Completion).await?;
        if !answer.status.is_success() {
            return Err(self.server.refused(&answer, None));
        }
        let reading = body::reading(&answer.bytes).map_err(|reason| {
            self.server.unreadable(
                &answer,
                "chat completion",
                &reason,
                "check that the endpoint is the base URL of an OpenAI-compatible API, usually ending in /v1",
            )
        })?;
        self.server.message(reading, MORE_TOKENS)
    }
}

impl ChatModel for OpenAi {
    fn kind(&self) -> &'static str {
        "openai_compat"
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
