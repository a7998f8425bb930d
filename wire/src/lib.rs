//! The datagrams of astromesh: bytes to values and back.
//!
//! Owns the datagram format of the gossip protocol (`docs/wire-protocol.md` is its specification)
//! and the limits that hold on the wire. Refuses to do I/O, to know what a message means for a
//! mesh, and to panic: every byte sequence either decodes in full or yields one [`Rejection`].
//!
//! * [`id`]: the 128-bit [`NodeId`] and the 40-bit [`ShortId`] that stands for it on the wire
//! * [`datagram`]: header, message, checksum; [`Encoder`] and [`Datagram::decode`]
//! * [`load`]: how busy a node is
//! * [`update`]: what is piggybacked: member states, records, loads, evidence, ranges
//! * [`metadata`]: what a record says of its node beyond its address: services, agents, HTTP port
//! * [`limits`]: every maximum in one place
//!
//! Values are laid out by bincode 2 (variable-length integers, big endian) in `codec`, so that a
//! successor of that library is a change of one module.

// The bytes are a stranger's: nothing here may index, overflow or convert without saying what
// happens when that goes wrong.
#![warn(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm
)]

mod codec;
pub mod datagram;
pub mod id;
pub mod limits;
pub mod load;
pub mod metadata;
pub mod update;

pub use datagram::{ClusterTag, Datagram, Encoder, Full, Incarnation, Message, Rejection, Vote};
pub use id::{NodeId, ParseIdError, ShortId};
pub use load::{Load, LoadRecord};
pub use metadata::{Agent, Agents, Metadata, Service};
pub use update::{
    Ballot, Bucket, Content, Encoded, Entry, Evidence, Range, Record, State, StateUpdate, Update,
    Updates,
};
