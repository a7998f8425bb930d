//! The metrics as plain numbers, for those who want no page of text.
//!
//! Owns the spelling of a series: its name and labels as on the page. What is 0 is left out.

use super::cells::Distribution;
use super::families::{Family, Kind};
use super::metrics::Agents;
use super::page::{Values, labels, named};

/// Every number but those that are 0, in the order of the page.
#[derive(Debug, Default, PartialEq)]
pub struct Numbers {
    /// What only grows.
    pub counters: Vec<(String, f64)>,
    /// What rises and falls.
    pub gauges: Vec<(String, f64)>,
    /// Durations.
    pub histograms: Vec<(String, Summary)>,
}

/// Durations in short, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many there were.
    pub count: u64,
    /// All together.
    pub sum: f64,
    /// The shortest.
    pub min: f64,
    /// The longest.
    pub max: f64,
}

/// A name with its labels: `name{key="value"}`. Quotes, backslashes and line breaks in values are
/// escaped as on the page.
#[must_use]
pub fn series(name: &str, labels: &[(&str, &str)]) -> String {
    if labels.is_empty() {
        return name.to_owned();
    }
    let escaped =
        |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value)));
    format!("{name}{{{}}}", pairs.collect::<Vec<_>>().join(","))
}

/// Those of the agents alone.
#[must_use]
pub fn of_agents(agents: Agents) -> Numbers {
    of(agents.into_values().into())
}

pub(super) fn of(families: Vec<(Family, Values)>) -> Numbers {
    let mut numbers = Numbers::default();
    for (family, values) in families {
        let name = family.full_name();
        match values {
            Values::Counts(counts) => {
                for (index, count) in counts.into_iter().enumerate() {
                    let name = series(&name, &labels(&family, index));
                    numbers.add(family.kind, name, count as f64);
                }
            }
            Values::Rows(rows) => {
                for (values, count) in rows {
                    let name = series(&name, &named(&family, &values));
                    numbers.add(family.kind, name, count as f64);
                }
            }
            Values::TimedRows(rows) => {
                for (values, distribution) in rows {
                    let name = series(&name, &named(&family, &values));
                    numbers.histograms.extend(summary(&distribution).map(|sum| (name, sum)));
                }
            }
            Values::Real(value) => numbers.add(family.kind, name, value),
            Values::Distributions(distributions) => {
                for (index, distribution) in distributions.iter().enumerate() {
                    let name = series(&name, &labels(&family, index));
                    numbers.histograms.extend(summary(distribution).map(|summary| (name, summary)));
                }
            }
        }
    }
    numbers
}

impl Numbers {
    fn add(&mut self, kind: Kind, name: String, value: f64) {
        if value == 0.0 {
            return;
        }
        match kind {
            Kind::Counter => self.counters.push((name, value)),
            Kind::Gauge | Kind::Info => self.gauges.push((name, value)),
            Kind::Histogram(_) => unreachable!("durations are distributions"),
        }
    }
}

/// `None` when there was none.
fn summary(distribution: &Distribution) -> Option<Summary> {
    let count = distribution.count();
    (count > 0).then(|| Summary {
        count,
        sum: distribution.sum_seconds(),
        min: distribution.min_seconds(),
        max: distribution.max_seconds(),
    })
}
