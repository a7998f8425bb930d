//! The log file: turned over when it is full, begun anew when somebody moves it away.
//!
//! Owns the file `astromeshd.log` and its forerunners `astromeshd.log.1` (the youngest) and up.
//! Never lets go of the process: while the disk is full or the directory gone, lines are lost and
//! counted, that is said once on the console, and it goes on as soon as it can.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::fcntl::OFlag;
use tracing::Level;

use super::entry::{Entry, Value};
use super::pipe::{Output, Pipe};
use super::shape::Shape;

/// On a disk that is all but full short lines are written and long ones are not. It is said that
/// lines are written again when none was lost for so long.
const CALM: Duration = Duration::from_secs(1);

/// The name of the file.
pub const FILE_NAME: &str = "astromeshd.log";

/// Where the file is, and how much is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// Made when it is missing.
    pub directory: PathBuf,
    /// A file that would become longer is turned over.
    pub bytes_max: u64,
    /// Files kept, the one that is written included; at least 1.
    pub files_max: u32,
    /// What its lines look like.
    pub shape: Shape,
}

/// The log file, which nobody else writes.
#[derive(Debug)]
pub(super) struct LogFile {
    settings: FileSettings,
    path: PathBuf,
    file: File,
    /// Device and inode of `file`.
    identity: (u64, u64),
    bytes: u64,
    /// Where it is said that the file cannot be written.
    console: Pipe,
    /// It was said that lines are lost, and not yet that they are written again.
    trouble: Option<Trouble>,
}

#[derive(Debug, Clone, Copy)]
struct Trouble {
    /// Lines lost since it was said.
    lost: u64,
    /// When the last one was.
    last: Instant,
}

impl LogFile {
    /// Opens the file, and locks it.
    ///
    /// # Errors
    /// The directory cannot be made, or the file not be written, or another process writes it.
    pub(super) fn open(settings: FileSettings, console: Pipe) -> io::Result<Self> {
        let path = settings.directory.join(FILE_NAME);
        let file = open(&path)?;
        let found = file.metadata()?;
        let (identity, bytes) = (identity(&found), found.len());
        Ok(Self { settings, path, file, identity, bytes, console, trouble: None })
    }

    /// Begins a new file if the one that is open is not that of the name any more.
    fn follow(&mut self) -> io::Result<()> {
        match fs::metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => {
                // Somebody may have emptied it.
                self.bytes = found.len();
                return Ok(());
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::NotFound) => {}
            Err(error) => return Err(error),
        }
        self.begin()
    }

    fn begin(&mut self) -> io::Result<()> {
        let file = open(&self.path)?;
        let found = file.metadata()?;
        (self.identity, self.bytes) = (identity(&found), found.len());
        self.file = file;
        Ok(())
    }

    /// Moves each file one number up, and begins a new one.
    fn turn_over(&mut self) -> io::Result<()> {
        // More may be kept from a time when more were allowed.
        let mut last = self.settings.files_max;
        while remove(&self.numbered(last))? {
            last += 1;
        }
        for number in (1..self.settings.files_max).rev() {
            let from = if number == 1 { self.path.clone() } else { self.numbered(number - 1) };
            match fs::rename(&from, self.numbered(number)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        if self.settings.files_max == 1 {
            remove(&self.path)?;
        }
        self.begin()
    }

    fn numbered(&self, number: u32) -> PathBuf {
        self.settings.directory.join(format!("{FILE_NAME}.{number}"))
    }

    /// Writes whole lines; with an error, those that are not written.
    fn append<'a>(&mut self, mut text: &'a [u8]) -> Result<(), (io::Error, &'a [u8])> {
        self.follow().map_err(|error| (error, text))?;
        while !text.is_empty() {
            let room = self.settings.bytes_max.saturating_sub(self.bytes);
            let mut length = whole_lines(text, usize::try_from(room).unwrap_or(usize::MAX));
            if length == 0 {
                if self.bytes > 0 {
                    self.turn_over().map_err(|error| (error, text))?;
                    continue;
                }
                // A line that is longer than any file may be has one of its own.
                length =
                    text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |end| end + 1);
            }
            let (part, rest) = text.split_at(length);
            if let Err(error) = self.file.write_all(part) {
                let kept = self.keep_whole_lines(part);
                return Err((error, &text[kept..]));
            }
            self.bytes += length as u64;
            text = rest;
        }
        Ok(())
    }

    /// After a part was written only in part: half a line would spoil the next one too. Returns how
    /// much of it stays.
    fn keep_whole_lines(&mut self, part: &[u8]) -> usize {
        let length = self.file.metadata().map_or(self.bytes, |found| found.len());
        let written = usize::try_from(length.saturating_sub(self.bytes)).unwrap_or(usize::MAX);
        let kept = whole_lines(part, written);
        self.bytes += kept as u64;
        // On a disk that does not even do this, half a line it is.
        self.file.set_len(self.bytes).unwrap_or(());
        kept
    }

    fn say(&self, level: Level, message: &str, error: Option<&io::Error>, lines: u64) {
        let path = self.path.as_os_str().as_encoded_bytes();
        let error = error.map(ToString::to_string);
        let mut fields = vec![("path", path.into()), ("lines_lost", Value::Natural(lines))];
        fields.extend(error.as_ref().map(|error| ("error", error.as_bytes().into())));
        let entry = Entry {
            level,
            target: module_path!(),
            message: message.as_bytes(),
            fields: &*fields,
            place: Some((file!(), line!())),
        };
        self.console.write(SystemTime::now(), &entry);
    }
}

impl Output for LogFile {
    fn write(&mut self, text: &[u8], _lines: u64) -> u64 {
        match (self.append(text), self.trouble) {
            (Ok(()), None) => 0,
            (Ok(()), Some(trouble)) => {
                if trouble.last.elapsed() >= CALM {
                    self.say(Level::WARN, "the log file is written again", None, trouble.lost);
                    self.trouble = None;
                }
                0
            }
            (Err((error, rest)), before) => {
                let lost = memchr::memchr_iter(b'\n', rest).count() as u64;
                if before.is_none() {
                    let message = "the log file cannot be written; its lines are lost until it can: \
                                   make room, or let the daemon write there";
                    self.say(Level::ERROR, message, Some(&error), lost);
                }
                let before = before.map_or(0, |trouble| trouble.lost);
                self.trouble = Some(Trouble { lost: before + lost, last: Instant::now() });
                lost
            }
        }
    }

    fn reopen(&mut self) {
        // What hinders it is said when there is a line to write.
        self.follow().unwrap_or(());
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o750).create(directory)?;
    }
    // The check names what is there; the flag is for what is put there after it: opening a pipe
    // waits for its reader.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(no_file());
    }
    let flags = OFlag::O_NONBLOCK.bits();
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(0o640).custom_flags(flags);
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(no_file());
    }
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(io::Error::new(ErrorKind::ResourceBusy, "another process writes this file"))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn no_file() -> io::Error {
    io::Error::other("what is there is no regular file; move it away")
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Whether there was something to remove.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// The length of the longest run of whole lines that is no longer than this.
fn whole_lines(text: &[u8], bytes_max: usize) -> usize {
    if text.len() <= bytes_max {
        return text.len();
    }
    memchr::memrchr(b'\n', &text[..bytes_max]).map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::logging::pipe::tests::Kept;
    use crate::telemetry::logging::pipe::{Stream, Writer, start};
    use crate::telemetry::logging::shape::Colour;

    struct Place {
        directory: tempfile::TempDir,
        console: Kept,
        writer: Writer,
    }

    impl Place {
        fn new() -> Self {
            let console = Kept::default();
            let shape = Shape::Text(Colour::Off);
            let writer = start("log-test", shape, Stream(console.clone())).unwrap();
            Self { directory: tempfile::tempdir().unwrap(), console, writer }
        }

        fn open(&self, bytes_max: u64, files_max: u32) -> io::Result<LogFile> {
            let settings = FileSettings {
                directory: self.directory.path().join("log"),
                bytes_max,
                files_max,
                shape: Shape::Text(Colour::Off),
            };
            LogFile::open(settings, self.writer.pipe())
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join("log").join(name)
        }

        fn read(&self, name: &str) -> Option<String> {
            fs::read_to_string(self.path(name)).ok()
        }

        /// What is in the file and in its forerunners.
        fn all(&self) -> Vec<Option<String>> {
            ["", ".1", ".2", ".3"].map(|end| self.read(&format!("{FILE_NAME}{end}"))).to_vec()
        }

        fn said(&self) -> String {
            self.writer.pipe().flush();
            self.console.text()
        }
    }

    fn some(texts: &[&str]) -> Vec<Option<String>> {
        let mut all: Vec<_> = texts.iter().map(|text| Some((*text).to_owned())).collect();
        all.resize(4, None);
        all
    }

    #[test]
    fn a_full_file_is_turned_over_between_lines_and_the_oldest_goes() {
        let place = Place::new();
        let mut file = place.open(8, 3).unwrap();
        assert_eq!(file.write(b"11\n22\n33\n44\n", 4), 0);
        assert_eq!(place.all(), some(&["33\n44\n", "11\n22\n"]));
        assert_eq!(file.write(b"55\n66\n", 2), 0);
        assert_eq!(file.write(b"77\na line longer than a file\n88\n", 3), 0);
        assert_eq!(place.all(), some(&["88\n", "a line longer than a file\n", "77\n"]));
        // The next start allows fewer, and goes on where the last one ended.
        drop(file);
        let mut file = place.open(8, 2).unwrap();
        assert_eq!(file.write(b"9999\n00\n", 2), 0);
        assert_eq!(place.all(), some(&["00\n", "88\n9999\n"]));
        drop(file);
        let mut file = place.open(8, 1).unwrap();
        assert_eq!(file.write(b"abcdefg\n", 1), 0);
        assert_eq!(place.all(), some(&["abcdefg\n"]));
        assert_eq!(place.said(), "");
    }

    #[test]
    fn a_file_that_is_moved_away_emptied_or_removed_with_its_directory_is_begun_anew() {
        let place = Place::new();
        let mut file = place.open(20, 2).unwrap();
        file.write(b"one\n", 1);
        fs::rename(place.path(FILE_NAME), place.path("moved")).unwrap();
        file.write(b"two\n", 1);
        assert_eq!(place.read("moved").as_deref(), Some("one\n"));
        assert_eq!(place.all(), some(&["two\n"]));
        fs::rename(place.path(FILE_NAME), place.path("moved")).unwrap();
        file.reopen();
        assert_eq!(place.all(), some(&[""]), "also without a line");
        file.write(b"0123456789abcde\n", 1);
        File::options().write(true).truncate(true).open(place.path(FILE_NAME)).unwrap();
        file.write(b"0123456789abcde\n", 1);
        assert_eq!(place.all(), some(&["0123456789abcde\n"]), "an emptied file is not full");
        fs::remove_dir_all(place.directory.path().join("log")).unwrap();
        file.write(b"three\n", 1);
        assert_eq!(place.all(), some(&["three\n"]));
        assert_eq!(place.said(), "");
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_said_once_until_it_can() {
        let place = Place::new();
        let mut file = place.open(1000, 2).unwrap();
        let log = place.directory.path().join("log");
        fs::remove_dir_all(&log).unwrap();
        fs::write(&log, "in the way").unwrap();
        assert_eq!(file.write(b"1\n2\n", 2), 2);
        assert_eq!(file.write(b"3\n", 1), 1);
        let said = place.said();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("ERROR telemetry: the log file cannot be written"), "{said}");
        assert!(said.contains(" lines_lost=2 error=\"Not a directory"), "{said}");
        fs::remove_file(&log).unwrap();
        assert_eq!(file.write(b"4\n", 1), 0);
        assert_eq!(place.said().lines().count(), 1, "not before it is calm");
        file.trouble.as_mut().unwrap().last -= CALM;
        assert_eq!(file.write(b"5\n", 1), 0);
        assert_eq!(place.all(), some(&["4\n5\n"]));
        let said = place.said();
        assert_eq!(said.lines().count(), 2, "{said}");
        assert!(said.contains(" WARN telemetry: the log file is written again"), "{said}");
        assert!(said.ends_with(" lines_lost=3\n"), "{said}");
    }

    #[test]
    fn a_pipe_or_a_directory_in_the_place_of_the_file_is_refused_at_once() {
        let place = Place::new();
        fs::create_dir(place.directory.path().join("log")).unwrap();
        nix::unistd::mkfifo(&place.path(FILE_NAME), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = place.open(1000, 2).unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
        fs::remove_file(place.path(FILE_NAME)).unwrap();
        fs::create_dir(place.path(FILE_NAME)).unwrap();
        let error = place.open(1000, 2).unwrap_err();
        assert!(error.to_string().contains("no regular file"), "{error}");
    }

    #[test]
    fn a_second_process_is_refused() {
        let place = Place::new();
        let first = place.open(1000, 2).unwrap();
        let error = place.open(1000, 2).unwrap_err();
        assert_eq!(error.to_string(), "another process writes this file");
        drop(first);
        place.open(1000, 2).unwrap();
    }
}
