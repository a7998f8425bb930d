//! How many candidates to compare, from how old what is known of them is.
//!
//! With fresh information the least loaded of all is the best choice. With old information it is
//! one of the worst, since every gateway sends everything there until the next news: then it is
//! better to compare a few at random (Mitzenmacher 2000, Dahlin 2000). Owns the rate of requests
//! for one agent and the size of the sample that follows. Reads no clock.

use std::time::Duration;

use super::table::{Slot, Table};
use super::tuning::{BEACON_INTERVAL, BEACONS_PER_SECOND, RATE_TIME, SAMPLE_MIN, SAMPLE_REFRESH};

/// The size of the sample for one agent.
#[derive(Debug, Default)]
pub(super) struct SampleSize {
    rate: Rate,
    size: usize,
    holds_until: Duration,
}

impl SampleSize {
    /// A request for the agent came in here.
    pub(super) fn request_began(&mut self, now: Duration) {
        self.rate.count(now);
    }

    /// The candidates are others than before.
    pub(super) fn forget(&mut self) {
        self.holds_until = Duration::ZERO;
    }

    /// How many of the candidates to compare; `members` is the number of nodes in the mesh.
    pub(super) fn get(
        &mut self,
        now: Duration,
        table: &Table,
        candidates: &[Slot],
        members: usize,
    ) -> usize {
        if now >= self.holds_until {
            self.size = self.work_out(now, table, candidates, members);
            self.holds_until = now + SAMPLE_REFRESH;
        }
        self.size
    }

    fn work_out(&self, now: Duration, table: &Table, candidates: &[Slot], members: usize) -> usize {
        let interval = beacon_interval(members);
        let mut staleness = Duration::ZERO;
        let (mut own, mut others) = (0_u64, 0_u64);
        for slot in candidates {
            let node = table.node(*slot);
            staleness += node.staleness(now, interval);
            own += u64::from(node.outstanding());
            others += u64::from(node.others());
        }
        if candidates.is_empty() {
            return 0;
        }
        let age = staleness.as_secs_f64() / candidates.len() as f64;
        // By Little's law rates are as counts, if the requests of others take as long as ours. Only
        // what others send counts: our own part of the load is never old.
        let times = (others as f64 / (own as f64 + 1.0)).min(members as f64);
        size(candidates.len(), self.rate.per_second(now) * times * age)
    }
}

/// How many of so many candidates, when others sent so many requests since the news.
fn size(candidates: usize, unseen: f64) -> usize {
    let size = (candidates as f64 / (1.0 + unseen)).ceil() as usize;
    size.max(SAMPLE_MIN).min(candidates)
}

/// The time between two beacons of a node, which has to tell them to every member at worst.
fn beacon_interval(members: usize) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    BEACON_INTERVAL.max(Duration::from_secs(members.into()) / BEACONS_PER_SECOND)
}

/// A rate that forgets exponentially.
#[derive(Debug, Default)]
struct Rate {
    per_second: f64,
    at: Duration,
}

impl Rate {
    fn count(&mut self, now: Duration) {
        self.per_second = self.per_second(now) + 1.0 / RATE_TIME.as_secs_f64();
        self.at = self.at.max(now);
    }

    fn per_second(&self, now: Duration) -> f64 {
        let passed = now.saturating_sub(self.at).as_secs_f64() / RATE_TIME.as_secs_f64();
        self.per_second * (-passed).exp()
    }
}

#[cfg(test)]
mod tests {
    use astromesh_wire::NodeId;

    use super::*;
    use crate::routing::record::LoadRecord;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn the_sample_shrinks_with_what_was_sent_unseen() {
        // Name, candidates, unseen requests, size.
        let rows = [
            ("nothing unseen is all", 64, 0.0, 64),
            ("one unseen is half", 64, 1.0, 32),
            ("a fraction rounds up", 10, 2.0, 4),
            ("never below two", 64, 1_000.0, 2),
            ("nor above all", 1, 1_000.0, 1),
        ];
        for (name, candidates, unseen, expected) in rows {
            assert_eq!(size(candidates, unseen), expected, "{name}");
        }
    }

    #[test]
    fn a_steady_rate_is_found_and_forgotten() {
        let mut rate = Rate::default();
        for step in 0..400 {
            rate.count(NOW + Duration::from_millis(step * 100));
        }
        let end = NOW + Duration::from_secs(40);
        assert!((9.0..11.0).contains(&rate.per_second(end)), "{}", rate.per_second(end));
        assert!(rate.per_second(end + RATE_TIME * 5) < 0.1);
    }

    /// The sample of 16 candidates with two requests of others each, told a second ago, after ten
    /// requests a second from here.
    fn sample(own: u32, now: Duration) -> usize {
        let mut table = Table::default();
        let mut slots = Vec::new();
        for number in 0..16 {
            let id = NodeId::from_bytes([number; 16]);
            let slot = table.admit(id);
            let record = LoadRecord { boot: 1, active: 2, ..LoadRecord::default() };
            table.hear(NOW, slot, record);
            slots.push(slot);
        }
        for number in 0..own {
            table.begin(NOW, NodeId::from_bytes([(number % 16) as u8; 16]));
        }
        let mut sample = SampleSize::default();
        for step in 0..200 {
            sample.request_began(NOW - Duration::from_millis(step * 100).min(NOW));
        }
        sample.get(now, &table, &slots, 20)
    }

    #[test]
    fn fresh_news_is_compared_in_full_and_old_news_is_sampled() {
        assert_eq!(sample(16, NOW), 16);
        assert!(sample(16, NOW + Duration::from_millis(200)) < 16);
        assert_eq!(sample(16, NOW + Duration::from_secs(1)), 2);
    }

    #[test]
    fn a_gateway_that_sends_nearly_all_itself_compares_more() {
        let now = NOW + Duration::from_millis(200);
        assert!(sample(320, now) > sample(16, now));
    }

    #[test]
    fn beacons_come_later_in_a_mesh_that_is_too_large_for_them() {
        assert_eq!(beacon_interval(64), BEACON_INTERVAL);
        assert_eq!(beacon_interval(1_000), Duration::from_secs(1));
    }
}
