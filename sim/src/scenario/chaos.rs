//! Scenarios made up at random: all faults, in any order, one on top of the other; then calm.
//!
//! What such a scenario expects is only what must always hold. One that breaks is printed as a file,
//! to be kept under `sim/scenarios` with a line on what broke.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{
    Action, Expect, NetworkSpec, Nodes, Profile, RuleName, Scenario, Span, TimedEvent, WayName,
};

/// How long it goes on, before everything is calmed.
const LENGTH_SECS: u64 = 120;

/// The scenario of this seed, with so many nodes.
#[must_use]
pub fn scenario(nodes: usize, seed: u64) -> Scenario {
    let mut rng = fastrand::Rng::with_seed(seed);
    let profile = if rng.u8(..4) == 0 { Profile::Wan } else { Profile::Lan };
    let mut events = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_millis(rng.u64(100..8_000));
        if at >= Duration::from_secs(LENGTH_SECS) {
            break;
        }
        events.push(TimedEvent { at: Span(at), action: action(nodes, &mut rng) });
    }
    Scenario {
        about: format!("Made up at random from seed {seed}."),
        nodes,
        seeds: 1,
        rule: RuleName::Default,
        network: NetworkSpec { profile, ..NetworkSpec::default() },
        groups: BTreeMap::new(),
        events,
        length: Span::from_secs(LENGTH_SECS),
        expect: Expect::default(),
        known_misses: BTreeMap::new(),
    }
}

fn action(nodes: usize, rng: &mut fastrand::Rng) -> Action {
    let some = |rng: &mut fastrand::Rng| {
        let most = (nodes / 3).max(1);
        let mut chosen: Vec<usize> = (0..nodes).collect();
        rng.shuffle(&mut chosen);
        chosen.truncate(rng.usize(1..=most));
        chosen.sort_unstable();
        Nodes::These(chosen)
    };
    let millis = |rng: &mut fastrand::Rng, from: u64, to: u64| {
        Span(Duration::from_millis(rng.u64(from..=to)))
    };
    match rng.u8(..24) {
        0 | 1 => Action::Crash(some(rng)),
        2..=4 => Action::Restart(Nodes::All),
        5 => Action::RestartAnew(some(rng)),
        6 => Action::Join(1),
        7 if rng.bool() => Action::Leave(Nodes::These(vec![rng.usize(..nodes)])),
        8 => Action::Pause(some(rng)),
        9 | 10 => Action::Resume(Nodes::All),
        11 => Action::Cut { from: some(rng), to: None },
        12 => Action::CutOneWay { from: some(rng), to: Some(some(rng)) },
        13 | 14 => Action::Heal,
        15 => Action::Loss(f64::from(rng.u8(..=30)) / 100.0),
        16 => Action::Duplicate(f64::from(rng.u8(..=10)) / 100.0),
        17 => Action::OneWayLoss {
            nodes: some(rng),
            direction: if rng.bool() { WayName::In } else { WayName::Out },
            share: f64::from(rng.u8(50..=100)) / 100.0,
            on: millis(rng, 500, 20_000),
            off: millis(rng, 0, 20_000),
        },
        18 => Action::Bursts {
            nodes: some(rng),
            bad: millis(rng, 200, 4_000),
            good: millis(rng, 2_000, 20_000),
            share: 0.95,
        },
        19 => Action::Starve {
            nodes: some(rng),
            min: millis(rng, 10, 300),
            max: millis(rng, 300, 3_000),
            redraw: millis(rng, 500, 5_000),
        },
        20 => Action::Slow { nodes: some(rng), every: millis(rng, 20, 1_500) },
        21 => Action::Jump { nodes: some(rng), by: millis(rng, 100, 3_600_000) },
        22 => Action::Drift { nodes: some(rng), ppm: rng.i64(-20_000..20_000) },
        _ => Action::Calm,
    }
}
