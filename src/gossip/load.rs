//! What to announce of the node's load, and when.
//!
//! Owns the last announcement and the last look at the host. News is announced at most once a second,
//! and only if it differs; that this node is draining is announced at once. Every announcement travels through the whole mesh, and the host's
//! own figures move all the time: they are averaged over a minute or so, and a change of less than
//! twenty percentage points is none.

use std::time::{Duration, Instant};

use astromesh_wire::{Load, LoadRecord};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Least time between two announcements. Whoever sends work here hears of each change by beacon and
/// with each answer; this is for all others.
pub const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(1);

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
    pub fn poll(&mut self, now: Instant, record: &LoadRecord) -> Option<Load> {
        if now.duration_since(self.looked_at) >= HOST_INTERVAL {
            self.looked_at = now;
            self.look();
        }
        let (cpu_percent, memory_percent) = self.host;
        let LoadRecord { active, limit, is_draining, .. } = *record;
        let load =
            Load { active_requests: active, cpu_percent, memory_percent, limit, is_draining };
        let is_news = self.differs(record)
            || load.cpu_percent.abs_diff(self.announced.cpu_percent) >= HOST_STEP
            || load.memory_percent.abs_diff(self.announced.memory_percent) >= HOST_STEP;
        let is_urgent = is_draining != self.announced.is_draining;
        let is_early = now.duration_since(self.announced_at) < ANNOUNCE_INTERVAL;
        if !is_news || (is_early && !is_urgent) {
            return None;
        }
        self.announced = load;
        self.announced_at = now;
        Some(load)
    }

    /// When to poll again, given the load now.
    #[must_use]
    pub fn next_poll(&self, record: &LoadRecord) -> Instant {
        if self.differs(record) {
            self.announced_at + ANNOUNCE_INTERVAL
        } else {
            self.looked_at + HOST_INTERVAL
        }
    }

    /// Whether more than the host's own figures is another than what was announced.
    const fn differs(&self, record: &LoadRecord) -> bool {
        record.active != self.announced.active_requests
            || record.limit != self.announced.limit
            || record.is_draining != self.announced.is_draining
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

    fn active(active: u32) -> LoadRecord {
        LoadRecord { active, ..LoadRecord::default() }
    }

    #[test]
    fn active_requests_are_announced_at_once_but_not_more_often_than_the_interval() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let later = start + ANNOUNCE_INTERVAL;
        let first = meter.poll(later, &active(3)).expect("three is news");
        assert_eq!(first.active_requests, 3);
        assert_eq!(meter.poll(later, &active(4)), None, "too early");
        assert_eq!(meter.next_poll(&active(4)), later + ANNOUNCE_INTERVAL);
        let second = meter.poll(later + ANNOUNCE_INTERVAL, &active(4)).expect("four is news");
        assert_eq!(second.active_requests, 4);
    }

    #[test]
    fn what_did_not_change_is_not_announced_again() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let first = meter.poll(start + ANNOUNCE_INTERVAL, &active(1));
        assert!(first.is_some());
        assert_eq!(meter.poll(start + ANNOUNCE_INTERVAL * 5, &active(1)), None);
    }

    #[test]
    fn a_new_limit_is_news_and_a_drain_does_not_wait() {
        let start = Instant::now();
        let mut meter = Meter::new(start);
        let limited = LoadRecord { limit: 8, ..active(0) };
        assert_eq!(meter.poll(start, &limited), None, "too early");
        let later = start + ANNOUNCE_INTERVAL;
        assert_eq!(meter.next_poll(&limited), later);
        assert_eq!(meter.poll(later, &limited).expect("a limit is news").limit, 8);
        let draining = LoadRecord { is_draining: true, ..limited };
        assert!(meter.poll(later, &draining).expect("at once").is_draining);
        assert_eq!(meter.poll(later + ANNOUNCE_INTERVAL, &draining), None, "no news any more");
    }
}
