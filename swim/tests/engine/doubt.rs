//! Suspicion, refutation, death, and the way back.

use astromesh_swim::Change;
use astromesh_wire::{Message, State, Update};

use crate::{LOCAL, News, Sent, Subject, address, id, is_ping, is_ping_to, ms, short, state};

/// Among `peers`, told by peer 2 that peer 1 is suspect.
fn suspecting(peers: &[u8]) -> Subject {
    let mut subject = Subject::among(peers);
    subject.told(2, &[state(1, State::Suspect, 0, 2)]);
    assert_eq!(subject.state_of(1), Some(State::Suspect));
    subject
}

/// After how many milliseconds the suspicion of peer 1 becomes a death; peers but 1 answer pings.
#[test]
fn a_suspect_is_cleared_by_a_higher_incarnation() {
    let mut subject = suspecting(&[1, 2, 3]);

    subject.told(3, &[state(1, State::Alive, 1, 0)]);
    subject.answered_for(ms(20_000));

    assert_eq!(subject.state_of(1), Some(State::Alive));
    assert_eq!(subject.changes(), [(id(1), Change::Suspect), (id(1), Change::Alive)]);
}

#[test]
fn a_suspect_is_not_cleared_by_the_same_incarnation() {
    let mut subject = suspecting(&[1, 2, 3]);

    subject.told(3, &[state(1, State::Alive, 0, 0)]);

    assert_eq!(subject.state_of(1), Some(State::Suspect));
}

#[test]
fn the_same_accuser_confirms_nothing() {
    let mut subject = Subject::among(&[1, 2, 3, 4, 5]);
    subject.told(2, &[state(1, State::Suspect, 0, 2)]);

    let sent = subject.told(3, &[state(1, State::Suspect, 0, 2)]);
    subject.settle_doubting();
    for _ in 0..5 {
        subject.told(3, &[state(1, State::Suspect, 0, 2)]);
    }

    assert_eq!(sent, []);
    assert!(!subject.engine.has_news(), "no new accuser, no news");
}

#[test]
fn a_suspect_is_told_so_first_in_a_ping_and_in_an_ack() {
    let mut subject = suspecting(&[1, 2]);
    let held = News::State(state(1, State::Suspect, 0, 2));

    let ack = subject.pinged(1, 5);
    assert_eq!(ack[0].news.first(), Some(&held));

    let sent = subject.answered_for(ms(2_000));
    let ping = sent.iter().find(|sent| is_ping_to(1)(sent)).unwrap();
    assert_eq!(ping.news.first(), Some(&held));
}

#[test]
fn a_dead_member_is_told_so_first_in_an_ack() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[state(1, State::Dead, 0, 2)]);
    subject.settle_doubting();

    let ack = subject.pinged(1, 5);

    assert_eq!(ack.len(), 1);
    assert_eq!(ack[0].news, [News::State(state(1, State::Dead, 0, 2))]);
}

#[test]
fn dead_members_are_pinged_one_each_five_seconds_and_told() {
    let mut subject = Subject::among(&[1, 2, 3]);
    subject.told(2, &[state(1, State::Dead, 0, 2)]);
    subject.told(2, &[state(3, State::Dead, 0, 2)]);
    subject.settle_doubting();

    let sent = subject.answered_for(ms(100_000));

    let to_dead: Vec<&Sent> = sent.iter().filter(|sent| sent.to != address(2)).collect();
    assert_eq!(to_dead.len(), 20);
    for ping in to_dead {
        let dead = if ping.to == address(1) { 1 } else { 3 };
        assert_eq!(ping.news, [News::State(state(dead, State::Dead, 0, 2))]);
    }
}

#[test]
fn a_woken_member_that_refutes_its_death_is_back() {
    let mut subject = Subject::among(&[1, 2, 3]);
    subject.told(2, &[state(1, State::Dead, 0, 2)]);
    subject.settle_doubting();
    subject.events.clear();

    subject.told(1, &[state(1, State::Alive, 1, 0)]);

    assert_eq!(subject.changes(), [(id(1), Change::Alive)]);
    let sent = subject.answered_for(ms(10_000));
    assert!(sent.iter().any(is_ping_to(1)), "it is probed again");
}

#[test]
fn doubt_about_this_node_is_refuted_by_a_higher_incarnation_in_the_answer() {
    let mut subject = Subject::among(&[1, 2]);
    let digest = subject.engine.digest();
    let ping = Message::Ping { target: short(LOCAL), sequence: 5, digest, wants_slot: false };

    let sent = subject.hear(1, ping, &[Update::State(state(LOCAL, State::Suspect, 0, 2))]);

    assert_eq!(subject.local(), (1, 1, State::Alive));
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].news, [News::State(state(LOCAL, State::Alive, 1, LOCAL)).normalised()]);
    assert_eq!(subject.engine.health(), 1);
}

impl News {
    /// Nobody accuses who is alive: the bucket travels as zero.
    fn normalised(self) -> Self {
        match self {
            Self::State(update) => Self::State(astromesh_wire::StateUpdate {
                accuser: astromesh_wire::Bucket::default(),
                ..update
            }),
            other => other,
        }
    }
}

impl Subject {
    /// Lets the news die down without anybody being cleared or dying of it.
    fn settle_doubting(&mut self) {
        for _ in 0..200 {
            if !self.engine.has_news() {
                return;
            }
            self.answered_for(ms(10));
        }
        panic!("news does not die down");
    }
}

#[test]
fn who_doubts_this_node_with_a_refuted_incarnation_is_told_at_once() {
    // The news of the refutation is long over: whoever missed it would hold this node dead for ever.
    let mut subject = Subject::among(&[1, 2]);
    subject.told(1, &[state(LOCAL, State::Dead, 0, 2)]);
    subject.settle();
    assert_eq!(subject.local(), (1, 1, State::Alive));

    let sent = subject.told(2, &[state(LOCAL, State::Dead, 0, 2)]);

    assert_eq!(subject.local(), (1, 1, State::Alive), "no need to raise it again");
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to, sent[0].message), (address(2), Message::Gossip));
    assert_eq!(sent[0].news, [News::State(state(LOCAL, State::Alive, 1, 0))]);
}

#[test]
fn a_suspicion_heard_of_is_checked_by_the_next_probe() {
    for probes in 0..6 {
        let mut subject = Subject::among(&[1, 2, 3, 4, 5]);
        // Any place in the round: the suspect may have been probed in it already.
        subject.answered_for(ms(1_000 * probes));
        subject.told(2, &[state(1, State::Suspect, 0, 2)]);

        let ping = subject.wait_for_ping();

        assert_eq!(ping.to, address(1), "after {probes} probes");
    }
}

#[test]
fn a_suspect_with_few_members_is_dead_after_the_maximum_unless_confirmed() {
    // Four peers and this node: three confirmations are wanted, and none comes but our own.
    let mut subject = suspecting(&[1, 2, 3, 4]);

    let millis = millis_to_death(&mut subject);

    // With our own confirmation: 6 s - 3 s * ln 2 / ln 4.
    assert!((4_400..=4_600).contains(&millis), "{millis} ms");
    assert_eq!(subject.engine.stats().deaths, 1);
}

fn millis_to_death(subject: &mut Subject) -> u128 {
    let start = subject.now;
    for _ in 0..2_000 {
        if subject.state_of(1) == Some(State::Dead) {
            return subject.now.since(start).as_millis();
        }
        let pings: Vec<Sent> = subject.wait(ms(10)).into_iter().filter(is_ping).collect();
        let digest = subject.engine.digest();
        for ping in pings.iter().filter(|ping| ping.to != address(1)) {
            let number = (0..=99).find(|&number| address(number) == ping.to).unwrap();
            subject.hear(
                number,
                Message::Ack { sequence: crate::sequence_of(ping), digest, slot_ms: None },
                &[],
            );
        }
    }
    panic!("no death within 20 s");
}

#[test]
fn of_two_members_a_suspect_is_dead_after_the_minimum() {
    let mut subject = Subject::among(&[1]);
    subject.wait_for_ping();

    subject.wait(ms(1_000));
    assert_eq!(subject.state_of(1), Some(State::Suspect));
    let millis = millis_to_death(&mut subject);

    assert!((2_950..=3_050).contains(&millis), "{millis} ms");
}

#[test]
fn three_independent_confirmations_bring_a_suspicion_down_to_its_minimum() {
    let mut subject = suspecting(&[1, 2, 3, 4, 5]);
    for accuser in [3, 4, 5] {
        subject.told(accuser, &[state(1, State::Suspect, 0, accuser)]);
    }

    let millis = millis_to_death(&mut subject);

    assert!((2_950..=3_050).contains(&millis), "{millis} ms");
}
