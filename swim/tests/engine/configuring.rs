//! Other settings, and another description, for an engine that runs.

use astromesh_swim::detector::Rule;
use astromesh_swim::{Command, Config, OwnedRecord, VerdictRule};
use astromesh_wire::Vote;

use crate::peers::{ONE_IS_GONE, Peers, up_to};
use crate::{LOCAL, News, Subject, lifeguard, ms, record};

/// What is found out about a member that is gone within `within` of its probe.
fn verdicts_within(config: Option<Config>, within: u64) -> Vec<VerdictRule> {
    let mut subject = Subject::observing(&up_to(7));
    if let Some(config) = config {
        subject.command(Command::Configure(Box::new(config)));
    }
    subject.probe(1, ONE_IS_GONE);
    subject.live(Peers { vote: Some(Vote::No), ..ONE_IS_GONE }, ms(within));
    subject.verdicts().iter().map(|verdict| verdict.rule).collect()
}

#[test]
fn a_new_floor_decides_deaths_from_then_on() {
    let mut fast = Config::default();
    fast.detector.rule = Rule::Evidence { floor: ms(0) };
    assert_eq!(verdicts_within(None, 1_000), []);
    assert_eq!(verdicts_within(Some(fast), 1_000), [VerdictRule::Quorum]);
}

#[test]
fn the_kind_of_rule_stays() {
    assert_eq!(verdicts_within(Some(lifeguard()), 2_500), [VerdictRule::Quorum]);
}

#[test]
fn a_new_interval_is_that_of_the_next_probes() {
    let mut subject = Subject::observing(&up_to(3));
    subject.answered_for(ms(5_000));
    let probes = |subject: &mut Subject| {
        let before = subject.engine.stats().probes;
        subject.answered_for(ms(30_000));
        subject.engine.stats().probes - before
    };
    let usual = probes(&mut subject);
    let hurried = Config { probe_interval: ms(200), probe_timeout: ms(100), ..Config::default() };
    subject.command(Command::Configure(Box::new(hurried)));
    let many = probes(&mut subject);
    assert!(many > usual * 4, "{many} after {usual}");
}

#[test]
fn a_new_name_and_what_is_beyond_the_record_travel_as_new_revisions() {
    let mut subject = Subject::among(&[1]);

    subject.command(Command::SetName("other".to_owned()));
    subject.command(Command::SetName("other".to_owned()));
    subject.command(Command::Revise);
    subject.command(Command::SetName("x".repeat(65)));

    let sent = subject.answered_for(ms(1_000));
    let record = OwnedRecord { revision: 3, name: "other".to_owned(), ..record(LOCAL) };
    assert!(sent.iter().any(|sent| sent.news == [News::Record(record.clone())]));
    assert_eq!(subject.engine.local().record, record);
    assert_eq!(subject.engine.stats().refused_record, 1);
}
