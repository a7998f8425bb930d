//! The record of one run while it goes on: its spans and its tokens.
//!
//! However the run ends, also by its future being dropped, it is handed to [`Records`].

use super::records::Records;
use super::trace::Recorder;
use super::types::{Caller, ModelUsage, Trace, TraceRecord, TraceStatus, Usage};
use super::{RunError, run::ROLE};
use crate::model::{ChatModel, TokenUsage};

/// One run that has not ended.
#[derive(Debug)]
pub(super) struct Recording<'a> {
    records: &'a Records,
    pub(super) recorder: Recorder,
    pub(super) usage: Tally,
    pub(super) caller: Option<Caller>,
    has_ended: bool,
}

impl<'a> Recording<'a> {
    pub(super) fn new(
        records: &'a Records,
        agent: &str,
        session_id: &str,
        caller: Option<Caller>,
    ) -> Self {
        let w3c_trace_id =
            caller.as_ref().filter(|caller| caller.is_known).map(|caller| caller.trace_id.clone());
        let recorder = Recorder::new(records.trace_id(), w3c_trace_id, (agent, session_id));
        Self { records, recorder, usage: Tally::default(), caller, has_ended: false }
    }

    /// The run gave its answer.
    pub(super) fn done(mut self) -> (Trace, Option<Usage>) {
        let trace = self.end(TraceStatus::Ok, None);
        (trace, std::mem::take(&mut self.usage).finish())
    }

    /// The run failed. Only the code of a model's error is kept: its message may repeat what the
    /// provider says, and that what it was asked, or the key.
    pub(super) fn failed(mut self, error: &RunError) {
        let kept = match error {
            RunError::Model(error) => error.code.to_string(),
            RunError::UnknownAgent | RunError::Internal(_) => error.to_string(),
        };
        self.end(TraceStatus::Error, Some(kept));
    }

    fn end(&mut self, status: TraceStatus, error: Option<String>) -> Trace {
        self.has_ended = true;
        let trace = self.recorder.finish(status);
        let root = trace.spans.first();
        let tokens = |of: fn(&ModelUsage) -> u64| self.usage.by_model.iter().map(of).sum();
        let record = TraceRecord {
            status,
            started_at: root.map_or(0.0, |root| root.start_time),
            duration_ms: root.map_or(0.0, |root| root.duration_ms),
            tokens_in: tokens(|model| model.tokens_in),
            tokens_out: tokens(|model| model.tokens_out),
            error,
            trace: trace.clone(),
        };
        if let Some(caller) = &self.caller {
            caller.tell(&record);
        }
        self.records.keep(record, &self.usage.by_model);
        trace
    }
}

impl Drop for Recording<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(TraceStatus::Canceled, Some("the caller left".to_owned()));
        }
    }
}

/// Sums tokens by model.
#[derive(Debug, Default)]
pub(super) struct Tally {
    reported: bool,
    last_model: String,
    by_model: Vec<ModelUsage>,
}

impl Tally {
    pub(super) fn add(&mut self, model: &dyn ChatModel, usage: Option<TokenUsage>) {
        self.reported |= usage.is_some();
        let usage = usage.unwrap_or(TokenUsage { tokens_in: 0, tokens_out: 0 });
        model.name().clone_into(&mut self.last_model);
        let known = self
            .by_model
            .iter_mut()
            .find(|entry| entry.provider == model.kind() && entry.model == model.name());
        if let Some(entry) = known {
            entry.calls += 1;
            entry.tokens_in = entry.tokens_in.saturating_add(usage.tokens_in);
            entry.tokens_out = entry.tokens_out.saturating_add(usage.tokens_out);
        } else {
            self.by_model.push(ModelUsage {
                provider: model.kind().to_owned(),
                model: model.name().to_owned(),
                role: ROLE.to_owned(),
                calls: 1,
                failed: 0,
                tokens_in: usage.tokens_in,
                tokens_out: usage.tokens_out,
                cost: 0.0,
            });
        }
    }

    /// `None` when no call reported tokens.
    fn finish(self) -> Option<Usage> {
        let sum = |tokens: fn(&ModelUsage) -> u64| {
            self.by_model.iter().map(tokens).fold(0, u64::saturating_add)
        };
        self.reported.then(|| Usage {
            tokens_in: sum(|entry| entry.tokens_in),
            tokens_out: sum(|entry| entry.tokens_out),
            model: self.last_model,
            by_model: self.by_model.clone(),
        })
    }
}
