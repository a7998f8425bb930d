//! When views are compared, and who must answer before something is believed.
//!
//! Owns how long the digests on pings and acks have disagreed, the members that were announced
//! unasked, and the live members that others hold dead; both of these must answer a ping. Refuses to
//! exchange anything itself.

use std::time::Duration;

use astromesh_wire::ShortId;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::member::OwnedRecord;
use crate::precedence::Standing;
use crate::time::Instant;

/// Members that may wait for verification at once.
pub const CANDIDATES_MAX: usize = 256;

/// Time an announced member has to answer its ping.
pub const CANDIDATE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the interval between two comparisons grows to, by doubling, while they change nothing here.
pub const COMPARE_INTERVAL_MAX: Duration = Duration::from_secs(16);

/// A difference met longer ago has nothing to do with one met now.
pub const DIFFERENCE_AGE_MAX: Duration = Duration::from_secs(5);

/// Live members whose death is being checked at once.
pub const CHECKS_MAX: usize = 1_024;

/// Decides when a difference of digests is worth a comparison.
///
/// Views differ for as long as news travels, so one difference means nothing; two that lie a while
/// apart mean something. That some peers agree in between does not speak against it: in a mesh that
/// fell into two camps half of them do. Nor does it matter whether our own view moves meanwhile: in
/// a mesh where nodes come and go all the time it always does.
#[derive(Debug, Default)]
pub struct Gate {
    /// First and last difference of those that count.
    differing: Option<(Instant, Instant)>,
    /// When the last comparison was started, and the jitter of the next.
    started: Option<(Instant, f64)>,
    /// Our digest then.
    ours: u32,
    /// How often in a row a comparison was started with the same digest.
    in_vain: u32,
}

impl Gate {
    /// Notes that the digests differ. `true` when it is time to compare: differences were met at
    /// least `after` apart, and the last comparison is more than twice that ago; longer if ours is
    /// still the digest that it was then. `chance` between 0 and 1 keeps nodes from doing this in
    /// step.
    pub fn differs(&mut self, now: Instant, ours: u32, after: Duration, chance: f64) -> bool {
        let first = match self.differing {
            Some((first, last)) if now.since(last) <= DIFFERENCE_AGE_MAX => first,
            Some(_) | None => now,
        };
        self.differing = Some((first, now));
        if ours != self.ours {
            self.in_vain = 0;
        }
        let interval = (after * 2 * (1 << self.in_vain)).min(COMPARE_INTERVAL_MAX);
        let is_soon = self
            .started
            .is_some_and(|(at, chance)| now.since(at) < interval.mul_f64(1.0 + chance / 2.0));
        if now.since(first) < after || is_soon {
            return false;
        }
        self.differing = None;
        self.started = Some((now, chance));
        if ours == self.ours {
            self.in_vain = self.in_vain.saturating_add(1).min(IN_VAIN_MAX);
        }
        self.ours = ours;
        true
    }
}

/// What answers to comparisons may cost within a second. Whoever asks needs no more than one small
/// datagram for up to four large ones.
#[derive(Debug, Default)]
pub struct Budget {
    until: Instant,
    spent: u32,
}

/// Cost of the answers of one second: datagrams of 1,200 bytes, and digests of large ranges at
/// [`RANGE_COST`] each. A node is asked a few times a second, and while a cut heals 20 times.
pub const ANSWERS_MAX: u32 = 128;

/// What it costs to compare the digests of a large range. That takes as long as there are members.
pub const RANGE_COST: u32 = 4;

impl Budget {
    /// Whether nothing is left in this second.
    #[must_use]
    pub fn is_spent(&self, now: Instant) -> bool {
        now < self.until && self.spent >= ANSWERS_MAX
    }

    /// Notes a cost.
    pub fn spend(&mut self, now: Instant, cost: u32) {
        if now >= self.until {
            (self.until, self.spent) = (now + BUDGET_PERIOD, 0);
        }
        self.spent = self.spent.saturating_add(cost);
    }
}

const BUDGET_PERIOD: Duration = Duration::from_secs(1);

/// Doublings that count, so that the interval stays a number; it has its own maximum.
const IN_VAIN_MAX: u32 = 8;

/// Members announced unasked, by the sequence of the ping that must be answered.
#[derive(Debug, Default)]
pub struct Candidates {
    waiting: IndexMap<u16, (OwnedRecord, Instant), FxBuildHasher>,
}

impl Candidates {
    /// Whether this record waits already, so that it need not be pinged again.
    #[must_use]
    pub fn contains(&self, now: Instant, record: &OwnedRecord) -> bool {
        self.waiting
            .values()
            .any(|(other, since)| other == record && now.since(*since) < CANDIDATE_TIMEOUT)
    }

    /// Notes a candidate; `false` when too many are waiting.
    pub fn insert(&mut self, now: Instant, sequence: u16, record: OwnedRecord) -> bool {
        self.waiting.retain(|_, (_, since)| now.since(*since) < CANDIDATE_TIMEOUT);
        if self.waiting.len() >= CANDIDATES_MAX {
            return false;
        }
        self.waiting.insert(sequence, (record, now));
        true
    }

    /// The candidate that an ack with this sequence from this sender verifies.
    pub fn answered(&mut self, sender: ShortId, sequence: u16) -> Option<OwnedRecord> {
        let (record, _) = self.waiting.get(&sequence)?;
        if record.id.short() != sender {
            return None;
        }
        self.waiting.swap_remove(&sequence).map(|(record, _)| record)
    }
}

/// A death that somebody else told of in a comparison of views, of a member that is live here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// What is claimed: dead, at some incarnation.
    pub claim: Standing,
    /// When it is to be forgotten if that is true.
    pub forget_at: Instant,
    /// The sequence of its pings.
    pub sequence: u16,
    /// When it began.
    pub started_at: Instant,
    /// Pings sent so far.
    pub tries: usize,
    /// When to send the next one, or to believe it.
    pub next_at: Instant,
}

/// The deaths that are being checked.
#[derive(Debug, Default)]
pub struct Checks {
    running: IndexMap<ShortId, Check, FxBuildHasher>,
}

impl Checks {
    /// Starts one; `false` when there are too many. One that runs already goes on, with the greater
    /// claim.
    pub fn start(&mut self, id: ShortId, check: Check) -> bool {
        if let Some(running) = self.running.get_mut(&id) {
            if check.claim > running.claim {
                // When it is to be forgotten belongs to the claim.
                (running.claim, running.forget_at) = (check.claim, check.forget_at);
            }
            return true;
        }
        if self.running.len() >= CHECKS_MAX {
            return false;
        }
        self.running.insert(id, check);
        true
    }

    /// Whether this member is being checked.
    #[must_use]
    pub fn contains(&self, id: ShortId) -> bool {
        self.running.contains_key(&id)
    }

    /// The check of this member.
    #[must_use]
    pub fn get(&self, id: ShortId) -> Option<Check> {
        self.running.get(&id).copied()
    }

    /// A ping was sent, and what follows is due then.
    pub fn pinged(&mut self, id: ShortId, next_at: Instant) {
        if let Some(check) = self.running.get_mut(&id) {
            check.tries = check.tries.saturating_add(1);
            check.next_at = next_at;
        }
    }

    /// An ack came; `true` if it ends a check.
    pub fn answered(&mut self, sender: ShortId, sequence: u16) -> bool {
        let is_answer = self.running.get(&sender).is_some_and(|check| check.sequence == sequence);
        if is_answer {
            self.running.swap_remove(&sender);
        }
        is_answer
    }

    /// Ends a check.
    pub fn end(&mut self, id: ShortId) {
        self.running.swap_remove(&id);
    }

    /// Drops all, after a standstill.
    pub fn clear(&mut self) {
        self.running.clear();
    }
}
