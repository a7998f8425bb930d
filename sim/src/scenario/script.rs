//! A scenario file and a seed to single deeds, each with its time.
//!
//! Owns how turns, standstills and random nodes are drawn. Refuses to do anything to a world.

use std::time::Duration;

use super::nodes::Drawn;
use super::{Action, Nodes, Scenario, Seen, Span, TimedEvent, WayName};
use crate::network::{Bursts, Direction, NodeLoss, uniform};
use crate::node::Pace;
use crate::world::World;

/// One thing done to the world.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Deed {
    Crash(usize),
    Restart(usize),
    RestartAnew(usize),
    Join(usize),
    Leave(usize),
    Pause(usize),
    Resume(usize),
    CutOneWay(Vec<usize>, Vec<usize>),
    Heal,
    Loss(f64),
    Duplicate(f64),
    NodeLoss(usize, Direction, NodeLoss),
    Bursts(usize, Bursts),
    Pace(usize, Pace),
    Jump(usize, Duration),
    Drift(usize, i64),
    Calm,
    /// Not a deed but a look: the index of an expectation, observers, subjects.
    Look(usize, Vec<usize>, Vec<usize>),
}

/// What happens when, for one seed.
#[derive(Debug)]
pub(super) struct Script {
    /// In the order of time.
    pub(super) deeds: Vec<(Duration, Deed)>,
    /// When the last event has had its effect.
    pub(super) last: Duration,
}

impl Script {
    pub(super) fn new(scenario: &Scenario, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let drawn = Drawn::new(scenario.nodes, &scenario.groups, &mut rng);
        let mut writer = Writer { nodes: scenario.nodes, drawn, rng, deeds: Vec::new() };
        for TimedEvent { at, action } in &scenario.events {
            writer.write(at.0, action);
        }
        let last = writer.deeds.iter().map(|(at, _)| *at).max().unwrap_or_default();
        for (index, Seen { at, by, of, .. }) in scenario.expect.seen.iter().enumerate() {
            let (by, of) = (writer.pick(by), writer.pick(of));
            writer.deeds.push((at.0, Deed::Look(index, by, of)));
        }
        // Stable: what is written first comes first.
        writer.deeds.sort_by_key(|(at, _)| *at);
        Self { deeds: writer.deeds, last }
    }
}

struct Writer {
    nodes: usize,
    drawn: Drawn,
    rng: fastrand::Rng,
    deeds: Vec<(Duration, Deed)>,
}

impl Writer {
    fn pick(&mut self, wanted: &Nodes) -> Vec<usize> {
        self.drawn.of(wanted, &mut self.rng)
    }

    fn each(&mut self, at: Duration, nodes: &Nodes, deed: impl Fn(usize) -> Deed) {
        for node in self.pick(nodes) {
            self.deeds.push((at, deed(node)));
        }
    }

    fn write(&mut self, at: Duration, action: &Action) {
        match action {
            Action::Crash(nodes) => self.each(at, nodes, Deed::Crash),
            Action::Restart(nodes) => self.each(at, nodes, Deed::Restart),
            Action::RestartAnew(nodes) => self.each(at, nodes, Deed::RestartAnew),
            Action::Leave(nodes) => self.each(at, nodes, Deed::Leave),
            Action::Pause(nodes) => self.each(at, nodes, Deed::Pause),
            Action::Resume(nodes) => self.each(at, nodes, Deed::Resume),
            Action::Join(count) => self.deeds.push((at, Deed::Join(*count))),
            Action::Heal => self.deeds.push((at, Deed::Heal)),
            Action::Calm => self.deeds.push((at, Deed::Calm)),
            Action::Loss(share) => self.deeds.push((at, Deed::Loss(*share))),
            Action::Duplicate(share) => self.deeds.push((at, Deed::Duplicate(*share))),
            Action::Cut { from, to } => self.cut(at, from, to.as_ref(), Ways::Both),
            Action::CutOneWay { from, to } => self.cut(at, from, to.as_ref(), Ways::One),
            Action::Cycle { nodes, still, run, lasts } => {
                self.cycle(at, nodes, still.0, run.0, at + lasts.0);
            }
            Action::Stall { nodes, min, max, every, lasts } => {
                self.stall(at, nodes, (min.0, max.0), every.0, at + lasts.0);
            }
            Action::Roll { nodes, down, every } => {
                let mut at = at;
                for node in self.pick(nodes) {
                    self.deeds.push((at, Deed::Crash(node)));
                    self.deeds.push((at + down.0, Deed::Restart(node)));
                    at += every.0;
                }
            }
            Action::OneWayLoss { nodes, direction, share, on, off } => {
                let loss = NodeLoss { share: *share, on: on.0, off: off.0 };
                let direction = match direction {
                    WayName::In => Direction::In,
                    WayName::Out => Direction::Out,
                };
                self.each(at, nodes, |node| Deed::NodeLoss(node, direction, loss));
            }
            Action::Bursts { nodes, bad, good, share } => {
                let bursts = Bursts { bad_mean: bad.0, good_mean: good.0, loss: *share };
                self.each(at, nodes, |node| Deed::Bursts(node, bursts));
            }
            Action::Starve { nodes, min, max, redraw } => {
                let pace = Pace::Starved { min: min.0, max: max.0, redraw: redraw.0 };
                self.each(at, nodes, |node| Deed::Pace(node, pace));
            }
            Action::Slow { nodes, every } => {
                self.each(at, nodes, |node| Deed::Pace(node, Pace::Slow(every.0)));
            }
            Action::Jump { nodes, by: Span(by) } => {
                self.each(at, nodes, |node| Deed::Jump(node, *by));
            }
            Action::Drift { nodes, ppm } => self.each(at, nodes, |node| Deed::Drift(node, *ppm)),
        }
    }

    fn cut(&mut self, at: Duration, from: &Nodes, to: Option<&Nodes>, ways: Ways) {
        let from = self.pick(from);
        let to = match to {
            Some(to) => self.pick(to),
            None => (0..self.nodes).filter(|node| !from.contains(node)).collect(),
        };
        if ways == Ways::Both {
            self.deeds.push((at, Deed::CutOneWay(to.clone(), from.clone())));
        }
        self.deeds.push((at, Deed::CutOneWay(from, to)));
    }

    fn cycle(
        &mut self,
        at: Duration,
        nodes: &Nodes,
        still: Duration,
        run: Duration,
        end: Duration,
    ) {
        for node in self.pick(nodes) {
            let mut at = at + uniform(&mut self.rng, Duration::ZERO, still + run);
            while at < end {
                self.deeds.push((at, Deed::Pause(node)));
                self.deeds.push((at + still, Deed::Resume(node)));
                at += still + run;
            }
        }
    }

    fn stall(
        &mut self,
        at: Duration,
        nodes: &Nodes,
        (min, max): (Duration, Duration),
        every: Duration,
        end: Duration,
    ) {
        for node in self.pick(nodes) {
            let mut at = at;
            loop {
                at += every.mul_f64(-(1.0 - self.rng.f64()).ln());
                let resume = at + uniform(&mut self.rng, min, max);
                if resume > end {
                    break;
                }
                self.deeds.push((at, Deed::Pause(node)));
                self.deeds.push((resume, Deed::Resume(node)));
                at = resume;
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ways {
    One,
    Both,
}

impl Deed {
    /// Does it; looks are not for here.
    pub(super) fn apply(self, world: &mut World) {
        match self {
            Self::Crash(node) => world.crash(node),
            Self::Restart(node) => world.start(node),
            Self::RestartAnew(node) => world.start_anew(node),
            Self::Join(count) => {
                let first = world.nodes().len();
                world.add(count);
                for node in first..first + count {
                    world.start(node);
                }
            }
            Self::Leave(node) => world.leave(node),
            Self::Pause(node) => world.pause(node),
            Self::Resume(node) => world.resume(node),
            Self::CutOneWay(from, to) => world.network_mut().cut_one_way(from, to),
            Self::Heal => world.network_mut().heal(),
            Self::Loss(share) => world.network_mut().set_loss(share),
            Self::Duplicate(share) => world.network_mut().set_duplication(share),
            Self::NodeLoss(node, direction, loss) => {
                world.network_mut().set_node_loss(node, direction, loss);
            }
            Self::Bursts(node, bursts) => world.network_mut().set_bursts(node, bursts),
            Self::Pace(node, pace) => world.set_pace(node, pace),
            Self::Jump(node, by) => world.jump(node, by),
            Self::Drift(node, ppm) => world.drift(node, ppm),
            Self::Calm => world.calm(),
            Self::Look(..) => {}
        }
    }
}
