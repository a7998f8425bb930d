//! When views are compared in full.

use astromesh_swim::{Change, Event, Origin, OwnedRecord};
use astromesh_wire::{Message, NodeId, State};

use crate::{LOCAL, News, Subject, address, claim, id, ms, record, short, state};

fn ping(digest: u32) -> Message {
    Message::Ping { target: short(LOCAL), sequence: 1, digest, wants_slot: false }
}

fn syncs(subject: &Subject) -> usize {
    subject.events.iter().filter(|event| matches!(event, Event::SyncWanted(_))).count()
}

#[test]
fn views_that_differ_for_two_seconds_are_compared_with_that_peer() {
    let mut subject = Subject::among(&[1, 2]);
    let other = subject.engine.digest() ^ 1;

    subject.hear(1, ping(other), &[]);
    subject.answered_for(ms(1_999));
    subject.hear(1, ping(other), &[]);
    assert_eq!(syncs(&subject), 0);
    subject.answered_for(ms(1));
    subject.hear(2, ping(other), &[]);

    assert_eq!(syncs(&subject), 1);
    assert!(subject.events.contains(&Event::SyncWanted(id(2))));
}

#[test]
fn comparisons_are_at_least_two_seconds_apart() {
    let mut subject = Subject::among(&[1, 2]);
    let other = subject.engine.digest() ^ 1;

    for _ in 0..100 {
        subject.hear(1, ping(other), &[]);
        subject.answered_for(ms(100));
    }

    assert!(syncs(&subject) <= 5, "{} in 10 s", syncs(&subject));
    assert!(syncs(&subject) >= 3, "{} in 10 s", syncs(&subject));
}

#[test]
fn a_death_told_over_http_and_a_leave_told_unasked_are_suspicions_that_can_be_refuted() {
    let rows = [
        (State::Dead, Origin::Join),
        (State::Dead, Origin::Sync),
        (State::Dead, Origin::Unasked),
        (State::Left, Origin::Unasked),
    ];
    for (said, origin) in rows {
        let mut subject = Subject::among(&[1, 2]);

        subject.merge(vec![claim(record(1), said)], origin);

        assert_eq!(subject.state_of(1), Some(State::Suspect), "{said:?} {origin:?}");
        assert_eq!(subject.changes(), [(id(1), Change::Suspect)], "{said:?} {origin:?}");
    }
}

#[test]
fn a_leave_in_an_answer_that_was_asked_for_is_taken_as_it_is_and_spread() {
    for origin in [Origin::Join, Origin::Sync] {
        let mut subject = Subject::among(&[1, 2]);

        subject.merge(vec![claim(record(1), State::Left)], origin);

        assert_eq!(subject.state_of(1), Some(State::Left), "{origin:?}");
        assert_eq!(subject.changes(), [(id(1), Change::Left)], "{origin:?}");
        let sent = subject.answered_for(ms(1_000));
        let news = News::State(state(1, State::Left, 0, 0));
        assert!(sent.iter().any(|sent| sent.to == address(2) && sent.news.contains(&news)));
    }
}

#[test]
fn a_leave_in_an_answer_does_not_bring_the_member_back_on_its_way() {
    // Its record is newer than what is known here, and by itself says "alive".
    let newer = OwnedRecord { generation: 2, incarnation: 3, name: "renamed".into(), ..record(1) };
    for held in [State::Suspect, State::Dead] {
        let mut subject = Subject::among(&[1, 2]);
        subject.told(2, &[state(1, held, 0, 2)]);
        subject.events.clear();

        subject.merge(vec![claim(newer.clone(), State::Left)], Origin::Sync);

        assert_eq!(
            subject.changes(),
            [(id(1), Change::Left), (id(1), Change::Updated)],
            "{held:?}"
        );
        assert_eq!(subject.member(1).unwrap().record, newer);
    }
}

#[test]
fn a_member_wrongly_said_to_have_left_hears_of_it_and_refutes() {
    let mut subject = Subject::among(&[1, 2]);
    subject.merge(vec![claim(record(1), State::Left)], Origin::Sync);

    let sent = subject.pinged(1, 5);
    assert_eq!(sent[0].news.first(), Some(&News::State(state(1, State::Left, 0, 0))));
    subject.told(1, &[state(1, State::Alive, 1, 0)]);

    assert_eq!(subject.state_of(1), Some(State::Alive));
}

#[test]
fn a_claim_over_http_about_another_with_the_same_short_id_is_refused() {
    let mut bytes = [1; 16];
    bytes[15] = 2;
    let twin = OwnedRecord { id: NodeId::from_bytes(bytes), ..record(1) };
    for origin in [Origin::Join, Origin::Sync, Origin::Unasked] {
        for said in [State::Alive, State::Suspect, State::Dead, State::Left] {
            let mut subject = Subject::among(&[1, 2]);

            subject.merge(vec![claim(twin.clone(), said)], origin);

            assert_eq!(subject.state_of(1), Some(State::Alive), "{said:?} {origin:?}");
            assert_eq!(subject.engine.stats().refused_id_collision, 1, "{said:?} {origin:?}");
        }
    }
}

#[test]
fn members_learnt_from_a_comparison_are_believed_and_spread() {
    let mut subject = Subject::among(&[1, 2]);

    subject.merge(vec![claim(record(5), State::Alive)], Origin::Sync);

    assert_eq!(subject.state_of(5), Some(State::Alive));
    let sent = subject.answered_for(ms(1_000));
    assert!(sent.iter().any(|sent| sent.news.contains(&News::Record(record(5)))));
}

#[test]
fn suspicion_and_load_do_not_make_views_differ() {
    let mut subject = Subject::among(&[1, 2]);
    let before = subject.engine.digest();

    subject.told(2, &[state(1, State::Suspect, 0, 2)]);

    assert_eq!(subject.engine.digest(), before);
}

#[test]
fn a_camp_that_agrees_does_not_hide_one_that_differs() {
    // Two camps that know of each other, half the peers in each: an equal digest now and then must
    // not put the comparison off for ever.
    let mut subject = Subject::among(&[1, 2]);
    let (own, other) = (subject.engine.digest(), subject.engine.digest() ^ 1);

    for _ in 0..6 {
        subject.hear(1, ping(own), &[]);
        subject.hear(2, ping(other), &[]);
        subject.answered_for(ms(500));
    }

    assert_eq!(syncs(&subject), 1);
}

#[test]
fn while_our_own_view_moves_nothing_is_compared() {
    let mut subject = Subject::among(&[1, 2]);
    let other = subject.engine.digest() ^ 1;

    for incarnation in 1..10 {
        subject.told(2, &[state(1, State::Alive, incarnation, 0)]);
        subject.hear(2, ping(other), &[]);
        subject.answered_for(ms(1_000));
    }

    assert_eq!(syncs(&subject), 0);
}

#[test]
fn a_difference_met_long_ago_does_not_count() {
    let mut subject = Subject::among(&[1, 2]);
    let other = subject.engine.digest() ^ 1;

    subject.hear(1, ping(other), &[]);
    subject.answered_for(ms(60_000));
    subject.hear(1, ping(other), &[]);

    assert_eq!(syncs(&subject), 0);
}
