//! The way from a connection to the routes of this node: a pipe inside the process.
//!
//! A request that this node answers takes the same way as one that is forwarded; only the
//! connection is a pipe, and the server at its end the router of the API. Each connection of a
//! client opens its own when it first needs one. Dropping it ends whatever runs behind it.

use axum::Router;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use super::settings::WINDOW_BYTES;
use crate::api::{self, Connection};

/// The data plane's end of a pipe to the router.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) stream: DuplexStream,
    server: JoinHandle<()>,
}

impl Pipe {
    /// A pipe whose requests count as those of `ends`.
    pub(super) fn open(router: &Router, ends: Connection) -> Self {
        let (stream, theirs) = tokio::io::duplex(WINDOW_BYTES);
        let server = tokio::spawn(api::serve_pipe(theirs, router.clone(), ends));
        Self { stream, server }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.server.abort();
    }
}
