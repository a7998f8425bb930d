//! Nothing to do: as little as possible is done.

use astromesh_swim::Event;
use astromesh_wire::Message;

use crate::{Subject, address, is_ping, ms};

#[test]
fn a_node_that_is_alone_sends_nothing_at_all() {
    let mut subject = Subject::alone();

    let sent = subject.wait(ms(3_600_000));

    assert_eq!(sent, []);
    assert_eq!(subject.events, []);
    assert_eq!(subject.engine.leader(), Some(crate::id(crate::LOCAL)));
    assert_eq!(subject.engine.live_count(), 1);
}

#[test]
fn an_idle_node_sends_one_ping_of_22_bytes_an_interval() {
    let mut subject = Subject::among(&[1, 2, 3, 4]);

    let sent = subject.answered_for(ms(100_000));

    assert_eq!(sent.len(), 100);
    assert!(sent.iter().all(is_ping));
    assert!(sent.iter().all(|ping| ping.bytes == 22 && ping.news.is_empty()));
    assert_eq!(subject.events, Vec::<Event>::new());
}

#[test]
fn a_ping_is_answered_with_one_ack_of_17_bytes() {
    let mut subject = Subject::among(&[1, 2]);

    let sent = subject.pinged(1, 99);

    let digest = subject.engine.digest();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].to, address(1));
    assert_eq!(sent[0].message, Message::Ack { sequence: 99, digest, slot_ms: None });
    assert_eq!((sent[0].news.len(), sent[0].bytes), (0, 17));
}

#[test]
fn no_member_waits_longer_for_its_probe_than_two_rounds() {
    let peers = [1, 2, 3, 4, 5];
    let mut subject = Subject::among(&peers);

    let sent = subject.answered_for(ms(100_000));

    // Last of a round and first of the next is the least, first and last the most.
    for window in sent.windows(2 * peers.len() - 1) {
        for peer in peers {
            assert!(window.iter().any(|ping| ping.to == address(peer)), "{peer} in {window:?}");
        }
    }
}
