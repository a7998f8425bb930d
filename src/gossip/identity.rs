//! Who this node is, kept across restarts.
//!
//! Owns `identity.json` in the data directory: the id, and the generation, which grows by one with
//! each start and never goes back. The file is replaced as a whole, so that a crash leaves the old
//! or the new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use astromesh_wire::NodeId;
use serde::{Deserialize, Serialize};

use super::disk;

/// The node's id and the generation of this start.
#[derive(Debug, Clone)]
pub struct Identity {
    id: NodeId,
    generation: u32,
    file: PathBuf,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    node_id: String,
    generation: u32,
}

/// The identity could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The file system refused.
    #[error(
        "cannot read or write {file}: {error}; the user of the daemon must be able to write there, \
         and the disk have room"
    )]
    Io {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{file} is damaged ({reason}); delete it to let this node start under a new id, which \
         replaces its old self in the mesh"
    )]
    Damaged {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

impl Identity {
    /// Reads the identity from the data directory, or draws a new one, and begins a generation.
    ///
    /// # Errors
    /// The file is unreadable, damaged, or cannot be replaced.
    pub fn begin(data_dir: &Path) -> Result<Self, IdentityError> {
        let file = data_dir.join("identity.json");
        let damaged = |reason: String| IdentityError::Damaged { file: file.clone(), reason };
        let (id, last) = match fs::read_to_string(&file) {
            Ok(text) => {
                let stored: Stored =
                    serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
                let id = stored.node_id.parse().map_err(|_| damaged("bad node_id".to_owned()))?;
                (id, stored.generation)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (NodeId::from_bytes(uuid::Uuid::new_v4().into_bytes()), 0)
            }
            Err(error) => return Err(IdentityError::Io { file, error }),
        };
        let Some(generation) = last.checked_add(1) else {
            // Only forged claims about this node get it here. A new id starts afresh.
            tracing::warn!(node.id = %id, "this id has used up its generations; drawing a new one");
            fs::remove_file(&file).map_err(|error| IdentityError::Io { file, error })?;
            return Self::begin(data_dir);
        };
        let mut identity = Self { id, generation: last, file };
        identity.raise(generation)?;
        Ok(identity)
    }

    /// The id.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.id
    }

    /// The generation of this start.
    #[must_use]
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Keeps a higher generation; a lower one is ignored.
    ///
    /// # Errors
    /// The file cannot be replaced; the generation is raised in memory all the same.
    pub fn raise(&mut self, generation: u32) -> Result<(), IdentityError> {
        if generation <= self.generation {
            return Ok(());
        }
        self.generation = generation;
        self.store().map_err(|error| IdentityError::Io { file: self.file.clone(), error })
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.file.parent().unwrap_or_else(|| Path::new("."))
    }

    fn store(&self) -> io::Result<()> {
        let stored = Stored { node_id: self.id.to_string(), generation: self.generation };
        disk::replace(&self.file, &stored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_stays_and_the_generation_grows_with_each_start() {
        let directory = tempfile::tempdir().unwrap();
        let first = Identity::begin(directory.path()).unwrap();
        let second = Identity::begin(directory.path()).unwrap();
        assert_eq!(first.id(), second.id());
        assert_eq!((first.generation(), second.generation()), (1, 2));
    }

    #[test]
    fn a_raised_generation_outlives_the_process() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = Identity::begin(directory.path()).unwrap();
        first.raise(40).unwrap();
        first.raise(7).unwrap();
        assert_eq!(first.generation(), 40);
        assert_eq!(Identity::begin(directory.path()).unwrap().generation(), 41);
    }

    #[test]
    fn an_id_without_generations_left_gives_way_to_a_new_one() {
        let directory = tempfile::tempdir().unwrap();
        let mut first = Identity::begin(directory.path()).unwrap();
        first.raise(u32::MAX).unwrap();
        let second = Identity::begin(directory.path()).unwrap();
        assert_ne!(first.id(), second.id());
        assert_eq!(second.generation(), 1);
    }

    #[test]
    fn a_damaged_file_is_named_with_its_remedy() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("identity.json"), "{}").unwrap();
        let error = Identity::begin(directory.path()).unwrap_err().to_string();
        assert!(error.contains("identity.json") && error.contains("delete it"), "{error}");
    }
}
