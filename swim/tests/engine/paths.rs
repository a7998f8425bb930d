//! How the last probes of a member ended, as people are told.

use astromesh_swim::detector::Rule;
use astromesh_swim::paths::{Outcome, PATHS_MAX, Paths};
use astromesh_swim::{Command, Config, Instant, Path};
use astromesh_wire::{Message, ShortId};

use crate::peers::{ALL_WELL, NO_HELP, up_to};
use crate::{Subject, id, ms};

fn path(subject: &Subject, number: u8) -> Path {
    subject.engine.path(id(number)).unwrap_or_default()
}

#[test]
fn who_answers_by_itself_is_reached_directly() {
    let mut subject = Subject::observing(&up_to(5));
    assert_eq!(subject.engine.path(id(6)), None);
    let before = path(&subject, 1);

    subject.live(ALL_WELL, ms(1));
    subject.probe(1, ALL_WELL);

    let known = path(&subject, 1);
    assert!(known.direct_at > before.direct_at && known.round_trip.is_some(), "{known:?}");
    assert_eq!((known.relayed_at, known.failed_at), (None, None));
}

#[test]
fn who_answers_only_a_helper_is_reached_through_helpers() {
    let mut subject = Subject::observing(&up_to(5));
    let before = path(&subject, 1);
    subject.command(Command::Probe(id(1)));
    let sent = subject.live(NO_HELP, ms(200));
    let asked = sent.iter().find_map(|(_, sent)| match sent.message {
        Message::PingReq { sequence, .. } => Some((sent.to, sequence)),
        _ => None,
    });
    let (helper, sequence) = asked.unwrap();
    let number = (2..=7).find(|&number| crate::address(number) == helper).unwrap();

    subject.acked(number, sequence, None);

    let known = path(&subject, 1);
    assert_eq!(known.relayed_at, Some(subject.now), "{known:?}");
    assert_eq!((known.direct_at, known.failed_at), (before.direct_at, None));
}

#[test]
fn who_answers_nobody_has_failed_and_what_was_before_stays_known() {
    let mut subject = Subject::observing(&up_to(5));
    subject.probe(1, ALL_WELL);
    let before = path(&subject, 1);

    subject.probe(1, NO_HELP);

    let after = path(&subject, 1);
    assert_eq!(after.direct_at, before.direct_at);
    assert!(after.failed_at > after.direct_at, "{after:?}");
}

#[test]
fn lifeguard_tells_the_same() {
    let mut config = Config::default();
    config.detector.rule = Rule::Lifeguard;
    let mut subject = Subject::observing_with(config, &[1]);

    subject.live(ALL_WELL, ms(3_000));
    let known = path(&subject, 1);
    assert!(known.direct_at.is_some() && known.failed_at.is_none(), "{known:?}");

    subject.live(NO_HELP, ms(5_000));
    assert!(path(&subject, 1).failed_at.is_some());
}

#[test]
fn outcomes_are_bounded_and_the_oldest_goes_first() {
    let mut paths = Paths::default();
    let short = |number: usize| {
        let [a, b, ..] = number.to_le_bytes();
        ShortId::from_bytes([a, b, 0, 0, 0])
    };
    let at = |number: usize| Instant::from_micros(u64::try_from(number).unwrap());
    for number in 1..=PATHS_MAX {
        paths.note(at(number), short(number), Outcome::Relayed);
    }
    paths.note(at(PATHS_MAX + 1), short(1), Outcome::Failed);

    paths.note(at(PATHS_MAX + 2), short(PATHS_MAX + 1), Outcome::Direct(None));

    assert!(paths.of(short(1)).is_some(), "heard of lately");
    assert!(paths.of(short(2)).is_none());
    assert!(paths.of(short(PATHS_MAX + 1)).is_some());
}
