//! Any bytes as a chunked body: no panic, the same end however the bytes are cut, and the same
//! content as a reader that has the whole at once.

use crate::http1::{BadBody, BodyTracker, Framing, HEADERS_MAX, Known, Progress};

/// Below all limits on what is no body, so that the plain reader needs none of them.
const BYTES_MAX: usize = 4096;

/// The first byte says how the rest is cut.
pub fn http1_body(bytes: &[u8]) {
    let Some((seed, stream)) = bytes.split_first() else { return };
    let stream = &stream[..stream.len().min(BYTES_MAX)];
    let whole = follow(stream, stream.len().max(1));
    assert_eq!(follow(stream, usize::from(seed % 7) + 1), whole, "it depends on the cuts");
    match (unpack(stream), &whole.progress) {
        (Some((plain, taken)), Ok(progress)) => {
            assert_eq!(*progress, Progress { taken, is_done: true }, "another end");
            assert_eq!(whole.plain, plain, "another content");
        }
        (None, Ok(progress)) => assert!(!progress.is_done, "a body that is none was accepted"),
        (Some(_), Err(bad)) => panic!("a proper body was refused: {bad}"),
        (None, Err(_)) => (),
    }
}

#[derive(Debug, PartialEq)]
struct Followed {
    progress: Result<Progress, BadBody>,
    plain: Vec<u8>,
    missing: u64,
    end: Option<&'static [u8]>,
}

/// Follows the stream in parts of this length.
fn follow(stream: &[u8], part: usize) -> Followed {
    let mut tracker = BodyTracker::new(Framing::Chunked);
    let mut plain = Vec::new();
    let mut progress = Ok(Progress { taken: 0, is_done: false });
    for bytes in stream.chunks(part) {
        let before = progress.map_or(0, |progress| progress.taken);
        let step = tracker.advance_with(bytes, |range| {
            assert!(!range.is_empty(), "a range of nothing");
            plain.extend_from_slice(&bytes[range]);
        });
        if let Ok(step) = step {
            assert!(step.is_done || step.taken == bytes.len(), "bytes left before the end");
        }
        progress = step.map(|step| Progress { taken: before + step.taken, ..step });
        if tracker.is_done() || progress.is_err() {
            break;
        }
    }
    assert_eq!(tracker.body_bytes(), plain.len() as u64, "bytes counted wrongly");
    assert_eq!(tracker.is_at_boundary(), tracker.chunk_end() == Some(b""));
    let (missing, end) = (tracker.missing_in_chunk(), tracker.chunk_end());
    Followed { progress, plain, missing, end }
}

/// The content and the length of a whole chunked body; `None` for anything else.
fn unpack(stream: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut rest = stream;
    let mut plain = Vec::new();
    loop {
        let line = take_line(&mut rest)?;
        let digits = line.split(|byte| *byte == b';').next()?;
        if !(1..=16).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let text = std::str::from_utf8(digits).expect("digits");
        let size = u64::from_str_radix(text, 16).expect("sixteen digits fit");
        if size == 0 {
            break;
        }
        let (chunk, after) = rest.split_at_checked(usize::try_from(size).ok()?)?;
        plain.extend_from_slice(chunk);
        rest = after.strip_prefix(b"\r\n")?;
    }
    for _ in 0..=HEADERS_MAX {
        let line = take_line(&mut rest)?;
        if line.is_empty() {
            return Some((plain, stream.len() - rest.len()));
        }
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = &line[..colon];
        let is_token =
            |byte: &u8| byte.is_ascii_graphic() && !b"\"(),/:;<=>?@[\\]{}".contains(byte);
        let plain_name = name
            .to_ascii_lowercase()
            .iter()
            .map(|byte| match byte {
                b'_' => b'-',
                other => *other,
            })
            .collect::<Vec<u8>>();
        let is_framing = plain_name == b"content-length" || plain_name == b"transfer-encoding";
        if name.is_empty() || !name.iter().all(is_token) || Known::of(name) != Known::Other {
            return None;
        }
        // Only with `_` for every `-`, or any: servers that turn names into variables do not care.
        if is_framing {
            return None;
        }
    }
    None
}

/// A line that ends in CR LF and has no control character but a tab.
fn take_line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    let line = &rest[..end];
    *rest = &rest[end + 2..];
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    line.iter().all(is_text).then_some(line)
}
