//! Saying goodbye.

use astromesh_swim::{Change, Command, OwnedRecord};
use astromesh_wire::{Message, State, Update};

use crate::{LOCAL, News, Subject, address, id, is_ping_to, ms, record, state};

#[test]
fn a_leave_goes_to_everybody_at_once_and_the_leader_is_none() {
    let mut subject = Subject::among(&[1, 2, 3]);

    let sent = subject.command(Command::Leave);

    let own = [News::State(state(LOCAL, State::Left, 0, 0))];
    assert_eq!(sent.len(), 3);
    for peer in [1, 2, 3] {
        assert!(sent.iter().any(|sent| sent.to == address(peer) && sent.news == own), "{peer}");
    }
    assert_eq!(subject.engine.leader(), None);
    assert_eq!(subject.changes(), [(id(LOCAL), Change::Left)]);
}

#[test]
fn a_node_that_left_answers_pings_of_members_with_its_leave_and_nothing_else() {
    let mut subject = Subject::among(&[1, 2]);
    subject.command(Command::Leave);
    subject.wait(ms(30_000));

    let sent = subject.pinged(1, 5);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].message, Message::Gossip);
    assert_eq!(sent[0].news, [News::State(state(LOCAL, State::Left, 0, 0))]);

    assert_eq!(subject.pinged(77, 5), [], "a stranger");
    assert_eq!(subject.told(1, &[state(LOCAL, State::Dead, 9, 1)]), [], "it does not refute");
    assert_eq!(subject.told(1, &[state(2, State::Dead, 0, 1)]), []);
    assert_eq!(subject.state_of(2), Some(State::Alive));
    assert_eq!(subject.wait(ms(60_000)), [], "and it asks nobody anything");
    assert_eq!(subject.local(), (1, 0, State::Left));
}

#[test]
fn a_leave_heard_of_is_passed_on_and_the_member_is_not_probed_again() {
    let mut subject = Subject::among(&[1, 2]);

    subject.told(1, &[state(1, State::Left, 0, 0)]);

    assert_eq!(subject.changes(), [(id(1), Change::Left)]);
    let sent = subject.answered_for(ms(60_000));
    let own = News::State(state(1, State::Left, 0, 0));
    assert!(sent.iter().any(|sent| sent.to == address(2) && sent.news.contains(&own)));
    assert!(!sent.iter().any(is_ping_to(1)));
}

#[test]
fn nothing_stale_brings_back_who_left() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(1, &[state(1, State::Left, 3, 0)]);

    for incarnation in 0..=3 {
        for said in [State::Alive, State::Suspect, State::Dead] {
            subject.told(2, &[state(1, said, incarnation, 2)]);
        }
        let record = OwnedRecord { incarnation, revision: 5, ..record(1) };
        subject.hear(2, Message::Gossip, &[Update::Record(record.borrow())]);
    }

    assert_eq!(subject.state_of(1), Some(State::Left));
}

#[test]
fn a_suspicion_of_who_leaves_ends_with_the_leave() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[state(1, State::Suspect, 0, 2)]);
    subject.told(1, &[state(1, State::Left, 0, 0)]);

    subject.answered_for(ms(30_000));

    assert_eq!(subject.state_of(1), Some(State::Left));
    assert_eq!(subject.engine.stats().deaths, 0);
}

#[test]
fn a_dead_member_can_be_dismissed_and_a_live_one_cannot() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[state(1, State::Dead, 0, 2)]);

    subject.command(Command::Dismiss(id(1)));
    subject.command(Command::Dismiss(id(2)));

    assert_eq!((subject.state_of(1), subject.state_of(2)), (Some(State::Left), Some(State::Alive)));
}
