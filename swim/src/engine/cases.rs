//! How the engine plays its part in cases: it accuses, asks, votes and declares.

use std::time::Duration;

use astromesh_wire::{Bucket, Incarnation, Message, ShortId, State, StateUpdate, Vote};
use smallvec::SmallVec;

use super::compare::Piece;
use super::doubts::{GIVEN_UP_INTERVAL, UNREACHABLE_AFTER, UNREACHABLE_INTERVAL};
use super::{Cargo, Engine};
use crate::detector::evidence::case::{
    ASKERS_MAX, Case, JURORS_MAX, PERSIST_INTERVAL, PERSIST_INTERVAL_LATE, PERSIST_LATE_AFTER,
    Role, SOLICIT_AT, SOLICIT_INTERVAL, SUBSTITUTES_AFTER, Tries, VOTER_ACCUSES_AFTER, VOTER_STAYS,
    fallback, floor_in, needed,
};
use crate::detector::evidence::watch::Reason;
use crate::detector::evidence::{CASES_MAX, observer_count};
use crate::dissemination::{Kind, Topic};
use crate::io::VerdictRule;
use crate::member::{Doubt, Member};
use crate::paths::Outcome;
use crate::precedence::Standing;
use crate::time::Instant;
use crate::timers::Timer;

impl Engine {
    /// A probe had no answer.
    pub(super) fn judge(&mut self, now: Instant, id: ShortId) {
        let Some(watch) = self.evidence.watches.get_mut(&id) else { return };
        let Some(attempt) = watch.attempt.take() else { return };
        if watch.reason == Reason::Hint {
            self.evidence.watches.swap_remove(&id);
        }
        self.stats.probes_failed += 1;
        self.paths.note(now, id, Outcome::Failed);
        self.evidence.health.note(id, false);
        let Some(subject) = self.accusable(id) else { return };
        let may_accuse = self.may_accuse(now, attempt.tries);
        let known = self.evidence.cases.get_mut(&id).filter(|case| case.subject == subject);
        if let Some(case) = known {
            if case.role != Role::Accuser {
                case.tries = attempt.tries;
            }
            let is_due = match case.role {
                Role::Accuser => false,
                Role::Voter => now.since(case.opened_at) >= VOTER_ACCUSES_AFTER,
                Role::Doubter => true,
            };
            if may_accuse && is_due {
                self.accuse(now, id);
            }
            return;
        }
        let role = if may_accuse { Role::Accuser } else { Role::Doubter };
        let mut case = Case::new(subject, now, now, role, attempt.pings);
        case.tries = attempt.tries;
        case.own = Some(Vote::No);
        case.ping_at = now + PERSIST_INTERVAL;
        if self.open(now, id, case) {
            self.doubt(id, Doubt::Case);
            if role == Role::Accuser {
                self.accuse(now, id);
            }
        }
    }

    /// A live member, as something to accuse.
    fn accusable(&self, id: ShortId) -> Option<Incarnation> {
        let member = self.table.get(id).filter(|member| member.is_live())?;
        let (generation, incarnation) = (member.record.generation, member.record.incarnation);
        Some(Incarnation { id, generation, incarnation })
    }

    /// Accuses only who trusts its own probes, and knows from a helper that its network works. In a
    /// mesh of two there is no helper.
    pub(super) fn may_accuse(&self, now: Instant, tries: Tries) -> bool {
        let has_company = tries.nacks > 0 || self.table.ring().len() <= 2;
        has_company && !self.evidence.health.is_sick(now)
    }

    /// Opens a case; `false` if there are too many.
    fn open(&mut self, now: Instant, id: ShortId, case: Case) -> bool {
        if self.evidence.cases.len() >= CASES_MAX {
            self.stats.refused_cases_full += 1;
            return false;
        }
        self.stats.suspicions += 1;
        self.timers.arm(case.next_at(), Timer::Case(id));
        self.evidence.cases.insert(id, case);
        self.sweep(now);
        true
    }

    /// Asks all observers of a member for their votes.
    pub(super) fn accuse(&mut self, now: Instant, id: ShortId) {
        let Some(subject) = self.evidence.cases.get(&id).map(|case| case.subject) else { return };
        let floor = self.floor_for(now, subject);
        let Some(case) = self.evidence.cases.get_mut(&id) else { return };
        // A long doubt counts towards the floor, not towards the fallback: the others have not been
        // asked yet.
        case.opened_at = case.opened_at.max(now.before(floor.max(VOTER_ACCUSES_AFTER)));
        case.role = Role::Accuser;
        case.own = Some(Vote::No);
        case.own_due = None;
        (case.asked, case.ask_at) = (0, now);
        let ring = self.table.ring();
        let count = observer_count(ring.len());
        for observer in ring.before(id).take(count) {
            if observer != self.local.id() {
                case.summon(observer);
            }
        }
        self.suspect(id);
        self.solicit(now, id);
        self.decide_case(now, id);
        if let Some(case) = self.evidence.cases.get(&id) {
            self.timers.arm(case.next_at().max(now), Timer::Case(id));
        }
    }

    /// The factor by which the offsets of this node's pings to a member are stretched.
    fn stretch_for(&self, id: ShortId) -> f64 {
        let watched = self.evidence.watches.get(&id).map(|watch| watch.rtt);
        watched.filter(|rtt| !rtt.is_unknown()).unwrap_or(self.evidence.rtt).stretch()
    }

    /// Asks those who have not voted.
    fn solicit(&mut self, now: Instant, id: ShortId) {
        let stretch = self.evidence.rtt.stretch();
        let Some(case) = self.evidence.cases.get_mut(&id) else { return };
        case.asked = case.asked.saturating_add(1);
        let last = SOLICIT_AT.get(case.asked.saturating_sub(1));
        case.ask_at = match (last, SOLICIT_AT.get(case.asked)) {
            (Some(last), Some(next)) => now + next.saturating_sub(*last).mul_f64(stretch),
            _ => now + SOLICIT_INTERVAL.mul_f64(stretch),
        };
        let age_ms = u16::try_from(now.since(case.opened_at).as_millis()).unwrap_or(u16::MAX);
        let message = Message::Solicit { subject: case.subject, age_ms };
        let silent = case.jurors().filter(|juror| juror.vote.is_none());
        let silent: SmallVec<[ShortId; JURORS_MAX]> = silent.map(|juror| juror.id).collect();
        for juror in silent {
            if let Some(address) = self.table.get(juror).map(|member| member.record.address()) {
                self.stats.solicitations += 1;
                let cargo = self.cargo_for(juror);
                self.send(address, message, None, cargo);
            }
        }
    }

    /// Does what is due in a case.
    pub(super) fn tend(&mut self, now: Instant, id: ShortId) {
        let Some(case) = self.evidence.cases.get(&id) else { return };
        if self.accusable(id) != Some(case.subject) {
            self.close(id);
            return;
        }
        self.ping_accused(now, id);
        self.end_own_tries(now, id);
        match self.evidence.cases.get(&id).map(|case| case.role) {
            Some(Role::Accuser) => self.tend_accusation(now, id),
            Some(Role::Doubter) => self.tend_doubt(now, id),
            Some(Role::Voter) => self.tend_vote(now, id),
            None => return,
        }
        if let Some(case) = self.evidence.cases.get(&id) {
            let mut next = case.next_at();
            let floor = case.opened_at + self.floor_for(now, case.subject);
            if case.role == Role::Accuser && floor > now {
                next = next.min(floor);
            }
            self.timers.arm(next, Timer::Case(id));
        }
    }

    fn ping_accused(&mut self, now: Instant, id: ShortId) {
        let stretch = self.stretch_for(id);
        let is_given_up = self.table.get(id).is_some_and(|member| member.doubt == Doubt::GivenUp);
        let Some(case) = self.evidence.cases.get_mut(&id) else { return };
        if case.ping_at > now {
            return;
        }
        let age = now.since(case.opened_at);
        let until_next = match (case.own, case.pings.sent()) {
            (None, 0) => VOTER_TRIES.0.mul_f64(stretch),
            (None, 1) => VOTER_TRIES.1.mul_f64(stretch),
            _ if is_given_up => GIVEN_UP_INTERVAL,
            _ if age < PERSIST_LATE_AFTER => PERSIST_INTERVAL,
            _ if age < UNREACHABLE_AFTER => PERSIST_INTERVAL_LATE,
            _ => UNREACHABLE_INTERVAL,
        };
        case.ping_at = now + until_next;
        let (target, sequence) = (id, case.pings.next(now));
        let Some(address) = self.table.get(id).map(|member| member.record.address()) else {
            return;
        };
        let digest = self.digest();
        let ping = Message::Ping { target, sequence, digest, wants_slot: false };
        let cargo = self.cargo_for(id);
        self.send(address, ping, None, cargo);
    }

    fn tend_accusation(&mut self, now: Instant, id: ShortId) {
        let Some(subject) = self.evidence.cases.get(&id).map(|case| case.subject) else { return };
        let fallback = fallback(self.floor_for(now, subject));
        let until = self.config.give_up_after.max(fallback + SOLICIT_INTERVAL);
        let Some(case) = self.evidence.cases.get_mut(&id) else { return };
        if now.since(case.opened_at) >= until {
            // Neither votes nor a sign of life in all this time.
            case.role = Role::Doubter;
            case.tries.nacks = 0;
            self.tend_doubt(now, id);
            return;
        }
        if let Some(after) = SUBSTITUTES_AFTER.get(case.replaced)
            && now.since(case.opened_at) >= *after
        {
            case.replaced = case.replaced.saturating_add(1);
            let mut wanted = case.replace_silent();
            let own = self.local.id();
            for substitute in self.table.ring().before(id).filter(|&other| other != own) {
                if wanted == 0 || !case.has_room() {
                    break;
                }
                let is_doubted = |member: &Member| member.doubt != Doubt::None;
                if self.table.get(substitute).is_some_and(is_doubted) {
                    continue;
                }
                if case.summon(substitute) {
                    wanted = wanted.saturating_sub(1);
                    case.ask_at = now;
                }
            }
        }
        if case.ask_at <= now {
            self.solicit(now, id);
        }
        self.decide_case(now, id);
    }

    /// A voter stays until the floor and a little more, in case the accused answers after all.
    fn tend_vote(&mut self, now: Instant, id: ShortId) {
        let Some(case) = self.evidence.cases.get(&id) else { return };
        let until = case.opened_at + self.floor_for(now, case.subject) + VOTER_STAYS;
        // It may have been asked late; it votes all the same.
        if case.own.is_none() || now < until {
            return;
        }
        if case.own == Some(Vote::No) && now < until + LAST_PROBE {
            // Neither a sign of life nor a verdict: this node looks for itself, and accuses.
            let is_probed = self.evidence.watches.get(&id);
            if is_probed.is_none_or(|watch| watch.attempt.is_none()) {
                self.probe_on_hint(now, id);
            }
        } else {
            self.close(id);
        }
    }

    /// A voter's own tries have had their time: its vote is "no".
    fn end_own_tries(&mut self, now: Instant, id: ShortId) {
        let Some(case) = self.evidence.cases.get_mut(&id) else { return };
        if case.own_due.is_none_or(|due| due > now) {
            return;
        }
        case.own_due = None;
        let vote = if self.evidence.health.is_sick(now) { Vote::Abstain } else { Vote::No };
        case.own = Some(vote);
        if vote == Vote::No {
            self.doubt(id, Doubt::Case);
        }
        self.vote(id);
    }

    /// Sends this node's vote to all who asked.
    fn vote(&mut self, id: ShortId) {
        let Some(case) = self.evidence.cases.get(&id) else { return };
        let Some(vote) = case.own else { return };
        let message = Message::Vote { subject: case.subject, vote };
        let askers: SmallVec<[ShortId; ASKERS_MAX]> = case.askers().collect();
        for asker in askers {
            if let Some(address) = self.table.get(asker).map(|member| member.record.address()) {
                self.send(address, message, None, Cargo::News);
            }
        }
    }

    /// Somebody asks for this node's vote. Only members get here.
    pub(super) fn take_solicitation(
        &mut self,
        now: Instant,
        from: std::net::SocketAddr,
        sender: ShortId,
        subject: Incarnation,
        age_ms: u16,
    ) {
        if self.evidence_floor().is_none() {
            return;
        }
        let reply = |vote| Message::Vote { subject, vote };
        let id = subject.id;
        // Who asks has heard the accused say so, perhaps after what is known here.
        let accuser = Bucket::default();
        let (generation, incarnation) = (subject.generation, subject.incarnation);
        let said = StateUpdate { id, state: State::Alive, accuser, generation, incarnation };
        self.take_state(now, &said);
        if id == self.local.id() {
            self.send(from, reply(Vote::Alive), Some(self.own(Kind::State)), Cargo::News);
            return;
        }
        match self.accusable(id) {
            // Gone for long: said with its age, or it would be remembered for longer than elsewhere.
            None if self.gone_for_s(now, id) > LONG_GONE_S => {
                self.send_pieces(now, from, &[Piece::Entry(id)]);
                return;
            }
            None if self.table.get(id).is_none() => {
                self.send(from, reply(Vote::Abstain), None, Cargo::News);
                return;
            }
            Some(known) if known <= subject => {}
            // Dead, left or refuted already: the news of that answers.
            None | Some(_) => {
                let news = Topic { id, kind: Kind::State };
                self.send(from, Message::Gossip, Some(news), Cargo::News);
                return;
            }
        }
        if self.evidence.health.is_sick(now) {
            self.send(from, reply(Vote::Abstain), None, Cargo::News);
            return;
        }
        if let Some(case) = self.evidence.cases.get_mut(&id) {
            case.add_asker(sender);
            if let Some(vote) = case.own {
                self.send(from, reply(vote), None, Cargo::News);
            }
            return;
        }
        let pings = self.take_pings();
        let age = Duration::from_millis(u64::from(age_ms));
        // Nobody can make this node believe that it was silent when it was not.
        let heard_at = self.table.get(id).map_or(now, Member::heard_at);
        let opened_at = now.before(age).max(heard_at).min(now);
        let mut case = Case::new(subject, opened_at, now, Role::Voter, pings);
        case.add_asker(sender);
        case.own_due = Some(now + VERDICT_OF_VOTER.mul_f64(self.stretch_for(id)));
        if self.open(now, id, case) {
            self.tend(now, id);
        }
    }

    /// Somebody votes. Only members get here.
    pub(super) fn take_vote(
        &mut self,
        now: Instant,
        sender: ShortId,
        subject: Incarnation,
        vote: Vote,
    ) {
        let Some(case) = self.evidence.cases.get_mut(&subject.id) else { return };
        if case.subject != subject || case.role == Role::Voter {
            return;
        }
        case.take(now, sender, vote);
        if vote == Vote::Alive {
            self.close(subject.id);
        } else {
            self.decide_case(now, subject.id);
        }
    }

    /// A member has proved that it lives: whoever asked is told, and the case is over.
    pub(super) fn answered(&mut self, now: Instant, id: ShortId) {
        let Some(case) = self.evidence.cases.get_mut(&id) else { return };
        case.own = Some(Vote::Alive);
        let was_doubter = case.role == Role::Doubter;
        self.vote(id);
        self.close(id);
        if was_doubter {
            // Perhaps this node's own network is back: look at the others at once.
            for (other, case) in &mut self.evidence.cases {
                if case.role == Role::Doubter {
                    (case.ping_at, case.ask_at) = (now, now);
                    self.timers.arm(now, Timer::Case(*other));
                }
            }
        }
    }

    /// Ends a case without a verdict.
    pub(super) fn close(&mut self, id: ShortId) {
        if self.evidence.cases.swap_remove(&id).is_some() {
            self.doubt(id, Doubt::None);
        }
    }

    /// The least time a case against this member takes.
    fn floor_for(&self, now: Instant, subject: Incarnation) -> Duration {
        let base = self.evidence_floor().unwrap_or_default();
        let floor = floor_in(self.table.ring().len(), base);
        let longest = self.config.detector.floor_max;
        self.evidence.damping.floor(now, subject.id, subject.generation, (floor, longest))
    }

    /// Declares the accused dead if it is time and the votes suffice.
    fn decide_case(&mut self, now: Instant, id: ShortId) {
        let Some(case) = self.evidence.cases.get(&id) else { return };
        let elapsed = now.since(case.opened_at);
        let floor = self.floor_for(now, case.subject);
        let is_open = case.role == Role::Accuser && case.own == Some(Vote::No);
        if !is_open || elapsed < floor || self.evidence.health.is_sick(now) || self.has_left() {
            return;
        }
        let observers = observer_count(self.table.ring().len());
        let no_count = case.no_count();
        if no_count >= needed(observers, elapsed) {
            self.declare(now, id, VerdictRule::Quorum);
        } else if elapsed >= fallback(floor) && case.tries.nacks > 0 {
            self.declare(now, id, VerdictRule::Fallback);
        }
    }

    fn declare(&mut self, now: Instant, id: ShortId, rule: VerdictRule) {
        self.keep_own_evidence(now, id, rule);
        let Some(member) = self.table.get(id) else { return };
        let address = member.record.address();
        let claim = Standing { state: State::Dead, ..member.standing() };
        self.stats.deaths += 1;
        self.set_standing(now, id, claim, Bucket::of(self.local.id()));
        // It may only be out of our reach: then this is how it hears of it.
        self.send(address, Message::Gossip, self.notice_for(id), Cargo::Empty);
    }

    /// What is claimed of a member has changed: what was known under the old claim is void.
    pub(super) fn standing_changed(&mut self, now: Instant, id: ShortId, before: Standing) {
        let now_alive = self.table.get(id).is_some_and(|member| member.state == State::Alive);
        if before.state == State::Alive && now_alive {
            self.close(id);
        } else if self.evidence.cases.swap_remove(&id).is_some() {
            // The change of state itself is what users hear of.
            self.table.change(id, |member| member.doubt = Doubt::None);
        }
        let Some(member) = self.table.get(id) else { return };
        let generation = member.record.generation;
        match (before.state, member.state) {
            (_, State::Dead | State::Left) => self.evidence.health.forget(id),
            (State::Dead, State::Alive) if generation == before.generation => {
                self.evidence.damping.returned(now, id, generation);
            }
            _ => {}
        }
        // An incarnation more moves nobody on the ring.
        let was_live = matches!(before.state, State::Alive | State::Suspect);
        if was_live != member.is_live() {
            self.evidence.is_stale = true;
        }
    }
}

/// A member that has been gone for longer is old news.
const LONG_GONE_S: u32 = 30;

/// From the first ping of a voter to its second, and from that to its third.
const VOTER_TRIES: (Duration, Duration) = (Duration::from_millis(80), Duration::from_millis(120));

/// From the first ping of a voter to its vote "no".
const VERDICT_OF_VOTER: Duration = Duration::from_millis(350);

/// A voter that heard no verdict has this long for a probe of its own.
const LAST_PROBE: Duration = Duration::from_millis(700);
