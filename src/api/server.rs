//! The sockets of the HTTP server.
//!
//! Owns the listener, every connection and the limits on them. Refuses to know a route. Ends
//! gracefully when told to: no new connection, idle ones closed, requests in flight finished.
//! Dropping the future of [`serve`] ends everything at once, which is how the caller bounds the
//! wait.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tower::ServiceExt;

/// Connections open at once; more wait in the backlog of the listener. Below the 16,384 file
/// descriptors that the service unit asks for, with room for connections to other nodes.
const CONNECTIONS_MAX: usize = 10_000;
/// Time for the head of a request, and after an answer for the next one to begin.
const HEADER_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest head of a request, and what is buffered of an answer that the client does not read.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Pause after the system refused a connection, for lack of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Both ends of the connection that a request came on; handlers extract
/// `ConnectInfo<Connection>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The client.
    pub peer: SocketAddr,
    /// The address of this node that the client connected to.
    pub local: SocketAddr,
}

/// Serves until `shutdown` is ready and the last request in flight has been answered.
///
/// # Errors
/// The listener cannot be used.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    listener.local_addr()?;
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (permit, accept(&listener).await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            (permit, (stream, connection)) = accepted => {
                let served = serve_connection(stream, connection, router.clone(), stopped.clone());
                connections.spawn(async move {
                    served.await;
                    drop(permit);
                });
            }
            Some(_) = connections.join_next() => {}
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

async fn serve_connection(
    stream: TcpStream,
    connection: Connection,
    router: Router,
    mut stopped: watch::Receiver<()>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        answer(router.clone(), request.map(Body::new), connection)
    });
    let mut served = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_READ_TIMEOUT)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let outcome = tokio::select! {
        outcome = served.as_mut() => outcome,
        _ = stopped.changed() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = outcome {
        tracing::debug!(%error, client.address = %connection.peer, "connection ended early");
    }
}

async fn answer(
    router: Router,
    mut request: Request<Body>,
    connection: Connection,
) -> Result<Response, Infallible> {
    request.extensions_mut().insert(ConnectInfo(connection));
    router.oneshot(request).await
}
