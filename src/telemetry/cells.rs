//! Where numbers are counted: fixed arrays, mostly of atomics.
//!
//! Counting in those takes no lock, allocates nothing and looks no name up. A reader may see one counter
//! before another that was counted earlier; each by itself never falls.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of a histogram; one more cell takes what is above the last.
pub const BOUNDS: usize = 16;

/// The counters of one family, one for each combination of its label values.
#[derive(Debug)]
pub(super) struct Counts<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; N])
    }
}

impl<const N: usize> Counts<N> {
    pub(super) fn add(&self, index: usize, count: u64) {
        self.0[index].fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn values(&self) -> [u64; N] {
        self.0.each_ref().map(|cell| cell.load(Ordering::Relaxed))
    }
}

/// Durations, counted by the smallest bound that is not below them.
#[derive(Debug)]
pub(super) struct Histogram {
    cells: [AtomicU64; BOUNDS + 1],
    sum_ns: AtomicU64,
    min_ns: AtomicU64,
    max_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            cells: [const { AtomicU64::new(0) }; BOUNDS + 1],
            sum_ns: AtomicU64::new(0),
            min_ns: AtomicU64::new(u64::MAX),
            max_ns: AtomicU64::new(0),
        }
    }
}

/// Durations by bound: what a histogram held at one moment, or counted by someone with a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distribution {
    pub(super) cells: [u64; BOUNDS + 1],
    pub(super) sum_ns: u64,
    /// The shortest; the longest there is when there was none.
    pub(super) min_ns: u64,
    pub(super) max_ns: u64,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { cells: [0; BOUNDS + 1], sum_ns: 0, min_ns: u64::MAX, max_ns: 0 }
    }
}

impl Distribution {
    /// Counts one; `bounds_ns` are always the same for one distribution.
    pub fn add(&mut self, bounds_ns: &[u64; BOUNDS], duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.cells[bounds_ns.partition_point(|bound| *bound < ns)] += 1;
        self.sum_ns = self.sum_ns.saturating_add(ns);
        self.min_ns = self.min_ns.min(ns);
        self.max_ns = self.max_ns.max(ns);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// All together.
    #[must_use]
    pub fn sum_seconds(&self) -> f64 {
        seconds(self.sum_ns)
    }

    /// The shortest; 0 when there was none.
    #[must_use]
    pub fn min_seconds(&self) -> f64 {
        seconds(if self.count() == 0 { 0 } else { self.min_ns })
    }

    /// The longest.
    #[must_use]
    pub fn max_seconds(&self) -> f64 {
        seconds(self.max_ns)
    }
}

pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

impl Histogram {
    /// `bounds_ns` are always the same for one histogram.
    pub(super) fn observe(&self, bounds_ns: &[u64; BOUNDS], duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let index = bounds_ns.partition_point(|bound| *bound < ns);
        self.cells[index].fetch_add(1, Ordering::Relaxed);
        self.sum_ns.fetch_add(ns, Ordering::Relaxed);
        // Looked at first: a record is rarely broken, and a write would cost others the cache line.
        if ns < self.min_ns.load(Ordering::Relaxed) {
            self.min_ns.fetch_min(ns, Ordering::Relaxed);
        }
        if ns > self.max_ns.load(Ordering::Relaxed) {
            self.max_ns.fetch_max(ns, Ordering::Relaxed);
        }
    }

    pub(super) fn values(&self) -> Distribution {
        Distribution {
            cells: self.cells.each_ref().map(|cell| cell.load(Ordering::Relaxed)),
            sum_ns: self.sum_ns.load(Ordering::Relaxed),
            min_ns: self.min_ns.load(Ordering::Relaxed),
            max_ns: self.max_ns.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_counts_under_the_smallest_bound_not_below_it() {
        let bounds = std::array::from_fn(|index| 10 * (index as u64 + 1));
        let histogram = Histogram::default();
        for ns in [0, 10, 11, 160, 161] {
            histogram.observe(&bounds, Duration::from_nanos(ns));
        }
        let mut expected =
            Distribution { sum_ns: 342, min_ns: 0, max_ns: 161, ..Distribution::default() };
        expected.cells[0] = 2;
        expected.cells[1] = 1;
        expected.cells[15] = 1;
        expected.cells[16] = 1;
        assert_eq!(histogram.values(), expected);
    }
}
