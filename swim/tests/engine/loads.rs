//! How busy members are: what is gossiped of it, and beacons.

use astromesh_swim::{Command, Event, OwnedRecord};
use astromesh_wire::{Load, LoadRecord, Message, State, Update};

use crate::{LOCAL, News, Sent, Subject, address, datagram, id, ms, short, state};

const fn load(active_requests: u32) -> Load {
    let (limit, is_draining) = (0, false);
    Load { active_requests, cpu_percent: 0, memory_percent: 0, limit, is_draining }
}

fn set_load(subject: &mut Subject, load: Load, sequence: u32) -> Vec<Sent> {
    subject.command(Command::SetLoad { load, sequence })
}

fn count(sent: &[Sent], news: &News) -> usize {
    sent.iter().filter(|sent| sent.news.contains(news)).count()
}

/// A record of generation `boot`, counted 500 ms after its start.
const fn record(boot: u32) -> LoadRecord {
    LoadRecord { boot, sequence: 50, active: 4, limit: 8, is_draining: false, yours: Some(1) }
}

const fn beacon(boot: u32) -> Message {
    Message::Beacon { target: LOCAL_ID, record: record(boot) }
}

const LOCAL_ID: astromesh_wire::ShortId = astromesh_wire::ShortId::from_bytes([LOCAL; 5]);

/// Beacons received, and those refused.
fn counted(subject: &Subject) -> (u64, u64) {
    let stats = subject.engine.stats();
    (stats.beacons_received, stats.beacons_refused)
}

#[test]
fn a_load_is_told_when_it_changes_and_the_newest_wins() {
    let mut subject = Subject::among(&[1, 2]);
    set_load(&mut subject, load(3), 1);
    set_load(&mut subject, load(3), 2);
    let sent = subject.answered_for(ms(30_000));
    assert_eq!(count(&sent, &News::Load(short(LOCAL), 1, load(3))), 4);

    for (sequence, active) in [(2, 20), (1, 10)] {
        let update = Update::Load { id: short(1), generation: 1, sequence, load: load(active) };
        subject.hear(2, Message::Gossip, &[update]);
    }
    assert_eq!(subject.member(1).unwrap().load(), load(20));
}

#[test]
fn a_refuted_doubt_tells_the_load_again_for_whoever_missed_it() {
    let mut subject = Subject::among(&[1, 2]);
    let load = Load { active_requests: 3, ..Load::default() };
    set_load(&mut subject, load, 0);
    set_load(&mut subject, Load::default(), 0);
    subject.settle();

    subject.told(1, &[state(LOCAL, State::Dead, 0, 1)]);

    let sent = subject.answered_for(ms(30_000));
    assert_eq!(count(&sent, &News::Load(short(LOCAL), 3, Load::default())), 4);
}

#[test]
fn a_forged_load_of_this_node_is_outbid() {
    let mut subject = Subject::among(&[1, 2]);
    let forged = Update::Load {
        id: short(LOCAL),
        generation: 1,
        sequence: 40,
        load: Load { active_requests: 999, ..Load::default() },
    };
    subject.hear(1, Message::Gossip, &[forged]);
    let sent = subject.answered_for(ms(30_000));
    assert_eq!(count(&sent, &News::Load(short(LOCAL), 41, Load::default())), 4);
}

#[test]
fn the_load_of_a_former_life_ends_with_it() {
    let mut subject = Subject::among(&[1, 2]);
    let load = Load { active_requests: 7, ..Load::default() };
    let update = Update::Load { id: short(1), generation: 1, sequence: 4, load };
    subject.hear(1, Message::Gossip, &[update]);
    assert_eq!(subject.member(1).unwrap().load(), load);

    let reborn = OwnedRecord { generation: 2, ..crate::record(1) };
    subject.hear(1, Message::Gossip, &[Update::Record(reborn.borrow())]);

    assert_eq!(subject.member(1).unwrap().load(), Load::default());
}

#[test]
fn a_death_goes_out_before_records_that_would_fill_the_datagram() {
    let mut subject = Subject::among(&[1, 2]);
    let records: Vec<_> =
        (100..200).map(|number| crate::claim(crate::record(number), State::Alive)).collect();
    subject.merge(records, astromesh_swim::Origin::Sync);

    subject.told(2, &[state(1, State::Dead, 0, 2)]);
    // A peer with the digest of our view would have it all.
    let (target, digest) = (short(LOCAL), subject.engine.digest() ^ 1);
    let ping = Message::Ping { target, sequence: 1, digest, wants_slot: false };
    let ack = subject.hear(2, ping, &[]);

    assert_eq!(ack[0].to, address(2));
    assert_eq!(ack[0].news[0], News::State(state(1, State::Dead, 0, 2)));
    assert!(ack[0].news.len() > 5, "{} pieces of news", ack[0].news.len());
    assert!(ack[0].bytes <= 1_200 && ack[0].bytes > 1_000, "{} bytes", ack[0].bytes);
}

#[test]
fn a_load_has_the_sequence_of_the_host_but_never_one_that_was_announced() {
    let mut subject = Subject::among(&[1, 2]);
    for (sequence, announced) in [(700, 700), (700, 701), (5, 702), (u32::MAX, u32::MAX)] {
        set_load(&mut subject, load(announced), sequence);
        assert_eq!(subject.engine.local().load_sequence, announced);
    }
}

#[test]
fn a_limit_and_a_drain_are_news_and_the_drain_leaves_within_10_ms() {
    let mut subject = Subject::among(&[1, 2, 3]);
    let limited = Load { limit: 8, ..load(0) };
    set_load(&mut subject, limited, 1);
    let sent = subject.answered_for(ms(30_000));
    assert_eq!(count(&sent, &News::Load(short(LOCAL), 1, limited)), 4);

    let draining = Load { is_draining: true, ..limited };
    set_load(&mut subject, draining, 2);
    let sent = subject.wait(ms(10));
    assert_eq!(count(&sent, &News::Load(short(LOCAL), 2, draining)), 3, "to three members");

    // Of another one it is as urgent.
    let mut other = Subject::among(&[1, 2, 3]);
    other.answered_for(ms(100));
    let update = Update::Load { id: short(1), generation: 1, sequence: 2, load: draining };
    other.hear(1, Message::Gossip, &[update]);
    let sent = other.wait(ms(10));
    assert_eq!(count(&sent, &News::Load(short(1), 2, draining)), 3);
    assert_eq!(other.member(1).unwrap().load(), draining);
}

#[test]
fn a_beacon_goes_to_the_address_of_its_member_and_carries_nothing_else() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[state(1, State::Alive, 1, 2)]);
    assert!(subject.engine.has_news());

    let sent = subject.command(Command::Beacon { to: id(1), record: record(77) });

    // Whatever the host says, the boot is the generation that others know.
    let message = Message::Beacon { target: short(1), record: record(1) };
    assert_eq!(sent, [Sent { to: address(1), message, news: vec![], bytes: 25 }]);
    assert_eq!(subject.engine.stats().beacons_sent, 1);
}

#[test]
fn a_beacon_goes_to_nobody_who_is_gone_or_unknown_and_from_nobody_who_has_left() {
    let mut subject = Subject::among(&[1, 2]);
    subject.told(2, &[state(1, State::Left, 0, 1)]);
    for to in [1, 77, LOCAL] {
        assert_eq!(subject.command(Command::Beacon { to: id(to), record: record(1) }), [], "{to}");
    }
    subject.command(Command::Leave);
    assert_eq!(subject.command(Command::Beacon { to: id(2), record: record(1) }), []);
    assert_eq!(subject.engine.stats().beacons_sent, 0);
}

#[test]
fn a_beacon_of_a_member_is_reported_and_not_answered() {
    let mut subject = Subject::among(&[1, 2]);
    let heard = |subject: &mut Subject| {
        let sent = subject.hear(1, beacon(1), &[]);
        assert_eq!(sent, []);
        std::mem::take(&mut subject.events)
    };
    assert_eq!(heard(&mut subject), [Event::Beacon { id: id(1), record: record(1) }]);

    subject.told(2, &[state(1, State::Suspect, 0, 2)]);
    subject.events.clear();
    assert_eq!(heard(&mut subject), [Event::Beacon { id: id(1), record: record(1) }]);
    assert_eq!(counted(&subject), (2, 0));
    assert_eq!(subject.member(1).unwrap().load(), Load::default(), "gossip tells that");
}

#[test]
fn a_beacon_from_another_address_than_that_of_its_member_is_counted_and_no_more() {
    let mut subject = Subject::among(&[1, 2]);
    let sent = subject.hear_from(address(2), &datagram(1, beacon(1), &[]));
    assert_eq!((sent, std::mem::take(&mut subject.events)), (vec![], vec![]));
    assert_eq!((counted(&subject), subject.engine.stats().beacons_refused_address), ((0, 0), 1));
    subject.hear(1, beacon(1), &[]);
    assert_eq!(counted(&subject), (1, 0));
}

#[test]
fn a_beacon_of_another_life_for_another_node_or_of_nobody_here_is_counted_and_no_more() {
    let mut subject = Subject::among(&[1, 2, 3]);
    subject.told(2, &[state(3, State::Dead, 0, 2)]);
    subject.settle();
    let elsewhere = Message::Beacon { target: short(2), record: record(1) };
    let rows = [
        ("a newer generation", 1, beacon(2)),
        ("an older one", 1, beacon(0)),
        ("for another node", 1, elsewhere),
        ("of a stranger", 77, beacon(1)),
        ("of a dead one", 3, beacon(1)),
    ];
    for (refused, (name, sender, message)) in (1..).zip(rows) {
        let digest = subject.engine.digest();
        // Whoever is held dead is told so, as with any datagram, so that it can refute.
        let sent = subject.hear(sender, message, &[]);
        assert!(sender == 3 || sent.is_empty(), "{name}: {sent:?}");
        assert_eq!(subject.events, [], "{name}");
        assert_eq!(counted(&subject), (0, refused), "{name}");
        assert_eq!(subject.engine.digest(), digest, "{name}");
    }
}
