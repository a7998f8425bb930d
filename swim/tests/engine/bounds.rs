//! What others can make this node hold has a maximum, and each refusal is counted.

use std::time::Duration;

use astromesh_swim::{Config, Origin, OwnedRecord};
use astromesh_wire::{Message, NodeId, State, StateUpdate, Update};

use crate::{Subject, claim, is_ping, lifeguard, ms, record, short, state};

fn numbered(number: u32) -> OwnedRecord {
    let mut bytes = [0xEE; 16];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    let [.., b, c, d] = number.to_be_bytes();
    OwnedRecord {
        id: NodeId::from_bytes(bytes),
        address: ([11, b, c, d], 8000).into(),
        ..record(1)
    }
}

#[test]
fn the_table_holds_no_more_than_its_maximum() {
    let mut subject = Subject::with(Config { members_max: 50, ..lifeguard() });
    subject.meet(&[1]);

    for number in 0..1_000 {
        let record = numbered(number);
        subject.hear(1, Message::Gossip, &[Update::Record(record.borrow())]);
    }

    assert_eq!(subject.engine.members().count(), 50);
    assert_eq!(subject.engine.stats().refused_members_full, 951);
}

#[test]
fn no_more_than_256_members_wait_to_be_verified() {
    let mut subject = Subject::among(&[1]);

    let claims: Vec<_> = (0..1_000).map(|number| claim(numbered(number), State::Alive)).collect();
    let sent = subject.merge(claims, Origin::Unasked);

    assert_eq!(sent.len(), 256);
    assert_eq!(subject.engine.stats().refused_candidates_full, 744);
}

#[test]
fn no_more_than_256_pings_run_on_behalf_of_others() {
    let mut subject = Subject::among(&[1, 2]);

    let mut pings = 0;
    for sequence in 0..1_000 {
        let request = Message::PingReq { target: short(2), sequence };
        pings += subject.hear(1, request, &[]).iter().filter(|sent| is_ping(sent)).count();
    }

    assert_eq!(pings, 256);
    assert_eq!(subject.engine.stats().refused_relays_full, 744);
}

#[test]
fn one_datagram_makes_this_node_ask_for_no_more_than_eight_records() {
    let mut subject = Subject::among(&[1]);
    let unknown: Vec<StateUpdate> =
        (100..200).map(|number| state(number, State::Alive, 0, 0)).collect();

    let sent = subject.told(1, &unknown);

    assert_eq!(sent.len(), 8);
}

/// A flood of doubts and refutations of one member: 80,000 claims in one moment.
#[test]
fn garbage_of_every_length_changes_nothing() {
    let mut subject = Subject::among(&[1]);
    let mut rng = fastrand::Rng::with_seed(3);
    let digest = subject.engine.digest();
    for length in 0..1_500 {
        let mut bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
        if let Some(first) = bytes.first_mut() {
            *first = 0xA1;
        }
        assert_eq!(subject.hear_from(crate::address(1), &bytes), []);
    }
    assert_eq!(subject.engine.digest(), digest);
    assert_eq!(subject.events, []);
}

#[test]
fn who_is_dead_or_gone_for_a_day_is_forgotten() {
    let mut subject = Subject::among(&[1, 2, 3]);
    subject.told(2, &[state(1, State::Dead, 0, 2), state(3, State::Left, 0, 2)]);

    subject.answered_for(Duration::from_secs(23 * 3_600));
    assert_eq!(subject.engine.members().count(), 3);
    subject.answered_for(Duration::from_secs(3 * 3_600));

    assert_eq!((subject.state_of(1), subject.state_of(3)), (None, None));
    assert_eq!(subject.state_of(2), Some(State::Alive));
}

#[test]
fn a_member_that_flaps_is_probed_no_more_often_than_others() {
    let mut subject = flooded();
    subject.told(1, &[state(1, State::Alive, 1_000_000, 0)]);

    let sent = subject.answered_for(ms(20_000));

    let pings: Vec<_> = sent.iter().filter(|sent| is_ping(sent)).collect();
    let flapper = pings.iter().filter(|sent| sent.to == crate::address(1)).count();
    assert_eq!(pings.len(), 20);
    assert!((9..=11).contains(&flapper), "{flapper} of 20");
}

fn flooded() -> Subject {
    let mut subject = Subject::among(&[1, 2]);
    for round in 0..1_000 {
        let claims: Vec<StateUpdate> = (0..80)
            .map(|index| {
                let said = [State::Suspect, State::Dead, State::Alive, State::Suspect];
                let incarnation = round * 80 + index;
                state(1, said[(index % 4) as usize], incarnation, u8::try_from(index).unwrap())
            })
            .collect();
        subject.told(2, &claims);
    }
    subject
}

#[test]
fn a_flood_of_claims_leaves_a_handful_of_timers() {
    let subject = flooded();

    assert!(subject.engine.timers_pending() < 20, "{}", subject.engine.timers_pending());
}
