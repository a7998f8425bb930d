//! Nodes that are started again.

use astromesh_sim::World;
use astromesh_wire::State;

use crate::{assert_sound, secs, seeded, seeds};

#[test]
fn restarting_every_node_in_turn_leaves_as_many_members_as_before() {
    for seed in seeds(10) {
        let mut world = World::settled(seeded(seed), 8);
        for node in 0..8 {
            world.crash(node);
            world.run_for(secs(seed % 7));
            world.start(node);
            let equal = world.run_until(secs(15), World::views_are_equal);
            assert!(equal.is_some(), "node {node} is not back, SEED={seed}");
        }
        world.run_for(secs(20));
        for node in world.nodes() {
            assert_eq!(node.engine.members().count(), 7, "SEED={seed}");
        }
        assert_sound(&mut world, seed);
    }
}

#[test]
fn a_node_started_with_a_new_id_takes_the_place_of_the_old_one() {
    for seed in seeds(10) {
        let mut world = World::settled(seeded(seed), 8);
        let old = world.nodes()[3].id();
        world.crash(3);
        world.run_for(secs(1));
        world.start_anew(3);
        let equal = world.run_until(secs(10), World::views_are_equal);
        assert!(equal.is_some(), "SEED={seed}");
        world.run_for(secs(30));
        for (index, node) in world.nodes().iter().enumerate() {
            let state = node.engine.member(old).map(|member| member.state);
            assert!(
                state == Some(State::Left) || (index == 3 && state.is_none()),
                "{state:?} in the view of {index}, SEED={seed}"
            );
        }
        assert_sound(&mut world, seed);
    }
}

#[test]
fn all_nodes_killed_and_started_again_agree_without_ghosts() {
    for seed in seeds(10) {
        let mut world = World::settled(seeded(seed), 10);
        for node in 0..10 {
            world.crash(node);
        }
        world.run_for(secs(3));
        for node in 0..10 {
            world.start(node);
        }
        let equal = world.run_until(secs(10), World::views_are_equal);
        assert!(equal.is_some(), "SEED={seed}");
        world.run_for(secs(10));
        for node in world.nodes() {
            assert_eq!(node.engine.members().count(), 9, "SEED={seed}");
        }
        assert_sound(&mut world, seed);
    }
}
