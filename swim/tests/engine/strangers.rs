//! Whoever is no member here gets little, and changes nothing.

use astromesh_swim::OwnedRecord;
use astromesh_wire::{ClusterTag, Encoder, Message, State, Update};
use bytes::BytesMut;

use crate::{LOCAL, Subject, address, datagram, record, short, state};

#[test]
fn a_strangers_ping_gets_a_bare_ack_smaller_than_the_ping() {
    let mut subject = Subject::alone();
    let digest = subject.engine.digest();
    let ping = datagram(
        9,
        Message::Ping { target: short(LOCAL), sequence: 5, digest, wants_slot: false },
        &[],
    );

    let sent = subject.hear_from(address(9), &ping);

    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].message, Message::Ack { sequence: 5, digest, slot_ms: None });
    assert!(subject.engine.has_news(), "there was something to tell");
    assert_eq!(sent[0].news, []);
    assert!(sent[0].bytes <= ping.len());
    assert_eq!(subject.state_of(9), None);
}

#[test]
fn a_strangers_news_and_requests_are_ignored_and_counted() {
    let mut subject = Subject::among(&[1, 2]);
    let news =
        [Update::State(state(1, State::Dead, 0, 9)), Update::State(state(5, State::Alive, 0, 0))];
    let digest = subject.engine.digest();
    let requests = [
        Message::Gossip,
        Message::Ack { sequence: 1, digest, slot_ms: None },
        Message::Nack { sequence: 1 },
        Message::PingReq { target: short(1), sequence: 1 },
        Message::Query { subject: short(1) },
    ];
    for message in requests {
        assert_eq!(subject.hear(9, message, &news), [], "{message:?}");
    }
    assert_eq!(subject.state_of(1), Some(State::Alive));
    assert_eq!(subject.engine.stats().ignored_stranger, 5);
    assert_eq!(subject.changes(), []);
}

#[test]
fn a_stranger_introduces_itself_with_its_record_and_only_with_its_own() {
    let mut subject = Subject::among(&[1, 2]);
    let (own, other) = (record(9), record(7));

    subject.hear(9, Message::Gossip, &[Update::Record(other.borrow())]);
    assert_eq!((subject.state_of(9), subject.state_of(7)), (None, None));

    subject.hear(9, Message::Gossip, &[Update::Record(own.borrow())]);
    assert_eq!((subject.state_of(9), subject.state_of(7)), (Some(State::Alive), None));
}

/// Every refusal with the counter that shows it.
#[test]
fn each_rejection_is_counted_by_its_reason_and_not_answered() {
    let good = datagram(
        1,
        Message::Ping { target: short(LOCAL), sequence: 1, digest: 0, wants_slot: false },
        &[],
    );
    let tag = ClusterTag::of(crate::CLUSTER);
    let foreign = foreign_ping();
    let mut damaged = good.clone();
    damaged[9] ^= 1;
    let mut other_version = good.clone();
    other_version[0] = 0xA1;
    let rows: [(&str, Vec<u8>, u64); 6] = [
        ("rejected_oversize", vec![0xA2; 1_201], 1),
        ("rejected_truncated", good[..7].to_vec(), 1),
        ("rejected_truncated", Vec::new(), 1),
        ("rejected_garbage", b"GET / HTTP/1.1\r\n\r\n".to_vec(), 1),
        ("rejected_version", other_version.to_vec(), 1),
        ("rejected_checksum", damaged.to_vec(), 1),
    ];
    for (counter, bytes, expected) in rows {
        let mut subject = Subject::among(&[1]);
        assert_eq!(subject.hear_from(address(1), &bytes), [], "{counter}");
        let (_, count) = subject.engine.stats().iter().find(|(name, _)| *name == counter).unwrap();
        assert_eq!(count, expected, "{counter}");
        let refused: u64 = subject
            .engine
            .stats()
            .iter()
            .filter(|(name, _)| name.starts_with("rejected"))
            .map(|(_, count)| count)
            .sum();
        assert_eq!(refused, 1, "{counter} and no other");
    }
    // The tag is what tells a foreign cluster from damage.
    assert_ne!(tag, ClusterTag::of("elsewhere"));
    let mut subject = Subject::among(&[1]);
    for _ in 0..4 {
        subject.hear_from(address(1), &foreign);
    }
    let stats = subject.engine.stats();
    assert_eq!((stats.rejected_checksum, stats.rejected_cluster), (1, 3));
    assert_eq!(subject.changes(), []);
}

fn foreign_ping() -> BytesMut {
    let mut buffer = BytesMut::new();
    let message = Message::Ping { target: short(LOCAL), sequence: 1, digest: 0, wants_slot: false };
    Encoder::begin(&mut buffer, short(1), &message).finish(ClusterTag::of("elsewhere"));
    buffer
}

#[test]
fn a_record_from_another_address_than_its_own_is_hearsay() {
    let mut subject = Subject::among(&[1, 2]);
    subject.pinged(1, 1);
    // Somebody else claims the name and address of peer 1, which was heard just now.
    let thief = OwnedRecord { id: crate::id(9), ..record(1) };
    let bytes = datagram(9, Message::Gossip, &[Update::Record(thief.borrow())]);

    subject.hear_from(address(66), &bytes);

    assert_eq!((subject.state_of(1), subject.state_of(9)), (Some(State::Alive), None));
}
