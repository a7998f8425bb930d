//! The network between the nodes: how long a datagram takes, and whether it arrives.
//!
//! Owns its own random numbers, so that a change in a node's behaviour does not change the fate of
//! unrelated datagrams more than it must. Refuses to know what a datagram says.

use std::time::Duration;

use astromesh_swim::Instant;

use crate::faults::Faults;

/// What the network does to datagrams.
#[derive(Debug, Clone, PartialEq)]
pub struct NetworkConfig {
    /// The shortest way. 200 us.
    pub delay_min: Duration,
    /// The longest way without jitter; between both each delay is as likely. 1 ms.
    pub delay_max: Duration,
    /// Mean of an exponential delay on top. 150 us.
    pub jitter_mean: Duration,
    /// Share of datagrams that take the slow way, 0 to 1. 0.005.
    pub slow_share: f64,
    /// What the slow way costs at least on top. 5 ms.
    pub slow_min: Duration,
    /// What the slow way costs at most on top. 30 ms.
    pub slow_max: Duration,
    /// Share of datagrams that are lost, 0 to 1. 0.
    pub loss: f64,
    /// Share of datagrams that arrive twice, 0 to 1. 0.
    pub duplication: f64,
    /// Zones that the nodes are spread over by their index. 1.
    pub zones: usize,
    /// What the way from one zone to another costs on top, in each direction. 0.
    pub zone_delay: Duration,
}

impl Default for NetworkConfig {
    /// A local network.
    fn default() -> Self {
        Self {
            delay_min: Duration::from_micros(200),
            delay_max: Duration::from_millis(1),
            jitter_mean: Duration::from_micros(150),
            slow_share: 0.005,
            slow_min: Duration::from_millis(5),
            slow_max: Duration::from_millis(30),
            loss: 0.0,
            duplication: 0.0,
            zones: 1,
            zone_delay: Duration::ZERO,
        }
    }
}

impl NetworkConfig {
    /// Three sites with 40 ms between them and more jitter.
    #[must_use]
    pub fn wan() -> Self {
        Self {
            jitter_mean: Duration::from_millis(1),
            zones: 3,
            zone_delay: Duration::from_millis(40),
            ..Self::default()
        }
    }
}

/// Which way datagrams of a node get lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Those to it.
    In,
    /// Those from it.
    Out,
}

/// Loss at one node in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct NodeLoss {
    /// Share that is lost while it is on, 0 to 1.
    pub share: f64,
    /// How long it is on, and then off, by turns; always on if the latter is zero.
    pub on: Duration,
    /// See above.
    pub off: Duration,
}

/// Times in which one node loses nearly everything, in both directions (Gilbert, 1960; Elliott,
/// 1963).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bursts {
    /// Mean length of a bad time.
    pub bad_mean: Duration,
    /// Mean length of the good times between.
    pub good_mean: Duration,
    /// Share that is lost in a bad time, 0 to 1.
    pub loss: f64,
}

/// The network. Nodes are named by their index in the world.
#[derive(Debug)]
pub struct Network {
    config: NetworkConfig,
    now: Instant,
    cuts: Vec<Cut>,
    links: Vec<Link>,
    flows: Vec<Flow>,
    rng: fastrand::Rng,
    faults: Faults,
}

/// Nothing passes from one set of nodes to the other.
#[derive(Debug)]
struct Cut {
    from: Set,
    to: Set,
}

/// What is wrong with the link of one node.
#[derive(Debug, Default)]
struct Link {
    inward: NodeLoss,
    outward: NodeLoss,
    /// Since when `inward` and `outward` are as they are.
    since: Instant,
    bursts: Option<Gilbert>,
    /// Until when what happens to this node may be the consequence of a fault that is over.
    faulty_until: Instant,
}

#[derive(Debug)]
struct Gilbert {
    bursts: Bursts,
    is_bad: bool,
    until: Instant,
}

/// When the last datagram of some pair of nodes arrives.
#[derive(Debug, Clone, Copy, Default)]
struct Flow {
    from: u32,
    to: u32,
    arrives: u64,
}

/// A set of nodes.
#[derive(Debug, Default)]
struct Set(Vec<u64>);

impl Network {
    /// A network without cuts.
    #[must_use]
    pub fn new(config: NetworkConfig, seed: u64) -> Self {
        Self {
            config,
            now: Instant::default(),
            cuts: Vec::new(),
            links: Vec::new(),
            flows: vec![Flow::default(); FLOWS],
            rng: fastrand::Rng::with_seed(seed),
            faults: Faults::default(),
        }
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
        for cut in std::mem::take(&mut self.cuts) {
            for node in cut.from.iter().chain(cut.to.iter()) {
                self.link_mut(node).faulty_until = self.now + FAULT_MEMORY;
            }
        }
    }

    /// Changes the share of datagrams that are lost.
    pub const fn set_loss(&mut self, loss: f64) {
        self.config.loss = loss;
    }

    /// Changes the share of datagrams that arrive twice.
    pub const fn set_duplication(&mut self, duplication: f64) {
        self.config.duplication = duplication;
    }

    /// From now on datagrams get lost at one node in one direction.
    pub fn set_node_loss(&mut self, node: usize, direction: Direction, loss: NodeLoss) {
        let now = self.now;
        let link = self.link_mut(node);
        link.since = now;
        match direction {
            Direction::In => link.inward = loss,
            Direction::Out => link.outward = loss,
        }
    }

    /// From now on a node has bad times.
    pub fn set_bursts(&mut self, node: usize, bursts: Bursts) {
        let until = self.now + exponential(&mut self.rng, bursts.good_mean);
        self.link_mut(node).bursts = Some(Gilbert { bursts, is_bad: false, until });
    }

    /// Takes everything away that is wrong with single nodes.
    pub fn mend_nodes(&mut self) {
        let until = self.now + FAULT_MEMORY;
        for link in &mut self.links {
            if link.is_faulty() {
                *link = Link { faulty_until: until, ..Link::default() };
            }
        }
    }

    /// Whether a cut stops what goes from one node to another.
    #[must_use]
    pub fn passes(&self, from: usize, to: usize) -> bool {
        !self.cuts.iter().any(|cut| cut.from.contains(from) && cut.to.contains(to))
    }

    /// Whether something is wrong with the link of this node, or was until just now. Loss that meets
    /// all is no fault of one.
    #[must_use]
    pub fn is_faulty(&self, node: usize) -> bool {
        let is_cut = |cut: &Cut| cut.from.contains(node) || cut.to.contains(node);
        self.links.get(node).is_some_and(|link| link.is_faulty() || self.now < link.faulty_until)
            || self.cuts.iter().any(is_cut)
    }

    /// What it did to datagrams so far.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The world's clock moved.
    pub(crate) const fn set_now(&mut self, now: Instant) {
        self.now = now;
    }

    /// The delays after which the copies of a datagram arrive: none, one or two.
    pub(crate) fn deliveries(
        &mut self,
        from: usize,
        to: usize,
    ) -> impl Iterator<Item = Duration> + use<> {
        let first = (!self.is_lost(from, to)).then(|| self.delay(from, to));
        let is_doubled = first.is_some()
            && self.config.duplication > 0.0
            && self.rng.f64() < self.config.duplication;
        let second = is_doubled.then(|| self.delay(from, to));
        self.faults.duplicated += u64::from(is_doubled);
        first.into_iter().chain(second)
    }

    /// How long a segment of a TCP stream takes, with what is lost sent again (RFC 6298 with the
    /// least timeout that kernels use); `None` when the connection is given up.
    pub(crate) fn stream(&mut self, from: usize, to: usize) -> Option<Duration> {
        let mut waited = Duration::ZERO;
        for attempt in 0..STREAM_ATTEMPTS_MAX {
            // The acknowledgement must come back as well.
            if !self.is_lost(from, to) && !self.is_lost(to, from) {
                return Some(waited + self.delay(from, to));
            }
            waited += STREAM_TIMEOUT * 2_u32.pow(attempt);
        }
        self.faults.exchanges_failed += 1;
        None
    }

    fn is_lost(&mut self, from: usize, to: usize) -> bool {
        if !self.passes(from, to) {
            self.faults.cut += 1;
            return true;
        }
        // Most worlds have no faults of single nodes.
        if !self.links.is_empty() {
            let now = self.now;
            let share =
                |link: Option<&Link>, direction| link.map_or(0.0, |l| l.loss(now, direction));
            let outward = share(self.links.get(from), Direction::Out);
            let inward = share(self.links.get(to), Direction::In);
            if self.draw(outward) || self.draw(inward) {
                self.faults.lost_one_way += 1;
                return true;
            }
            let bursts = [self.burst_loss(from), self.burst_loss(to)];
            if bursts.into_iter().any(|share| self.draw(share)) {
                self.faults.lost_in_burst += 1;
                return true;
            }
        }
        let is_lost = self.draw(self.config.loss);
        self.faults.lost += u64::from(is_lost);
        is_lost
    }

    /// Whether what happens with this probability does.
    fn draw(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.f64() < share
    }

    /// The share that a node loses at present in its bad times.
    fn burst_loss(&mut self, node: usize) -> f64 {
        let (now, rng) = (self.now, &mut self.rng);
        let Some(gilbert) = self.links.get_mut(node).and_then(|link| link.bursts.as_mut()) else {
            return 0.0;
        };
        while gilbert.until <= now {
            gilbert.is_bad = !gilbert.is_bad;
            let Bursts { bad_mean, good_mean, .. } = gilbert.bursts;
            let mean = if gilbert.is_bad { bad_mean } else { good_mean };
            gilbert.until = gilbert.until + exponential(rng, mean);
        }
        if gilbert.is_bad { gilbert.bursts.loss } else { 0.0 }
    }

    fn delay(&mut self, from: usize, to: usize) -> Duration {
        let config = &self.config;
        let mut delay = uniform(&mut self.rng, config.delay_min, config.delay_max);
        if !config.jitter_mean.is_zero() {
            delay += exponential(&mut self.rng, config.jitter_mean);
        }
        if config.slow_share > 0.0 && self.rng.f64() < config.slow_share {
            delay += uniform(&mut self.rng, config.slow_min, config.slow_max);
            self.faults.delayed_long += 1;
        }
        if config.zones > 1 && from % config.zones != to % config.zones {
            delay += config.zone_delay;
            self.faults.crossed_zones += 1;
        }
        self.note_arrival(from, to, (self.now + delay).as_micros());
        delay
    }

    /// Sees whether this datagram overtakes the one before it on its way.
    fn note_arrival(&mut self, from: usize, to: usize, arrives: u64) {
        let place = (from.wrapping_mul(31).wrapping_add(to)) % FLOWS;
        let (from, to) = (from as u32, to as u32);
        if let Some(flow) = self.flows.get_mut(place) {
            let is_same = (flow.from, flow.to) == (from, to);
            self.faults.reordered += u64::from(is_same && arrives < flow.arrives);
            let arrives = if is_same { arrives.max(flow.arrives) } else { arrives };
            *flow = Flow { from, to, arrives };
        }
    }

    fn link_mut(&mut self, node: usize) -> &mut Link {
        if self.links.len() <= node {
            self.links.resize_with(node + 1, Link::default);
        }
        &mut self.links[node]
    }
}

impl Link {
    fn loss(&self, now: Instant, direction: Direction) -> f64 {
        let loss = match direction {
            Direction::In => &self.inward,
            Direction::Out => &self.outward,
        };
        if loss.off.is_zero() {
            return loss.share;
        }
        let turn = (loss.on + loss.off).as_micros();
        let is_on = now.since(self.since).as_micros() % turn < loss.on.as_micros();
        if is_on { loss.share } else { 0.0 }
    }

    fn is_faulty(&self) -> bool {
        self.inward.share > 0.0 || self.outward.share > 0.0 || self.bursts.is_some()
    }
}

impl Set {
    fn contains(&self, node: usize) -> bool {
        self.0.get(node / 64).is_some_and(|word| word & (1 << (node % 64)) != 0)
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        (0..self.0.len() * 64).filter(|&node| self.contains(node))
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<I: IntoIterator<Item = usize>>(nodes: I) -> Self {
        let mut words = Vec::new();
        for node in nodes {
            if words.len() <= node / 64 {
                words.resize(node / 64 + 1, 0);
            }
            words[node / 64] |= 1 << (node % 64);
        }
        Self(words)
    }
}

/// A duration between two, each as likely.
pub(crate) fn uniform(rng: &mut fastrand::Rng, min: Duration, max: Duration) -> Duration {
    let (min, max) = (min.as_micros() as u64, max.as_micros() as u64);
    Duration::from_micros(if min < max { rng.u64(min..=max) } else { min })
}

/// A duration from the exponential distribution with this mean.
fn exponential(rng: &mut fastrand::Rng, mean: Duration) -> Duration {
    Duration::from_micros((-(1.0 - rng.f64()).ln() * mean.as_micros() as f64) as u64)
}

/// How long what happens to a node may be the consequence of a fault that is over: above the
/// longest time from a first failed probe to a death.
pub const FAULT_MEMORY: Duration = Duration::from_secs(20);

const FLOWS: usize = 4_096;
const STREAM_TIMEOUT: Duration = Duration::from_millis(200);
const STREAM_ATTEMPTS_MAX: u32 = 5;
