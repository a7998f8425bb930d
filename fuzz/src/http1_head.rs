//! Any bytes as a head: no panic, and what is accepted has one meaning, kept when it is written on.

use bytes::BytesMut;

use crate::http1::{
    BodyForm, Framing, HEAD_BYTES_MAX, HEADERS_MAX, Headers, Known, KnownSet, RequestEdit,
    RequestHead, ResponseEdit, ToRequest, Version, parse_request, parse_response, write_request,
    write_response,
};

/// Reads the bytes as a request, and as a response to both kinds of requests.
pub fn http1_head(bytes: &[u8]) {
    check_request(bytes);
    check_response(bytes, ToRequest::Other);
    check_response(bytes, ToRequest::Head);
}

/// What ends at each hop, in words of its own.
const ENDS: [Known; 4] = [Known::Connection, Known::KeepAlive, Known::ProxyConnection, Known::Te];

fn check_request(bytes: &[u8]) {
    let Ok(Some(head)) = parse_request(bytes) else { return };
    check_lines(bytes, head.length);
    let own = &bytes[..head.length];
    assert_eq!(parse_request(own), Ok(Some(head.clone())), "it depends on what follows");
    assert_eq!(parse_request(&own[..head.length - 1]), Ok(None), "whole before its end");
    let hosts = count(&head.headers, Known::Host);
    assert!(hosts == 1 || (hosts == 0 && head.version == Version::Http10), "{hosts} hosts");
    check_framing(&head.headers, head.framing);
    assert_ne!(head.framing, Framing::UntilClose, "a request cannot end by closing");
    if !has_room(&head.headers, head.length) {
        return;
    }

    let plain = rewrite_request(&head, bytes, &RequestEdit::default());
    let again = parse_request(&plain).expect("what was written is fine").expect("and whole");
    assert_eq!(again.length, plain.len(), "more was written than a head");
    assert_eq!(meaning(&again, &plain), meaning(&head, bytes), "another request");
    assert_eq!(again.version, Version::Http11);
    let mut dropped = ENDS.to_vec();
    if !head.upgrade {
        dropped.push(Known::Upgrade);
    }
    if head.version == Version::Http10 {
        dropped.push(Known::Expect);
    }
    if head.upgrade || !head.headers.has(Known::Host) {
        assert!(!again.headers.has(Known::KeepAlive));
    } else {
        let stay = staying(&head.headers, bytes, &dropped);
        assert_eq!(staying(&again.headers, &plain, &[]), stay, "other headers");
    }
    let twice = rewrite_request(&again, &plain, &RequestEdit::default());
    assert_eq!(twice, plain, "a second hop changed something");

    let edit = RequestEdit {
        authority: Some("worker:1"),
        add: &[("x-astromesh-hop", b"1")],
        drop: KnownSet::of(&[Known::Hop]),
        ..RequestEdit::default()
    };
    let edited = rewrite_request(&head, bytes, &edit);
    let again = parse_request(&edited).expect("what was edited is fine").expect("and whole");
    assert_eq!((again.length, again.framing), (edited.len(), head.framing), "another body");
    assert_eq!(again.authority(&edited), Some(&b"worker:1"[..]));
    assert_eq!(count(&again.headers, Known::Hop), 1, "a hop of the client's came through");
    assert_eq!(again.headers.value(Known::Hop, &edited), Some(&b"1"[..]));
}

fn check_response(bytes: &[u8], to: ToRequest) {
    let Ok(Some(head)) = parse_response(bytes, to) else { return };
    check_lines(bytes, head.length);
    let own = &bytes[..head.length];
    assert_eq!(parse_response(own, to), Ok(Some(head.clone())), "it depends on what follows");
    assert_eq!(parse_response(&own[..head.length - 1], to), Ok(None), "whole before its end");
    let is_bodiless = to == ToRequest::Head || matches!(head.status, 100..=199 | 204 | 304);
    match head.framing {
        Framing::None => assert!(is_bodiless, "a body is not seen"),
        Framing::Length(_) | Framing::Chunked => check_framing(&head.headers, head.framing),
        Framing::UntilClose => {
            check_framing(&head.headers, Framing::None);
            assert!(!head.keep_alive, "it ends by closing and stays open");
        }
    }
    if !has_room(&head.headers, head.length) {
        return;
    }
    for body in [BodyForm::Same, BodyForm::Plain, BodyForm::Chunked] {
        let mut out = BytesMut::new();
        let edit = ResponseEdit { body, ..ResponseEdit::default() };
        write_response(&mut out, &head, bytes, &edit);
        let again = parse_response(&out, to).expect("what was written is fine").expect("and whole");
        assert_eq!((again.length, again.status), (out.len(), head.status), "another response");
        let expected = match (body, head.framing) {
            (BodyForm::Plain, Framing::Chunked) => Framing::UntilClose,
            (BodyForm::Chunked, Framing::UntilClose) => Framing::Chunked,
            (BodyForm::Same | BodyForm::Plain | BodyForm::Chunked, framing) => framing,
        };
        assert_eq!(again.framing, expected, "another body as {body:?}");
        if again.framing == Framing::UntilClose {
            assert_eq!(again.headers.value(Known::Connection, &out), Some(&b"close"[..]));
        }
    }
}

/// What a request means to whoever serves it.
#[derive(Debug, PartialEq)]
struct Meaning<'a> {
    method: &'a [u8],
    path: &'a [u8],
    query: Option<&'a [u8]>,
    authority: Option<Vec<u8>>,
    framing: Framing,
    expects_continue: bool,
    upgrade: bool,
}

fn meaning<'a>(head: &RequestHead, buffer: &'a [u8]) -> Meaning<'a> {
    let authority = head.authority(buffer).filter(|authority| !authority.is_empty());
    Meaning {
        method: head.method_text.of(buffer),
        path: head.path(buffer),
        query: head.query(buffer),
        authority: authority.map(<[u8]>::to_ascii_lowercase),
        framing: head.framing,
        expects_continue: head.expects_continue,
        upgrade: head.upgrade,
    }
}

fn rewrite_request(head: &RequestHead, buffer: &[u8], edit: &RequestEdit<'_>) -> BytesMut {
    let mut out = BytesMut::new();
    write_request(&mut out, head, buffer, edit);
    out
}

/// Whether a few lines more keep to the limits.
fn has_room(headers: &Headers, length: usize) -> bool {
    headers.iter().count() + 4 <= HEADERS_MAX && length + 256 <= HEAD_BYTES_MAX
}

fn count(headers: &Headers, known: Known) -> usize {
    headers.iter().filter(|header| header.known == known).count()
}

/// Each line ends in CR LF, and neither of the two is anywhere else.
fn check_lines(bytes: &[u8], length: usize) {
    assert!(length <= bytes.len().min(HEAD_BYTES_MAX), "longer than what was read");
    let own = &bytes[..length];
    assert!(own.ends_with(b"\r\n\r\n"), "no empty line at the end");
    assert!(!own.contains(&0), "a NUL came through");
    let returns = own.iter().filter(|byte| **byte == b'\r').count();
    let feeds = own.iter().filter(|byte| **byte == b'\n').count();
    let ends = own.windows(2).filter(|pair| pair == b"\r\n").count();
    assert!(returns == ends && feeds == ends, "a lone CR or LF");
}

/// The one header that frames, or none.
fn check_framing(headers: &Headers, framing: Framing) {
    let expected = match framing {
        Framing::None | Framing::UntilClose => (0, 0),
        Framing::Length(_) => (1, 0),
        Framing::Chunked => (0, 1),
    };
    let found = (count(headers, Known::ContentLength), count(headers, Known::TransferEncoding));
    assert_eq!(found, expected, "framed by two, or by none");
}

/// The lines that do not end at a hop, neither by their own name nor named by `Connection`.
fn staying<'a>(
    headers: &Headers,
    buffer: &'a [u8],
    dropped: &[Known],
) -> Vec<(&'a [u8], &'a [u8])> {
    let mut named: Vec<Vec<u8>> = Vec::new();
    for header in headers.iter().filter(|header| header.known == Known::Connection) {
        let value = header.value.of(buffer).to_ascii_lowercase();
        named.extend(value.split(|byte| *byte == b',').map(|name| name.trim_ascii().to_vec()));
    }
    let frames = [Known::Host, Known::ContentLength, Known::TransferEncoding];
    let stays = |name: &[u8], known: Known| {
        let is_named = named.contains(&name.to_ascii_lowercase()) && !frames.contains(&known);
        (known == Known::Other || !dropped.contains(&known)) && !is_named
    };
    headers
        .iter()
        .map(|header| (header.name.of(buffer), header.value.of(buffer), header.known))
        .filter(|(name, _, known)| stays(name, *known))
        .map(|(name, value, _)| (name, value))
        .collect()
}
