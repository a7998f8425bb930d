//! What counts of a whole view that another node told over HTTP.

use astromesh_swim::{Change, Origin, OwnedRecord};
use astromesh_wire::{NodeId, State};

use crate::{News, Subject, address, claim, id, is_ping_to, ms, record, state};

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
fn a_death_told_over_http_and_a_leave_told_unasked_are_asked_of_the_member_itself() {
    let rows = [
        (State::Dead, Origin::Join),
        (State::Dead, Origin::Sync),
        (State::Dead, Origin::Unasked),
        (State::Left, Origin::Unasked),
    ];
    for (said, origin) in rows {
        let mut subject = Subject::among(&[1, 2]);

        let sent = subject.merge(vec![claim(record(1), said)], origin);

        assert_eq!(subject.state_of(1), Some(State::Alive), "{said:?} {origin:?}");
        let asked = sent.iter().find(|sent| is_ping_to(1)(sent)).unwrap();
        assert_eq!(asked.news, [News::State(state(1, State::Dead, 0, 0))], "{said:?} {origin:?}");
        subject.wait(ms(349));
        assert_eq!(subject.state_of(1), Some(State::Alive), "{said:?} {origin:?}");
        subject.wait(ms(1));
        assert_eq!(subject.state_of(1), Some(State::Dead), "{said:?} {origin:?}");
    }
}
