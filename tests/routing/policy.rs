//! What a policy is to the simulation, and the simple ones that the production rule is set beside.
//!
//! Owns the yardsticks: the oracle, random, own counts alone, and the stale table. Refuses to
//! know how requests travel.

use std::time::Duration;

use astromesh::routing::{LoadRecord, Outcome};
use fastrand::Rng;

use crate::worker::Worker;

/// All gateways of a mesh at once: each call names the gateway that it is about.
pub(crate) trait Policy {
    /// What the workers tell it.
    fn hears(&self) -> Hears;

    /// A request reaches its gateway.
    fn arrived(&mut self, _now: Duration, _gateway: usize) {}

    /// Where to send it; `None` when nobody is left.
    fn pick(&mut self, now: Duration, asking: &Asking<'_>) -> Option<Choice>;

    /// A request leaves for this worker.
    fn begin(&mut self, now: Duration, gateway: usize, worker: usize);

    /// It is over, in this way.
    fn end(&mut self, now: Duration, gateway: usize, worker: usize, outcome: Outcome);

    /// A worker's word on its load.
    fn heard(&mut self, _now: Duration, _gateway: usize, _worker: usize, _record: LoadRecord) {}

    /// The same by a beacon.
    fn heard_by_beacon(
        &mut self,
        now: Duration,
        gateway: usize,
        worker: usize,
        record: LoadRecord,
    ) {
        self.heard(now, gateway, worker, record);
    }

    /// Whether a request may be sent again after a failure; one is `sent` if its bytes left.
    fn may_retry(&mut self, _now: Duration, _gateway: usize, _sent: bool) -> bool {
        false
    }

    /// The directory shows something new of a worker.
    fn member_changed(&mut self, _now: Duration, _worker: usize, _boot: u32, _seen: Seen) {}
}

/// What reaches the gateways besides their own experience.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hears {
    /// Nothing; full workers do not refuse but let wait.
    Nothing,
    /// The gossiped table; full workers do not refuse but let wait.
    Gossip,
    /// Gossip, beacons, the load on each answer; full workers refuse.
    Everything,
}

/// What the directory says of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Alive,
    Suspect,
    Dead,
    Left,
}

/// A choice to be made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) gateway: usize,
    /// Failed this request, or takes nothing new.
    pub(crate) tried: &'a [usize],
    /// Refused this request for being full.
    pub(crate) bounced: &'a [usize],
    /// The truth. Only the oracle reads it all; a gateway knows the worker it shares a node with.
    pub(crate) workers: &'a [Worker],
}

/// Where a request goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    pub(crate) worker: usize,
    pub(crate) must_queue: bool,
}

/// Rules of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// The fewest requests over capacity by the truth of this moment: join the shortest queue.
    Oracle,
    Random,
    /// The fewest of the gateway's own requests.
    OwnCounts,
    /// The fewest by the gossiped table.
    StaleTable,
}

/// A policy that follows a [`Rule`]. Ties are broken at random.
#[derive(Debug)]
pub(crate) struct Yardstick {
    rule: Rule,
    /// Own requests, then gossiped ones, by gateway and worker.
    own: Vec<Vec<u32>>,
    gossiped: Vec<Vec<u32>>,
    random: Rng,
}

impl Yardstick {
    pub(crate) fn new(rule: Rule, gateways: usize, workers: usize, seed: u64) -> Self {
        let counts = vec![vec![0; workers]; gateways];
        Self { rule, own: counts.clone(), gossiped: counts, random: Rng::with_seed(seed) }
    }
}

impl Policy for Yardstick {
    fn hears(&self) -> Hears {
        match self.rule {
            Rule::StaleTable => Hears::Gossip,
            Rule::Oracle | Rule::Random | Rule::OwnCounts => Hears::Nothing,
        }
    }

    fn pick(&mut self, _now: Duration, asking: &Asking<'_>) -> Option<Choice> {
        let (own, gossiped) = (&self.own[asking.gateway], &self.gossiped[asking.gateway]);
        let (mut best, mut equals) = (None, 0);
        for (worker, truth) in asking.workers.iter().enumerate() {
            let count = match self.rule {
                Rule::Oracle => truth.active(),
                Rule::Random => 0,
                Rule::OwnCounts => own[worker],
                Rule::StaleTable => gossiped[worker],
            };
            if asking.tried.contains(&worker) || best.is_some_and(|(least, _)| count > least) {
                continue;
            }
            equals = if best.is_some_and(|(least, _)| count == least) { equals + 1 } else { 1 };
            // The n-th of equals replaces its predecessors once in n times.
            if self.random.u32(0..equals) == 0 {
                best = Some((count, worker));
            }
        }
        best.map(|(_, worker)| Choice { worker, must_queue: true })
    }

    fn begin(&mut self, _now: Duration, gateway: usize, worker: usize) {
        self.own[gateway][worker] += 1;
    }

    fn end(&mut self, _now: Duration, gateway: usize, worker: usize, _outcome: Outcome) {
        self.own[gateway][worker] -= 1;
    }

    fn heard(&mut self, _now: Duration, gateway: usize, worker: usize, record: LoadRecord) {
        self.gossiped[gateway][worker] = record.active;
    }
}
