//! Every fault of the simulator really happens, is counted, and ends.

use std::time::Duration;

use astromesh_sim::network::{Bursts, Direction, NetworkConfig, NodeLoss};
use astromesh_sim::node::{BUFFERED_DATAGRAMS_MAX, Pace};
use astromesh_sim::{Faults, World, WorldConfig};
use astromesh_swim::detector::{DetectorConfig, Rule};
use astromesh_swim::{Command, Config, Event};
use astromesh_wire::Load;

use crate::{secs, seeded, settle};

/// What happened to a mesh of ten in a minute after `break_it`.
fn faults_of(network: NetworkConfig, break_it: impl FnOnce(&mut World)) -> Faults {
    let config = WorldConfig { seed: 1, network, ..WorldConfig::default() };
    let mut world = World::settled(config, 10);
    break_it(&mut world);
    world.run_for(secs(60));
    let faults = world.faults();
    world.calm();
    settle(&mut world, secs(120), 1);
    faults
}

fn on_lan(break_it: impl FnOnce(&mut World)) -> Faults {
    faults_of(NetworkConfig::default(), break_it)
}

#[test]
fn a_local_network_delays_and_reorders_a_little_and_does_nothing_else() {
    let faults = on_lan(|_| {});
    let happened: Vec<_> = faults.iter().filter(|(_, count)| *count > 0).collect();
    // A flow rarely has two datagrams on their way; those of the start have.
    let names: Vec<_> = happened.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["reordered", "delayed_long"], "{happened:?}");
}

#[test]
fn each_fault_of_the_network_is_counted() {
    let lossy = NetworkConfig { loss: 0.1, duplication: 0.1, ..NetworkConfig::wan() };
    let faults = faults_of(lossy, |_| {});
    assert!(faults.lost > 100 && faults.duplicated > 100, "{faults:?}");
    assert!(faults.reordered > 10 && faults.crossed_zones > 100, "{faults:?}");

    let faults = on_lan(|world| world.network_mut().cut_one_way([0], 1..10));
    assert!(faults.cut > 60, "{faults:?}");

    let bursts = Bursts { bad_mean: secs(1), good_mean: secs(5), loss: 0.95 };
    let faults = on_lan(|world| world.network_mut().set_bursts(3, bursts));
    assert!(faults.lost_in_burst > 5, "{faults:?}");
}

#[test]
fn one_way_loss_comes_and_goes_by_turns() {
    let mut world = World::settled(seeded(1), 10);
    let loss = NodeLoss { share: 1.0, on: secs(3), off: secs(3) };
    world.network_mut().set_node_loss(3, Direction::Out, loss);
    let mut lost = Vec::new();
    for _ in 0..6 {
        let before = world.faults().lost_one_way;
        world.run_for(secs(3));
        lost.push(world.faults().lost_one_way - before);
    }
    let (on, off) = (lost.iter().step_by(2), lost.iter().skip(1).step_by(2));
    assert!(on.sum::<u64>() > 3 && off.max() == Some(&0), "{lost:?}");
}

#[test]
fn each_fault_of_a_process_is_counted() {
    let faults = on_lan(|world| world.pause(3));
    assert!(faults.pauses == 1 && faults.queued_paused > 5 && faults.overflowed == 0, "{faults:?}");

    let faults = on_lan(|world| world.set_pace(3, Pace::Slow(Duration::from_millis(200))));
    assert!(faults.slow_wakes > 50 && faults.queued_slow > 50, "{faults:?}");

    let (min, max) = (Duration::from_millis(300), secs(2));
    let faults = on_lan(|world| world.set_pace(3, Pace::Starved { min, max, redraw: max }));
    assert!(faults.queued_starved > 50 && faults.waits > 50, "{faults:?}");

    let faults = on_lan(|world| {
        world.jump(3, secs(30));
        world.drift(4, 10_000);
    });
    assert_eq!((faults.jumps, faults.drifts), (1, 1));

    let faults = on_lan(|world| {
        world.leave(3);
        world.crash(4);
        world.run_for(secs(1));
        world.start(4);
        world.crash(5);
        world.start_anew(5);
    });
    assert_eq!(
        (faults.leaves, faults.crashes, faults.restarts, faults.restarts_anew),
        (1, 2, 1, 1)
    );
}

#[test]
fn the_socket_of_a_node_that_stands_still_holds_so_much_and_no_more() {
    let mut world = World::settled(seeded(1), 2);
    let from = world.nodes()[0].address();
    let received = world.nodes()[1].engine.stats().datagrams_received;
    world.pause(1);
    for _ in 0..BUFFERED_DATAGRAMS_MAX + 7 {
        world.inject(1, from, b"?");
    }
    assert_eq!(world.faults().overflowed, 7);
    world.resume(1);
    let received = world.nodes()[1].engine.stats().datagrams_received - received;
    assert_eq!(received, BUFFERED_DATAGRAMS_MAX as u64);
}

#[test]
fn a_starved_node_hears_late_and_in_order() {
    let mut world = World::settled(seeded(1), 2);
    let wait = Duration::from_millis(300);
    world.set_pace(1, Pace::Starved { min: wait, max: secs(2), redraw: secs(2) });
    let sent_from = world.now();
    for count in 1..=20 {
        let load = Load { active_requests: count, ..Load::default() };
        world.command(0, Command::SetLoad { load, sequence: count });
        world.run_for(Duration::from_millis(400));
    }
    world.run_for(secs(10));
    let loads: Vec<_> = world
        .observations()
        .iter()
        .filter(|seen| seen.observer == 1 && seen.at > sent_from)
        .filter(|seen| {
            matches!(seen.event, Event::Member { change: astromesh_swim::Change::Load, .. })
        })
        .map(|seen| seen.at.since(sent_from))
        .collect();
    assert!(loads[0] >= wait, "{loads:?}");
    let id = world.nodes()[0].id();
    assert_eq!(world.nodes()[1].engine.member(id).unwrap().load().active_requests, 20);
    assert_eq!(world.false_deaths(), []);
}

#[test]
fn a_clock_one_percent_fast_probes_one_percent_more_often() {
    // Under the other rule the probed says when it is to be probed next, by its own clock.
    let detector = DetectorConfig { rule: Rule::Lifeguard, ..DetectorConfig::default() };
    let engine = Config { detector, ..Config::default() };
    let mut world = World::settled(WorldConfig { engine, ..seeded(1) }, 2);
    let probes = |world: &World, node: usize| world.nodes()[node].engine.stats().probes;
    let before = [probes(&world, 0), probes(&world, 1)];
    world.drift(1, 10_000);
    world.run_for(secs(1_000));
    let made = [probes(&world, 0) - before[0], probes(&world, 1) - before[1]];
    assert!((999..=1_001).contains(&made[0]), "{made:?}");
    assert!((1_009..=1_011).contains(&made[1]), "{made:?}");
}

#[test]
fn a_clock_that_leaps_is_noticed_as_a_stall_and_kills_nobody() {
    let mut world = World::settled(seeded(1), 10);
    world.jump(3, secs(3_600));
    world.run_for(secs(60));
    assert_eq!(world.nodes()[3].engine.stats().stalls, 1);
    assert_eq!(world.false_deaths(), []);
    settle(&mut world, secs(10), 1);
}

#[test]
fn a_knit_mesh_is_as_good_as_one_that_joined() {
    let mut world = World::knit(seeded(1), 50);
    assert!(world.views_are_equal());
    world.crash(7);
    world.run_for(secs(30));
    assert!(world.all_see(7, crate::is_dead));
    assert!(world.crashes()[0].known_after(world.now()).unwrap() < secs(30));
    settle(&mut world, secs(1), 1);
}
