//! What the gossip keeps on disk while it runs: a raised generation and the last good members.
//!
//! It is written here, in a task beside the gossip thread, so that no slow disk holds up a probe.
//! Files are replaced as a whole: a crash leaves the old one or the new one.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, warn};

use super::identity::Identity;
use super::peers::{Peer, PeersFile, worth_keeping};
use crate::directory::{Reader, Snapshot};

/// Wait after the first change, so that members that come together are written together.
const SETTLE: Duration = Duration::from_secs(1);

/// Least time between two writes of the members.
const PEERS_INTERVAL: Duration = Duration::from_secs(30);

/// Writes what changes until the gossip thread ends, and then once more.
pub(super) async fn keep(
    mut identity: Identity,
    mut generation: watch::Receiver<u32>,
    mut directory: Reader,
    file: PeersFile,
) {
    let mut peers = Peers::open(file).await;
    let mut due: Option<Instant> = None;
    let mut earliest = Instant::now();
    loop {
        tokio::select! {
            raised = generation.changed() => {
                let raised = raised.is_ok().then(|| *generation.borrow_and_update());
                match raised {
                    Some(raised) => identity = raise(identity, raised).await,
                    None => break,
                }
            }
            changed = directory.changed() => match changed {
                Some(_) if due.is_some() => {}
                Some(_) => due = Some(earliest.max(Instant::now() + SETTLE)),
                None => break,
            },
            () = sleep_until(due.unwrap_or(earliest)), if due.is_some() => {
                due = None;
                earliest = Instant::now() + PEERS_INTERVAL;
                peers.write(&directory.snapshot()).await;
            }
        }
    }
    let raised = *generation.borrow();
    raise(identity, raised).await;
    peers.write(&directory.snapshot()).await;
}

async fn raise(mut identity: Identity, generation: u32) -> Identity {
    let unraised = identity.clone();
    let raised = spawn_blocking(move || {
        if let Err(error) = identity.raise(generation) {
            error!(%error, "the raised generation could not be kept");
        }
        identity
    });
    // The only error is a panic, which has been reported.
    raised.await.unwrap_or(unraised)
}

/// The file of the last good members, and what it holds.
struct Peers {
    file: PeersFile,
    /// `None` when it holds something else.
    written: Option<Vec<Peer>>,
    /// It could not be written the last time, which has been said.
    has_failed: bool,
}

impl Peers {
    async fn open(file: PeersFile) -> Self {
        let reading = file.clone();
        let written = match spawn_blocking(move || reading.read()).await {
            Ok(Ok(peers)) => Some(peers),
            Ok(Err(error)) => {
                warn!(
                    file = %file.path().display(), %error,
                    "the last members of the mesh are not known; the file is ignored and written \
                     anew"
                );
                None
            }
            // A panic, which has been reported.
            Err(_) => None,
        };
        Self { file, written, has_failed: false }
    }

    /// Writes whom this snapshot shows alive, if those are others than before. A node that sees
    /// nobody keeps what it has: that is when it will be needed.
    async fn write(&mut self, snapshot: &Snapshot) {
        let peers = worth_keeping(snapshot);
        if peers.is_empty() || self.written.as_ref() == Some(&peers) {
            return;
        }
        let (file, content) = (self.file.clone(), peers.clone());
        match spawn_blocking(move || file.write(&content)).await {
            Ok(Ok(())) => {
                debug!(members = peers.len(), "the last good members are kept");
                self.written = Some(peers);
                self.has_failed = false;
            }
            Ok(Err(error)) if !self.has_failed => {
                self.has_failed = true;
                warn!(
                    file = %self.file.path().display(), %error,
                    "the members of the mesh cannot be kept; after a restart this node depends on \
                     its seeds"
                );
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
}

/// Replaces a file by this value as JSON.
pub(super) fn replace(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let directory = path.parent().unwrap_or_else(|| Path::new("."));
    let mut replacement = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&mut replacement, value)?;
    replacement.write_all(b"\n")?;
    replacement.as_file().sync_all()?;
    replacement.persist(path)?;
    // The name is on disk only when the directory is; until then a power cut brings back the old file.
    File::open(directory)?.sync_all()
}
