//! The load of this node, exact at every moment.
//!
//! Owns the count of requests that are here, how many came through each other node, the limit and
//! the draining flag. Counts go up and down with guards only, so that they are right whatever ends
//! a request: its answer, an error, a panic or a client that left. Refuses to be set from outside
//! and to read a clock. Gossip follows it to announce changes; the HTTP server writes it on answers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use astromesh_wire::NodeId;
use rustc_hash::FxBuildHasher;
use tokio::sync::watch;

use super::record::LoadRecord;
use crate::directory::LoadSource;

/// A node that sent work within this time is told of changes by beacons.
pub const ORIGIN_RECENT: Duration = Duration::from_secs(10);
/// Nodes whose share is counted. Work of further ones is counted without a share.
pub const ORIGINS_MAX: usize = 256;
/// The unit of [`LoadRecord::sequence`].
const TICK: Duration = Duration::from_millis(10);

/// The load of this node; clones share it.
#[derive(Debug, Clone)]
pub struct LocalLoad {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Changed only under the lock of `state`, so that records are consistent.
    active: watch::Sender<u32>,
    state: Mutex<LoadState>,
}

#[derive(Debug)]
struct LoadState {
    boot: u32,
    limit: u32,
    is_draining: bool,
    origins: HashMap<NodeId, Origin, FxBuildHasher>,
    /// Requests whose origin found no room in `origins`.
    strangers: u64,
}

#[derive(Debug)]
struct Origin {
    active: u32,
    latest: Duration,
}

impl LocalLoad {
    /// Nothing to do yet. A limit of 0 is none.
    #[must_use]
    pub fn new(boot: u32, limit: u32) -> Self {
        let state = LoadState {
            boot,
            limit,
            is_draining: false,
            origins: HashMap::default(),
            strangers: 0,
        };
        Self {
            shared: Arc::new(Shared { active: watch::Sender::new(0), state: Mutex::new(state) }),
        }
    }

    /// Counts one request until the guard is dropped.
    #[must_use]
    pub fn enter(&self, now: Duration, origin: Option<NodeId>) -> LoadGuard {
        let mut state = self.lock();
        let origin = origin.filter(|origin| state.count_origin(now, *origin));
        self.shared.active.send_modify(|active| *active = active.saturating_add(1));
        LoadGuard { load: self.clone(), origin }
    }

    /// Requests that are here now.
    #[must_use]
    pub fn active(&self) -> u32 {
        *self.shared.active.borrow()
    }

    /// Follows the count; a slow reader sees the newest value, not each one. Draining wakes readers
    /// too.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u32> {
        self.shared.active.subscribe()
    }

    /// From now on records say that this node takes nothing new. There is no way back.
    pub fn drain(&self) {
        self.lock().is_draining = true;
        self.shared.active.send_modify(|_| {});
    }

    /// Whether [`Self::drain`] was called.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.lock().is_draining
    }

    /// The load as it is told to `for_origin`, or to everybody. `now` is the time since this
    /// process began.
    #[must_use]
    pub fn record(&self, now: Duration, for_origin: Option<NodeId>) -> LoadRecord {
        let state = self.lock();
        let share = |origin| match state.origins.get(&origin) {
            Some(known) => Some(known.active),
            // With the table full it may have work here all the same.
            None => (state.origins.len() < ORIGINS_MAX).then_some(0),
        };
        LoadRecord {
            boot: state.boot,
            sequence: sequence(now),
            active: self.active(),
            limit: state.limit,
            is_draining: state.is_draining,
            yours: for_origin.and_then(share),
        }
    }

    /// Nodes that sent work lately, [`ORIGINS_MAX`] at most.
    #[must_use]
    pub fn recent_origins(&self, now: Duration) -> Vec<NodeId> {
        let state = self.lock();
        let recent = state.origins.iter().filter(|(_, origin)| origin.is_recent(now));
        recent.map(|(id, _)| *id).collect()
    }

    /// Requests counted without a share, since more than [`ORIGINS_MAX`] nodes sent work at once.
    #[must_use]
    pub fn strangers(&self) -> u64 {
        self.lock().strangers
    }

    /// Changes how many requests the node works on at once; 0 for no limit.
    pub fn set_limit(&self, limit: u32) {
        self.lock().limit = limit;
    }

    /// Changes the generation that records carry.
    pub fn set_boot(&self, boot: u32) {
        self.lock().boot = boot;
    }

    /// A poisoned lock is taken all the same: each count is valid by itself.
    fn lock(&self) -> MutexGuard<'_, LoadState> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadSource for LocalLoad {
    fn record(&self, now: Duration, for_origin: Option<NodeId>) -> astromesh_wire::LoadRecord {
        self.record(now, for_origin).into()
    }

    fn recent_origins(&self, now: Duration) -> Vec<NodeId> {
        self.recent_origins(now)
    }

    fn watch(&self) -> watch::Receiver<u32> {
        self.watch()
    }

    fn drain(&self) {
        self.drain();
    }

    fn set_boot(&self, generation: u32) {
        self.set_boot(generation);
    }
}

/// The tick of a moment, for [`LoadRecord::sequence`]; stays at its maximum after 497 days.
#[must_use]
pub fn sequence(since_start: Duration) -> u32 {
    u32::try_from(since_start.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX)
}

impl LoadState {
    /// Counts a request of this origin, if there is room for it.
    fn count_origin(&mut self, now: Duration, id: NodeId) -> bool {
        if !self.origins.contains_key(&id) && self.origins.len() >= ORIGINS_MAX {
            self.origins.retain(|_, origin| origin.active > 0 || origin.is_recent(now));
            if self.origins.len() >= ORIGINS_MAX {
                self.strangers += 1;
                return false;
            }
        }
        let origin = self.origins.entry(id).or_insert(Origin { active: 0, latest: now });
        origin.active += 1;
        origin.latest = origin.latest.max(now);
        true
    }
}

impl Origin {
    fn is_recent(&self, now: Duration) -> bool {
        now.saturating_sub(self.latest) <= ORIGIN_RECENT
    }
}

/// One request that is here; dropping it is the only way to end the count of it.
#[derive(Debug)]
pub struct LoadGuard {
    load: LocalLoad,
    /// Set when its share is counted.
    origin: Option<NodeId>,
}

impl Drop for LoadGuard {
    fn drop(&mut self) {
        let mut state = self.load.lock();
        if let Some(origin) = self.origin.and_then(|id| state.origins.get_mut(&id)) {
            origin.active = origin.active.saturating_sub(1);
        }
        self.load.shared.active.send_modify(|active| *active = active.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u16) -> NodeId {
        let [high, low] = number.to_be_bytes();
        let mut bytes = [0; 16];
        bytes[14] = high;
        bytes[15] = low;
        NodeId::from_bytes(bytes)
    }

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn counts_follow_their_guards_in_all_and_for_each_origin() {
        let load = LocalLoad::new(3, 8);
        let watcher = load.watch();
        let own = load.enter(NOW, None);
        let theirs = load.enter(NOW, Some(id(2)));
        let record = LoadRecord {
            boot: 3,
            sequence: 10_000,
            active: 2,
            limit: 8,
            is_draining: false,
            yours: Some(1),
        };
        assert_eq!(load.record(NOW, Some(id(2))), record);
        assert_eq!(load.record(NOW, Some(id(3))), LoadRecord { yours: Some(0), ..record });
        assert_eq!(load.record(NOW, None), LoadRecord { yours: None, ..record });
        assert_eq!((load.active(), *watcher.borrow()), (2, 2));
        drop((own, theirs));
        assert_eq!(
            load.record(NOW, Some(id(2))),
            LoadRecord { active: 0, yours: Some(0), ..record }
        );
        assert_eq!(*watcher.borrow(), 0);
    }

    #[test]
    fn a_panic_lowers_the_count() {
        let load = LocalLoad::new(1, 0);
        let inside = load.clone();
        let outcome = std::thread::spawn(move || {
            let _guard = inside.enter(NOW, Some(id(2)));
            std::panic::resume_unwind(Box::new("a run that fails"));
        })
        .join();
        assert!(outcome.is_err());
        assert_eq!(load.record(NOW, Some(id(2))).yours, Some(0));
        assert_eq!(load.active(), 0);
    }

    #[test]
    fn draining_wakes_readers_and_is_told() {
        let load = LocalLoad::new(1, 0);
        let mut watcher = load.watch();
        assert!(!watcher.has_changed().unwrap());
        load.drain();
        assert!(watcher.has_changed().unwrap());
        watcher.mark_unchanged();
        assert!(load.is_draining() && load.record(NOW, None).is_draining);
    }

    #[test]
    fn limit_and_boot_can_change() {
        let load = LocalLoad::new(1, 0);
        load.set_limit(4);
        load.set_boot(9);
        let record = load.record(NOW, None);
        assert_eq!((record.limit, record.boot), (4, 9));
    }

    #[test]
    fn origins_are_recent_for_ten_seconds_after_their_latest_request() {
        let load = LocalLoad::new(1, 0);
        drop(load.enter(NOW, Some(id(2))));
        assert_eq!(load.recent_origins(NOW + ORIGIN_RECENT), [id(2)]);
        let later = NOW + ORIGIN_RECENT + Duration::from_millis(1);
        assert_eq!(load.recent_origins(later), []);
    }

    #[test]
    fn more_origins_than_there_is_room_for_are_counted_without_a_share() {
        let load = LocalLoad::new(1, 0);
        let guards: Vec<LoadGuard> =
            (0..300).map(|number| load.enter(NOW, Some(id(number)))).collect();
        assert_eq!(load.recent_origins(NOW).len(), ORIGINS_MAX);
        assert_eq!((load.active(), load.strangers()), (300, 44));
        assert_eq!(load.record(NOW, Some(id(0))).yours, Some(1));
        assert_eq!(load.record(NOW, Some(id(299))).yours, None, "it may have some");
        drop(guards);
        assert_eq!(load.active(), 0);
        let later = NOW + ORIGIN_RECENT * 2;
        drop(load.enter(later, Some(id(299))));
        assert_eq!(load.recent_origins(later), [id(299)], "the idle ones made room");
    }

    #[test]
    fn the_sequence_counts_hundredths_and_stops_at_its_maximum() {
        assert_eq!(sequence(Duration::from_millis(1_019)), 101);
        assert_eq!(sequence(Duration::from_secs(60 * 60 * 24 * 500)), u32::MAX);
    }
}
