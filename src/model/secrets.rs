//! What is sent to a model server and not to be told of its answer, which some servers repeat it in.
//!
//! Owns which parts of a request are such secrets, and their blanking.

use std::fmt;

use reqwest::Url;

/// What stands in the place of a secret.
const BLANK: &str = "***";

/// Values of a query that are shorter, such as `v1`, are words that an error may have to say.
const SECRET_BYTES_MIN: usize = 8;

/// The secrets of one request.
pub struct Secrets(Vec<String>);

impl Secrets {
    /// The key, and all of the query that may be one: as a whole, and each value that is too long for
    /// a word, as it is written there and as it is meant.
    #[must_use]
    pub fn new(key: Option<String>, endpoint: &Url) -> Self {
        let query = endpoint.query().unwrap_or_default();
        let written = query.split('&').filter_map(|pair| pair.split_once('='));
        let written = written.map(|(_, value)| value.to_owned());
        let meant = endpoint.query_pairs().map(|(_, value)| value.into_owned());
        let values = written.chain(meant).filter(|value| value.len() >= SECRET_BYTES_MIN);
        let mut secrets: Vec<String> =
            key.into_iter().chain([query.to_owned()]).chain(values).collect();
        secrets.retain(|secret| !secret.is_empty());
        // One that holds another goes first, or a part of it would stay.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// The text without them.
    #[must_use]
    pub fn blank(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), BLANK))
    }

    /// The beginning of a longer text without them, and without what may be the beginning of one.
    #[must_use]
    pub fn blank_beginning(&self, text: &str) -> String {
        let mut text = text;
        // What is left of one that another one overlaps is the beginning of it, and goes next.
        while let Some(begun) = self.0.iter().filter_map(|secret| begun(secret, text)).max() {
            text = &text[..text.len() - begun];
        }
        self.blank(text)
    }
}

/// Bytes at the end of the text with which the secret begins.
fn begun(secret: &str, text: &str) -> Option<usize> {
    let is_end = |end: &usize| secret.is_char_boundary(*end) && text.ends_with(&secret[..*end]);
    (1..secret.len()).rev().find(is_end)
}

impl fmt::Debug for Secrets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Secrets({} of {BLANK})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(key: &str, url: &str) -> Secrets {
        Secrets::new(Some(key.to_owned()), &Url::parse(url).unwrap())
    }

    #[test]
    fn the_key_and_the_query_are_blanked_however_they_are_written() {
        let secrets = secrets("sk-hush", "http://h/v1?key=hush%2Bhush&version=v1");
        for (text, shown) in [
            ("no sk-hush", "no ***"),
            ("GET /v1?key=hush%2Bhush&version=v1", "GET /v1?***"),
            ("hush%2Bhush is hush+hush", "*** is ***"),
            ("version v1", "version v1"),
        ] {
            assert_eq!(secrets.blank(text), shown);
        }
    }

    #[test]
    fn a_secret_that_holds_another_leaves_nothing() {
        assert_eq!(secrets("hushhush", "http://h/?a=hushhush-more").blank("hushhush-more"), "***");
    }

    #[test]
    fn what_is_cut_within_a_secret_ends_before_it() {
        let secrets = secrets("sk-hush", "http://h/?key=hush-hush");
        for (text, shown) in [
            ("no sk-hus", "no "),
            ("no sk-hush", "no "),
            ("of key=hush-hus", "of "),
            ("nothing", "nothing"),
            ("sk", ""),
            ("", ""),
        ] {
            assert_eq!(secrets.blank_beginning(text), shown, "{text}");
        }
    }
}
