//! A collector of traces: takes spans over HTTP and over gRPC, and keeps them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind, status::StatusCode};
use prost::Message;
use tonic::transport::server::{Server, TcpIncoming};
use tonic::{Request, Response, Status};

use crate::harness::until;

/// A span that came, with what was said of its node.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) node: BTreeMap<String, String>,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) is_error: bool,
    span: Span,
}

/// The collector; it ends with the test.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collector {
    spans: Arc<Mutex<Vec<Seen>>>,
    /// All that came, headers included, as text.
    raw: Arc<Mutex<String>>,
}

impl Seen {
    pub(crate) fn name(&self) -> &str {
        &self.span.name
    }

    pub(crate) fn kind(&self) -> SpanKind {
        self.span.kind()
    }

    pub(crate) fn trace(&self) -> String {
        hex(&self.span.trace_id)
    }

    pub(crate) fn id(&self) -> String {
        hex(&self.span.span_id)
    }

    pub(crate) fn parent(&self) -> String {
        hex(&self.span.parent_span_id)
    }

    pub(crate) fn ns(&self) -> (u64, u64) {
        (self.span.start_time_unix_nano, self.span.end_time_unix_nano)
    }

    /// An attribute; empty when there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }
}

impl Collector {
    /// Takes spans over HTTP; its base URL.
    pub(crate) async fn http() -> (Self, String) {
        let collector = Self::default();
        let routes =
            Router::new().route("/v1/traces", post(over_http)).with_state(collector.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (collector, url)
    }

    /// Takes spans over gRPC; its base URL.
    pub(crate) fn grpc() -> (Self, String) {
        let collector = Self::default();
        let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let url = format!("http://{}", incoming.local_addr().unwrap());
        let service = TraceServiceServer::new(collector.clone());
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        (collector, url)
    }

    pub(crate) fn spans(&self) -> Vec<Seen> {
        self.spans.lock().unwrap().clone()
    }

    /// Everything that came, as far as it is text.
    pub(crate) fn raw(&self) -> String {
        self.raw.lock().unwrap().clone()
    }

    /// Waits for so many spans of one trace.
    pub(crate) async fn trace(&self, id: &str, count: usize) -> Vec<Seen> {
        let of_trace = || -> Vec<Seen> {
            self.spans().into_iter().filter(|span| span.trace() == id).collect()
        };
        until(&format!("{count} spans of {id}"), async || of_trace().len() >= count).await;
        let spans = of_trace();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }

    fn take(&self, headers: &str, bytes: &[u8], request: ExportTraceServiceRequest) {
        let mut raw = self.raw.lock().unwrap();
        raw.push_str(headers);
        raw.push_str(&String::from_utf8_lossy(bytes));
        let mut seen = self.spans.lock().unwrap();
        for resource in request.resource_spans {
            let node = texts(resource.resource.unwrap_or_default().attributes);
            for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                seen.push(Seen {
                    node: node.clone(),
                    attributes: texts(span.attributes.clone()),
                    is_error: span
                        .status
                        .as_ref()
                        .is_some_and(|status| status.code() == StatusCode::Error),
                    span,
                });
            }
        }
    }
}

async fn over_http(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> Bytes {
    let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
    collector.take(&format!("{headers:?}"), &body, request);
    ExportTraceServiceResponse::default().encode_to_vec().into()
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let headers = format!("{:?}", request.metadata());
        let request = request.into_inner();
        self.take(&headers, &request.encode_to_vec(), request);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn texts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let pairs = attributes.into_iter().map(|pair| {
        let value = pair.value.and_then(|value| value.value);
        (pair.key, value.map(text).unwrap_or_default())
    });
    pairs.collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
