//! Who died, who knows of it, and who was declared dead without having died.
//!
//! Owns the truth about crashes and what became of it in the views. Refuses to judge: bounds and
//! rates are the business of scenarios and tests.

use std::time::Duration;

use astromesh_swim::Instant;
use astromesh_wire::NodeId;
use rustc_hash::FxHashMap;

/// A node that was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crash {
    /// Which one.
    pub node: usize,
    /// Its id.
    pub id: NodeId,
    /// When.
    pub at: Instant,
    /// How the story ended, if it did.
    pub end: CrashEnd,
    /// The views in which it is still live, of nodes that took part when it died and still do.
    waiting: Vec<usize>,
}

/// What became of the news of a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashEnd {
    /// Not all views know it yet.
    Open,
    /// The last view learned of it then.
    Known(Instant),
    /// The node was started again before all knew.
    Restarted,
}

/// A death declared of a node that had not died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FalseDeath {
    /// Of whom.
    pub victim: usize,
    /// What was wrong with the victim.
    pub class: VictimClass,
    /// Who held it dead first.
    pub observer: usize,
    /// When.
    pub at: Instant,
    /// In how many views.
    pub views: u64,
}

/// What was wrong with a node that was declared dead without having died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VictimClass {
    /// Nothing, and nothing had been for a while.
    Healthy,
    /// Its process or its link had a fault of its own.
    Faulty,
}

/// What the world knows when a view holds somebody dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Truth {
    /// It is dead, or gone, or that life of it is over.
    Right,
    /// A cut lies between the two: nobody can know.
    Cut,
    /// It is not.
    Wrong(usize, VictimClass),
}

/// The life that a claim speaks of: id, generation, incarnation.
pub(crate) type Life = (NodeId, u32, u32);

/// All of it.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    crashes: Vec<Crash>,
    open: Vec<usize>,
    false_deaths: Vec<FalseDeath>,
    /// What the first view that held this life dead came to: an index of `false_deaths`.
    verdicts: FxHashMap<Life, Option<usize>>,
    /// Views in which a node that runs counts as dead without anybody having declared it dead.
    given_up: u64,
}

impl Ledger {
    /// A node was killed, and these others have it live in their views.
    pub(crate) fn crashed(&mut self, at: Instant, node: usize, id: NodeId, waiting: Vec<usize>) {
        self.excused(at, node);
        let end = if waiting.is_empty() { CrashEnd::Known(at) } else { CrashEnd::Open };
        if end == CrashEnd::Open {
            self.open.push(self.crashes.len());
        }
        self.crashes.push(Crash { node, id, at, end, waiting });
    }

    /// A node runs again: nobody needs to know any more.
    pub(crate) fn restarted(&mut self, node: usize) {
        let crashes = &mut self.crashes;
        self.open.retain(|&index| {
            let is_other = crashes[index].node != node;
            if !is_other {
                crashes[index].end = CrashEnd::Restarted;
            }
            is_other
        });
    }

    /// This node does not take part any more and learns nothing.
    pub(crate) fn excused(&mut self, now: Instant, observer: usize) {
        self.strike(now, |_| true, observer);
    }

    /// A view holds somebody dead or gone.
    pub(crate) fn learned(&mut self, now: Instant, observer: usize, id: NodeId) {
        self.strike(now, |crash| crash.id == id, observer);
    }

    fn strike(&mut self, now: Instant, is_meant: impl Fn(&Crash) -> bool, observer: usize) {
        let crashes = &mut self.crashes;
        self.open.retain(|&index| {
            let crash = &mut crashes[index];
            if is_meant(crash)
                && let Ok(place) = crash.waiting.binary_search(&observer)
            {
                crash.waiting.remove(place);
                if crash.waiting.is_empty() {
                    crash.end = CrashEnd::Known(now);
                }
            }
            crash.end == CrashEnd::Open
        });
    }

    /// A view holds a life dead. The first view of it decides what that was: others only follow.
    pub(crate) fn declared(&mut self, at: Instant, observer: usize, life: Life, truth: Truth) {
        let false_deaths = &mut self.false_deaths;
        let verdict = self.verdicts.entry(life).or_insert_with(|| {
            let Truth::Wrong(victim, class) = truth else { return None };
            false_deaths.push(FalseDeath { victim, class, observer, at, views: 0 });
            Some(false_deaths.len() - 1)
        });
        if let Some(death) = verdict.and_then(|index| false_deaths.get_mut(index)) {
            death.views += 1;
        }
    }

    /// A view counts somebody as dead for itself alone, and tells nobody.
    pub(crate) const fn given_up(&mut self, truth: Truth) {
        if let Truth::Wrong(..) = truth {
            self.given_up += 1;
        }
    }

    pub(crate) const fn falsely_given_up(&self) -> u64 {
        self.given_up
    }

    pub(crate) fn crashes(&self) -> &[Crash] {
        &self.crashes
    }

    pub(crate) fn false_deaths(&self) -> &[FalseDeath] {
        &self.false_deaths
    }
}

impl Crash {
    /// How long it took until all views knew, or has taken so far; `None` if it was started again.
    #[must_use]
    pub fn known_after(&self, now: Instant) -> Option<Duration> {
        match self.end {
            CrashEnd::Open => Some(now.since(self.at)),
            CrashEnd::Known(known) => Some(known.since(self.at)),
            CrashEnd::Restarted => None,
        }
    }

    /// The views in which it is still live.
    #[must_use]
    pub fn waiting(&self) -> &[usize] {
        &self.waiting
    }
}
