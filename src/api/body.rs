//! Reading request bodies.
//!
//! Owns the limits on them and the explanation of what is wrong with one, in the shape that users
//! of Astromesh know: a list of `{"type", "loc", "msg", "input"}`. The content type is not looked
//! at: a body is taken for JSON.

use std::time::Duration;

use axum::extract::{FromRequest, Request};
use axum::http::header::ORIGIN;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::error::{ApiError, Code};

/// Longest wait for the next part of a body.
const BODY_IDLE_MAX: Duration = Duration::from_secs(30);
/// Limit where no other is set for the server.
const BODY_BYTES_MAX_DEFAULT: usize = 1024 * 1024;

/// The longest body in bytes; rides on each request, so that every handler keeps to it.
#[derive(Debug, Clone, Copy)]
pub struct BodyLimit(pub usize);

/// Refuses what a page in a browser sends: browsers name the origin in each request of a page from
/// elsewhere that may change something; nodes and tools have none. Without this check any page could
/// take the node of whoever looks at it out of its mesh.
///
/// # Errors
/// The request has an origin.
pub fn refuse_pages(request: &Request) -> Result<(), ApiError> {
    if request.headers().contains_key(ORIGIN) {
        let detail = "Pages in a browser may not call this route";
        return Err(ApiError::new(Code::CrossOrigin, detail));
    }
    Ok(())
}

/// Reads the whole body.
///
/// # Errors
/// It is too long, too slow, or it broke off.
pub async fn read(request: Request) -> Result<Bytes, ApiError> {
    let limit = request.extensions().get().map_or(BODY_BYTES_MAX_DEFAULT, |BodyLimit(max)| *max);
    let too_large =
        || ApiError::new(Code::BodyTooLarge, format!("Request body is longer than {limit} bytes"));
    let mut body = request.into_body();
    let announced = hyper::body::Body::size_hint(&body).lower();
    if usize::try_from(announced).map_or(true, |announced| announced > limit) {
        return Err(too_large());
    }
    let mut bytes = BytesMut::new();
    loop {
        let frame = tokio::time::timeout(BODY_IDLE_MAX, body.frame()).await.map_err(|_| {
            let waited = BODY_IDLE_MAX.as_secs();
            ApiError::new(Code::BodyTimeout, format!("No more of the body came for {waited} s"))
        })?;
        let Some(frame) = frame else { return Ok(bytes.freeze()) };
        let frame = frame.map_err(|error| {
            ApiError::new(Code::BodyUnreadable, format!("Request body broke off: {error}"))
        })?;
        if let Ok(part) = frame.into_data() {
            if part.len() > limit.saturating_sub(bytes.len()) {
                return Err(too_large());
            }
            bytes.extend_from_slice(&part);
        }
    }
}

/// A value from the JSON of a body.
///
/// # Errors
/// The first thing that is wrong with it, as code `invalid_request`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        let offset = byte_offset(bytes, error.line(), error.column());
        invalid(json!({
            "type": "json_invalid",
            "loc": ["body", offset],
            "msg": "JSON decode error",
            "input": {},
            "ctx": {"error": error.to_string()},
        }))
    })?;
    serde_path_to_error::deserialize(&value).map_err(|error| {
        let mut location = vec![json!("body")];
        location.extend(error.path().iter().filter_map(segment));
        let input = at(&value, &location);
        let message = error.inner().to_string();
        // The one case that has a type of its own: serde names the field in its text only.
        let missing = message.strip_prefix("missing field `").and_then(|rest| rest.split_once('`'));
        match missing {
            Some((field, _)) => {
                location.push(json!(field));
                let (kind, message) = ("missing", "Field required");
                invalid(json!({"type": kind, "loc": location, "msg": message, "input": input}))
            }
            None => invalid(json!({
                "type": "type_error",
                "loc": location,
                "msg": message,
                "input": input,
            })),
        }
    })
}

fn invalid(problem: Value) -> ApiError {
    ApiError { code: Code::InvalidRequest, detail: Value::Array(vec![problem]) }
}

fn segment(segment: &serde_path_to_error::Segment) -> Option<Value> {
    use serde_path_to_error::Segment;
    match segment {
        Segment::Seq { index } => Some(json!(index)),
        Segment::Map { key } => Some(json!(key)),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

/// The part of the body that a location names.
fn at<'a>(body: &'a Value, location: &[Value]) -> &'a Value {
    location.iter().skip(1).fold(body, |value, step| {
        match step {
            Value::String(key) => value.get(key),
            Value::Number(index) => {
                index.as_u64().and_then(|index| value.get(usize::try_from(index).ok()?))
            }
            _ => None,
        }
        .unwrap_or(&Value::Null)
    })
}

/// serde counts lines and columns from 1.
fn byte_offset(bytes: &[u8], line: usize, column: usize) -> usize {
    let before: usize = bytes
        .split_inclusive(|byte| *byte == b'\n')
        .take(line.saturating_sub(1))
        .map(<[u8]>::len)
        .sum();
    before + column.saturating_sub(1)
}

/// Extracts a value from the JSON of the body, or answers what is wrong with it.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, _state: &S) -> Result<Self, ApiError> {
        parse(&read(request).await?).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::RunRequest;

    fn problem(body: &str) -> Value {
        let error = parse::<RunRequest>(body.as_bytes()).unwrap_err();
        assert_eq!(error.code, Code::InvalidRequest);
        error.detail[0].clone()
    }

    #[test]
    fn each_problem_says_where_it_is() {
        let cases = [
            ("no JSON", "{\"query\":\n nope}", "json_invalid", json!(["body", 12]), json!({})),
            ("empty", "", "json_invalid", json!(["body", 0]), json!({})),
            ("no query", "{\"a\":1}", "missing", json!(["body", "query"]), json!({"a": 1})),
            ("number", "{\"query\":7}", "type_error", json!(["body", "query"]), json!(7)),
            (
                "context",
                "{\"query\":\"q\",\"context\":[]}",
                "type_error",
                json!(["body", "context"]),
                json!([]),
            ),
            ("a list", "[1]", "type_error", json!(["body", 0]), json!(1)),
        ];
        for (name, body, kind, location, input) in cases {
            let problem = problem(body);
            assert_eq!(problem["type"], kind, "{name}: {problem}");
            assert_eq!(problem["loc"], location, "{name}: {problem}");
            assert_eq!(problem["input"], input, "{name}: {problem}");
        }
    }

    #[test]
    fn unknown_fields_are_ignored_and_defaults_filled_in() {
        let request: RunRequest = parse(b"{\"query\":\"q\",\"metadata\":{}}").unwrap();
        assert_eq!((request.query.as_str(), request.session_id.as_str()), ("q", "default"));
    }
}
