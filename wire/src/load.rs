//! How busy a node is: what is gossiped of it, and what it tells those directly that send it work.
//!
//! Owns the two forms and their bytes. Refuses to know which of two reports is the newer and what
//! to make of them: that is for whoever chooses a node.

use crate::codec;

/// How busy a node is, as everybody hears it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Agent runs in flight on the node.
    pub active_requests: u32,
    /// Processor use of the host, in percent.
    pub cpu_percent: u8,
    /// Memory use of the host, in percent.
    pub memory_percent: u8,
    /// Agent runs that it takes at once; 0 for any number.
    pub limit: u32,
    /// It takes no new runs any more and finishes those that it has.
    pub is_draining: bool,
}

/// How busy a node is, as it tells one of those that send it work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoadRecord {
    /// The generation of the node's process; numbers of an older one are worth nothing.
    pub boot: u32,
    /// When it was counted: units of 10 ms since the process began. The highest is the newest.
    pub sequence: u32,
    /// Agent runs in flight on the node, whoever sent them.
    pub active: u32,
    /// Agent runs that it takes at once; 0 for any number.
    pub limit: u32,
    /// It takes no new runs any more and finishes those that it has.
    pub is_draining: bool,
    /// Of `active`, those that the receiver sent; `None` when the record is for nobody in particular.
    pub yours: Option<u32>,
}

/// In the lower bits of a load update's tag: the node is draining.
const TAG_DRAINING: u8 = 1;
/// In the lower bits of a load update's tag: a limit follows.
const TAG_LIMIT: u8 = 2;

impl Load {
    /// What the tag of an update says of this load. Most nodes have no limit and are not draining,
    /// and their load is not longer for it.
    pub(crate) const fn tag_flags(&self) -> u8 {
        let draining = if self.is_draining { TAG_DRAINING } else { 0 };
        let limit = if self.limit == 0 { 0 } else { TAG_LIMIT };
        draining | limit
    }

    pub(crate) fn take(tag: u8, bytes: &mut &[u8]) -> Option<Self> {
        let (active_requests, cpu_percent, memory_percent) = codec::take(bytes)?;
        let limit = if tag & TAG_LIMIT == 0 { 0 } else { codec::take(bytes)? };
        let is_draining = tag & TAG_DRAINING != 0;
        Some(Self { active_requests, cpu_percent, memory_percent, limit, is_draining })
    }

    /// The fields behind the member, its generation and the sequence.
    pub(crate) fn put(&self, room: &mut [u8]) -> Option<usize> {
        let fields = (self.active_requests, self.cpu_percent, self.memory_percent);
        if self.limit == 0 {
            return codec::put(room, fields);
        }
        codec::put(room, (fields, self.limit))
    }
}

const FLAG_DRAINING: u8 = 1;
const FLAG_YOURS: u8 = 2;

impl LoadRecord {
    pub(crate) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let (boot, sequence, active, limit, flags): (_, [u8; 4], _, _, u8) = codec::take(bytes)?;
        if flags & !(FLAG_DRAINING | FLAG_YOURS) != 0 {
            return None;
        }
        let yours = if flags & FLAG_YOURS == 0 { None } else { Some(codec::take(bytes)?) };
        Some(Self {
            boot,
            sequence: u32::from_be_bytes(sequence),
            active,
            limit,
            is_draining: flags & FLAG_DRAINING != 0,
            yours,
        })
    }

    pub(crate) fn put(&self, room: &mut [u8]) -> Option<usize> {
        let draining = if self.is_draining { FLAG_DRAINING } else { 0 };
        // Of fixed width: from eleven minutes on it would be longer as a variable one.
        let sequence = self.sequence.to_be_bytes();
        let fields = (self.boot, sequence, self.active, self.limit);
        match self.yours {
            None => codec::put(room, (fields, draining)),
            Some(yours) => codec::put(room, (fields, draining | FLAG_YOURS, yours)),
        }
    }
}
