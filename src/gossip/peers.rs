//! The last members that were seen alive, on disk: where to look for the mesh when no seed answers.
//!
//! Owns the format of `peers.json` in the data directory and the choice of whom to keep. What it
//! holds is a hint, never a claim: whoever is asked has to answer, and for the same cluster.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use astromesh_wire::NodeId;
use serde::{Deserialize, Serialize};
use url::Url;

use super::disk;
use crate::directory::Snapshot;

/// Members that are kept. One that answers is enough; with this many, most may have gone meanwhile.
const PEERS_MAX: usize = 256;

/// The longest file that is read; the longest addresses need less.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Peer {
    /// Where its HTTP server is reached, which is where a node joins.
    url: Url,
    /// Where its gossip socket is reached; for people.
    gossip_address: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    cluster: String,
    members: Vec<Peer>,
}

/// Why the file says nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum PeersError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error("it belongs to the cluster `{0}`")]
    OtherCluster(String),
}

/// The file of one node.
#[derive(Debug, Clone)]
pub(super) struct PeersFile {
    path: PathBuf,
    cluster: Arc<str>,
}

impl PeersFile {
    pub(super) fn new(data_dir: &Path, cluster: &Arc<str>) -> Self {
        Self { path: data_dir.join("peers.json"), cluster: Arc::clone(cluster) }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Who is kept there; nobody if there is no file yet.
    ///
    /// # Errors
    /// The file cannot be read, or is not one of this cluster.
    pub(super) fn read(&self) -> Result<Vec<Peer>, PeersError> {
        let file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let mut text = Vec::new();
        file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
        let stored: Stored = serde_json::from_slice(&text)?;
        if stored.cluster != *self.cluster {
            return Err(PeersError::OtherCluster(stored.cluster));
        }
        Ok(stored.members)
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// The file system refused; the old file is still there.
    pub(super) fn write(&self, peers: &[Peer]) -> io::Result<()> {
        let stored = Stored { cluster: self.cluster.to_string(), members: peers.to_vec() };
        disk::replace(&self.path, &stored)
    }
}

impl Peer {
    pub(super) fn into_url(self) -> Url {
        self.url
    }
}

/// The members worth keeping: the others that are alive or suspect. Of more than [`PEERS_MAX`]
/// those whose ids are nearest to this node's own (by exclusive or). Ids are random, so that is a
/// draw: another one on each node, and one that changes by one member when one member changes.
pub(super) fn worth_keeping(snapshot: &Snapshot) -> Vec<Peer> {
    let local = snapshot.local;
    let mut others: Vec<_> = snapshot.live().filter(|member| member.id != local).collect();
    others.sort_by_cached_key(|member| distance(member.id, local));
    others.truncate(PEERS_MAX);
    let peer = |member: &crate::directory::Member| {
        let gossip_address = member.gossip_address.to_string();
        Some(Peer { url: Url::parse(&member.url).ok()?, gossip_address })
    };
    others.into_iter().filter_map(peer).collect()
}

fn distance(a: NodeId, b: NodeId) -> u128 {
    u128::from_be_bytes(*a.as_bytes()) ^ u128::from_be_bytes(*b.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use astromesh_wire::State;

    use super::*;
    use crate::directory::Member;

    fn id(number: u16) -> NodeId {
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        NodeId::from_bytes(bytes)
    }

    fn member(number: u16, state: State) -> Arc<Member> {
        let port = 10_000 + number;
        Arc::new(Member {
            state,
            ..Member::new(id(number), format!("node-{number}"), ([127, 0, 0, 1], port).into())
        })
    }

    fn snapshot(local: u16, members: Vec<Arc<Member>>) -> Snapshot {
        Snapshot { version: 1, local: id(local), leader: None, term: 1, members }
    }

    fn ports(snapshot: &Snapshot) -> Vec<u16> {
        let kept = worth_keeping(snapshot).into_iter();
        kept.filter_map(|peer| peer.into_url().port()).collect()
    }

    #[test]
    fn only_others_that_live_are_worth_keeping() {
        let states = [State::Alive, State::Alive, State::Suspect, State::Dead, State::Left];
        let members = (0..).zip(states).map(|(number, state)| member(number, state)).collect();
        assert_eq!(ports(&snapshot(0, members)), [10_001, 10_002]);
    }

    #[test]
    fn of_many_each_node_keeps_others_and_hardly_changes_its_mind() {
        let everybody = || (0..2_000).map(|number| member(number, State::Alive)).collect();
        let of_first = ports(&snapshot(0, everybody()));
        let of_last = ports(&snapshot(1_999, everybody()));
        assert_eq!((of_first.len(), of_last.len()), (PEERS_MAX, PEERS_MAX));
        assert!(of_first.iter().all(|port| !of_last.contains(port)));

        let mut fewer: Vec<_> = everybody();
        fewer.remove(7);
        let after = ports(&snapshot(0, fewer));

        let new: Vec<_> = after.iter().filter(|port| !of_first.contains(port)).collect();
        assert_eq!((after.len(), new.len()), (PEERS_MAX, 1));
    }

    #[test]
    fn the_longest_file_can_be_read_again() {
        let directory = tempfile::tempdir().unwrap();
        let file = PeersFile::new(directory.path(), &"c".repeat(255).into());
        assert!(file.read().unwrap().is_empty());
        let address = "[2001:db8:1234:5678:9abc:def0:1234:5678]:65535";
        let url = Url::parse(&format!("http://{address}")).unwrap();
        let peers = vec![Peer { url, gossip_address: address.to_owned() }; PEERS_MAX];

        file.write(&peers).unwrap();

        assert_eq!(file.read().unwrap(), peers);
    }

    #[test]
    fn what_is_no_file_of_this_cluster_is_told_by_its_reason() {
        let directory = tempfile::tempdir().unwrap();
        let file = PeersFile::new(directory.path(), &"ours".into());
        let rows = [
            ("cut short", r#"{"cluster":"ours","members":[{"ur"#, "damaged"),
            (
                "no URL",
                r#"{"cluster":"ours","members":[{"url":"x","gossip_address":""}]}"#,
                "damaged",
            ),
            ("elsewhere", r#"{"cluster":"theirs","members":[]}"#, "cluster `theirs`"),
        ];
        for (name, text, reason) in rows {
            fs::write(file.path(), text).unwrap();
            let error = file.read().unwrap_err().to_string();
            assert!(error.contains(reason), "{name}: {error}");
        }
    }
}
