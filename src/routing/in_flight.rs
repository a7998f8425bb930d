//! The number of agent runs that execute on this node.
//!
//! Owns one count, raised and lowered by a guard, so that it is exact at every moment whatever ends
//! a run: its answer, an error, a panic or a client that left. Refuses to be set from outside.
//! Gossip watches it to announce changes; the choice of a node reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use astromesh_wire::{LoadRecord, NodeId};
use tokio::sync::watch;

use super::local_load::sequence;
use crate::directory::LoadSource;

/// The count; clones share it.
#[derive(Debug, Clone)]
pub struct InFlight {
    count: watch::Sender<u32>,
    is_draining: Arc<AtomicBool>,
}

impl Default for InFlight {
    fn default() -> Self {
        Self::new()
    }
}

impl InFlight {
    /// A count of zero.
    #[must_use]
    pub fn new() -> Self {
        Self { count: watch::Sender::new(0), is_draining: Arc::default() }
    }

    /// Counts one run until the guard is dropped.
    #[must_use]
    pub fn enter(&self) -> InFlightGuard {
        self.count.send_modify(|count| *count = count.saturating_add(1));
        InFlightGuard { count: self.count.clone() }
    }

    /// Runs that execute now.
    #[must_use]
    pub fn active(&self) -> u32 {
        *self.count.borrow()
    }

    /// Follows the count; a slow reader sees the newest value, not each one.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u32> {
        self.count.subscribe()
    }
}

/// Who sent a run is not known here, so that nobody is told directly.
impl LoadSource for InFlight {
    fn record(&self, now: Duration, _for_origin: Option<NodeId>) -> LoadRecord {
        LoadRecord {
            sequence: sequence(now),
            active: self.active(),
            is_draining: self.is_draining.load(Ordering::Relaxed),
            ..LoadRecord::default()
        }
    }

    fn recent_origins(&self, _now: Duration) -> Vec<NodeId> {
        Vec::new()
    }

    fn watch(&self) -> watch::Receiver<u32> {
        self.watch()
    }

    fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.count.send_modify(|_| {});
    }

    /// The gossip writes the generation on what it sends itself.
    fn set_boot(&self, _generation: u32) {}
}

/// One run that executes; dropping it is the only way to end the count of it.
#[derive(Debug)]
pub struct InFlightGuard {
    count: watch::Sender<u32>,
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.count.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_follows_its_guards() {
        let in_flight = InFlight::new();
        let watcher = in_flight.watch();
        let first = in_flight.enter();
        let second = in_flight.enter();
        assert_eq!((in_flight.active(), *watcher.borrow()), (2, 2));
        drop(first);
        drop(second);
        assert_eq!((in_flight.active(), *watcher.borrow()), (0, 0));
    }

    #[test]
    fn a_panic_lowers_the_count() {
        let in_flight = InFlight::new();
        let inside = in_flight.clone();
        let outcome = std::thread::spawn(move || {
            let _guard = inside.enter();
            std::panic::resume_unwind(Box::new("a run that fails"));
        })
        .join();
        assert!(outcome.is_err());
        assert_eq!(in_flight.active(), 0);
    }
}
