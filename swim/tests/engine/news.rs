//! How often news is sent, and what of.

use astromesh_swim::Command;
use astromesh_wire::{Load, State};

use crate::{LOCAL, News, Sent, Subject, address, ms, short, state};

fn count(sent: &[Sent], news: &News) -> usize {
    sent.iter().filter(|sent| sent.news.contains(news)).count()
}

#[test]
fn news_is_sent_exactly_as_often_as_the_limit_says_and_then_there_is_silence() {
    // 4 * ceil(log10(members + 1)), this node included.
    for (peers, limit) in [(2_u8, 4), (8, 4), (9, 8), (30, 8)] {
        let peers: Vec<u8> = (10..10 + peers).collect();
        let mut subject = Subject::among(&peers);

        subject.told(10, &[state(11, State::Alive, 1, 0)]);
        let sent = subject.answered_for(ms(30_000));

        let news = News::State(state(11, State::Alive, 1, 0));
        assert_eq!(count(&sent, &news), limit, "among {} peers", peers.len());
        let later = subject.answered_for(ms(30_000));
        assert!(later.iter().all(|sent| sent.news.is_empty() && crate::is_ping(sent)));
    }
}

#[test]
fn a_death_leaves_within_10_ms_and_a_suspicion_within_200_ms() {
    let mut subject = Subject::among(&[1, 2, 3, 4]);
    subject.answered_for(ms(100));
    subject.told(2, &[state(1, State::Dead, 0, 2)]);
    let sent = subject.wait(ms(10));
    assert_eq!(sent.len(), 3, "to three members");

    let mut subject = Subject::among(&[1, 2, 3, 4]);
    subject.told(2, &[state(1, State::Alive, 1, 2)]);
    let sent = subject.answered_for(ms(200));
    assert!(sent.iter().filter(|sent| !crate::is_ping(sent)).count() == 3);
}

#[test]
fn newer_news_of_a_member_takes_the_place_of_older() {
    let mut subject = Subject::among(&[1, 2, 3]);

    subject.told(2, &[state(1, State::Alive, 1, 0)]);
    subject.told(2, &[state(1, State::Alive, 2, 0)]);
    let sent = subject.answered_for(ms(30_000));

    assert_eq!(count(&sent, &News::State(state(1, State::Alive, 1, 0))), 0);
    assert_eq!(count(&sent, &News::State(state(1, State::Alive, 2, 0))), 4);
}

#[test]
fn what_is_known_already_is_not_told_again() {
    let mut subject = Subject::among(&[1, 2]);
    for _ in 0..3 {
        subject.told(2, &[state(1, State::Alive, 0, 0)]);
    }
    assert!(!subject.engine.has_news());
}

#[test]
fn a_load_is_told_when_it_changes_and_the_newest_wins() {
    let mut subject = Subject::among(&[1, 2]);
    let load = |active_requests| Load { active_requests, ..Load::default() };
    subject.command(Command::SetLoad(load(3)));
    subject.command(Command::SetLoad(load(3)));
    let sent = subject.answered_for(ms(30_000));
    assert_eq!(count(&sent, &News::Load(short(LOCAL), 1, load(3))), 4);

    for (sequence, active) in [(2, 20), (1, 10)] {
        let update = astromesh_wire::Update::Load {
            id: short(1),
            generation: 1,
            sequence,
            load: load(active),
        };
        subject.hear(2, astromesh_wire::Message::Gossip, &[update]);
    }
    assert_eq!(subject.member(1).unwrap().load(), load(20));
}

#[test]
fn a_refuted_doubt_tells_the_load_again_for_whoever_missed_it() {
    let mut subject = Subject::among(&[1, 2]);
    let load = Load { active_requests: 3, ..Load::default() };
    subject.command(Command::SetLoad(load));
    subject.command(Command::SetLoad(Load::default()));
    subject.settle();

    subject.told(1, &[state(LOCAL, State::Dead, 0, 1)]);

    let sent = subject.answered_for(ms(30_000));
    assert_eq!(count(&sent, &News::Load(short(LOCAL), 3, Load::default())), 4);
}

#[test]
fn a_forged_load_of_this_node_is_outbid() {
    let mut subject = Subject::among(&[1, 2]);
    let forged = astromesh_wire::Update::Load {
        id: short(LOCAL),
        generation: 1,
        sequence: 40,
        load: Load { active_requests: 999, ..Load::default() },
    };
    subject.hear(1, astromesh_wire::Message::Gossip, &[forged]);
    let sent = subject.answered_for(ms(30_000));
    assert_eq!(count(&sent, &News::Load(short(LOCAL), 41, Load::default())), 4);
}

#[test]
fn the_load_of_a_former_life_ends_with_it() {
    let mut subject = Subject::among(&[1, 2]);
    let load = Load { active_requests: 7, ..Load::default() };
    let update = astromesh_wire::Update::Load { id: short(1), generation: 1, sequence: 4, load };
    subject.hear(1, astromesh_wire::Message::Gossip, &[update]);
    assert_eq!(subject.member(1).unwrap().load(), load);

    let reborn = astromesh_swim::OwnedRecord { generation: 2, ..crate::record(1) };
    subject.hear(
        1,
        astromesh_wire::Message::Gossip,
        &[astromesh_wire::Update::Record(reborn.borrow())],
    );

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
    let ping = astromesh_wire::Message::Ping { target, sequence: 1, digest, wants_slot: false };
    let ack = subject.hear(2, ping, &[]);

    assert_eq!(ack[0].to, address(2));
    assert_eq!(ack[0].news[0], News::State(state(1, State::Dead, 0, 2)));
    assert!(ack[0].news.len() > 5, "{} pieces of news", ack[0].news.len());
    assert!(ack[0].bytes <= 1_200 && ack[0].bytes > 1_000, "{} bytes", ack[0].bytes);
}
