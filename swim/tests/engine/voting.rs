//! The voter: what it answers to a solicitation, and how long it stays.

use astromesh_swim::detector::evidence::pings::PINGS;
use astromesh_swim::{Change, Command};
use astromesh_wire::{Incarnation, Message, State, Vote};

use crate::peers::{
    ALL_WELL, NO_HELP, ONE_IS_GONE, accused, is_solicit, solicit, times, up_to, vote,
};
use crate::{LOCAL, News, Sent, Subject, address, id, is_ping, is_ping_to, ms, short, state};

fn is_vote(wanted: Vote) -> impl Fn(&Sent) -> bool {
    move |sent| sent.message == vote(wanted) && sent.to == address(2)
}

/// Peer 2 asks about peer 1, which is silent; the sequence of the first ping.
fn asked(subject: &mut Subject, age_ms: u16) -> u16 {
    let sent = subject.hear(2, solicit(age_ms), &[]);
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(is_ping_to(1)(&sent[0]));
    crate::sequence_of(&sent[0])
}

/// A mesh in which the next probe of peer 1 is far.
fn voter(peers: &[u8]) -> Subject {
    let mut subject = Subject::observing(peers);
    subject.probe(1, ALL_WELL);
    subject
}

#[test]
fn a_voter_tries_at_0_80_200_and_votes_no_at_350_and_goes_on_each_250_ms() {
    let mut subject = voter(&up_to(7));
    let sequence = asked(&mut subject, 5);
    let sent = subject.live(NO_HELP, ms(1_000));

    let mine =
        |it: &Sent| is_ping_to(1)(it) && crate::sequence_of(it).wrapping_sub(sequence) < PINGS;
    assert_eq!(times(&sent, mine), [80, 200, 450, 700, 950]);
    assert_eq!(times(&sent, is_vote(Vote::No)), [350]);
    assert_eq!(subject.shown(1), Some(State::Suspect));
    assert_eq!(times(&sent, is_solicit), []);
}

#[test]
fn a_voter_says_alive_at_the_first_ack_before_or_after_its_no() {
    for (wait, had_voted) in [(0, false), (349, false), (351, true), (3_000, true)] {
        let mut subject = voter(&up_to(7));
        let sequence = asked(&mut subject, 5);
        let sent = subject.live(NO_HELP, ms(wait));
        assert_eq!(times(&sent, is_vote(Vote::No)).len(), usize::from(had_voted));

        let sent = subject.acked(1, sequence, None);

        assert_eq!(sent.iter().filter(|it| is_vote(Vote::Alive)(it)).count(), 1);
        assert_eq!(subject.shown(1), Some(State::Alive));
        let later = subject.live(NO_HELP, ms(200));
        assert!(times(&later, |it| matches!(it.message, Message::Vote { .. })).is_empty());
    }
}

#[test]
fn a_repeated_solicitation_is_answered_from_the_case_to_each_who_asked() {
    let mut subject = voter(&up_to(7));
    asked(&mut subject, 5);
    assert_eq!(subject.hear(2, solicit(105), &[]), [], "still trying");
    assert_eq!(subject.hear(3, solicit(7), &[]), [], "still trying");
    let sent = subject.live(NO_HELP, ms(350));
    let voted = times(&sent, |it| it.message == vote(Vote::No));
    assert_eq!(voted, [350, 350], "one to each");

    let sent = subject.hear(2, solicit(505), &[]);
    assert_eq!(sent.len(), 1);
    assert!(is_vote(Vote::No)(&sent[0]));
}

#[test]
fn a_sick_voter_abstains_at_once() {
    let mut subject = voter(&up_to(7));
    subject.command(Command::QueueDelay(ms(101)));

    let sent = subject.hear(2, solicit(5), &[]);
    assert_eq!(sent.len(), 1);
    assert!(is_vote(Vote::Abstain)(&sent[0]));
    assert_eq!(subject.shown(1), Some(State::Alive));
}

#[test]
fn one_who_falls_sick_while_it_tries_abstains_at_350_ms() {
    let mut subject = voter(&up_to(7));
    asked(&mut subject, 5);
    subject.command(Command::QueueDelay(ms(101)));

    let sent = subject.live(NO_HELP, ms(400));

    assert_eq!(times(&sent, is_vote(Vote::Abstain)), [350]);
    assert_eq!(times(&sent, is_vote(Vote::No)), []);
    assert_eq!(subject.changes(), []);
}

/// The news of it answers, for the dead, the left and the refuted.
#[test]
fn about_who_is_known_to_be_dead_left_or_refuted_the_news_of_that_is_sent() {
    for claim in [
        state(1, State::Dead, 0, 3),
        state(1, State::Left, 0, 0),
        state(1, State::Dead, 2, 3),
        state(1, State::Alive, 1, 0),
    ] {
        let mut subject = voter(&up_to(7));
        subject.told(3, &[claim]);

        let sent = subject.hear(2, solicit(5), &[]);

        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].to, sent[0].message), (address(2), Message::Gossip));
        let Some(News::State(told)) = sent[0].news.first() else { panic!("{sent:?}") };
        assert_eq!(
            (told.id, told.state, told.incarnation),
            (claim.id, claim.state, claim.incarnation)
        );
    }
}

#[test]
fn about_an_unknown_member_it_abstains_and_about_itself_it_is_alive() {
    let mut subject = voter(&up_to(7));
    let about = |number| Incarnation { id: short(number), ..accused() };

    let message = Message::Solicit { subject: about(99), age_ms: 5 };
    let sent = subject.hear(2, message, &[]);
    let said: Vec<_> = sent.iter().map(|it| (it.to, it.message)).collect();
    let abstains = Message::Vote { subject: about(99), vote: Vote::Abstain };
    assert_eq!(said, [(address(2), abstains)]);

    let message = Message::Solicit { subject: about(LOCAL), age_ms: 5 };
    let sent = subject.hear(2, message, &[]);
    let said: Vec<_> = sent.iter().map(|it| (it.to, it.message)).collect();
    let alive = Message::Vote { subject: about(LOCAL), vote: Vote::Alive };
    assert_eq!(said, [(address(2), alive)]);
    let Some(News::State(own)) = sent[0].news.first() else { panic!("{sent:?}") };
    assert_eq!((own.id, own.state), (short(LOCAL), State::Alive));
}

/// The asker has heard of a refutation or a restart that has not come here yet.
#[test]
fn about_a_later_incarnation_than_known_it_tries_and_votes() {
    for before in [State::Alive, State::Dead] {
        for (generation, incarnation) in [(1, 3), (2, 0)] {
            let mut subject = voter(&up_to(7));
            subject.told(3, &[state(1, before, 0, 3)]);
            let later = Incarnation { generation, incarnation, ..accused() };

            let message = Message::Solicit { subject: later, age_ms: 5 };
            let sent = subject.hear(2, message, &[]);
            assert!(sent.iter().any(is_ping_to(1)), "{sent:?}");
            let sent = subject.live(NO_HELP, ms(360));

            let no = Message::Vote { subject: later, vote: Vote::No };
            assert_eq!(times(&sent, |it| it.message == no && it.to == address(2)), [350]);
        }
    }
}

/// With a floor of 2 s: 4.5 s after the accuser began.
#[test]
fn a_voter_stays_until_2500_ms_after_the_floor() {
    let mut subject = voter(&up_to(7));
    asked(&mut subject, 0);
    let sent = subject.live(NO_HELP, ms(4_499));
    assert_eq!(times(&sent, is_vote(Vote::No)), [350]);
    assert_eq!(subject.shown(1), Some(State::Suspect));
    // Without a verdict it looks for itself once more; without a helper it cannot accuse.
    let sent = subject.live(NO_HELP, ms(251));
    assert!(!times(&sent, is_ping_to(1)).is_empty());
    subject.live(NO_HELP, ms(1_000));
    assert_eq!(subject.changes(), [(id(1), Change::Suspect), (id(1), Change::Alive)]);
}

#[test]
fn one_who_is_asked_late_votes_all_the_same() {
    for age_ms in [4_400, 6_000, u16::MAX] {
        let mut subject = voter(&up_to(7));
        asked(&mut subject, age_ms);
        let sent = subject.live(NO_HELP, ms(360));
        assert_eq!(times(&sent, is_vote(Vote::No)), [350], "asked after {age_ms} ms");
    }
}

#[test]
fn a_voter_accuses_at_its_next_failed_probe_once_the_case_is_1500_ms_old() {
    // However long ago others say it began: this node heard from the member just now.
    for (age_ms, wait, accuses) in [(0, 1_100, false), (0, 1_200, true), (60_000, 0, false)] {
        let mut subject = voter(&up_to(7));
        asked(&mut subject, age_ms);
        subject.live(NO_HELP, ms(wait));
        let sent = subject.probe(1, ONE_IS_GONE);
        assert_eq!(!times(&sent, is_solicit).is_empty(), accuses, "after {wait} ms");
        if accuses {
            assert_eq!(Subject::jurors(&sent), [2, 3, 4, 5, 6, 7]);
            let later = subject.live(ONE_IS_GONE, ms(250));
            assert_eq!(times(&later, |it| is_solicit(it) && it.to == address(3)), [100, 250]);
        }
    }
}

#[test]
fn a_solicitation_is_answered_with_no_more_than_one_datagram_and_a_flood_opens_one_case() {
    let mut subject = voter(&up_to(7));
    let before = subject.engine.timers_pending();
    let mut sent = 0;
    for asker in (2..=7).cycle().take(10_000) {
        let answers = subject.hear(asker, solicit(5), &[]);
        assert!(answers.len() <= 1);
        sent += answers.len();
    }
    assert_eq!(sent, 1, "the first ping");
    assert_eq!(subject.engine.stats().suspicions, 1);
    assert!(subject.engine.timers_pending() <= before + 10, "{before}");
}

/// A liar asks about everybody: each is pinged once, answers, and that was it.
#[test]
fn a_flood_about_all_members_pings_each_once_and_leaves_nothing() {
    let mut subject = Subject::observing(&up_to(100));
    let mut sent = 0;
    for number in up_to(100) {
        let about = Incarnation { id: short(number), ..accused() };
        let message = Message::Solicit { subject: about, age_ms: 5 };
        for ping in subject.hear(2, message, &[]) {
            sent += 1;
            assert!(is_ping(&ping));
            subject.acked(number, crate::sequence_of(&ping), None);
        }
    }
    assert_eq!(sent, 99);
    let later = subject.live(ALL_WELL, ms(1_000));
    assert!(later.iter().filter(|(_, it)| is_ping(it)).count() <= 2 * 8, "a sweep");
    assert_eq!(subject.changes(), []);
}

#[test]
fn lifeguard_takes_no_part() {
    let mut subject = Subject::observing_with(crate::lifeguard(), &up_to(7));
    assert_eq!(subject.hear(2, solicit(5), &[]), []);
    assert_eq!(subject.hear(2, vote(Vote::Alive), &[]), []);
}

#[test]
fn one_opening_or_solicitation_in_two_seconds_probes_all_subjects_once_within_200_ms() {
    let mut subject = voter(&up_to(7));
    subject.live(ALL_WELL, ms(2_000));
    asked(&mut subject, 5);
    let sent = subject.live(ONE_IS_GONE, ms(200));
    for peer in 2..=7 {
        assert_eq!(times(&sent, is_ping_to(peer)).len(), 1, "peer {peer}");
    }

    let about = Incarnation { id: short(2), ..accused() };
    let message = Message::Solicit { subject: about, age_ms: 5 };
    for (wait, sweeps) in [(1_000, false), (1_000, true)] {
        subject.live(ONE_IS_GONE, ms(wait));
        let pings = subject.hear(3, message, &[]);
        subject.acked(2, crate::sequence_of(&pings[0]), None);
        let sent = subject.live(ONE_IS_GONE, ms(200));
        let swept = (3..=7).filter(|&peer| !times(&sent, is_ping_to(peer)).is_empty()).count();
        assert_eq!(swept >= 5, sweeps, "{swept} after {wait} ms");
    }
}
