//! The members other than the local one, and what is derived from them.
//!
//! Owns the one path on which a member changes ([`Table::change`]), so that the sets of live and
//! dead members, the index by address, the order of ids and the digest never disagree with the
//! members themselves. Refuses to decide whether a change is right.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use astromesh_wire::{NodeId, ShortId, State};
use indexmap::{IndexMap, IndexSet};
use rustc_hash::FxBuildHasher;

use crate::member::Member;
use crate::ring::{self, Ring};
use crate::time::Instant;

/// All members but the local one.
#[derive(Debug, Default)]
pub struct Table {
    members: IndexMap<ShortId, Member, FxBuildHasher>,
    live: IndexSet<ShortId, FxBuildHasher>,
    dead: IndexSet<ShortId, FxBuildHasher>,
    /// Live members only: a dead one gives up its address.
    by_address: IndexMap<SocketAddr, ShortId, FxBuildHasher>,
    /// The live members and the local one, for who watches whom.
    ring: Ring,
    /// Full ids of the live members, for the choice of a leader.
    live_ids: BTreeSet<NodeId>,
    /// Sum over the live members; see [`contribution`].
    digest: u32,
}

impl Table {
    /// A table without members. The local one is on the ring all the same.
    #[must_use]
    pub fn around(local: ShortId) -> Self {
        let mut table = Self::default();
        table.ring.insert(local);
        table
    }

    /// Adds a member that is not in the table yet.
    pub fn insert(&mut self, member: Member) {
        let id = member.id();
        self.enter(&Derived::of(&member));
        let replaced = self.members.insert(id, member);
        debug_assert!(replaced.is_none(), "insert is for new members");
    }

    /// Changes a member through `change`; every derived set follows. `None` if there is no such
    /// member.
    pub fn change<T>(&mut self, id: ShortId, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let member = self.members.get_mut(&id)?;
        let before = Derived::of(member);
        let result = change(member);
        let after = Derived::of(member);
        if (before.state, before.address) != (after.state, after.address) {
            self.leave(&before);
            self.enter(&after);
        } else if matches!(after.state, State::Alive | State::Suspect) {
            // The most frequent change by far: only the numbers moved.
            let digest = self.digest.wrapping_sub(before.contribution);
            self.digest = digest.wrapping_add(after.contribution);
        }
        Some(result)
    }

    /// Notes that a datagram came from a member; nothing derived depends on it.
    pub fn heard(&mut self, id: ShortId, now: Instant) {
        if let Some(member) = self.members.get_mut(&id) {
            member.heard_at = now;
        }
    }

    /// Forgets a member.
    pub fn remove(&mut self, id: ShortId) -> Option<Member> {
        let member = self.members.swap_remove(&id)?;
        self.leave(&Derived::of(&member));
        Some(member)
    }

    /// The member of this id.
    #[must_use]
    pub fn get(&self, id: ShortId) -> Option<&Member> {
        self.members.get(&id)
    }

    /// The live member at this address.
    #[must_use]
    pub fn live_at(&self, address: SocketAddr) -> Option<&Member> {
        self.members.get(self.by_address.get(&address)?)
    }

    /// All members, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// Ids of the members alive or suspect.
    #[must_use]
    pub const fn live(&self) -> &IndexSet<ShortId, FxBuildHasher> {
        &self.live
    }

    /// The live members, the local one among them, in the order in which they watch each other.
    #[must_use]
    pub const fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Ids of the dead members; those that left are not among them.
    #[must_use]
    pub const fn dead(&self) -> &IndexSet<ShortId, FxBuildHasher> {
        &self.dead
    }

    /// The highest id among the live members.
    #[must_use]
    pub fn highest_live_id(&self) -> Option<NodeId> {
        self.live_ids.last().copied()
    }

    /// Sum of the contributions of the live members.
    #[must_use]
    pub const fn digest(&self) -> u32 {
        self.digest
    }

    /// How many members there are, in whatever state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member but the local one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    fn enter(&mut self, member: &Derived) {
        match member.state {
            State::Alive | State::Suspect => {
                self.live.insert(member.short);
                self.ring.insert(member.short);
                self.live_ids.insert(member.id);
                self.by_address.insert(member.address, member.short);
                self.digest = self.digest.wrapping_add(member.contribution);
            }
            State::Dead => {
                self.dead.insert(member.short);
            }
            State::Left => {}
        }
    }

    fn leave(&mut self, member: &Derived) {
        match member.state {
            State::Alive | State::Suspect => {
                self.live.swap_remove(&member.short);
                self.ring.remove(member.short);
                self.live_ids.remove(&member.id);
                if self.by_address.get(&member.address) == Some(&member.short) {
                    self.by_address.swap_remove(&member.address);
                }
                self.digest = self.digest.wrapping_sub(member.contribution);
            }
            State::Dead => {
                self.dead.swap_remove(&member.short);
            }
            State::Left => {}
        }
    }
}

/// What the derived sets are made of.
struct Derived {
    short: ShortId,
    id: NodeId,
    address: SocketAddr,
    state: State,
    contribution: u32,
}

impl Derived {
    fn of(member: &Member) -> Self {
        Self {
            short: member.id(),
            id: member.record.id,
            address: member.record.address,
            state: member.state,
            contribution: contribution(member),
        }
    }
}

/// What a live member adds to the digest of a view: a hash of its id, generation, incarnation and
/// revision. Alive and suspect count the same, and load does not count, so that two views are
/// equal whenever nothing lasting differs.
#[must_use]
pub fn contribution(member: &Member) -> u32 {
    let record = &member.record;
    let version = (u64::from(record.generation) << 32) ^ u64::from(record.incarnation);
    let mixed =
        ring::mix(ring::mix(ring::hash(member.id()) ^ version) ^ u64::from(record.revision));
    let [a, b, c, d, ..] = mixed.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}
