//! The gates of the engine, measured: what `docs/swim.md` says under "What to expect".
//!
//! `cargo test --release -p astromesh-sim --test gates -- --ignored --nocapture` measures all, which takes
//! long; a name measures one. `SCALE=n` multiplies the number of runs.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "figures for people")]

use std::time::Duration;

use astromesh_sim::network::{Direction, NodeLoss};
use astromesh_sim::{NetworkConfig, World, WorldConfig};
use astromesh_swim::detector::Rule;
use astromesh_swim::{Change, Config, Event};

fn scale() -> u64 {
    std::env::var("SCALE").map_or(1, |scale| scale.parse().unwrap())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A mesh whose views are equal, under loss from now on.
fn knit(seed: u64, nodes: usize, floor: Duration, loss: f64) -> World {
    let mut engine = Config::default();
    engine.detector.rule = Rule::Evidence { floor };
    let config = WorldConfig { seed, network: NetworkConfig::default(), engine };
    let mut world = World::knit(config, nodes);
    world.run_for(secs(10));
    world.network_mut().set_loss(loss);
    world
}

const DEFAULT: Duration = Duration::from_secs(2);

/// Datagrams and bytes sent so far, IP and UDP included.
fn sent(world: &World) -> (u64, u64) {
    world.nodes().iter().fold((0, 0), |(datagrams, bytes), node| {
        let stats = node.engine.stats();
        (datagrams + stats.datagrams_sent, bytes + stats.bytes_sent + 28 * stats.datagrams_sent)
    })
}

fn spread(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
    format!("{:.2?} / {:.2?} / {:.2?} ({})", at(0.5), at(0.99), at(1.0), times.len())
}

fn is_dead(event: &Event) -> bool {
    matches!(event, Event::Member { change: Change::Dead, .. })
}

/// From the crash of each of some members to the first and the last view that knows it.
fn deaths(world: &mut World, wait: Duration, victims: &[usize]) -> Vec<(Duration, Duration)> {
    world.take_observations();
    let (start, before) = (world.now(), world.crashes().len());
    victims.iter().for_each(|&victim| world.crash(victim));
    world.run_for(wait);
    let seen = world.take_observations();
    let crashes = &world.crashes()[before..];
    let found = crashes.iter().map(|crash| {
        let first = seen.iter().find(|seen| {
            is_dead(&seen.event) && matches!(seen.event, Event::Member { id, .. } if id == crash.id)
        });
        let last = crash.known_after(world.now()).unwrap_or(wait);
        (first.map_or(wait, |first| first.at.since(start)), last)
    });
    found.collect()
}

fn one_after_another(
    nodes: usize,
    floor: Duration,
    loss: f64,
    count: usize,
) -> Vec<(Duration, Duration)> {
    let per_world = (nodes / 5).clamp(1, 20);
    let mut all = Vec::new();
    let mut seed = 0;
    while all.len() < count {
        seed += 1;
        let mut world = knit(seed, nodes, floor, loss);
        for victim in 0..per_world {
            world.run_for(Duration::from_millis(3_000 + seed * 137 % 1_000));
            all.extend(deaths(&mut world, secs(12), &[victim]));
        }
        assert_eq!(world.violations(), []);
    }
    all
}

#[test]
#[ignore = "a measurement"]
fn idle_traffic() {
    for nodes in [100, 1_000, 10_000] {
        let mut world = knit(1, nodes, DEFAULT, 0.0);
        world.run_for(secs(20));
        let before = sent(&world);
        let seconds = if nodes > 1_000 { 20 } else { 60 };
        world.run_for(secs(seconds));
        let after = sent(&world);
        let share = (nodes as u64 * seconds) as f64;
        eprintln!(
            "idle, N = {nodes}: {:.2} datagrams, {:.1} B a second and node",
            (after.0 - before.0) as f64 / share,
            (after.1 - before.1) as f64 / share
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn deaths_one_at_a_time() {
    for (name, floor) in [("default", DEFAULT), ("fast", Duration::ZERO)] {
        for loss in [0.0, 0.2] {
            for (nodes, count) in [(5, 200), (9, 200), (30, 200), (100, 200), (1_000, 40)] {
                let times = one_after_another(nodes, floor, loss, count * scale() as usize);
                let last = times.iter().map(|(_, last)| *last).collect();
                eprintln!("{name}, N = {nodes}, loss {loss}: {}", spread(last));
            }
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn deaths_among_ten_thousand() {
    for loss in [0.0, 0.2] {
        let mut world = knit(1, 10_000, DEFAULT, loss);
        let times = deaths(&mut world, secs(12), &(0..10).map(|n| n * 997).collect::<Vec<_>>());
        eprintln!(
            "default, N = 10000, loss {loss}, ten at once: {}",
            spread(times.into_iter().map(|(_, last)| last).collect())
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn three_tenths_at_once() {
    for loss in [0.0, 0.2] {
        for (nodes, runs) in [(100, 20), (1_000, 1)] {
            let mut all = Vec::new();
            for seed in 1..=runs * scale() {
                let mut world = knit(seed, nodes, DEFAULT, loss);
                let victims: Vec<usize> = (0..nodes * 3 / 10).map(|n| n * 10 / 3).collect();
                all.extend(deaths(&mut world, secs(30), &victims));
            }
            let late = all.iter().filter(|(first, last)| *last > *first + secs(2)).count();
            eprintln!(
                "30 % at once, N = {nodes}, loss {loss}: {}; {late} more than 2 s after the first view",
                spread(all.into_iter().map(|(_, last)| last).collect())
            );
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn stragglers() {
    for loss in [0.0, 0.2] {
        let times = one_after_another(100, DEFAULT, loss, 500 * scale() as usize);
        let late = times.iter().filter(|(first, last)| *last > *first + secs(2)).count();
        let between = times.iter().map(|(first, last)| last.saturating_sub(*first)).collect();
        eprintln!(
            "first to last view, N = 100, loss {loss}: {}; {late} above 2 s",
            spread(between)
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn false_deaths_under_loss() {
    for (nodes, loss, hours) in
        [(100, 0.05, 200), (100, 0.2, 200), (9, 0.2, 100), (5, 0.2, 50), (3, 0.2, 50)]
    {
        let mut dead = 0;
        let hours = hours * scale();
        let mut world = knit(1, nodes, DEFAULT, loss);
        for _ in 0..hours * 60 / nodes as u64 {
            world.run_for(secs(60));
            dead += world.take_observations().iter().filter(|seen| is_dead(&seen.event)).count();
        }
        assert_eq!(world.violations(), []);
        eprintln!("N = {nodes}, loss {loss}: {dead} false deaths (views) in {hours} node-hours");
    }
}

#[test]
#[ignore = "a measurement"]
fn flipping_one_way_loss() {
    for direction in [Direction::In, Direction::Out] {
        let mut world = knit(1, 100, DEFAULT, 0.0);
        let loss = NodeLoss { share: 1.0, on: secs(20), off: secs(20) };
        world.network_mut().set_node_loss(7, direction, loss);
        let bad = world.nodes()[7].id();
        world.take_observations();
        let mut changes = std::collections::BTreeMap::<_, u64>::new();
        for _ in 0..60 {
            world.run_for(secs(60));
            for seen in world.take_observations() {
                if let Event::Member { id, change: Change::Dead } = seen.event {
                    *changes.entry((id == bad, seen.observer == 7)).or_default() += 1;
                }
            }
        }
        let views = changes.get(&(true, false)).copied().unwrap_or(0);
        let others: u64 = changes.iter().filter(|(key, _)| !key.0).map(|(_, count)| count).sum();
        eprintln!(
            "one of 100 flips every 20 s, {direction:?}: {:.1} deaths of it in an hour, {others} of others",
            views as f64 / 99.0
        );
    }
}

#[test]
#[ignore = "a measurement"]
fn joins() {
    for (nodes, runs) in [(100, 10), (1_000, 1)] {
        let mut times = Vec::new();
        for seed in 1..=runs {
            let mut world = World::new(WorldConfig { seed, ..WorldConfig::default() });
            world.add(nodes);
            world.set_seeds([0]);
            (0..nodes).for_each(|node| world.start(node));
            times.push(world.run_until(secs(60), World::views_are_equal).unwrap());
        }
        eprintln!("all of {nodes} at once: {}", spread(times));
    }
    for nodes in [1_000, 10_000] {
        let mut world = knit(1, nodes, DEFAULT, 0.0);
        world.add(1);
        world.set_seeds([0, 1, 2]);
        world.start(nodes);
        let time = world.run_until(secs(60), World::views_are_equal);
        eprintln!("a late joiner at {nodes}: {time:.2?}");
    }
}

#[test]
#[ignore = "a measurement"]
fn a_rolling_restart_of_200() {
    let mut world = knit(1, 200, DEFAULT, 0.0);
    world.take_observations();
    for node in 0..200 {
        world.leave(node);
        world.start_after(node, Duration::from_millis(700));
        world.run_for(Duration::from_millis(300));
    }
    let equal = world.run_until(secs(60), World::views_are_equal);
    let dead = world.take_observations().iter().filter(|seen| is_dead(&seen.event)).count();
    eprintln!(
        "200 restarted within 60 s: equal {equal:.2?} after the last, {dead} deaths reported"
    );
}
