//! Nodes that stand still: a laptop that sleeps, a process that is stopped.

use astromesh_sim::World;

use crate::{assert_sound, deaths, is_dead, report, secs, seeded, seeds};

#[test]
fn a_node_that_slept_for_65_s_is_alive_everywhere_within_5_s_of_waking() {
    for count in [2, 3, 5, 10] {
        let mut times = Vec::new();
        for seed in seeds(20) {
            let mut world = World::settled(seeded(seed), count);
            let sleeper = usize::try_from(seed).unwrap() % count;
            world.pause(sleeper);
            world.run_for(secs(65));
            assert!(world.all_see(sleeper, is_dead), "SEED={seed}");
            let before = deaths(&world);

            world.resume(sleeper);

            let time = world.run_until(secs(60), World::views_are_equal);
            times.push(time.unwrap_or_else(|| panic!("not back within 60 s, SEED={seed}")));
            world.run_for(secs(20));
            assert_sound(&mut world, seed);
            assert_eq!(deaths(&world), before, "nobody dies of it, SEED={seed}");
        }
        let longest = report(&format!("woken after 65 s, N = {count}: views equal"), times);
        assert!(longest <= secs(5), "{longest:?}");
    }
}

#[test]
fn a_pause_of_two_seconds_kills_nobody() {
    for seed in seeds(20) {
        let mut world = World::settled(seeded(seed), 10);
        for round in 0..5 {
            let sleeper = usize::try_from(seed + round).unwrap() % 10;
            world.pause(sleeper);
            world.run_for(secs(2));
            world.resume(sleeper);
            world.run_for(secs(5));
        }
        assert_eq!(deaths(&world), 0, "SEED={seed}");
        world.run_for(secs(10));
        assert_sound(&mut world, seed);
    }
}
