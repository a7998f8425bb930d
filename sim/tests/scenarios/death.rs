//! Nodes that are killed.

use std::time::Duration;

use astromesh_sim::World;
use astromesh_swim::Event;

use crate::{assert_sound, is_dead, report, secs, seeded, seeds};

/// Kills one of `count` and returns after how long every other view held it dead.
fn time_to_death(seed: u64, count: usize) -> Duration {
    let mut world = World::settled(seeded(seed), count);
    // Not in step with the start, so that every phase of the probing is met.
    world.run_for(Duration::from_millis(seed * 37 % 2_000));
    let victim = usize::try_from(seed).unwrap() % count;
    world.crash(victim);
    let time = world.run_until(secs(30), |world| world.all_see(victim, is_dead));
    world.run_for(secs(1));
    assert_sound(&mut world, seed);
    assert_eq!(crate::deaths(&world), count - 1, "one death in each view, SEED={seed}");
    time.unwrap_or_else(|| panic!("not dead within 30 s, SEED={seed}"))
}

fn all_within_10_s(count: usize, runs: u64) {
    let times = seeds(runs).into_iter().map(|seed| time_to_death(seed, count)).collect();
    let longest = report(&format!("kill -9 of one of {count}: dead everywhere"), times);
    assert!(longest <= secs(10), "{longest:?} for a death among {count}");
}

#[test]
fn a_killed_node_is_dead_in_the_other_view_of_two_within_10_s() {
    all_within_10_s(2, 200);
}

#[test]
fn a_killed_node_is_dead_in_both_other_views_of_three_within_10_s() {
    all_within_10_s(3, 200);
}

#[test]
fn a_killed_node_is_dead_in_all_other_views_of_five_within_10_s() {
    all_within_10_s(5, 200);
}

#[test]
fn a_killed_node_is_dead_in_all_other_views_of_ten_within_10_s() {
    all_within_10_s(10, 200);
}

#[test]
fn a_killed_leader_is_replaced_within_1_s_of_its_death() {
    for seed in seeds(20) {
        let mut world = World::settled(seeded(seed), 5);
        let leader = world.nodes()[0].engine.leader().unwrap();
        let victim = world.nodes().iter().position(|node| node.id() == leader).unwrap();
        let successor = world
            .nodes()
            .iter()
            .map(astromesh_sim::node::Node::id)
            .filter(|&id| id != leader)
            .max();

        world.crash(victim);
        let killed_at = world.now();
        world.run_for(secs(15));

        let elections: Vec<Duration> = world
            .observations()
            .iter()
            .filter(|observation| observation.at > killed_at)
            .filter(|observation| {
                matches!(observation.event, Event::Leader { id, .. } if id == successor)
            })
            .map(|observation| observation.at.since(killed_at))
            .collect();
        assert_eq!(elections.len(), 4, "SEED={seed}");
        let spread = *elections.iter().max().unwrap() - *elections.iter().min().unwrap();
        assert!(spread <= secs(1), "{spread:?}, SEED={seed}");
        assert_sound(&mut world, seed);
    }
}
