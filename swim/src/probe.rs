//! Who is probed next, and the probe that is running.
//!
//! Owns the order of probing: every live member once per round, in an order shuffled anew each
//! round, so that the wait for a given member is bounded (SWIM, section 4.3). Refuses to judge.

use astromesh_wire::ShortId;
use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

use crate::time::Instant;

/// A probe that has not been answered yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// Who is probed.
    pub target: ShortId,
    /// What the ack must carry.
    pub sequence: u16,
    /// When the ping left.
    pub sent_at: Instant,
    /// Who was asked to ping as well.
    pub relays: Vec<ShortId>,
    /// Which of these said that they got no answer either.
    pub nacks: Vec<ShortId>,
}

impl Probe {
    /// Whether an ack with this sequence from this sender answers the probe.
    #[must_use]
    pub fn is_answered_by(&self, sender: ShortId, sequence: u16) -> bool {
        self.sequence == sequence && (self.target == sender || self.relays.contains(&sender))
    }
}

/// The order in which members are probed. Nobody is in it twice, however often it dies and returns.
#[derive(Debug, Default)]
pub struct Order {
    round: IndexSet<ShortId, FxBuildHasher>,
    /// Index of the next one; those before it were probed in this round.
    next: usize,
}

impl Order {
    /// Adds a member at a random place among those still to come in this round.
    pub fn insert(&mut self, id: ShortId, rng: &mut fastrand::Rng) {
        let last = self.round.len();
        if self.round.insert(id) {
            self.round.swap_indices(rng.usize(self.next..=last), last);
        }
    }

    /// Makes a member the next one, whether or not it was probed in this round.
    pub fn hurry(&mut self, id: ShortId) {
        let Some(place) = self.round.get_index_of(&id) else { return };
        if place < self.next {
            self.next -= 1;
        }
        self.round.swap_indices(place, self.next);
    }

    /// The next member that satisfies `is_target`; the others are dropped from the order.
    pub fn next(
        &mut self,
        rng: &mut fastrand::Rng,
        is_target: impl Fn(ShortId) -> bool,
    ) -> Option<ShortId> {
        while !self.round.is_empty() {
            if self.next >= self.round.len() {
                self.next = 0;
                for last in (1..self.round.len()).rev() {
                    self.round.swap_indices(rng.usize(..=last), last);
                }
            }
            let id = *self.round.get_index(self.next)?;
            if is_target(id) {
                self.next += 1;
                return Some(id);
            }
            self.round.swap_remove_index(self.next);
        }
        None
    }
}
