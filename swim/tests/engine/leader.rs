//! The highest id among the live members leads; the term only grows.

use astromesh_swim::{Command, Event, Origin};
use astromesh_wire::State;

use crate::{LOCAL, Subject, claim, id, record, state};

fn elections(subject: &mut Subject) -> Vec<(Option<u8>, u64)> {
    std::mem::take(&mut subject.events)
        .into_iter()
        .filter_map(|event| match event {
            Event::Leader { id, term } => Some((id.map(|id| id.as_bytes()[0]), term)),
            _ => None,
        })
        .collect()
}

#[test]
fn the_highest_live_id_leads_and_each_change_raises_the_term() {
    let mut subject = Subject::alone();
    assert_eq!((subject.engine.leader(), subject.engine.term()), (Some(id(LOCAL)), 1));

    subject.merge(vec![claim(record(3), State::Alive)], Origin::Join);
    assert_eq!(elections(&mut subject), []);
    subject.merge(vec![claim(record(9), State::Alive)], Origin::Join);
    assert_eq!(elections(&mut subject), [(Some(9), 2)]);
    subject.told(3, &[state(9, State::Suspect, 0, 3)]);
    assert_eq!(elections(&mut subject), [], "a suspect still leads");
    subject.told(3, &[state(9, State::Dead, 0, 3)]);
    assert_eq!(elections(&mut subject), [(Some(LOCAL), 3)]);
    subject.told(9, &[state(9, State::Alive, 1, 0)]);
    assert_eq!(elections(&mut subject), [(Some(9), 4)]);
    subject.command(Command::Leave);
    assert_eq!(elections(&mut subject), [(None, 5)]);
}

#[test]
fn a_higher_term_heard_of_is_kept_and_a_lower_or_absurd_one_is_not() {
    let mut subject = Subject::among(&[1]);
    let merge = |term| Command::Merge { claims: Vec::new(), term, origin: Origin::Unasked };

    subject.command(merge(50));
    subject.command(merge(7));
    subject.command(merge(u64::MAX));

    assert_eq!(subject.engine.term(), 50);
    assert_eq!(elections(&mut subject), [(Some(LOCAL), 50)]);
}
