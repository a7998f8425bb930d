//! How long a suspect has to refute (Lifeguard, section IV.B).
//!
//! A suspicion starts long and shrinks with each independent confirmation:
//! `max - (max - min) * ln(n + 1) / ln(k + 1)` after `n` of `k` confirmations.

use std::time::Duration;

use astromesh_wire::Bucket;

use crate::detector::DetectorConfig;
use crate::time::Instant;

/// A running suspicion against one member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspicion {
    started_at: Instant,
    min: Duration,
    max: Duration,
    /// Confirmations that bring it down to `min`.
    wanted: usize,
    /// One bit for each bucket an accusation came from.
    accusers: u32,
}

impl Suspicion {
    /// Opened by a first accuser in a mesh of `live_count` members, this node and the suspect
    /// included.
    #[must_use]
    pub fn new(now: Instant, accuser: Bucket, config: &DetectorConfig, live_count: usize) -> Self {
        let members = u32::try_from(live_count).unwrap_or(u32::MAX);
        let scale = f64::from(members).log10().max(1.0);
        let min = Duration::from_secs(u64::from(config.suspicion_multiplier))
            .mul_f64(scale)
            .min(config.suspicion_max);
        let max = (min * config.suspicion_max_multiplier.max(1)).min(config.suspicion_max);
        // Neither the suspect nor the first accuser can confirm.
        let wanted = config.confirmations.min(live_count.saturating_sub(2));
        Self { started_at: now, min, max, wanted, accusers: bit(accuser) }
    }

    /// Counts an accuser; `true` if it is a new one and still wanted.
    pub fn confirm(&mut self, accuser: Bucket) -> bool {
        let is_news = self.accusers & bit(accuser) == 0 && self.confirmations() < self.wanted;
        self.accusers |= bit(accuser);
        is_news
    }

    /// When the suspicion becomes a death.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        if self.wanted == 0 {
            return self.started_at + self.min;
        }
        let done = count(self.confirmations().min(self.wanted));
        let share = (done + 1.0).ln() / (count(self.wanted) + 1.0).ln();
        let cut = self.max.saturating_sub(self.min).mul_f64(share.clamp(0.0, 1.0));
        self.started_at + self.max.saturating_sub(cut)
    }

    /// Starts the clock anew, keeping the confirmations.
    pub const fn restart(&mut self, now: Instant) {
        self.started_at = now;
    }

    /// Accusers after the first.
    fn confirmations(&self) -> usize {
        usize::try_from(self.accusers.count_ones()).unwrap_or(0).saturating_sub(1)
    }
}

const fn bit(bucket: Bucket) -> u32 {
    1 << bucket.number()
}

fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
