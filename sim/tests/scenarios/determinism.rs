//! A run is a function of its seed.

use std::time::Duration;

use astromesh_sim::{NetworkConfig, World, WorldConfig, operations};

use crate::{secs, seeds};

/// A run in which a bit of everything happens.
fn eventful(seed: u64) -> u64 {
    let network = NetworkConfig { loss: 0.1, duplication: 0.05, ..NetworkConfig::default() };
    let mut world = World::new(WorldConfig { seed, network, ..WorldConfig::default() });
    world.add(12);
    world.set_seeds([0, 1]);
    for node in 0..12 {
        world.start_after(node, Duration::from_millis(100) * u32::try_from(node).unwrap());
    }
    world.run_for(secs(10));
    world.crash(3);
    world.pause(4);
    world.network_mut().cut(0..6, 6..12);
    world.run_for(secs(20));
    world.network_mut().heal();
    world.resume(4);
    world.start(3);
    world.run_for(secs(20));
    world.transcript()
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    for seed in seeds(3) {
        assert_eq!(eventful(seed), eventful(seed), "SEED={seed}");
        assert_ne!(eventful(seed), eventful(seed + 1), "SEED={seed}");
    }
}

#[test]
fn no_sequence_of_operations_violates_what_must_always_hold() {
    for seed in seeds(300) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let bytes: Vec<u8> = std::iter::repeat_with(|| rng.u8(..)).take(600).collect();
        assert_eq!(operations::play(&bytes), [], "SEED={seed}");
    }
}
