//! Tests of the core as a whole, and what all tests of routing build upon.

mod choice;
mod failures;
mod peers;

use std::sync::Arc;
use std::time::Duration;

use astromesh_wire::{Load, NodeId, State};

use crate::directory::{Member, Snapshot};
use crate::routing::{Core, Here, LoadRecord, Pick, Place, Question, Target};

pub(super) const AGENT: &str = "support";
pub(super) const LOCAL: u8 = 1;
const NOW: Duration = Duration::from_secs(100);

pub(super) fn id(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

/// An alive, idle member that runs the agent.
pub(super) fn member(number: u8) -> Member {
    let address = ([127, 0, 0, number], 8000).into();
    Member {
        agents: vec![AGENT.to_owned()],
        ..Member::new(id(number), format!("node-{number}"), address)
    }
}

/// These members behind the local one, which runs no agent.
pub(super) fn snapshot(others: Vec<Member>) -> Snapshot {
    let mut local = member(LOCAL);
    local.agents.clear();
    let members = std::iter::once(local).chain(others).map(Arc::new).collect();
    Snapshot { version: 1, local: id(LOCAL), leader: None, term: 0, members }
}

/// A core that has just seen these members.
fn core(others: Vec<Member>) -> Core {
    let mut core = Core::new(7);
    core.observe(NOW, &Arc::new(snapshot(others)));
    core
}

/// A core that has just seen as many idle members, numbered from 2.
fn idle(count: u8) -> Core {
    core((2..2 + count).map(member).collect())
}

const ASK: Question<'static> = Question {
    agent: AGENT,
    here: Here::DoesNotServe,
    tried: &[],
    bounced: &[],
    affinity: None,
    key: None,
};

/// What a node says of itself; the sequence makes it news.
fn record(sequence: u32, active: u32, limit: u32) -> LoadRecord {
    LoadRecord { boot: 1, sequence, active, limit, is_draining: false, yours: Some(0) }
}

fn target(number: u8) -> Target {
    Target::of_member(&member(number))
}

/// The number of the node that was picked; that of the local one for here.
fn number(pick: &Pick) -> u8 {
    match &pick.place {
        Place::Here => LOCAL,
        Place::There(target) => target.id.as_bytes()[0],
    }
}

/// All nodes that so many picks choose, in order.
fn chosen(core: &mut Core, now: Duration, question: &Question<'_>, picks: usize) -> Vec<u8> {
    let mut numbers: Vec<u8> = (0..picks)
        .filter_map(|_| core.pick(now, question).ok())
        .map(|pick| number(&pick))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
