//! Free port numbers of this host.
//!
//! Owns the choice only: between the choice and the node's own bind another process may take the
//! port, so whoever starts the node tries again.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

/// How often a number that is free for TCP may turn out to be taken for UDP.
const ATTEMPTS_MAX: usize = 64;

/// `count` different loopback ports, each free for both TCP (HTTP) and UDP (gossip).
pub(super) fn free(count: usize) -> io::Result<Vec<u16>> {
    // All are held until all are found, so that the kernel cannot hand out one twice.
    let held = (0..count).map(|_| hold_one()).collect::<io::Result<Vec<_>>>()?;
    held.iter().map(|(tcp, _)| tcp.local_addr().map(|address| address.port())).collect()
}

fn hold_one() -> io::Result<(TcpListener, UdpSocket)> {
    let mut last_error = None;
    for _ in 0..ATTEMPTS_MAX {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        match UdpSocket::bind(tcp.local_addr()?) {
            Ok(udp) => return Ok((tcp, udp)),
            Err(error) => last_error = Some(error),
        }
    }
    Err(last_error.expect("there is at least one attempt"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ports_differ_and_can_be_bound_for_both() {
        let ports = free(4).expect("a host with loopback");
        let distinct: BTreeSet<u16> = ports.iter().copied().collect();
        assert_eq!(distinct.len(), 4);
        assert!(!distinct.contains(&0));
        let bound = ports.iter().filter(|&&port| {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
                && UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
        });
        // Another process may be quick enough to take one; not all four.
        assert!(bound.count() >= 1);
    }
}
