//! When views are compared in full.

use astromesh_swim::{Change, Event, Origin};
use astromesh_wire::{Message, State};

use crate::{LOCAL, Subject, claim, id, ms, record, short};

fn ping(digest: u32) -> Message {
    Message::Ping { target: short(LOCAL), sequence: 1, digest }
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
fn a_death_learnt_from_a_comparison_is_a_suspicion_that_can_be_refuted() {
    for said in [State::Dead, State::Left] {
        let mut subject = Subject::among(&[1, 2]);

        subject.merge(vec![claim(record(1), said)], Origin::Sync);

        assert_eq!(subject.state_of(1), Some(State::Suspect));
        assert_eq!(subject.changes(), [(id(1), Change::Suspect)]);
    }
}

#[test]
fn members_learnt_from_a_comparison_are_believed_and_spread() {
    let mut subject = Subject::among(&[1, 2]);

    subject.merge(vec![claim(record(5), State::Alive)], Origin::Sync);

    assert_eq!(subject.state_of(5), Some(State::Alive));
    let sent = subject.answered_for(ms(1_000));
    assert!(sent.iter().any(|sent| sent.news.contains(&crate::News::Record(record(5)))));
}

#[test]
fn suspicion_and_load_do_not_make_views_differ() {
    let mut subject = Subject::among(&[1, 2]);
    let before = subject.engine.digest();

    subject.told(2, &[crate::state(1, State::Suspect, 0, 2)]);

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
        subject.told(2, &[crate::state(1, State::Alive, incarnation, 0)]);
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
