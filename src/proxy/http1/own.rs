//! What the proxy says itself: its own answers, `100 Continue`, and chunks of its own.
//!
//! Owns their bytes; what they say is decided by others.

use std::fmt::Write;

use bytes::BytesMut;

use super::write::{push_header, push_persist};
use super::{Persist, ToRequest};

/// Tells a client that waits to go on with its body.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Ends a chunked body, without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// An answer of the proxy itself.
#[derive(Clone, Copy, Debug)]
pub struct OwnResponse<'a> {
    /// 200..=599.
    pub status: u16,
    /// Names and values; the length of the body is added.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// All of it.
    pub body: &'a [u8],
    /// What becomes of the connection.
    pub persist: Persist,
    /// Whether the body is only measured.
    pub to: ToRequest,
}

/// Writes an answer with its body.
pub fn write_own_response(out: &mut BytesMut, response: &OwnResponse<'_>) {
    let status = response.status;
    out.reserve(256 + response.body.len());
    write!(out, "HTTP/1.1 {status} {}\r\n", reason(status)).expect("a buffer grows");
    for (name, value) in response.headers {
        push_header(out, name, value);
    }
    let is_bodiless = matches!(status, 100..=199 | 204 | 304);
    if !is_bodiless {
        write!(out, "content-length: {}\r\n", response.body.len()).expect("a buffer grows");
    }
    push_persist(out, response.persist);
    out.extend_from_slice(b"\r\n");
    if !is_bodiless && response.to == ToRequest::Other {
        out.extend_from_slice(response.body);
    }
}

/// Writes a chunk. Nothing for no bytes, as that would end the body.
pub fn write_chunk(out: &mut BytesMut, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    write!(out, "{:x}\r\n", bytes.len()).expect("a buffer grows");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        204 => "No Content",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        // The text means nothing to a program, and the RFC lets it be empty.
        _ => "",
    }
}
