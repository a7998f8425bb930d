//! Heads for their next hop: what concerned one connection goes, what was asked for comes, all else
//! keeps its order, its case and its bytes.
//!
//! Owns which headers end at a hop (RFC 9110, section 7.6.1). The framing of the body stays what
//! it was, whatever a head or an edit says, unless [`BodyForm`] changes it. Lines that stay are
//! copied in runs. Nothing given by a caller can end a line early: a control character becomes a
//! space in a value and an escape in a target.

use bytes::BytesMut;

use super::read::options;
use super::{Framing, Headers, Known, KnownSet, RequestHead, ResponseHead, Version};

/// What changes in a request on its way to the next hop.
#[derive(Clone, Copy, Debug, Default)]
pub struct RequestEdit<'a> {
    /// The new `Host`; the old one stays without.
    pub authority: Option<&'a str>,
    /// The new target.
    pub target: Target<'a>,
    /// Headers that are added at the end. Those they replace are to be dropped.
    pub add: &'a [(&'a str, &'a [u8])],
    /// Headers that go, besides those that end at each hop. The framing ones stay.
    pub drop: KnownSet,
}

/// The path of a request on its next hop. The query stays.
#[derive(Clone, Copy, Debug, Default)]
pub enum Target<'a> {
    /// As it came.
    #[default]
    Same,
    /// Put before the path; a `/` at its end and one at the start of the path are one.
    Prefix(&'a str),
    /// Instead of the path. It may have a query, which the one of the request is added to.
    Path(&'a str),
}

/// What changes in a response on its way back.
#[derive(Clone, Copy, Debug, Default)]
pub struct ResponseEdit<'a> {
    /// Headers that are added at the end. Those they replace are to be dropped.
    pub add: &'a [(&'a str, &'a [u8])],
    /// Headers that go, besides those that end at each hop. The framing ones stay.
    pub drop: KnownSet,
    /// What becomes of the connection to the client. A body that only its end can frame closes it,
    /// whatever this says.
    pub persist: Persist,
    /// In which form the body is sent on.
    pub body: BodyForm,
}

/// What becomes of a connection after an exchange.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Persist {
    /// Nothing is said: it stays open for HTTP/1.1.
    #[default]
    Silent,
    /// It is said to stay open, for an HTTP/1.0 client that asked for it.
    KeepAlive,
    /// It is closed.
    Close,
}

/// In which form a body is sent on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyForm {
    /// As it comes, chunk by chunk.
    #[default]
    Same,
    /// Without chunks, for an HTTP/1.0 client; the end of the connection is the end of the body.
    Plain,
    /// In chunks of our own, where it came with the end of its connection.
    Chunked,
}

/// What ends at each hop. Transfer-Encoding is not among them, as chunks pass as they are.
const HOP_BY_HOP: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Te,
    Known::Upgrade,
]);

/// What frames a message, or says whom it is for: neither an edit nor `Connection` takes it away.
const KEPT: KnownSet = KnownSet::of(&[Known::Host, Known::ContentLength, Known::TransferEncoding]);

/// Writes the head of a request for its next hop, as HTTP/1.1.
pub fn write_request(
    out: &mut BytesMut,
    head: &RequestHead,
    buffer: &[u8],
    edit: &RequestEdit<'_>,
) {
    out.reserve(head.length + 256);
    out.extend_from_slice(head.method_text.of(buffer));
    out.extend_from_slice(b" ");
    push_target(out, head, buffer, &edit.target);
    out.extend_from_slice(b" HTTP/1.1\r\n");
    if !head.headers.has(Known::Host) {
        let host = edit.authority.map(str::as_bytes).or_else(|| head.authority(buffer));
        push_header(out, "host", host.unwrap_or_default());
    }
    let mut drop = HOP_BY_HOP.and(edit.drop).without(KEPT);
    if head.version == Version::Http10 {
        // An HTTP/1.0 client does not wait, and would take the answer to this for the response.
        drop = drop.with(Known::Expect);
    }
    if head.upgrade {
        drop = drop.without(KnownSet::of(&[Known::Upgrade]));
    }
    let lines = Lines { buffer, headers: &head.headers, end: head.length - 2 };
    lines.copy(out, drop, edit.authority);
    for (name, value) in edit.add {
        push_header(out, name, value);
    }
    if head.upgrade {
        out.extend_from_slice(b"connection: upgrade\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Writes the head of a response for the client, as HTTP/1.1.
pub fn write_response(
    out: &mut BytesMut,
    head: &ResponseHead,
    buffer: &[u8],
    edit: &ResponseEdit<'_>,
) {
    out.reserve(head.length + 256);
    out.extend_from_slice(b"HTTP/1.1");
    out.extend_from_slice(&buffer["HTTP/1.1".len()..head.reason.start()]);
    out.extend_from_slice(head.reason.of(buffer));
    out.extend_from_slice(b"\r\n");
    let is_upgrade = head.is_upgrade();
    let is_unframed = matches!(head.status, 100..=199 | 204);
    let mut drop = HOP_BY_HOP.and(edit.drop).without(KEPT);
    if is_unframed {
        // A length there is against the rules, and a client that believes it waits for a body.
        drop = drop.with(Known::ContentLength).with(Known::TransferEncoding);
    }
    if edit.body == BodyForm::Plain {
        drop = drop.with(Known::TransferEncoding);
    }
    if is_upgrade {
        drop = drop.without(KnownSet::of(&[Known::Upgrade]));
    }
    let lines = Lines { buffer, headers: &head.headers, end: head.length - 2 };
    lines.copy(out, drop, None);
    for (name, value) in edit.add {
        push_header(out, name, value);
    }
    if is_upgrade {
        out.extend_from_slice(b"connection: upgrade\r\n");
    } else if head.framing == Framing::UntilClose && edit.body == BodyForm::Chunked {
        out.extend_from_slice(b"transfer-encoding: chunked\r\n");
        push_persist(out, edit.persist);
    } else {
        push_persist(out, if ends_by_closing(head, edit) { Persist::Close } else { edit.persist });
    }
    out.extend_from_slice(b"\r\n");
}

fn ends_by_closing(head: &ResponseHead, edit: &ResponseEdit<'_>) -> bool {
    match head.framing {
        Framing::UntilClose => edit.body != BodyForm::Chunked,
        Framing::Chunked => edit.body == BodyForm::Plain,
        Framing::None | Framing::Length(_) => false,
    }
}

/// The header lines of a head that was read from `buffer`; the last one ends at `end`.
struct Lines<'a> {
    buffer: &'a [u8],
    headers: &'a Headers,
    end: usize,
}

impl Lines<'_> {
    /// Copies the lines that stay, with another host when there is one.
    fn copy(&self, out: &mut BytesMut, drop: KnownSet, host: Option<&str>) {
        // An upgrade that goes on is always named by `Connection`.
        let kept = if drop.has(Known::Upgrade) { KEPT } else { KEPT.with(Known::Upgrade) };
        let lines = &self.headers.lines;
        let start = |index: usize| lines.get(index).map_or(self.end, |line| line.name.start());
        let mut run = start(0);
        for (index, line) in lines.iter().enumerate() {
            let new_host = host.filter(|_| line.known == Known::Host);
            let is_kept = !drop.has(line.known)
                && new_host.is_none()
                && !(self.headers.names_others && self.is_named(index, kept));
            if is_kept {
                continue;
            }
            out.extend_from_slice(&self.buffer[run..line.name.start()]);
            if let Some(host) = new_host {
                out.extend_from_slice(line.name.of(self.buffer));
                out.extend_from_slice(b": ");
                push_clean(out, host.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            run = start(index + 1);
        }
        out.extend_from_slice(&self.buffer[run..self.end]);
    }

    /// Whether `Connection` says that this line, none of those `kept`, ends here.
    fn is_named(&self, index: usize, kept: KnownSet) -> bool {
        let line = &self.headers.lines[index];
        let name = line.name.of(self.buffer);
        !kept.has(line.known)
            && self.headers.iter().filter(|it| it.known == Known::Connection).any(|connection| {
                options(connection.value.of(self.buffer)).any(|it| it.eq_ignore_ascii_case(name))
            })
    }
}

fn push_target(out: &mut BytesMut, head: &RequestHead, buffer: &[u8], target: &Target<'_>) {
    let path = head.path(buffer);
    let mut mark = "?";
    match target {
        Target::Same => out.extend_from_slice(path),
        Target::Prefix(prefix) => {
            // `*` is no path, and has no place below another.
            if path == b"*" && !prefix.is_empty() {
                push_escaped(out, prefix);
            } else {
                let is_doubled = prefix.ends_with('/') && path.starts_with(b"/");
                push_escaped(out, &prefix[..prefix.len() - usize::from(is_doubled)]);
                out.extend_from_slice(path);
            }
        }
        Target::Path(path) => {
            push_escaped(out, path);
            if path.contains('?') {
                mark = "&";
            }
        }
    }
    if let Some(query) = head.query(buffer) {
        out.extend_from_slice(mark.as_bytes());
        out.extend_from_slice(query);
    }
}

/// Appends a part of a target; what could end the target or the line is escaped.
fn push_escaped(out: &mut BytesMut, text: &str) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte <= b' ' || byte >= 0x7f || byte == b'#' {
            let (high, low) = (DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]);
            out.extend_from_slice(&[b'%', high, low]);
        } else {
            out.extend_from_slice(&[byte]);
        }
    }
}

pub(super) fn push_header(out: &mut BytesMut, name: &str, value: &[u8]) {
    push_clean(out, name.as_bytes());
    out.extend_from_slice(b": ");
    push_clean(out, value);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn push_persist(out: &mut BytesMut, persist: Persist) {
    match persist {
        Persist::Silent => (),
        Persist::KeepAlive => out.extend_from_slice(b"connection: keep-alive\r\n"),
        Persist::Close => out.extend_from_slice(b"connection: close\r\n"),
    }
}

/// Appends bytes; a control character becomes a space (RFC 9110, section 5.5).
pub(super) fn push_clean(out: &mut BytesMut, bytes: &[u8]) {
    let start = out.len();
    out.extend_from_slice(bytes);
    // Written for all, so that many are done at once.
    for byte in &mut out[start..] {
        *byte = if *byte < b' ' || *byte == 0x7f { b' ' } else { *byte };
    }
}
