//! A whole member: address, name, metadata.
//!
//! Owns the layout and holds both sides to its limits. Refuses to read the metadata: that is
//! [`crate::Metadata`]'s.

use std::net::{IpAddr, SocketAddr};

use super::{KIND_RECORD, State, TAG_BUCKET_MASK, TAG_KIND_SHIFT, put_aged, take_age};
use crate::codec;
use crate::id::NodeId;
use crate::limits::{METADATA_BYTES_MAX, NAME_BYTES_MAX};

/// Everything that is needed to insert a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The full id.
    pub id: NodeId,
    /// Alive; or dead or left, of a member that is kept only so that it can be recognised.
    pub state: State,
    /// For how many seconds it has been dead or gone; 0 while it is live.
    pub gone_for_s: u32,
    /// Grows with each start of the node's process.
    pub generation: u32,
    /// Grows when the node refutes a claim about itself; starts anew with each generation.
    pub incarnation: u32,
    /// Grows when address, name or metadata change; starts anew with each generation.
    pub revision: u32,
    /// Where its gossip socket is reached. Scope and flow label of an IPv6 address do not travel:
    /// they mean something on the sender's host only.
    pub address: SocketAddr,
    /// The label given by its operator; at most [`NAME_BYTES_MAX`] bytes.
    pub name: &'a str,
    /// What the host says of itself, see [`crate::Metadata`]; at most [`METADATA_BYTES_MAX`] bytes.
    pub metadata: &'a [u8],
}

const FAMILY_IPV4: u8 = 4;
const FAMILY_IPV6: u8 = 6;

impl<'a> Record<'a> {
    pub(super) fn take(bytes: &mut &'a [u8]) -> Option<Self> {
        let tag: u8 = codec::take(bytes)?;
        let state = State::of_number(tag & TAG_BUCKET_MASK)?;
        let (id, generation, incarnation, revision) = codec::take(bytes)?;
        let ip = match codec::take::<u8>(bytes)? {
            FAMILY_IPV4 => IpAddr::from(codec::take::<[u8; 4]>(bytes)?),
            FAMILY_IPV6 => IpAddr::from(codec::take::<[u8; 16]>(bytes)?),
            _ => return None,
        };
        let address = SocketAddr::new(ip, u16::from_be_bytes(codec::take(bytes)?));
        let name: &str = codec::take(bytes)?;
        let metadata: &[u8] = codec::take(bytes)?;
        let gone_for_s = take_age(state, bytes)?;
        let record = Self {
            id,
            state,
            gone_for_s,
            generation,
            incarnation,
            revision,
            address,
            name,
            metadata,
        };
        record.fits().then_some(record)
    }

    /// Both sides hold to the limits: a record that no reader would accept is never written, as it
    /// would take the rest of its datagram down with it.
    const fn fits(&self) -> bool {
        self.name.len() <= NAME_BYTES_MAX && self.metadata.len() <= METADATA_BYTES_MAX
    }

    pub(super) fn put(&self, room: &mut [u8]) -> Option<usize> {
        if !self.fits() {
            return None;
        }
        let port = self.address.port().to_be_bytes();
        let state = self.state;
        let head = (
            (KIND_RECORD << TAG_KIND_SHIFT) | state.number(),
            self.id,
            self.generation,
            self.incarnation,
            self.revision,
        );
        let tail = (port, self.name, self.metadata);
        match self.address.ip() {
            IpAddr::V4(ip) => {
                let fields = (head, FAMILY_IPV4, ip.octets(), tail);
                put_aged(room, fields, state, self.gone_for_s)
            }
            IpAddr::V6(ip) => {
                let fields = (head, FAMILY_IPV6, ip.octets(), tail);
                put_aged(room, fields, state, self.gone_for_s)
            }
        }
    }
}
