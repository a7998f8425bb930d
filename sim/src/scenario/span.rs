//! Lengths of time as scenario files write them: `250ms`, `4.2s`, `2min`.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A length of time in a scenario file: a number and `us`, `ms`, `s`, `min` or `h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span(pub Duration);

impl Span {
    /// This many seconds.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let micros = match unit {
            "us" => 1.0,
            "ms" => 1e3,
            "s" => 1e6,
            "min" => 60e6,
            "h" => 3_600e6,
            _ => return None,
        };
        let micros = number.parse::<f64>().ok()? * micros;
        Some(Self(Duration::from_micros(micros.round() as u64)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || de::Error::custom(format!("`{text}` is no length of time such as 4.2s"));
        Self::parse(&text).ok_or_else(wrong)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.as_micros();
        if micros.is_multiple_of(1_000_000) {
            write!(formatter, "{}s", micros / 1_000_000)
        } else if micros.is_multiple_of(1_000) {
            write!(formatter, "{}ms", micros / 1_000)
        } else {
            write!(formatter, "{micros}us")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_and_written() {
        let micros = |text: &str| Span::parse(text).map(|span| span.0.as_micros());
        for (text, expected) in [
            ("250ms", Some(250_000)),
            ("4.2s", Some(4_200_000)),
            ("2min", Some(120_000_000)),
            ("1h", Some(3_600_000_000)),
            ("7us", Some(7)),
            ("4", None),
            ("s", None),
            ("-1s", None),
            ("1 s", None),
            ("1..2s", None),
        ] {
            assert_eq!(micros(text), expected, "{text}");
        }
        for text in ["250ms", "4200ms", "120s", "7us"] {
            assert_eq!(Span::parse(text).map(|span| span.to_string()).as_deref(), Some(text));
        }
    }
}
