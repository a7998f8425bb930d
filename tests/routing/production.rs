//! The production rule as a policy: one [`Core`] for each gateway, as each node of a mesh has one.
//!
//! Owns the directory snapshots that the gateways see. Holds no rule of its own.

use std::sync::Arc;
use std::time::Duration;

use astromesh::directory::{Member, Snapshot};
use astromesh::routing::{Core, Here, LoadRecord, Outcome, Place, Question, Repeat, Sent, Target};
use astromesh_wire::{NodeId, Service, State};

use crate::policy::{Asking, Choice, Hears, Policy, Seen};
use crate::scenario::Shape;
use crate::simulation::{id_of, node_of};

const AGENT: &str = "support";

/// All gateways of a mesh.
#[derive(Debug)]
pub(crate) struct Production {
    shape: Shape,
    is_idempotent: bool,
    gateways: Vec<Gateway>,
}

#[derive(Debug)]
struct Gateway {
    core: Core,
    snapshot: Arc<Snapshot>,
    /// By worker: where it was last sent to.
    targets: Vec<Option<Arc<Target>>>,
}

impl Production {
    pub(crate) fn new(shape: Shape, is_idempotent: bool, seed: u64) -> Self {
        let mut members: Vec<_> = (0..shape.nodes()).map(|node| member(shape, node)).collect();
        members.sort_unstable_by_key(|member| member.id);
        let gateways = (0..shape.gateways())
            .map(|gateway| {
                let snapshot = Snapshot {
                    version: 1,
                    local: id_of(shape.node_of_gateway(gateway)),
                    leader: None,
                    term: 0,
                    members: members.clone(),
                };
                Gateway {
                    core: Core::new(seed.wrapping_add(gateway as u64)),
                    snapshot: Arc::new(snapshot),
                    targets: vec![None; shape.workers()],
                }
            })
            .collect();
        Self { shape, is_idempotent, gateways }
    }

    /// The core of a gateway that knows the newest snapshot.
    fn core(&mut self, now: Duration, gateway: usize) -> &mut Core {
        let Gateway { core, snapshot, .. } = &mut self.gateways[gateway];
        core.observe(now, snapshot);
        core
    }
}

impl Policy for Production {
    fn hears(&self) -> Hears {
        Hears::Everything
    }

    fn arrived(&mut self, now: Duration, gateway: usize) {
        self.core(now, gateway).request_began(now, AGENT);
    }

    fn pick(&mut self, now: Duration, asking: &Asking<'_>) -> Option<Choice> {
        let node = self.shape.node_of_gateway(asking.gateway);
        let here = match asking.workers.get(node) {
            Some(own) if own.takes_work() => {
                Here::Serves { active: own.active(), limit: own.limit() }
            }
            Some(_) | None => Here::DoesNotServe,
        };
        let ids = |nodes: &[usize]| nodes.iter().map(|node| id_of(*node)).collect::<Vec<_>>();
        let (tried, bounced) = (ids(asking.tried), ids(asking.bounced));
        let question = Question {
            agent: AGENT,
            here,
            tried: &tried,
            bounced: &bounced,
            affinity: None,
            key: None,
        };
        let pick = self.core(now, asking.gateway).pick(now, &question).ok()?;
        let worker = match pick.place {
            Place::Here => node,
            Place::There(target) => {
                let worker = node_of(target.id);
                self.gateways[asking.gateway].targets[worker] = Some(target);
                worker
            }
        };
        Some(Choice { worker, must_queue: pick.must_queue })
    }

    fn begin(&mut self, now: Duration, gateway: usize, worker: usize) {
        if !self.shape.is_here(gateway, worker) {
            self.core(now, gateway).begin(now, id_of(worker));
        }
    }

    fn end(&mut self, now: Duration, gateway: usize, worker: usize, outcome: Outcome) {
        if self.shape.is_here(gateway, worker) {
            return;
        }
        let target = self.gateways[gateway].targets[worker].clone().expect("it was picked");
        let core = self.core(now, gateway);
        core.end(now, target.id);
        core.outcome(now, &target, AGENT, outcome);
    }

    fn heard(&mut self, now: Duration, gateway: usize, worker: usize, record: LoadRecord) {
        if !self.shape.is_here(gateway, worker) {
            self.core(now, gateway).heard(now, id_of(worker), record);
        }
    }

    fn heard_by_beacon(
        &mut self,
        now: Duration,
        gateway: usize,
        worker: usize,
        record: LoadRecord,
    ) {
        if !self.shape.is_here(gateway, worker) {
            self.core(now, gateway).heard_by_beacon(now, id_of(worker), record);
        }
    }

    fn may_retry(&mut self, now: Duration, gateway: usize, sent: bool) -> bool {
        let sent = if sent { Sent::Maybe } else { Sent::Never };
        let repeat = if self.is_idempotent { Repeat::Safe } else { Repeat::Unsafe };
        self.core(now, gateway).may_retry(now, sent, repeat)
    }

    fn member_changed(&mut self, now: Duration, worker: usize, boot: u32, seen: Seen) {
        let id = id_of(worker);
        for index in 0..self.gateways.len() {
            let mut snapshot = Snapshot::clone(&self.gateways[index].snapshot);
            snapshot.version += 1;
            for shared in snapshot.members.iter_mut().filter(|member| member.id == id) {
                let member = Arc::make_mut(shared);
                member.generation = boot;
                member.state = state(seen);
            }
            self.gateways[index].snapshot = Arc::new(snapshot);
            self.core(now, index);
        }
    }
}

const fn state(seen: Seen) -> State {
    match seen {
        Seen::Alive => State::Alive,
        Seen::Suspect => State::Suspect,
        Seen::Dead => State::Dead,
        Seen::Left => State::Left,
    }
}

fn member(shape: Shape, node: usize) -> Arc<Member> {
    let agents = if node < shape.workers() { vec![AGENT.to_owned()] } else { Vec::new() };
    let id: NodeId = id_of(node);
    let port = u16::try_from(1 + node).expect("fewer nodes than ports");
    let address = ([127, 0, 0, 1], port).into();
    Arc::new(Member {
        services: vec![Service::Api, Service::Agents],
        agents,
        ..Member::new(id, format!("node-{node}"), address)
    })
}
