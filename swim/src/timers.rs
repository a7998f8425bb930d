//! When something is due, and why.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use astromesh_wire::ShortId;

use crate::time::Instant;

/// Why the engine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// A probe interval is over: the running probe has failed, the next one starts.
    Probe,
    /// The direct ping with this sequence has had its time: ask others to ping.
    ProbeTimeout(u16),
    /// A ping on behalf of another member, with this sequence, has had its time: say so.
    Relay(u16),
    /// The suspicion against this member may have run out.
    Suspicion(ShortId),
    /// News is waiting to be pushed.
    Gossip,
    /// Ping one of the dead.
    DeadProbe,
    /// Forget those long dead.
    Reap,
}

/// Timers in the order in which they are due. Timers are not cancelled: whoever handles one checks
/// whether it still matters.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Timer)>>,
}

impl Timers {
    /// Asks to be woken at `at`.
    pub fn arm(&mut self, at: Instant, timer: Timer) {
        self.heap.push(Reverse((at, timer)));
    }

    /// The next timer that is due, with the time it was armed for.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        if self.next_at()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}
