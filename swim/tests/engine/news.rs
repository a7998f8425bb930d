//! How often news is sent, and what of.

use astromesh_wire::State;

use crate::{News, Sent, Subject, ms, state};

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
