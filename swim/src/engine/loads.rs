//! What the engine does with loads: those that are gossiped, and beacons.
//!
//! A gossiped load is news like any other: it reaches everybody within some rounds. A beacon is one
//! datagram to one member, carries nothing else and is never answered. Refuses to say which of both
//! is the newer: whoever chooses a node compares their sequences.

use std::net::SocketAddr;

use astromesh_wire::{Load, LoadRecord, Message, ShortId};

use super::{Cargo, Engine};
use crate::dissemination::{Class, Kind};
use crate::io::{Change, Event};
use crate::member::Member;
use crate::time::Instant;

impl Engine {
    /// The host says how busy this node is.
    pub(super) fn set_load(&mut self, now: Instant, load: Load, sequence: u32) {
        let before = self.local.load();
        if before == load {
            return;
        }
        self.local.set_load(load);
        self.local.load_sequence = sequence.max(self.local.load_sequence.saturating_add(1));
        self.tell(now, self.local.id(), Kind::Load, class(before, load));
        self.changed(self.local.record.id, Change::Load);
    }

    /// A load announcement; the highest sequence within a generation is the newest.
    pub(super) fn take_load(
        &mut self,
        now: Instant,
        id: ShortId,
        generation: u32,
        sequence: u32,
        load: Load,
    ) {
        if id == self.local.id() {
            let is_forged =
                generation == self.local.record.generation && sequence > self.local.load_sequence;
            if is_forged {
                self.local.load_sequence = sequence;
                self.tell_load_again(now);
            }
            return;
        }
        let Some(member) = self.table.get(id) else { return };
        let is_news = generation == member.record.generation && sequence > member.load_sequence;
        if !is_news {
            return;
        }
        let (node, before) = (member.record.id, member.load());
        self.table.change(id, |member| {
            member.set_load(load);
            member.load_sequence = sequence;
        });
        self.tell(now, id, Kind::Load, class(before, load));
        self.changed(node, Change::Load);
    }

    /// Whoever doubted this node may have missed what it announced meanwhile.
    pub(super) fn tell_load_again(&mut self, now: Instant) {
        self.local.load_sequence = self.local.load_sequence.saturating_add(1);
        self.tell(now, self.local.id(), Kind::Load, Class::Load);
    }

    /// Tells one member how busy this node is.
    pub(super) fn beacon(&mut self, to: ShortId, record: LoadRecord) {
        let Some(member) = self.table.get(to).filter(|member| member.is_live()) else { return };
        if self.has_left() {
            return;
        }
        let address = member.record.address();
        let record = LoadRecord { boot: self.local.record.generation, ..record };
        self.stats.beacons_sent += 1;
        self.send(address, Message::Beacon { target: to, record }, None, Cargo::Empty);
    }

    /// A member says how busy it is. What it says in a life that is not known here has no meaning
    /// yet: its record comes by gossip, and the next beacon after that counts. Nor has what comes from
    /// another address than its own: whoever knows an id could say of it what they like.
    pub(super) fn take_beacon(
        &mut self,
        from: SocketAddr,
        sender: ShortId,
        target: ShortId,
        record: LoadRecord,
    ) {
        let is_in_its_life =
            |member: &&Member| member.is_live() && member.record.generation == record.boot;
        match self.table.get(sender).filter(is_in_its_life) {
            Some(member) if target == self.local.id() && member.record.address() != from => {
                self.stats.beacons_refused_address += 1;
            }
            Some(member) if target == self.local.id() => {
                self.stats.beacons_received += 1;
                self.events.push_back(Event::Beacon { id: member.record.id, record });
            }
            Some(_) | None => self.stats.beacons_refused += 1,
        }
    }
}

/// Whether work may be sent to a node is more urgent than how much it has.
const fn class(before: Load, after: Load) -> Class {
    if before.is_draining == after.is_draining { Class::Load } else { Class::Urgent }
}
