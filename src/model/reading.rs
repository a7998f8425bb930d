//! What the answer of a successful call comes to, whatever the protocol.
//!
//! Owns the words that protocols have for why a model stopped. Refuses to take for an answer what is
//! none: no words, a call whose arguments end in the middle, a refusal.

use super::Completion;
use super::types::TOOL_CALLS_MAX;

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
    pub(super) fn new(completion: Completion, stop_reason: Option<&str>) -> Result<Self, String> {
        let calls = completion.tool_calls.len();
        if calls > TOOL_CALLS_MAX {
            return Err(format!("{calls} tool calls, at most {TOOL_CALLS_MAX} are read"));
        }
        let has_words = completion.content.as_ref().is_some_and(|text| !text.trim().is_empty());
        Ok(match stop_reason {
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
