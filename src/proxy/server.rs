//! The listening socket and every connection accepted from it.
//!
//! Owns the listener, the limit on connections and the graceful end: no new connection, idle ones
//! closed, requests in flight finished. Dropping the future of [`serve`] ends everything at once,
//! which is how the caller bounds the wait.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::Proxy;
use super::connection;
use super::settings::CONNECTIONS_MAX;
use crate::api::Connection;

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
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    let mut sweep = pin!(proxy.pool.sweep());
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, accept(&listener).await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            (permit, (stream, ends)) = accepted => {
                let served = connection::serve(Arc::clone(&proxy), stream, ends, stopped.clone());
                connections.spawn(async move {
                    served.await;
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

async fn accept(listener: &TcpListener) -> (TcpStream, Connection) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Without an address of its own the socket is closed already.
                let Ok(local) = stream.local_addr() else { continue };
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, client.address = %peer, "no TCP_NODELAY");
                }
                return (stream, Connection { peer, local });
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections, trying again");
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
