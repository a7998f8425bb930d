//! A request to a model server, and its answer as it comes.
//!
//! Owns what is sent: the body of the caller under the name that the server knows, and the key of
//! the provider; no header of the caller. Parts of a good answer are passed on as they come, an
//! error is read within bounds and repeats no secret. Dropping either ends the request at the server.

use bytes::Bytes;
use reqwest::{Client, Response, StatusCode, header};
use serde_json::{Map, Value};

use super::served::Model;
use crate::model::{Cause, Secrets, causes};

/// The longest error of a model server that is passed on, in bytes; the rest is cut.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its type, if it says one.
    pub content_type: Option<header::HeaderValue>,
    /// When to ask again, if it says so.
    pub retry_after: Option<header::HeaderValue>,
    /// What it says.
    pub body: Body,
}

/// What an answer says.
#[derive(Debug)]
pub enum Body {
    /// It is still coming.
    Coming(Response),
    /// An error, without the key and the query of the endpoint.
    Whole(Bytes),
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatError {
    /// The server cannot be connected to: it has not seen the request.
    #[error("the model server cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke before there was an answer.
    #[error("the connection to the model server broke: {0}")]
    Broken(String),
    /// The provider has no key.
    #[error("{0}")]
    NoKey(String),
}

/// Sends the JSON object of a chat to the server that has the model.
///
/// # Errors
/// See [`ChatError`]. An answer that tells of an error is none.
pub async fn ask(
    http: &Client,
    model: &Model,
    mut chat: Map<String, Value>,
) -> Result<Answer, ChatError> {
    let place = &model.server.place;
    let key = place.key().map_err(ChatError::NoKey)?;
    chat.insert("model".to_owned(), model.name.clone().into());
    let mut request = http.post(place.chat_url()).json(&chat);
    if let Some(key) = &key {
        request = request.bearer_auth(key);
    }
    let failed = |error: reqwest::Error| {
        let causes = causes(&error);
        if error.is_connect() || causes.kind == Cause::Refused {
            model.server.doubt();
            ChatError::Unreachable(causes.text)
        } else {
            ChatError::Broken(causes.text)
        }
    };
    let response = request.send().await.map_err(failed)?;
    let status = response.status();
    let header = |name| response.headers().get(name).cloned();
    let (content_type, retry_after) = (header(header::CONTENT_TYPE), header(header::RETRY_AFTER));
    let body = if status.is_success() {
        Body::Coming(response)
    } else {
        Body::Whole(error_of(response, &Secrets::new(key, &place.api)).await.map_err(failed)?)
    };
    Ok(Answer { status, content_type, retry_after, body })
}

/// The text of an error, with what of it may be told.
async fn error_of(mut response: Response, secrets: &Secrets) -> reqwest::Result<Bytes> {
    let mut bytes = Vec::new();
    let mut is_cut = false;
    while let Some(chunk) = response.chunk().await? {
        let room = ERROR_BYTES_MAX - bytes.len();
        bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            is_cut = true;
            break;
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    let told = if is_cut { secrets.blank_beginning(&text) } else { secrets.blank(&text) };
    Ok(told.into_bytes().into())
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::*;

    #[tokio::test]
    async fn an_error_is_told_up_to_its_limit_and_without_what_its_end_begins_to_repeat() {
        let url = Url::parse("http://h/v1?key=hush-hush").unwrap();
        let filled = |bytes: usize, end: &str| format!("{}{end}", "x".repeat(bytes - end.len()));
        let whole = filled(ERROR_BYTES_MAX, "hush-hush");
        let beginning = filled(ERROR_BYTES_MAX, "hush-hu");
        let rows = [
            ("at the limit", whole.clone(), whole.replace("hush-hush", "***")),
            ("beyond it", format!("{beginning}sh"), beginning.replace("hush-hu", "")),
        ];
        for (name, said, told) in rows {
            let response = Response::from(axum::http::Response::new(said));
            let secrets = Secrets::new(None, &url);
            assert_eq!(error_of(response, &secrets).await.unwrap(), told, "{name}");
        }
    }
}
