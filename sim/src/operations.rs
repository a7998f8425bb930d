//! Bytes to a sequence of operations on a small world, with the checkers as oracle.
//!
//! This is the body of a fuzz target: any bytes are a valid run, short and long ones alike. It is
//! here, and not among the fuzz targets, so that plain tests can replay a corpus.

use std::time::Duration;

use astromesh_swim::{Command, OwnedRecord};
use astromesh_wire::{
    Ballot, Bucket, ClusterTag, Encoder, Evidence, Incarnation, Load, LoadRecord, Message, ShortId,
    State, StateUpdate, Update, Vote,
};
use bytes::{Bytes, BytesMut};

use crate::checks::Violation;
use crate::network::{Bursts, Direction, NodeLoss};
use crate::node::{self, Pace};
use crate::world::{CLUSTER, World, WorldConfig};

/// Nodes of the world.
const NODES: usize = 4;

/// Operations of one run; what follows is not used.
pub const OPERATIONS_MAX: usize = 256;

/// Plays the operations that `bytes` stand for and returns what must not have happened: nothing.
#[must_use]
pub fn play(bytes: &[u8]) -> Vec<Violation> {
    let (seed, mut rest) = bytes.split_first().map_or((0, bytes), |(seed, rest)| (*seed, rest));
    let mut world = World::new(WorldConfig { seed: u64::from(seed), ..WorldConfig::default() });
    world.add(NODES);
    world.set_seeds([0, 1]);
    for node in 0..NODES {
        world.start(node);
    }
    for _ in 0..OPERATIONS_MAX {
        let Some((&[operation, argument], after)) = rest.split_first_chunk::<2>() else { break };
        rest = after;
        let node = usize::from(operation >> 4) % NODES;
        let other = usize::from(argument) % NODES;
        match operation & 0x0f {
            0 => world.crash(node),
            1 => world.start(node),
            2 => world.start_anew(node),
            3 => world.pause(node),
            4 => world.resume(node),
            5 => world.network_mut().cut([node], [other]),
            6 => world.network_mut().cut_one_way([node], [other]),
            7 => world.network_mut().heal(),
            8 => world.network_mut().set_loss(f64::from(argument % 64) / 128.0),
            9 => world.command(node, Command::SetMetadata(Bytes::from(vec![argument]))),
            10 => {
                let load = Load { active_requests: u32::from(argument), ..Load::default() };
                world.command(node, Command::SetLoad { load, sequence: 0 });
            }
            11 if argument == 0 => world.command(node, Command::Leave),
            11 => disturb(&mut world, node, argument),
            12 => {
                let (forged, after) = rest.split_at(rest.len().min(usize::from(argument)));
                rest = after;
                forge(&mut world, node, forged);
            }
            13 => world.run_for(Duration::from_millis(u64::from(argument))),
            _ => world.run_for(Duration::from_millis(20 * u64::from(argument))),
        }
    }
    world.violations().to_vec()
}

/// A fault of one node: which one by the lower three bits, how bad by the others.
fn disturb(world: &mut World, node: usize, argument: u8) {
    let badness = u64::from(argument >> 3) + 1;
    let millis = |each: u64| Duration::from_millis(each * badness);
    match argument & 0b111 {
        0 => world.calm(),
        1 => world.set_pace(node, Pace::Slow(millis(50))),
        2 => {
            let (min, max, redraw) = (millis(10), millis(100), millis(100));
            world.set_pace(node, Pace::Starved { min, max, redraw });
        }
        3 => world.jump(node, millis(100)),
        4 => world.drift(node, i64::from(argument) * 200 - 25_000),
        5 | 6 => {
            let direction = if argument & 1 == 0 { Direction::In } else { Direction::Out };
            let share = f64::from(argument >> 3) / 31.0;
            let loss = NodeLoss { share, on: millis(100), off: millis(50) };
            world.network_mut().set_node_loss(node, direction, loss);
        }
        _ => {
            let bursts = Bursts { bad_mean: millis(30), good_mean: millis(100), loss: 0.95 };
            world.network_mut().set_bursts(node, bursts);
        }
    }
}

/// A datagram that some node of the world might have sent, with news made of four bytes a piece:
/// what is claimed, of whom, generation, incarnation.
fn forge(world: &mut World, to: usize, content: &[u8]) {
    let Some((&[sender, message], news)) = content.split_first_chunk::<2>() else {
        world.inject(to, node::address(NODES), content);
        return;
    };
    let record_of = |world: &World, index: u8| {
        let index = usize::from(index) % NODES;
        world.nodes().get(index).map(|node| node.engine.local().record.unpack())
    };
    let (Some(sender), Some(target)) =
        (record_of(world, sender), world.nodes().get(to).map(|node| node.id().short()))
    else {
        return;
    };
    let Some(accused) = record_of(world, message / 10) else { return };
    let message = forged_message(message, &sender, &accused, target);
    let mut buffer = BytesMut::new();
    let mut encoder = Encoder::begin(&mut buffer, sender.id.short(), &message);
    for piece in news.chunks_exact(4) {
        let &[claim, subject, generation, incarnation] = piece else { break };
        let Some(mut record) = record_of(world, subject) else { break };
        record.generation = u32::from(generation);
        record.incarnation = u32::from(incarnation);
        record.revision = u32::from(claim >> 4);
        let state = [State::Alive, State::Suspect, State::Dead, State::Left];
        let ballot = Ballot { voter: target, vote: Some(Vote::No), after_ms: 350 }.to_bytes();
        let update = match state.get(usize::from(claim % 6)) {
            None if claim % 6 == 5 => Update::Evidence(Evidence {
                subject: life_of(&record),
                accuser: sender.id.short(),
                rule: claim >> 4,
                open_ms: 2_000,
                decided_ms_ago: 10,
                tries: 3,
                helpers: 2,
                nacks: 2,
                health: 0,
                ballots: &ballot,
            }),
            Some(&state) => Update::State(StateUpdate {
                id: record.id.short(),
                state,
                accuser: Bucket::of(sender.id.short()),
                generation: record.generation,
                incarnation: record.incarnation,
            }),
            None => Update::Record(record.borrow()),
        };
        if encoder.push(&update).is_err() {
            break;
        }
    }
    encoder.finish(ClusterTag::of(CLUSTER));
    world.inject(to, sender.address, &buffer);
}

/// Each kind of message, by the last digit of a number.
fn forged_message(
    number: u8,
    sender: &OwnedRecord,
    accused: &OwnedRecord,
    target: ShortId,
) -> Message {
    let sequence = u16::from(number);
    match number % 10 {
        0 => Message::Ping { target, sequence, digest: 0, wants_slot: false },
        1 => Message::Ack { sequence, digest: 0, slot_ms: None },
        2 => Message::PingReq { target: sender.id.short(), sequence },
        3 if number > 127 => {
            let record = LoadRecord { boot: accused.generation, ..LoadRecord::default() };
            Message::Beacon { target, record }
        }
        3 => Message::Nack { sequence },
        4 => Message::Gossip,
        5 => Message::Query { subject: target },
        6 => Message::Solicit { subject: life_of(accused), age_ms: sequence * 257 },
        7 => Message::Vote { subject: life_of(accused), vote: Vote::No },
        8 => Message::Vote { subject: life_of(accused), vote: Vote::Alive },
        _ => Message::Vote { subject: life_of(accused), vote: Vote::Abstain },
    }
}

const fn life_of(record: &OwnedRecord) -> Incarnation {
    Incarnation {
        id: record.id.short(),
        generation: record.generation,
        incarnation: record.incarnation,
    }
}
