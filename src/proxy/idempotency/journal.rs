//! The results on disk: numbered files to which a thread of its own appends.
//!
//! Owns the directory. A file begins with a line that names its format, then come records in the
//! order in which requests ended. A full file is followed by a new one, and the oldest are removed
//! when everything in them is forgotten, so the directory is a little larger than memory may be.
//! Records go to the operating system in groups, one write each, after their answers: the death of
//! the process loses none that was written, that of the host may lose the last ones.
//!
//! Refuses to fail a start or a request: what cannot be read is named in a warning and left behind,
//! what cannot be written is counted.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use super::record::Record;
use super::table::Table;

/// First in each file. Files of other versions are not read.
const FORMAT: &[u8] = b"astromesh results 1\n";

const FILE_ENDING: &str = ".results";

/// A file that is longer is not appended to.
const FILE_BYTES_FULL: u64 = 8 << 20;

/// A file that is longer is none of ours: a full one and the longest group.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The most files that are read; the oldest of more are removed.
const FILES_MAX: usize = 64;

/// Results that may wait for the thread. They are in memory anyway; more are not written.
const QUEUE_MAX: usize = 1_024;

/// A group is written when it has so many bytes.
const GROUP_BYTES: usize = 1 << 20;

/// The thread that writes. Dropping it waits until all is written.
#[derive(Debug)]
pub(super) struct Journal {
    /// `None` only while it is dropped.
    queue: Option<SyncSender<Message>>,
    thread: Option<JoinHandle<()>>,
    unsaved: Arc<AtomicU64>,
}

#[derive(Debug)]
pub(super) enum Message {
    Write {
        sequence: u64,
        /// All of lower sequences are forgotten.
        oldest: u64,
        record: Arc<Record>,
    },
    /// Answered when all before it is written.
    Flush(SyncSender<()>),
}

impl Journal {
    /// Reads what the directory holds, oldest first, into the table; then begins to write. `None`
    /// when nothing can be written there.
    pub(super) fn open(directory: &Path, now: u64, table: &mut Table) -> Option<Self> {
        let warn = |error: &io::Error| {
            tracing::warn!(
                path = %directory.display(),
                %error,
                "results of requests with an Idempotency-Key are kept in memory only",
            );
        };
        let files = fs::create_dir_all(directory)
            .and_then(|()| Files::read(directory, now, table))
            .inspect_err(warn)
            .ok()?;
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let unsaved = Arc::new(AtomicU64::new(0));
        let lost = Arc::clone(&unsaved);
        let thread = std::thread::Builder::new()
            .name("results".to_owned())
            .spawn(move || write(files, &messages, &lost))
            .inspect_err(warn)
            .ok()?;
        Some(Self { queue: Some(queue), thread: Some(thread), unsaved })
    }

    /// Has a record written soon, without waiting.
    pub(super) fn write(&self, sequence: u64, oldest: u64, record: Arc<Record>) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(Message::Write { sequence, oldest, record }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                self.unsaved.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until all so far is written.
    pub(super) fn flush(&self) {
        let (done, written) = sync_channel(1);
        let sent =
            self.queue.as_ref().is_some_and(|queue| queue.send(Message::Flush(done)).is_ok());
        if sent {
            // An error means that the thread is gone, and with it what it had to write.
            written.recv().unwrap_or(());
        }
    }

    /// Results that could not be written.
    pub(super) fn unsaved(&self) -> u64 {
        self.unsaved.load(Ordering::Relaxed)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            drop(thread.join());
        }
    }
}

fn write(mut files: Files, messages: &Receiver<Message>, unsaved: &AtomicU64) {
    let mut group = Vec::new();
    while let Ok(first) = messages.recv() {
        let (mut last, mut oldest, mut count) = (0, 0, 0);
        let mut flushed = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Write { sequence, oldest: live, record } => {
                    record.write(&mut group);
                    (last, oldest, count) = (sequence, live, count + 1);
                }
                Message::Flush(done) => flushed.push(done),
            }
            next = if group.len() < GROUP_BYTES { messages.try_recv().ok() } else { None };
        }
        let written = if count > 0 { files.append(&group, last, oldest) } else { Ok(()) };
        if let Err(error) = written
            && unsaved.fetch_add(count, Ordering::Relaxed) == 0
        {
            tracing::warn!(
                path = %files.directory.display(),
                %error,
                "results of requests with an Idempotency-Key cannot be written",
            );
        }
        group.clear();
        for done in flushed {
            // Whoever waited may be gone.
            done.send(()).unwrap_or(());
        }
    }
}

/// The files of the directory.
struct Files {
    directory: PathBuf,
    /// Oldest first.
    list: VecDeque<Segment>,
    next_number: u64,
    /// The last of the list, open for appending; `None` until something is to be written.
    open: Option<File>,
}

struct Segment {
    path: PathBuf,
    bytes: u64,
    /// Highest sequence in it.
    last: u64,
}

impl Files {
    fn read(directory: &Path, now: u64, table: &mut Table) -> io::Result<Self> {
        let mut numbered: Vec<(u64, PathBuf)> = fs::read_dir(directory)?
            .filter_map(Result::ok)
            .filter_map(|entry| Some((number(&entry.path())?, entry.path())))
            .collect();
        numbered.sort();
        let mut files = Self {
            directory: directory.to_owned(),
            list: VecDeque::new(),
            next_number: numbered.last().map_or(0, |(number, _)| number + 1),
            open: None,
        };
        let surplus = numbered.len().saturating_sub(FILES_MAX);
        for (_, path) in numbered.drain(..surplus) {
            remove(&path);
        }
        for (_, path) in numbered {
            match read_file(&path, now, table) {
                Ok(Some(segment)) => files.list.push_back(segment),
                Ok(None) => remove(&path),
                Err(error) => tracing::warn!(
                    path = %path.display(),
                    %error,
                    "cannot read results of requests with an Idempotency-Key",
                ),
            }
        }
        files.remove_forgotten(table.oldest());
        Ok(files)
    }

    /// Removes the files in which all is forgotten, but the one that is written.
    fn remove_forgotten(&mut self, oldest: u64) {
        let kept = usize::from(self.open.is_some());
        while self.list.len() > kept && self.list.front().is_some_and(|file| file.last < oldest) {
            self.list.pop_front().iter().for_each(|file| remove(&file.path));
        }
    }

    /// Writes a group of records, of which the last has this sequence.
    fn append(&mut self, group: &[u8], last: u64, oldest: u64) -> io::Result<()> {
        self.remove_forgotten(oldest);
        if self.list.back().is_none_or(|segment| segment.bytes >= FILE_BYTES_FULL) {
            self.begin(last)?;
        }
        let segment = self.list.back_mut().expect("begun above, if there was none");
        let file = match &mut self.open {
            Some(file) => file,
            None => self.open.insert(OpenOptions::new().append(true).open(&segment.path)?),
        };
        if let Err(error) = file.write_all(group) {
            // Half a group would hide all that comes after it.
            file.set_len(segment.bytes)?;
            return Err(error);
        }
        segment.bytes += group.len() as u64;
        segment.last = last;
        Ok(())
    }

    /// Begins a new file.
    fn begin(&mut self, last: u64) -> io::Result<()> {
        let path = self.directory.join(format!("{:08}{FILE_ENDING}", self.next_number));
        self.next_number += 1;
        self.open = None;
        // Answers are nobody else's business.
        let mut file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(FORMAT)?;
        self.open = Some(file);
        self.list.push_back(Segment { path, bytes: FORMAT.len() as u64, last });
        Ok(())
    }
}

/// The number in the name of one of our files.
fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(FILE_ENDING)?.parse().ok()
}

/// Reads a file up to its end, or to the first record that is none, and cuts it there. `None` when
/// there is nothing in it that can be used.
fn read_file(path: &Path, now: u64, table: &mut Table) -> io::Result<Option<Segment>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let whole = bytes.len();
    let Some(mut rest) = bytes.strip_prefix(FORMAT) else {
        tracing::warn!(path = %path.display(), "a file holds no results of this version; removed");
        return Ok(None);
    };
    let mut last = None;
    while let Some(record) = Record::take(&mut rest) {
        let (sequence, _) = table.keep(now, Arc::new(record));
        last = Some(sequence);
    }
    if !rest.is_empty() {
        tracing::warn!(
            path = %path.display(),
            bytes = rest.len(),
            "the end of a file of results is damaged, as after a crash; it is cut off",
        );
        OpenOptions::new().write(true).open(path)?.set_len((whole - rest.len()) as u64)?;
    }
    let bytes = (whole - rest.len()) as u64;
    Ok(last.map(|last| Segment { path: path.to_owned(), bytes, last }))
}

fn remove(path: &Path) {
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(path = %path.display(), %error, "cannot remove an old file of results");
    }
}
