//! The request target and the authority: the four forms of RFC 9112, section 3.2, of which we take
//! the three that a server needs.
//!
//! Owns what is a target and what is an authority; refuses authority-form, which is for CONNECT.

use super::{BadHead, Method};

/// The parts of a request target.
pub(super) struct Parts<'a> {
    /// Empty for an absolute target without one.
    pub(super) path: &'a [u8],
    /// After the `?`.
    pub(super) query: Option<&'a [u8]>,
    /// Of an absolute target.
    pub(super) authority: Option<&'a [u8]>,
}

/// Takes a request target apart.
///
/// # Errors
///
/// It has none of the three forms, or a fragment, which never leaves a client.
pub(super) fn parse(method: Method, target: &[u8]) -> Result<Parts<'_>, BadHead> {
    let (authority, rest) = match target {
        [b'/', ..] => (None, target),
        [b'*'] if method == Method::Options => (None, target),
        _ => {
            let after = after_scheme(target).ok_or(BadHead::Target)?;
            let end = after.iter().position(|byte| matches!(byte, b'/' | b'?'));
            let (authority, rest) = after.split_at(end.unwrap_or(after.len()));
            if authority.is_empty() || !is_authority(authority) {
                return Err(BadHead::Target);
            }
            (Some(authority), rest)
        }
    };
    match memchr::memchr2(b'?', b'#', rest) {
        None => Ok(Parts { path: rest, query: None, authority }),
        Some(at) if rest[at] == b'?' && !rest[at..].contains(&b'#') => {
            Ok(Parts { path: &rest[..at], query: Some(&rest[at + 1..]), authority })
        }
        Some(_) => Err(BadHead::Target),
    }
}

fn after_scheme(target: &[u8]) -> Option<&[u8]> {
    [&b"http://"[..], b"https://"].into_iter().find_map(|scheme| {
        let (start, after) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(after)
    })
}

/// Whether the bytes can be a host with an optional port. Stricter than RFC 3986: none of the
/// delimiters that no name in use has, among them the comma of two hosts merged into one line.
pub(super) fn is_authority(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b':' | b'[' | b']')
    })
}
