//! The JSON of the Messages protocol: what is sent, and what of the answer is read.
//!
//! Differs from the OpenAI protocol in four ways: the system prompt stands beside the conversation,
//! a limit of tokens is required, all results of tools stand in one message of the user, and the
//! model's own messages are wanted back as they came, for what it thought has a signature.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::KIND;
use crate::model::reading::{self, Reading};
use crate::model::{Completion, Message, Original, Settings, ToolCall, ToolSpec};

/// How much a model may write that is not told: a long answer, and what it thinks before.
const MAX_TOKENS_DEFAULT: u64 = 8_192;

/// The body of a request. The fields of `parameters` come first, so that ours win.
pub(super) fn request(settings: &Settings, messages: &[Message], tools: &[ToolSpec]) -> Value {
    let mut body = settings.parameters.clone();
    body.entry("max_tokens").or_insert_with(|| MAX_TOKENS_DEFAULT.into());
    body.insert("model".to_owned(), settings.model.clone().into());
    let system: Vec<&str> = messages
        .iter()
        .filter_map(|message| match message {
            Message::System(content) => Some(content.as_str()),
            Message::User(_) | Message::Assistant { .. } | Message::Tool { .. } => None,
        })
        .collect();
    // An empty one is refused.
    if system.iter().any(|text| !text.trim().is_empty()) {
        body.insert("system".to_owned(), system.join("\n\n").into());
    }
    body.insert("messages".to_owned(), conversation(messages).into());
    if !tools.is_empty() {
        body.insert("tools".to_owned(), tools.iter().map(tool).collect());
    }
    Value::Object(body)
}

fn conversation(messages: &[Message]) -> Vec<Value> {
    let mut list = Vec::with_capacity(messages.len());
    // What tools returned since the model spoke, and whether its message is kept as it came.
    let mut results: Vec<Value> = Vec::new();
    let mut is_kept = false;
    for message in messages {
        if let Message::Tool { call_id, content } = message {
            let id = if is_kept { call_id.clone() } else { accepted_id(call_id) };
            results.push(json!({"type": "tool_result", "tool_use_id": id, "content": content}));
            continue;
        }
        flush(&mut results, &mut list);
        match message {
            Message::System(_) | Message::Tool { .. } => {}
            Message::User(content) => list.push(json!({"role": "user", "content": content})),
            Message::Assistant { content, tool_calls, original } => {
                let kept = original.as_ref().filter(|original| original.kind == KIND);
                is_kept = kept.is_some();
                let blocks = kept.map_or_else(
                    || blocks(content.as_deref(), tool_calls),
                    |original| original.content.clone(),
                );
                list.push(json!({"role": "assistant", "content": blocks}));
            }
        }
    }
    flush(&mut results, &mut list);
    list
}

/// Appends the message with these results, if there are any.
fn flush(results: &mut Vec<Value>, list: &mut Vec<Value>) {
    if !results.is_empty() {
        list.push(json!({"role": "user", "content": std::mem::take(results)}));
    }
}

/// The message of another provider's model.
fn blocks(content: Option<&str>, tool_calls: &[ToolCall]) -> Value {
    let text = content.filter(|text| !text.trim().is_empty());
    let text = text.map(|text| json!({"type": "text", "text": text}));
    let calls = tool_calls.iter().map(|call| {
        // Only objects are taken; what was text that is none was refused by the tool.
        let input = serde_json::from_str::<Map<String, Value>>(&call.arguments).unwrap_or_default();
        let id = accepted_id(&call.id);
        json!({"type": "tool_use", "id": id, "name": call.name, "input": input})
    });
    text.into_iter().chain(calls).collect()
}

/// The id as Anthropic takes it: other providers use more than letters, digits, `_` and `-`.
fn accepted_id(id: &str) -> String {
    let is_accepted = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    id.chars().map(|c| if is_accepted(c) { c } else { '_' }).collect()
}

fn tool(tool: &ToolSpec) -> Value {
    json!({
        "name": tool.name, "description": tool.description, "input_schema": tool.parameters,
    })
}

#[derive(Deserialize)]
struct Answer {
    content: Vec<Value>,
    #[serde(default)]
    stop_reason: Value,
    #[serde(default)]
    usage: Value,
}

/// The blocks that are read; others are kept for the next request.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Text {
        text: String,
    },
    ToolUse {
        id: String,
        name: String,
        #[serde(default)]
        input: Value,
    },
    #[serde(other)]
    Other,
}

/// Tokens read: those from the cache, or written to it, are not in the first.
const TOKENS_IN: &[&str] =
    &["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];

/// Reads the answer of a successful call; the error says what is wrong with it.
pub(super) fn reading(bytes: &[u8]) -> Result<Reading, String> {
    let answer: Answer = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    let mut text = String::new();
    let mut tool_calls = Vec::new();
    let mut kept = Vec::with_capacity(answer.content.len());
    for block in answer.content {
        match Block::deserialize(&block).map_err(|error| error.to_string())? {
            // Written by models before a call, and refused when it comes back.
            Block::Text { text } if text.trim().is_empty() => continue,
            Block::Text { text: part } => text.push_str(&part),
            Block::ToolUse { id, name, input } => {
                tool_calls.push(ToolCall::from_parts(id.into(), name, input));
            }
            Block::Other => {}
        }
        kept.push(block);
    }
    let usage = reading::usage(&answer.usage, TOKENS_IN, "output_tokens");
    let original = Original { kind: KIND, content: kept.into() };
    let content = (!text.is_empty()).then_some(text);
    let completion = Completion { content, tool_calls, original: Some(original), usage };
    Reading::new(completion, &answer.stop_reason)
}

/// Whether the server says that it does not know what it is asked for, in the words of the protocol.
pub(super) fn is_unknown(bytes: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    body.pointer("/error/type").and_then(Value::as_str) == Some("not_found_error")
}
