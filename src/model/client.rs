//! The HTTP client for the world outside the mesh.
//!
//! Owns the choice of TLS provider, time limits and user agent. Refuses to read proxy settings from
//! the environment: what a node talks to is what its files say.

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

#[cfg(test)]
mod tests {
    use super::builder;

    #[test]
    fn a_client_without_root_certificates_can_be_built() {
        drop(rustls::crypto::ring::default_provider().install_default());
        assert!(builder().tls_certs_only([]).build().is_ok());
    }
}
