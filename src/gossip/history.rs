//! What happened to each member in the last hour, as this node saw it.
//!
//! Owns the entries, their bounds, and the names of those whom only it remembers. It is told what
//! happens by the gossip thread, which also asks it, so nothing here looks through all members;
//! nothing is decided by what it holds.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use astromesh_swim::{Change, Instant, Verdict};
use astromesh_wire::{NodeId, ShortId};

use super::naming::{NotOne, ids_that_begin};

/// How long an entry is kept.
pub(super) const AGE_MAX: Duration = Duration::from_secs(3_600);

/// Entries of one member: a dozen deaths and returns with what leads to them. The oldest go first.
const PER_MEMBER_MAX: usize = 64;

/// Entries in all: some megabytes. The oldest go first.
const ENTRIES_MAX: usize = 32_768;

/// Members named when several could be meant: one more than are shown to whoever asks.
const MEANT_MAX: usize = 6;

/// Something that happened to a member.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// When this node learned of it.
    pub(super) at: Instant,
    pub(super) what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum What {
    /// It changed.
    Changed(Changed),
    /// It was declared dead, at this time, for this reason.
    Declared(Instant, Box<Verdict>),
}

/// A change of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) change: Change,
    pub(super) generation: u32,
    pub(super) incarnation: u32,
    /// Its gossip address before and after, if it moved.
    pub(super) moved: Option<(SocketAddr, SocketAddr)>,
}

/// A member as it is when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subject<'a> {
    pub(super) id: NodeId,
    pub(super) name: &'a str,
    pub(super) address: SocketAddr,
    pub(super) generation: u32,
    pub(super) incarnation: u32,
}

/// The entries of all members.
#[derive(Debug, Default)]
pub(super) struct History {
    pasts: BTreeMap<NodeId, Past>,
    /// Whose name each is; every name in `pasts` is here.
    names: BTreeSet<(String, NodeId)>,
    /// Whose entry each number is, oldest first.
    order: BTreeMap<u64, NodeId>,
    next: u64,
    dropped: u64,
}

#[derive(Debug, Default)]
struct Past {
    name: String,
    address: Option<SocketAddr>,
    entries: VecDeque<(u64, Entry)>,
    dropped: u64,
}

impl History {
    /// A member, described as it is now, changed. Says what of it is worth telling.
    pub(super) fn changed(
        &mut self,
        now: Instant,
        subject: &Subject<'_>,
        change: Change,
    ) -> Changed {
        let past = self.pasts.entry(subject.id).or_default();
        if past.name != subject.name {
            let before = std::mem::replace(&mut past.name, subject.name.to_owned());
            self.names.remove(&(before, subject.id));
            self.names.insert((subject.name.to_owned(), subject.id));
        }
        let before = past.address.replace(subject.address);
        let moved = before.filter(|before| *before != subject.address);
        let changed = Changed {
            change,
            generation: subject.generation,
            incarnation: subject.incarnation,
            moved: moved.map(|before| (before, subject.address)),
        };
        self.push(now, subject.id, What::Changed(changed));
        changed
    }

    /// A member was forgotten; what happened to it before is not.
    pub(super) fn reaped(&mut self, now: Instant, id: NodeId) -> Changed {
        let changed =
            Changed { change: Change::Reaped, generation: 0, incarnation: 0, moved: None };
        self.push(now, id, What::Changed(changed));
        changed
    }

    /// A member was declared dead. `false` if that is known already, with as much evidence.
    pub(super) fn declared(&mut self, now: Instant, verdict: &Verdict) -> bool {
        let what = What::Declared(now.before(verdict.decided_ago), Box::new(verdict.clone()));
        let past = self.pasts.entry(verdict.subject).or_default();
        let same = past.entries.iter_mut().find_map(|(_, entry)| match &mut entry.what {
            What::Declared(_, known) if is_same(known, verdict) => Some(entry),
            What::Declared(..) | What::Changed(_) => None,
        });
        let Some(known) = same else {
            self.push(now, verdict.subject, what);
            return true;
        };
        let says_more = match &known.what {
            What::Declared(_, known) => known.ballots.is_empty() && !verdict.ballots.is_empty(),
            What::Changed(_) => false,
        };
        if says_more {
            known.what = what;
        }
        says_more
    }

    /// What happened to a member, oldest first, and how much of it is not kept any more though it
    /// is not old.
    pub(super) fn of(&mut self, now: Instant, id: NodeId) -> (Vec<Entry>, u64) {
        self.expire(now);
        let Some(past) = self.pasts.get(&id) else { return (Vec::new(), 0) };
        (past.entries.iter().map(|(_, entry)| entry.clone()).collect(), past.dropped)
    }

    /// Name of a member, also if it is forgotten elsewhere.
    pub(super) fn name(&self, id: NodeId) -> Option<&str> {
        self.pasts.get(&id).map(|past| past.name.as_str()).filter(|name| !name.is_empty())
    }

    /// The member that a short id stands for.
    pub(super) fn full(&self, short: ShortId) -> Option<NodeId> {
        let (first, last) = ids_of(short);
        self.pasts.range(first..=last).next().map(|(id, _)| *id)
    }

    /// A member that is forgotten elsewhere, by its name or the beginning of its id. Both are looked
    /// up, for this runs on the gossip thread.
    pub(super) fn forgotten(&self, key: &str) -> Result<NodeId, NotOne> {
        let name = |id: u8| (key.to_owned(), NodeId::from_bytes([id; 16]));
        let named = self.names.range(name(0)..=name(u8::MAX)).map(|(_, id)| *id);
        let mut meant: Vec<NodeId> = named.take(MEANT_MAX).collect();
        if meant.is_empty()
            && let Some(ids) = ids_that_begin(key)
        {
            meant.extend(self.pasts.range(ids).map(|(id, _)| *id).take(MEANT_MAX));
        }
        match meant.as_slice() {
            [] => Err(NotOne::Unknown),
            [one] => Ok(*one),
            several => {
                let called = |id: &NodeId| (self.name(*id).unwrap_or_default().to_owned(), *id);
                Err(NotOne::Ambiguous(several.iter().map(called).collect()))
            }
        }
    }

    /// Entries that had to go before their time.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }

    fn push(&mut self, now: Instant, id: NodeId, what: What) {
        self.expire(now);
        let past = self.pasts.entry(id).or_default();
        past.entries.push_back((self.next, Entry { at: now, what }));
        self.order.insert(self.next, id);
        self.next += 1;
        if past.entries.len() > PER_MEMBER_MAX
            && let Some((number, _)) = past.entries.front()
        {
            let number = *number;
            self.drop_early(number);
        }
        if self.order.len() > ENTRIES_MAX
            && let Some((&number, _)) = self.order.first_key_value()
        {
            self.drop_early(number);
        }
    }

    /// Drops the oldest entry of a member to keep within a bound.
    fn drop_early(&mut self, number: u64) {
        self.dropped += 1;
        if let Some(past) = self.order.get(&number).and_then(|id| self.pasts.get_mut(id)) {
            past.dropped += 1;
        }
        self.forget(number);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((&number, id)) = self.order.first_key_value() {
            let entry = self.pasts.get(id).and_then(|past| past.entries.front());
            if entry.is_some_and(|(_, entry)| now.since(entry.at) <= AGE_MAX) {
                break;
            }
            self.forget(number);
        }
    }

    /// Drops the oldest entry of a member, which has this number.
    fn forget(&mut self, number: u64) {
        let Some(id) = self.order.remove(&number) else { return };
        if let Some(past) = self.pasts.get_mut(&id) {
            past.entries.pop_front();
            if past.entries.is_empty()
                && let Some(past) = self.pasts.remove(&id)
            {
                self.names.remove(&(past.name, id));
            }
        }
    }
}

/// The same death, however much is said of it.
fn is_same(a: &Verdict, b: &Verdict) -> bool {
    (a.generation, a.incarnation) == (b.generation, b.incarnation)
}

/// The first and the last id with this short form.
pub(super) fn ids_of(short: ShortId) -> (NodeId, NodeId) {
    let [a, b, c, d, e] = *short.as_bytes();
    let with = |rest: u8| {
        let mut bytes = [rest; 16];
        bytes[..5].copy_from_slice(&[a, b, c, d, e]);
        NodeId::from_bytes(bytes)
    };
    (with(0), with(u8::MAX))
}

#[cfg(test)]
mod tests {
    use astromesh_swim::VerdictRule;
    use astromesh_wire::{Ballot, Vote};

    use super::*;

    fn id(first: u8, last: u8) -> NodeId {
        let mut bytes = [0; 16];
        (bytes[0], bytes[15]) = (first, last);
        NodeId::from_bytes(bytes)
    }

    fn member(id: NodeId, port: u16) -> Subject<'static> {
        let address = ([10, 0, 0, 1], port).into();
        Subject { id, name: "somebody", address, generation: 1, incarnation: 0 }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn verdict(incarnation: u32, ballots: Vec<Ballot>) -> Verdict {
        Verdict {
            subject: id(1, 1),
            generation: 1,
            incarnation,
            accuser: Some(id(2, 2).short()),
            rule: VerdictRule::Quorum,
            open_for: Duration::from_secs(2),
            decided_ago: Duration::from_secs(3),
            tries: 3,
            helpers: 4,
            nacks: 2,
            health: 0,
            ballots,
        }
    }

    fn changes(history: &mut History, now: Instant, id: NodeId) -> Vec<Change> {
        let entries = history.of(now, id).0.into_iter();
        let change = |entry: Entry| match entry.what {
            What::Changed(changed) => Some(changed.change),
            What::Declared(..) => None,
        };
        entries.filter_map(change).collect()
    }

    #[test]
    fn what_happened_is_kept_for_an_hour() {
        let mut history = History::default();
        let one = member(id(1, 1), 8000);
        history.changed(at(0), &one, Change::Joined);
        history.changed(at(1_800), &one, Change::Suspect);
        assert_eq!(changes(&mut history, at(3_600), one.id), [Change::Joined, Change::Suspect]);
        assert_eq!(changes(&mut history, at(3_601), one.id), [Change::Suspect]);
        assert_eq!(changes(&mut history, at(9_000), one.id), []);
        assert_eq!(history.dropped(), 0);
        assert!(history.pasts.is_empty() && history.order.is_empty());
    }

    #[test]
    fn a_member_that_moves_tells_from_where() {
        let mut history = History::default();
        assert_eq!(history.changed(at(0), &member(id(1, 1), 1), Change::Joined).moved, None);
        assert_eq!(history.changed(at(1), &member(id(1, 1), 1), Change::Updated).moved, None);
        let (from, to) = (([10, 0, 0, 1], 1).into(), ([10, 0, 0, 1], 2).into());
        let moved = history.changed(at(2), &member(id(1, 1), 2), Change::Updated).moved;
        assert_eq!(moved, Some((from, to)));
    }

    #[test]
    fn a_member_that_flaps_pushes_out_its_own_past_only() {
        let mut history = History::default();
        history.changed(at(0), &member(id(2, 2), 1), Change::Joined);
        for second in 0..70 {
            let change = if second % 2 == 0 { Change::Suspect } else { Change::Alive };
            history.changed(at(second), &member(id(1, 1), 1), change);
        }
        let (kept, dropped) = history.of(at(70), id(1, 1));
        assert_eq!((kept.len(), dropped, history.dropped()), (PER_MEMBER_MAX, 6, 6));
        assert_eq!(kept[0].at, at(6));
        assert_eq!(changes(&mut history, at(70), id(2, 2)), [Change::Joined]);
    }

    #[test]
    fn of_all_entries_the_oldest_go_first() {
        let mut history = History::default();
        let mut number = 0_u32;
        for second in [0, 1] {
            for _ in 0..ENTRIES_MAX / 2 + 1 {
                let mut bytes = [0; 16];
                bytes[..4].copy_from_slice(&(number / 2).to_be_bytes());
                number += 1;
                let one = member(NodeId::from_bytes(bytes), 1);
                history.changed(at(second), &one, Change::Updated);
            }
        }
        assert_eq!((history.order.len(), history.dropped()), (ENTRIES_MAX, 2));
        assert!(history.of(at(2), id(0, 0)).0.is_empty());
    }

    #[test]
    fn fuller_evidence_of_the_same_death_replaces_the_other() {
        let voter = id(9, 9).short();
        let ballots = vec![Ballot { voter, vote: Some(Vote::No), after_ms: 360 }];
        let mut history = History::default();
        assert!(history.declared(at(10), &verdict(0, Vec::new())));
        assert!(!history.declared(at(11), &verdict(0, Vec::new())));
        assert!(history.declared(at(12), &verdict(0, ballots)));
        assert!(!history.declared(at(13), &verdict(0, Vec::new())));
        assert!(history.declared(at(14), &verdict(1, Vec::new())));

        let (entries, _) = history.of(at(20), id(1, 1));

        let seen: Vec<_> = entries
            .iter()
            .filter_map(|entry| match &entry.what {
                What::Declared(decided, verdict) => Some((*decided, verdict.ballots.len())),
                What::Changed(_) => None,
            })
            .collect();
        assert_eq!(seen, [(at(9), 1), (at(11), 0)]);
    }

    #[test]
    fn the_forgotten_are_found_by_name_or_the_beginning_of_their_id() {
        let mut history = History::default();
        let named = |id, name| Subject { name, ..member(id, 1) };
        history.changed(at(0), &named(id(0x12, 1), "worker"), Change::Joined);
        history.changed(at(0), &named(id(0x13, 1), "twin"), Change::Joined);
        history.changed(at(0), &named(id(0x14, 1), "twin"), Change::Joined);
        history.changed(at(0), &named(id(0x25, 1), "before"), Change::Joined);
        history.changed(at(1), &named(id(0x25, 1), "after"), Change::Updated);
        history.reaped(at(2), id(0x12, 1));
        let rows = [
            ("a name", "worker", Ok(id(0x12, 1))),
            ("its last name", "after", Ok(id(0x25, 1))),
            ("an earlier name", "before", Err(0)),
            ("the beginning of an id", "25", Ok(id(0x25, 1))),
            ("two names", "twin", Err(2)),
            ("three ids", "1", Err(3)),
            ("nobody", "nobody", Err(0)),
            ("nothing", "", Err(0)),
        ];
        for (name, key, expected) in rows {
            let found = history.forgotten(key).map_err(|error| match error {
                NotOne::Unknown => 0,
                NotOne::Ambiguous(meant) => meant.len(),
            });
            assert_eq!(found, expected, "{name}");
        }
        assert!(history.of(at(9_000), id(0x12, 1)).0.is_empty());
        assert!(history.names.is_empty());
    }

    #[test]
    fn a_short_id_leads_to_the_full_one() {
        let mut history = History::default();
        history.changed(at(0), &member(id(0xab, 7), 1), Change::Joined);
        assert_eq!(history.full(id(0xab, 0).short()), Some(id(0xab, 7)));
        assert_eq!(history.full(id(0xac, 0).short()), None);
    }
}
