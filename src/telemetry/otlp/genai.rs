//! The spans of a run by the semantic conventions of OpenTelemetry for generative AI.
//!
//! Owns the translation of our names, which `/v1/traces` shows, into theirs. The conventions are
//! still being developed: a change of theirs is a change of this file. What they offer of prompts,
//! answers and arguments is left out for good.

use std::borrow::Cow;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::{Span, SpanKind, TraceContext, Tracer};

/// A run that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// The span under which it ran.
    pub caller: TraceContext,
    /// The id by which `/v1/traces` knows it.
    pub id: &'a str,
    /// The agent.
    pub agent: &'a str,
    /// The conversation.
    pub session: &'a str,
    /// Whether its caller left before its end.
    pub is_canceled: bool,
}

/// One part of a run, the run as a whole being the first.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Our name of it.
    pub name: &'a str,
    /// Tells it from others.
    pub id: u64,
    /// The part that it is a part of; `None` for the run.
    pub parent: Option<u64>,
    /// Whether it failed.
    pub has_failed: bool,
    /// Its details, by our names.
    pub attributes: &'a Map<String, Value>,
    /// When it began.
    pub start: SystemTime,
    /// When it ended.
    pub end: SystemTime,
}

/// The session of requests that name none, which is no conversation.
const SESSION_DEFAULT: &str = "default";

/// What the conventions say where no other type of an error fits.
const ERROR_OTHER: &str = "_OTHER";

/// Hands all parts of a run to the tracer.
pub fn end(tracer: &Tracer, run: &Run<'_>, parts: &[Part<'_>]) {
    // The provider that answered in the end is that of the run.
    let last_model = parts.iter().rfind(|part| part.name == "llm.complete");
    for part in parts {
        let context = run.caller.with_span(part.id);
        let parent = part.parent.map_or(run.caller, |parent| run.caller.with_span(parent));
        let (kind, name) = (kind_of(part), name_of(run, part));
        let mut span = tracer.begin(context, Some(parent), kind, name);
        match part.name {
            "agent.run" => describe_run(&mut span, run, last_model),
            "llm.complete" => describe_model_call(&mut span, part),
            "tool.call" => describe_tool_call(&mut span, part),
            _ => {}
        }
        if part.has_failed {
            let code = part.text("error_code").or_else(|| {
                let is_run = part.parent.is_none();
                last_model.filter(|model| is_run && model.has_failed)?.text("error_code")
            });
            span.fail(match code {
                Some(code) => Cow::Owned(code.to_owned()),
                None if run.is_canceled => Cow::Borrowed("canceled"),
                None => Cow::Borrowed(ERROR_OTHER),
            });
        }
        tracer.end_at(span, part.start, part.end);
    }
}

impl Part<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).and_then(Value::as_str)
    }
}

fn kind_of(part: &Part<'_>) -> SpanKind {
    if part.name == "llm.complete" { SpanKind::Client } else { SpanKind::Internal }
}

fn name_of(run: &Run<'_>, part: &Part<'_>) -> String {
    match part.name {
        "agent.run" => format!("invoke_agent {}", run.agent),
        "llm.complete" => format!("chat {}", part.text("model").unwrap_or_default()),
        "tool.call" => format!("execute_tool {}", part.text("tool").unwrap_or_default()),
        other => other.to_owned(),
    }
}

fn describe_run(span: &mut Span, run: &Run<'_>, last_model: Option<&Part<'_>>) {
    span.set("gen_ai.operation.name", "invoke_agent");
    span.set_text("gen_ai.agent.name", run.agent);
    span.set_text("astromesh.run.id", run.id);
    if run.session != SESSION_DEFAULT {
        span.set_text("gen_ai.conversation.id", run.session);
    }
    if let Some(kind) = last_model.and_then(|model| model.text("provider")) {
        span.set_text("gen_ai.provider.name", provider(kind));
    }
}

fn describe_model_call(span: &mut Span, part: &Part<'_>) {
    span.set("gen_ai.operation.name", "chat");
    if let Some(kind) = part.text("provider") {
        span.set_text("gen_ai.provider.name", provider(kind));
    }
    if let Some(model) = part.text("model") {
        span.set_text("gen_ai.request.model", model);
    }
    for (ours, theirs) in
        [("tokens_in", "gen_ai.usage.input_tokens"), ("tokens_out", "gen_ai.usage.output_tokens")]
    {
        if let Some(tokens) = part.attributes.get(ours).and_then(Value::as_i64) {
            span.set(theirs, tokens);
        }
    }
}

fn describe_tool_call(span: &mut Span, part: &Part<'_>) {
    span.set("gen_ai.operation.name", "execute_tool");
    span.set("gen_ai.tool.type", "function");
    if let Some(tool) = part.text("tool") {
        span.set_text("gen_ai.tool.name", tool);
    }
}

/// The name that the conventions have for the kind of a provider.
fn provider(kind: &str) -> &str {
    match kind {
        "openai_compat" => "openai",
        other => other,
    }
}
