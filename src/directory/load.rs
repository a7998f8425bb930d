//! The load of this node, as whoever counts it gives it to whoever announces it.
//!
//! Owns nothing: the count is with what handles requests, the announcements are with the gossip, and
//! neither knows the other.

use std::fmt::Debug;
use std::time::Duration;

use astromesh_wire::{LoadRecord, NodeId};
use tokio::sync::watch;

/// What counts the runs on this node. Every moment is given as the time since this process began.
pub trait LoadSource: Debug + Send + Sync {
    /// The load now, with the share of a node that sends work here, or for everybody.
    fn record(&self, now: Duration, for_origin: Option<NodeId>) -> LoadRecord;

    /// The nodes that sent work here lately, in any order; the implementation bounds their number.
    fn recent_origins(&self, now: Duration) -> Vec<NodeId>;

    /// Tells of each change of a count, and of the beginning of a drain. A slow reader sees the
    /// newest value, not each one.
    fn watch(&self) -> watch::Receiver<u32>;

    /// From now on records say that this node takes nothing new. There is no way back.
    fn drain(&self);

    /// The generation of this node's process, which records carry as their boot.
    fn set_boot(&self, generation: u32);
}
