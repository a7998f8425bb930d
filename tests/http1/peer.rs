//! What we accept means the same to hyper: the same bytes, and the bytes we write on, give it the
//! same method, path and body.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::http1::{BodyTracker, RequestEdit, parse_request, write_request};

/// A request as its server sees it.
#[derive(Clone, Debug, PartialEq)]
struct Seen {
    method: String,
    path: String,
    query: Option<String>,
    body: Vec<u8>,
}

/// The whole requests that hyper finds in a stream.
async fn by_hyper(stream: &[u8]) -> Vec<Seen> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (near, far) = tokio::io::duplex(1 << 20);
    let noted = Arc::clone(&seen);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let noted = Arc::clone(&noted);
        async move {
            let (parts, body) = request.into_parts();
            if let Ok(body) = body.collect().await {
                noted.lock().unwrap().push(Seen {
                    method: parts.method.to_string(),
                    path: parts.uri.path().to_owned(),
                    query: parts.uri.query().map(str::to_owned),
                    body: body.to_bytes().to_vec(),
                });
            }
            Ok::<_, Infallible>(hyper::Response::new(Empty::<Bytes>::new()))
        }
    });
    let (mut answers, mut requests) = tokio::io::split(near);
    let server = hyper::server::conn::http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(far), service);
    let client = async {
        // The server may be gone before it has read all.
        let written = requests.write_all(stream).await;
        let ended = requests.shutdown().await;
        let mut ignored = Vec::new();
        let read = answers.read_to_end(&mut ignored).await;
        (written.is_ok(), ended.is_ok(), read.is_ok())
    };
    // A refusal of hyper's is an error here; what it saw before counts.
    let (refused, client) = tokio::join!(server, client);
    drop((refused, client));
    let seen = seen.lock().unwrap();
    seen.clone()
}

/// The whole requests that we find in a stream, and the stream as we write it on.
fn by_us(stream: &[u8]) -> (Vec<Seen>, BytesMut) {
    let (mut seen, mut written, mut rest) = (Vec::new(), BytesMut::new(), stream);
    while let Ok(Some(head)) = parse_request(rest) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let body = &rest[head.length..];
        let mut tracker = BodyTracker::new(head.framing);
        let mut plain = Vec::new();
        let progress = tracker.advance_with(body, |range| plain.extend_from_slice(&body[range]));
        let Ok(progress) = progress else { break };
        if !progress.is_done {
            break;
        }
        seen.push(Seen {
            method: text(head.method_text.of(rest)),
            path: text(head.path(rest)),
            query: head.query(rest).map(text),
            body: plain,
        });
        write_request(&mut written, &head, rest, &RequestEdit::default());
        written.extend_from_slice(&body[..progress.taken]);
        rest = &body[progress.taken..];
        if !head.keep_alive {
            break;
        }
    }
    (seen, written)
}

async fn check(stream: &[u8]) -> usize {
    let (ours, written) = by_us(stream);
    let theirs = by_hyper(stream).await;
    let agreed = ours.iter().zip(&theirs).take_while(|(ours, theirs)| ours == theirs).count();
    let both = ours.len().min(theirs.len());
    assert_eq!(agreed, both, "{:?}\n{ours:?}\n{theirs:?}", String::from_utf8_lossy(stream));
    let behind = by_hyper(&written).await;
    assert_eq!(behind, ours, "written on as {:?}", String::from_utf8_lossy(&written));
    both
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

#[test]
fn hyper_reads_proper_streams_as_we_do() {
    let rows: &[(&str, &str, usize)] = &[
        ("no body", "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n", 1),
        ("length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 005\r\n\r\nhello", 1),
        (
            "chunks",
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
             2;a=\"b\"\r\nhe\r\n03\r\nllo\r\n0\r\nX-Sum: 1\r\n\r\n",
            1,
        ),
        (
            "three in a row",
            "POST /1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
             GET http://a/2 HTTP/1.1\r\nHost: a\r\n\r\n\r\n\
             POST /3 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
            3,
        ),
        ("HTTP/1.0", "POST /a HTTP/1.0\r\nContent-Length: 2\r\n\r\nhiGET /b", 1),
        (
            "websocket",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
            1,
        ),
    ];
    for (name, stream, expected) in rows {
        assert_eq!(run(check(stream.as_bytes())), *expected, "{name}");
    }
}

fn request() -> impl Strategy<Value = String> {
    let first = select(vec![
        "GET /a",
        "POST /a/b?c=d",
        "DELETE //x/../y",
        "OPTIONS *",
        "PATCH http://a/z?",
        "PURGE /p",
    ]);
    let version = select(vec!["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0"]);
    let lines = select(vec![
        "",
        "X-A: 1\r\n",
        "Connection: keep-alive\r\n",
        "Connection: close\r\n",
        "Connection: content-length, transfer-encoding, x-a\r\n",
        "Expect: 100-continue\r\n",
        "Content-Length: 3\r\n",
        "Content-Length: 4, 4\r\n",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding: x\r\n chunked\r\n",
        "content-length:\t7 \r\n",
        "Content-Length: +7\r\n",
        "X: a\nContent-Length: 2\r\n",
        "Upgrade: websocket\r\nConnection: upgrade\r\n",
    ]);
    let body = select(vec![
        "",
        "abc",
        "Content-Length: 7\r\n\r\nabcdefg",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3;x\r\nabc\r\n1\r\n\r\r\n0\r\nA: b\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
        "Transfer-Encoding: chunked\r\n\r\n0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n",
        "\r\nabc",
        "\r\n3\r\nabc\r\n0\r\n\r\n",
        "\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ]);
    (first, version, prop::collection::vec(lines, 0..3), body).prop_map(
        |(first, version, lines, body)| {
            let end =
                if body.contains("\r\n\r\n") || body.starts_with("\r\n") { "" } else { "\r\n" };
            format!("{first} {version}\r\nHost: a\r\n{}{end}{body}", lines.concat())
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hyper_reads_any_stream_that_we_accept_as_we_do(
        requests in prop::collection::vec(request(), 1..4),
    ) {
        run(check(requests.concat().as_bytes()));
    }
}
