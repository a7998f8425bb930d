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

/// Whether the value of a key is a secret; `key` is its name alone, without a path.
#[must_use]
pub fn is_secret(key: &str) -> bool {
    KEYS.contains(&key)
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
/// blanked.
#[must_use]
pub fn repeated(key: &str, value: &Value) -> String {
    if is_secret(key) && !value.is_null() {
        return BLANK.to_owned();
    }
    blanked(value.clone(), &|text| without_query(without_user(text))).to_string()
}

fn blanked(value: Value, text: &impl Fn(String) -> String) -> Value {
    match value {
        Value::Object(map) => map
            .into_iter()
            .map(|(key, value)| {
                let is_blank = is_secret(&key) && !value.is_null();
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
    match text[scheme..].find('?') {
        Some(query) => format!("{}?{BLANK}", &text[..scheme + query]),
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
