//! Spans from their beginning to the queue of the exporter.
//!
//! Owns which traces are exported: those whose caller says so, and of those that begin here a part.
//! Values that come from outside are cut to a length.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use opentelemetry::trace::{SpanContext, Status, TraceFlags, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, SpanId, TraceId, Value};
use opentelemetry_sdk::trace::{Sampler, SamplingDecision, ShouldSample, SpanData};
use opentelemetry_sdk::trace::{SpanEvents, SpanLinks};
use tokio::sync::mpsc;

use super::TraceContext;
use crate::telemetry::labels::SpanFate;
use crate::telemetry::metrics::Metrics;

pub use opentelemetry::trace::SpanKind;

/// Longest text of an attribute. Paths and names are much shorter; a longer one says no more.
pub const TEXT_BYTES_MAX: usize = 512;

/// Begins spans and takes those that have ended; clones are the same.
#[derive(Debug, Clone)]
pub struct Tracer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: mpsc::Sender<SpanData>,
    sampler: Sampler,
    scope: InstrumentationScope,
    metrics: Metrics,
}

impl Tracer {
    pub(super) fn new(queue: mpsc::Sender<SpanData>, sample: f64, metrics: Metrics) -> Self {
        let scope = InstrumentationScope::builder(env!("CARGO_PKG_NAME"))
            .with_version(env!("CARGO_PKG_VERSION"))
            .build();
        let sampler = Sampler::TraceIdRatioBased(sample);
        Self(Arc::new(Inner { queue, sampler, scope, metrics }))
    }

    /// A span of a trace that begins here. Says, too, whether the trace is exported: whoever is
    /// asked by this node does the same.
    #[must_use]
    pub fn root(&self) -> TraceContext {
        let trace = TraceId::from(fastrand::u128(1..));
        let sampled =
            self.0.sampler.should_sample(None, trace, "", &SpanKind::Server, &[], &[]).decision;
        let is_sampled = sampled == SamplingDecision::RecordAndSample;
        TraceContext { trace, span: new_span_id(), is_sampled }
    }

    /// Begins a span now. Without a parent it is the first of its trace, and `context` is its own.
    #[must_use]
    pub fn begin(
        &self,
        context: TraceContext,
        parent: Option<TraceContext>,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
    ) -> Span {
        let start_time = SystemTime::now();
        let parent = parent.map_or(SpanId::INVALID, |parent| parent.span);
        let is_remote = kind == SpanKind::Server && parent != SpanId::INVALID;
        let state = TraceState::default();
        Span {
            began: Instant::now(),
            span: SpanData {
                span_context: SpanContext::new(
                    context.trace,
                    context.span,
                    if context.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
                    false,
                    state,
                ),
                parent_span_id: parent,
                parent_span_is_remote: is_remote,
                span_kind: kind,
                name: name.into(),
                start_time,
                end_time: start_time,
                attributes: Vec::new(),
                dropped_attributes_count: 0,
                events: SpanEvents::default(),
                links: SpanLinks::default(),
                status: Status::Unset,
                instrumentation_scope: self.0.scope.clone(),
            },
        }
    }

    /// A span has ended: it goes to the exporter, or is dropped when that is too far behind.
    pub fn end(&self, mut span: Span) {
        span.span.end_time = span.span.start_time + span.began.elapsed();
        self.send(span);
    }

    /// The same for a span whose end is known.
    pub(super) fn end_at(&self, mut span: Span, start: SystemTime, end: SystemTime) {
        span.span.start_time = start;
        span.span.end_time = end;
        self.send(span);
    }

    fn send(&self, span: Span) {
        if self.0.queue.try_send(span.span).is_err() {
            self.0.metrics.spans(SpanFate::Dropped, 1);
        }
    }
}

impl TraceContext {
    /// Another span of the same trace.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self { span: new_span_id(), ..*self }
    }

    /// The span of the same trace with this id.
    pub(super) fn with_span(self, id: u64) -> Self {
        Self { span: SpanId::from(id), ..self }
    }
}

/// They tell spans apart and guard nothing, so they need not be secret.
fn new_span_id() -> SpanId {
    SpanId::from(fastrand::u64(1..))
}

/// A span that goes on; [`Tracer::end`] takes it.
#[derive(Debug)]
pub struct Span {
    span: SpanData,
    began: Instant,
}

impl Span {
    /// Adds an attribute that is no text from outside.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.span.attributes.push(KeyValue::new(key, value));
    }

    /// Adds an attribute with a text from outside, of which no more than a part is kept.
    pub fn set_text(&mut self, key: &'static str, text: &str) {
        let end = text.floor_char_boundary(TEXT_BYTES_MAX);
        self.set(key, text[..end].to_owned());
    }

    /// Says that what the span stands for failed, and how.
    pub fn fail(&mut self, kind: impl Into<Cow<'static, str>>) {
        self.set("error.type", kind.into());
        self.span.status = Status::error("");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Readings;

    fn tracer(places: usize, sample: f64) -> (Tracer, mpsc::Receiver<SpanData>, Metrics) {
        let metrics = Metrics::default();
        let (sender, queue) = mpsc::channel(places);
        (Tracer::new(sender, sample, metrics.clone()), queue, metrics)
    }

    fn span(tracer: &Tracer) -> Span {
        tracer.begin(tracer.root(), None, SpanKind::Internal, "one")
    }

    #[test]
    fn what_finds_the_queue_full_or_gone_is_dropped_and_counted() {
        let (tracer, queue, metrics) = tracer(2, 1.0);
        let dropped = |count: u64| {
            let line = format!("astromesh_otlp_spans_total{{fate=\"dropped\"}} {count}\n");
            assert!(metrics.page(Readings::default()).contains(&line), "{line}");
        };
        tracer.end(span(&tracer));
        tracer.end(span(&tracer));
        dropped(0);
        tracer.end(span(&tracer));
        dropped(1);
        drop(queue);
        tracer.end(span(&tracer));
        dropped(2);
    }

    #[test]
    fn a_part_of_the_traces_that_begin_here_is_sampled() {
        for (sample, range) in [(0.0, 0..=0), (0.25, 1_500..=3_500), (1.0, 10_000..=10_000)] {
            let (tracer, ..) = tracer(1, sample);
            let sampled = (0..10_000).filter(|_| tracer.root().is_sampled).count();
            assert!(range.contains(&sampled), "{sampled} of 10,000 for {sample}");
        }
    }

    #[test]
    fn texts_from_outside_are_cut_between_characters() {
        let (tracer, ..) = tracer(1, 1.0);
        let mut span = span(&tracer);
        span.set_text("text", &"\u{20ac}".repeat(TEXT_BYTES_MAX));
        let value = span.span.attributes[0].value.to_string();
        assert_eq!(value, "\u{20ac}".repeat(TEXT_BYTES_MAX / 3));
    }
}
