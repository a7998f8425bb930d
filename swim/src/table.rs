//! The members other than the local one, and what is derived from them.
//!
//! Owns the one path on which a member changes ([`Table::change`]), so that the lists of live and
//! dead members, the index by address, the highest id and the digest never disagree with the
//! members themselves. Refuses to decide whether a change is right.
//!
//! Members stand in numbered slots, which do not move; the indexes hold slot numbers. See
//! `docs/benchmarks.md` for what a member costs in all.

use std::net::SocketAddr;

use astromesh_wire::{NodeId, ShortId, State};
use hashbrown::HashTable;

use crate::compact::Address;
use crate::member::Member;
use crate::probe::Order;
use crate::ranges::Prefix;
use crate::ring::{self, Ring};
use crate::time::Instant;

/// All members but the local one.
#[derive(Debug, Default)]
pub struct Table {
    slots: Vec<Option<Member>>,
    /// Slots without a member.
    free: Vec<u32>,
    /// Slots by short id.
    index: HashTable<u32>,
    /// Slots by address, of live members only: a dead one gives up its address.
    addresses: HashTable<u32>,
    live: Order,
    dead: Vec<ShortId>,
    /// The live members and the local one, for who watches whom.
    ring: Ring,
    /// Those dead or gone, in the same order.
    gone: Ring,
    /// Among the live ones, for the choice of a leader.
    highest: Option<NodeId>,
    /// Sum over all members; see [`contribution`].
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

    /// Makes room for so many more members, all at once.
    pub fn reserve(&mut self, more: usize) {
        let missing = more.saturating_sub(self.free.len());
        self.slots.reserve_exact(missing);
        let slots = &self.slots;
        self.index.reserve(more, |&slot| id_hash(slots, slot));
        self.addresses.reserve(more, |&slot| address_hash(slots, slot));
        self.live.reserve(more);
        self.ring.reserve(more);
    }

    /// Adds a member that is not in the table yet. A live one is probed last in this round; see
    /// [`Table::mix_in`].
    pub fn insert(&mut self, member: Member) {
        let id = member.id();
        debug_assert!(self.get(id).is_none(), "insert is for new members");
        let derived = Derived::of(&member);
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let Ok(slot) = u32::try_from(self.slots.len()) else { return };
                push_tight(&mut self.slots, None);
                slot
            }
        };
        if let Some(place) = self.slots.get_mut(index(slot)) {
            *place = Some(member);
        }
        let slots = &self.slots;
        self.index.insert_unique(ring::hash(id), slot, |&slot| id_hash(slots, slot));
        self.digest = self.digest.wrapping_add(derived.share);
        self.enter(slot, &derived);
    }

    /// Changes a member through `change`; everything derived follows. `None` if there is no such
    /// member.
    pub fn change<T>(&mut self, id: ShortId, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let slot = self.slot(id)?;
        let member = self.slots.get_mut(index(slot))?.as_mut()?;
        let before = Derived::of(member);
        let result = change(member);
        let after = Derived::of(member);
        self.digest = self.digest.wrapping_sub(before.share).wrapping_add(after.share);
        if before.list != after.list {
            self.leave(slot, &before);
            self.enter(slot, &after);
        } else if after.list == List::Live && before.address != after.address {
            self.leave_address(slot, &before);
            self.enter_address(slot, &after);
        }
        Some(result)
    }

    /// Notes that a datagram came from a member, if it is one; nothing derived depends on it.
    pub fn heard(&mut self, id: ShortId, now: Instant) -> Option<Heard> {
        let member = self.member_mut(id)?;
        let before = member.heard_at();
        member.set_heard_at(now);
        Some(if member.is_live() { Heard::Live } else { Heard::Gone { before } })
    }

    /// Forgets a member.
    pub fn remove(&mut self, id: ShortId) -> Option<Member> {
        let slots = &self.slots;
        let is_it = |&slot: &u32| at(slots, slot).is_some_and(|member| member.id() == id);
        let (slot, _) = self.index.find_entry(ring::hash(id), is_it).ok()?.remove();
        let derived = Derived::of(at(&self.slots, slot)?);
        self.leave(slot, &derived);
        self.digest = self.digest.wrapping_sub(derived.share);
        push_tight(&mut self.free, slot);
        self.slots.get_mut(index(slot))?.take()
    }

    /// The member of this id.
    #[must_use]
    pub fn get(&self, id: ShortId) -> Option<&Member> {
        at(&self.slots, self.slot(id)?)
    }

    /// The live member at this address.
    #[must_use]
    pub fn live_at(&self, address: SocketAddr) -> Option<&Member> {
        let address = Address::pack(address);
        let is_there = |&slot: &u32| {
            at(&self.slots, slot).is_some_and(|member| member.record.packed_address() == address)
        };
        at(&self.slots, *self.addresses.find(address.hash(), is_there)?)
    }

    /// All members, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.slots.iter().flatten()
    }

    /// Ids of the members alive or suspect, in the order in which they are probed.
    #[must_use]
    pub const fn live(&self) -> &[ShortId] {
        self.live.ids()
    }

    /// The live members, the local one among them, in the order in which they watch each other.
    #[must_use]
    pub const fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Ids of all members in a range, the local one included if it is in there.
    pub fn within(&self, range: Prefix) -> impl Iterator<Item = ShortId> + '_ {
        self.ring.within(range).iter().chain(self.gone.within(range)).copied()
    }

    /// Ids of the dead members; those that left are not among them.
    #[must_use]
    pub const fn dead(&self) -> &[ShortId] {
        self.dead.as_slice()
    }

    /// The highest id among the live members.
    #[must_use]
    pub const fn highest_live_id(&self) -> Option<NodeId> {
        self.highest
    }

    /// Sum of the contributions of all members.
    #[must_use]
    pub const fn digest(&self) -> u32 {
        self.digest
    }

    /// How many members there are, in whatever state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is no member but the local one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// The live member to probe next; every one has its turn once a round.
    pub fn next_probed(&mut self, rng: &mut fastrand::Rng) -> Option<ShortId> {
        let mut places = Places { slots: &mut self.slots, index: &self.index };
        self.live.next(rng, |id, place| places.set(id, place))
    }

    /// Gives a new live member a random turn among those still to come in this round.
    pub fn mix_in(&mut self, id: ShortId, rng: &mut fastrand::Rng) {
        let Some(place) = self.live_place(id) else { return };
        let mut places = Places { slots: &mut self.slots, index: &self.index };
        self.live.mix_in(place, rng, |id, place| places.set(id, place));
    }

    /// Gives a live member the next turn, whether or not it was probed in this round.
    pub fn hurry(&mut self, id: ShortId) {
        let Some(place) = self.live_place(id) else { return };
        let mut places = Places { slots: &mut self.slots, index: &self.index };
        self.live.hurry(place, |id, place| places.set(id, place));
    }

    fn slot(&self, id: ShortId) -> Option<u32> {
        find(&self.slots, &self.index, id)
    }

    fn member_mut(&mut self, id: ShortId) -> Option<&mut Member> {
        let slot = self.slot(id)?;
        self.slots.get_mut(index(slot))?.as_mut()
    }

    fn live_place(&self, id: ShortId) -> Option<usize> {
        self.get(id).filter(|member| member.is_live()).map(|member| index(member.place))
    }

    fn enter(&mut self, slot: u32, member: &Derived) {
        match member.list {
            List::Live => {
                let mut places = Places { slots: &mut self.slots, index: &self.index };
                self.live.push(member.short, |id, place| places.set(id, place));
                self.ring.insert(member.short);
                self.highest = self.highest.max(Some(member.id));
                self.enter_address(slot, member);
            }
            List::Dead => {
                self.gone.insert(member.short);
                let place = self.dead.len();
                push_tight(&mut self.dead, member.short);
                Places { slots: &mut self.slots, index: &self.index }.set(member.short, place);
            }
            List::Left => self.gone.insert(member.short),
        }
    }

    fn leave(&mut self, slot: u32, member: &Derived) {
        let place = index(member.place);
        let mut places = Places { slots: &mut self.slots, index: &self.index };
        match member.list {
            List::Live => {
                self.live.remove(place, |id, place| places.set(id, place));
                self.ring.remove(member.short);
                self.leave_address(slot, member);
                if self.highest == Some(member.id) {
                    // Rare: the one that leads has gone.
                    let others = self.iter().filter(|other| other.is_live());
                    let others = others.filter(|other| other.id() != member.short);
                    self.highest = others.map(|other| other.record.id).max();
                }
            }
            List::Dead => {
                self.gone.remove(member.short);
                self.dead.swap_remove(place);
                if let Some(&id) = self.dead.get(place) {
                    places.set(id, place);
                }
            }
            List::Left => self.gone.remove(member.short),
        }
    }

    /// Of two live members at one address the later has it.
    fn enter_address(&mut self, slot: u32, member: &Derived) {
        let (slots, hash) = (&self.slots, member.address.hash());
        let is_there = |&other: &u32| {
            other == slot
                || at(slots, other)
                    .is_some_and(|other| other.record.packed_address() == member.address)
        };
        if let Some(held) = self.addresses.find_mut(hash, is_there) {
            *held = slot;
        } else {
            self.addresses.insert_unique(hash, slot, |&slot| address_hash(slots, slot));
        }
    }

    fn leave_address(&mut self, slot: u32, member: &Derived) {
        if let Ok(entry) = self.addresses.find_entry(member.address.hash(), |&held| held == slot) {
            entry.remove();
        }
    }
}

/// Keeps the place of each member in step with the list it stands in.
struct Places<'a> {
    slots: &'a mut [Option<Member>],
    index: &'a HashTable<u32>,
}

impl Places<'_> {
    fn set(&mut self, id: ShortId, place: usize) {
        let slot = find(self.slots, self.index, id)
            .and_then(|slot| self.slots.get_mut(index(slot)).and_then(Option::as_mut));
        if let Some(member) = slot {
            member.place = u32::try_from(place).unwrap_or(u32::MAX);
        }
    }
}

/// Who a datagram came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// A live member.
    Live,
    /// One that is dead or gone.
    Gone {
        /// When the datagram before this one came from it.
        before: Instant,
    },
}

/// Which list a member stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Live,
    Dead,
    /// None but that of all who are gone.
    Left,
}

/// What follows from a member.
struct Derived {
    short: ShortId,
    id: NodeId,
    address: Address,
    list: List,
    place: u32,
    /// What it adds to the digest.
    share: u32,
}

impl Derived {
    fn of(member: &Member) -> Self {
        let list = match member.state {
            State::Alive | State::Suspect => List::Live,
            State::Dead => List::Dead,
            State::Left => List::Left,
        };
        Self {
            short: member.id(),
            id: member.record.id,
            address: member.record.packed_address(),
            list,
            place: member.place,
            share: contribution(member),
        }
    }
}

/// What a member adds to the digest of a view: a hash of its id, generation, incarnation, revision
/// and whether it is live, dead or gone. Alive and suspect count the same, and load does not count,
/// so that two views are equal whenever nothing lasting differs.
#[must_use]
pub fn contribution(member: &Member) -> u32 {
    let record = &member.record;
    let version = (u64::from(record.generation) << 32) ^ u64::from(record.incarnation);
    let class: u64 = match member.state {
        State::Alive | State::Suspect => 0,
        State::Dead => 1,
        State::Left => 2,
    };
    let rest = (u64::from(record.revision) << 2) | class;
    let mixed = ring::mix(ring::mix(ring::hash(member.id()) ^ version) ^ rest);
    let [a, b, c, d, ..] = mixed.to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// Appends, growing by an eighth and not to the double: at most an eighth of the memory lies idle.
pub(crate) fn push_tight<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact(list.len() / 8 + GROWTH_MIN);
    }
    list.push(item);
}

const GROWTH_MIN: usize = 8;

fn find(slots: &[Option<Member>], table: &HashTable<u32>, id: ShortId) -> Option<u32> {
    let is_it = |&slot: &u32| at(slots, slot).is_some_and(|member| member.id() == id);
    table.find(ring::hash(id), is_it).copied()
}

fn at(slots: &[Option<Member>], slot: u32) -> Option<&Member> {
    slots.get(index(slot))?.as_ref()
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}

fn id_hash(slots: &[Option<Member>], slot: u32) -> u64 {
    at(slots, slot).map_or(0, |member| ring::hash(member.id()))
}

fn address_hash(slots: &[Option<Member>], slot: u32) -> u64 {
    at(slots, slot).map_or(0, |member| member.record.packed_address().hash())
}
