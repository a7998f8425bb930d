//! A connection to whoever answers: over TCP, or the pipe to this node's own routes.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::local::Pipe;
use super::upstream::Socket;

/// Room for one read, at first.
pub(super) const READ_BYTES_MIN: usize = 8 * 1024;

/// A connection to whoever answers.
#[derive(Debug)]
pub(super) enum Link {
    /// Another node, a static peer, or an upstream agent.
    Tcp(Socket),
    /// This node.
    Pipe(Pipe),
}

impl Link {
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut BytesMut,
        room: usize,
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(socket) => poll_read(&mut socket.stream, context, buffer, room),
            Self::Pipe(pipe) => poll_read(&mut pipe.stream, context, buffer, room),
        }
    }

    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        first: &mut BytesMut,
        second: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(socket) => poll_write(&mut socket.stream, context, first, second),
            Self::Pipe(pipe) => poll_write(&mut pipe.stream, context, first, second),
        }
    }
}

/// One read to the end of a buffer, which first gets `room` when it is empty, or has less than a
/// quarter of it. An empty one finds it at its own start, at no cost; without that, a request that
/// is longer than what the one before has left would come in two reads. Ready with 0 at the end of
/// the stream.
pub(super) fn poll_read(
    stream: &mut (impl AsyncRead + Unpin),
    context: &mut Context<'_>,
    buffer: &mut BytesMut,
    room: usize,
) -> Poll<io::Result<usize>> {
    if buffer.is_empty() || buffer.capacity() - buffer.len() < room / 4 {
        buffer.reserve(room.max(buffer.len()));
    }
    pin!(stream.read_buf(buffer)).poll(context)
}

/// One write of two buffers, the first before the second. What was written of the first is removed
/// from it; ready with the number of bytes written of the second.
pub(super) fn poll_write(
    stream: &mut (impl AsyncWrite + Unpin),
    context: &mut Context<'_>,
    first: &mut BytesMut,
    second: &[u8],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    let written = match (first.is_empty(), second.is_empty()) {
        (true, _) => stream.poll_write(context, second),
        (false, true) => stream.poll_write(context, first),
        (false, false) => {
            stream.poll_write_vectored(context, &[IoSlice::new(first), IoSlice::new(second)])
        }
    };
    written.map(|written| {
        let written = written?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_first = written.min(first.len());
        first.advance(of_first);
        Ok(written - of_first)
    })
}
