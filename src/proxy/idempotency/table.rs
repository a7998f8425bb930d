//! What is known of each key, in memory.
//!
//! Owns the bounds: of all ended requests together, by bytes and by age, the oldest go first.
//! Refuses to read a clock.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::Ended;
use super::record::{Fingerprint, Key, Record};

/// How much is kept, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The longest answer, head and body.
    pub answer_bytes_max: usize,
    /// All answers together, and again all that are being recorded.
    pub bytes_max: usize,
    /// How long an answer is kept.
    pub age_max: Duration,
}

impl Default for Bounds {
    /// 1 MiB, 64 MiB, 24 hours.
    fn default() -> Self {
        Self {
            answer_bytes_max: 1 << 20,
            bytes_max: 64 << 20,
            age_max: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What is known of a key.
#[derive(Debug)]
pub(super) enum Slot {
    Running { fingerprint: Fingerprint, ended: watch::Receiver<Option<Ended>> },
    Done { sequence: u64, record: Arc<Record> },
}

#[derive(Debug)]
pub(super) struct Table {
    bounds: Bounds,
    slots: HashMap<Key, Slot>,
    /// The keys of ended requests in the order in which they ended.
    ended: BTreeMap<u64, Key>,
    bytes: usize,
    next_sequence: u64,
}

impl Table {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, slots: HashMap::new(), ended: BTreeMap::new(), bytes: 0, next_sequence: 0 }
    }

    /// What is known of a key now. What is too old is forgotten.
    pub(super) fn look(&mut self, now: u64, key: &Key) -> Option<&Slot> {
        let is_old = |slot: &Slot| match slot {
            Slot::Running { .. } => false,
            Slot::Done { record, .. } => self.bounds.is_over(record, now),
        };
        if self.slots.get(key).is_some_and(is_old) {
            self.forget(key);
        }
        self.slots.get(key)
    }

    pub(super) fn run(
        &mut self,
        key: Key,
        fingerprint: Fingerprint,
        ended: watch::Receiver<Option<Ended>>,
    ) {
        self.slots.insert(key, Slot::Running { fingerprint, ended });
    }

    /// Keeps how a request ended; returns its sequence and how many others had to go for it.
    pub(super) fn keep(&mut self, now: u64, record: Arc<Record>) -> (u64, u64) {
        self.forget(&record.key);
        let sequence = self.next_sequence;
        self.next_sequence += 1;
        self.bytes += record.cost();
        self.ended.insert(sequence, record.key.clone());
        self.slots.insert(record.key.clone(), Slot::Done { sequence, record });
        (sequence, self.trim(now))
    }

    /// Knows nothing of this key any more.
    pub(super) fn forget(&mut self, key: &Key) {
        if let Some(Slot::Done { sequence, record }) = self.slots.remove(key) {
            self.bytes -= record.cost();
            self.ended.remove(&sequence);
        }
    }

    /// All of lower sequences are forgotten.
    pub(super) fn oldest(&self) -> u64 {
        self.ended.first_key_value().map_or(self.next_sequence, |(sequence, _)| *sequence)
    }

    /// Ended requests that are kept, and the bytes they take.
    pub(super) fn kept(&self) -> (usize, usize) {
        (self.ended.len(), self.bytes)
    }

    /// Forgets the oldest while there are too many bytes or they are too old; returns how many of
    /// them were not too old.
    fn trim(&mut self, now: u64) -> u64 {
        let mut evicted = 0;
        while let Some((_, key)) = self.ended.first_key_value() {
            let Some(Slot::Done { record, .. }) = self.slots.get(key) else {
                unreachable!("a key among the ended ones has ended");
            };
            let is_over = self.bounds.is_over(record, now);
            if !is_over && self.bytes <= self.bounds.bytes_max {
                break;
            }
            evicted += u64::from(!is_over);
            let key = key.clone();
            self.forget(&key);
        }
        evicted
    }
}

impl Bounds {
    /// Whether a record is too old. One from the future, after the clock was set back, is not.
    fn is_over(&self, record: &Record, now: u64) -> bool {
        now.saturating_sub(record.at) >= self.age_max.as_secs()
    }
}
