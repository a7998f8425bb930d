//! What a known member costs, and that a datagram allocates nothing once everything is warm.
//!
//! One test in a binary of its own: it counts whatever this process allocates.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that prints its figures")]

use std::alloc::System;
use std::net::SocketAddr;
use std::time::Duration;

use astromesh_swim::{Claim, Command, Config, Engine, Instant, Origin, OwnedRecord};
use astromesh_wire::metadata::{Agent, Agents, Metadata, Service};
use astromesh_wire::{
    Bucket, ClusterTag, Datagram, Encoder, Load, LoadRecord, Message, NodeId, ShortId, State,
    StateUpdate, Update,
};
use bytes::BytesMut;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const CLUSTER: &str = "memory";
const MEMBERS: u32 = 10_000;

/// What a member may cost, all indexes included.
const MEMBER_BYTES_MAX: usize = 160;

/// Datagrams of each kind until all queues have grown to what they need, and those that are counted.
const WARM_UP: u32 = 30_000;
const COUNTED: u32 = 10_000;

#[test]
fn a_member_costs_at_most_160_bytes_and_a_datagram_allocates_nothing() {
    let at_once = member_bytes(|node| {
        let claims: Vec<Claim> = (0..MEMBERS).map(claim).collect();
        node.command(Command::Merge { claims, term: 0, origin: Origin::Join });
    });
    let one_by_one = member_bytes(|node| {
        for number in 0..MEMBERS {
            let claims = vec![claim(number)];
            node.command(Command::Merge { claims, term: 0, origin: Origin::Join });
        }
        // Until the news of them is over.
        node.run(Duration::from_secs(2 * 3_600));
        assert!(!node.engine.has_news());
    });
    println!("bytes per member, {MEMBERS} members at once: {at_once}; one by one: {one_by_one}");

    let mut node = Node::alone();
    let claims: Vec<Claim> = (0..MEMBERS).map(claim).collect();
    node.command(Command::Merge { claims, term: 0, origin: Origin::Join });
    let mut found = Vec::new();
    for kind in Kind::ALL {
        for number in 0..WARM_UP {
            node.take(kind, number);
        }
        let mut allocations = 0;
        for number in WARM_UP..WARM_UP + COUNTED {
            allocations += node.take(kind, number);
        }
        println!("allocations in {COUNTED} datagrams, {kind:?}: {allocations}");
        found.push((kind, allocations));
    }

    let stats = node.engine.stats();
    assert!(stats.probes > 1_000 && stats.probes_failed == 0, "it has probed: {stats:?}");
    assert_eq!(stats.refused_relays_full, 0, "it has relayed");
    let beacons = u64::from(WARM_UP + COUNTED);
    assert_eq!((stats.beacons_received, stats.beacons_sent), (beacons, beacons));
    assert!(at_once <= MEMBER_BYTES_MAX);
    assert!(one_by_one <= MEMBER_BYTES_MAX);
    assert!(found.iter().all(|(_, allocations)| *allocations == 0), "{found:?}");
}

/// What a datagram asks of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ping,
    PingWithKnownUpdate,
    PingWithNewUpdate,
    /// A probe of its own is answered; the time that passes until then is counted as well.
    AckOfOwnProbe,
    /// As many known states and records as fit.
    GossipFullOfKnownUpdates,
    /// It pings for another member and passes the answer on.
    RelayedPing,
    /// It hears how busy the other is, and says the same of itself.
    Beacon,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Ping,
        Self::PingWithKnownUpdate,
        Self::PingWithNewUpdate,
        Self::AckOfOwnProbe,
        Self::GossipFullOfKnownUpdates,
        Self::RelayedPing,
        Self::Beacon,
    ];
}

/// What the members cost that `meet` makes a node know, in bytes per member.
fn member_bytes(meet: impl FnOnce(&mut Node)) -> usize {
    let mut node = Node::alone();
    let region = Region::new(ALLOCATOR);
    meet(&mut node);
    let change = region.change();
    assert_eq!(node.engine.members().count(), at(MEMBERS));
    let held = (change.bytes_allocated - change.bytes_deallocated) / at(MEMBERS);
    drop(node);
    held
}

fn allocated(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.allocations + change.reallocations
}

fn at(number: u32) -> usize {
    usize::try_from(number).unwrap()
}

fn id(number: u32) -> NodeId {
    let [a, b, c, d] = number.wrapping_mul(2_654_435_761).to_be_bytes();
    NodeId::from_bytes([a, b, c, d, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16])
}

fn address(number: u32) -> SocketAddr {
    let [_, b, c, d] = number.to_be_bytes();
    ([10, b, c, d], 8000).into()
}

/// A member as a daemon announces it: named by rack and number, a worker or an inference node.
fn record(number: u32) -> OwnedRecord {
    let services = match number % 4 {
        0 => vec![Service::Api, Service::Inference],
        _ => vec![Service::Api, Service::Agents, Service::Tools],
    };
    let agents = Agents::Listed(vec![
        Agent { name: "support".to_owned(), is_idempotent: true },
        Agent::named(format!("research-{}", number % 16)),
    ]);
    OwnedRecord {
        id: id(number),
        generation: 1,
        incarnation: 0,
        revision: 1,
        address: address(number),
        name: format!("gpu-worker-r{:03}-{number:05}", number / 40),
        metadata: Metadata { http_port: 8000, services, agents }.encode().into(),
    }
}

fn claim(number: u32) -> Claim {
    Claim { record: record(number), state: State::Alive, load: Load::default(), load_sequence: 0 }
}

/// The node under test.
struct Node {
    engine: Engine,
    now: Instant,
    /// What it sends, and what is sent to it.
    sent: BytesMut,
    received: BytesMut,
    /// Pings that it has sent and not had answered: to whom, with which sequence.
    pings: Vec<(ShortId, SocketAddr, u16)>,
}

impl Node {
    fn alone() -> Self {
        let now = Instant::default();
        let (config, cluster) = (Config::default(), ClusterTag::of(CLUSTER));
        let engine = Engine::new(now, config, cluster, record(MEMBERS), 1);
        let (sent, received) = (BytesMut::with_capacity(2_048), BytesMut::with_capacity(2_048));
        Self { engine, now, sent, received, pings: Vec::with_capacity(4_096) }
    }

    fn command(&mut self, command: Command) {
        self.engine.handle_command(self.now, command);
        self.drain();
    }

    /// Time passes, and all pings are answered.
    fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.engine.handle_timeout(self.now);
            self.drain();
            self.answer_all();
        }
        self.now = end;
    }

    fn answer_all(&mut self) {
        while let Some((sender, from, sequence)) = self.pings.pop() {
            let message = Message::Ack { sequence, digest: self.engine.digest(), slot_ms: None };
            self.write(sender, &message, &[]);
            self.receive(from);
        }
    }

    /// Takes in a datagram of a kind; the allocations of the node itself are counted.
    fn take(&mut self, kind: Kind, number: u32) -> usize {
        let (sender, subject) = (number.wrapping_mul(7) % MEMBERS, (number + 1) % MEMBERS);
        let from = address(sender);
        let sequence = u16::try_from(number % 65_536).unwrap();
        let target = self.engine.local().id();
        let digest = self.engine.digest();
        let ping = Message::Ping { target, sequence, digest, wants_slot: true };
        let known = Update::State(self.state_of(subject, 0));
        match kind {
            Kind::Ping => self.write(id(sender).short(), &ping, &[]),
            Kind::PingWithKnownUpdate => self.write(id(sender).short(), &ping, &[known]),
            Kind::PingWithNewUpdate => {
                let news = Update::State(self.state_of(subject, 1));
                self.write(id(sender).short(), &ping, &[news]);
            }
            Kind::GossipFullOfKnownUpdates => {
                let records: Vec<OwnedRecord> = (0..8).map(|more| record(subject + more)).collect();
                let records = records.iter().map(|record| Update::Record(record.borrow()));
                let updates: Vec<Update<'_>> =
                    records.chain(std::iter::repeat_n(known, 150)).collect();
                self.write(id(sender).short(), &Message::Gossip, &updates);
            }
            Kind::RelayedPing => {
                let target = id(subject).short();
                self.write(id(sender).short(), &Message::PingReq { target, sequence }, &[]);
            }
            Kind::Beacon => {
                let record = LoadRecord { boot: 1, sequence: number, ..LoadRecord::default() };
                self.write(id(sender).short(), &Message::Beacon { target, record }, &[]);
                let region = Region::new(ALLOCATOR);
                self.receive(from);
                self.command(Command::Beacon { to: id(sender), record });
                return allocated(&region);
            }
            Kind::AckOfOwnProbe => {
                let region = Region::new(ALLOCATOR);
                self.run(Duration::from_millis(200));
                return allocated(&region);
            }
        }
        let region = Region::new(ALLOCATOR);
        self.receive(from);
        self.answer_all();
        let allocations = allocated(&region);
        if kind == Kind::RelayedPing {
            // Relays are forgotten after a while.
            self.run(Duration::from_millis(10));
        }
        allocations
    }

    fn state_of(&self, number: u32, raised_by: u32) -> StateUpdate {
        let member = self.engine.member(id(number)).unwrap();
        StateUpdate {
            id: member.id(),
            state: State::Alive,
            accuser: Bucket::default(),
            generation: 1,
            incarnation: member.record.incarnation + raised_by,
        }
    }

    /// Writes what is sent to it next.
    fn write(&mut self, sender: ShortId, message: &Message, updates: &[Update<'_>]) {
        let mut encoder = Encoder::begin(&mut self.received, sender, message);
        for update in updates {
            if encoder.push(update).is_err() {
                break;
            }
        }
        encoder.finish(ClusterTag::of(CLUSTER));
    }

    fn receive(&mut self, from: SocketAddr) {
        self.engine.handle_datagram(self.now, from, &self.received);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(to) = self.engine.poll_transmit(&mut self.sent) {
            let datagram = Datagram::decode(&self.sent, ClusterTag::of(CLUSTER)).unwrap();
            if let Message::Ping { target, sequence, .. } = datagram.message {
                self.pings.push((target, to, sequence));
            }
        }
        while self.engine.poll_event().is_some() {}
    }
}
