//! What the gossip knows of its own network: addresses, socket, and the path to each member.
//!
//! Told on request, for people who look for a fault; nothing is decided by it.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use astromesh_swim as swim;
use astromesh_wire::NodeId;

use super::address::{Address, Certainty};
use super::socket::{Intake, RECEIVE_BUFFER_BYTES};

/// Addresses at which others saw this node that are remembered, the newest first.
const SIGHTINGS_MAX: usize = 16;

/// What the gossip knows of its own network.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// Where others are told to reach this node.
    pub advertised: SocketAddr,
    /// How that is known.
    pub certainty: Certainty,
    /// Where others saw this node, or reached it, and how long ago; the newest first.
    pub observed: Vec<(IpAddr, Duration)>,
    /// Where the socket is bound; `None` if the kernel does not say.
    pub bound: Option<SocketAddr>,
    /// The receive buffer that the kernel granted, in bytes; `None` if it does not say.
    pub receive_buffer: Option<usize>,
    /// The receive buffer that was asked for.
    pub receive_buffer_wanted: usize,
    /// Datagrams that the kernel dropped for lack of room there.
    pub drops: u64,
    /// How long ago it said so last.
    pub dropped_ago: Option<Duration>,
    /// Datagrams that could not be sent.
    pub send_errors: u64,
    /// All other members, in no particular order.
    pub members: Vec<MemberPath>,
}

/// The path to a member; all times are how long ago something was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberPath {
    /// Which.
    pub id: NodeId,
    /// A datagram came from it, or it was first heard of.
    pub heard: Duration,
    /// It answered a ping of this node.
    pub direct: Option<Duration>,
    /// Only a helper had an answer of it.
    pub relayed: Option<Duration>,
    /// Nobody had an answer of it.
    pub failed: Option<Duration>,
    /// How long its last direct answer took.
    pub round_trip: Option<Duration>,
}

/// Where others saw this node.
#[derive(Debug, Default)]
pub(super) struct Sightings {
    seen: Vec<(IpAddr, Instant)>,
}

impl Sightings {
    pub(super) fn note(&mut self, ip: IpAddr) {
        let ip = ip.to_canonical();
        self.seen.retain(|(known, _)| *known != ip);
        self.seen.truncate(SIGHTINGS_MAX - 1);
        self.seen.insert(0, (ip, Instant::now()));
    }
}

/// What an inspection looks at.
pub(super) struct Parts<'a> {
    pub(super) now: swim::Instant,
    pub(super) engine: &'a swim::Engine,
    pub(super) address: &'a Address,
    pub(super) sightings: &'a Sightings,
    pub(super) socket: &'a tokio::net::UdpSocket,
    pub(super) intake: &'a Intake,
    pub(super) send_errors: u64,
}

impl Parts<'_> {
    pub(super) fn inspect(&self) -> Inspection {
        let seen = self.sightings.seen.iter();
        let granted = socket2::SockRef::from(self.socket).recv_buffer_size().ok();
        Inspection {
            advertised: self.address.socket,
            certainty: self.address.certainty(),
            observed: seen.map(|(ip, at)| (*ip, at.elapsed())).collect(),
            bound: self.socket.local_addr().ok(),
            // Linux tells twice of what it was asked: the other half is for its own bookkeeping.
            receive_buffer: granted.map(|bytes| bytes / 2),
            receive_buffer_wanted: RECEIVE_BUFFER_BYTES,
            drops: self.intake.drops(),
            dropped_ago: self.intake.dropped_at().map(|at| at.elapsed()),
            send_errors: self.send_errors,
            members: self.engine.members().map(|member| self.path(member)).collect(),
        }
    }

    fn path(&self, member: &swim::Member) -> MemberPath {
        let ago = |at: swim::Instant| self.now.since(at);
        let path = self.engine.path(member.record.id).unwrap_or_default();
        MemberPath {
            id: member.record.id,
            heard: ago(member.heard_at()),
            direct: path.direct_at.map(ago),
            relayed: path.relayed_at.map(ago),
            failed: path.failed_at.map(ago),
            round_trip: path.round_trip,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sightings_are_bounded_and_the_newest_comes_first() {
        let mut sightings = Sightings::default();
        for number in 0..40 {
            sightings.note([10, 0, 0, number].into());
        }
        sightings.note([10, 0, 0, 30].into());

        assert_eq!(sightings.seen.len(), SIGHTINGS_MAX);
        let newest: Vec<IpAddr> = sightings.seen.iter().take(2).map(|(ip, _)| *ip).collect();
        assert_eq!(newest, [IpAddr::from([10, 0, 0, 30]), IpAddr::from([10, 0, 0, 39])]);
    }
}
