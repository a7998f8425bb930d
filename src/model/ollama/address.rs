//! Where Ollama is: the variable `OLLAMA_HOST`, read as Ollama's own client reads it.

use std::net::Ipv6Addr;

use reqwest::Url;
use url::Host;

use crate::model::server::without_path_end;

/// The variable that says where Ollama is.
pub const HOST_VARIABLE: &str = "OLLAMA_HOST";

const PORT_DEFAULT: u16 = 11_434;

/// Where Ollama is by `OLLAMA_HOST`, without it `http://localhost:11434`.
///
/// # Errors
/// What is wrong with the variable, and what to write; its value is not repeated.
pub fn base_url() -> Result<Url, String> {
    match std::env::var_os(HOST_VARIABLE) {
        None => url_of_host(""),
        Some(host) => host.to_str().ok_or(NO_ADDRESS).and_then(url_of_host),
    }
    .map_err(|what| format!("the variable {HOST_VARIABLE} {what}"))
}

/// The server at this URL, which may be that of one of its APIs: without a trailing `/v1`, `/api` or
/// slash.
#[must_use]
pub fn server_url(url: Url) -> Url {
    without_path_end(url, &["/v1", "/api"])
}

const NO_ADDRESS: &str = "is no address: write HOST, HOST:PORT or a URL such as http://gpu-1:11434";

/// The URL that a value of the variable stands for.
pub fn url_of_host(value: &str) -> Result<Url, &'static str> {
    // Quotes stay when an env file is read by something that is no shell.
    let value = value.trim().trim_matches(['"', '\'']).trim();
    let (scheme, rest, port_default) = match value.split_once("://") {
        None => ("http", value, PORT_DEFAULT),
        Some(("http", rest)) => ("http", rest, 80),
        Some(("https", rest)) => ("https", rest, 443),
        Some(_) => return Err("has a scheme that is neither http nor https"),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if authority.contains('@') {
        return Err("must not hold a user or password; name a key as api_key_env in a model block");
    }
    let (host, port) = host_and_port(authority)?;
    let port = port.unwrap_or(port_default);
    let mut url =
        Url::parse(&format!("{scheme}://{host}:{port}/{path}")).map_err(|_| NO_ADDRESS)?;
    // Where a server listens on all addresses, a client asks one of them.
    let loopback = match url.host() {
        Some(Host::Ipv4(address)) if address.is_unspecified() => Some("127.0.0.1"),
        Some(Host::Ipv6(address)) if address.is_unspecified() => Some("[::1]"),
        Some(Host::Ipv4(_) | Host::Ipv6(_) | Host::Domain(_)) | None => None,
    };
    if loopback.is_some() {
        url.set_host(loopback).map_err(|_| NO_ADDRESS)?;
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(server_url(url))
}

/// The parts of `HOST:PORT`; a host that is left out is this one.
fn host_and_port(authority: &str) -> Result<(String, Option<u16>), &'static str> {
    if let Ok(address) = authority.parse::<Ipv6Addr>() {
        return Ok((format!("[{address}]"), None));
    }
    let is_bracketed = authority.ends_with(']');
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !is_bracketed => (host, Some(port)),
        Some(_) | None => (authority, None),
    };
    let port = match port {
        None => None,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => Some(port),
            Ok(_) | Err(_) => return Err("has no port from 1 to 65535 after the colon"),
        },
    };
    Ok((if host.is_empty() { "localhost" } else { host }.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_as_ollama_reads_it() {
        let rows = [
            ("", "http://localhost:11434/"),
            (" \"gpu-1\" ", "http://gpu-1:11434/"),
            ("gpu-1:1234", "http://gpu-1:1234/"),
            (":1234", "http://localhost:1234/"),
            ("0.0.0.0", "http://127.0.0.1:11434/"),
            ("0.0.0.0:1234", "http://127.0.0.1:1234/"),
            ("http://0.0.0.0:1234/", "http://127.0.0.1:1234/"),
            ("::", "http://[::1]:11434/"),
            ("[::]:1234", "http://[::1]:1234/"),
            ("fd00::1", "http://[fd00::1]:11434/"),
            ("[fd00::1]", "http://[fd00::1]:11434/"),
            ("http://ollama:11434", "http://ollama:11434/"),
            ("http://ollama", "http://ollama/"),
            ("https://ollama.example/", "https://ollama.example/"),
            ("https://h/prefix/v1", "https://h/prefix"),
            ("gpu-1:1234/api/", "http://gpu-1:1234/"),
        ];
        for (host, expected) in rows {
            assert_eq!(url_of_host(host).map(String::from), Ok(expected.to_owned()), "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_without_being_repeated() {
        for (host, expected) in [
            ("me:hush@h:1", "must not hold a user"),
            ("http://hush@h", "must not hold a user"),
            ("h:0", "no port"),
            ("h:x", "no port"),
            ("h:99999", "no port"),
            ("unix:///run/hush", "scheme"),
            ("a b", "no address"),
        ] {
            let Err(what) = url_of_host(host) else { panic!("{host} is taken") };
            assert!(what.contains(expected) && !what.contains("hush"), "{host}: {what}");
        }
    }

    #[test]
    fn the_url_of_an_api_stands_for_its_server() {
        for (url, expected) in [
            ("http://h:1", "http://h:1/"),
            ("http://h:1/v1/", "http://h:1/"),
            ("http://h:1/api", "http://h:1/"),
            ("http://h/ollama/v1?key=1", "http://h/ollama?key=1"),
            ("http://h/apiv1", "http://h/apiv1"),
        ] {
            assert_eq!(server_url(Url::parse(url).unwrap()).as_str(), expected, "{url}");
        }
    }
}
