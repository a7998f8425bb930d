//! Networks that fall apart and come together again.

use std::time::Duration;

use astromesh_sim::{World, WorldConfig};
use astromesh_swim::Config;

use crate::{assert_sound, is_dead, report, secs, seeded, seeds, show};

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

/// How fast and with how many bytes two halves become whole again once the links are back.
fn figures_of_a_heal(count: usize, runs: u64) -> (Duration, u64) {
    let (mut times, mut most) = (Vec::new(), 0);
    for seed in seeds(runs) {
        let mut world = World::settled(seeded(seed), count);
        let middle = count / 2;
        world.network_mut().cut(0..middle, middle..count);
        world.run_for(secs(60));
        let sent = |world: &World| -> u64 {
            world.nodes().iter().map(|node| node.engine.stats().bytes_sent).sum()
        };
        let before = sent(&world);

        world.network_mut().heal();

        let time = world.run_until(secs(60), World::views_are_equal);
        times.push(time.unwrap_or_else(|| panic!("not healed within 60 s, SEED={seed}")));
        // All that the heal has set going.
        world.run_for(secs(10));
        most = most.max((sent(&world) - before) / u64::try_from(count).unwrap());
        assert_sound(&mut world, seed);
    }
    let longest = report(&format!("halves of {count}, cut for 60 s: views equal"), times);
    show(&format!("halves of {count}: at most {most} bytes a node from the heal to 10 s after it"));
    (longest, most)
}

#[test]
fn two_halves_of_a_hundred_are_whole_within_2_s_for_20_kb_a_node() {
    let (longest, bytes) = figures_of_a_heal(100, 30);
    assert!(longest <= secs(2), "{longest:?}");
    assert!(bytes <= 20_000, "{bytes} bytes");
}

#[test]
#[ignore = "a minute of computing"]
fn two_halves_of_a_thousand_are_whole_within_5_s() {
    let (longest, _) = figures_of_a_heal(1_000, 2);
    assert!(longest <= secs(5), "{longest:?}");
}

#[test]
fn a_cut_that_lasts_longer_than_the_dead_are_remembered_heals() {
    for seed in seeds(10) {
        let reap_after = secs(60);
        let config =
            WorldConfig { engine: Config { reap_after, ..Config::default() }, ..seeded(seed) };
        let mut world = World::settled(config, 10);
        world.set_seeds([]);
        world.network_mut().cut(0..5, 5..10);
        world.run_for(secs(150));
        for node in world.nodes() {
            assert_eq!(node.engine.members().count(), 4, "the others are forgotten, SEED={seed}");
        }

        world.network_mut().heal();

        let time = world.run_until(secs(30), World::views_are_equal);
        assert!(time.is_some(), "SEED={seed}");
        world.run_for(secs(20));
        assert_sound(&mut world, seed);
    }
}

#[test]
fn who_was_forgotten_does_not_come_back_with_a_node_that_missed_it() {
    for seed in seeds(10) {
        let reap_after = secs(120);
        let config =
            WorldConfig { engine: Config { reap_after, ..Config::default() }, ..seeded(seed) };
        let mut world = World::settled(config, 10);
        // One is cut off while another dies; it hears of that a minute later.
        world.network_mut().cut([9], 0..9);
        world.crash(0);
        let died_at = world.now();
        world.run_for(secs(60));
        world.network_mut().heal();
        let dead = world.nodes()[0].id();

        let is_forgotten = |world: &World| {
            world.nodes()[1..].iter().all(|node| node.engine.member(dead).is_none())
        };
        let time = world.run_until(secs(120), is_forgotten);
        assert!(time.is_some(), "SEED={seed}");
        let age = world.now().since(died_at);
        assert!(age <= secs(135), "forgotten everywhere {age:?} after the death, SEED={seed}");
        for _ in 0..60 {
            world.run_for(secs(1));
            assert!(is_forgotten(&world), "SEED={seed}");
        }
        assert_sound(&mut world, seed);
    }
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
