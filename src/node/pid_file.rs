//! The PID file: written when the node is ready, locked while it runs, removed when it stops.
//!
//! Owns the path that was chosen, the lock on the file there, and what is said of a file that is in
//! the way. The lock decides who runs, never the number in the file: numbers are used again, and a
//! lock ends with its process. A file appears complete and locked, by renaming; it is removed only
//! if it is still the one that was written.
//!
//! A path that somebody has set must be writable and free. The default place may be neither: several
//! nodes may run on one host, and ordinary users may not write there. They go without.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;
use tracing::{info, warn};

use super::who::Who;

/// The place of a service of the system.
const SYSTEM: &str = "/var/run/astromesh/astromeshd.pid";

/// Below the directory that a user has for as long as they are logged in.
const OF_USER: &str = "astromesh/astromeshd.pid";

/// Looks at a file in the way; each fails only when somebody has just put a new one there.
const TRIES_MAX: usize = 10;

/// Anyone may read it.
const MODE: u32 = 0o644;

/// The longest file that is read; a number is shorter.
const BYTES_MAX: u64 = 64;

/// Where the process id will be kept. Nothing has been written yet.
#[derive(Debug)]
pub(super) struct Plan {
    path: PathBuf,
    /// In the same directory, so that the right to write there is known before the node starts.
    unnamed: NamedTempFile,
    is_default: bool,
}

/// A PID file of this process; removed when dropped.
#[derive(Debug)]
pub(super) struct PidFile {
    path: PathBuf,
    /// Locked.
    file: File,
}

/// There cannot be a PID file.
#[derive(Debug, thiserror::Error)]
pub(super) enum PidFileError {
    /// Another process holds it.
    #[error(
        "the PID file {path} is held by {holder}, which runs; stop it first, or give this node a \
         file of its own with --pid-file or spec.pid_file"
    )]
    Held {
        /// The file.
        path: PathBuf,
        /// Who it is.
        holder: String,
    },
    /// What is there is left alone.
    #[error(
        "cannot write the PID file {path}: it {what}; {remedy} with --pid-file or spec.pid_file"
    )]
    NotOurs {
        /// The file.
        path: PathBuf,
        /// What is there.
        what: &'static str,
        /// What to do about it.
        remedy: &'static str,
    },
    /// The file system refused.
    #[error(
        "cannot write the PID file {path}: {error}; name another with --pid-file or spec.pid_file"
    )]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Plan {
    /// Chooses the place; `given` is the one that somebody has set, `runtime_dir` that of the user.
    /// `None` when there will be no file, which has been said.
    ///
    /// # Errors
    /// The place that was set cannot be written, or is held.
    pub(super) fn choose(
        given: Option<&Path>,
        runtime_dir: Option<&Path>,
    ) -> Result<Option<Self>, PidFileError> {
        match given {
            Some(path) => Self::at(path.to_owned(), false).map(Some),
            None => Ok(Self::by_default(Path::new(SYSTEM), runtime_dir)),
        }
    }

    fn by_default(system: &Path, runtime_dir: Option<&Path>) -> Option<Self> {
        let error = match Self::at(system.to_owned(), true) {
            Ok(plan) => return Some(plan),
            Err(error @ (PidFileError::Held { .. } | PidFileError::NotOurs { .. })) => {
                return without(&error);
            }
            Err(PidFileError::Io { error, .. }) => error,
        };
        let Some(runtime_dir) = runtime_dir else {
            info!(
                path = %system.display(), %error,
                "no PID file: this user may not write it and XDG_RUNTIME_DIR is not set; name one \
                 with --pid-file"
            );
            return None;
        };
        match Self::at(runtime_dir.join(OF_USER), true) {
            Ok(plan) => {
                info!(
                    path = %plan.path.display(), unwritable = %system.display(), %error,
                    "the PID file is kept where this user may write"
                );
                Some(plan)
            }
            Err(error) => without(&error),
        }
    }

    fn at(path: PathBuf, is_default: bool) -> Result<Self, PidFileError> {
        let failed = |error| PidFileError::Io { path: path.clone(), error };
        match stale(&path) {
            Ok(None) => {}
            Ok(Some(stale)) => {
                info!(path = %path.display(), "stale PID file {}; it will be replaced", stale.whose);
            }
            Err(in_the_way) => return Err(in_the_way.at(path)),
        }
        let directory = path.parent().unwrap_or_else(|| Path::new("/"));
        let unnamed = fs::create_dir_all(directory).and_then(|()| {
            let permissions = Permissions::from_mode(MODE);
            tempfile::Builder::new()
                .prefix(".astromeshd.pid.")
                .permissions(permissions)
                .tempfile_in(directory)
        });
        let unnamed = unnamed.map_err(failed)?;
        Ok(Self { path, unnamed, is_default })
    }

    /// Writes the file. `None` when it went to another process meanwhile, or the file system refuses
    /// now, and nobody has set the place; that has been said.
    ///
    /// # Errors
    /// The same, at a place that somebody has set.
    pub(super) fn write(self) -> Result<Option<PidFile>, PidFileError> {
        let Self { path, unnamed, is_default } = self;
        match put(unnamed, &path) {
            Ok(file) => Ok(Some(PidFile { path, file })),
            Err(in_the_way) => {
                let error = in_the_way.at(path);
                if is_default { Ok(without(&error)) } else { Err(error) }
            }
        }
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Nobody replaces it meanwhile: the lock is held until after this.
        if !is_at(&self.file, &self.path) {
            warn!(path = %self.path.display(), "the PID file is another one by now and is left alone");
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "the PID file cannot be removed");
        }
    }
}

fn without<T>(error: &PidFileError) -> Option<T> {
    info!("no PID file: {error}");
    None
}

/// Why a file cannot be put in its place.
enum InTheWay {
    /// It is held by this process.
    Held(String),
    /// It is nothing that a daemon has written.
    NotOurs {
        what: &'static str,
        remedy: &'static str,
    },
    Io(io::Error),
}

impl InTheWay {
    fn at(self, path: PathBuf) -> PidFileError {
        match self {
            Self::Held(holder) => PidFileError::Held { path, holder },
            Self::NotOurs { what, remedy } => PidFileError::NotOurs { path, what, remedy },
            Self::Io(error) => PidFileError::Io { path, error },
        }
    }
}

impl From<io::Error> for InTheWay {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A file whose process is gone.
struct Stale {
    /// Locked now, so that nobody else replaces it.
    file: File,
    /// What it says, for people.
    whose: String,
}

/// The file at this path, if its process is gone; `None` when there is none.
fn stale(path: &Path) -> Result<Option<Stale>, InTheWay> {
    match fs::symlink_metadata(path) {
        // The lock would be on what it leads to, and the new file in the place of the link.
        Ok(metadata) if metadata.is_symlink() => {
            return Err(InTheWay::NotOurs {
                what: "is a symbolic link",
                remedy: "name the file itself",
            });
        }
        Ok(metadata) if !metadata.is_file() => {
            return Err(io::Error::other("something that is no file is there").into());
        }
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = Vec::new();
    (&mut file).take(BYTES_MAX + 1).read_to_end(&mut text)?;
    let is_empty = text.trim_ascii().is_empty();
    let pid = pid_in(&text);
    match file.try_lock() {
        Ok(()) if pid.is_some() || is_empty => Ok(Some(Stale { file, whose: whose(pid) })),
        Ok(()) => Err(InTheWay::NotOurs {
            what: "holds something that is no process id",
            remedy: "remove it, or name another file",
        }),
        Err(TryLockError::WouldBlock) => {
            let holder = Who::locking(&file).or_else(|| pid.and_then(Who::of_pid));
            let holder = match (holder, pid) {
                (Some(who), _) => who.to_string(),
                (None, Some(pid)) => format!("process {pid}"),
                (None, None) => "another process".to_owned(),
            };
            Err(InTheWay::Held(holder))
        }
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

fn pid_in(text: &[u8]) -> Option<i32> {
    if text.len() as u64 > BYTES_MAX {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 0)
}

fn whose(pid: Option<i32>) -> String {
    let Some(pid) = pid else { return "without a number".to_owned() };
    match Who::of_pid(pid) {
        Some(who) => format!("of a process that is gone; its number is that of {who} by now"),
        None => format!("of process {pid}, which is gone"),
    }
}

/// Gives a locked file with this process id its name.
fn put(mut unnamed: NamedTempFile, path: &Path) -> Result<File, InTheWay> {
    unnamed.as_file().lock()?;
    writeln!(unnamed, "{}", std::process::id())?;
    unnamed.as_file().sync_all()?;
    for _ in 0..TRIES_MAX {
        let persisted = match stale(path)? {
            None => unnamed.persist_noclobber(path),
            // Whoever replaced it had the lock before, so that this one is not there any more.
            Some(stale) if !is_at(&stale.file, path) => continue,
            Some(_locked) => unnamed.persist(path),
        };
        unnamed = match persisted {
            Ok(file) => return Ok(file),
            Err(failed) if failed.error.kind() == ErrorKind::AlreadyExists => failed.file,
            Err(failed) => return Err(failed.error.into()),
        };
    }
    Err(io::Error::other("other processes keep replacing it").into())
}

/// Whether this open file is the one at the path.
fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(open), Ok(there)) = (file.metadata(), fs::symlink_metadata(path)) else { return false };
    (open.dev(), open.ino()) == (there.dev(), there.ino())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) -> Result<PidFile, PidFileError> {
        Plan::choose(Some(path), None)?.expect("a place was set").write().map(Option::unwrap)
    }

    #[test]
    fn of_two_that_planned_the_same_place_the_second_finds_it_held() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let [first, second] =
            [(); 2].map(|()| Plan::choose(Some(&path), None).unwrap().expect("a place was set"));

        let first = first.write().unwrap();

        let held = second.write().unwrap_err();
        assert!(matches!(held, PidFileError::Held { .. }), "{held}");
        assert!(held.to_string().contains(&format!("process {}", std::process::id())), "{held}");
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(first);
        assert!(!path.exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_file_that_somebody_replaced_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let own = write(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(own);
        assert_eq!(fs::read_to_string(&path).unwrap(), "1\n");
    }

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let error = Plan::choose(Some(directory.path()), None).unwrap_err();
        assert!(error.to_string().contains("no file"), "{error}");
    }

    #[test]
    fn what_no_daemon_has_written_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        let long = format!("1{}", " ".repeat(100));
        for text in ["what?\n", "-1", "0", "1 2", "\u{0}", &long] {
            fs::write(&path, text).unwrap();
            let error = write(&path).unwrap_err().to_string();
            assert!(error.contains("it holds something that is no process id"), "{text}: {error}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::write(&path, "").unwrap();
        drop(write(&path).unwrap());
        for to in ["nothing", "file"] {
            fs::write(directory.path().join("file"), "1\n").unwrap();
            std::os::unix::fs::symlink(to, &path).unwrap();
            let error = write(&path).unwrap_err().to_string();
            assert!(error.contains("is a symbolic link; name the file itself"), "{error}");
            fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn without_the_right_to_the_default_the_directory_of_the_user_is_taken_or_none() {
        let directory = tempfile::tempdir().unwrap();
        // Below a file nobody can make a directory, root included.
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        let unwritable = file.join("astromeshd.pid");
        let of_user = directory.path().join(OF_USER);

        assert!(Plan::by_default(&unwritable, None).is_none());
        let plan = Plan::by_default(&unwritable, Some(directory.path())).unwrap();
        let own = plan.write().unwrap().unwrap();
        assert!(of_user.is_file());
        assert!(Plan::by_default(&unwritable, Some(directory.path())).is_none(), "it is held");
        drop(own);
    }
}
