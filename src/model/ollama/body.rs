//! The JSON of `/api/chat`: what is sent, and what of the answer is read.
//!
//! Differs from the OpenAI protocol in three ways: arguments of tools are objects, most parameters
//! stand in `options`, and what a tool returned is linked by the tool's name.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::KIND;
use crate::model::reading::{self, Reading};
use crate::model::{Completion, Message, Original, Settings, ToolCall, ToolSpec};

/// Parameters that stand beside `options`, not in it.
const FIELDS: &[&str] = &["format", "keep_alive", "think", "logprobs", "top_logprobs"];

/// The body of a request.
pub(super) fn request(settings: &Settings, messages: &[Message], tools: &[ToolSpec]) -> Value {
    let mut body = Map::new();
    let mut options = Map::new();
    let parameters = &settings.parameters;
    if let Some(tokens) = parameters.get("max_tokens") {
        options.insert("num_predict".to_owned(), tokens.clone());
    }
    for (key, value) in parameters {
        let (place, value) = match (key.as_str(), value) {
            ("max_tokens" | "options", _) => continue,
            // A single one is a list in this protocol.
            ("stop", Value::String(_)) => (&mut options, json!([value])),
            (field, _) if FIELDS.contains(&field) => (&mut body, value.clone()),
            (_, _) => (&mut options, value.clone()),
        };
        place.insert(key.clone(), value);
    }
    if let Some(Value::Object(own)) = parameters.get("options") {
        options.extend(own.clone());
    }
    if !options.is_empty() {
        body.insert("options".to_owned(), options.into());
    }
    body.insert("model".to_owned(), settings.model.clone().into());
    body.insert("stream".to_owned(), false.into());
    body.insert("messages".to_owned(), conversation(messages));
    if !tools.is_empty() {
        body.insert("tools".to_owned(), tools.iter().map(ToolSpec::as_function).collect());
    }
    Value::Object(body)
}

fn conversation(messages: &[Message]) -> Value {
    let mut list = Vec::with_capacity(messages.len());
    // The names of the calls before, by their ids.
    let mut names: Vec<(&str, &str)> = Vec::new();
    for message in messages {
        list.push(match message {
            Message::System(content) => json!({"role": "system", "content": content}),
            Message::User(content) => json!({"role": "user", "content": content}),
            Message::Assistant { content, tool_calls, original } => {
                names.extend(tool_calls.iter().map(|call| (&*call.id, &*call.name)));
                match original {
                    // With the reasoning, which models want back until they have answered.
                    Some(Original { kind: KIND, content }) => content.clone(),
                    Some(_) | None => assistant(content.as_deref(), tool_calls),
                }
            }
            Message::Tool { call_id, content } => {
                let name = names.iter().rev().find(|(id, _)| id == call_id);
                let name = name.map_or("", |(_, name)| name);
                json!({
                    "role": "tool", "tool_name": name, "tool_call_id": call_id, "content": content,
                })
            }
        });
    }
    list.into()
}

fn assistant(content: Option<&str>, tool_calls: &[ToolCall]) -> Value {
    let call = |call: &ToolCall| {
        // Only objects are taken; what another model wrote as text that is none was refused then.
        let arguments = serde_json::from_str::<Map<String, Value>>(&call.arguments);
        let arguments = arguments.unwrap_or_default();
        json!({"id": call.id, "function": {"name": call.name, "arguments": arguments}})
    };
    json!({
        "role": "assistant",
        "content": content.unwrap_or_default(),
        "tool_calls": tool_calls.iter().map(call).collect::<Vec<_>>(),
    })
}

#[derive(Deserialize)]
struct Answer {
    message: Value,
    #[serde(default)]
    done_reason: Value,
}

#[derive(Deserialize)]
struct MessageBody {
    #[serde(default)]
    content: Value,
    #[serde(default)]
    tool_calls: Option<Vec<CallBody>>,
}

#[derive(Deserialize)]
struct CallBody {
    /// Left out by older versions.
    #[serde(default)]
    id: Value,
    function: FunctionBody,
}

#[derive(Deserialize)]
struct FunctionBody {
    name: String,
    #[serde(default)]
    arguments: Value,
}

/// Reads the answer of a successful call; the error says what is wrong with it.
pub(super) fn reading(bytes: &[u8]) -> Result<Reading, String> {
    let body: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    // Some versions leave out what was read when the whole prompt was in the cache.
    let usage = reading::usage(&body, &["prompt_eval_count"], "eval_count");
    let answer = Answer::deserialize(body).map_err(|error| error.to_string())?;
    let message = MessageBody::deserialize(&answer.message).map_err(|error| error.to_string())?;
    let calls = message.tool_calls.unwrap_or_default();
    let completion = Completion {
        content: Some(reading::words(message.content)?.unwrap_or_default()),
        tool_calls: calls.into_iter().map(read_call).collect(),
        original: Some(Original { kind: KIND, content: answer.message }),
        usage,
    };
    Reading::new(completion, &answer.done_reason)
}

fn read_call(call: CallBody) -> ToolCall {
    ToolCall::from_parts(call.id, call.function.name, call.function.arguments)
}
