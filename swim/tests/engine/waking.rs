//! After a standstill, or behind in reading: what was not heard in that time proves nothing, and of
//! all that waits only the newest is answered. Members that come back are given more time.

use astromesh_swim::Command;
use astromesh_wire::{Incarnation, Message, State, StateUpdate, Vote};

use crate::peers::{
    ALL_WELL, NO_HELP, ONE_IS_GONE, Peers, accused, is_solicit, solicit, times, up_to,
};
use crate::{LOCAL, Subject, address, id, is_ping, is_ping_to, ms, sequence_of, short, state};

const ALL_SAY_NO: Peers<'static> = Peers { silent: &[1], nacks: true, vote: Some(Vote::No) };

#[test]
fn of_each_peer_the_newest_ping_is_answered_before_anything_else() {
    let mut subject = Subject::observing(&up_to(7));
    subject.now = subject.now + ms(8_000);

    for sequence in 1..=50 {
        for peer in [3, 2] {
            assert_eq!(subject.pinged(peer, sequence), [], "held back");
        }
    }
    subject.engine.handle_timeout(subject.now);
    let sent = subject.drain();

    let acks: Vec<_> = sent.iter().filter(|it| matches!(it.message, Message::Ack { .. })).collect();
    let answered: Vec<_> = acks.iter().map(|it| (it.to, sequence_of(it))).collect();
    assert_eq!(answered, [(address(3), 50), (address(2), 50)]);
    assert!(matches!(sent[0].message, Message::Ack { .. }));
    assert!(matches!(sent[1].message, Message::Ack { .. }));
    assert_eq!(subject.engine.stats().stalls, 1);
    let sent = subject.pinged(2, 51);
    assert_eq!(sent.len(), 1, "as usual again");
}

#[test]
fn a_stranger_is_not_held_in_memory() {
    let mut subject = Subject::observing(&up_to(7));
    subject.now = subject.now + ms(8_000);

    assert_eq!(subject.pinged(99, 1).len(), 1);
}

#[test]
fn a_standstill_of_100_ms_drops_probes_and_cases_and_is_sick_for_a_second() {
    let mut subject = Subject::observing(&up_to(7));
    subject.probe(1, ONE_IS_GONE);
    subject.command(Command::Probe(id(2)));
    subject.live(Peers { silent: &[1, 2], ..ONE_IS_GONE }, ms(1));
    assert_eq!(subject.shown(1), Some(State::Suspect));
    let due = subject.engine.poll_timeout().unwrap();

    subject.now = due + ms(100);
    subject.engine.handle_timeout(subject.now);
    let sent = subject.drain();

    assert_eq!(subject.engine.stats().stalls, 1);
    assert_eq!(subject.shown(1), Some(State::Alive));
    assert_eq!(sent.iter().filter(|it| is_solicit(it)).count(), 0);
    let about = Incarnation { id: short(4), ..accused() };
    let asks = Message::Solicit { subject: about, age_ms: 5 };
    let abstains = Message::Vote { subject: about, vote: Vote::Abstain };
    assert_eq!(subject.hear(3, asks, &[])[0].message, abstains);
    // What was being probed is probed again soon.
    let sent = subject.live(ONE_IS_GONE, ms(999));
    assert_eq!(times(&sent, is_ping_to(2)).len(), 1);
    assert_eq!(subject.hear(3, asks, &[])[0].message, abstains);
    subject.live(ONE_IS_GONE, ms(1));
    assert!(is_ping(&subject.hear(3, asks, &[])[0]));
}

#[test]
fn less_than_100_ms_is_no_standstill() {
    let mut subject = Subject::observing(&up_to(7));
    let due = subject.engine.poll_timeout().unwrap();
    subject.now = astromesh_swim::Instant::from_micros((due + ms(100)).as_micros() - 1);
    subject.engine.handle_timeout(subject.now);
    assert_eq!(subject.engine.stats().stalls, 0);
}

#[test]
fn a_datagram_that_waited_longer_than_100_ms_makes_sick_for_3_s() {
    let mut subject = Subject::observing(&up_to(7));
    let is_sick = |subject: &mut Subject| {
        // About somebody who answers nothing and is unknown to the others.
        let about = Incarnation { id: short(2), ..accused() };
        let message = Message::Solicit { subject: about, age_ms: 5 };
        let sent = subject.hear(3, message, &[]);
        let is_sick = matches!(sent[0].message, Message::Vote { vote: Vote::Abstain, .. });
        if is_ping(&sent[0]) {
            subject.acked(2, sequence_of(&sent[0]), None);
        }
        is_sick
    };
    subject.command(Command::QueueDelay(ms(100)));
    assert!(!is_sick(&mut subject));
    subject.command(Command::QueueDelay(ms(101)));
    assert!(is_sick(&mut subject));
    subject.live(ALL_WELL, ms(2_999));
    assert!(is_sick(&mut subject));
    subject.live(ALL_WELL, ms(1));
    assert!(!is_sick(&mut subject));
    assert_eq!(subject.engine.stats().queue_delays, 1);
}

#[test]
fn who_is_sick_or_isolated_declares_nobody() {
    let mut subject = Subject::observing(&up_to(7));
    subject.probe(1, ONE_IS_GONE);
    subject.live(ALL_SAY_NO, ms(1_500));
    subject.command(Command::QueueDelay(ms(101)));
    subject.live(ALL_SAY_NO, ms(2_990));
    assert_eq!(subject.shown(1), Some(State::Suspect));
    subject.live(ALL_SAY_NO, ms(300));
    assert_eq!(subject.shown(1), Some(State::Dead));

    // Nobody answers, but nacks come: most of the mesh is not reached, so that it says nothing.
    let mut subject = Subject::observing(&up_to(7));
    let silent = Peers { silent: &[1, 2, 3, 4, 5, 6], nacks: true, vote: Some(Vote::No) };
    for peer in 1..=6 {
        subject.command(Command::Probe(id(peer)));
    }
    subject.live(silent, ms(29_000));
    assert_eq!(subject.engine.stats().deaths, 0);
    assert!((1..=6).all(|peer| subject.state_of(peer) == Some(State::Alive)));
    // After that they count as dead here, and what is left of the mesh may say so.
    subject.live(silent, ms(90_000));
    assert!((1..=6).all(|peer| subject.shown(peer) == Some(State::Dead)));
}

#[test]
fn who_was_given_up_stays_so_over_a_standstill_and_can_be_dismissed() {
    let mut subject = Subject::observing(&up_to(7));
    let gone = Peers { silent: &[1], nacks: false, vote: None };
    subject.probe(1, gone);
    subject.live(gone, ms(45_000));
    assert_eq!(subject.shown(1), Some(State::Dead));
    let before = subject.changes();

    subject.now = subject.engine.poll_timeout().unwrap() + ms(500);
    subject.engine.handle_timeout(subject.now);
    subject.live(gone, ms(2_000));
    assert_eq!(subject.engine.stats().stalls, 1);
    assert_eq!((subject.shown(1), subject.changes()), (Some(State::Dead), before));

    subject.command(Command::Dismiss(id(1)));
    assert_eq!(subject.shown(1), Some(State::Left));
}

/// The next death of peer 1: how long after its first failed probe, in ms.
fn dies_after(subject: &mut Subject) -> u64 {
    subject.probe(1, ONE_IS_GONE);
    let mut after = 0;
    while subject.state_of(1) == Some(State::Alive) {
        subject.live(ALL_SAY_NO, ms(50));
        after += 50;
        assert!(after < 60_000, "never");
    }
    after
}

fn returns(subject: &mut Subject, generation: u32, incarnation: u32) {
    let claim = StateUpdate { generation, ..state(1, State::Alive, incarnation, 0) };
    subject.told(1, &[claim]);
    assert_eq!(subject.shown(1), Some(State::Alive));
    subject.live(ALL_WELL, ms(100));
}

#[test]
fn who_comes_back_has_four_times_and_then_sixteen_times_as_long_and_a_restart_as_at_first() {
    let mut subject = Subject::observing(&up_to(7));
    assert_eq!(dies_after(&mut subject), 2_000);
    returns(&mut subject, 1, 1);
    assert_eq!(dies_after(&mut subject), 8_000);
    returns(&mut subject, 1, 2);
    assert_eq!(dies_after(&mut subject), 32_000);
    returns(&mut subject, 1, 3);
    assert_eq!(dies_after(&mut subject), 32_000);
    returns(&mut subject, 2, 0);
    assert_eq!(dies_after(&mut subject), 2_000);
}

#[test]
fn a_return_is_forgotten_after_half_an_hour() {
    let mut subject = Subject::observing(&up_to(7));
    assert_eq!(dies_after(&mut subject), 2_000);
    returns(&mut subject, 1, 1);
    subject.live(ALL_WELL, ms(1_800_000));
    assert_eq!(dies_after(&mut subject), 2_000);
}

#[test]
fn a_member_that_has_left_takes_no_part() {
    let mut subject = Subject::observing(&up_to(7));
    subject.probe(1, NO_HELP);
    subject.command(Command::Leave);
    subject.live(NO_HELP, ms(1_000));
    subject.engine.handle_timeout(subject.now);

    assert_eq!(subject.hear(2, solicit(5), &[]), []);
    let sent = subject.live(NO_HELP, ms(30_000));
    assert_eq!((times(&sent, is_solicit), times(&sent, is_ping)), (vec![], vec![]));
    assert_eq!(subject.engine.local().state, State::Left);
    assert_eq!(subject.member(LOCAL).unwrap().state, State::Left);
}
