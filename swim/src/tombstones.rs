//! Until when those that are dead or gone are remembered, and the dead that were forgotten.
//!
//! Owns the time at which each dead or left member is forgotten. It is kept as that, not as the
//! time of its death, since a node may learn of a death that is older than its own clock. Owns also
//! where the dead that were forgotten were reached last. Refuses to ping or to forget anybody.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use astromesh_wire::ShortId;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::time::Instant;

/// When each member that is dead or gone is to be forgotten.
#[derive(Debug, Default)]
pub struct Tombstones {
    by_id: IndexMap<ShortId, Instant, FxBuildHasher>,
    by_time: BTreeSet<(Instant, ShortId)>,
}

impl Tombstones {
    /// Notes when a member is to be forgotten, in place of what was noted before.
    pub fn insert(&mut self, id: ShortId, forget_at: Instant) {
        self.remove(id);
        self.by_id.insert(id, forget_at);
        self.by_time.insert((forget_at, id));
    }

    /// The member is not gone any more, or forgotten.
    pub fn remove(&mut self, id: ShortId) {
        if let Some(forget_at) = self.by_id.swap_remove(&id) {
            self.by_time.remove(&(forget_at, id));
        }
    }

    /// When this member is to be forgotten; `None` if it is not gone.
    #[must_use]
    pub fn forget_at(&self, id: ShortId) -> Option<Instant> {
        self.by_id.get(&id).copied()
    }

    /// When the next one is to be forgotten.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.by_time.first().map(|(forget_at, _)| *forget_at)
    }

    /// One that is to be forgotten by now; it is noted no more.
    pub fn pop_due(&mut self, now: Instant) -> Option<ShortId> {
        let &(forget_at, id) = self.by_time.first()?;
        if forget_at > now {
            return None;
        }
        self.remove(id);
        Some(id)
    }
}

/// For how many seconds somebody has been gone who is to be forgotten then.
#[must_use]
pub fn gone_for_s(now: Instant, forget_at: Instant, reap_after: Duration) -> u32 {
    let gone_for = reap_after.saturating_sub(forget_at.since(now));
    u32::try_from(gone_for.as_secs()).unwrap_or(u32::MAX)
}

/// Members that were dead for so long that they were forgotten. They are still pinged now and then:
/// a mesh that was in two parts for days becomes whole again.
#[derive(Debug, Default)]
pub struct Lost {
    order: VecDeque<ShortId>,
    addresses: IndexMap<ShortId, SocketAddr, FxBuildHasher>,
}

/// Forgotten members that are still pinged.
pub const LOST_MAX: usize = 1_024;

impl Lost {
    /// Adds a member; `false` when the oldest had to make room.
    pub fn insert(&mut self, id: ShortId, address: SocketAddr) -> bool {
        self.remove(id);
        self.order.push_back(id);
        self.addresses.insert(id, address);
        if self.addresses.len() <= LOST_MAX {
            return true;
        }
        if let Some(oldest) = self.order.pop_front() {
            self.addresses.swap_remove(&oldest);
        }
        false
    }

    /// The member is known again; `true` if it was lost.
    pub fn remove(&mut self, id: ShortId) -> bool {
        let was_lost = self.addresses.swap_remove(&id).is_some();
        if was_lost {
            self.order.retain(|other| *other != id);
        }
        was_lost
    }

    /// Where a member was reached last.
    #[must_use]
    pub fn address(&self, id: ShortId) -> Option<SocketAddr> {
        self.addresses.get(&id).copied()
    }

    /// The member with this index, in no particular order.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<(ShortId, SocketAddr)> {
        self.addresses.get_index(index).map(|(id, address)| (*id, *address))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.addresses.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> ShortId {
        let [a, b, c, d] = number.to_be_bytes();
        ShortId::from_bytes([a, b, c, d, 1])
    }

    #[test]
    fn each_is_forgotten_when_it_is_due_and_not_before() {
        let mut tombstones = Tombstones::default();
        tombstones.insert(id(1), Instant::from_micros(30));
        tombstones.insert(id(2), Instant::from_micros(20));
        tombstones.insert(id(3), Instant::from_micros(25));
        tombstones.insert(id(1), Instant::from_micros(10));
        tombstones.remove(id(3));

        assert_eq!(tombstones.next_at(), Some(Instant::from_micros(10)));
        assert_eq!(tombstones.pop_due(Instant::from_micros(9)), None);
        assert_eq!(tombstones.pop_due(Instant::from_micros(25)), Some(id(1)));
        assert_eq!(tombstones.pop_due(Instant::from_micros(25)), Some(id(2)));
        assert_eq!(tombstones.pop_due(Instant::from_micros(99)), None);
        assert_eq!(tombstones.next_at(), None);
    }

    #[test]
    fn the_longest_lost_make_room() {
        let mut lost = Lost::default();
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        let made_room = (0..1_030).filter(|&number| !lost.insert(id(number), address)).count();

        assert_eq!((lost.len(), made_room), (LOST_MAX, 6));
        assert_eq!((lost.address(id(5)), lost.address(id(6))), (None, Some(address)));
    }
}
