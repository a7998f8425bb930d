//! The UDP socket of the gossip.

use std::io;
use std::net::{SocketAddr, SocketAddrV6, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Room for a burst while the thread is not scheduled: some 20,000 small datagrams. The kernel may
/// grant less (`net.core.rmem_max`).
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Binds a socket that does not block. An IPv6 wildcard serves IPv4 as well.
pub(super) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// The form of a destination that a socket of this family accepts.
pub(super) fn destination(to: SocketAddr, socket_is_ipv6: bool) -> SocketAddr {
    match to {
        SocketAddr::V4(v4) if socket_is_ipv6 => {
            SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0).into()
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => to,
    }
}

/// A source address as the rest of the node knows it: IPv4 is written as IPv4.
pub(super) fn source(from: SocketAddr) -> SocketAddr {
    SocketAddr::new(from.ip().to_canonical(), from.port())
}
