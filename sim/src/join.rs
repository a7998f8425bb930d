//! How a node looks for its mesh through the seeds, as the daemon does (`src/gossip/http.rs`).
//!
//! Owns when to ask whom again. Refuses to send anything.

use std::collections::BTreeMap;
use std::time::Duration;

use astromesh_wire::NodeId;

/// A round has two moments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The seeds are asked.
    Ask,
    /// Their answers are in; when to ask again.
    Judge,
}

/// How far a node is with its seeds.
#[derive(Debug)]
pub(crate) struct Seeker {
    wait: Duration,
    rounds: u32,
    has_joined: bool,
    /// Whether a seed answered in this round, or need not be asked.
    has_answer: bool,
    /// The most members that were ever seen, until fewer of them are the mesh.
    largest: usize,
    /// Rounds in a hurry that seeds answered.
    hurried: u32,
    /// Who answered for each seed last.
    answered_by: BTreeMap<usize, NodeId>,
}

impl Seeker {
    pub(crate) const fn new() -> Self {
        Self {
            wait: RETRY_FIRST,
            rounds: 0,
            has_joined: false,
            has_answer: false,
            largest: 1,
            hurried: 0,
            answered_by: BTreeMap::new(),
        }
    }

    /// One that found its mesh long ago, through these seeds.
    pub(crate) fn settled(answered_by: BTreeMap<usize, NodeId>, live: usize) -> Self {
        let (wait, has_joined) = (REVISIT, true);
        Self { wait, has_joined, largest: live, answered_by, ..Self::new() }
    }

    /// A round begins; whether seeds that are live members are asked as well.
    pub(crate) const fn begin_round(&mut self) -> bool {
        self.rounds = self.rounds.wrapping_add(1);
        self.has_answer = false;
        self.wait.as_micros() < REVISIT.as_micros()
            || self.rounds.is_multiple_of(REVISITS_PER_FULL_ROUND)
    }

    /// A list of seeds shared by all nodes names this node too.
    pub(crate) const fn met_itself(&mut self) {
        self.has_answer = true;
    }

    /// A seed answered: its place in the list, and who that was. `None` for one that need not be
    /// asked.
    pub(crate) fn answered(&mut self, seed: Option<(usize, NodeId)>) {
        (self.has_answer, self.has_joined) = (true, true);
        if let Some((seed, id)) = seed {
            self.answered_by.insert(seed, id);
        }
    }

    /// The round is over; how long to wait until the next one.
    pub(crate) fn judge(&mut self, live: usize) -> Duration {
        self.largest = self.largest.max(live);
        // In a hurry while alone, and for a while after a fifth of the mesh went out of sight.
        let is_whole = self.has_answer && live > 1 && live * 5 >= self.largest * 4;
        self.hurried = if is_whole || !self.has_answer { 0 } else { self.hurried + 1 };
        if is_whole || self.hurried >= HURRIED_ROUNDS_MAX {
            self.largest = live;
            self.wait = REVISIT;
        } else {
            self.wait = (self.wait * 2).min(RETRY_MAX);
        }
        self.wait
    }

    pub(crate) const fn is_joined(&self) -> bool {
        self.has_joined
    }

    pub(crate) fn last_answer_of(&self, seed: usize) -> Option<NodeId> {
        self.answered_by.get(&seed).copied()
    }
}

/// As in the daemon.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(5);
const REVISIT: Duration = Duration::from_secs(60);
const REVISITS_PER_FULL_ROUND: u32 = 10;
const HURRIED_ROUNDS_MAX: u32 = 60;
