//! The access log: a line for each request, in the shape of the other log lines.
//!
//! Whoever serves a request appends a line to a buffer of its thread; a thread of this module
//! writes the buffers to the stream. So a stream that is slow or stuck delays no request: when a
//! buffer is full, lines are dropped and counted. Neither bodies nor keys nor query strings are
//! ever in a line.

use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A buffer that holds this much takes no more lines: 0.4 s of 40,000 requests a second.
const BUFFER_BYTES_MAX: usize = 4 << 20;
/// At this fill the writer is woken before its time.
const BUFFER_BYTES_HIGH: usize = 512 << 10;
/// Threads with a buffer of their own; more than that share.
const BUFFERS_MAX: usize = 64;
/// Time between two writes while lines keep coming.
const WRITE_INTERVAL: Duration = Duration::from_millis(50);
/// Time to write what is left when the node stops.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Longer values of clients and operators are cut to this.
const VALUE_BYTES_MAX: usize = 1024;

/// One request that ended.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Address and port of the client, as text, since a connection has many requests.
    pub client: &'a str,
    /// As sent.
    pub method: &'a [u8],
    /// As sent, without the query.
    pub path: &'a [u8],
    /// Of the answer; 0 when none was sent.
    pub status: u16,
    /// The id of the request.
    pub request_id: &'a [u8],
    /// The name of the node that served it; empty when none did.
    pub node: &'a str,
    /// Nodes that were tried.
    pub tried: u32,
    /// Bytes written to the client.
    pub bytes_out: u64,
    /// From the head of the request to the last byte of the answer.
    pub duration: Duration,
    /// From asking the last node to the head of its answer.
    pub upstream: Option<Duration>,
}

/// Where lines are handed in; clones share a buffer.
#[derive(Debug, Clone)]
pub struct AccessLog {
    buffer: Arc<Mutex<Buffer>>,
    shared: Arc<Shared>,
}

/// The thread that writes. Dropping it writes what is left, as [`Writer::stop`] does.
#[derive(Debug)]
pub struct Writer {
    log: AccessLog,
    thread: Thread,
    ended: Receiver<()>,
}

#[derive(Debug, Default)]
struct Shared {
    buffers: Mutex<Buffers>,
    /// The writer waits for a line, not for a moment.
    is_asleep: AtomicBool,
    is_stopping: AtomicBool,
    writer: OnceLock<Thread>,
    written: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Buffers {
    list: Vec<Arc<Mutex<Buffer>>>,
    /// The writer has ended.
    is_closed: bool,
}

#[derive(Debug, Default)]
struct Buffer {
    text: Vec<u8>,
    /// Lines in `text`.
    lines: u64,
    /// `text` will not be looked at again.
    is_closed: bool,
    /// The second of the line before, and how that is written.
    second: u64,
    stamp: String,
}

/// Starts the writer, on standard error.
///
/// # Errors
/// The system gives no thread.
pub fn start() -> io::Result<Writer> {
    start_on(io::stderr())
}

fn start_on(stream: impl Write + Send + 'static) -> io::Result<Writer> {
    let log = AccessLog { buffer: Arc::default(), shared: Arc::default() };
    lock(&log.shared.buffers).list.push(Arc::clone(&log.buffer));
    let (end, ended) = mpsc::channel();
    let shared = Arc::clone(&log.shared);
    let thread = thread::Builder::new().name("access-log".to_owned()).spawn(move || {
        run(&shared, stream);
        // The other end is gone when the node did not wait.
        end.send(()).unwrap_or(());
    })?;
    let thread = thread.thread().clone();
    log.shared.writer.get_or_init(|| thread.clone());
    Ok(Writer { log, thread, ended })
}

impl Writer {
    /// Where lines are handed in.
    #[must_use]
    pub fn log(&self) -> AccessLog {
        self.log.clone()
    }

    /// Writes what is left and ends the thread; gives up when the stream takes nothing for a
    /// second. Lines handed in later are dropped and counted.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.log.shared.is_stopping.store(true, Ordering::Relaxed);
        self.thread.unpark();
        // Either it has ended, or the stream is stuck and exit must not be.
        self.ended.recv_timeout(FLUSH_MAX).unwrap_or(());
    }
}

impl AccessLog {
    /// The same log, for one more thread that serves requests.
    #[must_use]
    pub fn for_worker(&self) -> Self {
        let mut buffers = lock(&self.shared.buffers);
        let mut buffer = Arc::clone(&self.buffer);
        if buffers.list.len() < BUFFERS_MAX {
            let is_closed = buffers.is_closed;
            buffer = Arc::new(Mutex::new(Buffer { is_closed, ..Buffer::default() }));
            buffers.list.push(Arc::clone(&buffer));
        }
        Self { buffer, shared: Arc::clone(&self.shared) }
    }

    /// Hands a line in. Waits for nothing but other threads that share the buffer.
    pub fn write(&self, line: &Line<'_>) {
        let mut buffer = lock(&self.buffer);
        let before = buffer.text.len();
        if buffer.is_closed || before >= BUFFER_BYTES_MAX {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        buffer.append(SystemTime::now(), line);
        let after = buffer.text.len();
        drop(buffer);
        let is_high = before < BUFFER_BYTES_HIGH && after >= BUFFER_BYTES_HIGH;
        // The writer looks into all buffers between saying that it sleeps and sleeping, so it has
        // either seen this line, or this thread now sees that it sleeps.
        let sleeps = || self.shared.is_asleep.load(Ordering::Relaxed);
        if is_high || (sleeps() && self.shared.is_asleep.swap(false, Ordering::Relaxed)) {
            self.shared.wake();
        }
    }

    /// Lines written, and lines dropped.
    #[must_use]
    pub fn lines(&self) -> [u64; 2] {
        [&self.shared.written, &self.shared.dropped].map(|count| count.load(Ordering::Relaxed))
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
fn run(shared: &Shared, mut stream: impl Write) {
    let mut spare = Vec::new();
    loop {
        let is_stopping = shared.is_stopping.load(Ordering::Relaxed);
        let buffers = {
            let mut buffers = lock(&shared.buffers);
            buffers.is_closed = is_stopping;
            buffers.list.clone()
        };
        let mut is_idle = true;
        for buffer in &buffers {
            let lines = {
                let mut buffer = lock(buffer);
                buffer.is_closed = is_stopping;
                if buffer.lines == 0 {
                    continue;
                }
                std::mem::swap(&mut buffer.text, &mut spare);
                std::mem::take(&mut buffer.lines)
            };
            is_idle = false;
            let is_written = stream.write_all(&spare).and_then(|()| stream.flush()).is_ok();
            let fate = if is_written { &shared.written } else { &shared.dropped };
            fate.fetch_add(lines, Ordering::Relaxed);
            spare.clear();
        }
        if is_stopping {
            return;
        }
        if !is_idle {
            shared.is_asleep.store(false, Ordering::Relaxed);
            thread::park_timeout(WRITE_INTERVAL);
        } else if shared.is_asleep.swap(true, Ordering::Relaxed) {
            // The second look in a row without a line: only a line ends this sleep.
            thread::park();
        }
    }
}

impl Buffer {
    fn append(&mut self, now: SystemTime, line: &Line<'_>) {
        self.append_time(now);
        let text = &mut self.text;
        text.extend_from_slice(b"  INFO access: request ended client=");
        text.extend_from_slice(line.client.as_bytes());
        text.extend_from_slice(b" http.method=");
        append_value(text, line.method);
        text.extend_from_slice(b" http.path=");
        append_value(text, line.path);
        text.extend_from_slice(b" http.status=");
        append_number(text, line.status);
        text.extend_from_slice(b" request.id=");
        append_value(text, line.request_id);
        if !line.node.is_empty() {
            text.extend_from_slice(b" node=");
            append_value(text, line.node.as_bytes());
        }
        text.extend_from_slice(b" tried=");
        append_number(text, line.tried);
        text.extend_from_slice(b" bytes_out=");
        append_number(text, line.bytes_out);
        text.extend_from_slice(b" duration_ms=");
        append_ms(text, line.duration);
        if let Some(upstream) = line.upstream {
            text.extend_from_slice(b" upstream_ms=");
            append_ms(text, upstream);
        }
        text.push(b'\n');
        self.lines += 1;
    }

    /// As in `2026-11-22T04:05:06.789012Z`, like the other log lines.
    fn append_time(&mut self, now: SystemTime) {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = now.as_secs();
        if self.stamp.is_empty() || self.second != second {
            let seconds = i64::try_from(second).unwrap_or_default();
            let stamp = Timestamp::from_second(seconds).unwrap_or_default().to_string();
            stamp.trim_end_matches('Z').clone_into(&mut self.stamp);
            self.second = second;
        }
        self.text.extend_from_slice(self.stamp.as_bytes());
        self.text.push(b'.');
        append_padded(&mut self.text, now.subsec_micros(), 6);
        self.text.push(b'Z');
    }
}

fn append_number(text: &mut Vec<u8>, number: impl itoa::Integer) {
    text.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// With zeros in front, to this width.
fn append_padded(text: &mut Vec<u8>, number: u32, width: usize) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    let zeros = width.saturating_sub(digits.len());
    text.extend_from_slice(&b"000000"[..zeros]);
    text.extend_from_slice(digits);
}

/// To the microsecond.
fn append_ms(text: &mut Vec<u8>, duration: Duration) {
    let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    append_number(text, us / 1000);
    text.push(b'.');
    append_padded(text, u32::try_from(us % 1000).unwrap_or_default(), 3);
}

/// What came from outside: nobody may begin a line or a field in somebody else's log.
fn append_value(text: &mut Vec<u8>, value: &[u8]) {
    let kept = &value[..value.len().min(VALUE_BYTES_MAX)];
    if kept.iter().all(u8::is_ascii_graphic) {
        text.extend_from_slice(kept);
    } else {
        for byte in kept {
            if byte.is_ascii_graphic() {
                text.push(*byte);
            } else {
                let digit = |nibble: u8| char::from_digit(nibble.into(), 16).unwrap_or('0') as u8;
                text.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    if kept.len() < value.len() {
        text.extend_from_slice("…".as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::Sender;

    use super::*;

    const LINE: Line<'_> = Line {
        client: "192.0.2.7:40112",
        method: b"POST",
        path: b"/v1/agents/support/run",
        status: 200,
        request_id: b"abc-123",
        node: "worker-1",
        tried: 2,
        bytes_out: 512,
        duration: Duration::from_nanos(12_034_999),
        upstream: Some(Duration::from_micros(7)),
    };

    #[derive(Clone, Default)]
    struct Stream(Arc<Mutex<Vec<u8>>>);

    impl Stream {
        fn text(&self) -> String {
            String::from_utf8(lock(&self.0).clone()).unwrap()
        }
    }

    impl Write for Stream {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn text(at: Duration, line: &Line<'_>) -> String {
        let mut buffer = Buffer::default();
        buffer.append(UNIX_EPOCH + at, line);
        String::from_utf8(buffer.text).unwrap()
    }

    #[test]
    fn a_line_has_the_shape_of_the_other_log_lines() {
        assert_eq!(
            text(Duration::from_micros(1_795_320_306_000_089), &LINE),
            "2026-11-22T04:05:06.000089Z  INFO access: request ended client=192.0.2.7:40112 \
             http.method=POST http.path=/v1/agents/support/run http.status=200 \
             request.id=abc-123 node=worker-1 tried=2 bytes_out=512 duration_ms=12.034 \
             upstream_ms=0.007\n"
        );
        let refused = Line { status: 0, node: "", tried: 0, upstream: None, ..LINE };
        assert_eq!(
            text(Duration::ZERO, &refused),
            "1970-01-01T00:00:00.000000Z  INFO access: request ended client=192.0.2.7:40112 \
             http.method=POST http.path=/v1/agents/support/run http.status=0 \
             request.id=abc-123 tried=0 bytes_out=512 duration_ms=12.034\n"
        );
    }

    #[test]
    fn nobody_can_write_lines_or_fields_of_others() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        let cases: [(&[u8], &str); 4] = [
            (b"/a\nb", "/a\\x0ab"),
            (b"/a b=c\x1b[0m", "/a\\x20b=c\\x1b[0m"),
            ("/é".as_bytes(), "/\\xc3\\xa9"),
            (long.as_bytes(), &format!("{}…", &long[1..])),
        ];
        for (path, shown) in cases {
            let text = text(Duration::ZERO, &Line { path, ..LINE });
            assert!(text.contains(&format!(" http.path={shown} http.status=200 ")), "{text}");
        }
    }

    #[test]
    fn lines_of_all_threads_are_whole_and_written_before_the_end() {
        let stream = Stream::default();
        let writer = start_on(stream.clone()).unwrap();
        let log = writer.log();
        thread::scope(|scope| {
            for _ in 0..3 {
                let log = log.for_worker();
                scope.spawn(move || (0..1000).for_each(|_| log.write(&LINE)));
            }
        });
        writer.stop();
        let text = stream.text();
        assert_eq!(text.lines().count(), 3000);
        assert!(text.lines().all(|line| line.ends_with(" upstream_ms=0.007")));
        assert_eq!(log.lines(), [3000, 0]);
        log.write(&LINE);
        log.for_worker().write(&LINE);
        assert_eq!(log.lines(), [3000, 2], "nobody writes these any more");
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
        let writer = start_on(Stuck(entered, gone_on)).unwrap();
        let log = writer.log();
        log.write(&LINE);
        let bytes = enter.recv().unwrap();
        let fitting = BUFFER_BYTES_MAX.div_ceil(bytes);
        for _ in 0..fitting + 3 {
            log.write(&LINE);
        }
        assert_eq!(log.lines(), [0, 3]);
        go_on.send(()).unwrap();
        assert_eq!(enter.recv().unwrap(), fitting * bytes);
        assert_eq!(log.lines(), [1, 3]);
        // The stream is closed under the next write.
        drop(go_on);
        writer.stop();
        assert_eq!(log.lines(), [1, 3 + fitting as u64]);
    }
}
