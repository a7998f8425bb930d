//! The choice among candidates: a pass over some or all of them that keeps the best.
//!
//! Owns what makes one candidate better than another. Allocates nothing, and looks at each
//! candidate once.

use std::ops::Range;
use std::time::Duration;

use astromesh_wire::NodeId;

use super::affinity::{hash_of, preference};
use super::node::inverse_capacity;
use super::sample::Sample;
use super::table::{Mark, Mood, Slot, Table, Tier};
use super::terms::Here;
use super::tuning::{AFFINITY_SLACK, AFFINITY_SPREAD, EJECTED_PERCENT_MAX};

/// What a choice is made from.
pub(super) struct Field<'a> {
    pub(super) now: Duration,
    pub(super) table: &'a Table,
    /// In no order that means anything; a choice may shuffle them.
    pub(super) candidates: &'a mut [Slot],
    pub(super) local: Local,
    pub(super) mood: Mood,
    pub(super) random: &'a mut fastrand::Rng,
}

/// The part of this node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Local {
    pub(super) id: NodeId,
    pub(super) here: Here,
    pub(super) mark: Mark,
}

/// A candidate that can be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choice {
    Local,
    Remote(Slot),
}

/// The best of those that were compared.
#[derive(Debug, Clone, Copy)]
pub(super) struct Best {
    pub(super) choice: Choice,
    pub(super) tier: Tier,
    pub(super) compared: u32,
}

impl Local {
    /// Its load and one over its capacity, if it serves.
    pub(super) fn load(&self) -> Option<(u32, f32)> {
        match self.here {
            Here::Serves { active, limit } => Some((active, inverse_capacity(limit))),
            Here::DoesNotServe => None,
        }
    }
}

/// Keeps the best of what it is shown.
#[derive(Default)]
struct Contest {
    best: Option<(u64, Choice, Tier)>,
    equals: u32,
    compared: u32,
}

impl Contest {
    /// Lower keys win. The tier decides first, then how full the node would be with this request,
    /// and of equals the local node is taken, since it costs no hop. Ties between others are broken
    /// at random: a fixed order would send the first requests of every gateway to the same node.
    #[inline]
    fn show(&mut self, choice: Choice, tier: Tier, cost: f32, random: &mut fastrand::Rng) {
        self.compared += 1;
        let is_remote = u64::from(choice != Choice::Local);
        // The bits of positive floats are ordered as the floats are.
        let key = (tier as u64) << 33 | u64::from(cost.to_bits()) << 1 | is_remote;
        let is_better = match self.best {
            Some((best, ..)) if key > best => false,
            Some((best, ..)) if key == best => {
                // The k-th of equals replaces those before it with probability 1/k: in the end all
                // are equally likely, without a list of them.
                self.equals += 1;
                random.u32(0..self.equals) == 0
            }
            _ => {
                self.equals = 1;
                true
            }
        };
        if is_better {
            self.best = Some((key, choice, tier));
        }
    }

    fn best(self) -> Option<Best> {
        let compared = self.compared;
        self.best.map(|(_, choice, tier)| Best { choice, tier, compared })
    }
}

fn cost(load: u32, inverse_capacity: f32) -> f32 {
    (load as f32 + 1.0) * inverse_capacity
}

impl Field<'_> {
    /// The least loaded of a sample, drawn at random without putting any back, and of this node,
    /// whose load is always known.
    pub(super) fn least(&mut self, sample: Sample) -> Option<Best> {
        let mut contest = Contest::default();
        self.show_local(&mut contest, Mark::Unmet);
        let all = self.candidates.len();
        self.show_some(&mut contest, 0..sample.told_end.min(all), sample.told);
        self.show_some(&mut contest, sample.told_end.min(all)..all, sample.untold);
        contest.best()
    }

    /// Shows so many of the candidates in `range`. Those that are not well are looked at beside
    /// these and do not count.
    fn show_some(&mut self, contest: &mut Contest, range: Range<usize>, count: usize) {
        let is_all = count >= range.len();
        let mut seen = 0;
        for position in range.clone() {
            if seen == count {
                break;
            }
            if !is_all {
                self.draw(position..range.end);
            }
            let slot = self.candidates[position];
            let node = self.table.node(slot);
            if self.table.marked(node) == Mark::Unmet {
                let tier = self.table.tier(node, self.now, self.mood);
                self.show(contest, slot, tier, node.cost(self.now));
                seen += usize::from(tier == Tier::Alive);
            }
        }
    }

    /// The node to queue a request that others refused: the least loaded of those, whose numbers
    /// are fresh, and of some `others` drawn at random.
    pub(super) fn last_resort(&mut self, others: usize) -> Option<Best> {
        let mut contest = Contest::default();
        self.show_local(&mut contest, Mark::Unmet);
        self.show_local(&mut contest, Mark::Bounced);
        for position in 0..self.candidates.len() {
            self.show_if(&mut contest, position, Mark::Bounced);
        }
        let mut drawn = 0;
        for position in 0..self.candidates.len() {
            if drawn == others {
                break;
            }
            self.draw(position..self.candidates.len());
            drawn += usize::from(self.show_if(&mut contest, position, Mark::Unmet));
        }
        contest.best()
    }

    /// The node that the session prefers, unless that has much more to do than the others.
    pub(super) fn preferred(&self, session: u64) -> Option<Best> {
        let mut preferred: Option<(u64, Choice, u32, f32)> = None;
        let (mut sum, mut compared) = (0.0, 0_u32);
        let mut show = |choice, hash, load: u32, inverse_capacity: f32| {
            sum += fill(load, inverse_capacity);
            compared += 1;
            let number = preference(session, hash);
            if preferred.is_none_or(|(highest, ..)| number > highest) {
                preferred = Some((number, choice, load, inverse_capacity));
            }
        };
        if let (Some((load, inverse)), Mark::Unmet) = (self.local.load(), self.local.mark) {
            show(Choice::Local, hash_of(self.local.id), load, inverse);
        }
        for slot in &*self.candidates {
            let node = self.table.node(*slot);
            let is_unmet = self.table.marked(node) == Mark::Unmet;
            if is_unmet && self.table.tier(node, self.now, self.mood) == Tier::Alive {
                let inverse = node.inverse_capacity(self.now);
                show(Choice::Remote(*slot), node.hash, node.load(), inverse);
            }
        }
        let (_, choice, load, inverse) = preferred?;
        let is_full = match (choice, self.local.here) {
            (Choice::Remote(slot), _) => self.table.node(slot).is_full(),
            (Choice::Local, Here::Serves { active, limit }) => limit > 0 && active >= limit,
            (Choice::Local, Here::DoesNotServe) => false,
        };
        let bound = AFFINITY_SPREAD * sum / compared as f32 + AFFINITY_SLACK * inverse;
        (!is_full && fill(load, inverse) <= bound).then_some(Best {
            choice,
            tier: Tier::Alive,
            compared,
        })
    }

    /// The node that a request went to before, if it takes the repeat.
    pub(super) fn home(&self, id: NodeId) -> Option<Best> {
        // Nothing is compared.
        let best = |choice| Best { choice, tier: Tier::Alive, compared: 0 };
        if id == self.local.id {
            let is_open = self.local.load().is_some() && self.local.mark == Mark::Unmet;
            return is_open.then(|| best(Choice::Local));
        }
        let slot = self.table.slot(id).filter(|slot| self.candidates.contains(slot))?;
        let node = self.table.node(slot);
        let is_open = self.table.marked(node) == Mark::Unmet
            && matches!(self.table.tier(node, self.now, self.mood), Tier::Alive | Tier::Suspect);
        is_open.then(|| best(Choice::Remote(slot)))
    }

    /// Whether so many are ejected that errors must not count.
    pub(super) fn mood_now(&self) -> Mood {
        if !self.table.has_ejected(self.now) {
            return Mood::Calm;
        }
        let mut all = u32::from(self.local.load().is_some());
        let mut ejected = 0;
        for slot in &*self.candidates {
            let tier = self.table.tier(self.table.node(*slot), self.now, Mood::Calm);
            all += u32::from(tier != Tier::Draining);
            ejected += u32::from(matches!(tier, Tier::EjectedAlive | Tier::EjectedSuspect));
        }
        if ejected * 100 > all * EJECTED_PERCENT_MAX { Mood::Panic } else { Mood::Calm }
    }

    fn show_local(&mut self, contest: &mut Contest, mark: Mark) {
        if let Some((load, inverse)) = self.local.load()
            && self.local.mark == mark
        {
            contest.show(Choice::Local, Tier::Alive, cost(load, inverse), self.random);
        }
    }

    #[inline]
    fn show(&mut self, contest: &mut Contest, slot: Slot, tier: Tier, cost: f32) {
        contest.show(Choice::Remote(slot), tier, cost, self.random);
    }

    /// Shows a candidate that is well and has met the question like this.
    fn show_if(&mut self, contest: &mut Contest, position: usize, mark: Mark) -> bool {
        let slot = self.candidates[position];
        let node = self.table.node(slot);
        let tier = self.table.tier(node, self.now, self.mood);
        let is_shown = self.table.marked(node) == mark && tier == Tier::Alive;
        if is_shown {
            self.show(contest, slot, tier, node.cost(self.now));
        }
        is_shown
    }

    /// Puts one of the candidates in `range`, drawn at random, to its start.
    #[inline]
    fn draw(&mut self, range: Range<usize>) {
        self.candidates.swap(range.start, self.random.usize(range));
    }
}

/// Requests over capacity.
pub(super) fn fill(load: u32, inverse_capacity: f32) -> f32 {
    load as f32 * inverse_capacity
}
