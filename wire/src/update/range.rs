//! What a sender holds of the members whose ids hash alike, so that two views can be compared.
//!
//! Owns the layout of digests and lists. Refuses to compute a digest or to compare two: that is the
//! engine's.

use super::{OTHER_ENTRY, OTHER_LIST, OTHER_PARTS, State, other, put_aged, take_age};
use crate::codec;
use crate::datagram::Incarnation;

/// The ids whose hash starts with the same bits, and what the sender holds of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range<'a> {
    /// The bits, left-aligned; those after the first `bits` are zero.
    pub prefix: u32,
    /// How many of them count, 0 to 32.
    pub bits: u8,
    /// What the sender holds.
    pub content: Content<'a>,
}

/// What a sender holds of a range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content<'a> {
    /// The digests of its [`PARTS`] equal parts, four bytes each; see [`Content::digests`].
    Parts(&'a [u8; PARTS * 4]),
    /// So many members, one [`Entry`] each; they follow at once.
    List(u8),
}

/// Parts that a range is divided into.
pub const PARTS: usize = 64;

impl<'a> Content<'a> {
    /// The digests of the parts in order; none for a list.
    pub fn digests(&self) -> impl Iterator<Item = u32> + use<'a> {
        let bytes: &'a [u8] = match self {
            Self::Parts(bytes) => *bytes,
            Self::List(_) => &[],
        };
        bytes.as_chunks().0.iter().map(|bytes| u32::from_be_bytes(*bytes))
    }
}

/// What the sender holds of one member, without its description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The member at its incarnation.
    pub subject: Incarnation,
    /// Its state; suspect counts as alive.
    pub state: State,
    /// The revision of its description.
    pub revision: u32,
    /// For how many seconds it has been dead or gone; 0 while it is live.
    pub gone_for_s: u32,
}

/// Digests on the wire.
const PARTS_BYTES: usize = PARTS * 4;

impl<'a> Range<'a> {
    pub(super) fn take_parts(bytes: &mut &'a [u8]) -> Option<Self> {
        let (prefix, bits): ([u8; 4], u8) = codec::take(bytes)?;
        let parts = codec::take_bytes(bytes, PARTS_BYTES)?.first_chunk()?;
        let prefix = u32::from_be_bytes(prefix);
        Self { prefix, bits, content: Content::Parts(parts) }.checked()
    }

    pub(super) fn take_list(bytes: &mut &'a [u8]) -> Option<Self> {
        let (prefix, bits, count): ([u8; 4], u8, u8) = codec::take(bytes)?;
        let prefix = u32::from_be_bytes(prefix);
        Self { prefix, bits, content: Content::List(count) }.checked()
    }

    pub(super) fn put(&self, room: &mut [u8]) -> Option<usize> {
        let Self { prefix, bits, content } = self.checked()?;
        let place = (prefix.to_be_bytes(), bits);
        match content {
            Content::Parts(parts) => {
                let head = codec::put(room, (other(OTHER_PARTS), place))?;
                *room.get_mut(head..)?.first_chunk_mut()? = *parts;
                head.checked_add(PARTS_BYTES)
            }
            Content::List(count) => codec::put(room, (other(OTHER_LIST), place, count)),
        }
    }

    /// `None` for a range that does not exist. Both sides hold to that, as with a record.
    fn checked(self) -> Option<Self> {
        let beyond = u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
        (self.bits <= 32 && self.prefix & beyond == 0).then_some(self)
    }
}

impl Entry {
    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (state, subject, revision): (u8, Incarnation, u32) = codec::take(bytes)?;
        let state = State::of_number(state)?;
        let gone_for_s = take_age(state, bytes)?;
        Some(Self { subject, state, revision, gone_for_s })
    }

    pub(super) fn put(&self, room: &mut [u8]) -> Option<usize> {
        let fields = (other(OTHER_ENTRY), self.state.number(), self.subject, self.revision);
        put_aged(room, fields, self.state, self.gone_for_s)
    }
}
