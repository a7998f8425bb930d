//! The clock, the agenda, and what a test can do to the nodes.
//!
//! Owns the nodes and plays their hosts: hands over datagrams and timers, drains the engines, joins
//! through seeds, exchanges views. Refuses to hold a rule of the protocol.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use astromesh_swim::{Change, Claim, Command, Config, Engine, Event, Instant, Origin};
use astromesh_wire::{ClusterTag, NodeId};
use bytes::BytesMut;

use crate::checks::{Checks, Violation};
use crate::network::{Network, NetworkConfig};
use crate::node::{self, Node, Status};

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
    /// When.
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
    network: Network,
    agenda: BinaryHeap<Entry>,
    /// Breaks ties in the agenda: first come, first served.
    next_order: u64,
    rng: fastrand::Rng,
    buffer: BytesMut,
    transcript: u64,
    checks: Checks,
    observations: Vec<Observation>,
}

/// Observations kept; later ones are dropped. Far above what any test looks at.
pub const OBSERVATIONS_MAX: usize = 4_000_000;

/// The cluster all nodes belong to.
pub const CLUSTER: &str = "sim";

#[derive(Debug)]
struct Entry {
    at: Instant,
    order: u64,
    what: Happening,
}

#[derive(Debug)]
enum Happening {
    Start(usize),
    Wake(usize),
    Datagram { to: usize, from: SocketAddr, bytes: Box<[u8]> },
    Join { node: usize, run: u32 },
    Request(Letter),
    Answer(Letter),
}

/// An HTTP request or answer: the claims of one node, on the way to another.
#[derive(Debug)]
struct Letter {
    from: usize,
    to: usize,
    /// The run of the node that asked.
    run: u32,
    claims: Vec<Claim>,
    term: u64,
    /// How the node that asked takes the answer.
    origin: Origin,
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
            network,
            agenda: BinaryHeap::new(),
            next_order: 0,
            rng,
            buffer: BytesMut::new(),
            transcript: FNV_OFFSET,
            checks: Checks::default(),
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

    /// Adds nodes that are not started yet; their indices follow those already there.
    pub fn add(&mut self, count: usize) {
        for index in self.nodes.len()..self.nodes.len() + count {
            let mut id = [0; 16];
            self.rng.fill(&mut id);
            let record = node::record(index, NodeId::from_bytes(id));
            self.by_address.insert(record.address, index);
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
        self.begin(node, node::record(node, NodeId::from_bytes(id)));
    }

    /// Starts a node after a while.
    pub fn start_after(&mut self, node: usize, delay: Duration) {
        self.schedule(self.now + delay, Happening::Start(node));
    }

    /// Kills a node: it says nothing, and what waits in its socket is gone.
    pub fn crash(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.status = Status::Down;
            node.buffer.clear();
        }
    }

    /// Makes a node stand still; datagrams to it wait in its socket.
    pub fn pause(&mut self, node: usize) {
        if let Some(node) = self.nodes.get_mut(node)
            && node.status == Status::Running
        {
            node.status = Status::Paused;
        }
    }

    /// Lets a node go on: what waited in its socket comes before its timers.
    pub fn resume(&mut self, node: usize) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        if subject.status != Status::Paused {
            return;
        }
        subject.status = Status::Running;
        let waiting = std::mem::take(&mut subject.buffer);
        for (from, bytes) in waiting {
            self.with_engine(node, |engine, now| engine.handle_datagram(now, from, &bytes));
        }
        self.schedule(self.now, Happening::Wake(node));
    }

    /// Hands a command to a running node.
    pub fn command(&mut self, node: usize, command: Command) {
        if self.is_running(node) {
            self.with_engine(node, |engine, now| engine.handle_command(now, command));
        }
    }

    /// Hands a datagram to a node as if it came from `from`.
    pub fn inject(&mut self, node: usize, from: SocketAddr, bytes: &[u8]) {
        self.deliver(node, from, bytes.into());
    }

    /// The network, to cut and to heal.
    pub const fn network_mut(&mut self) -> &mut Network {
        &mut self.network
    }

    /// Lets time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.agenda.peek().is_some_and(|entry| entry.at <= end) {
            self.step();
        }
        self.now = end;
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

    /// Whether every other node that takes part sees this member in a state that `is_right`.
    #[must_use]
    pub fn all_see(
        &self,
        member: usize,
        is_right: impl Fn(Option<astromesh_wire::State>) -> bool,
    ) -> bool {
        let Some(id) = self.nodes.get(member).map(Node::id) else { return false };
        self.nodes
            .iter()
            .enumerate()
            .filter(|(index, node)| *index != member && node.takes_part())
            .all(|(_, node)| is_right(node.engine.member(id).map(|member| member.state)))
    }

    /// Reports what must hold after a calm time, for [`World::violations`].
    pub fn expect_calm(&mut self) {
        if let Some(violation) = self.differing() {
            self.checks.report(violation);
        }
    }

    fn differing(&self) -> Option<Violation> {
        let running = || self.nodes.iter().enumerate().filter(|(_, node)| node.takes_part());
        let (_, first) = running().next()?;
        let (digest, leader) = (first.engine.digest(), first.engine.leader());
        let count = running().count();
        for (observer, node) in running() {
            if node.engine.digest() != digest || node.engine.live_count() != count {
                return Some(Violation::ViewsDiffer { observer });
            }
            if node.engine.leader() != leader {
                return Some(Violation::LeadersDiffer { observer });
            }
        }
        let expected: BTreeSet<NodeId> = running().map(|(_, node)| node.id()).collect();
        for (observer, node) in running() {
            let others = node.engine.members().filter(|member| member.is_live());
            let seen: BTreeSet<NodeId> =
                others.map(|member| member.record.id).chain([node.id()]).collect();
            if seen != expected {
                return Some(Violation::ViewsDiffer { observer });
            }
        }
        None
    }

    fn begin(&mut self, node: usize, record: astromesh_swim::OwnedRecord) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        let (cluster, seed) = (ClusterTag::of(CLUSTER), self.rng.u64(..));
        subject.engine = Engine::new(self.now, self.config.engine.clone(), cluster, record, seed);
        subject.status = Status::Running;
        subject.run += 1;
        subject.joined = false;
        subject.wake_at = None;
        let run = subject.run;
        self.checks.started(node);
        self.schedule(self.now, Happening::Join { node, run });
        self.drain(node);
    }

    fn step(&mut self) {
        let Some(Entry { at, what, .. }) = self.agenda.pop() else { return };
        self.now = self.now.max(at);
        match what {
            Happening::Start(node) => self.start(node),
            Happening::Wake(node) => self.wake(node),
            Happening::Datagram { to, from, bytes } => self.deliver(to, from, bytes),
            Happening::Join { node, run } => self.join(node, run),
            Happening::Request(letter) => self.requested(letter),
            Happening::Answer(letter) => self.answered(letter),
        }
    }

    fn wake(&mut self, node: usize) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        if subject.wake_at.is_some_and(|at| at <= self.now) {
            subject.wake_at = None;
        }
        if subject.status != Status::Running {
            return;
        }
        self.with_engine(node, Engine::handle_timeout);
        if let Some(subject) = self.nodes.get(node) {
            self.checks.woken(self.now, node, &subject.engine);
        }
    }

    fn deliver(&mut self, node: usize, from: SocketAddr, bytes: Box<[u8]>) {
        let Some(subject) = self.nodes.get_mut(node) else { return };
        match subject.status {
            Status::Down => {}
            Status::Paused => subject.wait(from, bytes),
            Status::Running => {
                self.with_engine(node, |engine, now| engine.handle_datagram(now, from, &bytes));
            }
        }
    }

    /// Asks the next seed, and goes on until one has answered.
    fn join(&mut self, node: usize, run: u32) {
        let Some(subject) = self.nodes.get(node) else { return };
        if subject.run != run || subject.status == Status::Down || subject.joined {
            return;
        }
        let others: Vec<usize> = self.seeds.iter().copied().filter(|&seed| seed != node).collect();
        if others.is_empty() {
            return;
        }
        let jitter = JOIN_RETRY_JITTER.mul_f64(self.rng.f64());
        self.schedule(self.now + JOIN_RETRY + jitter, Happening::Join { node, run });
        let Some(&seed) = self.rng.choice(&others) else { return };
        if self.is_running(node)
            && let Some(subject) = self.nodes.get(node)
        {
            let (claims, term) = (vec![subject.own_claim()], subject.engine.term());
            let origin = Origin::Join;
            self.post(
                Letter { from: node, to: seed, run, claims, term, origin },
                Happening::Request,
            );
        }
    }

    /// The engine asked for a comparison of views.
    fn exchange(&mut self, node: usize, with: NodeId) {
        let Some(peer) = self.nodes.iter().position(|other| other.id() == with) else { return };
        let Some(subject) = self.nodes.get(node) else { return };
        let (claims, term, run) = (subject.claims(), subject.engine.term(), subject.run);
        let origin = Origin::Sync;
        self.post(Letter { from: node, to: peer, run, claims, term, origin }, Happening::Request);
    }

    /// HTTP arrives if both directions are open and both processes run; else nobody hears of it.
    fn post(&mut self, letter: Letter, wrap: impl FnOnce(Letter) -> Happening) {
        if self.network.passes(letter.from, letter.to)
            && self.network.passes(letter.to, letter.from)
        {
            let delay = HTTP_DELAY_MIN + HTTP_DELAY_SPREAD.mul_f64(self.rng.f64());
            self.schedule(self.now + delay, wrap(letter));
        }
    }

    fn requested(&mut self, letter: Letter) {
        if !self.is_running(letter.to) {
            return;
        }
        let Letter { from, to, run, claims, term, origin } = letter;
        let Some(subject) = self.nodes.get(to) else { return };
        let answer = Letter {
            from: to,
            to: from,
            run,
            claims: subject.claims(),
            term: subject.engine.term(),
            origin,
        };
        let command = Command::Merge { claims, term, origin: Origin::Unasked };
        self.with_engine(to, |engine, now| engine.handle_command(now, command));
        self.post(answer, Happening::Answer);
    }

    fn answered(&mut self, letter: Letter) {
        let Letter { to, run, claims, term, origin, .. } = letter;
        let Some(subject) = self.nodes.get_mut(to) else { return };
        if subject.run != run || subject.status != Status::Running {
            return;
        }
        subject.joined |= origin == Origin::Join;
        let command = Command::Merge { claims, term, origin };
        self.with_engine(to, |engine, now| engine.handle_command(now, command));
    }

    fn with_engine(&mut self, node: usize, action: impl FnOnce(&mut Engine, Instant)) {
        if let Some(subject) = self.nodes.get_mut(node) {
            action(&mut subject.engine, self.now);
            self.drain(node);
        }
    }

    /// What a host does after each call of an engine.
    fn drain(&mut self, node: usize) {
        let mut wanted = Vec::new();
        let mut reported = false;
        let Some(subject) = self.nodes.get_mut(node) else { return };
        while let Some(to) = subject.engine.poll_transmit(&mut self.buffer) {
            self.checks.sent(node, self.buffer.len());
            note(&mut self.transcript, &self.now.as_micros().to_be_bytes());
            note(&mut self.transcript, &self.buffer);
            let Some(&peer) = self.by_address.get(&to) else { continue };
            for delay in self.network.deliveries(node, peer) {
                let from = subject.engine.local().record.address();
                let bytes = Box::from(self.buffer.as_ref());
                let what = Happening::Datagram { to: peer, from, bytes };
                self.next_order += 1;
                self.agenda.push(Entry { at: self.now + delay, order: self.next_order, what });
            }
        }
        while let Some(event) = subject.engine.poll_event() {
            reported = true;
            note(&mut self.transcript, format!("{node} {event:?}").as_bytes());
            match event {
                Event::SyncWanted(with) => wanted.push(with),
                Event::Member { id, change: Change::Reaped } => self.checks.reaped(node, id),
                Event::Member { .. }
                | Event::Leader { .. }
                | Event::Verdict(_)
                | Event::Generation(_)
                | Event::OwnIdSeen(_) => {}
            }
            if self.observations.len() < OBSERVATIONS_MAX {
                self.observations.push(Observation { at: self.now, observer: node, event });
            }
        }
        self.checks.look(node, &subject.engine, reported);
        if let Some(due) = subject.engine.poll_timeout()
            && subject.wake_at.is_none_or(|at| due < at)
        {
            subject.wake_at = Some(due);
            self.schedule(due, Happening::Wake(node));
        }
        for with in wanted {
            self.exchange(node, with);
        }
    }

    fn is_running(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.status == Status::Running)
    }

    fn schedule(&mut self, at: Instant, what: Happening) {
        self.next_order += 1;
        self.agenda.push(Entry { at, order: self.next_order, what });
    }
}

impl Ord for Entry {
    /// The earliest is the greatest, as a [`BinaryHeap`] wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

/// FNV-1a with 64 bits.
fn note(hash: &mut u64, bytes: &[u8]) {
    for &byte in bytes {
        *hash = (*hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
    }
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

const LOOK_INTERVAL: Duration = Duration::from_millis(10);
const JOIN_RETRY: Duration = Duration::from_millis(800);
const JOIN_RETRY_JITTER: Duration = Duration::from_millis(400);
const HTTP_DELAY_MIN: Duration = Duration::from_millis(2);
const HTTP_DELAY_SPREAD: Duration = Duration::from_millis(8);
