//! Members that come, come again, move, or take another's place.

use astromesh_swim::{Change, Command, Origin, OwnedRecord};
use astromesh_wire::{Message, State, StateUpdate, Update};
use bytes::Bytes;

use crate::{LOCAL, News, Subject, address, claim, id, is_ping_to, ms, record, short, state};

#[test]
fn what_a_seed_answers_is_believed_and_not_spread_by_a_node_that_was_alone() {
    let mut subject = Subject::alone();
    subject.wait(ms(10_000));

    let claims = vec![claim(record(1), State::Alive), claim(record(9), State::Dead)];
    subject.merge(claims, Origin::Join);

    // Who is gone comes with its age, by the comparison of views.
    assert_eq!((subject.state_of(1), subject.state_of(9)), (Some(State::Alive), None));
    let sent = subject.answered_for(ms(10_000));
    for datagram in sent.iter().filter(|sent| sent.to == address(1)) {
        for news in &datagram.news {
            let own = matches!(news, News::Record(record) if record.id == id(LOCAL));
            assert!(own, "{news:?} is known there");
        }
    }
}

#[test]
fn a_member_announced_unasked_is_believed_once_it_answers_a_ping() {
    let mut subject = Subject::among(&[1]);

    let sent = subject.merge(vec![claim(record(9), State::Alive)], Origin::Unasked);

    assert_eq!(sent.len(), 1);
    assert!(is_ping_to(9)(&sent[0]));
    assert_eq!(sent[0].news, [News::Record(record(LOCAL))]);
    assert_eq!(subject.state_of(9), None);
    assert_eq!(subject.engine.leader(), Some(id(LOCAL)), "a forged high id does not lead");

    let ack = Message::Ack { sequence: crate::sequence_of(&sent[0]), digest: 0, slot_ms: None };
    subject.hear(9, ack, &[]);

    assert_eq!(subject.state_of(9), Some(State::Alive));
    assert_eq!(subject.changes(), [(id(9), Change::Joined)]);
    assert_eq!(subject.engine.leader(), Some(id(9)));
}

#[test]
fn a_member_announced_unasked_that_does_not_answer_is_never_believed() {
    let mut subject = Subject::among(&[1]);
    let claims: Vec<_> = [State::Alive, State::Suspect, State::Dead, State::Left]
        .map(|state| claim(record(9), state))
        .to_vec();

    subject.merge(claims, Origin::Unasked);
    subject.answered_for(ms(10_000));

    assert_eq!(subject.state_of(9), None);
    assert_eq!(subject.changes(), []);
}

#[test]
fn an_answer_with_another_sequence_or_from_another_member_verifies_nobody() {
    let mut subject = Subject::among(&[1]);
    let sent = subject.merge(vec![claim(record(9), State::Alive)], Origin::Unasked);
    let sequence = crate::sequence_of(&sent[0]);

    subject.hear(
        9,
        Message::Ack { sequence: sequence.wrapping_add(1), digest: 0, slot_ms: None },
        &[],
    );
    subject.hear(1, Message::Ack { sequence, digest: 0, slot_ms: None }, &[]);

    assert_eq!(subject.state_of(9), None);
}

#[test]
fn news_of_a_member_unknown_here_makes_the_teller_be_asked_for_its_record() {
    let mut subject = Subject::among(&[1]);

    let sent = subject.told(1, &[state(5, State::Alive, 0, 0), state(6, State::Dead, 0, 1)]);

    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to, sent[0].message), (address(1), Message::Query { subject: short(5) }));
    let answer = subject.hear(1, Message::Query { subject: short(LOCAL) }, &[]);
    assert_eq!(answer[0].news, [News::Record(record(LOCAL))]);
}

#[test]
fn a_restart_counts_at_once_also_from_the_dead() {
    for before in [State::Alive, State::Suspect, State::Dead, State::Left] {
        let mut subject = Subject::among(&[1, 2]);
        if before != State::Alive {
            subject.told(2, &[state(1, before, 4, 2)]);
        }
        assert_eq!(subject.state_of(1), Some(before));

        let restarted = OwnedRecord { generation: 2, address: address(51), ..record(1) };
        subject.hear(2, Message::Gossip, &[Update::Record(restarted.borrow())]);

        let member = subject.member(1).unwrap();
        assert_eq!(member.state, State::Alive, "{before:?}");
        assert_eq!(member.record, restarted, "{before:?}");
        assert_eq!(subject.engine.members().count(), 2, "no ghost, {before:?}");
    }
}

#[test]
fn what_is_said_of_an_older_generation_counts_no_more() {
    let mut subject = Subject::among(&[1, 2]);
    let restarted = OwnedRecord { generation: 2, ..record(1) };
    subject.hear(2, Message::Gossip, &[Update::Record(restarted.borrow())]);

    subject.told(2, &[state(1, State::Dead, 99, 2), state(1, State::Left, 99, 2)]);

    assert_eq!(subject.state_of(1), Some(State::Alive));
}

#[test]
fn a_new_address_counts_at_once_and_an_old_one_no_more() {
    let mut subject = Subject::among(&[1, 2]);
    let moved = OwnedRecord { revision: 2, address: address(51), ..record(1) };

    subject.hear(2, Message::Gossip, &[Update::Record(moved.borrow())]);
    subject.hear(2, Message::Gossip, &[Update::Record(record(1).borrow())]);

    assert_eq!(subject.member(1).unwrap().record.address(), address(51));
    assert_eq!(subject.changes(), [(id(1), Change::Updated)]);
    let sent = subject.wait(ms(3_000));
    assert!(sent.iter().all(|sent| sent.to != address(1)), "nothing goes to the old address");
}

#[test]
fn the_same_name_and_address_under_a_new_id_replaces_at_once() {
    let mut subject = Subject::among(&[1, 2]);
    let new = OwnedRecord { id: id(5), ..record(1) };
    let introduction = crate::datagram(
        5,
        Message::Ping { target: short(LOCAL), sequence: 3, digest: 0, wants_slot: false },
        &[Update::Record(new.borrow())],
    );

    subject.hear_from(address(1), &introduction);

    assert_eq!((subject.state_of(1), subject.state_of(5)), (Some(State::Left), Some(State::Alive)));
    assert_eq!(
        subject.changes(),
        [(id(1), Change::Left), (id(1), Change::Replaced), (id(5), Change::Joined)]
    );
}

#[test]
fn hearsay_does_not_replace_a_member_heard_from_just_now() {
    let mut subject = Subject::among(&[1, 2]);
    subject.pinged(1, 1);
    let new = OwnedRecord { id: id(5), ..record(1) };

    subject.hear(2, Message::Gossip, &[Update::Record(new.borrow())]);

    assert_eq!((subject.state_of(1), subject.state_of(5)), (Some(State::Alive), None));
}

#[test]
fn another_full_id_with_the_same_short_one_is_refused_and_counted() {
    let mut subject = Subject::among(&[1, 2]);
    let mut bytes = [1; 16];
    bytes[15] = 2;
    let other = OwnedRecord { id: astromesh_wire::NodeId::from_bytes(bytes), ..record(5) };

    subject.hear(2, Message::Gossip, &[Update::Record(other.borrow())]);

    assert_eq!(subject.member(1).unwrap().record, record(1));
    assert_eq!(subject.engine.stats().refused_id_collision, 1);
}

#[test]
fn records_that_lead_nowhere_are_refused_and_counted() {
    let bad = [
        OwnedRecord { address: ([10, 0, 0, 5], 0).into(), ..record(5) },
        OwnedRecord { address: ([0, 0, 0, 0], 8000).into(), ..record(5) },
        OwnedRecord { address: ([224, 0, 0, 1], 8000).into(), ..record(5) },
    ];
    for record in bad {
        let mut subject = Subject::among(&[1]);
        subject.hear(1, Message::Gossip, &[Update::Record(record.borrow())]);
        subject.merge(vec![claim(record.clone(), State::Alive)], Origin::Unasked);
        assert_eq!(subject.state_of(5), None, "{}", record.address);
        assert_eq!(subject.engine.stats().refused_record, 2, "{}", record.address);
    }
}

#[test]
fn the_hosts_own_changes_travel_as_a_new_revision() {
    let mut subject = Subject::among(&[1]);

    subject.command(Command::SetMetadata(Bytes::from_static(b"new")));
    subject.command(Command::SetAddress(address(80)));
    subject.command(Command::SetAddress(address(80)));

    let own = &subject.engine.local().record;
    assert_eq!((own.revision, own.incarnation, own.generation), (3, 0, 1));
    let sent = subject.answered_for(ms(1_000));
    let record = OwnedRecord {
        revision: 3,
        address: address(80),
        metadata: Bytes::from_static(b"new"),
        ..record(LOCAL)
    };
    assert!(sent.iter().any(|sent| sent.news == [News::Record(record.clone())]));
}

#[test]
fn a_state_of_a_newer_generation_is_followed_by_its_record() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[StateUpdate { generation: 2, ..state(1, State::Alive, 0, 0) }]);
    assert_eq!(subject.member(1).unwrap().record.revision, 0, "its record is still to come");

    let moved = OwnedRecord { generation: 2, address: address(51), ..record(1) };
    subject.hear(2, Message::Gossip, &[Update::Record(moved.borrow())]);

    assert_eq!(subject.member(1).unwrap().record, moved);
}

#[test]
fn what_a_seed_answers_is_spread_by_a_node_that_has_company() {
    // Two seeds that join through each other: each brings its side to the other.
    let mut subject = Subject::among(&[1, 2]);

    subject.merge(vec![claim(record(3), State::Alive)], Origin::Join);

    let sent = subject.answered_for(ms(3_000));
    let told = |peer| {
        sent.iter()
            .filter(|sent| sent.to == address(peer))
            .flat_map(|sent| &sent.news)
            .any(|news| matches!(news, News::Record(record) if record.id == id(3)))
    };
    assert!(told(1) && told(2));
}

#[test]
fn metadata_that_fits_no_datagram_and_addresses_that_lead_nowhere_are_refused() {
    let mut subject = Subject::among(&[1]);

    subject.command(Command::SetMetadata(Bytes::from(vec![0; 1_001])));
    subject.command(Command::SetAddress(([0, 0, 0, 0], 8000).into()));

    assert_eq!(subject.engine.local().record.unpack(), record(LOCAL));
    assert_eq!(subject.engine.stats().refused_record, 2);
    assert!(!subject.engine.has_news());
}

#[test]
fn the_record_of_one_who_is_gone_does_not_replace_who_took_its_place() {
    for gone in [State::Dead, State::Left] {
        for origin in [Origin::Join, Origin::Sync] {
            let mut subject = Subject::among(&[1, 2]);
            // Nothing was heard from peer 1 for long: hearsay could replace it.
            subject.wait(ms(2_500));
            let old = OwnedRecord { id: id(5), ..record(1) };

            subject.merge(vec![claim(old, gone)], origin);

            assert!(subject.member(1).unwrap().is_live(), "{gone:?} {origin:?}");
            assert_ne!(subject.state_of(5), Some(State::Alive));
            assert!(!subject.changes().contains(&(id(1), Change::Replaced)));
            assert!(!subject.changes().contains(&(id(5), Change::Joined)));
        }
    }
}
