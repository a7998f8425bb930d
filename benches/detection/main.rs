//! How fast a death is known everywhere, how often a healthy member is declared dead, and what that
//! costs: our engine and foca 2.0 on the same simulated network.
//!
//! `cargo bench -p astromesh-sim --bench detection`. 100 members, each protocol with its defaults
//! for a LAN, all known to all at the start; 0.2 to 1 ms of delay and an exponential tail; 0 and
//! 20 % of all datagrams lost. Only datagrams: what a protocol would do over TCP it cannot do here.
//! The figures depend on the seeds alone, not on the machine.

#![expect(clippy::print_stdout, reason = "a table is what it makes")]

mod driver;
mod subjects;

use std::collections::BTreeMap;
use std::time::Duration;

use driver::{Said, Subject, Verdict, World};

const MEMBERS: u32 = 100;
const LOSSES: [f64; 2] = [0.0, 0.2];
const RUNS: u64 = 10;

/// Before anything counts.
const WARM_UP: Duration = Duration::from_secs(30);

/// In which nobody dies; traffic is counted here.
const CALM: Duration = Duration::from_secs(600);

/// Members that die in a run, and the time given to each death.
const DEATHS: u32 = 5;
const TIME_PER_DEATH: Duration = Duration::from_secs(60);

/// What was measured in some runs.
#[derive(Debug, Default)]
struct Figures {
    /// From each death to when the first, and the last, living member knew.
    first: Vec<Duration>,
    last: Vec<Duration>,
    /// Deaths that somebody had not learned in time.
    unknown: u32,
    /// Times that a living member was taken for dead by anybody, and in how many views.
    false_deaths: u64,
    false_views: u64,
    node_hours: f64,
    bytes: u64,
    calm_node_seconds: f64,
    comparisons_wanted: u64,
}

fn main() {
    // What cargo passes on to benches is for criterion.
    println!(
        "{MEMBERS} members, {RUNS} runs of {} s and {DEATHS} deaths\n",
        (CALM + TIME_PER_DEATH * DEATHS).as_secs()
    );
    println!(
        "| loss | protocol | first knows p50 | everywhere p50 | p99 | max | not in {} s | false deaths/node-h | in views/node-h | B/s a node | comparisons wanted |",
        TIME_PER_DEATH.as_secs()
    );
    println!("|---:|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for loss in LOSSES {
        print_row::<subjects::Ours>(loss);
        print_row::<subjects::Foca>(loss);
    }
}

fn print_row<S: Subject>(loss: f64) {
    let mut figures = Figures::default();
    for seed in 0..RUNS {
        run::<S>(loss, seed, &mut figures);
    }
    figures.first.sort_unstable();
    figures.last.sort_unstable();
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let per = |count: u64, unit: f64| count as f64 / unit;
    println!(
        "| {:.0} % | {} | {} | {} | {} | {} | {} | {:.4} | {:.4} | {:.0} | {} |",
        loss * 100.0,
        S::NAME,
        percentile(&figures.first, 50),
        percentile(&figures.last, 50),
        percentile(&figures.last, 99),
        percentile(&figures.last, 100),
        figures.unknown,
        per(figures.false_deaths, figures.node_hours),
        per(figures.false_views, figures.node_hours),
        per(figures.bytes, figures.calm_node_seconds),
        figures.comparisons_wanted,
    );
}

/// One cluster: a calm time, then some deaths.
fn run<S: Subject>(loss: f64, seed: u64, figures: &mut Figures) {
    let mut world = World::<S>::new(MEMBERS, loss, seed);
    let mut rng = fastrand::Rng::with_seed(seed);
    world.run_for(WARM_UP);
    let (bytes, calm_from) = (world.sent_bytes(), world.said().len());
    world.run_for(CALM);
    figures.bytes += world.sent_bytes() - bytes;
    figures.calm_node_seconds += CALM.as_secs_f64() * f64::from(MEMBERS);
    let mut alive: Vec<u32> = (0..MEMBERS).collect();
    let mut killed = Vec::new();
    for _ in 0..DEATHS {
        // Not in step with anybody's period.
        world.run_for(Duration::from_secs(1).mul_f64(rng.f64()));
        let victim = alive.swap_remove(rng.usize(..alive.len()));
        killed.push((victim, world.now(), world.said().len()));
        world.kill(victim);
        world.run_for(TIME_PER_DEATH);
    }
    let said = world.said();
    for &(victim, at, from) in &killed {
        figures.take_death(victim, at, said, from, &alive);
    }
    figures.take_false(&said[calm_from..], &killed);
    figures.node_hours +=
        (CALM + TIME_PER_DEATH * DEATHS).as_secs_f64() * f64::from(MEMBERS) / 3_600.0;
    figures.comparisons_wanted += world.comparisons_wanted();
}

impl Figures {
    /// `said` is all that was said, `from` the place in it of the death; `alive` are those that lived
    /// to the end of the run.
    fn take_death(&mut self, victim: u32, at: Duration, said: &[Said], from: usize, alive: &[u32]) {
        let mut learned: Vec<Duration> = Vec::new();
        let mut is_known = true;
        for &observer in alive {
            let of_it = |said: &&Said| {
                said.observer == observer && said.member == victim && said.at <= at + TIME_PER_DEATH
            };
            let (before, after) = said.split_at(from);
            let first = after.iter().filter(of_it).find(|said| said.verdict == Verdict::Dead);
            learned.extend(first.map(|said| said.at - at));
            // Who took it for dead already, wrongly then, has nothing to learn.
            let latest = after.iter().rfind(of_it).or_else(|| before.iter().rfind(of_it));
            is_known &= latest.is_some_and(|said| said.verdict == Verdict::Dead);
        }
        self.first.extend(learned.iter().min());
        if is_known {
            self.last.extend(learned.iter().max());
        } else {
            self.unknown += 1;
        }
    }

    /// Verdicts on one member that come within this time are one false death.
    const EPISODE: Duration = Duration::from_secs(30);

    fn take_false(&mut self, said: &[Said], killed: &[(u32, Duration, usize)]) {
        let mut last: BTreeMap<u32, Duration> = BTreeMap::new();
        for said in said.iter().filter(|said| said.verdict == Verdict::Dead) {
            let is_true =
                killed.iter().any(|&(victim, at, _)| victim == said.member && at <= said.at);
            if is_true {
                continue;
            }
            self.false_views += 1;
            let before = last.insert(said.member, said.at);
            if before.is_none_or(|before| said.at - before > Self::EPISODE) {
                self.false_deaths += 1;
            }
        }
    }
}

/// Nearest rank of sorted times, in seconds.
fn percentile(sorted: &[Duration], percent: usize) -> String {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted
        .get(rank - 1)
        .map_or_else(|| "-".to_owned(), |time| format!("{:.2} s", time.as_secs_f64()))
}
