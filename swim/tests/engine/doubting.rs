//! A member that does not answer, and nobody who says that he has no answer either: doubt. Told to
//! nobody, shown as suspect, later unreachable, at last given up; all undone by one answer.

use astromesh_swim::{Change, Command, Doubt, Event, VerdictRule};
use astromesh_wire::{Message, State, Vote};

use crate::peers::{
    NO_HELP, ONE_IS_GONE, Peers, asks_about, is_solicit, solicit, times, up_to, vote,
};
use crate::{LOCAL, Subject, address, id, is_ping_to, ms};

/// Nobody answers anything.
const CUT_OFF: Peers<'static> = Peers { silent: &[1, 2, 9], nacks: false, vote: None };

fn doubt(subject: &Subject) -> Doubt {
    subject.member(1).unwrap().doubt
}

#[test]
fn without_a_nack_nobody_is_asked_to_vote_and_nobody_told() {
    let mut subject = Subject::observing(&up_to(7));
    subject.probe(1, NO_HELP);
    let sent = subject.live(NO_HELP, ms(9_000));

    assert_eq!((subject.state_of(1), subject.shown(1)), (Some(State::Alive), Some(State::Suspect)));
    assert_eq!(doubt(&subject), Doubt::Case);
    assert_eq!(times(&sent, is_solicit), []);
    assert!(sent.iter().all(|(_, sent)| sent.news.is_empty()), "told to nobody");
    assert!(!subject.engine.has_news());
    assert_eq!(subject.changes(), [(id(1), Change::Suspect)]);
    assert_eq!(subject.verdicts(), []);
}

#[test]
fn a_doubter_pings_each_250_ms_and_asks_four_helpers_each_500_ms() {
    let mut subject = Subject::observing(&up_to(7));
    let probe = subject.probe(1, NO_HELP);
    let sequence = Subject::last_sequence(&probe, 1);
    let sent = subject.live(NO_HELP, ms(2_000));

    let mine = |it: &crate::Sent| crate::sequence_of(it) == sequence;
    let pings = times(&sent, |it| is_ping_to(1)(it) && mine(it));
    assert_eq!(pings, [250, 500, 750, 1_000, 1_250, 1_500, 1_750, 2_000]);
    let requests = times(&sent, |it| asks_about(1)(it) && mine(it));
    assert_eq!(requests, [500, 1_000, 1_500, 2_000].map(|at| [at; 4]).concat());
    let first = times(&probe, |it| asks_about(1)(it) && mine(it));
    assert_eq!(first.iter().filter(|at| **at == 350).count(), 4);
}

#[test]
fn a_nack_makes_an_accusation_of_a_doubt() {
    for age in [100, 5_000, 9_000] {
        let mut subject = Subject::observing(&up_to(7));
        let sent = subject.probe(1, NO_HELP);
        subject.live(NO_HELP, ms(age));

        subject.hear(2, Message::Nack { sequence: Subject::last_sequence(&sent, 1) }, &[]);
        let sent = subject.live(NO_HELP, ms(1));

        assert_eq!(Subject::jurors(&sent), [2, 3, 4, 5, 6, 7], "after {age} ms");
        // Who has not been asked yet is waited for.
        subject.live(NO_HELP, ms(400));
        assert_eq!(subject.shown(1), Some(State::Suspect), "after {age} ms");
    }
}

/// The fallback of an accuser is no shorter for a doubt that lasted as long.
#[test]
fn a_doubt_of_any_age_is_not_declared_before_the_others_were_asked() {
    let mut subject = Subject::observing(&[1, 2]);
    let sent = subject.probe(1, CUT_OFF);
    let sequence = Subject::last_sequence(&sent, 1);
    subject.live(CUT_OFF, ms(25_000));
    assert_eq!(doubt(&subject), Doubt::Unreachable);

    subject.hear(2, Message::Nack { sequence }, &[]);
    let sent = subject.live(CUT_OFF, ms(7_900));

    assert!(times(&sent, is_solicit).len() > 10);
    assert!(subject.verdicts().iter().all(|verdict| verdict.subject != id(1)));
    assert_eq!(subject.shown(1), Some(State::Suspect));
    subject.hear(2, vote(Vote::Alive), &[]);
    assert_eq!(subject.shown(1), Some(State::Alive));
}

#[test]
fn after_10_s_it_is_unreachable_after_30_s_given_up_and_one_ack_undoes_it() {
    // Peer 9 would lead.
    let mut subject = Subject::observing(&[2, 9]);
    subject.command(Command::Probe(id(9)));
    let sent = subject.live(CUT_OFF, ms(350));
    let sequence = Subject::last_sequence(&sent, 9);
    let doubt = |subject: &Subject| subject.member(9).unwrap().doubt;
    assert_eq!((subject.engine.leader(), doubt(&subject)), (Some(id(9)), Doubt::Case));

    subject.live(CUT_OFF, ms(9_990));
    assert_eq!(doubt(&subject), Doubt::Case);
    subject.live(CUT_OFF, ms(510));
    assert_eq!(doubt(&subject), Doubt::Unreachable);
    assert_eq!(subject.shown(9), Some(State::Suspect));
    subject.live(CUT_OFF, ms(19_000));
    assert_eq!((subject.shown(9), doubt(&subject)), (Some(State::Suspect), Doubt::Unreachable));
    subject.live(CUT_OFF, ms(5_600));
    assert_eq!((subject.shown(9), doubt(&subject)), (Some(State::Dead), Doubt::GivenUp));
    assert_eq!(subject.state_of(9), Some(State::Alive), "in this view only");
    assert_eq!(subject.engine.leader(), Some(id(LOCAL)));
    let verdicts: Vec<_> =
        subject.verdicts().into_iter().filter(|it| it.subject == id(9)).collect();
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0].rule, VerdictRule::Unreachable);
    assert!(!subject.engine.has_news(), "told to nobody");

    subject.acked(9, sequence, None);

    assert_eq!((subject.shown(9), doubt(&subject)), (Some(State::Alive), Doubt::None));
    assert_eq!(subject.engine.leader(), Some(id(9)));
    let changes: Vec<_> = subject.changes().into_iter().filter(|it| it.0 == id(9)).collect();
    let wanted = [Change::Suspect, Change::Dead, Change::Alive];
    assert_eq!(changes, wanted.map(|change| (id(9), change)));
    let leaders = subject.events.iter().filter(|it| matches!(it, Event::Leader { .. }));
    assert_eq!(leaders.count(), 2);
}

#[test]
fn one_answer_makes_it_try_the_other_doubted_ones_at_once() {
    let mut subject = Subject::observing(&[1, 2]);
    subject.probe(1, CUT_OFF);
    let sent = subject.probe(2, CUT_OFF);
    let sequence = Subject::last_sequence(&sent, 2);
    subject.live(CUT_OFF, ms(16_000));

    subject.acked(2, sequence, None);
    let sent = subject.live(CUT_OFF, ms(0));

    assert_eq!(times(&sent, is_ping_to(1)), [0]);
    assert!(sent.iter().any(|(_, it)| asks_about(1)(it) && it.to == address(2)));
}

#[test]
fn a_sick_node_doubts_and_accuses_once_it_is_well_and_has_a_nack() {
    let mut subject = Subject::observing(&up_to(7));
    subject.command(Command::QueueDelay(ms(101)));
    let sent = subject.probe(1, ONE_IS_GONE);
    assert_eq!(times(&sent, is_solicit), []);
    assert_eq!(doubt(&subject), Doubt::Case);

    let sent = subject.live(ONE_IS_GONE, ms(3_000));

    let asked = times(&sent, is_solicit);
    assert!(asked.first().is_some_and(|at| (2_650..=3_000).contains(at)), "{asked:?}");
}

#[test]
fn a_doubter_that_is_asked_says_no() {
    let mut subject = Subject::observing(&up_to(7));
    subject.probe(1, NO_HELP);

    let sent = subject.hear(3, solicit(5), &[]);

    assert_eq!(sent.iter().map(|it| it.message).collect::<Vec<_>>(), [vote(Vote::No)]);
}

#[test]
fn an_ack_of_a_stranger_closes_nothing() {
    let mut subject = Subject::observing(&up_to(7));
    let sent = subject.probe(1, NO_HELP);
    let sequence = Subject::last_sequence(&sent, 1);
    subject.live(NO_HELP, ms(1_000));

    subject.acked(99, sequence, None);
    assert_eq!(subject.shown(1), Some(State::Suspect));
    // Any member may have been asked to help.
    subject.acked(5, sequence, None);
    assert_eq!(subject.shown(1), Some(State::Alive));
}
