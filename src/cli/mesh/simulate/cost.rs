//! What a plan costs on this machine.
//!
//! Owns two estimates, memory and work, and the words about them. Both are rough: they are for a
//! warning before, not for a report after.

use std::time::Duration;

use astromesh_sim::Plan;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::flags::usage;
use crate::cli::failure::Failure;

/// Memory of one member in one view and of the news about it, a little more than 1,000 nodes need at most
/// when 300 of them are killed; half of it while nothing happens.
const VIEW_BYTES: u64 = 450;

/// Time to make one view of a member, or to simulate one node for one second, which are about
/// equal; measured between 100 and 1,000 nodes, 12 to 56 us.
const WORK: Duration = Duration::from_micros(40);

/// Plans that take longer are announced.
const LONG: Duration = Duration::from_secs(20);

/// Refuses a plan that this machine has no room for, and returns a remark on one that takes long.
pub(super) fn check(plan: &Plan) -> Result<Option<String>, Failure> {
    check_for(plan, memory_free())
}

fn check_for(plan: &Plan, memory_free: Option<u64>) -> Result<Option<String>, Failure> {
    let needed = memory_needed(plan.nodes);
    if let Some(free) = memory_free
        && needed > free
    {
        let nodes_max = (free / VIEW_BYTES).isqrt();
        return Err(usage(format!(
            "--nodes {} needs about {} of memory, and {} are free here: plan at most {nodes_max}, \
             or take a larger machine",
            plan.nodes,
            gigabytes(needed),
            gigabytes(free),
        )));
    }
    let time = work(plan);
    Ok((time >= LONG).then(|| {
        let about = if time < Duration::from_secs(90) {
            format!("{} s", time.as_secs())
        } else {
            format!("{} minutes", (time.as_secs() + 30) / 60)
        };
        format!("this takes about {about} and {} of memory", gigabytes(needed))
    }))
}

fn memory_needed(nodes: usize) -> u64 {
    let nodes = u64::try_from(nodes).unwrap_or(u64::MAX);
    nodes.saturating_mul(nodes).saturating_mul(VIEW_BYTES)
}

fn work(plan: &Plan) -> Duration {
    let asked = [Some(plan.idle), plan.pause.map(|pause| pause.length), plan.partition];
    let seconds: f64 = asked.into_iter().flatten().map(|time| time.as_secs_f64()).sum();
    let nodes = plan.nodes as f64;
    WORK.mul_f64(f64::from(plan.runs) * nodes * (nodes + seconds))
}

/// What may still be taken, within the limits of the control group; `None` where nobody knows.
fn memory_free() -> Option<u64> {
    let ram = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(ram)).ok()?;
    let limit = system.cgroup_limits().map(|limits| limits.free_memory);
    let free = [Some(system.available_memory()), limit];
    free.into_iter().flatten().filter(|&bytes| bytes > 0).min()
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(nodes: usize, runs: u32) -> Plan {
        Plan {
            nodes,
            loss: 0.0,
            kill: 1,
            pause: None,
            partition: None,
            seed: 1,
            runs,
            idle: Duration::from_secs(60),
            engine: crate::gossip::settings::engine(&crate::config::defaults().mesh),
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_with_what_would() {
        let free = Some(2_000_000_000);
        let refused = check_for(&plan(5_000, 1), free).unwrap_err().to_string();
        for needed in ["--nodes 5000", "11.2 GB", "2.0 GB", "at most 2108"] {
            assert!(refused.contains(needed), "{needed}: {refused}");
        }
        assert!(check_for(&plan(2_108, 1), free).is_ok());
        assert!(check_for(&plan(5_000, 1), None).is_ok(), "nobody knows how much is free");
    }

    #[test]
    fn what_takes_long_is_announced() {
        assert_eq!(check_for(&plan(100, 1), None).unwrap(), None);
        let remark = check_for(&plan(2_000, 3), None).unwrap().unwrap();
        assert_eq!(remark, "this takes about 8 minutes and 1.8 GB of memory");
        assert!(check_for(&plan(100, 1_000), None).unwrap().is_some());
    }
}
