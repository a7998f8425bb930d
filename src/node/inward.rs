//! The way by which a node asks its own HTTP server.
//!
//! Owns a listener on the loopback, at any port. The one for everybody is closed when the node stops,
//! while runs in flight go on asking models of the mesh: this one is there as long as they are.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::proxy::{self, Proxy};

/// The listener, before there is anything to serve.
pub(super) struct Inward {
    listener: TcpListener,
    pub(super) address: SocketAddr,
}

impl Inward {
    /// `None` on a host without a loopback, where a node has to ask itself by the way of everybody.
    pub(super) async fn open() -> Option<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let opened = listener.and_then(|listener| {
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        });
        opened
            .inspect_err(|error| tracing::debug!(%error, "there is no loopback to listen on"))
            .ok()
    }

    /// Serves on it until dropped.
    pub(super) fn serve(self, proxy: &Arc<Proxy>) -> Serving {
        let served = proxy::serve(self.listener, Arc::clone(proxy), std::future::pending());
        Serving(tokio::spawn(async move {
            if let Err(error) = served.await {
                tracing::error!(%error, "the node cannot ask itself: agents get no models of the mesh");
            }
        }))
    }
}

/// Ends with this.
pub(super) struct Serving(JoinHandle<()>);

impl Serving {
    /// Waits until it ends by itself, which it only does when it fails.
    pub(super) async fn ended(&mut self) {
        // A panic has been told by the hook for all of them.
        drop((&mut self.0).await);
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.abort();
    }
}
