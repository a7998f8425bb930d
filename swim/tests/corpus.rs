//! Replays the committed fuzz corpus of the engine, and writes the part of it that people made.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use astromesh_swim::OwnedRecord;
use astromesh_wire::update::PARTS;
use astromesh_wire::{
    Ballot, Bucket, ClusterTag, Content, Encoder, Entry, Evidence, Incarnation, Load, LoadRecord,
    Message, Range, Record, ShortId, State, StateUpdate, Update, Vote,
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
        let length = if content.len() <= 0x7f {
            u8::try_from(content.len()).unwrap()
        } else {
            assert_eq!(content.len() % 10, 0, "longer ones come in tens of bytes");
            0x80 | u8::try_from(content.len() / 10).unwrap()
        };
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

/// The member with this number at its first generation.
fn subject(number: u8, incarnation: u32) -> Incarnation {
    Incarnation { id: short(number), generation: 1, incarnation }
}

/// Solicitations, votes and evidence: asked for and not, about members, strangers and this node.
fn cases() -> Steps {
    let solicit = |number| Message::Solicit { subject: subject(number, 0), age_ms: 800 };
    let vote = |number, vote| Message::Vote { subject: subject(number, 0), vote };
    let ballot = |number, vote, after_ms| Ballot { voter: short(number), vote, after_ms };
    let ballots = [ballot(1, Some(Vote::No), 900), ballot(4, None, 0)];
    let ballots: Vec<u8> = ballots.into_iter().flat_map(Ballot::to_bytes).collect();
    let evidence = |number| Evidence {
        subject: subject(number, 0),
        accuser: short(2),
        rule: 1,
        open_ms: 4_200,
        decided_ms_ago: u32::MAX,
        tries: 2,
        helpers: 3,
        nacks: 1,
        health: 0,
        ballots: &ballots,
    };
    Steps::default()
        .hear(1, solicit(3), &[])
        .hear(1, solicit(9), &[])
        .hear(1, solicit(0), &[])
        .hear(9, solicit(3), &[])
        .wait(30)
        .hear(2, vote(3, Vote::No), &[])
        .hear(4, vote(3, Vote::Abstain), &[])
        .hear(9, vote(3, Vote::No), &[])
        .hear(2, vote(0, Vote::No), &[])
        .wait(20)
        .hear(2, Message::Gossip, &[Update::Evidence(evidence(3))])
        .told(2, state(3, State::Dead, 1, 0))
        .hear(4, vote(3, Vote::Alive), &[Update::Evidence(evidence(3))])
        .hear(2, Message::Gossip, &[Update::Evidence(evidence(9)), Update::Evidence(evidence(0))])
        .wait(255)
}

/// Ranges, lists and records of the gone: whole, cut short, and of nobody that is known here.
fn comparisons() -> Steps {
    let digests = [0x5a; PARTS * 4];
    let parts = Update::Range(Range { prefix: 0, bits: 0, content: Content::Parts(&digests) });
    let list = |count| {
        Update::Range(Range { prefix: 0x8000_0000, bits: 1, content: Content::List(count) })
    };
    let entry = |number, incarnation, state, gone_for_s| {
        let subject = subject(number, incarnation);
        Update::Entry(Entry { subject, state, revision: 1, gone_for_s })
    };
    let own = record(7);
    let gone = |state, gone_for_s| Update::Record(Record { state, gone_for_s, ..own.borrow() });
    let asks = Message::Ping { target: short(0), sequence: 7, digest: 1, wants_slot: true };
    let answers = Message::Ack { sequence: 7, digest: 1, slot_ms: Some(u16::MAX) };
    Steps::default()
        .hear(1, asks, &[])
        .hear(9, asks, &[])
        .hear(1, answers, &[])
        .hear(
            1,
            Message::Ping { target: short(0), sequence: 8, digest: 2, wants_slot: false },
            &[parts],
        )
        .hear(
            1,
            Message::Gossip,
            &[list(2), entry(3, 0, State::Alive, 0), entry(4, 0, State::Dead, 90)],
        )
        .hear(2, Message::Gossip, &[list(255), entry(9, 0, State::Alive, 0)])
        .hear(2, Message::Gossip, &[list(0)])
        .hear(3, Message::Gossip, &[entry(0, 9, State::Left, u32::MAX)])
        .hear(9, Message::Gossip, &[entry(3, 9, State::Dead, 0)])
        .hear(1, Message::Gossip, &[gone(State::Dead, 30)])
        .hear(2, Message::Gossip, &[gone(State::Left, u32::MAX)])
        .wait(100)
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
    let beacon = |boot, number| {
        let record = LoadRecord { boot, sequence: 9, active: 4, ..LoadRecord::default() };
        Message::Beacon { target: short(number), record }
    };
    let beacons = Steps::default()
        .hear(2, beacon(1, 0), &[])
        .hear(2, beacon(2, 0), &[])
        .hear(2, beacon(1, 3), &[])
        .hear(9, beacon(1, 0), &[])
        .told(1, state(2, State::Dead, 1, 0))
        .hear(2, beacon(1, 0), &[]);
    let silence = Steps::default().wait(255).stand_still(200).wait(255).wait(255).wait(255);
    let own_id = Steps::default().hear(0, ping, &[]);
    let rows = [
        ("beacons", beacons),
        ("cases", cases()),
        ("comparisons", comparisons()),
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
