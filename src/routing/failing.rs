//! Which agents fail on which nodes.
//!
//! A node on which the model of one agent is broken serves its other agents as well as any. So bad
//! answers count for an agent on a node, and only failed and broken connections for the node. Owns
//! the health of each such pair since it failed, [`PAIRS_MAX`] of them at most: a pair that answers
//! well for a while is forgotten, so a mesh that is well costs nothing here. Reads no clock.

use std::collections::HashMap;
use std::time::Duration;

use rustc_hash::FxBuildHasher;

use super::ejection::Health;
use super::table::Slot;
use super::tuning::{PAIRS_KEPT, PAIRS_MAX};

#[derive(Debug, Default)]
pub(super) struct Failing {
    /// By agent; none of the lists is empty.
    agents: HashMap<Box<str>, Vec<Pair>, FxBuildHasher>,
    /// Pairs in all lists.
    count: usize,
    /// When there was no room last, and nothing old to make some.
    full_at: Option<Duration>,
}

/// One agent on one node.
#[derive(Debug)]
struct Pair {
    slot: Slot,
    health: Health,
    failed_at: Duration,
}

/// There is no room for one more pair, so its failure is overlooked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoRoom;

impl Failing {
    /// The agent failed there. Tells whether the pair is ejected by that.
    pub(super) fn erred(&mut self, now: Duration, agent: &str, slot: Slot) -> Result<bool, NoRoom> {
        if self.pair(agent, slot).is_none() {
            self.make_room(now)?;
            let pair = Pair { slot, health: Health::default(), failed_at: now };
            match self.agents.get_mut(agent) {
                Some(pairs) => pairs.push(pair),
                None => {
                    self.agents.insert(agent.into(), vec![pair]);
                }
            }
            self.count += 1;
        }
        let pair = self.pair(agent, slot).expect("made above");
        pair.failed_at = now;
        Ok(pair.health.erred(now))
    }

    /// It answered well there.
    pub(super) fn answered(&mut self, now: Duration, agent: &str, slot: Slot) {
        let Some(pair) = self.pair(agent, slot) else { return };
        pair.health.answered(now);
        if pair.health.is_well(now)
            && let Some(pairs) = self.agents.get_mut(agent)
        {
            pairs.retain(|pair| pair.slot != slot);
            self.count -= 1;
            if pairs.is_empty() {
                self.agents.remove(agent);
            }
        }
    }

    /// Its answer says nothing of how well the agent is.
    pub(super) fn refused(&mut self, now: Duration, agent: &str, slot: Slot) {
        if let Some(pair) = self.pair(agent, slot) {
            pair.health.refused(now);
        }
    }

    /// A request for the agent goes there.
    pub(super) fn picked(&mut self, now: Duration, agent: &str, slot: Slot) {
        if let Some(pair) = self.pair(agent, slot) {
            pair.health.picked(now);
        }
    }

    /// Whether the next request for the agent is a trial there.
    pub(super) fn is_due(&mut self, now: Duration, agent: &str, slot: Slot) -> bool {
        self.pair(agent, slot).is_some_and(|pair| pair.health.is_due(now))
    }

    /// The moment from which the agent is not passed over there, as things stand.
    pub(super) fn until(&mut self, agent: &str, slot: Slot) -> Duration {
        self.pair(agent, slot).map_or(Duration::ZERO, |pair| pair.health.until())
    }

    /// Where the agent is passed over now.
    pub(super) fn ejected(&self, now: Duration, agent: &str) -> impl Iterator<Item = Slot> {
        let pairs = self.agents.get(agent).into_iter().flatten();
        pairs.filter(move |pair| pair.health.ejected(now).is_some()).map(|pair| pair.slot)
    }

    /// Where any agent is passed over now; a node once for each.
    pub(super) fn all_ejected(&self, now: Duration) -> impl Iterator<Item = Slot> {
        let pairs = self.agents.values().flatten();
        pairs.filter(move |pair| pair.health.ejected(now).is_some()).map(|pair| pair.slot)
    }

    /// The node is another one now, or none.
    pub(super) fn forget(&mut self, slot: Slot) {
        if self.count > 0 {
            self.retain(|pair| pair.slot != slot);
        }
    }

    fn pair(&mut self, agent: &str, slot: Slot) -> Option<&mut Pair> {
        if self.count == 0 {
            return None;
        }
        self.agents.get_mut(agent)?.iter_mut().find(|pair| pair.slot == slot)
    }

    /// When all places are taken, pairs that have not failed for long are forgotten; looked for once
    /// a second at most, as it looks at all of them.
    fn make_room(&mut self, now: Duration) -> Result<(), NoRoom> {
        if self.count < PAIRS_MAX {
            return Ok(());
        }
        if self.full_at.is_some_and(|at| now.saturating_sub(at) < Duration::from_secs(1)) {
            return Err(NoRoom);
        }
        self.retain(|pair| now.saturating_sub(pair.failed_at) < PAIRS_KEPT);
        self.full_at = (self.count == PAIRS_MAX).then_some(now);
        if self.full_at.is_some() { Err(NoRoom) } else { Ok(()) }
    }

    fn retain(&mut self, keep: impl Fn(&Pair) -> bool) {
        self.agents.retain(|_, pairs| {
            pairs.retain(&keep);
            !pairs.is_empty()
        });
        self.count = self.agents.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::tuning::{EJECTION_MAX, FAILURES_IN_ROW, WINDOW_SECONDS};

    const NOW: Duration = Duration::from_secs(100);

    fn fail(failing: &mut Failing, agent: &str, slot: Slot) {
        for _ in 0..FAILURES_IN_ROW {
            failing.erred(NOW, agent, slot).unwrap();
        }
    }

    fn ejected(failing: &Failing, agent: &str) -> Vec<Slot> {
        failing.ejected(NOW, agent).collect()
    }

    #[test]
    fn each_agent_on_each_node_is_judged_by_itself() {
        let mut failing = Failing::default();
        fail(&mut failing, "a", 1);
        failing.erred(NOW, "a", 2).unwrap();
        failing.erred(NOW, "b", 1).unwrap();
        assert_eq!((ejected(&failing, "a"), ejected(&failing, "b")), (vec![1], vec![]));
        failing.forget(1);
        assert_eq!((ejected(&failing, "a"), failing.count), (vec![], 1));
    }

    #[test]
    fn a_pair_that_has_been_well_for_a_while_is_forgotten() {
        let mut failing = Failing::default();
        failing.erred(NOW, "a", 1).unwrap();
        failing.answered(NOW, "a", 1);
        assert_eq!(failing.count, 1, "the failure is one of the last seconds");
        failing.answered(NOW + Duration::from_secs(WINDOW_SECONDS as u64), "a", 1);
        assert_eq!((failing.count, failing.agents.len()), (0, 0));
        failing.answered(NOW, "b", 1);
        assert_eq!(failing.count, 0, "who never failed is not kept");
    }

    #[test]
    fn beyond_the_maximum_a_failure_is_overlooked_until_others_are_old() {
        let mut failing = Failing::default();
        let names: Vec<String> = (0..=PAIRS_MAX).map(|number| number.to_string()).collect();
        for name in &names[..PAIRS_MAX] {
            failing.erred(NOW, name, 1).unwrap();
        }
        let last = &names[PAIRS_MAX];
        assert_eq!(failing.erred(NOW, last, 1), Err(NoRoom));
        assert_eq!(failing.erred(NOW, &names[0], 1), Ok(false), "who is known is counted on");
        assert!(PAIRS_KEPT > EJECTION_MAX, "who is ejected is not forgotten");
        failing.erred(NOW + PAIRS_KEPT / 2, &names[1], 1).unwrap();
        assert_eq!(failing.erred(NOW + PAIRS_KEPT, last, 1), Ok(false));
        assert_eq!(failing.count, 2, "the one that failed since, and the new one");
    }
}
