//! Connections to other nodes, static peers and upstream agents, and the idle ones among them.
//!
//! Owns connecting, and a pool by authority: last in, first out, so that those not needed grow old
//! and are closed. A pooled connection is looked at before it is used; one that was closed
//! meanwhile is dropped. Knows nothing of HTTP.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::settings::KEEPALIVE;
use crate::telemetry::labels::{Deadline, Limit};
use crate::telemetry::metrics::{Metrics, OpenConnection};

/// Less than the time after which servers close an idle connection (a node after 10 s, common ones
/// after 5 s), so that requests do not meet connections that are just being closed.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Idle connections kept for one authority.
const IDLE_PER_AUTHORITY_MAX: usize = 1024;
/// Idle connections kept in all: together with those of clients below the limit of the service
/// unit on file descriptors.
const IDLE_MAX: usize = 4096;
/// Where a URL without a port points to.
const HTTP_PORT: u16 = 80;
/// The idle connections; see the module.
#[derive(Debug)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
    metrics: Metrics,
}

/// A connection, counted as long as it is open.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: TcpStream,
    _counted: OpenConnection,
}

#[derive(Debug, Default)]
struct Idle {
    by_authority: HashMap<Box<str>, Vec<Entry>>,
    count: usize,
}

#[derive(Debug)]
struct Entry {
    socket: Socket,
    since: Instant,
}

impl Pool {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { idle: Mutex::default(), metrics }
    }

    /// A connection that is idle, young and still open.
    pub(super) fn take(&self, authority: &str) -> Option<Socket> {
        let now = Instant::now();
        let mut idle = self.lock();
        let idle = &mut *idle;
        let entries = idle.by_authority.get_mut(authority)?;
        while let Some(entry) = entries.pop() {
            idle.count -= 1;
            if now.duration_since(entry.since) < IDLE_TIMEOUT && is_open(&entry.socket.stream) {
                self.metrics.upstream_reused();
                return Some(entry.socket);
            }
            self.metrics.upstream_expired();
        }
        None
    }

    /// Keeps a connection on which an answer has ended, if there is room.
    pub(super) fn put(&self, authority: &str, socket: Socket) {
        let mut idle = self.lock();
        if idle.count >= IDLE_MAX {
            self.metrics.limited(Limit::IdleConnections);
            return;
        }
        if !idle.by_authority.contains_key(authority) {
            idle.by_authority.insert(authority.into(), Vec::new());
        }
        let entries = idle.by_authority.get_mut(authority).expect("it was put there");
        if entries.len() < IDLE_PER_AUTHORITY_MAX {
            entries.push(Entry { socket, since: Instant::now() });
            idle.count += 1;
            self.metrics.upstream_parked();
        } else {
            self.metrics.limited(Limit::IdleConnections);
        }
    }

    /// Closes the connections to one authority: whoever listens there is going.
    pub(super) fn forget(&self, authority: &str) {
        let mut idle = self.lock();
        if let Some(entries) = idle.by_authority.remove(authority) {
            idle.count -= entries.len();
            for _ in entries {
                self.metrics.upstream_expired();
            }
        }
    }

    /// Closes connections that nobody has used for too long, once in a while, for ever.
    pub(super) async fn sweep(&self) {
        loop {
            tokio::time::sleep(IDLE_TIMEOUT).await;
            let mut idle = self.lock();
            let now = Instant::now();
            for entries in idle.by_authority.values_mut() {
                // The oldest are in front.
                let old = entries
                    .partition_point(|entry| now.duration_since(entry.since) >= IDLE_TIMEOUT);
                for _ in entries.drain(..old) {
                    self.metrics.upstream_expired();
                }
            }
            idle.by_authority.retain(|_, entries| !entries.is_empty());
            idle.count = idle.by_authority.values().map(Vec::len).sum();
        }
    }

    #[cfg(test)]
    fn count(&self) -> usize {
        self.lock().count
    }

    /// A poisoned lock is taken all the same: each entry is valid by itself.
    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nothing has come, neither an end nor bytes that nobody asked for. Costs no system call
/// unless something did.
fn is_open(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

impl Pool {
    /// Connects to `host:port`, or `host` for port 80.
    ///
    /// # Errors
    /// Nobody listens there, the name is not known, or it took longer than `limit`.
    pub(super) async fn connect(&self, authority: &str, limit: Duration) -> io::Result<Socket> {
        match connect(authority, limit).await {
            Ok(stream) => Ok(Socket { stream, _counted: self.metrics.upstream_connected() }),
            Err(error) => {
                self.metrics.upstream_failed();
                if error.kind() == io::ErrorKind::TimedOut {
                    self.metrics.timed_out(Deadline::Connect);
                }
                Err(error)
            }
        }
    }
}

async fn connect(authority: &str, limit: Duration) -> io::Result<TcpStream> {
    let connecting = async {
        match authority.parse::<SocketAddr>() {
            Ok(address) => TcpStream::connect(address).await,
            Err(_) if has_port(authority) => TcpStream::connect(authority).await,
            Err(_) => TcpStream::connect((authority.trim_matches(['[', ']']), HTTP_PORT)).await,
        }
    };
    let stream = timeout(limit, connecting).await??;
    stream.set_nodelay(true)?;
    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE)?;
    Ok(stream)
}

/// Whether an authority names its port: an IPv6 address has colons, too, but ends in a bracket.
fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    async fn pair(pool: &Pool) -> (Socket, TcpStream, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let authority = listener.local_addr().unwrap().to_string();
        let connecting = pool.connect(&authority, Duration::from_secs(9));
        let (ours, theirs) = tokio::join!(connecting, listener.accept());
        (ours.unwrap(), theirs.unwrap().0, authority)
    }

    #[tokio::test]
    async fn an_open_connection_is_taken_once() {
        let pool = Pool::new(Metrics::default());
        let (ours, _theirs, authority) = pair(&pool).await;
        pool.put(&authority, ours);
        assert_eq!(pool.count(), 1);
        assert!(pool.take(&authority).is_some());
        assert!(pool.take(&authority).is_none());
        assert_eq!(pool.count(), 0);
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_or_spoke_out_of_turn_is_not_taken() {
        let pool = Pool::new(Metrics::default());
        let (ours, theirs, authority) = pair(&pool).await;
        drop(theirs);
        ours.stream.readable().await.unwrap();
        pool.put(&authority, ours);
        assert!(pool.take(&authority).is_none());
        let (ours, mut theirs, authority) = pair(&pool).await;
        theirs.write_all(b"HTTP/1.1 408 Request Timeout\r\n\r\n").await.unwrap();
        ours.stream.readable().await.unwrap();
        pool.put(&authority, ours);
        assert!(pool.take(&authority).is_none());
    }

    #[tokio::test]
    async fn connections_to_a_node_that_goes_are_forgotten() {
        let pool = Pool::new(Metrics::default());
        let (ours, _theirs, authority) = pair(&pool).await;
        pool.put(&authority, ours);
        pool.forget(&authority);
        assert!(pool.take(&authority).is_none());
        assert_eq!(pool.count(), 0);
    }
}
