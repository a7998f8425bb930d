//! Which values are secrets, by the names of their keys.
//!
//! Owns the list of names and the blanking of values. Secrets never appear in a message, a log, an
//! answer or a printed configuration.

use serde_json::Value;
use url::Url;

/// What stands in the place of a secret.
pub const BLANK: &str = "***";

/// Keys whose values are secrets.
const KEYS: &[&str] =
    &["api_key", "access_token", "app_secret", "verify_token", "password", "secret", "token"];

/// The key that has the name of a variable, into which people put the secret itself by mistake.
const VARIABLE_KEY: &str = "api_key_env";

/// The longest name of a variable, in bytes; secrets of letters and digits alone are mostly longer.
const VARIABLE_BYTES_MAX: usize = 64;

/// Whether the value of a key is a secret; `key` is its name alone, without a path.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    KEYS.contains(&key)
}

/// Whether the text can be the name of an environment variable, and need not be a secret that was
/// written in its place: letters, digits and `_`, at most 64, no digit first.
#[must_use]
pub fn is_variable_name(text: &str) -> bool {
    text.len() <= VARIABLE_BYTES_MAX
        && text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether this value of this key is, or may be, a secret.
fn may_be_secret(key: &str, value: &Value) -> bool {
    let is_name = || value.as_str().is_some_and(is_variable_name);
    !value.is_null() && (is_secret(key) || (key == VARIABLE_KEY && !is_name()))
}

/// The value as it may be shown: with [`BLANK`] for each secret in it, whatever its type, and for
/// the user, password and query of each URL: many a service takes its key as a query.
#[must_use]
pub fn without_secrets(value: Value) -> Value {
    blanked(value, &|text| match Url::parse(&text) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            without_user(without_query(text))
        }
        Ok(_) => without_query(text),
        Err(_) => text,
    })
}

/// A wrong value as a message repeats it: as JSON, without secrets. `key` is its name alone, without
/// a path. As a wrong URL need not be one, whatever stands where a user or a query may stand is
/// blanked, without a scheme too.
#[must_use]
pub fn repeated(key: &str, value: &Value) -> String {
    if may_be_secret(key, value) {
        return BLANK.to_owned();
    }
    blanked(value.clone(), &|text| after_question_mark_blanked(without_user(text), 0)).to_string()
}

fn blanked(value: Value, text: &impl Fn(String) -> String) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| {
                let is_blank = may_be_secret(&key, &value);
                (key, if is_blank { BLANK.into() } else { blanked(value, text) })
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(|item| blanked(item, text)).collect(),
        Value::String(content) => text(content).into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

/// The text with [`BLANK`] between `://` and the last `@`. Without `://` it counts as a URL whose
/// scheme was forgotten, if it has a password.
fn without_user(text: String) -> String {
    let Some(end) = text.rfind('@') else { return text };
    let before = &text[..end];
    match before.find("://") {
        Some(scheme) => format!("{}{BLANK}{}", &text[..scheme + "://".len()], &text[end..]),
        None if before.contains(':') => format!("{BLANK}{}", &text[end..]),
        None => text,
    }
}

/// The text with [`BLANK`] after the first `?` that follows `://`.
fn without_query(text: String) -> String {
    let Some(scheme) = text.find("://") else { return text };
    after_question_mark_blanked(text, scheme)
}

/// The text with [`BLANK`] after the first `?` from this position on.
fn after_question_mark_blanked(text: String, start: usize) -> String {
    match text[start..].find('?') {
        Some(query) => format!("{}?{BLANK}", &text[..start + query]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn secrets_of_any_type_are_blanked() {
        let value =
            json!([{"token": 4711, "secret": ["a"], "password": {"x": 1}, "api_key": null}]);
        let blank = json!([{"token": "***", "secret": "***", "password": "***", "api_key": null}]);
        assert_eq!(repeated("list", &value), blank.to_string());
        assert_eq!(without_secrets(value), blank);
        assert_eq!(repeated("token", &json!([4711])), "***");
    }

    #[test]
    fn what_is_no_name_of_a_variable_is_blanked_in_its_place() {
        let long = "A".repeat(65);
        for (text, is_name) in [
            ("OPENAI_API_KEY", true),
            ("_k1", true),
            ("sk-proj-4711", false),
            ("1KEY", false),
            ("", false),
            ("\u{e9}", false),
            (&long[1..], true),
            (&long, false),
        ] {
            assert_eq!(is_variable_name(text), is_name, "{text}");
            let shown = if is_name { text } else { BLANK };
            let document = json!({"api_key_env": text});
            assert_eq!(without_secrets(document), json!({"api_key_env": shown}));
        }
        assert_eq!(repeated("api_key_env", &json!(4711)), "***");
    }

    #[test]
    fn users_of_urls_are_blanked() {
        for (text, shown) in [
            ("http://me:hush@h:1/v1", "http://***@h:1/v1"),
            ("http://me@h", "http://***@h"),
            ("postgres://me:hush@h/db", "postgres://***@h/db"),
        ] {
            assert_eq!(without_secrets(text.into()), shown);
            assert_eq!(repeated("url", &text.into()), format!("\"{shown}\""));
        }
        for text in ["http://h/a@b", "Write to me@h: see http://h"] {
            assert_eq!(without_secrets(text.into()), text);
        }
    }

    #[test]
    fn queries_of_urls_are_blanked() {
        for (text, shown) in [
            ("https://h/v1?key=hush&mail=a@b", "https://h/v1?***"),
            ("http://me:hush@h/?q=a@b", "http://***@h/?***"),
            ("http://h?", "http://h?***"),
        ] {
            assert_eq!(without_secrets(text.into()), shown);
        }
        assert_eq!(repeated("url", &"ftp://h/v1?key=hush".into()), "\"ftp://h/v1?***\"");
        assert_eq!(repeated("url", &"h:1/v1?key=hush".into()), "\"h:1/v1?***\"");
        for text in ["Who? See http://h/?a=1.", "what?", "/v1?x=1"] {
            assert_eq!(without_secrets(text.into()), text);
        }
    }

    #[test]
    fn users_of_what_is_no_url_are_not_repeated() {
        for (text, shown) in [
            ("http://me:hu/sh@h", "http://***@h"),
            ("http://me:hu@sh@h", "http://***@h"),
            ("me:hush@h:8000", "***@h:8000"),
            ("name@h", "name@h"),
        ] {
            assert_eq!(repeated("url", &text.into()), format!("\"{shown}\""));
        }
    }
}
