//! The headers that matter between nodes.
//!
//! Owns the names of our own headers and the rule which headers end at each hop (RFC 9110,
//! section 7.6.1). Everything else passes through untouched.

use axum::http::header::{
    CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderMap, HeaderName, HeaderValue, TE,
    TRANSFER_ENCODING, UPGRADE,
};

/// How many nodes have forwarded the request; missing means none.
pub const HOP: HeaderName = HeaderName::from_static("x-astromesh-hop");
/// Name of the node that answered for the agent.
pub const NODE: HeaderName = HeaderName::from_static("x-astromesh-node");
/// Given by a client for which sending a request twice does no harm.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// How many nodes have forwarded a request with these headers. A value that is no number counts as
/// one hop: nothing but a node has reason to send it, and too many hops only means "serve it here".
#[must_use]
pub fn hops(headers: &HeaderMap) -> u32 {
    headers.get(HOP).map_or(0, |value| {
        value.to_str().ok().and_then(|text| text.trim().parse().ok()).unwrap_or(1)
    })
}

/// Removes what concerns one connection only.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TE, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
}

/// The headers to send on: those of the client, one hop further. Host and length are written anew
/// for the new connection, and the body is at hand, so nobody waits for `100 Continue`.
#[must_use]
pub fn for_next_hop(client: &HeaderMap) -> HeaderMap {
    let mut headers = client.clone();
    strip_hop_by_hop(&mut headers);
    for name in [HOST, CONTENT_LENGTH, EXPECT] {
        headers.remove(name);
    }
    headers.insert(HOP, HeaderValue::from(hops(client).saturating_add(1)));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn connection_headers_and_those_they_name_end_here() {
        let mut given = headers(&[
            ("connection", "close, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("proxy-connection", "keep-alive"),
            ("accept", "application/json"),
        ]);
        strip_hop_by_hop(&mut given);
        assert_eq!(given, headers(&[("accept", "application/json")]));
    }

    #[test]
    fn the_next_hop_is_counted_and_the_rest_kept() {
        let client = headers(&[
            ("host", "gateway:8000"),
            ("content-length", "2"),
            ("expect", "100-continue"),
            ("x-request-id", "abc"),
            ("x-astromesh-hop", "2"),
        ]);
        let expected = headers(&[("x-request-id", "abc"), ("x-astromesh-hop", "3")]);
        assert_eq!(for_next_hop(&client), expected);
    }

    #[test]
    fn hops_are_read_and_garbage_counts_as_one() {
        assert_eq!(hops(&HeaderMap::new()), 0);
        assert_eq!(hops(&headers(&[("x-astromesh-hop", "0")])), 0);
        assert_eq!(hops(&headers(&[("x-astromesh-hop", "7")])), 7);
        assert_eq!(hops(&headers(&[("x-astromesh-hop", "-1")])), 1);
    }
}
