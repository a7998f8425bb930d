//! What is asked of a mesh: the nine scenarios, and the requests of each.
//!
//! Owns the shapes of the meshes, the service times and the arrivals. The requests are a function
//! of scenario, count and seed alone, so that every policy meets the same ones. Refuses to know
//! who serves them.

use std::time::Duration;

use fastrand::Rng;

/// Requests that a worker serves at the same time, and the limit it announces.
pub(crate) const SLOTS: u32 = 8;

/// A mesh and the work it gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) calls: Calls,
    /// Offered work as a share of what all workers can do.
    pub(crate) load: f64,
    /// The first workers work at a third of the speed of the others, and announce the same limit.
    pub(crate) slow_workers: usize,
    pub(crate) discipline: Discipline,
}

/// Which nodes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Gateways that serve nothing before workers that are asked by nobody.
    Tiers { gateways: usize, workers: usize },
    /// Every node is both.
    Mesh { nodes: usize },
}

/// How long a request takes on an idle worker of full speed: log-normal, cut at both ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calls {
    /// Runs of a language model: median 2 s, 0.1 to 60 s.
    Long,
    /// Tools and caches: median 50 ms, 2 ms to 3 s.
    Short,
}

/// What a worker does with more requests than slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discipline {
    /// They wait, first come first served.
    Slots,
    /// All share its speed, as in the batch of a model server.
    Sharing,
}

/// One request of a client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// When it reaches its gateway.
    pub(crate) at: Duration,
    pub(crate) gateway: usize,
    /// Service time on an idle worker of full speed.
    pub(crate) demand: Duration,
}

const A: Scenario = Scenario {
    name: "A",
    shape: Shape::Tiers { gateways: 8, workers: 16 },
    calls: Calls::Long,
    load: 0.8,
    slow_workers: 0,
    discipline: Discipline::Slots,
};

const M: Scenario = Scenario { name: "M", shape: Shape::Mesh { nodes: 16 }, ..A };

/// All of them.
pub(crate) const SCENARIOS: [Scenario; 9] = [
    A,
    Scenario { name: "A95", load: 0.95, ..A },
    Scenario { name: "B", calls: Calls::Short, ..A },
    Scenario { name: "B3", calls: Calls::Short, shape: Shape::Mesh { nodes: 3 }, ..A },
    Scenario { name: "C", slow_workers: 4, load: 0.75, ..A },
    Scenario { name: "P", discipline: Discipline::Sharing, ..A },
    Scenario { name: "M3", shape: Shape::Mesh { nodes: 3 }, ..M },
    M,
    Scenario { name: "M64", shape: Shape::Mesh { nodes: 64 }, ..M },
];

impl Scenario {
    /// The scenario of this name.
    pub(crate) fn named(name: &str) -> Self {
        *SCENARIOS.iter().find(|scenario| scenario.name == name).expect("one of the nine")
    }

    /// Share of the speed of a full worker.
    pub(crate) const fn speed(&self, worker: usize) -> f64 {
        if worker < self.slow_workers { 1.0 / 3.0 } else { 1.0 }
    }

    /// Requests each second that make up the load.
    pub(crate) fn rate_per_s(&self) -> f64 {
        let speeds: f64 = (0..self.shape.workers()).map(|worker| self.speed(worker)).sum();
        self.load * speeds * f64::from(SLOTS) / self.calls.mean_s()
    }

    /// The first `count` requests, in order of time.
    pub(crate) fn requests(&self, count: usize, seed: u64) -> Vec<Request> {
        let mut random = Rng::with_seed(seed);
        let rate_per_s = self.rate_per_s();
        let mut at_s = 0.0;
        (0..count)
            .map(|_| {
                // 1 - u is never 0, of which there is no logarithm.
                at_s -= (1.0 - random.f64()).ln() / rate_per_s;
                Request {
                    at: Duration::from_secs_f64(at_s),
                    gateway: random.usize(0..self.shape.gateways()),
                    demand: Duration::from_secs_f64(self.calls.seconds_at(normal(&mut random))),
                }
            })
            .collect()
    }
}

impl Shape {
    pub(crate) const fn gateways(self) -> usize {
        match self {
            Self::Tiers { gateways, .. } => gateways,
            Self::Mesh { nodes } => nodes,
        }
    }

    pub(crate) const fn workers(self) -> usize {
        match self {
            Self::Tiers { workers, .. } => workers,
            Self::Mesh { nodes } => nodes,
        }
    }

    /// All that gossip, each counted once. Workers come first: node `i` is worker `i`.
    pub(crate) const fn nodes(self) -> usize {
        match self {
            Self::Tiers { gateways, workers } => gateways + workers,
            Self::Mesh { nodes } => nodes,
        }
    }

    /// The node that this gateway is.
    pub(crate) const fn node_of_gateway(self, gateway: usize) -> usize {
        match self {
            Self::Tiers { workers, .. } => workers + gateway,
            Self::Mesh { .. } => gateway,
        }
    }

    /// The gateway that this node is, if it is one.
    pub(crate) fn gateway_of_node(self, node: usize) -> Option<usize> {
        match self {
            Self::Tiers { workers, .. } => node.checked_sub(workers),
            Self::Mesh { .. } => Some(node),
        }
    }

    /// Whether requests to this gateway can be served without leaving it.
    pub(crate) fn is_here(self, gateway: usize, worker: usize) -> bool {
        self.node_of_gateway(gateway) == worker
    }
}

/// Standard deviation of the logarithm of the service time.
const SIGMA: f64 = 1.2;

impl Calls {
    /// Median, least and greatest service time.
    const fn seconds(self) -> (f64, f64, f64) {
        match self {
            Self::Long => (2.0, 0.1, 60.0),
            Self::Short => (0.05, 0.002, 3.0),
        }
    }

    /// The service time at a value of the standard normal distribution.
    fn seconds_at(self, normal: f64) -> f64 {
        let (median, least, greatest) = self.seconds();
        (median * (SIGMA * normal).exp()).clamp(least, greatest)
    }

    /// The mean after the cut, by summing over the density: about 4.0 s and 0.10 s.
    pub(crate) fn mean_s(self) -> f64 {
        const STEPS: i32 = 16_000;
        let (mut sum, mut weights) = (0.0, 0.0);
        for step in -STEPS / 2..=STEPS / 2 {
            let z = f64::from(step) / 1_000.0;
            let weight = (-z * z / 2.0).exp();
            sum += weight * self.seconds_at(z);
            weights += weight;
        }
        sum / weights
    }
}

/// A value of the standard normal distribution (Box and Muller 1958).
fn normal(random: &mut Rng) -> f64 {
    let radius = (-2.0 * (1.0 - random.f64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * random.f64()).cos()
}
