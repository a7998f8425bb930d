//! Where the configuration is: the search for a directory, and the reading of its file.
//!
//! Owns the order of places. Refuses to look into the text.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::FILE_NAME;
use super::problem::{Origin, Problem, Problems};
use super::yaml::TEXT_BYTES_MAX;

/// The first place that holds the file. An explicit one must; of the others, any may.
///
/// What stands there under the name of the file counts, whatever it is: who put it there means it,
/// and reading it tells what is wrong.
pub(super) fn find_directory(
    explicit: Option<&Path>,
    places: &[PathBuf],
) -> Result<PathBuf, Problems> {
    if let Some(directory) = explicit {
        if holds_file(directory) {
            return Ok(directory.to_owned());
        }
        let (what, remedy) = if directory.is_file() {
            ("is a file, but --config takes a directory", "name the directory that holds the file")
        } else if directory.is_dir() {
            ("holds no runtime.yaml", "create it there, or name another directory with --config")
        } else {
            ("is no directory", "name a directory that holds a runtime.yaml with --config")
        };
        return Err(problem(directory, what, remedy));
    }
    if let Some(place) = places.iter().find(|place| holds_file(place)) {
        return Ok(place.clone());
    }
    let looked_at: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
    let what = format!("found in none of {}", looked_at.join(", "));
    let remedy = "create one there (astromeshctl init writes one), or name the directory that holds \
                  it with --config";
    Err(problem(Path::new(FILE_NAME), &what, remedy))
}

/// Whether there is anything of the file's name, or it cannot be told because the directory is
/// closed to us.
fn holds_file(directory: &Path) -> bool {
    match fs::symlink_metadata(directory.join(FILE_NAME)) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::PermissionDenied,
    }
}

/// The text of a file, if it is no longer than a YAML text may be.
pub(super) fn read_text(file: &Path) -> Result<String, Problems> {
    let refused = |error: io::Error| {
        let is_link = fs::symlink_metadata(file).is_ok_and(|metadata| metadata.is_symlink());
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => {
                "let the user of the daemon read it, or name another directory with --config"
            }
            ErrorKind::NotFound if is_link => "it is a link to nothing: mend or remove it",
            ErrorKind::InvalidData => "save the file as UTF-8",
            _ => "make sure that the file can be read",
        };
        problem(file, &format!("cannot be read: {error}"), remedy)
    };
    // Before it is opened: opening a pipe would wait for somebody to write into it.
    let metadata = fs::metadata(file).map_err(refused)?;
    if !metadata.is_file() {
        let what = if metadata.is_dir() { "is a directory" } else { "is no regular file" };
        return Err(problem(file, what, "put a file with YAML text there"));
    }
    let mut text = String::new();
    // One byte more than allowed, so that the YAML reader sees and refuses what is too long.
    let bytes_max = u64::try_from(TEXT_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    File::open(file)
        .and_then(|opened| opened.take(bytes_max).read_to_string(&mut text))
        .map_err(refused)?;
    Ok(text)
}

fn problem(file: &Path, what: &str, remedy: &str) -> Problems {
    Problems::from(Problem {
        origin: Origin::file(file),
        key: String::new(),
        value: None,
        what: what.to_owned(),
        remedy: remedy.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_place_with_the_file_is_taken() {
        let root = tempfile::tempdir().unwrap();
        let [missing, empty, first, second] =
            ["missing", "empty", "first", "second"].map(|name| root.path().join(name));
        for directory in [&empty, &first, &second] {
            fs::create_dir(directory).unwrap();
        }
        for directory in [&first, &second] {
            fs::write(directory.join(FILE_NAME), "").unwrap();
        }
        let places = [missing.clone(), empty.clone(), first.clone(), second.clone()];

        assert_eq!(find_directory(None, &places).unwrap(), first);
        assert_eq!(find_directory(Some(&second), &places).unwrap(), second);

        let error = find_directory(None, &places[..2]).unwrap_err();
        assert_eq!(
            error.list()[0].what,
            format!("found in none of {}, {}", missing.display(), empty.display())
        );
    }

    #[test]
    fn an_explicit_place_without_the_file_is_refused_for_its_reason() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("other.yaml");
        fs::write(&file, "").unwrap();
        let what =
            |place: &Path| find_directory(Some(place), &[]).unwrap_err().list()[0].what.clone();

        assert_eq!(what(root.path()), "holds no runtime.yaml");
        assert_eq!(what(&file), "is a file, but --config takes a directory");
        assert_eq!(what(&root.path().join("missing")), "is no directory");
    }
}
