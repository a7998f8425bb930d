//! Chat models behind the OpenAI chat completions protocol: OpenAI itself, and the many servers
//! that speak like it (vLLM, llama.cpp, Ollama under `/v1`, gateways).
//!
//! Owns the request, the bounds on the answer and the choice of error code. Refuses to retry: the
//! caller decides what comes next. Keys are read when a call is made and go nowhere but into its
//! `Authorization` header.

mod body;
mod check;

use std::fmt;
use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde_json::{Map, Value};

use super::client::{Cause, causes};
use super::{
    ChatModel, CheckFuture, Completion, CompletionFuture, ErrorCode, Message, ModelError, ToolSpec,
};

/// The largest answer that is read, in bytes; a long chat answer is well below a tenth of it.
pub const RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How much of a provider's own error text is passed on, in characters.
const ERROR_TEXT_CHARS_MAX: usize = 300;

/// Where to ask, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Model name, sent as it is.
    pub model: String,
    /// Base URL without `/chat/completions`; a query string is kept.
    pub endpoint: Url,
    /// Where the key comes from.
    pub key: Key,
    /// More fields of the request body, such as `temperature`.
    pub parameters: Map<String, Value>,
    /// Limit for one call, from its start to the last byte of the answer.
    pub timeout: Duration,
}

/// Where the API key of a model comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum Key {
    /// No key is sent.
    None,
    /// The environment variable of this name, read at each call; it must be set.
    Environment(String),
    /// The key itself.
    Literal(String),
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("None"),
            Self::Environment(name) => write!(formatter, "Environment({name})"),
            Self::Literal(_) => formatter.write_str("Literal(***)"),
        }
    }
}

/// A model behind an OpenAI-compatible endpoint.
#[derive(Debug, Clone)]
pub struct OpenAi {
    http: Client,
    url: Url,
    settings: Settings,
}

impl OpenAi {
    /// A model that is asked through this client, which should be [`super::http_client`]: one that
    /// follows no redirects.
    #[must_use]
    pub fn new(http: Client, settings: Settings) -> Self {
        let mut url = settings.endpoint.clone();
        // Fails only for URLs that cannot have a path; those fail again, with a message, when used.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["chat", "completions"]);
        }
        Self { http, url, settings }
    }

    fn key(&self) -> Result<Option<String>, ModelError> {
        match &self.settings.key {
            Key::None => Ok(None),
            Key::Literal(key) => Ok(Some(key.clone())),
            Key::Environment(name) => match std::env::var(name) {
                Ok(key) if !key.trim().is_empty() => Ok(Some(key.trim().to_owned())),
                Ok(_) | Err(_) => Err(ModelError::new(
                    ErrorCode::MissingApiKey,
                    format!("{}: the environment variable {name} is not set", self.label()),
                    format!(
                        "set {name} in the daemon's environment, or name another variable as api_key_env",
                    ),
                )),
            },
        }
    }

    /// How this model is named in messages; the endpoint without its query, which may hold a secret.
    fn label(&self) -> String {
        let mut endpoint = self.settings.endpoint.clone();
        endpoint.set_query(None);
        format!("model {} at {endpoint}", self.settings.model)
    }

    async fn ask(
        &self,
        messages: &[Message],
        tools: &[ToolSpec],
    ) -> Result<Completion, ModelError> {
        let key = self.key()?;
        let body = body::request(&self.settings, messages, tools);
        let mut request =
            self.http.post(self.url.clone()).timeout(self.settings.timeout).json(&body);
        if let Some(key) = &key {
            request = request.bearer_auth(key);
        }
        let mut response = request.send().await.map_err(|error| self.transport_error(&error))?;
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) =
            response.chunk().await.map_err(|error| self.transport_error(&error))?
        {
            if bytes.len() + chunk.len() > RESPONSE_BYTES_MAX {
                return Err(self.failed(
                    &format!("the answer is larger than {RESPONSE_BYTES_MAX} bytes"),
                    "lower max_tokens, or check that the endpoint is a chat completions API",
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        if !status.is_success() {
            return Err(self.status_error(status, &bytes, key.as_deref()));
        }
        body::completion(&bytes).map_err(|reason| {
            self.failed(
                &format!("the answer is no chat completion: {reason}"),
                "check that the endpoint is the base URL of an OpenAI-compatible API, usually ending in /v1",
            )
        })
    }

    fn failed(&self, what: &str, hint: &str) -> ModelError {
        let message = format!("{}: {what}", self.label());
        ModelError::new(ErrorCode::AllProvidersFailed, message, hint)
    }

    fn status_error(&self, status: StatusCode, bytes: &[u8], key: Option<&str>) -> ModelError {
        let mut what = format!("HTTP {}", status.as_u16());
        if let Some(mut text) = body::error_text(bytes) {
            // Some servers repeat the key they refuse.
            if let Some(key) = key {
                text = text.replace(key, "***");
            }
            what.push_str(": ");
            what.extend(text.chars().take(ERROR_TEXT_CHARS_MAX));
        }
        let hint = match status.as_u16() {
            401 | 403 => "check the API key: api_key_env must name the variable that holds it",
            404 => "check endpoint (usually ending in /v1) and model",
            429 => "the provider limits the rate or the quota is used up; add a fallback model",
            300..=399 => "redirects are not followed; write the final URL as endpoint",
            400..=499 => "the provider refuses the request; check model and parameters",
            _ => "the provider has trouble; try again, or add a fallback model",
        };
        self.failed(&what, hint)
    }

    fn transport_error(&self, error: &reqwest::Error) -> ModelError {
        if error.is_timeout() {
            let seconds = self.settings.timeout.as_secs_f64();
            return ModelError::new(
                ErrorCode::Timeout,
                format!("{}: no complete answer within {seconds} s", self.label()),
                "raise timeout in the model block, or check that the provider is reachable",
            );
        }
        let cause = causes(error);
        let (code, hint) = match cause.kind {
            Cause::Refused => (
                ErrorCode::ConnectionRefused,
                "nothing listens there: start the model server, or mend endpoint",
            ),
            Cause::NameUnknown => (
                ErrorCode::DnsResolutionFailed,
                "check the host name in endpoint, and this host's DNS",
            ),
            Cause::Other => {
                (ErrorCode::AllProvidersFailed, "check endpoint, network and certificates")
            }
        };
        ModelError::new(code, format!("{}: {}", self.label(), cause.text), hint)
    }
}

impl ChatModel for OpenAi {
    fn kind(&self) -> &'static str {
        "openai_compat"
    }

    fn name(&self) -> &str {
        &self.settings.model
    }

    fn complete<'a>(
        &'a self,
        messages: &'a [Message],
        tools: &'a [ToolSpec],
    ) -> CompletionFuture<'a> {
        Box::pin(self.ask(messages, tools))
    }

    fn check(&self, limit: Duration) -> CheckFuture<'_> {
        Box::pin(self.list(limit))
    }
}
