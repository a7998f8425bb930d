//! The sockets of a node, taken before anything else is begun, and what is said when one cannot be.
//!
//! Owns the TCP listener of HTTP and the UDP socket of gossip until they are handed on; those that a
//! service manager has passed are used instead of new ones. Refuses to serve them.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, UdpSocket};

use listenfd::ListenFd;
use tracing::{info, warn};

use super::who::Who;
use crate::config::Runtime;
use crate::gossip;

/// Ports below this are for those with a right to them, by default.
const PORTS_FREE_FROM: u16 = 1_024;

/// Connections that may wait to be accepted; the kernel may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 1_024;

/// Bound and not yet served.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) http: TcpListener,
    /// `None` without a mesh.
    pub(super) gossip: Option<UdpSocket>,
}

/// Sockets that a service manager passed to this process; mostly none.
#[derive(Debug, Default)]
pub(super) struct Passed {
    http: Option<TcpListener>,
    gossip: Option<UdpSocket>,
}

/// What a socket is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// TCP.
    Http,
    /// UDP.
    Gossip,
}

/// A socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum ListenError {
    /// Somebody else has the port.
    #[error(
        "cannot listen on {} {at}: the port is in use by {holder}; end that, or choose another port \
         with {}", .purpose.protocol(), .purpose.port_keys()
    )]
    InUse {
        /// What it is for.
        purpose: Purpose,
        /// The address.
        at: SocketAddr,
        /// Who it is.
        holder: String,
    },
    /// This user may not take the port.
    #[error(
        "cannot listen on {} {at}: this user may not take ports below {PORTS_FREE_FROM}; choose a \
         higher one with {}, or give the daemon CAP_NET_BIND_SERVICE \
         (AmbientCapabilities=CAP_NET_BIND_SERVICE in its unit, or setcap \
         cap_net_bind_service=+ep on its binary)", .purpose.protocol(), .purpose.port_keys()
    )]
    NotPermitted {
        /// What it is for.
        purpose: Purpose,
        /// The address.
        at: SocketAddr,
    },
    /// The address belongs to another host.
    #[error(
        "cannot listen on {} {at}: {} is no address of this host; take one that `ip address` lists, \
         or 0.0.0.0 for all, with {}", .purpose.protocol(), at.ip(), .purpose.address_keys()
    )]
    NotHere {
        /// What it is for.
        purpose: Purpose,
        /// The address.
        at: SocketAddr,
    },
    /// Another reason.
    #[error("cannot listen on {} {at}: {error}", .purpose.protocol())]
    Io {
        /// What it is for.
        purpose: Purpose,
        /// The address.
        at: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The sockets that were passed are not those that are needed.
    #[error(
        "cannot use the sockets passed by the service manager: {0}; pass one TCP listener \
         (ListenStream=) and at most one UDP socket (ListenDatagram=)"
    )]
    Passed(String),
}

impl Purpose {
    const fn protocol(self) -> &'static str {
        match self {
            Self::Http => "TCP",
            Self::Gossip => "UDP",
        }
    }

    const fn port_keys(self) -> &'static str {
        match self {
            Self::Http => "spec.api.port or --port",
            Self::Gossip => "spec.mesh.bind, or spec.api.port or --port",
        }
    }

    const fn address_keys(self) -> &'static str {
        match self {
            Self::Http => "spec.api.host or --host",
            Self::Gossip => "spec.mesh.bind, or spec.api.host or --host",
        }
    }
}

impl Passed {
    /// Takes what the environment tells of. To be called before there are threads: the variables
    /// are removed.
    ///
    /// # Errors
    /// There are others than one TCP listener and one UDP socket.
    pub(super) fn from_environment() -> Result<Self, ListenError> {
        // Without it the variables are meant for another process.
        if std::env::var_os("LISTEN_PID").is_none() {
            return Ok(Self::default());
        }
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut fds = ListenFd::from_env();
        let mut passed = Self::default();
        for index in 0..fds.len() {
            let name = names.next().unwrap_or_default();
            if let Ok(Some(http)) = fds.take_tcp_listener(index) {
                if passed.http.replace(http).is_some() {
                    return Err(ListenError::Passed(format!("'{name}' is a second TCP listener")));
                }
            } else if let Ok(Some(gossip)) = fds.take_udp_socket(index) {
                if passed.gossip.replace(gossip).is_some() {
                    return Err(ListenError::Passed(format!("'{name}' is a second UDP socket")));
                }
            } else {
                return Err(ListenError::Passed(format!("'{name}' is neither TCP nor UDP")));
            }
        }
        Ok(passed)
    }
}

impl Sockets {
    /// Binds what was not passed.
    ///
    /// # Errors
    /// An address is taken, not allowed, or not of this host. Nothing is left bound.
    pub(super) fn open(config: &Runtime, passed: Passed) -> Result<Self, ListenError> {
        let at = SocketAddr::new(config.api.host, config.api.port);
        let http = match passed.http {
            Some(http) => adopt_http(http)?,
            None => http(at).map_err(|error| explain(Purpose::Http, at, error))?,
        };
        if !config.mesh.enabled {
            if passed.gossip.is_some() {
                warn!(
                    "the UDP socket that was passed is closed: the mesh is off; switch it on \
                     (spec.mesh.enabled), or pass none"
                );
            }
            return Ok(Self { http, gossip: None });
        }
        let gossip = if let Some(socket) = passed.gossip {
            let socket =
                gossip::adopt(socket).map_err(|error| unusable(Purpose::Gossip, &error))?;
            info!(address = ?socket.local_addr().ok(), "gossip uses the socket that was passed");
            socket
        } else {
            let mut at = config.mesh.bind;
            if at.port() == config.api.port {
                // One number for both: the one that HTTP has got, be it any free one or that of a
                // socket that was passed.
                let got = http.local_addr().map_err(|error| unusable(Purpose::Http, &error))?;
                at.set_port(got.port());
            }
            gossip::bind(at).map_err(|error| explain(Purpose::Gossip, at, error))?
        };
        Ok(Self { http, gossip: Some(gossip) })
    }
}

fn http(at: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of a process that has ended do not keep the next one from the port.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&at.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn adopt_http(http: TcpListener) -> Result<TcpListener, ListenError> {
    let prepared = http.set_nonblocking(true).and_then(|()| http.local_addr());
    let address = prepared.map_err(|error| unusable(Purpose::Http, &error))?;
    let is_listening = socket2::SockRef::from(&http).is_listener().unwrap_or(true);
    if !is_listening {
        return Err(ListenError::Passed(format!("the TCP socket at {address} does not listen")));
    }
    info!(%address, "HTTP uses the socket that was passed");
    Ok(http)
}

fn unusable(purpose: Purpose, error: &io::Error) -> ListenError {
    ListenError::Passed(format!("{} socket: {error}", purpose.protocol()))
}

fn explain(purpose: Purpose, at: SocketAddr, error: io::Error) -> ListenError {
    match error.kind() {
        ErrorKind::AddrInUse => {
            let who = match purpose {
                Purpose::Http => Who::listening(at),
                Purpose::Gossip => Who::receiving(at),
            };
            let holder = who.map_or_else(
                || "a process that this user may not see (root does, with ss -lnptu)".to_owned(),
                |who| who.to_string(),
            );
            ListenError::InUse { purpose, at, holder }
        }
        ErrorKind::PermissionDenied if at.port() < PORTS_FREE_FROM => {
            ListenError::NotPermitted { purpose, at }
        }
        ErrorKind::AddrNotAvailable => ListenError::NotHere { purpose, at },
        _ => ListenError::Io { purpose, at, error },
    }
}
