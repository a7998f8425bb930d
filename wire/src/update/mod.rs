//! What datagrams carry piggybacked: member states, whole records, loads, evidence, ranges.
//!
//! Each update opens with a tag byte: its kind in the upper three bits; in the lower five the
//! accuser's bucket, the state of a record, flags of a load, which of the rare kinds it is, or zero.
//! Updates fill the rest of a datagram, one after the other; a reader that meets a kind it does not
//! know rejects the datagram, so new kinds need a new version or an extension.
//!
//! Owns states, and which kind of update is which. [`Record`], [`Evidence`] and [`Range`]
//! have a file each, and loads are those of [`crate::load`].

mod evidence;
mod range;
mod record;

use bincode::Encode;

pub use self::evidence::{BALLOT_BYTES, Ballot, Evidence};
pub use self::range::{Content, Entry, PARTS, Range};
pub use self::record::Record;
use crate::codec;
use crate::id::ShortId;
use crate::load::Load;

/// One piece of news about one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update<'a> {
    /// Alive, suspect, dead or left. 8 bytes while generation and incarnation are below 251.
    State(StateUpdate),
    /// Everything about a member, enough to insert it. About 100 bytes.
    Record(Record<'a>),
    /// How busy a member is. 11 to 28 bytes, mostly 15.
    Load {
        /// The member.
        id: ShortId,
        /// Its generation; a load of an older one is worth nothing.
        generation: u32,
        /// When the member counted it, in units of 10 ms since its process began, or one more than
        /// before; the highest is the newest.
        sequence: u32,
        /// The load.
        load: Load,
    },
    /// Why a member was declared dead. About 25 bytes and 8 for each ballot.
    Evidence(Evidence<'a>),
    /// How the sender's view of a range of ids looks; for finding out where two views differ. 262
    /// bytes with digests, 7 before a list.
    Range(Range<'a>),
    /// A line of the list announced by the range before it. 10 bytes while numbers are small, and
    /// one to five more of a member that is gone.
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

/// A [`StateUpdate`] as it is written, for one that is sent many times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded {
    bytes: [u8; STATE_BYTES_MAX],
    length: u8,
}

/// Tag, short id and two numbers of at most five bytes each.
const STATE_BYTES_MAX: usize = 16;

impl Encoded {
    /// The bytes of this update.
    #[must_use]
    pub fn of(update: &StateUpdate) -> Self {
        let mut bytes = [0; STATE_BYTES_MAX];
        let length = Update::State(*update).put(&mut bytes);
        debug_assert!(length.is_some(), "a state update has at most {STATE_BYTES_MAX} bytes");
        let length = length.and_then(|length| u8::try_from(length).ok()).unwrap_or(0);
        Self { bytes, length }
    }

    /// Writes the update at the front of `room`; `None` when it does not fit.
    pub(crate) fn put(&self, room: &mut [u8]) -> Option<usize> {
        let length = usize::from(self.length);
        if let Some((front, _)) = room.split_first_chunk_mut() {
            // All of it, for a copy of fixed length is one instruction.
            *front = self.bytes;
        } else {
            room.get_mut(..length)?.copy_from_slice(self.bytes.get(..length)?);
        }
        Some(length)
    }
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
    #[inline]
    pub(crate) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        match StateUpdate::take_short(bytes) {
            Some(update) => Some(Self::State(update)),
            None => Self::take_any(bytes),
        }
    }

    fn take_any(bytes: &mut &'a [u8]) -> Option<Self> {
        let tag = *bytes.first()?;
        Some(match tag >> TAG_KIND_SHIFT {
            KIND_ALIVE | KIND_SUSPECT | KIND_DEAD | KIND_LEFT => {
                let (tag, id, generation, incarnation) = codec::take(bytes)?;
                Self::State(StateUpdate::of_tag(tag, id, generation, incarnation)?)
            }
            KIND_RECORD => Self::Record(Record::take(bytes)?),
            KIND_LOAD => {
                let (_, id, generation, sequence): (u8, _, _, _) = codec::take(bytes)?;
                Self::Load { id, generation, sequence, load: Load::take(tag, bytes)? }
            }
            KIND_OTHER => {
                let _tag: u8 = codec::take(bytes)?;
                match tag & TAG_BUCKET_MASK {
                    OTHER_EVIDENCE => Self::Evidence(Evidence::take(bytes)?),
                    OTHER_PARTS => Self::Range(Range::take_parts(bytes)?),
                    OTHER_LIST => Self::Range(Range::take_list(bytes)?),
                    OTHER_ENTRY => Self::Entry(Entry::take(bytes)?),
                    _ => return None,
                }
            }
            _ => return None,
        })
    }

    /// Writes the update at the front of `room`; `None` when it does not fit.
    pub(crate) fn put(&self, room: &mut [u8]) -> Option<usize> {
        match self {
            Self::State(update) => update.put(room),
            Self::Record(record) => record.put(room),
            Self::Load { id, generation, sequence, load } => {
                let tag = (KIND_LOAD << TAG_KIND_SHIFT) | load.tag_flags();
                let head = codec::put(room, (tag, id, generation, sequence))?;
                let fields = load.put(room.get_mut(head..)?)?;
                Some(head.saturating_add(fields))
            }
            Self::Evidence(evidence) => evidence.put(room),
            Self::Range(range) => range.put(room),
            Self::Entry(entry) => entry.put(room),
        }
    }
}

const fn other(kind: u8) -> u8 {
    (KIND_OTHER << TAG_KIND_SHIFT) | kind
}

/// Nearly every update of a busy mesh is one of these, and nearly all have small numbers: those are
/// eight bytes in a row, which need no walk through the codec.
impl StateUpdate {
    /// `None`, and nothing taken, when the bytes are anything else than that.
    #[inline]
    fn take_short(bytes: &mut &[u8]) -> Option<Self> {
        let (&[tag, a, b, c, d, e, generation, incarnation], rest) = bytes.split_first_chunk()?;
        if generation > codec::ONE_BYTE_MAX || incarnation > codec::ONE_BYTE_MAX {
            return None;
        }
        let id = ShortId::from_bytes([a, b, c, d, e]);
        let update = Self::of_tag(tag, id, u32::from(generation), u32::from(incarnation))?;
        *bytes = rest;
        Some(update)
    }

    fn put(&self, room: &mut [u8]) -> Option<usize> {
        let tag = self.tag();
        let numbers = (codec::in_one_byte(self.generation), codec::in_one_byte(self.incarnation));
        let (Some(generation), Some(incarnation)) = numbers else {
            return codec::put(room, (tag, self.id, self.generation, self.incarnation));
        };
        let [a, b, c, d, e] = *self.id.as_bytes();
        let bytes = [tag, a, b, c, d, e, generation, incarnation];
        *room.first_chunk_mut()? = bytes;
        Some(bytes.len())
    }

    const fn tag(&self) -> u8 {
        let (kind, bucket) = match self.state {
            State::Alive => (KIND_ALIVE, 0),
            State::Suspect => (KIND_SUSPECT, self.accuser.number()),
            State::Dead => (KIND_DEAD, self.accuser.number()),
            State::Left => (KIND_LEFT, 0),
        };
        (kind << TAG_KIND_SHIFT) | bucket
    }

    #[inline]
    fn of_tag(tag: u8, id: ShortId, generation: u32, incarnation: u32) -> Option<Self> {
        let (state, accuser) = match tag >> TAG_KIND_SHIFT {
            KIND_ALIVE => (State::Alive, Bucket::default()),
            KIND_SUSPECT => (State::Suspect, Bucket::from_tag(tag)),
            KIND_DEAD => (State::Dead, Bucket::from_tag(tag)),
            KIND_LEFT => (State::Left, Bucket::default()),
            _ => return None,
        };
        Some(Self { id, state, accuser, generation, incarnation })
    }
}

impl State {
    /// The number in a record or an entry, where suspect is not told from alive.
    const fn number(self) -> u8 {
        match self {
            Self::Alive | Self::Suspect => KIND_ALIVE,
            Self::Dead => KIND_DEAD,
            Self::Left => KIND_LEFT,
        }
    }

    const fn of_number(number: u8) -> Option<Self> {
        match number {
            KIND_ALIVE => Some(Self::Alive),
            KIND_DEAD => Some(Self::Dead),
            KIND_LEFT => Some(Self::Left),
            _ => None,
        }
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

    #[inline]
    fn next(&mut self) -> Option<Update<'a>> {
        if self.bytes.is_empty() { None } else { Update::take(&mut self.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Around each change of width, and the ends.
    const NUMBERS: [u32; 11] = [0, 1, 249, 250, 251, 252, 255, 256, 65_535, 65_536, u32::MAX];

    fn claims() -> impl Iterator<Item = (State, Bucket)> {
        let buckets = (0..32).map(Bucket);
        let accused = [State::Suspect, State::Dead].into_iter();
        let accused = accused.flat_map(move |state| buckets.clone().map(move |it| (state, it)));
        let unaccused = [State::Alive, State::Left].into_iter();
        accused.chain(unaccused.map(|state| (state, Bucket::default())))
    }

    #[test]
    fn state_update_is_the_same_bytes_as_through_the_codec_and_back() {
        let id = ShortId::from_bytes([9, 8, 7, 6, 5]);
        for (state, accuser) in claims() {
            for (generation, incarnation) in
                NUMBERS.iter().flat_map(|generation| NUMBERS.map(|it| (*generation, it)))
            {
                let update = StateUpdate { id, state, accuser, generation, incarnation };
                let (mut ours, mut codecs) = ([0xee; 20], [0xee; 20]);
                let written = Update::State(update).put(&mut ours);
                let fields = (update.tag(), id, generation, incarnation);
                assert_eq!(written, codec::put(&mut codecs, fields), "{update:?}");
                assert_eq!(ours, codecs, "{update:?}");

                let length = written.expect("16 bytes at most");
                let (bytes, _) = ours.split_at(length);
                let mut rest = bytes;
                assert_eq!(Update::take(&mut rest), Some(Update::State(update)));
                assert!(rest.is_empty());
                // One byte less is too little, for the reader as for the writer.
                let (mut cut, _) = bytes.split_at(length.saturating_sub(1));
                assert_eq!(Update::take(&mut cut), None);
                let (room, _) = codecs.split_at_mut(length.saturating_sub(1));
                assert_eq!(Update::State(update).put(room), None);
            }
        }
    }
}
