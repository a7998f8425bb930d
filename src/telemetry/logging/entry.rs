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
pub struct Entry<'a, F: ?Sized = [Field<'a>]> {
    /// How severe it is.
    pub level: Level,
    /// The module it comes from, by its path in the code; `access` for requests.
    pub target: &'a str,
    /// What happened, in words that stand alone.
    pub message: &'a [u8],
    /// Values, in the order in which they are written.
    pub fields: &'a F,
    /// File and line in the code.
    pub place: Option<(&'a str, u32)>,
}

/// Names, of letters, digits, `_` and `.`, with their values.
///
/// A trait, so that the requests, which are many, need no list of them.
pub trait Fields {
    /// Hands over each in its turn.
    fn each(&self, to: &mut impl FieldSink);
}

/// Where fields are handed over: a shape.
pub trait FieldSink {
    /// Bytes from anywhere, mostly UTF-8.
    fn text(&mut self, name: &str, value: &[u8]);
    /// What needs no quotes: a number or a truth.
    fn plain(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>));
    /// A number with decimals.
    fn real(&mut self, name: &str, value: f64);

    /// A number not below 0.
    #[inline]
    fn natural(&mut self, name: &str, value: u64) {
        self.plain(name, |out| append_number(out, value));
    }

    /// Milliseconds, to the microsecond.
    #[inline]
    fn ms(&mut self, name: &str, value: Duration) {
        self.plain(name, |out| append_ms(out, value));
    }
}

/// A name and its value.
pub type Field<'a> = (&'a str, Value<'a>);

/// The value of a field.
#[derive(Debug, Clone)]
pub enum Value<'a> {
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
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(text: &'a [u8]) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl Fields for [Field<'_>] {
    fn each(&self, to: &mut impl FieldSink) {
        for (name, value) in self {
            match value {
                Value::Text(text) => to.text(name, text),
                Value::Natural(number) => to.natural(name, *number),
                Value::Integer(number) => to.plain(name, |out| append_number(out, *number)),
                Value::Real(number) => to.real(name, *number),
                Value::Bool(value) => to.plain(name, |out| {
                    out.extend_from_slice(if *value { b"true" } else { b"false" });
                }),
            }
        }
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
    let ms = duration.as_secs().saturating_mul(1000);
    append_number(out, ms.saturating_add(duration.subsec_millis().into()));
    out.push(b'.');
    append_padded(out, duration.subsec_micros() % 1000, 3);
}

/// With zeros in front, to this width, at most 6.
#[inline]
pub(super) fn append_padded(out: &mut Vec<u8>, mut number: u32, width: usize) {
    let mut digits = [b'0'; 6];
    for digit in digits[6 - width..].iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[6 - width..]);
}
