//! How long writing and reading a datagram takes: a ping, an ack, and one that is full of news.

use std::hint::black_box;

use astromesh_wire::{
    Bucket, ClusterTag, Datagram, Encoder, Message, ShortId, State, StateUpdate, Update,
};
use bytes::BytesMut;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const SENDER: ShortId = ShortId::from_bytes([1; 5]);

/// Writes a datagram with as many of `count` updates as fit.
fn encode(buffer: &mut BytesMut, tag: ClusterTag, message: &Message, count: u32) {
    let mut encoder = Encoder::begin(buffer, SENDER, message);
    for number in 0..count {
        let [a, b, c, d] = number.wrapping_mul(2_654_435_761).to_be_bytes();
        let id = ShortId::from_bytes([a, b, c, d, 7]);
        let state = State::Suspect;
        let accuser = Bucket::of(SENDER);
        let update = StateUpdate { id, state, accuser, generation: 3, incarnation: 2 };
        if encoder.push(&Update::State(update)).is_err() {
            break;
        }
    }
    encoder.finish(tag);
}

fn codec(criterion: &mut Criterion) {
    let tag = ClusterTag::of("bench");
    let ping = Message::Ping {
        target: ShortId::from_bytes([2; 5]),
        sequence: 77,
        digest: 99,
        wants_slot: false,
    };
    let ack = Message::Ack { sequence: 77, digest: 99, slot_ms: None };
    let rows = [("ping", ping, 0), ("ack", ack, 0), ("full", Message::Gossip, 1_000)];
    let mut buffer = BytesMut::new();
    let mut group = criterion.benchmark_group("codec");
    for (name, message, count) in rows {
        encode(&mut buffer, tag, &message, count);
        let bytes = buffer.clone();
        group.throughput(Throughput::Bytes(u64::try_from(bytes.len()).expect("1,200 at most")));
        group.bench_function(format!("encode/{name}"), |bencher| {
            bencher.iter(|| encode(black_box(&mut buffer), tag, black_box(&message), count));
        });
        group.bench_function(format!("decode/{name}"), |bencher| {
            bencher.iter(|| {
                let datagram = Datagram::decode(black_box(&bytes), tag).expect("it is valid");
                datagram.updates().for_each(|update| {
                    black_box(update.id());
                });
            });
        });
    }
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
