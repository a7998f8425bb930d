//! One node: a process with its engine, its clock, its socket buffer and its state.
//!
//! Refuses to know other nodes or the network; the world moves what goes between them.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use astromesh_swim::{Claim, Config, Engine, Instant, Member, OwnedRecord};
use astromesh_wire::{ClusterTag, NodeId};
use bytes::Bytes;

use crate::clock::Clock;
use crate::join::Seeker;
use crate::payload::Payload;

/// Datagrams that a socket holds while its process does not read them; further ones are lost.
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

/// How soon a running process gets to what has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// At once.
    Prompt,
    /// Its loop turns once in this time: first what waits in the socket, then the timers.
    Slow(Duration),
    /// What comes in waits in the socket for a while that is drawn anew every `redraw`; its timers
    /// are on time.
    Starved {
        /// The shortest wait.
        min: Duration,
        /// The longest wait.
        max: Duration,
        /// How long each wait is kept.
        redraw: Duration,
    },
}

/// A node of the world.
#[derive(Debug)]
pub struct Node {
    /// Its protocol engine; that of the last run while it is down.
    pub engine: Engine,
    /// What its process is doing.
    pub status: Status,
    /// How soon it gets to things.
    pub pace: Pace,
    /// What it takes for the time.
    pub clock: Clock,
    /// Counts its starts; what was meant for an earlier run is dropped.
    pub run: u32,
    /// How far it is with its seeds.
    pub(crate) seeker: Seeker,
    /// When the world will wake it; later than its next timer only if that was just armed.
    pub(crate) wake_at: Option<Instant>,
    /// When its loop turns next, if that is slow and has something to do.
    pub(crate) turn_at: Option<Instant>,
    /// What waits in its socket.
    pub(crate) buffer: VecDeque<Waiting>,
    /// The present wait of a starved node, and until when that is kept.
    pub(crate) wait: (Duration, Instant),
    /// Until when what happens to it may be the consequence of a fault that is over.
    pub(crate) faulty_until: Instant,
}

/// A datagram in a socket.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) from: SocketAddr,
    pub(crate) payload: Payload,
    /// When it came.
    pub(crate) since: Instant,
    /// When the process gets to it, unless it stands still.
    pub(crate) due: Instant,
}

impl Node {
    /// A node that has not been started.
    #[must_use]
    pub fn new(now: Instant, config: Config, cluster: ClusterTag, record: OwnedRecord) -> Self {
        Self {
            engine: Engine::new(now, config, cluster, record, 0),
            status: Status::Down,
            pace: Pace::Prompt,
            clock: Clock::default(),
            run: 0,
            seeker: Seeker::new(),
            wake_at: None,
            turn_at: None,
            buffer: VecDeque::new(),
            wait: (Duration::ZERO, Instant::default()),
            faulty_until: Instant::default(),
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

    /// Whether something is wrong with the process, or was until just now.
    #[must_use]
    pub fn is_faulty(&self, now: Instant) -> bool {
        self.status != Status::Running || self.pace != Pace::Prompt || now < self.faulty_until
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
