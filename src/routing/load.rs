//! How busy each other node is, as far as this node can tell.
//!
//! `estimate = others' load + my own outstanding requests`. The second part is exact at every
//! moment. The first is what the node last reported minus what this node had outstanding there
//! when the report came in, because the report counts those too. Owns both numbers for each node;
//! refuses to read a clock, to guess and to choose.

use std::collections::BTreeMap;
use std::sync::Arc;

use astromesh_wire::NodeId;

use crate::directory::{Member, Snapshot};

/// The load of all other nodes. Holds as many entries as the directory has members, and those
/// with requests outstanding.
#[derive(Debug, Default)]
pub struct Loads {
    seen: Option<Arc<Snapshot>>,
    nodes: BTreeMap<NodeId, NodeLoad>,
}

#[derive(Debug, Default)]
struct NodeLoad {
    outstanding: u32,
    others: u32,
    /// Generation of the node and sequence of the report that `others` was taken from.
    report: Option<(u32, u32)>,
}

impl Loads {
    /// Takes in what the directory says now. Called before each change of an outstanding count:
    /// between two changes the count is constant, so that what is subtracted from a report is what
    /// was outstanding when the report came in, however long ago that was.
    pub fn observe(&mut self, snapshot: &Arc<Snapshot>) {
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, snapshot)) {
            return;
        }
        for member in &snapshot.members {
            self.nodes.entry(member.id).or_default().take_report(member);
        }
        self.nodes.retain(|id, node| node.outstanding > 0 || snapshot.member(*id).is_some());
        self.seen = Some(Arc::clone(snapshot));
    }

    /// A request leaves for this node.
    pub fn begin(&mut self, id: NodeId) {
        let node = self.nodes.entry(id).or_default();
        node.outstanding = node.outstanding.saturating_add(1);
    }

    /// A request to this node is over, answered or not.
    pub fn end(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.outstanding = node.outstanding.saturating_sub(1);
        }
    }

    /// Requests that this node is thought to work on now.
    #[must_use]
    pub fn estimate(&self, id: NodeId) -> u32 {
        self.nodes.get(&id).map_or(0, |node| node.others.saturating_add(node.outstanding))
    }

    /// Requests of ours that this node has not finished.
    #[must_use]
    pub fn outstanding(&self, id: NodeId) -> u32 {
        self.nodes.get(&id).map_or(0, |node| node.outstanding)
    }
}

impl NodeLoad {
    fn take_report(&mut self, member: &Member) {
        let report = Some((member.generation, member.load_sequence));
        if self.report != report {
            self.report = report;
            self.others = member.load.active_requests.saturating_sub(self.outstanding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::choose::tests::{id, member, snapshot};

    fn report(sequence: u32, active_requests: u32) -> Arc<Snapshot> {
        let mut worker = member(2);
        worker.load.active_requests = active_requests;
        worker.load_sequence = sequence;
        Arc::new(snapshot(vec![worker]))
    }

    #[test]
    fn own_requests_are_not_counted_twice() {
        let mut loads = Loads::default();
        loads.observe(&report(1, 0));
        loads.begin(id(2));
        loads.begin(id(2));
        assert_eq!(loads.estimate(id(2)), 2);
        // The report of five contains our two.
        loads.observe(&report(2, 5));
        assert_eq!(loads.estimate(id(2)), 5);
        loads.end(id(2));
        assert_eq!(loads.estimate(id(2)), 4);
    }

    #[test]
    fn a_report_older_than_our_requests_does_not_go_below_zero() {
        let mut loads = Loads::default();
        loads.begin(id(2));
        loads.begin(id(2));
        loads.observe(&report(1, 1));
        assert_eq!(loads.estimate(id(2)), 2);
        loads.end(id(2));
        loads.end(id(2));
        assert_eq!(loads.estimate(id(2)), 0);
    }

    #[test]
    fn a_snapshot_without_a_new_report_changes_nothing() {
        let mut loads = Loads::default();
        loads.observe(&report(1, 4));
        loads.begin(id(2));
        loads.observe(&report(1, 4));
        assert_eq!(loads.estimate(id(2)), 5);
    }

    #[test]
    fn a_member_that_is_gone_is_forgotten_when_its_requests_end() {
        let mut loads = Loads::default();
        loads.observe(&report(1, 4));
        loads.begin(id(2));
        loads.observe(&Arc::new(snapshot(vec![])));
        assert_eq!(loads.outstanding(id(2)), 1);
        loads.end(id(2));
        loads.observe(&Arc::new(snapshot(vec![])));
        assert_eq!(loads.nodes.len(), 1, "only the local member is left");
    }
}
