//! What happens around each request: its id, the body of an error, panics.
//!
//! The id comes from the client or is made here; it is in the answer, in each error, in the log and
//! in the request when that is forwarded.

use std::pin::pin;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::error::{ApiError, Code};
use super::models;
use super::types::ErrorBody;
use crate::telemetry::panics;

/// Accepted, passed on and returned.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// A longer id of a client is replaced: it ends up in each log line.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// The id of a request; an extension of each request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    /// The id that the client gave, if it is 1 to 128 visible ASCII characters; else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(REQUEST_ID).filter(|value| {
            let bytes = value.as_bytes();
            (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
                && bytes.iter().all(u8::is_ascii_graphic)
        });
        Self(given.cloned().unwrap_or_else(|| {
            let text = Uuid::new_v4().simple().to_string();
            HeaderValue::try_from(text).expect("hexadecimal digits are a header value")
        }))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Gives the request its id and the answer the same. Outermost.
pub async fn identify(mut request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers());
    // In the headers too, from where it travels with a forwarded request.
    request.headers_mut().insert(REQUEST_ID, id.0.clone());
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    response.headers_mut().insert(REQUEST_ID, id.0);
    response
}

/// Turns errors of handlers into bodies, and panics into errors. Innermost.
pub async fn render(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().map_or("", RequestId::as_str).to_owned();
    let path = request.uri().path().to_owned();
    let outcome = panics::contained(pin!(next.run(request))).await;
    let mut response = outcome.unwrap_or_else(|panic| {
        tracing::error!(
            request.id = id,
            http.path = path,
            %panic,
            "a request handler panicked; this is a defect, please report it"
        );
        ApiError::new(Code::Internal, "Internal Server Error").into_response()
    });
    let Some(error) = response.extensions_mut().remove::<ApiError>() else { return response };
    let body = ErrorBody::new(error.code, error.detail, id, models::is_route(&path));
    let mut rendered = (response.status(), axum::Json(body)).into_response();
    for (name, value) in response.headers() {
        rendered.headers_mut().insert(name, value.clone());
    }
    rendered
}
