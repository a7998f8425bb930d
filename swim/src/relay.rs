//! Pings on behalf of other members.
//!
//! Owns the pings that this node sends because another asked it to, until they are answered or
//! have had their time.

use std::net::SocketAddr;

use astromesh_wire::ShortId;
use indexmap::IndexMap;
use rustc_hash::FxBuildHasher;

/// Pings on behalf of others that may run at once.
pub const RELAYS_MAX: usize = 256;

/// A ping on behalf of another member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relay {
    /// Who asked.
    pub requester: SocketAddr,
    /// The sequence of its request, which the answer must carry.
    pub sequence: u16,
    /// Who is pinged.
    pub target: ShortId,
    /// Whether the target has answered.
    pub answered: bool,
    /// Whether the requester has been told that there is no answer so far.
    pub nacked: bool,
}

/// The relays under way, by the sequence of our own ping.
#[derive(Debug, Default)]
pub struct Relays {
    pings: IndexMap<u16, Relay, FxBuildHasher>,
}

impl Relays {
    /// Notes a ping; `false` when there are too many already.
    pub fn insert(&mut self, sequence: u16, relay: Relay) -> bool {
        if self.pings.len() >= RELAYS_MAX {
            return false;
        }
        self.pings.insert(sequence, relay);
        true
    }

    /// The ping that an ack with this sequence from this sender answers. Each answer is passed on.
    pub fn answered(&mut self, sender: ShortId, sequence: u16) -> Option<Relay> {
        let relay = self.pings.get_mut(&sequence).filter(|relay| relay.target == sender)?;
        relay.answered = true;
        Some(*relay)
    }

    /// The ping of this sequence, while it has not been answered.
    #[must_use]
    pub fn unanswered(&self, sequence: u16) -> Option<Relay> {
        self.pings.get(&sequence).filter(|relay| !relay.answered).copied()
    }

    /// The ping that was already sent for this request, and its sequence.
    #[must_use]
    pub fn of_request(&self, requester: SocketAddr, sequence: u16) -> Option<(u16, Relay)> {
        let mut pings = self.pings.iter();
        let known =
            pings.find(|(_, relay)| relay.requester == requester && relay.sequence == sequence);
        known.map(|(own, relay)| (*own, *relay))
    }

    /// The ping has had its time: the first time, the relay to send a nack for if there was no
    /// answer; after that it is forgotten.
    pub fn expired(&mut self, sequence: u16) -> Option<Relay> {
        let relay = self.pings.get_mut(&sequence)?;
        if relay.nacked || relay.answered {
            self.pings.swap_remove(&sequence);
            return None;
        }
        relay.nacked = true;
        Some(*relay)
    }

    /// Forgets all, after a standstill.
    pub fn clear(&mut self) {
        self.pings.clear();
    }
}
