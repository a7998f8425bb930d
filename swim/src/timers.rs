//! When something is due, and why.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use astromesh_wire::ShortId;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::time::Instant;

/// Why the engine wants to be woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// A probe interval is over: the running probe has failed, the next one starts.
    Probe,
    /// The direct ping with this sequence has had its time: ask others to ping.
    ProbeTimeout(u16),
    /// A ping on behalf of another member, with this sequence, has had its time: say so.
    Relay(u16),
    /// The suspicion against this member may have run out.
    Suspicion(ShortId),
    /// Something is due for a watched member: its next probe, or a step of one that runs.
    Watch(ShortId),
    /// Something is due in the case against this member.
    Case(ShortId),
    /// Ping once more on behalf of another member, with this sequence.
    RelayAgain(u16),
    /// News is waiting to be pushed.
    Gossip,
    /// Ping one of the dead.
    DeadProbe,
    /// Forget those long dead.
    Reap,
    /// This member, said to be dead by others, has not answered its last ping.
    Check(ShortId),
}

/// Timers in the order in which they are due. Timers are not cancelled: whoever handles one checks
/// whether it still matters, and arms it anew if it came too early.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Timer)>>,
    /// The earliest time for which each timer in the heap is armed.
    earliest: IndexMap<Timer, Instant, FxBuildHasher>,
}

impl Timers {
    /// Asks to be woken at `at`, or earlier if this timer is armed for an earlier time already. So
    /// no flood of claims about one member fills the heap.
    pub fn arm(&mut self, at: Instant, timer: Timer) {
        if self.earliest.get(&timer).is_some_and(|&armed| armed <= at) {
            return;
        }
        self.earliest.insert(timer, at);
        self.heap.push(Reverse((at, timer)));
    }

    /// The next timer that is due, with the time it was armed for.
    pub fn pop_due(&mut self, now: Instant) -> Option<(Instant, Timer)> {
        if self.next_at()? > now {
            return None;
        }
        let Reverse((at, timer)) = self.heap.pop()?;
        if self.earliest.get(&timer) == Some(&at) {
            self.earliest.swap_remove(&timer);
        }
        Some((at, timer))
    }

    /// How many timers are armed, those that do not matter any more included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether no timer is armed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// When the next timer is due.
    #[must_use]
    pub fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}
