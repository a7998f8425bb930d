//! What is still to happen, in the order of its time.
//!
//! Owns the order only: what lies on it is the world's business. A ring of buckets, each a quarter of
//! a millisecond wide, holds the next four seconds; what lies beyond waits in a heap. With tens of
//! thousands of datagrams on their way this is several times cheaper than one heap (R. Brown,
//! "Calendar queues", CACM 31(10), 1988).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use astromesh_swim::Instant;

/// Things to happen; of those at the same time the one that was added first comes first.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    /// What lies in the bucket of the cursor or before it, the next one last.
    present: Vec<Entry<T>>,
    /// The buckets after the cursor, each in no order.
    ring: Vec<Vec<Entry<T>>>,
    /// One bit for each bucket of the ring: whether it holds anything.
    occupied: Vec<u64>,
    /// What lies beyond the ring.
    far: BinaryHeap<Entry<T>>,
    /// The bucket that was opened last, counted from the start of time.
    cursor: u64,
    next_order: u64,
}

#[derive(Debug)]
struct Entry<T> {
    at: Instant,
    order: u64,
    what: T,
}

impl<T> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self {
            present: Vec::new(),
            ring: std::iter::repeat_with(Vec::new).take(BUCKETS).collect(),
            occupied: vec![0; BUCKETS / 64],
            far: BinaryHeap::new(),
            cursor: 0,
            next_order: 0,
        }
    }

    /// Adds something.
    pub(crate) fn add(&mut self, at: Instant, what: T) {
        self.next_order += 1;
        let entry = Entry { at, order: self.next_order, what };
        let bucket = bucket_of(at);
        if bucket <= self.cursor {
            let place = self.present.partition_point(|other| *other < entry);
            self.present.insert(place, entry);
        } else if bucket - self.cursor < BUCKETS as u64 {
            let slot = slot_of(bucket);
            self.ring[slot].push(entry);
            self.occupied[slot / 64] |= 1 << (slot % 64);
        } else {
            self.far.push(entry);
        }
    }

    /// The next thing that happens, if that is not after `end`, with its time.
    pub(crate) fn next_until(&mut self, end: Instant) -> Option<(Instant, T)> {
        if self.present.is_empty() {
            self.open_next();
        }
        if self.present.last()?.at > end {
            return None;
        }
        self.present.pop().map(|entry| (entry.at, entry.what))
    }

    /// Moves the cursor to the next bucket that holds anything.
    fn open_next(&mut self) {
        let near = self.next_in_ring();
        let far = self.far.peek().map(|entry| bucket_of(entry.at));
        let Some(bucket) = near.into_iter().chain(far).min() else { return };
        self.cursor = bucket;
        if near == Some(bucket) {
            let slot = slot_of(bucket);
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            // The emptied memory goes back to the ring.
            std::mem::swap(&mut self.present, &mut self.ring[slot]);
        }
        while self.far.peek().is_some_and(|entry| bucket_of(entry.at) == bucket) {
            self.present.extend(self.far.pop());
        }
        self.present.sort_unstable();
    }

    fn next_in_ring(&self) -> Option<u64> {
        let first = self.cursor + 1;
        let start = slot_of(first);
        let words = self.occupied.len();
        for step in 0..=words {
            let word = (start / 64 + step) % words;
            let mut bits = self.occupied[word];
            if step == 0 {
                bits &= u64::MAX << (start % 64);
            } else if step == words {
                bits &= !(u64::MAX << (start % 64));
            }
            if bits != 0 {
                let slot = word * 64 + bits.trailing_zeros() as usize;
                return Some(first + ((slot + BUCKETS - start) % BUCKETS) as u64);
            }
        }
        None
    }
}

impl<T> Ord for Entry<T> {
    /// The earliest is the greatest: last in a sorted list, first in a [`BinaryHeap`].
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

const fn bucket_of(at: Instant) -> u64 {
    at.as_micros() >> BUCKET_MICROS_LOG2
}

const fn slot_of(bucket: u64) -> usize {
    (bucket % BUCKETS as u64) as usize
}

/// A bucket is 2^8 = 256 us wide.
const BUCKET_MICROS_LOG2: u32 = 8;

/// 4.2 s: no timer that is armed often lies further ahead.
const BUCKETS: usize = 16_384;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_come_in_the_order_of_time_and_then_of_addition() {
        let mut agenda = Agenda::new();
        let mut rng = fastrand::Rng::with_seed(1);
        let mut expected = std::collections::BTreeMap::new();
        let mut now = 0;
        let mut order = 0;
        for round in 0..2_000 {
            for _ in 0..rng.usize(..20) {
                // Now, within a bucket, within the ring, and far beyond it.
                let furthest = [0, 200, 4_000_000, 90_000_000][rng.usize(..4)];
                let ahead = rng.u64(..=furthest);
                order += 1;
                agenda.add(Instant::from_micros(now + ahead), order);
                expected.insert((now + ahead, order), ());
            }
            let end = now + rng.u64(..if round % 100 == 0 { 20_000_000 } else { 300 });
            while let Some((at, what)) = agenda.next_until(Instant::from_micros(end)) {
                let first = expected.pop_first().map(|(key, ())| key);
                assert_eq!(first, Some((at.as_micros(), what)));
            }
            assert!(expected.first_key_value().is_none_or(|((at, _), ())| *at > end));
            now = end;
        }
    }
}
