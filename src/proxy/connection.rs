//! One connection of a client: request after request, until one side has enough.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::Proxy;
use super::client::Client;
use super::dispatch::{After, Dispatch, On};
use super::exchange::Lane;
use super::http1::{BadHead, Persist, RequestHead, ToRequest, parse_request};
use super::local::Pipe;
use super::refusal::{Around, Refusal};
use super::request::{Request, new_id};
use super::settings::{
    HEADER_READ_TIMEOUT, LINGER_BYTES_MAX, LINGER_TIMEOUT, REPLY_IDLE_TIMEOUT,
    STOPPING_HEAD_TIMEOUT, WINDOW_BYTES,
};
use super::timer::Timer;
use crate::api::{Code, Connection};
use crate::telemetry::labels::{Arrival, Deadline, Limit, Outcome, RouteClass};
use crate::telemetry::metrics::Ended;

/// What came next on a connection.
#[expect(clippy::large_enum_variant, reason = "the large one is the one that comes each time")]
enum Next {
    Head(RequestHead),
    Bad(BadHead),
    /// Nothing more: the client left, waited too long, or the server stops.
    End,
}

/// Serves a connection to its end. It is closed when idle, and after the request at hand, once the
/// sender of `stopped` is gone.
pub(super) async fn serve(
    proxy: Arc<Proxy>,
    stream: TcpStream,
    ends: Connection,
    stopped: watch::Receiver<()>,
) {
    let mut idle_stop = stopped.clone();
    let mut stopping = pin!(async move {
        // Nothing is ever sent: the change is the end.
        let _ended = idle_stop.changed().await.is_err();
    });
    let mut lane = Lane {
        client: Client::new(stream, proxy.cut.subscribe()),
        timer: Timer::new(Instant::now() + HEADER_READ_TIMEOUT),
        request: BytesMut::new(),
        reply: BytesMut::new(),
        down: BytesMut::new(),
    };
    let mut pipe: Option<Pipe> = None;
    let _counted = proxy.metrics.client_connected();
    let mut client = String::new();
    loop {
        let head = match next(&proxy, &mut lane, (&stopped, stopping.as_mut())).await {
            Next::Head(head) => head,
            Next::Bad(bad) => {
                let id = new_id();
                tracing::debug!(
                    error = %bad,
                    client.address = %ends.peer,
                    request.id = %id,
                    "what came is no request"
                );
                refuse(&mut lane, bad, &id);
                malformed(&proxy, &lane, bad);
                return flush_and_linger(&mut lane).await;
            }
            Next::End => return,
        };
        let live = proxy.live();
        if client.is_empty() && live.access_log.is_some() {
            client = ends.peer.to_string();
        }
        let request = Request::new(head, &lane.client.input, &live.settings);
        let on = On { proxy: &proxy, live: &live };
        let dispatch = Dispatch::new(on, &mut lane, &mut pipe, ends, &request, &stopped);
        let counted = proxy.count();
        let after = dispatch.run(&client).await;
        drop(counted);
        match after {
            After::Next if flush(&mut lane).await => tidy(&mut lane),
            After::Close => return flush_and_linger(&mut lane).await,
            After::Next | After::Gone => return,
        }
    }
}

/// Waits for the head of a request.
async fn next(
    proxy: &Proxy,
    lane: &mut Lane,
    (stopped, mut stopping): (&watch::Receiver<()>, Pin<&mut impl Future<Output = ()>>),
) -> Next {
    let mut due = Instant::now() + HEADER_READ_TIMEOUT;
    // Once it is, that future has ended and must not be polled.
    let mut is_stopping = stopped.has_changed().is_err();
    if is_stopping {
        due = Instant::now() + STOPPING_HEAD_TIMEOUT;
    }
    let mut seen = 0;
    poll_fn(|context| {
        loop {
            let input = &lane.client.input;
            if input.len() > seen {
                seen = input.len();
                match parse_request(input) {
                    Ok(Some(head)) => return Poll::Ready(Next::Head(head)),
                    Ok(None) => {}
                    Err(bad) => return Poll::Ready(Next::Bad(bad)),
                }
            }
            match lane.client.poll_more(context) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Next::End),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => break,
            }
        }
        if !is_stopping && stopping.as_mut().poll(context).is_ready() {
            is_stopping = true;
            due = due.min(Instant::now() + STOPPING_HEAD_TIMEOUT);
        }
        let is_idle = seen == 0;
        if !(is_stopping && is_idle) && lane.timer.poll_at(context, Some(due)).is_pending() {
            return Poll::Pending;
        }
        if seen > 0 {
            proxy.metrics.timed_out(Deadline::Head);
        }
        Poll::Ready(Next::End)
    })
    .await
}

fn refuse(lane: &mut Lane, bad: BadHead, request_id: &str) {
    let code = match bad.status() {
        431 => Code::HeadTooLarge,
        501 => Code::NotSupported,
        505 => Code::VersionNotSupported,
        _ => Code::BadRequest,
    };
    let around = Around {
        request_id,
        persist: Persist::Close,
        to: ToRequest::Other,
        add: &[],
        of_model: false,
    };
    Refusal::new(code, bad.to_string()).write(&mut lane.reply, &around);
}

fn malformed(proxy: &Proxy, lane: &Lane, bad: BadHead) {
    if bad.status() == 431 {
        proxy.metrics.limited(Limit::HeadBytes);
    }
    proxy.metrics.ended(&Ended {
        class: RouteClass::Malformed,
        from: Arrival::Client,
        outcome: if bad.status() < 500 { Outcome::ClientError } else { Outcome::ServerError },
        duration: Duration::ZERO,
        first_byte: None,
        added: None,
        bytes_in: lane.client.input.len() as u64,
        bytes_out: lane.reply.len() as u64,
    });
}

/// Writes what is left to be written: an error that was said instead of an answer, or an answer that
/// was kept. A client may read it slowly, but must read.
async fn flush(lane: &mut Lane) -> bool {
    let Lane { client, reply, .. } = lane;
    while !reply.is_empty() {
        let written = timeout(REPLY_IDLE_TIMEOUT, client.stream().write_buf(reply)).await;
        if !matches!(written, Ok(Ok(1..))) {
            reply.clear();
            return false;
        }
    }
    true
}

/// Buffers that a large request has blown up are given back.
fn tidy(lane: &mut Lane) {
    for buffer in [&mut lane.client.input, &mut lane.down, &mut lane.request, &mut lane.reply] {
        if buffer.is_empty() && buffer.capacity() > WINDOW_BYTES {
            *buffer = BytesMut::new();
        }
    }
}

/// Writes what is left, says that nothing follows, and reads what still comes: a connection closed
/// with bytes unread is reset, and the reset may overtake the answer.
async fn flush_and_linger(lane: &mut Lane) {
    if !flush(lane).await {
        return;
    }
    let client = &mut lane.client;
    let linger = async {
        if client.stream().shutdown().await.is_err() {
            return;
        }
        let mut read = 0;
        while let Ok(count @ 1..) =
            poll_fn(|context: &mut Context<'_>| client.poll_more(context)).await
        {
            client.input.clear();
            read += count;
            if read > LINGER_BYTES_MAX {
                return;
            }
        }
    };
    // Whoever does not close in time is closed.
    let _closed: Result<(), _> = timeout(LINGER_TIMEOUT, linger).await;
}
