//! New files that people keep: written whole or not at all.
//!
//! Owns the order in which several files come to be: all are on disk under temporary names before
//! the first gets its own. Refuses to replace a file unless told to.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::failure::Failure;

/// What is to be written.
#[derive(Debug)]
pub(super) struct NewFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) mode: u32,
}

/// For everybody to read.
pub(super) const MODE_OPEN: u32 = 0o644;

/// For the owner alone.
pub(super) const MODE_SECRET: u32 = 0o600;

/// What to do about files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Existing {
    /// Leave them alone, and write nothing at all.
    Keep,
    /// Replace them.
    Replace,
}

impl Existing {
    pub(super) const fn from_force(is_forced: bool) -> Self {
        if is_forced { Self::Replace } else { Self::Keep }
    }
}

/// Writes all of them, and the directories they are in.
pub(super) fn write(files: &[NewFile], existing: Existing) -> Result<(), Failure> {
    if existing == Existing::Keep {
        let is_there = |file: &&NewFile| fs::symlink_metadata(&file.path).is_ok();
        let there: Vec<_> =
            files.iter().filter(is_there).map(|file| file.path.display().to_string()).collect();
        if !there.is_empty() {
            return Err(exists(&there.join(", ")));
        }
    }
    let staged: Vec<_> = files
        .iter()
        .map(|file| Ok((file, stage(file, existing)?)))
        .collect::<Result<_, Failure>>()?;
    for (file, temporary) in staged {
        let placed = match existing {
            Existing::Keep => temporary.persist_noclobber(&file.path),
            Existing::Replace => temporary.persist(&file.path),
        };
        placed.map_err(|error| match error.error.kind() {
            io::ErrorKind::AlreadyExists => exists(&file.path.display().to_string()),
            _ => failed(&file.path, &error.error),
        })?;
        // So that the name outlives a crash as the content does.
        sync_directory(&file.path).map_err(|error| failed(&file.path, &error))?;
    }
    Ok(())
}

/// The content, on disk under a temporary name beside its own. What replaces a file has its owner,
/// group and mode: whoever could read it still can, and nobody else.
fn stage(file: &NewFile, existing: Existing) -> Result<NamedTempFile, Failure> {
    let staged = || {
        let directory = directory_of(&file.path);
        fs::create_dir_all(directory)?;
        let mut temporary =
            tempfile::Builder::new().prefix(".astromesh-").tempfile_in(directory)?;
        temporary.write_all(file.text.as_bytes())?;
        let old = match existing {
            Existing::Keep => None,
            Existing::Replace => fs::metadata(&file.path).ok(),
        };
        if let Some(old) = &old {
            // Best effort: only root may give a file away.
            drop(fchown(temporary.as_file(), Some(old.uid()), Some(old.gid())));
        }
        // After the creation, which the umask takes bits from.
        let mode = old.map_or(file.mode, |old| old.mode() & 0o777);
        temporary.as_file().set_permissions(Permissions::from_mode(mode))?;
        temporary.as_file().sync_all()?;
        Ok(temporary)
    };
    staged().map_err(|error| failed(&file.path, &error))
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn exists(paths: &str) -> Failure {
    Failure::Usage {
        message: format!("there already: {paths}; --force replaces, another place leaves it alone"),
    }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure::Local { doing: "write", cause: format!("{}: {error}", path.display()) }
}
