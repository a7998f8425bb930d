//! One node: a process with its engine, its socket buffer and its state.
//!
//! Refuses to know other nodes or the network; the world moves what goes between them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use astromesh_swim::{Claim, Config, Engine, Instant, Member, OwnedRecord};
use astromesh_wire::{ClusterTag, NodeId};
use bytes::Bytes;

/// Datagrams that a socket holds while its process stands still; further ones are lost.
pub const BUFFERED_DATAGRAMS_MAX: usize = 4_096;

/// What the process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Not started yet, or killed: datagrams to it vanish.
    Down,
    /// Running.
    Running,
    /// Standing still: datagrams to it wait in its buffer.
    Paused,
}

/// A node of the world.
#[derive(Debug)]
pub struct Node {
    /// Its protocol engine; that of the last run while it is down.
    pub engine: Engine,
    /// What its process is doing.
    pub status: Status,
    /// Counts its starts; what was meant for an earlier run is dropped.
    pub run: u32,
    /// Whether a seed has answered in this run.
    pub joined: bool,
    /// When the world will wake it; later than its next timer only if that was just armed.
    pub(crate) wake_at: Option<Instant>,
    /// What waits in its socket, with where it came from.
    pub(crate) buffer: VecDeque<(SocketAddr, Box<[u8]>)>,
}

impl Node {
    /// A node that has not been started.
    #[must_use]
    pub fn new(now: Instant, config: Config, cluster: ClusterTag, record: OwnedRecord) -> Self {
        Self {
            engine: Engine::new(now, config, cluster, record, 0),
            status: Status::Down,
            run: 0,
            joined: false,
            wake_at: None,
            buffer: VecDeque::new(),
        }
    }

    /// Its id.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.engine.local().record.id
    }

    /// Where its socket is.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.engine.local().record.address()
    }

    /// Running or standing still, and it has not said goodbye.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        self.status != Status::Down && self.engine.local().is_live()
    }

    /// What it would tell another node over HTTP about itself.
    #[must_use]
    pub fn own_claim(&self) -> Claim {
        claim(self.engine.local())
    }

    /// What it would tell another node over HTTP about all members, itself included.
    #[must_use]
    pub fn claims(&self) -> Vec<Claim> {
        let mut claims = vec![self.own_claim()];
        claims.extend(self.engine.members().map(claim));
        claims
    }

    /// Notes a datagram while the process stands still.
    pub(crate) fn wait(&mut self, from: SocketAddr, bytes: Box<[u8]>) {
        if self.buffer.len() < BUFFERED_DATAGRAMS_MAX {
            self.buffer.push_back((from, bytes));
        }
    }
}

/// The record of the node with this index, in its first generation.
#[must_use]
pub fn record(index: usize, id: NodeId) -> OwnedRecord {
    OwnedRecord {
        id,
        generation: 1,
        incarnation: 0,
        revision: 1,
        address: address(index),
        name: format!("node-{index}"),
        metadata: Bytes::from_static(&[0x1f, 0x40, 0x03, 0x00, 0x00]),
    }
}

/// Where the node with this index is reached: one IPv4 address each.
#[must_use]
pub fn address(index: usize) -> SocketAddr {
    let [.., a, b, c] = index.to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(10, a, b, c), PORT))
}

fn claim(member: &Member) -> Claim {
    Claim {
        record: member.record.unpack(),
        state: member.state,
        load: member.load(),
        load_sequence: member.load_sequence,
    }
}

const PORT: u16 = 8000;
