//! How many bytes things take, and that no datagram takes more than 1,200.

use std::net::{Ipv6Addr, SocketAddr};

use astromesh_wire::limits::{BALLOTS_MAX, DATAGRAM_BYTES_MAX, METADATA_BYTES_MAX, NAME_BYTES_MAX};
use astromesh_wire::update::{BALLOT_BYTES, PARTS};
use astromesh_wire::{
    Content, Datagram, Encoder, Entry, Evidence, Full, Incarnation, Load, LoadRecord, Message,
    Range, Record, State, Update, Vote,
};
use bytes::BytesMut;

use crate::samples::{self, MEMBER, NODE, SENDER};

/// Bytes of the example of this name.
fn bytes_of(name: &str) -> usize {
    let sample = samples::all().into_iter().find(|sample| sample.name == name).unwrap();
    sample.encode().0.len()
}

#[test]
fn messages_take_the_bytes_that_their_documentation_says() {
    assert_eq!(bytes_of("ping"), 22);
    assert_eq!(bytes_of("ack"), 17);
    assert_eq!(bytes_of("ping-req"), 18);
    assert_eq!(bytes_of("nack"), 13);
    assert_eq!(bytes_of("gossip"), 11);
    assert_eq!(bytes_of("query"), 16);
    assert_eq!(bytes_of("ping-wants-slot"), 22);
    assert_eq!(bytes_of("ack-with-slot"), 19);
    assert_eq!(bytes_of("solicit"), 20);
    assert_eq!(bytes_of("vote-no"), 19);
    assert_eq!(bytes_of("vote-abstain"), 19);
    assert_eq!(bytes_of("beacon"), 25);
    assert_eq!(bytes_of("beacon-draining"), 26);
}

#[test]
fn updates_take_the_bytes_that_their_documentation_says() {
    let empty = bytes_of("gossip");
    assert_eq!(bytes_of("dead") - empty, 8);
    assert_eq!(bytes_of("left") - empty, 8);
    assert_eq!(bytes_of("load") - empty, 11);
    // The limit comes on top, here in three bytes; that it is draining is in the tag.
    assert_eq!(bytes_of("load-limited") - empty, 14);
    // Id, numbers, address and lengths; the name and the metadata come on top.
    assert_eq!(bytes_of("record-ipv4") - empty, 29 + "worker-1".len() + 9);
    assert_eq!(bytes_of("record-ipv6") - empty, 41 + "worker-1".len());
    // For how long it has been gone comes on top, here in one byte and in three.
    assert_eq!(bytes_of("record-dead"), bytes_of("record-ipv4") + 1);
    assert_eq!(bytes_of("record-left"), bytes_of("record-ipv4") + 3);
    // The time for which the case was open takes three bytes; three ballots come on top.
    assert_eq!(bytes_of("evidence") - empty, 23 + 3 * BALLOT_BYTES);
    assert_eq!(bytes_of("range-parts") - empty, 262);
    assert_eq!(bytes_of("range-list") - empty, 7 + 10 + 11 + 13);
}

#[test]
fn numbers_at_their_end_take_the_bytes_that_the_specification_says() {
    let subject = Incarnation { id: MEMBER, generation: u32::MAX, incarnation: u32::MAX };
    let length = |message: &Message, update: Option<Update<'_>>| {
        let mut buffer = BytesMut::new();
        let mut encoder = Encoder::begin(&mut buffer, SENDER, message);
        update.into_iter().for_each(|update| encoder.push(&update).unwrap());
        encoder.finish(samples::cluster());
        buffer.len()
    };
    assert_eq!(length(&Message::Solicit { subject, age_ms: u16::MAX }, None), 28);
    assert_eq!(length(&Message::Vote { subject, vote: Vote::Alive }, None), 27);
    assert_eq!(length(&largest_beacon(), None), 41);
    let smallest = Message::Beacon { target: MEMBER, record: LoadRecord::default() };
    assert_eq!(length(&smallest, None), 24);

    let gone_for_s = u32::MAX;
    let entry = Entry { subject, state: State::Alive, revision: u32::MAX, gone_for_s: 0 };
    let dead = Entry { state: State::Dead, gone_for_s, ..entry };
    let evidence = Evidence {
        subject,
        accuser: SENDER,
        rule: 1,
        open_ms: u32::MAX,
        decided_ms_ago: u32::MAX,
        tries: u8::MAX,
        helpers: u8::MAX,
        nacks: u8::MAX,
        health: u8::MAX,
        ballots: &[0xff; BALLOTS_MAX * BALLOT_BYTES],
    };
    let update_length = |update| length(&Message::Gossip, Some(update)) - 11;
    let load = Load { active_requests: u32::MAX, limit: u32::MAX, ..Load::default() };
    let load = Update::Load { id: MEMBER, generation: u32::MAX, sequence: u32::MAX, load };
    assert_eq!(update_length(load), 28);
    assert_eq!(update_length(Update::Entry(entry)), 22);
    assert_eq!(update_length(Update::Entry(dead)), 27);
    assert_eq!(update_length(Update::Evidence(evidence)), 165);
}

/// The largest message there is.
fn largest_beacon() -> Message {
    let record = LoadRecord {
        boot: u32::MAX,
        sequence: u32::MAX,
        active: u32::MAX,
        limit: u32::MAX,
        is_draining: true,
        yours: Some(u32::MAX),
    };
    Message::Beacon { target: MEMBER, record }
}

#[test]
fn one_datagram_carries_148_dead_updates() {
    let mut buffer = BytesMut::new();
    let mut encoder = Encoder::begin(&mut buffer, SENDER, &Message::Gossip);
    let mut pushed = 0;
    while encoder.push(&samples::dead()).is_ok() {
        pushed += 1;
    }
    assert_eq!((pushed, encoder.room()), (148, 5));
    encoder.finish(samples::cluster());
    assert_eq!(buffer.len(), DATAGRAM_BYTES_MAX - 5);
    let datagram = Datagram::decode(&buffer, samples::cluster()).unwrap();
    assert!(datagram.updates().eq(std::iter::repeat_n(samples::dead(), 148)));
}

/// The largest record there is, but for the lengths of its name and metadata.
fn largest<'a>(name: &'a str, metadata: &'a [u8]) -> Update<'a> {
    Update::Record(Record {
        id: NODE,
        state: State::Dead,
        gone_for_s: u32::MAX,
        generation: u32::MAX,
        incarnation: u32::MAX,
        revision: u32::MAX,
        address: SocketAddr::from((Ipv6Addr::LOCALHOST, u16::MAX)),
        name,
        metadata,
    })
}

#[test]
fn largest_record_fits_beside_the_largest_message() {
    let name = "n".repeat(NAME_BYTES_MAX);
    let metadata = [0; METADATA_BYTES_MAX];
    let record = largest(&name, &metadata);
    let mut buffer = BytesMut::new();
    let mut encoder = Encoder::begin(&mut buffer, SENDER, &largest_beacon());
    encoder.push(&record).unwrap();
    assert_eq!(encoder.room(), 35);
    encoder.finish(samples::cluster());
    let datagram = Datagram::decode(&buffer, samples::cluster()).unwrap();
    assert!(datagram.updates().eq([record]));
}

#[test]
fn record_that_no_reader_would_accept_is_not_written() {
    let name = "n".repeat(NAME_BYTES_MAX + 1);
    let metadata = [0; METADATA_BYTES_MAX + 1];
    let mut buffer = BytesMut::new();
    let mut encoder = Encoder::begin(&mut buffer, SENDER, &Message::Gossip);
    assert_eq!(encoder.push(&largest(&name, &[])), Err(Full));
    assert_eq!(encoder.push(&largest("", &metadata)), Err(Full));
    encoder.finish(samples::cluster());
    assert_eq!(buffer.len(), bytes_of("gossip"));
}

/// Whether an update is written, and how long the datagram is then.
fn pushed(update: &Update<'_>) -> (Result<(), Full>, usize) {
    let mut buffer = BytesMut::new();
    let mut encoder = Encoder::begin(&mut buffer, SENDER, &Message::Gossip);
    let result = encoder.push(update);
    encoder.finish(samples::cluster());
    (result, buffer.len())
}

#[test]
fn range_that_no_reader_would_accept_is_not_written() {
    for (prefix, bits) in [(0, 33), (1, 31), (0x8000_0000, 0), (u32::MAX, u8::MAX)] {
        for content in [Content::List(0), Content::Parts(&[0; PARTS * 4])] {
            let range = Update::Range(Range { prefix, bits, content });
            assert_eq!(pushed(&range), (Err(Full), 11), "{range:?}");
        }
    }
}

#[test]
fn evidence_that_no_reader_would_accept_is_not_written() {
    let sample = samples::all().into_iter().find(|sample| sample.name == "evidence").unwrap();
    let Update::Evidence(evidence) = sample.updates[0] else { panic!("evidence") };
    for length in [1, 7, BALLOT_BYTES + 1, (BALLOTS_MAX + 1) * BALLOT_BYTES] {
        let ballots = vec![0; length];
        let update = Update::Evidence(Evidence { ballots: &ballots, ..evidence });
        assert_eq!(pushed(&update), (Err(Full), 11), "{length} bytes of ballots");
    }
}

#[test]
fn suspect_in_an_entry_is_written_as_alive_and_the_living_are_not_gone() {
    let mut buffer = BytesMut::new();
    for state in [State::Suspect, State::Alive] {
        let mut encoder = Encoder::begin(&mut buffer, SENDER, &Message::Gossip);
        encoder.push(&samples::entry(0x22, state, 90)).unwrap();
        encoder.finish(samples::cluster());
        let datagram = Datagram::decode(&buffer, samples::cluster()).unwrap();
        assert!(datagram.updates().eq([samples::entry(0x22, State::Alive, 0)]));
    }
}

#[test]
fn one_datagram_carries_a_list_of_118_entries() {
    let mut buffer = BytesMut::new();
    let mut encoder = Encoder::begin(&mut buffer, SENDER, &Message::Gossip);
    let list = Range { prefix: 0, bits: 0, content: Content::List(118) };
    encoder.push(&Update::Range(list)).unwrap();
    let entry = samples::entry(0x22, State::Alive, 0);
    let entries = std::iter::repeat_with(|| encoder.push(&entry)).take_while(Result::is_ok).count();
    assert_eq!(entries, 118);
}

#[test]
fn buffer_is_reused_without_leftovers() {
    let mut buffer = BytesMut::from(&[0xff; 2_000][..]);
    Encoder::begin(&mut buffer, SENDER, &Message::Gossip).finish(samples::cluster());
    let first = buffer.to_vec();
    Encoder::begin(&mut buffer, SENDER, &Message::Gossip).finish(samples::cluster());
    assert_eq!((buffer.to_vec(), first.len()), (first, 11));
}
