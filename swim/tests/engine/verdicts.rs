//! Why a member was declared dead: reported once, passed on, and not mixed up.

use astromesh_swim::{Config, Engine, VerdictRule};
use astromesh_wire::{
    Ballot, ClusterTag, Entry, Evidence, Incarnation, Message, State, Update, Vote,
};

use crate::peers::{ALL_WELL, ONE_IS_GONE, Peers, accused, up_to};
use crate::{LOCAL, News, Reasons, Sent, Subject, id, ms, record, short};

/// What peer 2 tells of a death 1.5 s ago.
fn evidence(subject: Incarnation, ballots: &[u8]) -> Update<'_> {
    Update::Evidence(Evidence {
        subject,
        accuser: short(2),
        rule: VerdictRule::Quorum.number(),
        open_ms: 2_050,
        decided_ms_ago: 1_500,
        tries: 3,
        helpers: 4,
        nacks: 2,
        health: 1,
        ballots,
    })
}

fn ballots() -> Vec<u8> {
    let ballot = |voter, vote| Ballot { voter: short(voter), vote, after_ms: 351 };
    [ballot(3, Some(Vote::No)), ballot(4, None)].iter().flat_map(|it| it.to_bytes()).collect()
}

fn reasons(sent: &[Sent]) -> Vec<Reasons> {
    let news = sent.iter().flat_map(|sent| &sent.news);
    news.filter_map(|news| match news {
        News::Evidence(reasons) => Some(reasons.clone()),
        _ => None,
    })
    .collect()
}

#[test]
fn the_accuser_reports_its_own_evidence_with_all_ballots_and_passes_it_on() {
    let mut subject = Subject::observing(&up_to(7));
    subject.probe(1, ONE_IS_GONE);
    let voting = Peers { vote: Some(Vote::No), ..ONE_IS_GONE };
    let sent = subject.live(voting, ms(2_500));

    let [verdict] = <[_; 1]>::try_from(subject.verdicts()).unwrap();
    assert_eq!((verdict.subject, verdict.generation, verdict.incarnation), (id(1), 1, 0));
    assert_eq!((verdict.accuser, verdict.rule), (Some(short(LOCAL)), VerdictRule::Quorum));
    assert_eq!((verdict.open_for, verdict.decided_ago), (ms(2_000), ms(0)));
    assert_eq!((verdict.tries, verdict.helpers, verdict.nacks, verdict.health), (3, 4, 4, 1));
    let mut voters: Vec<_> =
        verdict.ballots.iter().map(|ballot| (ballot.voter, ballot.vote)).collect();
    voters.sort_unstable();
    let wanted: Vec<_> = (2..=7).map(|peer| (short(peer), Some(Vote::No))).collect();
    assert_eq!(voters, wanted);
    let sent: Vec<Sent> = sent.into_iter().map(|(_, sent)| sent).collect();
    let told = reasons(&sent);
    assert!(told.iter().all(|told| told.subject == accused() && told.ballots == 6), "{told:?}");
    assert!(told.len() >= 4, "told {} times", told.len());
}

#[test]
fn evidence_that_is_heard_is_reported_once_and_passed_on_with_its_age() {
    let mut subject = Subject::observing(&up_to(7));
    subject.live(ALL_WELL, ms(5_000));
    let ballots = ballots();
    let heard = evidence(accused(), &ballots);

    let at = subject.now;
    for peer in [2, 3, 2] {
        subject.hear(peer, Message::Gossip, &[heard]);
    }
    let [verdict] = <[_; 1]>::try_from(subject.verdicts()).unwrap();
    assert_eq!((verdict.accuser, verdict.rule), (Some(short(2)), VerdictRule::Quorum));
    assert_eq!((verdict.open_for, verdict.decided_ago), (ms(2_050), ms(1_500)));
    assert_eq!((verdict.tries, verdict.helpers, verdict.nacks, verdict.health), (3, 4, 2, 1));
    assert_eq!(verdict.ballots.len(), 2);
    assert_eq!(verdict.ballots[1], Ballot { voter: short(4), vote: None, after_ms: 351 });

    let mut passed_on = 0;
    for (after, sent) in subject.live(ALL_WELL, ms(5_000)) {
        for told in reasons(&[sent]) {
            passed_on += 1;
            assert_eq!(u64::from(told.decided_ms_ago), 1_500 + after, "since {at:?}");
            assert_eq!((told.subject, told.accuser, told.ballots), (accused(), short(2), 2));
        }
    }
    assert!(passed_on >= 4, "{passed_on} times");
    assert_eq!(subject.verdicts().len(), 1);
}

#[test]
fn older_evidence_neither_replaces_newer_nor_is_told_again() {
    let mut subject = Subject::observing(&up_to(7));
    let newer = Incarnation { incarnation: 3, ..accused() };
    subject.told(2, &[crate::state(1, State::Alive, 3, 0)]);
    subject.hear(2, Message::Gossip, &[evidence(newer, &[])]);
    subject.settle_keeping_events();

    subject.hear(3, Message::Gossip, &[evidence(accused(), &[])]);
    assert!(!subject.engine.has_news());
    subject.hear(3, Message::Gossip, &[evidence(newer, &[])]);
    assert!(!subject.engine.has_news());

    assert_eq!(subject.verdicts().len(), 1);
}

#[test]
fn a_verdict_of_others_is_reported_after_this_node_gave_the_member_up_by_itself() {
    let mut subject = Subject::observing(&[1, 2]);
    let alone = Peers { silent: &[1, 2], nacks: false, vote: None };
    subject.probe(1, alone);
    subject.live(alone, ms(31_000));
    let rules = |subject: &Subject| -> Vec<_> {
        let verdicts = subject.verdicts();
        verdicts.iter().filter(|it| it.subject == id(1)).map(|it| it.rule).collect()
    };
    assert_eq!(rules(&subject), [VerdictRule::Unreachable]);

    let ballots = ballots();
    subject.hear(2, Message::Gossip, &[evidence(accused(), &ballots)]);

    assert_eq!(rules(&subject), [VerdictRule::Unreachable, VerdictRule::Quorum]);
    let told: Vec<Sent> = subject.live(ALL_WELL, ms(1_000)).into_iter().map(|it| it.1).collect();
    assert!(reasons(&told).iter().any(|told| told.ballots == 2), "passed on");
}

#[test]
fn evidence_about_strangers_is_ignored_and_about_this_node_reported() {
    let mut subject = Subject::observing(&up_to(7));
    let about = |number| Incarnation { id: short(number), ..accused() };

    subject.hear(2, Message::Gossip, &[evidence(about(99), &[])]);
    assert_eq!(subject.verdicts(), []);
    subject.hear(2, Message::Gossip, &[evidence(about(LOCAL), &[])]);
    assert_eq!(subject.verdicts().len(), 1);
    assert_eq!(subject.verdicts()[0].subject, id(LOCAL));
}

#[test]
fn evidence_about_a_life_to_come_is_refused_and_hides_nothing() {
    let mut subject = Subject::observing(&up_to(7));
    let to_come = [
        Incarnation { incarnation: 1, ..accused() },
        Incarnation { generation: 2, ..accused() },
        Incarnation { generation: u32::MAX, incarnation: u32::MAX, ..accused() },
    ];

    for forged in to_come {
        subject.hear(2, Message::Gossip, &[evidence(forged, &[])]);
    }
    assert_eq!((subject.verdicts(), subject.engine.stats().refused_evidence), (Vec::new(), 3));
    subject.hear(2, Message::Gossip, &[evidence(accused(), &[])]);

    assert_eq!(subject.verdicts().len(), 1);
}

#[test]
fn evidence_about_an_earlier_life_is_history_and_hides_no_newer_one() {
    let mut subject = Subject::observing(&up_to(7));
    subject.told(2, &[crate::state(1, State::Alive, 3, 0)]);
    let later = Incarnation { incarnation: 3, ..accused() };

    subject.hear(2, Message::Gossip, &[evidence(accused(), &[])]);
    subject.hear(2, Message::Gossip, &[evidence(later, &[])]);

    let lives: Vec<u32> = subject.verdicts().iter().map(|verdict| verdict.incarnation).collect();
    assert_eq!(lives, [0, 3]);
}

#[test]
fn the_own_view_of_another_is_no_evidence() {
    let mut subject = Subject::observing(&up_to(7));
    let Update::Evidence(told) = evidence(accused(), &[]) else { panic!("it is evidence") };
    let own_view = Evidence { rule: VerdictRule::Unreachable.number(), ..told };

    subject.hear(2, Message::Gossip, &[Update::Evidence(own_view)]);

    assert_eq!((subject.verdicts(), subject.engine.stats().refused_evidence), (Vec::new(), 1));
}

#[test]
fn a_member_given_up_twice_is_told_of_twice() {
    let mut subject = Subject::observing(&[1, 2]);
    let alone = Peers { silent: &[1, 2], nacks: false, vote: None };
    let given_up = |subject: &Subject| -> usize {
        let verdicts = subject.verdicts();
        let rule = VerdictRule::Unreachable;
        verdicts.iter().filter(|it| it.subject == id(1) && it.rule == rule).count()
    };

    subject.probe(1, alone);
    subject.live(alone, ms(60_000));
    assert_eq!(given_up(&subject), 1);
    subject.live(ALL_WELL, ms(20_000));
    assert_eq!(subject.shown(1), Some(State::Alive));
    subject.probe(1, alone);
    subject.live(alone, ms(60_000));

    assert_eq!(given_up(&subject), 2);
}

#[test]
fn a_death_told_by_a_comparison_is_reported_as_hearsay_until_there_is_evidence() {
    for evidence_comes_first in [false, true] {
        let mut subject = Subject::observing(&up_to(7));
        subject.live(ALL_WELL, ms(5_000));
        if evidence_comes_first {
            subject.hear(2, Message::Gossip, &[evidence(accused(), &[])]);
        }
        let dead = Entry { subject: accused(), state: State::Dead, revision: 1, gone_for_s: 0 };
        subject.hear(2, Message::Gossip, &[Update::Entry(dead)]);
        let sent = subject.live(ONE_IS_GONE, ms(2_000));
        let sent: Vec<Sent> = sent.into_iter().map(|(_, sent)| sent).collect();
        assert_eq!(subject.state_of(1), Some(State::Dead));
        if !evidence_comes_first {
            let [verdict] = <[_; 1]>::try_from(subject.verdicts()).unwrap();
            assert_eq!((verdict.accuser, verdict.subject), (Some(short(LOCAL)), id(1)));
            assert_eq!((verdict.rule, verdict.tries), (VerdictRule::Hearsay, 10));
            assert_eq!((verdict.open_for, verdict.decided_ago), (ms(2_000), ms(0)));
            assert!(reasons(&sent).iter().all(|told| told.accuser == short(LOCAL)));
            subject.hear(2, Message::Gossip, &[evidence(accused(), &[])]);
        }

        let rules: Vec<_> = subject.verdicts().iter().map(|verdict| verdict.rule).collect();
        let wanted: &[_] = if evidence_comes_first {
            &[VerdictRule::Quorum]
        } else {
            &[VerdictRule::Hearsay, VerdictRule::Quorum]
        };
        assert_eq!(rules, wanted);
    }
}

#[test]
fn with_a_member_its_evidence_is_forgotten() {
    let mut config = crate::lifeguard();
    config.reap_after = ms(5);
    let mut subject = Subject::with(config);
    subject.meet(&[1, 2]);

    subject.hear(2, Message::Gossip, &[evidence(accused(), &[])]);
    subject.told(2, &[crate::state(1, State::Dead, 0, 2)]);
    assert!(subject.engine.has_news());
    subject.wait(ms(5));

    assert_eq!((subject.state_of(1), subject.engine.has_news()), (None, false));
}

/// One more than is kept: the oldest is not told any more, the others are.
#[test]
fn of_256_members_the_evidence_is_kept() {
    let now = astromesh_swim::Instant::from_micros(1_000_000);
    let engine = Engine::new(now, Config::default(), ClusterTag::of(crate::CLUSTER), record(0), 7);
    let mut subject = Subject { engine, now, events: Vec::new() };
    let record_of = |number: u16| {
        let [high, low] = number.to_be_bytes();
        let id = astromesh_wire::NodeId::from_bytes([[high, low]; 8].concat().try_into().unwrap());
        let address = std::net::SocketAddr::from(([10, 1, high, low], 8000));
        astromesh_swim::OwnedRecord { id, address, ..record(1) }
    };
    let members: Vec<_> = (256..=512).map(record_of).collect();
    let claims = members.iter().map(|it| crate::claim(it.clone(), State::Alive)).collect();
    let known = crate::claim(record(2), State::Alive);
    subject.command(astromesh_swim::Command::Merge {
        claims,
        term: 0,
        origin: astromesh_swim::Origin::Join,
    });
    subject.merge(vec![known], astromesh_swim::Origin::Join);

    for member in &members {
        let about = Incarnation { id: member.id.short(), generation: 1, incarnation: 0 };
        subject.hear_as(2, &[evidence(about, &[])]);
    }
    assert_eq!(subject.verdicts().len(), 257);

    // Known ones are no news; the one that was forgotten is.
    for member in members.iter().rev() {
        let about = Incarnation { id: member.id.short(), generation: 1, incarnation: 0 };
        subject.hear_as(2, &[evidence(about, &[])]);
    }
    let again: Vec<_> = subject.verdicts().into_iter().skip(257).map(|it| it.subject).collect();
    assert_eq!(again, [members[0].id]);
}

impl Subject {
    /// Peers answer every ping until there is no news; what was reported stays.
    fn settle_keeping_events(&mut self) {
        let before = std::mem::take(&mut self.events);
        self.settle();
        self.events = before;
    }

    /// News from a peer to an engine that is not the usual local one.
    fn hear_as(&mut self, peer: u8, updates: &[Update<'_>]) {
        let bytes = crate::datagram(peer, Message::Gossip, updates);
        self.engine.handle_datagram(self.now, crate::address(peer), &bytes);
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event);
        }
    }
}
