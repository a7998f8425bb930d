//! How long one received datagram takes, by the number of members: decode, apply, encode the ack.
//!
//! Three kinds of datagram: a ping; a ping with one update that is known already; a ping with one
//! update that is news (which then rides on the following acks). foca 2.0 with its postcard codec
//! does the same work beside ours. The datagrams are made outside of the time that is measured.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use astromesh_swim::{Claim, Command, Config, Engine, Origin, OwnedRecord};
use astromesh_wire::{
    Bucket, ClusterTag, Encoder, Load, Message, NodeId, State, StateUpdate, Update,
};
use bytes::{Bytes, BytesMut};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use foca::Codec as _;
use rand::SeedableRng as _;

/// What a datagram carries besides its ping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Carries {
    Nothing,
    StaleUpdate,
    NewUpdate,
}

/// A protocol under test: one node that knows `members - 1` others.
trait Subject {
    const NAME: &'static str;
    const SIZES: &'static [u32];

    fn among(members: u32) -> Self;

    /// The next datagram from some member, with news of another one. `None` when numbers run out.
    fn datagram(&mut self, carries: Carries) -> Option<Vec<u8>>;

    /// Takes it in and writes what is to be sent.
    fn process(&mut self, sender: u32, bytes: &[u8]);

    fn members(&self) -> u32;
}

/// Datagrams made ahead, outside of the time that is measured.
const CHUNK: u64 = 512;

/// Datagrams before the first that is measured; whole chunks.
const WARM_UP: u64 = 8 * CHUNK;

fn address(number: u32) -> SocketAddr {
    let [_, b, c, d] = number.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, b, c, d), 8000))
}

/// Sender and subject of the datagram with this number: all members take their turn as both.
fn cast(members: u32, number: u32) -> (u32, u32) {
    let others = members - 1;
    (number.wrapping_mul(7) % others, (number + 1) % others)
}

struct Ours {
    engine: Engine,
    now: astromesh_swim::Instant,
    members: u32,
    number: u32,
    buffer: BytesMut,
}

const CLUSTER: &str = "bench";

fn id(number: u32) -> NodeId {
    let [a, b, c, d] = number.wrapping_mul(2_654_435_761).to_be_bytes();
    let mut bytes = [7; 16];
    bytes[..4].copy_from_slice(&[a, b, c, d]);
    NodeId::from_bytes(bytes)
}

fn record(number: u32) -> OwnedRecord {
    OwnedRecord {
        id: id(number),
        generation: 1,
        incarnation: 0,
        revision: 1,
        address: address(number),
        name: format!("node-{number}"),
        metadata: Bytes::from_static(&[0x1f, 0x40, 0x03, 0x00, 0x00]),
    }
}

impl Subject for Ours {
    const NAME: &'static str = "astromesh";
    const SIZES: &'static [u32] = &[10, 100, 1_000, 10_000, 100_000];

    fn among(members: u32) -> Self {
        let now = astromesh_swim::Instant::default();
        let (config, tag) = (Config::default(), ClusterTag::of(CLUSTER));
        let mut engine = Engine::new(now, config, tag, record(members - 1), 1);
        let known = |number| Claim {
            record: record(number),
            state: State::Alive,
            load: Load::default(),
            load_sequence: 0,
        };
        let claims = (0..members - 1).map(known).collect();
        engine.handle_command(now, Command::Merge { claims, term: 0, origin: Origin::Join });
        let mut ours = Self { engine, now, members, number: 0, buffer: BytesMut::new() };
        ours.drain();
        ours
    }

    fn datagram(&mut self, carries: Carries) -> Option<Vec<u8>> {
        let (sender, subject) = cast(self.members, self.number);
        let target = id(self.members - 1).short();
        let message =
            Message::Ping { target, sequence: 1, digest: self.engine.digest(), wants_slot: false };
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, id(sender).short(), &message);
        if carries != Carries::Nothing {
            let round = self.number / (self.members - 1) + 1;
            let update = StateUpdate {
                id: id(subject).short(),
                state: State::Alive,
                accuser: Bucket::default(),
                generation: 1,
                incarnation: if carries == Carries::NewUpdate { round } else { 0 },
            };
            encoder.push(&Update::State(update)).expect("there is room");
        }
        encoder.finish(ClusterTag::of(CLUSTER));
        self.number += 1;
        Some(buffer.to_vec())
    }

    fn process(&mut self, sender: u32, bytes: &[u8]) {
        self.engine.handle_datagram(self.now, address(sender), bytes);
        self.drain();
    }

    fn members(&self) -> u32 {
        self.members
    }
}

impl Ours {
    fn drain(&mut self) {
        while let Some(to) = self.engine.poll_transmit(&mut self.buffer) {
            black_box((to, &self.buffer));
        }
        while let Some(event) = self.engine.poll_event() {
            black_box(event);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct FocaId {
    address: SocketAddr,
    generation: u64,
}

impl foca::Identity for FocaId {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        Some(Self { generation: self.generation + 1, ..*self })
    }

    fn addr(&self) -> SocketAddr {
        self.address
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.generation > adversary.generation
    }
}

/// Looks at what foca wants to be done, and does nothing of it.
struct Sink;

impl foca::Runtime<FocaId> for Sink {
    fn notify(&mut self, notification: foca::Notification<'_, FocaId>) {
        black_box(notification);
    }

    fn send_to(&mut self, to: FocaId, bytes: &[u8]) {
        black_box((to, bytes));
    }

    fn submit_after(&mut self, event: foca::Timer<FocaId>, after: Duration) {
        black_box((event, after));
    }
}

struct Foca {
    foca: foca::Foca<FocaId, foca::PostcardCodec, rand::rngs::SmallRng, foca::NoCustomBroadcast>,
    members: u32,
    number: u32,
}

fn foca_id(number: u32) -> FocaId {
    FocaId { address: address(number), generation: 1 }
}

impl Subject for Foca {
    const NAME: &'static str = "foca";
    const SIZES: &'static [u32] = &[10, 100, 1_000, 10_000];

    fn among(members: u32) -> Self {
        let size = NonZeroU32::new(members).expect("there are members");
        let config = foca::Config::new_lan(size);
        let rng = rand::rngs::SmallRng::seed_from_u64(1);
        let mut foca = foca::Foca::new(foca_id(members - 1), config, rng, foca::PostcardCodec);
        let known = (0..members - 1).map(|number| foca::Member::alive(foca_id(number)));
        foca.apply_many(known, false, Sink).expect("they are valid");
        Self { foca, members, number: 0 }
    }

    fn datagram(&mut self, carries: Carries) -> Option<Vec<u8>> {
        let (sender, subject) = cast(self.members, self.number);
        let header = foca::Header {
            src: foca_id(sender),
            src_incarnation: 0,
            dst: foca_id(self.members - 1),
            message: foca::Message::Ping(1),
        };
        let mut buffer = Vec::new();
        let mut codec = foca::PostcardCodec;
        codec.encode_header(&header, &mut buffer).expect("memory is there");
        if carries != Carries::Nothing {
            buffer.extend_from_slice(&1_u16.to_be_bytes());
            let round = u16::try_from(self.number / (self.members - 1) + 1).ok()?;
            let incarnation = if carries == Carries::NewUpdate { round } else { 0 };
            let member = foca::Member::new(foca_id(subject), incarnation, foca::State::Alive);
            codec.encode_member(&member, &mut buffer).expect("memory is there");
        }
        self.number += 1;
        Some(buffer)
    }

    fn process(&mut self, _sender: u32, bytes: &[u8]) {
        self.foca.handle_data(bytes, Sink).expect("it is valid");
    }

    fn members(&self) -> u32 {
        self.members
    }
}

/// The time that `count` datagrams take, by the middle one of the chunks: chunks in which the machine
/// did something else do not count, nor do the first, which find the caches cold. A subject whose numbers ran out is made anew.
fn measure<S: Subject>(members: u32, carries: Carries, count: u64) -> Duration {
    let mut subject = S::among(members);
    let mut times = Vec::new();
    let mut done = 0;
    while done < WARM_UP + count {
        let wanted = CHUNK.min(WARM_UP + count - done);
        let chunk: Vec<(u32, Vec<u8>)> = (0..wanted)
            .map_while(|index| {
                let first = u32::try_from(done + index).unwrap_or(u32::MAX);
                let (sender, _) = cast(subject.members(), first);
                subject.datagram(carries).map(|bytes| (sender, bytes))
            })
            .collect();
        if chunk.is_empty() {
            subject = S::among(members);
            continue;
        }
        let start = Instant::now();
        for (sender, bytes) in &chunk {
            subject.process(*sender, black_box(bytes));
        }
        let length = u64::try_from(chunk.len()).unwrap_or(wanted);
        if done >= WARM_UP {
            times.push(start.elapsed().as_secs_f64() / precise(length));
        }
        done += length;
    }
    times.sort_unstable_by(f64::total_cmp);
    let middle = times.get(times.len() / 2).copied().unwrap_or_default();
    Duration::from_secs_f64(middle * precise(count))
}

fn precise(number: u64) -> f64 {
    u32::try_from(number).map_or(f64::MAX, f64::from)
}

fn compare<S: Subject>(criterion: &mut Criterion) {
    let kinds = [
        ("ping", Carries::Nothing),
        ("ping+stale", Carries::StaleUpdate),
        ("ping+new", Carries::NewUpdate),
    ];
    for (name, carries) in kinds {
        let mut group = criterion.benchmark_group(format!("engine/{name}"));
        for &members in S::SIZES {
            group.bench_function(BenchmarkId::new(S::NAME, members), |bencher| {
                bencher.iter_custom(|count| measure::<S>(members, carries, count));
            });
        }
        group.finish();
    }
}

fn engine(criterion: &mut Criterion) {
    compare::<Ours>(criterion);
    compare::<Foca>(criterion);
}

criterion_group!(benches, engine);
criterion_main!(benches);
