//! Death by evidence: fixed observers probe a member, and their votes decide.
//!
//! Owns what this node knows of the members it watches, of the cases it takes part in, of its own
//! health and of members that came back from the dead. Sends nothing: the engine asks it and tells
//! it. The rules are in `docs/detection.md`; where their numbers come from, in `docs/adr/0002`.
//!
//! * [`watch`]: the members this node watches, and the probe of each
//! * [`case`]: an accusation, the votes on it, and when they suffice
//! * [`health`]: whether this node may trust its own probes
//! * [`damping`]: patience with members that keep coming back
//! * [`pings`]: the pings of a probe or a case
//! * [`rtt`]: how far the offsets of a probe are stretched

pub mod case;
pub mod damping;
pub mod health;
pub mod pings;
pub mod rtt;
pub mod watch;

use std::time::Duration;

use astromesh_wire::ShortId;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::time::Instant;
use case::Case;
use damping::Damping;
use health::Health;
use rtt::Rtt;
use watch::Watch;

/// Members that watch one member, in a mesh that has as many.
pub const OBSERVERS: usize = 8;

/// Cases that may be open at once; further ones are not opened, and counted.
pub const CASES_MAX: usize = 4_096;

/// Least time between two sweeps.
pub const SWEEP_INTERVAL: Duration = Duration::from_secs(2);

/// The probes of a sweep are spread over this time.
pub const SWEEP_SPREAD: Duration = Duration::from_millis(200);

/// What this node knows for the evidence rule.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The members this node watches, and those it has reason to probe once.
    pub watches: IndexMap<ShortId, Watch, FxBuildHasher>,
    /// Open cases by the accused.
    pub cases: IndexMap<ShortId, Case, FxBuildHasher>,
    /// How far this node trusts its own probes.
    pub health: Health,
    /// Who came back from the dead, and how often.
    pub damping: Damping,
    /// How long answers take, whoever sends them.
    pub rtt: Rtt,
    /// When the last sweep was.
    pub swept_at: Option<Instant>,
    /// Whether the ring has changed since the watches were chosen.
    pub is_stale: bool,
}

/// How many members watch one in a mesh of `live_count`, itself included.
#[must_use]
pub fn observer_count(live_count: usize) -> usize {
    live_count.saturating_sub(1).min(OBSERVERS)
}
