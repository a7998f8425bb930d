//! Where others reach this node.
//!
//! The rule: `spec.mesh.advertise` if set; else a concrete bind address; else what others observe;
//! until then a guess. Never a wildcard, and loopback only when there is nothing else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// The advertised address of the gossip socket, and how sure we are of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// What is advertised.
    pub socket: SocketAddr,
    certainty: Certainty,
}

/// How sure a node is of the address that it advertises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// Given by the operator, by configuration or as bind address.
    Given,
    /// Seen by another node.
    Observed,
    /// The address of the interface that leads out; nobody has confirmed it.
    Guessed,
}

/// What an observation means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// Nothing new.
    Agrees,
    /// The guess is replaced by what was observed.
    Adopted,
    /// Others see this node elsewhere than it says; an operator has to decide.
    Contradicts,
}

impl Address {
    /// An address that the operator gave.
    #[must_use]
    pub const fn given(socket: SocketAddr) -> Self {
        Self { socket, certainty: Certainty::Given }
    }

    /// The best guess before anybody was contacted: the address of the interface that leads out, or
    /// loopback if none does. No datagram is sent.
    #[must_use]
    pub fn guessed(port: u16) -> Self {
        let ip = source_towards(DOCUMENTATION_ADDRESS).unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Self { socket: SocketAddr::new(ip, port), certainty: Certainty::Guessed }
    }

    /// How that is known.
    #[must_use]
    pub const fn certainty(&self) -> Certainty {
        self.certainty
    }

    /// Another node saw this one at `ip`, or reached it there.
    pub fn observe(&mut self, ip: IpAddr) -> Observation {
        let ip = ip.to_canonical();
        if ip == self.socket.ip() {
            if self.certainty == Certainty::Guessed {
                self.certainty = Certainty::Observed;
            }
            return Observation::Agrees;
        }
        // Loopback is true on the same machine and useless anywhere else. A node that others reach
        // by IPv4 does not become an IPv6 node because one of them came that way.
        let is_other_family = self.socket.is_ipv4() && ip.is_ipv6();
        if ip.is_loopback() || ip.is_unspecified() || is_other_family {
            return Observation::Agrees;
        }
        match self.certainty {
            Certainty::Guessed => {
                self.socket.set_ip(ip);
                self.certainty = Certainty::Observed;
                Observation::Adopted
            }
            Certainty::Given | Certainty::Observed => Observation::Contradicts,
        }
    }
}

/// TEST-NET-1 (RFC 5737): routed like any address out there, and nobody's.
const DOCUMENTATION_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// The local address from which datagrams to `target` would leave.
fn source_towards(target: IpAddr) -> Option<IpAddr> {
    let any: SocketAddr = match target {
        IpAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        IpAddr::V6(_) => ([0u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).ok()?;
    // Connecting a UDP socket sends nothing; it only chooses a route.
    socket.connect((target, 9)).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess() -> Address {
        Address { socket: ([10, 0, 0, 1], 8000).into(), certainty: Certainty::Guessed }
    }

    #[test]
    fn a_guess_gives_way_to_the_first_observation_and_not_to_the_second() {
        let mut address = guess();
        assert_eq!(address.observe([10, 0, 0, 7].into()), Observation::Adopted);
        assert_eq!(address.socket, ([10, 0, 0, 7], 8000).into());
        assert_eq!(address.observe([10, 0, 0, 8].into()), Observation::Contradicts);
        assert_eq!(address.socket, ([10, 0, 0, 7], 8000).into());
    }

    #[test]
    fn a_guess_that_others_confirm_is_kept() {
        let mut address = guess();
        assert_eq!(address.observe([10, 0, 0, 1].into()), Observation::Agrees);
        assert_eq!(address.observe([172, 17, 0, 1].into()), Observation::Contradicts);
        assert_eq!(address.socket, guess().socket);
    }

    #[test]
    fn an_ipv4_node_does_not_become_an_ipv6_node() {
        let mut address = guess();
        assert_eq!(address.observe([0xfd00, 0, 0, 0, 0, 0, 0, 7].into()), Observation::Agrees);
        assert_eq!(address, guess());
    }

    #[test]
    fn loopback_is_never_adopted() {
        let mut address = guess();
        assert_eq!(address.observe([127, 0, 0, 1].into()), Observation::Agrees);
        assert_eq!(address, guess());
    }

    #[test]
    fn what_the_operator_gave_is_kept() {
        let mut address = Address::given(([10, 0, 0, 1], 8000).into());
        assert_eq!(address.observe([10, 0, 0, 1].into()), Observation::Agrees);
        assert_eq!(address.observe([10, 0, 0, 2].into()), Observation::Contradicts);
        assert_eq!(address.socket, ([10, 0, 0, 1], 8000).into());
    }

    #[test]
    fn a_guess_is_never_a_wildcard() {
        let address = Address::guessed(8000);
        assert!(!address.socket.ip().is_unspecified());
        assert_eq!(address.socket.port(), 8000);
    }
}
