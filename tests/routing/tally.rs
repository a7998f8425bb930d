//! What came of a run.
//!
//! Owns the figures and their definitions. Refuses to compare.

use std::fmt;
use std::time::Duration;

use crate::scenario::Request;
use crate::worker::Worker;

/// Share of the requests, from the first on, that only fill the mesh: one in this many.
const WARM_UP: usize = 10;

/// Counts and times of one run. Times and imbalance leave the warm-up out, counts do not.
#[derive(Debug)]
pub(crate) struct Tally {
    counted_from: usize,
    /// Requests counted in times and imbalance.
    latencies_s: Vec<f64>,
    waits_s: f64,
    samples: u64,
    greatest: u64,
    mean: f64,
    hops: u64,
    ended: usize,
    pub(crate) bounced: u64,
    pub(crate) met_draining: u64,
    pub(crate) retried: u64,
    /// In flight on a worker that died, and not run elsewhere.
    pub(crate) lost: u64,
    /// Never sent to a worker that took them.
    pub(crate) failed: u64,
    pub(crate) beacons: u64,
}

/// The figures of one or several runs.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Figures {
    pub(crate) p50_s: f64,
    pub(crate) p99_s: f64,
    /// Mean of latency less service time on an idle worker of full speed.
    pub(crate) wait_s: f64,
    /// Requests on the busiest worker over those on the average one, both averaged over the
    /// moments before each arrival, which sees time averages as arrivals are Poisson.
    pub(crate) max_over_mean: f64,
    /// Attempts that a worker refused, for each request.
    pub(crate) hops: f64,
}

impl Tally {
    pub(crate) fn new(requests: usize) -> Self {
        Self {
            counted_from: requests / WARM_UP,
            latencies_s: Vec::with_capacity(requests),
            waits_s: 0.0,
            samples: 0,
            greatest: 0,
            mean: 0.0,
            hops: 0,
            ended: 0,
            bounced: 0,
            met_draining: 0,
            retried: 0,
            lost: 0,
            failed: 0,
            beacons: 0,
        }
    }

    /// How busy the workers are when a request arrives.
    pub(crate) fn sample(&mut self, number: usize, workers: &[Worker]) {
        if number < self.counted_from {
            return;
        }
        let greatest = workers.iter().map(Worker::active).max().unwrap_or_default();
        let sum: u32 = workers.iter().map(Worker::active).sum();
        self.samples += 1;
        self.greatest += u64::from(greatest);
        self.mean += f64::from(sum) / workers.len() as f64;
    }

    pub(crate) fn answered(&mut self, number: usize, request: &Request, now: Duration) {
        self.ended += 1;
        if number >= self.counted_from {
            let latency_s = (now - request.at).as_secs_f64();
            self.latencies_s.push(latency_s);
            self.waits_s += latency_s - request.demand.as_secs_f64();
        }
    }

    /// Refused for being full; `here` costs no hop.
    pub(crate) fn bounced(&mut self, number: usize, here: bool) {
        self.bounced += 1;
        self.hops += u64::from(number >= self.counted_from && !here);
    }

    pub(crate) fn met_draining(&mut self) {
        self.met_draining += 1;
    }

    pub(crate) fn retried(&mut self) {
        self.retried += 1;
    }

    pub(crate) fn lost(&mut self) {
        self.ended += 1;
        self.lost += 1;
    }

    pub(crate) fn failed(&mut self) {
        self.ended += 1;
        self.failed += 1;
    }

    pub(crate) fn sent_beacon(&mut self) {
        self.beacons += 1;
    }

    /// Requests that are over.
    pub(crate) const fn ended(&self) -> usize {
        self.ended
    }

    pub(crate) fn figures(mut self) -> Figures {
        self.latencies_s.sort_unstable_by(f64::total_cmp);
        let count = self.latencies_s.len();
        let at = |percent: usize| self.latencies_s[(count * percent / 100).min(count - 1)];
        Figures {
            p50_s: at(50),
            p99_s: at(99),
            wait_s: self.waits_s / count as f64,
            max_over_mean: self.greatest as f64 / self.mean,
            hops: self.hops as f64 / count as f64,
        }
    }
}

impl Figures {
    /// The mean of runs.
    pub(crate) fn mean(runs: &[Self]) -> Self {
        let mean =
            |figure: fn(&Self) -> f64| runs.iter().map(figure).sum::<f64>() / runs.len() as f64;
        Self {
            p50_s: mean(|figures| figures.p50_s),
            p99_s: mean(|figures| figures.p99_s),
            wait_s: mean(|figures| figures.wait_s),
            max_over_mean: mean(|figures| figures.max_over_mean),
            hops: mean(|figures| figures.hops),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_s, p99_s, wait_s, max_over_mean, hops } = self;
        write!(f, "{p50_s:.3} | {p99_s:.2} | {wait_s:.4} | {max_over_mean:.2} | {hops:.2}")
    }
}
