//! Records where the time of a run goes.
//!
//! Durations are of the monotonic clock; the wall clock only says when the run began.

use std::time::{Duration, Instant, SystemTime};

use serde_json::{Map, Value};

use super::types::{Span, Trace, TraceStatus};

/// The trace of one run while it goes on.
///
/// Its length is bounded by the run: a few spans for each model and tool call.
#[derive(Debug)]
pub(super) struct Recorder {
    trace: Trace,
    /// Positions of the spans that have not ended.
    open: Vec<usize>,
    origin: Instant,
    started_at: Duration,
}

/// A span that was started; ended by [`Recorder::end`].
#[derive(Debug, Clone, Copy)]
pub(super) struct SpanIndex(usize);

impl Recorder {
    /// `w3c_trace_id` is that of the caller.
    pub(super) fn new(
        trace_id: String,
        w3c_trace_id: Option<String>,
        (agent, session_id): (&str, &str),
    ) -> Self {
        Self {
            trace: Trace {
                trace_id,
                agent: agent.to_owned(),
                session_id: session_id.to_owned(),
                is_sampled: true,
                w3c_trace_id,
                spans: Vec::new(),
            },
            open: Vec::new(),
            origin: Instant::now(),
            // A clock before 1970 is shown as 1970.
            started_at: SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default(),
        }
    }

    pub(super) fn start(&mut self, name: &str, parent: Option<SpanIndex>) -> SpanIndex {
        let parent_span_id = parent
            .and_then(|SpanIndex(index)| self.trace.spans.get(index))
            .map(|parent| parent.span_id.clone());
        let now = self.now();
        self.trace.spans.push(Span {
            name: name.to_owned(),
            trace_id: self.trace.trace_id.clone(),
            span_id: format!("{:016x}", fastrand::u64(1..)),
            parent_span_id,
            status: "ok".to_owned(),
            attributes: Map::new(),
            events: Vec::new(),
            start_time: now,
            end_time: now,
            duration_ms: 0.0,
        });
        let index = self.trace.spans.len() - 1;
        self.open.push(index);
        SpanIndex(index)
    }

    /// The id of a span.
    pub(super) fn id(&self, SpanIndex(index): SpanIndex) -> &str {
        self.trace.spans.get(index).map_or("", |span| &span.span_id)
    }

    /// Adds details to a span.
    pub(super) fn describe<const N: usize>(
        &mut self,
        SpanIndex(index): SpanIndex,
        attributes: [(&str, Value); N],
    ) {
        let Some(span) = self.trace.spans.get_mut(index) else { return };
        span.attributes
            .extend(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)));
    }

    /// Ends a span, with more details.
    pub(super) fn end<const N: usize>(
        &mut self,
        span: SpanIndex,
        outcome: Outcome,
        attributes: [(&str, Value); N],
    ) {
        self.describe(span, attributes);
        let SpanIndex(index) = span;
        self.open.retain(|open| *open != index);
        let now = self.now();
        let Some(span) = self.trace.spans.get_mut(index) else { return };
        span.end_time = now;
        span.duration_ms = (now - span.start_time) * 1_000.0;
        if let Outcome::Failed = outcome {
            "error".clone_into(&mut span.status);
        }
    }

    /// Ends what has not ended, as a failure unless all is well, and gives the trace away.
    pub(super) fn finish(&mut self, status: TraceStatus) -> Trace {
        let outcome = match status {
            TraceStatus::Ok => Outcome::Done,
            TraceStatus::Error | TraceStatus::Canceled => Outcome::Failed,
        };
        while let Some(index) = self.open.last() {
            self.end(SpanIndex(*index), outcome, []);
        }
        std::mem::take(&mut self.trace)
    }

    fn now(&self) -> f64 {
        (self.started_at + self.origin.elapsed()).as_secs_f64()
    }
}

/// How a span ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Outcome {
    Done,
    Failed,
}
