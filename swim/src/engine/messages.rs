//! What the engine does with a datagram.

use std::net::SocketAddr;
use std::time::Duration;

use astromesh_wire::{Datagram, Message, ShortId, State, Update};

use super::{Cargo, Engine, Transmit};
use crate::dissemination::{Kind, Topic};
use crate::io::Event;
use crate::paths::Outcome;
use crate::precedence::Standing;
use crate::relay::Relay;
use crate::table::Heard;
use crate::time::Instant;
use crate::timers::Timer;

impl Engine {
    /// Takes in a datagram that came from `from`. It is decoded in full first: one that is not to
    /// be believed changes nothing but a counter, and is not answered.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.now = now;
        self.take_datagram(now, from, bytes);
        self.regroup(now);
    }

    fn take_datagram(&mut self, now: Instant, from: SocketAddr, bytes: &[u8]) {
        self.stats.datagrams_received += 1;
        self.stats.bytes_received += u64::try_from(bytes.len()).unwrap_or(0);
        let datagram = match Datagram::decode(bytes, self.cluster) {
            Ok(datagram) => datagram,
            Err(rejection) => {
                self.stats.reject(rejection, &mut self.last_foreign_tag);
                return;
            }
        };
        if datagram.sender == self.local.id() {
            self.stats.ignored_own_id += 1;
            self.events.push_back(Event::OwnIdSeen(from));
            return;
        }
        if self.has_left() {
            self.answer_after_leave(from, &datagram);
            return;
        }
        let mut heard = self.table.heard(datagram.sender, now);
        if heard.is_none() {
            self.introduce(now, from, &datagram);
            heard = self.table.heard(datagram.sender, now);
        }
        if let Some(heard) = heard {
            self.hear_unreachable(now, datagram.sender);
            self.take_updates(now, from, &datagram, heard);
        } else {
            self.stats.ignored_stranger += 1;
            if matches!(datagram.message, Message::Ack { .. }) {
                self.hear_lost(from, datagram.sender);
            }
        }
        self.take_message(now, from, &datagram, heard.is_some());
    }

    fn take_updates(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &Datagram<'_>,
        heard: Heard,
    ) {
        let mut queries = QUERIES_PER_DATAGRAM_MAX;
        let (mut is_doubted, mut is_held_gone, mut concerns_views) = (false, false, false);
        for update in datagram.updates() {
            is_doubted = is_doubted || self.is_stale_doubt(&update);
            is_held_gone = is_held_gone || self.says_gone(&update);
            self.take_in(now, from, &update, &mut queries);
            concerns_views = concerns_views || self.concerns_views(now, &update);
        }
        if is_doubted {
            self.send(from, Message::Gossip, Some(self.own(Kind::State)), Cargo::Empty);
        }
        if concerns_views {
            self.answer_views(now, from, datagram);
        }
        match heard {
            Heard::Gone { before } => self.hear_gone(now, from, datagram, before),
            Heard::Live if is_held_gone && matches!(datagram.message, Message::Ack { .. }) => {
                // This node was away, and has missed what happened meanwhile.
                self.compare_at_once(now, from);
            }
            Heard::Live => {}
        }
    }

    fn take_message(
        &mut self,
        now: Instant,
        from: SocketAddr,
        datagram: &Datagram<'_>,
        is_member: bool,
    ) {
        match datagram.message {
            Message::Ping { target, sequence, digest, wants_slot } => {
                if target == self.local.id() {
                    let slot_ms =
                        if wants_slot { self.slot_for(now, datagram.sender) } else { None };
                    let own = self.digest();
                    let ack = Message::Ack { sequence, digest: own, slot_ms };
                    let cargo = match (is_member, own == digest) {
                        (false, _) => Cargo::Empty,
                        (true, false) => Cargo::News,
                        (true, true) => Cargo::Hidden,
                    };
                    self.acknowledge(now, from, datagram.sender, ack, cargo);
                    self.compare(now, datagram.sender, digest);
                }
            }
            Message::Ack { sequence, digest, slot_ms } => {
                self.take_ack(now, from, datagram.sender, sequence, slot_ms);
                self.compare(now, datagram.sender, digest);
            }
            Message::PingReq { target, sequence } => {
                if is_member {
                    self.relay(now, from, datagram.sender, target, sequence);
                }
            }
            Message::Nack { sequence } => {
                if let Some(probe) = &mut self.probe
                    && probe.sequence == sequence
                    && probe.relays.contains(&datagram.sender)
                    && !probe.nacks.contains(&datagram.sender)
                {
                    probe.nacks.push(datagram.sender);
                } else if is_member {
                    self.take_nack(now, datagram.sender, sequence);
                }
            }
            Message::Gossip => {}
            Message::Solicit { subject, age_ms } => {
                if is_member {
                    self.take_solicitation(now, from, datagram.sender, subject, age_ms);
                }
            }
            Message::Vote { subject, vote } => {
                if is_member {
                    self.take_vote(now, datagram.sender, subject, vote);
                }
            }
            Message::Beacon { target, record } => {
                self.take_beacon(from, datagram.sender, target, record);
            }
            Message::Query { subject } => {
                if is_member {
                    let first = Some(Topic { id: subject, kind: Kind::Record });
                    self.send(from, Message::Gossip, first, Cargo::News);
                }
            }
        }
    }

    /// A sender that is not known here may introduce itself: only its own record counts.
    fn introduce(&mut self, now: Instant, from: SocketAddr, datagram: &Datagram<'_>) {
        for update in datagram.updates() {
            if let Update::Record(record) = update
                && record.id.short() == datagram.sender
                && record.state == State::Alive
            {
                let proof = super::news::Proof::heard_if(record.address == from);
                self.take_record(now, &record, proof);
                return;
            }
        }
    }

    /// Answers a sender. A member gets news along with it, and first of all what is held against
    /// it, so that it can refute; a stranger gets the bare answer.
    fn answer(&mut self, to: SocketAddr, sender: ShortId, message: Message, cargo: Cargo) {
        let first = self.notice_for(sender);
        self.send(to, message, first, cargo);
    }

    /// Answers a ping. After a standstill many may be waiting; of each peer only the newest is
    /// answered, once all have been read.
    fn acknowledge(
        &mut self,
        now: Instant,
        to: SocketAddr,
        sender: ShortId,
        ack: Message,
        cargo: Cargo,
    ) {
        if cargo != Cargo::Empty && self.is_behind(now) {
            let first = self.notice_for(sender);
            self.waking.insert(sender, Transmit { to, message: ack, first, cargo });
        } else {
            self.answer(to, sender, ack, cargo);
        }
    }

    /// Whether somebody doubts this node although it has refuted that since. The news of it may be
    /// long over, so whoever missed it must be told; otherwise it could hold this node dead for ever.
    fn is_stale_doubt(&self, update: &Update<'_>) -> bool {
        matches!(
            update,
            Update::State(update) if update.id == self.local.id()
                && update.state != State::Alive
                && Standing::of_update(update) < self.local.standing()
        )
    }

    /// Whether somebody holds this node dead or gone, and has a right to it so far.
    fn says_gone(&self, update: &Update<'_>) -> bool {
        matches!(
            update,
            Update::State(update) if update.id == self.local.id()
                && matches!(update.state, State::Dead | State::Left)
                && Standing::of_update(update) > self.local.standing()
        )
    }

    /// What a member must hear about itself: that it is not held to be alive.
    pub(super) fn notice_for(&self, id: ShortId) -> Option<Topic> {
        let member = self.table.get(id)?;
        (member.state != State::Alive).then_some(Topic { id, kind: Kind::State })
    }

    /// A node that has left answers every member with that, and nothing else.
    fn answer_after_leave(&mut self, from: SocketAddr, datagram: &Datagram<'_>) {
        let is_member = self.table.get(datagram.sender).is_some();
        if let Message::Ping { target, .. } = datagram.message
            && target == self.local.id()
            && is_member
        {
            let own = Topic { id: self.local.id(), kind: Kind::State };
            self.send(from, Message::Gossip, Some(own), Cargo::Empty);
        }
    }

    fn take_in(
        &mut self,
        now: Instant,
        from: SocketAddr,
        update: &Update<'_>,
        queries: &mut usize,
    ) {
        match update {
            Update::State(update) => {
                let is_known = update.id == self.local.id() || self.table.get(update.id).is_some();
                if is_known {
                    self.take_state(now, update);
                } else if matches!(update.state, State::Alive | State::Suspect) && *queries > 0 {
                    // News of somebody unknown here: ask for the record.
                    *queries -= 1;
                    let query = Message::Query { subject: update.id };
                    self.send(from, query, None, Cargo::Empty);
                }
            }
            Update::Record(record) if record.state != State::Alive => {
                self.take_gone_record(now, record);
            }
            Update::Record(record) => {
                self.take_record(now, record, super::news::Proof::Told);
            }
            Update::Load { id, generation, sequence, load } => {
                self.take_load(now, *id, *generation, *sequence, *load);
            }
            Update::Evidence(evidence) => self.take_evidence(now, evidence),
            Update::Range(_) | Update::Entry(_) => {}
        }
    }

    fn take_ack(
        &mut self,
        now: Instant,
        from: SocketAddr,
        sender: ShortId,
        sequence: u16,
        slot_ms: Option<u16>,
    ) {
        if let Some(relay) = self.relays.answered(sender, sequence) {
            let ack =
                Message::Ack { sequence: relay.sequence, digest: self.digest(), slot_ms: None };
            self.send(relay.requester, ack, None, Cargo::News);
        } else if self.healing.checks.answered(sender, sequence) {
            self.stats.deaths_disproved += 1;
        } else if let Some(record) = self.candidates.answered(sender, sequence) {
            let proof = super::news::Proof::heard_if(record.address == from);
            self.take_record(now, &record.borrow(), proof);
        } else if let Some(probe) =
            self.probe.take_if(|probe| probe.is_answered_by(sender, sequence))
        {
            let took = Some(now.since(probe.sent_at));
            let is_direct = probe.target == sender;
            let outcome = if is_direct { Outcome::Direct(took) } else { Outcome::Relayed };
            self.paths.note(now, probe.target, outcome);
            self.detector.probe_succeeded();
        } else {
            self.take_proof(now, sender, sequence, slot_ms);
        }
    }

    /// Pings a member because another one asked for it.
    fn relay(
        &mut self,
        now: Instant,
        requester: SocketAddr,
        sender: ShortId,
        target: ShortId,
        sequence: u16,
    ) {
        let Some(address) = self.table.get(target).map(|member| member.record.address()) else {
            self.answer(requester, sender, Message::Nack { sequence }, Cargo::News);
            return;
        };
        if let Some((own, relay)) = self.relays.of_request(requester, sequence) {
            if relay.answered {
                let ack = Message::Ack { sequence, digest: self.digest(), slot_ms: None };
                self.send(requester, ack, None, Cargo::News);
            } else {
                let ping = self.ping(target, own);
                self.send(address, ping, self.notice_for(target), Cargo::News);
            }
            return;
        }
        let own = self.take_sequence();
        let relay = Relay { requester, sequence, target, answered: false, nacked: false };
        if !self.relays.insert(own, relay) {
            self.stats.refused_relays_full += 1;
            return;
        }
        let ping = self.ping(target, own);
        self.send(address, ping, self.notice_for(target), Cargo::News);
        // Early enough for the nack to arrive before the requester's probe ends.
        let nack_after = if self.evidence_floor().is_some() {
            let stretch = self.evidence.rtt.stretch();
            self.timers.arm(now + RELAY_AGAIN_AFTER.mul_f64(stretch), Timer::RelayAgain(own));
            RELAY_NACK_AFTER.mul_f64(stretch)
        } else {
            self.config.probe_timeout.mul_f64(NACK_AFTER)
        };
        self.timers.arm(now + nack_after, Timer::Relay(own));
    }
}

/// Records asked for in answer to one datagram. What stays unknown is found when views are compared.
const QUERIES_PER_DATAGRAM_MAX: usize = 8;

/// Under the evidence rule: from a relay's first ping to its second, and to its nack.
const RELAY_AGAIN_AFTER: Duration = Duration::from_millis(70);
const RELAY_NACK_AFTER: Duration = Duration::from_millis(170);

/// Share of the probe timeout after which a relay says that it got no answer (Lifeguard, IV.A).
const NACK_AFTER: f64 = 0.8;
