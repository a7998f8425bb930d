//! The UDP socket of the gossip, and what the kernel says of each datagram: how long it waited there
//! to be taken, and how many others found no room.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant, SystemTime};

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};
use tracing::debug;

/// Room for a burst while the thread is not scheduled: some 20,000 small datagrams. The kernel may
/// grant less (`net.core.rmem_max`).
pub(super) const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Longer waits are not believed: the kernel stamps datagrams with the wall clock, which somebody
/// has set meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Binds a socket that does not block. An IPv6 wildcard serves IPv4 as well.
///
/// # Errors
/// The address is taken, not allowed, or not of this host.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    prepare(&socket)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// Takes over a socket that somebody else has bound.
///
/// # Errors
/// It cannot be used as one of our own.
pub fn adopt(socket: UdpSocket) -> io::Result<UdpSocket> {
    let socket = Socket::from(socket);
    prepare(&socket)?;
    Ok(socket.into())
}

fn prepare(socket: &Socket) -> io::Result<()> {
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    socket.set_nonblocking(true)?;
    // Kernels without these do as well; then nothing is known of waits and drops.
    let stamps = setsockopt(socket, sockopt::ReceiveTimestampns, &true);
    let drops = setsockopt(socket, sockopt::RxqOvfl, &1);
    if let Err(error) = stamps.and(drops) {
        debug!(%error, "the kernel does not say how long datagrams wait, or how many it drops");
    }
    Ok(())
}

/// A datagram that was taken from the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Its length in the buffer.
    pub(super) length: usize,
    /// Where it came from.
    pub(super) from: SocketAddr,
    /// How long it waited in the socket; `None` when the kernel does not say, or nothing credible.
    pub(super) waited: Option<Duration>,
}

/// Takes datagrams from the socket.
#[derive(Debug)]
pub(super) struct Intake {
    /// Room for what the kernel says.
    control: Vec<u8>,
    /// Its count of drops when it last said so; it starts again at 2^32.
    drops_said: u32,
    drops: u64,
    dropped_at: Option<Instant>,
}

impl Intake {
    pub(super) fn new() -> Self {
        Self { control: cmsg_space!(TimeSpec, u32), drops_said: 0, drops: 0, dropped_at: None }
    }

    /// Takes the next datagram into `buffer`.
    ///
    /// # Errors
    /// None is there (`WouldBlock`), or the system failed to hand it over; it is gone then.
    pub(super) fn receive(&mut self, socket: &impl AsFd, buffer: &mut [u8]) -> io::Result<Arrival> {
        let mut parts = [IoSliceMut::new(buffer)];
        let descriptor = socket.as_fd().as_raw_fd();
        let control = Some(self.control.as_mut_slice());
        let message =
            recvmsg::<SockaddrStorage>(descriptor, &mut parts, control, MsgFlags::empty())?;
        let (length, from) = (message.bytes, message.address.as_ref().and_then(address));
        let (mut stamp, mut drops_said) = (None, None);
        for said in message.cmsgs().into_iter().flatten() {
            match said {
                ControlMessageOwned::ScmTimestampns(at) => stamp = Some(Duration::from(at)),
                ControlMessageOwned::RxqOvfl(count) => drops_said = Some(count),
                _ => {}
            }
        }
        if let Some(count) = drops_said.filter(|count| *count != self.drops_said) {
            self.dropped_at = Some(Instant::now());
            self.drops += u64::from(count.wrapping_sub(self.drops_said));
            self.drops_said = count;
        }
        let from = from.ok_or_else(|| io::Error::other("a datagram from nowhere"))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok(Arrival { length, from, waited: stamp.and_then(|stamp| credible_wait(now, stamp)) })
    }

    /// Datagrams that the kernel dropped for lack of room, as far as it has said so: it does with
    /// the next one that finds room.
    pub(super) const fn drops(&self) -> u64 {
        self.drops
    }

    /// When it last said that there were more.
    pub(super) const fn dropped_at(&self) -> Option<Instant> {
        self.dropped_at
    }
}

/// The time between two readings of the wall clock, if nobody seems to have set it.
fn credible_wait(now: Duration, stamp: Duration) -> Option<Duration> {
    now.checked_sub(stamp).filter(|waited| *waited <= WAIT_MAX)
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|&v4| SocketAddrV4::from(v4).into());
    v4.or_else(|| storage.as_sockaddr_in6().map(|&v6| SocketAddrV6::from(v6).into()))
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

#[cfg(test)]
mod tests {
    use socket2::SockRef;

    use super::*;

    /// A bound socket and one that sends to it. Loopback delivers before `send` returns.
    fn pair(host: &str) -> (UdpSocket, UdpSocket) {
        let receiver = bind(format!("{host}:0").parse().unwrap()).unwrap();
        let sender = UdpSocket::bind((host.trim_matches(['[', ']']), 0)).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        (receiver, sender)
    }

    #[test]
    fn a_datagram_comes_with_its_source_and_the_time_it_waited() {
        let (receiver, sender) = pair("127.0.0.1");
        sender.send(b"hello").unwrap();
        let (mut intake, mut buffer) = (Intake::new(), [0; 64]);

        let arrival = intake.receive(&receiver, &mut buffer).unwrap();

        assert_eq!(buffer.get(..arrival.length), Some(b"hello".as_slice()));
        assert_eq!(arrival.from, sender.local_addr().unwrap());
        assert!(arrival.waited.is_some());
        let empty = intake.receive(&receiver, &mut buffer).unwrap_err();
        assert_eq!(empty.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn an_ipv6_socket_names_ipv6_sources() {
        let (receiver, sender) = pair("[::1]");
        sender.send(b"").unwrap();
        let arrival = Intake::new().receive(&receiver, &mut [0; 8]).unwrap();
        assert_eq!((arrival.length, arrival.from), (0, sender.local_addr().unwrap()));
    }

    #[test]
    fn what_found_no_room_is_counted_with_the_next_datagram_that_does() {
        let (receiver, sender) = pair("127.0.0.1");
        SockRef::from(&receiver).set_recv_buffer_size(1).unwrap();
        let (mut intake, mut buffer) = (Intake::new(), [0; 1_024]);
        for _ in 0..50 {
            sender.send(&[7; 1_000]).unwrap();
        }
        let mut taken = 0;
        while intake.receive(&receiver, &mut buffer).is_ok() {
            taken += 1;
        }
        assert_eq!(intake.drops(), 0);

        sender.send(b"next").unwrap();
        intake.receive(&receiver, &mut buffer).unwrap();

        assert!(taken > 0);
        assert_eq!(intake.drops(), 50 - taken);
    }

    #[test]
    fn only_a_credible_wait_counts() {
        let at = Duration::from_secs;
        let rows = [
            ("short", at(1_000), at(999), Some(at(1))),
            ("none", at(1_000), at(1_000), Some(Duration::ZERO)),
            ("the longest", at(1_060), at(1_000), Some(WAIT_MAX)),
            ("clock set forward", at(5_000), at(1_000), None),
            ("clock set back", at(1_000), at(1_001), None),
        ];
        for (name, now, stamp, expected) in rows {
            assert_eq!(credible_wait(now, stamp), expected, "{name}");
        }
    }
}
