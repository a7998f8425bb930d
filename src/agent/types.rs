//! What goes into a run and what comes out, and how an agent is listed.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::telemetry::cells::Distribution;

/// The body of `POST /v1/agents/{name}/run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRequest {
    /// What the agent is asked.
    pub query: String,
    /// The conversation it belongs to.
    #[serde(default = "default_session")]
    pub session_id: String,
    /// Variables for the system prompt.
    #[serde(default)]
    pub context: Option<serde_json::Map<String, Value>>,
    /// The span of the request; not of the body.
    #[serde(skip)]
    pub caller: Option<Caller>,
}

/// The span of a W3C trace under which an agent runs.
#[derive(Clone)]
pub struct Caller {
    /// The id of the trace: 32 hexadecimal digits.
    pub trace_id: String,
    /// The id of the span: 16 hexadecimal digits.
    pub span_id: String,
    /// Whether the trace is exported, here or elsewhere.
    pub is_sampled: bool,
    /// Whether anybody but this node may hear of the trace, so that its id is worth telling.
    pub is_known: bool,
    /// Who exports the spans of the run; `None` when this node does not.
    pub observer: Option<Observer>,
}

/// Is told of a run that has ended, and under which span it ran.
pub type Observer = Arc<dyn Fn(&TraceRecord, &Caller) + Send + Sync>;

impl Caller {
    /// The run has ended.
    pub(super) fn tell(&self, record: &TraceRecord) {
        if let Some(observer) = &self.observer {
            observer(record, self);
        }
    }

    /// The value of the header `traceparent` for what is asked within a span of the run. Where that
    /// is not exported, the caller is the nearest span that others may know.
    #[must_use]
    pub fn traceparent(&self, span_id: &str) -> String {
        let span_id = if self.observer.is_some() { span_id } else { &self.span_id };
        format!("00-{}-{span_id}-{:02x}", self.trace_id, u8::from(self.is_sampled))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Caller")
            .field("trace_id", &self.trace_id)
            .field("span_id", &self.span_id)
            .field("is_sampled", &self.is_sampled)
            .finish_non_exhaustive()
    }
}

fn default_session() -> String {
    "default".to_owned()
}

/// The answer to a run. Of an agent that is a process of its own only the answer is certain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunResponse {
    /// What the agent says in the end.
    pub answer: String,
    /// How it got there.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Tokens used; `null` when the model reported none.
    pub usage: Option<Usage>,
    /// Where the time went.
    #[serde(default)]
    pub trace: Trace,
    /// Structured output, when the agent has an output schema.
    pub data: Option<Value>,
    /// Always `null`: chains are not run.
    pub chain: Option<Value>,
}

/// One step of a run: a tool call with its observation, or the final result.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What the model said along with a tool call.
    pub thought: Option<String>,
    /// The tool that was called.
    pub action: Option<String>,
    /// Its arguments.
    pub action_input: Option<Value>,
    /// What the tool returned, as text.
    pub observation: Option<String>,
    /// The final answer.
    pub result: Option<String>,
}

/// Tokens used by a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens read by all model calls.
    pub tokens_in: u64,
    /// Tokens written by all model calls.
    pub tokens_out: u64,
    /// The model of the last call.
    pub model: String,
    /// The same, for each model.
    pub by_model: Vec<ModelUsage>,
}

/// Tokens used with one model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelUsage {
    /// Provider kind, such as `openai_compat`.
    pub provider: String,
    /// Model name.
    pub model: String,
    /// Role of the model in the agent; `default` for the first cut.
    pub role: String,
    /// Calls that were answered.
    pub calls: u64,
    /// Calls that failed; left out of the JSON when there are none, and not counted for a single
    /// run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub failed: u64,
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Cost in US dollars; 0 where no price is known.
    pub cost: f64,
}

/// The spans of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// 32 hexadecimal digits.
    pub trace_id: String,
    /// Name of the agent.
    pub agent: String,
    /// The conversation.
    pub session_id: String,
    /// Always true.
    pub is_sampled: bool,
    /// The id of the W3C trace that the run belongs to, which other systems know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub w3c_trace_id: Option<String>,
    /// In the order in which they started.
    pub spans: Vec<Span>,
}

/// One timed part of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Span {
    /// `agent.run`, `prompt_render`, `orchestration`, `llm.complete` or `tool.call`.
    pub name: String,
    /// As in [`Trace`].
    pub trace_id: String,
    /// 16 hexadecimal digits.
    pub span_id: String,
    /// The span that this one is part of.
    pub parent_span_id: Option<String>,
    /// `ok` or `error`.
    pub status: String,
    /// Details, such as the tool's name.
    pub attributes: serde_json::Map<String, Value>,
    /// Always empty.
    pub events: Vec<Value>,
    /// Seconds since 1970.
    pub start_time: f64,
    /// Seconds since 1970.
    pub end_time: f64,
    /// Milliseconds in between.
    pub duration_ms: f64,
}

/// How an agent is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentSummary {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.version`.
    pub version: String,
    /// `metadata.namespace`.
    pub namespace: String,
    /// Whether it can be run.
    pub status: AgentStatus,
    /// Why it is a draft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Whether an agent can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentStatus {
    /// It serves requests.
    Deployed,
    /// Its file is broken; the error says how.
    Draft,
    /// An operator paused it.
    Paused,
}

/// The providers of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderList {
    /// Sorted by name.
    pub providers: Vec<ProviderSummary>,
    /// For each broken file all that is wrong with it, a line for each problem; none of its
    /// providers is used.
    pub problems: Vec<String>,
}

/// How a provider is listed. Keys are never shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderSummary {
    /// What agents call it as `providerRef`.
    pub name: String,
    /// Such as `openai_compat`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Base URL, without its query; `null` for the default of its type.
    pub endpoint: Option<String>,
    /// The first is that of agents which name none.
    pub models: Vec<String>,
    /// The environment variable that holds its key.
    pub api_key_env: Option<String>,
    /// Whether the node has a key: that variable is set, or the key is in the file. `null` when no
    /// key is named.
    pub api_key_set: Option<bool>,
    /// The file that has it.
    pub file: String,
    /// Names of the agents of the node that refer to it, drafts left out.
    pub used_by: Vec<String>,
}

/// A tool as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolEntry {
    /// What agents call it.
    pub name: String,
    /// What it does, for a model.
    pub description: String,
    /// Always `builtin`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A tool as it is described to a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolSchema {
    /// What agents call it.
    pub name: String,
    /// What it does.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}

/// What a tool that was tried came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolAnswer {
    /// Its name.
    pub tool: String,
    /// What a model would see: `{"success", "data", "metadata", "error"}`.
    pub result: Value,
    /// `ok` or `failed`.
    pub status: String,
}

/// A trace as it is kept. Fields beyond those of [`Trace`] are ours.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TraceRecord {
    /// The spans of the run.
    #[serde(flatten)]
    pub trace: Trace,
    /// How the run ended.
    pub status: TraceStatus,
    /// Seconds since 1970.
    pub started_at: f64,
    /// From the beginning of the run to its end.
    pub duration_ms: f64,
    /// Tokens read by all model calls.
    pub tokens_in: u64,
    /// Tokens written by all model calls.
    pub tokens_out: u64,
    /// Why it did not end well.
    pub error: Option<String>,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TraceStatus {
    /// With an answer.
    #[default]
    Ok,
    /// With an error.
    Error,
    /// The caller left before there was one.
    Canceled,
}

/// What an agent has done and used on one node since that started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AgentUsage {
    /// Its name.
    pub agent: String,
    /// Runs that gave an answer.
    pub runs_ok: u64,
    /// Runs that failed.
    pub runs_failed: u64,
    /// Runs whose caller left.
    pub runs_canceled: u64,
    /// How long the runs took, in seconds.
    pub seconds: RunTimes,
    /// The same by bound, for the metrics.
    #[serde(skip)]
    pub times: Distribution,
    /// Calls of models that were answered, and their tokens.
    pub models: Vec<ModelUsage>,
    /// Calls of models that failed.
    pub model_failures: u64,
    /// Calls of tools.
    pub tools: Vec<ToolUsage>,
}

/// Durations in seconds; all 0 when there are none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RunTimes {
    /// How many.
    pub count: u64,
    /// Together.
    pub sum: f64,
    /// On average.
    pub avg: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
}

impl From<Distribution> for RunTimes {
    fn from(times: Distribution) -> Self {
        let (count, sum) = (times.count(), times.sum_seconds());
        let avg = if count == 0 { 0.0 } else { sum / count as f64 };
        Self { count, sum, avg, min: times.min_seconds(), max: times.max_seconds() }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Calls of a tool by an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolUsage {
    /// The tool.
    pub tool: String,
    /// Calls made.
    pub calls: u64,
    /// Those of them that did not work.
    pub failed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_told_of_a_span_only_where_it_is_exported() {
        let (trace_id, span_id) = ("1".repeat(32), "2".repeat(16));
        let observer: Observer = Arc::new(|_, _| {});
        for (is_sampled, observer, expected) in [
            (true, Some(observer), "own-01"),
            (true, None, "2222222222222222-01"),
            (false, None, "2222222222222222-00"),
        ] {
            let (trace_id, span_id) = (trace_id.clone(), span_id.clone());
            let caller = Caller { trace_id, span_id, is_sampled, is_known: true, observer };
            let expected = format!("00-{}-{expected}", "1".repeat(32));
            assert_eq!(caller.traceparent("own"), expected);
        }
    }
}
