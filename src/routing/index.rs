//! Which nodes have which agent, and which model.
//!
//! Models are agents here, under their entries. Owns the candidates of each agent, kept up to date from one snapshot of the directory to the
//! next: only what changed between them costs anything. The local member is none of the candidates;
//! whether it has the agent is a part of each question. Holds no more than the directory does.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustc_hash::FxBuildHasher;

use super::record::LoadRecord;
use super::sample::Sampling;
use super::table::{Slot, Table};
use super::target::Target;
use crate::directory::{Member, Snapshot};

#[derive(Debug, Default)]
pub(super) struct Index {
    agents: HashMap<Box<str>, Agent, FxBuildHasher>,
}

/// What is known of one agent.
#[derive(Debug, Default)]
pub(super) struct Agent {
    /// Members that have it and take part in the mesh, in no order that means anything.
    pub(super) candidates: Vec<Slot>,
    pub(super) sampling: Sampling,
    /// Members that have it, dead and left ones included.
    listed: usize,
}

/// How a member of the new snapshot came to be there.
#[derive(Clone, Copy)]
enum Arrival {
    /// It was there when this node began to look, or soon after.
    Found,
    /// It has joined since.
    Joined,
}

impl Index {
    /// Follows the directory from one snapshot to the next. `is_settled` tells that this node has
    /// watched the mesh for a while, so that members it sees first have joined just now. How many of
    /// the members said something new of their load.
    pub(super) fn follow(
        &mut self,
        now: Duration,
        table: &mut Table,
        old: Option<&Snapshot>,
        new: &Snapshot,
        is_settled: bool,
    ) -> u64 {
        let mut loads = 0;
        let arrival = if is_settled { Arrival::Joined } else { Arrival::Found };
        let others = |snapshot: &Snapshot| {
            let local = snapshot.local;
            move |member: &&Arc<Member>| member.id != local
        };
        let mut before = old.into_iter().flat_map(|old| old.members.iter().filter(others(old)));
        let mut after = new.members.iter().filter(others(new));
        // Both are ordered by id.
        let (mut gone, mut come) = (before.next(), after.next());
        loop {
            match (gone, come) {
                (None, None) => return loads,
                (Some(old), Some(new)) if old.id == new.id => {
                    if !Arc::ptr_eq(old, new) {
                        loads += u64::from(self.change(now, table, old, new));
                    }
                    (gone, come) = (before.next(), after.next());
                }
                (Some(old), other) if other.is_none_or(|new| old.id < new.id) => {
                    self.remove(table, old);
                    table.dismiss(old.id);
                    gone = before.next();
                }
                (_, Some(new)) => {
                    self.arrive(now, table, new, arrival);
                    come = after.next();
                }
                (Some(_), None) => unreachable!("caught by the guard above"),
            }
        }
    }

    pub(super) fn get(&mut self, agent: &str) -> Option<&mut Agent> {
        self.agents.get_mut(agent)
    }

    fn arrive(&mut self, now: Duration, table: &mut Table, member: &Member, arrival: Arrival) {
        let slot = table.admit(member.id);
        table.place(slot, Target::of_member(member), member.state);
        table.hear(now, slot, LoadRecord::of_member(member));
        match arrival {
            Arrival::Found => {}
            Arrival::Joined => table.warm_up(now, slot),
        }
        self.add(member, slot);
    }

    /// Whether it said something new of its load.
    fn change(&mut self, now: Duration, table: &mut Table, old: &Member, new: &Member) -> bool {
        let slot = table.admit(new.id);
        let place = |member: &Member| (member.generation, member.revision);
        if place(old) == place(new) && old.url == new.url && old.name == new.name {
            table.set_state(slot, new.state);
        } else {
            table.place(slot, Target::of_member(new), new.state);
        }
        // A member that changed otherwise carries the same load as before, which is not news.
        let report = |member: &Member| (member.generation, member.load_sequence);
        let is_report = report(old) != report(new);
        if is_report {
            table.hear(now, slot, LoadRecord::of_member(new));
        }
        let is_other = old.agents != new.agents || old.models != new.models;
        if is_other || old.is_live() != new.is_live() {
            self.remove_slot(old, slot);
            self.add(new, slot);
        }
        is_report
    }

    fn add(&mut self, member: &Member, slot: Slot) {
        for name in member.served() {
            let agent = match self.agents.get_mut(&*name) {
                Some(agent) => agent,
                None => self.agents.entry(name.into()).or_default(),
            };
            agent.listed += 1;
            agent.sampling.forget();
            if member.is_live() {
                agent.candidates.push(slot);
            }
        }
    }

    fn remove(&mut self, table: &Table, member: &Member) {
        if let Some(slot) = table.slot(member.id) {
            self.remove_slot(member, slot);
        }
    }

    fn remove_slot(&mut self, member: &Member, slot: Slot) {
        for name in member.served() {
            let Some(agent) = self.agents.get_mut(&*name) else { continue };
            agent.listed -= 1;
            agent.sampling.forget();
            if let Some(position) = agent.candidates.iter().position(|held| *held == slot) {
                agent.candidates.swap_remove(position);
            }
            if agent.listed == 0 {
                self.agents.remove(&*name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use astromesh_wire::{NodeId, State};
    use proptest::prelude::*;

    use super::*;
    use crate::routing::tests::{id, member, snapshot};

    /// The ids of the candidates, in order; `None` for an agent that nobody lists.
    fn candidates(index: &mut Index, table: &Table, agent: &str) -> Option<Vec<NodeId>> {
        let agent = index.get(agent)?;
        let mut ids: Vec<NodeId> =
            agent.candidates.iter().map(|slot| table.node(*slot).id()).collect();
        ids.sort_unstable();
        Some(ids)
    }

    proptest! {
        #[test]
        fn the_index_holds_what_the_newest_snapshot_says(
            history in prop::collection::vec(
                prop::collection::btree_map(2_u8..8, (0_usize..4, 0_u8..8), 0..6), 1..8,
            ),
        ) {
            let (mut index, mut table) = (Index::default(), Table::default());
            let mut old: Option<Arc<Snapshot>> = None;
            for members in history {
                let members = members.into_iter().map(|(number, (state, agents))| {
                    let mut member = member(number);
                    member.state = [State::Alive, State::Suspect, State::Dead, State::Left][state];
                    member.agents = (0..3)
                        .filter(|bit| agents & (1 << bit) != 0)
                        .map(|bit| format!("agent-{bit}"))
                        .collect();
                    member
                });
                let new = Arc::new(snapshot(members.collect()));
                index.follow(Duration::ZERO, &mut table, old.as_deref(), &new, false);
                for bit in 0..3 {
                    let name = format!("agent-{bit}");
                    let listed: Vec<&Member> = new.members_with_agent(&name).collect();
                    let expected = (!listed.is_empty()).then(|| {
                        let live = listed.into_iter().filter(|member| member.is_live());
                        live.map(|member| member.id).collect::<Vec<_>>()
                    });
                    prop_assert_eq!(candidates(&mut index, &table, &name), expected);
                }
                prop_assert_eq!(table.len(), new.members.len() - 1);
                old = Some(new);
            }
        }
    }

    #[test]
    fn a_local_member_under_a_new_id_is_no_candidate_and_the_old_one_is_gone() {
        let (mut index, mut table) = (Index::default(), Table::default());
        let first = snapshot(vec![member(2)]);
        index.follow(Duration::ZERO, &mut table, None, &first, false);
        let mut second = snapshot(vec![member(2), member(3)]);
        second.local = id(3);
        second.members.remove(0);
        index.follow(Duration::ZERO, &mut table, Some(&first), &second, false);
        assert_eq!(candidates(&mut index, &table, "support"), Some(vec![id(2)]));
    }
}
