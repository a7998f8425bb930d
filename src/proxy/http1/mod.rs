//! The framing of HTTP/1.1 for a proxy: where a head ends, where a body ends, and what a head looks
//! like on its next hop.
//!
//! Owns the reading of heads ([`parse_request`], [`parse_response`]), the way through a body
//! ([`BodyTracker`]), the writing of heads for the next hop ([`write_request`],
//! [`write_response`]) and of our own answers ([`write_own_response`], [`write_chunk`]).
//!
//! Everything is a [`Span`] of the caller's buffer: a body is never copied, a head only when it is
//! written on. No I/O, no clock, no state but that of a body.
//!
//! It refuses whatever two readers could frame differently (RFC 9112, section 11): what it does not
//! refuse has exactly one meaning, and is written on in a way that has the same one. Where the RFC
//! lets a recipient be lenient it is not, since leniency of one hop is the gap of the next.
//!
//! HTTP/1.0 clients are served: requests are written on as HTTP/1.1, and a chunked answer is
//! unpacked for them ([`BodyTracker::advance_with`], [`BodyForm::Plain`]) and ended by closing.
//!
//! Driven by the connections of the proxy.

use thiserror::Error;

mod chunks;
mod head;
mod known;
mod own;
mod read;
mod target;
mod write;

pub use chunks::{BadBody, BodyTracker, Progress};
pub use head::{Header, Headers, Method, RequestHead, ResponseHead, Span, ToRequest};
pub use known::{Known, KnownSet};
pub use own::{CONTINUE, LAST_CHUNK, OwnResponse, write_chunk, write_own_response};
pub use read::{parse_request, parse_response};
pub use write::{
    BodyForm, Persist, RequestEdit, ResponseEdit, Target, write_request, write_response,
};

/// The longest head, request or response, from its first byte to the empty line that ends it.
pub const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The most header lines of a head, and of the trailers of a body.
pub const HEADERS_MAX: usize = 100;
/// The most options in all `Connection` lines of a head: each costs a look at every other line.
pub const CONNECTION_OPTIONS_MAX: usize = 32;
/// The most bytes of chunk extensions in a body, which would otherwise be a body that counts for
/// nothing.
pub const EXTENSION_BYTES_MAX: u32 = 8 * 1024;
/// The most bytes of trailers after a chunked body.
pub const TRAILER_BYTES_MAX: u32 = 16 * 1024;

/// The version of HTTP a head was written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: one exchange a connection unless both say otherwise, no chunks.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// How the end of a body is found (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no body.
    None,
    /// The body has this many bytes.
    Length(u64),
    /// The body comes in chunks.
    Chunked,
    /// The body of a response that ends with its connection.
    UntilClose,
}

/// Why a head was refused. The connection cannot be used further: where the next message would
/// begin is not known.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadHead {
    /// More than [`HEAD_BYTES_MAX`] without an end.
    #[error("the head is longer than {HEAD_BYTES_MAX} bytes")]
    TooLong,
    /// More than [`HEADERS_MAX`] lines.
    #[error("the head has more than {HEADERS_MAX} headers")]
    TooManyHeaders,
    /// More than [`CONNECTION_OPTIONS_MAX`] connection options.
    #[error("the head names more than {CONNECTION_OPTIONS_MAX} connection options")]
    TooManyOptions,
    /// A first line that is none.
    #[error("the first line is malformed")]
    FirstLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("the version of HTTP is not supported")]
    Version,
    /// A response status outside of 100..=999.
    #[error("the status is malformed")]
    Status,
    /// CONNECT and TRACE, which no agent needs.
    #[error("the method is not supported")]
    Method,
    /// A request target that is none of ours, or has a fragment.
    #[error("the request target is malformed")]
    Target,
    /// A header name with a byte that is not allowed there, such as a space before the colon, or a
    /// line that begins with a space.
    #[error("a header name is malformed")]
    HeaderName,
    /// A header value with a byte that is not allowed there, such as NUL.
    #[error("a header value is malformed")]
    HeaderValue,
    /// A line that ends in anything but CR LF.
    #[error("a line does not end in CR LF")]
    LineEnd,
    /// HTTP/1.1 without a `Host`.
    #[error("the host is missing")]
    HostMissing,
    /// A second `Host`, or one that is no authority.
    #[error("the host is malformed or given twice")]
    Host,
    /// A request target with an authority that is not the `Host`.
    #[error("the request target and the host disagree")]
    HostMismatch,
    /// A `Content-Length` that is not a plain number, or a second one.
    #[error("the content length is malformed or given twice")]
    ContentLength,
    /// A `Transfer-Encoding` other than one `chunked`, or one in HTTP/1.0.
    #[error("the transfer encoding is not supported")]
    TransferEncoding,
    /// Both a length and a transfer encoding.
    #[error("both a content length and a transfer encoding are given")]
    TwoFramings,
    /// A name that some servers take for one of the framing headers.
    #[error("a header imitates one that frames the body")]
    Disguise,
    /// A change of protocol together with a body.
    #[error("an upgrade cannot have a body")]
    UpgradeWithBody,
    /// An answer that changes the protocol though the request did not ask for it.
    #[error("the answer changes the protocol unasked")]
    UpgradeUnasked,
}

impl BadHead {
    /// The status to answer a request with that has such a head.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::TooLong | Self::TooManyHeaders | Self::TooManyOptions => 431,
            Self::Version => 505,
            Self::Method | Self::TransferEncoding => 501,
            Self::FirstLine
            | Self::Status
            | Self::Target
            | Self::HeaderName
            | Self::HeaderValue
            | Self::LineEnd
            | Self::HostMissing
            | Self::Host
            | Self::HostMismatch
            | Self::ContentLength
            | Self::TwoFramings
            | Self::Disguise
            | Self::UpgradeWithBody
            | Self::UpgradeUnasked => 400,
        }
    }
}

impl From<httparse::Error> for BadHead {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::HeaderName => Self::HeaderName,
            httparse::Error::HeaderValue => Self::HeaderValue,
            httparse::Error::NewLine => Self::LineEnd,
            httparse::Error::Status => Self::Status,
            httparse::Error::Token => Self::FirstLine,
            httparse::Error::TooManyHeaders => Self::TooManyHeaders,
            httparse::Error::Version => Self::Version,
        }
    }
}
