//! One example of every message and update, from which golden files and damage tests are made.
//!
//! The values are chosen for the eye: ids repeat one byte, and numbers show each width of an
//! integer once.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use astromesh_wire::update::PARTS;
use astromesh_wire::{
    Agent, Agents, Ballot, Bucket, ClusterTag, Content, Encoder, Entry, Evidence, Incarnation,
    Load, LoadRecord, Message, Metadata, NodeId, Range, Record, Service, ShortId, State,
    StateUpdate, Update, Vote,
};
use bytes::BytesMut;

/// The cluster of all examples.
pub(crate) fn cluster() -> ClusterTag {
    ClusterTag::of("default")
}

/// The sender of all examples.
pub(crate) const SENDER: ShortId = ShortId::from_bytes([0x11; 5]);

/// Who is pinged, accused or asked about.
pub(crate) const MEMBER: ShortId = ShortId::from_bytes([0x22; 5]);

/// The id of the node that the records are about.
pub(crate) const NODE: NodeId = NodeId::from_bytes([
    0x0b, 0x6f, 0x3c, 0x1e, 0x8d, 0x3a, 0x4f, 0x6e, 0x9a, 0x51, 0x2f, 0x0c, 0x7d, 0x9e, 0x1b, 0x42,
]);

/// A datagram with the name of its golden file.
#[derive(Debug)]
pub(crate) struct Sample {
    /// File name without `.hex`.
    pub(crate) name: &'static str,
    /// What it shows; the first line of the file.
    pub(crate) about: &'static str,
    pub(crate) message: Message,
    pub(crate) updates: Vec<Update<'static>>,
}

impl Sample {
    /// The bytes as [`Encoder`] writes them, and where each of their parts ends.
    pub(crate) fn encode(&self) -> (Vec<u8>, Vec<usize>) {
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, SENDER, &self.message);
        let full = encoder.room();
        let message_end = 1_200 - 4 - full;
        let mut ends = vec![7, message_end];
        for update in &self.updates {
            encoder.push(update).unwrap();
            ends.push(message_end + full - encoder.room());
        }
        encoder.finish(cluster());
        ends.push(buffer.len());
        ends.dedup();
        (buffer.to_vec(), ends)
    }
}

/// A dead-update about [`MEMBER`] with numbers below 251, hence of the usual size.
pub(crate) fn dead() -> Update<'static> {
    state(State::Dead, 3, 1)
}

/// The bytes of `content` as a datagram of [`cluster`], whatever they are.
pub(crate) fn with_checksum(content: &[u8]) -> Vec<u8> {
    let checksum = crc32fast::hash(content) ^ crc32fast::hash(b"default");
    [content, &checksum.to_be_bytes()].concat()
}

fn state(state: State, generation: u32, incarnation: u32) -> Update<'static> {
    let accuser = match state {
        State::Suspect | State::Dead => Bucket::of(SENDER),
        State::Alive | State::Left => Bucket::default(),
    };
    Update::State(StateUpdate { id: MEMBER, state, accuser, generation, incarnation })
}

fn record(address: SocketAddr, metadata: &'static [u8]) -> Record<'static> {
    Record {
        id: NODE,
        state: State::Alive,
        gone_for_s: 0,
        generation: 3,
        incarnation: 0,
        revision: 1,
        address,
        name: "worker-1",
        metadata,
    }
}

/// Port 8000, services `api` and `agents`, agents `a` and `b`: what [`listed`] encodes to.
const METADATA: &[u8] = &[0x1f, 0x40, 0x03, 0x00, 0x02, 0x01, b'a', 0x01, b'b'];

/// Metadata with its agents.
pub(crate) fn listed() -> Metadata {
    Metadata {
        http_port: 8_000,
        services: vec![Service::Api, Service::Agents],
        agents: Agents::Listed(vec![Agent::named("a"), Agent::named("b")]),
    }
}

/// The same with one idempotent agent.
pub(crate) fn marked() -> Metadata {
    let idempotent = Agent { is_idempotent: true, ..Agent::named("b") };
    Metadata { agents: Agents::Listed(vec![Agent::named("a"), idempotent]), ..listed() }
}

/// Metadata of a node with more agents than fit, and with all services.
pub(crate) fn elsewhere() -> Metadata {
    Metadata { http_port: 8_000, services: Service::ALL.to_vec(), agents: Agents::Elsewhere }
}

/// Every message once, then every update once.
pub(crate) fn all() -> Vec<Sample> {
    let mut samples = messages();
    samples.extend(updates());
    samples.extend(records());
    samples.extend(about_views());
    samples.push(Sample {
        name: "ack-with-updates",
        about: "ack that carries two updates: suspect with bucket 17, and a load",
        message: Message::Ack { sequence: 7, digest: 0xdead_beef, slot_ms: None },
        updates: vec![state(State::Suspect, 3, 1), load()],
    });
    samples
}

fn messages() -> Vec<Sample> {
    let plain = |name, about, message| Sample { name, about, message, updates: Vec::new() };
    vec![
        plain(
            "ping",
            "ping: target 22.., sequence 7, digest deadbeef",
            Message::Ping { target: MEMBER, sequence: 7, digest: 0xdead_beef, wants_slot: false },
        ),
        plain(
            "ack",
            "ack: sequence 7, digest deadbeef",
            Message::Ack { sequence: 7, digest: 0xdead_beef, slot_ms: None },
        ),
        plain(
            "ping-req",
            "ping-req: target 22.., sequence 500",
            Message::PingReq { target: MEMBER, sequence: 500 },
        ),
        plain("nack", "nack: sequence 500", Message::Nack { sequence: 500 }),
        plain("gossip", "gossip without an update: the shortest datagram", Message::Gossip),
        plain("query", "query: subject 22..", Message::Query { subject: MEMBER }),
        plain(
            "ping-wants-slot",
            "ping: the same, and the sender wants to know its slot",
            Message::Ping { target: MEMBER, sequence: 7, digest: 0xdead_beef, wants_slot: true },
        ),
        plain(
            "ack-with-slot",
            "ack: the same, and the next ping is wanted in 1,500 ms",
            Message::Ack { sequence: 7, digest: 0xdead_beef, slot_ms: Some(1_500) },
        ),
        plain(
            "solicit",
            "solicit: subject 22.. at generation 3, incarnation 1, accused for 800 ms",
            Message::Solicit { subject: subject(3, 1), age_ms: 800 },
        ),
        plain(
            "vote-no",
            "vote: no, about subject 22.. at generation 3, incarnation 1",
            Message::Vote { subject: subject(3, 1), vote: Vote::No },
        ),
        plain(
            "vote-alive",
            "vote: alive, about generation 300 (in three bytes), incarnation 70,000 (in five)",
            Message::Vote { subject: subject(300, 70_000), vote: Vote::Alive },
        ),
        plain(
            "vote-abstain",
            "vote: abstain, about subject 22.. at generation 3, incarnation 1",
            Message::Vote { subject: subject(3, 1), vote: Vote::Abstain },
        ),
        plain(
            "beacon",
            "beacon: to 22.., boot 3, counted 90,000 ms after the start, 4 runs of which 1 is 22..'s",
            Message::Beacon { target: MEMBER, record: load_record() },
        ),
        plain(
            "beacon-draining",
            "beacon: limit 300 (in three bytes), draining, 4 runs, none told apart",
            Message::Beacon {
                target: MEMBER,
                record: LoadRecord { limit: 300, is_draining: true, yours: None, ..load_record() },
            },
        ),
    ]
}

/// A gossip with nothing but this.
fn gossip(name: &'static str, about: &'static str, update: Update<'static>) -> Sample {
    Sample { name, about, message: Message::Gossip, updates: vec![update] }
}

fn updates() -> Vec<Sample> {
    vec![
        gossip(
            "alive",
            "alive: generation 300 (in three bytes), incarnation 70,000 (in five)",
            state(State::Alive, 300, 70_000),
        ),
        gossip(
            "suspect",
            "suspect: accuser bucket 17, generation 250 (in one byte), incarnation 251 (in three)",
            state(State::Suspect, 250, 251),
        ),
        gossip("dead", "dead: accuser bucket 17, generation 3, incarnation 1", dead()),
        gossip("left", "left: generation 3, incarnation 1", state(State::Left, 3, 1)),
        gossip("load", "load: generation 3, sequence 9, 2 requests, CPU 35 %, memory 60 %", load()),
        gossip(
            "load-limited",
            "load: the same of a node that takes 300 at once (in three bytes) and is draining",
            limited_load(),
        ),
        gossip(
            "evidence",
            "evidence: rule 1, open for 4,200 ms, decided 250 ms ago, 2 tries, 3 helpers, 1 nack, \
             health 0; ballots 33.. no after 900 ms, 44.. abstain after 1,100 ms, 55.. silent",
            evidence(),
        ),
    ]
}

fn records() -> Vec<Sample> {
    let ipv4 = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 8_000));
    let ipv6 = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7), 8_000));
    let alive = record(ipv4, METADATA);
    vec![
        gossip(
            "record-ipv4",
            "record: generation 3, incarnation 0, revision 1, 192.0.2.7:8000, worker-1, metadata",
            Update::Record(alive),
        ),
        gossip(
            "record-ipv6",
            "record: the same at [2001:db8::7]:8000, without metadata",
            Update::Record(record(ipv6, &[])),
        ),
        gossip(
            "record-dead",
            "record: the first one again, dead for 90 s",
            Update::Record(Record { state: State::Dead, gone_for_s: 90, ..alive }),
        ),
        gossip(
            "record-left",
            "record: the first one again, left 300 s ago (in three bytes)",
            Update::Record(Record { state: State::Left, gone_for_s: 300, ..alive }),
        ),
    ]
}

fn about_views() -> Vec<Sample> {
    let list = Range { prefix: 0xa8c0_0000, bits: 12, content: Content::List(3) };
    vec![
        gossip(
            "range-parts",
            "range: the ids whose hash starts with 1010 10, digest n n n n of each part n",
            Update::Range(Range {
                prefix: 0xa800_0000,
                bits: 6,
                content: Content::Parts(&DIGESTS),
            }),
        ),
        Sample {
            name: "range-list",
            about: "range 1010 1000 1100 with three entries: alive; dead for 90 s; left 300 s ago",
            message: Message::Gossip,
            updates: vec![
                Update::Range(list),
                entry(0x22, State::Alive, 0),
                entry(0x33, State::Dead, 90),
                entry(0x44, State::Left, 300),
            ],
        },
    ]
}

/// Four times its number for each part.
const DIGESTS: [u8; PARTS * 4] = {
    let mut digests = [0; PARTS * 4];
    let mut index: u8 = 0;
    // A constant cannot iterate; the last index is 255.
    loop {
        digests[index as usize] = index / 4;
        if index == u8::MAX {
            break digests;
        }
        index += 1;
    }
};

/// A line about the member whose id repeats `byte`.
pub(crate) fn entry(byte: u8, state: State, gone_for_s: u32) -> Update<'static> {
    let id = ShortId::from_bytes([byte; 5]);
    let subject = Incarnation { id, generation: 3, incarnation: 1 };
    Update::Entry(Entry { subject, state, revision: 2, gone_for_s })
}

/// What [`ballots`] encode to.
pub(crate) const BALLOTS: [u8; 24] = [
    0x33, 0x33, 0x33, 0x33, 0x33, 0x00, 0x03, 0x84, // no after 900 ms
    0x44, 0x44, 0x44, 0x44, 0x44, 0x02, 0x04, 0x4c, // abstain after 1,100 ms
    0x55, 0x55, 0x55, 0x55, 0x55, 0xff, 0x00, 0x00, // silent
];

/// The ballots of [`evidence`].
pub(crate) fn ballots() -> [Ballot; 3] {
    let ballot = |byte, vote, after_ms| {
        let voter = ShortId::from_bytes([byte; 5]);
        Ballot { voter, vote, after_ms }
    };
    [
        ballot(0x33, Some(Vote::No), 900),
        ballot(0x44, Some(Vote::Abstain), 1_100),
        ballot(0x55, None, 0),
    ]
}

fn evidence() -> Update<'static> {
    Update::Evidence(Evidence {
        subject: subject(3, 1),
        accuser: SENDER,
        rule: 1,
        open_ms: 4_200,
        decided_ms_ago: 250,
        tries: 2,
        helpers: 3,
        nacks: 1,
        health: 0,
        ballots: &BALLOTS,
    })
}

/// [`MEMBER`] at an incarnation.
const fn subject(generation: u32, incarnation: u32) -> Incarnation {
    Incarnation { id: MEMBER, generation, incarnation }
}

fn load() -> Update<'static> {
    load_update(PLAIN_LOAD)
}

fn limited_load() -> Update<'static> {
    load_update(Load { limit: 300, is_draining: true, ..PLAIN_LOAD })
}

const PLAIN_LOAD: Load =
    Load { active_requests: 2, cpu_percent: 35, memory_percent: 60, limit: 0, is_draining: false };

const fn load_update(load: Load) -> Update<'static> {
    Update::Load { id: MEMBER, generation: 3, sequence: 9, load }
}

/// 9,000 units of 10 ms after the start of its process.
const fn load_record() -> LoadRecord {
    let (boot, sequence) = (3, 9_000);
    LoadRecord { boot, sequence, active: 4, limit: 0, is_draining: false, yours: Some(1) }
}
