//! Who it is that stands in the way: the process behind a port, a lock or a number.
//!
//! Owns the questions to `/proc`. What it cannot see it does not guess: each answer may be "nobody
//! that this user may see". Refuses to decide anything; its answers are for messages.

use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::os::linux::fs::MetadataExt;
use std::path::Path;

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process, all_processes};

/// The longest piece of a command line that is repeated, in characters.
const COMMAND_CHARS_MAX: usize = 160;

/// A process, as far as this user may see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    pid: i32,
    command: Option<String>,
}

impl Who {
    /// The process of this number, if there is one.
    #[must_use]
    pub fn of_pid(pid: i32) -> Option<Self> {
        let process = Process::new(pid).ok().filter(Process::is_alive)?;
        Some(Self { pid, command: command(&process) })
    }

    /// The process that holds a lock on this file.
    #[must_use]
    pub fn locking(file: &File) -> Option<Self> {
        let metadata = file.metadata().ok()?;
        let (device, inode) = (metadata.st_dev(), metadata.st_ino());
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let locks = procfs::locks().ok()?;
        let held = locks
            .into_iter()
            .find(|lock| lock.inode == inode && (lock.devmaj, lock.devmin) == (major, minor))?;
        Self::of_pid(held.pid?)
    }

    /// The process that listens on this TCP address, or on one that keeps others from it.
    #[must_use]
    pub fn listening(at: SocketAddr) -> Option<Self> {
        let v4 = procfs::net::tcp().unwrap_or_default();
        let v6 = procfs::net::tcp6().unwrap_or_default();
        let mut entries = v4.into_iter().chain(v6);
        let entry = entries.find(|entry| {
            entry.state == TcpState::Listen && is_in_the_way(at, entry.local_address)
        })?;
        Self::with_socket(entry.inode)
    }

    /// The process whose UDP socket is bound to this address, or to one that keeps others from it.
    #[must_use]
    pub fn receiving(at: SocketAddr) -> Option<Self> {
        let v4 = procfs::net::udp().unwrap_or_default();
        let v6 = procfs::net::udp6().unwrap_or_default();
        let mut entries = v4.into_iter().chain(v6);
        let entry = entries.find(|entry| is_in_the_way(at, entry.local_address))?;
        Self::with_socket(entry.inode)
    }

    /// The daemons on this host.
    #[must_use]
    pub fn daemons() -> Vec<Self> {
        let own = i32::try_from(std::process::id()).ok();
        let processes = all_processes().into_iter().flatten().flatten();
        let daemons = processes.filter(|process| {
            is_daemon(&process.cmdline().unwrap_or_default()) && Some(process.pid()) != own
        });
        daemons.map(|process| Self { pid: process.pid(), command: command(&process) }).collect()
    }

    /// Its number.
    #[must_use]
    pub const fn pid(&self) -> i32 {
        self.pid
    }

    /// The process that has this socket open; those of other users are seen by root only.
    fn with_socket(inode: u64) -> Option<Self> {
        let mut processes = all_processes().ok()?.flatten();
        let process = processes.find(|process| {
            let open = process.fd().into_iter().flatten().flatten();
            open.into_iter()
                .any(|fd| matches!(fd.target, FDTarget::Socket(found) if found == inode))
        })?;
        Some(Self { pid: process.pid(), command: command(&process) })
    }
}

impl fmt::Display for Who {
    /// `process 12 (command line)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.pid)?;
        match &self.command {
            Some(command) => write!(f, " ({command})"),
            None => Ok(()),
        }
    }
}

/// Whether a command line is that of a daemon.
fn is_daemon(words: &[String]) -> bool {
    let program = words.first().and_then(|word| Path::new(word).file_name()?.to_str());
    match program {
        Some("astromeshd") => true,
        Some("astromeshctl") => words.iter().any(|word| word == "daemon"),
        Some(_) | None => false,
    }
}

/// Whether a socket at `theirs` keeps one from being bound to `ours`.
fn is_in_the_way(ours: SocketAddr, theirs: SocketAddr) -> bool {
    let (our_ip, their_ip) = (ours.ip().to_canonical(), theirs.ip().to_canonical());
    ours.port() == theirs.port()
        && (our_ip == their_ip || our_ip.is_unspecified() || their_ip.is_unspecified())
}

/// The command line in one line; of a process without one, the name of its program.
fn command(process: &Process) -> Option<String> {
    let words = process.cmdline().unwrap_or_default();
    let text = if words.is_empty() { process.stat().ok()?.comm } else { words.join(" ") };
    let text: String = text.chars().filter(|char| !char.is_control()).collect();
    Some(match text.char_indices().nth(COMMAND_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use super::*;

    fn own() -> Option<Who> {
        Who::of_pid(i32::try_from(std::process::id()).unwrap())
    }

    #[test]
    fn sockets_and_locks_lead_to_their_process() {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let locked = tempfile::tempfile().unwrap();
        locked.lock().unwrap();

        assert!(own().unwrap().command.is_some());
        assert_eq!(Who::listening(tcp.local_addr().unwrap()), own());
        assert_eq!(Who::receiving(udp.local_addr().unwrap()), own());
        assert_eq!(Who::locking(&locked), own());

        let wildcard = SocketAddr::from(([0, 0, 0, 0], tcp.local_addr().unwrap().port()));
        assert_eq!(Who::listening(wildcard), own());
        locked.unlock().unwrap();
        assert_eq!(Who::locking(&locked), None);
        assert_eq!(Who::of_pid(i32::MAX), None);
    }

    #[test]
    fn a_daemon_is_known_by_its_command_line() {
        let rows: [(&[&str], bool); 6] = [
            (&["/usr/bin/astromeshd", "--config", "/etc/astromesh"], true),
            (&["astromeshd"], true),
            (&["astromeshctl", "daemon"], true),
            (&["astromeshctl", "doctor"], false),
            (&["vi", "astromeshd"], false),
            (&[], false),
        ];
        for (words, expected) in rows {
            let owned: Vec<String> = words.iter().map(ToString::to_string).collect();
            assert_eq!(is_daemon(&owned), expected, "{words:?}");
        }
    }

    #[test]
    fn an_address_is_in_the_way_of_itself_and_of_wildcards() {
        let rows = [
            ("127.0.0.1:1", "127.0.0.1:1", true),
            ("127.0.0.1:1", "127.0.0.1:2", false),
            ("127.0.0.1:1", "127.0.0.2:1", false),
            ("0.0.0.0:1", "127.0.0.2:1", true),
            ("127.0.0.1:1", "[::]:1", true),
            ("127.0.0.1:1", "[::ffff:127.0.0.1]:1", true),
        ];
        for (ours, theirs, expected) in rows {
            let is = is_in_the_way(ours.parse().unwrap(), theirs.parse().unwrap());
            assert_eq!(is, expected, "{ours} {theirs}");
        }
    }
}
