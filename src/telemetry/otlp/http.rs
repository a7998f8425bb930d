//! The client of a collector over HTTP: that of the node, made what the exporter calls.
//!
//! Owns the limits of a call, and keeps why the last one failed, which the exporter does not pass on.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};

/// More than any collector says of an export. The rest is not read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Sends requests by the client of the node.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    timeout: Duration,
    fault: Fault,
}

/// Why the last call failed, for the log; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Fault(Arc<Mutex<Option<String>>>);

impl Fault {
    /// Takes what is known.
    pub(super) fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: &reqwest::Error) {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
    }
}

impl Http {
    pub(super) const fn new(client: reqwest::Client, timeout: Duration, fault: Fault) -> Self {
        Self { client, timeout, fault }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = reqwest::Request::try_from(request)?;
        *request.timeout_mut() = Some(self.timeout);
        let read = self.read(request).await;
        let (response, body) = read.inspect_err(|error| self.fault.set(error))?;
        let mut answer = Response::builder().status(response.status());
        if let Some(headers) = answer.headers_mut() {
            headers.clone_from(response.headers());
        }
        Ok(answer.body(body)?)
    }

    async fn read(
        &self,
        request: reqwest::Request,
    ) -> Result<(reqwest::Response, Bytes), reqwest::Error> {
        let mut response = self.client.execute(request).await?;
        let mut body = BytesMut::new();
        while body.len() < ANSWER_BYTES_MAX
            && let Some(part) = response.chunk().await?
        {
            body.extend_from_slice(&part[..part.len().min(ANSWER_BYTES_MAX - body.len())]);
        }
        Ok((response, body.freeze()))
    }
}

impl HttpClient for Http {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        Box::pin(self.send(request))
    }
}
