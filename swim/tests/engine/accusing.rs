//! The accuser: when it accuses, whom it asks, what closes the case, and when it declares.

use std::time::Duration;

use astromesh_swim::detector::Rule;
use astromesh_swim::detector::evidence::case::{fallback, floor_in, needed};
use astromesh_swim::{Change, Config, VerdictRule};
use astromesh_wire::{Incarnation, Message, State, Vote};

use crate::peers::{NO_HELP, ONE_IS_GONE, Peers, accused, is_solicit, solicit, times, up_to, vote};
use crate::{LOCAL, News, Subject, address, id, is_ping_to, ms, state};

/// Among these peers peer 1 is accused just now; the solicitations so far.
fn accusing(peers: &[u8]) -> Subject {
    let mut subject = Subject::observing(peers);
    subject.probe(1, ONE_IS_GONE);
    assert_eq!(subject.shown(1), Some(State::Suspect));
    subject
}

fn fast() -> Config {
    let mut config = Config::default();
    config.detector.rule = Rule::Evidence { floor: Duration::ZERO };
    config
}

#[test]
fn needed_is_three_quarters_and_later_a_minimum_that_grows_with_the_observers() {
    // Observers; votes before 500 ms and after.
    let table = [
        (0, 1, 1),
        (1, 1, 1),
        (2, 2, 2),
        (3, 3, 2),
        (4, 3, 2),
        (5, 4, 3),
        (6, 5, 3),
        (7, 6, 3),
        (8, 6, 3),
    ];
    for (observers, strict, least) in table {
        assert_eq!(needed(observers, ms(499)), strict, "{observers} observers");
        assert_eq!(needed(observers, ms(500)), least, "{observers} observers");
    }
}

#[test]
fn the_floor_is_higher_in_the_smallest_meshes_and_the_fallback_8_s_later() {
    for (live, floor, wanted) in
        [(2, 0, 4), (2, 2, 4), (2, 8, 8), (3, 0, 2), (4, 0, 2), (4, 3, 3), (5, 0, 0), (100, 2, 2)]
    {
        assert_eq!(floor_in(live, ms(floor * 1_000)), ms(wanted * 1_000), "{live} live");
    }
    for (floor, wanted) in [(0, 10), (2, 10), (3, 11), (8, 16), (32, 40)] {
        assert_eq!(fallback(ms(floor * 1_000)), ms(wanted * 1_000));
    }
}

#[test]
fn all_other_observers_are_asked_at_0_100_250_and_then_each_500_ms() {
    let mut subject = Subject::observing(&up_to(7));
    let sent = subject.probe(1, ONE_IS_GONE);
    let later = subject.live(ONE_IS_GONE, ms(1_300));

    assert_eq!(times(&sent, is_solicit), [350; 6]);
    assert_eq!(Subject::jurors(&sent), [2, 3, 4, 5, 6, 7]);
    let asked = |peer| times(&later, move |it| is_solicit(it) && it.to == address(peer));
    for peer in 2..=7 {
        assert_eq!(asked(peer), [100, 250, 750, 1_250], "peer {peer}");
    }
    for (at, sent) in later.iter().filter(|(_, sent)| is_solicit(sent)) {
        let age_ms = u16::try_from(*at).unwrap();
        assert_eq!(sent.message, Message::Solicit { subject: accused(), age_ms });
    }
    // Others are of the sweep.
    let sequence = Subject::last_sequence(&sent, 1);
    let pings = times(&later, |it| is_ping_to(1)(it) && crate::sequence_of(it) == sequence);
    assert_eq!(pings, [250, 500, 750, 1_000, 1_250]);
}

#[test]
fn who_has_voted_is_not_asked_again() {
    let mut subject = accusing(&up_to(7));
    subject.hear(2, vote(Vote::No), &[]);
    subject.hear(3, vote(Vote::Abstain), &[]);

    let sent = subject.live(ONE_IS_GONE, ms(600));

    assert_eq!(Subject::jurors(&sent), [4, 5, 6, 7]);
}

#[test]
fn the_pings_of_a_case_slow_down_after_6_s() {
    let mut subject = accusing(&up_to(7));
    let sent = subject.live(Peers { vote: Some(Vote::Abstain), ..ONE_IS_GONE }, ms(9_000));

    let pings = times(&sent, is_ping_to(1));
    let gaps = |from: u64, to: u64| -> Vec<u64> {
        let within: Vec<u64> =
            pings.iter().copied().filter(|at| (from..=to).contains(at)).collect();
        within.windows(2).map(|pair| pair[1] - pair[0]).collect()
    };
    // The watch probes in between as well, so that gaps may be shorter.
    assert!(gaps(0, 5_900).iter().all(|gap| *gap <= 250), "{pings:?}");
    assert!(gaps(6_500, 9_000).contains(&500), "{pings:?}");
}

#[test]
fn silent_observers_are_replaced_at_700_and_1200_ms() {
    let mut subject = Subject::observing(&up_to(40));
    let first = subject.probe(1, ONE_IS_GONE);
    let jurors = Subject::jurors(&first);
    assert!(jurors.len() == 8 || jurors.len() == 7, "{jurors:?}");
    let voting = jurors[0];
    subject.hear(voting, vote(Vote::No), &[]);
    let before = subject.live(ONE_IS_GONE, ms(699));
    let at_700 = subject.live(ONE_IS_GONE, ms(1));
    let until_1200 = subject.live(ONE_IS_GONE, ms(500));
    let later = subject.live(ONE_IS_GONE, ms(10_000));

    assert!(Subject::jurors(&before).iter().all(|juror| jurors.contains(juror)));
    let second = Subject::jurors(&at_700);
    let replaced = jurors.len() - 1;
    assert_eq!(second.len(), 2 * replaced, "the silent and as many more");
    assert!(!second.contains(&voting));
    let third = Subject::jurors(&until_1200);
    assert!(third.len() <= 16 && third.len() > second.len(), "{third:?}");
    assert!(Subject::jurors(&later).len() <= 16);
}

/// Each peer that votes "no", and when after the opening, in ms; when the death is declared.
fn declared_after(config: Config, peers: &[u8], votes: &[(u8, u64)]) -> Option<u64> {
    let mut subject = Subject::observing_with(config, peers);
    subject.probe(1, ONE_IS_GONE);
    for at in 0..=30_000 {
        for (peer, _) in votes.iter().filter(|(_, when)| *when == at) {
            subject.hear(*peer, vote(Vote::No), &[]);
        }
        if subject.state_of(1) == Some(State::Dead) {
            return Some(at);
        }
        subject.live(ONE_IS_GONE, ms(1));
    }
    None
}

#[test]
fn enough_votes_declare_at_the_floor_and_not_before() {
    let default = Config::default;
    let all = |last| -> Vec<(u8, u64)> { (2..=last).map(|peer| (peer, 1)).collect() };
    // Eight observers, six of them at once, or three after 500 ms.
    let nine = [1, 2, 3, 4, 5, 6, 7, 9];
    assert_eq!(declared_after(default(), &nine, &all(7)), Some(2_000));
    assert_eq!(declared_after(fast(), &nine, &all(6)), Some(1));
    assert_eq!(declared_after(fast(), &nine, &all(5)), Some(500));
    assert_eq!(declared_after(fast(), &nine, &[(2, 400), (3, 450)]), Some(500));
    assert_eq!(declared_after(fast(), &nine, &[(2, 400), (3, 800)]), Some(800));
    // Too few: the fallback.
    assert_eq!(declared_after(fast(), &nine, &[(2, 400)]), Some(10_000));
    assert_eq!(declared_after(default(), &nine, &[]), Some(10_000));
    // Five, four, three members: two agree; with three both others must.
    assert_eq!(declared_after(fast(), &[1, 2, 3, 4], &[(2, 10)]), Some(500));
    assert_eq!(declared_after(fast(), &[1, 2, 3, 4], &[(2, 10), (3, 20)]), Some(20));
    assert_eq!(declared_after(fast(), &[1, 2, 3], &[(2, 10)]), Some(2_000));
    assert_eq!(declared_after(fast(), &[1, 2], &[(2, 10)]), Some(2_000));
    assert_eq!(declared_after(fast(), &[1, 2], &[]), Some(10_000));
    // Two members: nobody to ask.
    assert_eq!(declared_after(fast(), &[1], &[]), Some(4_000));
}

#[test]
fn the_fallback_says_so_and_the_dead_is_told_at_once() {
    let mut subject = accusing(&up_to(7));
    let sent = subject.live(ONE_IS_GONE, ms(10_020));

    let rules: Vec<_> = subject.verdicts().iter().map(|it| it.rule).collect();
    assert_eq!(rules, [VerdictRule::Fallback]);
    assert_eq!(subject.changes(), [(id(1), Change::Suspect), (id(1), Change::Dead)]);
    let dead = News::State(state(1, State::Dead, 0, LOCAL));
    let told: Vec<_> = sent.iter().filter(|(_, it)| it.news.contains(&dead)).collect();
    assert!(told.iter().any(|(at, it)| *at == 10_000 && it.to == address(1)));
    assert_eq!(told.iter().filter(|(at, it)| *at == 10_010 && it.to != address(1)).count(), 4);
    let later = subject.live(ONE_IS_GONE, ms(3_000));
    assert_eq!(times(&later, is_solicit), []);
}

#[test]
fn one_vote_alive_from_any_member_or_an_own_ack_closes_the_case() {
    for through in [Some(2), Some(7), None] {
        let mut subject = Subject::observing(&up_to(7));
        let sent = subject.probe(1, ONE_IS_GONE);
        for peer in 3..=6 {
            subject.hear(peer, vote(Vote::No), &[]);
        }
        subject.live(ONE_IS_GONE, ms(1_900));
        match through {
            Some(voter) => subject.hear(voter, vote(Vote::Alive), &[]),
            None => subject.acked(1, Subject::last_sequence(&sent, 1), None),
        };

        assert_eq!(subject.shown(1), Some(State::Alive));
        let later = subject.live(ONE_IS_GONE, ms(500));
        assert_eq!((times(&later, is_solicit), times(&later, is_ping_to(1))), (vec![], vec![]));
        assert_eq!(subject.state_of(1), Some(State::Alive));
    }
}

#[test]
fn votes_count_once_from_jurors_and_for_this_incarnation_only() {
    let mut subject = accusing(&up_to(40));
    let sent = subject.live(ONE_IS_GONE, ms(100));
    let jurors = Subject::jurors(&sent);
    let others = up_to(40).into_iter().filter(|it| *it > 1 && !jurors.contains(it));
    for other in others {
        subject.hear(other, vote(Vote::No), &[]);
    }
    let elsewhere = Incarnation { incarnation: 1, ..accused() };
    let restarted = Incarnation { generation: 2, ..accused() };
    for juror in &jurors {
        for subject_of in [elsewhere, restarted] {
            let message = Message::Vote { subject: subject_of, vote: Vote::No };
            subject.hear(*juror, message, &[]);
            let message = Message::Vote { subject: subject_of, vote: Vote::Alive };
            subject.hear(*juror, message, &[]);
        }
    }
    for _ in 0..10 {
        subject.hear(jurors[0], vote(Vote::No), &[]);
    }
    subject.hear(99, vote(Vote::Alive), &[]);
    // A vote that is taken back does not count.
    subject.hear(jurors[1], vote(Vote::No), &[]);
    subject.hear(jurors[1], vote(Vote::Abstain), &[]);

    subject.live(ONE_IS_GONE, ms(3_000));
    assert_eq!(subject.shown(1), Some(State::Suspect));
    subject.hear(jurors[2], vote(Vote::No), &[]);
    assert_eq!(subject.shown(1), Some(State::Dead));
}

#[test]
fn a_refutation_a_restart_or_a_leave_ends_the_case() {
    let restarted = astromesh_wire::StateUpdate { generation: 2, ..state(1, State::Alive, 0, 0) };
    for (claim, shown) in [
        (state(1, State::Alive, 1, 0), State::Alive),
        (restarted, State::Alive),
        (state(1, State::Left, 0, 0), State::Left),
        (state(1, State::Dead, 0, 2), State::Dead),
    ] {
        let mut subject = accusing(&up_to(7));
        subject.told(2, &[claim]);
        assert_eq!(subject.shown(1), Some(shown));
        let later = subject.live(NO_HELP, ms(400));
        assert_eq!(times(&later, is_solicit), []);
        let answer = subject.hear(3, vote(Vote::No), &[]);
        assert_eq!(answer, []);
        assert_eq!(subject.verdicts(), []);
    }
}

#[test]
fn who_is_asked_while_it_accuses_answers_no_at_once() {
    let mut subject = accusing(&up_to(7));
    let sent = subject.hear(3, solicit(20), &[]);
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to, sent[0].message), (address(3), vote(Vote::No)));

    // Later it is answered too that the accused lives.
    let pings = subject.live(ONE_IS_GONE, ms(300));
    let sequence = Subject::last_sequence(&pings, 1);
    let sent = subject.acked(1, sequence, None);
    assert!(sent.iter().any(|it| it.to == address(3) && it.message == vote(Vote::Alive)));
}
