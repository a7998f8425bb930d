//! What a mesh loses when a worker dies, and that it loses nothing when one leaves.
//!
//! Owns the scripts of deaths and restarts. The detection is the slowest that a configuration
//! allows: until it suspects a silent worker, gateways have only their own experience.

use std::time::Duration;

use crate::policy::{Policy, Rule, Seen, Yardstick};
use crate::production::Production;
use crate::scenario::{SLOTS, Scenario, Shape};
use crate::simulation::{Fault, Setup, Simulation};
use crate::tally::Tally;

const SUSPECT_AFTER: Duration = Duration::from_secs(15);
const DEAD_AFTER: Duration = Duration::from_secs(30);

/// Until half of the requests of a script have come.
fn half_way(scenario: Scenario, count: usize) -> Duration {
    Duration::from_secs_f64(count as f64 / 2.0 / scenario.rate_per_s())
}

fn run(
    policy: &mut dyn Policy,
    scenario: Scenario,
    (count, seed): (usize, u64),
    faults: &[(Duration, Fault)],
    is_idempotent: bool,
) -> Tally {
    let requests = scenario.requests(count, seed);
    let setup = Setup {
        scenario,
        requests: &requests,
        seed,
        one_way: Duration::ZERO,
        limit: SLOTS,
        faults,
        is_idempotent,
    };
    Simulation::new(setup, policy).run()
}

fn kill(at: Duration) -> [(Duration, Fault); 3] {
    [
        (at, Fault::Kill(3)),
        (at + SUSPECT_AFTER, Fault::SeenAs(3, Seen::Suspect)),
        (at + DEAD_AFTER, Fault::SeenAs(3, Seen::Dead)),
    ]
}

/// A worker dies half way.
fn run_kill(policy: &mut dyn Policy, scenario: Scenario, seed: u64, is_idempotent: bool) -> Tally {
    const COUNT: usize = 10_000;
    let faults = kill(half_way(scenario, COUNT));
    run(policy, scenario, (COUNT, seed), &faults, is_idempotent)
}

fn run_production_kill(name: &str, seed: u64, is_idempotent: bool) -> Tally {
    let scenario = Scenario::named(name);
    let mut policy = Production::new(scenario.shape, is_idempotent, seed);
    run_kill(&mut policy, scenario, seed, is_idempotent)
}

#[test]
fn a_killed_worker_costs_what_it_had_in_flight_and_nothing_after() {
    for name in ["A", "B", "M"] {
        let tally = run_production_kill(name, 1, false);
        assert!(tally.lost > 0, "{name}: it had work");
        assert!(tally.lost <= 10, "{name}: it had no more than its slots, and few that waited");
        assert_eq!(tally.failed, 0, "{name}");
        // Each gateway meets it once, and again with one trial after 1, 2, 4 and 8 s.
        let gateways = Scenario::named(name).shape.gateways() as u64;
        assert!(tally.retried <= 6 * gateways, "{name}: {} retries", tally.retried);
    }
}

#[test]
fn a_killed_worker_costs_no_idempotent_request() {
    for name in ["A", "B", "M"] {
        let tally = run_production_kill(name, 1, true);
        assert_eq!((tally.lost, tally.failed), (0, 0), "{name}");
        assert!(tally.retried > 0, "{name}: what it had in flight ran elsewhere");
    }
}

/// Every worker in turn: drains, leaves when its work is done, comes back as a new process.
fn rolling_restart(scenario: Scenario, each: Duration) -> Vec<(Duration, Fault)> {
    let turns = (0_u32..).zip(0..scenario.shape.workers());
    turns
        .flat_map(|(turn, worker)| {
            let at = each * (turn + 1);
            [(at, Fault::Drain(worker)), (at + each * 4 / 5, Fault::StartAgain(worker))]
        })
        .collect()
}

fn run_rolling_restart(scenario: Scenario, each: Duration, seed: u64) -> Tally {
    let mut policy = Production::new(scenario.shape, false, seed);
    let faults = rolling_restart(scenario, each);
    let span = each * (u32::try_from(faults.len()).expect("few") / 2 + 2);
    let count = (span.as_secs_f64() * scenario.rate_per_s()) as usize;
    run(&mut policy, scenario, (count, seed), &faults, false)
}

#[test]
fn a_rolling_restart_costs_no_request() {
    let three = Scenario { load: 0.5, ..Scenario::named("B3") };
    let eight =
        Scenario { shape: Shape::Tiers { gateways: 2, workers: 8 }, ..Scenario::named("B") };
    for (scenario, each_s) in [(three, 8), (eight, 6)] {
        let tally = run_rolling_restart(scenario, Duration::from_secs(each_s), 1);
        assert_eq!((tally.lost, tally.failed, tally.retried), (0, 0, 0), "{tally:?}");
    }
}

#[test]
fn a_worker_that_drains_is_asked_for_nothing_more() {
    let scenario = Scenario::named("B");
    let at = half_way(scenario, 10_000);
    let mut policy = Production::new(scenario.shape, false, 1);
    let tally = run(&mut policy, scenario, (10_000, 1), &[(at, Fault::Drain(3))], false);
    assert_eq!((tally.lost, tally.failed), (0, 0));
    // With this load every gateway has sent it work lately, so its beacon reaches them all before
    // their next request.
    assert_eq!(tally.met_draining, 0);
}

#[test]
#[ignore = "a measurement; run it with --release"]
fn deaths_at_full_size() {
    println!("| scenario | policy | in flight lost | failed after | retried |");
    println!("|---|---|---|---|---|");
    for name in ["A", "B", "M", "M64"] {
        let scenario = Scenario::named(name);
        let (gateways, workers) = (scenario.shape.gateways(), scenario.shape.workers());
        for (label, rule) in [
            ("random", Some(Rule::Random)),
            ("own counts", Some(Rule::OwnCounts)),
            ("**astromesh**", None),
        ] {
            let tallies: Vec<Tally> = (1..=5)
                .map(|seed| match rule {
                    Some(rule) => {
                        let mut policy = Yardstick::new(rule, gateways, workers, seed);
                        run_kill(&mut policy, scenario, seed, false)
                    }
                    None => run_production_kill(name, seed, false),
                })
                .collect();
            let mean = |count: fn(&Tally) -> u64| tallies.iter().map(count).sum::<u64>() / 5;
            println!(
                "| {name} | {label} | {} | {} | {} |",
                mean(|tally| tally.lost),
                mean(|tally| tally.failed),
                mean(|tally| tally.retried)
            );
        }
    }
}

#[test]
#[ignore = "a measurement; run it with --release"]
fn rolling_restarts_at_full_size() {
    for (name, each_s) in [("A", 130), ("B", 8), ("M", 130)] {
        let scenario = Scenario::named(name);
        let tally = run_rolling_restart(scenario, Duration::from_secs(each_s), 1);
        println!(
            "{name}: {} requests, {} lost, {} failed, {} met a worker that drained",
            tally.ended(),
            tally.lost,
            tally.failed,
            tally.met_draining
        );
        assert_eq!((tally.lost, tally.failed), (0, 0), "{name}");
    }
}
