//! A planned mesh, played through: what its settings promise for its size and its network.
//!
//! A run starts all nodes but one without loss and waits until all views are equal. Then, under the
//! planned loss: the last node joins; nothing happens for a while; some nodes crash at once; some
//! stand still for a while; the mesh is cut in two halves and healed. Owns this story and what is
//! measured in it. Refuses to know the world's inside or to print.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use astromesh_swim::{Change, Config, Instant};
use astromesh_wire::State;

use crate::network::NetworkConfig;
use crate::report::{Report, Spread};
use crate::watch::Watch;
use crate::world::{OBSERVATIONS_MAX, World, WorldConfig};

/// What to play.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Nodes of the mesh, at least 2.
    pub nodes: usize,
    /// Share of datagrams that are lost, 0 to 1.
    pub loss: f64,
    /// Nodes that crash at once. At least one node lives on, two if there is a partition.
    pub kill: usize,
    /// Nodes that stand still, after the crash.
    pub pause: Option<Pause>,
    /// How long the two halves are cut from each other, after the pause.
    pub partition: Option<Duration>,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// How often to play it, each time with other random numbers.
    pub runs: u32,
    /// How long nothing happens.
    pub idle: Duration,
    /// Settings of every engine.
    pub engine: Config,
}

/// Some nodes stand still at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// How many.
    pub count: usize,
    /// How long.
    pub length: Duration,
}

/// What a run is about at the moment, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// All nodes but one find each other.
    Start,
    /// The last node joins.
    Join,
    /// Nothing happens.
    Idle,
    /// Nodes have crashed.
    Kill,
    /// Nodes stand still, or have just gone on.
    Pause,
    /// The halves are cut from each other.
    Partition,
    /// The cut has ended.
    Heal,
}

/// How far a plan has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which run, from 1.
    pub run: u32,
    /// What it is about.
    pub phase: Phase,
    /// Phases that have ended, over all runs.
    pub phases_done: u32,
    /// The present of this run.
    pub at: Duration,
}

/// Why a plan has no figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanError {
    /// Without any fault the views did not become equal within [`CONVERGENCE_MAX`].
    NeverSettled,
    /// The engines reported [`OBSERVATIONS_MAX`] events at once, so that some may be missing.
    TooManyEvents,
}

impl fmt::Display for PlanError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverSettled => write!(
                formatter,
                "the nodes did not find each other within {} s",
                CONVERGENCE_MAX.as_secs()
            ),
            Self::TooManyEvents => {
                write!(formatter, "more than {OBSERVATIONS_MAX} things happen at once")
            }
        }
    }
}

impl std::error::Error for PlanError {}

/// How long a death is waited for. Observers agree, or their accuser gives up on them, sooner with
/// whatever floor can be set.
pub const DETECTION_MAX: Duration = Duration::from_secs(180);

/// How long equal views are waited for.
pub const CONVERGENCE_MAX: Duration = Duration::from_secs(300);

/// Of IPv4 and UDP, in bytes a datagram.
const HEADER_BYTES: u64 = 28;

/// How long the news of a start, a join or a pause is given to die down, at least and at most.
/// After the start of 1,000 nodes it takes about a minute; under heavy loss there is always some.
const CALM: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(120));

/// How often progress is told and events are read. Figures are exact to the event all the same.
const SLICE: Duration = Duration::from_millis(100);

/// A crash may come at any moment of a protocol period.
const CRASH_SPREAD: Duration = Duration::from_secs(1);

impl Plan {
    /// The phases of each run.
    pub fn phases(&self) -> impl Iterator<Item = Phase> {
        let kill = (self.kill > 0).then_some(Phase::Kill);
        let pause = self.pause.map(|_| Phase::Pause);
        let partition = self.partition.map(|_| [Phase::Partition, Phase::Heal]);
        [Phase::Start, Phase::Join, Phase::Idle]
            .into_iter()
            .chain(kill)
            .chain(pause)
            .chain(partition.into_iter().flatten())
    }
}

/// Plays a plan. Equal plans give equal reports.
///
/// # Errors
/// See [`PlanError`]; there are no figures then.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(Progress)) -> Result<Report, PlanError> {
    let mut seeds = fastrand::Rng::with_seed(plan.seed);
    let mut report = Report::default();
    let mut traffic = 0.0;
    let mut phases_done = 0;
    for number in 1..=plan.runs {
        let mut run = Run::new(plan, number, seeds.u64(..), phases_done, progress);
        for phase in plan.phases() {
            run.phase = phase;
            run.play(phase, &mut report, &mut traffic)?;
            run.phases_done += 1;
        }
        phases_done = run.phases_done;
        report.false_deaths += run.watch.false_deaths;
        report.false_death_views += run.watch.false_death_views;
        report.simulated += run.elapsed();
    }
    report.bytes_per_s_per_node = traffic / f64::from(plan.runs.max(1));
    Ok(report)
}

/// One run.
struct Run<'a> {
    plan: &'a Plan,
    number: u32,
    phase: Phase,
    phases_done: u32,
    world: World,
    watch: Watch,
    rng: fastrand::Rng,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Run<'a> {
    fn new(
        plan: &'a Plan,
        number: u32,
        seed: u64,
        phases_done: u32,
        progress: &'a mut dyn FnMut(Progress),
    ) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let network = NetworkConfig::default();
        let engine = plan.engine.clone();
        let mut world = World::new(WorldConfig { seed: rng.u64(..), network, engine });
        world.add(plan.nodes);
        let watch = Watch::new(&world);
        let phase = Phase::Start;
        Self { plan, number, phase, phases_done, world, watch, rng, progress }
    }

    fn play(
        &mut self,
        phase: Phase,
        report: &mut Report,
        traffic: &mut f64,
    ) -> Result<(), PlanError> {
        match phase {
            Phase::Start => self.start()?,
            Phase::Join => report.join.merge(&self.join()?),
            Phase::Idle => *traffic += self.idle()?,
            Phase::Kill => {
                let (everywhere, views) = self.kill()?;
                report.detection.merge(&everywhere);
                report.detection_views.merge(&views);
            }
            Phase::Pause => self.pause()?,
            Phase::Partition => self.partition()?,
            Phase::Heal => report.heal.merge(&self.heal()?),
        }
        Ok(())
    }

    /// All nodes but the last find each other, through the first or the last of them.
    fn start(&mut self) -> Result<(), PlanError> {
        let count = self.plan.nodes.saturating_sub(1);
        self.world.set_seeds([0, count.saturating_sub(1)]);
        for node in 0..count {
            self.world.start(node);
        }
        self.pass_until_equal()?.ok_or(PlanError::NeverSettled)?;
        self.calm_down()?;
        self.world.network_mut().set_loss(self.plan.loss);
        Ok(())
    }

    fn join(&mut self) -> Result<Spread, PlanError> {
        let newcomer = self.plan.nodes.saturating_sub(1);
        let others: BTreeSet<usize> = (0..newcomer).collect();
        let of_others = others.clone().into_iter().map(|other| (other, [newcomer].into()));
        let pairs = of_others.chain([(newcomer, others)]);
        self.watch.expect(self.world.now(), Change::Joined, pairs);
        self.world.start(newcomer);
        self.pass_until_known(CONVERGENCE_MAX)?;
        let (everywhere, _) = self.watch.give_up();
        let mut join = Spread::default();
        match everywhere.max() {
            Some(last) => join.add(last),
            None => join.add_endless(1),
        }
        self.calm_down()?;
        Ok(join)
    }

    /// Bytes that a node sends a second.
    fn idle(&mut self) -> Result<f64, PlanError> {
        let before = self.bytes_sent();
        self.pass(self.plan.idle)?;
        let bytes = self.bytes_sent().saturating_sub(before);
        // Both are far below 2^53.
        Ok(bytes as f64 / self.plan.nodes as f64 / self.plan.idle.as_secs_f64())
    }

    fn bytes_sent(&self) -> u64 {
        let stats = self.world.nodes().iter().map(|node| node.engine.stats());
        stats.map(|stats| stats.bytes_sent + HEADER_BYTES * stats.datagrams_sent).sum()
    }

    fn kill(&mut self) -> Result<(Spread, Spread), PlanError> {
        let moment = CRASH_SPREAD.mul_f64(self.rng.f64());
        self.pass(moment)?;
        let victims = self.choose(self.plan.kill);
        for &victim in &victims {
            self.world.crash(victim);
        }
        self.watch.crashed(&victims);
        let survivors = self.running();
        let nodes = self.world.nodes();
        let unaware = victims.iter().filter_map(|&victim| {
            let id = nodes.get(victim)?.id();
            // Who held it dead already, falsely until now, learns nothing.
            let holds_dead = |observer: usize| {
                let member = nodes.get(observer).and_then(|node| node.engine.member(id));
                member.is_none_or(|member| member.shown_state() == State::Dead)
            };
            let views = survivors.iter().copied().filter(|&observer| !holds_dead(observer));
            Some((victim, views.collect()))
        });
        self.watch.expect(self.world.now(), Change::Dead, unaware);
        self.pass_until_known(DETECTION_MAX)?;
        Ok(self.watch.give_up())
    }

    fn pause(&mut self) -> Result<(), PlanError> {
        let Some(Pause { count, length }) = self.plan.pause else { return Ok(()) };
        let paused = self.choose(count);
        for &node in &paused {
            self.world.pause(node);
        }
        self.pass(length)?;
        for node in paused {
            self.world.resume(node);
        }
        self.calm_down()?;
        // Under heavy loss views may always differ somewhere: then the story goes on all the same.
        self.pass_until_equal().map(|_| ())
    }

    fn partition(&mut self) -> Result<(), PlanError> {
        let Some(length) = self.plan.partition else { return Ok(()) };
        let running = self.running();
        let middle = running.get(running.len() / 2).copied().unwrap_or_default();
        self.world.network_mut().cut(0..middle, middle..self.plan.nodes);
        self.watch.cut(Some(middle));
        self.pass(length)
    }

    fn heal(&mut self) -> Result<Spread, PlanError> {
        self.world.network_mut().heal();
        let mut heal = Spread::default();
        match self.pass_until_equal()? {
            Some(time) => heal.add(time),
            None => heal.add_endless(1),
        }
        self.watch.cut(None);
        Ok(heal)
    }

    /// Some nodes that run, so many that at least one is left.
    fn choose(&mut self, count: usize) -> Vec<usize> {
        let mut running = self.running();
        let count = count.min(running.len().saturating_sub(1));
        self.rng.shuffle(&mut running);
        running.truncate(count);
        running
    }

    fn running(&self) -> Vec<usize> {
        let nodes = self.world.nodes().iter().enumerate();
        nodes.filter(|(_, node)| node.takes_part()).map(|(index, _)| index).collect()
    }

    fn pass(&mut self, duration: Duration) -> Result<(), PlanError> {
        let end = self.world.now() + duration;
        while self.world.now() < end {
            self.world.run_for(SLICE.min(end.since(self.world.now())));
            self.look()?;
        }
        Ok(())
    }

    /// Lets the news die down, so that what comes next is measured alone.
    fn calm_down(&mut self) -> Result<(), PlanError> {
        let (least, most) = CALM;
        let end = self.world.now() + most;
        self.pass(least)?;
        let has_news = |world: &World| {
            world.nodes().iter().any(|node| node.takes_part() && node.engine.has_news())
        };
        while has_news(&self.world) && self.world.now() < end {
            self.pass(SLICE)?;
        }
        Ok(())
    }

    fn pass_until_known(&mut self, limit: Duration) -> Result<(), PlanError> {
        let end = self.world.now() + limit;
        while !self.watch.is_done() && self.world.now() < end {
            self.world.run_for(SLICE);
            self.look()?;
        }
        Ok(())
    }

    /// How long it took until all views were equal; `None` after [`CONVERGENCE_MAX`].
    fn pass_until_equal(&mut self) -> Result<Option<Duration>, PlanError> {
        let start = self.world.now();
        while self.world.now().since(start) < CONVERGENCE_MAX {
            let equal = self.world.run_until(SLICE, World::views_are_equal);
            self.look()?;
            if equal.is_some() {
                return Ok(Some(self.world.now().since(start)));
            }
        }
        Ok(None)
    }

    fn look(&mut self) -> Result<(), PlanError> {
        let observations = self.world.take_observations();
        // That everybody meets everybody is many events, and none of them is measured.
        if self.phase != Phase::Start {
            if observations.len() >= OBSERVATIONS_MAX {
                return Err(PlanError::TooManyEvents);
            }
            self.watch.read(&observations);
        }
        let (run, phase, phases_done) = (self.number, self.phase, self.phases_done);
        let at = self.elapsed();
        (self.progress)(Progress { run, phase, phases_done, at });
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        self.world.now().since(Instant::default())
    }
}
