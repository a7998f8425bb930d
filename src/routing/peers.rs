//! The round of the static peers of a node without a mesh.
//!
//! Peers tell neither which agents and models they have nor how busy they are, so each gets its turn. Owns
//! whose turn it is; their health and their refusals are kept like those of nodes.

use astromesh_wire::{NodeId, Service, State};

use super::choose::{Best, Choice, Field};
use super::table::{Mark, Slot, Table, Tier};
use super::target::{StaticPeer, Target};
use crate::directory::models;

/// The peers that run agents, and those that serve models.
#[derive(Debug, Default)]
pub(super) struct Peers {
    agents: Round,
    models: Round,
    /// Peers that were given an id.
    numbered: u32,
}

/// Peers that get their turns.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// In the order given by the operator.
    pub(super) slots: Vec<Slot>,
    pub(super) next: usize,
}

impl Peers {
    /// Those that may serve this agent, or the model that it is the entry of.
    pub(super) fn round(&mut self, agent: &str) -> &mut Round {
        if models::of_entry(agent).is_some() { &mut self.models } else { &mut self.agents }
    }

    /// Replaces them all. A peer with the URL of one that was there before keeps its entry.
    pub(super) fn replace(&mut self, table: &mut Table, peers: &[StaticPeer]) {
        let mut before = std::mem::take(&mut self.agents.slots);
        before.append(&mut self.models.slots);
        before.sort_unstable();
        before.dedup();
        let mut after: Vec<Slot> = Vec::new();
        let serves = |peer: &StaticPeer, service| peer.services.contains(&service);
        for peer in peers {
            let (agents, models) =
                (serves(peer, Service::Agents), serves(peer, Service::Inference));
            if !agents && !models {
                continue;
            }
            let place = Target::of_peer(NOBODY, peer);
            let is_same = |slot: &&Slot| {
                let target = table.node(**slot).target();
                !after.contains(slot) && target.is_some_and(|target| target.is_same_place(&place))
            };
            let slot = match before.iter().find(is_same) {
                Some(slot) => *slot,
                None => table.admit(self.next_id()),
            };
            let id = table.node(slot).id();
            table.place(slot, Target { id, ..place }, State::Alive);
            after.push(slot);
            if agents {
                self.agents.slots.push(slot);
            }
            if models {
                self.models.slots.push(slot);
            }
        }
        for slot in before.into_iter().filter(|slot| !after.contains(slot)) {
            table.dismiss(table.node(slot).id());
        }
    }

    /// Begins with `peer` and ends with a number, which no random id does.
    const fn next_id(&mut self) -> NodeId {
        let [a, b, c, d] = self.numbered.to_be_bytes();
        self.numbered = self.numbered.wrapping_add(1);
        NodeId::from_bytes([b'p', b'e', b'e', b'r', 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d])
    }
}

/// Of a peer that has none yet.
const NOBODY: NodeId = NodeId::from_bytes([0; 16]);

/// The next peer that is well; when none is, the next of the least bad. This node itself comes
/// first when it serves: of all of them it alone is known to have the agent, or the model.
pub(super) fn take_turn(field: &Field<'_>, next: &mut usize) -> Option<Best> {
    if field.local.load().is_some() && field.local.mark == Mark::Unmet {
        return Some(Best { choice: Choice::Local, tier: Tier::Alive, compared: 1 });
    }
    let count = field.candidates.len();
    let mut best: Option<(Tier, usize)> = None;
    let mut compared = 0;
    for position in (0..count).map(|offset| (*next + offset) % count) {
        let node = field.table.node(field.candidates[position]);
        if field.table.marked(node) != Mark::Unmet {
            continue;
        }
        compared += 1;
        let tier = field.table.tier(node, field.now, field.mood);
        if best.is_none_or(|(least, _)| tier < least) {
            best = Some((tier, position));
        }
        if tier == Tier::Alive {
            break;
        }
    }
    let (tier, position) = best?;
    *next = position + 1;
    Some(Best { choice: Choice::Remote(field.candidates[position]), tier, compared })
}
