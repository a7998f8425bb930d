//! Which news rides on the next datagram.
//!
//! Owns, for each member and kind of news, at most one pending item: news is read from the table
//! when it is sent, so the newest always wins and the queue never holds more than four items a
//! member. Items go out by class, then by how rarely they were sent. Refuses to know what an item
//! says or whether it fits; the caller offers it to a datagram and reports back.

use std::collections::VecDeque;

use astromesh_wire::ShortId;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

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
    pending: IndexMap<Topic, Pending, FxBuildHasher>,
    /// Indexed by class; within, by how often the item was sent.
    tiers: [Vec<VecDeque<Item>>; CLASSES],
    next_stamp: u64,
    /// Items taken in the running `fill`, to be put back one tier further; kept for its memory.
    taken: Vec<(usize, usize, Item)>,
    /// Items in `tiers`, those superseded included.
    queued: usize,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    stamp: u64,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    topic: Topic,
    /// Differs from that of `pending` once the item is superseded.
    stamp: u64,
}

const CLASSES: usize = 4;

/// Items of one bucket that may fail to fit before a datagram counts as full.
const MISFITS_MAX: usize = 4;

impl Class {
    const fn index(self) -> usize {
        match self {
            Self::Urgent => 0,
            Self::State => 1,
            Self::Record => 2,
            Self::Load => 3,
        }
    }
}

impl Dissemination {
    /// Adds news, or starts its transmissions anew if it is already pending.
    pub fn enqueue(&mut self, topic: Topic, class: Class) {
        self.next_stamp += 1;
        let stamp = self.next_stamp;
        self.pending.insert(topic, Pending { stamp });
        self.put(class.index(), 0, Item { topic, stamp });
        // Superseded items are dropped when met; a burst that outruns this is swept.
        if self.queued > 4 * self.pending.len() + 64 {
            self.sweep();
        }
    }

    /// Drops all news about a member.
    pub fn forget(&mut self, id: ShortId) {
        for kind in [Kind::State, Kind::Record, Kind::Load, Kind::Evidence] {
            self.pending.swap_remove(&Topic { id, kind });
        }
    }

    /// Whether nothing is pending.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// How many items are pending.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pending.len()
    }

    /// How many entries are held, superseded ones included; at most `4 * len() + 65`.
    #[must_use]
    pub const fn queued(&self) -> usize {
        self.queued
    }

    /// Offers pending news in order until the datagram is full. An item that was taken `limit`
    /// times is done.
    pub fn fill(&mut self, limit: usize, mut offer: impl FnMut(Topic) -> Offer) {
        if self.pending.is_empty() {
            return;
        }
        let mut misfits = 0;
        for (class, tier) in self.tiers.iter_mut().enumerate() {
            for (sent, bucket) in tier.iter_mut().enumerate() {
                for _ in 0..bucket.len() {
                    if misfits >= MISFITS_MAX {
                        break;
                    }
                    let Some(item) = bucket.pop_front() else { break };
                    self.queued -= 1;
                    let current = self.pending.get(&item.topic).map(|pending| pending.stamp);
                    if current != Some(item.stamp) {
                        continue;
                    }
                    match offer(item.topic) {
                        Offer::Taken if sent + 1 < limit => {
                            self.taken.push((class, sent + 1, item));
                        }
                        Offer::Taken | Offer::Obsolete => {
                            self.pending.swap_remove(&item.topic);
                        }
                        Offer::NoRoom => {
                            misfits += 1;
                            bucket.push_back(item);
                            self.queued += 1;
                        }
                    }
                }
            }
        }
        while let Some((class, sent, item)) = self.taken.pop() {
            self.put(class, sent, item);
        }
    }

    fn put(&mut self, class: usize, sent: usize, item: Item) {
        let Some(tier) = self.tiers.get_mut(class) else { return };
        if tier.len() <= sent {
            tier.resize_with(sent + 1, VecDeque::new);
        }
        if let Some(bucket) = tier.get_mut(sent) {
            bucket.push_back(item);
            self.queued += 1;
        }
    }

    fn sweep(&mut self) {
        let pending = &self.pending;
        let is_current = |item: &Item| {
            pending.get(&item.topic).is_some_and(|pending| pending.stamp == item.stamp)
        };
        self.queued = 0;
        for bucket in self.tiers.iter_mut().flatten() {
            bucket.retain(is_current);
            self.queued += bucket.len();
        }
    }
}
