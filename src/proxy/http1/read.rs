//! From bytes to heads, strictly.
//!
//! Owns what is accepted as a head, and what frames its body. httparse cuts the lines; what it lets
//! pass for the sake of old peers is refused here. Driven by whoever reads a connection, again from
//! the first byte whenever more has come.

use std::mem::MaybeUninit;

use super::head::{Header, Headers, Method, RequestHead, ResponseHead, Span, ToRequest};
use super::known::is_disguise;
use super::target::{self, is_authority};
use super::{
    BadHead, CONNECTION_OPTIONS_MAX, Framing, HEAD_BYTES_MAX, HEADERS_MAX, Known, Version,
};

type Lines<'a> = [MaybeUninit<httparse::Header<'a>>; HEADERS_MAX];

/// Reads the head of a request at the start of the buffer; `None` when it is not whole yet.
///
/// # Errors
///
/// The head is malformed or ambiguous, or too long.
pub fn parse_request(buffer: &[u8]) -> Result<Option<RequestHead>, BadHead> {
    let Some(window) = window(buffer)? else { return Ok(None) };
    let mut lines: Lines<'_> = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let httparse::Status::Complete(length) =
        parsed.parse_with_uninit_headers(window, &mut lines)?
    else {
        return partial(buffer);
    };
    let (Some(method_text), Some(target), Some(minor)) =
        (parsed.method, parsed.path, parsed.version)
    else {
        return Err(BadHead::FirstLine);
    };
    let method_span = Span::within(buffer, method_text.as_bytes());
    // One empty line is what some old clients send after a body (RFC 9112, section 2.2).
    if !matches!(&buffer[..method_span.start()], b"" | b"\r\n") {
        return Err(BadHead::LineEnd);
    }
    let version = version(minor);
    let facts = Facts::gather(buffer, parsed.headers, length)?;
    let method = method(method_text)?;
    let parts = target::parse(method, target.as_bytes())?;
    let absolute = parts.authority.map(|authority| Span::within(buffer, authority));
    let framing = facts.framing(version)?.unwrap_or(Framing::None);
    if facts.is_websocket && framing != Framing::None && framing != Framing::Length(0) {
        return Err(BadHead::UpgradeWithBody);
    }
    let is_modern = version == Version::Http11;
    Ok(Some(RequestHead {
        method,
        method_text: method_span,
        version,
        length,
        framing,
        keep_alive: facts.keeps_alive(version),
        expects_continue: facts.expects_continue && is_modern && framing != Framing::None,
        upgrade: facts.is_websocket && facts.options.upgrade && is_modern && method == Method::Get,
        path: Span::within(buffer, parts.path),
        query: parts.query.map(|query| Span::within(buffer, query)),
        authority: authority(buffer, version, absolute, facts.host)?,
        headers: facts.headers,
    }))
}

/// Reads the head of a response at the start of the buffer; `None` when it is not whole yet.
///
/// # Errors
///
/// The head is malformed or ambiguous, or too long.
pub fn parse_response(buffer: &[u8], to: ToRequest) -> Result<Option<ResponseHead>, BadHead> {
    let Some(window) = window(buffer)? else { return Ok(None) };
    if window.first().is_some_and(|first| *first != b'H') {
        return Err(BadHead::FirstLine);
    }
    let mut lines: Lines<'_> = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let httparse::Status::Complete(length) =
        parser.parse_response_with_uninit_headers(&mut parsed, window, &mut lines)?
    else {
        return partial(buffer);
    };
    let (Some(status), Some(minor)) = (parsed.code, parsed.version) else {
        return Err(BadHead::FirstLine);
    };
    if status < 100 {
        return Err(BadHead::Status);
    }
    let version = version(minor);
    let facts = Facts::gather(buffer, parsed.headers, length)?;
    let line_end = facts.headers.lines.first().map_or(length - 2, |line| line.name.start()) - 2;
    let is_bodiless = to == ToRequest::Head || matches!(status, 100..=199 | 204 | 304);
    let framing = match facts.framing(version)? {
        _ if is_bodiless => Framing::None,
        Some(framing) => framing,
        None => Framing::UntilClose,
    };
    Ok(Some(ResponseHead {
        status,
        version,
        length,
        framing,
        keep_alive: facts.keeps_alive(version) && framing != Framing::UntilClose,
        reason: Span::new("HTTP/1.1 200".len(), line_end),
        headers: facts.headers,
    }))
}

/// The part of the buffer a head may fill; `None` when it is cheaply known not to be whole. That
/// keeps a long head that comes byte by byte from being read anew for each.
fn window(buffer: &[u8]) -> Result<Option<&[u8]>, BadHead> {
    const SHORT_BYTES: usize = 4 * 1024;
    let window = &buffer[..buffer.len().min(HEAD_BYTES_MAX)];
    if window.len() > SHORT_BYTES && memchr::memmem::find(window, b"\r\n\r\n").is_none() {
        return partial(buffer);
    }
    Ok(Some(window))
}

fn partial<T>(buffer: &[u8]) -> Result<Option<T>, BadHead> {
    if buffer.len() >= HEAD_BYTES_MAX { Err(BadHead::TooLong) } else { Ok(None) }
}

fn version(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

fn method(text: &str) -> Result<Method, BadHead> {
    Ok(match text {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "PATCH" => Method::Patch,
        "CONNECT" | "TRACE" => return Err(BadHead::Method),
        _ => Method::Other,
    })
}

/// The one authority of a request, from its target and its `Host`.
fn authority(
    buffer: &[u8],
    version: Version,
    absolute: Option<Span>,
    host: Option<Span>,
) -> Result<Option<Span>, BadHead> {
    if let Some(host) = host
        && !is_authority(host.of(buffer))
    {
        return Err(BadHead::Host);
    }
    match (absolute, host) {
        (_, None) if version == Version::Http11 => Err(BadHead::HostMissing),
        (Some(absolute), Some(host)) => {
            let is_same = absolute.of(buffer).eq_ignore_ascii_case(host.of(buffer));
            if is_same { Ok(Some(host)) } else { Err(BadHead::HostMismatch) }
        }
        (either, other) => Ok(either.or(other)),
    }
}

/// What `Connection` says.
#[derive(Default)]
struct Options {
    count: usize,
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// What is gathered from the lines of a head on one way through them.
#[derive(Default)]
struct Facts {
    headers: Headers,
    host: Option<Span>,
    length: Option<u64>,
    is_chunked: bool,
    expects_continue: bool,
    is_websocket: bool,
    options: Options,
}

impl Facts {
    fn gather(
        buffer: &[u8],
        lines: &[httparse::Header<'_>],
        length: usize,
    ) -> Result<Self, BadHead> {
        // httparse takes a bare LF for the end of a line, anywhere; a CR only before a LF. So it is
        // enough to look at the two bytes before each line and at the last four.
        if !buffer[..length].ends_with(b"\r\n\r\n") {
            return Err(BadHead::LineEnd);
        }
        let mut facts = Self::default();
        for line in lines {
            let name = Span::within(buffer, line.name.as_bytes());
            if !buffer[..name.start()].ends_with(b"\r\n") {
                return Err(BadHead::LineEnd);
            }
            let known = Known::of(line.name.as_bytes());
            let value = Span::within(buffer, line.value);
            if known == Known::Other {
                if is_disguise(line.name.as_bytes()) {
                    return Err(BadHead::Disguise);
                }
            } else {
                facts.note(known, value, line.value)?;
            }
            facts.headers.lines.push(Header { name, value, known });
        }
        Ok(facts)
    }

    fn note(&mut self, known: Known, span: Span, value: &[u8]) -> Result<(), BadHead> {
        let is_again = self.headers.present.has(known);
        self.headers.present = self.headers.present.with(known);
        if known == Known::Host {
            if is_again {
                return Err(BadHead::Host);
            }
            self.host = Some(span);
        } else if known == Known::ContentLength {
            if is_again {
                return Err(BadHead::ContentLength);
            }
            self.length = Some(decimal(value).ok_or(BadHead::ContentLength)?);
        } else if known == Known::TransferEncoding {
            if is_again || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(BadHead::TransferEncoding);
            }
            self.is_chunked = true;
        } else if known == Known::Connection {
            self.note_options(value)?;
        } else if known == Known::Expect {
            self.expects_continue = value.eq_ignore_ascii_case(b"100-continue");
        } else if known == Known::Upgrade {
            self.is_websocket = !is_again && value.eq_ignore_ascii_case(b"websocket");
        }
        Ok(())
    }

    fn note_options(&mut self, value: &[u8]) -> Result<(), BadHead> {
        for option in options(value) {
            self.options.count += 1;
            if self.options.count > CONNECTION_OPTIONS_MAX {
                return Err(BadHead::TooManyOptions);
            }
            if option.eq_ignore_ascii_case(b"close") {
                self.options.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                self.options.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                self.options.upgrade = true;
            } else {
                self.headers.names_others = true;
            }
        }
        Ok(())
    }

    /// RFC 9112, section 6.3, without what it leaves to the recipient; `None` when nothing frames.
    fn framing(&self, version: Version) -> Result<Option<Framing>, BadHead> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(BadHead::TwoFramings),
            (true, None) if version == Version::Http10 => Err(BadHead::TransferEncoding),
            (true, None) => Ok(Some(Framing::Chunked)),
            (false, length) => Ok(length.map(Framing::Length)),
        }
    }

    fn keeps_alive(&self, version: Version) -> bool {
        !self.options.close && (version == Version::Http11 || self.options.keep_alive)
    }
}

/// The options in a value of `Connection`.
pub(super) fn options(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).filter(|option| !option.is_empty())
}

/// A plain number: digits and nothing else, and few enough of them not to overflow.
fn decimal(text: &[u8]) -> Option<u64> {
    const DIGITS_MAX: usize = 19;
    let is_number = (1..=DIGITS_MAX).contains(&text.len()) && text.iter().all(u8::is_ascii_digit);
    is_number.then(|| text.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
}
