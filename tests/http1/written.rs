//! What a head looks like on its next hop, byte by byte, and our own answers.

use bytes::BytesMut;

use crate::http1::{
    BodyForm, BodyTracker, Framing, Known, KnownSet, OwnResponse, Persist, RequestEdit,
    ResponseEdit, Target, ToRequest, parse_request, parse_response, write_chunk,
    write_own_response, write_request, write_response,
};

fn request(bytes: &str, edit: &RequestEdit<'_>) -> String {
    let head = parse_request(bytes.as_bytes()).unwrap().unwrap();
    let mut out = BytesMut::new();
    write_request(&mut out, &head, bytes.as_bytes(), edit);
    String::from_utf8(out.to_vec()).unwrap()
}

fn response(bytes: &str, edit: &ResponseEdit<'_>) -> String {
    let head = parse_response(bytes.as_bytes(), ToRequest::Other).unwrap().unwrap();
    let mut out = BytesMut::new();
    write_response(&mut out, &head, bytes.as_bytes(), edit);
    String::from_utf8(out.to_vec()).unwrap()
}

#[test]
fn a_request_keeps_all_bytes_that_do_not_end_at_this_hop() {
    let edit = RequestEdit {
        authority: Some("worker:9000"),
        add: &[("x-astromesh-hop", b"1"), ("x-astromesh-origin", b"me")],
        drop: KnownSet::of(&[Known::Hop, Known::Origin]),
        ..RequestEdit::default()
    };
    let written = request(
        "POST /v1/agents/a/run?b=c HTTP/1.1\r\nX-Astromesh-Hop: 9\r\nHoST:gate\r\n\
         ACCEPT:   */* \t\r\nConnection: keep-alive, X-Private\r\nKeep-Alive: timeout=5\r\n\
         Content-Length: 2\r\nx-private: 1\r\nTE: trailers\r\nProxy-Connection: close\r\n\
         Upgrade: h2c\r\nTrailer: x-sum\r\nX-Two: 1\r\nx-two:2\r\n\r\n{}",
        &edit,
    );
    assert_eq!(
        written,
        "POST /v1/agents/a/run?b=c HTTP/1.1\r\nHoST: worker:9000\r\nACCEPT:   */* \t\r\n\
         Content-Length: 2\r\nTrailer: x-sum\r\nX-Two: 1\r\nx-two:2\r\n\
         x-astromesh-hop: 1\r\nx-astromesh-origin: me\r\n\r\n"
    );
}

#[test]
fn an_unchanged_request_is_written_as_it_came() {
    let bytes = "DELETE /a?b HTTP/1.1\r\nhost:  a \r\ntransfer-ENCODING: chunked\r\nz: \r\n\r\n";
    assert_eq!(request(bytes, &RequestEdit::default()), bytes);
    let absolute = bytes.replace("/a?b", "http://A/a?b");
    assert_eq!(request(&absolute, &RequestEdit::default()), bytes);
}

#[test]
fn framing_and_host_stay_whoever_asks_to_drop_them() {
    let bytes = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
        Connection: transfer-encoding, content-length, host, cookie\r\nCookie: a\r\n\r\n";
    let edit = RequestEdit {
        drop: KnownSet::of(&[Known::Host, Known::TransferEncoding, Known::ContentLength]),
        ..RequestEdit::default()
    };
    let kept = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(request(bytes, &edit), kept);
}

#[test]
fn an_old_request_is_written_as_http_1_1_and_nobody_is_made_to_wait() {
    let bytes = "POST /a HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\
        Content-Length: 2\r\n\r\n";
    let kept = "POST /a HTTP/1.1\r\nhost: \r\nContent-Length: 2\r\n\r\n";
    assert_eq!(request(bytes, &RequestEdit::default()), kept);
    let edit = RequestEdit { authority: Some("b:1"), ..RequestEdit::default() };
    assert_eq!(request(bytes, &edit), kept.replace("host: ", "host: b:1"));
}

#[test]
fn a_websocket_request_asks_the_next_hop_as_well() {
    let bytes = "GET /v1/ws/agent/a HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let kept = "GET /v1/ws/agent/a HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
        Sec-WebSocket-Version: 13\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(request(bytes, &RequestEdit::default()), kept);
    let among_others = bytes
        .replace("Connection: Upgrade", "Connection: keep-alive, Upgrade, x-gone\r\nX-Gone: 1");
    assert_eq!(request(&among_others, &RequestEdit::default()), kept);
}

#[test]
fn a_target_is_put_below_or_replaced_and_keeps_its_query() {
    let rows = [
        ("GET /a?b", Target::Prefix("/base"), "/base/a?b"),
        ("GET /a?b", Target::Prefix("/base/"), "/base/a?b"),
        ("GET /a", Target::Prefix(""), "/a"),
        ("GET http://a?b", Target::Prefix("/base"), "/base/?b"),
        ("OPTIONS *", Target::Prefix(""), "*"),
        ("OPTIONS *", Target::Prefix("/base"), "/base"),
        ("GET /a?b", Target::Path("/run"), "/run?b"),
        ("GET /a", Target::Path("/run?x=1"), "/run?x=1"),
        ("GET /a?b", Target::Path("/run?x=1"), "/run?x=1&b"),
        ("GET /a", Target::Path("/r n\r\nX: \u{e9}#"), "/r%20n%0D%0AX:%20%C3%A9%23"),
    ];
    for (line, target, expected) in rows {
        let bytes = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        let written = request(&bytes, &RequestEdit { target, ..RequestEdit::default() });
        let method = line.split(' ').next().unwrap();
        assert_eq!(written, format!("{method} {expected} HTTP/1.1\r\nHost: a\r\n\r\n"), "{line}");
    }
}

#[test]
fn no_value_of_a_caller_can_end_a_line() {
    let edit = RequestEdit {
        authority: Some("a\r\nx: b"),
        add: &[("x-id", b"1\r\nTransfer-Encoding: chunked\0\x7f\xff")],
        ..RequestEdit::default()
    };
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let head = parse_request(bytes).unwrap().unwrap();
    let mut out = BytesMut::new();
    write_request(&mut out, &head, bytes, &edit);
    let expected = b"GET / HTTP/1.1\r\nHost: a  x: b\r\n\
        x-id: 1  Transfer-Encoding: chunked  \xff\r\n\r\n";
    assert_eq!(&out[..], expected);
}

#[test]
fn a_response_keeps_all_bytes_that_do_not_end_at_this_hop() {
    let edit = ResponseEdit {
        add: &[("x-astromesh-node", b"n1")],
        drop: KnownSet::of(&[Known::Load]),
        ..ResponseEdit::default()
    };
    let written = response(
        "HTTP/1.0 207 Multi  Status\r\nConnection: keep-alive, x-gone\r\nX-Gone: 1\r\n\
         Content-Length: 2\r\nSet-Cookie: a\r\nX-Astromesh-Load: b=1\r\nset-cookie:b\r\n\
         Upgrade: h2c\r\n\r\nok",
        &edit,
    );
    assert_eq!(
        written,
        "HTTP/1.1 207 Multi  Status\r\nContent-Length: 2\r\nSet-Cookie: a\r\nset-cookie:b\r\n\
         x-astromesh-node: n1\r\n\r\n"
    );
}

#[test]
fn a_response_says_what_becomes_of_the_connection_and_of_the_chunks() {
    use BodyForm::{Chunked, Plain, Same};
    use Persist::{Close, KeepAlive, Silent};
    const CHUNKS: &str = "Transfer-Encoding: chunked\r\n";
    let rows = [
        (CHUNKS, Same, Silent, "Transfer-Encoding: chunked\r\n"),
        (CHUNKS, Same, Close, "Transfer-Encoding: chunked\r\nconnection: close\r\n"),
        (CHUNKS, Plain, KeepAlive, "connection: close\r\n"),
        ("", Same, KeepAlive, "connection: close\r\n"),
        ("", Plain, Silent, "connection: close\r\n"),
        ("", Chunked, Silent, "transfer-encoding: chunked\r\n"),
        ("", Chunked, Close, "transfer-encoding: chunked\r\nconnection: close\r\n"),
        (
            "Content-Length: 1\r\n",
            Plain,
            KeepAlive,
            "Content-Length: 1\r\nconnection: keep-alive\r\n",
        ),
        ("Content-Length: 1\r\n", Chunked, Silent, "Content-Length: 1\r\n"),
    ];
    for (lines, body, persist, expected) in rows {
        let edit = ResponseEdit { body, persist, ..ResponseEdit::default() };
        let written = response(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n"), &edit);
        assert_eq!(written, format!("HTTP/1.1 200 OK\r\n{expected}\r\n"), "{lines} {body:?}");
    }
}

#[test]
fn a_length_where_no_body_can_be_does_not_reach_the_client() {
    for status in ["100 Continue", "103 Early Hints", "204 No Content"] {
        for line in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
            let written = response(
                &format!("HTTP/1.1 {status}\r\n{line}\r\nLink: a\r\n\r\n"),
                &ResponseEdit::default(),
            );
            assert_eq!(written, format!("HTTP/1.1 {status}\r\nLink: a\r\n\r\n"));
        }
    }
    let not_modified = "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(response(not_modified, &ResponseEdit::default()), not_modified);
}

#[test]
fn a_change_of_protocol_is_passed_on() {
    let written = response(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        &ResponseEdit { persist: Persist::Close, ..ResponseEdit::default() },
    );
    assert_eq!(
        written,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nconnection: upgrade\r\n\r\n"
    );
}

#[test]
fn our_own_answers_are_read_as_they_were_meant() {
    let own = OwnResponse {
        status: 503,
        headers: &[("retry-after", b"1")],
        body: b"{}",
        persist: Persist::Close,
        to: ToRequest::Other,
    };
    let head = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 2\r\n\
        connection: close\r\n\r\n";
    let write = |own: OwnResponse<'_>| {
        let mut out = BytesMut::new();
        write_own_response(&mut out, &own);
        String::from_utf8(out.to_vec()).unwrap()
    };
    assert_eq!(write(own), format!("{head}{{}}"));
    assert_eq!(write(OwnResponse { to: ToRequest::Head, ..own }), head);
    let empty = OwnResponse { status: 204, headers: &[], persist: Persist::Silent, ..own };
    assert_eq!(write(empty), "HTTP/1.1 204 No Content\r\n\r\n");
    let unnamed = write(OwnResponse { status: 299, headers: &[], ..own });
    let read = parse_response(unnamed.as_bytes(), ToRequest::Other).unwrap().unwrap();
    assert_eq!((read.status, read.framing), (299, Framing::Length(2)));
}

#[test]
fn our_own_chunks_are_read_back() {
    let mut out = BytesMut::new();
    write_chunk(&mut out, b"data: 0123456789\n\n");
    write_chunk(&mut out, b"");
    assert_eq!(&out[..], b"12\r\ndata: 0123456789\n\n\r\n");
    let mut tracker = BodyTracker::new(Framing::Chunked);
    assert!(!tracker.advance(&out).unwrap().is_done && tracker.is_at_boundary());
    assert!(tracker.advance(crate::http1::LAST_CHUNK).unwrap().is_done);
}
