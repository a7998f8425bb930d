//! Who watches whom: the live members on a ring, ordered by a hash of their ids.
//!
//! A member is watched by those before it on the ring and watches those behind it. Where two views
//! agree on who is live, they agree on the ring without a word, and a change of one member changes
//! the watchers of its neighbours only (consistent hashing: Karger et al., STOC 1997; the successor
//! lists of Chord: Stoica et al., SIGCOMM 2001). Owns the order; refuses to know what a watcher does.

use astromesh_wire::ShortId;

use crate::ranges::Prefix;

/// Ids in the order of their hashes.
#[derive(Debug, Default)]
pub struct Ring {
    order: Vec<ShortId>,
}

impl Ring {
    /// Adds a member that is not on the ring yet.
    pub fn insert(&mut self, id: ShortId) {
        if let Err(place) = self.place(id) {
            if self.order.len() == self.order.capacity() {
                // By an eighth, not to the double.
                self.order.reserve_exact(self.order.len() / 8 + 8);
            }
            self.order.insert(place, id);
        }
    }

    /// Makes room for so many more members.
    pub fn reserve(&mut self, more: usize) {
        self.order.reserve_exact(more);
    }

    /// Takes a member off.
    pub fn remove(&mut self, id: ShortId) {
        if let Ok(place) = self.place(id) {
            self.order.remove(place);
        }
    }

    /// How many members are on it.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether nobody is on it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The members before `id`, the nearest first, all the way round. `id` itself need not be on the
    /// ring, and is never among them.
    pub fn before(&self, id: ShortId) -> impl Iterator<Item = ShortId> + '_ {
        let (place, others) = match self.place(id) {
            Ok(place) => (place, self.order.len().saturating_sub(1)),
            Err(place) => (place, self.order.len()),
        };
        let (head, tail) = self.order.split_at(place);
        head.iter().rev().chain(tail.iter().rev()).copied().take(others)
    }

    /// The members behind `id`, the nearest first, all the way round. As [`Ring::before`].
    pub fn behind(&self, id: ShortId) -> impl Iterator<Item = ShortId> + '_ {
        let (next, place) = match self.place(id) {
            Ok(place) => (place.saturating_add(1), place),
            Err(place) => (place, place),
        };
        let head = self.order.get(..place).unwrap_or_default();
        let tail = self.order.get(next..).unwrap_or_default();
        tail.iter().chain(head).copied()
    }

    /// The members within a range of hashes, in order.
    #[must_use]
    pub fn within(&self, range: Prefix) -> &[ShortId] {
        let hashes = range.hashes();
        let first = self.order.partition_point(|&id| hash(id) < *hashes.start());
        let end = self.order.partition_point(|&id| hash(id) <= *hashes.end());
        self.order.get(first..end).unwrap_or_default()
    }

    fn place(&self, id: ShortId) -> Result<usize, usize> {
        let key = (hash(id), id);
        self.order.binary_search_by_key(&key, |&other| (hash(other), other))
    }
}

/// Where an id is on the ring, and in which range of a digest: the finaliser of `SplitMix64`
/// (Steele, Lea, Flood, OOPSLA 2014), by which every input bit reaches every output bit.
#[must_use]
pub const fn hash(id: ShortId) -> u64 {
    mix(id.to_u64())
}

/// The finaliser of `SplitMix64`.
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
