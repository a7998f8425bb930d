//! What is read out of proper heads.

use crate::http1::{
    Framing, Known, Method, RequestHead, ResponseHead, ToRequest, Version, parse_request,
    parse_response,
};

fn request(bytes: &str) -> RequestHead {
    parse_request(bytes.as_bytes()).unwrap().expect("a whole head")
}

fn response(bytes: &str, to: ToRequest) -> ResponseHead {
    parse_response(bytes.as_bytes(), to).unwrap().expect("a whole head")
}

#[test]
fn a_request_is_read_without_its_body() {
    let bytes = "POST /v1/agents/a/run?x=1?&y HTTP/1.1\r\nHOST:  Gate:8000 \r\n\
        content-length: 007\r\nX-Astromesh-Hop:\t1\r\nAccept:\r\n\r\nrest of it";
    let head = request(bytes);
    let buffer = bytes.as_bytes();
    assert_eq!((head.method, head.version), (Method::Post, Version::Http11));
    assert_eq!(head.method_text.of(buffer), b"POST");
    assert_eq!(head.path(buffer), b"/v1/agents/a/run");
    assert_eq!(head.query(buffer), Some(&b"x=1?&y"[..]));
    assert_eq!(head.authority(buffer), Some(&b"Gate:8000"[..]));
    assert_eq!(head.headers.value(Known::Hop, buffer), Some(&b"1"[..]));
    assert_eq!(head.headers.value(Known::Load, buffer), None);
    assert_eq!(head.framing, Framing::Length(7));
    assert_eq!(&buffer[head.length..], b"rest of it");
    assert!(head.keep_alive && !head.expects_continue && !head.upgrade);
    let accept = head.headers.iter().last().unwrap();
    assert_eq!((accept.name.of(buffer), accept.value.of(buffer)), (&b"Accept"[..], &b""[..]));
}

#[test]
fn the_forms_of_a_target_are_reduced_to_a_path() {
    type Row = (&'static str, &'static [u8], Option<&'static [u8]>);
    let rows: &[Row] = &[
        ("GET /", b"/", None),
        ("GET //a/../b", b"//a/../b", None),
        ("GET /?", b"/", Some(b"")),
        ("GET http://a/b?c", b"/b", Some(b"c")),
        ("GET HTTPS://A", b"/", None),
        ("GET http://a?b", b"/", Some(b"b")),
        ("OPTIONS *", b"*", None),
        ("OPTIONS http://a", b"*", None),
        ("OPTIONS http://a/", b"/", None),
        ("OPTIONS http://a?b", b"/", Some(b"b")),
    ];
    for (line, path, query) in rows {
        let bytes = format!("{line} HTTP/1.1\r\nHost: a\r\n\r\n");
        let head = request(&bytes);
        assert_eq!(head.path(bytes.as_bytes()), *path, "{line}");
        assert_eq!(head.query(bytes.as_bytes()), *query, "{line}");
        assert_eq!(head.authority(bytes.as_bytes()), Some(&b"a"[..]), "{line}");
    }
}

#[test]
fn one_empty_line_before_a_request_is_passed_over() {
    let bytes = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(request(bytes).length, bytes.len());
}

#[test]
fn a_connection_persists_as_version_and_options_say() {
    let rows = [
        ("HTTP/1.1", "", true),
        ("HTTP/1.1", "Connection: close\r\n", false),
        ("HTTP/1.1", "Connection: x, CLOSE\r\n", false),
        ("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n", false),
        ("HTTP/1.1", "Connection: closed\r\n", true),
        ("HTTP/1.0", "", false),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", true),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", false),
    ];
    for (version, lines, expected) in rows {
        let head = request(&format!("GET / {version}\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(head.keep_alive, expected, "{version} {lines}");
        let answer = format!("{version} 200 OK\r\nContent-Length: 0\r\n{lines}\r\n");
        assert_eq!(response(&answer, ToRequest::Other).keep_alive, expected, "{version} {lines}");
    }
}

#[test]
fn a_client_waits_only_for_a_body_it_will_send_by_http_1_1() {
    let rows = [
        ("HTTP/1.1", "Expect: 100-Continue\r\nContent-Length: 5\r\n", true),
        ("HTTP/1.1", "Expect: 100-continue\r\n", false),
        ("HTTP/1.1", "Expect: 200-ok\r\nContent-Length: 5\r\n", false),
        ("HTTP/1.0", "Expect: 100-continue\r\nContent-Length: 5\r\n", false),
    ];
    for (version, lines, expected) in rows {
        let head = request(&format!("POST / {version}\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(head.expects_continue, expected, "{version} {lines}");
    }
}

#[test]
fn only_a_proper_change_to_websocket_is_an_upgrade() {
    let rows = [
        ("GET / HTTP/1.1", "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n", true),
        ("GET / HTTP/1.1", "Upgrade: websocket\r\n", false),
        ("GET / HTTP/1.1", "Connection: upgrade\r\n", false),
        ("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: h2c\r\n", false),
        ("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n", false),
        ("GET / HTTP/1.1", "Connection: upgrade\r\nUpgrade: h2c\r\nUpgrade: websocket\r\n", false),
        ("POST / HTTP/1.1", "Connection: upgrade\r\nUpgrade: websocket\r\n", false),
        ("GET / HTTP/1.0", "Connection: upgrade\r\nUpgrade: websocket\r\n", false),
    ];
    for (line, lines, expected) in rows {
        let head = request(&format!("{line}\r\nHost: a\r\n{lines}\r\n"));
        assert_eq!(head.upgrade, expected, "{line} {lines}");
    }
}

#[test]
fn the_body_of_a_response_ends_where_status_and_request_say() {
    use Framing::{Chunked, Length, None, UntilClose};
    use ToRequest::{Head, Other};
    let rows = [
        ("200 OK", "Content-Length: 5\r\n", Other, Length(5)),
        ("200 OK", "Content-Length: 5\r\n", Head, None),
        ("200 OK", "Transfer-Encoding: Chunked\r\n", Other, Chunked),
        ("200 OK", "Transfer-Encoding: chunked\r\n", Head, None),
        ("200", "", Other, UntilClose),
        ("200 ", "", Head, None),
        ("100 Continue", "Content-Length: 5\r\n", Other, None),
        ("101 Switching", "Transfer-Encoding: chunked\r\n", Other, None),
        ("204 No Content", "Content-Length: 5\r\n", Other, None),
        ("304 Not Modified", "Content-Length: 5\r\n", Other, None),
        ("205 Reset", "", Other, UntilClose),
        ("999 \u{e4}", "Content-Length: 0\r\n", Other, Length(0)),
    ];
    for (status, lines, to, expected) in rows {
        let head = response(&format!("HTTP/1.1 {status}\r\n{lines}\r\n"), to);
        assert_eq!(head.framing, expected, "{status} {lines}");
        assert_eq!(head.keep_alive, expected != UntilClose, "{status} {lines}");
    }
}

#[test]
fn interim_responses_are_told_from_final_ones() {
    for (status, is_interim, is_upgrade) in
        [(100, true, false), (101, false, true), (103, true, false), (200, false, false)]
    {
        let head = response(&format!("HTTP/1.1 {status} X\r\n\r\n"), ToRequest::Other);
        assert_eq!(head.status, status);
        assert_eq!((head.is_interim(), head.is_upgrade()), (is_interim, is_upgrade), "{status}");
    }
}

#[test]
fn lines_beyond_the_inline_room_are_kept() {
    let lines: String = (0..60).map(|number| format!("X-{number}: {number}\r\n")).collect();
    let bytes = format!("GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let head = request(&bytes);
    assert_eq!(head.headers.iter().count(), 61);
    let last = head.headers.iter().last().unwrap();
    assert_eq!(last.value.of(bytes.as_bytes()), b"59");
}
