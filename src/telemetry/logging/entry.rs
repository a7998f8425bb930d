//! An event before it has a shape: what the lines of all kinds are made of.
//!
//! Owns the bounds on what comes from outside. Knows no shape and no stream.

use std::borrow::Cow;
use std::time::Duration;

use tracing::Level;

/// Longer values are cut to this.
pub const VALUE_BYTES_MAX: usize = 4096;

/// One event.
#[derive(Debug)]
pub struct Entry<'a> {
    /// How severe it is.
    pub level: Level,
    /// The module it comes from, by its path in the code; `access` for requests.
    pub target: &'a str,
    /// What happened, in words that stand alone.
    pub message: &'a [u8],
    /// Values, in the order in which they are written.
    pub fields: &'a [Field<'a>],
    /// File and line in the code.
    pub place: Option<(&'a str, u32)>,
}

/// A name, of letters, digits, `_` and `.`, and its value.
pub type Field<'a> = (&'a str, Value<'a>);

/// The value of a field.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// The field is left out.
    Missing,
    /// Bytes from anywhere, mostly UTF-8.
    Text(Cow<'a, [u8]>),
    /// A number not below 0.
    Natural(u64),
    /// A number that may be below 0.
    Integer(i64),
    /// A number with decimals.
    Real(f64),
    /// A truth.
    Bool(bool),
    /// Milliseconds, to the microsecond.
    Ms(Duration),
}

impl<'a> Value<'a> {
    /// Borrowed text; missing when empty.
    #[must_use]
    pub fn text_unless_empty(text: &'a [u8]) -> Self {
        if text.is_empty() { Self::Missing } else { Self::Text(Cow::Borrowed(text)) }
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

/// The part of a value that is written, and whether some of it is not.
pub(super) fn bounded(value: &[u8]) -> (&[u8], bool) {
    match value.split_at_checked(VALUE_BYTES_MAX) {
        Some((kept, rest)) if !rest.is_empty() => (kept, true),
        _ => (value, false),
    }
}

/// The number, in decimals.
pub(super) fn append_number(out: &mut Vec<u8>, number: impl itoa::Integer) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// The duration as a number of milliseconds with three decimals.
pub(super) fn append_ms(out: &mut Vec<u8>, duration: Duration) {
    let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    append_number(out, us / 1000);
    out.push(b'.');
    append_padded(out, u32::try_from(us % 1000).unwrap_or_default(), 3);
}

/// With zeros in front, to this width, at most 6.
pub(super) fn append_padded(out: &mut Vec<u8>, number: u32, width: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    let zeros = width.saturating_sub(digits.len());
    out.extend_from_slice(&b"000000"[..zeros]);
    out.extend_from_slice(digits);
}
