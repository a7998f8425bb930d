//! Nodes that could not be connected to, and for how long they are passed over.
//!
//! Without this a crashed worker is a black hole: it has no requests outstanding, so it looks like
//! the best choice until gossip has declared it dead. Owns one entry for each such node; reads no
//! clock. Only failed connections count: an answer of any status is a node that works.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use astromesh_wire::NodeId;

use crate::directory::Snapshot;

/// First time out; doubles with each failure after it.
const EJECTION_MIN: Duration = Duration::from_secs(1);
/// Longest time out: a node that came back is found again within this.
const EJECTION_MAX: Duration = Duration::from_secs(32);
/// How long others keep away while one request finds out whether the node is back.
const TRIAL: Duration = Duration::from_secs(2);

/// The nodes passed over now or lately. An entry ends with an answer of its node, a restart of it,
/// or its member: there are never more entries than members.
#[derive(Debug, Default)]
pub struct Ejections {
    nodes: BTreeMap<NodeId, Ejection>,
}

#[derive(Debug)]
struct Ejection {
    /// Generation of the process that did not answer; a newer one starts afresh.
    generation: u32,
    phase: Phase,
    until: Instant,
    wait: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Passed over until the time is up.
    Out,
    /// One request was let through; the others keep away until the time is up.
    Trial,
}

impl Ejections {
    /// Nodes to pass over now.
    pub fn active(&mut self, now: Instant, snapshot: &Snapshot) -> Vec<NodeId> {
        self.nodes.retain(|id, node| {
            snapshot.member(*id).is_some_and(|member| member.generation == node.generation)
        });
        self.nodes.iter().filter(|(_, node)| now < node.until).map(|(id, _)| *id).collect()
    }

    /// The node was chosen: if its time out is over, this request tries it alone for a moment.
    pub fn chosen(&mut self, now: Instant, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id)
            && node.until <= now
        {
            node.phase = Phase::Trial;
            node.until = now + TRIAL;
        }
    }

    /// The node could not be connected to. The wait doubles once for each failed trial, however
    /// many requests fail together.
    pub fn failed(&mut self, now: Instant, id: NodeId, generation: u32) {
        let node = self.nodes.entry(id).or_insert(Ejection {
            generation,
            phase: Phase::Out,
            until: now,
            wait: EJECTION_MIN,
        });
        if node.phase == Phase::Trial {
            node.wait = (node.wait * 2).min(EJECTION_MAX);
            node.phase = Phase::Out;
            node.until = now;
        }
        node.until = node.until.max(now + node.wait);
    }

    /// The node answered.
    pub fn answered(&mut self, id: NodeId) {
        self.nodes.remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::choose::tests::{id, member, snapshot};

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn failures_double_the_wait_up_to_the_maximum_and_an_answer_ends_it() {
        let mesh = snapshot(vec![member(2)]);
        let mut ejections = Ejections::default();
        let mut now = Instant::now();
        for wait in [1, 2, 4, 8, 16, 32, 32] {
            ejections.chosen(now, id(2));
            ejections.failed(now, id(2), 1);
            assert_eq!(ejections.active(now + seconds(wait - 1), &mesh), [id(2)]);
            now += seconds(wait);
            assert_eq!(ejections.active(now, &mesh), []);
        }
        ejections.chosen(now, id(2));
        ejections.answered(id(2));
        assert_eq!(ejections.active(now, &mesh), []);
        ejections.failed(now, id(2), 1);
        assert_eq!(ejections.active(now + seconds(1), &mesh), []);
    }

    #[test]
    fn requests_that_fail_together_count_once() {
        let mesh = snapshot(vec![member(2)]);
        let mut ejections = Ejections::default();
        let now = Instant::now();
        for _ in 0..20 {
            ejections.failed(now, id(2), 1);
        }
        assert_eq!(ejections.active(now + seconds(1), &mesh), []);
    }

    #[test]
    fn one_request_tries_a_node_again_while_the_others_keep_away() {
        let mesh = snapshot(vec![member(2)]);
        let mut ejections = Ejections::default();
        let now = Instant::now();
        ejections.failed(now, id(2), 1);
        let later = now + seconds(1);
        ejections.chosen(later, id(2));
        assert_eq!(ejections.active(later, &mesh), [id(2)]);
        assert_eq!(ejections.active(later + TRIAL, &mesh), []);
    }

    #[test]
    fn a_restarted_node_is_not_passed_over() {
        let mut ejections = Ejections::default();
        let now = Instant::now();
        ejections.failed(now, id(2), 1);
        let mut restarted = member(2);
        restarted.generation = 2;
        assert_eq!(ejections.active(now, &snapshot(vec![restarted])), []);
    }
}
