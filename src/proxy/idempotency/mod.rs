//! Requests with an `Idempotency-Key`: each runs once, and every repeat gets the same answer.
//!
//! Owns what is known of each key: that a request with it is running, or how it ended. Answers are
//! kept for 24 hours, also over a restart, within [`Bounds`]. Refuses to read requests and to write
//! answers: the worker's side of the proxy asks [`Results::begin`] what to do, and records the
//! answer of a request that runs.
//!
//! * A repeat while the first one runs waits for its end, whatever that is.
//! * Answers of 500 and above, and of 408, 425 and 429, are not kept: the request may run again.
//! * A run whose recorder is dropped, as its caller left or the node that ran it was lost, counts
//!   as none.
//! * Of an answer that is too long to be kept it is known that it was given. Its repeats are
//!   refused, since running them would be a second run.
//!
//! `record` is one result, `table` all of them in memory, `journal` the files.

mod journal;
mod record;
mod table;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use tokio::sync::watch;

use journal::Journal;
use record::Record;
pub use record::{BadKey, Fingerprint, Fingerprinter, KEY_BYTES_MAX, Key, Stored};
pub use table::Bounds;
use table::{Slot, Table};

/// What is known of keys. Clones share it.
#[derive(Debug, Clone)]
pub struct Results {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bounds: Bounds,
    state: Mutex<State>,
    /// Of all answers that are being recorded.
    recorded_bytes: AtomicUsize,
    journal: Option<Journal>,
}

#[derive(Debug)]
struct State {
    table: Table,
    counts: Counts,
}

/// What to do with a request.
#[derive(Debug)]
pub enum Begin {
    /// Run it and record its answer.
    First(Recorder),
    /// Give this answer.
    Replay(Arc<Stored>),
    /// It is running: wait for its end.
    Running(Running),
    /// It has run, and its answer was too long to be kept.
    NotKept,
    /// The key belongs to another request. The caller's mistake.
    Mismatch,
}

/// How the request that others wait for ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// With this answer, kept or not.
    Answer(Arc<Stored>),
    /// With an answer that was too long to be kept.
    NotKept,
    /// Without a whole answer: ask [`Results::begin`] again.
    Abandoned,
}

/// What [`Results`] has counted since the start, and what is there now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were the first of their key.
    pub first: u64,
    /// Repeats that got a kept answer.
    pub replayed: u64,
    /// Repeats that waited for the first.
    pub waited: u64,
    /// Requests whose key belonged to another.
    pub mismatched: u64,
    /// Runs without a whole answer.
    pub abandoned: u64,
    /// Answers not kept as they were failures.
    pub failed: u64,
    /// Answers not kept as they were too long, or too many were recorded at once.
    pub too_long: u64,
    /// Answers that had to go before their time, for newer ones.
    pub evicted: u64,
    /// Answers in memory that are not on disk: it was too slow, or failed.
    pub unsaved: u64,
    /// Ended requests that are known.
    pub kept: usize,
    /// The memory they take, about, in bytes.
    pub kept_bytes: usize,
}

impl Results {
    /// Reads the results of earlier runs of the node from this directory, and writes there from now
    /// on. Blocks while it reads; files that cannot be used are named in the log and left out.
    #[must_use]
    pub fn open(directory: &Path, bounds: Bounds) -> Self {
        let mut table = Table::new(bounds);
        let journal = Journal::open(directory, unix_seconds(), &mut table);
        Self::with(bounds, table, journal)
    }

    /// Results that end with the process.
    #[must_use]
    pub fn in_memory(bounds: Bounds) -> Self {
        Self::with(bounds, Table::new(bounds), None)
    }

    fn with(bounds: Bounds, table: Table, journal: Option<Journal>) -> Self {
        let state = Mutex::new(State { table, counts: Counts::default() });
        let recorded_bytes = AtomicUsize::new(0);
        Self { inner: Arc::new(Inner { bounds, state, recorded_bytes, journal }) }
    }

    /// Whether a request with this key runs or has run.
    #[must_use]
    pub fn knows(&self, key: &Key) -> bool {
        self.inner.state().table.look(unix_seconds(), key).is_some()
    }

    /// What to do with a request that has this key and asks this.
    #[must_use]
    pub fn begin(&self, key: Key, fingerprint: Fingerprint) -> Begin {
        let mut guard = self.inner.state();
        let State { table, counts } = &mut *guard;
        match table.look(unix_seconds(), &key) {
            Some(Slot::Running { fingerprint: other, ended }) if *other == fingerprint => {
                counts.waited += 1;
                Begin::Running(Running { ended: ended.clone() })
            }
            Some(Slot::Done { record, .. }) if record.fingerprint == fingerprint => {
                match &record.answer {
                    Some(answer) => {
                        counts.replayed += 1;
                        Begin::Replay(Arc::clone(answer))
                    }
                    None => Begin::NotKept,
                }
            }
            Some(Slot::Running { .. } | Slot::Done { .. }) => {
                counts.mismatched += 1;
                Begin::Mismatch
            }
            None => {
                counts.first += 1;
                let (sender, ended) = watch::channel(None);
                table.run(key.clone(), fingerprint, ended);
                drop(guard);
                let inner = Arc::clone(&self.inner);
                let (recording, ended) = (Recording::NoHead, Some(sender));
                Begin::First(Recorder { inner, key, fingerprint, recording, ended })
            }
        }
    }

    /// All counts at one moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let state = self.inner.state();
        let (kept, kept_bytes) = state.table.kept();
        let unsaved = self.inner.journal.as_ref().map_or(0, Journal::unsaved);
        Counts { kept, kept_bytes, unsaved, ..state.counts }
    }

    /// Blocks until the results so far are with the operating system; for the end of the process.
    pub fn flush(&self) {
        if let Some(journal) = &self.inner.journal {
            journal.flush();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds the results")
    }
}

/// A running request with the same key.
#[derive(Debug)]
pub struct Running {
    ended: watch::Receiver<Option<Ended>>,
}

impl Running {
    /// Waits for its end. Dropping the future changes nothing for anybody else.
    pub async fn ended(mut self) -> Ended {
        match self.ended.wait_for(Option::is_some).await {
            Ok(ended) => ended.clone().unwrap_or(Ended::Abandoned),
            Err(_) => Ended::Abandoned,
        }
    }
}

/// Records the answer of a running request. Dropped before [`Recorder::finish`], the request has
/// not run: its key is free, and those who wait are told.
#[derive(Debug)]
pub struct Recorder {
    inner: Arc<Inner>,
    key: Key,
    fingerprint: Fingerprint,
    recording: Recording,
    /// `None` when it has been told.
    ended: Option<watch::Sender<Option<Ended>>>,
}

#[derive(Debug)]
enum Recording {
    /// Nothing yet.
    NoHead,
    /// All so far.
    Whole(Stored),
    /// More than is kept.
    TooLong { status: u16 },
}

impl Recorder {
    /// The answer begins: its status, and the header lines to give again, each ended by CR LF. A
    /// second head replaces the first.
    pub fn head(&mut self, status: u16, lines: &[u8]) {
        self.release();
        self.recording = Recording::Whole(Stored { status, head: Vec::new(), body: Vec::new() });
        self.extend(lines, |stored| &mut stored.head);
    }

    /// More of what comes after the head, as it is to be given again.
    pub fn push(&mut self, bytes: &[u8]) {
        self.extend(bytes, |stored| &mut stored.body);
    }

    fn extend(&mut self, bytes: &[u8], part: impl FnOnce(&mut Stored) -> &mut Vec<u8>) {
        let Recording::Whole(stored) = &mut self.recording else { return };
        let status = stored.status;
        let bounds = &self.inner.bounds;
        let fits = stored.head.len() + stored.body.len() + bytes.len() <= bounds.answer_bytes_max;
        if fits {
            let others = self.inner.recorded_bytes.fetch_add(bytes.len(), Ordering::Relaxed);
            part(stored).extend_from_slice(bytes);
            if others + bytes.len() <= bounds.bytes_max {
                return;
            }
        }
        self.release();
        self.recording = Recording::TooLong { status };
    }

    /// The answer is complete.
    pub fn finish(mut self) {
        self.release();
        let (status, answer) = match std::mem::replace(&mut self.recording, Recording::NoHead) {
            Recording::NoHead => return,
            Recording::Whole(stored) => (stored.status, Some(Arc::new(stored))),
            Recording::TooLong { status } => (status, None),
        };
        let is_kept = is_kept(status);
        let ended = match &answer {
            Some(answer) => Ended::Answer(Arc::clone(answer)),
            None if is_kept => Ended::NotKept,
            None => Ended::Abandoned,
        };
        let Some(sender) = self.ended.take() else { return };
        if is_kept {
            self.keep(answer);
        } else {
            let mut state = self.inner.state();
            state.counts.failed += 1;
            state.table.forget(&self.key);
        }
        sender.send_replace(Some(ended));
    }

    fn keep(&self, answer: Option<Arc<Stored>>) {
        let at = unix_seconds();
        let (key, fingerprint) = (self.key.clone(), self.fingerprint);
        let mut guard = self.inner.state();
        let State { table, counts } = &mut *guard;
        counts.too_long += u64::from(answer.is_none());
        let record = Arc::new(Record { at, key, fingerprint, answer });
        let (sequence, evicted) = table.keep(at, Arc::clone(&record));
        counts.evicted += evicted;
        if let Some(journal) = &self.inner.journal {
            // Does not wait; inside the lock, so that sequences reach the file in their order.
            journal.write(sequence, table.oldest(), record);
        }
    }

    /// Gives the bytes of the recording back to the bound on all of them.
    fn release(&self) {
        if let Recording::Whole(stored) = &self.recording {
            let bytes = stored.head.len() + stored.body.len();
            self.inner.recorded_bytes.fetch_sub(bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.ended.is_some() {
            self.release();
            let mut state = self.inner.state();
            state.counts.abandoned += 1;
            state.table.forget(&self.key);
        }
    }
}

/// Whether an answer with this status is one that a repeat must get, and not a failure after which
/// the request may run.
const fn is_kept(status: u16) -> bool {
    status < 500 && !matches!(status, 408 | 425 | 429)
}

/// The wall clock: ages must hold over a restart.
fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
