//! The data directory: made when missing, and locked, so that two daemons never share an identity.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use super::who::Who;

/// A data directory that no other process uses; unlocked when dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// Held, never read: the lock lives as long as the open file.
    _lock: File,
}

/// The data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataDirError {
    /// Another process holds it.
    #[error(
        "the data directory {path} is in use by {holder}; stop that, or give this node its own with \
         spec.data_dir or ASTROMESH_DATA_DIR"
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who it is.
        holder: String,
    },
    /// The file system refused.
    #[error(
        "cannot use the data directory {path}: {error}; make it writable for the user of the daemon, \
         or set spec.data_dir or ASTROMESH_DATA_DIR"
    )]
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl DataDir {
    /// Makes the directory if it is missing, and locks it.
    ///
    /// # Errors
    /// It is in use, or cannot be made or written.
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let failed = |error| DataDirError::Io { path: path.to_owned(), error };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = File::create(path.join("lock")).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => {
                let who = Who::locking(&lock).map(|who| who.to_string());
                let holder = who.unwrap_or_else(|| "another astromesh process".to_owned());
                Err(DataDirError::Locked { path: path.to_owned(), holder })
            }
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_refused_until_the_first_lets_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below");
        let first = DataDir::open(&path).unwrap();
        assert!(matches!(DataDir::open(&path), Err(DataDirError::Locked { .. })));
        drop(first);
        assert!(DataDir::open(&path).is_ok());
    }
}
