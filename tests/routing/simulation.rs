//! A run: requests reach gateways, a policy places them, workers serve them, and what workers say
//! of themselves travels back.
//!
//! Owns virtual time, the network and what is in flight. Refuses to choose, which is the policy's,
//! and to judge, which is the tests'. Everything follows from scenario, requests and seed.

use std::collections::BTreeMap;
use std::time::Duration;

use astromesh::routing::{LoadRecord, Outcome};
use astromesh_wire::NodeId;
use fastrand::Rng;

use crate::agenda::Agenda;
use crate::gossip::{GOSSIP_PERIOD, Gossip};
use crate::policy::{Asking, Hears, Policy, Seen};
use crate::scenario::{Request, Scenario, Shape};
use crate::tally::Tally;
use crate::worker::{Refusal, Worker};

/// Time between two looks of a worker at whether a beacon is due.
const BEACON_PERIOD: Duration = Duration::from_millis(100);

/// What is simulated, besides the policy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup<'a> {
    pub(crate) scenario: Scenario,
    pub(crate) requests: &'a [Request],
    /// Of gossip and beacons.
    pub(crate) seed: u64,
    /// Time that everything takes between two nodes.
    pub(crate) one_way: Duration,
    /// Requests at which workers refuse more; 0 for never.
    pub(crate) limit: u32,
    /// What befalls the workers.
    pub(crate) faults: &'a [(Duration, Fault)],
    /// Whether a request may be run twice.
    pub(crate) is_idempotent: bool,
}

/// Something that befalls a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Its process ends without a word.
    Kill(usize),
    /// The directory of every gateway shows it so.
    SeenAs(usize, Seen),
    /// It takes nothing new, says so by beacon, and leaves when its work is done.
    Drain(usize),
    /// A new process in its place.
    StartAgain(usize),
}

#[derive(Debug)]
enum Event {
    Arrival(usize),
    /// A request reaches a worker.
    Reach {
        number: usize,
        must_queue: bool,
    },
    /// A worker may be done with a request; outdated unless it says so itself.
    Due {
        worker: usize,
    },
    /// A gateway learns what became of an attempt.
    Back {
        number: usize,
        end: End,
        record: Option<LoadRecord>,
    },
    GossipTick {
        node: usize,
    },
    BeaconTick {
        worker: usize,
    },
    Beacon {
        gateway: usize,
        worker: usize,
        record: LoadRecord,
    },
    Fault(Fault),
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy)]
enum End {
    Answered,
    Refused(Refusal),
    NotConnected,
    Broken,
}

/// What a gateway keeps of a request.
#[derive(Debug, Clone, Default)]
struct Flight {
    worker: usize,
    tried: Vec<usize>,
    bounced: Vec<usize>,
}

/// One run.
pub(crate) struct Simulation<'a> {
    setup: Setup<'a>,
    policy: &'a mut dyn Policy,
    workers: Vec<Worker>,
    /// When each worker was last said to be due.
    due: Vec<Option<Duration>>,
    flights: Vec<Flight>,
    gossip: Gossip,
    /// By worker: what its last beacon to each origin said.
    beacons: Vec<BTreeMap<NodeId, LoadRecord>>,
    /// By worker: whether its load has changed since it looked at its beacons.
    has_news: Vec<bool>,
    agenda: Agenda<Event>,
    random: Rng,
    tally: Tally,
}

/// The id of a node. Bytes that are not in order, as those of real ids.
pub(crate) fn id_of(node: usize) -> NodeId {
    let mixed = (node as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&mixed.to_be_bytes());
    bytes[8..].copy_from_slice(&(node as u64).to_be_bytes());
    NodeId::from_bytes(bytes)
}

/// The node of an id.
pub(crate) fn node_of(id: NodeId) -> usize {
    let bytes = id.as_bytes();
    let number = bytes[8..].try_into().expect("eight bytes are left");
    usize::try_from(u64::from_be_bytes(number)).expect("it was one")
}

impl<'a> Simulation<'a> {
    pub(crate) fn new(setup: Setup<'a>, policy: &'a mut dyn Policy) -> Self {
        let Scenario { shape, discipline, .. } = setup.scenario;
        let workers: Vec<Worker> = (0..shape.workers())
            .map(|worker| Worker::new(setup.scenario.speed(worker), discipline, setup.limit))
            .collect();
        let mut agenda = Agenda::new();
        let mut random = Rng::with_seed(setup.seed);
        agenda.note(setup.requests[0].at, Event::Arrival(0));
        if policy.hears() != Hears::Nothing {
            for node in 0..shape.nodes() {
                agenda.note(GOSSIP_PERIOD.mul_f64(random.f64()), Event::GossipTick { node });
            }
        }
        if policy.hears() == Hears::Everything {
            for worker in 0..shape.workers() {
                agenda.note(BEACON_PERIOD.mul_f64(random.f64()), Event::BeaconTick { worker });
            }
        }
        for (at, fault) in setup.faults {
            agenda.note(*at, Event::Fault(*fault));
        }
        Self {
            policy,
            due: vec![None; workers.len()],
            flights: vec![Flight::default(); setup.requests.len()],
            gossip: Gossip::new(shape.nodes(), workers.len()),
            beacons: vec![BTreeMap::new(); workers.len()],
            has_news: vec![false; workers.len()],
            agenda,
            random,
            tally: Tally::new(setup.requests.len()),
            workers,
            setup,
        }
    }

    /// Until every request is over.
    pub(crate) fn run(mut self) -> Tally {
        while self.tally.ended() < self.setup.requests.len() {
            let (now, event) = self.agenda.next().expect("what is in flight has its event");
            self.handle(now, &event);
        }
        self.tally
    }

    fn handle(&mut self, now: Duration, event: &Event) {
        match *event {
            Event::Arrival(number) => self.handle_arrival(now, number),
            Event::Reach { number, must_queue } => self.handle_reach(now, number, must_queue),
            Event::Due { worker } => self.handle_due(now, worker),
            Event::Back { number, end, record } => self.handle_back(now, number, end, record),
            Event::GossipTick { node } => self.handle_gossip_tick(now, node),
            Event::BeaconTick { worker } => {
                if std::mem::take(&mut self.has_news[worker]) {
                    self.send_beacons(now, worker);
                }
                self.agenda.note(now + BEACON_PERIOD, Event::BeaconTick { worker });
            }
            Event::Beacon { gateway, worker, record } => {
                self.policy.heard_by_beacon(now, gateway, worker, record);
            }
            Event::Fault(fault) => self.handle_fault(now, fault),
        }
    }

    fn handle_arrival(&mut self, now: Duration, number: usize) {
        self.tally.sample(number, &self.workers);
        self.policy.arrived(now, self.setup.requests[number].gateway);
        self.place(now, number);
        if let Some(next) = self.setup.requests.get(number + 1) {
            self.agenda.note(next.at, Event::Arrival(number + 1));
        }
    }

    /// Sends a request to where the policy says.
    fn place(&mut self, now: Duration, number: usize) {
        let gateway = self.setup.requests[number].gateway;
        let flight = &mut self.flights[number];
        let asking = Asking {
            gateway,
            tried: &flight.tried,
            bounced: &flight.bounced,
            workers: &self.workers,
        };
        let Some(choice) = self.policy.pick(now, &asking) else {
            self.tally.failed();
            return;
        };
        flight.worker = choice.worker;
        self.policy.begin(now, gateway, choice.worker);
        let at = now + self.way(gateway, choice.worker);
        self.agenda.note(at, Event::Reach { number, must_queue: choice.must_queue });
    }

    fn handle_reach(&mut self, now: Duration, number: usize, must_queue: bool) {
        let Request { gateway, demand, .. } = self.setup.requests[number];
        let index = self.flights[number].worker;
        let origin = self.origin(gateway, index);
        let worker = &mut self.workers[index];
        if !worker.is_up() {
            self.answer(now, number, End::NotConnected, None);
            return;
        }
        match worker.offer(now, (number, demand), origin, must_queue) {
            Ok(()) => self.note_due(index),
            Err(refusal) => {
                let record = worker.record(now, origin);
                self.answer(now, number, End::Refused(refusal), Some(record));
            }
        }
    }

    fn handle_due(&mut self, now: Duration, index: usize) {
        let worker = &mut self.workers[index];
        if worker.due() != Some(now) {
            return;
        }
        let (number, guard) = worker.finish(now);
        let origin = self.origin(self.setup.requests[number].gateway, index);
        let record = self.workers[index].record(now, origin);
        drop(guard);
        self.note_due(index);
        self.answer(now, number, End::Answered, Some(record));
        self.leave_if_drained(now, index);
    }

    fn handle_back(&mut self, now: Duration, number: usize, end: End, record: Option<LoadRecord>) {
        let gateway = self.setup.requests[number].gateway;
        let worker = self.flights[number].worker;
        if let Some(record) = record.filter(|_| self.policy.hears() == Hears::Everything) {
            self.policy.heard(now, gateway, worker, record);
        }
        let outcome = match end {
            End::Answered => Outcome::Answered(200),
            End::Refused(_) => Outcome::Refused,
            End::NotConnected => Outcome::NotConnected,
            End::Broken => Outcome::Broken,
        };
        self.policy.end(now, gateway, worker, outcome);
        let flight = &mut self.flights[number];
        let is_repeated = match end {
            End::Answered => {
                self.tally.answered(number, &self.setup.requests[number], now);
                return;
            }
            End::Refused(Refusal::Full) => {
                flight.bounced.push(worker);
                self.tally.bounced(number, self.setup.scenario.shape.is_here(gateway, worker));
                true
            }
            End::Refused(Refusal::Draining) => {
                flight.tried.push(worker);
                self.tally.met_draining();
                true
            }
            End::NotConnected => {
                flight.tried.push(worker);
                self.may_retry(now, gateway, false)
            }
            End::Broken => {
                flight.tried.push(worker);
                self.setup.is_idempotent && self.may_retry(now, gateway, true)
            }
        };
        match end {
            _ if is_repeated => self.place(now, number),
            End::Broken => self.tally.lost(),
            End::Answered | End::Refused(_) | End::NotConnected => self.tally.failed(),
        }
    }

    fn may_retry(&mut self, now: Duration, gateway: usize, sent: bool) -> bool {
        let may = self.policy.may_retry(now, gateway, sent);
        if may {
            self.tally.retried();
        }
        may
    }

    /// Lets the gateway know how an attempt ended, after the way back.
    fn answer(&mut self, now: Duration, number: usize, end: End, record: Option<LoadRecord>) {
        let way = self.way(self.setup.requests[number].gateway, self.flights[number].worker);
        self.agenda.note(now + way, Event::Back { number, end, record });
    }

    /// The work of a worker has changed: notes when it will be done next, unless that is noted.
    fn note_due(&mut self, worker: usize) {
        self.has_news[worker] = true;
        let due = self.workers[worker].due();
        if let Some(at) = due.filter(|_| due != self.due[worker]) {
            self.agenda.note(at, Event::Due { worker });
        }
        self.due[worker] = due;
    }

    fn handle_gossip_tick(&mut self, now: Duration, node: usize) {
        self.agenda.note(now + GOSSIP_PERIOD, Event::GossipTick { node });
        let workers = &self.workers;
        let is_up = |node: usize| workers.get(node).is_none_or(Worker::is_up);
        if !is_up(node) {
            return;
        }
        if let Some(worker) = workers.get(node) {
            let record = worker.record(now, None);
            self.gossip.tell(node, record);
            if let Some(gateway) = self.setup.scenario.shape.gateway_of_node(node) {
                self.policy.heard(now, gateway, node, record);
            }
        }
        for news in self.gossip.tick(node, &is_up, &mut self.random) {
            if let Some(gateway) = self.shape().gateway_of_node(news.node) {
                self.policy.heard(now, gateway, news.worker, news.record);
            }
        }
    }

    /// To each node that sent work lately, if what it would read has changed.
    fn send_beacons(&mut self, now: Duration, index: usize) {
        let worker = &self.workers[index];
        if !worker.is_up() {
            return;
        }
        let origins = worker.recent_origins(now);
        let told = &mut self.beacons[index];
        told.retain(|origin, _| origins.contains(origin));
        for origin in origins {
            let record = worker.record(now, Some(origin));
            if told.get(&origin).is_some_and(|told| says_the_same(told, &record)) {
                continue;
            }
            told.insert(origin, record);
            self.tally.sent_beacon();
            let gateway = self.setup.scenario.shape.gateway_of_node(node_of(origin));
            let gateway = gateway.expect("work comes from gateways");
            let beacon = Event::Beacon { gateway, worker: index, record };
            self.agenda.note(now + self.setup.one_way, beacon);
        }
    }

    fn handle_fault(&mut self, now: Duration, fault: Fault) {
        match fault {
            Fault::Kill(worker) => {
                for number in self.workers[worker].kill() {
                    self.answer(now, number, End::Broken, None);
                }
                self.due[worker] = None;
            }
            Fault::SeenAs(worker, seen) => self.show(now, worker, seen),
            Fault::Drain(worker) => {
                self.workers[worker].drain();
                self.send_beacons(now, worker);
                self.leave_if_drained(now, worker);
            }
            Fault::StartAgain(worker) => {
                self.workers[worker].start_again(now);
                self.beacons[worker].clear();
                self.show(now, worker, Seen::Alive);
            }
        }
    }

    /// A worker that drains leaves with its last request.
    fn leave_if_drained(&mut self, now: Duration, worker: usize) {
        let state = &self.workers[worker];
        if state.is_up() && !state.takes_work() && state.active() == 0 {
            self.workers[worker].kill();
            self.show(now, worker, Seen::Left);
        }
    }

    fn show(&mut self, now: Duration, worker: usize, seen: Seen) {
        self.policy.member_changed(now, worker, self.workers[worker].boot(), seen);
    }

    fn origin(&self, gateway: usize, worker: usize) -> Option<NodeId> {
        let shape = self.shape();
        (!shape.is_here(gateway, worker)).then(|| id_of(shape.node_of_gateway(gateway)))
    }

    fn way(&self, gateway: usize, worker: usize) -> Duration {
        if self.shape().is_here(gateway, worker) { Duration::ZERO } else { self.setup.one_way }
    }

    const fn shape(&self) -> Shape {
        self.setup.scenario.shape
    }
}

/// Whether two records differ in nothing but their age.
fn says_the_same(one: &LoadRecord, other: &LoadRecord) -> bool {
    let said = |record: &LoadRecord| {
        (record.boot, record.active, record.limit, record.is_draining, record.yours)
    };
    said(one) == said(other)
}
