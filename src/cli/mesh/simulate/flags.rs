//! The flags of `mesh simulate`, and what each may hold.
//!
//! Owns the bounds of a plan and the words for a flag that breaks them. Refuses to run anything.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use astromesh_sim::plan::Pause;

use crate::cli::failure::Failure;
use crate::cli::seconds;
use crate::config::{self, Detection};

const EXAMPLES: &str = "\
Examples:
  astromeshctl mesh simulate --nodes 100
  astromeshctl mesh simulate --nodes 100 --loss 5% --kill 3 --runs 20 --seed 42
  astromeshctl mesh simulate --nodes 9 --partition 30 --config /etc/astromesh --json";

#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct Args {
    /// Nodes of the mesh, 2 to 10000
    #[arg(long, value_name = "N", value_parser = nodes)]
    pub(super) nodes: usize,

    /// Datagrams that the network loses: a share such as 0.05, or 5%; at most 0.9
    #[arg(long, value_name = "P", default_value = "0", value_parser = share)]
    pub(super) loss: f64,

    /// Nodes that crash at once; 0 for none
    #[arg(long, value_name = "K", default_value = "1", value_parser = whole)]
    pub(super) kill: usize,

    /// Nodes that stand still, and how long: 3x5 for three nodes and 5 s
    #[arg(long, value_name = "COUNTxSECONDS", value_parser = pause)]
    pub(super) pause: Option<Pause>,

    /// Cut the mesh in two halves for this long, then heal it
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) partition: Option<Duration>,

    /// How long nothing happens, to measure traffic and to look for false deaths
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(super) duration: Duration,

    /// How often to play it all, 1 to 1000, each time with other random numbers
    #[arg(long, value_name = "R", default_value = "1", value_parser = runs)]
    pub(super) runs: u32,

    /// How deaths are decided, if not as configured: for a comparison of the two
    #[arg(long, value_name = "RULE")]
    pub(super) rule: Option<RuleName>,

    /// Decides everything that is left to chance: same seed, same figures [default: a random one]
    #[arg(long, value_name = "S")]
    pub(super) seed: Option<u64>,

    /// Configuration directory; it must hold a runtime.yaml
    ///
    /// Without it the first of `ASTROMESH_CONFIG_DIR`, /etc/astromesh and ./config that holds one;
    /// without any of these, the defaults.
    #[arg(long, value_name = "DIR")]
    pub(super) config: Option<PathBuf>,
}

/// A rule by which deaths are decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum RuleName {
    /// By the votes of observers
    Evidence,
    /// By waiting for a refutation, as SWIM with Lifeguard
    Lifeguard,
}

impl RuleName {
    /// What to set for this rule: what is configured, if that is of this rule.
    pub(super) fn detection(self, configured: Detection) -> Detection {
        match (self, configured) {
            (Self::Evidence, Detection::Evidence { .. }) => configured,
            (Self::Evidence, Detection::Lifeguard) => config::defaults().mesh.detection,
            (Self::Lifeguard, _) => Detection::Lifeguard,
        }
    }
}

impl Args {
    /// What no single flag can know.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let Self { nodes, kill, .. } = *self;
        // Somebody must be there to notice; of a cut, somebody on either side.
        let (needed, why) = match self.partition {
            None => (1, "nobody is left to notice"),
            Some(_) => (2, "there is nothing left to cut in two"),
        };
        if nodes < kill.saturating_add(needed) {
            return Err(usage(format!(
                "--kill {kill} of --nodes {nodes}: {why}; kill at most {}, or raise --nodes",
                nodes - needed
            )));
        }
        let running = nodes - kill;
        match self.pause {
            Some(Pause { count, .. }) if count >= running => Err(usage(format!(
                "--pause of {count} nodes: only {running} run, and one of them must go on; pause \
                 at most {}, or raise --nodes",
                running - 1
            ))),
            _ => Ok(()),
        }
    }
}

pub(super) const fn usage(message: String) -> Failure {
    Failure::Usage { message }
}

/// The fewest and the most nodes of a plan. Beyond 10,000 the views alone need tens of gigabytes.
const NODES: (usize, usize) = (2, 10_000);

/// More of the network than this and nothing is worth planning.
const LOSS_MAX: f64 = 0.9;

/// Enough for the 99th percentile; more can be had with other seeds.
const RUNS_MAX: u32 = 1_000;

fn nodes(text: &str) -> Result<usize, String> {
    let (least, most) = NODES;
    between(text, least, most)
}

fn runs(text: &str) -> Result<u32, String> {
    between(text, 1, RUNS_MAX)
}

fn between<T>(text: &str, least: T, most: T) -> Result<T, String>
where
    T: FromStr + PartialOrd + std::fmt::Display + Copy,
{
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("write a whole number from {least} to {most}"))
}

fn whole(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a whole number, such as 1".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let percent = text.strip_suffix('%');
    let number: Option<f64> = percent.unwrap_or(text).trim_end().parse().ok();
    match (number, percent) {
        (Some(share), None) if (0.0..=LOSS_MAX).contains(&share) => Ok(share),
        (Some(number), Some(_)) if (0.0..=LOSS_MAX).contains(&(number / 100.0)) => {
            Ok(number / 100.0)
        }
        (Some(number), None) if number > 1.0 && number <= LOSS_MAX * 100.0 => {
            Err(format!("write {number}% for {number} percent; a plain number is a share of 1"))
        }
        _ => Err(format!("write a share from 0 to {LOSS_MAX}, or percent as in 5%")),
    }
}

fn pause(text: &str) -> Result<Pause, String> {
    let (count, length) = text.split_once('x').ok_or("write COUNTxSECONDS, such as 3x5")?;
    let count = between(count, 1, NODES.1).map_err(|hint| format!("before the x, {hint}"))?;
    let length = seconds(length).map_err(|hint| format!("after the x, it {hint}"))?;
    Ok(Pause { count, length })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_is_a_share_or_percent() {
        assert_eq!(share("0.05"), Ok(0.05));
        assert_eq!(share("5%"), Ok(0.05));
        assert_eq!(share("2.5 %"), Ok(0.025));
        assert_eq!(share("0"), Ok(0.0));
        for bad in ["-0.1", "0.95", "91%", "500%", "nan", "", "%", "much"] {
            assert!(share(bad).unwrap_err().contains("5%"), "{bad}");
        }
        assert!(share("5").unwrap_err().contains("write 5% for 5 percent"));
    }

    #[test]
    fn a_pause_is_a_count_and_a_time() {
        let expected = Pause { count: 3, length: Duration::from_millis(2500) };
        assert_eq!(pause("3x2.5"), Ok(expected));
        for bad in ["3", "x5", "3x", "0x5", "3x0", "3x5s", "-1x5", "axb"] {
            assert!(pause(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn counts_are_bounded() {
        assert_eq!((nodes("2"), nodes("10000")), (Ok(2), Ok(10_000)));
        for bad in ["1", "10001", "0", "-5", "2.5", "many", ""] {
            assert!(nodes(bad).unwrap_err().contains("from 2 to 10000"), "{bad}");
        }
        assert!(runs("0").is_err() && runs("1001").is_err() && whole("-1").is_err());
    }
}
