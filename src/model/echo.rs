//! The echo provider: answers without any model server, for demos and tests.
//!
//! Owns nothing but a delay. Refuses to pretend: every answer says that no model was asked, and no
//! tokens are reported because none were used.

use std::time::Duration;

use super::{
    Availability, ChatModel, ChatRequest, CheckFuture, Completion, CompletionFuture, Message,
};

/// The longest delay that may be configured, in milliseconds.
pub const DELAY_MS_MAX: u64 = 600_000;

/// Repeats what the user said last.
#[derive(Debug, Clone)]
pub struct Echo {
    name: String,
    delay: Duration,
}

impl Echo {
    /// An echo under this model name that waits so long before each answer.
    #[must_use]
    pub fn new(name: impl Into<String>, delay: Duration) -> Self {
        Self { name: name.into(), delay }
    }
}

impl ChatModel for Echo {
    fn kind(&self) -> &'static str {
        "echo"
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn complete<'a>(&'a self, request: ChatRequest<'a>) -> CompletionFuture<'a> {
        Box::pin(async move {
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
            let query = request
                .messages
                .iter()
                .rev()
                .find_map(|message| match message {
                    Message::User(text) => Some(text.as_str()),
                    Message::System(_) | Message::Assistant { .. } | Message::Tool { .. } => None,
                })
                .unwrap_or_default();
            Ok(Completion {
                content: Some(format!(
                    "echo: {query}  (this is the echo provider; no model was asked)"
                )),
                ..Completion::default()
            })
        })
    }

    fn check(&self, _: Duration) -> CheckFuture<'_> {
        Box::pin(std::future::ready(Ok(Availability::Answers)))
    }
}
