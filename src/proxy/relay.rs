//! The body of an answer on its way to the client.
//!
//! Each part is written as it was read: chunks are neither cut anew nor put together, and nothing
//! more is read before the client has taken what there is. The body of the request goes on in the
//! other direction meanwhile. Owns the end of an answer that breaks off: a stream of events gets a
//! last one that says so, anything else ends so that the client can tell.

use std::future::poll_fn;
use std::ops::Range;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use smallvec::SmallVec;
use tokio::time::{Instant, timeout};

use super::client::{SendFault, Upload};
use super::exchange::Lane;
use super::http1::{BodyForm, BodyTracker, Framing, LAST_CHUNK, write_chunk};
use super::idempotency::Recorder;
use super::link::{Link, READ_BYTES_MIN};
use super::settings::{WINDOW_BYTES, after};
use super::timer::earlier;

/// Bytes of a cut chunk that are made up so that an event can follow; more are not worth it.
const FILL_BYTES_MAX: u64 = 64 * 1024;
/// Time for the client to take the last event.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its last byte.
    Whole,
    /// The client left.
    Gone,
    /// The connection to whoever answers broke.
    Broken,
    /// Nothing came for too long.
    Idle,
    /// The time for the whole request is over.
    Total,
    /// The node stops, and no longer waits for it.
    Cut,
}

/// The body of one answer. Its head has been written to [`Lane::reply`].
#[derive(Debug)]
pub(super) struct Relay<'a> {
    lane: &'a mut Lane,
    link: &'a mut Link,
    upload: &'a mut Upload,
    framing: Framing,
    tracker: BodyTracker,
    form: BodyForm,
    idle: Option<Duration>,
    total: Option<Instant>,
    /// Bytes at the start of [`Lane::down`] that are for the client.
    ready: usize,
    /// Room for the next read.
    room: usize,
    end: Option<End>,
    /// Something moved since the deadline was set.
    has_moved: bool,
    moved: Instant,
    /// Body bytes written to the client.
    passed: u64,
    /// When the first bytes were written.
    first: Option<Instant>,
    /// Keeps the answer for repeats of the request.
    recorder: Option<Recorder>,
}

impl<'a> Relay<'a> {
    /// Begins with what was read behind the head, which has been removed from [`Lane::down`].
    pub(super) fn new(
        lane: &'a mut Lane,
        link: &'a mut Link,
        upload: &'a mut Upload,
        framing: Framing,
        form: BodyForm,
        limits: (Option<Duration>, Option<Instant>),
    ) -> Self {
        let (idle, total) = limits;
        Self {
            lane,
            link,
            upload,
            framing,
            tracker: BodyTracker::new(framing),
            form,
            idle,
            total,
            ready: 0,
            room: READ_BYTES_MIN,
            end: None,
            has_moved: true,
            moved: Instant::now(),
            passed: 0,
            first: None,
            recorder: None,
        }
    }

    /// Keeps the answer for repeats of the request.
    pub(super) fn record(&mut self, recorder: Option<Recorder>) {
        self.recorder = recorder;
    }

    /// Relays until the answer has ended.
    pub(super) async fn run(&mut self) -> End {
        self.take(0);
        poll_fn(|context| {
            if self.lane.client.is_cut() {
                return Poll::Ready(End::Cut);
            }
            if let Poll::Ready(end) = self.poll_relay(context) {
                return Poll::Ready(end);
            }
            self.poll_time(context)
        })
        .await
    }

    fn poll_relay(&mut self, context: &mut Context<'_>) -> Poll<End> {
        loop {
            let lane = &mut *self.lane;
            match self.upload.poll_send(context, &mut lane.client, self.link, &mut lane.request) {
                Poll::Ready(Err(SendFault::Gone)) => return Poll::Ready(End::Gone),
                // The answer has begun: the rest of a bad body is of no interest.
                Poll::Ready(Err(SendFault::Body(_))) => self.upload.stop(),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            if !lane.reply.is_empty() || self.ready > 0 {
                let body = &lane.down[..self.ready];
                match lane.client.poll_write(context, &mut lane.reply, body) {
                    Poll::Ready(Ok(written)) => {
                        lane.down.advance(written);
                        self.ready -= written;
                        self.passed += written as u64;
                        self.first.get_or_insert_with(Instant::now);
                        self.has_moved = true;
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(End::Gone),
                    Poll::Pending => {}
                }
            } else if let Some(end) = self.end {
                return Poll::Ready(end);
            } else {
                let before = lane.down.len();
                match self.link.poll_read(context, &mut lane.down, self.room) {
                    Poll::Ready(end @ (Ok(0) | Err(_))) => {
                        // A reset ends no body, not even one that goes on until the end.
                        let is_whole = end.is_ok() && self.tracker.may_close();
                        self.has_read(if is_whole { End::Whole } else { End::Broken });
                        continue;
                    }
                    Poll::Ready(Ok(count)) => {
                        if count >= self.room {
                            self.room = (self.room * 2).min(WINDOW_BYTES);
                        }
                        self.take(before);
                        self.has_moved = true;
                        continue;
                    }
                    Poll::Pending => {}
                }
            }
            let is_gone = self.upload.poll_gone(context, &mut lane.client).is_ready();
            return if is_gone { Poll::Ready(End::Gone) } else { Poll::Pending };
        }
    }

    /// Takes in what was read from `start` on.
    fn take(&mut self, start: usize) {
        let down = &mut self.lane.down;
        let is_plain = self.form == BodyForm::Plain;
        let (progress, parts) = if is_plain || self.recorder.is_some() {
            let mut parts: SmallVec<[Range<usize>; 8]> = SmallVec::new();
            let progress = self.tracker.advance_with(&down[start..], |part| parts.push(part));
            if let Some(recorder) = &mut self.recorder {
                for part in &parts {
                    recorder.push(&down[start + part.start..start + part.end]);
                }
            }
            (progress, parts)
        } else {
            (self.tracker.advance(&down[start..]), SmallVec::new())
        };
        // What is wrong is not passed on, and the part before it is.
        let taken = match progress {
            Ok(progress) => progress.taken,
            Err(_) => self.tracker.retreat(),
        };
        self.ready = if is_plain { gather(down, start, taken, &parts) } else { start + taken };
        match progress {
            Ok(progress) if progress.is_done => self.has_read(End::Whole),
            Ok(_) => {}
            Err(_) => self.has_read(End::Broken),
        }
    }

    /// Nothing more is to be read. A whole answer is kept now: the run is over, also for a client
    /// that leaves before it has the last byte and comes again.
    fn has_read(&mut self, end: End) {
        self.end = Some(end);
        if let Some(recorder) = self.recorder.take()
            && end == End::Whole
        {
            recorder.finish();
        }
    }

    fn poll_time(&mut self, context: &mut Context<'_>) -> Poll<End> {
        if std::mem::take(&mut self.has_moved) {
            self.moved = Instant::now();
        }
        let idle = after(self.moved, self.idle);
        let due = earlier(idle, self.total);
        if self.lane.timer.poll_at(context, due).is_pending() {
            return Poll::Pending;
        }
        let is_total = self.total.is_some_and(|total| total <= Instant::now());
        Poll::Ready(if is_total { End::Total } else { End::Idle })
    }

    /// Whether the connection to whoever answers can take another request.
    pub(super) fn is_clean(&self) -> bool {
        self.tracker.is_done() && self.upload.is_sent() && self.lane.down.is_empty()
    }

    /// Body bytes written to the client.
    pub(super) const fn passed(&self) -> u64 {
        self.passed
    }

    /// When the first bytes were written to the client.
    pub(super) const fn first(&self) -> Option<Instant> {
        self.first
    }

    /// Ends a stream of events that broke off with one that says so; the connection is to be closed
    /// after it. Whether that was possible.
    pub(super) async fn last_words(&mut self, event: &[u8]) -> bool {
        let lane = &mut *self.lane;
        let mut tail = BytesMut::new();
        // What was read and not yet written comes first.
        tail.extend_from_slice(&lane.down[..self.ready]);
        if self.form == BodyForm::Plain || self.framing == Framing::UntilClose {
            tail.extend_from_slice(event);
        } else {
            let Some(chunk_end) = self.tracker.chunk_end() else { return false };
            let missing = self.tracker.missing_in_chunk();
            if missing > FILL_BYTES_MAX {
                return false;
            }
            // Empty lines mean nothing in a stream of events.
            tail.resize(tail.len() + usize::try_from(missing).unwrap_or(0), b'\n');
            tail.extend_from_slice(chunk_end);
            write_chunk(&mut tail, event);
            tail.extend_from_slice(LAST_CHUNK);
        }
        lane.reply.extend_from_slice(&tail);
        let Lane { client, reply, .. } = lane;
        let written = poll_fn(|context| {
            while !reply.is_empty() {
                match client.poll_write(context, reply, &[]) {
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => return Poll::Pending,
                }
            }
            Poll::Ready(true)
        });
        timeout(LAST_WORDS_TIMEOUT, written).await.unwrap_or(false)
    }
}

/// Moves the parts of a body together, without the framing between them. What comes after the
/// `taken` bytes stays behind them. Returns where they end.
fn gather(down: &mut BytesMut, start: usize, taken: usize, parts: &[Range<usize>]) -> usize {
    let mut end = start;
    for part in parts {
        down.copy_within(start + part.start..start + part.end, end);
        end += part.len();
    }
    let rest = start + taken..down.len();
    let length = end + rest.len();
    down.copy_within(rest, end);
    down.truncate(length);
    end
}

#[cfg(test)]
mod tests {
    use socket2::SockRef;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::watch;

    use super::*;
    use crate::proxy::client::Client;
    use crate::proxy::idempotency::{Begin, Bounds, Fingerprinter, Key, Results};
    use crate::proxy::timer::Timer;
    use crate::proxy::upstream::Pool;
    use crate::telemetry::metrics::Metrics;

    #[tokio::test]
    async fn an_answer_that_was_read_is_kept_though_its_client_has_left() {
        let results = Results::in_memory(Bounds::default());
        let key = Key::new("agent", b"k").expect("a key");
        let begin = || results.begin(key.clone(), Fingerprinter::new().finish());
        let Begin::First(mut recorder) = begin() else { panic!("not the first") };
        recorder.head(200, b"");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let caller = TcpStream::connect(&address).await.expect("it listens");
        let client = listener.accept().await.expect("somebody has connected").0;
        // A reset, and it has arrived.
        SockRef::from(&caller).set_linger(Some(Duration::ZERO)).expect("a socket");
        drop(caller);
        client.readable().await.expect("a socket");
        let pool = Pool::new(Metrics::default());
        let socket = pool.connect(&address, LAST_WORDS_TIMEOUT * 20).await.expect("it listens");
        let mut lane = Lane {
            client: Client::new(client, watch::channel(()).1),
            timer: Timer::new(Instant::now()),
            request: BytesMut::new(),
            reply: BytesMut::from("HTTP/1.1 200 \r\n\r\n"),
            down: BytesMut::from("whole"),
        };
        let mut link = Link::Tcp(socket);
        let mut upload = Upload::new(0, Framing::None, 0);
        let framing = Framing::Length(5);
        let limits = (None, None);
        let mut relay =
            Relay::new(&mut lane, &mut link, &mut upload, framing, BodyForm::Same, limits);
        relay.record(Some(recorder));
        assert_eq!(relay.run().await, End::Gone);
        let Begin::Replay(stored) = begin() else { panic!("not kept") };
        assert_eq!(stored.body, b"whole");
    }
}
