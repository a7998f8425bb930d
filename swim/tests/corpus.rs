//! Replays the committed fuzz corpus of the engine, and writes the part of it that people made.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use astromesh_swim::OwnedRecord;
use astromesh_wire::{
    Bucket, ClusterTag, Encoder, Load, Message, ShortId, State, StateUpdate, Update,
};
use bytes::BytesMut;

use engine_datagrams::{CLUSTER, record};

#[path = "../../fuzz/src/engine_datagrams.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz package, which includes the same file")]
mod engine_datagrams;

const CORPUS: &str = "../fuzz/corpus/engine_datagrams";

/// Steps of an input, see the body.
#[derive(Default)]
struct Steps(Vec<u8>);

impl Steps {
    fn wait(mut self, tenths: u8) -> Self {
        self.0.extend([0x01, tenths]);
        self
    }

    fn stand_still(mut self, tenths: u8) -> Self {
        self.0.extend([0x02, tenths]);
        self
    }

    fn hear(mut self, sender: u8, message: Message, updates: &[Update<'_>]) -> Self {
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, short(sender), &message);
        for update in updates {
            encoder.push(update).unwrap();
        }
        encoder.finish(ClusterTag::of(CLUSTER));
        // The body writes the checksum itself.
        let content = &buffer[..buffer.len() - 4];
        let length = u8::try_from(content.len()).unwrap();
        assert!(length <= 0x7f, "longer ones come in tens of bytes");
        self.0.extend([(sender << 4) | 0x03, length]);
        self.0.extend_from_slice(content);
        self
    }

    fn told(self, sender: u8, update: StateUpdate) -> Self {
        self.hear(sender, Message::Gossip, &[Update::State(update)])
    }
}

fn short(number: u8) -> ShortId {
    record(number).id.short()
}

fn state(number: u8, state: State, generation: u32, incarnation: u32) -> StateUpdate {
    let accuser = Bucket::of(short(2));
    StateUpdate { id: short(number), state, accuser, generation, incarnation }
}

/// What a fuzzer would need long to stumble upon.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    let ping = Message::Ping { target: short(0), sequence: 7, digest: 1, wants_slot: false };
    let own = |number| record(number);
    let doubts = Steps::default()
        .told(1, state(3, State::Suspect, 1, 0))
        .told(2, state(3, State::Suspect, 1, 0))
        .wait(30)
        .told(3, state(3, State::Alive, 1, 1))
        .told(1, state(4, State::Dead, 1, 0))
        .told(4, state(4, State::Left, 1, 0))
        .wait(255);
    let refutations = Steps::default()
        .told(1, state(0, State::Suspect, 1, 0))
        .told(1, state(0, State::Dead, 5, 9))
        .told(1, state(0, State::Left, 1, 0))
        .hear(2, Message::Gossip, &[Update::Record(own(0).borrow())]);
    // The last claim can be outbid no more, but this node's numbers must not fall.
    let numbers_end = Steps::default()
        .told(1, state(0, State::Dead, u32::MAX, 4))
        .told(1, state(0, State::Dead, u32::MAX, u32::MAX))
        .told(1, state(3, State::Dead, u32::MAX, u32::MAX));
    let relays = Steps::default()
        .hear(1, Message::PingReq { target: short(2), sequence: 9 }, &[])
        .hear(1, Message::PingReq { target: short(9), sequence: 10 }, &[])
        .hear(1, Message::Query { subject: short(2) }, &[])
        .wait(20)
        .hear(2, Message::Ack { sequence: 9, digest: 3, slot_ms: None }, &[])
        .hear(2, Message::Nack { sequence: 9 }, &[]);
    let strangers = (5..13).fold(Steps::default().hear(5, ping, &[]), |steps, number| {
        steps.hear(number, ping, &[Update::Record(own(number).borrow())])
    });
    let moved = OwnedRecord { revision: 2, name: String::new(), ..own(2) };
    let thief = OwnedRecord { id: own(6).id, ..own(3) };
    let load = Load { active_requests: 3, ..Load::default() };
    let news = Steps::default()
        .hear(2, ping, &[Update::Record(moved.borrow())])
        .hear(2, ping, &[Update::Load { id: short(2), generation: 1, sequence: 4, load }])
        .told(1, state(9, State::Alive, 1, 0))
        .wait(40)
        .hear(6, Message::Gossip, &[Update::Record(thief.borrow())]);
    let silence = Steps::default().wait(255).stand_still(200).wait(255).wait(255).wait(255);
    let own_id = Steps::default().hear(0, ping, &[]);
    let rows = [
        ("doubts", doubts),
        ("news", news),
        ("numbers-at-their-end", numbers_end),
        ("own-id", own_id),
        ("refutations", refutations),
        ("relays", relays),
        ("silence", silence),
        ("strangers", strangers),
    ];
    rows.map(|(name, steps)| (name, steps.0)).into()
}

#[test]
fn the_engine_holds_its_promises_on_the_whole_corpus() {
    let mut replayed = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(CORPUS)).unwrap() {
        engine_datagrams::engine_datagrams(&std::fs::read(entry.unwrap().path()).unwrap());
        replayed += 1;
    }
    assert!(replayed >= samples().len());
}

#[test]
fn the_corpus_holds_the_samples() {
    for (name, bytes) in samples() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(CORPUS).join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &bytes).unwrap();
        }
        let seed = std::fs::read(&file).unwrap_or_default();
        assert!(seed == bytes, "{}: run with UPDATE_GOLDEN=1", file.display());
    }
}
