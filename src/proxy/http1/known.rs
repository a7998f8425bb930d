//! The header names somebody acts on, told apart once while a head is read.
//!
//! Owns the list, and sets of its entries in one word. What a header means is said elsewhere.

macro_rules! known {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)+) => {
        /// A header name that the proxy or the framing acts on.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Known {
            $($(#[$doc])* $variant,)+
            /// Any other name: passed on as it is.
            Other,
        }

        impl Known {
            /// All names there are, in lower case.
            pub const NAMES: &'static [(Self, &'static str)] = &[$((Self::$variant, $name),)+];
        }
    };
}

known! {
    /// The authority the request is for.
    Host = "host",
    /// Options of one connection, and the headers that end with it.
    Connection = "connection",
    /// Length of the body.
    ContentLength = "content-length",
    /// Coding of the body for one hop.
    TransferEncoding = "transfer-encoding",
    /// What the client waits for.
    Expect = "expect",
    /// The protocol to change to.
    Upgrade = "upgrade",
    /// Parameters of a lasting connection.
    KeepAlive = "keep-alive",
    /// Transfer codings the sender understands.
    Te = "te",
    /// A `Connection` that some old clients send to proxies.
    ProxyConnection = "proxy-connection",
    /// Names of what follows the body.
    Trailer = "trailer",
    /// Media type of the body.
    ContentType = "content-type",
    /// Who may read the answer in a browser.
    AccessControlAllowOrigin = "access-control-allow-origin",
    /// The id of the request in all logs.
    RequestId = "x-request-id",
    /// The span that the request belongs to.
    TraceParent = "traceparent",
    /// What tracing systems say of it.
    TraceState = "tracestate",
    /// Under which the result of a run is kept.
    IdempotencyKey = "idempotency-key",
    /// Load in the form of ORCA.
    OrcaLoad = "endpoint-load-metrics",
    /// How many nodes have forwarded the request.
    Hop = "x-astromesh-hop",
    /// Which node forwarded the request.
    Origin = "x-astromesh-origin",
    /// Load of the node that answered.
    Load = "x-astromesh-load",
    /// Why a node would not serve the request.
    Refused = "x-astromesh-refused",
    /// Wait in the queue rather than refuse.
    MustQueue = "x-astromesh-must-queue",
    /// Time that is left for the request.
    Deadline = "x-astromesh-deadline-ms",
    /// Asks why this node was chosen.
    Explain = "x-astromesh-explain",
    /// Says why this node was chosen.
    Why = "x-astromesh-why",
    /// Name of the node that answered.
    Node = "x-astromesh-node",
    /// Session of the request.
    Session = "x-astromesh-session",
    /// The answer is one that was kept.
    Replayed = "x-astromesh-replayed",
}

impl Known {
    /// Tells a name, whatever its case. Length and first letter rule out nearly all candidates
    /// before any text is compared.
    #[must_use]
    pub fn of(name: &[u8]) -> Self {
        let Some(first) = name.first() else { return Self::Other };
        let candidates: &[(Self, &str)] = match (name.len(), first | 0x20) {
            (2, b't') => &[(Self::Te, "te")],
            (4, b'h') => &[(Self::Host, "host")],
            (6, b'e') => &[(Self::Expect, "expect")],
            (7, b'u') => &[(Self::Upgrade, "upgrade")],
            (7, b't') => &[(Self::Trailer, "trailer")],
            (10, b'c') => &[(Self::Connection, "connection")],
            (10, b't') => &[(Self::TraceState, "tracestate")],
            (10, b'k') => &[(Self::KeepAlive, "keep-alive")],
            (11, b't') => &[(Self::TraceParent, "traceparent")],
            (12, b'c') => &[(Self::ContentType, "content-type")],
            (12, b'x') => &[(Self::RequestId, "x-request-id")],
            (14, b'c') => &[(Self::ContentLength, "content-length")],
            (15, b'i') => &[(Self::IdempotencyKey, "idempotency-key")],
            (15, b'x') => &[(Self::Hop, "x-astromesh-hop"), (Self::Why, "x-astromesh-why")],
            (16, b'p') => &[(Self::ProxyConnection, "proxy-connection")],
            (16, b'x') => &[(Self::Load, "x-astromesh-load"), (Self::Node, "x-astromesh-node")],
            (17, b't') => &[(Self::TransferEncoding, "transfer-encoding")],
            (18, b'x') => &[(Self::Origin, "x-astromesh-origin")],
            (19, b'x') => &[
                (Self::Refused, "x-astromesh-refused"),
                (Self::Explain, "x-astromesh-explain"),
                (Self::Session, "x-astromesh-session"),
            ],
            (20, b'x') => &[(Self::Replayed, "x-astromesh-replayed")],
            (21, b'e') => &[(Self::OrcaLoad, "endpoint-load-metrics")],
            (22, b'x') => &[(Self::MustQueue, "x-astromesh-must-queue")],
            (23, b'x') => &[(Self::Deadline, "x-astromesh-deadline-ms")],
            (27, b'a') => &[(Self::AccessControlAllowOrigin, "access-control-allow-origin")],
            _ => &[],
        };
        candidates
            .iter()
            .find(|(_, candidate)| name.eq_ignore_ascii_case(candidate.as_bytes()))
            .map_or(Self::Other, |(known, _)| *known)
    }
}

/// A set of known names in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownSet(u32);

impl KnownSet {
    /// The set without names.
    pub const EMPTY: Self = Self(0);

    /// The set of these names.
    #[must_use]
    pub const fn of(names: &[Known]) -> Self {
        let mut set = Self::EMPTY;
        let mut index = 0;
        while index < names.len() {
            set = set.with(names[index]);
            index += 1;
        }
        set
    }

    /// This set and one name more. [`Known::Other`] is not one name, and is never in a set.
    #[must_use]
    pub const fn with(self, name: Known) -> Self {
        Self(self.0 | Self::bit(name))
    }

    /// The names of both sets.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The names of this set that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set has the name.
    #[must_use]
    pub const fn has(self, name: Known) -> bool {
        self.0 & Self::bit(name) != 0
    }

    const fn bit(name: Known) -> u32 {
        if matches!(name, Known::Other) { 0 } else { 1 << name as u32 }
    }
}

// A set is one word, with a bit a name.
const _: () = assert!((Known::Other as u32) < u32::BITS, "more known names than bits of a set");

/// Whether a name is taken for one that frames the body by servers that turn names into variables,
/// where `-` and `_` are one.
pub(super) fn is_disguise(name: &[u8]) -> bool {
    let is_like = |real: &[u8]| {
        name.iter().zip(real).all(|(byte, expected)| {
            let plain = if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
            plain == *expected
        })
    };
    match name.len() {
        14 => name[7] == b'_' && is_like(b"content-length"),
        17 => name[8] == b'_' && is_like(b"transfer-encoding"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_told_in_any_case_and_no_longer_with_another_letter() {
        for (known, name) in Known::NAMES {
            assert_eq!(Known::of(name.as_bytes()), *known, "{name}");
            assert_eq!(Known::of(name.to_uppercase().as_bytes()), *known, "{name}");
            assert_eq!(Known::of(format!("{name}s").as_bytes()), Known::Other, "{name}");
            let changed = format!("{}~", &name[..name.len() - 1]);
            assert_eq!(Known::of(changed.as_bytes()), Known::Other, "{name}");
        }
        assert_eq!(Known::of(b""), Known::Other);
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let set = KnownSet::of(&[Known::Host, Known::Replayed, Known::Other]);
        for (known, name) in Known::NAMES {
            assert_eq!(set.has(*known), matches!(known, Known::Host | Known::Replayed), "{name}");
        }
        assert!(!set.has(Known::Other));
        assert!(!set.without(KnownSet::of(&[Known::Host])).has(Known::Host));
        assert!(set.and(KnownSet::of(&[Known::Te])).has(Known::Te));
    }

    #[test]
    fn underscores_disguise_only_names_that_frame() {
        assert!(is_disguise(b"Content_Length") && is_disguise(b"TRANSFER_ENCODING"));
        assert!(!is_disguise(b"content-length") && !is_disguise(b"content_lengths"));
        assert!(!is_disguise(b"content_locator") && !is_disguise(b"x_request_id"));
    }
}
