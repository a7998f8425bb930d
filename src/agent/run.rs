//! One run of an agent: drives the pattern with real models and tools, and records what it took.
//!
//! Everything happens inside the future of the run; dropping it ends the model call or tool call
//! that is under way.

use serde_json::Value;

use super::RunError;
use super::prompt::Prompt;
use super::react::{Next, React};
use super::recording::Recording;
use super::records::Records;
use super::tools::Toolbox;
use super::trace::{Outcome, Recorder, SpanIndex};
use super::types::{RunRequest, RunResponse, Step};
use crate::model::{
    ChatModel, ChatRequest, Completion, ErrorCode, Message, ModelError, TokenUsage, ToolCall,
};

/// The one role of the one pattern.
pub(super) const ROLE: &str = "default";

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
    /// Runs the agent, and leaves a record of it however it ends.
    pub(super) async fn run(
        &self,
        mut request: RunRequest,
        records: &Records,
    ) -> Result<RunResponse, RunError> {
        let caller = request.caller.take();
        let mut recording = Recording::new(records, &self.name, &request.session_id, caller);
        match self.drive(request, &mut recording).await {
            Ok((answer, steps)) => {
                let (trace, usage) = recording.done();
                Ok(RunResponse { answer, steps, usage, trace, data: None, chain: None })
            }
            Err(error) => {
                recording.failed(&error);
                Err(error)
            }
        }
    }

    /// The run itself: its answer, and how it got there.
    async fn drive(
        &self,
        request: RunRequest,
        recording: &mut Recording<'_>,
    ) -> Result<(String, Vec<Step>), RunError> {
        let recorder = &mut recording.recorder;
        let root = recorder.start("agent.run", None);
        recorder.describe(root, [("agent", self.name.as_str().into())]);
        let span = recorder.start("prompt_render", Some(root));
        let system = self
            .prompt
            .render(request.context.as_ref())
            .map_err(|error| RunError::Internal(format!("the system prompt failed: {error}")))?;
        recorder.end(span, Outcome::Done, []);
        let orchestration = recorder.start("orchestration", Some(root));
        recorder.describe(orchestration, [("pattern", "react".into())]);
        let mut react = React::new(system, request.query, self.max_iterations);
        let mut preferred = 0;
        loop {
            match react.poll_next() {
                Next::Ask => {
                    let completion = self
                        .ask(&mut preferred, react.messages(), recording, orchestration)
                        .await?;
                    react.handle_completion(completion);
                }
                Next::Call(call) => {
                    let arguments = arguments(&call);
                    let recorder = &mut recording.recorder;
                    let observation = self.call(&call, &arguments, recorder, orchestration).await;
                    react.handle_observation(arguments, &observation);
                }
                Next::Done(answer) => {
                    recording.recorder.end(orchestration, Outcome::Done, []);
                    recording.recorder.end(root, Outcome::Done, []);
                    return Ok((answer, react.into_steps()));
                }
            }
        }
    }

    /// Asks the models one after another until one answers, the one that answered last first: so a
    /// dead model costs its timeout once a run, and a conversation stays with one model.
    /// `preferred` is the one that answered last.
    async fn ask(
        &self,
        preferred: &mut usize,
        messages: &[Message],
        recording: &mut Recording<'_>,
        parent: SpanIndex,
    ) -> Result<Completion, RunError> {
        let Recording { recorder, usage, caller, .. } = recording;
        let mut errors = Vec::new();
        for offset in 0..self.models.len() {
            let index = (*preferred + offset) % self.models.len();
            let Some(model) = self.models.get(index) else { continue };
            let span = recorder.start("llm.complete", Some(parent));
            let provider = ("provider", Value::from(model.kind()));
            recorder.describe(span, [provider, ("model", Value::from(model.name()))]);
            let traceparent = caller.as_ref().map(|caller| caller.traceparent(recorder.id(span)));
            let request = ChatRequest {
                messages,
                tools: self.toolbox.specs(),
                traceparent: traceparent.as_deref(),
            };
            match model.complete(request).await {
                Ok(completion) => {
                    let calls = ("tool_calls", Value::from(completion.tool_calls.len()));
                    recorder.end(span, Outcome::Done, [calls]);
                    if let Some(TokenUsage { tokens_in, tokens_out }) = completion.usage {
                        let tokens =
                            [("tokens_in", tokens_in.into()), ("tokens_out", tokens_out.into())];
                        recorder.describe(span, tokens);
                    }
                    usage.add(model.as_ref(), completion.usage);
                    *preferred = index;
                    return Ok(completion);
                }
                Err(error) => {
                    let code = ("error_code", Value::from(error.code.as_str()));
                    recorder.end(span, Outcome::Failed, [code]);
                    // The code only: the message may repeat what the provider says, and that what
                    // it was asked, or the key.
                    tracing::debug!(
                        agent = %self.name,
                        model = model.name(),
                        error.code = error.code.as_str(),
                        "model call failed"
                    );
                    errors.push((model.name(), error));
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
        recorder.describe(span, [("tool", self.toolbox.known_name(&call.name).into())]);
        let observation = self.toolbox.call(&call.name, arguments).await;
        let outcome = if observation.succeeded { Outcome::Done } else { Outcome::Failed };
        recorder.end(span, outcome, []);
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
fn all_failed(mut errors: Vec<(&str, ModelError)>) -> ModelError {
    if errors.len() == 1 {
        return errors.remove(0).1;
    }
    let messages: Vec<String> = errors.iter().map(|(_, error)| error.to_string()).collect();
    // Each hint once, with the models it is for.
    let mut hints: Vec<(Vec<&str>, &str)> = Vec::new();
    for (model, error) in &errors {
        match hints.iter_mut().find(|(_, hint)| *hint == error.hint) {
            Some((models, _)) if models.contains(model) => {}
            Some((models, _)) => models.push(model),
            None => hints.push((vec![model], &error.hint)),
        }
    }
    let hints: Vec<String> =
        hints.iter().map(|(models, hint)| format!("{}: {hint}", models.join(", "))).collect();
    ModelError::new(
        ErrorCode::AllProvidersFailed,
        format!("all {} models of the agent failed: {}", errors.len(), messages.join("; ")),
        hints.join("; "),
    )
}
