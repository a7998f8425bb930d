//! Who is probed next, and the probe that is running.
//!
//! Owns the order of probing: every live member once per round, in an order shuffled anew each
//! round, so that the wait for a given member is bounded (SWIM, section 4.3). Refuses to judge.

use astromesh_wire::ShortId;

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
    /// How many of these said that they got no answer either.
    pub nacks: usize,
}

impl Probe {
    /// Whether an ack with this sequence from this sender answers the probe.
    #[must_use]
    pub fn is_answered_by(&self, sender: ShortId, sequence: u16) -> bool {
        self.sequence == sequence && (self.target == sender || self.relays.contains(&sender))
    }
}

/// The order in which members are probed.
#[derive(Debug, Default)]
pub struct Order {
    round: Vec<ShortId>,
    /// Index of the next one; those before it were probed in this round.
    next: usize,
}

impl Order {
    /// Adds a member at a random place among those still to come in this round.
    pub fn insert(&mut self, id: ShortId, rng: &mut fastrand::Rng) {
        let place = rng.usize(self.next..=self.round.len());
        self.round.push(id);
        let last = self.round.len() - 1;
        self.round.swap(place, last);
    }

    /// Moves a member to the front of what is still to come.
    pub fn hurry(&mut self, id: ShortId) {
        let Some(place) = self.round.iter().skip(self.next).position(|&other| other == id) else {
            return;
        };
        self.round.swap(self.next, self.next + place);
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
                // Who died and came back within a round is in it twice.
                self.round.sort_unstable();
                self.round.dedup();
                rng.shuffle(&mut self.round);
            }
            let id = *self.round.get(self.next)?;
            if is_target(id) {
                self.next += 1;
                return Some(id);
            }
            self.round.swap_remove(self.next);
        }
        None
    }
}
