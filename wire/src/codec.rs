//! The one place that touches bincode: its configuration, and reading and writing one value.

use bincode::config::{BigEndian, Configuration, Limit, Varint};
use bincode::{BorrowDecode, Encode};

use crate::limits::DATAGRAM_BYTES_MAX;

/// Variable-length integers, big endian; nothing may claim more bytes than a datagram has.
const CONFIG: Configuration<BigEndian, Varint, Limit<DATAGRAM_BYTES_MAX>> =
    bincode::config::standard().with_big_endian().with_limit::<DATAGRAM_BYTES_MAX>();

/// The largest number that is its own single byte.
pub(crate) const ONE_BYTE_MAX: u8 = 250;

/// A number as its single byte, `None` for those that need more.
pub(crate) fn in_one_byte(number: u32) -> Option<u8> {
    u8::try_from(number).ok().filter(|byte| *byte <= ONE_BYTE_MAX)
}

/// Takes one value off the front of `bytes`; on failure `bytes` is left as it was.
///
/// Not for collections of more than bytes: bincode counts their elements by their size in memory
/// against the limit, which refuses lists that fit a datagram well.
pub(crate) fn take<'a, T: BorrowDecode<'a, ()>>(bytes: &mut &'a [u8]) -> Option<T> {
    let (value, length) = bincode::borrow_decode_from_slice(bytes, CONFIG).ok()?;
    *bytes = bytes.get(length..)?;
    Some(value)
}

/// Writes one value at the front of `room` and returns its length; `None` when it does not fit.
pub(crate) fn put<T: Encode>(room: &mut [u8], value: T) -> Option<usize> {
    bincode::encode_into_slice(value, room, CONFIG).ok()
}

/// Takes `length` raw bytes off the front.
pub(crate) fn take_bytes<'a>(bytes: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(head)
}

/// Takes so many raw bytes off the front that their number is known beforehand.
pub(crate) fn take_chunk<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*head)
}

/// Writes raw bytes at the front of `room` and returns their number; `None` when they do not fit.
pub(crate) fn put_chunk<const N: usize>(room: &mut [u8], bytes: [u8; N]) -> Option<usize> {
    *room.first_chunk_mut()? = bytes;
    Some(N)
}
