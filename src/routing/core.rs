//! Which node serves a request: everything the choice depends on, behind one type.
//!
//! Owns what this node knows of the load and the health of others, what it has outstanding there,
//! and the budget of retries. Does no I/O and reads no clock: `now` is the time since any fixed
//! start, and randomness comes from a seed. The HTTP server drives it, and so does the simulator.
//! The rules are told in `docs/routing.md`; their numbers are in [`tuning`](super::tuning).

use std::sync::Arc;
use std::time::Duration;

use astromesh_wire::NodeId;

use super::choose::{Best, Choice, Field, Local, fill};
use super::failing::NoRoom;
use super::index::Index;
use super::peers::{Peers, take_turn};
use super::record::LoadRecord;
use super::repeats::Repeats;
use super::retry::{RetryBudget, Verdict};
use super::sample::Sample;
use super::table::{Believed, Mark, Mood, Table, Tier};
use super::target::{StaticPeer, Target};
use super::terms::{Judgement, Nobody, Outcome, Pick, Place, Question, Reason, Repeat, Sent, Why};
use super::tuning::{BOUNCES_MAX, LAST_RESORT_DRAWN, SLOW_START};
use crate::directory::Snapshot;

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
    /// Nodes passed over from then on, for all agents or for one, for what became of requests.
    pub ejections_failing: u64,
    /// Picks for which errors of nodes did not count, since too many nodes were ejected.
    pub panics: u64,
}

/// Everything a choice depends on.
#[derive(Debug)]
pub struct Core {
    random: fastrand::Rng,
    snapshot: Option<Arc<Snapshot>>,
    /// When the first snapshot came.
    began_at: Duration,
    table: Table,
    index: Index,
    peers: Peers,
    repeats: Repeats,
    budget: RetryBudget,
    stats: CoreStats,
}

/// The rule by which a node was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    Least,
    Sample,
    Affinity,
    Turn,
    LastResort,
}

/// How nodes are compared.
enum Way<'a> {
    /// By their load, so many of them.
    Load { sample: Sample },
    /// One after the other.
    Turns { next: &'a mut usize },
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
        let mut core = Self {
            random: fastrand::Rng::with_seed(seed),
            snapshot: None,
            began_at: Duration::ZERO,
            table: Table::default(),
            index: Index::default(),
            peers: Peers::default(),
            repeats: Repeats::default(),
            budget: RetryBudget::new(),
            stats: CoreStats::default(),
        };
        core.set_peers(peers);
        core
    }

    /// Replaces the static peers. What is known of one that keeps its URL is kept, and requests
    /// outstanding at one that goes are counted to their end.
    pub fn set_peers(&mut self, peers: &[StaticPeer]) {
        self.peers.replace(&mut self.table, peers);
    }

    /// Takes in what the directory says now. To be called before each of the other methods, with
    /// the newest snapshot; it costs nothing when that is the same as before. How many of the members
    /// said something new of their load.
    pub fn observe(&mut self, now: Duration, snapshot: &Arc<Snapshot>) -> u64 {
        let old = match &self.snapshot {
            Some(old) if Arc::ptr_eq(old, snapshot) => return 0,
            Some(old) => Some(old.as_ref()),
            None => {
                self.began_at = now;
                None
            }
        };
        let is_settled = now.saturating_sub(self.began_at) >= SLOW_START;
        let loads = self.index.follow(now, &mut self.table, old, snapshot, is_settled);
        self.snapshot = Some(Arc::clone(snapshot));
        loads
    }

    /// Takes in what a node says of its load on an answer. What a node unknown to the directory says
    /// is passed over.
    pub fn heard(&mut self, now: Duration, id: NodeId, record: LoadRecord) {
        if let Some(slot) = self.table.slot(id) {
            self.table.hear(now, slot, record);
        }
    }

    /// The same by a beacon, which others could forge. Whether its sequence was further ahead than
    /// it can be: then it counts as the highest that can be, so that the node's next word holds.
    pub fn heard_by_beacon(&mut self, now: Duration, id: NodeId, record: LoadRecord) -> bool {
        let slot = self.table.slot(id);
        slot.is_some_and(|slot| self.table.hear_of(now, slot, record) == Believed::InPart)
    }

    /// The node for a request. Does not count it: [`Self::begin`] does.
    ///
    /// # Errors
    /// No node is left.
    pub fn pick(&mut self, now: Duration, question: &Question<'_>) -> Result<Pick, Nobody> {
        self.table.mark(now, question.agent, question.tried, question.bounced);
        let members = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.members.len());
        let Self { random, table, index, peers, .. } = self;
        let agent = index.get(question.agent);
        let is_known = agent.is_some();
        let peers = peers.round(question.agent);
        let (candidates, way) = if peers.slots.is_empty() {
            match agent {
                Some(agent) => {
                    let sample = agent.sampling.get(now, table, &mut agent.candidates, members);
                    (agent.candidates.as_mut_slice(), Way::Load { sample })
                }
                None => (&mut [][..], Way::Load { sample: Sample::default() }),
            }
        } else {
            (peers.slots.as_mut_slice(), Way::Turns { next: &mut peers.next })
        };
        let local = local(self.snapshot.as_deref(), question);
        let mut field = Field { now, table, candidates, local, mood: Mood::Calm, random };
        field.mood = field.mood_now();
        let home = question.key.and_then(|key| self.repeats.node(key));
        let found = home
            .and_then(|id| field.home(id))
            .map(|best| (best, Rule::Affinity))
            .or_else(|| find(&mut field, question, way));
        let mood = field.mood;
        let candidates = field.candidates.len() + usize::from(local.load().is_some());
        self.stats.panics += u64::from(mood == Mood::Panic);
        match found {
            Some((best, rule)) => {
                let pick = self.settle(now, question.agent, (best, rule), candidates, local);
                if let Some(key) = question.key {
                    let id = match &pick.place {
                        Place::Here => local.id,
                        Place::There(target) => target.id,
                    };
                    self.repeats.went_to(key, id);
                }
                Ok(pick)
            }
            None if candidates > 0 => Err(Nobody::AllTried),
            None if is_known => Err(Nobody::NoAliveNode),
            None => Err(Nobody::UnknownAgent),
        }
    }

    /// A request leaves for this node.
    pub fn begin(&mut self, now: Duration, id: NodeId) {
        self.table.begin(now, id);
    }

    /// A request to this node is over, answered or not.
    pub fn end(&mut self, _now: Duration, id: NodeId) {
        self.table.end(id);
    }

    /// How an attempt for an agent ended; with an empty name nothing is said of an agent, only of the
    /// node. What is said of a process that is no more is passed over.
    pub fn outcome(
        &mut self,
        now: Duration,
        target: &Target,
        agent: &str,
        outcome: Outcome,
    ) -> Judgement {
        self.stats.refusals += u64::from(outcome == Outcome::Refused);
        let Some(slot) = self.table.slot(target.id) else { return Judgement::AsBefore };
        let held = self.table.node(slot).target();
        if held.is_none_or(|held| held.generation != target.generation) {
            return Judgement::AsBefore;
        }
        let table = &mut self.table;
        let is_ejected = match outcome {
            Outcome::NotConnected => Ok(table.judge(slot, |health| health.unreachable(now))),
            Outcome::Broken => Ok(table.judge(slot, |health| health.broke(now))),
            // Only that it was sent is known of the node.
            Outcome::TimedOut => table.agent_erred(now, agent, slot),
            Outcome::Refused => {
                table.judge(slot, |health| health.refused(now));
                table.agent_refused(now, agent, slot);
                Ok(false)
            }
            Outcome::Answered(status) => {
                table.judge(slot, |health| health.answered(now));
                match status {
                    // A node says these of a queue that was too long for the caller, and of the
                    // caller's own deadline; of itself it says that it refuses.
                    503 | 504 if target.is_node => {
                        table.agent_refused(now, agent, slot);
                        Ok(false)
                    }
                    500 | 502..=504 => table.agent_erred(now, agent, slot),
                    _ => {
                        table.agent_answered(now, agent, slot);
                        Ok(false)
                    }
                }
            }
        };
        match is_ejected {
            Ok(false) => return Judgement::AsBefore,
            Err(NoRoom) => return Judgement::Overlooked,
            Ok(true) if outcome == Outcome::NotConnected => self.stats.ejections_unreachable += 1,
            Ok(true) => self.stats.ejections_failing += 1,
        }
        Judgement::Ejected
    }

    /// Whether a failed request may be sent to another node; takes its price from the budget.
    /// Not to be asked after a refusal: refusals are answered at once and limited to two.
    pub fn may_retry(&mut self, now: Duration, sent: Sent, repeat: Repeat) -> bool {
        let verdict = self.budget.ask(now, sent, repeat);
        let count = match verdict {
            Verdict::Allowed => &mut self.stats.retries_allowed,
            Verdict::Unsafe => &mut self.stats.retries_unsafe,
            Verdict::OverBudget => &mut self.stats.retries_over_budget,
        };
        *count += 1;
        verdict == Verdict::Allowed
    }

    /// A request came in for this agent, whoever will serve it.
    pub fn request_began(&mut self, now: Duration, agent: &str) {
        self.budget.request_began();
        if let Some(agent) = self.index.get(agent) {
            agent.sampling.request_began(now);
        }
    }

    /// Requests of ours that this node has not finished.
    #[must_use]
    pub fn outstanding(&self, id: NodeId) -> u32 {
        self.table.slot(id).map_or(0, |slot| self.table.node(slot).outstanding())
    }

    /// Nodes that are passed over now, for all agents or for some.
    #[must_use]
    pub fn ejected(&self, now: Duration) -> usize {
        self.table.ejected(now)
    }

    /// What was decided since the start.
    #[must_use]
    pub fn stats(&self) -> &CoreStats {
        &self.stats
    }

    /// Writes down that this node is taken, and why.
    fn settle(
        &mut self,
        now: Duration,
        agent: &str,
        (best, rule): (Best, Rule),
        candidates: usize,
        local: Local,
    ) -> Pick {
        let (place, load, inverse_capacity, age, reason) = match best.choice {
            Choice::Local => {
                let (load, inverse_capacity) = local.load().unwrap_or_default();
                (Place::Here, load, inverse_capacity, Duration::ZERO, reason(best, rule))
            }
            Choice::Remote(slot) => {
                let node = self.table.node(slot);
                let is_ejected = self.table.is_out(node, now);
                let target = node.target().expect("a candidate has a place");
                let place = Place::There(Arc::clone(target));
                let told = (node.load(), node.inverse_capacity(now), node.age(now));
                let is_trial = self.table.picked(now, agent, slot);
                let reason = match rule {
                    Rule::LastResort => Reason::LastResort,
                    _ if is_ejected => Reason::Panic,
                    _ if is_trial => Reason::Trial,
                    Rule::Least | Rule::Sample | Rule::Affinity | Rule::Turn => reason(best, rule),
                };
                (place, told.0, told.1, told.2, reason)
            }
        };
        self.stats.picks[reason as usize] += 1;
        let estimate_milli = (fill(load, inverse_capacity) * 1_000.0) as u32;
        let why = Why {
            reason,
            candidates: u32::try_from(candidates).unwrap_or(u32::MAX),
            sampled: best.compared,
            estimate_milli,
            age_ms: u32::try_from(age.as_millis()).unwrap_or(u32::MAX),
        };
        Pick { place, must_queue: rule == Rule::LastResort, why }
    }
}

fn local(snapshot: Option<&Snapshot>, question: &Question<'_>) -> Local {
    let id = snapshot.map_or(NO_NODE, |snapshot| snapshot.local);
    let mark = if question.tried.contains(&id) {
        Mark::Tried
    } else if question.bounced.contains(&id) {
        Mark::Bounced
    } else {
        Mark::Unmet
    };
    Local { id, here: question.here, mark }
}

/// The best node and the rule it was found by. The last resort comes when enough nodes have
/// refused, or all that are well have.
fn find(field: &mut Field<'_>, question: &Question<'_>, mut way: Way<'_>) -> Option<(Best, Rule)> {
    let others = match way {
        Way::Load { .. } => LAST_RESORT_DRAWN,
        // Drawing would change their order.
        Way::Turns { .. } => 0,
    };
    let is_last = question.bounced.len() >= BOUNCES_MAX;
    let first = if is_last { None } else { usual(field, question, &mut way) };
    if first.is_some_and(|(best, _)| best.tier == Tier::Alive) {
        return first;
    }
    if !question.bounced.is_empty()
        && let Some(best) = field.last_resort(others)
    {
        return Some((best, Rule::LastResort));
    }
    if is_last { usual(field, question, &mut way) } else { first }
}

fn usual(
    field: &mut Field<'_>,
    question: &Question<'_>,
    way: &mut Way<'_>,
) -> Option<(Best, Rule)> {
    match way {
        Way::Turns { next } => take_turn(field, next).map(|best| (best, Rule::Turn)),
        Way::Load { sample } => {
            // After a refusal the session goes where there is room.
            let session = question.affinity.filter(|_| question.bounced.is_empty());
            if let Some(best) = session.and_then(|session| field.preferred(session)) {
                return Some((best, Rule::Affinity));
            }
            let is_all = sample.told + sample.untold >= field.candidates.len();
            let rule = if is_all { Rule::Least } else { Rule::Sample };
            field.least(*sample).map(|best| (best, rule))
        }
    }
}

fn reason(best: Best, rule: Rule) -> Reason {
    match rule {
        Rule::LastResort => Reason::LastResort,
        Rule::Turn if best.choice != Choice::Local => Reason::RoundRobin,
        Rule::Least | Rule::Sample | Rule::Affinity | Rule::Turn if best.compared == 1 => {
            Reason::OnlyOne
        }
        Rule::Least | Rule::Turn => Reason::LeastLoad,
        Rule::Sample => Reason::Sampled,
        Rule::Affinity => Reason::Affinity,
    }
}

/// The id of the local member before there is a directory; no node has it.
const NO_NODE: NodeId = NodeId::from_bytes([0; 16]);
