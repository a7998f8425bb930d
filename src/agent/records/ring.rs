//! The last traces, as many as fit a number and a size.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::agent::types::{Span, Trace, TraceRecord};

/// Traces kept: some minutes of a busy node, a day of a quiet one.
const TRACES_MAX: usize = 1_000;

/// Memory that they may take, as estimated.
const BYTES_MAX: usize = 16 << 20;

/// What a value of a span takes beside its text.
const ATTRIBUTE_BYTES: usize = 96;

/// The traces, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ring {
    kept: VecDeque<(usize, Arc<TraceRecord>)>,
    bytes: usize,
}

impl Ring {
    /// Adds one and lets go of the oldest until the rest fits; one that fits nowhere is not kept.
    pub(super) fn push(&mut self, record: TraceRecord) {
        let bytes = bytes_of(&record.trace);
        if bytes > BYTES_MAX {
            return;
        }
        while self.kept.len() >= TRACES_MAX || self.bytes + bytes > BYTES_MAX {
            let Some((gone, _)) = self.kept.pop_front() else { break };
            self.bytes -= gone;
        }
        self.bytes += bytes;
        self.kept.push_back((bytes, Arc::new(record)));
    }

    pub(super) fn newest(&self, agent: Option<&str>, limit: usize) -> Vec<Arc<TraceRecord>> {
        let newest = self.kept.iter().rev().map(|(_, record)| record);
        let wanted = newest.filter(|record| agent.is_none_or(|agent| record.trace.agent == agent));
        wanted.take(limit).cloned().collect()
    }

    pub(super) fn find(&self, id: &str) -> Option<Arc<TraceRecord>> {
        let newest = || self.kept.iter().rev().map(|(_, record)| record);
        let own = newest().find(|record| record.trace.trace_id == id);
        let by_caller = || newest().find(|record| record.trace.w3c_trace_id.as_deref() == Some(id));
        own.or_else(by_caller).cloned()
    }
}

/// What a trace takes, roughly.
fn bytes_of(trace: &Trace) -> usize {
    let attributes = |span: &Span| {
        let texts = span
            .attributes
            .iter()
            .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len) + ATTRIBUTE_BYTES);
        texts.sum::<usize>()
    };
    let span = |span: &Span| {
        let ids = span.trace_id.len() + span.span_id.len() * 2;
        size_of::<Span>() + span.name.len() + ids + attributes(span)
    };
    size_of::<TraceRecord>() + trace.session_id.len() + trace.spans.iter().map(span).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: usize, session_bytes: usize) -> TraceRecord {
        let trace = Trace {
            trace_id: id.to_string(),
            agent: if id.is_multiple_of(2) { "even" } else { "odd" }.to_owned(),
            session_id: "s".repeat(session_bytes),
            ..Trace::default()
        };
        TraceRecord { trace, ..TraceRecord::default() }
    }

    fn ids(records: &[Arc<TraceRecord>]) -> Vec<&str> {
        records.iter().map(|record| record.trace.trace_id.as_str()).collect()
    }

    #[test]
    fn the_newest_are_kept_up_to_a_number() {
        let mut ring = Ring::default();
        for id in 0..TRACES_MAX + 10 {
            ring.push(record(id, 1));
        }
        assert_eq!(ids(&ring.newest(None, 2)), ["1009", "1008"]);
        assert_eq!(ids(&ring.newest(Some("even"), 2)), ["1008", "1006"]);
        assert_eq!(ring.newest(None, usize::MAX).len(), TRACES_MAX);
        assert!(ring.find("9").is_none() && ring.find("10").is_some());
    }

    #[test]
    fn a_trace_is_found_by_the_id_of_its_caller_too() {
        let mut ring = Ring::default();
        for id in 0..3 {
            let mut record = record(id, 1);
            record.trace.w3c_trace_id = Some(format!("w{}", id / 2));
            ring.push(record);
        }
        let found = |id| ring.find(id).map(|record| record.trace.trace_id.clone());
        assert_eq!(found("w0").as_deref(), Some("1"), "the newest of the same trace");
        assert_eq!(found("w1").as_deref(), Some("2"));
        assert_eq!(found("w2"), None);
    }

    #[test]
    fn large_traces_push_others_out_and_too_large_ones_are_not_kept() {
        let mut ring = Ring::default();
        ring.push(record(1, 1));
        ring.push(record(2, BYTES_MAX / 2));
        ring.push(record(3, BYTES_MAX / 2));
        assert_eq!(ids(&ring.newest(None, 9)), ["3"]);
        ring.push(record(4, BYTES_MAX));
        assert_eq!(ids(&ring.newest(None, 9)), ["3"]);
        assert!(ring.bytes <= BYTES_MAX);
    }
}
