//! What datagrams carry piggybacked: member states, whole records, loads.
//!
//! Each update opens with a tag byte: its kind in the upper three bits, the accuser's bucket in the
//! lower five (zero where nobody is accused). Updates fill the rest of a datagram, one after the
//! other; a reader that meets a kind it does not know rejects the datagram, so new kinds need a new
//! version or an extension.

use std::net::{IpAddr, SocketAddr};

use bincode::{Decode, Encode};

use crate::codec;
use crate::datagram::{Incarnation, Vote};
use crate::id::{NodeId, ShortId};
use crate::limits::{BALLOTS_MAX, METADATA_BYTES_MAX, NAME_BYTES_MAX};

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
    /// Why a member was declared dead. About 20 bytes and 8 for each ballot.
    Evidence(Evidence<'a>),
    /// How the sender's view of a range of ids looks; for finding out where two views differ.
    Range(Range<'a>),
    /// A line of the list announced by the range before it. About 10 bytes.
    Entry(Entry),
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

/// The reason why a member was declared dead, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Evidence<'a> {
    /// Who was declared dead.
    pub subject: Incarnation,
    /// Who declared it.
    pub accuser: ShortId,
    /// By which rule: a number that the engine gives a meaning.
    pub rule: u8,
    /// From the first failed probe to the verdict, in milliseconds.
    pub open_ms: u32,
    /// From the verdict to the sending of this datagram, in milliseconds.
    pub decided_ms_ago: u32,
    /// Pings that the accuser sent before it accused.
    pub tries: u8,
    /// Helpers that it asked to ping as well.
    pub helpers: u8,
    /// Of these, those that said that they got no answer either.
    pub nacks: u8,
    /// The accuser's own health when it decided: 0 is the best.
    pub health: u8,
    /// What the others said, [`BALLOT_BYTES`] each; see [`Evidence::ballots`].
    pub ballots: &'a [u8],
}

/// What one observer said about an accused member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ballot {
    /// Who was asked.
    pub voter: ShortId,
    /// The answer; `None` when there was none until the verdict.
    pub vote: Option<Vote>,
    /// From the opening of the case to the answer, in milliseconds.
    pub after_ms: u16,
}

/// Bytes of a [`Ballot`] on the wire.
pub const BALLOT_BYTES: usize = 8;

impl Ballot {
    /// The bytes on the wire.
    #[must_use]
    pub fn to_bytes(self) -> [u8; BALLOT_BYTES] {
        let [a, b, c, d, e] = *self.voter.as_bytes();
        let vote = self.vote.map_or(BALLOT_SILENT, Vote::number);
        let [high, low] = self.after_ms.to_be_bytes();
        [a, b, c, d, e, vote, high, low]
    }

    /// The ballot of bytes on the wire.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; BALLOT_BYTES]) -> Self {
        let [a, b, c, d, e, vote, high, low] = bytes;
        let voter = ShortId::from_bytes([a, b, c, d, e]);
        Self { voter, vote: Vote::of_number(vote), after_ms: u16::from_be_bytes([high, low]) }
    }
}

impl<'a> Evidence<'a> {
    /// The answers of those who were asked.
    pub fn ballots(&self) -> impl Iterator<Item = Ballot> + use<'a> {
        self.ballots.as_chunks().0.iter().map(|bytes| Ballot::from_bytes(*bytes))
    }
}

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

/// Everything that is needed to insert a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The full id.
    pub id: NodeId,
    /// Alive; or dead or left, of a member that is kept only so that it can be recognised.
    pub state: State,
    /// For how many seconds it has been dead or gone; 0 while it is live.
    pub gone_for_s: u32,
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
/// Kinds that are too rare for a tag of their own: the lower five bits say which.
const KIND_OTHER: u8 = 6;

const OTHER_EVIDENCE: u8 = 0;
const OTHER_PARTS: u8 = 1;
const OTHER_LIST: u8 = 2;
const OTHER_ENTRY: u8 = 3;

/// On the wire, the vote of somebody who has not answered.
const BALLOT_SILENT: u8 = 0xff;

const FAMILY_IPV4: u8 = 4;
const FAMILY_IPV6: u8 = 6;

impl<'a> Update<'a> {
    /// The member that the update is about; `None` if it is about many.
    #[must_use]
    pub const fn id(&self) -> Option<ShortId> {
        Some(match self {
            Self::State(update) => update.id,
            Self::Record(record) => record.id.short(),
            Self::Load { id, .. } => *id,
            Self::Evidence(evidence) => evidence.subject.id,
            Self::Entry(entry) => entry.subject.id,
            Self::Range(_) => return None,
        })
    }

    /// Takes one update off the front; `None` when the bytes are none.
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let tag: u8 = codec::take(bytes)?;
        let (state, accuser) = match tag >> TAG_KIND_SHIFT {
            KIND_ALIVE => (State::Alive, Bucket::default()),
            KIND_SUSPECT => (State::Suspect, Bucket::from_tag(tag)),
            KIND_DEAD => (State::Dead, Bucket::from_tag(tag)),
            KIND_LEFT => (State::Left, Bucket::default()),
            KIND_RECORD => return Record::take(tag, bytes).map(Self::Record),
            KIND_LOAD => {
                let (id, generation, sequence, load) = codec::take(bytes)?;
                return Some(Self::Load { id, generation, sequence, load });
            }
            KIND_OTHER => return Self::take_other(tag & TAG_BUCKET_MASK, bytes),
            _ => return None,
        };
        let (id, generation, incarnation) = codec::take(bytes)?;
        Some(Self::State(StateUpdate { id, state, accuser, generation, incarnation }))
    }

    fn take_other(kind: u8, bytes: &mut &'a [u8]) -> Option<Self> {
        Some(match kind {
            OTHER_EVIDENCE => Self::Evidence(Evidence::take(bytes)?),
            OTHER_PARTS => {
                let (prefix, bits): ([u8; 4], u8) = codec::take(bytes)?;
                let parts = codec::take_bytes(bytes, PARTS.checked_mul(4)?)?.first_chunk()?;
                Self::Range(Range::checked(prefix, bits, Content::Parts(parts))?)
            }
            OTHER_LIST => {
                let (prefix, bits, count): ([u8; 4], u8, u8) = codec::take(bytes)?;
                Self::Range(Range::checked(prefix, bits, Content::List(count))?)
            }
            OTHER_ENTRY => {
                let (state, subject, revision): (u8, Incarnation, u32) = codec::take(bytes)?;
                let state = state_of_number(state)?;
                let gone_for_s = take_age(state, bytes)?;
                Self::Entry(Entry { subject, state, revision, gone_for_s })
            }
            _ => return None,
        })
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
            Self::Evidence(evidence) => evidence.put(room),
            Self::Range(Range { prefix, bits, content }) => {
                let place = (prefix.to_be_bytes(), bits);
                match content {
                    Content::Parts(parts) => {
                        let head = codec::put(room, (other(OTHER_PARTS), place))?;
                        let tail = room.get_mut(head..)?.get_mut(..parts.len())?;
                        tail.copy_from_slice(*parts);
                        head.checked_add(parts.len())
                    }
                    Content::List(count) => codec::put(room, (other(OTHER_LIST), place, count)),
                }
            }
            Self::Entry(entry) => {
                let tag = other(OTHER_ENTRY);
                let fields = (tag, state_number(entry.state), entry.subject, entry.revision);
                put_aged(room, fields, entry.state, entry.gone_for_s)
            }
        }
    }
}

const fn other(kind: u8) -> u8 {
    (KIND_OTHER << TAG_KIND_SHIFT) | kind
}

const fn state_number(state: State) -> u8 {
    match state {
        State::Alive | State::Suspect => KIND_ALIVE,
        State::Dead => KIND_DEAD,
        State::Left => KIND_LEFT,
    }
}

const fn state_of_number(number: u8) -> Option<State> {
    match number {
        KIND_ALIVE => Some(State::Alive),
        KIND_DEAD => Some(State::Dead),
        KIND_LEFT => Some(State::Left),
        _ => None,
    }
}

/// For how long a member has been gone travels only with those that are.
fn take_age(state: State, bytes: &mut &[u8]) -> Option<u32> {
    if state == State::Alive { Some(0) } else { codec::take(bytes) }
}

fn put_aged<T: Encode>(room: &mut [u8], fields: T, state: State, gone_for_s: u32) -> Option<usize> {
    match state {
        State::Alive | State::Suspect => codec::put(room, fields),
        State::Dead | State::Left => codec::put(room, (fields, gone_for_s)),
    }
}

impl<'a> Range<'a> {
    /// `None` for a range that does not exist.
    fn checked(prefix: [u8; 4], bits: u8, content: Content<'a>) -> Option<Self> {
        let prefix = u32::from_be_bytes(prefix);
        let beyond = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
        (bits <= 32 && prefix & beyond == 0).then_some(Self { prefix, bits, content })
    }
}

impl<'a> Evidence<'a> {
    fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let (subject, accuser, rule) = codec::take(bytes)?;
        let (open_ms, decided_ms_ago) = codec::take(bytes)?;
        let (tries, helpers, nacks, health, count): (u8, u8, u8, u8, u8) = codec::take(bytes)?;
        let count = usize::from(count);
        if count > BALLOTS_MAX {
            return None;
        }
        let ballots = codec::take_bytes(bytes, count.checked_mul(BALLOT_BYTES)?)?;
        Some(Self {
            subject,
            accuser,
            rule,
            open_ms,
            decided_ms_ago,
            tries,
            helpers,
            nacks,
            health,
            ballots,
        })
    }

    fn put(&self, room: &mut [u8]) -> Option<usize> {
        let count = self.ballots.len().checked_div(BALLOT_BYTES)?;
        if count > BALLOTS_MAX || self.ballots.len() != count.checked_mul(BALLOT_BYTES)? {
            return None;
        }
        let head = (other(OTHER_EVIDENCE), self.subject, self.accuser, self.rule);
        let times = (self.open_ms, self.decided_ms_ago);
        let own = (self.tries, self.helpers, self.nacks, self.health);
        let head = codec::put(room, (head, times, own, u8::try_from(count).ok()?))?;
        room.get_mut(head..)?.get_mut(..self.ballots.len())?.copy_from_slice(self.ballots);
        head.checked_add(self.ballots.len())
    }
}

impl<'a> Record<'a> {
    fn take(tag: u8, bytes: &mut &'a [u8]) -> Option<Self> {
        let state = state_of_number(tag & TAG_BUCKET_MASK)?;
        let (id, generation, incarnation, revision) = codec::take(bytes)?;
        let ip = match codec::take::<u8>(bytes)? {
            FAMILY_IPV4 => IpAddr::from(codec::take::<[u8; 4]>(bytes)?),
            FAMILY_IPV6 => IpAddr::from(codec::take::<[u8; 16]>(bytes)?),
            _ => return None,
        };
        let address = SocketAddr::new(ip, u16::from_be_bytes(codec::take(bytes)?));
        let name: &str = codec::take(bytes)?;
        let metadata: &[u8] = codec::take(bytes)?;
        let gone_for_s = take_age(state, bytes)?;
        let record = Self {
            id,
            state,
            gone_for_s,
            generation,
            incarnation,
            revision,
            address,
            name,
            metadata,
        };
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
        let state = self.state;
        let head = (
            (KIND_RECORD << TAG_KIND_SHIFT) | state_number(state),
            self.id,
            self.generation,
            self.incarnation,
            self.revision,
        );
        let tail = (port, self.name, self.metadata);
        match self.address.ip() {
            IpAddr::V4(ip) => {
                let fields = (head, FAMILY_IPV4, ip.octets(), tail);
                put_aged(room, fields, state, self.gone_for_s)
            }
            IpAddr::V6(ip) => {
                let fields = (head, FAMILY_IPV6, ip.octets(), tail);
                put_aged(room, fields, state, self.gone_for_s)
            }
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
