//! Random values for the properties, and how often to try them.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};

use astromesh_wire::limits::{BALLOTS_MAX, METADATA_BYTES_MAX, NAME_BYTES_MAX};
use astromesh_wire::update::PARTS;
use astromesh_wire::{
    Agent, Agents, Ballot, Bucket, Content, Entry, Evidence, Incarnation, Load, LoadRecord,
    Message, Metadata, NodeId, Range, Record, Service, ShortId, State, StateUpdate, Update, Vote,
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
    let probes = (0..6, short_id(), any::<u16>(), any::<u32>(), any::<Option<u16>>());
    let probes = probes.prop_map(|(kind, id, sequence, digest, slot_ms)| match kind {
        0 => Message::Ping { target: id, sequence, digest, wants_slot: slot_ms.is_some() },
        1 => Message::Ack { sequence, digest, slot_ms },
        2 => Message::PingReq { target: id, sequence },
        3 => Message::Nack { sequence },
        4 => Message::Gossip,
        _ => Message::Query { subject: id },
    });
    let solicit = (incarnation(), any::<u16>())
        .prop_map(|(subject, age_ms)| Message::Solicit { subject, age_ms });
    let vote = (incarnation(), vote()).prop_map(|(subject, vote)| Message::Vote { subject, vote });
    let beacon =
        (short_id(), load_record()).prop_map(|(target, record)| Message::Beacon { target, record });
    prop_oneof![6 => probes, 1 => solicit, 1 => vote, 1 => beacon]
}

fn load_record() -> impl Strategy<Value = LoadRecord> {
    let numbers = (number(), any::<u32>(), number(), number());
    (numbers, any::<bool>(), prop::option::of(number())).prop_map(
        |((boot, sequence, active, limit), is_draining, yours)| LoadRecord {
            boot,
            sequence,
            active,
            limit,
            is_draining,
            yours,
        },
    )
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    (short_id(), number(), number()).prop_map(|(id, generation, incarnation)| Incarnation {
        id,
        generation,
        incarnation,
    })
}

fn vote() -> impl Strategy<Value = Vote> {
    prop_oneof![Just(Vote::No), Just(Vote::Alive), Just(Vote::Abstain)]
}

/// What an [`Update`] is made of; it owns what records, evidence and ranges borrow.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    Plain(Update<'static>),
    Record(Record<'static>, String, Vec<u8>),
    Evidence(Evidence<'static>, Vec<u8>),
    Parts { prefix: u32, bits: u8, digests: [u8; PARTS * 4] },
}

impl Piece {
    pub(crate) fn update(&self) -> Update<'_> {
        match self {
            Self::Plain(update) => *update,
            Self::Record(record, name, metadata) => {
                Update::Record(Record { name, metadata, ..*record })
            }
            Self::Evidence(evidence, ballots) => {
                Update::Evidence(Evidence { ballots, ..*evidence })
            }
            Self::Parts { prefix, bits, digests } => {
                let content = Content::Parts(digests);
                Update::Range(Range { prefix: *prefix, bits: *bits, content })
            }
        }
    }
}

pub(crate) fn piece() -> impl Strategy<Value = Piece> {
    prop_oneof![
        20 => state(),
        1 => record(),
        3 => load(),
        1 => evidence(),
        1 => range(),
        3 => entry(),
    ]
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
    let numbers = (number(), number(), number());
    (any::<[u8; 16]>(), gone(), numbers, address, name, metadata).prop_map(
        |(
            id,
            (state, gone_for_s),
            (generation, incarnation, revision),
            address,
            name,
            metadata,
        )| {
            let record = Record {
                id: NodeId::from_bytes(id),
                state,
                gone_for_s,
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

/// The state of a record or an entry, and for how long it has been gone.
fn gone() -> impl Strategy<Value = (State, u32)> {
    let gone = prop_oneof![Just(State::Dead), Just(State::Left)];
    prop_oneof![Just((State::Alive, 0)), (gone, number())]
}

fn entry() -> impl Strategy<Value = Piece> {
    (incarnation(), gone(), number()).prop_map(|(subject, (state, gone_for_s), revision)| {
        Piece::Plain(Update::Entry(Entry { subject, state, revision, gone_for_s }))
    })
}

/// A prefix of any length, with parts or the head of a list.
fn range() -> impl Strategy<Value = Piece> {
    let place = (any::<u32>(), 0..=32_u8).prop_map(|(prefix, bits)| {
        let beyond = u32::MAX.checked_shr(u32::from(bits)).unwrap_or(0);
        (prefix & !beyond, bits)
    });
    // Sixteen digests, four times over: 64 random ones would be most of the time of a property.
    let parts = (place.clone(), any::<[[u8; 32]; 2]>()).prop_map(|((prefix, bits), digests)| {
        let digests = digests.concat().repeat(4).try_into().unwrap();
        Piece::Parts { prefix, bits, digests }
    });
    let list = (place, any::<u8>()).prop_map(|((prefix, bits), count)| {
        Piece::Plain(Update::Range(Range { prefix, bits, content: Content::List(count) }))
    });
    prop_oneof![parts, list]
}

/// What some observers said.
pub(crate) fn ballots() -> impl Strategy<Value = Vec<Ballot>> {
    let ballot = (short_id(), prop::option::of(vote()), any::<u16>())
        .prop_map(|(voter, vote, after_ms)| Ballot { voter, vote, after_ms });
    prop::collection::vec(ballot, 0..=BALLOTS_MAX)
}

fn evidence() -> impl Strategy<Value = Piece> {
    let own = any::<[u8; 5]>();
    (incarnation(), short_id(), own, number(), number(), ballots()).prop_map(
        |(subject, accuser, own, open_ms, decided_ms_ago, ballots)| {
            let [rule, tries, helpers, nacks, health] = own;
            let bytes = ballots.into_iter().flat_map(Ballot::to_bytes).collect();
            let evidence = Evidence {
                subject,
                accuser,
                rule,
                open_ms,
                decided_ms_ago,
                tries,
                helpers,
                nacks,
                health,
                ballots: &[],
            };
            Piece::Evidence(evidence, bytes)
        },
    )
}

fn load() -> impl Strategy<Value = Piece> {
    let limit = prop_oneof![Just(0), number()];
    let load = (number(), any::<u8>(), any::<u8>(), limit, any::<bool>()).prop_map(
        |(active_requests, cpu_percent, memory_percent, limit, is_draining)| Load {
            active_requests,
            cpu_percent,
            memory_percent,
            limit,
            is_draining,
        },
    );
    (short_id(), number(), number(), load).prop_map(|(id, generation, sequence, load)| {
        Piece::Plain(Update::Load { id, generation, sequence, load })
    })
}

/// Services in the order of their bits; up to 300 agents, so that some do not fit; in half of the
/// lists none is idempotent.
pub(crate) fn metadata() -> impl Strategy<Value = Metadata> {
    let services = prop::sample::subsequence(Service::ALL.to_vec(), 0..=8);
    let names = prop_oneof![
        3 => prop::collection::vec("[a-z-]{0,9}", 0..300),
        1 => prop::collection::vec("\\PC{0,32}", 0..20),
    ];
    let marks = prop_oneof![Just(vec![false]), prop::collection::vec(any::<bool>(), 1..20)];
    let listed = (names, marks).prop_map(|(names, marks)| {
        let agent = |(name, is_idempotent)| Agent { name, is_idempotent };
        Agents::Listed(names.into_iter().zip(marks.into_iter().cycle()).map(agent).collect())
    });
    let agents = prop_oneof![4 => listed, 1 => Just(Agents::Elsewhere)];
    (any::<u16>(), services, agents).prop_map(|(http_port, services, agents)| Metadata {
        http_port,
        services,
        agents,
    })
}
