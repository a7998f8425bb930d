//! The JSON of the chat completions protocol: what is sent, and what of the answer is read.
//!
//! Lenient about what servers leave out, strict about what would lose meaning.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::model::reading::{self, Reading};
use crate::model::{Completion, Message, Settings, ToolCall, ToolSpec};

/// The body of a request. The fields of `parameters` come first, so that ours win.
pub(in crate::model) fn request(
    settings: &Settings,
    messages: &[Message],
    tools: &[ToolSpec],
) -> Value {
    let mut body = settings.parameters.clone();
    body.insert("model".to_owned(), settings.model.clone().into());
    body.insert("messages".to_owned(), messages.iter().map(message).collect());
    if !tools.is_empty() {
        body.insert("tools".to_owned(), tools.iter().map(ToolSpec::as_function).collect());
    }
    Value::Object(body)
}

fn message(message: &Message) -> Value {
    match message {
        Message::System(content) => json!({"role": "system", "content": content}),
        Message::User(content) => json!({"role": "user", "content": content}),
        Message::Assistant { content, tool_calls, original: _ } => {
            let mut object = Map::new();
            object.insert("role".to_owned(), "assistant".into());
            object.insert("content".to_owned(), content.clone().into());
            if !tool_calls.is_empty() {
                object.insert("tool_calls".to_owned(), tool_calls.iter().map(call).collect());
            }
            Value::Object(object)
        }
        Message::Tool { call_id, content } => {
            json!({"role": "tool", "tool_call_id": call_id, "content": content})
        }
    }
}

fn call(call: &ToolCall) -> Value {
    json!({
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": call.arguments},
    })
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
    #[serde(default)]
    usage: Value,
}

#[derive(Deserialize)]
struct Choice {
    message: MessageBody,
    #[serde(default)]
    finish_reason: Value,
}

#[derive(Deserialize)]
struct MessageBody {
    #[serde(default)]
    content: Value,
    #[serde(default)]
    tool_calls: Option<Vec<CallBody>>,
    /// What it says in place of `content`.
    #[serde(default)]
    refusal: Value,
}

#[derive(Deserialize)]
struct CallBody {
    #[serde(default)]
    id: Value,
    function: FunctionBody,
}

#[derive(Deserialize)]
struct FunctionBody {
    name: String,
    /// JSON text by the protocol; some servers send the object itself.
    #[serde(default)]
    arguments: Value,
}

/// Reads the answer of a successful call; the error says what is wrong with it.
pub(in crate::model) fn reading(bytes: &[u8]) -> Result<Reading, String> {
    let answer: Answer = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let Some(choice) = answer.choices.into_iter().next() else {
        return Err("it has no choices".to_owned());
    };
    if choice.message.refusal.as_str().is_some_and(|refusal| !refusal.is_empty()) {
        return Ok(Reading::Refusal);
    }
    let calls = choice.message.tool_calls.unwrap_or_default();
    let completion = Completion {
        content: reading::words(choice.message.content)?,
        tool_calls: calls.into_iter().map(read_call).collect(),
        original: None,
        usage: reading::usage(&answer.usage, &["prompt_tokens"], "completion_tokens"),
    };
    Reading::new(completion, &choice.finish_reason)
}

fn read_call(call: CallBody) -> ToolCall {
    ToolCall::from_parts(call.id, call.function.name, call.function.arguments)
}
