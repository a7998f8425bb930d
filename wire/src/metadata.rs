//! What a record says of its node beyond name and address.
//!
//! The engine carries these bytes without looking into them. Later versions may append fields: a
//! reader ignores what follows the fields it knows.

use std::str::FromStr;

use crate::codec;
use crate::limits::{AGENT_NAME_BYTES_MAX, METADATA_BYTES_MAX};

/// A node's own description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The port of its HTTP server, on the address of its gossip socket.
    pub http_port: u16,
    /// What it offers.
    pub services: Vec<Service>,
    /// The agents it runs.
    pub agents: Agents,
}

/// The agents of a node, or the word that they are too many for a datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Agents {
    /// All of them.
    Listed(Vec<Agent>),
    /// More than fit; the node's HTTP server tells them.
    Elsewhere,
}

/// An agent as its node announces it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Agent {
    /// Its name.
    pub name: String,
    /// A request for it may be sent again when it may already have run.
    pub is_idempotent: bool,
}

impl Agent {
    /// One of which nothing is said but its name.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), is_idempotent: false }
    }
}

/// What a node can offer. The order is that of the bits on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// The HTTP API.
    Api,
    /// Running agents.
    Agents,
    /// Serving models to other nodes.
    Inference,
    /// Conversation memory.
    Memory,
    /// Tools.
    Tools,
    /// Channels such as webhooks.
    Channels,
    /// Retrieval.
    Rag,
    /// Metrics and traces.
    Observability,
}

impl Service {
    /// All services, in the order of their bits.
    pub const ALL: [Self; 8] = [
        Self::Api,
        Self::Agents,
        Self::Inference,
        Self::Memory,
        Self::Tools,
        Self::Channels,
        Self::Rag,
        Self::Observability,
    ];

    /// The name in configuration and JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Agents => "agents",
            Self::Inference => "inference",
            Self::Memory => "memory",
            Self::Tools => "tools",
            Self::Channels => "channels",
            Self::Rag => "rag",
            Self::Observability => "observability",
        }
    }

    const fn bit(self) -> u16 {
        match self {
            Self::Api => 1,
            Self::Agents => 1 << 1,
            Self::Inference => 1 << 2,
            Self::Memory => 1 << 3,
            Self::Tools => 1 << 4,
            Self::Channels => 1 << 5,
            Self::Rag => 1 << 6,
            Self::Observability => 1 << 7,
        }
    }
}

/// The text names no service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such service")]
pub struct UnknownService;

impl FromStr for Service {
    type Err = UnknownService;

    fn from_str(text: &str) -> Result<Self, UnknownService> {
        Self::ALL.into_iter().find(|service| service.name() == text).ok_or(UnknownService)
    }
}

const AGENTS_LISTED: u8 = 0;
const AGENTS_ELSEWHERE: u8 = 1;
/// Listed, and behind the names one bit for each of them: idempotent or not.
const AGENTS_MARKED: u8 = 2;

/// What [`AGENTS_MARKED`] says in one byte.
const MARKS_PER_BYTE: usize = 8;

impl Metadata {
    /// The bytes for a record. Agents that do not fit, by their number or by one overlong name, are
    /// left out as a whole and the bytes say so.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bits = self.services.iter().fold(0, |bits, service| bits | service.bit());
        let port = self.http_port.to_be_bytes();
        let mut bytes = vec![0; METADATA_BYTES_MAX];
        let listed = match &self.agents {
            Agents::Listed(agents) => put_listed(&mut bytes, port, bits, agents),
            Agents::Elsewhere => None,
        };
        let length =
            listed.or_else(|| codec::put(&mut bytes, (port, bits, AGENTS_ELSEWHERE))).unwrap_or(0);
        bytes.truncate(length);
        bytes
    }

    /// Reads the bytes of a record; `None` when they are none of ours.
    #[must_use]
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        if bytes.len() > METADATA_BYTES_MAX {
            return None;
        }
        let (port, bits, agents): ([u8; 2], u16, u8) = codec::take(&mut bytes)?;
        let agents = match agents {
            AGENTS_LISTED => Agents::Listed(take_names(&mut bytes)?),
            AGENTS_ELSEWHERE => Agents::Elsewhere,
            AGENTS_MARKED => {
                let mut agents = take_names(&mut bytes)?;
                take_marks(&mut bytes, &mut agents)?;
                Agents::Listed(agents)
            }
            _ => return None,
        };
        let services =
            Service::ALL.into_iter().filter(|service| bits & service.bit() != 0).collect();
        Some(Self { http_port: u16::from_be_bytes(port), services, agents })
    }
}

/// Writes all fields of a node whose agents are listed; `None` when they do not fit.
fn put_listed(room: &mut [u8], port: [u8; 2], bits: u16, agents: &[Agent]) -> Option<usize> {
    if !agents.iter().all(|agent| fits(&agent.name)) {
        return None;
    }
    let names: Vec<&str> = agents.iter().map(|agent| agent.name.as_str()).collect();
    if !agents.iter().any(|agent| agent.is_idempotent) {
        return codec::put(room, (port, bits, AGENTS_LISTED, names));
    }
    let start = codec::put(room, (port, bits, AGENTS_MARKED, names))?;
    let end = start.checked_add(agents.len().div_ceil(MARKS_PER_BYTE))?;
    let marks = room.get_mut(start..end)?;
    for (byte, agents) in marks.iter_mut().zip(agents.chunks(MARKS_PER_BYTE)) {
        let from_last = agents.iter().rev();
        *byte = from_last.fold(0, |byte, agent| (byte << 1) | u8::from(agent.is_idempotent));
    }
    Some(end)
}

/// Takes a bit for each agent, the first one in the lowest bit of the first byte. What the last byte
/// has beyond them is ignored.
fn take_marks(bytes: &mut &[u8], agents: &mut [Agent]) -> Option<()> {
    let marks = codec::take_bytes(bytes, agents.len().div_ceil(MARKS_PER_BYTE))?;
    for (agents, marks) in agents.chunks_mut(MARKS_PER_BYTE).zip(marks) {
        let mut marks = *marks;
        for agent in agents {
            agent.is_idempotent = marks & 1 == 1;
            marks >>= 1;
        }
    }
    Some(())
}

/// Takes a list of names. The claimed count reserves no memory, and each name takes a byte at least:
/// what is allocated is bounded by what was received.
fn take_names(bytes: &mut &[u8]) -> Option<Vec<Agent>> {
    let count: u16 = codec::take(bytes)?;
    let mut agents = Vec::new();
    for _ in 0..count {
        let name: &str = codec::take(bytes)?;
        if !fits(name) {
            return None;
        }
        agents.push(Agent::named(name));
    }
    Some(agents)
}

const fn fits(name: &str) -> bool {
    name.len() <= AGENT_NAME_BYTES_MAX
}
