//! The files that agents and providers come from: found in a directory, and read within bounds.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::file::FILE_BYTES_MAX;

/// The files of a directory whose names are wanted, in the order of their names; of more than `max`
/// the first. A directory that is missing has none.
pub(super) fn files(
    directory: &Path,
    is_wanted: impl Fn(&str) -> bool,
    max: usize,
) -> Vec<PathBuf> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                tracing::warn!(path = %directory.display(), error = %error, "cannot read directory");
            }
            return Vec::new();
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| is_wanted(&name(path)))
        .collect();
    paths.sort();
    if paths.len() > max {
        tracing::warn!(
            path = %directory.display(), files = paths.len(),
            "more than {max} files; only the first {max} by name are read",
        );
        paths.truncate(max);
    }
    paths
}

/// The name of a file, without its directories.
pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
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
