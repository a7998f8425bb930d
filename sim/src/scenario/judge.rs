//! What was expected of a scenario and did not hold; and its figures.

use std::fmt;
use std::time::Duration;

use super::run::CALM_LIMIT;
use super::{Outcome, RuleName, Scenario, Span};
use crate::faults::Faults;

/// What came of a scenario over all its seeds.
#[derive(Debug, Clone)]
pub struct Report {
    /// Played under which rule.
    pub rule: RuleName,
    /// Runs.
    pub runs: usize,
    /// How long it took until all knew of each crash, sorted.
    pub crashes: Vec<Duration>,
    /// Healthy nodes declared dead, in all runs.
    pub healthy_deaths: usize,
    /// Nodes with a fault of their own declared dead, in all runs.
    pub faulty_deaths: usize,
    /// Times that a node that was not dead counted as dead in one view alone, in all runs.
    pub given_up: u64,
    /// Views equal after the last event, the longest; `None` if not expected or not reached.
    pub equal_after: Option<Duration>,
    /// Views equal after all was calmed, the longest; `None` if not reached in some run.
    pub calm_after: Option<Duration>,
    /// Datagrams by each node and second.
    pub datagrams: f64,
    /// Bytes by each node and second.
    pub bytes: f64,
    /// What is expected whatever the file and the rule, and did not hold.
    pub unsafe_runs: Vec<Missed>,
    /// What the file expects of its rule, and did not hold.
    pub missed: Vec<Missed>,
}

/// An expectation that did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// Its key in the file; `violations`, `calm` or `faults` for those that every file has.
    pub key: &'static str,
    /// The seed, if it was one run.
    pub seed: Option<u64>,
    /// What was found instead.
    pub found: String,
}

impl fmt::Display for Missed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(seed) = self.seed {
            write!(formatter, "SEED={seed}: ")?;
        }
        write!(formatter, "{}: {}", self.key, self.found)
    }
}

/// Compares what came of a scenario with what it expects.
#[must_use]
pub fn judge(scenario: &Scenario, rule: RuleName, outcomes: &[Outcome]) -> Report {
    let mut crashes: Vec<Duration> = outcomes.iter().flat_map(|one| one.crashes.clone()).collect();
    crashes.sort_unstable();
    let longest = |pick: fn(&Outcome) -> Option<Duration>| {
        outcomes.iter().map(pick).collect::<Option<Vec<_>>>()?.into_iter().max()
    };
    let mean = |pick: fn(&Outcome) -> f64| {
        outcomes.iter().map(pick).sum::<f64>() / outcomes.len().max(1) as f64
    };
    let mut report = Report {
        rule,
        runs: outcomes.len(),
        crashes,
        healthy_deaths: outcomes.iter().map(|one| one.healthy_deaths).sum(),
        faulty_deaths: outcomes.iter().map(|one| one.faulty_deaths).sum(),
        given_up: outcomes.iter().map(|one| one.given_up).sum(),
        equal_after: longest(|one| one.equal_after),
        calm_after: longest(|one| one.calm_after),
        datagrams: mean(|one| one.datagrams),
        bytes: mean(|one| one.bytes),
        unsafe_runs: Vec::new(),
        missed: Vec::new(),
    };
    report.judge_safety(scenario, outcomes);
    report.judge_expectations(scenario, outcomes);
    report
}

impl Report {
    /// The crash at this place of the sorted ones, 0 to 1.
    #[must_use]
    pub fn crash_at(&self, share: f64) -> Option<Duration> {
        let last = self.crashes.len().checked_sub(1)?;
        self.crashes.get((last as f64 * share).round() as usize).copied()
    }

    fn judge_safety(&mut self, scenario: &Scenario, outcomes: &[Outcome]) {
        let missed = |key, seed, found: String| Missed { key, seed, found };
        let mut faults = Faults::default();
        for one in outcomes {
            faults.add(&one.faults);
            if !one.violations.is_empty() {
                let found = format!("{:?}", one.violations);
                self.unsafe_runs.push(missed("violations", Some(one.seed), found));
            }
            if one.calm_after.is_none() {
                let found = format!("views differ although all has been calm for {CALM_LIMIT:?}");
                self.unsafe_runs.push(missed("calm", Some(one.seed), found));
            }
        }
        for name in &scenario.expect.faults {
            if faults.iter().any(|(known, count)| known == name && count == 0) {
                let found = format!("`{name}` did not happen in any run");
                self.unsafe_runs.push(missed("faults", None, found));
            }
        }
    }

    fn judge_expectations(&mut self, scenario: &Scenario, outcomes: &[Outcome]) {
        let expect = &scenario.expect;
        let mut missed = Vec::new();
        let mut miss = |key, seed, found: String| missed.push(Missed { key, seed, found });
        if let (Some(limit), Some(found)) = (expect.crash_known_p99, self.crash_at(0.99))
            && found > limit.0
        {
            miss("crash_known_p99", None, format!("{found:.2?} is more than {limit}"));
        }
        if let Some(limit) = expect.healthy_deaths
            && self.healthy_deaths > limit
        {
            let seeds = outcomes.iter().filter(|one| one.healthy_deaths > 0).map(|one| one.seed);
            let seeds: Vec<u64> = seeds.collect();
            miss("healthy_deaths", None, format!("{} with {seeds:?}", self.healthy_deaths));
        }
        let faulty = self.faulty_deaths as f64 / self.runs.max(1) as f64;
        if expect.faulty_deaths.is_some_and(|limit| faulty > limit) {
            miss("faulty_deaths", None, format!("{faulty:.2} in each run"));
        }
        for one in outcomes {
            let seed = Some(one.seed);
            if let (Some(limit), Some(&longest)) =
                (expect.crash_known_within, one.crashes.iter().max())
                && longest > limit.0
            {
                miss("crash_known_within", seed, format!("{longest:.2?} is more than {limit}"));
            }
            if let (Some(limit), None) = (expect.equal_within, one.equal_after) {
                miss("equal_within", seed, format!("not within {limit}"));
            }
            for wrong in &one.not_seen {
                miss("seen", seed, wrong.clone());
            }
        }
        self.missed = missed;
    }

    /// What must not pass: all that did not hold and is not among the known misses of the file; and
    /// known misses that hold by now.
    #[must_use]
    pub fn problems(&self, scenario: &Scenario) -> Vec<String> {
        let all = || self.unsafe_runs.iter().chain(&self.missed);
        let is_known = |missed: &&Missed| scenario.known_misses.contains_key(missed.key);
        let new = all().filter(|missed| !is_known(missed)).map(ToString::to_string);
        let gone =
            scenario.known_misses.keys().filter(|key| !all().any(|missed| missed.key == **key));
        let gone = gone.map(|key| format!("known_misses: `{key}` holds by now: take it off"));
        new.chain(gone).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}, {} runs", self.rule, self.runs)?;
        if let (Some(p50), Some(p99), Some(max)) =
            (self.crash_at(0.5), self.crash_at(0.99), self.crash_at(1.0))
        {
            let count = self.crashes.len();
            write!(formatter, "; {count} crashes known after {p50:.2?} / {p99:.2?} / {max:.2?}")?;
        }
        write!(formatter, "; declared dead: {} healthy", self.healthy_deaths)?;
        write!(formatter, ", {} faulty", self.faulty_deaths)?;
        if self.given_up > 0 {
            write!(formatter, ", {} in one view alone", self.given_up)?;
        }
        if let Some(after) = self.equal_after {
            write!(formatter, "; equal after {}", Span(after))?;
        }
        if let Some(after) = self.calm_after {
            write!(formatter, "; calm after {}", Span(after))?;
        }
        write!(formatter, "; {:.2} msg/s, {:.0} B/s a node", self.datagrams, self.bytes)
    }
}
