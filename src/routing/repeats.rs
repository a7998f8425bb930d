//! Which node a request with a key went to, so that a repeat of it goes there again.
//!
//! The node that ran a request keeps its result; a repeat anywhere else would run it twice. Owns the
//! last keys that passed here, as hashes, the oldest forgotten first. Knows nothing of nodes but
//! their ids.

use std::collections::{HashMap, VecDeque};

use astromesh_wire::NodeId;
use rustc_hash::FxBuildHasher;

use super::tuning::KEYS_MAX;

/// The last keys and their nodes.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    nodes: HashMap<u64, NodeId, FxBuildHasher>,
    /// Each key of `nodes` once, the oldest in front.
    order: VecDeque<u64>,
}

impl Repeats {
    /// Where the request with this key went last.
    pub(super) fn node(&self, key: u64) -> Option<NodeId> {
        self.nodes.get(&key).copied()
    }

    /// The request with this key goes to this node.
    pub(super) fn went_to(&mut self, key: u64, node: NodeId) {
        if self.nodes.insert(key, node).is_some() {
            return;
        }
        self.order.push_back(key);
        if self.order.len() > KEYS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.nodes.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_keys_are_known_and_no_more_than_that() {
        let (first, second) = (NodeId::from_bytes([1; 16]), NodeId::from_bytes([2; 16]));
        let mut repeats = Repeats::default();
        for key in 0..=KEYS_MAX as u64 {
            repeats.went_to(key, first);
        }
        repeats.went_to(7, second);
        assert_eq!((repeats.node(0), repeats.node(1)), (None, Some(first)));
        assert_eq!(repeats.node(7), Some(second));
        assert_eq!((repeats.nodes.len(), repeats.order.len()), (KEYS_MAX, KEYS_MAX));
    }
}
