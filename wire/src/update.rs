//! What datagrams carry piggybacked: member states, whole records, loads.
//!
//! Each update opens with a tag byte: its kind in the upper three bits, the accuser's bucket in the
//! lower five (zero where nobody is accused). Updates fill the rest of a datagram, one after the
//! other; a reader that meets a kind it does not know rejects the datagram, so new kinds need a new
//! version or an extension.

use std::net::{IpAddr, SocketAddr};

use bincode::{Decode, Encode};

use crate::codec;
use crate::id::{NodeId, ShortId};
use crate::limits::{METADATA_BYTES_MAX, NAME_BYTES_MAX};

/// One piece of news about one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update<'a> {
    /// Alive, suspect, dead or left. 8 bytes while generation and incarnation are below 251.
    State(StateUpdate),
    /// Everything about a live member, enough to insert it. About 100 bytes.
    Record(Record<'a>),
    /// How busy a member is. About 11 bytes.
    Load {
        /// The member.
        id: ShortId,
        /// Its generation; a load of an older one is worth nothing.
        generation: u32,
        /// Counts the loads a member announced within its generation; the highest is the newest.
        sequence: u32,
        /// The load.
        load: Load,
    },
}

/// A claim about the state of a member at an incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateUpdate {
    /// The member.
    pub id: ShortId,
    /// What is claimed.
    pub state: State,
    /// Who claims it, for `suspect` and `dead`: tells independent accusers apart. Bucket 0 else.
    pub accuser: Bucket,
    /// The generation that is meant.
    pub generation: u32,
    /// The incarnation that is meant.
    pub incarnation: u32,
}

/// The state of a member. The order is that of precedence at equal incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// It answers, or nobody has doubted it.
    Alive,
    /// It did not answer somebody; it has a while to refute that.
    Suspect,
    /// It did not refute in time.
    Dead,
    /// It said goodbye.
    Left,
}

/// A five-bit fingerprint of an accuser, so that confirmations of a suspicion can be counted
/// without spending five bytes on each. Two accusers share one with probability 1/32; the only
/// effect is that a suspicion lasts a little longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bucket(u8);

impl Bucket {
    /// The bucket of a member: the lowest five bits of its short id.
    #[must_use]
    pub const fn of(id: ShortId) -> Self {
        let [.., last] = *id.as_bytes();
        Self(last & TAG_BUCKET_MASK)
    }

    /// The number, 0 to 31.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }

    const fn from_tag(tag: u8) -> Self {
        Self(tag & TAG_BUCKET_MASK)
    }
}

/// Everything that is needed to insert a live member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The full id.
    pub id: NodeId,
    /// Grows with each start of the node's process.
    pub generation: u32,
    /// Grows when the node refutes a claim about itself; starts anew with each generation.
    pub incarnation: u32,
    /// Grows when address, name or metadata change; starts anew with each generation.
    pub revision: u32,
    /// Where its gossip socket is reached. Scope and flow label of an IPv6 address do not travel:
    /// they mean something on the sender's host only.
    pub address: SocketAddr,
    /// The label given by its operator; at most [`NAME_BYTES_MAX`] bytes.
    pub name: &'a str,
    /// What the host says of itself, see [`crate::Metadata`]; at most [`METADATA_BYTES_MAX`] bytes.
    pub metadata: &'a [u8],
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Encode, Decode)]
pub struct Load {
    /// Agent runs in flight on the node.
    pub active_requests: u32,
    /// Processor use of the host, in percent.
    pub cpu_percent: u8,
    /// Memory use of the host, in percent.
    pub memory_percent: u8,
}

const TAG_BUCKET_MASK: u8 = 0b0001_1111;
const TAG_KIND_SHIFT: u32 = 5;
const KIND_ALIVE: u8 = 0;
const KIND_SUSPECT: u8 = 1;
const KIND_DEAD: u8 = 2;
const KIND_LEFT: u8 = 3;
const KIND_RECORD: u8 = 4;
const KIND_LOAD: u8 = 5;

const FAMILY_IPV4: u8 = 4;
const FAMILY_IPV6: u8 = 6;

impl<'a> Update<'a> {
    /// The member that the update is about.
    #[must_use]
    pub const fn id(&self) -> ShortId {
        match self {
            Self::State(update) => update.id,
            Self::Record(record) => record.id.short(),
            Self::Load { id, .. } => *id,
        }
    }

    /// Takes one update off the front; `None` when the bytes are none.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let tag: u8 = codec::take(bytes)?;
        let (state, accuser) = match tag >> TAG_KIND_SHIFT {
            KIND_ALIVE => (State::Alive, Bucket::default()),
            KIND_SUSPECT => (State::Suspect, Bucket::from_tag(tag)),
            KIND_DEAD => (State::Dead, Bucket::from_tag(tag)),
            KIND_LEFT => (State::Left, Bucket::default()),
            KIND_RECORD => return Record::take(bytes).map(Self::Record),
            KIND_LOAD => {
                let (id, generation, sequence, load) = codec::take(bytes)?;
                return Some(Self::Load { id, generation, sequence, load });
            }
            _ => return None,
        };
        let (id, generation, incarnation) = codec::take(bytes)?;
        Some(Self::State(StateUpdate { id, state, accuser, generation, incarnation }))
    }

    /// Writes the update at the front of `room`; `None` when it does not fit.
    pub(crate) fn put(&self, room: &mut [u8]) -> Option<usize> {
        match self {
            Self::State(update) => {
                let (kind, bucket) = match update.state {
                    State::Alive => (KIND_ALIVE, 0),
                    State::Suspect => (KIND_SUSPECT, update.accuser.number()),
                    State::Dead => (KIND_DEAD, update.accuser.number()),
                    State::Left => (KIND_LEFT, 0),
                };
                let tag = (kind << TAG_KIND_SHIFT) | bucket;
                codec::put(room, (tag, update.id, update.generation, update.incarnation))
            }
            Self::Record(record) => record.put(room),
            Self::Load { id, generation, sequence, load } => {
                codec::put(room, (KIND_LOAD << TAG_KIND_SHIFT, id, generation, sequence, load))
            }
        }
    }
}

impl<'a> Record<'a> {
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (id, generation, incarnation, revision) = codec::take(bytes)?;
        let ip = match codec::take::<u8>(bytes)? {
            FAMILY_IPV4 => IpAddr::from(codec::take::<[u8; 4]>(bytes)?),
            FAMILY_IPV6 => IpAddr::from(codec::take::<[u8; 16]>(bytes)?),
            _ => return None,
        };
        let address = SocketAddr::new(ip, u16::from_be_bytes(codec::take(bytes)?));
        let name: &str = codec::take(bytes)?;
        let metadata: &[u8] = codec::take(bytes)?;
        let record = Self { id, generation, incarnation, revision, address, name, metadata };
        record.fits().then_some(record)
    }

    /// Both sides hold to the limits: a record that no reader would accept is never written, as it
    /// would take the rest of its datagram down with it.
    const fn fits(&self) -> bool {
        self.name.len() <= NAME_BYTES_MAX && self.metadata.len() <= METADATA_BYTES_MAX
    }

    fn put(&self, room: &mut [u8]) -> Option<usize> {
        if !self.fits() {
            return None;
        }
        let port = self.address.port().to_be_bytes();
        let head = (
            KIND_RECORD << TAG_KIND_SHIFT,
            self.id,
            self.generation,
            self.incarnation,
            self.revision,
        );
        let tail = (port, self.name, self.metadata);
        match self.address.ip() {
            IpAddr::V4(ip) => codec::put(room, (head, FAMILY_IPV4, ip.octets(), tail)),
            IpAddr::V6(ip) => codec::put(room, (head, FAMILY_IPV6, ip.octets(), tail)),
        }
    }
}

/// The updates of a decoded datagram, one after the other.
#[derive(Debug, Clone)]
pub struct Updates<'a> {
    /// Checked when the datagram was decoded: a whole number of updates.
    bytes: &'a [u8],
}

impl<'a> Updates<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }
}

impl<'a> Iterator for Updates<'a> {
    type Item = Update<'a>;

    fn next(&mut self) -> Option<Update<'a>> {
        if self.bytes.is_empty() { None } else { Update::take(&mut self.bytes) }
    }
}
