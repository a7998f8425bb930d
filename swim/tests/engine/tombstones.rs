//! Nothing comes back from the dead, and everything from the other side of a cut.

use std::time::Duration;

use astromesh_swim::{Change, Config, Origin};
use astromesh_wire::{Entry, Incarnation, Message, Record, State, Update};

use crate::{
    LOCAL, News, Sent, Subject, address, claim, datagram, id, is_ping_to, ms, record, short, state,
};

const DAY_S: u32 = 24 * 3_600;

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3_600)
}

fn gone(number: u8, state: State, gone_for_s: u32) -> Entry {
    let subject = Incarnation { id: short(number), generation: 1, incarnation: 0 };
    Entry { subject, state, revision: 1, gone_for_s }
}

fn told(subject: &mut Subject, peer: u8, entry: Entry) -> Vec<Sent> {
    subject.hear(peer, Message::Gossip, &[Update::Entry(entry)])
}

fn tell_gone_record(subject: &mut Subject, peer: u8, number: u8, state: State, gone_for_s: u32) {
    let known = record(number);
    let record = Record { state, gone_for_s, ..known.borrow() };
    subject.hear(peer, Message::Gossip, &[Update::Record(record)]);
}

/// The entries about a member in these datagrams.
fn entries(sent: &[Sent], number: u8) -> Vec<Entry> {
    let all = sent.iter().flat_map(|sent| &sent.news).filter_map(|news| match news {
        News::Entry(entry) => Some(*entry),
        _ => None,
    });
    all.filter(|entry| entry.subject.id == short(number)).collect()
}

#[test]
fn those_who_are_gone_count_in_the_digest_as_what_they_are() {
    let digests = [State::Alive, State::Suspect, State::Dead, State::Left].map(|said| {
        let mut subject = Subject::among(&[1, 2]);
        subject.merge(vec![claim(record(1), State::Alive)], Origin::Sync);
        if said != State::Alive {
            subject.told(2, &[state(1, said, 0, 2)]);
        }
        subject.engine.digest()
    });
    assert_eq!(digests[0], digests[1], "a suspicion is no lasting difference");
    assert_ne!(digests[1], digests[2]);
    assert_ne!(digests[2], digests[3]);
    assert_ne!(digests[0], digests[3]);
}

#[test]
fn who_is_gone_is_forgotten_when_it_is_due_to_the_second() {
    let mut subject = forgetful();
    subject.told(2, &[state(1, State::Left, 0, 0)]);

    subject.answered_for(ms(599_999));
    assert_eq!(subject.state_of(1), Some(State::Left));
    subject.answered_for(ms(1));

    assert_eq!(subject.state_of(1), None);
    assert_eq!(subject.changes().last(), Some(&(id(1), Change::Reaped)));
}

#[test]
fn somebody_gone_who_is_unknown_here_is_asked_for_and_kept_without_joining() {
    for state in [State::Dead, State::Left] {
        let mut subject = Subject::among(&[1, 2]);

        let asked = told(&mut subject, 1, gone(5, state, DAY_S - 3_600));
        assert_eq!(entries(&asked, 5)[0].subject.generation, 0, "not known here");
        tell_gone_record(&mut subject, 1, 5, state, DAY_S - 3_600);

        assert_eq!(subject.state_of(5), Some(state));
        let change = if state == State::Left { Change::Left } else { Change::Dead };
        assert_eq!(subject.changes(), [(id(5), change)]);
        // All forget it together: an hour is left of its day.
        subject.answered_for(hours(1).saturating_sub(ms(1)));
        assert_eq!(subject.state_of(5), Some(state));
        subject.answered_for(ms(1));
        assert_eq!(subject.state_of(5), None);
    }
}

#[test]
fn what_was_forgotten_is_not_taken_back() {
    let mut subject = Subject::among(&[1, 2]);

    for age in [DAY_S - 60, DAY_S, u32::MAX] {
        assert_eq!(told(&mut subject, 1, gone(5, State::Dead, age)), [], "{age} s");
        tell_gone_record(&mut subject, 1, 5, State::Dead, age);
        assert_eq!(subject.state_of(5), None, "{age} s");
    }
}

#[test]
fn the_dead_do_not_come_back_by_what_others_still_believe() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[state(1, State::Dead, 4, 2)]);
    subject.answered_for(ms(10_000));

    let stale = [
        Update::State(state(1, State::Alive, 3, 0)),
        Update::State(state(1, State::Suspect, 4, 2)),
    ];
    for update in stale {
        let sent = subject.hear(2, Message::Gossip, &[update]);

        assert_eq!(subject.state_of(1), Some(State::Dead));
        // Whoever tells it learns of the death, and for how long it has been known.
        let answer = entries(&sent, 1)[0];
        assert_eq!(
            (answer.state, answer.subject.incarnation, answer.gone_for_s),
            (State::Dead, 4, 10)
        );
    }
}

#[test]
fn young_deaths_are_on_their_way_and_not_told_again() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[state(1, State::Dead, 4, 2)]);

    let sent = subject.told(2, &[state(1, State::Alive, 3, 0)]);

    assert_eq!(sent, []);
}

#[test]
fn of_two_ages_of_the_same_death_the_greater_one_counts() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[state(1, State::Dead, 0, 2)]);

    told(&mut subject, 2, gone(1, State::Dead, DAY_S - 100));
    subject.answered_for(ms(99_999));
    assert_eq!(subject.state_of(1), Some(State::Dead));
    subject.answered_for(ms(1));

    assert_eq!(subject.state_of(1), None);
}

#[test]
fn a_tombstone_takes_a_place_in_the_table_like_anybody() {
    let mut subject = Subject::with(Config { members_max: 3, ..Config::default() });
    subject.meet(&[1, 2]);

    tell_gone_record(&mut subject, 1, 5, State::Left, 0);
    tell_gone_record(&mut subject, 1, 6, State::Left, 0);

    assert_eq!((subject.state_of(5), subject.state_of(6)), (Some(State::Left), None));
    assert_eq!(subject.engine.stats().refused_members_full, 1);
}

#[test]
fn a_dead_member_that_answers_is_compared_with_at_once_and_more_of_the_dead_are_pinged() {
    let mut subject = Subject::among(&[1, 2, 3, 4, 5]);
    subject.told(2, &[1, 3, 4, 5].map(|number| state(number, State::Dead, 0, 2)));
    subject.wait(ms(1_500));
    let ack = Message::Ack { sequence: 1, digest: 0, slot_ms: None };

    let sent = subject.hear(1, ack, &[Update::State(state(1, State::Alive, 1, 0))]);

    let comparison = sent.iter().find(|sent| sent.to == address(1)).unwrap();
    // Our record goes first, for it may have forgotten us.
    assert_eq!(comparison.news[0], News::Record(record(LOCAL)));
    assert_eq!(comparison.news[1], News::List(0, 0, 6));
    let pings = sent.iter().filter(|sent| crate::is_ping(sent)).count();
    assert_eq!(pings, 2);
}

#[test]
fn the_pings_to_the_dead_out_of_turn_are_bounded() {
    let dead: Vec<u8> = (10..110).collect();
    let mut subject = Subject::among(&dead);
    subject.meet(&[1, 2]);
    let deaths: Vec<_> = dead.iter().map(|&number| state(number, State::Dead, 0, 2)).collect();
    subject.told(2, &deaths);
    subject.wait(ms(1_000));
    let before = subject.engine.stats().probes_dead;

    for &number in &dead {
        let ack = Message::Ack { sequence: 1, digest: 0, slot_ms: None };
        subject.hear(number, ack, &[]);
    }

    assert_eq!(subject.engine.stats().probes_dead - before, 12);
}

#[test]
fn whoever_is_held_dead_and_speaks_is_told_so_once_a_second() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[state(1, State::Dead, 0, 2)]);
    subject.wait(ms(1_500));
    let mut notices = 0;

    for _ in 0..20 {
        let sent = subject.hear(1, Message::Gossip, &[]);
        let notice = News::State(state(1, State::Dead, 0, 2));
        notices += sent
            .iter()
            .filter(|sent| sent.to == address(1) && sent.news == [notice.clone()])
            .count();
        subject.wait(ms(1_100));
    }
    assert_eq!(notices, 20);
    for _ in 0..20 {
        let sent = subject.hear(1, Message::Gossip, &[]);
        notices += sent.iter().filter(|sent| sent.to == address(1)).count();
    }
    assert!(notices <= 21, "{notices}");
}

#[test]
fn a_node_that_hears_from_its_peer_that_it_was_dead_compares_at_once() {
    let mut subject = Subject::among(&[1, 2]);
    let digest = subject.engine.digest() ^ 1;

    let ack = Message::Ack { sequence: 1, digest, slot_ms: None };
    let sent = subject.hear(1, ack, &[Update::State(state(LOCAL, State::Dead, 0, 1))]);

    let (_, incarnation, _) = subject.local();
    assert_eq!(incarnation, 1);
    let comparison = sent.iter().find(|sent| sent.to == address(1)).unwrap();
    assert_eq!(comparison.news[1], News::List(0, 0, 3));
}

/// An engine that remembers the dead for ten minutes, so that tests are short.
fn forgetful() -> Subject {
    let reap_after = Duration::from_secs(600);
    let mut subject = Subject::with(Config { reap_after, ..Config::default() });
    subject.meet(&[1, 2]);
    subject
}

/// Long after the death of member 1, with a single live peer.
fn forgotten() -> Subject {
    let mut subject = forgetful();
    subject.told(2, &[state(1, State::Dead, 0, 2)]);
    subject.answered_for(ms(700_000));
    assert_eq!(subject.state_of(1), None);
    subject.events.clear();
    subject
}

#[test]
fn the_dead_who_were_forgotten_are_still_pinged_with_our_record() {
    let mut subject = forgotten();

    let sent = subject.answered_for(ms(50_000));

    let pings: Vec<_> = sent.iter().filter(|sent| is_ping_to(1)(sent)).collect();
    assert_eq!(pings.len(), 10);
    assert!(pings.iter().all(|ping| ping.news == [News::Record(record(LOCAL))]));
    assert_eq!(subject.state_of(1), None);
}

#[test]
fn one_who_was_forgotten_and_answers_is_asked_for_its_record_and_comes_back() {
    let mut subject = forgotten();
    let ack = Message::Ack { sequence: 1, digest: 0, slot_ms: None };

    let sent = subject.hear(1, ack, &[]);
    assert_eq!((sent.len(), sent[0].to), (1, address(1)));
    assert_eq!(sent[0].message, Message::Query { subject: short(1) });
    let sent = subject.hear(1, Message::Gossip, &[Update::Record(record(1).borrow())]);

    assert_eq!(subject.changes(), [(id(1), Change::Joined)]);
    // Much will differ between the two sides.
    assert!(
        sent.iter().any(|sent| sent.to == address(1) && matches!(sent.news[1], News::List(..)))
    );
    let sent = subject.answered_for(ms(50_000));
    assert!(
        !sent.iter().any(|sent| is_ping_to(1)(sent) && sent.news == [News::Record(record(LOCAL))])
    );
}

#[test]
fn only_the_address_that_was_forgotten_is_asked() {
    let mut subject = forgotten();
    let ack = Message::Ack { sequence: 1, digest: 0, slot_ms: None };

    assert_eq!(subject.hear_from(address(66), &datagram(1, ack, &[])), []);
    assert_eq!(subject.hear(3, ack, &[]), []);
}

#[test]
fn who_forgot_us_too_is_introduced_by_our_ping_and_asked_by_it() {
    // The other side of a cut of days: a stranger pings with its record.
    let mut subject = forgotten();
    let ping = Message::Ping { target: short(LOCAL), sequence: 4, digest: 0, wants_slot: false };

    let sent = subject.hear(1, ping, &[Update::Record(record(1).borrow())]);
    assert_eq!(subject.state_of(1), Some(State::Alive));
    assert!(sent.iter().any(|sent| matches!(sent.message, Message::Ack { sequence: 4, .. })));
    let sent = subject.hear(1, Message::Query { subject: short(LOCAL) }, &[]);

    assert_eq!(sent[0].news[0], News::Record(record(LOCAL)));
}

#[test]
fn who_said_goodbye_is_forgotten_for_good() {
    let mut subject = forgetful();
    subject.told(2, &[state(1, State::Left, 0, 2)]);
    subject.answered_for(ms(700_000));
    assert_eq!(subject.state_of(1), None);

    let sent = subject.answered_for(ms(60_000));

    assert!(sent.iter().all(|sent| sent.to != address(1)));
}
