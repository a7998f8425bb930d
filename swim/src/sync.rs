//! When two views should be compared in full, and who must answer before it is believed.
//!
//! Owns how long the digests on pings and acks have disagreed, and the members that were announced
//! unasked and have not answered a ping yet. Refuses to exchange anything itself.

use std::time::Duration;

use astromesh_wire::ShortId;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use crate::member::OwnedRecord;
use crate::time::Instant;

/// Members that may wait for verification at once.
pub const CANDIDATES_MAX: usize = 256;

/// Time an announced member has to answer its ping.
pub const CANDIDATE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long views have differed.
#[derive(Debug, Default)]
pub struct Disagreement {
    /// Our digest at the last comparison.
    ours: u32,
    /// First and last difference met since our own view last changed.
    differing: Option<(Instant, Instant)>,
}

impl Disagreement {
    /// Notes a comparison of digests. `true` when it is time to exchange views: ours has stood
    /// still for `after` and others have differed from it all along. The clock then starts anew,
    /// which bounds the rate.
    ///
    /// A peer that agrees does not speak against that: in a mesh that fell into two camps half of
    /// the peers agree. Only differences that stop being met end it.
    pub fn compared(&mut self, now: Instant, ours: u32, theirs: u32, after: Duration) -> bool {
        if self.ours != ours {
            // Our view is still moving: news is on its way.
            self.ours = ours;
            self.differing = None;
        }
        if ours == theirs {
            return false;
        }
        let first = match self.differing {
            Some((first, last)) if now.since(last) <= after * 2 => first,
            Some(_) | None => now,
        };
        let due = now.since(first) >= after;
        self.differing = Some((if due { now } else { first }, now));
        due
    }
}

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
