//! Which node takes a request: the least busy of those that can.
//!
//! A pure function: it does no I/O, reads no clock, and its randomness is passed in.

use astromesh_wire::{NodeId, State};

use super::load::Loads;
use crate::directory::{Member, Snapshot};

/// Everything a choice depends on.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The mesh as this node sees it.
    pub snapshot: &'a Snapshot,
    /// The agent asked for.
    pub agent: &'a str,
    /// Whether this node runs the agent itself.
    pub local: LocalNode,
    /// How busy the others are.
    pub loads: &'a Loads,
    /// Nodes that have failed this request already; never chosen.
    pub tried: &'a [NodeId],
    /// Nodes that could not be connected to a moment ago; chosen only when nothing else is left.
    pub ejected: &'a [NodeId],
}

/// The part of the local node in a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalNode {
    /// It runs the agent.
    Serves {
        /// Runs that execute on it now; exact.
        active: u32,
    },
    /// It does not, whatever the directory says.
    DoesNotServe,
}

/// How good a candidate is; the least wins. The order of the variants is the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Alive,
    Suspect,
    /// A failed connection is first-hand news and weighs more than somebody's suspicion.
    EjectedAlive,
    EjectedSuspect,
}

/// Compared field by field: of equally busy nodes the local one wins, since it costs no hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    tier: Tier,
    estimate: u32,
    remote: bool,
}

/// The node to send the request to, the local one included; `None` when no node is left. Ties
/// between other nodes are broken at random: a fixed order would send the first requests of every
/// gateway to the same node.
#[must_use]
pub fn choose(view: &View<'_>, random: &mut fastrand::Rng) -> Option<NodeId> {
    let local = view.snapshot.local;
    let remote = view
        .snapshot
        .members_with_agent(view.agent)
        .filter(|member| member.id != local)
        .filter_map(|member| Some((rank(view, member)?, member.id)));
    let own = match view.local {
        LocalNode::Serves { active } => {
            Some((Rank { tier: Tier::Alive, estimate: active, remote: false }, local))
        }
        LocalNode::DoesNotServe => None,
    };
    let mut best: Option<(Rank, NodeId)> = None;
    let mut equals = 0;
    for (rank, id) in own.into_iter().chain(remote) {
        if view.tried.contains(&id) {
            continue;
        }
        match best {
            Some((best_rank, _)) if rank > best_rank => {}
            Some((best_rank, _)) if rank == best_rank => {
                // The k-th of equals replaces its predecessors with probability 1/k: all are
                // equally likely in the end, without a list of them.
                equals += 1;
                if random.u32(0..equals) == 0 {
                    best = Some((rank, id));
                }
            }
            _ => {
                equals = 1;
                best = Some((rank, id));
            }
        }
    }
    best.map(|(_, id)| id)
}

fn rank(view: &View<'_>, member: &Member) -> Option<Rank> {
    let ejected = view.ejected.contains(&member.id);
    let tier = match (member.state, ejected) {
        (State::Alive, false) => Tier::Alive,
        (State::Suspect, false) => Tier::Suspect,
        (State::Alive, true) => Tier::EjectedAlive,
        (State::Suspect, true) => Tier::EjectedSuspect,
        (State::Dead | State::Left, _) => return None,
    };
    Some(Rank { tier, estimate: view.loads.estimate(member.id), remote: true })
}

#[cfg(test)]
pub(super) mod tests {
    use astromesh_wire::Load;

    use State::{Alive, Dead, Left, Suspect};

    use std::sync::Arc;

    use super::*;

    const AGENT: &str = "support";
    const LOCAL: u8 = 1;

    pub(in crate::routing) fn id(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    /// An alive, idle member that runs the agent.
    pub(in crate::routing) fn member(number: u8) -> Member {
        Member {
            id: id(number),
            name: format!("node-{number}"),
            url: "http://127.0.0.1:1".to_owned(),
            gossip_address: ([127, 0, 0, 1], 1).into(),
            services: Vec::new(),
            agents: vec![AGENT.to_owned()],
            agents_elsewhere: false,
            load: Load::default(),
            load_sequence: 0,
            state: Alive,
            generation: 1,
            incarnation: 0,
            revision: 0,
            joined_at: 0.0,
        }
    }

    /// These members behind the local one, which runs no agent.
    pub(in crate::routing) fn snapshot(others: Vec<Member>) -> Snapshot {
        let mut local = member(LOCAL);
        local.agents.clear();
        let members = std::iter::once(local).chain(others).map(Arc::new).collect();
        Snapshot { version: 1, local: id(LOCAL), leader: None, term: 0, members }
    }

    struct Row {
        name: &'static str,
        /// Number, state and reported load of each other node.
        others: &'static [(u8, State, u32)],
        /// In-flight runs here, if the agent is served here.
        local: Option<u32>,
        tried: &'static [u8],
        ejected: &'static [u8],
        /// All that may be chosen; empty for nobody.
        expected: &'static [u8],
    }

    const ROW: Row =
        Row { name: "", others: &[], local: None, tried: &[], ejected: &[], expected: &[] };

    const ROWS: &[Row] = &[
        Row { name: "nobody has it", ..ROW },
        Row { name: "only here", local: Some(9), expected: &[1], ..ROW },
        Row {
            name: "the least busy",
            others: &[(2, Alive, 3), (3, Alive, 1), (4, Alive, 2)],
            expected: &[3],
            ..ROW
        },
        Row {
            name: "ties are open",
            others: &[(2, Alive, 1), (3, Alive, 1), (4, Alive, 1), (5, Alive, 2)],
            expected: &[2, 3, 4],
            ..ROW
        },
        Row {
            name: "the local node wins ties",
            others: &[(2, Alive, 1), (3, Alive, 1)],
            local: Some(1),
            expected: &[1],
            ..ROW
        },
        Row {
            name: "a busier local node does not win",
            others: &[(2, Alive, 1)],
            local: Some(2),
            expected: &[2],
            ..ROW
        },
        Row { name: "dead never", others: &[(2, Dead, 0)], ..ROW },
        Row { name: "left never", others: &[(2, Left, 0)], ..ROW },
        Row {
            name: "alive before suspect, however busy",
            others: &[(2, Suspect, 0), (3, Alive, 50)],
            expected: &[3],
            ..ROW
        },
        Row {
            name: "suspect when no alive one is left",
            others: &[(2, Suspect, 0), (3, Alive, 0), (4, Dead, 0)],
            tried: &[3],
            expected: &[2],
            ..ROW
        },
        Row {
            name: "never one that was tried",
            others: &[(2, Alive, 0), (3, Alive, 5)],
            tried: &[2],
            expected: &[3],
            ..ROW
        },
        Row { name: "all tried", others: &[(2, Alive, 0)], tried: &[2], ..ROW },
        Row {
            name: "an ejected node is passed over",
            others: &[(2, Alive, 0), (3, Alive, 5)],
            ejected: &[2],
            expected: &[3],
            ..ROW
        },
        Row {
            name: "an ejected node comes after a suspect one",
            others: &[(2, Alive, 0), (3, Suspect, 5)],
            ejected: &[2],
            expected: &[3],
            ..ROW
        },
        Row {
            name: "an ejected node is taken when it is the only one",
            others: &[(2, Alive, 0), (3, Dead, 0)],
            ejected: &[2],
            expected: &[2],
            ..ROW
        },
    ];

    #[test]
    fn the_rule_holds_in_each_case() {
        for row in ROWS {
            let others = row.others.iter().map(|(number, state, active)| {
                let mut member = member(*number);
                member.state = *state;
                member.load.active_requests = *active;
                member
            });
            let snapshot = Arc::new(snapshot(others.collect()));
            let mut loads = Loads::default();
            loads.observe(&snapshot);
            let tried: Vec<NodeId> = row.tried.iter().map(|number| id(*number)).collect();
            let ejected: Vec<NodeId> = row.ejected.iter().map(|number| id(*number)).collect();
            let local =
                row.local.map_or(LocalNode::DoesNotServe, |active| LocalNode::Serves { active });
            let view = View {
                snapshot: &snapshot,
                agent: AGENT,
                local,
                loads: &loads,
                tried: &tried,
                ejected: &ejected,
            };
            let mut random = fastrand::Rng::with_seed(7);
            let mut chosen: Vec<NodeId> =
                (0..200).filter_map(|_| choose(&view, &mut random)).collect();
            chosen.sort_unstable();
            chosen.dedup();
            let expected: Vec<NodeId> = row.expected.iter().map(|number| id(*number)).collect();
            assert_eq!(chosen, expected, "{}", row.name);
        }
    }

    #[test]
    fn equals_are_equally_likely() {
        let snapshot = snapshot(vec![member(2), member(3), member(4)]);
        let view = View {
            snapshot: &snapshot,
            agent: AGENT,
            local: LocalNode::DoesNotServe,
            loads: &Loads::default(),
            tried: &[],
            ejected: &[],
        };
        let mut random = fastrand::Rng::with_seed(11);
        let mut counts = [0; 5];
        for _ in 0..3_000 {
            let chosen = choose(&view, &mut random).unwrap();
            counts[usize::from(chosen.as_bytes()[0])] += 1;
        }
        // Expected 1,000 each; the standard deviation is 26.
        assert!(counts[2..].iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
