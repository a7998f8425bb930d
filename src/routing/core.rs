//! Which node serves a request: the state behind the choice.
//!
//! Owns what this node knows of the load and the health of others, and what it has outstanding
//! there. Does no I/O and reads no clock: `now` is the time since any fixed start, and randomness
//! comes from a seed. The HTTP server drives it, and so does the simulator.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use astromesh_wire::{NodeId, State};
use rustc_hash::FxBuildHasher;

use super::record::LoadRecord;
use super::target::{self, StaticPeer, Target};
use super::terms::{Here, Nobody, Outcome, Pick, Place, Question, Reason, Repeat, Sent, Why};
use crate::directory::{Member, Snapshot};

/// Numbers of what was decided, since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CoreStats {
    /// Picks for each of [`Reason::ALL`].
    pub picks: [u64; Reason::ALL.len()],
    /// Refusals that were told.
    pub refusals: u64,
    /// Retries allowed.
    pub retries_allowed: u64,
    /// Retries denied since the request could run twice.
    pub retries_unsafe: u64,
    /// Retries denied since the budget was empty.
    pub retries_over_budget: u64,
    /// Nodes passed over from then on, for failed connections.
    pub ejections_unreachable: u64,
    /// Nodes passed over from then on, for their answers.
    pub ejections_failing: u64,
    /// Picks for which ejections did not count, since too many nodes were ejected.
    pub panics: u64,
}

/// Everything a choice depends on.
#[derive(Debug)]
pub struct Core {
    random: fastrand::Rng,
    snapshot: Option<Arc<Snapshot>>,
    peers: Vec<Arc<Target>>,
    next_peer: usize,
    nodes: HashMap<NodeId, Standing, FxBuildHasher>,
    stats: CoreStats,
}

#[derive(Debug, Default)]
struct Standing {
    outstanding: u32,
    others: u32,
    record: Option<LoadRecord>,
    heard_at: Duration,
}

impl Standing {
    fn hear(&mut self, now: Duration, record: LoadRecord) {
        if self.record.is_none_or(|held| record.is_newer_than(&held)) {
            self.others = record.active.saturating_sub(record.yours.unwrap_or(self.outstanding));
            self.record = Some(record);
            self.heard_at = now;
        }
    }
}

impl Core {
    /// For a node of a mesh.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::with_peers(seed, &[])
    }

    /// For a node without a mesh.
    #[must_use]
    pub fn with_peers(seed: u64, peers: &[StaticPeer]) -> Self {
        Self {
            random: fastrand::Rng::with_seed(seed),
            snapshot: None,
            peers: target::of_peers(peers).into_iter().map(Arc::new).collect(),
            next_peer: 0,
            nodes: HashMap::default(),
            stats: CoreStats::default(),
        }
    }

    /// Takes in what the directory says now. To be called before each of the other methods, with
    /// the newest snapshot; it costs nothing when that is the same as before.
    pub fn observe(&mut self, now: Duration, snapshot: &Arc<Snapshot>) {
        if self.snapshot.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, snapshot)) {
            return;
        }
        for member in &snapshot.members {
            self.nodes.entry(member.id).or_default().hear(now, LoadRecord::of_member(member));
        }
        self.nodes.retain(|id, node| node.outstanding > 0 || snapshot.member(*id).is_some());
        self.snapshot = Some(Arc::clone(snapshot));
    }

    /// Takes in what a node says of its load, by a beacon or on an answer.
    pub fn heard(&mut self, now: Duration, id: NodeId, record: LoadRecord) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.hear(now, record);
        }
    }

    /// The node for a request. Does not count it: [`Self::begin`] does.
    ///
    /// # Errors
    /// No node is left.
    pub fn pick(&mut self, now: Duration, question: &Question<'_>) -> Result<Pick, Nobody> {
        let must_queue = question.bounced.len() >= 2;
        let passed = |id: &NodeId| {
            question.tried.contains(id) || (!must_queue && question.bounced.contains(id))
        };
        let candidates = self.candidates(question);
        let mut best: Option<(u32, Place, NodeId)> = match question.here {
            Here::Serves { active, .. } => Some((active, Place::Here, self.local())),
            Here::DoesNotServe => None,
        };
        for target in &candidates {
            let load = self.outstanding_and_others(target.id);
            let is_better = best.as_ref().is_none_or(|(least, ..)| load < *least);
            if is_better && !passed(&target.id) {
                best = Some((load, Place::There(Arc::clone(target)), target.id));
            }
        }
        let Some((load, place, id)) = best else {
            return Err(if candidates.is_empty() {
                Nobody::UnknownAgent
            } else {
                Nobody::AllTried
            });
        };
        let reason = if self.peers.is_empty() { Reason::LeastLoad } else { Reason::RoundRobin };
        self.stats.picks[reason as usize] += 1;
        self.next_peer = self.next_peer.wrapping_add(1 + self.random.usize(0..1));
        let heard_at = self.nodes.get(&id).map_or(now, |node| node.heard_at);
        let why = Why {
            reason,
            candidates: candidates.len() as u32,
            sampled: candidates.len() as u32,
            estimate_milli: load.saturating_mul(1_000),
            age_ms: now.saturating_sub(heard_at).as_millis() as u32,
        };
        Ok(Pick { place, must_queue, why })
    }

    /// A request leaves for this node.
    pub fn begin(&mut self, _now: Duration, id: NodeId) {
        self.nodes.entry(id).or_default().outstanding += 1;
    }

    /// A request to this node is over, answered or not.
    pub fn end(&mut self, _now: Duration, id: NodeId) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.outstanding = node.outstanding.saturating_sub(1);
        }
    }

    /// How an attempt ended.
    pub fn outcome(&mut self, _now: Duration, _target: &Target, outcome: Outcome) {
        if outcome == Outcome::Refused {
            self.stats.refusals += 1;
        }
    }

    /// Whether a failed request may be sent to another node; takes its price from the budget.
    /// Not to be asked after a refusal.
    pub fn may_retry(&mut self, _now: Duration, sent: Sent, repeat: Repeat) -> bool {
        let may = sent == Sent::Never || repeat == Repeat::Safe;
        self.stats.retries_allowed += u64::from(may);
        self.stats.retries_unsafe += u64::from(!may);
        may
    }

    /// A request came in for this agent, whoever will serve it.
    pub fn request_began(&mut self, _now: Duration, _agent: &str) {}

    /// Requests of ours that this node has not finished.
    #[must_use]
    pub fn outstanding(&self, id: NodeId) -> u32 {
        self.nodes.get(&id).map_or(0, |node| node.outstanding)
    }

    /// What was decided since the start.
    #[must_use]
    pub fn stats(&self) -> &CoreStats {
        &self.stats
    }

    fn local(&self) -> NodeId {
        self.snapshot.as_ref().map_or(NodeId::from_bytes([0; 16]), |snapshot| snapshot.local)
    }

    fn outstanding_and_others(&self, id: NodeId) -> u32 {
        self.nodes.get(&id).map_or(0, |node| node.others.saturating_add(node.outstanding))
    }

    fn candidates(&self, question: &Question<'_>) -> Vec<Arc<Target>> {
        let local = self.local();
        let live = |member: &&Member| matches!(member.state, State::Alive | State::Suspect);
        let members = self
            .snapshot
            .iter()
            .flat_map(|snapshot| snapshot.members_with_agent(question.agent).filter(live));
        let others = members.filter(|member| member.id != local);
        let targets = others.map(|member| Arc::new(Target::of_member(member)));
        let turn = if self.peers.is_empty() { 0 } else { self.next_peer % self.peers.len() };
        let (before, after) = self.peers.split_at(turn);
        after.iter().chain(before).map(Arc::clone).chain(targets).collect()
    }
}
