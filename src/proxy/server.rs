//! The listening socket and every connection accepted from it.
//!
//! Owns the listener, the limit on connections and the graceful end: no new connection, idle ones
//! closed, requests in flight finished. Dropping the future of [`serve`] ends everything at once,
//! which is how the caller bounds the wait.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use super::Proxy;
use super::connection;
use super::settings::KEEPALIVE;
use crate::api::Connection;
use crate::telemetry::labels::Limit;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::panics;

/// Pause after the system refused a connection, for lack of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `shutdown` is ready and the last request in flight has been answered.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    proxy: Arc<Proxy>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    listener.local_addr()?;
    let permits = Arc::clone(&proxy.connections);
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut sweep = pin!(proxy.pool.sweep());
    loop {
        let accepted = async {
            let permit = place(&permits, &proxy.metrics).await;
            (permit, accept(&listener).await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            (permit, (stream, ends)) = accepted => {
                let served = connection::serve(Arc::clone(&proxy), stream, ends, stopped.clone());
                let served = Box::pin(woken(Box::pin(served), proxy.cut.subscribe()));
                connections.spawn(async move {
                    if let Err(panic) = panics::contained(served).await {
                        tracing::error!(
                            %panic, client.address = %ends.peer,
                            "a connection panicked; this is a defect, please report it"
                        );
                    }
                    drop(permit);
                });
            }
            Some(_) = connections.join_next() => {}
            () = &mut sweep => {}
        }
    }
    drop(listener);
    // Closing the channel is the signal.
    drop(stop);
    while connections.join_next().await.is_some() {}
    Ok(())
}

/// Polls a connection once more when everything is to be cut, whatever it waits for.
async fn woken(mut served: Pin<Box<impl Future<Output = ()>>>, mut cut: watch::Receiver<()>) {
    let mut cut = pin!(async { cut.changed().await.unwrap_or(()) });
    let mut is_cut = false;
    poll_fn(|context| {
        is_cut = is_cut || cut.as_mut().poll(context).is_ready();
        served.as_mut().poll(context)
    })
    .await;
}

/// A place for one more connection. The limit is counted when nobody can be accepted for it.
async fn place(permits: &Arc<Semaphore>, metrics: &Metrics) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
        return Some(permit);
    }
    metrics.limited(Limit::Connections);
    // Never closed, so that there always is one in the end.
    Arc::clone(permits).acquire_owned().await.ok()
}

async fn accept(listener: &TcpListener) -> (TcpStream, Connection) {
    let mut is_said = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without an address of its own the socket is closed already.
                let Ok(local) = stream.local_addr() else { continue };
                // Whose host vanishes says nothing more: its streams and tunnels end all the same.
                let set = stream
                    .set_nodelay(true)
                    .and_then(|()| SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE));
                if let Err(error) = set {
                    tracing::debug!(%error, client.address = %peer, "the options of a connection cannot be set");
                }
                return (stream, Connection { peer, local });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !is_said {
                    tracing::warn!(%error, "cannot accept connections, trying again");
                }
                is_said = true;
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The client left before it was accepted; the next one is not concerned.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Readings;

    #[tokio::test]
    async fn a_client_whose_host_vanishes_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (_client, (accepted, _)) = tokio::join!(client, accept(&listener));
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        let (time, interval) = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
        assert_eq!((time.unwrap().as_secs(), interval.unwrap().as_secs()), (10, 5));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
    }

    #[tokio::test]
    async fn the_limit_on_connections_is_counted_when_it_is_met() {
        let counted = |metrics: &Metrics| {
            let line = "astromesh_limits_total{limit=\"connections\"} 1\n";
            metrics.page(Readings::default()).contains(line)
        };
        let (permits, metrics) = (Arc::new(Semaphore::new(1)), Metrics::default());
        let first = place(&permits, &metrics).await;
        assert!(first.is_some() && !counted(&metrics));
        let leave = async { drop(first) };
        let (second, ()) = tokio::join!(place(&permits, &metrics), leave);
        assert!(second.is_some() && counted(&metrics));
    }
}
