//! The traces of this node on their way to a collector: set up as the configuration says, also when
//! that changes.
//!
//! Owns what is said of the node in each trace, and the hand-over of runs, which `agent` records and
//! `telemetry` exports. Refuses to know any protocol.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use astromesh_wire::{NodeId, Service};
use reqwest::Client;
use tracing::{error, info};

use crate::agent::types::{Caller, Observer, Span, TraceRecord, TraceStatus};
use crate::config::{OtlpProtocol, Runtime};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::otlp::{Exporter, Protocol, Sending, Settings, TraceContext, Tracer, genai};

/// The export of traces as long as the node runs.
pub(super) struct Traces {
    id: NodeId,
    metrics: Metrics,
    client: Client,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What holds now.
    running: Option<(Settings, Exporter)>,
    /// What held before, and goes on for requests that began with it.
    replaced: Vec<Sending>,
}

impl Traces {
    /// Of the node with this id; nothing is exported before [`Self::follow`].
    pub(super) fn new(id: NodeId, metrics: Metrics, client: Client) -> Self {
        Self { id, metrics, client, state: Mutex::default() }
    }

    /// Exports as a configuration says from now on. What another one sent elsewhere still goes there.
    pub(super) fn follow(&self, config: &Runtime) -> Option<Tracer> {
        let wanted = settings(config, self.id);
        let mut state = self.state();
        state.replaced.retain_mut(|sending| !sending.has_ended());
        if state.running.as_ref().map(|(settings, _)| settings) != wanted.as_ref() {
            let replaced = state.running.take().map(|(_, exporter)| exporter.replaced());
            state.replaced.extend(replaced);
            state.running = wanted.and_then(|wanted| self.start(wanted));
        }
        state.running.as_ref().map(|(_, exporter)| exporter.tracer().clone())
    }

    fn start(&self, settings: Settings) -> Option<(Settings, Exporter)> {
        match Exporter::start(settings.clone(), self.metrics.clone(), self.client.clone()) {
            Ok(exporter) => {
                let Settings { endpoint, sample, .. } = &settings;
                info!(%endpoint, sample, "traces are exported");
                Some((settings, exporter))
            }
            Err(error) => {
                error!(%error, "no traces are exported: there is no thread for it");
                None
            }
        }
    }

    /// Sends what is left, to whomever. To be given a limit.
    pub(super) async fn stop(&self) {
        let State { running, replaced } = std::mem::take(&mut *self.state());
        let running = running.map(|(_, exporter)| exporter.replaced());
        let stopping: Vec<_> = running.into_iter().chain(replaced).map(Sending::stop).collect();
        for stopped in stopping {
            stopped.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who hands the runs of requests that began with this tracer to it.
pub(super) fn observer(tracer: Tracer) -> Observer {
    Arc::new(move |record, caller| hand_over(&tracer, record, caller))
}

/// `None` when nothing is to be exported.
fn settings(config: &Runtime, id: NodeId) -> Option<Settings> {
    let otlp = &config.otlp;
    if !otlp.enabled || !config.services.contains(Service::Observability) {
        return None;
    }
    let mut node = vec![
        ("service.instance.id", id.to_string()),
        ("astromesh.node.name", config.mesh.node_name.clone()),
    ];
    if let Ok(host) = sysinfo::System::host_name() {
        node.push(("host.name", host));
    }
    if config.mesh.enabled {
        node.push(("astromesh.cluster", config.mesh.cluster.clone()));
    }
    Some(Settings {
        endpoint: otlp.endpoint.to_string(),
        protocol: match otlp.protocol {
            OtlpProtocol::Grpc => Protocol::Grpc,
            OtlpProtocol::Http => Protocol::Http,
        },
        sample: otlp.sample.get(),
        node,
    })
}

/// Hands a run over.
fn hand_over(tracer: &Tracer, record: &TraceRecord, caller: &Caller) {
    let traceparent = caller.traceparent(&caller.span_id);
    let Some(caller) = TraceContext::parse(traceparent.as_bytes()) else { return };
    let trace = &record.trace;
    let run = genai::Run {
        caller,
        id: &trace.trace_id,
        agent: &trace.agent,
        session: &trace.session_id,
        is_canceled: record.status == TraceStatus::Canceled,
    };
    let parts: Vec<genai::Part<'_>> = trace.spans.iter().filter_map(part).collect();
    genai::end(tracer, &run, &parts);
}

/// `None` for a span without an id, of which there is none.
fn part(span: &Span) -> Option<genai::Part<'_>> {
    let id = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(genai::Part {
        name: &span.name,
        id: id(&span.span_id)?,
        parent: span.parent_span_id.as_deref().and_then(id),
        has_failed: span.status != "ok",
        attributes: &span.attributes,
        start: moment(span.start_time),
        end: moment(span.end_time),
    })
}

/// Seconds since 1970 as a time.
fn moment(seconds: f64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
