//! The HTTP client for the world outside the mesh.
//!
//! Owns the choice of TLS provider, time limits and user agent, and what is said of a call that failed. Refuses to read proxy settings from
//! the environment: what a node talks to is what its files say.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, redirect};

/// How long a connection may take to be made, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

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
        if cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        {
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
    use super::builder;

    #[test]
    fn a_client_without_root_certificates_can_be_built() {
        drop(rustls::crypto::ring::default_provider().install_default());
        assert!(builder().tls_certs_only([]).build().is_ok());
    }
}
