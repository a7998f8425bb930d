//! One model of a server that is asked over HTTP: what all protocols have in common.
//!
//! Owns the settings of such a model, its key, the bounds on an answer and what is said of a call
//! that failed. Refuses to know the JSON of a protocol, and to retry: the caller decides what comes
//! next. Keys are read when a call is made, go nowhere but into its header, and are blanked in what
//! is told of the answer, for some servers repeat the key they refuse.

use std::fmt;
use std::time::Duration;

use reqwest::header::{self, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode, Url};
use serde_json::{Map, Value};

use super::client::{Cause, causes};
use super::reading::Reading;
use super::secrets::Secrets;
use super::{Completion, ErrorCode, ModelError};

/// The largest answer that is read, in bytes; a long chat answer is well below a tenth of it.
const RESPONSE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The longest list of models that is read, in bytes.
const LIST_BYTES_MAX: usize = 1024 * 1024;

/// How much of what a server says of its own failure is passed on, in characters.
const ERROR_TEXT_CHARS_MAX: usize = 300;

/// The header that names the node of the mesh that answered.
const NODE: &str = "x-astromesh-node";

/// The longest name of a node that is told, in bytes.
const NODE_BYTES_MAX: usize = 255;

/// What lets a model write more, where its server has no limit of its own.
pub(super) const MORE_TOKENS: &str =
    "raise max_tokens, which also counts what it thinks, or shorten the conversation";

/// Where to ask, and how.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Model name, sent as it is.
    pub model: String,
    /// Base URL; a query string is kept.
    pub endpoint: Url,
    /// Where the key comes from.
    pub key: Key,
    /// More fields of the request, such as `temperature`.
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

impl Key {
    /// The key, if one is to be sent.
    ///
    /// # Errors
    /// The variable that should hold it is not set; this is its name.
    pub fn value(&self) -> Result<Option<String>, &str> {
        match self {
            Self::None => Ok(None),
            Self::Literal(key) => Ok(Some(key.clone())),
            Self::Environment(name) => match std::env::var(name) {
                Ok(key) if !key.trim().is_empty() => Ok(Some(key.trim().to_owned())),
                Ok(_) | Err(_) => Err(name),
            },
        }
    }
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

/// The header that takes the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyHeader {
    /// `Authorization: Bearer KEY`
    Bearer,
    /// `x-api-key: KEY`
    ApiKey,
}

/// What a call is for, which bounds its time and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// The model is asked.
    Completion,
    /// The server is asked what it has, within this time.
    List(Duration),
}

impl Call {
    const fn bytes_max(self) -> usize {
        match self {
            Self::Completion => RESPONSE_BYTES_MAX,
            Self::List(_) => LIST_BYTES_MAX,
        }
    }
}

/// What a server answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// At most as much as the [`Call`] permits.
    pub(super) bytes: Vec<u8>,
    /// Whether there was more.
    pub(super) is_cut: bool,
    /// The node of the mesh that answered.
    pub(super) node: Option<String>,
    /// What was sent and is not to be told: the key, and the query of the endpoint.
    secrets: Secrets,
}

impl Answer {
    /// What the server says of its own failure: `error.message`, `error`, `message`, `detail` or the
    /// first `detail[].msg`, in a mapping or in the first of a list.
    pub(super) fn error_text(&self) -> Option<String> {
        self.text_at(&["/error/message", "/error", "/message", "/detail", "/detail/0/msg"])
    }

    /// The first text at these places of the body, or of the first of its list.
    fn text_at(&self, pointers: &[&str]) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.bytes).ok()?;
        let body = body.get(0).unwrap_or(&body);
        let text = pointers.iter().find_map(|pointer| body.pointer(pointer)?.as_str());
        text.map(|text| self.passed_on(text))
    }

    /// Text of the answer as it may be told.
    fn passed_on(&self, text: &str) -> String {
        self.secrets.blank(text).chars().take(ERROR_TEXT_CHARS_MAX).collect()
    }
}

/// A model, and the way to its server.
#[derive(Debug, Clone)]
pub(super) struct Server {
    http: Client,
    key_header: KeyHeader,
    /// Where it is, in messages.
    place: String,
    pub(super) settings: Settings,
}

impl Server {
    /// A model that is asked through this client, which should be [`super::http_client`]: one that
    /// follows no redirects.
    pub(super) fn new(http: Client, key_header: KeyHeader, settings: Settings) -> Self {
        // Without the query, which may hold a secret.
        let mut endpoint = settings.endpoint.clone();
        endpoint.set_query(None);
        Self { http, key_header, place: format!("at {endpoint}"), settings }
    }

    /// The same, called so in messages.
    pub(super) fn at(&self, place: String) -> Self {
        Self { place, ..self.clone() }
    }

    /// A request with a JSON body to this path below the endpoint.
    pub(super) fn post(&self, path: &[&str], body: &Value) -> RequestBuilder {
        self.http.post(self.url(path)).json(body)
    }

    /// A request without a body to this path below the endpoint.
    pub(super) fn get(&self, path: &[&str]) -> RequestBuilder {
        self.http.get(self.url(path))
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.settings.endpoint.clone();
        // Fails only for URLs that cannot have a path; those fail again, with a message, when used.
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    /// Sends the request with the key, and reads the answer whatever its status. A completion that is
    /// too large is an error; what is said of a failure is cut.
    pub(super) async fn send(
        &self,
        request: RequestBuilder,
        call: Call,
    ) -> Result<Answer, ModelError> {
        let key = self.key()?;
        let limit = match call {
            Call::Completion => self.settings.timeout,
            Call::List(limit) => limit,
        };
        let request = match &key {
            None => request,
            Some(key) => self.with_key(request, key)?,
        };
        let failed = |error: reqwest::Error| self.transport_error(&error, call, limit);
        let mut response = request.timeout(limit).send().await.map_err(failed)?;
        let mut answer = Answer {
            status: response.status(),
            node: node_of(&response),
            bytes: Vec::new(),
            is_cut: false,
            secrets: Secrets::new(key, &self.settings.endpoint),
        };
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            let room = call.bytes_max().saturating_sub(answer.bytes.len());
            answer.bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                answer.is_cut = true;
                break;
            }
        }
        if answer.is_cut && call == Call::Completion && answer.status.is_success() {
            return Err(self.failed(
                &format!("the answer is larger than {RESPONSE_BYTES_MAX} bytes"),
                "lower max_tokens, or check that the endpoint is that of a chat API",
            ));
        }
        Ok(answer)
    }

    fn with_key(&self, request: RequestBuilder, key: &str) -> Result<RequestBuilder, ModelError> {
        let (name, text) = match self.key_header {
            KeyHeader::Bearer => (header::AUTHORIZATION, format!("Bearer {key}")),
            KeyHeader::ApiKey => (HeaderName::from_static("x-api-key"), key.to_owned()),
        };
        let mut value = HeaderValue::try_from(text).map_err(|_| {
            self.failed(
                "the key holds a character that no header can hold",
                "write the key on one line, without any other text",
            )
        })?;
        value.set_sensitive(true);
        Ok(request.header(name, value))
    }

    fn key(&self) -> Result<Option<String>, ModelError> {
        self.settings.key.value().map_err(|name| {
            ModelError::new(
                ErrorCode::MissingApiKey,
                format!("{}: the environment variable {name} is not set", self.label()),
                format!(
                    "set {name} in the daemon's environment, or name another variable as api_key_env",
                ),
            )
        })
    }

    /// How this model is named in messages.
    fn label(&self) -> String {
        format!("model {} {}", self.settings.model, self.place)
    }

    /// The call failed in a way that has no code of its own.
    pub(super) fn failed(&self, what: &str, hint: &str) -> ModelError {
        let message = format!("{}: {what}", self.label());
        ModelError::new(ErrorCode::AllProvidersFailed, message, hint)
    }

    /// The message of an answer that was read. `more_tokens` says how to let the model write more.
    pub(super) fn message(
        &self,
        reading: Reading,
        more_tokens: &str,
    ) -> Result<Completion, ModelError> {
        match reading {
            Reading::Whole(completion) => Ok(completion),
            Reading::Refusal => Err(self.failed(
                "the model refuses to answer",
                "change what is asked or the system prompt, or add a fallback model",
            )),
            Reading::Cut => Err(self.failed(
                "the tokens it may write were used up before its answer or a tool call was whole",
                more_tokens,
            )),
        }
    }

    /// The answer is not what the protocol says; `reason` may repeat parts of it. Some servers tell
    /// of a failure with a status of success.
    pub(super) fn unreadable(
        &self,
        answer: &Answer,
        what: &str,
        reason: &str,
        hint: &str,
    ) -> ModelError {
        if answer.text_at(&["/error/message", "/error"]).is_some() {
            return self.refused(answer, None);
        }
        self.failed(&format!("the answer is no {what}: {}", answer.passed_on(reason)), hint)
    }

    /// The server answered with a status that is no success.
    pub(super) fn refused(&self, answer: &Answer, known: Option<&'static str>) -> ModelError {
        let status = answer.status.as_u16();
        let mut what = format!("HTTP {status}");
        if let Some(text) = answer.error_text() {
            what.push_str(": ");
            what.push_str(&text);
        }
        self.failed(&what, known.unwrap_or_else(|| hint(status)))
    }

    fn transport_error(&self, error: &reqwest::Error, call: Call, limit: Duration) -> ModelError {
        if error.is_timeout() {
            let seconds = limit.as_secs_f64();
            let (what, hint) = match call {
                Call::Completion => (
                    "no complete answer",
                    "raise timeout in the model block, or check that the provider is reachable",
                ),
                Call::List(_) => (
                    "no answer",
                    "check that the provider is reachable from this host, and not overloaded",
                ),
            };
            let message = format!("{}: {what} within {seconds} s", self.label());
            return ModelError::new(ErrorCode::Timeout, message, hint);
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

/// The URL without slashes and one of these at the end of its path, for people give the base URL of
/// an API as well as that of its server.
pub(super) fn without_path_end(mut url: Url, ends: &[&str]) -> Url {
    let path = url.path().trim_end_matches('/');
    let path = ends.iter().find_map(|end| path.strip_suffix(end)).unwrap_or(path);
    let path = path.trim_end_matches('/').to_owned();
    url.set_path(&path);
    url
}

/// The name of the node in the header of an answer that came through the mesh.
fn node_of(response: &Response) -> Option<String> {
    let name = response.headers().get(NODE)?.to_str().ok()?;
    (!name.is_empty() && name.len() <= NODE_BYTES_MAX).then(|| name.to_owned())
}

/// What to do about a status, whatever the protocol.
const fn hint(status: u16) -> &'static str {
    match status {
        401 | 403 => "check the API key: api_key_env must name the variable that holds it",
        404 => "check endpoint (usually ending in /v1) and model",
        429 => "the provider limits the rate or the quota is used up; add a fallback model",
        300..=399 => "redirects are not followed; write the final URL as endpoint",
        400..=499 => "the provider refuses the request; check model and parameters",
        _ => "the provider has trouble; try again, or add a fallback model",
    }
}
