//! The native protocol of systemd's journal: a datagram for each entry, its fields by name.
//!
//! Owns the form of an entry and the socket. The protocol is documented by systemd under
//! <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>. Written here because the thread that sends must
//! not be the one on which something happened: a journal that is slow would hold up the mesh.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::Level;

use super::entry::{Entry, FieldSink, Fields, append_number, bounded};
use super::pipe::Output;
use super::shape::sentence;

/// Where journald listens.
pub(super) const SOCKET: &str = "/run/systemd/journal/socket";

/// What our fields begin with, after which come their own names: `ASTROMESH_MEMBER_ID`.
const PREFIX: &[u8] = b"ASTROMESH_";

/// Longer names are refused by journald.
const NAME_BYTES_MAX: usize = 64;

/// How entries are told apart: each is preceded by its length.
type Length = u32;

/// The socket of journald.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Journal {
    /// # Errors
    /// Nobody listens there.
    pub(super) fn connect(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        Ok(Self { path: path.to_owned(), socket })
    }

    fn send(&mut self, entry: &[u8]) -> io::Result<usize> {
        self.socket.send(entry).or_else(|error| match error.kind() {
            // journald was restarted: its socket is another one now.
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotConnected => {
                *self = Self::connect(&self.path)?;
                self.socket.send(entry)
            }
            _ => Err(error),
        })
    }
}

impl Output for Journal {
    fn write(&mut self, mut text: &[u8], lines: u64) -> u64 {
        let mut sent = 0;
        while let Some((length, rest)) = text.split_first_chunk() {
            let length = usize::try_from(Length::from_ne_bytes(*length)).unwrap_or(usize::MAX);
            let Some((entry, rest)) = rest.split_at_checked(length) else { break };
            text = rest;
            sent += u64::from(self.send(entry).is_ok());
        }
        lines.saturating_sub(sent)
    }
}

/// Whether standard error is the journal: then `JOURNAL_STREAM` names its device and inode.
pub(super) fn is_stderr(journal_stream: Option<&str>) -> bool {
    let Some((device, inode)) = journal_stream.and_then(|text| text.split_once(':')) else {
        return false;
    };
    let (Ok(device), Ok(inode)) = (device.parse::<u64>(), inode.parse::<u64>()) else {
        return false;
    };
    let stderr = io::stderr().as_fd().try_clone_to_owned().map(File::from);
    stderr
        .and_then(|stderr| stderr.metadata())
        .is_ok_and(|found| (found.dev(), found.ino()) == (device, inode))
}

/// An entry behind its length.
pub(super) fn append<F: Fields + ?Sized>(out: &mut Vec<u8>, entry: &Entry<'_, F>) {
    let start = out.len();
    out.extend_from_slice(&Length::default().to_ne_bytes());
    let body = out.len();
    fields(out, entry);
    let length = Length::try_from(out.len() - body).expect("values are bounded, and few");
    out[start..body].copy_from_slice(&length.to_ne_bytes());
}

fn fields<F: Fields + ?Sized>(out: &mut Vec<u8>, entry: &Entry<'_, F>) {
    let priority = match entry.level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    // The sentence has the values too: it is all that `journalctl` shows by default.
    append_field(out, b"MESSAGE", |out| sentence(out, entry));
    append_field(out, b"PRIORITY", |out| out.extend_from_slice(priority.as_bytes()));
    append_field(out, b"SYSLOG_IDENTIFIER", |out| out.extend_from_slice(b"astromeshd"));
    append_field(out, b"ASTROMESH_TARGET", |out| out.extend_from_slice(entry.target.as_bytes()));
    if let Some((file, line)) = entry.place {
        append_field(out, b"CODE_FILE", |out| out.extend_from_slice(file.as_bytes()));
        append_field(out, b"CODE_LINE", |out| append_number(out, line));
    }
    entry.fields.each(&mut Variables(out));
}

/// Fields as `ASTROMESH_NAME=value`.
struct Variables<'a>(&'a mut Vec<u8>);

impl FieldSink for Variables<'_> {
    fn text(&mut self, name: &str, value: &[u8]) {
        self.plain(name, |out| out.extend_from_slice(bounded(value).0));
    }

    fn plain(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        append_field(self.0, &field_name(name), write);
    }

    fn real(&mut self, name: &str, value: f64) {
        self.plain(name, |out| out.extend_from_slice(value.to_string().as_bytes()));
    }
}

/// Upper case, `_` for what may not be in a name, and bounded.
fn field_name(name: &str) -> Vec<u8> {
    let upper = |byte: u8| {
        if byte.is_ascii_alphanumeric() { byte.to_ascii_uppercase() } else { b'_' }
    };
    PREFIX.iter().copied().chain(name.bytes().map(upper)).take(NAME_BYTES_MAX).collect()
}

/// `NAME=value`, or, for a value of several lines, the name, the length and the value.
fn append_field(out: &mut Vec<u8>, name: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(name);
    let end = out.len();
    out.push(b'=');
    value(out);
    let length = out.len() - end - 1;
    if out[end + 1..].contains(&b'\n') {
        out[end] = b'\n';
        let length = u64::try_from(length).unwrap_or(u64::MAX).to_le_bytes();
        out.splice(end + 1..end + 1, length);
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::logging::entry::Value;
    use crate::telemetry::logging::shape::Clock;
    use crate::telemetry::logging::shape::Shape;

    fn entry<'a>(fields: &'a [(&'a str, Value<'a>)]) -> Entry<'a> {
        Entry {
            level: Level::ERROR,
            target: "astromesh::gossip::join",
            message: b"broken",
            fields,
            place: Some(("src/a.rs", 7)),
        }
    }

    #[test]
    fn an_entry_is_a_datagram_of_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listener = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::connect(&path).unwrap();
        let mut text = Vec::new();
        let two = [("member.name", Value::from(&b"a\nb"[..])), ("tried", Value::Natural(2))];
        for fields in [&two[..], &[]] {
            Shape::Journal.append(&mut text, &Clock::default(), &entry(fields));
        }
        assert_eq!(journal.write(&text, 2), 0);

        let mut bytes = [0; 1024];
        let mut next = || {
            let length = listener.recv(&mut bytes).unwrap();
            String::from_utf8(bytes[..length].to_vec()).unwrap()
        };
        let head = |message: &str| {
            format!(
                "MESSAGE={message}\nPRIORITY=3\nSYSLOG_IDENTIFIER=astromeshd\n\
                 ASTROMESH_TARGET=astromesh::gossip::join\nCODE_FILE=src/a.rs\nCODE_LINE=7\n"
            )
        };
        let first = head("gossip: broken member.name=\"a\\nb\" tried=2");
        let value = "ASTROMESH_MEMBER_NAME\n\u{3}\0\0\0\0\0\0\0a\nb\nASTROMESH_TRIED=2\n";
        assert_eq!(next(), format!("{first}{value}"));
        assert_eq!(next(), head("gossip: broken"));
    }

    #[test]
    fn a_journal_that_was_restarted_is_found_again_and_one_that_is_gone_loses_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let before = UnixDatagram::bind(&path).unwrap();
        let mut journal = Journal::connect(&path).unwrap();
        let mut text = Vec::new();
        Shape::Journal.append(&mut text, &Clock::default(), &entry(&[]));
        drop(before);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(journal.write(&text, 1), 1);
        let after = UnixDatagram::bind(&path).unwrap();
        assert_eq!(journal.write(&text, 1), 0);
        assert!(after.recv(&mut [0; 1024]).unwrap() > 0);
    }

    #[test]
    fn names_are_those_that_journald_takes() {
        assert_eq!(field_name("request.id"), b"ASTROMESH_REQUEST_ID");
        assert_eq!(field_name(&"x".repeat(100)).len(), NAME_BYTES_MAX);
    }
}
