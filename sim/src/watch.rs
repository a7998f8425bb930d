//! What the views of a world say of its members, read off the events of its engines.
//!
//! Owns the difference between a death and a false death, and when news has reached everybody. It
//! reads each event once and never compares views, so that large worlds can be watched. Refuses to
//! act on the world.

use std::collections::{BTreeMap, BTreeSet};

use astromesh_swim::{Change, Event, Instant};
use astromesh_wire::NodeId;

use crate::report::Spread;
use crate::world::{Observation, World};

/// Watches the members of one world. Nodes are named by their index.
#[derive(Debug)]
pub(crate) struct Watch {
    indices: BTreeMap<NodeId, usize>,
    crashed: BTreeSet<usize>,
    /// Nodes below this index are cut off from the others.
    cut_at: Option<usize>,
    /// For each member that is not crashed, the views that hold it dead.
    believers: BTreeMap<usize, BTreeSet<usize>>,
    awaited: Option<Awaited>,
    pub(crate) false_deaths: u64,
    pub(crate) false_death_views: u64,
}

/// News that is on its way to everybody.
#[derive(Debug)]
pub(crate) struct Awaited {
    change: Change,
    since: Instant,
    /// For each member that the news is about, the views it has not reached.
    unaware: BTreeMap<usize, BTreeSet<usize>>,
    /// Until each member's news had reached all.
    pub(crate) everywhere: Spread,
    /// Until it had reached each view.
    pub(crate) views: Spread,
}

impl Watch {
    /// Watches from now on.
    pub(crate) fn new(world: &World) -> Self {
        let ids = world.nodes().iter().enumerate();
        Self {
            indices: ids.map(|(index, node)| (node.id(), index)).collect(),
            crashed: BTreeSet::new(),
            cut_at: None,
            believers: BTreeMap::new(),
            awaited: None,
            false_deaths: 0,
            false_death_views: 0,
        }
    }

    /// Awaits this change of each subject in each of the views that come with it.
    pub(crate) fn expect(
        &mut self,
        since: Instant,
        change: Change,
        unaware: impl Iterator<Item = (usize, BTreeSet<usize>)>,
    ) {
        let unaware = unaware.filter(|(_, views)| !views.is_empty()).collect();
        let (everywhere, views) = (Spread::default(), Spread::default());
        self.awaited = Some(Awaited { change, since, unaware, everywhere, views });
    }

    /// Whether what was awaited has come.
    pub(crate) fn is_done(&self) -> bool {
        self.awaited.as_ref().is_none_or(|awaited| awaited.unaware.is_empty())
    }

    /// Waits no longer, and says how long it took.
    pub(crate) fn give_up(&mut self) -> (Spread, Spread) {
        let Some(awaited) = self.awaited.take() else { return Default::default() };
        let Awaited { unaware, mut everywhere, mut views, .. } = awaited;
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        everywhere.add_endless(count(unaware.len()));
        views.add_endless(unaware.values().map(|views| count(views.len())).sum());
        (everywhere, views)
    }

    /// These nodes have crashed: from now on their deaths are true, and they see nothing.
    pub(crate) fn crashed(&mut self, nodes: &[usize]) {
        self.crashed.extend(nodes);
        for node in nodes {
            self.believers.remove(node);
            for views in self.believers.values_mut() {
                views.remove(node);
            }
        }
    }

    /// Nodes below this index are cut off from the others, or no longer are.
    pub(crate) const fn cut(&mut self, at: Option<usize>) {
        self.cut_at = at;
    }

    /// Reads what the engines have reported.
    pub(crate) fn read(&mut self, observations: &[Observation]) {
        for observation in observations {
            let Event::Member { id, change } = &observation.event else { continue };
            if let Some(&subject) = self.indices.get(id) {
                self.note(observation.at, observation.observer, subject, *change);
            }
        }
    }

    fn note(&mut self, at: Instant, observer: usize, subject: usize, change: Change) {
        if let Some(awaited) = &mut self.awaited {
            awaited.note(at, observer, subject, change);
        }
        if self.crashed.contains(&subject) {
            return;
        }
        if change == Change::Dead && self.are_connected(observer, subject) {
            let views = self.believers.entry(subject).or_default();
            self.false_deaths += u64::from(views.is_empty());
            self.false_death_views += u64::from(views.insert(observer));
        }
        if matches!(change, Change::Alive | Change::Joined)
            && let Some(views) = self.believers.get_mut(&subject)
        {
            views.remove(&observer);
        }
    }

    fn are_connected(&self, left: usize, right: usize) -> bool {
        self.cut_at.is_none_or(|at| (left < at) == (right < at))
    }
}

impl Awaited {
    fn note(&mut self, at: Instant, observer: usize, subject: usize, change: Change) {
        if change != self.change {
            return;
        }
        let Some(views) = self.unaware.get_mut(&subject) else { return };
        if !views.remove(&observer) {
            return;
        }
        self.views.add(at.since(self.since));
        if views.is_empty() {
            self.unaware.remove(&subject);
            self.everywhere.add(at.since(self.since));
        }
    }
}
