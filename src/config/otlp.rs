//! The export of traces: whether, where to, how, and how many.
//!
//! Owns the section `spec.observability.otlp`. Headers of the export, such as a key, are read from
//! `OTEL_EXPORTER_OTLP_HEADERS` by the exporter alone, so that no secret is among the settings.

use std::fmt;

use serde_json::Value;
use url::Url;

use super::kind::{self, Fault};
use super::runtime::Values;

/// Where traces go, if anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Otlp {
    /// Whether any do; default false.
    pub enabled: bool,
    /// Base URL of the collector; by default on this host, at the port of the protocol.
    pub endpoint: Url,
    /// What is spoken; default gRPC.
    pub protocol: OtlpProtocol,
    /// Which part of the traces that begin here is exported; default all.
    pub sample: Ratio,
}

impl Otlp {
    /// Whether the endpoint is the one of the protocol.
    pub(super) fn is_default_endpoint(&self) -> bool {
        self.endpoint == self.protocol.endpoint()
    }
}

/// A number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio(f64);

// It is never NaN.
impl Eq for Ratio {}

impl Ratio {
    /// The number.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

/// How OTLP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC.
    Grpc,
    /// Protobuf in requests of HTTP.
    Http,
}

impl OtlpProtocol {
    const ALL: [Self; 2] = [Self::Grpc, Self::Http];

    /// The name by which `OTEL_EXPORTER_OTLP_PROTOCOL` knows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http/protobuf",
        }
    }

    /// Where collectors listen for it.
    fn endpoint(self) -> Url {
        let url = match self {
            Self::Grpc => "http://localhost:4317",
            Self::Http => "http://localhost:4318",
        };
        Url::parse(url).expect("a constant that is a URL")
    }
}

impl fmt::Display for OtlpProtocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A number from 0 to 1.
pub(super) fn ratio(value: &Value) -> Result<Ratio, Fault> {
    match value.as_f64() {
        Some(number) if (0.0..=1.0).contains(&number) => Ok(Ratio(number)),
        Some(_) => Err(Fault::new("is out of range 0 to 1", "write 1 for all, 0.1 for a tenth")),
        None => Err(Fault::new("must be a number", "write 1 for all, 0.1 for a tenth, no quotes")),
    }
}

/// `grpc` or `http/protobuf`.
pub(super) fn protocol(value: &Value) -> Result<OtlpProtocol, Fault> {
    let known = OtlpProtocol::ALL.into_iter().find(|protocol| value == protocol.name());
    known.ok_or_else(|| Fault::new("is no protocol of OTLP", "write grpc or http/protobuf"))
}

/// Reads the section of layers without problems.
pub(super) fn read(values: &Values<'_>) -> Otlp {
    let protocol = values.read("spec.observability.otlp.protocol", protocol);
    let endpoint = values.given("spec.observability.otlp.endpoint", kind::endpoint);
    Otlp {
        enabled: values.read("spec.observability.otlp.enabled", kind::boolean),
        endpoint: endpoint.unwrap_or_else(|| protocol.endpoint()),
        protocol,
        sample: values.read("spec.observability.otlp.sample", ratio),
    }
}
