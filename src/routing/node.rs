//! What is known of one other node: where it is, its load, and how well it can be reached.
//!
//! The load of a node is thought to be what others have there plus what is outstanding from here.
//! The second part is exact at every moment. The first is what the node said in all minus our part
//! in that: the part it told, or else what was outstanding when its word came in. Owns that
//! arithmetic; the table keeps a node for each member. Reads no clock.

use std::sync::Arc;
use std::time::Duration;

use astromesh_wire::{NodeId, State};

use super::affinity;
use super::ejection::{Cause, Health};
use super::local_load::sequence;
use super::record::LoadRecord;
use super::target::Target;
use super::tuning::{
    BEACON_PROMISE, CAPACITY_UNLIMITED, SEQUENCE_AHEAD, SLOW_START, SLOW_START_FLOOR,
};

/// What is known of one node. What each choice reads of it lies together and is small, and the rest
/// lies elsewhere: a choice among 1,000 nodes reads all of them, and takes as long as memory does.
/// Moments are in nanoseconds for the same reason.
#[derive(Debug)]
pub(super) struct Node {
    /// How the questions of the table have met it.
    pub(super) mark: u64,
    /// For [`affinity`].
    pub(super) hash: u64,
    /// End of its slow start.
    warm_at: u64,
    heard_at: u64,
    /// Until then it tells its changes, for it had work from here.
    promised_until: u64,
    outstanding: u32,
    others: u32,
    /// `others`, faded towards the average by its age.
    others_by_now: f32,
    inverse_capacity: f32,
    pub(super) state: State,
    is_draining: bool,
    /// It has told our share, so it tells its changes, too.
    tells_us: bool,
    /// It has failed, and its health has to be asked.
    is_doubted: bool,
    rest: Box<Rest>,
}

/// What is read of the node that was chosen.
#[derive(Debug)]
struct Rest {
    id: NodeId,
    /// `None` when it has gone from the directory.
    target: Option<Arc<Target>>,
    record: Option<LoadRecord>,
    health: Health,
}

/// What a new load record did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    No,
    /// The process is another one than before.
    Yes,
}

impl Node {
    /// Nothing is known of it.
    pub(super) fn new(id: NodeId) -> Self {
        Self {
            mark: 0,
            hash: affinity::hash_of(id),
            warm_at: 0,
            heard_at: 0,
            promised_until: 0,
            outstanding: 0,
            others: 0,
            others_by_now: 0.0,
            inverse_capacity: inverse_capacity(0),
            state: State::Left,
            is_draining: false,
            tells_us: false,
            is_doubted: false,
            rest: Box::new(Rest { id, target: None, record: None, health: Health::default() }),
        }
    }

    /// It has a place in the mesh, or another one than before.
    pub(super) fn place(&mut self, target: Target, state: State) {
        self.state = state;
        self.rest.target = Some(Arc::new(target));
    }

    /// It has gone from the directory.
    pub(super) fn leave(&mut self) {
        self.state = State::Left;
        self.rest.target = None;
    }

    pub(super) fn id(&self) -> NodeId {
        self.rest.id
    }

    /// `None` when it has gone from the directory.
    pub(super) fn target(&self) -> Option<&Arc<Target>> {
        self.rest.target.as_ref()
    }

    /// What it said last.
    pub(super) fn record(&self) -> Option<LoadRecord> {
        self.rest.record
    }

    pub(super) fn health(&self) -> &Health {
        &self.rest.health
    }

    /// Changes its health.
    pub(super) fn judge<T>(&mut self, change: impl FnOnce(&mut Health) -> T) -> T {
        let result = change(&mut self.rest.health);
        self.is_doubted = !self.rest.health.is_fine();
        result
    }

    /// Why to pass it over now.
    #[inline]
    pub(super) fn ejected(&self, now: Duration) -> Option<Cause> {
        if self.is_doubted { self.rest.health.ejected(now) } else { None }
    }

    /// A request leaves for it.
    pub(super) fn begin(&mut self, now: Duration) {
        self.outstanding = self.outstanding.saturating_add(1);
        self.promised_until = nanoseconds(now + BEACON_PROMISE);
    }

    /// A request to it is over.
    pub(super) fn end(&mut self) {
        self.outstanding = self.outstanding.saturating_sub(1);
    }

    /// It is given little at first.
    pub(super) fn warm_up(&mut self, now: Duration) {
        self.warm_at = nanoseconds(now + SLOW_START);
    }

    /// Works out what is thought of others' requests there by now, see
    /// [`Table::fade`](super::table::Table::fade).
    pub(super) fn fade(&mut self, now: Duration, per_s: f32, age_s_max: f32, mean_fill: f32) {
        let kept = 1.0 / (1.0 + per_s * self.age_s(now).min(age_s_max));
        let mean = mean_fill / self.inverse_capacity;
        self.others_by_now = mean + (self.others as f32 - mean) * kept;
    }

    /// Requests thought to be at the node.
    #[inline]
    pub(super) fn load(&self) -> u32 {
        self.others.saturating_add(self.outstanding)
    }

    /// Requests of others thought to be at the node.
    #[inline]
    pub(super) fn others(&self) -> u32 {
        self.others
    }

    /// The same over capacity.
    pub(super) fn others_fill(&self) -> f32 {
        self.others as f32 * self.inverse_capacity
    }

    /// How full the node would be with one request more, as far as can be said by now.
    #[inline]
    pub(super) fn cost(&self, now: Duration) -> f32 {
        (self.others_by_now + self.outstanding as f32 + 1.0) * self.inverse_capacity(now)
    }

    /// Requests of ours at the node.
    #[inline]
    pub(super) fn outstanding(&self) -> u32 {
        self.outstanding
    }

    /// One over the capacity, which is less during the slow start.
    #[inline]
    pub(super) fn inverse_capacity(&self, now: Duration) -> f32 {
        let left = self.warm_at.saturating_sub(nanoseconds(now));
        if left == 0 {
            return self.inverse_capacity;
        }
        let left = left as f32 * 1e-9 / SLOW_START.as_secs_f32();
        self.inverse_capacity / (1.0 - (1.0 - SLOW_START_FLOOR) * left.min(1.0))
    }

    /// Whether the node said that it works on as many requests as it can.
    pub(super) fn is_full(&self) -> bool {
        let limit = self.rest.record.map_or(0, |record| record.limit);
        limit > 0 && self.load() >= limit
    }

    /// It has said that it takes nothing new.
    #[inline]
    pub(super) fn is_draining(&self) -> bool {
        self.is_draining
    }

    /// Since the node was last heard of its load.
    pub(super) fn age(&self, now: Duration) -> Duration {
        Duration::from_nanos(nanoseconds(now).saturating_sub(self.heard_at))
    }

    /// The same, as a number.
    #[inline]
    pub(super) fn age_s(&self, now: Duration) -> f32 {
        nanoseconds(now).saturating_sub(self.heard_at) as f32 * 1e-9
    }

    /// Whether it sends a beacon when its load changes, so that silence means that nothing has.
    #[inline]
    pub(super) fn tells_changes(&self, now: Duration) -> bool {
        self.tells_us && nanoseconds(now) <= self.promised_until
    }

    /// The highest sequence that its process can have reached, judged by what it said before.
    pub(super) fn sequence_max(&self, now: Duration) -> Option<u32> {
        let held = self.rest.record?;
        let since = self.age(now).saturating_add(SEQUENCE_AHEAD);
        Some(held.sequence.saturating_add(sequence(since)))
    }

    /// It said how busy it is.
    pub(super) fn hear(&mut self, now: Duration, record: LoadRecord) -> Restart {
        let held = self.rest.record;
        if held.is_some_and(|held| !record.is_newer_than(&held)) {
            return Restart::No;
        }
        let is_restarted = held.is_some_and(|held| record.boot > held.boot);
        self.others = record.active.saturating_sub(record.yours.unwrap_or(self.outstanding));
        self.others_by_now = self.others as f32;
        self.inverse_capacity = inverse_capacity(record.limit);
        self.is_draining = record.is_draining;
        self.rest.record = Some(record);
        self.heard_at = nanoseconds(now);
        self.tells_us = record.yours.is_some() || (self.tells_us && !is_restarted);
        if !is_restarted {
            return Restart::No;
        }
        self.judge(|health| *health = Health::default());
        self.warm_up(now);
        Restart::Yes
    }
}

/// One over what a node with this limit counts as.
pub(super) fn inverse_capacity(limit: u32) -> f32 {
    1.0 / if limit == 0 { CAPACITY_UNLIMITED } else { limit } as f32
}

/// Enough for 584 years.
#[inline]
fn nanoseconds(moment: Duration) -> u64 {
    moment.as_secs().wrapping_mul(1_000_000_000).wrapping_add(moment.subsec_nanos().into())
}
