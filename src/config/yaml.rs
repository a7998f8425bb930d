//! The one place that touches the YAML library.

use serde::de::DeserializeOwned;

/// The text is no YAML, or not of the expected shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct YamlError {
    /// Line, counted from 1, where known.
    pub line: Option<usize>,
    /// What is wrong, as the YAML library puts it.
    pub message: String,
}

/// Reads a value from YAML text.
///
/// # Errors
/// The first thing that is wrong with the text.
pub fn read<T: DeserializeOwned>(text: &str) -> Result<T, YamlError> {
    serde_yaml::from_str(text).map_err(|error| YamlError {
        line: error.location().map(|location| location.line()),
        message: error.to_string(),
    })
}
