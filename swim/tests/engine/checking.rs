//! Deaths that a comparison of views tells of: the member is asked first.

use astromesh_swim::detector::Rule;
use astromesh_swim::{Change, Config, OwnedRecord};
use astromesh_wire::{Entry, Message, State, Update};

use crate::compare::{entry, told, unknown};
use crate::peers::{ALL_WELL, ONE_IS_GONE, times};
use crate::{News, Sent, Subject, id, is_ping_to, ms, record, short, state};

#[test]
fn a_death_told_by_a_comparison_is_asked_of_the_member_which_refutes() {
    let mut subject = Subject::among(&[1, 2]);

    let sent = told(&mut subject, 2, &[entry(1, State::Dead, 0, 1)]);
    assert_eq!(sent.len(), 1);
    assert!(is_ping_to(1)(&sent[0]));
    // The claim is on the ping, although it is not believed here.
    assert_eq!(sent[0].news, [News::State(state(1, State::Dead, 0, 0))]);
    let sequence = crate::sequence_of(&sent[0]);
    let ack = Message::Ack { sequence, digest: 0, slot_ms: None };
    subject.hear(1, ack, &[Update::State(state(1, State::Alive, 1, 0))]);
    subject.wait(ms(400));

    assert!(subject.member(1).unwrap().is_live());
    assert!(!subject.changes().contains(&(id(1), Change::Dead)));
    let stats = subject.engine.stats();
    assert_eq!((stats.deaths_checked, stats.deaths_disproved), (1, 1));
}

#[test]
fn a_death_told_by_a_comparison_is_believed_after_three_pings_without_an_answer() {
    let mut subject = Subject::among(&[1, 2]);
    let start = subject.now;
    let mut pings = told(&mut subject, 2, &[entry(1, State::Dead, 0, 1)]);

    let mut died_at = None;
    for _ in 0..40 {
        pings.extend(subject.wait(ms(10)));
        if died_at.is_none() && subject.state_of(1) == Some(State::Dead) {
            died_at = Some(subject.now.since(start));
        }
    }

    let claim = News::State(state(1, State::Dead, 0, 0));
    let asked = pings.iter().filter(|sent| is_ping_to(1)(sent) && sent.news == [claim.clone()]);
    assert_eq!((asked.count(), died_at), (3, Some(ms(350))));
    // The others hear of it from here too.
    let sent = subject.answered_for(ms(1_000));
    assert!(sent.iter().flat_map(|sent| &sent.news).any(|news| matches!(
        news,
        News::State(update) if update.id == short(1) && update.state == State::Dead
    )));
}

#[test]
fn a_death_told_by_a_comparison_takes_the_floor_under_the_evidence_rule() {
    let mut subject = Subject::observing(&[1, 2]);
    subject.live(ALL_WELL, ms(5_000));
    subject.events.clear();
    let claim = News::State(state(1, State::Dead, 0, 0));
    let is_asking = |sent: &Sent| is_ping_to(1)(sent) && sent.news == [claim.clone()];
    let start = subject.now;
    let mut asked = told(&mut subject, 2, &[entry(1, State::Dead, 0, 1)]);
    asked.retain(is_asking);
    assert_eq!(asked.len(), 1);

    let mut at = vec![0];
    at.extend(times(&subject.live(ONE_IS_GONE, ms(1_999)), is_asking));
    assert!(subject.member(1).unwrap().is_live());
    subject.live(ONE_IS_GONE, ms(1));

    assert_eq!(at, [0, 80, 200, 350, 600, 850, 1_100, 1_350, 1_600, 1_850]);
    assert_eq!((subject.state_of(1), subject.now.since(start)), (Some(State::Dead), ms(2_000)));
    let stats = subject.engine.stats();
    assert_eq!((stats.deaths_checked, stats.deaths_believed, stats.deaths), (1, 1, 0));
}

#[test]
fn a_late_ack_ends_the_check_of_a_death_under_the_evidence_rule() {
    let mut subject = Subject::observing(&[1, 2]);
    let sent = told(&mut subject, 2, &[entry(1, State::Dead, 0, 1)]);
    let sequence = crate::sequence_of(&sent[0]);

    subject.live(ONE_IS_GONE, ms(1_900));
    subject.acked(1, sequence, None);
    subject.live(ALL_WELL, ms(5_000));

    assert!(subject.member(1).unwrap().is_live());
    let stats = subject.engine.stats();
    assert_eq!((stats.deaths_disproved, stats.deaths_believed), (1, 0));
}

#[test]
fn a_longer_floor_holds_for_deaths_told_by_a_comparison_too() {
    let mut config = Config::default();
    config.detector.rule = Rule::Evidence { floor: ms(4_000) };
    let mut subject = Subject::observing_with(config, &[1, 2]);
    told(&mut subject, 2, &[entry(1, State::Dead, 0, 1)]);

    subject.live(ONE_IS_GONE, ms(3_900));
    assert!(subject.member(1).unwrap().is_live());
    subject.live(ONE_IS_GONE, ms(100));
    assert_eq!(subject.state_of(1), Some(State::Dead));
}

#[test]
fn on_a_slow_network_the_pings_of_a_check_lie_further_apart() {
    let mut subject = Subject::observing(&[1, 2]);
    // Answers take 150 ms.
    for _ in 0..20 {
        let ping = subject.wait_for_ping();
        subject.now = subject.now + ms(150);
        let number = crate::peers::number_of(match ping.message {
            Message::Ping { target, .. } => target,
            other => panic!("{other:?}"),
        });
        subject.acked(number, crate::sequence_of(&ping), None);
    }
    let claim = News::State(state(1, State::Dead, 0, 0));
    told(&mut subject, 2, &[entry(1, State::Dead, 0, 1)]);

    let sent = subject.live(ONE_IS_GONE, ms(2_500));

    let at = times(&sent, |sent| is_ping_to(1)(sent) && sent.news == [claim.clone()]);
    assert!(at[0] > 100 && at[1] - at[0] > 150, "{at:?}");
}

#[test]
fn a_check_that_goes_on_with_a_greater_claim_takes_over_its_age() {
    let mut subject = Subject::among(&[1, 2]);
    told(&mut subject, 2, &[entry(1, State::Dead, 0, 1)]);
    let older = Entry { gone_for_s: 3_600, ..entry(1, State::Dead, 1, 1) };
    told(&mut subject, 2, &[older]);
    subject.wait(ms(400));
    assert_eq!(subject.state_of(1), Some(State::Dead));

    let sent = told(&mut subject, 2, &[unknown(1)]);

    let dead = OwnedRecord { incarnation: 1, ..record(1) };
    assert_eq!(sent[0].news, [News::Gone(dead, State::Dead, 3_600)]);
}

#[test]
fn a_member_that_is_forgotten_while_its_death_is_checked_can_be_checked_again() {
    let mut config = crate::lifeguard();
    config.reap_after = ms(20);
    let mut subject = Subject::with(config);
    subject.meet(&[1, 2]);
    let claimed = |incarnation| entry(1, State::Dead, incarnation, 1);
    assert_eq!(told(&mut subject, 2, &[claimed(1)]).len(), 1);
    subject.told(2, &[state(1, State::Dead, 0, 2)]);
    subject.wait(ms(1_000));
    assert_eq!(subject.state_of(1), None);

    subject.hear(2, Message::Gossip, &[Update::Record(record(1).borrow())]);
    let sent = told(&mut subject, 2, &[claimed(2)]);

    assert!(sent.iter().any(is_ping_to(1)), "{sent:?}");
    assert_eq!(subject.engine.stats().deaths_checked, 2);
}
