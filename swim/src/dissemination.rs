//! Which news rides on the next datagram.
//!
//! Owns, for each member and kind of news, at most one pending item: newer news takes its place, so
//! the newest always wins and the queue never holds more than one item a member and kind. Items go
//! out by class, then by how rarely they were sent. Refuses to know what an item says or whether it
//! fits; the caller offers it to a datagram and reports back.

use astromesh_wire::{Encoded, ShortId};
use hashbrown::HashTable;

use crate::ring;

/// What a piece of news is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    /// The member.
    pub id: ShortId,
    /// Which of its aspects.
    pub kind: Kind,
}

/// The aspects of a member that travel separately.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Alive, suspect, dead, left.
    State,
    /// The whole record.
    Record,
    /// The load.
    Load,
    /// Why it was declared dead.
    Evidence,
}

impl Kind {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::State, Self::Record, Self::Load, Self::Evidence];
}

/// The order in which news is sent. What a late arrival would hurt most comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Refutations, deaths, leaves.
    Urgent,
    /// Suspicions and news of life.
    State,
    /// Records.
    Record,
    /// Loads, and the reasons of deaths.
    Load,
}

/// What became of an offered item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// It is in the datagram.
    Taken,
    /// It did not fit; it stays where it is.
    NoRoom,
    /// There is nothing to say any more.
    Obsolete,
}

/// The queue of pending news.
#[derive(Debug, Default)]
pub struct Dissemination {
    items: Vec<Item>,
    /// Slots in `items` that hold nothing.
    free: Vec<u32>,
    /// Slots by topic.
    index: HashTable<u32>,
    /// Indexed by class.
    classes: [Tiers; CLASSES],
    /// Items taken in the running `fill`, to be put back one tier further; kept for its memory.
    taken: Vec<u32>,
}

/// The items of a class.
#[derive(Debug, Default)]
struct Tiers {
    /// Indexed by how often its items were sent.
    tiers: Vec<Bucket>,
    /// Items in all of them.
    length: usize,
}

/// A list of items linked through their slots, the one that waits longest first.
#[derive(Debug, Default, Clone, Copy)]
struct Bucket {
    head: Option<u32>,
    tail: Option<u32>,
}

#[derive(Debug)]
struct Item {
    topic: Topic,
    class: Class,
    /// How often it was sent.
    sent: usize,
    /// Its neighbours in the bucket.
    before: Option<u32>,
    behind: Option<u32>,
    /// What it says, once somebody has written it down.
    encoded: Option<Encoded>,
}

const CLASSES: usize = 4;

/// Items that may fail to fit before a datagram counts as full.
const MISFITS_MAX: usize = 4;

/// Items for which memory is kept while there are none.
const ITEMS_KEPT: usize = 1_024;

impl Class {
    const ALL: [Self; CLASSES] = [Self::Urgent, Self::State, Self::Record, Self::Load];

    const fn index(self) -> usize {
        match self {
            Self::Urgent => 0,
            Self::State => 1,
            Self::Record => 2,
            Self::Load => 3,
        }
    }
}

impl Topic {
    const fn hash(self) -> u64 {
        let kind = match self.kind {
            Kind::State => 0,
            Kind::Record => 1,
            Kind::Load => 2,
            Kind::Evidence => 3,
        };
        ring::mix((self.id.to_u64() << 2) | kind)
    }
}

impl Dissemination {
    /// Adds news, or starts its transmissions anew if it is already pending.
    ///
    /// Must be called for every change of what a topic says: an item may go on saying what it said
    /// when it was first sent.
    pub fn enqueue(&mut self, topic: Topic, class: Class) {
        let item = Item { topic, class, sent: 0, before: None, behind: None, encoded: None };
        if let Some(slot) = self.slot(topic) {
            self.unlink(slot);
            if let Some(place) = self.items.get_mut(index(slot)) {
                *place = item;
            }
            self.link(slot);
            return;
        }
        let slot = match self.free.pop() {
            Some(slot) => {
                if let Some(place) = self.items.get_mut(index(slot)) {
                    *place = item;
                }
                slot
            }
            None => {
                let Ok(slot) = u32::try_from(self.items.len()) else { return };
                self.items.push(item);
                slot
            }
        };
        let items = &self.items;
        let rehash = |&slot: &u32| items.get(index(slot)).map_or(0, |item| item.topic.hash());
        self.index.insert_unique(topic.hash(), slot, rehash);
        self.link(slot);
    }

    /// Drops all news about a member.
    pub fn forget(&mut self, id: ShortId) {
        for kind in Kind::ALL {
            if let Some(slot) = self.slot(Topic { id, kind }) {
                self.unlink(slot);
                self.discard(slot);
            }
        }
    }

    /// Whether nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// How many items are pending.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Offers pending items to a datagram until it is full, each with room for its bytes, which are
    /// kept for the next time. What was taken as often as the `limit` of its class says is dropped.
    pub fn fill(
        &mut self,
        limit: impl Fn(Class) -> usize,
        mut offer: impl FnMut(Topic, &mut Option<Encoded>) -> Offer,
    ) {
        let mut misfits = 0;
        for class in Class::ALL {
            let mut left = self.classes.get(class.index()).map_or(0, |class| class.length);
            if left == 0 {
                continue;
            }
            let limit = limit(class);
            let mut sent = 0;
            while left > 0 && misfits < MISFITS_MAX {
                let Some(bucket) = self.bucket(class, sent).copied() else { break };
                let mut next = bucket.head;
                while let Some(slot) = next
                    && misfits < MISFITS_MAX
                {
                    left = left.saturating_sub(1);
                    let Some(item) = self.items.get_mut(index(slot)) else { break };
                    // Those behind the last one failed to fit just now.
                    next = if next == bucket.tail { None } else { item.behind };
                    match offer(item.topic, &mut item.encoded) {
                        Offer::Taken if sent + 1 < limit => {
                            self.unlink(slot);
                            self.taken.push(slot);
                        }
                        Offer::Taken | Offer::Obsolete => {
                            self.unlink(slot);
                            self.discard(slot);
                        }
                        Offer::NoRoom => {
                            misfits += 1;
                            self.unlink(slot);
                            self.link(slot);
                        }
                    }
                }
                sent += 1;
            }
        }
        let mut taken = std::mem::take(&mut self.taken);
        for slot in taken.drain(..) {
            if let Some(item) = self.items.get_mut(index(slot)) {
                item.sent += 1;
            }
            self.link(slot);
        }
        self.taken = taken;
    }

    fn slot(&self, topic: Topic) -> Option<u32> {
        let is_it =
            |&slot: &u32| self.items.get(index(slot)).is_some_and(|item| item.topic == topic);
        self.index.find(topic.hash(), is_it).copied()
    }

    fn bucket(&mut self, class: Class, sent: usize) -> Option<&mut Bucket> {
        self.classes.get_mut(class.index())?.tiers.get_mut(sent)
    }

    /// Appends an item to its bucket.
    fn link(&mut self, slot: u32) {
        let Some(item) = self.items.get_mut(index(slot)) else { return };
        let Some(class) = self.classes.get_mut(item.class.index()) else { return };
        if class.tiers.len() <= item.sent {
            class.tiers.resize(item.sent + 1, Bucket::default());
        }
        let Some(bucket) = class.tiers.get_mut(item.sent) else { return };
        class.length += 1;
        let last = bucket.tail.replace(slot);
        (item.before, item.behind) = (last, None);
        match last.and_then(|last| self.items.get_mut(index(last))) {
            Some(last) => last.behind = Some(slot),
            None => bucket.head = Some(slot),
        }
    }

    /// Takes an item out of its bucket.
    fn unlink(&mut self, slot: u32) {
        let Some(item) = self.items.get(index(slot)) else { return };
        let (before, behind) = (item.before, item.behind);
        let Some(class) = self.classes.get_mut(item.class.index()) else { return };
        class.length = class.length.saturating_sub(1);
        let Some(bucket) = class.tiers.get_mut(item.sent) else { return };
        match before.and_then(|before| self.items.get_mut(index(before))) {
            Some(before) => before.behind = behind,
            None => bucket.head = behind,
        }
        match behind.and_then(|behind| self.items.get_mut(index(behind))) {
            Some(behind) => behind.before = before,
            None => bucket.tail = before,
        }
    }

    /// Frees the slot of an item that is in no bucket.
    fn discard(&mut self, slot: u32) {
        let Some(topic) = self.items.get(index(slot)).map(|item| item.topic) else { return };
        if let Ok(entry) = self.index.find_entry(topic.hash(), |&other| other == slot) {
            entry.remove();
            self.free.push(slot);
        }
        if self.index.is_empty() && self.items.capacity() > ITEMS_KEPT {
            // What a mass join needed once is not kept for ever.
            (self.items, self.free, self.index) = Default::default();
        }
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).unwrap_or(usize::MAX)
}
