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

    /// The ping that an ack with this sequence from this sender answers; it is done.
    pub fn answered(&mut self, sender: ShortId, sequence: u16) -> Option<Relay> {
        let relay = self.pings.get(&sequence)?;
        if relay.target != sender {
            return None;
        }
        self.pings.swap_remove(&sequence)
    }

    /// The ping has had its time: the first time, the relay to send a nack for; the second time it
    /// is forgotten.
    pub fn expired(&mut self, sequence: u16) -> Option<Relay> {
        let relay = self.pings.get_mut(&sequence)?;
        if relay.nacked {
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
