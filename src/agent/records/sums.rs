//! Sums for each agent since the node started: runs, time, tokens, calls.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::agent::types::{AgentUsage, ModelUsage, Span, ToolUsage, TraceRecord, TraceStatus};
use crate::telemetry::families::ANSWER_NS;

/// Agents, and models and tools of one agent, that are told apart. A node reads fewer; with the
/// names that reloads bring there could be more, which are summed under [`OTHERS`].
const NAMES_MAX: usize = 1_000;

const OTHERS: &str = "(others)";

/// The sums, by the name of the agent.
#[derive(Debug, Default)]
pub(super) struct Sums(BTreeMap<String, AgentUsage>);

impl Sums {
    /// Adds a run; `models` are the calls that were answered.
    pub(super) fn add(&mut self, record: &TraceRecord, models: &[ModelUsage]) {
        let name = kept_name(&self.0, &record.trace.agent);
        let usage = self
            .0
            .entry(name.to_owned())
            .or_insert_with(|| AgentUsage { agent: name.to_owned(), ..AgentUsage::default() });
        match record.status {
            TraceStatus::Ok => usage.runs_ok += 1,
            TraceStatus::Error => usage.runs_failed += 1,
            TraceStatus::Canceled => usage.runs_canceled += 1,
        }
        let seconds = record.duration_ms / 1_000.0;
        usage.times.add(ANSWER_NS, Duration::try_from_secs_f64(seconds).unwrap_or_default());
        usage.seconds = usage.times.into();
        for model in models {
            let sum = model_sum(usage, &model.provider, &model.model);
            sum.calls += model.calls;
            sum.tokens_in = sum.tokens_in.saturating_add(model.tokens_in);
            sum.tokens_out = sum.tokens_out.saturating_add(model.tokens_out);
            sum.cost += model.cost;
        }
        for span in &record.trace.spans {
            add_span(usage, span);
        }
    }

    pub(super) fn report(&self) -> Vec<AgentUsage> {
        self.0.values().cloned().collect()
    }
}

/// Calls of tools, and those of models that were not answered.
fn add_span(usage: &mut AgentUsage, span: &Span) {
    let text = |name: &str| span.attributes.get(name).and_then(Value::as_str);
    let has_failed = span.status != "ok";
    match span.name.as_str() {
        "tool.call" => {
            let sum = tool_sum(usage, text("tool").unwrap_or_default());
            sum.calls += 1;
            sum.failed += u64::from(has_failed);
        }
        // A call that was cut short, since the caller left, has no code: the model did not fail.
        "llm.complete" if has_failed && text("error_code").is_some() => {
            if let (Some(provider), Some(model)) = (text("provider"), text("model")) {
                usage.model_failures += 1;
                model_sum(usage, provider, model).failed += 1;
            }
        }
        _ => {}
    }
}

fn tool_sum<'a>(usage: &'a mut AgentUsage, name: &str) -> &'a mut ToolUsage {
    let of = |name: &str| usage.tools.iter().position(|sum| sum.tool == name);
    let is_full = usage.tools.len() >= NAMES_MAX;
    let known = of(name).or_else(|| of(OTHERS).filter(|_| is_full));
    let index = known.unwrap_or_else(|| {
        let name = if is_full { OTHERS } else { name };
        usage.tools.push(ToolUsage { tool: name.to_owned(), calls: 0, failed: 0 });
        usage.tools.len() - 1
    });
    &mut usage.tools[index]
}

fn model_sum<'a>(usage: &'a mut AgentUsage, provider: &str, model: &str) -> &'a mut ModelUsage {
    let of = |model: &str| {
        usage.models.iter().position(|sum| sum.provider == provider && sum.model == model)
    };
    let is_full = usage.models.len() >= NAMES_MAX;
    let known = of(model).or_else(|| of(OTHERS).filter(|_| is_full));
    let index = known.unwrap_or_else(|| {
        let model = if is_full { OTHERS } else { model };
        usage.models.push(ModelUsage {
            provider: provider.to_owned(),
            model: model.to_owned(),
            role: "default".to_owned(),
            calls: 0,
            failed: 0,
            tokens_in: 0,
            tokens_out: 0,
            cost: 0.0,
        });
        usage.models.len() - 1
    });
    &mut usage.models[index]
}

fn kept_name<'a>(known: &BTreeMap<String, AgentUsage>, name: &'a str) -> &'a str {
    if known.len() < NAMES_MAX || known.contains_key(name) { name } else { OTHERS }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_known_goes_on_being_counted_when_there_are_too_many() {
        let mut usage = AgentUsage::default();
        for number in 0..NAMES_MAX + 2 {
            tool_sum(&mut usage, &format!("t{number}")).calls += 1;
            model_sum(&mut usage, "p", &format!("m{number}")).calls += 1;
        }
        tool_sum(&mut usage, "t7").calls += 1;
        model_sum(&mut usage, "p", "m7").calls += 1;
        let tools: Vec<_> = usage.tools.iter().map(|sum| (sum.tool.as_str(), sum.calls)).collect();
        let models: Vec<_> =
            usage.models.iter().map(|sum| (sum.model.as_str(), sum.calls)).collect();
        assert_eq!((tools[7], tools[NAMES_MAX]), (("t7", 2), (OTHERS, 2)));
        assert_eq!((models[7], models[NAMES_MAX]), (("m7", 2), (OTHERS, 2)));
        assert_eq!((tools.len(), models.len()), (NAMES_MAX + 1, NAMES_MAX + 1));
    }
}
