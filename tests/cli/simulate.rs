//! `mesh simulate`: no daemon, a real simulation of small meshes.

use std::process::Output;

use serde_json::Value;

use crate::daemon::{Outcome, command};

/// Runs `mesh simulate` in an empty directory, so that it finds no configuration.
fn simulate(arguments: &[&str]) -> Outcome {
    let directory = tempfile::tempdir().unwrap();
    let mut command = command("http://127.0.0.1:9");
    command.current_dir(directory.path()).args(["mesh", "simulate"]).args(arguments);
    let Output { status, stdout, stderr } = command.output().unwrap();
    Outcome {
        code: status.code().unwrap(),
        stdout: String::from_utf8(stdout).unwrap(),
        stderr: String::from_utf8(stderr).unwrap(),
    }
}

fn report(arguments: &[&str]) -> Value {
    let outcome = simulate(&[arguments, &["--json"]].concat());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""), "{arguments:?}");
    serde_json::from_str(&outcome.stdout).unwrap()
}

#[test]
fn same_seed_means_same_figures_and_another_seed_other_ones() {
    let plan = ["--nodes", "20", "--loss", "10%", "--kill", "2", "--runs", "3", "--json"];
    let with = |seed: &str| simulate(&[&plan[..], &["--seed", seed]].concat()).stdout;
    assert_eq!(with("7"), with("7"));
    assert_ne!(with("7"), with("8"));
}

#[test]
fn a_seed_that_was_drawn_is_told_and_can_be_used_again() {
    let plan = ["--nodes", "10", "--loss", "0.1"];
    let drawn = report(&plan);
    let seed = drawn["seed"].as_u64().unwrap().to_string();
    assert_eq!(report(&[&plan[..], &["--seed", &seed]].concat()), drawn);
}

#[test]
fn a_crash_has_its_times_and_a_mesh_without_one_has_none() {
    let crash = report(&["--nodes", "10", "--kill", "1", "--runs", "5", "--seed", "1"]);
    let times = ["p50", "p99", "max"].map(|name| crash["detection_s"][name].as_f64().unwrap());
    assert!(times[0] > 0.0 && times.is_sorted(), "{times:?}");
    assert_eq!(crash["killed"], 1);
    assert_eq!(crash["undetected"], 0);
    assert!(crash["join_convergence_s"].as_f64().unwrap() > 0.0);
    assert!(crash["bytes_per_s_per_node"].as_f64().unwrap() > 10.0);
    assert!(crash["simulated_s"].as_f64().unwrap() > 5.0 * 60.0);

    let calm = report(&["--nodes", "10", "--kill", "0", "--seed", "1"]);
    for absent in ["detection_s", "heal_convergence_s", "partition_s", "paused", "configuration"] {
        assert!(calm.get(absent).unwrap().is_null(), "{absent}: {calm}");
    }
    assert_eq!(calm["false_deaths"], 0);
}

#[test]
fn the_two_rules_can_be_compared() {
    let with = |rule: &str| report(&["--nodes", "30", "--seed", "1", "--rule", rule]);
    let (evidence, lifeguard) = (with("evidence"), with("lifeguard"));
    assert_eq!((&evidence["rule"], &lifeguard["rule"]), (&"evidence".into(), &"lifeguard".into()));
    let max = |report: &Value| report["detection_s"]["max"].as_f64().unwrap();
    assert!(max(&evidence) < max(&lifeguard), "{evidence} {lifeguard}");
    assert!(max(&evidence) > evidence["floor_s"].as_f64().unwrap(), "{evidence}");
    assert!(lifeguard["floor_s"].is_null());
}

#[test]
fn a_partition_heals_and_a_long_pause_is_a_false_death() {
    let both = ["--nodes", "8", "--kill", "0", "--pause", "1x40", "--partition", "30"];
    let report = report(&[&both[..], &["--seed", "3"]].concat());
    assert!(report["heal_convergence_s"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(report["partition_s"], 30.0);
    assert_eq!(report["paused"]["nodes"], 1);
    assert!(report["false_deaths"].as_u64().unwrap() >= 1, "{report}");
}

#[test]
fn people_get_a_table_no_wider_than_80_without_a_plot() {
    let plan = ["--nodes", "10", "--partition", "10", "--loss", "2.5%", "--runs", "2"];
    let outcome = simulate(&[&plan[..], &["--seed", "42"]].concat());
    assert_eq!((outcome.code, outcome.stderr.as_str()), (0, ""));
    for needed in [
        "Mesh          10 nodes, 2.5% loss, 1 killed, halves cut for 10 s\n",
        "Configuration none found, so the defaults\n",
        "Deaths        by evidence, after 2 s or more\n",
        "Seed          42\n",
        "a crash is known to all",
        "all agree after the cut",
        "False deaths  ",
        " bytes/s a node\n",
    ] {
        assert!(outcome.stdout.contains(needed), "{needed:?} not in\n{}", outcome.stdout);
    }
    assert!(!outcome.stdout.contains(['█', '\x1b']), "{}", outcome.stdout);
    assert!(outcome.stdout.lines().all(|line| line.chars().count() <= 80));
}

#[test]
fn the_configuration_decides() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("runtime.yaml");
    let path = directory.path().to_str().unwrap();
    let plan = ["--nodes", "12", "--seed", "5", "--kill", "0", "--config", path];
    // Ten times as many probes cost more.
    std::fs::write(&file, "spec: {mesh: {heartbeat_interval: 0.1}}").unwrap();
    let fast = report(&plan);
    assert_eq!(fast["configuration"], file.to_str().unwrap());
    let bytes = |report: &Value| report["bytes_per_s_per_node"].as_f64().unwrap();
    let usual = report(&plan[..6]);
    assert!(bytes(&fast) > 5.0 * bytes(&usual), "{fast} {usual}");

    std::fs::write(&file, "spec: {mesh: {detection: patient}}").unwrap();
    let crash = ["--nodes", "12", "--seed", "5", "--config", path, "--duration", "1"];
    let patient = report(&crash);
    assert_eq!(patient["floor_s"], 8.0);
    assert!(patient["detection_s"]["p50"].as_f64().unwrap() > 8.0, "{patient}");
    let lifeguard = report(&[&crash[..], &["--rule", "lifeguard"]].concat());
    assert_eq!(lifeguard["rule"], "lifeguard");

    std::fs::write(&file, "spec: {mesh: {heartbeat_intervall: 1}}").unwrap();
    let wrong = simulate(&plan);
    assert_eq!((wrong.code, wrong.stdout.as_str()), (64, ""));
    for needed in ["runtime.yaml:1", "heartbeat_intervall", "did you mean heartbeat_interval"] {
        assert!(wrong.stderr.contains(needed), "{needed} not in {}", wrong.stderr);
    }
}

#[test]
fn wrong_flags_are_2_and_say_what_would_be_right() {
    let rows: [(&[&str], &[&str]); 13] = [
        (&[], &["--nodes"]),
        (&["--nodes", "1"], &["--nodes", "'1'", "from 2 to 10000"]),
        (&["--nodes", "10001"], &["--nodes", "'10001'", "from 2 to 10000"]),
        (&["--nodes", "9", "--loss", "5"], &["--loss", "'5'", "write 5%"]),
        (&["--nodes", "9", "--loss", "99%"], &["--loss", "'99%'", "0.9"]),
        (&["--nodes", "9", "--pause", "3"], &["--pause", "'3'", "3x5"]),
        (&["--nodes", "9", "--partition", "0"], &["--partition", "above 0"]),
        (&["--nodes", "9", "--runs", "0"], &["--runs", "'0'", "from 1 to 1000"]),
        (&["--nodes", "9", "--seed", "x"], &["--seed", "'x'"]),
        (&["--nodes", "9", "--rule", "guess"], &["--rule", "'guess'", "evidence", "lifeguard"]),
        (&["--nodes", "9", "--kill", "9"], &["--kill 9", "at most 8", "--nodes"]),
        (&["--nodes", "9", "--kill", "8", "--partition", "5"], &["--kill 8", "at most 7"]),
        (&["--nodes", "9", "--kill", "3", "--pause", "6x5"], &["--pause", "at most 5"]),
    ];
    for (arguments, expected) in rows {
        let outcome = simulate(arguments);
        assert_eq!((outcome.code, outcome.stdout.as_str()), (2, ""), "{arguments:?}");
        for needed in expected {
            assert!(outcome.stderr.contains(needed), "{needed} not in {}", outcome.stderr);
        }
    }
}
