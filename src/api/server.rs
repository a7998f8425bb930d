//! Serves the routes on one end of a pipe.
//!
//! Owns nothing but the translation of bytes into requests for the router. Sockets, limits and
//! deadlines are the data plane's, which holds the other end of the pipe. Dropping the future of
//! [`serve_pipe`] ends the request it works on.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tower::ServiceExt;

/// Largest head of a request: what the data plane takes from a client, and what it adds.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// Both ends of the connection that a request came on; handlers extract
/// `ConnectInfo<Connection>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connection {
    /// The client.
    pub peer: SocketAddr,
    /// The address of this node that the client connected to.
    pub local: SocketAddr,
}

/// Answers the requests that come through the pipe until its other end is dropped. They count as
/// those of `connection`.
pub async fn serve_pipe(pipe: DuplexStream, router: Router, connection: Connection) {
    let service = service_fn(move |request: Request<Incoming>| {
        answer(router.clone(), request.map(Body::new), connection)
    });
    let served = http1::Builder::new()
        .max_buf_size(BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(pipe), service)
        .with_upgrades();
    if let Err(error) = served.await {
        tracing::debug!(%error, client.address = %connection.peer, "request ended early");
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
