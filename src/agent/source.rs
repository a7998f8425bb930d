//! The files that agents and providers come from: found in a directory, and read within bounds.
//!
//! Owns what was found to be wrong with them on the way. Reads synchronously, and logs nothing.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::file::FILE_BYTES_MAX;
use crate::config::{Origin, Problem};

/// What is wrong or odd about files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The files that were read, broken ones included.
    pub files: Vec<PathBuf>,
    /// What is wrong, file after file. Nothing comes of a file with a problem.
    pub problems: Vec<Problem>,
    /// What is odd, but keeps nothing from being used.
    pub warnings: Vec<String>,
}

impl Findings {
    /// Keeps the problems of a file in this directory, with the way to it.
    pub(super) fn found(&mut self, directory: &Path, problems: &[Problem]) {
        self.problems.extend(problems.iter().cloned().map(|mut problem| {
            if let Origin::File { path, .. } = &mut problem.origin {
                *path = directory.join(&*path);
            }
            problem
        }));
    }
}

/// The files of a directory whose names are wanted, in the order of their names; of more than `max`
/// the first. Names that begin with a dot are never wanted: editors keep locks and copies there. A directory that is missing has none.
pub(super) fn files(
    directory: &Path,
    is_wanted: impl Fn(&str) -> bool,
    max: usize,
    findings: &mut Findings,
) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            findings.problems.push(Problem {
                origin: Origin::File { path: directory.to_owned(), line: None },
                key: String::new(),
                value: None,
                what: format!("cannot be read: {error}"),
                remedy: "let the user of the daemon read it".to_owned(),
            });
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            let name = name(path);
            !name.starts_with('.') && is_wanted(&name)
        })
        .collect();
    paths.sort();
    if paths.len() > max {
        findings.warnings.push(format!(
            "{}: {} such files, of which only the first {max} by name are read",
            directory.display(),
            paths.len()
        ));
        paths.truncate(max);
    }
    findings.files.extend_from_slice(&paths);
    paths
}

/// The name of a file, without its directories.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A number that differs where texts do.
pub(super) fn content_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

/// The text of a file; the error says why there is none.
pub(super) fn text(path: &Path) -> Result<String, String> {
    let metadata = fs::metadata(path).map_err(|error| error.to_string())?;
    // Opening a pipe would wait for a writer.
    if !metadata.is_file() {
        return Err("not a file".to_owned());
    }
    let limit = u64::try_from(FILE_BYTES_MAX).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("larger than {FILE_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())
}
