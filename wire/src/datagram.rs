//! A datagram: header, message, extensions, updates, checksum.
//!
//! ```text
//! 0      magic 0xA in the upper half, version in the lower
//! 1      message kind in the lower half, flags in the upper
//! 2..7   short id of the sender
//! 7..    message, then (flag) extensions, then updates up to the last four bytes
//! -4..   CRC-32 of all before it, XOR the cluster's tag
//! ```

use bincode::{Decode, Encode};
use bytes::BytesMut;

use crate::codec;
use crate::id::ShortId;
use crate::limits::DATAGRAM_BYTES_MAX;
use crate::load::LoadRecord;
use crate::update::{Encoded, Update, Updates};

/// The version this code speaks.
pub const VERSION: u8 = 2;

const MAGIC: u8 = 0xA0;
const MAGIC_MASK: u8 = 0xF0;
const VERSION_MASK: u8 = 0x0F;
const KIND_MASK: u8 = 0x0F;
const FLAG_SEALED: u8 = 0x80;
const FLAG_EXTENSIONS: u8 = 0x40;
/// On a ping: the sender wants to know its slot. On an ack: the slot follows.
const FLAG_SLOT: u8 = 0x20;
const FLAGS_RESERVED: u8 = 0x10;
const HEADER_BYTES: usize = 7;
const CHECKSUM_BYTES: usize = 4;

const KIND_PING: u8 = 1;
const KIND_ACK: u8 = 2;
const KIND_PING_REQ: u8 = 3;
const KIND_NACK: u8 = 4;
const KIND_GOSSIP: u8 = 5;
const KIND_QUERY: u8 = 6;
const KIND_SOLICIT: u8 = 7;
const KIND_VOTE: u8 = 8;
const KIND_BEACON: u8 = 9;

/// What a cluster mixes into each checksum: the CRC-32 of its name. Two clusters with different
/// tags never accept each other's datagrams, whatever these contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterTag(u32);

impl ClusterTag {
    /// The tag of the cluster of this name.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self(crc32fast::hash(name.as_bytes()))
    }
}

/// What a datagram asks or answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// "Are you there?" 22 bytes.
    Ping {
        /// Who is meant; another node at this address must not answer.
        target: ShortId,
        /// Comes back in the ack.
        sequence: u16,
        /// Digest of the sender's view, see the engine.
        digest: u32,
        /// Whether the sender asks when its next ping is wanted.
        wants_slot: bool,
    },
    /// The answer to a ping, or its relayed answer. 17 bytes, 19 with a slot.
    Ack {
        /// The sequence of the ping (or of the ping-req, when relayed).
        sequence: u16,
        /// Digest of the sender's view.
        digest: u32,
        /// In how many milliseconds the sender wants the next ping of this receiver.
        slot_ms: Option<u16>,
    },
    /// "Please ping that member for me." 18 bytes.
    PingReq {
        /// Who is to be pinged.
        target: ShortId,
        /// Comes back in the ack or nack.
        sequence: u16,
    },
    /// "I pinged it for you and it has not answered so far." 13 bytes.
    Nack {
        /// The sequence of the ping-req.
        sequence: u16,
    },
    /// Nothing but updates.
    Gossip,
    /// "Send me the record of that member." 16 bytes.
    Query {
        /// Whose record is wanted.
        subject: ShortId,
    },
    /// "It does not answer me. Try it yourself, and vote." 20 bytes while numbers are small.
    Solicit {
        /// Who is accused.
        subject: Incarnation,
        /// For how long it has been accused, in milliseconds.
        age_ms: u16,
    },
    /// The answer to a solicitation, now or as soon as there is one. 19 bytes while numbers are small.
    Vote {
        /// Who is accused.
        subject: Incarnation,
        /// What the sender says.
        vote: Vote,
    },
    /// "So busy am I, and this much of it is your work." 24 bytes while numbers are small, 41 at
    /// most. It is never answered.
    Beacon {
        /// Whose work is counted; another node at this address must not take it for its own.
        target: ShortId,
        /// The load of the sender.
        record: LoadRecord,
    },
}

/// A member at an incarnation: what an accusation is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Incarnation {
    /// The member.
    pub id: ShortId,
    /// Its generation.
    pub generation: u32,
    /// Its incarnation within that.
    pub incarnation: u32,
}

/// What a member says about an accused one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vote {
    /// It does not answer the voter either.
    No,
    /// It answered: the accusation is void.
    Alive,
    /// The voter does not trust its own probes at present.
    Abstain,
}

impl Vote {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::No => 0,
            Self::Alive => 1,
            Self::Abstain => 2,
        }
    }

    pub(crate) const fn of_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::No),
            1 => Some(Self::Alive),
            2 => Some(Self::Abstain),
            _ => None,
        }
    }
}

/// Why a datagram was not believed. Nothing changes but a counter, and nothing is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// More than [`DATAGRAM_BYTES_MAX`] bytes.
    #[error("larger than {DATAGRAM_BYTES_MAX} bytes")]
    Oversize,
    /// Too short for a header and a checksum.
    #[error("truncated")]
    Truncated,
    /// It does not start as ours do.
    #[error("not an astromesh datagram")]
    Magic,
    /// Written by a version that this one cannot read.
    #[error("version {0} is not known here")]
    Version(u8),
    /// Damaged on the way, or of another cluster: the tag that would have made it valid. Damage
    /// gives a different one each time, another cluster always the same.
    #[error("checksum does not match")]
    Checksum {
        /// The tag under which the checksum is right.
        tag: u32,
    },
    /// Encrypted, and there is no key here.
    #[error("sealed, and no key is configured")]
    Sealed,
    /// The checksum is right but the content is not.
    #[error("malformed")]
    Malformed,
}

/// A datagram that decoded in full.
#[derive(Debug, Clone)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub sender: ShortId,
    /// What it asks or answers.
    pub message: Message,
    updates: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads a datagram in full, every update included.
    ///
    /// # Errors
    /// The first reason for which it is not to be believed.
    pub fn decode(bytes: &'a [u8], cluster: ClusterTag) -> Result<Self, Rejection> {
        if bytes.len() > DATAGRAM_BYTES_MAX {
            return Err(Rejection::Oversize);
        }
        let first = *bytes.first().ok_or(Rejection::Truncated)?;
        if first & MAGIC_MASK != MAGIC {
            return Err(Rejection::Magic);
        }
        if first & VERSION_MASK != VERSION {
            return Err(Rejection::Version(first & VERSION_MASK));
        }
        let (content, checksum) =
            bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Rejection::Truncated)?;
        if content.len() < HEADER_BYTES {
            return Err(Rejection::Truncated);
        }
        let tag = crc32fast::hash(content) ^ u32::from_be_bytes(*checksum);
        if tag != cluster.0 {
            return Err(Rejection::Checksum { tag });
        }
        let mut rest = content;
        let [_, kind, a, b, c, d, e] =
            codec::take_chunk::<HEADER_BYTES>(&mut rest).ok_or(Rejection::Truncated)?;
        let sender = ShortId::from_bytes([a, b, c, d, e]);
        if kind & FLAG_SEALED != 0 {
            return Err(Rejection::Sealed);
        }
        if kind & FLAGS_RESERVED != 0 {
            return Err(Rejection::Malformed);
        }
        let message = Message::take(kind, &mut rest).ok_or(Rejection::Malformed)?;
        if kind & FLAG_EXTENSIONS != 0 {
            // A block of later inventions: its length, then bytes that this version skips.
            let length: u16 = codec::take(&mut rest).ok_or(Rejection::Malformed)?;
            codec::take_bytes(&mut rest, usize::from(length)).ok_or(Rejection::Malformed)?;
        }
        let updates = rest;
        while !rest.is_empty() {
            Update::take(&mut rest).ok_or(Rejection::Malformed)?;
        }
        Ok(Self { sender, message, updates })
    }

    /// The piggybacked updates, in the order in which they were written.
    #[must_use]
    pub const fn updates(&self) -> Updates<'a> {
        Updates::new(self.updates)
    }
}

impl Message {
    const fn kind(&self) -> u8 {
        match self {
            Self::Ping { .. } => KIND_PING,
            Self::Ack { .. } => KIND_ACK,
            Self::PingReq { .. } => KIND_PING_REQ,
            Self::Nack { .. } => KIND_NACK,
            Self::Gossip => KIND_GOSSIP,
            Self::Query { .. } => KIND_QUERY,
            Self::Solicit { .. } => KIND_SOLICIT,
            Self::Vote { .. } => KIND_VOTE,
            Self::Beacon { .. } => KIND_BEACON,
        }
    }

    /// Flags in the kind's byte that belong to the message.
    const fn flags(&self) -> u8 {
        match self {
            Self::Ping { wants_slot: true, .. } | Self::Ack { slot_ms: Some(_), .. } => FLAG_SLOT,
            Self::Ping { .. }
            | Self::Ack { .. }
            | Self::PingReq { .. }
            | Self::Nack { .. }
            | Self::Gossip
            | Self::Query { .. }
            | Self::Solicit { .. }
            | Self::Vote { .. }
            | Self::Beacon { .. } => 0,
        }
    }

    /// `kind` is the whole byte, flags included.
    fn take(kind: u8, bytes: &mut &[u8]) -> Option<Self> {
        let has_slot = kind & FLAG_SLOT != 0;
        let kind = kind & KIND_MASK;
        if has_slot && !matches!(kind, KIND_PING | KIND_ACK) {
            return None;
        }
        Some(match kind {
            KIND_PING => {
                let [a, b, c, d, e, f, g, h, i, j, k] = codec::take_chunk(bytes)?;
                let target = ShortId::from_bytes([a, b, c, d, e]);
                let (sequence, digest) = (be16([f, g]), be32([h, i, j, k]));
                Self::Ping { target, sequence, digest, wants_slot: has_slot }
            }
            KIND_ACK => {
                let [a, b, c, d, e, f] = codec::take_chunk(bytes)?;
                let slot_ms = if has_slot { Some(be16(codec::take_chunk(bytes)?)) } else { None };
                Self::Ack { sequence: be16([a, b]), digest: be32([c, d, e, f]), slot_ms }
            }
            KIND_PING_REQ => {
                let (target, sequence) = codec::take(bytes)?;
                Self::PingReq { target, sequence: be16(sequence) }
            }
            KIND_NACK => Self::Nack { sequence: be16(codec::take(bytes)?) },
            KIND_GOSSIP => Self::Gossip,
            KIND_QUERY => Self::Query { subject: codec::take(bytes)? },
            KIND_SOLICIT => {
                let (subject, age_ms) = codec::take(bytes)?;
                Self::Solicit { subject, age_ms: be16(age_ms) }
            }
            KIND_VOTE => {
                let (subject, vote) = codec::take(bytes)?;
                Self::Vote { subject, vote: Vote::of_number(vote)? }
            }
            KIND_BEACON => {
                Self::Beacon { target: codec::take(bytes)?, record: LoadRecord::take(bytes)? }
            }
            _ => return None,
        })
    }

    fn put(&self, room: &mut [u8]) -> Option<usize> {
        match *self {
            Self::Ping { target, sequence, digest, wants_slot: _ } => {
                let [a, b, c, d, e] = *target.as_bytes();
                let [f, g] = sequence.to_be_bytes();
                let [h, i, j, k] = digest.to_be_bytes();
                codec::put_chunk(room, [a, b, c, d, e, f, g, h, i, j, k])
            }
            Self::Ack { sequence, digest, slot_ms } => {
                let [a, b] = sequence.to_be_bytes();
                let [c, d, e, f] = digest.to_be_bytes();
                match slot_ms.map(u16::to_be_bytes) {
                    None => codec::put_chunk(room, [a, b, c, d, e, f]),
                    Some([g, h]) => codec::put_chunk(room, [a, b, c, d, e, f, g, h]),
                }
            }
            Self::PingReq { target, sequence } => {
                codec::put(room, (target, sequence.to_be_bytes()))
            }
            Self::Nack { sequence } => codec::put(room, sequence.to_be_bytes()),
            Self::Gossip => Some(0),
            Self::Query { subject } => codec::put(room, subject),
            Self::Solicit { subject, age_ms } => codec::put(room, (subject, age_ms.to_be_bytes())),
            Self::Vote { subject, vote } => codec::put(room, (subject, vote.number())),
            Self::Beacon { target, record } => {
                let head = codec::put(room, target)?;
                let fields = record.put(room.get_mut(head..)?)?;
                Some(head.saturating_add(fields))
            }
        }
    }
}

/// Sequence and digest have a fixed width: as variable-length integers they would mostly be longer.
const fn be16(bytes: [u8; 2]) -> u16 {
    u16::from_be_bytes(bytes)
}

const fn be32(bytes: [u8; 4]) -> u32 {
    u32::from_be_bytes(bytes)
}

/// The update does not fit any more, or is a record whose name or metadata break their limit; the
/// datagram is as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no room left in the datagram")]
pub struct Full;

/// Writes one datagram into a reused buffer and never lets it outgrow its budget.
#[derive(Debug)]
pub struct Encoder<'b> {
    /// Resized to the budget at the start, cut to the length at the end.
    buffer: &'b mut BytesMut,
    /// Bytes written so far; always at least four below the buffer's length.
    length: usize,
}

impl<'b> Encoder<'b> {
    /// Starts a datagram with its header and message. What `buffer` held is gone; its memory is
    /// reused.
    pub fn begin(buffer: &'b mut BytesMut, sender: ShortId, message: &Message) -> Self {
        buffer.resize(DATAGRAM_BYTES_MAX, 0);
        let mut encoder = Self { buffer, length: 0 };
        let kind = message.kind() | message.flags();
        let [a, b, c, d, e] = *sender.as_bytes();
        let header = [MAGIC | VERSION, kind, a, b, c, d, e];
        let written = encoder.put(|room| codec::put_chunk(room, header));
        let written = written.and_then(|()| encoder.put(|room| message.put(room)));
        debug_assert!(written.is_ok(), "header and message are far below the budget");
        encoder
    }

    /// Adds an update.
    ///
    /// # Errors
    /// [`Full`] when it would break the budget, or a limit of a record; the datagram is unchanged
    /// then.
    pub fn push(&mut self, update: &Update<'_>) -> Result<(), Full> {
        self.put(|room| update.put(room))
    }

    /// Adds an update whose bytes are known.
    ///
    /// # Errors
    /// As [`Encoder::push`].
    pub fn push_encoded(&mut self, update: &Encoded) -> Result<(), Full> {
        self.put(|room| update.put(room))
    }

    /// How many bytes updates may still take.
    #[must_use]
    pub fn room(&self) -> usize {
        DATAGRAM_BYTES_MAX.saturating_sub(CHECKSUM_BYTES).saturating_sub(self.length)
    }

    /// Closes the datagram with its checksum; the buffer then holds exactly its bytes.
    pub fn finish(self, cluster: ClusterTag) {
        self.buffer.truncate(self.length);
        let checksum = crc32fast::hash(self.buffer) ^ cluster.0;
        self.buffer.extend_from_slice(&checksum.to_be_bytes());
    }

    fn put(&mut self, write: impl FnOnce(&mut [u8]) -> Option<usize>) -> Result<(), Full> {
        let end = DATAGRAM_BYTES_MAX.saturating_sub(CHECKSUM_BYTES);
        let room = self.buffer.get_mut(self.length..end).ok_or(Full)?;
        let written = write(room).ok_or(Full)?;
        self.length = self.length.saturating_add(written);
        Ok(())
    }
}
