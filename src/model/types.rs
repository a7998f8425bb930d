//! A conversation with a chat model, and the trait every provider implements.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use serde_json::{Value, json};

use super::ModelError;

/// How many tool calls of one answer are read; real models ask for a handful.
pub(super) const TOOL_CALLS_MAX: usize = 32;

/// How much of a tool's name is read, in bytes; no tool has a longer one, so that a name that was cut
/// is none.
const TOOL_NAME_BYTES_MAX: usize = 128;

/// A chat model of some provider.
pub trait ChatModel: Send + Sync + fmt::Debug {
    /// The provider kind, such as `openai_compat`.
    fn kind(&self) -> &'static str;

    /// The name of the model, as the agent file gives it.
    fn name(&self) -> &str;

    /// Asks for the next message of a conversation.
    ///
    /// Dropping the future ends the call and closes its connection.
    fn complete<'a>(&'a self, request: ChatRequest<'a>) -> CompletionFuture<'a>;

    /// Looks whether it could be asked, without asking it; takes no longer than `limit`.
    fn check(&self, limit: Duration) -> CheckFuture<'_>;
}

/// What a model is asked.
#[derive(Debug, Clone, Copy)]
pub struct ChatRequest<'a> {
    /// The conversation.
    pub messages: &'a [Message],
    /// May be empty: then none are offered.
    pub tools: &'a [ToolSpec],
    /// The span of the call, as the header `traceparent` says it. For nodes of the mesh: a provider
    /// does not get it.
    pub traceparent: Option<&'a str>,
}

/// What [`ChatModel::check`] returns.
pub type CheckFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Availability, ModelError>> + Send + 'a>>;

/// What is known of a model that could be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Availability {
    /// Its server answers and takes the key; it lists the model, or does not say what it has.
    Answers,
    /// Its server answers and takes the key, but its list of models lacks this one.
    NotListed,
    /// Its server answers, but has no list of models: this status instead.
    NoList(u16),
    /// Static peers are asked for it, and what they have is not known before.
    AskedOfPeers,
}

/// What [`ChatModel::complete`] returns.
pub type CompletionFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Completion, ModelError>> + Send + 'a>>;

/// One message of a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Instructions that stand above the conversation.
    System(String),
    /// What the user said.
    User(String),
    /// What the model said before.
    Assistant {
        /// Its words, if any.
        content: Option<String>,
        /// The tools it asked for, in order.
        tool_calls: Vec<ToolCall>,
        /// The message as it came, which its provider may want back.
        original: Option<Original>,
    },
    /// What a tool returned.
    Tool {
        /// The id of the [`ToolCall`] this answers.
        call_id: String,
        /// The observation, as text.
        content: String,
    },
}

/// A model's wish to have a tool called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// Links the call with its observation; never empty.
    pub id: String,
    /// Name of the tool, cut where it is longer than any.
    pub name: String,
    /// Its arguments as the model wrote them: JSON text, or what the model took for it.
    pub arguments: String,
}

impl ToolCall {
    /// A call as a server tells it: some leave out the id, which the next request needs, or make it
    /// a number; arguments are text or the object itself.
    pub(super) fn from_parts(id: Value, mut name: String, arguments: Value) -> Self {
        let id = match id {
            Value::String(id) if !id.is_empty() => id,
            Value::Number(id) => id.to_string(),
            _ => format!("call_{:016x}", fastrand::u64(..)),
        };
        name.truncate(name.floor_char_boundary(TOOL_NAME_BYTES_MAX));
        let arguments = match arguments {
            Value::String(text) => text,
            Value::Null => String::new(),
            object => object.to_string(),
        };
        Self { id, name, arguments }
    }
}

/// A tool as it is offered to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Name of the tool.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub parameters: Value,
}

impl ToolSpec {
    /// As the OpenAI protocol and that of Ollama offer it.
    pub(super) fn as_function(&self) -> Value {
        json!({
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.description,
                "parameters": self.parameters,
            },
        })
    }
}

/// A model's next message.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Completion {
    /// Its words, if any.
    pub content: Option<String>,
    /// The tools it asks for; empty when it is done.
    pub tool_calls: Vec<ToolCall>,
    /// The message as it came, for providers that want it back unchanged.
    pub original: Option<Original>,
    /// Tokens used; `None` when the provider reports none.
    pub usage: Option<TokenUsage>,
}

/// A model's message in the words of its protocol. It may hold what no other protocol has, such as
/// reasoning with a signature; models of another kind leave it unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// The [`ChatModel::kind`] whose words these are.
    pub kind: &'static str,
    /// Those words.
    pub content: Value,
}

/// Tokens used by one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenUsage {
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
}
