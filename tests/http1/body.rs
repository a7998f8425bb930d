//! The ends of bodies, and what of them is body.

use crate::http1::{
    BadBody, BodyTracker, EXTENSION_BYTES_MAX, Framing, HEADERS_MAX, Progress, TRAILER_BYTES_MAX,
};

fn chunked(bytes: impl AsRef<[u8]>) -> (Result<Progress, BadBody>, BodyTracker, Vec<u8>) {
    let mut tracker = BodyTracker::new(Framing::Chunked);
    let mut plain = Vec::new();
    let bytes = bytes.as_ref();
    let progress = tracker.advance_with(bytes, |range| plain.extend_from_slice(&bytes[range]));
    (progress, tracker, plain)
}

#[test]
fn chunks_that_others_could_read_otherwise_are_refused() {
    use BadBody::{Extension, LineEnd, Size, Trailer, TrailerName};
    let rows: &[(&str, &str, BadBody)] = &[
        ("no size", "\r\n", Size),
        ("extension without a size", ";a\r\n", Size),
        ("plus", "+5\r\n", Size),
        ("minus", "-5\r\n", Size),
        ("0x", "0x5\r\n", Size),
        ("underscore", "1_0\r\n", Size),
        ("space before the size", " 5\r\n", Size),
        ("space behind the size", "5 \r\n", Size),
        ("tab behind the size", "5\t\r\n", Size),
        ("space before an extension", "5 ;a\r\n", Size),
        ("2^64", "10000000000000000\r\n", Size),
        ("2^64 + 5", "10000000000000005\r\n", Size),
        ("zeros before", "00000000000000005\r\n", Size),
        ("no digit", "g\r\n", Size),
        ("NUL in a size", "5\0\r\n", Size),
        ("size with bare LF", "5\nhello\r\n", Size),
        ("size with bare CR", "5\rhello\r\n", LineEnd),
        ("extension with bare LF", "5;a\nhello\r\n", Extension),
        ("extension with bare CR", "5;a\rb\r\nhello\r\n", LineEnd),
        ("extension with CR CR LF", "5;a\r\r\nhello\r\n", LineEnd),
        ("extension with CR in quotes", "5;a=\"\rb\"\r\nhello\r\n", LineEnd),
        ("extension with LF in quotes", "5;a=\"\n\"\r\nhello\r\n", Extension),
        ("extension with NUL", "5;\0\r\n", Extension),
        ("chunk without CR LF", "5\r\nhello0\r\n\r\n", LineEnd),
        ("chunk with bare LF", "5\r\nhello\n0\r\n\r\n", LineEnd),
        ("chunk with CR CR", "5\r\nhello\r\r", LineEnd),
        ("chunk longer than its size", "4\r\nhello\r\n", LineEnd),
        ("end with bare LF", "0\r\n\n", Trailer),
        ("end with bare CR", "0\r\n\rGET / HTTP/1.1", LineEnd),
        ("request in place of the end", "0\r\nGET / HTTP/1.1\r\n\r\n", Trailer),
        ("trailer without a colon", "0\r\nabc\r\n\r\n", Trailer),
        ("trailer without a name", "0\r\n: a\r\n\r\n", Trailer),
        ("trailer with space before the colon", "0\r\na : b\r\n\r\n", Trailer),
        ("folded trailer", "0\r\na: b\r\n c\r\n\r\n", Trailer),
        ("trailer with bare LF", "0\r\na: b\n\r\n", Trailer),
        ("trailer with bare CR", "0\r\na: b\rc\r\n", LineEnd),
        ("trailer with NUL", "0\r\na: \0\r\n\r\n", Trailer),
        ("length as a trailer", "0\r\nContent-Length: 5\r\n\r\n", TrailerName),
        ("coding as a trailer", "0\r\ntransfer-encoding: chunked\r\n\r\n", TrailerName),
        ("disguised length as a trailer", "0\r\nContent_Length: 5\r\n\r\n", TrailerName),
        ("host as a trailer", "0\r\na: b\r\nHost: a\r\n\r\n", TrailerName),
        ("hop as a trailer", "0\r\nX-Astromesh-Hop: 0\r\n\r\n", TrailerName),
    ];
    for (name, bytes, expected) in rows {
        let (refused, mut tracker, _) = chunked(bytes);
        assert_eq!(refused, Err(*expected), "{name}");
        assert_eq!(tracker.advance(b"0\r\n\r\n"), Err(*expected), "{name}: it stays refused");
        assert!(!tracker.is_done() && !tracker.may_close() && !tracker.is_at_boundary(), "{name}");
    }
}

#[test]
fn chunks_are_passed_to_their_end_and_no_further() {
    type Row = (&'static str, &'static str, &'static str);
    let rows: &[Row] = &[
        ("empty", "0\r\n\r\n", ""),
        ("one", "5\r\nhello\r\n0\r\n\r\n", "hello"),
        ("two", "5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", "hello world"),
        ("large letters", "A\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("zeros before", "0005\r\nhello\r\n0000\r\n\r\n", "hello"),
        ("extension", "5;a=b;c=\"d\u{e4}\t\"\r\nhello\r\n0;e\r\n\r\n", "hello"),
        ("trailers", "1\r\na\r\n0\r\nX-Sum: 1 2\r\nEmpty:\r\n\r\n", "a"),
        ("framing within", "7\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n", "\r\n0\r\n\r\n"),
    ];
    for (name, bytes, plain) in rows {
        let stream = format!("{bytes}GET / HTTP/1.1\r\n");
        let (progress, tracker, found) = chunked(&stream);
        assert_eq!(progress, Ok(Progress { taken: bytes.len(), is_done: true }), "{name}");
        assert_eq!(found, plain.as_bytes(), "{name}");
        assert_eq!(tracker.body_bytes(), plain.len() as u64, "{name}");
        for cut in 0..bytes.len() {
            let (progress, tracker, _) = chunked(&bytes.as_bytes()[..cut]);
            assert_eq!(progress, Ok(Progress { taken: cut, is_done: false }), "{name} at {cut}");
            assert!(!tracker.may_close(), "{name} at {cut}");
        }
    }
}

#[test]
fn what_is_no_body_is_limited() {
    let most = usize::try_from(EXTENSION_BYTES_MAX).unwrap();
    let extended = |count: usize| format!("1;{}\r\n", "a".repeat(count - 2));
    // The line end counts as one.
    assert!(chunked(extended(most)).0.is_ok());
    assert_eq!(chunked(extended(most + 2)).0, Err(BadBody::ExtensionsTooLong));
    let many = "1;aaaaaaa\r\nx\r\n".repeat(most / 8);
    assert_eq!(chunked(many).0, Err(BadBody::ExtensionsTooLong));

    let lines = |count: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(count));
    assert!(chunked(lines(HEADERS_MAX)).0.unwrap().is_done);
    assert_eq!(chunked(lines(HEADERS_MAX + 1)).0, Err(BadBody::TrailersTooLong));
    let most = usize::try_from(TRAILER_BYTES_MAX).unwrap();
    let long = |count: usize| format!("0\r\na:{}\r\n\r\n", "b".repeat(count - 2));
    assert!(chunked(long(most)).0.unwrap().is_done);
    assert_eq!(chunked(long(most + 1)).0, Err(BadBody::TrailersTooLong));
    let name = "a".repeat(most + 1);
    assert_eq!(chunked(format!("0\r\n{name}")).0, Err(BadBody::TrailersTooLong));
}

#[test]
fn the_largest_chunk_is_counted_without_overflow() {
    let (progress, tracker, _) = chunked("ffffffffffffffff\r\nab");
    assert_eq!(progress, Ok(Progress { taken: 20, is_done: false }));
    assert_eq!(tracker.missing_in_chunk(), u64::MAX - 2);
}

#[test]
fn a_cut_chunk_says_what_it_lacks() {
    let rows: &[(&str, u64, Option<&[u8]>)] = &[
        ("", 0, Some(b"")),
        ("5", 0, None),
        ("5;a", 0, None),
        ("5\r", 0, None),
        ("5\r\n", 5, Some(b"\r\n")),
        ("5\r\nhel", 2, Some(b"\r\n")),
        ("5\r\nhello", 0, Some(b"\r\n")),
        ("5\r\nhello\r", 0, Some(b"\n")),
        ("5\r\nhello\r\n", 0, Some(b"")),
        ("5\r\nhello\r\n0\r\n", 0, None),
        ("5\r\nhello\r\n0\r\na: b", 0, None),
        ("5\r\nhello\r\n0\r\n\r\n", 0, None),
    ];
    for (bytes, missing, end) in rows {
        let (_, mut tracker, _) = chunked(bytes);
        assert_eq!(tracker.missing_in_chunk(), *missing, "{bytes:?}");
        assert_eq!(tracker.chunk_end(), *end, "{bytes:?}");
        assert_eq!(tracker.is_at_boundary(), *end == Some(b""), "{bytes:?}");
        if let Some(end) = end {
            // Written as told, the stream takes a chunk of our own and an end.
            let filler = vec![b'\n'; usize::try_from(*missing).unwrap()];
            let mended = [&filler, *end, b"3\r\nend\r\n0\r\n\r\n"].concat();
            assert!(tracker.advance(&mended).unwrap().is_done, "{bytes:?}");
        }
    }
}

#[test]
fn after_something_malformed_there_is_a_way_back_to_where_it_begins() {
    // What was read before, what is read now, how much of that is good, and what ends the body there.
    type Row = (&'static str, &'static str, usize, Option<&'static [u8]>);
    let rows: [Row; 7] = [
        ("", "5\r\nhello\r\n5x\r\n", 10, Some(b"")),
        ("", "5\r\nhello\r\nx", 10, Some(b"")),
        ("", "5\r\nhelloX", 8, Some(b"\r\n")),
        ("5\r\nhello", "\rX", 1, Some(b"\n")),
        ("5\r\nhello", "\r\n0\r\nno trailer\r\n", 2, Some(b"")),
        ("5\r\nhello\r\n", "x", 0, Some(b"")),
        ("5\r\nhello\r\n5", "x", 0, None),
    ];
    for (before, now, good, end) in rows {
        let mut tracker = BodyTracker::new(Framing::Chunked);
        tracker.advance(before.as_bytes()).unwrap();
        tracker.advance(now.as_bytes()).unwrap_err();
        assert_eq!(tracker.chunk_end(), None, "{before:?} {now:?}");
        assert_eq!((tracker.retreat(), tracker.chunk_end()), (good, end), "{before:?} {now:?}");
    }
}

#[test]
fn bodies_without_chunks_end_by_count_or_by_closing() {
    let mut tracker = BodyTracker::new(Framing::Length(5));
    assert_eq!(tracker.advance(b"hel"), Ok(Progress { taken: 3, is_done: false }));
    assert_eq!((tracker.missing_in_chunk(), tracker.chunk_end()), (2, None));
    assert!(!tracker.may_close() && !tracker.is_at_boundary());
    assert_eq!(tracker.advance(b"lo!"), Ok(Progress { taken: 2, is_done: true }));
    assert_eq!(tracker.advance(b"!"), Ok(Progress { taken: 0, is_done: true }));
    assert_eq!(tracker.body_bytes(), 5);

    let mut tracker = BodyTracker::new(Framing::UntilClose);
    assert_eq!(tracker.advance(b"hello"), Ok(Progress { taken: 5, is_done: false }));
    assert!(tracker.may_close() && tracker.is_at_boundary());

    for framing in [Framing::None, Framing::Length(0)] {
        let mut tracker = BodyTracker::new(framing);
        assert!(tracker.is_done() && tracker.may_close());
        assert_eq!(tracker.advance(b"GET"), Ok(Progress { taken: 0, is_done: true }));
    }
}
