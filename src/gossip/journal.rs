//! What happens in the mesh, written down: for the history of each member and for those who listen.
//!
//! Owns the translation of the engine's events into the JSON shapes of the API. The gossip thread
//! writes here as it heeds an event, and asks here when somebody wants to know.

use astromesh_swim::{Change, Instant, Member, Verdict, VerdictRule};
use astromesh_wire::{NodeId, ShortId, Vote};

use super::events::{Feed, Listener, TooManyListeners};
use super::history::{AGE_MAX, Changed, Entry, History, Subject, What};
use super::json::status;
use super::naming::{NotOne, Sought};
use super::view::{Clock, View};
use crate::api::types::{
    CastVote, DeathVerdict, MemberChange, MeshNews, NodeHistory, NodeRef, PastChange,
};

/// The history and the feed.
#[derive(Debug)]
pub(super) struct Journal {
    clock: Clock,
    history: History,
    feed: Feed,
}

impl Journal {
    pub(super) fn new(clock: Clock, generation: u32) -> Self {
        Self { clock, history: History::default(), feed: Feed::new(generation) }
    }

    /// A member, described as it is now, changed.
    pub(super) fn changed(&mut self, now: Instant, member: &Member, change: Change) {
        let record = &member.record;
        let subject = Subject {
            id: record.id,
            name: record.name(),
            address: record.address(),
            generation: record.generation,
            incarnation: record.incarnation,
        };
        let changed = self.history.changed(now, &subject, change);
        let node = reference(record.id, Some(record.name()));
        self.push(now, MeshNews::Member { node, change: change_json(&changed) });
    }

    /// A member was forgotten.
    pub(super) fn reaped(&mut self, now: Instant, view: &View, id: NodeId) {
        let changed = self.history.reaped(now, id);
        let node = self.node(view, id);
        self.push(now, MeshNews::Member { node, change: change_json(&changed) });
    }

    /// A member was declared dead.
    pub(super) fn declared(&mut self, now: Instant, view: &View, verdict: &Verdict) {
        if self.history.declared(now, verdict) {
            let node = self.node(view, verdict.subject);
            let decided_at = now.before(verdict.decided_ago);
            let verdict = self.verdict_json(view, decided_at, verdict);
            self.push(now, MeshNews::Verdict { node, verdict });
        }
    }

    /// Another member leads, or the term rose.
    pub(super) fn led(&mut self, now: Instant, view: &View, leader: Option<NodeId>, term: u64) {
        let node = leader.map(|id| self.node(view, id));
        self.push(now, MeshNews::Leader { node, term });
    }

    /// What happened to a member.
    pub(super) fn history_of(
        &mut self,
        now: Instant,
        view: &View,
        sought: &Sought,
    ) -> Result<NodeHistory, NotOne> {
        let id = match sought {
            Sought::Member(id) => *id,
            Sought::Forgotten(key) => self.history.forgotten(key)?,
        };
        let (entries, dropped) = self.history.of(now, id);
        if entries.is_empty() && view.shown(id).is_none() {
            return Err(NotOne::Unknown);
        }
        let (mut changes, mut verdicts) = (Vec::new(), Vec::new());
        for Entry { at, what } in entries {
            match what {
                What::Changed(changed) => changes
                    .push(PastChange { at: self.clock.unix(at), change: change_json(&changed) }),
                What::Declared(decided_at, verdict) => {
                    verdicts.push(self.verdict_json(view, decided_at, &verdict));
                }
            }
        }
        Ok(NodeHistory {
            node: self.node(view, id),
            status: view.shown(id).map(|member| status(member.state).to_owned()),
            now: self.clock.unix(now),
            since: self.clock.unix(now.before(AGE_MAX)),
            changes,
            verdicts,
            dropped,
        })
    }

    /// A new listener.
    pub(super) fn listen(
        &mut self,
        now: Instant,
        last_seen: Option<u64>,
    ) -> Result<Listener, TooManyListeners> {
        self.feed.listen(self.clock.unix(now), last_seen)
    }

    /// The counters of both, by name.
    pub(super) fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [("history_dropped", self.history.dropped())].into_iter().chain(self.feed.counters())
    }

    fn push(&mut self, now: Instant, news: MeshNews) {
        self.feed.push(self.clock.unix(now), news);
    }

    fn node(&self, view: &View, id: NodeId) -> NodeRef {
        reference(
            id,
            view.shown(id).map(|member| member.name.as_str()).or_else(|| self.history.name(id)),
        )
    }

    /// A member of which only the short id is known; it stands for itself if nobody has it.
    fn short(&self, view: &View, short: ShortId) -> NodeRef {
        match view.full(short).or_else(|| self.history.full(short)) {
            Some(id) => self.node(view, id),
            None => NodeRef { node_id: short.to_string(), name: None },
        }
    }

    fn verdict_json(&self, view: &View, decided_at: Instant, verdict: &Verdict) -> DeathVerdict {
        let votes = verdict.ballots.iter().map(|ballot| CastVote {
            voter: self.short(view, ballot.voter),
            vote: vote_name(ballot.vote).to_owned(),
            after_seconds: ballot.vote.map(|_| f64::from(ballot.after_ms) / 1_000.0),
        });
        DeathVerdict {
            decided_at: self.clock.unix(decided_at),
            generation: verdict.generation,
            incarnation: verdict.incarnation,
            accuser: verdict.accuser.map_or_else(nobody, |short| self.short(view, short)),
            rule: rule_name(verdict.rule).to_owned(),
            open_seconds: verdict.open_for.as_secs_f64(),
            tries: verdict.tries,
            helpers: verdict.helpers,
            nacks: verdict.nacks,
            health: verdict.health,
            votes: votes.collect(),
        }
    }
}

/// Who decided, if the engine does not say.
fn nobody() -> NodeRef {
    NodeRef { node_id: "unknown".to_owned(), name: None }
}

fn reference(id: NodeId, name: Option<&str>) -> NodeRef {
    NodeRef { node_id: id.to_string(), name: name.map(str::to_owned) }
}

fn change_json(changed: &Changed) -> MemberChange {
    let (previous_address, address) =
        changed.moved.map(|(before, after)| (before.to_string(), after.to_string())).unzip();
    MemberChange {
        change: change_name(changed.change).to_owned(),
        generation: changed.generation,
        incarnation: changed.incarnation,
        previous_address,
        address,
    }
}

const fn change_name(change: Change) -> &'static str {
    match change {
        Change::Joined => "joined",
        Change::Alive => "alive",
        Change::Suspect => "suspect",
        Change::Dead => "dead",
        Change::Left => "left",
        Change::Replaced => "replaced",
        Change::Updated => "updated",
        Change::Load => "load",
        Change::Reaped => "reaped",
    }
}

const fn rule_name(rule: VerdictRule) -> &'static str {
    match rule {
        VerdictRule::Unknown => "unknown",
        VerdictRule::Quorum => "quorum",
        VerdictRule::Fallback => "fallback",
        VerdictRule::Unreachable => "unreachable",
        VerdictRule::Timeout => "timeout",
        VerdictRule::Hearsay => "hearsay",
    }
}

const fn vote_name(vote: Option<Vote>) -> &'static str {
    match vote {
        Some(Vote::No) => "no",
        Some(Vote::Alive) => "alive",
        Some(Vote::Abstain) => "abstain",
        None => "silent",
    }
}
