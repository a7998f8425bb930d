//! Whether this node may trust its own probes. One that may not abstains: it accuses nobody, and
//! its vote does not count.

use std::time::Duration;

use astromesh_wire::ShortId;

use crate::time::Instant;

/// Members whose last probe is remembered.
const OUTCOMES: usize = 8;

/// Different members that must have failed to answer before this node doubts itself.
const DISTINCT_MIN: usize = 3;

/// After a standstill of this node.
pub const SICK_AFTER_STALL: Duration = Duration::from_secs(1);

/// After a datagram had waited long in the socket.
pub const SICK_AFTER_QUEUE: Duration = Duration::from_secs(3);

/// How far this node trusts its own probes.
#[derive(Debug, Default)]
pub struct Health {
    outcomes: [Option<Outcome>; OUTCOMES],
    next: usize,
    sick_until: Option<Instant>,
    /// Most of the mesh did not answer, and too few have since.
    is_isolated: bool,
}

#[derive(Debug, Clone, Copy)]
struct Outcome {
    target: ShortId,
    is_answered: bool,
}

impl Health {
    /// A probe was answered, or not. Of each member only the last one counts.
    pub fn note(&mut self, target: ShortId, is_answered: bool) {
        let outcome = Some(Outcome { target, is_answered });
        let known = |slot: &&mut Option<Outcome>| slot.is_some_and(|known| known.target == target);
        if let Some(slot) = self.outcomes.iter_mut().find(known) {
            *slot = outcome;
        } else if let Some(slot) = self.outcomes.get_mut(self.next) {
            *slot = outcome;
            self.next = self.next.saturating_add(1) % OUTCOMES;
        }
        self.judge();
    }

    /// A member is held dead now: its silence says nothing about this node.
    pub fn forget(&mut self, target: ShortId) {
        for slot in &mut self.outcomes {
            if slot.is_some_and(|outcome| outcome.target == target) {
                *slot = None;
            }
        }
        self.judge();
    }

    /// This node stood still or fell behind.
    pub fn fell_behind(&mut self, now: Instant, lasting: Duration) {
        let until = now + lasting;
        if self.sick_until.is_none_or(|before| before < until) {
            self.sick_until = Some(until);
        }
    }

    /// Whether this node does not trust its own probes.
    #[must_use]
    pub fn is_sick(&self, now: Instant) -> bool {
        self.is_isolated || self.sick_until.is_some_and(|until| now < until)
    }

    /// Of the members probed last, how many did not answer, in eighths: 0 is the best.
    #[must_use]
    pub fn score(&self, now: Instant) -> u8 {
        if self.is_sick(now) {
            return 8;
        }
        let (failed, distinct) = self.count();
        let eighths = failed.saturating_mul(8).checked_div(distinct).unwrap_or(0);
        u8::try_from(eighths).unwrap_or(u8::MAX)
    }

    /// Isolated is who got no answer from more than three quarters of at least three members, until
    /// half of them have answered again.
    fn judge(&mut self) {
        let (failed, distinct) = self.count();
        if self.is_isolated {
            self.is_isolated = distinct == 0 || failed.saturating_mul(2) > distinct;
        } else {
            self.is_isolated =
                distinct >= DISTINCT_MIN && failed.saturating_mul(4) > distinct.saturating_mul(3);
        }
    }

    /// Of the members probed last, those whose probe failed, and all.
    fn count(&self) -> (usize, usize) {
        let outcomes = || self.outcomes.iter().flatten();
        let failed = outcomes().filter(|outcome| !outcome.is_answered).count();
        (failed, outcomes().count())
    }
}
