//! The queue of spans that have ended, and the thread that sends them to the collector.
//!
//! Owns the bounds: a queue of [`QUEUE_SPANS_MAX`], batches of [`BATCH_SPANS_MAX`] or what came
//! within [`BATCH_INTERVAL`]. A span that finds the queue full is dropped and counted, so that a
//! collector that is slow or away never holds up a request. A thread of its own, as encoding a
//! batch takes longer than a request may wait.

use std::error::Error;
use std::io;
use std::pin::pin;
use std::thread;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry_otlp::tonic_types::transport::ClientTlsConfig;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol as Wire, SpanExporter, WithExportConfig, WithHttpConfig,
    WithTonicConfig,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::EnvResourceDetector;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};
use reqwest::header::{HeaderName, HeaderValue};
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{self, Instant, sleep_until};
use tracing::{error, info, warn};

use super::Tracer;
use super::http::{Call, Heard, Http};
use crate::telemetry::labels::SpanFate;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::panics;

/// Spans that wait: some seconds of a busy node.
const QUEUE_SPANS_MAX: usize = 2_048;

/// Spans of one request to the collector.
const BATCH_SPANS_MAX: usize = 512;

/// How long a span waits for others.
const BATCH_INTERVAL: Duration = Duration::from_secs(5);

/// How much of what a collector says of a failure goes into the log.
const REASON_BYTES_MAX: usize = 300;

/// The variable that names the service in traces.
const SERVICE_NAME: &str = "OTEL_SERVICE_NAME";

/// The variable with headers of each export.
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";

/// The variable that says how long an export may take, and what holds without it.
const TIMEOUT_MS: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";
const TIMEOUT: Duration = Duration::from_secs(10);
const TIMEOUT_MS_MAX: u64 = 600_000;

/// How much longer an export may take, so that the client can say what was wrong.
const TIMEOUT_GRACE: Duration = Duration::from_secs(1);

/// Where spans go, and what is said of their node.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Base URL of the collector.
    pub endpoint: String,
    /// What it is spoken to with.
    pub protocol: Protocol,
    /// Which part of the traces that begin here is exported, 0 to 1.
    pub sample: f64,
    /// What is said of the node: names of OpenTelemetry with their values.
    pub node: Vec<(&'static str, String)>,
}

/// How a collector is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf in requests of HTTP.
    Http,
}

/// Takes spans and sends them.
#[derive(Debug)]
pub struct Exporter {
    tracer: Tracer,
    sending: Sending,
}

/// The thread that sends what an exporter took. It goes on for those who still have its tracer, and
/// ends after the last of them; dropping this changes nothing.
#[derive(Debug)]
pub struct Sending {
    /// Ends the thread when it has sent what it has.
    stop: oneshot::Sender<()>,
    /// Its sender is gone when the thread has ended.
    ended: oneshot::Receiver<()>,
}

impl Exporter {
    /// Starts the thread. A collector that does not answer is no error: it may come. `client` follows
    /// no redirects: spans, and perhaps a key, are for one place only.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        settings: Settings,
        metrics: Metrics,
        client: reqwest::Client,
    ) -> io::Result<Self> {
        let (sender, queue) = mpsc::channel(QUEUE_SPANS_MAX);
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let tracer = Tracer::new(sender, settings.sample, metrics.clone());
        let sending = async move {
            let heard = Heard::default();
            let timeout = timeout();
            let exporter = build(&settings, client, timeout, &heard)?;
            let (stopped, is_failing) = (Some(stopped), false);
            let limit = timeout + TIMEOUT_GRACE;
            Sender { exporter, queue, stopped, metrics, heard, limit, is_failing }.run().await;
            Ok(())
        };
        thread::Builder::new().name("otlp".to_owned()).spawn(move || {
            let _ended_when_dropped: oneshot::Sender<()> = ending;
            // However it ends, the queue is gone then, and spans are counted as dropped.
            if let Err(error) = block_on(sending) {
                error!(%error, "no traces are exported");
            }
        })?;
        Ok(Self { tracer, sending: Sending { stop, ended } })
    }

    /// Takes spans.
    #[must_use]
    pub const fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Another one takes the spans of requests from now on.
    #[must_use]
    pub fn replaced(self) -> Sending {
        self.sending
    }
}

impl Sending {
    /// Whether there is nobody left who could have spans.
    pub fn has_ended(&mut self) -> bool {
        self.ended.try_recv() != Err(TryRecvError::Empty)
    }

    /// Sends what is left. It is told at once; to wait takes as long as the collector does, and is to
    /// be given a limit.
    pub fn stop(self) -> impl Future<Output = ()> {
        // Errors are the end of the thread.
        let _told: Result<(), _> = self.stop.send(());
        async move {
            let _ended: Result<(), _> = self.ended.await;
        }
    }
}

fn block_on(
    sending: impl Future<Output = Result<(), ExporterBuildError>>,
) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(panics::contained(pin!(sending)))??)
}

/// The client of the collector. Reads the variables of OpenTelemetry for what no setting says:
/// headers, timeout, attributes of the resource.
fn build(
    settings: &Settings,
    client: reqwest::Client,
    timeout: Duration,
    heard: &Heard,
) -> Result<SpanExporter, ExporterBuildError> {
    let endpoint = settings.endpoint.trim_end_matches('/');
    check_headers();
    let mut exporter = match settings.protocol {
        Protocol::Grpc => {
            let mut builder =
                SpanExporter::builder().with_tonic().with_endpoint(endpoint).with_timeout(timeout);
            if endpoint.starts_with("https:") {
                // Without this no certificate at all is trusted.
                builder = builder.with_tls_config(ClientTlsConfig::new().with_native_roots());
            }
            builder.build()?
        }
        Protocol::Http => SpanExporter::builder()
            .with_http()
            .with_protocol(Wire::HttpBinary)
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_timeout(timeout)
            .with_http_client(Http::new(client, timeout, heard.clone()))
            .build()?,
    };
    let name = std::env::var(SERVICE_NAME).ok().filter(|name| !name.is_empty());
    let node = settings.node.iter().map(|(key, value)| KeyValue::new(*key, value.clone()));
    let resource = Resource::builder_empty()
        .with_service_name("astromesh")
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attributes(node)
        .with_detector(Box::new(EnvResourceDetector::new()))
        .with_attributes(name.map(|name| KeyValue::new("service.name", name)))
        .build();
    exporter.set_resource(&resource);
    Ok(exporter)
}

/// How long an export may take: what the variable says in milliseconds, or [`TIMEOUT`].
fn timeout() -> Duration {
    let given = std::env::var(TIMEOUT_MS).ok().filter(|text| !text.is_empty());
    let Some(given) = given else { return TIMEOUT };
    match given.parse() {
        Ok(ms @ 1..=TIMEOUT_MS_MAX) => Duration::from_millis(ms),
        Ok(_) | Err(_) => {
            warn!(
                value = given,
                "{TIMEOUT_MS} is no number of milliseconds from 1 to {TIMEOUT_MS_MAX}: {} are taken",
                TIMEOUT.as_millis()
            );
            TIMEOUT
        }
    }
}

/// The exporter passes over what is no header without a word. What it is may be a key, so that the
/// value is not repeated.
fn check_headers() {
    let given = std::env::var(HEADERS).unwrap_or_default();
    for (index, entry) in given.split_terminator(',').enumerate() {
        let is_header = |(name, value): (&str, &str)| {
            let name = HeaderName::from_bytes(name.trim().as_bytes());
            let value = HeaderValue::from_str(value.trim());
            name.is_ok() && value.is_ok_and(|value| !value.is_empty())
        };
        if !entry.split_once('=').is_some_and(is_header) {
            warn!(
                entry = index + 1,
                "{HEADERS} has an entry that is no NAME=VALUE of HTTP, and is not sent: write \
                 a comma between entries, and %2C for one in a value"
            );
        }
    }
}

/// What the thread does.
struct Sender {
    exporter: SpanExporter,
    queue: mpsc::Receiver<SpanData>,
    /// `None` once it is known.
    stopped: Option<oneshot::Receiver<()>>,
    metrics: Metrics,
    /// What the client over HTTP knows of the last call.
    heard: Heard,
    /// How long an export may take, whatever its client thinks: over gRPC that does not count the time
    /// to connect.
    limit: Duration,
    /// The last batch did not arrive.
    is_failing: bool,
}

impl Sender {
    async fn run(mut self) {
        loop {
            let batch = self.batch().await;
            if batch.is_empty() {
                return;
            }
            let spans = batch.len() as u64;
            let outcome = match time::timeout(self.limit, self.exporter.export(batch)).await {
                Ok(outcome) => outcome.map_err(|error| error.to_string()),
                Err(_elapsed) => Err("it took too long".to_owned()),
            };
            // Always, so that an old one is not told of a new failure.
            let Call { fault, rejected } = self.heard.take();
            let (failed, error) = match outcome {
                Ok(()) if rejected == 0 => (0, None),
                Ok(()) => {
                    let why = fault.unwrap_or_default();
                    (rejected.min(spans), Some(format!("{rejected} of {spans} rejected: {why}")))
                }
                Err(error) => (spans, Some(fault.unwrap_or(error))),
            };
            self.metrics.spans(SpanFate::Exported, spans - failed);
            self.metrics.spans(SpanFate::Failed, failed);
            self.tell(error);
        }
    }

    /// Says when exports begin to fail, and when that is over.
    fn tell(&mut self, error: Option<String>) {
        let was_failing = std::mem::replace(&mut self.is_failing, error.is_some());
        match error {
            None if was_failing => info!("traces are exported again"),
            Some(error) if !was_failing => {
                let end = error.floor_char_boundary(REASON_BYTES_MAX);
                warn!(
                    error = &error[..end],
                    "traces cannot be exported, and are lost until the collector takes them: see \
                     whether spec.observability.otlp.endpoint is where it listens for \
                     spec.observability.otlp.protocol (mostly port 4317 for grpc, 4318 for \
                     http/protobuf), and {HEADERS} holds the key that it may ask for"
                );
            }
            None | Some(_) => {}
        }
    }

    /// The next spans; none when there will be no more.
    async fn batch(&mut self) -> Vec<SpanData> {
        let mut batch = Vec::new();
        let mut due = None;
        while batch.len() < BATCH_SPANS_MAX {
            let left = BATCH_SPANS_MAX - batch.len();
            let stopped = async {
                match &mut self.stopped {
                    Some(stopped) => stopped.await,
                    None => std::future::pending().await,
                }
            };
            let is_over = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                count = self.queue.recv_many(&mut batch, left) => {
                    if count == 0 {
                        break;
                    }
                    due.get_or_insert_with(|| Instant::now() + BATCH_INTERVAL);
                }
                told = stopped => {
                    // What is in the queue comes all the same, and then the end.
                    if told.is_ok() {
                        self.queue.close();
                    }
                    self.stopped = None;
                }
                () = is_over => break,
            }
        }
        batch
    }
}
