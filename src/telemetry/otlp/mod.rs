//! Traces as OpenTelemetry has them: spans of this node, sent to a collector by OTLP.
//!
//! Owns the way of a span from its beginning to the collector. The protocol is that of the crates
//! `opentelemetry`; what is told of a request or a run is decided by those who serve it, and never
//! a body, a key or a query string.
//!
//! * [`TraceContext`]: how requests say which span they belong to
//! * [`Tracer`] and [`Span`]: spans begin and end
//! * [`Exporter`]: the queue and the thread that sends ([`Sending`]); `http`: its client
//! * [`genai`]: the spans of a run, by the semantic conventions for generative AI

mod context;
mod exporter;
pub mod genai;
mod http;
mod span;

pub use context::TraceContext;
pub use exporter::{Exporter, Protocol, Sending, Settings};
pub use span::{Span, SpanKind, TEXT_BYTES_MAX, Tracer};
