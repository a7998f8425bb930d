//! The server-sent events of the bench: a number, the time of sending, and whether it is the last.

use crate::clock::now_us;

/// What stands in a body after its last event, and nowhere else.
pub const LAST: &str = "\"last\":true";

/// One event as it stands in a body, stamped now.
pub fn write(number: u32, is_last: bool) -> String {
    format!("data: {{\"number\":{number},\"last\":{is_last},\"sent_us\":{}}}\n\n", now_us())
}

/// When an event was sent, if it is one of ours.
pub fn sent_us(event: &str) -> Option<u64> {
    number(event, "\"sent_us\":").map(|value| value as u64)
}

/// The number behind a key of a JSON text that we know to be flat.
pub fn number(text: &str, key: &str) -> Option<f64> {
    let (_, after) = text.split_once(key)?;
    let after = after.trim_start();
    let end = after.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(after.len());
    after[..end].parse().ok()
}
