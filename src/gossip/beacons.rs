//! To whom the load of this node is told at once, and when.
//!
//! Owns what each node that sends work here was told last, the pace and the budget. A beacon leaves
//! only for a node that would read something new: the runs of others, for its own it counts itself,
//! the limit, or that this node is draining. Refuses to send, to count and to read a clock.
//!
//! The first change after a quiet time is told at once. For [`ROUND_INTERVAL`] after it changes are
//! not even looked at, however fast requests come and go; then what is new is told in one round. A
//! node on which nothing changes is never woken for this.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use astromesh_wire::{LoadRecord, NodeId};

use crate::directory::LoadSource;

/// Least time between two rounds of beacons.
pub(super) const ROUND_INTERVAL: Duration = Duration::from_millis(100);

/// Beacons of a round, and so a tenth of those of a second: a mesh in which hundreds of nodes send
/// work to each other shall not live on beacons. The others come first in the next round.
const ROUND_MAX: usize = 100;

/// Who is told what other nodes say of their load.
#[derive(Clone)]
pub struct Heard(Arc<dyn Fn(NodeId, LoadRecord) + Send + Sync>);

impl Heard {
    /// Calls this with each beacon of a live member. It runs on the gossip thread and must return
    /// at once: while it runs no ping is answered.
    pub fn by(listener: impl Fn(NodeId, LoadRecord) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    pub(super) fn tell(&self, id: NodeId, record: LoadRecord) {
        (self.0)(id, record);
    }
}

impl fmt::Debug for Heard {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Heard")
    }
}

/// Decides about beacons.
#[derive(Debug, Default)]
pub(super) struct Beacons {
    /// What each recent origin was told last; as many entries as the source names origins.
    told: BTreeMap<NodeId, Told>,
    /// Who was told last: the next round begins behind it.
    last: Option<NodeId>,
    /// Something may have changed since the last round.
    is_changed: bool,
    /// Until then changes are not looked at.
    rest_until: Option<Instant>,
    withheld: u64,
}

/// What a node reads from a beacon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Told {
    /// Runs that others sent.
    others: u32,
    limit: u32,
    is_draining: bool,
}

impl Told {
    fn of(record: &LoadRecord) -> Self {
        Self {
            others: record.active.saturating_sub(record.yours.unwrap_or(0)),
            limit: record.limit,
            is_draining: record.is_draining,
        }
    }
}

impl Beacons {
    /// A count changed.
    pub(super) const fn changed(&mut self) {
        self.is_changed = true;
    }

    /// Whether the next change is to be told of by [`Self::changed`] as soon as it happens.
    pub(super) const fn listens(&self) -> bool {
        self.rest_until.is_none()
    }

    /// When [`Self::is_due`] is to be asked again.
    pub(super) const fn next_poll(&self) -> Option<Instant> {
        self.rest_until
    }

    /// Whether it is time for a round. `has_changed` tells whether a count changed since the last
    /// one; it is asked only when that matters.
    pub(super) fn is_due(&mut self, now: Instant, has_changed: impl FnOnce() -> bool) -> bool {
        if self.rest_until.is_some_and(|until| now < until) {
            return false;
        }
        self.rest_until = None;
        self.is_changed || has_changed()
    }

    /// Who is told what, in this round. `at` is the time since the process began.
    pub(super) fn round(
        &mut self,
        now: Instant,
        at: Duration,
        source: &dyn LoadSource,
    ) -> Vec<(NodeId, LoadRecord)> {
        self.rest_until = Some(now + ROUND_INTERVAL);
        self.tell(at, source, ROUND_MAX)
    }

    /// Everybody who reads something new, at once and whatever it costs: for news of which there is
    /// one in the life of a process.
    pub(super) fn tell_all(
        &mut self,
        at: Duration,
        source: &dyn LoadSource,
    ) -> Vec<(NodeId, LoadRecord)> {
        self.tell(at, source, usize::MAX)
    }

    /// Beacons that had to wait for a later round.
    pub(super) const fn withheld(&self) -> u64 {
        self.withheld
    }

    fn tell(
        &mut self,
        at: Duration,
        source: &dyn LoadSource,
        count_max: usize,
    ) -> Vec<(NodeId, LoadRecord)> {
        let mut origins = source.recent_origins(at);
        origins.sort_unstable();
        self.told.retain(|id, _| origins.binary_search(id).is_ok());
        let begin = self.last.map_or(0, |last| origins.partition_point(|id| *id <= last));
        origins.rotate_left(begin);
        self.is_changed = false;
        let mut beacons = Vec::new();
        for id in origins {
            let record = source.record(at, Some(id));
            let told = Told::of(&record);
            if self.told.get(&id) == Some(&told) {
                continue;
            }
            if beacons.len() < count_max {
                self.told.insert(id, told);
                self.last = Some(id);
                beacons.push((id, record));
            } else {
                self.withheld += 1;
                self.is_changed = true;
            }
        }
        beacons
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::watch;

    use super::*;

    /// A load that a test sets.
    #[derive(Debug, Default)]
    struct Source(Mutex<Counts>);

    #[derive(Debug, Default, Clone)]
    struct Counts {
        own: u32,
        is_draining: bool,
        shares: BTreeMap<NodeId, u32>,
    }

    impl LoadSource for Source {
        fn record(&self, _now: Duration, for_origin: Option<NodeId>) -> LoadRecord {
            let counts = self.0.lock().unwrap();
            LoadRecord {
                active: counts.own + counts.shares.values().sum::<u32>(),
                yours: for_origin.map(|id| counts.shares.get(&id).copied().unwrap_or(0)),
                is_draining: counts.is_draining,
                ..LoadRecord::default()
            }
        }

        fn recent_origins(&self, _now: Duration) -> Vec<NodeId> {
            self.0.lock().unwrap().shares.keys().copied().collect()
        }

        fn watch(&self) -> watch::Receiver<u32> {
            watch::channel(0).1
        }

        fn drain(&self) {
            self.0.lock().unwrap().is_draining = true;
        }

        fn set_boot(&self, _generation: u32) {}
    }

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    /// A source with so many origins that have one run each.
    fn source(origins: u8) -> Source {
        let shares = (1..=origins).map(|number| (id(number), 1)).collect();
        Source(Mutex::new(Counts { shares, ..Counts::default() }))
    }

    fn round(beacons: &mut Beacons, source: &Source) -> Vec<NodeId> {
        let told = beacons.round(Instant::now(), Duration::ZERO, source);
        told.into_iter().map(|(id, _)| id).collect()
    }

    #[test]
    fn only_those_who_read_something_new_are_told() {
        let (mut beacons, source) = (Beacons::default(), source(2));
        assert_eq!(round(&mut beacons, &source), [id(1), id(2)]);
        assert!(round(&mut beacons, &source).is_empty());

        // Its own runs the first one counts itself; to the second they are those of others.
        source.0.lock().unwrap().shares.insert(id(1), 5);
        assert_eq!(round(&mut beacons, &source), [id(2)]);

        source.0.lock().unwrap().own = 1;
        assert_eq!(round(&mut beacons, &source), [id(1), id(2)]);

        source.drain();
        assert_eq!(round(&mut beacons, &source), [id(1), id(2)]);
    }

    #[test]
    fn who_sent_nothing_lately_is_not_told_and_forgotten() {
        let (mut beacons, source) = (Beacons::default(), source(1));
        round(&mut beacons, &source);
        let shares = std::mem::take(&mut source.0.lock().unwrap().shares);
        source.0.lock().unwrap().own = 7;
        assert!(round(&mut beacons, &source).is_empty());
        assert!(beacons.told.is_empty());
        source.0.lock().unwrap().shares = shares;
        assert_eq!(round(&mut beacons, &source), [id(1)]);
    }

    #[test]
    fn beyond_the_budget_everybody_has_a_turn_and_the_others_are_counted() {
        let (mut beacons, source) = (Beacons::default(), source(250));
        let mut told = Vec::new();
        for expected in [100, 100, 50, 0] {
            let these = round(&mut beacons, &source);
            assert_eq!(these.len(), expected);
            told.extend(these);
        }
        assert_eq!(told, (1..=250).map(id).collect::<Vec<_>>());
        assert_eq!(beacons.withheld(), 150 + 50);

        // Something new for all: it goes on behind the last one.
        source.0.lock().unwrap().own = 1;
        assert_eq!(round(&mut beacons, &source)[0], id(1));
        assert_eq!(round(&mut beacons, &source)[0], id(101));
        source.0.lock().unwrap().own = 2;
        assert_eq!(round(&mut beacons, &source)[0], id(201));

        source.drain();
        let all = beacons.tell_all(Duration::ZERO, &source);
        assert_eq!(all.len(), 250, "a drain has no budget");
    }

    #[test]
    fn the_first_change_is_told_at_once_and_those_after_it_together() {
        let (mut beacons, source) = (Beacons::default(), source(1));
        let start = Instant::now();
        assert!(beacons.listens() && beacons.next_poll().is_none());
        assert!(!beacons.is_due(start, || false), "nothing happened");

        beacons.changed();
        assert!(beacons.is_due(start, || panic!("it is known already")));
        beacons.round(start, Duration::ZERO, &source);
        assert!(!beacons.listens(), "it rests");
        assert_eq!(beacons.next_poll(), Some(start + ROUND_INTERVAL));
        let early = start + ROUND_INTERVAL / 2;
        assert!(!beacons.is_due(early, || panic!("it is not asked while it rests")));

        assert!(beacons.is_due(start + ROUND_INTERVAL, || true));
        beacons.round(start + ROUND_INTERVAL, Duration::ZERO, &source);
        assert!(!beacons.is_due(start + ROUND_INTERVAL * 2, || false));
        assert!(beacons.listens() && beacons.next_poll().is_none(), "nothing wakes it any more");
    }

    #[test]
    fn what_was_withheld_is_due_without_a_change() {
        let (mut beacons, source) = (Beacons::default(), source(101));
        let start = Instant::now();
        assert_eq!(beacons.round(start, Duration::ZERO, &source).len(), 100);
        assert!(beacons.is_due(start + ROUND_INTERVAL, || false));
        assert_eq!(round(&mut beacons, &source), [id(101)]);
        assert!(!beacons.is_due(Instant::now() + ROUND_INTERVAL, || false));
    }
}
