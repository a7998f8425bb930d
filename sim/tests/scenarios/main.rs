//! What a mesh must live through, on the virtual clock. `SEED=n` runs every scenario with that seed
//! only, `SEEDS=n` with the seeds 1 to n; `-- --nocapture` shows the figures.
#![expect(clippy::unwrap_used, reason = "tests")]

mod checks;
mod death;
mod determinism;
mod faults;
mod join;
mod leave;
mod loss;
mod partition;
mod pause;
mod restart;

use std::time::Duration;

use astromesh_sim::{World, WorldConfig};
use astromesh_wire::State;

/// The seeds 1 to `count` (or to `SEEDS` in the environment), or the one in `SEED`.
pub(crate) fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => {
            let count = std::env::var("SEEDS").map_or(count, |count| count.parse().unwrap());
            (1..=count).collect()
        }
    }
}

pub(crate) fn seeded(seed: u64) -> WorldConfig {
    WorldConfig { seed, ..WorldConfig::default() }
}

pub(crate) fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Nothing was violated, and all views are equal now.
pub(crate) fn assert_sound(world: &mut World, seed: u64) {
    world.expect_calm();
    assert_eq!(world.violations(), [], "SEED={seed}");
}

/// Lets all views become equal within `limit` and then all news end.
pub(crate) fn settle(world: &mut World, limit: Duration, seed: u64) {
    let equal = world.run_until(limit, World::views_are_equal);
    assert!(equal.is_some(), "views differ after {limit:?}, SEED={seed}");
    world.run_for(secs(20));
    world.expect_no_news();
    assert_sound(world, seed);
}

/// Median, 99th percentile and maximum of some durations, shown to whoever wants to see them.
#[expect(clippy::print_stderr, reason = "figures for people, shown with --nocapture")]
pub(crate) fn report(what: &str, mut durations: Vec<Duration>) -> Duration {
    durations.sort_unstable();
    let at = |share: f64| {
        let last = durations.len() - 1;
        durations[(f64::from(u32::try_from(last).unwrap()) * share).round() as usize]
    };
    eprintln!(
        "{what}: p50 {:.2?} p99 {:.2?} max {:.2?} ({} runs)",
        at(0.5),
        at(0.99),
        at(1.0),
        durations.len()
    );
    at(1.0)
}

/// A figure for whoever wants to see it.
#[expect(clippy::print_stderr, reason = "figures for people, shown with --nocapture")]
pub(crate) fn show(what: &str) {
    eprintln!("{what}");
}

pub(crate) fn is_dead(state: Option<State>) -> bool {
    state == Some(State::Dead)
}

/// How many deaths the views have reported so far.
pub(crate) fn deaths(world: &World) -> usize {
    let is_death = |event: &astromesh_swim::Event| {
        matches!(event, astromesh_swim::Event::Member { change: astromesh_swim::Change::Dead, .. })
    };
    world.observations().iter().filter(|observation| is_death(&observation.event)).count()
}
