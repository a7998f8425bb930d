//! How what is known of a member is packed, so that a hundred thousand of them fit.
//!
//! Owns the small forms of addresses, times, loads and descriptions, and the sharing of equal
//! metadata. Refuses to know what they mean.

use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use astromesh_wire::{Load, NodeId, Record, State};
use bytes::Bytes;
use compact_str::CompactString;
use hashbrown::HashTable;
use rustc_hash::FxBuildHasher;

use crate::member::OwnedRecord;
use crate::time::Instant;

/// A [`Record`] in 80 bytes: a name of up to 24 bytes is inside, equal metadata is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownRecord {
    /// The full id.
    pub id: NodeId,
    /// Grows with each start of the node's process.
    pub generation: u32,
    /// Grows with each refutation within a generation.
    pub incarnation: u32,
    /// Grows when address, name or metadata change within a generation; starts at 1, and 0 stands
    /// for "not known yet" when only the state of a new generation has been heard.
    pub revision: u32,
    address: Address,
    name: CompactString,
    metadata: Metadata,
}

impl KnownRecord {
    /// Where its gossip socket is reached.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address.unpack()
    }

    /// The label given by its operator.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the host says of itself; opaque here.
    #[must_use]
    pub fn metadata(&self) -> &[u8] {
        self.metadata.bytes()
    }

    /// The same, for writing into a datagram.
    #[must_use]
    pub fn borrow(&self) -> Record<'_> {
        Record {
            id: self.id,
            state: State::Alive,
            gone_for_s: 0,
            generation: self.generation,
            incarnation: self.incarnation,
            revision: self.revision,
            address: self.address(),
            name: &self.name,
            metadata: self.metadata.bytes(),
        }
    }

    /// The same, for telling others over HTTP.
    #[must_use]
    pub fn unpack(&self) -> OwnedRecord {
        OwnedRecord {
            id: self.id,
            generation: self.generation,
            incarnation: self.incarnation,
            revision: self.revision,
            address: self.address(),
            name: self.name.to_string(),
            metadata: Bytes::copy_from_slice(self.metadata.bytes()),
        }
    }

    pub(crate) const fn set_address(&mut self, address: SocketAddr) {
        self.address = Address::pack(address);
    }

    pub(crate) fn set_name(&mut self, name: &str) {
        if self.name != name {
            self.name = CompactString::new(name);
        }
    }

    pub(crate) fn set_metadata(&mut self, metadata: Metadata) {
        self.metadata = metadata;
    }
}

impl PartialEq<OwnedRecord> for KnownRecord {
    fn eq(&self, other: &OwnedRecord) -> bool {
        self.borrow() == other.borrow()
    }
}

/// Metadata shared by all members that have the same.
///
/// A thin pointer: eight bytes a member instead of sixteen, for one more step to the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metadata(Arc<Box<[u8]>>);

impl Metadata {
    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The different metadata met so far, so that equal ones are held once.
#[derive(Debug, Default)]
pub(crate) struct Interner {
    met: HashTable<Metadata>,
}

impl Interner {
    /// The packed form of a record.
    pub(crate) fn pack(&mut self, record: &Record<'_>) -> KnownRecord {
        KnownRecord {
            id: record.id,
            generation: record.generation,
            incarnation: record.incarnation,
            revision: record.revision,
            address: Address::pack(record.address),
            name: CompactString::new(record.name),
            metadata: self.share(record.metadata),
        }
    }

    /// These bytes, held once.
    pub(crate) fn share(&mut self, bytes: &[u8]) -> Metadata {
        let hash = FxBuildHasher.hash_one(bytes);
        if let Some(met) = self.met.find(hash, |met| met.bytes() == bytes) {
            return met.clone();
        }
        if self.met.len() >= INTERNED_MAX {
            self.met.retain(|met| Arc::strong_count(&met.0) > 1);
            // Where nearly all differ there is little to share, and looking again each time would
            // cost more than it saves. Whoever holds some keeps it.
            if self.met.len() > INTERNED_MAX / 2 {
                self.met.clear();
            }
        }
        let metadata = Metadata(Arc::new(bytes.into()));
        let rehash = |met: &Metadata| FxBuildHasher.hash_one(met.bytes());
        self.met.insert_unique(hash, metadata.clone(), rehash);
        metadata
    }
}

/// Different metadata that are remembered for sharing. Beyond that some are held more than once,
/// which costs memory and nothing else.
const INTERNED_MAX: usize = 4_096;

/// An address in 19 bytes. Scope and flow label of IPv6 are dropped: they mean something on the
/// host only that wrote them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// Address and port.
    V4([u8; 4], [u8; 2]),
    /// Address and port.
    V6([u8; 16], [u8; 2]),
}

impl Address {
    pub(crate) const fn pack(address: SocketAddr) -> Self {
        let port = address.port().to_be_bytes();
        match address.ip() {
            IpAddr::V4(ip) => Self::V4(ip.octets(), port),
            IpAddr::V6(ip) => Self::V6(ip.octets(), port),
        }
    }

    pub(crate) const fn unpack(self) -> SocketAddr {
        match self {
            Self::V4([a, b, c, d], port) => {
                SocketAddr::new(IpAddr::V4(Ipv4Addr::new(a, b, c, d)), u16::from_be_bytes(port))
            }
            Self::V6(ip, port) => {
                let ip = Ipv6Addr::from_bits(u128::from_be_bytes(ip));
                SocketAddr::new(IpAddr::V6(ip), u16::from_be_bytes(port))
            }
        }
    }

    /// For the index by address.
    pub(crate) fn hash(&self) -> u64 {
        FxBuildHasher.hash_one(self)
    }
}

impl KnownRecord {
    /// The address in its packed form, for the index by address.
    pub(crate) const fn packed_address(&self) -> Address {
        self.address
    }
}

/// A point in time in five bytes: whole units of 256 us, for 8.9 years after the host's origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp([u8; 5]);

const STAMP_UNIT_BITS: u32 = 8;
const STAMP_MAX: u64 = (1 << 40) - 1;

impl Stamp {
    /// Rounds down.
    pub(crate) const fn of(at: Instant) -> Self {
        let units = at.as_micros() >> STAMP_UNIT_BITS;
        let units = if units < STAMP_MAX { units } else { STAMP_MAX };
        let [_, _, _, a, b, c, d, e] = units.to_be_bytes();
        Self([a, b, c, d, e])
    }

    pub(crate) const fn at(self) -> Instant {
        let [a, b, c, d, e] = self.0;
        let units = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
        Instant::from_micros(units << STAMP_UNIT_BITS)
    }
}

/// A [`Load`] in eleven bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct PackedLoad {
    active_requests: [u8; 4],
    cpu_percent: u8,
    memory_percent: u8,
    limit: [u8; 4],
    is_draining: bool,
}

impl PackedLoad {
    pub(crate) const fn pack(load: Load) -> Self {
        Self {
            active_requests: load.active_requests.to_be_bytes(),
            cpu_percent: load.cpu_percent,
            memory_percent: load.memory_percent,
            limit: load.limit.to_be_bytes(),
            is_draining: load.is_draining,
        }
    }

    pub(crate) const fn unpack(self) -> Load {
        Load {
            active_requests: u32::from_be_bytes(self.active_requests),
            cpu_percent: self.cpu_percent,
            memory_percent: self.memory_percent,
            limit: u32::from_be_bytes(self.limit),
            is_draining: self.is_draining,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn addresses_survive_packing() {
        for text in ["10.1.2.3:8000", "255.255.255.255:65535", "[::1]:1", "[::ffff:10.1.2.3]:80"] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::pack(address).unpack(), address);
        }
        assert_eq!(size_of::<Address>(), 19);
    }

    #[test]
    fn times_survive_packing_to_a_quarter_of_a_millisecond() {
        for micros in [0, 255, 256, 1_000_000, 280_000_000_000_000] {
            let at = Instant::from_micros(micros);
            let stamp = Stamp::of(at).at();
            assert!(stamp <= at && at.since(stamp) < Duration::from_micros(256), "{micros}");
        }
        let end = Stamp::of(Instant::from_micros(u64::MAX)).at();
        assert!(end.since(Instant::default()) > Duration::from_secs(8 * 365 * 86_400));
    }

    #[test]
    fn equal_metadata_is_held_once_and_what_is_not_used_is_dropped() {
        let mut interner = Interner::default();
        let first = interner.share(b"same");
        assert!(Arc::ptr_eq(&first.0, &interner.share(b"same").0));
        let held: Vec<Metadata> =
            (0..INTERNED_MAX / 4).map(|number| interner.share(&number.to_be_bytes())).collect();
        for number in 0..100_000_usize {
            interner.share(&number.to_be_bytes());
            assert!(interner.met.len() <= INTERNED_MAX);
        }
        assert!(Arc::ptr_eq(&first.0, &interner.share(b"same").0), "it was in use all along");
        drop(held);
    }

    #[test]
    fn metadata_that_all_differs_is_not_remembered_without_bound() {
        let mut interner = Interner::default();
        let held: Vec<Metadata> =
            (0..100_000_usize).map(|number| interner.share(&number.to_be_bytes())).collect();
        assert!(interner.met.len() <= INTERNED_MAX);
        assert_eq!(held.last().unwrap().bytes(), 99_999_usize.to_be_bytes());
    }
}
