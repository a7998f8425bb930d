//! Streams put together at random out of what matters to a reader: the promises of the fuzz targets
//! hold, and nothing depends on how the bytes arrive.

use proptest::prelude::*;
use proptest::sample::select;

use crate::corpus::{http1_body::http1_body, http1_head::http1_head};
use crate::http1::{BodyTracker, Framing, ToRequest, parse_request, parse_response};

const FIRST_LINES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a?b HTTP/1.1\r\n",
    "HEAD http://a/b HTTP/1.1\r\n",
    "OPTIONS * HTTP/1.1\r\n",
    "GET /a HTTP/1.0\r\n",
    "GET / HTTP/1.1\n",
    "\r\nPUT /a HTTP/1.1\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 204\r\n",
    "HTTP/1.0 304 \r\n",
];

const LINES: &[&str] = &[
    "Host: a\r\n",
    "Host: b\r\n",
    "Content-Length: 5\r\n",
    "content-length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding:\tchunked \r\n",
    "Transfer-Encoding: identity\r\n",
    "Connection: close\r\n",
    "Connection: keep-alive, x-a\r\n",
    "Connection: upgrade\r\n",
    "Upgrade: websocket\r\n",
    "Upgrade: h2c\r\n",
    "Expect: 100-continue\r\n",
    "X-A: 1\r\n",
    "x-a:2\r\n",
    "X-Astromesh-Hop: 3\r\n",
    "TE: trailers\r\n",
    "Content_Length: 5\r\n",
    " folded\r\n",
    "bare: lf\n",
    "nul: \0\r\n",
    "no colon\r\n",
];

const CHUNKS: &[&str] = &[
    "0\r\n\r\n",
    "0\r\n",
    "5\r\nhello\r\n",
    "5;a=b\r\nhello\r\n",
    "05\r\nhel",
    "lo\r\n",
    "1\r\n\r\r\n",
    "a: b\r\n",
    "Host: b\r\n",
    "\r\n",
    "\n",
    "\r",
    "5 \r\n",
    "ffffffffffffffff\r\n",
    "10000000000000000\r\n",
    ";",
    "+",
];

fn joined(pieces: &'static [&'static str], most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(select(pieces), 0..most).prop_map(|pieces| pieces.concat())
}

fn head() -> impl Strategy<Value = String> {
    (select(FIRST_LINES), joined(LINES, 6), any::<bool>()).prop_map(|(first, lines, is_served)| {
        let host = if is_served { "Host: a\r\n" } else { "" };
        format!("{first}{host}{lines}\r\n")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn heads_put_together_hold_their_promises(bytes in head()) {
        http1_head(bytes.as_bytes());
    }

    #[test]
    fn bodies_put_together_hold_their_promises(seed: u8, bytes in joined(CHUNKS, 8)) {
        http1_body(&[&[seed], bytes.as_bytes()].concat());
    }

    #[test]
    fn a_head_that_comes_in_parts_is_the_head_that_comes_at_once(
        bytes in head(),
        rest in joined(CHUNKS, 3),
        parts in prop::collection::vec(1usize..40, 1..12),
    ) {
        let stream = [bytes.as_bytes(), rest.as_bytes()].concat();
        let ends = || {
            let sums = parts.iter().scan(0, |end, part| { *end += part; Some(*end) });
            sums.take_while(|end| *end < stream.len()).chain([stream.len()])
        };
        let in_parts = ends().find_map(|end| parse_request(&stream[..end]).transpose());
        prop_assert_eq!(in_parts, parse_request(&stream).transpose());
        let in_parts =
            ends().find_map(|end| parse_response(&stream[..end], ToRequest::Other).transpose());
        prop_assert_eq!(in_parts, parse_response(&stream, ToRequest::Other).transpose());
    }

    #[test]
    fn a_body_by_length_that_comes_in_parts_ends_where_it_does_at_once(
        length in 0u64..200,
        parts in prop::collection::vec(0usize..60, 0..8),
    ) {
        let mut tracker = BodyTracker::new(Framing::Length(length));
        let mut taken = 0;
        for part in &parts {
            taken += tracker.advance(&vec![b'x'; *part]).unwrap().taken;
        }
        let sent: usize = parts.iter().sum();
        prop_assert_eq!(taken as u64, length.min(sent as u64));
        prop_assert_eq!(tracker.is_done(), taken as u64 == length);
        prop_assert_eq!(tracker.missing_in_chunk(), length - taken as u64);
    }
}
