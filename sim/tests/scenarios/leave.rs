//! Nodes that say goodbye.

use astromesh_sim::World;
use astromesh_swim::Command;
use astromesh_wire::State;

use crate::{assert_sound, deaths, report, secs, seeded, seeds};

#[test]
fn a_leave_is_known_everywhere_within_a_second_and_sticks() {
    let mut times = Vec::new();
    for seed in seeds(20) {
        let mut world = World::settled(seeded(seed), 20);
        world.command(7, Command::Leave);
        world.run_for(std::time::Duration::from_millis(500));
        world.crash(7);
        let left = |state| state == Some(State::Left);
        let time = world.run_until(secs(1), |world| world.all_see(7, left));
        times.push(time.unwrap_or_else(|| panic!("not known within 1 s, SEED={seed}")));
        world.run_for(secs(60));
        assert!(world.all_see(7, left), "SEED={seed}");
        assert_eq!(deaths(&world), 0, "SEED={seed}");
        assert_sound(&mut world, seed);
    }
    report("leave of one of 20, after its 500 ms of farewell", times);
}

#[test]
fn a_leave_under_loss_is_seen_as_left_or_dead_but_never_as_alive() {
    for seed in seeds(20) {
        let mut world = World::settled(seeded(seed), 10);
        world.network_mut().set_loss(0.3);
        world.command(2, Command::Leave);
        world.run_for(std::time::Duration::from_millis(100));
        world.crash(2);
        world.network_mut().set_loss(0.0);
        world.run_for(secs(40));
        assert!(
            world.all_see(2, |state| matches!(state, Some(State::Left | State::Dead))),
            "SEED={seed}"
        );
        assert_sound(&mut world, seed);
    }
}

/// Node 4 is cut off while node 3 says goodbye and ends; what everybody thinks of node 3 later.
fn leaves_while_another_is_cut_off(seed: u64) -> World {
    let mut world = World::settled(seeded(seed), 5);
    world.network_mut().cut([4], 0..4);
    world.command(3, Command::Leave);
    world.run_for(std::time::Duration::from_millis(500));
    world.crash(3);
    world.run_for(secs(1));
    world.network_mut().heal();
    world.run_for(secs(60));
    world
}

#[test]
fn a_leave_that_one_node_missed_is_known_to_it_as_a_leave_later() {
    for seed in seeds(50) {
        let mut world = leaves_while_another_is_cut_off(seed);
        assert!(world.all_see(3, |state| state == Some(State::Left)), "SEED={seed}");
        assert_eq!(deaths(&world), 0, "SEED={seed}");
        assert_sound(&mut world, seed);
    }
}
