//! Which addresses a tool may speak to.
//!
//! A model can be talked into any URL by the text it reads, so a tool must not reach what only this
//! host or its network can reach: local services, and the metadata server of a cloud, which hands
//! out credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The internet.
    Public,
    /// This host or its private network: loopback, RFC 1918, carrier-grade NAT, unique local.
    Private,
    /// Nowhere a request should go: unspecified, link-local (cloud metadata), multicast, reserved.
    Forbidden,
}

pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (127 | 10, ..) | (172, 16..=31, _) | (192, 168, _) | (100, 64..=127, _) => Reach::Private,
        // "This network", link-local, protocol assignments, documentation, benchmarks, multicast
        // and reserved (RFC 6890).
        (0 | 224..=255, ..)
        | (169, 254, _)
        | (192, 0, 0 | 2)
        | (198, 18 | 19, _)
        | (198, 51, 100)
        | (203, 0, 113) => Reach::Forbidden,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    if address == Ipv6Addr::LOCALHOST {
        return Reach::Private;
    }
    let segments = address.segments();
    let [a, b, c, d, e, f, g, h] = segments;
    match segments {
        // Mapped (::ffff:a.b.c.d) and translated (64:ff9b::a.b.c.d) addresses lead where the IPv4
        // address in them leads.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => reach_v4(embedded(g, h)),
        // 6to4 carries the IPv4 address after its prefix.
        [0x2002, ..] => reach_v4(embedded(b, c)),
        // The rest of ::/96: unspecified, and the old compatible form.
        _ if (a, b, c, d, e, f) == (0, 0, 0, 0, 0, 0) => Reach::Forbidden,
        // Unique local.
        [0xfc00..=0xfdff, ..] => Reach::Private,
        // Only 2000::/3 is handed out; of that not Teredo, ORCHID and documentation.
        [0x2001, 0 | 0x10..=0x2f | 0xdb8, ..] | [0x3fff, ..] => Reach::Forbidden,
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Forbidden,
    }
}

fn embedded(high: u16, low: u16) -> Ipv4Addr {
    let [a, b] = high.to_be_bytes();
    let [c, d] = low.to_be_bytes();
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests {
    use super::{Reach, reach};

    #[test]
    fn each_address_leads_where_its_block_says() {
        let rows = [
            ("8.8.8.8", Reach::Public),
            ("172.32.0.1", Reach::Public),
            ("100.63.0.1", Reach::Public),
            ("2606:4700::1", Reach::Public),
            ("127.0.0.1", Reach::Private),
            ("127.9.9.9", Reach::Private),
            ("10.0.0.1", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("::1", Reach::Private),
            ("fd00::1", Reach::Private),
            ("::ffff:127.0.0.1", Reach::Private),
            ("64:ff9b::a00:1", Reach::Private),
            ("2002:7f00:1::", Reach::Private),
            ("0.0.0.0", Reach::Forbidden),
            ("169.254.169.254", Reach::Forbidden),
            ("224.0.0.1", Reach::Forbidden),
            ("255.255.255.255", Reach::Forbidden),
            ("::", Reach::Forbidden),
            ("::127.0.0.1", Reach::Forbidden),
            ("::ffff:169.254.169.254", Reach::Forbidden),
            ("fe80::1", Reach::Forbidden),
            ("ff02::1", Reach::Forbidden),
            ("2001:db8::1", Reach::Forbidden),
        ];
        for (address, expected) in rows {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }
}
