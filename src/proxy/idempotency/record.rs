//! A result as values, and as bytes of a file.
//!
//! Owns the form of a record: its length and CRC-32, then time, fingerprint, status, key, head and
//! body, numbers in big endian. A record that was written in part, or changed since, is none.

use std::fmt;
use std::sync::Arc;

use ring::digest;

/// The longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// The longest agent name that a key is kept for, in bytes.
const AGENT_BYTES_MAX: usize = 255;

/// An agent and the `Idempotency-Key` that a caller gave a request for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Arc<[u8]>);

/// The text is no key. The caller's mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an Idempotency-Key has 1 to {KEY_BYTES_MAX} printable ASCII characters")]
pub struct BadKey;

impl Key {
    /// A key of this agent, as it stands in the header.
    ///
    /// # Errors
    /// The text is empty, too long, or not printable ASCII.
    pub fn new(agent: &str, key: &[u8]) -> Result<Self, BadKey> {
        let is_printable = key.iter().all(|byte| (b' '..=b'~').contains(byte));
        if !(1..=KEY_BYTES_MAX).contains(&key.len()) || !is_printable {
            return Err(BadKey);
        }
        if agent.len() > AGENT_BYTES_MAX {
            return Err(BadKey);
        }
        // No printable text contains the 0 between the two.
        Ok(Self([agent.as_bytes(), &[0], key].concat().into()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Tells whether two requests are the same one: SHA-256 of what they ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// Makes a [`Fingerprint`] of bytes as they come.
#[derive(Clone)]
pub struct Fingerprinter(digest::Context);

impl Fingerprinter {
    /// Of nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self(digest::Context::new(&digest::SHA256))
    }

    /// More bytes. Give the content of a body, not its chunks: they may differ the next time.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The fingerprint of all of them.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        let digest = self.0.finish();
        Fingerprint(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl Default for Fingerprinter {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Fingerprinter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fingerprinter").finish_non_exhaustive()
    }
}

/// An answer, to be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its status.
    pub status: u16,
    /// The header lines that were kept, each ended by CR LF.
    pub head: Vec<u8>,
    /// What came after the head, exactly as it was recorded.
    pub body: Vec<u8>,
}

/// A request that has ended, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Seconds since 1970 when it ended.
    pub(super) at: u64,
    pub(super) key: Key,
    pub(super) fingerprint: Fingerprint,
    /// `None` when the answer was longer than is kept.
    pub(super) answer: Option<Arc<Stored>>,
}

/// What a record costs beside key, head and body: its fields, and its places in two maps.
const OVERHEAD_BYTES: usize = 256;

/// The parts of a record that always have the same length: time, fingerprint, status, and the
/// lengths of key and head.
const FIXED_BYTES: usize = 8 + 32 + 2 + 2 + 4;

/// Length and checksum before each record.
const FRAME_BYTES: usize = 8;

/// Stands for the status of an answer that was not kept.
const NOT_KEPT: u16 = 0;

impl Record {
    /// The memory it takes, about.
    pub(super) fn cost(&self) -> usize {
        let answer = self.answer.as_ref().map_or(0, |answer| answer.head.len() + answer.body.len());
        OVERHEAD_BYTES + self.key.len() + answer
    }

    /// Appends the bytes of the record. Nothing is written of one that is too long for its length
    /// fields, which the bounds of results exclude.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let (status, head, body) = match self.answer.as_deref() {
            Some(Stored { status, head, body }) => (*status, head.as_slice(), body.as_slice()),
            None => (NOT_KEPT, &[][..], &[][..]),
        };
        let length = FIXED_BYTES + self.key.len() + head.len() + body.len();
        let (Ok(length), Ok(key_length), Ok(head_length)) =
            (u32::try_from(length), u16::try_from(self.key.len()), u32::try_from(head.len()))
        else {
            return;
        };
        let begin = out.len();
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.at.to_be_bytes());
        out.extend_from_slice(&self.fingerprint.0);
        out.extend_from_slice(&status.to_be_bytes());
        out.extend_from_slice(&key_length.to_be_bytes());
        out.extend_from_slice(&head_length.to_be_bytes());
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(head);
        out.extend_from_slice(body);
        let checksum = crc32fast::hash(&out[begin + FRAME_BYTES..]);
        out[begin + 4..begin + FRAME_BYTES].copy_from_slice(&checksum.to_be_bytes());
    }

    /// Takes the record at the front of the bytes; `None` when there is no whole, unchanged one.
    pub(super) fn take(bytes: &mut &[u8]) -> Option<Self> {
        let mut rest = *bytes;
        let length = usize::try_from(u32::from_be_bytes(array(&mut rest)?)).ok()?;
        let checksum = u32::from_be_bytes(array(&mut rest)?);
        let (mut payload, rest) = rest.split_at_checked(length)?;
        if crc32fast::hash(payload) != checksum {
            return None;
        }
        let at = u64::from_be_bytes(array(&mut payload)?);
        let fingerprint = Fingerprint(array(&mut payload)?);
        let status = u16::from_be_bytes(array(&mut payload)?);
        let key_length = u16::from_be_bytes(array(&mut payload)?);
        let head_length = usize::try_from(u32::from_be_bytes(array(&mut payload)?)).ok()?;
        let (key, payload) = payload.split_at_checked(key_length.into())?;
        let (head, body) = payload.split_at_checked(head_length)?;
        *bytes = rest;
        let answer = (status != NOT_KEPT)
            .then(|| Arc::new(Stored { status, head: head.to_vec(), body: body.to_vec() }));
        Some(Self { at, key: Key(key.into()), fingerprint, answer })
    }
}

fn array<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (array, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*array)
}
