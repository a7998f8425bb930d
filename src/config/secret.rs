//! Which values are secrets, by the names of their keys.
//!
//! Owns the list of names and the blanking of values. Secrets never appear in a message, a log, an
//! answer or a printed configuration.

use serde_json::Value;

/// What stands in the place of a secret.
pub const BLANK: &str = "***";

/// Keys whose values are secrets.
const KEYS: &[&str] =
    &["api_key", "access_token", "app_secret", "verify_token", "password", "secret", "token"];

/// Whether the value of a key is a secret; `key` is its name alone, without a path.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    KEYS.contains(&key)
}

/// The value as it may be shown: with [`BLANK`] for each text that is a secret.
#[must_use]
pub fn without_secrets(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if is_secret(key) && value.is_string() {
                    *value = BLANK.into();
                } else {
                    *value = without_secrets(value.take());
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                *item = without_secrets(item.take());
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    value
}
