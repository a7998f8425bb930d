//! What the engine does to make two views equal.
//!
//! A difference of digests that lasts is narrowed down: one node sends the digests of the parts of
//! all ids, the other answers with what it holds of the parts that differ, and so on until members
//! are named one by one. Then each takes over what is newer with the other and sends what is newer
//! here. No step keeps any state: a datagram that is lost costs a later comparison.

use std::net::SocketAddr;

use astromesh_wire::update::PARTS;
use astromesh_wire::{
    Bucket, Content, Datagram, Encoder, Entry, Incarnation, Message, Range, Record, ShortId, State,
    StateUpdate, Update,
};
use bytes::BytesMut;

use super::{Engine, is_small, is_usable};
use crate::io::{Change, Event};
use crate::member::Member;
use crate::precedence::{Edition, Standing};
use crate::ranges::Prefix;
use crate::sync::RANGE_COST;
use crate::table;
use crate::time::Instant;
use crate::tombstones;

/// One thing that an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// The digests of the parts of a range.
    Parts(Prefix),
    /// All members of a range, one line each.
    List(Prefix),
    /// What is held of a member here, if only that it is not known: take over what is newer, and send
    /// what is newer with you.
    Entry(ShortId),
    /// The whole record of a member, with its state.
    Record(ShortId),
}

/// Both sides of a member that must be weighed: what is claimed of it, and until when to remember it
/// if it is gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub(super) claim: Standing,
    pub(super) forget_at: Instant,
}

impl Engine {
    /// A ping or an ack told the digest of its sender's view.
    pub(super) fn compare(&mut self, now: Instant, sender: ShortId, digest: u32) {
        let Some(member) = self.table.get(sender) else { return };
        if !member.is_live() {
            return;
        }
        let address = member.record.address();
        let own = self.digest();
        if own == digest {
            self.stats.digests_equal += 1;
            self.spare_news();
            return;
        }
        self.stats.digests_differing += 1;
        // What a cut leaves behind is made good soon.
        let is_calm = now >= self.healing.calm_at;
        let after = self.config.sync_after / if is_calm { 1 } else { HEALING_HASTE };
        let chance = self.rng.f64();
        if self.healing.gate.differs(now, own, after, chance) {
            self.reconcile(now, address, &[]);
        }
    }

    /// Starts a comparison with whoever is reached there; `before` is said first.
    pub(super) fn reconcile(&mut self, now: Instant, to: SocketAddr, before: &[Piece]) {
        self.stats.reconciles += 1;
        let count = self.table.within(Prefix::ALL).count();
        let mut pieces = before.to_vec();
        pieces.extend(summary(Prefix::ALL, count));
        // A node that has started anew may not know this one, and hears nobody that it does not know.
        pieces.push(Piece::Record(self.local.id()));
        self.send_pieces(now, to, &pieces);
    }

    /// Answers what a datagram from a member says about its view, and news that has long been
    /// overtaken. An answer is larger than the question, so it goes only where the member is known
    /// to be: whoever writes another sender on a datagram must not aim it. A member that has moved
    /// says so first.
    pub(super) fn answer_views(&mut self, now: Instant, from: SocketAddr, datagram: &Datagram<'_>) {
        let known = self.table.get(datagram.sender);
        if known.is_none_or(|member| member.record.address() != from) {
            self.stats.refused_views_address += 1;
            return;
        }
        if self.healing.answers.is_spent(now) {
            self.stats.refused_views_budget += 1;
            return;
        }
        let mut has_large = false;
        let mut pieces = Vec::new();
        let mut updates = datagram.updates().peekable();
        while let Some(update) = updates.next() {
            if pieces.len() >= PIECES_MAX {
                break;
            }
            match update {
                Update::Range(range) => match range.content {
                    Content::Parts(_) if Prefix::of(&range).is_large() && has_large => {
                        self.stats.refused_ranges += 1;
                    }
                    Content::Parts(_) => {
                        if Prefix::of(&range).is_large() {
                            has_large = true;
                            self.healing.answers.spend(now, RANGE_COST);
                        }
                        self.compare_parts(now, &range, datagram, &mut pieces);
                    }
                    Content::List(count) => {
                        let mut named = Vec::new();
                        while named.len() < usize::from(count)
                            && let Some(Update::Entry(entry)) = updates.peek().copied()
                        {
                            updates.next();
                            self.compare_entry(now, &entry, &mut pieces);
                            named.push(entry.subject.id);
                        }
                        self.compare_list(&range, &named, &mut pieces);
                    }
                },
                Update::Entry(entry) => self.compare_entry(now, &entry, &mut pieces),
                Update::State(_) | Update::Record(_) | Update::Load { .. } => {
                    if self.is_stale_life(now, &update)
                        && let Some(id) = update.id()
                    {
                        pieces.push(Piece::Entry(id));
                    }
                }
                Update::Evidence(_) => {}
            }
        }
        let count = self.send_pieces(now, from, &pieces);
        self.healing.answers.spend(now, count);
    }

    /// Whether `answer_views` has something to do with this update.
    pub(super) fn concerns_views(&self, now: Instant, update: &Update<'_>) -> bool {
        match update {
            Update::Range(_) | Update::Entry(_) => true,
            Update::State(_) | Update::Record(_) => self.is_stale_life(now, update),
            Update::Load { .. } | Update::Evidence(_) => false,
        }
    }

    /// Whether somebody still tells that a member is live who has been dead or gone here for a while.
    /// The news of that is over, so whoever missed it must be told. While it is young it is on its
    /// way, and telling it again would double it.
    fn is_stale_life(&self, now: Instant, update: &Update<'_>) -> bool {
        let claim = match update {
            Update::State(update) => Standing::of_update(update),
            Update::Record(record) => {
                Standing { state: record.state, ..Standing::of_record(record) }
            }
            Update::Load { .. } | Update::Evidence(_) | Update::Range(_) | Update::Entry(_) => {
                return false;
            }
        };
        let member = update.id().and_then(|id| self.table.get(id));
        matches!(claim.state, State::Alive | State::Suspect)
            && member.is_some_and(|member| {
                !member.is_live()
                    && claim < member.standing()
                    && now.since(member.state_at()) >= self.config.sync_after * 2
            })
    }

    fn compare_parts(
        &mut self,
        now: Instant,
        range: &Range<'_>,
        datagram: &Datagram<'_>,
        pieces: &mut Vec<Piece>,
    ) {
        let prefix = Prefix::of(range);
        if !prefix.is_divisible() {
            return;
        }
        let ours = self.parts(prefix);
        let theirs: Vec<u32> = range.content.digests().collect();
        // Not all may fit the answer: each part has its turn at some time.
        let first = self.rng.usize(..PARTS);
        let mut differing = 0;
        for index in (first..PARTS).chain(0..first) {
            let (Some((digest, count)), Some(part)) = (ours.get(index), prefix.part(index)) else {
                continue;
            };
            if theirs.get(index) != Some(digest) {
                differing += 1;
                pieces.extend(summary(part, *count));
            }
        }
        if prefix.is_all() && differing > PARTS_SYNC && self.table.len() > MEMBERS_SYNC {
            self.want_sync(now, datagram.sender);
        }
    }

    /// Much differs in a large mesh: whole views over HTTP are cheaper. Not while those held dead
    /// come back, for then only their states differ, and their own word spreads faster.
    fn want_sync(&mut self, now: Instant, with: ShortId) {
        let is_calm = now >= self.healing.calm_at;
        if is_calm
            && now >= self.healing.sync_at
            && let Some(member) = self.table.get(with)
            && member.is_live()
        {
            self.stats.syncs += 1;
            self.events.push_back(Event::SyncWanted(member.record.id));
            let wait = SYNC_INTERVAL.mul_f64(1.0 + self.rng.f64());
            self.healing.sync_at = now + wait;
        }
    }

    /// Members of a range that a list of it does not name are not known there.
    fn compare_list(&self, range: &Range<'_>, named: &[ShortId], pieces: &mut Vec<Piece>) {
        let room = PIECES_MAX.saturating_sub(pieces.len());
        let unnamed = self.table.within(Prefix::of(range)).filter(|id| !named.contains(id));
        pieces.extend(unnamed.take(room).map(Piece::Record));
    }

    /// What another holds of a member: takes over what is newer there, and answers with what is newer
    /// here or with the question for what is lacking here.
    fn compare_entry(&mut self, now: Instant, entry: &Entry, pieces: &mut Vec<Piece>) {
        let Incarnation { id, generation, incarnation } = entry.subject;
        let theirs = Standing { generation, incarnation, state: entry.state };
        let edition = Edition { generation, revision: entry.revision };
        let end = End { claim: theirs, forget_at: self.forget_at(now, entry.gone_for_s) };
        let is_local = id == self.local.id();
        let Some(known) = self.known(id) else {
            // Nobody asks for what the other lacks as well.
            let is_known_there = generation > 0 || entry.revision > 0;
            let is_wanted = is_live(entry.state) || self.is_worth_keeping(now, end.forget_at);
            if is_known_there && is_wanted && self.table.len() < self.config.members_max {
                pieces.push(Piece::Entry(id));
            }
            return;
        };
        let (ours, our_edition) = (settled(known.standing()), known.edition());
        let is_newer_here = ours > settled(theirs);
        let is_newer_there = settled(theirs) > ours;
        if is_local {
            if (is_newer_there || edition > our_edition) && !self.has_left() {
                self.outbid(now, generation, incarnation, entry.revision);
                pieces.push(Piece::Record(id));
                return;
            }
        } else if is_newer_there {
            self.take_claim(now, id, end);
        } else if !is_newer_here && !known.is_live() {
            self.age(now, id, end);
        }
        if our_edition > edition {
            pieces.push(Piece::Record(id));
        } else if is_newer_here || edition > our_edition {
            pieces.push(Piece::Entry(id));
        }
    }

    /// What a comparison says of the state of a member known here. It is believed, but for the death
    /// of a member that is live here: that one is asked first.
    fn take_claim(&mut self, now: Instant, id: ShortId, end: End) {
        let is_live_here = self.table.get(id).is_some_and(Member::is_live);
        if end.claim.state == State::Dead && is_live_here {
            self.check_death(now, id, end);
            return;
        }
        let Standing { generation, incarnation, state } = end.claim;
        let accuser = Bucket::default();
        self.take_state(now, &StateUpdate { id, state, accuser, generation, incarnation });
        self.age(now, id, end);
    }

    /// A member that is gone here was gone earlier than was known here: all forget it together.
    pub(super) fn age(&mut self, now: Instant, id: ShortId, end: End) {
        let known = self.healing.tombstones.forget_at(id);
        let is_same = self.table.get(id).is_some_and(|member| member.standing() == end.claim);
        if is_same && known.is_some_and(|known| end.forget_at < known) {
            self.bury(now, id, end.forget_at);
        }
    }

    /// A record that says that its member is dead or gone.
    pub(super) fn take_gone_record(&mut self, now: Instant, record: &Record<'_>) {
        let claim = Standing { state: record.state, ..Standing::of_record(record) };
        let end = End { claim, forget_at: self.forget_at(now, record.gone_for_s) };
        let id = record.id.short();
        match self.known(id) {
            Some(known) if known.record.id != record.id => self.stats.refused_id_collision += 1,
            Some(_) => self.take_end(now, record, end),
            None => self.keep_gone(now, record, end),
        }
    }

    /// Somebody else says that a member known here, or this node, is dead or gone.
    pub(super) fn take_end(&mut self, now: Instant, record: &Record<'_>, end: End) {
        let id = record.id.short();
        let is_live_here = self.table.get(id).is_some_and(Member::is_live);
        if end.claim.state == State::Dead && is_live_here {
            // Whatever became of it, this is what it said while it was alive.
            self.take_record(now, record, super::news::Proof::Told);
            self.check_death(now, id, end);
        } else {
            // The state comes before the record, which by itself says "alive".
            self.take_claim(now, id, end);
            self.take_record(now, record, super::news::Proof::Told);
        }
    }

    /// A member that was unknown here and is dead or gone: kept so that it can be recognised. It was
    /// never live in this view, so it takes nobody's place and is no news to anybody.
    fn keep_gone(&mut self, now: Instant, record: &Record<'_>, end: End) {
        if !is_usable(record.address) || !is_small(record.name, record.metadata) {
            self.stats.refused_record += 1;
        } else if self.table.len() >= self.config.members_max {
            self.stats.refused_members_full += 1;
        } else if self.is_worth_keeping(now, end.forget_at) {
            let state = end.claim.state;
            let change = if state == State::Left { Change::Left } else { Change::Dead };
            let id = record.id.short();
            self.healing.lost.remove(id);
            let mut member = Member::new(self.interner.pack(record), now);
            member.state = state;
            self.table.insert(member);
            self.bury(now, id, end.forget_at);
            self.changed(record.id, change);
        }
    }

    fn forget_at(&self, now: Instant, gone_for_s: u32) -> Instant {
        let gone_for = std::time::Duration::from_secs(u64::from(gone_for_s));
        now + self.config.reap_after.saturating_sub(gone_for)
    }

    /// Whether somebody who is forgotten then is still to be taken in. Not shortly before: others
    /// have forgotten it already, and it would go back and forth.
    fn is_worth_keeping(&self, now: Instant, forget_at: Instant) -> bool {
        forget_at.since(now) > self.config.reap_after / REAP_MARGIN_SHARE
    }

    /// Digest and number of members of each part of a range.
    fn parts(&self, range: Prefix) -> [(u32, usize); PARTS] {
        let mut parts = [(0_u32, 0_usize); PARTS];
        for id in self.table.within(range) {
            let index = range.part_of(crate::ring::hash(id));
            if let (Some(member), Some((digest, count))) = (self.known(id), parts.get_mut(index)) {
                *digest = digest.wrapping_add(table::contribution(member));
                *count += 1;
            }
        }
        parts
    }

    /// Writes an answer, as far as it fits its datagrams, and counts them; the rest is found by a
    /// later comparison.
    pub(super) fn send_pieces(&mut self, now: Instant, to: SocketAddr, pieces: &[Piece]) -> u32 {
        let mut left = pieces;
        let mut sent = 0;
        while sent < ANSWER_DATAGRAMS_MAX && !left.is_empty() {
            sent += 1;
            let mut buffer = BytesMut::new();
            let mut encoder = Encoder::begin(&mut buffer, self.local.id(), &Message::Gossip);
            let mut written = 0;
            while let Some(piece) = left.get(written)
                && self.write(now, &mut encoder, *piece)
            {
                match piece {
                    Piece::Entry(_) => self.stats.entries_sent += 1,
                    Piece::Record(_) => self.stats.records_sent += 1,
                    Piece::Parts(_) | Piece::List(_) => {}
                }
                written += 1;
            }
            encoder.finish(self.cluster);
            debug_assert!(written > 0, "a piece by itself fits any datagram");
            self.healing.written.push_back((to, buffer.freeze()));
            left = left.get(written.max(1)..).unwrap_or_default();
        }
        sent
    }

    /// `false` when it does not fit any more.
    fn write(&self, now: Instant, encoder: &mut Encoder<'_>, piece: Piece) -> bool {
        match piece {
            // Before the digests, which would have to be added up once more for the next datagram.
            Piece::Parts(_) if encoder.room() < PARTS * 4 + RANGE_BYTES_MAX => false,
            Piece::Parts(prefix) => {
                let mut bytes = [0; PARTS * 4];
                let (slots, _) = bytes.as_chunks_mut();
                for (slot, (digest, _)) in slots.iter_mut().zip(self.parts(prefix)) {
                    *slot = digest.to_be_bytes();
                }
                let content = Content::Parts(&bytes);
                let range = Range { prefix: prefix.value(), bits: prefix.bits(), content };
                encoder.push(&Update::Range(range)).is_ok()
            }
            Piece::List(prefix) => {
                let members: Vec<Entry> =
                    self.table.within(prefix).map(|id| self.entry(now, id)).collect();
                let bytes = members.len().saturating_mul(ENTRY_BYTES_MAX);
                if encoder.room() < bytes.saturating_add(RANGE_BYTES_MAX) {
                    return false;
                }
                let content = Content::List(u8::try_from(members.len()).unwrap_or(u8::MAX));
                let range = Range { prefix: prefix.value(), bits: prefix.bits(), content };
                encoder.push(&Update::Range(range)).is_ok()
                    && members.iter().all(|entry| encoder.push(&Update::Entry(*entry)).is_ok())
            }
            Piece::Entry(id) => encoder.push(&Update::Entry(self.entry(now, id))).is_ok(),
            Piece::Record(id) => {
                let Some(known) = self.known(id) else { return true };
                let state = settled(known.standing()).state;
                let gone_for_s = self.gone_for_s(now, id);
                let record = Record { state, gone_for_s, ..known.record.borrow() };
                encoder.push(&Update::Record(record)).is_ok()
            }
        }
    }

    /// What is held of a member here; all zero if it is not known.
    fn entry(&self, now: Instant, id: ShortId) -> Entry {
        let Some(known) = self.known(id) else {
            let subject = Incarnation { id, generation: 0, incarnation: 0 };
            return Entry { subject, state: State::Alive, revision: 0, gone_for_s: 0 };
        };
        let Standing { generation, incarnation, state } = settled(known.standing());
        let subject = Incarnation { id, generation, incarnation };
        let gone_for_s = self.gone_for_s(now, id);
        Entry { subject, state, revision: known.record.revision, gone_for_s }
    }

    pub(super) fn gone_for_s(&self, now: Instant, id: ShortId) -> u32 {
        let forget_at = self.healing.tombstones.forget_at(id);
        forget_at.map_or(0, |at| tombstones::gone_for_s(now, at, self.config.reap_after))
    }
}

/// How to say what is held of a range of so many members.
fn summary(range: Prefix, count: usize) -> Option<Piece> {
    if count <= LIST_MAX {
        Some(Piece::List(range))
    } else {
        range.is_divisible().then_some(Piece::Parts(range))
    }
}

/// A suspicion is no lasting difference.
fn settled(standing: Standing) -> Standing {
    let state = if is_live(standing.state) { State::Alive } else { standing.state };
    Standing { state, ..standing }
}

pub(super) const fn is_live(state: State) -> bool {
    matches!(state, State::Alive | State::Suspect)
}

/// While members come back from the dead, differences count sooner by this factor.
const HEALING_HASTE: u32 = 4;

/// Members of a range that are named one by one rather than counted. 16 entries of 10 bytes are less
/// than the 262 bytes of the digests of the parts.
const LIST_MAX: usize = 16;

/// Datagrams of one answer.
const ANSWER_DATAGRAMS_MAX: u32 = 4;

/// Pieces of one answer: what its datagrams can hold, at 10 bytes for the smallest.
const PIECES_MAX: usize = 480;

/// Bytes of the longest entry: tag, state, id and four numbers of up to five bytes.
const ENTRY_BYTES_MAX: usize = 27;

/// Bytes of the head of a range: tag, prefix, bits, count.
const RANGE_BYTES_MAX: usize = 7;

/// If more of the parts of all ids differ than this, much differs.
const PARTS_SYNC: usize = PARTS / 4;

/// Smaller views are always compared in datagrams.
const MEMBERS_SYNC: usize = 1_000;

/// Least time between two exchanges of whole views that this node asks for.
const SYNC_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// The last part of the time for which the gone are remembered in which they are not taken in any
/// more: of 24 h, 84 s.
const REAP_MARGIN_SHARE: u32 = 1_024;
