//! How a running node is, for its service manager: a line of status, and whether it is well.
//!
//! A node is well when its gossip thread takes a request and its HTTP server answers one through its
//! real listener, both in time. Owns that judgement and when it is made. Only then is the watchdog
//! of the manager told; nothing here ends the process.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use astromesh_wire::State;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::warn;

use super::notifier::{News, Notifier};
use crate::directory::{Reader, Snapshot};
use crate::gossip;
use crate::proxy::Proxy;

/// Least time between two lines of status.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// How much longer a stop may take, said anew with each line of status until its time is over.
const STOP_EXTENSION: Duration = Duration::from_secs(10);

/// What is asked how the node is.
#[derive(Debug, Clone)]
pub(super) struct Vitals {
    pub(super) proxy: Arc<Proxy>,
    pub(super) directory: Reader,
    /// `None` without a mesh.
    pub(super) mesh: Option<gossip::Handle>,
    /// Where HTTP is served.
    pub(super) http: SocketAddr,
}

/// A part of the node that gave no answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silent {
    Gossip,
    Http,
}

/// Keeps the service manager informed until dropped; `told` is the line of status it knows.
pub(super) async fn keep(notifier: &Notifier, vitals: &Vitals, told: String) {
    if !notifier.is_managed() {
        return std::future::pending().await;
    }
    tokio::join!(tell_status(notifier, vitals, told), feed(notifier, vitals));
}

/// Keeps the service manager informed while the node stops, until dropped. A stop that takes longer
/// than `stop_max` hangs, and is left to the manager.
pub(super) async fn keep_stopping(notifier: &Notifier, proxy: &Proxy, stop_max: Duration) {
    let began = Instant::now();
    let mut due = interval(STATUS_INTERVAL);
    loop {
        due.tick().await;
        notifier.tell(news_of_stop(proxy.in_flight(), began.elapsed() < stop_max));
    }
}

fn news_of_stop(in_flight: usize, is_in_time: bool) -> Vec<News> {
    let status = News::Status(format!("stopping, {in_flight} in flight"));
    if is_in_time { vec![News::Extend(STOP_EXTENSION), status] } else { vec![status] }
}

/// The line of status now.
pub(super) fn status(vitals: &Vitals) -> String {
    let snapshot = vitals.mesh.as_ref().map(|_| vitals.directory.snapshot());
    line(snapshot.as_deref(), vitals.proxy.in_flight())
}

fn line(snapshot: Option<&Snapshot>, in_flight: usize) -> String {
    let Some(snapshot) = snapshot else { return format!("no mesh, {in_flight} in flight") };
    let alive = snapshot.members.iter().filter(|member| member.state == State::Alive).count();
    let leader = snapshot.leader.and_then(|id| snapshot.member(id));
    match leader {
        Some(leader) => format!("{alive} alive, leader {}, {in_flight} in flight", leader.name),
        None => format!("{alive} alive, no leader, {in_flight} in flight"),
    }
}

async fn tell_status(notifier: &Notifier, vitals: &Vitals, mut told: String) {
    let mut due = interval(STATUS_INTERVAL);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let now = status(vitals);
        if now != told {
            told.clone_from(&now);
            notifier.tell(vec![News::Status(now)]);
        }
    }
}

/// Feeds the watchdog while the node is well: at half its period, with answers within a quarter.
async fn feed(notifier: &Notifier, vitals: &Vitals) {
    let Some(period) = notifier.watchdog() else { return std::future::pending().await };
    let mut due = interval(period / 2);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let gossip = async {
            match &vitals.mesh {
                Some(mesh) => mesh.ping().await.is_ok(),
                None => true,
            }
        };
        // A full server accepts nobody, this one included; it is busy, not dead.
        let http = async { vitals.proxy.is_full() || http_answers(vitals.http).await };
        match judge(period / 4, gossip, http).await {
            Ok(()) => notifier.tell(vec![News::Alive]),
            Err(silent) => warn!(
                ?silent,
                "a part of this node gives no answer; unless it does, the service manager will \
                 restart the node"
            ),
        }
    }
}

async fn judge(
    limit: Duration,
    gossip: impl Future<Output = bool>,
    http: impl Future<Output = bool>,
) -> Result<(), Silent> {
    let (gossip, http) = tokio::join!(timeout(limit, gossip), timeout(limit, http));
    if gossip != Ok(true) {
        return Err(Silent::Gossip);
    }
    if http != Ok(true) {
        return Err(Silent::Http);
    }
    Ok(())
}

/// Whether the server answers a request like any other.
async fn http_answers(at: SocketAddr) -> bool {
    const REQUEST: &[u8] = b"GET /livez HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let asked = async {
        let mut stream = TcpStream::connect(reachable(at)).await?;
        stream.write_all(REQUEST).await?;
        let mut start = [0; 12];
        stream.read_exact(&mut start).await?;
        Ok::<_, std::io::Error>(&start == b"HTTP/1.1 200")
    };
    asked.await.unwrap_or(false)
}

/// Where this host reaches what listens there.
fn reachable(at: SocketAddr) -> SocketAddr {
    let ip = match at {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        SocketAddr::V4(_) | SocketAddr::V6(_) => at.ip(),
    };
    SocketAddr::new(ip, at.port())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use astromesh_wire::NodeId;
    use tokio::net::TcpListener;

    use super::*;
    use crate::directory::Member;

    const SOON: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_node_is_well_only_when_both_parts_answer_in_time() {
        let minute = Duration::from_secs(60);
        assert_eq!(judge(minute, ready(true), ready(true)).await, Ok(()));
        assert_eq!(judge(minute, ready(false), ready(true)).await, Err(Silent::Gossip));
        assert_eq!(judge(minute, ready(true), ready(false)).await, Err(Silent::Http));
        assert_eq!(judge(SOON, pending(), ready(true)).await, Err(Silent::Gossip), "it is stuck");
        assert_eq!(judge(SOON, ready(true), pending()).await, Err(Silent::Http), "it is stuck");
    }

    #[tokio::test]
    async fn a_server_that_accepts_and_says_nothing_gives_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        assert_eq!(judge(SOON, ready(true), http_answers(at)).await, Err(Silent::Http));
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut stream, _) = (listener.accept().await.unwrap().0, stream.shutdown().await);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        };
        let (answers, ()) = tokio::join!(http_answers(at), answer);
        assert!(answers);
        drop(listener);
        assert!(!http_answers(at).await, "nobody listens");
    }

    #[test]
    fn the_line_of_status_says_who_is_there_and_what_is_under_way() {
        let member = |number: u8, name: &str, state| {
            let id = NodeId::from_bytes([number; 16]);
            let address = ([127, 0, 0, 1], 1).into();
            Arc::new(Member { state, ..Member::new(id, name.to_owned(), address) })
        };
        let members = vec![
            member(1, "worker", State::Alive),
            member(2, "gateway", State::Alive),
            member(3, "gone", State::Dead),
        ];
        let [local, leader] = [1, 2].map(|number| NodeId::from_bytes([number; 16]));
        let mut snapshot = Snapshot { version: 1, local, leader: Some(leader), term: 1, members };
        assert_eq!(line(Some(&snapshot), 12), "2 alive, leader gateway, 12 in flight");
        snapshot.leader = None;
        assert_eq!(line(Some(&snapshot), 0), "2 alive, no leader, 0 in flight");
        assert_eq!(line(None, 1), "no mesh, 1 in flight");
    }

    #[test]
    fn a_stop_that_takes_too_long_gets_no_more_time() {
        let status = News::Status("stopping, 2 in flight".to_owned());
        assert_eq!(news_of_stop(2, true), [News::Extend(STOP_EXTENSION), status.clone()]);
        assert_eq!(news_of_stop(2, false), [status]);
    }

    #[test]
    fn a_wildcard_is_reached_over_loopback() {
        for (at, expected) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("10.0.0.1:1", "10.0.0.1:1")]
        {
            assert_eq!(reachable(at.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
