//! Which node is picked when nodes fail, and what may be sent again.

use super::*;
use crate::routing::{Judgement, Outcome, Reason, Repeat, Sent};

const SECOND: Duration = Duration::from_secs(1);

fn fail(core: &mut Core, numbers: std::ops::Range<u8>, outcome: Outcome, times: u32) {
    for number in numbers {
        for _ in 0..times {
            core.outcome(NOW, &target(number), AGENT, outcome);
        }
    }
}

#[test]
fn a_node_that_cannot_be_reached_is_passed_over_then_tried_by_one_request() {
    let mut core = idle(3);
    core.outcome(NOW, &target(2), AGENT, Outcome::NotConnected);
    assert_eq!(chosen(&mut core, NOW, &ASK, 50), [3, 4]);
    assert_eq!((core.ejected(NOW), core.stats().ejections_unreachable), (1, 1));
    let later = NOW + SECOND;
    for number in [3, 4] {
        core.begin(later, id(number));
    }
    let trial = core.pick(later, &ASK).unwrap();
    assert_eq!((number(&trial), trial.why.reason), (2, Reason::Trial));
    assert_eq!(chosen(&mut core, later, &ASK, 50), [3, 4], "the others wait for it");
    core.outcome(later, &target(2), AGENT, Outcome::Answered(200));
    assert_eq!(chosen(&mut core, later, &ASK, 50), [2]);
}

/// As many members with two agents.
fn with_two_agents(count: u8) -> Core {
    let members = (2..2 + count).map(|number| {
        let agents = vec![OTHER.to_owned(), AGENT.to_owned()];
        Member { agents, ..member(number) }
    });
    core(members.collect())
}

const OTHER: &str = "billing";
const ASK_OTHER: Question<'static> = Question { agent: OTHER, ..ASK };

#[test]
fn what_counts_as_a_failure_and_of_whom() {
    // Name, outcome, nodes left after five of them at one of three: for the agent, for another one.
    type Row = (&'static str, Outcome, &'static [u8], &'static [u8]);
    let rows: [Row; 11] = [
        ("success", Outcome::Answered(200), &[2, 3, 4], &[2, 3, 4]),
        ("mistake of the client", Outcome::Answered(400), &[2, 3, 4], &[2, 3, 4]),
        ("too many requests", Outcome::Answered(429), &[2, 3, 4], &[2, 3, 4]),
        ("refusal", Outcome::Refused, &[2, 3, 4], &[2, 3, 4]),
        ("unknown method", Outcome::Answered(501), &[2, 3, 4], &[2, 3, 4]),
        ("error", Outcome::Answered(500), &[3, 4], &[2, 3, 4]),
        ("bad gateway", Outcome::Answered(502), &[3, 4], &[2, 3, 4]),
        ("queue too long for the caller", Outcome::Answered(503), &[2, 3, 4], &[2, 3, 4]),
        ("deadline of the caller", Outcome::Answered(504), &[2, 3, 4], &[2, 3, 4]),
        ("no answer in time", Outcome::TimedOut, &[3, 4], &[2, 3, 4]),
        ("broken connection", Outcome::Broken, &[3, 4], &[3, 4]),
    ];
    for (name, outcome, left, left_to_another) in rows {
        let mut core = with_two_agents(3);
        fail(&mut core, 2..3, outcome, 4);
        assert_eq!(core.ejected(NOW), 0, "{name}");
        fail(&mut core, 2..3, outcome, 1);
        assert_eq!(chosen(&mut core, NOW, &ASK, 100), left, "{name}");
        assert_eq!(chosen(&mut core, NOW, &ASK_OTHER, 100), left_to_another, "{name}");
        let is_ejected = left.len() < 3;
        assert_eq!(core.ejected(NOW), usize::from(is_ejected), "{name}");
        assert_eq!(core.stats().ejections_failing, u64::from(is_ejected), "{name}");
    }
}

#[test]
fn an_agent_that_failed_on_a_node_is_tried_there_again_by_one_request() {
    let mut core = with_two_agents(3);
    fail(&mut core, 2..3, Outcome::Answered(500), 5);
    let later = NOW + SECOND;
    for number in [3, 4] {
        core.begin(later, id(number));
    }
    assert_eq!(core.pick(later, &ASK_OTHER).unwrap().why.reason, Reason::LeastLoad);
    let trial = core.pick(later, &ASK).unwrap();
    assert_eq!((number(&trial), trial.why.reason), (2, Reason::Trial));
    assert_eq!(chosen(&mut core, later, &ASK, 50), [3, 4], "the others wait for it");
    assert_eq!(chosen(&mut core, later, &ASK_OTHER, 50), [2], "and other agents do not");
    core.outcome(later, &target(2), OTHER, Outcome::Answered(200));
    assert_eq!(chosen(&mut core, later, &ASK, 50), [3, 4], "nor do they end it");
    core.outcome(later, &target(2), AGENT, Outcome::Answered(200));
    assert_eq!(chosen(&mut core, later, &ASK, 50), [2]);
}

#[test]
fn what_no_agent_did_ejects_none_and_ends_no_ejection() {
    let mut core = with_two_agents(3);
    fail(&mut core, 2..3, Outcome::Answered(500), 5);
    for status in [200, 503] {
        core.outcome(NOW + SECOND, &target(2), "", Outcome::Answered(status));
    }
    assert_eq!(chosen(&mut core, NOW, &ASK, 50), [3, 4]);
    for _ in 0..5 {
        let judgement = core.outcome(NOW, &target(3), "", Outcome::Answered(500));
        assert_eq!(judgement, Judgement::AsBefore);
    }
    assert_eq!(core.ejected(NOW), 1);
}

#[test]
fn an_agent_that_failed_is_judged_afresh_by_a_new_process() {
    let mut core = with_two_agents(2);
    fail(&mut core, 2..3, Outcome::Answered(500), 5);
    assert_eq!(core.ejected(NOW), 1);
    core.heard(NOW, id(2), LoadRecord { boot: 2, ..record(1, 0, 0) });
    assert_eq!(core.ejected(NOW), 0);
}

#[test]
fn an_ejected_node_comes_after_a_suspect_one_and_before_none() {
    let mut suspect = member(3);
    suspect.state = State::Suspect;
    let mut core = core(vec![member(2), suspect, member(4)]);
    core.outcome(NOW, &target(2), AGENT, Outcome::NotConnected);
    let tried = Question { tried: &[id(4)], ..ASK };
    assert_eq!(chosen(&mut core, NOW, &tried, 50), [3]);
    let tried = Question { tried: &[id(4), id(3)], ..ASK };
    let last = core.pick(NOW, &tried).unwrap();
    assert_eq!((number(&last), last.why.reason), (2, Reason::Panic));
}

#[test]
fn errors_take_away_half_of_the_nodes_at_most() {
    let mut core = idle(4);
    fail(&mut core, 2..4, Outcome::Answered(500), 5);
    assert_eq!(chosen(&mut core, NOW, &ASK, 100), [4, 5]);
    assert_eq!(core.stats().panics, 0);
    fail(&mut core, 4..5, Outcome::Answered(500), 5);
    assert_eq!(chosen(&mut core, NOW, &ASK, 100), [2, 3, 4, 5]);
    assert_eq!(core.stats().panics, 100);
}

#[test]
fn nodes_that_cannot_be_reached_are_passed_over_however_many() {
    let mut core = idle(4);
    fail(&mut core, 2..5, Outcome::NotConnected, 1);
    assert_eq!(chosen(&mut core, NOW, &ASK, 100), [5]);
    fail(&mut core, 5..6, Outcome::NotConnected, 1);
    assert_eq!(chosen(&mut core, NOW, &ASK, 100), [2, 3, 4, 5], "with none left, all are tried");
}

#[test]
fn a_restarted_node_is_not_passed_over_and_old_news_of_it_is_no_news() {
    let mut core = idle(2);
    core.outcome(NOW, &target(2), AGENT, Outcome::NotConnected);
    let mut restarted = member(2);
    restarted.generation = 2;
    core.observe(NOW, &Arc::new(snapshot(vec![restarted, member(3)])));
    assert_eq!(core.ejected(NOW), 0);
    core.outcome(NOW, &target(2), AGENT, Outcome::NotConnected);
    assert_eq!(core.ejected(NOW), 0, "the process before failed");
}

#[test]
fn a_member_that_changed_otherwise_keeps_its_load() {
    let mut busy = member(2);
    busy.load_sequence = 1;
    busy.load.active_requests = 4;
    let mut core = core(vec![busy.clone(), member(3)]);
    core.begin(NOW, id(2));
    busy.state = State::Suspect;
    core.observe(NOW, &Arc::new(snapshot(vec![busy, member(3)])));
    let pick = core.pick(NOW, &Question { tried: &[id(3)], ..ASK }).unwrap();
    // Four of others and one of ours, over a capacity of 16.
    assert_eq!(pick.why.estimate_milli, 312);
}

#[test]
fn outstanding_requests_outlive_the_member() {
    let mut core = idle(1);
    core.begin(NOW, id(2));
    core.observe(NOW, &Arc::new(snapshot(vec![])));
    assert_eq!(core.outstanding(id(2)), 1);
    core.end(NOW, id(2));
    core.end(NOW, id(2));
    assert_eq!(core.outstanding(id(2)), 0);
}

#[test]
fn retries_are_counted_by_their_verdict() {
    let mut core = idle(1);
    assert!(core.may_retry(NOW, Sent::Never, Repeat::Unsafe));
    assert!(!core.may_retry(NOW, Sent::Maybe, Repeat::Unsafe));
    while core.may_retry(NOW, Sent::Maybe, Repeat::Safe) {}
    let stats = core.stats();
    assert_eq!((stats.retries_allowed, stats.retries_unsafe), (1_000, 1));
    assert_eq!(stats.retries_over_budget, 1);
    for _ in 0..5 {
        core.request_began(NOW, AGENT);
    }
    assert!(core.may_retry(NOW, Sent::Never, Repeat::Unsafe), "five requests pay for one");
}
