//! Plans: the story is played as written, and the figures are those of the story.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use astromesh_sim::Report;
use astromesh_sim::plan::{self, Pause, Phase, Plan, Progress};
use astromesh_swim::Config;

fn plan() -> Plan {
    Plan {
        nodes: 12,
        loss: 0.0,
        kill: 0,
        pause: None,
        partition: None,
        seed: 7,
        runs: 1,
        idle: Duration::from_secs(10),
        engine: Config::default(),
    }
}

fn run(plan: &Plan) -> Report {
    plan::run(plan, &mut |_| {}).unwrap()
}

#[test]
fn equal_plans_give_equal_reports_and_other_seeds_other_ones() {
    let plan = Plan { kill: 2, loss: 0.1, runs: 2, ..plan() };
    assert_eq!(run(&plan), run(&plan));
    assert_ne!(run(&plan), run(&Plan { seed: 8, ..plan }));
}

#[test]
fn each_death_is_measured_in_each_live_view() {
    let report = run(&Plan { kill: 3, runs: 4, ..plan() });
    assert_eq!(report.detection.len(), 4 * 3);
    assert_eq!(report.detection_views.len(), 4 * 3 * 9);
    assert_eq!(report.detection_views.max(), report.detection.max());
    let fastest = report.detection_views.quantile(0.0).unwrap();
    let slowest = report.detection.max().unwrap();
    assert!(fastest > Duration::from_secs(1), "{fastest:?}: no rule is that fast");
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
    assert_eq!(report.false_deaths, 0, "the deaths are true");
}

#[test]
fn what_was_not_planned_has_no_figure() {
    let report = run(&plan());
    assert!(report.detection.is_empty() && report.heal.is_empty());
    assert_eq!(report.join.len(), 1);
    assert!(report.join.max().unwrap() < Duration::from_secs(5));
    // A ping and an ack a second are 22 + 17 bytes and two headers; twice that is too much.
    let bytes = report.bytes_per_s_per_node;
    assert!((50.0..200.0).contains(&bytes), "{bytes}");
}

#[test]
fn a_member_that_stands_still_for_long_is_a_false_death() {
    let pause = |length| Some(Pause { count: 2, length: Duration::from_secs(length) });
    assert_eq!(run(&Plan { pause: pause(1), ..plan() }).false_deaths, 0);
    let report = run(&Plan { pause: pause(60), ..plan() });
    assert_eq!(report.false_deaths, 2);
    // All others, and perhaps each of the two when it hears of the other.
    assert!((2 * 10..=2 * 11).contains(&report.false_death_views), "{report:?}");
}

#[test]
fn deaths_across_a_cut_are_not_false_and_the_cut_heals() {
    let report = run(&Plan { partition: Some(Duration::from_secs(60)), runs: 2, ..plan() });
    assert_eq!(report.false_deaths, 0);
    assert_eq!(report.heal.len(), 2);
    let healed = report.heal.quantile(0.0).unwrap();
    assert!(healed > Duration::ZERO, "views differed when the cut ended");
    assert!(report.heal.max().is_some());
}

#[test]
fn nobody_is_killed_who_must_live_on() {
    let report = run(&Plan { nodes: 2, kill: 5, ..plan() });
    assert_eq!(report.detection.len(), 1);
}

#[test]
fn progress_tells_every_phase_in_order() {
    let plan = Plan { kill: 1, partition: Some(Duration::from_secs(2)), ..plan() };
    let mut seen: Vec<Progress> = Vec::new();
    plan::run(&plan, &mut |progress| seen.push(progress)).unwrap();
    let mut phases: Vec<Phase> = seen.iter().map(|progress| progress.phase).collect();
    phases.dedup();
    assert_eq!(phases, plan.phases().collect::<Vec<_>>());
    assert!(seen.is_sorted_by_key(|progress| (progress.phases_done, progress.at)));
}
