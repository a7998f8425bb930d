//! Random values for the properties, and how often to try them.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use astromesh_wire::limits::{METADATA_BYTES_MAX, NAME_BYTES_MAX};
use astromesh_wire::{
    Agents, Bucket, Load, Message, Metadata, NodeId, Record, Service, ShortId, State, StateUpdate,
    Update,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};

/// Tries a property on 256 random values, and says with which seed it would do so again.
#[expect(clippy::print_stderr, reason = "shown when the property does not hold")]
pub(crate) fn holds<S: Strategy>(
    strategy: S,
    property: impl Fn(S::Value) -> Result<(), TestCaseError>,
) {
    let seed = match std::env::var("SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => RandomState::new().hash_one(0),
    };
    eprintln!("the same values again with SEED={seed}");
    let mut runner = TestRunner::new(Config {
        cases: 256,
        max_shrink_time: 5_000,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(seed),
        ..Config::default()
    });
    runner.run(&strategy, property).unwrap();
}

pub(crate) fn short_id() -> impl Strategy<Value = ShortId> {
    any::<[u8; 5]>().prop_map(ShortId::from_bytes)
}

/// Mostly small, as in a mesh, but every width is met.
fn number() -> impl Strategy<Value = u32> {
    prop_oneof![0..=250_u32, 251..=65_535_u32, any::<u32>()]
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let ids = (short_id(), any::<u16>(), any::<u32>());
    (0..6, ids).prop_map(|(kind, (id, sequence, digest))| match kind {
        0 => Message::Ping { target: id, sequence, digest, wants_slot: false },
        1 => Message::Ack { sequence, digest, slot_ms: None },
        2 => Message::PingReq { target: id, sequence },
        3 => Message::Nack { sequence },
        4 => Message::Gossip,
        _ => Message::Query { subject: id },
    })
}

/// What an [`Update`] is made of; it owns what a record borrows.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Plain(Update<'static>),
    Record(Record<'static>, String, Vec<u8>),
}

impl Piece {
    pub(crate) fn update(&self) -> Update<'_> {
        match self {
            Self::Plain(update) => *update,
            Self::Record(record, name, metadata) => {
                Update::Record(Record { name, metadata, ..*record })
            }
        }
    }
}

pub(crate) fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![20 => state(), 1 => record(), 3 => load()]
}

fn state() -> impl Strategy<Value = Piece> {
    let accused = (prop_oneof![Just(State::Suspect), Just(State::Dead)], short_id())
        .prop_map(|(state, accuser)| (state, Bucket::of(accuser)));
    let unaccused = prop_oneof![Just(State::Alive), Just(State::Left)]
        .prop_map(|state| (state, Bucket::default()));
    (short_id(), prop_oneof![accused, unaccused], number(), number()).prop_map(
        |(id, (state, accuser), generation, incarnation)| {
            let update = StateUpdate { id, state, accuser, generation, incarnation };
            Piece::Plain(Update::State(update))
        },
    )
}

fn record() -> impl Strategy<Value = Piece> {
    let name = "\\PC{0,64}".prop_map(|mut name: String| {
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX));
        name
    });
    let metadata = prop::collection::vec(any::<u8>(), 0..=METADATA_BYTES_MAX);
    let address = (any::<IpAddr>(), any::<u16>()).prop_map(SocketAddr::from);
    (any::<[u8; 16]>(), number(), number(), number(), address, name, metadata).prop_map(
        |(id, generation, incarnation, revision, address, name, metadata)| {
            let id = NodeId::from_bytes(id);
            let record = Record {
                id,
                state: State::Alive,
                gone_for_s: 0,
                generation,
                incarnation,
                revision,
                address,
                name: "",
                metadata: &[],
            };
            Piece::Record(record, name, metadata)
        },
    )
}

fn load() -> impl Strategy<Value = Piece> {
    let load = (number(), any::<u8>(), any::<u8>()).prop_map(
        |(active_requests, cpu_percent, memory_percent)| Load {
            active_requests,
            cpu_percent,
            memory_percent,
        },
    );
    (short_id(), number(), number(), load).prop_map(|(id, generation, sequence, load)| {
        Piece::Plain(Update::Load { id, generation, sequence, load })
    })
}

/// Services in the order of their bits; up to 300 agents, so that some do not fit.
pub(crate) fn metadata() -> impl Strategy<Value = Metadata> {
    let services = prop::sample::subsequence(Service::ALL.to_vec(), 0..=8);
    let names = prop_oneof![
        3 => prop::collection::vec("[a-z-]{0,9}", 0..300),
        1 => prop::collection::vec("\\PC{0,32}", 0..20),
    ];
    let agents = prop_oneof![4 => names.prop_map(Agents::Listed), 1 => Just(Agents::Elsewhere)];
    (any::<u16>(), services, agents).prop_map(|(http_port, services, agents)| Metadata {
        http_port,
        services,
        agents,
    })
}
