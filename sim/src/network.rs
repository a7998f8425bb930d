//! The network between the nodes: how long a datagram takes, and whether it arrives.
//!
//! Owns its own random numbers, so that a change in a node's behaviour does not change the fate of
//! unrelated datagrams more than it must. Refuses to know what a datagram says.

use std::collections::BTreeSet;
use std::time::Duration;

/// What the network does to datagrams.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// The shortest way. 200 us.
    pub delay_min: Duration,
    /// The longest way; between both each delay is as likely. 1 ms.
    pub delay_max: Duration,
    /// Share of datagrams that are lost, 0 to 1. 0.
    pub loss: f64,
    /// Share of datagrams that arrive twice, 0 to 1. 0.
    pub duplication: f64,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_micros(200),
            delay_max: Duration::from_millis(1),
            loss: 0.0,
            duplication: 0.0,
        }
    }
}

/// The network. Nodes are named by their index in the world.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    cuts: Vec<Cut>,
    rng: fastrand::Rng,
}

/// Nothing passes from one set of nodes to the other.
#[derive(Debug)]
struct Cut {
    from: BTreeSet<usize>,
    to: BTreeSet<usize>,
}

impl Network {
    /// A network without cuts.
    #[must_use]
    pub fn new(config: NetworkConfig, seed: u64) -> Self {
        Self { config, cuts: Vec::new(), rng: fastrand::Rng::with_seed(seed) }
    }

    /// From now on nothing passes from `from` to `to`; the other direction is untouched.
    pub fn cut_one_way(
        &mut self,
        from: impl IntoIterator<Item = usize>,
        to: impl IntoIterator<Item = usize>,
    ) {
        self.cuts.push(Cut { from: from.into_iter().collect(), to: to.into_iter().collect() });
    }

    /// From now on nothing passes between `left` and `right`.
    pub fn cut(
        &mut self,
        left: impl IntoIterator<Item = usize>,
        right: impl IntoIterator<Item = usize>,
    ) {
        let left: Vec<usize> = left.into_iter().collect();
        let right: Vec<usize> = right.into_iter().collect();
        self.cut_one_way(left.iter().copied(), right.iter().copied());
        self.cut_one_way(right, left);
    }

    /// Takes all cuts away.
    pub fn heal(&mut self) {
        self.cuts.clear();
    }

    /// Changes the share of datagrams that are lost.
    pub const fn set_loss(&mut self, loss: f64) {
        self.config.loss = loss;
    }

    /// Whether anything passes from one node to another.
    #[must_use]
    pub fn passes(&self, from: usize, to: usize) -> bool {
        !self.cuts.iter().any(|cut| cut.from.contains(&from) && cut.to.contains(&to))
    }

    /// The delays after which the copies of a datagram arrive: none, one or two.
    pub fn deliveries(&mut self, from: usize, to: usize) -> impl Iterator<Item = Duration> + use<> {
        let is_lost = !self.passes(from, to) || self.rng.f64() < self.config.loss;
        let is_doubled = self.rng.f64() < self.config.duplication;
        let first = (!is_lost).then(|| self.delay());
        let second = (!is_lost && is_doubled).then(|| self.delay());
        first.into_iter().chain(second)
    }

    fn delay(&mut self) -> Duration {
        let spread = self.config.delay_max.saturating_sub(self.config.delay_min);
        self.config.delay_min + spread.mul_f64(self.rng.f64())
    }
}
