//! Hints that a member may be gone: whoever fails to connect to it gives one.
//!
//! Owns when each member was last probed on a hint. Under load a node that died gets a hint with
//! every request; one probe answers all of them.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use astromesh_wire::NodeId;

/// Least time between two probes of a member on a hint. A first probe takes no longer on any
/// network that work is sent over.
const HINT_INTERVAL: Duration = Duration::from_secs(1);

/// Members hinted at within the interval. When a whole site fails at once, its other members are
/// found by their own observers.
const HINTED_MAX: usize = 1_024;

/// Decides which hints are worth a probe.
#[derive(Debug, Default)]
pub(super) struct Hints {
    hinted: BTreeMap<NodeId, Instant>,
    taken: u64,
    limited: u64,
}

impl Hints {
    /// Whether to probe this member on a hint that came now.
    pub(super) fn take(&mut self, now: Instant, id: NodeId) -> bool {
        let is_fresh = |at: &Instant| now.duration_since(*at) < HINT_INTERVAL;
        let is_known = self.hinted.get(&id).is_some_and(is_fresh);
        if !is_known && self.hinted.len() >= HINTED_MAX {
            self.hinted.retain(|_, at| is_fresh(at));
        }
        if is_known || self.hinted.len() >= HINTED_MAX {
            self.limited += 1;
            return false;
        }
        self.hinted.insert(id, now);
        self.taken += 1;
        true
    }

    /// Hints that led to a probe, and those that came too soon after another one.
    pub(super) const fn counters(&self) -> [(&'static str, u64); 2] {
        [("hints", self.taken), ("hints_limited", self.limited)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> NodeId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    #[test]
    fn a_member_is_probed_once_a_second_however_many_hints_come() {
        let (mut hints, start) = (Hints::default(), Instant::now());
        assert!(hints.take(start, id(1)));
        assert!(!hints.take(start + HINT_INTERVAL / 2, id(1)));
        assert!(hints.take(start + HINT_INTERVAL / 2, id(2)), "another one");
        assert!(hints.take(start + HINT_INTERVAL, id(1)));
        assert_eq!(hints.counters(), [("hints", 3), ("hints_limited", 1)]);
    }

    #[test]
    fn members_hinted_at_are_bounded_and_make_room_with_time() {
        let (mut hints, start) = (Hints::default(), Instant::now());
        let taken = (0..HINTED_MAX + 10).filter(|number| hints.take(start, id(*number))).count();
        assert_eq!((taken, hints.hinted.len()), (HINTED_MAX, HINTED_MAX));
        assert!(hints.take(start + HINT_INTERVAL, id(HINTED_MAX + 5)));
        assert_eq!(hints.hinted.len(), 1);
    }
}
