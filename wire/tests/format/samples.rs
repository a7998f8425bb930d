//! One example of every message and update, from which golden files and damage tests are made.
//!
//! The values are chosen for the eye: ids repeat one byte, and numbers show each width of an
//! integer once.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use astromesh_wire::{
    Agents, Bucket, ClusterTag, Encoder, Load, Message, Metadata, NodeId, Record, Service, ShortId,
    State, StateUpdate, Update,
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

fn record(address: SocketAddr, metadata: &'static [u8]) -> Update<'static> {
    Update::Record(Record {
        id: NODE,
        state: State::Alive,
        gone_for_s: 0,
        generation: 3,
        incarnation: 0,
        revision: 1,
        address,
        name: "worker-1",
        metadata,
    })
}

/// Port 8000, services `api` and `agents`, agents `a` and `b`: what [`listed`] encodes to.
const METADATA: &[u8] = &[0x1f, 0x40, 0x03, 0x00, 0x02, 0x01, b'a', 0x01, b'b'];

/// Metadata with its agents.
pub(crate) fn listed() -> Metadata {
    Metadata {
        http_port: 8_000,
        services: vec![Service::Api, Service::Agents],
        agents: Agents::Listed(vec!["a".to_owned(), "b".to_owned()]),
    }
}

/// Metadata of a node with more agents than fit, and with all services.
pub(crate) fn elsewhere() -> Metadata {
    Metadata { http_port: 8_000, services: Service::ALL.to_vec(), agents: Agents::Elsewhere }
}

/// Every message once, then every update once.
pub(crate) fn all() -> Vec<Sample> {
    let mut samples = messages();
    samples.extend(updates());
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
    ]
}

fn updates() -> Vec<Sample> {
    let gossip = |name, about, update| Sample {
        name,
        about,
        message: Message::Gossip,
        updates: vec![update],
    };
    let ipv4 = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 8_000));
    let ipv6 = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7), 8_000));
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
        gossip(
            "record-ipv4",
            "record: generation 3, incarnation 0, revision 1, 192.0.2.7:8000, worker-1, metadata",
            record(ipv4, METADATA),
        ),
        gossip(
            "record-ipv6",
            "record: the same at [2001:db8::7]:8000, without metadata",
            record(ipv6, &[]),
        ),
        gossip("load", "load: generation 3, sequence 9, 2 requests, CPU 35 %, memory 60 %", load()),
    ]
}

fn load() -> Update<'static> {
    let load = Load { active_requests: 2, cpu_percent: 35, memory_percent: 60 };
    Update::Load { id: MEMBER, generation: 3, sequence: 9, load }
}
