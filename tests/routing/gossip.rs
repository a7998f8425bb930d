//! Gossip of loads, slower than the engine's: each node tells its own load at its own tick and
//! then compares its table with three others, both ways.
//!
//! Owns one table a node. Refuses to interpret the records.

use std::time::Duration;

use astromesh::routing::LoadRecord;
use fastrand::Rng;

/// Time between two ticks of a node.
pub(crate) const GOSSIP_PERIOD: Duration = Duration::from_secs(2);

/// Nodes that a tick compares with.
const FANOUT: usize = 3;

/// What every node has heard of every worker.
#[derive(Debug)]
pub(crate) struct Gossip {
    tables: Vec<Vec<Option<LoadRecord>>>,
}

/// A node has something newer of a worker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct News {
    pub(crate) node: usize,
    pub(crate) worker: usize,
    pub(crate) record: LoadRecord,
}

impl Gossip {
    pub(crate) fn new(nodes: usize, workers: usize) -> Self {
        Self { tables: vec![vec![None; workers]; nodes] }
    }

    /// A worker says how busy it is.
    pub(crate) fn tell(&mut self, worker: usize, record: LoadRecord) {
        self.tables[worker][worker] = Some(record);
    }

    /// Compares the table of `node` with others of those that are up.
    pub(crate) fn tick(
        &mut self,
        node: usize,
        is_up: &dyn Fn(usize) -> bool,
        random: &mut Rng,
    ) -> Vec<News> {
        let mut others: Vec<usize> =
            (0..self.tables.len()).filter(|other| *other != node && is_up(*other)).collect();
        let mut news = Vec::new();
        for _ in 0..FANOUT.min(others.len()) {
            let other = others.swap_remove(random.usize(0..others.len()));
            self.copy(node, other, &mut news);
            self.copy(other, node, &mut news);
        }
        news
    }

    /// Gives `to` all that is newer at `from`.
    fn copy(&mut self, from: usize, to: usize, news: &mut Vec<News>) {
        for worker in 0..self.tables[from].len() {
            let Some(record) = self.tables[from][worker] else { continue };
            let held = &mut self.tables[to][worker];
            // The same record again is no news.
            let order = |record: LoadRecord| (record.boot, record.sequence);
            if held.is_none_or(|held| order(record) > order(held)) {
                *held = Some(record);
                news.push(News { node: to, worker, record });
            }
        }
    }
}
