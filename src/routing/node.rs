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
use super::ejection::Health;
use super::local_load::sequence;
use super::record::LoadRecord;
use super::target::Target;
use super::tuning::{
    BEACON_PROMISE, CAPACITY_UNLIMITED, SEQUENCE_AHEAD, SLOW_START, SLOW_START_FLOOR,
};

/// What is known of one node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    /// `None` when it has gone from the directory.
    pub(super) target: Option<Arc<Target>>,
    /// For [`affinity`].
    pub(super) hash: u64,
    pub(super) state: State,
    pub(super) outstanding: u32,
    pub(super) others: u32,
    /// `others`, faded towards the average by its age.
    pub(super) others_by_now: f32,
    pub(super) inverse_capacity: f32,
    /// End of its slow start.
    pub(super) warm_at: Duration,
    pub(super) record: Option<LoadRecord>,
    pub(super) heard_at: Duration,
    /// It has told our share, so it tells its changes, too.
    pub(super) tells_us: bool,
    pub(super) begun_at: Option<Duration>,
    pub(super) health: Health,
    pub(super) mark: u64,
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
            id,
            target: None,
            hash: affinity::hash_of(id),
            state: State::Left,
            outstanding: 0,
            others: 0,
            others_by_now: 0.0,
            inverse_capacity: inverse_capacity(0),
            warm_at: Duration::ZERO,
            record: None,
            heard_at: Duration::ZERO,
            tells_us: false,
            begun_at: None,
            health: Health::default(),
            mark: 0,
        }
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
        if now >= self.warm_at {
            return self.inverse_capacity;
        }
        let left = (self.warm_at - now).as_secs_f32() / SLOW_START.as_secs_f32();
        self.inverse_capacity / (1.0 - (1.0 - SLOW_START_FLOOR) * left.min(1.0))
    }

    /// Whether the node said that it works on as many requests as it can.
    pub(super) fn is_full(&self) -> bool {
        self.record.is_some_and(|record| record.limit > 0 && self.load() >= record.limit)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.record.is_some_and(|record| record.is_draining)
    }

    /// Since the node was last heard of its load.
    pub(super) fn age(&self, now: Duration) -> Duration {
        now.saturating_sub(self.heard_at)
    }

    /// The same, as a number and in a few cycles.
    pub(super) fn age_s(&self, now: Duration) -> f32 {
        let seconds = now.as_secs().saturating_sub(self.heard_at.as_secs()) as f32;
        let nanoseconds = now.subsec_nanos() as f32 - self.heard_at.subsec_nanos() as f32;
        (seconds + nanoseconds * 1e-9).max(0.0)
    }

    /// Whether it sends a beacon when its load changes, so that silence means that nothing has.
    #[inline]
    pub(super) fn tells_changes(&self, now: Duration) -> bool {
        self.tells_us
            && self.begun_at.is_some_and(|begun| now.saturating_sub(begun) <= BEACON_PROMISE)
    }

    /// The highest sequence that its process can have reached, judged by what it said before.
    pub(super) fn sequence_max(&self, now: Duration) -> Option<u32> {
        let held = self.record?;
        let since = now.saturating_sub(self.heard_at).saturating_add(SEQUENCE_AHEAD);
        Some(held.sequence.saturating_add(sequence(since)))
    }

    /// It said how busy it is.
    pub(super) fn hear(&mut self, now: Duration, record: LoadRecord) -> Restart {
        if self.record.is_some_and(|held| !record.is_newer_than(&held)) {
            return Restart::No;
        }
        let is_restarted = self.record.is_some_and(|held| record.boot > held.boot);
        self.others = record.active.saturating_sub(record.yours.unwrap_or(self.outstanding));
        self.others_by_now = self.others as f32;
        self.inverse_capacity = inverse_capacity(record.limit);
        self.record = Some(record);
        self.heard_at = now;
        self.tells_us = record.yours.is_some() || (self.tells_us && !is_restarted);
        if !is_restarted {
            return Restart::No;
        }
        self.health = Health::default();
        self.warm_at = now + SLOW_START;
        Restart::Yes
    }
}

/// One over what a node with this limit counts as.
pub(super) fn inverse_capacity(limit: u32) -> f32 {
    1.0 / if limit == 0 { CAPACITY_UNLIMITED } else { limit } as f32
}
