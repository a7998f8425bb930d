//! A network that loses and doubles datagrams.

use astromesh_sim::{NetworkConfig, World, WorldConfig};

use crate::{assert_sound, deaths, secs, seeds};

#[test]
fn nobody_dies_of_five_percent_loss_in_ten_minutes() {
    for seed in seeds(3) {
        let network = NetworkConfig { loss: 0.05, duplication: 0.01, ..NetworkConfig::default() };
        let config = WorldConfig { seed, network, ..WorldConfig::default() };
        let mut world = World::settled(config, 20);
        world.run_for(secs(600));
        assert_eq!(deaths(&world), 0, "SEED={seed}");
        world.network_mut().set_loss(0.0);
        world.run_for(secs(20));
        assert_sound(&mut world, seed);
    }
}
