//! Which part of the candidates to compare, and how far to believe them, from how old what is known
//! of them is.
//!
//! With fresh information the least loaded of all is the best choice. With old information it is
//! one of the worst, since every gateway sends everything there until the next news: then it is
//! better to compare a few at random (Mitzenmacher 2000, Dahlin 2000). Owns the rate of requests
//! for one agent and the sample that follows. Reads no clock.

use std::time::Duration;

use super::table::{Slot, Table};
use super::tuning::{
    BEACON_INTERVAL, BEACONS_PER_SECOND, FADING, MEETING, RATE_TIME, SAMPLE_MIN, SAMPLE_REFRESH,
};

/// What of the candidates is compared. Those that tell their changes lie before the others.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sample {
    /// How many of those that tell their changes to compare.
    pub(super) told: usize,
    /// Where they end.
    pub(super) told_end: usize,
    /// How many of the others to compare.
    pub(super) untold: usize,
}

/// The sample for one agent.
#[derive(Debug, Default)]
pub(super) struct Sampling {
    rate: Rate,
    sample: Sample,
    holds_until: Duration,
}

impl Sampling {
    /// A request for the agent came in here.
    pub(super) fn request_began(&mut self, now: Duration) {
        self.rate.count(now);
    }

    /// The candidates are others than before.
    pub(super) fn forget(&mut self) {
        self.holds_until = Duration::ZERO;
    }

    /// What of the candidates to compare; puts them in order. `members` is the number of nodes in
    /// the mesh.
    pub(super) fn get(
        &mut self,
        now: Duration,
        table: &mut Table,
        candidates: &mut [Slot],
        members: usize,
    ) -> Sample {
        if now >= self.holds_until {
            self.sample = self.work_out(now, table, candidates, members);
            self.holds_until = now + SAMPLE_REFRESH;
        }
        self.sample
    }

    fn work_out(
        &self,
        now: Duration,
        table: &mut Table,
        candidates: &mut [Slot],
        members: usize,
    ) -> Sample {
        let told_age_s = beacon_interval(members).as_secs_f32();
        let (mut told, mut untold) = (Group::default(), Group::default());
        let (mut own, mut others, mut others_fill) = (0, 0, 0.0);
        for position in 0..candidates.len() {
            let node = table.node(candidates[position]);
            own += node.outstanding();
            others += node.others();
            others_fill += node.others_fill();
            if node.tells_changes(now) {
                candidates.swap(told.count, position);
                told.add(node.age_s(now).min(told_age_s));
            } else {
                untold.add(node.age_s(now));
            }
        }
        let all = candidates.len();
        let rate = self.rate.per_second(now);
        // By Little's law rates are as counts, if the requests of others take as long as ours. Only
        // what others send counts: our own part of the load is never old.
        let end_rate = rate / (f64::from(own) + 1.0);
        let others_rate = (end_rate * f64::from(others)).min(rate * members as f64);
        let mean_fill = others_fill / all.max(1) as f32;
        for (position, slot) in candidates.iter().enumerate() {
            let age_s_max = if position < told.count { told_age_s } else { f32::INFINITY };
            table.fade(now, *slot, FADING * end_rate as f32, age_s_max, mean_fill);
        }
        Sample {
            told: told.sample(all, others_rate),
            told_end: told.count,
            untold: untold.sample(all, others_rate),
        }
    }
}

/// Candidates whose news is of about the same age.
#[derive(Debug, Default)]
struct Group {
    count: usize,
    ages_s: f64,
}

impl Group {
    fn add(&mut self, age_s: f32) {
        self.count += 1;
        self.ages_s += f64::from(age_s);
    }

    /// How many of the group to compare, when it is a part of so many candidates, to which others
    /// send so many requests each second.
    fn sample(&self, all: usize, others_rate: f64) -> usize {
        if self.count == 0 {
            return 0;
        }
        let age_s = self.ages_s / self.count as f64;
        size(all, others_rate * age_s).min(self.count)
    }
}

/// How many of so many candidates, when others sent so many requests since the news.
fn size(candidates: usize, unseen: f64) -> usize {
    let size = (candidates as f64 / (1.0 + unseen / MEETING)).ceil() as usize;
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
            ("two unseen are half", 64, MEETING, 32),
            ("a fraction rounds up", 10, 2.0 * MEETING, 4),
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

    fn id(number: u32) -> NodeId {
        NodeId::from_bytes([number as u8; 16])
    }

    /// The sample of 16 candidates with two requests of others each, after ten requests a second
    /// from here, of which so many are outstanding. The last ones tell their changes.
    fn sample(own: u32, telling: u32, now: Duration) -> Sample {
        let mut table = Table::default();
        let mut slots = Vec::new();
        for number in 0..16 {
            let slot = table.admit(id(number));
            let yours = (number >= 16 - telling).then_some(0);
            let record = LoadRecord { boot: 1, active: 2, yours, ..LoadRecord::default() };
            table.hear(NOW, slot, record);
            slots.push(slot);
        }
        for number in 0..own {
            table.begin(NOW, id(number % 16));
        }
        let mut sampling = Sampling::default();
        for step in 0..200 {
            sampling.request_began(NOW - Duration::from_millis(step * 100).min(NOW));
        }
        let sample = sampling.get(now, &mut table, &mut slots, 20);
        let told = slots[..sample.told_end].iter().map(|slot| table.node(*slot));
        assert!(told.clone().all(|node| node.tells_changes(now)), "they come first");
        assert_eq!(told.count() as u32, telling.min(own));
        sample
    }

    #[test]
    fn fresh_news_is_compared_in_full_and_old_news_is_sampled() {
        let untold = |age_ms| sample(16, 0, NOW + Duration::from_millis(age_ms)).untold;
        assert_eq!(untold(0), 16);
        assert!((3..16).contains(&untold(50)), "{}", untold(50));
        assert_eq!(untold(5_000), 2);
    }

    #[test]
    fn those_that_tell_changes_are_compared_beside_two_of_which_little_is_known() {
        let sample = sample(16, 6, NOW + Duration::from_secs(5));
        assert_eq!((sample.told, sample.told_end, sample.untold), (6, 6, 2));
    }

    #[test]
    fn a_gateway_that_sends_nearly_all_itself_compares_more() {
        let now = NOW + Duration::from_millis(400);
        assert!(sample(320, 0, now).untold > sample(16, 0, now).untold);
    }

    #[test]
    fn beacons_come_later_in_a_mesh_that_is_too_large_for_them() {
        assert_eq!(beacon_interval(64), BEACON_INTERVAL);
        assert_eq!(beacon_interval(1_000), Duration::from_secs(1));
    }
}
