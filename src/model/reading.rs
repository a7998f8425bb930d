//! What the answer of a successful call comes to, whatever the protocol.
//!
//! Owns the words that protocols have for why a model stopped. Refuses to take for an answer what is
//! none: no words, a call whose arguments end in the middle, a refusal.

use serde_json::Value;

use super::types::TOOL_CALLS_MAX;
use super::{Completion, TokenUsage};

/// What a successful call brought.
#[derive(Debug)]
pub(super) enum Reading {
    /// A message, perhaps of a text that ends where its tokens did.
    Whole(Completion),
    /// The model, or who watches over it, will not answer.
    Refusal,
    /// The tokens ended before there was text, or within a tool call.
    Cut,
}

impl Reading {
    /// Of a message, and the protocol's word for why it ends. The error says what is wrong with it.
    pub(super) fn new(completion: Completion, stop_reason: &Value) -> Result<Self, String> {
        let calls = completion.tool_calls.len();
        if calls > TOOL_CALLS_MAX {
            return Err(format!("{calls} tool calls, at most {TOOL_CALLS_MAX} are read"));
        }
        let has_words = completion.content.as_ref().is_some_and(|text| !text.trim().is_empty());
        Ok(match stop_reason.as_str() {
            Some("refusal" | "content_filter") => Self::Refusal,
            Some("length" | "max_tokens" | "model_context_window_exceeded")
                if !has_words || calls > 0 =>
            {
                Self::Cut
            }
            Some(_) | None => Self::Whole(completion),
        })
    }
}

/// The words of a message: text, or a list of parts of which some are text.
pub(super) fn words(content: Value) -> Result<Option<String>, String> {
    match content {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text)),
        Value::Array(parts) => {
            let text = |part: &Value| part.get("text").unwrap_or(part).as_str().map(str::to_owned);
            Ok(Some(parts.iter().filter_map(text).collect()))
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err("its content is neither text nor a list of parts".to_owned())
        }
    }
}

/// The sums of these fields; what is no number of tokens is not counted, and without any there is no
/// usage.
pub(super) fn usage(body: &Value, read: &[&str], written: &str) -> Option<TokenUsage> {
    let tokens = |name: &str| body.get(name).and_then(Value::as_u64);
    let tokens_in = read.iter().filter_map(|name| tokens(name)).reduce(u64::saturating_add);
    let tokens_out = tokens(written);
    (tokens_in.is_some() || tokens_out.is_some()).then(|| TokenUsage {
        tokens_in: tokens_in.unwrap_or_default(),
        tokens_out: tokens_out.unwrap_or_default(),
    })
}
