//! Every maximum that holds on the wire, with the reason for its number.

/// The largest datagram in bytes of UDP payload. 1,200 fits every path that carries IPv6 (minimum
/// MTU 1,280, RFC 8200 section 5) after IP and UDP headers, with room for a tunnel.
pub const DATAGRAM_BYTES_MAX: usize = 1_200;

/// The longest name of a node in bytes: a DNS label (RFC 1035 section 2.3.4) and one to spare.
pub const NAME_BYTES_MAX: usize = 64;

/// The longest metadata of a record in bytes, so that a record with the longest name, an IPv6
/// address and the largest numbers still fits a datagram by itself.
pub const METADATA_BYTES_MAX: usize = 1_000;

/// The longest name of a cluster in bytes.
pub const CLUSTER_BYTES_MAX: usize = 255;

/// The longest name of an agent in bytes.
pub const AGENT_NAME_BYTES_MAX: usize = 128;

/// Ballots that travel with the evidence of a death: eight observers and as many substitutes.
pub const BALLOTS_MAX: usize = 16;
