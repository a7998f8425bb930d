//! Why a model could not answer, in words for the caller.
//!
//! No key, prompt or body ever goes into an error.

use std::fmt;

use serde::{Serialize, Serializer};

/// A model call failed. Nothing was answered; the fault is the provider's, the network's or the
/// agent file's, and `hint` says which to look at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ModelError {
    /// For programs.
    pub code: ErrorCode,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl ModelError {
    /// An error of this code.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}

/// The codes of [`ModelError`]. As JSON and as text they are the names given with each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// `model_dns_resolution_failed`: the endpoint's name has no address.
    DnsResolutionFailed,
    /// `model_connection_refused`: nothing listens at the endpoint.
    ConnectionRefused,
    /// `model_timeout`: no complete answer in time.
    Timeout,
    /// `model_missing_api_key`: the environment variable that should hold the key is unset.
    MissingApiKey,
    /// `model_ollama_chat_404`: Ollama does not have the model, or is not what answers.
    OllamaNotFound,
    /// `model_no_eligible_provider`: no alive node of the mesh serves the model.
    NoEligibleProvider,
    /// `model_all_providers_failed`: each model of the agent failed, or its only one failed in a
    /// way that has no code of its own; the message says how.
    AllProvidersFailed,
}

impl ErrorCode {
    /// The code as it appears in answers and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DnsResolutionFailed => "model_dns_resolution_failed",
            Self::ConnectionRefused => "model_connection_refused",
            Self::Timeout => "model_timeout",
            Self::MissingApiKey => "model_missing_api_key",
            Self::OllamaNotFound => "model_ollama_chat_404",
            Self::NoEligibleProvider => "model_no_eligible_provider",
            Self::AllProvidersFailed => "model_all_providers_failed",
        }
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}
