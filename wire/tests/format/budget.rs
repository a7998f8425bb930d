//! How many bytes things take, and that no datagram takes more than 1,200.

use std::net::{Ipv6Addr, SocketAddr};

use astromesh_wire::limits::{DATAGRAM_BYTES_MAX, METADATA_BYTES_MAX, NAME_BYTES_MAX};
use astromesh_wire::{Datagram, Encoder, Full, Message, Record, State, Update};
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
}

#[test]
fn updates_take_the_bytes_that_their_documentation_says() {
    let empty = bytes_of("gossip");
    assert_eq!(bytes_of("dead") - empty, 8);
    assert_eq!(bytes_of("left") - empty, 8);
    assert_eq!(bytes_of("load") - empty, 11);
    // Id, numbers, address and lengths; the name and the metadata come on top.
    assert_eq!(bytes_of("record-ipv4") - empty, 29 + "worker-1".len() + 9);
    assert_eq!(bytes_of("record-ipv6") - empty, 41 + "worker-1".len());
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
        state: State::Alive,
        gone_for_s: 0,
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
    let ping =
        Message::Ping { target: MEMBER, sequence: u16::MAX, digest: u32::MAX, wants_slot: false };
    let mut buffer = BytesMut::new();
    let mut encoder = Encoder::begin(&mut buffer, SENDER, &ping);
    encoder.push(&record).unwrap();
    assert_eq!(encoder.room(), 59);
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

#[test]
fn buffer_is_reused_without_leftovers() {
    let mut buffer = BytesMut::from(&[0xff; 2_000][..]);
    Encoder::begin(&mut buffer, SENDER, &Message::Gossip).finish(samples::cluster());
    let first = buffer.to_vec();
    Encoder::begin(&mut buffer, SENDER, &Message::Gossip).finish(samples::cluster());
    assert_eq!((buffer.to_vec(), first.len()), (first, 11));
}
