//! Why members were declared dead: this node's own verdicts and those it hears of, passed on so that
//! every node can tell.

use std::time::Duration;

use astromesh_wire::limits::BALLOTS_MAX;
use astromesh_wire::{Ballot, Evidence, Incarnation, NodeId, ShortId, Update};
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

use super::Engine;
use crate::dissemination::{Class, Kind};
use crate::io::{Event, Verdict, VerdictRule};
use crate::precedence::Standing;
use crate::sync::Check;
use crate::time::Instant;

/// Verdicts whose evidence is kept here to be passed on; the oldest gives way. What is kept for
/// people is the host's business.
const EVIDENCE_MAX: usize = 256;

const BALLOT_BYTES: usize = astromesh_wire::update::BALLOT_BYTES;

/// The evidence of recent verdicts, by whom they are about.
#[derive(Debug, Default)]
pub(super) struct Provenance {
    recent: IndexMap<ShortId, Reasons, FxBuildHasher>,
}

/// The evidence of one verdict.
#[derive(Debug)]
struct Reasons {
    subject: Incarnation,
    accuser: ShortId,
    rule: VerdictRule,
    open_for: Duration,
    decided_at: Instant,
    tries: u8,
    helpers: u8,
    nacks: u8,
    health: u8,
    ballots: [u8; BALLOTS_MAX * BALLOT_BYTES],
    ballots_bytes: usize,
}

impl Provenance {
    /// What is sent about a member, as it is at `now`.
    pub(super) fn update(&self, now: Instant, id: ShortId) -> Option<Update<'_>> {
        let reasons = self.recent.get(&id)?;
        Some(Update::Evidence(Evidence {
            subject: reasons.subject,
            accuser: reasons.accuser,
            rule: reasons.rule.number(),
            open_ms: millis(reasons.open_for),
            decided_ms_ago: millis(now.since(reasons.decided_at)),
            tries: reasons.tries,
            helpers: reasons.helpers,
            nacks: reasons.nacks,
            health: reasons.health,
            ballots: reasons.ballots.get(..reasons.ballots_bytes).unwrap_or_default(),
        }))
    }

    /// Keeps evidence; `false` if as much was known, for otherwise two nodes could tell each other
    /// older and newer evidence without end.
    fn keep(&mut self, id: ShortId, reasons: Reasons) -> bool {
        let known = self.recent.get(&id);
        if known.is_some_and(|known| known.rank() >= reasons.rank() && !reasons.is_anew(known)) {
            return false;
        }
        // The newest comes last, whatever was known of that member.
        self.recent.shift_remove(&id);
        if self.recent.len() >= EVIDENCE_MAX {
            self.recent.shift_remove_index(0);
        }
        self.recent.insert(id, reasons);
        true
    }

    /// The member is forgotten. It may come back with smaller numbers.
    pub(super) fn forget(&mut self, id: ShortId) {
        self.recent.shift_remove(&id);
    }
}

impl Reasons {
    /// The reasons of a verdict made now by `accuser` with its `health`, without what was tried.
    const fn new(
        now: Instant,
        subject: Incarnation,
        (accuser, health): (ShortId, u8),
        rule: VerdictRule,
        opened_at: Instant,
    ) -> Self {
        Self {
            subject,
            accuser,
            rule,
            open_for: now.since(opened_at),
            decided_at: now,
            tries: 0,
            helpers: 0,
            nacks: 0,
            health,
            ballots: [0; BALLOTS_MAX * BALLOT_BYTES],
            ballots_bytes: 0,
        }
    }

    /// Which of two reasons for the death of one member says more: the later one, then one for all
    /// rather than one for this node only, and one with evidence rather than hearsay.
    const fn rank(&self) -> (Incarnation, u8) {
        let weight = match self.rule {
            VerdictRule::Unreachable => 0,
            VerdictRule::Unknown | VerdictRule::Hearsay => 1,
            VerdictRule::Quorum | VerdictRule::Fallback | VerdictRule::Timeout => 2,
        };
        (self.subject, weight)
    }

    /// Whether this node gave the member up, took that back, and gave it up again. Nobody else's
    /// view counts, so this cannot be forged.
    fn is_anew(&self, known: &Self) -> bool {
        self.rule == VerdictRule::Unreachable
            && self.rank() == known.rank()
            && self.decided_at.before(self.open_for) > known.decided_at
    }

    fn verdict(&self, now: Instant, subject: NodeId) -> Verdict {
        let (ballots, _) = self.ballots.as_chunks();
        let count = self.ballots_bytes / BALLOT_BYTES;
        Verdict {
            subject,
            generation: self.subject.generation,
            incarnation: self.subject.incarnation,
            accuser: Some(self.accuser),
            rule: self.rule,
            open_for: self.open_for,
            decided_ago: now.since(self.decided_at),
            tries: self.tries,
            helpers: self.helpers,
            nacks: self.nacks,
            health: self.health,
            ballots: ballots.iter().take(count).map(|bytes| Ballot::from_bytes(*bytes)).collect(),
        }
    }
}

impl Engine {
    /// This node is about to declare a member dead: keeps why, and tells host and mesh.
    pub(super) fn keep_own_evidence(&mut self, now: Instant, id: ShortId, rule: VerdictRule) {
        let Some(case) = self.evidence.cases.get(&id) else { return };
        let own = (self.local.id(), self.evidence.health.score(now));
        let mut reasons = Reasons::new(now, case.subject, own, rule, case.opened_at);
        (reasons.tries, reasons.helpers) = (case.tries.pings, case.tries.helpers);
        reasons.nacks = case.tries.nacks;
        for (room, ballot) in reasons.ballots.as_chunks_mut().0.iter_mut().zip(case.ballots()) {
            *room = ballot.to_bytes();
            reasons.ballots_bytes = reasons.ballots_bytes.saturating_add(BALLOT_BYTES);
        }
        let is_told = rule != VerdictRule::Unreachable;
        self.report(now, id, reasons, is_told);
    }

    /// A suspicion ran out: the same for SWIM with Lifeguard, which asks nobody.
    pub(super) fn keep_timeout(&mut self, now: Instant, id: ShortId) {
        let Some(member) = self.table.get(id) else { return };
        let (generation, incarnation) = (member.record.generation, member.record.incarnation);
        let subject = Incarnation { id, generation, incarnation };
        let health = u8::try_from(self.detector.health()).unwrap_or(u8::MAX);
        let own = (self.local.id(), health);
        let opened_at = member.state_at();
        let reasons = Reasons::new(now, subject, own, VerdictRule::Timeout, opened_at);
        self.report(now, id, reasons, true);
    }

    /// A death that a comparison told of is believed, for the member did not answer.
    pub(super) fn keep_hearsay(&mut self, now: Instant, id: ShortId, check: &Check) {
        let Standing { generation, incarnation, .. } = check.claim;
        let subject = Incarnation { id, generation, incarnation };
        let health = match self.evidence_floor() {
            Some(_) => self.evidence.health.score(now),
            None => u8::try_from(self.detector.health()).unwrap_or(u8::MAX),
        };
        let (own, rule) = ((self.local.id(), health), VerdictRule::Hearsay);
        let mut reasons = Reasons::new(now, subject, own, rule, check.started_at);
        reasons.tries = u8::try_from(check.tries).unwrap_or(u8::MAX);
        self.report(now, id, reasons, true);
    }

    /// Another node's reasons. Those for a life that is not known here are not believed: they would
    /// hide the true ones of each life until then.
    pub(super) fn take_evidence(&mut self, now: Instant, evidence: &Evidence<'_>) {
        let Some(known) = self.known(evidence.subject.id) else { return };
        let Standing { generation, incarnation, .. } = known.standing();
        let is_ahead =
            (evidence.subject.generation, evidence.subject.incarnation) > (generation, incarnation);
        if is_ahead || VerdictRule::of_number(evidence.rule) == VerdictRule::Unreachable {
            self.stats.refused_evidence += 1;
            return;
        }
        let mut reasons = Reasons {
            subject: evidence.subject,
            accuser: evidence.accuser,
            rule: VerdictRule::of_number(evidence.rule),
            open_for: Duration::from_millis(u64::from(evidence.open_ms)),
            decided_at: now.before(Duration::from_millis(u64::from(evidence.decided_ms_ago))),
            tries: evidence.tries,
            helpers: evidence.helpers,
            nacks: evidence.nacks,
            health: evidence.health,
            ballots: [0; BALLOTS_MAX * BALLOT_BYTES],
            ballots_bytes: 0,
        };
        if let Some(room) = reasons.ballots.get_mut(..evidence.ballots.len()) {
            room.copy_from_slice(evidence.ballots);
            reasons.ballots_bytes = evidence.ballots.len();
        }
        self.report(now, evidence.subject.id, reasons, true);
    }

    fn report(&mut self, now: Instant, id: ShortId, reasons: Reasons, is_told: bool) {
        let Some(subject) = self.known(id).map(|member| member.record.id) else { return };
        let verdict = reasons.verdict(now, subject);
        if !self.provenance.keep(id, reasons) {
            return;
        }
        self.events.push_back(Event::Verdict(Box::new(verdict)));
        if is_told {
            self.tell(now, id, Kind::Evidence, Class::Load);
        }
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}
