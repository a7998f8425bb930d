//! What to announce of the node's load, and when.
//!
//! Owns the last announcement and the last look at the host. News is announced at most four times a
//! second, and only if it differs. Every announcement travels through the whole mesh, and the host's
//! own figures move all the time: they are averaged over a minute or so, and a change of less than
//! twenty percentage points is none.

use std::time::{Duration, Instant};

use astromesh_wire::Load;
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Least time between two announcements.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_millis(250);

/// Time between two looks at the host.
const HOST_INTERVAL: Duration = Duration::from_secs(10);

/// Change of a host figure that is worth a datagram, in percentage points.
const HOST_STEP: u8 = 20;

/// Weight of the latest look at the processor in its average.
const HOST_WEIGHT: f64 = 0.2;

/// Watches the load and decides when it is news.
#[derive(Debug)]
pub struct Meter {
    /// `None` on a host whose figures cannot be read; they are then announced as 0.
    system: Option<System>,
    looked_at: Instant,
    host: (u8, u8),
    /// Processor use in percent, averaged.
    cpu: f64,
    announced: Load,
    announced_at: Instant,
}

impl Meter {
    /// A meter that has announced nothing.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        let memory = MemoryRefreshKind::nothing().with_ram();
        let refresh = RefreshKind::nothing().with_memory(memory);
        let system = System::new_with_specifics(refresh).ok();
        let announced = Load::default();
        let mut meter =
            Self { system, looked_at: now, host: (0, 0), cpu: 0.0, announced, announced_at: now };
        // Processor use is a difference between two looks; this is the first.
        meter.look();
        meter
    }

    /// The load to announce now, if it is news.
    pub fn poll(&mut self, now: Instant, active_requests: u32) -> Option<Load> {
        if now.duration_since(self.looked_at) >= HOST_INTERVAL {
            self.looked_at = now;
            self.look();
        }
        let (cpu_percent, memory_percent) = self.host;
        let load = Load { active_requests, cpu_percent, memory_percent };
        let is_news = load.active_requests != self.announced.active_requests
            || load.cpu_percent.abs_diff(self.announced.cpu_percent) >= HOST_STEP
            || load.memory_percent.abs_diff(self.announced.memory_percent) >= HOST_STEP;
        if !is_news || now.duration_since(self.announced_at) < ANNOUNCE_INTERVAL {
            return None;
        }
        self.announced = load;
        self.announced_at = now;
        Some(load)
    }

    /// When to poll again, given the load now.
    #[must_use]
    pub fn next_poll(&self, active_requests: u32) -> Instant {
        if active_requests == self.announced.active_requests {
            self.looked_at + HOST_INTERVAL
        } else {
            self.announced_at + ANNOUNCE_INTERVAL
        }
    }

    fn look(&mut self) {
        let Some(system) = &mut self.system else { return };
        system.refresh_cpu_usage();
        system.refresh_memory();
        let memory = system.used_memory().saturating_mul(100) / system.total_memory().max(1);
        self.cpu += HOST_WEIGHT * (f64::from(system.global_cpu_usage()) - self.cpu);
        self.host = (percent(self.cpu), u8::try_from(memory).unwrap_or(100));
    }
}

/// A share in whole percent; what is no number becomes 0.
#[must_use]
pub fn percent(value: f64) -> u8 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=100 before; NaN becomes 0"
    )]
    let percent = value.clamp(0.0, 100.0).round() as u8;
    percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_requests_are_announced_at_once_but_not_more_often_than_the_interval() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let later = start + ANNOUNCE_INTERVAL;
        let first = meter.poll(later, 3).expect("three is news");
        assert_eq!(first.active_requests, 3);
        assert_eq!(meter.poll(later, 4), None, "too early");
        assert_eq!(meter.next_poll(4), later + ANNOUNCE_INTERVAL);
        let second = meter.poll(later + ANNOUNCE_INTERVAL, 4).expect("four is news");
        assert_eq!(second.active_requests, 4);
    }

    #[test]
    fn what_did_not_change_is_not_announced_again() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let first = meter.poll(start + ANNOUNCE_INTERVAL, 1);
        assert!(first.is_some());
        assert_eq!(meter.poll(start + ANNOUNCE_INTERVAL * 5, 1), None);
    }
}
