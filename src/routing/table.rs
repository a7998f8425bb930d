//! What is known of each other node: its load, what is outstanding there, and its health.
//!
//! Owns one entry for each member of the directory but the local one, for each static peer, and
//! for each node that is gone and has requests of ours outstanding; never more. Refuses to choose
//! and to read a clock.

use std::collections::HashMap;
use std::time::Duration;

use astromesh_wire::{NodeId, State};
use rustc_hash::FxBuildHasher;

use super::ejection::{Cause, Health};
use super::failing::{Failing, NoRoom};
use super::node::{Node, Restart};
use super::record::LoadRecord;
use super::target::Target;

/// Where an entry lies.
pub(super) type Slot = u32;

#[derive(Debug, Default)]
pub(super) struct Table {
    nodes: Vec<Node>,
    slots: HashMap<NodeId, Slot, FxBuildHasher>,
    free: Vec<Slot>,
    failing: Failing,
    /// No node is ejected from this moment on, as things stand.
    ejected_until: Duration,
    /// What a mark made for the question of now looks like.
    question: u64,
}

/// How the question of now has met a node already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// Not at all.
    Unmet,
    /// It refused for being full.
    Bounced,
    /// It is out of the question.
    Tried,
}

/// How good a candidate is before its load is looked at; the least wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tier {
    Alive,
    Suspect,
    /// First-hand news weighs more than somebody's suspicion.
    EjectedAlive,
    EjectedSuspect,
    /// It will refuse.
    Draining,
}

/// Whether failing answers count against nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Calm,
    /// Too many nodes are ejected: those with errors are taken like the others. Those that cannot
    /// be connected to are not, since it would help nobody.
    Panic,
}

/// Whether a node is believed what it said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Believed {
    Yes,
    /// But for its sequence, which is too far ahead.
    InPart,
    /// It is not known to be this process.
    No,
}

impl Table {
    /// The entry of a node, made if there is none.
    pub(super) fn admit(&mut self, id: NodeId) -> Slot {
        if let Some(slot) = self.slots.get(&id) {
            return *slot;
        }
        let node = Node::new(id);
        let slot = if let Some(slot) = self.free.pop() {
            self.nodes[slot as usize] = node;
            slot
        } else {
            self.nodes.push(node);
            Slot::try_from(self.nodes.len() - 1).expect("fewer members than slots")
        };
        self.slots.insert(id, slot);
        slot
    }

    /// The node has a place in the mesh, or another one than before.
    pub(super) fn place(&mut self, slot: Slot, target: Target, state: State) {
        self.node_mut(slot).place(target, state);
    }

    /// Membership thinks otherwise of the node.
    pub(super) fn set_state(&mut self, slot: Slot, state: State) {
        self.node_mut(slot).state = state;
    }

    /// The node has just joined: it is given little at first.
    pub(super) fn warm_up(&mut self, now: Duration, slot: Slot) {
        self.node_mut(slot).warm_up(now);
    }

    /// The node has gone from the directory.
    pub(super) fn dismiss(&mut self, id: NodeId) {
        if let Some(slot) = self.slot(id) {
            self.node_mut(slot).leave();
            self.drop_if_done(slot);
        }
    }

    /// The node said how busy it is.
    pub(super) fn hear(&mut self, now: Duration, slot: Slot, record: LoadRecord) -> Restart {
        let restart = self.node_mut(slot).hear(now, record);
        if restart == Restart::Yes {
            self.failing.forget(slot);
        }
        restart
    }

    /// As [`Self::hear`], by a way on which others could speak for the node: a process that is not
    /// known is not believed, nor a sequence that it cannot have reached. Whether that was so.
    pub(super) fn hear_of(&mut self, now: Duration, slot: Slot, record: LoadRecord) -> Believed {
        let node = self.node(slot);
        let (Some(held), Some(sequence_max)) = (node.record(), node.sequence_max(now)) else {
            return Believed::No;
        };
        if held.boot != record.boot {
            return Believed::No;
        }
        let sequence = record.sequence.min(sequence_max);
        self.hear(now, slot, LoadRecord { sequence, ..record });
        if sequence < record.sequence { Believed::InPart } else { Believed::Yes }
    }

    /// A request leaves for the node.
    pub(super) fn begin(&mut self, now: Duration, id: NodeId) {
        let slot = self.admit(id);
        self.node_mut(slot).begin(now);
    }

    /// A request to the node is over.
    pub(super) fn end(&mut self, id: NodeId) {
        if let Some(slot) = self.slot(id) {
            self.node_mut(slot).end();
            self.drop_if_done(slot);
        }
    }

    /// Works out what is thought of others' requests at a node by now. Those that it told of end one
    /// by one, so that in the end only the average of all nodes, `mean_fill`, is known.
    pub(super) fn fade(
        &mut self,
        now: Duration,
        slot: Slot,
        fading_per_s: f32,
        age_s_max: f32,
        mean_fill: f32,
    ) {
        self.node_mut(slot).fade(now, fading_per_s, age_s_max, mean_fill);
    }

    /// Changes the health of a node.
    pub(super) fn judge<T>(&mut self, slot: Slot, change: impl FnOnce(&mut Health) -> T) -> T {
        let node = &mut self.nodes[slot as usize];
        let result = node.judge(change);
        self.ejected_until = self.ejected_until.max(node.health().until());
        result
    }

    /// An agent failed at a node. Tells whether it is passed over there by that.
    pub(super) fn agent_erred(
        &mut self,
        now: Duration,
        agent: &str,
        slot: Slot,
    ) -> Result<bool, NoRoom> {
        if agent.is_empty() {
            return Ok(false);
        }
        let is_ejected = self.failing.erred(now, agent, slot);
        self.ejected_until = self.ejected_until.max(self.failing.until(agent, slot));
        is_ejected
    }

    /// An agent answered well at a node.
    pub(super) fn agent_answered(&mut self, now: Duration, agent: &str, slot: Slot) {
        if !agent.is_empty() {
            self.failing.answered(now, agent, slot);
        }
    }

    /// A node's answer says nothing of how well an agent is there.
    pub(super) fn agent_refused(&mut self, now: Duration, agent: &str, slot: Slot) {
        if !agent.is_empty() {
            self.failing.refused(now, agent, slot);
        }
    }

    /// A request for an agent goes to this node. Tells whether it is a trial.
    pub(super) fn picked(&mut self, now: Duration, agent: &str, slot: Slot) -> bool {
        let is_trial =
            self.node(slot).health().is_due(now) || self.failing.is_due(now, agent, slot);
        self.judge(slot, |health| health.picked(now));
        self.failing.picked(now, agent, slot);
        self.ejected_until = self.ejected_until.max(self.failing.until(agent, slot));
        is_trial
    }

    /// Marks nodes for one question; marks of the question before are gone with it.
    pub(super) fn mark(
        &mut self,
        now: Duration,
        agent: &str,
        tried: &[NodeId],
        bounced: &[NodeId],
    ) {
        self.question += MARKS;
        for (ids, mark) in [(bounced, BOUNCED), (tried, TRIED)] {
            for id in ids {
                if let Some(slot) = self.slot(*id) {
                    set_mark(&mut self.nodes, self.question, slot, mark);
                }
            }
        }
        if self.has_ejected(now) {
            for slot in self.failing.ejected(now, agent) {
                set_mark(&mut self.nodes, self.question, slot, FAILING);
            }
        }
    }

    /// How the question has met a node already.
    #[inline]
    pub(super) fn marked(&self, node: &Node) -> Mark {
        match self.marks(node) {
            marks if marks & TRIED > 0 => Mark::Tried,
            marks if marks & BOUNCED > 0 => Mark::Bounced,
            _ => Mark::Unmet,
        }
    }

    /// Whether a node is passed over now, for all agents or for that of the question.
    pub(super) fn is_out(&self, node: &Node, now: Duration) -> bool {
        node.ejected(now).is_some() || self.marks(node) & FAILING > 0
    }

    /// How good a node is for the question.
    #[inline]
    pub(super) fn tier(&self, node: &Node, now: Duration, mood: Mood) -> Tier {
        if node.is_draining() {
            return Tier::Draining;
        }
        let is_failing = || self.marks(node) & FAILING > 0;
        let is_out = match (node.ejected(now), mood) {
            (Some(Cause::Unreachable), _) | (Some(Cause::Failing), Mood::Calm) => true,
            (None, Mood::Calm) => is_failing(),
            (Some(Cause::Failing) | None, Mood::Panic) => false,
        };
        match (node.state == State::Suspect, is_out) {
            (false, false) => Tier::Alive,
            (true, false) => Tier::Suspect,
            (false, true) => Tier::EjectedAlive,
            (true, true) => Tier::EjectedSuspect,
        }
    }

    /// Whether some node may be ejected now.
    pub(super) fn has_ejected(&self, now: Duration) -> bool {
        now < self.ejected_until
    }

    pub(super) fn slot(&self, id: NodeId) -> Option<Slot> {
        self.slots.get(&id).copied()
    }

    #[inline]
    pub(super) fn node(&self, slot: Slot) -> &Node {
        &self.nodes[slot as usize]
    }

    /// Nodes that are passed over now, for all agents or for some.
    pub(super) fn ejected(&self, now: Duration) -> usize {
        let slots = self.slots.values().copied();
        let nodes = slots.filter(|slot| self.node(*slot).ejected(now).is_some());
        let mut slots: Vec<Slot> = nodes.chain(self.failing.all_ejected(now)).collect();
        slots.sort_unstable();
        slots.dedup();
        slots.len()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    #[inline]
    fn marks(&self, node: &Node) -> u64 {
        node.mark.saturating_sub(self.question)
    }

    fn node_mut(&mut self, slot: Slot) -> &mut Node {
        &mut self.nodes[slot as usize]
    }

    fn drop_if_done(&mut self, slot: Slot) {
        let node = self.node(slot);
        if node.target().is_none() && node.outstanding() == 0 {
            let id = node.id();
            self.slots.remove(&id);
            self.failing.forget(slot);
            self.free.push(slot);
        }
    }
}

/// Adds a mark to those that a node has for a question.
fn set_mark(nodes: &mut [Node], question: u64, slot: Slot, mark: u64) {
    let node = &mut nodes[slot as usize];
    node.mark = node.mark.max(question) | mark;
}

/// It refused for being full.
const BOUNCED: u64 = 1;
/// It is out of the question.
const TRIED: u64 = 2;
/// The agent fails there.
const FAILING: u64 = 4;
/// The number of a question is a multiple of this, which leaves room for all marks.
const MARKS: u64 = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    const NOW: Duration = Duration::from_secs(100);

    fn record(sequence: u32, active: u32, yours: Option<u32>) -> LoadRecord {
        LoadRecord { boot: 1, sequence, active, yours, ..LoadRecord::default() }
    }

    fn load(table: &Table, slot: Slot) -> u32 {
        table.node(slot).load()
    }

    #[test]
    fn own_requests_are_not_counted_twice() {
        let mut table = Table::default();
        let slot = table.admit(id(2));
        table.hear(NOW, slot, record(1, 0, None));
        table.begin(NOW, id(2));
        table.begin(NOW, id(2));
        assert_eq!(load(&table, slot), 2);
        table.hear(NOW, slot, record(2, 5, None));
        assert_eq!(load(&table, slot), 5, "the record of five contains our two");
        table.end(id(2));
        assert_eq!(load(&table, slot), 4);
        table.hear(NOW, slot, record(3, 5, Some(2)));
        assert_eq!(load(&table, slot), 4, "of the five the node says two are ours");
    }

    #[test]
    fn a_record_older_than_our_requests_does_not_go_below_zero() {
        let mut table = Table::default();
        let slot = table.admit(id(2));
        table.begin(NOW, id(2));
        table.begin(NOW, id(2));
        table.hear(NOW, slot, record(1, 1, None));
        assert_eq!(load(&table, slot), 2);
    }

    #[test]
    fn an_older_record_changes_nothing_whatever_way_it_came() {
        let mut table = Table::default();
        let slot = table.admit(id(2));
        table.hear(NOW, slot, record(5, 4, Some(0)));
        table.hear(NOW + Duration::from_secs(1), slot, record(4, 9, None));
        assert_eq!(load(&table, slot), 4);
        assert_eq!(table.node(slot).age(NOW + Duration::from_secs(1)), Duration::from_secs(1));
    }

    #[test]
    fn a_restarted_node_starts_afresh_and_slowly() {
        let mut table = Table::default();
        let slot = table.admit(id(2));
        table.hear(NOW, slot, LoadRecord { limit: 8, ..record(900, 4, None) });
        table.judge(slot, |health| health.unreachable(NOW));
        assert_eq!(table.tier(table.node(slot), NOW, Mood::Calm), Tier::EjectedAlive);
        let restarted = LoadRecord { boot: 2, limit: 8, ..record(1, 0, None) };
        assert_eq!(table.hear(NOW, slot, restarted), Restart::Yes);
        let node = table.node(slot);
        assert_eq!((table.tier(node, NOW, Mood::Calm), node.load()), (Tier::Alive, 0));
        let capacity = |after: u64| 1.0 / node.inverse_capacity(NOW + Duration::from_secs(after));
        for (after, expected) in [(0, 0.8), (5, 4.4), (10, 8.0), (60, 8.0)] {
            assert!((capacity(after) - expected).abs() < 0.01, "after {after} s");
        }
    }

    #[test]
    fn a_node_tells_its_changes_while_it_gets_work() {
        let mut table = Table::default();
        let slot = table.admit(id(2));
        table.begin(NOW, id(2));
        let tells_changes = |table: &Table, after_s: u64| {
            table.node(slot).tells_changes(NOW + Duration::from_secs(after_s))
        };
        table.hear(NOW, slot, record(1, 1, None));
        assert!(!tells_changes(&table, 5), "it has told nothing of ours");
        table.hear(NOW, slot, record(2, 1, Some(1)));
        assert!(tells_changes(&table, 5));
        table.hear(NOW, slot, record(3, 1, None));
        assert!(tells_changes(&table, 5), "gossip came between");
        assert!(!tells_changes(&table, 11), "it has had no work for too long");
    }

    #[test]
    fn what_was_told_fades_towards_the_average_and_the_own_part_stays() {
        let mut table = Table::default();
        let slot = table.admit(id(2));
        table.hear(NOW, slot, LoadRecord { limit: 8, ..record(1, 8, None) });
        table.begin(NOW, id(2));
        let mut cost = |after_s: u64, age_s_max: f32| {
            let now = NOW + Duration::from_secs(after_s);
            table.fade(now, slot, 1.0, age_s_max, 0.25);
            table.node(slot).cost(now)
        };
        // Two more than the eight of others: the one that is outstanding, and the next.
        let rows = [(0, 9.0, 1.25), (1, 9.0, 0.875), (100_000, 1e9, 0.5), (100_000, 1.0, 0.875)];
        for (after_s, age_s_max, expected) in rows {
            let cost = cost(after_s, age_s_max);
            assert!((cost - expected).abs() < 0.001, "{cost} after {after_s} s");
        }
        table.hear(NOW, slot, LoadRecord { limit: 8, ..record(2, 8, None) });
        assert!((table.node(slot).cost(NOW) - 1.125).abs() < 0.001, "ours is one of the eight");
    }

    #[test]
    fn a_node_that_is_gone_is_forgotten_when_its_requests_end() {
        let mut table = Table::default();
        let slot = table.admit(id(2));
        table.begin(NOW, id(2));
        table.dismiss(id(2));
        assert_eq!(table.node(slot).outstanding(), 1);
        table.end(id(2));
        assert_eq!((table.len(), table.slot(id(2))), (0, None));
        assert_eq!(table.admit(id(3)), slot, "its room is used again");
        assert_eq!(table.node(slot).load(), 0);
    }

    #[test]
    fn marks_last_for_one_question() {
        let mut table = Table::default();
        let slots = [2, 3, 4].map(|number| table.admit(id(number)));
        table.mark(NOW, "agent", &[id(2)], &[id(3), id(2)]);
        let marks = |table: &Table| slots.map(|slot| table.marked(table.node(slot)));
        assert_eq!(marks(&table), [Mark::Tried, Mark::Bounced, Mark::Unmet]);
        table.mark(NOW, "agent", &[], &[id(4)]);
        assert_eq!(marks(&table), [Mark::Unmet, Mark::Unmet, Mark::Bounced]);
    }

    proptest! {
        #[test]
        fn outstanding_is_what_began_and_has_not_ended(
            steps in prop::collection::vec((0_u8..4, 0_u8..5, 0_u32..9), 0..300),
        ) {
            let mut table = Table::default();
            let mut open = [0_u32; 4];
            for (sequence, (number, step, value)) in (0..).zip(steps) {
                let node = id(number);
                match step {
                    0 | 1 => {
                        table.begin(NOW, node);
                        open[usize::from(number)] += 1;
                    }
                    2 if open[usize::from(number)] > 0 => {
                        table.end(node);
                        open[usize::from(number)] -= 1;
                    }
                    3 => {
                        if let Some(slot) = table.slot(node) {
                            table.hear(NOW, slot, record(sequence, value, Some(value / 2)));
                        }
                    }
                    _ => table.dismiss(node),
                }
                for (number, open) in (0..).zip(open) {
                    let node = table.slot(id(number)).map(|slot| table.node(slot));
                    prop_assert_eq!(node.map_or(0, Node::outstanding), open);
                    prop_assert!(node.map_or(0, Node::load) >= open);
                }
            }
        }
    }
}
