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
