//! How near to the oracle the production rule comes, in each scenario.
//!
//! Owns the gates and the table. Sizes in tests that always run are small; the ignored ones print
//! the figures of `docs/routing.md`.

use std::time::Duration;

use crate::policy::{Policy, Rule, Yardstick};
use crate::production::Production;
use crate::scenario::{Calls, SCENARIOS, SLOTS, Scenario};
use crate::simulation::{Setup, Simulation};
use crate::tally::{Figures, Tally};

/// Mean wait: so many times the oracle's, or so much more.
const WAIT_RATIO_MAX: f64 = 1.5;
const WAIT_MORE_MAX_S: f64 = 0.005;

/// Imbalance: so many times the oracle's.
const MAX_OVER_MEAN_RATIO_MAX: f64 = 1.2;

/// Requests of a test that always runs.
const REQUESTS_SMALL: usize = 12_000;

/// Requests and seeds of the table.
const REQUESTS_FULL: usize = 200_000;
const SEEDS_FULL: [u64; 5] = [1, 2, 3, 4, 5];

/// What lies between gateways and work, besides the policy.
#[derive(Debug, Clone, Copy)]
struct Network {
    /// Time between two nodes.
    one_way: Duration,
    /// Requests at which workers refuse more; 0 for never.
    limit: u32,
}

const IDEAL: Network = Network { one_way: Duration::ZERO, limit: SLOTS };
const SLOW: Network = Network { one_way: Duration::from_micros(250), ..IDEAL };
const UNLIMITED: Network = Network { limit: 0, ..IDEAL };

/// The lines of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Production,
    Yardstick(Rule),
}

const CONTENDERS: [(&str, Contender); 5] = [
    ("random", Contender::Yardstick(Rule::Random)),
    ("gossiped table, least", Contender::Yardstick(Rule::StaleTable)),
    ("own counts, least", Contender::Yardstick(Rule::OwnCounts)),
    ("**astromesh**", Contender::Production),
    ("oracle", Contender::Yardstick(Rule::Oracle)),
];

/// Runs a contender; what is random in it is another stream than the requests.
fn run(
    scenario: Scenario,
    contender: Contender,
    (count, seed): (usize, u64),
    network: Network,
) -> Tally {
    let requests = scenario.requests(count, seed);
    let (gateways, workers) = (scenario.shape.gateways(), scenario.shape.workers());
    let own_seed = seed.wrapping_add(1 << 32);
    let mut production;
    let mut yardstick;
    let policy: &mut dyn Policy = match contender {
        Contender::Production => {
            production = Production::new(scenario.shape, false, own_seed);
            &mut production
        }
        Contender::Yardstick(rule) => {
            yardstick = Yardstick::new(rule, gateways, workers, own_seed);
            &mut yardstick
        }
    };
    let setup = Setup {
        scenario,
        requests: &requests,
        seed: seed.wrapping_add(2 << 32),
        one_way: network.one_way,
        limit: network.limit,
        faults: &[],
        is_idempotent: false,
    };
    Simulation::new(setup, policy).run()
}

/// What a gate says of figures beside the oracle's; empty when they pass.
fn misses(ours: &Figures, oracle: &Figures) -> Vec<String> {
    let wait_max_s = (oracle.wait_s * WAIT_RATIO_MAX).max(oracle.wait_s + WAIT_MORE_MAX_S);
    let imbalance_max = oracle.max_over_mean * MAX_OVER_MEAN_RATIO_MAX;
    let mut misses = Vec::new();
    if ours.wait_s > wait_max_s {
        misses.push(format!("mean wait {:.4} s, at most {wait_max_s:.4}", ours.wait_s));
    }
    if ours.max_over_mean > imbalance_max {
        misses.push(format!("max/mean {:.3}, at most {imbalance_max:.3}", ours.max_over_mean));
    }
    misses
}

fn check_small(name: &str) {
    let scenario = Scenario::named(name);
    let figures = |contender| {
        let tally = run(scenario, contender, (REQUESTS_SMALL, 1), IDEAL);
        assert_eq!((tally.failed, tally.lost), (0, 0), "nothing fails in {name}");
        tally.figures()
    };
    let ours = figures(Contender::Production);
    let oracle = figures(Contender::Yardstick(Rule::Oracle));
    let misses = misses(&ours, &oracle);
    assert!(misses.is_empty(), "{name}: {misses:?}\nours   {ours:?}\noracle {oracle:?}");
}

#[test]
fn eight_gateways_place_long_calls_as_the_oracle_does() {
    check_small("A");
}

#[test]
fn a_nearly_full_mesh_is_filled_as_the_oracle_does() {
    check_small("A95");
}

#[test]
fn eight_gateways_place_short_calls_as_the_oracle_does() {
    check_small("B");
}

#[test]
fn three_nodes_place_short_calls_as_the_oracle_does() {
    check_small("B3");
}

#[test]
fn slow_workers_get_as_much_as_from_the_oracle() {
    check_small("C");
}

#[test]
fn workers_that_share_their_speed_are_used_as_the_oracle_does() {
    check_small("P");
}

#[test]
fn three_nodes_place_long_calls_as_the_oracle_does() {
    check_small("M3");
}

#[test]
fn sixteen_nodes_place_long_calls_as_the_oracle_does() {
    check_small("M");
}

#[test]
fn sixty_four_nodes_place_long_calls_as_the_oracle_does() {
    check_small("M64");
}

#[test]
fn gates_bite() {
    let oracle = Figures { wait_s: 0.1, max_over_mean: 1.1, ..Figures::default() };
    let wait_s = |wait_s| misses(&Figures { wait_s, ..oracle }, &oracle).len();
    assert_eq!((wait_s(0.149), wait_s(0.151)), (0, 1));
    let idle = Figures { wait_s: 0.0, ..oracle };
    let beside_idle = |wait_s| misses(&Figures { wait_s, ..oracle }, &idle).len();
    assert_eq!((beside_idle(0.0049), beside_idle(0.0051)), (0, 1));
    let imbalance = |max_over_mean| misses(&Figures { max_over_mean, ..oracle }, &oracle).len();
    assert_eq!((imbalance(1.31), imbalance(1.33)), (0, 1));
}

#[test]
fn calls_last_as_long_as_the_scenarios_say() {
    assert!((Calls::Long.mean_s() - 4.04).abs() < 0.01, "{}", Calls::Long.mean_s());
    assert!((Calls::Short.mean_s() - 0.102).abs() < 0.001, "{}", Calls::Short.mean_s());
    let requests = Scenario::named("B").requests(20_000, 1);
    let sum: Duration = requests.iter().map(|request| request.demand).sum();
    assert!((sum.as_secs_f64() / 20_000.0 - 0.102).abs() < 0.003, "{sum:?}");
    let span_s = requests.last().map_or(0.0, |last| last.at.as_secs_f64());
    let rate_per_s = Scenario::named("B").rate_per_s();
    assert!((20_000.0 / span_s / rate_per_s - 1.0).abs() < 0.03, "{span_s} {rate_per_s}");
}

/// The figures that queueing theory and independent simulations of the same meshes give: the
/// bench measures what it says.
#[test]
fn yardsticks_are_as_far_apart_as_they_should_be() {
    let figures =
        |rule| run(Scenario::named("A"), Contender::Yardstick(rule), (30_000, 1), IDEAL).figures();
    let oracle = figures(Rule::Oracle);
    assert!((oracle.max_over_mean - 1.11).abs() < 0.02, "{oracle:?}");
    assert!(oracle.wait_s < 0.01, "{oracle:?}");
    let own_counts = figures(Rule::OwnCounts);
    assert!((own_counts.max_over_mean - 1.35).abs() < 0.03, "{own_counts:?}");
    let random = figures(Rule::Random);
    assert!(random.wait_s > 0.8 && random.max_over_mean > 2.4, "{random:?}");
    let stale = figures(Rule::StaleTable);
    assert!(stale.wait_s > random.wait_s, "{stale:?}");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let scenario = Scenario::named("M");
    let run = |seed| {
        let tally = run(scenario, Contender::Production, (3_000, seed), SLOW);
        (tally.beacons, tally.bounced, tally.figures())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// Prints the lines of the table for one network; returns what missed its gate.
fn print_table(network: Network, contenders: &[(&str, Contender)]) -> Vec<String> {
    println!("\n{network:?}");
    println!("| scenario | policy | p50 s | p99 s | mean wait s | max/mean | refusals/request |");
    println!("|---|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for scenario in SCENARIOS {
        let mut of_ours = Figures::default();
        for (label, contender) in contenders {
            let runs = SEEDS_FULL
                .map(|seed| run(scenario, *contender, (REQUESTS_FULL, seed), network).figures());
            let mean = Figures::mean(&runs);
            println!("| {} | {label} | {mean} |", scenario.name);
            match contender {
                Contender::Production => of_ours = mean,
                Contender::Yardstick(Rule::Oracle) => {
                    let misses = misses(&of_ours, &mean).into_iter();
                    missed.extend(misses.map(|miss| format!("{}: {miss}", scenario.name)));
                }
                Contender::Yardstick(_) => {}
            }
        }
    }
    missed
}

#[test]
#[ignore = "a measurement of minutes; run it with --release"]
fn every_scenario_at_full_size_passes_its_gates() {
    let missed = print_table(IDEAL, &CONTENDERS);
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
#[ignore = "a measurement of minutes; run it with --release"]
fn a_network_with_delay_costs_no_gate() {
    let missed = print_table(SLOW, &CONTENDERS[3..]);
    assert!(missed.is_empty(), "{missed:#?}");
}

/// Not gated: without limits nothing is refused, and what a gateway does not know it cannot mend.
#[test]
#[ignore = "a measurement of minutes; run it with --release"]
fn workers_without_a_limit_at_full_size() {
    for miss in print_table(UNLIMITED, &CONTENDERS[3..]) {
        println!("beyond the gates: {miss}");
    }
}
