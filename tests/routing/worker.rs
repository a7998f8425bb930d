//! One worker: how long its requests take, and what it says of itself.
//!
//! Owns the slots, the queue and the node's own count, which is the production one. Refuses to
//! choose: whoever asks says whether it may refuse.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use astromesh::routing::{LoadGuard, LoadRecord, LocalLoad};
use astromesh_wire::NodeId;

use crate::scenario::{Discipline, SLOTS};

/// A worker and its work. Slots and sharing are one model: what runs gets the share
/// `min(1, slots / running)` of a slot, and with slots no more runs than there are.
#[derive(Debug)]
pub(crate) struct Worker {
    load: LocalLoad,
    /// As it announces it.
    limit: u32,
    boot: u32,
    /// When its process began, from which its own time counts.
    started: Duration,
    speed: f64,
    running_max: usize,
    /// By the work done for each at its end, then by number.
    running: BTreeMap<(Duration, usize), LoadGuard>,
    waiting: VecDeque<(usize, Duration, LoadGuard)>,
    /// Work that a request would have got that had run since the start.
    done: Duration,
    /// When `done` was true.
    done_at: Duration,
    is_up: bool,
}

/// Why a request was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    Full,
    Draining,
}

impl Worker {
    /// A `limit` of 0 is none: it lets wait what it has no slot for.
    pub(crate) fn new(speed: f64, discipline: Discipline, limit: u32) -> Self {
        let running_max = match discipline {
            Discipline::Slots => SLOTS as usize,
            Discipline::Sharing => usize::MAX,
        };
        Self {
            load: LocalLoad::new(1, limit),
            limit,
            boot: 1,
            started: Duration::ZERO,
            speed,
            running_max,
            running: BTreeMap::new(),
            waiting: VecDeque::new(),
            done: Duration::ZERO,
            done_at: Duration::ZERO,
            is_up: true,
        }
    }

    /// Takes a request in, or says why not. One that must queue is refused only by a worker that
    /// drains.
    pub(crate) fn offer(
        &mut self,
        now: Duration,
        request: (usize, Duration),
        origin: Option<NodeId>,
        must_queue: bool,
    ) -> Result<(), Refusal> {
        if self.load.is_draining() {
            return Err(Refusal::Draining);
        }
        if !must_queue && self.limit > 0 && self.active() >= self.limit {
            return Err(Refusal::Full);
        }
        let guard = self.load.enter(now - self.started, origin);
        self.advance(now);
        let (number, demand) = request;
        if self.running.len() < self.running_max {
            self.running.insert((self.done + demand, number), guard);
        } else {
            self.waiting.push_back((number, demand, guard));
        }
        Ok(())
    }

    /// When it will be done with a request, if nothing more comes.
    pub(crate) fn due(&self) -> Option<Duration> {
        let ((end, _), _) = self.running.first_key_value()?;
        // Rounding may have counted a nanosecond too much.
        Some(self.done_at + end.saturating_sub(self.done).div_f64(self.rate()))
    }

    /// The request that is done at the time that [`Self::due`] named. Its guard still counts: the
    /// head of the answer leaves before the last byte.
    pub(crate) fn finish(&mut self, now: Duration) -> (usize, LoadGuard) {
        let ((end, number), guard) = self.running.pop_first().expect("something is due");
        (self.done, self.done_at) = (end, now);
        if let Some((number, demand, guard)) = self.waiting.pop_front() {
            self.running.insert((self.done + demand, number), guard);
        }
        (number, guard)
    }

    /// Its process ends at once; the requests that were in flight.
    pub(crate) fn kill(&mut self) -> Vec<usize> {
        self.is_up = false;
        let running = std::mem::take(&mut self.running).into_keys().map(|(_, number)| number);
        running.chain(self.waiting.drain(..).map(|(number, ..)| number)).collect()
    }

    /// Takes nothing new from now on.
    pub(crate) fn drain(&self) {
        self.load.drain();
    }

    /// A new process in the old place.
    pub(crate) fn start_again(&mut self, now: Duration) {
        assert_eq!(self.active(), 0, "its work was done or lost");
        self.boot += 1;
        self.started = now;
        self.load = LocalLoad::new(self.boot, self.limit);
        self.is_up = true;
    }

    /// Requests in service and waiting.
    pub(crate) fn active(&self) -> u32 {
        self.load.active()
    }

    /// Requests that it works on at once, as it announces it.
    pub(crate) const fn limit(&self) -> u32 {
        self.limit
    }

    /// Whether it takes new requests.
    pub(crate) fn takes_work(&self) -> bool {
        self.is_up && !self.load.is_draining()
    }

    /// Whether connections to it are accepted.
    pub(crate) const fn is_up(&self) -> bool {
        self.is_up
    }

    /// Counts its processes, from 1.
    pub(crate) const fn boot(&self) -> u32 {
        self.boot
    }

    /// What it says of itself.
    pub(crate) fn record(&self, now: Duration, origin: Option<NodeId>) -> LoadRecord {
        self.load.record(now - self.started, origin)
    }

    /// Who sent it work lately.
    pub(crate) fn recent_origins(&self, now: Duration) -> Vec<NodeId> {
        self.load.recent_origins(now - self.started)
    }

    fn advance(&mut self, now: Duration) {
        if !self.running.is_empty() {
            self.done += (now - self.done_at).mul_f64(self.rate());
        }
        self.done_at = now;
    }

    /// Work that each running request gets in a second.
    fn rate(&self) -> f64 {
        let share = f64::from(SLOTS) / self.running.len() as f64;
        self.speed * share.min(1.0)
    }
}
