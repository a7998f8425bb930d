//! Scenario files: what happens to a mesh, in YAML, and what is expected of it.
//!
//! Owns the format; `docs/simulator.md` describes it for people. A file says who does what when
//! ([`Action`]), on which network, under which rule of detection; the seed decides the rest. Refuses
//! to read files itself: a test does, and hands over the text.
//!
//! * [`nodes`], [`span`]: which nodes, how long
//! * [`script`]: a file and a seed to single deeds, each with its time
//! * [`run`]: the deeds on a world, and what came of it
//! * `judge`: what was expected and did not hold
//! * [`chaos`]: files made up at random

pub mod chaos;
pub mod judge;
pub mod nodes;
pub mod run;
pub mod script;
pub mod span;

use std::collections::BTreeMap;
use std::time::Duration;

use astromesh_swim::Config;
use astromesh_swim::detector::{DetectorConfig, Rule};
use serde::{Deserialize, Serialize};

pub use judge::{Missed, Report, judge};
pub use nodes::Nodes;
pub use run::{Outcome, play};
pub use span::Span;

use crate::faults::Faults;
use crate::network::NetworkConfig;

/// A scenario file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it is about, in a sentence; what broke, if it was found by chance.
    pub about: String,
    /// Nodes that know each other when it begins.
    pub nodes: usize,
    /// It is played with the seeds 1 to this.
    pub seeds: u64,
    /// How deaths are decided. `default`.
    #[serde(default)]
    pub rule: RuleName,
    /// The network. A local one without loss.
    #[serde(default)]
    pub network: NetworkSpec,
    /// Names for sets of nodes; what is drawn for one group is in no other.
    #[serde(default)]
    pub groups: BTreeMap<String, Nodes>,
    /// What happens, in the order of time.
    pub events: Vec<TimedEvent>,
    /// How long it lasts in all, before everything is calmed.
    pub length: Span,
    /// What must come of it.
    pub expect: Expect,
    /// Expectations that the engine misses at present, by their key, each with what is known of it.
    /// One that holds again must be taken off.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub known_misses: BTreeMap<String, String>,
}

/// How deaths are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleName {
    /// By evidence, at once.
    Fast,
    /// By evidence, not within 2 s.
    #[default]
    Default,
    /// By evidence, not within 8 s.
    Patient,
    /// By a suspicion that runs out.
    Lifeguard,
}

/// The network of a scenario.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkSpec {
    /// Its delays. `lan`.
    #[serde(default)]
    pub profile: Profile,
    /// Share of datagrams that are lost, 0 to 1. 0.
    #[serde(default)]
    pub loss: f64,
    /// Share of datagrams that come twice, 0 to 1. 0.
    #[serde(default)]
    pub duplication: f64,
    /// Zones that the nodes are spread over by their index, if not those of the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zones: Option<usize>,
    /// Delay between two zones, if not that of the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_delay: Option<Span>,
}

/// Delays of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// 0.2 to 1 ms and a little jitter; one datagram of 200 takes 5 to 30 ms longer.
    #[default]
    Lan,
    /// Three zones with 40 ms between them.
    Wan,
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimedEvent {
    /// When, from the beginning.
    pub at: Span,
    /// What.
    #[serde(rename = "do", with = "serde_yaml::with::singleton_map_recursive")]
    pub action: Action,
}

/// What can happen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Nodes are killed.
    Crash(Nodes),
    /// Nodes that are down start under their id.
    Restart(Nodes),
    /// Nodes that are down start under a new id.
    RestartAnew(Nodes),
    /// So many nodes are new; their numbers follow those already there.
    Join(usize),
    /// Nodes say goodbye and end half a second later.
    Leave(Nodes),
    /// Nodes stand still.
    Pause(Nodes),
    /// Nodes go on.
    Resume(Nodes),
    /// Nodes stand still and go on by turns, each at its own phase.
    Cycle {
        /// Which.
        nodes: Nodes,
        /// How long they stand still each time.
        still: Span,
        /// How long they run each time.
        run: Span,
        /// How long all that lasts.
        lasts: Span,
    },
    /// Nodes stand still now and then.
    Stall {
        /// Which.
        nodes: Nodes,
        /// The shortest standstill.
        min: Span,
        /// The longest.
        max: Span,
        /// Mean time between two of a node; exponential.
        every: Span,
        /// How long all that lasts.
        lasts: Span,
    },
    /// Nodes are killed and started again, one after the other.
    Roll {
        /// Which.
        nodes: Nodes,
        /// How long each is down.
        down: Span,
        /// From one kill to the next.
        every: Span,
    },
    /// Nothing passes in either direction.
    Cut {
        /// Between these
        from: Nodes,
        /// and those; all others, if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Nodes>,
    },
    /// Nothing passes in one direction.
    CutOneWay {
        /// From these
        from: Nodes,
        /// to those; all others, if not given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        to: Option<Nodes>,
    },
    /// All cuts are gone.
    Heal,
    /// Share of all datagrams that are lost, 0 to 1.
    Loss(f64),
    /// Share of all datagrams that come twice, 0 to 1.
    Duplicate(f64),
    /// Nodes lose datagrams in one direction.
    OneWayLoss {
        /// Which.
        nodes: Nodes,
        /// Those to them or those from them.
        direction: WayName,
        /// Share that is lost, 0 to 1.
        share: f64,
        /// How long that is on by turns; always, if not given.
        #[serde(default)]
        on: Span,
        /// How long that is off by turns.
        #[serde(default)]
        off: Span,
    },
    /// Nodes have bad times, each on its own.
    Bursts {
        /// Which.
        nodes: Nodes,
        /// Mean length of a bad time.
        bad: Span,
        /// Mean length of a good time.
        good: Span,
        /// Share that is lost in a bad time, 0 to 1.
        share: f64,
    },
    /// What comes to nodes waits in their sockets; their timers are on time.
    Starve {
        /// Which.
        nodes: Nodes,
        /// The shortest wait.
        min: Span,
        /// The longest.
        max: Span,
        /// How long each wait is kept.
        redraw: Span,
    },
    /// The loops of nodes turn rarely.
    Slow {
        /// Which.
        nodes: Nodes,
        /// How often.
        every: Span,
    },
    /// The clocks of nodes leap ahead.
    Jump {
        /// Which.
        nodes: Nodes,
        /// By how much.
        by: Span,
    },
    /// The clocks of nodes run fast (slow, if negative).
    Drift {
        /// Which.
        nodes: Nodes,
        /// By so many millionths.
        ppm: i64,
    },
    /// All faults end; nodes that are down stay down.
    Calm,
}

/// A direction, seen from a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WayName {
    /// To it.
    In,
    /// From it.
    Out,
}

/// What must come of a scenario, over all its seeds. That nothing in [`crate::checks`] is violated
/// and that all views are equal in the end is always expected.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// 99 of 100 crashes are known to all that run within this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_known_p99: Option<Span>,
    /// Each crash is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_known_within: Option<Span>,
    /// Healthy nodes declared dead, in all runs together, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthy_deaths: Option<usize>,
    /// Nodes with a fault of their own declared dead, on average of a run, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub faulty_deaths: Option<f64>,
    /// All views are equal this long after the last event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equal_within: Option<Span>,
    /// Who is seen how at some time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Seen>,
    /// Faults that must have happened, by the names of [`Faults`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<String>,
}

/// Who is seen how at some time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// When, from the beginning.
    pub at: Span,
    /// In these views
    pub by: Nodes,
    /// these nodes
    pub of: Nodes,
    /// are this.
    #[serde(rename = "as")]
    pub state: SeenAs,
}

/// How a node is shown in a view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeenAs {
    /// Alive or suspect.
    Live,
    /// Suspect.
    Suspect,
    /// Dead.
    Dead,
    /// Left.
    Left,
    /// Dead, left or unknown.
    Gone,
}

impl Scenario {
    /// Reads a scenario file; `name` is for the message.
    ///
    /// # Errors
    /// The file, the key and what is wrong with it; with what does not fit together, all of that.
    pub fn parse(name: &str, text: &str) -> Result<Self, String> {
        let yaml = serde_yaml::Deserializer::from_str(text);
        let scenario: Self = serde_path_to_error::deserialize(yaml)
            .map_err(|error| format!("{name}: {}: {}", error.path(), error.inner()))?;
        let problems = scenario.problems();
        if problems.is_empty() {
            Ok(scenario)
        } else {
            Err(format!("{name}: {}", problems.join("; ")))
        }
    }

    /// The file that this would be.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        serde_yaml::to_string(self).unwrap_or_else(|error| format!("# {error}"))
    }

    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let joining = |event: &TimedEvent| match event.action {
            Action::Join(count) => count,
            _ => 0,
        };
        let nodes = self.nodes + self.events.iter().map(joining).sum::<usize>();
        let mut check = |key: String, wanted: &Nodes| {
            if let Some(problem) = wanted.problem(nodes, &self.groups) {
                problems.push(format!("{key}: {problem}"));
            }
        };
        for (name, wanted) in &self.groups {
            check(format!("groups.{name}"), wanted);
        }
        for (index, event) in self.events.iter().enumerate() {
            for wanted in event.action.nodes() {
                check(format!("events[{index}]"), wanted);
            }
        }
        for (index, seen) in self.expect.seen.iter().enumerate() {
            check(format!("expect.seen[{index}].by"), &seen.by);
            check(format!("expect.seen[{index}].of"), &seen.of);
        }
        for name in &self.expect.faults {
            if !Faults::default().iter().any(|(known, _)| known == name) {
                problems.push(format!("expect.faults: there is no fault `{name}`"));
            }
        }
        for key in self.known_misses.keys() {
            if !EXPECTATIONS.contains(&key.as_str()) {
                problems.push(format!("known_misses: there is no expectation `{key}`"));
            }
        }
        let last = self.events.iter().map(|event| event.at).max().unwrap_or_default();
        if self.length < last {
            problems.push(format!("length: {} is before the last event", self.length));
        }
        if self.nodes == 0 {
            problems.push("nodes: there are none".to_owned());
        }
        problems
    }
}

/// What may be missed. That a fault happened and that nothing was violated is no such thing.
const EXPECTATIONS: [&str; 7] = [
    "calm",
    "crash_known_p99",
    "crash_known_within",
    "equal_within",
    "faulty_deaths",
    "healthy_deaths",
    "seen",
];

impl Action {
    /// The nodes that are named.
    fn nodes(&self) -> Vec<&Nodes> {
        match self {
            Self::Crash(nodes)
            | Self::Restart(nodes)
            | Self::RestartAnew(nodes)
            | Self::Leave(nodes)
            | Self::Pause(nodes)
            | Self::Resume(nodes)
            | Self::Cycle { nodes, .. }
            | Self::Stall { nodes, .. }
            | Self::Roll { nodes, .. }
            | Self::OneWayLoss { nodes, .. }
            | Self::Bursts { nodes, .. }
            | Self::Starve { nodes, .. }
            | Self::Slow { nodes, .. }
            | Self::Jump { nodes, .. }
            | Self::Drift { nodes, .. } => vec![nodes],
            Self::Cut { from, to } | Self::CutOneWay { from, to } => {
                [from].into_iter().chain(to.as_ref()).collect()
            }
            Self::Join(_) | Self::Heal | Self::Loss(_) | Self::Duplicate(_) | Self::Calm => {
                Vec::new()
            }
        }
    }
}

impl RuleName {
    /// Settings of an engine that decides so.
    #[must_use]
    pub fn config(self) -> Config {
        let rule = match self {
            Self::Fast => Rule::Evidence { floor: Duration::ZERO },
            Self::Default => Rule::Evidence { floor: Duration::from_secs(2) },
            Self::Patient => Rule::Evidence { floor: Duration::from_secs(8) },
            Self::Lifeguard => Rule::Lifeguard,
        };
        let detector = DetectorConfig { rule, ..DetectorConfig::default() };
        Config { detector, ..Config::default() }
    }
}

impl NetworkSpec {
    /// The network that is meant.
    #[must_use]
    pub fn config(&self) -> NetworkConfig {
        let profile = match self.profile {
            Profile::Lan => NetworkConfig::default(),
            Profile::Wan => NetworkConfig::wan(),
        };
        NetworkConfig {
            loss: self.loss,
            duplication: self.duplication,
            zones: self.zones.unwrap_or(profile.zones),
            zone_delay: self.zone_delay.map_or(profile.zone_delay, |delay| delay.0),
            ..profile
        }
    }
}
