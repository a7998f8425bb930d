//! Who is probed next, and the probe that is running.
//!
//! Owns the order of probing: every live member once per round, in an order shuffled anew each
//! round, so that the wait for a given member is bounded (SWIM, section 4.3). Refuses to judge.

use astromesh_wire::ShortId;
use smallvec::SmallVec;

use crate::time::Instant;

/// A few members chosen at random; only an unusual configuration takes memory of its own.
pub type Chosen = SmallVec<[ShortId; 6]>;

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
    pub relays: Chosen,
    /// Which of these said that they got no answer either.
    pub nacks: Chosen,
}

impl Probe {
    /// Whether an ack with this sequence from this sender answers the probe.
    #[must_use]
    pub fn is_answered_by(&self, sender: ShortId, sequence: u16) -> bool {
        self.sequence == sequence && (self.target == sender || self.relays.contains(&sender))
    }
}

/// The live members in the order in which they are probed.
///
/// Where a member stands is known to whoever holds it: each method reports to `moved` who stands
/// where from now on.
#[derive(Debug, Default)]
pub(crate) struct Order {
    round: Vec<ShortId>,
    /// Index of the next one; those before it were probed in this round.
    next: usize,
}

impl Order {
    /// All members, those that were probed in this round first.
    pub(crate) const fn ids(&self) -> &[ShortId] {
        self.round.as_slice()
    }

    pub(crate) fn reserve(&mut self, more: usize) {
        self.round.reserve_exact(more);
    }

    /// Adds a member that is not in the order; it comes last.
    pub(crate) fn push(&mut self, id: ShortId, moved: impl FnOnce(ShortId, usize)) {
        moved(id, self.round.len());
        crate::table::push_tight(&mut self.round, id);
    }

    /// Takes out the member at this place.
    pub(crate) fn remove(&mut self, place: usize, mut moved: impl FnMut(ShortId, usize)) {
        let mut hole = place;
        if hole < self.next {
            // The last of those probed in this round fills the hole, so that they stay in front.
            self.next -= 1;
            self.swap(hole, self.next, &mut moved);
            hole = self.next;
        }
        self.swap(hole, self.round.len().saturating_sub(1), &mut moved);
        self.round.pop();
    }

    /// Moves the member at this place to a random one among those still to come in this round.
    pub(crate) fn mix_in(
        &mut self,
        place: usize,
        rng: &mut fastrand::Rng,
        mut moved: impl FnMut(ShortId, usize),
    ) {
        if (self.next..self.round.len()).contains(&place) {
            self.swap(place, rng.usize(self.next..self.round.len()), &mut moved);
        }
    }

    /// Makes the member at this place the next one, whether or not it was probed in this round.
    pub(crate) fn hurry(&mut self, place: usize, mut moved: impl FnMut(ShortId, usize)) {
        if place < self.next {
            self.next -= 1;
        }
        self.swap(place, self.next, &mut moved);
    }

    /// The next member; `None` if there is none.
    pub(crate) fn next(
        &mut self,
        rng: &mut fastrand::Rng,
        mut moved: impl FnMut(ShortId, usize),
    ) -> Option<ShortId> {
        if self.next >= self.round.len() {
            self.next = 0;
            rng.shuffle(&mut self.round);
            for (place, &id) in self.round.iter().enumerate() {
                moved(id, place);
            }
        }
        let id = *self.round.get(self.next)?;
        self.next += 1;
        Some(id)
    }

    fn swap(&mut self, one: usize, other: usize, moved: &mut impl FnMut(ShortId, usize)) {
        if one == other || one.max(other) >= self.round.len() {
            return;
        }
        self.round.swap(one, other);
        for place in [one, other] {
            if let Some(&id) = self.round.get(place) {
                moved(id, place);
            }
        }
    }
}
