//! Forged claims about this node are outbid; whatever they say, its own word wins again.

use astromesh_swim::{Event, Origin, OwnedRecord};
use astromesh_wire::{Message, State, StateUpdate, Update};

use crate::{LOCAL, News, Subject, address, claim, record, state};

/// What the engine says of itself to the others after it heard a lie, as they would merge it:
/// the highest state and the highest record.
fn answer(subject: &mut Subject) -> (Option<StateUpdate>, Option<OwnedRecord>) {
    let mut best = (None, None);
    for sent in subject.answered_for(crate::ms(1_000)) {
        for news in sent.news {
            match news {
                News::State(update) if update.id == crate::short(LOCAL) => best.0 = Some(update),
                News::Record(record) if record.id == crate::id(LOCAL) => best.1 = Some(record),
                _ => {}
            }
        }
    }
    best
}

fn told_of_state(update: StateUpdate) -> (Subject, (u32, u32)) {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(1, &[update]);
    let (state, _) = answer(&mut subject);
    let state = state.expect("it says something");
    assert_eq!(state.state, State::Alive);
    (subject, (state.generation, state.incarnation))
}

#[test]
fn doubts_of_every_kind_and_height_are_outbid() {
    let lies = [
        ("suspect", state(LOCAL, State::Suspect, 0, 1), (1, 1)),
        ("dead", state(LOCAL, State::Dead, 0, 1), (1, 1)),
        ("left", state(LOCAL, State::Left, 0, 1), (1, 1)),
        ("suspect ahead", state(LOCAL, State::Suspect, 41, 1), (1, 42)),
        ("alive ahead", state(LOCAL, State::Alive, 41, 1), (1, 42)),
        ("dead at the end of numbers", state(LOCAL, State::Dead, u32::MAX, 1), (2, 0)),
        (
            "newer generation",
            StateUpdate { generation: 9, ..state(LOCAL, State::Dead, 3, 1) },
            (9, 4),
        ),
    ];
    for (name, lie, expected) in lies {
        let (subject, told) = told_of_state(lie);
        assert_eq!(told, expected, "{name}");
        let kept: Vec<_> =
            subject.events.iter().filter(|event| matches!(event, Event::Generation(_))).collect();
        assert_eq!(kept.len(), usize::from(expected.0 > 1), "{name}");
        assert_eq!(subject.engine.stats().refutations, 1, "{name}");
    }
}

#[test]
fn records_that_contradict_this_node_are_outbid() {
    let own = record(LOCAL);
    let lies = [
        ("other address", OwnedRecord { address: address(77), ..own.clone() }),
        ("other name", OwnedRecord { name: "somebody".to_owned(), ..own.clone() }),
        ("later revision", OwnedRecord { revision: 9, address: address(77), ..own.clone() }),
        ("last revision", OwnedRecord { revision: u32::MAX, address: address(77), ..own.clone() }),
        ("higher incarnation", OwnedRecord { incarnation: 5, ..own.clone() }),
        ("higher generation", OwnedRecord { generation: 5, address: address(77), ..own.clone() }),
    ];
    for (name, lie) in lies {
        let mut subject = Subject::among(&[1, 2]);
        subject.hear(1, Message::Gossip, &[Update::Record(lie.borrow())]);

        let (state, told) = answer(&mut subject);

        let told = told.unwrap_or_else(|| panic!("{name}: no record"));
        assert_eq!((told.address, told.name.as_str()), (own.address, own.name.as_str()), "{name}");
        assert!((told.generation, told.revision) >= (lie.generation, lie.revision), "{name}");
        if lie.address != own.address || lie.name != own.name {
            assert!((told.generation, told.revision) > (lie.generation, lie.revision), "{name}");
        }
        let state = state.unwrap_or_else(|| panic!("{name}: no state"));
        assert!(
            (state.generation, state.incarnation) > (lie.generation, lie.incarnation),
            "{name}: {state:?}"
        );
    }
}

#[test]
fn claims_over_http_about_this_node_are_outbid_whoever_asked_for_them() {
    for origin in [Origin::Join, Origin::Sync, Origin::Unasked] {
        for said in [State::Suspect, State::Dead, State::Left] {
            let mut subject = Subject::among(&[1, 2]);
            let lie = OwnedRecord { incarnation: 6, address: address(77), ..record(LOCAL) };

            subject.merge(vec![claim(lie, said)], origin);

            assert_eq!(subject.engine.local().record.address(), address(LOCAL));
            assert!(subject.local() >= (1, 7, State::Alive), "{origin:?} {said:?}");
            assert_eq!(subject.engine.local().state, State::Alive);
        }
    }
}

#[test]
fn what_this_node_said_itself_before_is_not_outbid() {
    let mut subject = Subject::among(&[1, 2]);

    subject.told(1, &[state(LOCAL, State::Alive, 0, 0)]);
    let own = record(LOCAL);
    subject.hear(1, Message::Gossip, &[Update::Record(own.borrow())]);

    assert_eq!(subject.local(), (1, 0, State::Alive));
    assert!(!subject.engine.has_news());
}

#[test]
fn a_datagram_under_this_nodes_id_changes_nothing_and_is_reported() {
    let mut subject = Subject::among(&[1]);

    let bytes =
        crate::datagram(LOCAL, Message::Gossip, &[Update::State(state(1, State::Dead, 0, 2))]);
    let sent = subject.hear_from(address(66), &bytes);

    assert_eq!(sent, []);
    assert_eq!(subject.state_of(1), Some(State::Alive));
    assert_eq!(subject.events, [Event::OwnIdSeen(address(66))]);
    assert_eq!(subject.engine.stats().ignored_own_id, 1);
}

#[test]
fn at_the_end_of_all_numbers_this_nodes_own_do_not_fall() {
    let mut subject = Subject::among(&[1]);
    let last = |incarnation| StateUpdate {
        generation: u32::MAX,
        ..state(LOCAL, State::Dead, incarnation, 1)
    };

    subject.told(1, &[last(4)]);
    assert_eq!(subject.local(), (u32::MAX, 5, State::Alive));
    subject.told(1, &[last(u32::MAX)]);

    assert_eq!(subject.local(), (u32::MAX, u32::MAX, State::Alive));
}
