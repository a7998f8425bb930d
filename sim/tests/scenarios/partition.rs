//! Networks that fall apart and come together again.

use astromesh_sim::World;

use crate::{assert_sound, is_dead, report, secs, seeded, seeds};

fn halves_heal(count: usize, runs: u64) {
    let mut times = Vec::new();
    for seed in seeds(runs) {
        let mut world = World::settled(seeded(seed), count);
        let middle = count / 2;
        world.network_mut().cut(0..middle, middle..count);
        world.run_for(secs(60));
        for member in 0..count {
            let others = world.nodes().iter().enumerate();
            let across = others.filter(|(index, _)| (*index < middle) != (member < middle));
            for (_, node) in across {
                let seen = node.engine.member(world.nodes()[member].id()).unwrap().state;
                assert!(is_dead(Some(seen)), "{seen:?} after 60 s, SEED={seed}");
            }
        }

        world.network_mut().heal();

        let time = world.run_until(secs(60), World::views_are_equal);
        times.push(time.unwrap_or_else(|| panic!("not healed within 60 s, SEED={seed}")));
        world.run_for(secs(20));
        assert_sound(&mut world, seed);
    }
    let longest = report(&format!("halves of {count}, cut for 60 s: views equal"), times);
    assert!(longest <= secs(15), "{longest:?} to heal {count}");
}

#[test]
fn two_halves_of_five_find_each_other_within_15_s() {
    halves_heal(5, 30);
}

#[test]
fn two_halves_of_ten_find_each_other_within_15_s() {
    halves_heal(10, 30);
}

#[test]
fn two_halves_of_fifty_find_each_other_within_15_s() {
    halves_heal(50, 3);
}

#[test]
fn a_node_that_hears_nothing_but_is_heard_does_not_kill_the_others() {
    for seed in seeds(10) {
        let mut world = World::settled(seeded(seed), 5);
        world.network_mut().cut_one_way(1..5, [0]);
        world.run_for(secs(30));
        let healthy = 1..5;
        for observer in healthy.clone() {
            for member in healthy.clone() {
                let id = world.nodes()[member].id();
                let seen = world.nodes()[observer].engine.member(id).unwrap();
                assert!(seen.is_live(), "{member} in the view of {observer}, SEED={seed}");
            }
        }
        world.network_mut().heal();
        let time = world.run_until(secs(30), World::views_are_equal);
        assert!(time.is_some(), "SEED={seed}");
        world.run_for(secs(20));
        assert_sound(&mut world, seed);
    }
}
