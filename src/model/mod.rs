//! Chat models: what an agent asks for its next words.
//!
//! Owns the conversation types, the [`ChatModel`] trait, its providers and the errors a caller sees.
//! Refuses to know what an agent is, which provider comes first, or where in the mesh it runs.
//! Driven by `agent`, one call at a time; dropping the future of a call ends it and its connection.

pub mod anthropic;
mod client;
pub mod echo;
mod error;
pub mod mesh;
pub mod ollama;
pub mod openai;
mod reading;
mod secrets;
mod server;
mod types;

pub use client::{Access, Cause, Causes, causes, http_client, http_client_with};
pub use error::{ErrorCode, ModelError};
pub use secrets::Secrets;
pub use server::{Key, Settings};
pub use types::{
    Availability, ChatModel, ChatRequest, CheckFuture, Completion, CompletionFuture, Message,
    Original, TokenUsage, ToolCall, ToolSpec,
};
