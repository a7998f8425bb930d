//! The HTTP client for the world outside the mesh.
//!
//! Owns the choice of TLS provider, time limits and user agent, and what is said of a call that failed. Refuses to read proxy settings from
//! the environment: what a node talks to is what its files say.

use std::error::Error as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Url, redirect};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a connection may take to be made, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Chats sent to the own server at once. With the connections on which they came they are fewer than it
/// takes, so that there is room for each of both.
const CHATS_MAX: usize = 4_096;

/// How long an unused connection is kept; shorter than the 60 s after which many servers close.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The client for model calls: no redirects, no proxy, 10 s to connect, TLS with the system's roots.
///
/// Cheap to clone; one is enough for a process.
#[must_use]
pub fn http_client() -> Client {
    // A redirect would carry the prompt, and perhaps the key, to a place no file names.
    http_client_with(|builder| builder.redirect(redirect::Policy::none()))
}

/// A client that starts from the same settings; the caller decides about redirects.
///
/// On a host without any root certificate it still speaks plain HTTP; every HTTPS call then fails as
/// untrusted, and a warning says so.
#[must_use]
pub fn http_client_with(configure: impl Fn(ClientBuilder) -> ClientBuilder) -> Client {
    // Fails only when a provider is installed already, which is just as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    configure(builder()).build().unwrap_or_else(|error| {
        tracing::warn!(
            error = %error,
            "no usable root certificates on this host: HTTPS calls will fail; install ca-certificates",
        );
        configure(builder())
            .tls_certs_only([])
            .build()
            .expect("a client without roots depends on nothing outside")
    })
}

fn builder() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("astromesh/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .no_proxy()
}

/// How models are asked: those of model servers, and those of the mesh.
#[derive(Debug, Clone)]
pub struct Access {
    /// For all of them; see [`http_client`].
    pub client: Client,
    /// Base URL of this node's own HTTP server, which finds the node that serves a model.
    node: Url,
    /// For chats that are sent there on behalf of a client.
    places: Arc<Semaphore>,
}

impl Access {
    /// Through a node whose HTTP server is bound there.
    #[must_use]
    pub fn new(client: Client, bound: SocketAddr) -> Self {
        // One that listens everywhere is asked on the loopback.
        let ip = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let node = format!("http://{}", SocketAddr::new(ip, bound.port()));
        let node = Url::parse(&node).expect("an address makes a URL");
        Self { client, node, places: Arc::new(Semaphore::new(CHATS_MAX)) }
    }

    /// A place for a chat that is sent to the own server; `None` when there is none.
    #[must_use]
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// For files that are checked and not run: nothing is asked.
    #[must_use]
    pub fn unused() -> Self {
        Self::new(http_client(), (Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Base URL of the own server.
    #[must_use]
    pub const fn node(&self) -> &Url {
        &self.node
    }

    /// Where chats with a model of the mesh are taken.
    #[must_use]
    pub fn chat_url(&self, model: &str) -> Url {
        let mut url = self.node.clone();
        let path = ["v1", "inference", model, "chat", "completions"];
        url.path_segments_mut().expect("an http URL has a path").clear().extend(path);
        url
    }
}

/// Why a call over HTTP failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Nothing listens there.
    Refused,
    /// The host name has no address.
    NameUnknown,
    /// Something else; the text says what.
    Other,
}

/// Why a call over HTTP failed, for programs and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Causes {
    /// For programs.
    pub kind: Cause,
    /// For people, without the URL.
    pub text: String,
    /// The innermost part of that, which says what happened and not to whom.
    pub root: String,
}

/// Why a connection failed. The outermost error holds the URL and is left out.
#[must_use]
pub fn causes(error: &reqwest::Error) -> Causes {
    let mut kind = Cause::Other;
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        // A name with addresses of both kinds ends with the error of the last one; on a host without
        // IPv6 it may be that there is no such address.
        if cause.downcast_ref::<io::Error>().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ConnectionRefused | io::ErrorKind::AddrNotAvailable
            )
        }) {
            kind = Cause::Refused;
        }
        // The connector's error has no type of its own for this; a test watches the words.
        if text.starts_with("dns error") {
            kind = Cause::NameUnknown;
        }
        texts.push(text);
        next = cause.source();
    }
    texts.dedup();
    let root = texts.last().cloned().unwrap_or_else(|| "the call failed".to_owned());
    let text = if texts.is_empty() { root.clone() } else { texts.join(": ") };
    Causes { kind, text, root }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_server_is_asked_where_it_listens_and_a_wildcard_on_the_loopback() {
        let rows = [
            ("0.0.0.0:8000", "http://127.0.0.1:8000/"),
            ("[::]:8000", "http://[::1]:8000/"),
            ("10.0.0.5:81", "http://10.0.0.5:81/"),
            ("[fd00::1]:80", "http://[fd00::1]/"),
        ];
        let client = builder_for_tests();
        for (bound, expected) in rows {
            let access = Access::new(client.clone(), bound.parse().unwrap());
            assert_eq!(access.node().as_str(), expected, "{bound}");
        }
        let access = Access::new(client, ([127, 0, 0, 1], 8000).into());
        let chat = access.chat_url("meta-llama/Llama-3:8b ü?#");
        assert_eq!(
            chat.path(),
            "/v1/inference/meta-llama%2FLlama-3:8b%20%C3%BC%3F%23/chat/completions"
        );
    }

    fn builder_for_tests() -> Client {
        drop(rustls::crypto::ring::default_provider().install_default());
        builder().tls_certs_only([]).build().unwrap()
    }

    #[test]
    fn a_client_without_root_certificates_can_be_built() {
        drop(rustls::crypto::ring::default_provider().install_default());
        assert!(builder().tls_certs_only([]).build().is_ok());
    }
}
