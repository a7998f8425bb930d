//! What the engine does with a claim about a member.

use std::time::Duration;

use astromesh_wire::{Bucket, Load, Message, Record, ShortId, State, StateUpdate};

use super::compare::End;
use super::{Cargo, Engine, is_small, is_usable};
use crate::dissemination::{Class, Kind, Topic};
use crate::io::{Change, Claim, Event, Origin};
use crate::member::{Member, OwnedRecord};
use crate::precedence::{Edition, Standing};
use crate::time::Instant;
use crate::timers::Timer;

/// How a record is known to be true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// The member itself sent a datagram from the address in the record.
    Heard,
    /// Another one passed it on.
    Told,
}

impl Proof {
    pub(super) const fn heard_if(heard: bool) -> Self {
        if heard { Self::Heard } else { Self::Told }
    }
}

impl Engine {
    /// A claim that came over HTTP. `is_alone` tells whether nobody else was live here before.
    pub(super) fn merge(&mut self, now: Instant, claim: &Claim, origin: Origin, is_alone: bool) {
        let id = claim.record.id.short();
        let is_new = self.table.get(id).is_none() && id != self.local.id();
        let record = &claim.record;
        let known = if id == self.local.id() { Some(&self.local) } else { self.table.get(id) };
        if known.is_some_and(|known| known.record.id != record.id) {
            self.stats.refused_id_collision += 1;
            return;
        }
        let edition = Edition { generation: record.generation, revision: record.revision };
        let is_newer = self.table.get(id).is_some_and(|member| edition > member.edition());
        let is_live = matches!(claim.state, State::Alive | State::Suspect);
        match origin {
            Origin::Unasked if is_new || is_newer => {
                if is_live {
                    self.verify(now, record);
                }
                return;
            }
            // A comparison in datagrams tells of those that are gone, with their age: without it they
            // would be remembered here for longer than elsewhere, and come back from here.
            Origin::Join | Origin::Sync if is_new && !is_live => return,
            Origin::Join | Origin::Sync | Origin::Unasked => {}
        }
        if is_live {
            self.take_record(now, &record.borrow(), Proof::Told);
            if claim.state == State::Suspect {
                self.take_state(now, &said(claim, State::Suspect));
            }
        } else {
            // We asked, so a leave is believed; whoever has not left outbids it. Told unasked it
            // counts no more than a death.
            let state = if origin == Origin::Unasked { State::Dead } else { claim.state };
            let claim = Standing { state, ..Standing::of_record(&record.borrow()) };
            self.take_end(
                now,
                &record.borrow(),
                End { claim, forget_at: now + self.config.reap_after },
            );
        }
        // A newcomer has nobody to tell what its seed's side knows already. One that has company
        // joins two meshes.
        if is_new && is_alone && origin == Origin::Join {
            self.news.forget(id);
        }
        self.take_load(now, id, record.generation, claim.load_sequence, claim.load);
    }

    /// Pings a member that was announced unasked; its answer lets it in.
    fn verify(&mut self, now: Instant, record: &OwnedRecord) {
        if !is_usable(record.address) || !is_small(&record.name, &record.metadata) {
            self.stats.refused_record += 1;
            return;
        }
        if self.candidates.contains(now, record) {
            return;
        }
        let sequence = self.take_sequence();
        if !self.candidates.insert(now, sequence, record.clone()) {
            self.stats.refused_candidates_full += 1;
            return;
        }
        let ping = self.ping(record.id.short(), sequence);
        self.send(record.address, ping, Some(self.own(Kind::Record)), Cargo::Empty);
    }

    /// A claim about the liveness of a member that is known here, or of this node.
    pub(super) fn take_state(&mut self, now: Instant, update: &StateUpdate) {
        let mut claim = Standing::of_update(update);
        if self.evidence_floor().is_some() && claim.state == State::Suspect {
            // Suspicions are no news under this rule: whoever doubts asks the observers.
            claim.state = State::Alive;
        }
        if update.id == self.local.id() {
            if claim > self.local.standing() && !self.has_left() {
                self.outbid(now, update.generation, update.incarnation, 0);
            }
            return;
        }
        let Some(member) = self.table.get(update.id) else { return };
        let standing = member.standing();
        if claim == standing && claim.state == State::Suspect {
            self.confirm(now, update.id, update.accuser);
        }
        if claim <= standing {
            return;
        }
        self.set_standing(now, update.id, claim, update.accuser);
    }

    /// Another accuser of a member that is suspect already.
    fn confirm(&mut self, now: Instant, id: ShortId, accuser: Bucket) {
        let live_count = self.live_count();
        let Some(deadline) = self.detector.accused(now, id, accuser, live_count) else { return };
        self.timers.arm(deadline, Timer::Suspicion(id));
        self.table.change(id, |member| member.accuser = accuser);
        self.tell(now, id, Kind::State, Class::State);
    }

    /// Believes a claim, tells the others, and does what follows from it.
    pub(super) fn set_standing(
        &mut self,
        now: Instant,
        id: ShortId,
        claim: Standing,
        accuser: Bucket,
    ) {
        let known = self.table.get(id).map(|member| (member.standing(), member.shown_state()));
        let Some((previous, shown_before)) = known else { return };
        let Some((node, before)) = self.table.change(id, |member| {
            let before = member.state;
            if claim.generation > member.record.generation {
                // Its runs ended with its process.
                member.set_load(Load::default());
                member.load_sequence = 0;
                // What it says of itself in this generation is still to come.
                member.record.revision = 0;
            }
            member.record.generation = claim.generation;
            member.record.incarnation = claim.incarnation;
            member.state = claim.state;
            member.accuser = accuser;
            if before != claim.state {
                member.set_state_at(now);
            }
            (member.record.id, before)
        }) else {
            return;
        };
        let returns = matches!(before, State::Dead | State::Left)
            && matches!(claim.state, State::Alive | State::Suspect);
        let (class, change) = match claim.state {
            State::Alive if returns => (Class::Urgent, Change::Alive),
            State::Alive => (Class::State, Change::Alive),
            State::Suspect => (Class::State, Change::Suspect),
            State::Dead => (Class::Urgent, Change::Dead),
            State::Left => (Class::Urgent, Change::Left),
        };
        match claim.state {
            State::Suspect => {
                // A new incarnation is a new suspicion.
                self.detector.cleared(id);
                let live_count = self.live_count();
                if let Some(deadline) = self.detector.accused(now, id, accuser, live_count) {
                    self.timers.arm(deadline, Timer::Suspicion(id));
                }
                // A few look for themselves: their own failed probes confirm, their pings tell the
                // suspect. A few, not all, so that the load on it does not grow with the mesh.
                if self.rng.usize(..live_count) < WITNESSES {
                    self.table.hurry(id);
                }
            }
            State::Alive | State::Dead | State::Left => self.detector.cleared(id),
        }
        match claim.state {
            State::Alive | State::Suspect => self.healing.tombstones.remove(id),
            State::Dead | State::Left => self.bury(now, id, now + self.config.reap_after),
        }
        if returns {
            self.table.mix_in(id, &mut self.rng);
        }
        self.standing_changed(now, id, previous);
        self.tell(now, id, Kind::State, class);
        if before != claim.state {
            // Who was given up here before is shown as dead already.
            let shown = self.table.get(id).map(Member::shown_state);
            if shown != Some(shown_before) {
                self.changed(node, change);
            }
            self.elect();
        }
    }

    /// A record: of this node, of a member, or of somebody new.
    pub(super) fn take_record(&mut self, now: Instant, record: &Record<'_>, proof: Proof) {
        if !is_usable(record.address) || !is_small(record.name, record.metadata) {
            self.stats.refused_record += 1;
            return;
        }
        let id = record.id.short();
        let known = if id == self.local.id() { Some(&self.local) } else { self.table.get(id) };
        match known {
            Some(known) if known.record.id != record.id => self.stats.refused_id_collision += 1,
            Some(_) if id == self.local.id() => self.take_own_record(now, record),
            Some(_) => self.take_known_record(now, id, record),
            None => self.take_new_record(now, record, proof),
        }
    }

    /// Somebody tells what this node is: outbid it unless it is what this node says itself.
    fn take_own_record(&mut self, now: Instant, record: &Record<'_>) {
        let own = &self.local.record;
        let claim = Standing::of_record(record);
        let edition = Edition::of_record(record);
        let contradicts = edition == self.local.edition()
            && (record.address, record.name, record.metadata)
                != (own.address(), own.name(), own.metadata());
        let is_ahead = claim > self.local.standing() || edition > self.local.edition();
        if (is_ahead || contradicts) && !self.has_left() {
            self.outbid(now, record.generation, record.incarnation, record.revision);
        }
    }

    fn take_known_record(&mut self, now: Instant, id: ShortId, record: &Record<'_>) {
        let Some(member) = self.table.get(id) else { return };
        let claim = Standing::of_record(record);
        let is_newer_claim = claim > member.standing();
        let is_newer_edition = Edition::of_record(record) > member.edition();
        if is_newer_claim {
            self.set_standing(now, id, claim, Bucket::default());
        }
        if is_newer_edition {
            let metadata = self.interner.share(record.metadata);
            self.table.change(id, |member| {
                member.record.revision = record.revision;
                member.record.set_address(record.address);
                member.record.set_name(record.name);
                member.record.set_metadata(metadata);
            });
            self.tell(now, id, Kind::Record, Class::Record);
            self.changed(record.id, Change::Updated);
        }
    }

    fn take_new_record(&mut self, now: Instant, record: &Record<'_>, proof: Proof) {
        if self.table.len() >= self.config.members_max {
            self.stats.refused_members_full += 1;
            return;
        }
        // One process owns an address: the same name there under another id is the same machine
        // with a new identity. Hearsay does not displace a member that was heard from just now.
        let rival = self
            .table
            .live_at(record.address)
            .filter(|rival| rival.record.name() == record.name && rival.record.id != record.id);
        if let Some(rival) = rival {
            let is_fresh = now.since(rival.heard_at()) < self.config.probe_interval * 2;
            if proof == Proof::Told && is_fresh {
                return;
            }
            let rival = rival.id();
            self.replace(now, rival);
        }
        let id = record.id.short();
        self.table.insert(Member::new(self.interner.pack(record), now));
        self.table.mix_in(id, &mut self.rng);
        self.evidence.is_stale = true;
        self.tell(now, id, Kind::Record, Class::Record);
        if self.news.len() <= JOINERS_AT_ONCE {
            self.arm_gossip(now + JOIN_DELAY);
        }
        self.changed(record.id, Change::Joined);
        self.elect();
        if self.healing.lost.remove(id) && proof == Proof::Heard {
            self.compare_at_once(now, record.address);
        }
    }

    /// The member's place was taken: it has left, whatever else is said of it.
    fn replace(&mut self, now: Instant, id: ShortId) {
        let Some(member) = self.table.get(id) else { return };
        let node = member.record.id;
        let claim = Standing { state: State::Left, ..member.standing() };
        self.set_standing(now, id, claim, Bucket::default());
        self.changed(node, Change::Replaced);
    }

    /// Raises this node's own numbers above a claim about it, so that its word wins again.
    pub(super) fn outbid(
        &mut self,
        now: Instant,
        generation: u32,
        incarnation: u32,
        revision: u32,
    ) {
        let own = &mut self.local.record;
        let before = own.generation;
        if generation > own.generation {
            own.generation = generation;
            own.incarnation = 0;
            own.revision = 0;
        }
        // The next number of each kind; a forged claim may have taken the last one, and then the
        // generation rises instead. With that used up too, only a restart under a new id helps.
        let next_incarnation = incarnation.max(own.incarnation).checked_add(1);
        let next_revision = revision.max(own.revision).checked_add(1);
        match (next_incarnation, next_revision, own.generation.checked_add(1)) {
            (Some(incarnation), Some(next), _) => {
                own.incarnation = incarnation;
                if revision >= own.revision || own.generation > before {
                    own.revision = next;
                }
            }
            (_, _, Some(generation)) => {
                own.generation = generation;
                own.incarnation = 0;
                own.revision = 1;
            }
            // At least none of ours falls.
            (_, _, None) => (own.incarnation, own.revision) = (u32::MAX, u32::MAX),
        }
        let generation = own.generation;
        let id = own.id;
        if generation > before {
            self.events.push_back(Event::Generation(generation));
        }
        self.stats.refutations += 1;
        if self.evidence_floor().is_none() {
            self.detector.refuted();
        }
        self.tell(now, self.local.id(), Kind::State, Class::Urgent);
        if revision > 0 || generation > before {
            self.tell(now, self.local.id(), Kind::Record, Class::Record);
        }
        // Whoever doubted this node may have missed what it announced meanwhile.
        if self.local.load_sequence > 0 {
            self.tell_load_again(now);
        }
        self.changed(id, Change::Updated);
    }

    /// The local node's description changed.
    pub(super) fn revise(&mut self, now: Instant) {
        self.local.record.revision = self.local.record.revision.saturating_add(1);
        self.tell(now, self.local.id(), Kind::Record, Class::Record);
        self.changed(self.local.record.id, Change::Updated);
    }

    /// Says goodbye: at once to some, who pass it on.
    pub(super) fn leave(&mut self, now: Instant) {
        if self.has_left() {
            return;
        }
        self.local.state = State::Left;
        self.local.set_state_at(now);
        self.probe = None;
        self.relays.clear();
        self.evidence.watches.clear();
        while let Some((&id, _)) = self.evidence.cases.first() {
            self.close(id);
        }
        let own = self.own(Kind::State);
        for index in 0..self.table.live().len().min(FAREWELLS_MAX) {
            let Some(&id) = self.table.live().get(index) else { break };
            let Some(address) = self.table.get(id).map(|member| member.record.address()) else {
                continue;
            };
            self.send(address, Message::Gossip, Some(own), Cargo::Empty);
        }
        self.tell(now, self.local.id(), Kind::State, Class::Urgent);
        self.changed(self.local.record.id, Change::Left);
        self.elect();
    }

    /// An operator says that a dead member will not come back.
    pub(super) fn dismiss(&mut self, now: Instant, id: ShortId) {
        let Some(member) = self.table.get(id) else { return };
        if member.shown_state() == State::Dead {
            let claim = Standing { state: State::Left, ..member.standing() };
            self.set_standing(now, id, claim, Bucket::default());
        }
    }

    /// Bully without messages: the highest id among the live members leads in every view that
    /// holds the same members.
    pub(super) fn elect(&mut self) {
        let others = self.highest_shown_live();
        let own = self.local.is_live().then_some(self.local.record.id);
        let leader = if own.is_some() { others.max(own) } else { None };
        if leader != self.leader {
            self.leader = leader;
            self.term = self.term.saturating_add(1);
            self.events.push_back(Event::Leader { id: leader, term: self.term });
        }
    }

    /// The highest id among the members that this view does not show as dead.
    fn highest_shown_live(&self) -> Option<astromesh_wire::NodeId> {
        let highest = self.table.highest_live_id()?;
        if self.table.get(highest.short()).is_some_and(Member::is_shown_live) {
            return Some(highest);
        }
        // Rare: the one given up as unreachable would have led.
        let shown = self.table.iter().filter(|member| member.is_shown_live());
        shown.map(|member| member.record.id).max()
    }

    /// Keeps the higher of two counts of leaders. A forged one cannot exhaust the number.
    pub(super) fn raise_term(&mut self, term: u64) {
        if term > self.term && term < TERM_MAX {
            self.term = term;
            self.events.push_back(Event::Leader { id: self.leader, term });
        }
    }

    pub(super) const fn own(&self, kind: Kind) -> Topic {
        Topic { id: self.local.id(), kind }
    }
}

/// What a claim over HTTP says of liveness, believed as far as `state`.
fn said(claim: &Claim, state: State) -> StateUpdate {
    let record = &claim.record;
    StateUpdate {
        id: record.id.short(),
        state,
        accuser: Bucket::default(),
        generation: record.generation,
        incarnation: record.incarnation,
    }
}

/// Members that probe a suspect next when they hear of it, on average. Twice the confirmations that
/// are wanted, for some are busy with another probe or share a bucket.
const WITNESSES: usize = 6;

/// From the news of a new member to the next round of gossip: those that come at once travel
/// together, and none waits for long.
const JOIN_DELAY: Duration = Duration::from_millis(20);

/// With more news than this many pieces waiting, many join at once: then haste would spend it on the
/// few members that are known so far.
const JOINERS_AT_ONCE: usize = 8;

/// Members that a leaving node tells itself; the others hear it from them.
const FAREWELLS_MAX: usize = 32;

/// Terms beyond this are not believed: it leaves room for a change of leader each microsecond for
/// half a million years.
const TERM_MAX: u64 = 1 << 63;
