//! Replays the committed fuzz corpus, and writes the part of it that people made.

use std::path::Path;

#[path = "../../fuzz/src/http1_body.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz package, which includes the same file")]
pub(crate) mod http1_body;
#[path = "../../fuzz/src/http1_head.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz package, which includes the same file")]
pub(crate) mod http1_head;

/// Starts from which a fuzzer finds the rest.
const HEADS: &[(&str, &str)] = &[
    (
        "post",
        "POST /v1/agents/a/run?b HTTP/1.1\r\nHost: a:1\r\nContent-Length: 2\r\n\
         Expect: 100-continue\r\nx-astromesh-hop: 1\r\n\r\n{}",
    ),
    (
        "chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close, x\r\n\
         X: 1\r\nTE: trailers\r\nKeep-Alive: 5\r\n\r\n0\r\n\r\n",
    ),
    (
        "websocket",
        "GET /v1/ws/agent/a HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\
         Upgrade: websocket\r\n\r\n",
    ),
    ("absolute", "\r\nOPTIONS http://a HTTP/1.1\r\nHost: A\r\nX-Two: 1\r\nx-two:\t2 \r\n\r\n"),
    ("old", "GET http://a/b HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n"),
    (
        "two-framings",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: x\r\n\r\n",
    ),
    ("answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nx-astromesh-load: b=1;s=2\r\n\r\n{}"),
    ("answer-chunked", "HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n0\r\n"),
    ("answer-until-close", "HTTP/1.0 200\r\nConnection: keep-alive\r\n\r\n"),
    ("answer-switching", "HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"),
    ("answer-empty", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n"),
];

/// As [`HEADS`]; the first byte says how it is cut.
const BODIES: &[(&str, &str)] = &[
    ("empty", "g0\r\n\r\n"),
    ("two", "a5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nrest"),
    ("extension", "b1;a=\"b\"\r\nx\r\n0;c\r\n\r\n"),
    ("trailers", "c1\r\nx\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n"),
    ("trailer-that-frames", "d0\r\nContent-Length: 1\r\n\r\n"),
    ("largest", "effffffffffffffff\r\nab"),
    ("overflow", "f10000000000000000\r\n"),
];

/// Runs `body` on every file of a corpus, after a look that what people made is in it.
fn replay(target: &str, body: fn(&[u8]), made: &[(&str, &str)]) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    for (name, bytes) in made {
        let file = corpus.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&corpus).unwrap();
            std::fs::write(&file, bytes).unwrap();
        }
        let seed = std::fs::read(&file).unwrap_or_default();
        assert!(seed == bytes.as_bytes(), "{}: run with UPDATE_GOLDEN=1", file.display());
    }
    for entry in std::fs::read_dir(corpus).unwrap() {
        body(&std::fs::read(entry.unwrap().path()).unwrap());
    }
}

#[test]
fn heads_hold_their_promises_on_the_whole_corpus() {
    replay("http1_head", http1_head::http1_head, HEADS);
}

#[test]
fn bodies_hold_their_promises_on_the_whole_corpus() {
    replay("http1_body", http1_body::http1_body, BODIES);
}
