//! Nodes that come together.

use astromesh_sim::World;

use crate::{assert_sound, report, secs, seeded, seeds};

#[test]
fn five_nodes_started_together_with_their_seed_last_agree_within_5_s() {
    let mut times = Vec::new();
    for seed in seeds(50) {
        let mut world = World::new(seeded(seed));
        world.add(5);
        world.set_seeds([4]);
        for node in 0..4 {
            world.start(node);
        }
        world.start_after(4, std::time::Duration::from_millis(200));
        let time =
            world.run_until(secs(5), |world| world.nodes()[4].run > 0 && world.views_are_equal());
        times.push(time.unwrap_or_else(|| panic!("not equal within 5 s, SEED={seed}")));
        world.run_for(secs(5));
        assert_sound(&mut world, seed);
    }
    report("5 nodes, seed last: views equal", times);
}

#[test]
fn a_hundred_nodes_that_join_at_once_through_one_seed_agree_within_10_s() {
    let mut times = Vec::new();
    for seed in seeds(3) {
        let mut world = World::new(seeded(seed));
        world.add(100);
        world.set_seeds([0]);
        for node in 0..100 {
            world.start(node);
        }
        let time = world.run_until(secs(10), World::views_are_equal);
        times.push(time.unwrap_or_else(|| panic!("not equal within 10 s, SEED={seed}")));
        world.run_for(secs(5));
        assert_sound(&mut world, seed);
    }
    report("100 nodes join at once: views equal", times);
}

#[test]
fn a_late_joiner_is_known_everywhere_within_3_s() {
    let mut times = Vec::new();
    for seed in seeds(10) {
        let mut world = World::settled(seeded(seed), 30);
        world.add(1);
        world.start(30);
        let time = world.run_until(secs(3), World::views_are_equal);
        times.push(time.unwrap_or_else(|| panic!("not known within 3 s, SEED={seed}")));
        assert_sound(&mut world, seed);
    }
    report("late joiner among 30: views equal", times);
}

#[test]
fn a_mesh_whose_news_has_died_down_sends_one_ping_and_one_ack_per_node_and_second() {
    let seed = 1;
    let mut world = World::settled(seeded(seed), 5);
    world.run_for(secs(10));
    let sent = |world: &World| -> (u64, u64) {
        world.nodes().iter().fold((0, 0), |(datagrams, bytes), node| {
            let stats = node.engine.stats();
            (datagrams + stats.datagrams_sent, bytes + stats.bytes_sent)
        })
    };
    let (datagrams, bytes) = sent(&world);

    world.run_for(secs(60));

    let (datagrams_after, bytes_after) = sent(&world);
    assert_eq!(datagrams_after - datagrams, 5 * 60 * 2);
    assert_eq!(bytes_after - bytes, 5 * 60 * (22 + 19));
}
