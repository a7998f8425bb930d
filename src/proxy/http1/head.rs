//! Heads: what a request or a response says before its body, as spans of the caller's buffer.
//!
//! Owns their shape, and the answers that follow from one head alone. How they are read from bytes
//! is next door.

use smallvec::SmallVec;

use super::{Framing, Known, KnownSet, Version};

/// A part of the buffer a head was read from. Fits two bytes an end, as no span reaches into the
/// last four bytes of [`super::HEAD_BYTES_MAX`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u16,
    end: u16,
}

impl Span {
    /// The bytes, out of the buffer the head was read from.
    #[must_use]
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        &buffer[self.start()..self.end()]
    }

    pub(super) fn start(self) -> usize {
        usize::from(self.start)
    }

    pub(super) fn end(self) -> usize {
        usize::from(self.end)
    }

    /// Where `part`, which was cut out of `buffer`, lies in it.
    pub(super) fn within(buffer: &[u8], part: &[u8]) -> Self {
        if part.is_empty() {
            return Self::default();
        }
        let start = part.as_ptr().addr() - buffer.as_ptr().addr();
        Self::new(start, start + part.len())
    }

    pub(super) fn new(start: usize, end: usize) -> Self {
        let bound = |at: usize| u16::try_from(at).expect("a head is at most 64 KiB");
        Self { start: bound(start), end: bound(end) }
    }
}

/// One header line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name as it was written.
    pub name: Span,
    /// The value without the space around it.
    pub value: Span,
    /// Which name it is.
    pub known: Known,
}

/// The header lines of a head, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    pub(super) lines: SmallVec<[Header; 24]>,
    pub(super) present: KnownSet,
    /// Whether `Connection` names headers, and not only options of its own.
    pub(super) names_others: bool,
}

impl Headers {
    /// All lines.
    pub fn iter(&self) -> impl Iterator<Item = &Header> {
        self.lines.iter()
    }

    /// Whether there is such a line.
    #[must_use]
    pub fn has(&self, known: Known) -> bool {
        self.present.has(known)
    }

    /// Value of the first such line.
    #[must_use]
    pub fn value<'a>(&self, known: Known, buffer: &'a [u8]) -> Option<&'a [u8]> {
        if !self.has(known) {
            return None;
        }
        self.lines.iter().find(|header| header.known == known).map(|it| it.value.of(buffer))
    }
}

/// The method of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// OPTIONS
    Options,
    /// PATCH
    Patch,
    /// Any other but CONNECT and TRACE, which are refused.
    Other,
}

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHead {
    /// Which method it is.
    pub method: Method,
    /// The method as it was written.
    pub method_text: Span,
    /// Version of the client.
    pub version: Version,
    /// Its lines.
    pub headers: Headers,
    /// Bytes of the buffer that are the head; what follows is body, or the next request.
    pub length: usize,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the client keeps the connection for another request.
    pub keep_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
    /// Whether it is a request to change to WebSocket. Any other change is ignored, as the RFC
    /// allows: a change to HTTP/2 would take the rest of the connection out of our sight.
    pub upgrade: bool,
    pub(super) path: Span,
    pub(super) query: Option<Span>,
    pub(super) authority: Option<Span>,
}

impl RequestHead {
    /// The path, without the authority of an absolute target; never empty.
    #[must_use]
    pub fn path<'a>(&self, buffer: &'a [u8]) -> &'a [u8] {
        match self.path.of(buffer) {
            b"" if self.method == Method::Options && self.query.is_none() => b"*",
            b"" => b"/",
            path => path,
        }
    }

    /// What follows the `?`, when there is one.
    #[must_use]
    pub fn query<'a>(&self, buffer: &'a [u8]) -> Option<&'a [u8]> {
        self.query.map(|query| query.of(buffer))
    }

    /// The host, and port if given, that the request is for; of an HTTP/1.0 client there may be
    /// none.
    #[must_use]
    pub fn authority<'a>(&self, buffer: &'a [u8]) -> Option<&'a [u8]> {
        self.authority.map(|authority| authority.of(buffer))
    }
}

/// The head of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponseHead {
    /// 100..=999.
    pub status: u16,
    /// Version of the server.
    pub version: Version,
    /// Its lines.
    pub headers: Headers,
    /// Bytes of the buffer that are the head.
    pub length: usize,
    /// How the end of the body is found.
    pub framing: Framing,
    /// Whether the server takes another request on the connection.
    pub keep_alive: bool,
    /// From behind the status to the end of the line, with the space before it.
    pub(super) reason: Span,
}

impl ResponseHead {
    /// Whether the final response is still to come. 101 is final: what follows is no HTTP.
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.status < 200 && !self.is_upgrade()
    }

    /// Whether the connection changes its protocol.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.status == 101
    }
}

/// What a response answers, as far as it matters to where its body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToRequest {
    /// HEAD: a response has no body, whatever its headers say.
    Head,
    /// Any other request.
    Other,
}

impl From<Method> for ToRequest {
    fn from(method: Method) -> Self {
        if method == Method::Head { Self::Head } else { Self::Other }
    }
}
