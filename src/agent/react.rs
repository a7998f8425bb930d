//! The `react` pattern as a state machine: ask the model, call the tools it wants, tell it what they
//! returned, until it answers in plain words or its turns are used up.
//!
//! Owns the conversation and the steps. Does no I/O: `run` asks what to do next and reports what
//! came of it.

use std::collections::VecDeque;

use serde_json::Value;

use super::types::Step;
use crate::model::{Completion, Message, ToolCall};

/// The answer of a run whose turns are used up.
pub(super) const OUT_OF_TURNS: &str = "Max iterations reached";

/// The longest observation that a model is told, in bytes; longer ones are cut. Some 60,000 tokens.
const OBSERVATION_BYTES_MAX: usize = 256 * 1024;

/// One run of the pattern.
#[derive(Debug)]
pub(super) struct React {
    messages: Vec<Message>,
    steps: Vec<Step>,
    turns_left: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The model is to speak.
    Asking,
    /// These calls are to be made, in this order; the thought goes with the first.
    Calling { thought: Option<String>, calls: VecDeque<ToolCall> },
    /// This is the answer.
    Done(String),
}

/// What is to be done next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask the model with [`React::messages`], then [`React::handle_completion`].
    Ask,
    /// Make this call, then [`React::handle_observation`].
    Call(ToolCall),
    /// Nothing; this is the answer.
    Done(String),
}

impl React {
    /// A run that asks the model at most `max_iterations` times, at least once.
    pub(super) fn new(system: Option<String>, query: String, max_iterations: u64) -> Self {
        let mut messages: Vec<Message> = system.map(Message::System).into_iter().collect();
        messages.push(Message::User(query));
        Self { messages, steps: Vec::new(), turns_left: max_iterations, state: State::Asking }
    }

    /// The model's next message arrived.
    pub(super) fn handle_completion(&mut self, completion: Completion) {
        self.turns_left = self.turns_left.saturating_sub(1);
        if completion.tool_calls.is_empty() {
            let answer = completion.content.unwrap_or_default();
            self.steps.push(Step { result: Some(answer.clone()), ..Step::default() });
            self.state = State::Done(answer);
            return;
        }
        self.messages.push(Message::Assistant {
            content: completion.content.clone(),
            tool_calls: completion.tool_calls.clone(),
            original: completion.original,
        });
        self.state = State::Calling {
            thought: completion.content.filter(|content| !content.is_empty()),
            calls: completion.tool_calls.into(),
        };
    }

    /// The call of [`Next::Call`] was made with these arguments and returned this.
    pub(super) fn handle_observation(&mut self, arguments: Value, observation: &Value) {
        let State::Calling { thought, calls } = &mut self.state else {
            unreachable!("an observation answers a call");
        };
        let call = calls.pop_front().expect("an observation answers a call");
        let observation = cut(observation.to_string());
        self.messages.push(Message::Tool { call_id: call.id, content: observation.clone() });
        self.steps.push(Step {
            thought: thought.take(),
            action: Some(call.name),
            action_input: Some(arguments),
            observation: Some(observation),
            result: None,
        });
        if calls.is_empty() {
            self.state = if self.turns_left == 0 {
                State::Done(OUT_OF_TURNS.to_owned())
            } else {
                State::Asking
            };
        }
    }

    pub(super) fn poll_next(&self) -> Next {
        match &self.state {
            State::Asking => Next::Ask,
            State::Calling { calls, .. } => {
                Next::Call(calls.front().expect("never empty while calling").clone())
            }
            State::Done(answer) => Next::Done(answer.clone()),
        }
    }

    pub(super) fn messages(&self) -> &[Message] {
        &self.messages
    }

    pub(super) fn into_steps(self) -> Vec<Step> {
        self.steps
    }
}

fn cut(mut text: String) -> String {
    let bytes = text.len();
    if bytes > OBSERVATION_BYTES_MAX {
        text.truncate(text.floor_char_boundary(OBSERVATION_BYTES_MAX));
        text.push_str(&format!("... (cut: {bytes} bytes in all)"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Next, OBSERVATION_BYTES_MAX, OUT_OF_TURNS, React};
    use crate::model::{Completion, ToolCall};

    fn call(id: &str) -> ToolCall {
        ToolCall { id: id.to_owned(), name: "look".to_owned(), arguments: "{}".to_owned() }
    }

    fn calls(ids: &[&str]) -> Completion {
        let tool_calls = ids.iter().map(|id| call(id)).collect();
        Completion { content: Some("hm".to_owned()), tool_calls, ..Completion::default() }
    }

    #[test]
    fn calls_are_made_in_order_and_the_thought_goes_with_the_first() {
        let mut run = React::new(None, "q".to_owned(), 5);
        run.handle_completion(calls(&["1", "2"]));
        assert_eq!(run.poll_next(), Next::Call(call("1")));
        run.handle_observation(json!({}), &json!("a"));
        assert_eq!(run.poll_next(), Next::Call(call("2")));
        run.handle_observation(json!({}), &json!("b"));
        assert_eq!(run.poll_next(), Next::Ask);
        let steps = run.into_steps();
        assert_eq!(steps.len(), 2);
        assert_eq!(steps[0].thought.as_deref(), Some("hm"));
        assert_eq!(steps[1].thought, None);
    }

    #[test]
    fn the_last_turn_still_calls_its_tools_and_then_ends() {
        let mut run = React::new(None, "q".to_owned(), 1);
        run.handle_completion(calls(&["1"]));
        assert_eq!(run.poll_next(), Next::Call(call("1")));
        run.handle_observation(json!({}), &json!("a"));
        assert_eq!(run.poll_next(), Next::Done(OUT_OF_TURNS.to_owned()));
    }

    #[test]
    fn a_long_observation_is_cut_between_characters() {
        let mut run = React::new(None, "q".to_owned(), 2);
        run.handle_completion(calls(&["1"]));
        run.handle_observation(json!({}), &json!("é".repeat(OBSERVATION_BYTES_MAX)));
        let observation = run.into_steps().remove(0).observation.unwrap();
        assert!(observation.len() < OBSERVATION_BYTES_MAX + 64, "{}", observation.len());
        assert!(observation.ends_with("bytes in all)"));
    }
}
