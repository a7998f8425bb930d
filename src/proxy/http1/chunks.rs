//! The way through a body: bytes pass untouched, only their end is found.
//!
//! Owns the chunked coding of RFC 9112, section 7.1, read strictly: no spaces around a size, CR LF
//! and nothing else at the end of a line, a limit on everything that is not body. Refuses to
//! change or to keep any byte. Driven by whoever relays a body, with parts of any size.

use std::ops::Range;

use thiserror::Error;

use super::known::is_disguise;
use super::{EXTENSION_BYTES_MAX, Framing, HEADERS_MAX, Known, TRAILER_BYTES_MAX};

/// Why a chunked body was refused. Nothing that follows on the connection can be trusted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum BadBody {
    /// A chunk size that is not one to sixteen hexadecimal digits.
    #[error("a chunk size is malformed")]
    Size,
    /// A control character in a chunk extension.
    #[error("a chunk extension is malformed")]
    Extension,
    /// More than [`EXTENSION_BYTES_MAX`] in a body.
    #[error("the chunk extensions are longer than {EXTENSION_BYTES_MAX} bytes")]
    ExtensionsTooLong,
    /// Anything but CR LF at the end of a line or a chunk.
    #[error("a chunk or one of its lines does not end in CR LF")]
    LineEnd,
    /// A trailer line that is no header line.
    #[error("a trailer is malformed")]
    Trailer,
    /// A trailer that would have meant something in the head.
    #[error("a trailer belongs in the head")]
    TrailerName,
    /// More than [`TRAILER_BYTES_MAX`] or [`HEADERS_MAX`] lines.
    #[error("the trailers are longer than {TRAILER_BYTES_MAX} bytes or {HEADERS_MAX} lines")]
    TrailersTooLong,
}

/// How far a part of the stream belongs to the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// This many bytes of it are the body's, framing included.
    pub taken: usize,
    /// Whether the body ends there.
    pub is_done: bool,
}

/// Follows a body to its end.
#[derive(Clone, Debug)]
pub struct BodyTracker {
    state: State,
    /// Where what was malformed begins in the bytes given last, and the state before it.
    good: (usize, State),
    /// Without framing.
    body_bytes: u64,
    extension_bytes: u32,
    trailer_bytes: u32,
    trailer_count: usize,
    /// The name of the trailer line at hand, as far as it can matter.
    name: [u8; NAME_BYTES],
    name_length: usize,
}

/// One more than the longest name that is looked for.
const NAME_BYTES: usize = "access-control-allow-origin".len() + 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Done,
    /// Bytes of a body of known length that are still to come.
    Length(u64),
    UntilClose,
    /// Between chunks.
    Boundary,
    /// In the digits of a size.
    Size {
        size: u64,
        digits: u8,
    },
    /// In the extension of the chunk of this size.
    Extension(u64),
    /// After the CR of a size line.
    SizeLineFeed(u64),
    /// Bytes of a chunk that are still to come, at least one.
    Chunk(u64),
    /// After the last byte of a chunk.
    ChunkReturn,
    /// After the CR that ends a chunk.
    ChunkLineFeed,
    /// At the start of a line after the last chunk.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    /// After the CR of the empty line that ends all.
    LastLineFeed,
    Broken(BadBody),
}

impl State {
    /// Whether a body that breaks off here can be ended, see [`BodyTracker::chunk_end`].
    const fn is_good_end(self) -> bool {
        match self {
            Self::Boundary | Self::Chunk(_) | Self::ChunkReturn | Self::ChunkLineFeed => true,
            Self::Done
            | Self::Length(_)
            | Self::UntilClose
            | Self::Size { .. }
            | Self::Extension(_)
            | Self::SizeLineFeed(_)
            | Self::TrailerStart
            | Self::TrailerName
            | Self::TrailerValue
            | Self::TrailerLineFeed
            | Self::LastLineFeed
            | Self::Broken(_) => false,
        }
    }
}

impl BodyTracker {
    /// At the start of a body framed like this.
    #[must_use]
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Boundary,
            Framing::UntilClose => State::UntilClose,
        };
        Self {
            state,
            good: (0, state),
            body_bytes: 0,
            extension_bytes: 0,
            trailer_bytes: 0,
            trailer_count: 0,
            name: [0; NAME_BYTES],
            name_length: 0,
        }
    }

    /// Goes on with the next bytes of the stream. What is not taken comes after the body.
    ///
    /// # Errors
    ///
    /// The chunks are malformed; so is everything that follows. [`Self::retreat`] tells what came
    /// before.
    pub fn advance(&mut self, bytes: &[u8]) -> Result<Progress, BadBody> {
        self.advance_with(bytes, |_| ())
    }

    /// As [`Self::advance`], and calls `each` with the ranges of `bytes` that are body and not
    /// framing, in their order and none of them empty: for a client that knows no chunks, or a
    /// copy of the plain body.
    ///
    /// # Errors
    ///
    /// The chunks are malformed; so is everything that follows.
    pub fn advance_with(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(Range<usize>),
    ) -> Result<Progress, BadBody> {
        let mut taken = 0;
        self.good = (0, self.state);
        while taken < bytes.len() {
            let rest = &bytes[taken..];
            if self.state.is_good_end() {
                self.good = (taken, self.state);
            }
            let step = match self.state {
                State::Length(left) | State::Chunk(left) => {
                    let part = usize::try_from(left).map_or(rest.len(), |it| it.min(rest.len()));
                    each(taken..taken + part);
                    self.pass(part);
                    part
                }
                State::UntilClose => {
                    each(taken..bytes.len());
                    self.pass(rest.len());
                    rest.len()
                }
                State::TrailerValue => self.trailer_value(rest).map_err(|bad| self.fail(bad))?,
                State::Done => break,
                State::Boundary
                | State::Size { .. }
                | State::Extension(_)
                | State::SizeLineFeed(_)
                | State::ChunkReturn
                | State::ChunkLineFeed
                | State::TrailerStart
                | State::TrailerName
                | State::TrailerLineFeed
                | State::LastLineFeed
                | State::Broken(_) => {
                    self.state = self.next(rest[0]).map_err(|bad| self.fail(bad))?;
                    1
                }
            };
            taken += step;
        }
        Ok(Progress { taken, is_done: self.is_done() })
    }

    /// After an error: goes back to before what was malformed, a whole line of framing if that is
    /// possible, so that [`Self::chunk_end`] tells how to end there. How many of the bytes given last
    /// come before it.
    pub fn retreat(&mut self) -> usize {
        let (taken, state) = self.good;
        self.state = state;
        taken
    }

    /// Whether the body has been seen to its end.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the body is whole if the connection ends here.
    #[must_use]
    pub fn may_close(&self) -> bool {
        matches!(self.state, State::Done | State::UntilClose)
    }

    /// Whether a chunk of our own, or the last one, can be put in here: exactly between two chunks.
    /// Where a body ends with its connection that is everywhere, without chunk framing.
    #[must_use]
    pub fn is_at_boundary(&self) -> bool {
        matches!(self.state, State::Boundary | State::UntilClose)
    }

    /// Bytes of body still to come in the chunk at hand, or in a body of known length.
    #[must_use]
    pub fn missing_in_chunk(&self) -> u64 {
        if let State::Length(left) | State::Chunk(left) = self.state { left } else { 0 }
    }

    /// What brings a cut chunk to its boundary once its missing bytes are written; nothing at a
    /// boundary. `None` where no bytes can mend it: in a size, after the last chunk, and where
    /// there are no chunks.
    #[must_use]
    pub fn chunk_end(&self) -> Option<&'static [u8]> {
        match self.state {
            State::Boundary => Some(b""),
            State::Chunk(_) | State::ChunkReturn => Some(b"\r\n"),
            State::ChunkLineFeed => Some(b"\n"),
            State::Done
            | State::Length(_)
            | State::UntilClose
            | State::Size { .. }
            | State::Extension(_)
            | State::SizeLineFeed(_)
            | State::TrailerStart
            | State::TrailerName
            | State::TrailerValue
            | State::TrailerLineFeed
            | State::LastLineFeed
            | State::Broken(_) => None,
        }
    }

    /// Bytes of body so far, without framing.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes
    }

    fn fail(&mut self, bad: BadBody) -> BadBody {
        self.state = State::Broken(bad);
        bad
    }

    /// Lets bytes of body pass.
    fn pass(&mut self, part: usize) {
        let part = part as u64;
        self.body_bytes = self.body_bytes.saturating_add(part);
        if let State::Length(left) = self.state {
            self.state = if left > part { State::Length(left - part) } else { State::Done };
        } else if let State::Chunk(left) = self.state {
            self.state = if left > part { State::Chunk(left - part) } else { State::ChunkReturn };
        }
    }

    /// The state after one byte of framing.
    fn next(&mut self, byte: u8) -> Result<State, BadBody> {
        match (self.state, byte) {
            (State::Boundary, _) => first_digit(byte),
            (State::Size { size, digits }, _) => self.size(size, digits, byte),
            (State::Extension(size), _) => self.extension(size, byte),
            (State::SizeLineFeed(0) | State::TrailerLineFeed, b'\n') => Ok(State::TrailerStart),
            (State::SizeLineFeed(size), b'\n') => Ok(State::Chunk(size)),
            (State::ChunkReturn, b'\r') => Ok(State::ChunkLineFeed),
            (State::ChunkLineFeed, b'\n') => Ok(State::Boundary),
            (State::TrailerStart, b'\r') => Ok(State::LastLineFeed),
            (State::LastLineFeed, b'\n') => Ok(State::Done),
            (State::TrailerStart, _) => {
                self.name_length = 0;
                self.trailer_count += 1;
                if self.trailer_count > HEADERS_MAX {
                    return Err(BadBody::TrailersTooLong);
                }
                self.trailer_name(byte)
            }
            (State::TrailerName, _) => self.trailer_name(byte),
            (
                State::SizeLineFeed(_)
                | State::ChunkReturn
                | State::ChunkLineFeed
                | State::TrailerLineFeed
                | State::LastLineFeed,
                _,
            ) => Err(BadBody::LineEnd),
            (State::Broken(bad), _) => Err(bad),
            (
                State::Done
                | State::Length(_)
                | State::UntilClose
                | State::Chunk(_)
                | State::TrailerValue,
                _,
            ) => unreachable!("these states are passed in runs"),
        }
    }

    fn size(&mut self, size: u64, digits: u8, byte: u8) -> Result<State, BadBody> {
        match byte {
            b'\r' => Ok(State::SizeLineFeed(size)),
            b';' => self.extension(size, byte),
            _ if digits < DIGITS_MAX => {
                let digit = hexadecimal(byte).ok_or(BadBody::Size)?;
                Ok(State::Size { size: size << 4 | digit, digits: digits + 1 })
            }
            _ => Err(BadBody::Size),
        }
    }

    fn extension(&mut self, size: u64, byte: u8) -> Result<State, BadBody> {
        self.extension_bytes += 1;
        match byte {
            b'\r' => Ok(State::SizeLineFeed(size)),
            _ if !is_text(byte) => Err(BadBody::Extension),
            _ if self.extension_bytes > EXTENSION_BYTES_MAX => Err(BadBody::ExtensionsTooLong),
            _ => Ok(State::Extension(size)),
        }
    }

    fn trailer_name(&mut self, byte: u8) -> Result<State, BadBody> {
        self.count_trailer(1)?;
        if byte == b':' {
            let name = &self.name[..self.name_length];
            if name.is_empty() {
                return Err(BadBody::Trailer);
            }
            if Known::of(name) != Known::Other || is_disguise(name) {
                return Err(BadBody::TrailerName);
            }
            return Ok(State::TrailerValue);
        }
        if !is_token(byte) {
            return Err(BadBody::Trailer);
        }
        // A name that fills the array is longer than any known one.
        if let Some(place) = self.name.get_mut(self.name_length) {
            *place = byte;
            self.name_length += 1;
        }
        Ok(State::TrailerName)
    }

    /// Passes a run of a trailer's value; returns how long it is.
    fn trailer_value(&mut self, bytes: &[u8]) -> Result<usize, BadBody> {
        let end = bytes.iter().position(|byte| !is_text(*byte));
        self.count_trailer(end.unwrap_or(bytes.len()))?;
        match end {
            None => Ok(bytes.len()),
            Some(end) if bytes[end] == b'\r' => {
                self.state = State::TrailerLineFeed;
                Ok(end + 1)
            }
            Some(_) => Err(BadBody::Trailer),
        }
    }

    fn count_trailer(&mut self, count: usize) -> Result<(), BadBody> {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        self.trailer_bytes = self.trailer_bytes.saturating_add(count);
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(BadBody::TrailersTooLong);
        }
        Ok(())
    }
}

/// As many digits as 64 bits have room for.
const DIGITS_MAX: u8 = 16;

fn first_digit(byte: u8) -> Result<State, BadBody> {
    hexadecimal(byte).map(|size| State::Size { size, digits: 1 }).ok_or(BadBody::Size)
}

fn hexadecimal(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}

/// What a value may hold: RFC 9110, section 5.5.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// What a name may hold: RFC 9110, section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
