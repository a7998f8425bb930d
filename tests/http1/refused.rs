//! Heads that are refused, each with the reason; most of them are ways to smuggle a request past a
//! proxy, from the papers and advisories of the last twenty years.

use crate::http1::{
    BadHead, CONNECTION_OPTIONS_MAX, HEAD_BYTES_MAX, HEADERS_MAX, ToRequest, parse_request,
    parse_response,
};

/// A request with these lines after a proper first line and host.
fn with(lines: &str) -> String {
    format!("POST /v1/agents/a/run HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n")
}

fn check_request(name: &str, bytes: impl AsRef<[u8]>, expected: BadHead) {
    assert_eq!(parse_request(bytes.as_ref()), Err(expected), "{name}");
}

#[test]
fn two_readings_of_the_body_are_refused() {
    use BadHead::{ContentLength, Disguise, TransferEncoding, TwoFramings};
    let rows: &[(&str, &str, BadHead)] = &[
        ("length before chunks", "Content-Length: 5\r\nTransfer-Encoding: chunked", TwoFramings),
        ("chunks before length", "Transfer-Encoding: chunked\r\nContent-Length: 5", TwoFramings),
        ("chunks and no bytes", "Transfer-Encoding: chunked\r\nContent-Length: 0", TwoFramings),
        ("differing lengths", "Content-Length: 5\r\nContent-Length: 6", ContentLength),
        ("the same length twice", "Content-Length: 5\r\nContent-Length: 5", ContentLength),
        ("lengths in one line", "Content-Length: 5, 5", ContentLength),
        ("plus", "Content-Length: +5", ContentLength),
        ("minus", "Content-Length: -5", ContentLength),
        ("space inside", "Content-Length: 1 2", ContentLength),
        ("hexadecimal", "Content-Length: 0x5", ContentLength),
        ("fraction", "Content-Length: 5.0", ContentLength),
        ("exponent", "Content-Length: 1e1", ContentLength),
        ("underscore inside", "Content-Length: 1_0", ContentLength),
        ("semicolon", "Content-Length: 5;", ContentLength),
        ("quoted", "Content-Length: \"5\"", ContentLength),
        ("no number", "Content-Length: five", ContentLength),
        ("other digits", "Content-Length: \u{0665}", ContentLength),
        ("empty", "Content-Length:", ContentLength),
        ("2^64", "Content-Length: 18446744073709551616", ContentLength),
        ("2^64 + 5", "Content-Length: 18446744073709551621", ContentLength),
        ("identity", "Transfer-Encoding: identity", TransferEncoding),
        ("gzip first", "Transfer-Encoding: gzip, chunked", TransferEncoding),
        ("chunked first", "Transfer-Encoding: chunked, identity", TransferEncoding),
        ("twice in a line", "Transfer-Encoding: chunked, chunked", TransferEncoding),
        (
            "twice in two lines",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            TransferEncoding,
        ),
        (
            "another coding in a second line",
            "Transfer-Encoding: chunked\r\nTransfer-encoding: cow",
            TransferEncoding,
        ),
        ("letter before", "Transfer-Encoding: xchunked", TransferEncoding),
        ("letter behind", "Transfer-Encoding: chunkedx", TransferEncoding),
        ("quoted coding", "Transfer-Encoding: \"chunked\"", TransferEncoding),
        ("single quotes", "Transfer-Encoding: 'chunked'", TransferEncoding),
        ("parameter", "Transfer-Encoding: chunked;a=b", TransferEncoding),
        ("comma behind", "Transfer-Encoding: chunked,", TransferEncoding),
        ("comma before", "Transfer-Encoding: ,chunked", TransferEncoding),
        ("no coding", "Transfer-Encoding:", TransferEncoding),
        ("no-break space", "Transfer-Encoding: \u{a0}chunked", TransferEncoding),
        ("underscore for length", "Content_Length: 5", Disguise),
        ("underscore for coding", "transfer_encoding: chunked", Disguise),
    ];
    for (name, lines, expected) in rows {
        check_request(name, with(lines), *expected);
    }
}

#[test]
fn lines_that_end_or_begin_in_another_place_for_others_are_refused() {
    use BadHead::{FirstLine, HeaderName, HeaderValue, LineEnd};
    let rows: &[(&str, &str, BadHead)] = &[
        ("space before the colon", "Transfer-Encoding : chunked", HeaderName),
        ("tab before the colon", "Content-Length\t: 5", HeaderName),
        ("folded line", "X: a\r\n Transfer-Encoding: chunked", HeaderName),
        ("folded by a tab", "X: a\r\n\tb", HeaderName),
        ("space before the name", "X: a\r\n Content-Length: 5", HeaderName),
        ("folded coding", "Transfer-Encoding:\r\n chunked", HeaderName),
        ("bare LF", "X: a\nTransfer-Encoding: chunked", LineEnd),
        ("bare CR", "X: a\rTransfer-Encoding: chunked", HeaderValue),
        ("CR CR LF", "X: a\r\r\nTransfer-Encoding: chunked", HeaderValue),
        ("empty line of bare LF", "X: a\n\nGET / HTTP/1.1", LineEnd),
        ("empty line of CR", "X: a\r\n\rY: b", LineEnd),
        ("NUL in a value", "X: a\0b", HeaderValue),
        ("NUL before a coding", "Transfer-Encoding: \0chunked", HeaderValue),
        ("vertical tab", "Transfer-Encoding: \x0bchunked", HeaderValue),
        ("form feed", "Transfer-Encoding: chunked\x0c", HeaderValue),
        ("backspace", "X: \x08", HeaderValue),
        ("DEL", "X: \x7f", HeaderValue),
        ("NUL in a name", "X\0: a", HeaderName),
        ("no colon", "Transfer-Encoding chunked", HeaderName),
        ("no name", ": chunked", HeaderName),
        ("bytes beyond ASCII in a name", "Transfer\u{ad}-Encoding: chunked", HeaderName),
        ("bracket in a name", "Transfer[Encoding: chunked", HeaderName),
        ("quote in a name", "\"Transfer-Encoding\": chunked", HeaderName),
    ];
    for (name, lines, expected) in rows {
        let refused = parse_request(with(lines).as_bytes());
        assert_eq!(refused, Err(*expected), "{name}");
    }
    let rows: &[(&str, &str, BadHead)] = &[
        ("first line with bare LF", "GET / HTTP/1.1\nHost: a\r\n\r\n", LineEnd),
        ("last line with bare LF", "GET / HTTP/1.1\r\nHost: a\n\r\n", LineEnd),
        ("end of bare LF", "GET / HTTP/1.1\r\nHost: a\r\n\n", LineEnd),
        ("all of bare LF", "GET / HTTP/1.1\nHost: a\n\n", LineEnd),
        ("two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", LineEnd),
        ("empty line of LF before", "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", LineEnd),
        ("space before the method", " GET / HTTP/1.1\r\nHost: a\r\n\r\n", FirstLine),
        ("folded first header", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", HeaderName),
    ];
    for (name, bytes, expected) in rows {
        check_request(name, bytes, *expected);
    }
}

#[test]
fn first_lines_that_are_none_of_ours_are_refused() {
    use BadHead::{FirstLine, Method, Target, Version};
    let rows: &[(&str, &str, BadHead)] = &[
        ("HTTP/0.9", "GET /", FirstLine),
        ("HTTP/0.9 in words", "GET / HTTP/0.9", Version),
        ("HTTP/1.2", "GET / HTTP/1.2", Version),
        ("HTTP/2.0", "PRI * HTTP/2.0", Version),
        ("HTTP/11", "GET / HTTP/11", Version),
        ("HTTP/1.10", "GET / HTTP/1.10", BadHead::LineEnd),
        ("small letters", "GET / http/1.1", Version),
        ("another protocol", "GET / ICY/1.1", Version),
        ("space behind the version", "GET / HTTP/1.1 ", BadHead::LineEnd),
        ("two spaces", "GET  / HTTP/1.1", FirstLine),
        ("two spaces before the version", "GET /  HTTP/1.1", Version),
        ("tabs", "GET\t/\tHTTP/1.1", FirstLine),
        ("two versions", "GET / HTTP/1.1 HTTP/1.1", BadHead::LineEnd),
        ("space in the target", "GET /a b HTTP/1.1", Version),
        ("NUL in the target", "GET /\0 HTTP/1.1", FirstLine),
        ("no method", "/ HTTP/1.1", FirstLine),
        ("CONNECT", "CONNECT a:443 HTTP/1.1", Method),
        ("TRACE", "TRACE / HTTP/1.1", Method),
        ("authority alone", "GET a:80 HTTP/1.1", Target),
        ("no slash", "GET v1/agents HTTP/1.1", Target),
        ("star for GET", "GET * HTTP/1.1", Target),
        ("star and more", "OPTIONS *a HTTP/1.1", Target),
        ("fragment", "GET /a#b HTTP/1.1", Target),
        ("fragment after a query", "GET /a?b#c HTTP/1.1", Target),
        ("another scheme", "GET ftp://a/ HTTP/1.1", Target),
        ("no authority", "GET http:///b HTTP/1.1", Target),
        ("user", "GET http://me@a/ HTTP/1.1", Target),
        ("backslash in the authority", "GET http://a\\@b/ HTTP/1.1", Target),
    ];
    for (name, line, expected) in rows {
        check_request(name, format!("{line}\r\nHost: a\r\n\r\n"), *expected);
    }
}

#[test]
fn hosts_that_others_could_read_otherwise_are_refused() {
    use BadHead::{Host, HostMismatch, HostMissing};
    let rows: &[(&str, &str, BadHead)] = &[
        ("missing", "GET / HTTP/1.1\r\n\r\n", HostMissing),
        ("only in the target", "GET http://a/ HTTP/1.1\r\n\r\n", HostMissing),
        ("two", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Host),
        ("the same twice", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Host),
        ("two in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", Host),
        ("list", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", Host),
        ("space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", Host),
        ("path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", Host),
        ("user", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", Host),
        ("query", "GET / HTTP/1.1\r\nHost: a?b\r\n\r\n", Host),
        ("target says other", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
        ("target says port", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
        ("target says longer", "GET http://a.b/ HTTP/1.1\r\nHost: a\r\n\r\n", HostMismatch),
        ("empty", "GET http://a/ HTTP/1.1\r\nHost:\r\n\r\n", HostMismatch),
        ("old, other", "GET http://b/ HTTP/1.0\r\nHost: a\r\n\r\n", HostMismatch),
    ];
    for (name, bytes, expected) in rows {
        check_request(name, bytes, *expected);
    }
}

#[test]
fn upgrades_with_a_body_and_chunks_of_old_clients_are_refused() {
    let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let refused = BadHead::UpgradeWithBody;
    check_request("length", with(&format!("{upgrade}Content-Length: 5")), refused);
    check_request("chunks", with(&format!("{upgrade}Transfer-Encoding: chunked")), refused);
    let old = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    check_request("chunks in HTTP/1.0", old, BadHead::TransferEncoding);
    let old = "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
    check_request("both in HTTP/1.0", old, BadHead::TwoFramings);
}

#[test]
fn heads_beyond_the_limits_are_refused() {
    let line = |length: usize| with(&format!("X: {}", "a".repeat(length)));
    let rest = line(0).len();
    let largest = line(HEAD_BYTES_MAX - rest);
    assert_eq!(parse_request(largest.as_bytes()).unwrap().unwrap().length, HEAD_BYTES_MAX);
    let longer = line(HEAD_BYTES_MAX - rest + 1);
    check_request("a byte too long", &longer, BadHead::TooLong);
    check_request("without an end", &longer[..HEAD_BYTES_MAX], BadHead::TooLong);
    check_request("empty lines", "\r\n".repeat(HEAD_BYTES_MAX / 2), BadHead::TooLong);
    assert_eq!(parse_request(&longer.as_bytes()[..HEAD_BYTES_MAX - 1]), Ok(None));

    let lines = |count: usize| with(vec!["X: a"; count].join("\r\n").as_str());
    assert!(parse_request(lines(HEADERS_MAX - 1).as_bytes()).unwrap().is_some());
    check_request("a header too many", lines(HEADERS_MAX), BadHead::TooManyHeaders);

    let options = |count: usize| with(&format!("Connection: {}", vec!["x"; count].join(",")));
    assert!(parse_request(options(CONNECTION_OPTIONS_MAX).as_bytes()).unwrap().is_some());
    let more = options(CONNECTION_OPTIONS_MAX + 1);
    check_request("an option too many", more, BadHead::TooManyOptions);
}

#[test]
fn responses_that_others_could_read_otherwise_are_refused() {
    use BadHead::{
        ContentLength, Disguise, FirstLine, HeaderName, HeaderValue, LineEnd, Status,
        TransferEncoding, TwoFramings, Version,
    };
    let rows: &[(&str, &str, BadHead)] = &[
        (
            "both framings",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5",
            TwoFramings,
        ),
        (
            "differing lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6",
            ContentLength,
        ),
        ("list of lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5, 5", ContentLength),
        ("another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", TransferEncoding),
        ("two codings", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", TransferEncoding),
        ("chunks in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", TransferEncoding),
        ("bad length where none counts", "HTTP/1.1 204 No\r\nContent-Length: x", ContentLength),
        ("underscore", "HTTP/1.1 200 OK\r\nContent_Length: 5", Disguise),
        ("folded line", "HTTP/1.1 200 OK\r\nX: a\r\n b", HeaderName),
        ("space before the colon", "HTTP/1.1 200 OK\r\nContent-Length : 5", HeaderName),
        ("bare LF", "HTTP/1.1 200 OK\r\nX: a\nY: b", LineEnd),
        ("bare LF in the first line", "HTTP/1.1 200 OK\nX: a", LineEnd),
        ("bare CR", "HTTP/1.1 200 OK\r\nX: a\rY: b", HeaderValue),
        ("NUL", "HTTP/1.1 200 OK\r\nX: a\0", HeaderValue),
        ("CR in the reason", "HTTP/1.1 200 O\rK", Status),
        ("empty line before", "\r\nHTTP/1.1 200 OK", FirstLine),
        ("HTTP/2", "HTTP/2 200", Version),
        ("HTTP/1.2", "HTTP/1.2 200 OK", Version),
        ("no HTTP", "ICY 200 OK", FirstLine),
        ("two digits", "HTTP/1.1 20 OK", Status),
        ("four digits", "HTTP/1.1 2000 OK", Status),
        ("below 100", "HTTP/1.1 099 OK", Status),
        ("no status", "HTTP/1.1 OK", Status),
    ];
    for (name, bytes, expected) in rows {
        let bytes = format!("{bytes}\r\n\r\n");
        let refused = parse_response(bytes.as_bytes(), ToRequest::Other);
        assert_eq!(refused.map(|_| ()), Err(*expected), "{name}");
        let refused = parse_response(bytes.as_bytes(), ToRequest::Head);
        assert_eq!(refused.map(|_| ()), Err(*expected), "{name}, to HEAD");
    }
}

#[test]
fn each_refusal_has_a_status_of_the_client_or_says_what_is_missing() {
    assert_eq!(BadHead::TooLong.status(), 431);
    assert_eq!(BadHead::Version.status(), 505);
    assert_eq!(BadHead::TransferEncoding.status(), 501);
    assert_eq!(BadHead::TwoFramings.status(), 400);
}
