//! The figures of a plan, gathered over its runs.
//!
//! Owns counting and quantiles. Refuses to know how a figure came about, and to print it.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a plan showed, all runs together.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// A death for each killed node: from the crash until the last live member knew. Never known by
    /// all: not within [`crate::plan::DETECTION_MAX`].
    pub detection: Spread,
    /// The same for each live member apart: from the crash until this member knew.
    pub detection_views: Spread,
    /// Deaths of members that ran or stood still, as far as their own side of a cut believed them:
    /// one from the first view that held the member dead until none did.
    pub false_deaths: u64,
    /// The views that held such a member dead, summed over the false deaths.
    pub false_death_views: u64,
    /// Bytes that a node sends a second while nothing happens, with IP and UDP headers.
    pub bytes_per_s_per_node: f64,
    /// A value for each run: from the start of one more node until it and all others knew each
    /// other.
    pub join: Spread,
    /// A value for each run with a cut: from its end until all views were equal.
    pub heal: Spread,
    /// Simulated time.
    pub simulated: Duration,
}

/// Durations, counted by the millisecond, and how many never came to an end.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spread {
    counts: BTreeMap<u64, u64>,
    ended: u64,
    /// What was given up waiting for.
    pub endless: u64,
}

impl Spread {
    /// Counts a duration.
    pub fn add(&mut self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        *self.counts.entry(millis).or_default() += 1;
        self.ended += 1;
    }

    /// Counts what was given up waiting for, longer than all durations.
    pub const fn add_endless(&mut self, count: u64) {
        self.endless += count;
    }

    /// Takes in what another counted.
    pub fn merge(&mut self, other: &Self) {
        for (&millis, &count) in &other.counts {
            *self.counts.entry(millis).or_default() += count;
        }
        self.ended += other.ended;
        self.endless += other.endless;
    }

    /// How many were counted, endless ones included.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.ended + self.endless
    }

    /// Whether nothing was counted.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The smallest value that `share` (0 to 1) of all do not exceed; `None` when there is nothing,
    /// or when this one never came to an end.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        // Counts are far below 2^53.
        let rank = (self.len() as f64 * share).ceil().max(1.0) as u64;
        let mut passed = 0;
        for (&millis, &count) in &self.counts {
            passed += count;
            if passed >= rank {
                return Some(Duration::from_millis(millis));
            }
        }
        None
    }

    /// The longest; `None` when there is nothing, or one never came to an end.
    #[must_use]
    pub fn max(&self) -> Option<Duration> {
        self.quantile(1.0)
    }

    /// The counted durations in rising order, each with how often it came.
    pub fn counts(&self) -> impl Iterator<Item = (Duration, u64)> + '_ {
        self.counts.iter().map(|(&millis, &count)| (Duration::from_millis(millis), count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_counted() {
        let mut spread = Spread::default();
        assert_eq!((spread.quantile(0.5), spread.max()), (None, None));
        for millis in (1..=100).rev() {
            spread.add(Duration::from_millis(millis));
        }
        let at = |spread: &Spread, share| spread.quantile(share).map(|value| value.as_millis());
        assert_eq!(at(&spread, 0.0), Some(1));
        assert_eq!(at(&spread, 0.5), Some(50));
        assert_eq!(at(&spread, 0.99), Some(99));
        assert_eq!(at(&spread, 1.0), Some(100));
    }

    #[test]
    fn what_never_ended_is_longer_than_everything() {
        let mut spread = Spread::default();
        spread.add(Duration::from_secs(1));
        spread.add(Duration::from_secs(2));
        let mut other = Spread::default();
        other.add_endless(1);
        spread.merge(&other);
        assert_eq!(spread.len(), 3);
        assert_eq!(spread.quantile(0.5), Some(Duration::from_secs(2)));
        assert_eq!(spread.max(), None);
    }
}
