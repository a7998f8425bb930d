//! The client's end of a connection, and the body of a request on its way from there.
//!
//! Owns the bytes that were read and not yet done with: the head of a request, its body as long as
//! it may have to be sent again, and what a client that does not wait has sent after it. Reads on
//! while an answer is awaited, since that is how a client that left is noticed.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::http1::{BodyTracker, Framing};
use super::link::{self, Link, READ_BYTES_MIN};
use super::settings::{PIPELINED_BYTES_MAX, REPLAY_BYTES_MAX, WINDOW_BYTES};

/// The client's end of a connection.
pub(super) struct Client {
    stream: TcpStream,
    /// Changes when everything is to be cut.
    cut: watch::Receiver<()>,
    /// Read, and not done with.
    pub(super) input: BytesMut,
    /// Ready when the client has left; made when it is first needed for a request.
    leaving: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

/// What is wrong with the body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// It is longer than allowed.
    TooLong,
    /// Its chunks are not as they should be.
    Malformed,
    /// No more of it came for too long.
    Slow,
}

/// Why sending a request stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SendFault {
    /// The client left.
    Gone,
    /// The client's body is at fault.
    Body(BodyFault),
}

/// The body of one request. Positions are offsets in [`Client::input`].
#[derive(Debug)]
pub(super) struct Upload {
    tracker: BodyTracker,
    /// Where the body begins, as long as it is whole.
    start: usize,
    /// Up to here it has been read.
    known: usize,
    /// Up to here it has been sent in this attempt.
    sent: usize,
    /// All of it has been read.
    is_read: bool,
    /// The head and all of the body are still there.
    is_whole: bool,
    /// No more is to be sent: the other end does not read, or has answered already.
    is_stopped: bool,
    /// Bytes written in this attempt, the head included.
    written: u64,
    /// The longest body allowed.
    bytes_max: u64,
    /// Not a byte of it leaves before the other end says that it may.
    is_held: bool,
}

impl Client {
    pub(super) fn new(stream: TcpStream, cut: watch::Receiver<()>) -> Self {
        Self { stream, cut, input: BytesMut::new(), leaving: None }
    }

    /// Whether the node stops, and no longer waits for anything. From then on nobody is there to
    /// wait for, which ends each wait as a client does that leaves; the connection is polled once
    /// more when it begins.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.has_changed().unwrap_or(false)
    }

    /// Reads once, behind what is there. Ready with 0 when the client has left.
    pub(super) fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        link::poll_read(&mut self.stream, context, &mut self.input, READ_BYTES_MIN)
    }

    /// Ready when the client has left, or everything is cut. Reads what it sends ahead, up to a limit; behind that only its
    /// leaving is looked for.
    pub(super) fn poll_gone(&mut self, context: &mut Context<'_>, done: usize) -> Poll<()> {
        if self.is_cut() {
            return Poll::Ready(());
        }
        while self.input.len() - done < PIPELINED_BYTES_MAX {
            match ready!(self.poll_more(context)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(_) => {}
            }
        }
        self.poll_leaving(context)
    }

    /// Ready when the client has left, though what it sent is not read: the system tells its end
    /// behind that, as long as its buffers have room for what comes before the end.
    pub(super) fn poll_leaving(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Self { stream, leaving, .. } = self;
        let leaving = leaving.get_or_insert_with(|| match second(stream) {
            Ok(second) => Box::pin(left(second)),
            // Out of file descriptors: it is noticed when something is written.
            Err(error) => {
                tracing::debug!(%error, "cannot watch whether a client leaves");
                Box::pin(std::future::pending())
            }
        });
        leaving.as_mut().poll(context)
    }

    /// Writes two buffers; see [`link::poll_write`].
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &mut BytesMut,
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        link::poll_write(&mut self.stream, context, first, second)
    }

    pub(super) const fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { stream, input, cut: _, leaving: _ } = self;
        formatter
            .debug_struct("Client")
            .field("stream", stream)
            .field("input", &input.len())
            .finish_non_exhaustive()
    }
}

/// The same connection once more, with a readiness of its own: that of the first says that there is
/// something to read, and goes on saying so.
fn second(stream: &TcpStream) -> io::Result<TcpStream> {
    let socket = SockRef::from(stream).try_clone()?;
    TcpStream::from_std(socket.into())
}

/// Waits until the other side has closed its end, or the connection is broken.
async fn left(stream: TcpStream) {
    // Something urgent is never asked for, so that only the end wakes this.
    let interest = Interest::PRIORITY | Interest::ERROR;
    loop {
        match stream.ready(interest).await {
            Ok(ready) if !ready.is_read_closed() && !ready.is_error() => {}
            Ok(_) | Err(_) => return,
        }
    }
}

impl Upload {
    /// The body behind a head of this length.
    pub(super) fn new(head_bytes: usize, framing: Framing, bytes_max: usize) -> Self {
        let is_read = matches!(framing, Framing::None | Framing::Length(0));
        Self {
            tracker: BodyTracker::new(framing),
            start: head_bytes,
            known: head_bytes,
            sent: head_bytes,
            is_read,
            is_whole: true,
            is_stopped: false,
            written: 0,
            bytes_max: u64::try_from(bytes_max).unwrap_or(u64::MAX),
            is_held: false,
        }
    }

    /// Begins an attempt. The body is sent from its start, so it must still be whole.
    pub(super) fn begin(&mut self, is_held: bool) {
        assert!(self.is_whole, "a body is sent again only while all of it is there");
        self.sent = self.start;
        self.written = 0;
        self.is_stopped = false;
        self.is_held = is_held && !self.is_read;
    }

    /// Takes in what was read behind the part that is known.
    pub(super) fn track(&mut self, input: &[u8]) -> Result<(), BodyFault> {
        if self.is_read || self.known == input.len() {
            return Ok(());
        }
        let progress =
            self.tracker.advance(&input[self.known..]).map_err(|_| BodyFault::Malformed)?;
        self.known += progress.taken;
        self.is_read = progress.is_done;
        if self.tracker.body_bytes() > self.bytes_max {
            return Err(BodyFault::TooLong);
        }
        Ok(())
    }

    /// Sends what can be sent. Ready when there is nothing more to do for this request.
    pub(super) fn poll_send(
        &mut self,
        context: &mut Context<'_>,
        client: &mut Client,
        link: &mut Link,
        head: &mut BytesMut,
    ) -> Poll<Result<(), SendFault>> {
        loop {
            if self.is_stopped {
                return Poll::Ready(Ok(()));
            }
            if let Err(fault) = self.track(&client.input) {
                return Poll::Ready(Err(SendFault::Body(fault)));
            }
            let body = if self.is_held { self.sent } else { self.known };
            if head.is_empty() && body == self.sent {
                if self.is_sent() {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let before = head.len();
                match link.poll_write(context, head, &client.input[self.sent..body]) {
                    Poll::Ready(Ok(of_body)) => {
                        self.sent += of_body;
                        self.written += (before - head.len() + of_body) as u64;
                        self.let_go(client);
                        continue;
                    }
                    Poll::Ready(Err(_)) => {
                        // It may have answered before it closed; that is still to be read.
                        self.is_stopped = true;
                        head.clear();
                        continue;
                    }
                    Poll::Pending => {}
                }
            }
            if self.is_read || self.known - self.sent >= WINDOW_BYTES {
                return Poll::Pending;
            }
            match client.poll_more(context) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(SendFault::Gone)),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ready when the client has left. To be asked whenever [`Self::poll_send`] has done what it can.
    pub(super) fn poll_gone(&self, context: &mut Context<'_>, client: &mut Client) -> Poll<()> {
        if self.is_read || self.is_stopped {
            client.poll_gone(context, self.known)
        } else if self.known - self.sent >= WINDOW_BYTES {
            client.poll_leaving(context)
        } else {
            // It reads on itself.
            Poll::Pending
        }
    }

    /// Lets go of what was sent, once there is too much of it to keep for another attempt.
    fn let_go(&mut self, client: &mut Client) {
        if self.known - self.start > REPLAY_BYTES_MAX || !self.is_whole {
            self.is_whole = false;
            client.input.advance(self.sent);
            self.known -= self.sent;
            (self.start, self.sent) = (0, 0);
        }
    }

    /// The other end has said that the body may come.
    pub(super) fn release(&mut self) {
        self.is_held = false;
    }

    /// No more is to be sent.
    pub(super) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// Ends the request: what is known to belong to it is removed from the input.
    pub(super) fn finish(&mut self, client: &mut Client) {
        client.input.advance(std::mem::take(&mut self.known));
        client.leaving = None;
        (self.start, self.sent, self.is_whole) = (0, 0, false);
    }

    /// All of the request has been read from the client.
    pub(super) const fn is_read(&self) -> bool {
        self.is_read
    }

    /// All of the request has been written.
    pub(super) const fn is_sent(&self) -> bool {
        self.is_read && self.sent == self.known && !self.is_held
    }

    /// The body waits for the client.
    pub(super) const fn waits_for_client(&self) -> bool {
        !self.is_read && !self.is_stopped && !self.is_held && self.sent == self.known
    }

    /// The request can be sent once more.
    pub(super) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The other end has still to say that the body may come.
    pub(super) const fn is_held(&self) -> bool {
        self.is_held
    }

    /// Not a byte was written in this attempt.
    pub(super) const fn is_unsent(&self) -> bool {
        self.written == 0
    }

    /// Where the request ends, as far as it is known.
    pub(super) const fn end(&self) -> usize {
        self.known
    }

    /// The body, when all of it has come and is still there.
    pub(super) fn body<'a>(&self, input: &'a [u8]) -> Option<&'a [u8]> {
        (self.is_read && self.is_whole).then(|| &input[self.start..self.known])
    }

    /// Bytes of body read.
    pub(super) fn progress_in(&self) -> u64 {
        self.tracker.body_bytes()
    }

    /// Grows with each byte read and each one written.
    pub(super) fn progress(&self) -> u64 {
        self.tracker.body_bytes() + self.written
    }
}
