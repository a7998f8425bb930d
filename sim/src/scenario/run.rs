//! A scenario played with one seed, and what came of it.

use std::time::Duration;

use astromesh_swim::Member;
use astromesh_wire::State;

use super::script::{Deed, Script};
use super::{RuleName, Scenario, Seen, SeenAs};
use crate::checks::Violation;
use crate::faults::Faults;
use crate::ledger::VictimClass;
use crate::node::Node;
use crate::world::{World, WorldConfig};

/// What came of a scenario with one seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// How long it took until all knew of each crash, or has taken so far. Nodes that were started
    /// again before are not among them.
    pub crashes: Vec<Duration>,
    /// Healthy nodes declared dead.
    pub healthy_deaths: usize,
    /// Nodes with a fault of their own declared dead.
    pub faulty_deaths: usize,
    /// Times that a node that was not dead counted as dead in one view alone.
    pub given_up: u64,
    /// How long after the last event all views were equal; `None` if they were not within what is
    /// expected.
    pub equal_after: Option<Duration>,
    /// How long after everything was calmed all views were equal; `None` if not within
    /// [`CALM_LIMIT`].
    pub calm_after: Option<Duration>,
    /// What went wrong on purpose.
    pub faults: Faults,
    /// What must never happen.
    pub violations: Vec<Violation>,
    /// Who was not seen as expected.
    pub not_seen: Vec<String>,
    /// Datagrams sent, by each node and second on average.
    pub datagrams: f64,
    /// Bytes sent, UDP payload, by each node and second on average.
    pub bytes: f64,
}

/// After all faults have ended, all views are equal within this time, whatever came before.
pub const CALM_LIMIT: Duration = Duration::from_secs(90);

/// All news ends within this time after that.
pub const NEWS_LIMIT: Duration = Duration::from_secs(20);

/// Above this many nodes a mesh is not let come together by itself.
const SETTLED_NODES_MAX: usize = 60;

/// Plays a scenario under a rule, which may be another one than that of the file.
#[must_use]
pub fn play(scenario: &Scenario, rule: RuleName, seed: u64) -> Outcome {
    let script = Script::new(scenario, seed);
    let mut network = scenario.network.config();
    // Loss begins with the scenario.
    (network.loss, network.duplication) = (0.0, 0.0);
    let config = WorldConfig { seed, network, engine: rule.config() };
    let mut world = if scenario.nodes > SETTLED_NODES_MAX {
        World::knit(config, scenario.nodes)
    } else {
        World::settled(config, scenario.nodes)
    };
    // So that every phase of the probing is met.
    world.run_for(Duration::from_millis(seed.wrapping_mul(7_919) % 8_000));
    world.network_mut().set_loss(scenario.network.loss);
    world.network_mut().set_duplication(scenario.network.duplication);

    let sent_before = sent(&world);
    let start = world.now();
    let mut equal_after = None;
    let mut not_seen = Vec::new();
    let mut deeds = script.deeds.into_iter().peekable();
    while let Some((at, deed)) = deeds.next() {
        world.run_for((start + at).since(world.now()));
        if let Deed::Look(index, by, of) = deed {
            if let Some(seen) = scenario.expect.seen.get(index) {
                not_seen.extend(look(&world, seen, &by, &of));
            }
        } else {
            deed.apply(&mut world);
        }
        let is_last = at == script.last && deeds.peek().is_none_or(|(next, _)| *next > at);
        if is_last && let Some(limit) = scenario.expect.equal_within {
            // No further than the next look, which has its own time.
            let ahead = deeds.peek().map_or(limit.0, |(next, _)| *next - at);
            equal_after = world.run_until(limit.0.min(ahead), World::views_are_equal);
        }
    }
    world.run_for((start + scenario.length.0).since(world.now()));
    let length = world.now().since(start).as_secs_f64() * scenario.nodes as f64;
    let sent_after = sent(&world);

    world.calm();
    let calm_after = world.run_until(CALM_LIMIT, World::views_are_equal);
    world.run_for(NEWS_LIMIT);
    // Views that did not become equal are told of once.
    if calm_after.is_some() {
        world.expect_no_news();
        world.expect_calm();
    }
    outcome(
        &world,
        seed,
        Measured {
            equal_after,
            calm_after,
            not_seen,
            datagrams: (sent_after.0 - sent_before.0) / length,
            bytes: (sent_after.1 - sent_before.1) / length,
        },
    )
}

struct Measured {
    equal_after: Option<Duration>,
    calm_after: Option<Duration>,
    not_seen: Vec<String>,
    datagrams: f64,
    bytes: f64,
}

fn outcome(world: &World, seed: u64, measured: Measured) -> Outcome {
    let deaths = |class| world.false_deaths().iter().filter(|death| death.class == class).count();
    Outcome {
        seed,
        crashes: world
            .crashes()
            .iter()
            .filter_map(|crash| crash.known_after(world.now()))
            .collect(),
        healthy_deaths: deaths(VictimClass::Healthy),
        faulty_deaths: deaths(VictimClass::Faulty),
        given_up: world.given_up(),
        equal_after: measured.equal_after,
        calm_after: measured.calm_after,
        faults: world.faults(),
        violations: world.violations().to_vec(),
        not_seen: measured.not_seen,
        datagrams: measured.datagrams,
        bytes: measured.bytes,
    }
}

/// Datagrams and bytes sent by all engines in their present runs.
fn sent(world: &World) -> (f64, f64) {
    world.nodes().iter().map(|node| node.engine.stats()).fold(
        (0.0, 0.0),
        |(count, bytes), stats| {
            (count + stats.datagrams_sent as f64, bytes + stats.bytes_sent as f64)
        },
    )
}

/// Who is not seen as expected.
fn look(world: &World, seen: &Seen, by: &[usize], of: &[usize]) -> Option<String> {
    let is_right = |observer: usize, member: usize| {
        let (Some(observer), Some(member)) =
            (world.nodes().get(observer), world.nodes().get(member))
        else {
            return false;
        };
        let shown = observer.engine.member(member.id()).map(Member::shown_state);
        match seen.state {
            SeenAs::Live => matches!(shown, Some(State::Alive | State::Suspect)),
            SeenAs::Suspect => shown == Some(State::Suspect),
            SeenAs::Dead => shown == Some(State::Dead),
            SeenAs::Left => shown == Some(State::Left),
            SeenAs::Gone => matches!(shown, None | Some(State::Dead | State::Left)),
        }
    };
    let takes_part = |by: &&usize| world.nodes().get(**by).is_some_and(Node::takes_part);
    let pairs = by.iter().filter(takes_part).flat_map(|&by| of.iter().map(move |&of| (by, of)));
    let mut wrong = pairs.filter(|(by, of)| by != of && !is_right(*by, *of));
    let (by, of) = wrong.next()?;
    let others = wrong.count();
    Some(format!(
        "at {} node {by} does not see {of} as {:?}, and {others} more",
        seen.at, seen.state
    ))
}
