//! How fast the simulator runs, for people; times are those of the processor.
//! `cargo test --release -p astromesh-sim --test speed -- --ignored --nocapture`; `NODES=100,4000` measures other
//! sizes than 100 and 1,000.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use astromesh_sim::{World, WorldConfig};

/// Resident memory of this process in MB.
fn memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

/// How long this thread has had a processor: other work on the machine does not count.
fn worked() -> Duration {
    let status = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(status.split_whitespace().next().unwrap().parse().unwrap())
}

/// A death of a third of more members than this takes minutes.
const CRASH_NODES_MAX: usize = 2_000;

#[test]
#[ignore = "a measurement: needs a release build, minutes and gigabytes"]
#[expect(clippy::print_stderr, reason = "figures for people")]
fn speed_by_number_of_members() {
    let sizes = std::env::var("NODES").map_or_else(
        |_| vec![100, 1_000],
        |sizes| sizes.split(',').map(|size| size.parse().unwrap()).collect(),
    );
    for nodes in sizes {
        let start = worked();
        let config = WorldConfig { seed: 1, ..WorldConfig::default() };
        let mut world = World::knit(config, nodes);
        let built = worked() - start;
        assert!(world.views_are_equal());

        let idle = Duration::from_secs(if nodes > 1_000 { 10 } else { 60 });
        let start = worked();
        world.run_for(idle);
        let idle_speed = idle.as_secs_f64() / (worked() - start).as_secs_f64();

        assert_eq!(world.violations(), []);
        eprintln!(
            "{nodes} members: knit and 5 s in {built:.2?}; idle {idle_speed:.0} x real time, {} MB",
            memory_mb()
        );
        if nodes > CRASH_NODES_MAX {
            continue;
        }

        for node in 0..nodes * 3 / 10 {
            world.crash(node);
        }
        let busy = Duration::from_secs(10);
        let start = worked();
        world.run_for(busy);
        let busy_speed = busy.as_secs_f64() / (worked() - start).as_secs_f64();
        assert_eq!(world.violations(), []);
        eprintln!("  10 s with 30 % crashed: {busy_speed:.1} x, {} MB", memory_mb());
    }
}
