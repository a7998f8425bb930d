//! The clock, the agenda, and what a test can do to the nodes.
//!
//! Owns the nodes and what happens to them. Their hosts are played in `host`. Refuses to hold a rule
//! of the protocol.

mod host;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use astromesh_swim::{Claim, Command, Config, Engine, Event, Instant, Member, Origin};
use astromesh_wire::{ClusterTag, NodeId, State};
use bytes::BytesMut;
use rustc_hash::FxHashMap;

use crate::agenda::Agenda;
use crate::checks::{Checks, Violation};
use crate::faults::Faults;
use crate::join::{Phase, Seeker};
use crate::ledger::{Crash, FalseDeath, Ledger};
use crate::network::{FAULT_MEMORY, Network, NetworkConfig};
use crate::node::{self, Node, Pace, Status};
use crate::payload::{Payload, Payloads};
use host::Letter;

/// What a world is made of.
#[derive(Debug, Clone, Default)]
pub struct WorldConfig {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// What the network does to datagrams.
    pub network: NetworkConfig,
    /// Settings of every engine.
    pub engine: Config,
}

/// Something that an engine reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// When, by the world's clock.
    pub at: Instant,
    /// In whose view.
    pub observer: usize,
    /// What.
    pub event: Event,
}

/// N nodes, one clock, one network.
#[derive(Debug)]
pub struct World {
    config: WorldConfig,
    now: Instant,
    nodes: Vec<Node>,
    seeds: Vec<usize>,
    by_address: BTreeMap<SocketAddr, usize>,
    by_id: FxHashMap<NodeId, usize>,
    network: Network,
    agenda: Agenda<Happening>,
    payloads: Payloads,
    rng: fastrand::Rng,
    buffer: BytesMut,
    transcript: u64,
    checks: Checks,
    ledger: Ledger,
    faults: Faults,
    observations: Vec<Observation>,
}

/// Observations kept; later ones are dropped. Far above what any test looks at.
pub const OBSERVATIONS_MAX: usize = 4_000_000;

/// The cluster all nodes belong to.
pub const CLUSTER: &str = "sim";

/// What lies on the agenda. Nodes are named by their index.
#[derive(Debug)]
enum Happening {
    Start(usize),
    /// A timer may be due.
    Wake(usize),
    /// The loop of a slow node turns.
    Turn(usize),
    /// A starved node gets to what has waited long enough.
    HandOver(usize),
    Datagram {
        to: u32,
        from: u32,
        payload: Payload,
    },
    Join {
        node: usize,
        run: u32,
        phase: Phase,
    },
    /// The process of a node that said goodbye ends.
    Exit {
        node: usize,
        run: u32,
    },
    Request(Box<Letter>),
    Answer(Box<Letter>),
}

impl World {
    /// An empty world.
    #[must_use]
    pub fn new(config: WorldConfig) -> Self {
        let mut rng = fastrand::Rng::with_seed(config.seed);
        let network = Network::new(config.network.clone(), rng.u64(..));
        Self {
            now: Instant::default(),
            nodes: Vec::new(),
            seeds: Vec::new(),
            by_address: BTreeMap::new(),
            by_id: FxHashMap::default(),
            network,
            agenda: Agenda::new(),
            payloads: Payloads::default(),
            rng,
            buffer: BytesMut::new(),
            transcript: host::TRANSCRIPT_START,
            checks: Checks::default(),
            ledger: Ledger::default(),
            faults: Faults::default(),
            observations: Vec::new(),
            config,
        }
    }

    /// `count` nodes that started together with node 0 as their seed, once all views are equal.
    ///
    /// # Panics
    /// When they are not equal within a minute.
    #[must_use]
    pub fn settled(config: WorldConfig, count: usize) -> Self {
        let mut world = Self::new(config);
        world.add(count);
        world.set_seeds([0, count.saturating_sub(1)]);
        for node in 0..count {
            world.start(node);
        }
        let equal = world.run_until(Duration::from_secs(60), Self::views_are_equal);
        assert!(equal.is_some(), "a mesh without faults settles");
        // Let the news of the start die down.
        world.run_for(Duration::from_secs(5));
        world
    }

    /// `count` nodes that know each other already, as after joining one by one long ago: each gets
    /// all records in one answer of a seed. For large meshes, where joining would be the long part.
    #[must_use]
    pub fn knit(config: WorldConfig, count: usize) -> Self {
        let mut world = Self::new(config);
        world.add(count);
        world.set_seeds([0, count.saturating_sub(1)]);
        let mut claims: Vec<Claim> = world.nodes.iter().map(Node::own_claim).collect();
        let seed_ids =
            world.seeds.iter().filter_map(|&seed| Some((seed, world.nodes.get(seed)?.id())));
        let seeds: BTreeMap<usize, NodeId> = seed_ids.collect();
        // The leader first, so that every view sees one election.
        claims.sort_unstable_by_key(|claim| std::cmp::Reverse(claim.record.id));
        for index in 0..count {
            world.start(index);
            let Some(node) = world.nodes.get_mut(index) else { break };
            node.seeker = Seeker::settled(seeds.clone(), count);
            let claims = claims.clone();
            let command = Command::Merge { claims, term: 0, origin: Origin::Join };
            node.engine.handle_command(world.now, command);
            // Nothing of this is news.
            while node.engine.poll_event().is_some() {}
            world.drain(index);
        }
        // Until the news of the start has died down.
        world.run_for(Duration::from_secs(5));
        world
    }

    /// Adds nodes that are not started yet; their indices follow those already there.
    pub fn add(&mut self, count: usize) {
        for index in self.nodes.len()..self.nodes.len() + count {
            let mut id = [0; 16];
            self.rng.fill(&mut id);
            let record = node::record(index, NodeId::from_bytes(id));
            self.by_address.insert(record.address, index);
            self.by_id.insert(record.id, index);
            let cluster = ClusterTag::of(CLUSTER);
            self.nodes.push(Node::new(self.now, self.config.engine.clone(), cluster, record));
        }
    }

    /// The nodes that every other node joins through, tried in turn.
    pub fn set_seeds(&mut self, seeds: impl IntoIterator<Item = usize>) {
        self.seeds = seeds.into_iter().collect();
    }

    /// Starts a node that is down: the first time, or again with its id and the next generation.
    pub fn start(&mut self, node: usize) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        if subject.status != Status::Down {
            return;
        }
        let mut record = subject.engine.local().record.unpack();
        if subject.run > 0 {
            record.generation = record.generation.saturating_add(1);
            record.incarnation = 0;
            record.revision = 1;
            self.faults.restarts += 1;
        }
        self.begin(node, record);
    }

    /// Starts a node that is down with a new id, under its old name and address.
    pub fn start_anew(&mut self, node: usize) {
        let Some(subject) = self.nodes.get(node) else { return };
        if subject.status != Status::Down {
            return;
        }
        let mut id = [0; 16];
        self.rng.fill(&mut id);
        self.faults.restarts_anew += 1;
        self.begin(node, node::record(node, NodeId::from_bytes(id)));
    }

    /// Starts a node after a while.
    pub fn start_after(&mut self, node: usize, delay: Duration) {
        self.agenda.add(self.now + delay, Happening::Start(node));
    }

    /// Kills a node: it says nothing, and what waits in its socket is gone.
    pub fn crash(&mut self, node: usize) {
        let Some(subject) = self.nodes.get(node) else { return };
        if subject.status == Status::Down {
            return;
        }
        if subject.takes_part() {
            self.faults.crashes += 1;
            let id = subject.id();
            let knows = |other: &Node| {
                other.takes_part() && other.engine.member(id).is_some_and(|seen| seen.is_live())
            };
            let others = self.nodes.iter().enumerate();
            let waiting = others.filter(|(index, other)| *index != node && knows(other));
            let waiting = waiting.map(|(index, _)| index).collect();
            self.ledger.crashed(self.now, node, id, waiting);
        }
        let Some(subject) = self.nodes.get_mut(node) else { return };
        subject.status = Status::Down;
        subject.turn_at = None;
        for waiting in std::mem::take(&mut subject.buffer) {
            self.payloads.drop_unread(waiting.payload);
        }
    }

    /// Makes a node say goodbye and end half a second later, as a process that is told to stop does.
    pub fn leave(&mut self, node: usize) {
        let Some(subject) = self.nodes.get(node) else { return };
        if subject.status != Status::Running || !subject.takes_part() {
            return;
        }
        self.faults.leaves += 1;
        let run = subject.run;
        self.command(node, Command::Leave);
        self.ledger.excused(self.now, node);
        self.agenda.add(self.now + FAREWELL, Happening::Exit { node, run });
    }

    /// Makes a node stand still; datagrams to it wait in its socket.
    pub fn pause(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node)
            && node.status == Status::Running
        {
            node.status = Status::Paused;
            self.faults.pauses += 1;
        }
    }

    /// Lets a node go on: what waited in its socket comes before its timers.
    pub fn resume(&mut self, node: usize) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        if subject.status != Status::Paused {
            return;
        }
        subject.status = Status::Running;
        subject.faulty_until = self.now + FAULT_MEMORY;
        self.empty_socket(node);
        self.agenda.add(self.now, Happening::Wake(node));
    }

    /// Changes how soon a node gets to what has happened. What waits in its socket is handed over.
    pub fn set_pace(&mut self, node: usize, pace: Pace) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        if subject.pace != Pace::Prompt {
            subject.faulty_until = self.now + FAULT_MEMORY;
        }
        subject.pace = pace;
        subject.turn_at = None;
        subject.wait = (Duration::ZERO, self.now);
        if subject.status == Status::Running {
            self.empty_socket(node);
            self.agenda.add(self.now, Happening::Wake(node));
        }
    }

    /// Makes a node's clock leap ahead, as that of a machine that slept.
    pub fn jump(&mut self, node: usize, by: Duration) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        subject.clock.leap(self.now, by);
        subject.faulty_until = self.now + FAULT_MEMORY;
        self.faults.jumps += 1;
        self.arm(node);
    }

    /// Makes a node's clock run fast (or slow, if negative) by as many millionths.
    pub fn drift(&mut self, node: usize, drift_ppm: i64) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        subject.clock.set_drift(self.now, drift_ppm);
        self.faults.drifts += u64::from(drift_ppm != 0);
        self.arm(node);
    }

    /// Ends all faults: nodes that stand still go on, all are prompt, the network is whole and loses
    /// nothing. Nodes that are down stay down.
    pub fn calm(&mut self) {
        self.network.heal();
        self.network.mend_nodes();
        self.network.set_loss(0.0);
        self.network.set_duplication(0.0);
        for node in 0..self.nodes.len() {
            if self.nodes.get(node).is_some_and(|node| node.pace != Pace::Prompt) {
                self.set_pace(node, Pace::Prompt);
            }
            self.resume(node);
        }
        // Nodes that never met can only meet at a seed.
        let seeds = self.seeds.clone();
        if let Some(&first) = seeds.first()
            && !seeds.iter().any(|&seed| self.is_running(seed))
        {
            self.start(first);
        }
    }

    /// Hands a command to a running node.
    pub fn command(&mut self, node: usize, command: Command) {
        if self.is_running(node) {
            self.with_engine(node, |engine, now| engine.handle_command(now, command));
        }
    }

    /// Hands a datagram to a node as if it came from `from`.
    pub fn inject(&mut self, node: usize, from: SocketAddr, bytes: &[u8]) {
        let payload = self.payloads.keep(bytes);
        self.deliver(node, from, payload);
    }

    /// The network, to cut and to heal.
    pub const fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some((at, what)) = self.agenda.next_until(end) {
            self.set_now(at);
            self.happen(what);
        }
        self.set_now(end);
    }

    /// Lets time pass until `holds`, looked at every 10 ms, or until `limit` has passed; the time it
    /// took, or `None`.
    pub fn run_until(
        &mut self,
        limit: Duration,
        holds: impl Fn(&Self) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        loop {
            if holds(self) {
                return Some(self.now.since(start));
            }
            if self.now.since(start) >= limit {
                return None;
            }
            self.run_for(LOOK_INTERVAL);
        }
    }

    /// The present.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The nodes by index.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What the engines reported, in order.
    #[must_use]
    pub fn observations(&self) -> &[Observation] {
        &self.observations
    }

    /// Hands over what the engines reported since the last time, so that none is ever dropped.
    pub fn take_observations(&mut self) -> Vec<Observation> {
        std::mem::take(&mut self.observations)
    }

    /// What was wrong so far.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.checks.violations()
    }

    /// What was done to the nodes and to their datagrams so far.
    #[must_use]
    pub fn faults(&self) -> Faults {
        let mut faults = self.faults;
        faults.add(self.network.faults());
        faults
    }

    /// The nodes killed so far, and when all knew.
    #[must_use]
    pub fn crashes(&self) -> &[Crash] {
        self.ledger.crashes()
    }

    /// The nodes declared dead so far that were not, by somebody on their side of all cuts. Each life
    /// counts once; a node that refutes and is declared dead again counts again.
    #[must_use]
    pub fn false_deaths(&self) -> &[FalseDeath] {
        self.ledger.false_deaths()
    }

    /// Times that a view counted a node as dead that was not, on the same side of all cuts, for
    /// itself alone: nobody else was told.
    #[must_use]
    pub const fn given_up(&self) -> u64 {
        self.ledger.falsely_given_up()
    }

    /// A hash of every datagram and event so far, with its time: equal for equal runs.
    #[must_use]
    pub const fn transcript(&self) -> u64 {
        self.transcript
    }

    /// Whether all nodes that take part see exactly each other, with equal digests and one leader.
    #[must_use]
    pub fn views_are_equal(&self) -> bool {
        self.differing().is_none()
    }

    /// Whether every other node that takes part shows this member in a state that `is_right`.
    #[must_use]
    pub fn all_see(&self, member: usize, is_right: impl Fn(Option<State>) -> bool) -> bool {
        let Some(id) = self.nodes.get(member).map(Node::id) else { return false };
        self.nodes
            .iter()
            .enumerate()
            .filter(|(index, node)| *index != member && node.takes_part())
            .all(|(_, node)| is_right(node.engine.member(id).map(|member| member.shown_state())))
    }

    /// Reports what must hold after a calm time, for [`World::violations`].
    pub fn expect_calm(&mut self) {
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.takes_part()) {
            self.checks.audit(self.now, index, &node.engine);
        }
        if let Some(violation) = self.differing() {
            self.checks.report(violation);
        }
    }

    /// Reports nodes that still have news to send: nobody has any for ever.
    pub fn expect_no_news(&mut self) {
        let alone = self.nodes.iter().filter(|node| node.takes_part()).count() < 2;
        for (index, node) in self.nodes.iter().enumerate().filter(|(_, node)| node.takes_part()) {
            if node.engine.has_news() && !alone {
                self.checks.report(Violation::NewsDoesNotEnd { node: index });
            }
        }
    }

    fn differing(&self) -> Option<Violation> {
        let running = || self.nodes.iter().enumerate().filter(|(_, node)| node.takes_part());
        let (_, first) = running().next()?;
        let (digest, leader) = (first.engine.digest(), first.engine.leader());
        let count = running().count();
        // The last one of a mesh has nobody to vote with: it gives the others up in its own view only.
        let is_alone = count == 1;
        for (observer, node) in running() {
            let has_as_many = is_alone || node.engine.live_count() == count;
            if node.engine.digest() != digest || !has_as_many {
                return Some(Violation::ViewsDiffer { observer });
            }
            if node.engine.leader() != leader {
                return Some(Violation::LeadersDiffer { observer });
            }
        }
        // As many as take part are live in each view: they are the same if each takes part.
        let takes_part = |id: NodeId| {
            let subject = self.by_id.get(&id).and_then(|&index| self.nodes.get(index));
            subject.is_some_and(|node| node.takes_part() && node.id() == id)
        };
        for (observer, node) in running() {
            let mut live = node.engine.members().filter(|member| member.is_live());
            let is_right = |member: &Member| {
                if member.is_shown_live() { takes_part(member.record.id) } else { is_alone }
            };
            if !live.all(is_right) {
                return Some(Violation::ViewsDiffer { observer });
            }
        }
        None
    }

    fn begin(&mut self, node: usize, record: astromesh_swim::OwnedRecord) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        let (cluster, seed) = (ClusterTag::of(CLUSTER), self.rng.u64(..));
        let at = subject.clock.read(self.now);
        self.by_id.insert(record.id, node);
        subject.engine = Engine::new(at, self.config.engine.clone(), cluster, record, seed);
        subject.status = Status::Running;
        subject.run += 1;
        subject.seeker = Seeker::new();
        subject.wake_at = None;
        let run = subject.run;
        self.checks.started(node);
        self.ledger.restarted(node);
        self.agenda.add(self.now, Happening::Join { node, run, phase: Phase::Ask });
        self.drain(node);
    }

    fn is_running(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.status == Status::Running)
    }

    const fn set_now(&mut self, now: Instant) {
        if now.as_micros() > self.now.as_micros() {
            self.now = now;
            self.network.set_now(now);
        }
    }
}

const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// How long a process that is told to stop still answers, so that its goodbye is heard.
const FAREWELL: Duration = Duration::from_millis(500);
