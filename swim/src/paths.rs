//! How this node's last probes of each member ended, for those who look for faults in the network.
//!
//! No rule of the protocol depends on it. Only outcomes are noted, never a datagram by itself, so
//! that it holds little more than the members this node watches.

use std::time::Duration;

use astromesh_wire::ShortId;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::time::Instant;

/// Members whose outcomes are kept; the one that was probed longest ago is forgotten first.
pub const PATHS_MAX: usize = 256;

/// The last outcomes of probing one member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Path {
    /// When it answered a ping of this node itself: datagrams pass both ways.
    pub direct_at: Option<Instant>,
    /// When only a helper had an answer of it.
    pub relayed_at: Option<Instant>,
    /// When a probe ended without any answer.
    pub failed_at: Option<Instant>,
    /// How long the last direct answer took.
    pub round_trip: Option<Duration>,
}

/// How a probe ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The member itself answered, after this time if it is known.
    Direct(Option<Duration>),
    /// A helper had an answer.
    Relayed,
    /// Nobody had an answer.
    Failed,
}

/// The outcomes of members.
#[derive(Debug, Default)]
pub struct Paths {
    known: IndexMap<ShortId, Path, FxBuildHasher>,
}

impl Paths {
    /// A probe of a member ended.
    pub fn note(&mut self, now: Instant, id: ShortId, outcome: Outcome) {
        if self.known.len() >= PATHS_MAX && !self.known.contains_key(&id) {
            let oldest = self.known.iter().min_by_key(|(_, path)| path.latest());
            if let Some((&oldest, _)) = oldest {
                self.known.swap_remove(&oldest);
            }
        }
        let path = self.known.entry(id).or_default();
        match outcome {
            Outcome::Direct(took) => {
                path.direct_at = Some(now);
                path.round_trip = took.or(path.round_trip);
            }
            Outcome::Relayed => path.relayed_at = Some(now),
            Outcome::Failed => path.failed_at = Some(now),
        }
    }

    /// The last outcomes of a member; `None` when it was not probed, or too long ago.
    #[must_use]
    pub fn of(&self, id: ShortId) -> Option<Path> {
        self.known.get(&id).copied()
    }
}

impl Path {
    fn latest(&self) -> Option<Instant> {
        self.direct_at.max(self.relayed_at).max(self.failed_at)
    }
}
