//! The shapes of a line: text for people, JSON for programs, and the fields of systemd's journal.
//!
//! Owns what each looks like. One function per shape, used for the events of the code and for the
//! requests of the access log alike, so that both look the same everywhere. Nobody may begin a line
//! or a field in somebody else's log: what comes from outside is escaped.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use tracing::Level;

use super::entry::{Entry, FieldSink, Fields, append_padded, bounded};
use super::journal;

/// What lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// For people.
    Text(Colour),
    /// An object a line.
    Json,
    /// Messages to journald, each behind its length.
    Journal,
}

/// Whether text has colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// For a terminal.
    On,
    /// For everything else.
    Off,
}

impl Shape {
    /// As in `spec.log.format`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Json => "json",
            Self::Journal => "journald",
        }
    }

    /// Appends a line, which the clock has told the time of.
    pub(super) fn append<F: Fields + ?Sized>(
        self,
        out: &mut Vec<u8>,
        clock: &Clock,
        entry: &Entry<'_, F>,
    ) {
        match self {
            Self::Text(colour) => text(out, clock, entry, colour),
            Self::Json => json(out, clock, entry),
            Self::Journal => journal::append(out, entry),
        }
    }
}

/// The moment of a line; knows how the second of the line before was written.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    micros: u32,
    stamp: String,
}

impl Clock {
    pub(super) fn set(&mut self, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = now.as_secs();
        if self.stamp.is_empty() || self.second != second {
            let seconds = i64::try_from(second).unwrap_or_default();
            let stamp = Timestamp::from_second(seconds).unwrap_or_default().to_string();
            stamp.trim_end_matches('Z').clone_into(&mut self.stamp);
            self.second = second;
        }
        self.micros = now.subsec_micros();
    }

    /// As in `2026-11-22T04:05:06.789012Z`.
    fn append(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.stamp.as_bytes());
        out.push(b'.');
        append_padded(out, self.micros, 6);
        out.push(b'Z');
    }
}

/// `TIME LEVEL module: message name=value …`.
fn text<F: Fields + ?Sized>(
    out: &mut Vec<u8>,
    clock: &Clock,
    entry: &Entry<'_, F>,
    colour: Colour,
) {
    let is_coloured = colour == Colour::On;
    if is_coloured {
        out.extend_from_slice(b"\x1b[2m");
    }
    clock.append(out);
    let (before, name) = match entry.level {
        Level::ERROR => (&b"\x1b[0m \x1b[1;31m"[..], "ERROR"),
        Level::WARN => (&b"\x1b[0m \x1b[33m"[..], " WARN"),
        Level::INFO => (&b"\x1b[0m \x1b[32m"[..], " INFO"),
        Level::DEBUG => (&b"\x1b[0m \x1b[34m"[..], "DEBUG"),
        Level::TRACE => (&b"\x1b[0m \x1b[35m"[..], "TRACE"),
    };
    out.extend_from_slice(if is_coloured { before } else { b" " });
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(if is_coloured { b"\x1b[0m " } else { b" " });
    sentence(out, entry);
    out.push(b'\n');
}

/// `module: message name=value …`, without a time and without a level.
pub(super) fn sentence<F: Fields + ?Sized>(out: &mut Vec<u8>, entry: &Entry<'_, F>) {
    out.extend_from_slice(module(entry.target).as_bytes());
    out.extend_from_slice(b": ");
    append_words(out, entry.message);
    entry.fields.each(&mut Words(out));
}

/// Fields as ` name=value`.
struct Words<'a>(&'a mut Vec<u8>);

impl FieldSink for Words<'_> {
    #[inline]
    fn text(&mut self, name: &str, value: &[u8]) {
        self.plain(name, |out| append_value(out, value));
    }

    #[inline]
    fn plain(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.push(b' ');
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'=');
        write(self.0);
    }

    fn real(&mut self, name: &str, value: f64) {
        self.plain(name, |out| out.extend_from_slice(value.to_string().as_bytes()));
    }
}

/// The module by the name that sets its level: `gossip` for `astromesh::gossip::join`.
fn module(target: &str) -> &str {
    match target.strip_prefix("astromesh::") {
        Some(inside) => inside.split_once("::").map_or(inside, |(module, _)| module),
        None => target,
    }
}

/// A message: spaces stay, what could end the line does not.
fn append_words(out: &mut Vec<u8>, words: &[u8]) {
    let (kept, is_cut) = bounded(words);
    if is_plain(kept, b' ') {
        out.extend_from_slice(kept);
    } else {
        append_escaped(out, kept, &[]);
    }
    append_cut(out, is_cut);
}

/// A value: as it is when it is one word, else in quotes.
fn append_value(out: &mut Vec<u8>, value: &[u8]) {
    let (kept, is_cut) = bounded(value);
    if !kept.is_empty() && is_plain(kept, b'!') {
        out.extend_from_slice(kept);
        return append_cut(out, is_cut);
    }
    out.push(b'"');
    append_escaped(out, kept, &['"', '\\']);
    append_cut(out, is_cut);
    out.push(b'"');
}

/// Whether all bytes are visible ASCII from `lowest` on, and none a quote or backslash. This is the
/// larger part of the work on a line, so eight bytes are looked at in one step.
fn is_plain(bytes: &[u8], lowest: u8) -> bool {
    let Some(last) = bytes.last_chunk() else {
        let is_plain = |byte: &u8| (lowest..=b'~').contains(byte) && !b"\"\\".contains(byte);
        return bytes.iter().all(is_plain);
    };
    // The last step may look at some bytes again.
    let (words, _) = bytes.as_chunks();
    words.iter().chain([last]).all(|word| are_plain(u64::from_ne_bytes(*word), lowest))
}

/// [`is_plain`] for the eight bytes of a word. Each difference has the high bit of a byte set if a
/// byte is below the subtrahend; borrows may set more, but only where one was set for that reason.
const fn are_plain(word: u64, lowest: u8) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    const fn has_below(word: u64, least: u8) -> u64 {
        word.wrapping_sub(ONES * least as u64) & !word & HIGH
    }
    const fn has(word: u64, byte: u8) -> u64 {
        has_below(word ^ (ONES * byte as u64), 1)
    }
    let not_ascii = word & HIGH;
    let escaped = has(word, b'"') | has(word, b'\\') | has(word, 0x7f);
    not_ascii | has_below(word, lowest) | escaped == 0
}

fn append_cut(out: &mut Vec<u8>, is_cut: bool) {
    if is_cut {
        out.extend_from_slice("…".as_bytes());
    }
}

/// What a terminal would act on or cannot show, and `also`, as in a literal of Rust; what is no
/// UTF-8 as `\xNN`.
fn append_escaped(out: &mut Vec<u8>, text: &[u8], also: &[char]) {
    let mut utf8 = [0; 4];
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            if matches!(char, '"' | '\'' | '\\') && !also.contains(&char) {
                out.extend_from_slice(char.encode_utf8(&mut utf8).as_bytes());
                continue;
            }
            for escaped in char.escape_debug() {
                out.extend_from_slice(escaped.encode_utf8(&mut utf8).as_bytes());
            }
        }
        for byte in chunk.invalid() {
            out.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
        }
    }
}

/// `{"ts":…,"level":…,"target":…,"message":…,` and the fields.
fn json<F: Fields + ?Sized>(out: &mut Vec<u8>, clock: &Clock, entry: &Entry<'_, F>) {
    out.extend_from_slice(b"{\"ts\":\"");
    clock.append(out);
    out.extend_from_slice(b"\",\"level\":\"");
    out.extend_from_slice(level_name(entry.level).as_bytes());
    out.extend_from_slice(b"\",\"target\":\"");
    out.extend_from_slice(entry.target.as_bytes());
    out.extend_from_slice(b"\",\"message\":");
    append_string(out, entry.message);
    entry.fields.each(&mut Members(out));
    out.extend_from_slice(b"}\n");
}

/// Fields as `,"name":value`.
struct Members<'a>(&'a mut Vec<u8>);

impl FieldSink for Members<'_> {
    #[inline]
    fn text(&mut self, name: &str, value: &[u8]) {
        self.plain(name, |out| append_string(out, value));
    }

    #[inline]
    fn plain(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.0.extend_from_slice(b",\"");
        // A name must not be there twice, and these are taken.
        if matches!(name, "ts" | "level" | "target" | "message") {
            self.0.extend_from_slice(b"field.");
        }
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        write(self.0);
    }

    fn real(&mut self, name: &str, value: f64) {
        let text = if value.is_finite() { value.to_string() } else { "null".to_owned() };
        self.plain(name, |out| out.extend_from_slice(text.as_bytes()));
    }
}

/// As in configuration.
const fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// A string of JSON; what is no UTF-8 is replaced.
fn append_string(out: &mut Vec<u8>, text: &[u8]) {
    let (kept, is_cut) = bounded(text);
    out.push(b'"');
    if is_plain(kept, b' ') {
        out.extend_from_slice(kept);
    } else {
        let start = out.len();
        let text = String::from_utf8_lossy(kept);
        serde_json::to_writer(&mut *out, &text).expect("a string has a form in JSON");
        // The quotes are written here, with what is cut inside.
        out.remove(start);
        out.pop();
    }
    append_cut(out, is_cut);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::Duration;

    use super::*;
    use crate::telemetry::logging::entry::{VALUE_BYTES_MAX, Value};

    fn line(shape: Shape, entry: &Entry<'_>) -> String {
        let mut clock = Clock::default();
        clock.set(UNIX_EPOCH + Duration::from_micros(1_795_320_306_000_089));
        let mut out = Vec::new();
        shape.append(&mut out, &clock, entry);
        String::from_utf8(out).unwrap()
    }

    fn entry<'a>(message: &'a str, fields: &'a [(&'a str, Value<'a>)]) -> Entry<'a> {
        Entry {
            level: Level::WARN,
            target: "astromesh::gossip::join",
            message: message.as_bytes(),
            fields,
            place: None,
        }
    }

    #[test]
    fn values_of_all_kinds_are_there_in_each_shape() {
        let fields = [
            ("seed", Value::from(&b"http://a:8000"[..])),
            ("error", Value::Text(Cow::Owned(b"not \"now\"".to_vec()))),
            ("tried", Value::Natural(3)),
            ("behind", Value::Integer(-4)),
            ("ratio", Value::Real(0.5)),
            ("is_last", Value::Bool(true)),
        ];
        let entry = entry("a seed refuses this node", &fields);
        let text = "gossip: a seed refuses this node seed=http://a:8000 error=\"not \\\"now\\\"\" \
                    tried=3 behind=-4 ratio=0.5 is_last=true\n";
        assert_eq!(
            line(Shape::Text(Colour::Off), &entry),
            format!("2026-11-22T04:05:06.000089Z  WARN {text}")
        );
        assert_eq!(
            line(Shape::Text(Colour::On), &entry),
            format!("\x1b[2m2026-11-22T04:05:06.000089Z\x1b[0m \x1b[33m WARN\x1b[0m {text}")
        );
        assert_eq!(
            line(Shape::Json, &entry),
            "{\"ts\":\"2026-11-22T04:05:06.000089Z\",\"level\":\"warning\",\
             \"target\":\"astromesh::gossip::join\",\"message\":\"a seed refuses this node\",\
             \"seed\":\"http://a:8000\",\"error\":\"not \\\"now\\\"\",\"tried\":3,\"behind\":-4,\
             \"ratio\":0.5,\"is_last\":true}\n"
        );
    }

    #[test]
    fn nobody_can_write_lines_or_fields_of_others() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let cases: [(&[u8], &str); 8] = [
            (b"/a\nb", "\"/a\\nb\""),
            (b"/a b=c\x1b[0m", "\"/a b=c\\u{1b}[0m\""),
            (b"it's", "it's"),
            (b"a \"b\" 'c' \\", "\"a \\\"b\\\" 'c' \\\\\""),
            ("/é\u{202e}".as_bytes(), "\"/é\\u{202e}\""),
            (b"/\xff", "\"/\\xff\""),
            (b"", "\"\""),
            (long.as_bytes(), &format!("{}…", &long[1..])),
        ];
        for (value, shown) in cases {
            let fields = [("path", Value::from(value)), ("tried", Value::Natural(1))];
            let text = line(Shape::Text(Colour::Off), &entry("m", &fields));
            assert!(text.ends_with(&format!(": m path={shown} tried=1\n")), "{text}");
            let json = line(Shape::Json, &entry("m", &fields));
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            let kept = String::from_utf8_lossy(&value[..value.len().min(VALUE_BYTES_MAX)]);
            assert!(read["path"].as_str().unwrap().starts_with(&*kept), "{json}");
            assert_eq!(json.lines().count(), 1, "{json}");
        }
        let text = line(Shape::Text(Colour::Off), &entry("a\r\nb", &[]));
        assert!(text.ends_with("gossip: a\\r\\nb\n"), "{text}");
    }

    #[test]
    fn eight_bytes_in_one_step_are_judged_as_one_by_one() {
        for byte in 0..=u8::MAX {
            let is_visible = (b'!'..=b'~').contains(&byte) && byte != b'"' && byte != b'\\';
            for length in [1, 7, 8, 9, 16, 23] {
                for place in 0..length {
                    let mut bytes = vec![b'!'; length];
                    bytes[place] = byte;
                    assert_eq!(is_plain(&bytes, b'!'), is_visible, "{bytes:?}");
                    let is_plain_here = is_visible || byte == b' ';
                    assert_eq!(is_plain(&bytes, b' '), is_plain_here, "{bytes:?}");
                }
            }
        }
    }

    #[test]
    fn no_field_takes_the_place_of_another() {
        let fields = [("level", Value::Natural(1)), ("ratio", Value::Real(f64::NAN))];
        let read: serde_json::Value =
            serde_json::from_str(&line(Shape::Json, &entry("m", &fields))).unwrap();
        assert_eq!(read["level"], "warning");
        assert_eq!(read["field.level"], 1);
        assert_eq!(read["ratio"], serde_json::Value::Null);
    }
}
