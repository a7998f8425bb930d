//! One run of an agent: drives the pattern with real models and tools, and records what it took.
//!
//! Everything happens inside the future of the run; dropping it ends the model call or tool call
//! that is under way.

use serde_json::Value;

use super::RunError;
use super::prompt::Prompt;
use super::react::{Next, React};
use super::tools::Toolbox;
use super::trace::{Outcome, Recorder, SpanIndex};
use super::types::{ModelUsage, RunRequest, RunResponse, Usage};
use crate::model::{ChatModel, Completion, ErrorCode, Message, ModelError, TokenUsage, ToolCall};

/// The one role of the one pattern.
const ROLE: &str = "default";

/// An agent that can be run.
#[derive(Debug)]
pub(super) struct Agent {
    pub(super) name: String,
    /// Tried in this order; never empty.
    pub(super) models: Vec<Box<dyn ChatModel>>,
    pub(super) prompt: Prompt,
    pub(super) max_iterations: u64,
    pub(super) toolbox: Toolbox,
}

impl Agent {
    pub(super) async fn run(&self, request: RunRequest) -> Result<RunResponse, RunError> {
        let mut recorder = Recorder::new(&self.name, &request.session_id);
        let root = recorder.start("agent.run", None);
        let span = recorder.start("prompt_render", Some(root));
        let system = self
            .prompt
            .render(request.context.as_ref())
            .map_err(|error| RunError::Internal(format!("the system prompt failed: {error}")))?;
        recorder.end(span, Outcome::Done, []);
        let orchestration = recorder.start("orchestration", Some(root));
        let mut react = React::new(system, request.query, self.max_iterations);
        let mut asking = Asking { preferred: 0, usage: Tally::default() };
        let answer = loop {
            match react.poll_next() {
                Next::Ask => {
                    let completion = self
                        .ask(&mut asking, react.messages(), &mut recorder, orchestration)
                        .await?;
                    react.handle_completion(completion);
                }
                Next::Call(call) => {
                    let arguments = arguments(&call);
                    let observation =
                        self.call(&call, &arguments, &mut recorder, orchestration).await;
                    react.handle_observation(arguments, &observation);
                }
                Next::Done(answer) => break answer,
            }
        };
        recorder.end(orchestration, Outcome::Done, [("pattern", "react".into())]);
        recorder.end(root, Outcome::Done, [("agent", self.name.as_str().into())]);
        Ok(RunResponse {
            answer,
            steps: react.into_steps(),
            usage: asking.usage.finish(),
            trace: recorder.finish(),
            data: None,
            chain: None,
        })
    }

    /// Asks the models one after another until one answers, the one that answered last first: so a
    /// dead model costs its timeout once a run, and a conversation stays with one model.
    async fn ask(
        &self,
        asking: &mut Asking,
        messages: &[Message],
        recorder: &mut Recorder,
        parent: SpanIndex,
    ) -> Result<Completion, RunError> {
        let mut errors = Vec::new();
        for offset in 0..self.models.len() {
            let index = (asking.preferred + offset) % self.models.len();
            let Some(model) = self.models.get(index) else { continue };
            let span = recorder.start("llm.complete", Some(parent));
            let provider = ("provider", Value::from(model.kind()));
            let name = ("model", Value::from(model.name()));
            match model.complete(messages, self.toolbox.specs()).await {
                Ok(completion) => {
                    let calls = ("tool_calls", Value::from(completion.tool_calls.len()));
                    recorder.end(span, Outcome::Done, [provider, name, calls]);
                    asking.usage.add(model.as_ref(), completion.usage);
                    asking.preferred = index;
                    return Ok(completion);
                }
                Err(error) => {
                    let code = ("error_code", Value::from(error.code.as_str()));
                    recorder.end(span, Outcome::Failed, [provider, name, code]);
                    tracing::debug!(agent = %self.name, error = %error, "model call failed");
                    errors.push(error);
                }
            }
        }
        Err(RunError::Model(all_failed(errors)))
    }

    async fn call(
        &self,
        call: &ToolCall,
        arguments: &Value,
        recorder: &mut Recorder,
        parent: SpanIndex,
    ) -> Value {
        let span = recorder.start("tool.call", Some(parent));
        let observation = self.toolbox.call(&call.name, arguments).await;
        let outcome = if observation.succeeded { Outcome::Done } else { Outcome::Failed };
        recorder.end(span, outcome, [("tool", call.name.as_str().into())]);
        observation.body
    }
}

/// The arguments of a call as JSON; text that is no JSON stays text, which the tool then refuses.
fn arguments(call: &ToolCall) -> Value {
    if call.arguments.trim().is_empty() {
        return Value::Object(serde_json::Map::new());
    }
    serde_json::from_str(&call.arguments).unwrap_or_else(|_| Value::String(call.arguments.clone()))
}

/// One failure speaks for itself; several are told together.
fn all_failed(mut errors: Vec<ModelError>) -> ModelError {
    if errors.len() == 1 {
        return errors.remove(0);
    }
    let messages: Vec<String> = errors.iter().map(ToString::to_string).collect();
    ModelError::new(
        ErrorCode::AllProvidersFailed,
        format!("all {} models of the agent failed: {}", errors.len(), messages.join("; ")),
        errors.first().map(|error| error.hint.clone()).unwrap_or_default(),
    )
}

/// What a run remembers between its model calls.
#[derive(Debug)]
struct Asking {
    /// The model that answered last.
    preferred: usize,
    usage: Tally,
}

/// Sums tokens by model.
#[derive(Debug, Default)]
struct Tally {
    reported: bool,
    last_model: String,
    by_model: Vec<ModelUsage>,
}

impl Tally {
    fn add(&mut self, model: &dyn ChatModel, usage: Option<TokenUsage>) {
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
