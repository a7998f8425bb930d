//! The way from a connection to the routes of this node: a pipe inside the process.
//!
//! A request that this node answers takes the same way as one that is forwarded; only the
//! connection is a pipe, and the server at its end the router of the API. Each connection of a
//! client opens its own when it first needs one. Dropping it ends whatever runs behind it.

use std::sync::Arc;

use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

use super::live::Live;
use super::settings::WINDOW_BYTES;
use crate::api::{self, Connection};
use crate::telemetry::panics;

/// The data plane's end of a pipe to the router.
#[derive(Debug)]
pub(super) struct Pipe {
    pub(super) stream: DuplexStream,
    /// The router behind it is that of these.
    live: Arc<Live>,
    server: JoinHandle<()>,
}

impl Pipe {
    /// A pipe whose requests count as those of `ends`.
    pub(super) fn open(live: &Arc<Live>, ends: Connection) -> Self {
        let (stream, theirs) = tokio::io::duplex(WINDOW_BYTES);
        let served = api::serve_pipe(theirs, live.router.clone(), ends);
        let served = Box::pin(served);
        let server = tokio::spawn(async {
            if let Err(panic) = panics::contained(served).await {
                tracing::error!(%panic, "a pipe panicked; this is a defect, please report it");
            }
        });
        Self { stream, live: Arc::clone(live), server }
    }

    /// Whether what is behind it is what a request with these begins with.
    pub(super) fn leads_to(&self, live: &Arc<Live>) -> bool {
        Arc::ptr_eq(&self.live, live)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.server.abort();
    }
}
