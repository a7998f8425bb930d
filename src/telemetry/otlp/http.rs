//! The client of a collector over HTTP: that of the node, made what the exporter calls.
//!
//! Owns the limits of a call, and keeps what the exporter does not pass on: why the last one failed, and
//! how many spans the collector rejected.

use std::error::Error;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;

/// More than any collector says of an export. The rest is not read.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Sends requests by the client of the node.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: reqwest::Client,
    timeout: Duration,
    heard: Heard,
}

/// What is known of the last call; clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Call>>);

/// A call of the collector.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Call {
    /// Why it failed, or why spans were rejected.
    pub(super) fault: Option<String>,
    /// Spans that the collector did not take.
    pub(super) rejected: u64,
}

impl Heard {
    /// Takes what is known.
    pub(super) fn take(&self) -> Call {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, call: Call) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = call;
    }
}

impl Http {
    pub(super) const fn new(client: reqwest::Client, timeout: Duration, heard: Heard) -> Self {
        Self { client, timeout, heard }
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = reqwest::Request::try_from(request)?;
        *request.timeout_mut() = Some(self.timeout);
        let read = self.read(request).await;
        let failed = |fault| self.heard.set(Call { fault: Some(fault), rejected: 0 });
        let (response, body) = read.inspect_err(|error| failed(with_causes(error)))?;
        if response.status().is_success() {
            let call = understood(&body).inspect_err(|_| {
                failed("what answered is no collector: see the path and the port".to_owned());
            })?;
            self.heard.set(call);
        }
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

/// What a collector says that took the call.
fn understood(body: &[u8]) -> Result<Call, prost::DecodeError> {
    let said = ExportTraceServiceResponse::decode(body)?.partial_success.unwrap_or_default();
    let rejected = u64::try_from(said.rejected_spans).unwrap_or(0);
    Ok(Call { fault: (rejected > 0).then_some(said.error_message), rejected })
}

fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
