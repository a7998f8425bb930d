//! The way of lines to a stream, on which nobody waits.
//!
//! Whoever has a line appends it to a buffer; a thread of this module writes the buffer to the
//! stream. So a stream that is slow or stuck delays nothing: when the buffer is full, lines are
//! dropped and counted.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant, SystemTime};

use super::entry::{Entry, Fields};
use super::shape::{Clock, Shape};

/// A buffer that holds this much takes no more lines: 0.4 s of 40,000 requests a second.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// At this fill the writer is woken before its time.
const BUFFER_BYTES_HIGH: usize = 512 << 10;
/// Time between two writes while lines keep coming.
const WRITE_INTERVAL: Duration = Duration::from_millis(50);
/// Looks in a row that find no line before the writer sleeps until there is one, 10 s: to be woken is
/// at the cost of whoever has a line, just when the next request comes, and of the processors.
const IDLE_LOOKS_MAX: u32 = 200;
/// Time to write what is left when the process stops.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Where lines end up.
pub(in crate::telemetry) trait Output: Send + 'static {
    /// Writes so many whole lines; returns how many of them are lost.
    fn write(&mut self, text: &[u8], lines: u64) -> u64;

    /// Opens again what others may have moved away.
    fn reopen(&mut self) {}
}

/// Standard error, and in tests whatever takes bytes.
#[derive(Debug)]
pub(in crate::telemetry) struct Stream<W>(pub(in crate::telemetry) W);

impl<W: Write + Send + 'static> Output for Stream<W> {
    fn write(&mut self, text: &[u8], lines: u64) -> u64 {
        let is_written = self.0.write_all(text).and_then(|()| self.0.flush()).is_ok();
        if is_written { 0 } else { lines }
    }
}

/// Where lines are handed in; clones share a buffer.
#[derive(Debug, Clone)]
pub(in crate::telemetry) struct Pipe {
    shape: Shape,
    shared: Arc<Shared>,
}

/// The thread that writes. Dropping it writes what is left, and gives up when the stream takes
/// nothing for a second. Lines handed in later are dropped and counted.
#[derive(Debug)]
pub(in crate::telemetry) struct Writer {
    pipe: Pipe,
    ended: Receiver<()>,
}

#[derive(Debug, Default)]
struct Shared {
    buffer: Mutex<Buffer>,
    /// The writer waits for a line, not for a moment.
    is_asleep: AtomicBool,
    is_stopping: AtomicBool,
    is_reopening: AtomicBool,
    writer: OnceLock<Thread>,
    written: AtomicU64,
    dropped: AtomicU64,
    /// Looks of the writer into the buffer.
    rounds: AtomicU64,
}

#[derive(Debug, Default)]
struct Buffer {
    text: Vec<u8>,
    /// Lines in `text`.
    lines: u64,
    /// `text` will not be looked at again.
    is_closed: bool,
    clock: Clock,
}

/// Starts a writer, on a thread of this name.
///
/// # Errors
/// The system gives no thread.
pub(in crate::telemetry) fn start(
    name: &str,
    shape: Shape,
    output: impl Output,
) -> io::Result<Writer> {
    let pipe = Pipe { shape, shared: Arc::default() };
    let (end, ended) = mpsc::channel();
    let shared = Arc::clone(&pipe.shared);
    let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
        run(&shared, output);
        // The other end is gone when nobody waited.
        end.send(()).unwrap_or(());
    })?;
    pipe.shared.writer.get_or_init(|| thread.thread().clone());
    Ok(Writer { pipe, ended })
}

impl Writer {
    /// Where lines are handed in.
    pub(in crate::telemetry) fn pipe(&self) -> Pipe {
        self.pipe.clone()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.pipe.shared.is_stopping.store(true, Ordering::Relaxed);
        self.pipe.shared.wake();
        // Either it has ended, or the stream is stuck and the exit must not be.
        self.ended.recv_timeout(FLUSH_MAX).unwrap_or(());
    }
}

impl Pipe {
    /// Hands a line in. Waits for nothing but others that do.
    pub(in crate::telemetry) fn write<F: Fields + ?Sized>(
        &self,
        now: SystemTime,
        entry: &Entry<'_, F>,
    ) {
        let mut buffer = lock(&self.shared.buffer);
        let before = buffer.text.len();
        if buffer.is_closed || before >= BUFFER_BYTES_MAX {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let Buffer { text, lines, clock, .. } = &mut *buffer;
        clock.set(now);
        self.shape.append(text, clock, entry);
        *lines += 1;
        let after = text.len();
        drop(buffer);
        let is_high = before < BUFFER_BYTES_HIGH && after >= BUFFER_BYTES_HIGH;
        // The writer looks into the buffer between saying that it sleeps and sleeping, so it has
        // either seen this line, or this thread now sees that it sleeps.
        let sleeps = || self.shared.is_asleep.load(Ordering::Relaxed);
        if is_high || (sleeps() && self.shared.is_asleep.swap(false, Ordering::Relaxed)) {
            self.shared.wake();
        }
    }

    /// What lines look like.
    pub(super) const fn shape(&self) -> Shape {
        self.shape
    }

    /// Lines written, and lines dropped.
    pub(super) fn lines(&self) -> [u64; 2] {
        [&self.shared.written, &self.shared.dropped].map(|count| count.load(Ordering::Relaxed))
    }

    /// Has the output opened again, before the next line is written.
    pub(super) fn reopen(&self) {
        self.shared.is_reopening.store(true, Ordering::Relaxed);
        self.shared.wake();
    }

    /// Waits until what was handed in is written, at most a second.
    pub(super) fn flush(&self) {
        // The round at hand may have passed by a line; the next one finds it.
        let rounds = || self.shared.rounds.load(Ordering::Relaxed);
        let (before, started) = (rounds(), Instant::now());
        while rounds() < before + 2 && started.elapsed() < FLUSH_MAX {
            self.shared.wake();
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }
}

/// Nothing can panic while a lock is held, and a broken log must not break requests.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer: until told to stop, and once more after that.
fn run(shared: &Shared, mut output: impl Output) {
    let mut spare = Vec::new();
    let mut idle_looks = 0;
    loop {
        let is_stopping = shared.is_stopping.load(Ordering::Relaxed);
        if shared.is_reopening.swap(false, Ordering::Relaxed) {
            output.reopen();
        }
        let lines = {
            let mut buffer = lock(&shared.buffer);
            buffer.is_closed = is_stopping;
            std::mem::swap(&mut buffer.text, &mut spare);
            std::mem::take(&mut buffer.lines)
        };
        let is_idle = lines == 0;
        if !is_idle {
            let lost = output.write(&spare, lines);
            shared.written.fetch_add(lines.saturating_sub(lost), Ordering::Relaxed);
            shared.dropped.fetch_add(lost, Ordering::Relaxed);
            spare.clear();
        }
        shared.rounds.fetch_add(1, Ordering::Relaxed);
        if is_stopping {
            return;
        }
        idle_looks = if is_idle { idle_looks + 1 } else { 0 };
        if idle_looks <= IDLE_LOOKS_MAX {
            shared.is_asleep.store(false, Ordering::Relaxed);
            thread::park_timeout(WRITE_INTERVAL);
        } else if shared.is_asleep.swap(true, Ordering::Relaxed) {
            // It has looked once more since it said so: only a line ends this sleep.
            thread::park();
        }
    }
}

#[cfg(test)]
pub(in crate::telemetry) mod tests {
    use std::sync::mpsc::Sender;

    use tracing::Level;

    use super::*;
    use crate::telemetry::logging::shape::Colour;

    const ENTRY: Entry<'_> =
        Entry { level: Level::INFO, target: "access", message: b"end", fields: &[], place: None };
    const TEXT: Shape = Shape::Text(Colour::Off);

    fn write(pipe: &Pipe) {
        pipe.write(SystemTime::now(), &ENTRY);
    }

    /// A stream that keeps what is written.
    #[derive(Clone, Default)]
    pub(in crate::telemetry) struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Kept {
        pub(in crate::telemetry) fn text(&self) -> String {
            String::from_utf8(lock(&self.0).clone()).unwrap()
        }
    }

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_of_all_threads_are_whole_and_written_before_the_end() {
        let stream = Kept::default();
        let writer = start("log-test", TEXT, Stream(stream.clone())).unwrap();
        let pipe = writer.pipe();
        thread::scope(|scope| {
            for _ in 0..3 {
                let pipe = pipe.clone();
                scope.spawn(move || (0..1000).for_each(|_| write(&pipe)));
            }
        });
        drop(writer);
        let text = stream.text();
        assert_eq!(text.lines().count(), 3000);
        assert!(text.lines().all(|line| line.ends_with("Z  INFO access: end")));
        assert_eq!(pipe.lines(), [3000, 0]);
        write(&pipe);
        write(&pipe);
        assert_eq!(pipe.lines(), [3000, 2], "nobody writes these any more");
    }

    #[test]
    fn what_was_handed_in_is_written_after_a_flush() {
        let stream = Kept::default();
        let writer = start("log-test", TEXT, Stream(stream.clone())).unwrap();
        let pipe = writer.pipe();
        for count in 1..=20 {
            write(&pipe);
            pipe.flush();
            assert_eq!(stream.text().lines().count(), count);
        }
    }

    #[test]
    fn in_a_short_pause_the_writer_looks_by_itself_and_nobody_has_to_wake_it() {
        let writer = start("log-test", TEXT, Stream(Kept::default())).unwrap();
        let pipe = writer.pipe();
        write(&pipe);
        let rounds = || pipe.shared.rounds.load(Ordering::Relaxed);
        let (before, started) = (rounds(), Instant::now());
        while rounds() < before + 5 {
            assert!(started.elapsed() < Duration::from_secs(20), "it does not look any more");
            thread::yield_now();
        }
        assert!(!pipe.shared.is_asleep.load(Ordering::Relaxed));
    }

    /// Says when it is written to and goes on when told.
    struct Stuck(Sender<usize>, Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.len()).map_err(io::Error::other)?;
            self.1.recv().map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_stream_drops_lines_and_counts_them_and_recovers() {
        let (entered, enter) = mpsc::channel();
        let (go_on, gone_on) = mpsc::channel();
        let writer = start("log-test", TEXT, Stream(Stuck(entered, gone_on))).unwrap();
        let pipe = writer.pipe();
        write(&pipe);
        let bytes = enter.recv().unwrap();
        let fitting = BUFFER_BYTES_MAX.div_ceil(bytes);
        for _ in 0..fitting + 3 {
            write(&pipe);
        }
        assert_eq!(pipe.lines(), [0, 3]);
        go_on.send(()).unwrap();
        assert_eq!(enter.recv().unwrap(), fitting * bytes);
        assert_eq!(pipe.lines(), [1, 3]);
        // The stream is closed under the next write.
        drop(go_on);
        drop(writer);
        assert_eq!(pipe.lines(), [1, 3 + fitting as u64]);
    }
}
