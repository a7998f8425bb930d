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
    /// All of them, by name.
    Listed(Vec<String>),
    /// More than fit; the node's HTTP server tells them.
    Elsewhere,
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

impl Metadata {
    /// The bytes for a record. Agents that do not fit, by their number or by one overlong name, are
    /// left out as a whole and the bytes say so.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bits = self.services.iter().fold(0, |bits, service| bits | service.bit());
        let port = self.http_port.to_be_bytes();
        let mut bytes = vec![0; METADATA_BYTES_MAX];
        let listed = match &self.agents {
            Agents::Listed(agents) if agents.iter().all(|name| fits(name)) => {
                codec::put(&mut bytes, (port, bits, AGENTS_LISTED, agents))
            }
            Agents::Listed(_) | Agents::Elsewhere => None,
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
            _ => return None,
        };
        let services =
            Service::ALL.into_iter().filter(|service| bits & service.bit() != 0).collect();
        Some(Self { http_port: u16::from_be_bytes(port), services, agents })
    }
}

/// Takes a list of names. The claimed count reserves no memory, and each name takes a byte at least:
/// what is allocated is bounded by what was received.
fn take_names(bytes: &mut &[u8]) -> Option<Vec<String>> {
    let count: u16 = codec::take(bytes)?;
    let mut names = Vec::new();
    for _ in 0..count {
        let name: &str = codec::take(bytes)?;
        if !fits(name) {
            return None;
        }
        names.push(name.to_owned());
    }
    Some(names)
}

const fn fits(name: &str) -> bool {
    name.len() <= AGENT_NAME_BYTES_MAX
}
