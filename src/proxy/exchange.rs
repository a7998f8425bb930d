//! One attempt on one connection: the request out, the head of the answer in.
//!
//! Owns the waiting for an answer: the body of the request goes on meanwhile, a client that leaves
//! is noticed, deadlines end, and a node that the mesh holds dead is not waited for. Decides
//! nothing of what follows.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::Instant;

use super::answer::DROPPED;
use super::client::{BodyFault, Client, SendFault, Upload};
use super::http1::{
    BadHead, CONTINUE, ResponseEdit, ResponseHead, ToRequest, parse_response, write_response,
};
use super::link::{Link, READ_BYTES_MIN};
use super::settings::{CONTINUE_TIMEOUT, INTERIM_BYTES_MAX, PATIENCE, after};
use super::timer::{Timer, earlier};

/// What a connection of a client has for itself, for one request after the other.
#[derive(Debug)]
pub(super) struct Lane {
    /// The client's end.
    pub(super) client: Client,
    pub(super) timer: Timer,
    /// To be sent to whoever answers: the head of a request.
    pub(super) request: BytesMut,
    /// To be sent to the client, before anything of `down`: the head of an answer.
    pub(super) reply: BytesMut,
    /// Read from whoever answers.
    pub(super) down: BytesMut,
}

/// Why an attempt gave no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The client left.
    Gone,
    /// The client's body is at fault.
    Body(BodyFault),
    /// The connection broke before a byte was written.
    NotSent,
    /// The connection broke before the head of an answer was whole.
    Broken,
    /// The mesh holds the node dead.
    Died,
    /// No answer came in time.
    FirstByte,
    /// The time for the whole request is over.
    Total,
    /// What came is no answer.
    BadAnswer(BadHead),
}

impl From<SendFault> for Fault {
    fn from(fault: SendFault) -> Self {
        match fault {
            SendFault::Gone => Self::Gone,
            SendFault::Body(fault) => Self::Body(fault),
        }
    }
}

/// One attempt; see the module.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) link: &'a mut Link,
    pub(super) upload: &'a mut Upload,
    pub(super) to: ToRequest,
    /// The client waits for `100 Continue`, and has not had it.
    pub(super) is_continue_due: &'a mut bool,
    /// Interim answers are for the client: it speaks HTTP/1.1.
    pub(super) passes_interim: bool,
    /// The client asked for a change of protocol.
    pub(super) may_upgrade: bool,
    /// Between two parts of the body of the request.
    pub(super) body_idle: Duration,
    /// From the request to the head of its answer.
    pub(super) first_byte: Option<Duration>,
    /// When the whole request has to be over.
    pub(super) total: Option<Instant>,
}

/// What is being waited for, and since when.
struct Wait {
    began: Instant,
    /// The last time that something of the request moved.
    moved: Instant,
    progress: Option<u64>,
    is_impatient: bool,
}

impl Lane {
    /// Reads on from the client, and writes what waits for it; whether the client is still there.
    pub(super) async fn read_more(&mut self) -> bool {
        let Self { client, reply, .. } = self;
        poll_fn(|context| {
            if client.is_cut() {
                return Poll::Ready(false);
            }
            while !reply.is_empty() {
                match client.poll_write(context, reply, &[]) {
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(false),
                    Poll::Pending => break,
                }
            }
            client.poll_more(context).map(|read| matches!(read, Ok(1..)))
        })
        .await
    }
}

impl Attempt<'_> {
    /// Sends the request and waits for the head of the answer, which stays at the start of
    /// [`Lane::down`]. `death` is waited for only when the answer takes long.
    pub(super) async fn head(
        &mut self,
        death: impl Future<Output = ()>,
    ) -> Result<ResponseHead, Fault> {
        let mut death = pin!(death);
        let began = Instant::now();
        let mut wait = Wait { began, moved: began, progress: None, is_impatient: false };
        poll_fn(|context| {
            if let Poll::Ready(outcome) = self.poll_head(context) {
                return Poll::Ready(outcome);
            }
            if let Poll::Ready(fault) = self.poll_time(context, &mut wait) {
                return Poll::Ready(Err(fault));
            }
            if wait.is_impatient && death.as_mut().poll(context).is_ready() {
                return Poll::Ready(Err(Fault::Died));
            }
            Poll::Pending
        })
        .await
    }

    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<Result<ResponseHead, Fault>> {
        let Lane { client, request, .. } = &mut *self.lane;
        if client.is_cut() {
            return Poll::Ready(Err(Fault::Gone));
        }
        if let Poll::Ready(Err(fault)) = self.upload.poll_send(context, client, self.link, request)
        {
            return Poll::Ready(Err(fault.into()));
        }
        loop {
            match self.link.poll_read(context, &mut self.lane.down, READ_BYTES_MIN) {
                Poll::Ready(Ok(0) | Err(_)) if self.upload.is_unsent() => {
                    return Poll::Ready(Err(Fault::NotSent));
                }
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Fault::Broken)),
                Poll::Ready(Ok(_)) => match self.take_head() {
                    Ok(Some(head)) => return Poll::Ready(Ok(head)),
                    Ok(None) => {}
                    Err(bad) => return Poll::Ready(Err(Fault::BadAnswer(bad))),
                },
                Poll::Pending => break,
            }
        }
        let Lane { client, request, reply, .. } = &mut *self.lane;
        while !reply.is_empty() {
            match client.poll_write(context, reply, &[]) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Fault::Gone)),
                Poll::Pending => break,
            }
        }
        // What it held back may go now.
        if let Poll::Ready(Err(fault)) = self.upload.poll_send(context, client, self.link, request)
        {
            return Poll::Ready(Err(fault.into()));
        }
        self.upload.poll_gone(context, client).map(|()| Err(Fault::Gone))
    }

    /// The final answer at the start of what was read, when its head is whole. Interim ones before
    /// it go to the client, if it wants them.
    fn take_head(&mut self) -> Result<Option<ResponseHead>, BadHead> {
        let Lane { reply, down, .. } = &mut *self.lane;
        loop {
            let Some(head) = parse_response(down, self.to)? else { return Ok(None) };
            if head.is_upgrade() && !self.may_upgrade {
                return Err(BadHead::UpgradeUnasked);
            }
            if !head.is_interim() {
                return Ok(Some(head));
            }
            if head.status == 100 {
                self.upload.release();
                if std::mem::take(self.is_continue_due) {
                    // Without whatever headers somebody added to it.
                    reply.extend_from_slice(CONTINUE);
                }
            } else if self.passes_interim && reply.len() < INTERIM_BYTES_MAX {
                let edit = ResponseEdit { drop: DROPPED, ..ResponseEdit::default() };
                write_response(reply, &head, down, &edit);
            }
            down.advance(head.length);
        }
    }

    fn poll_time(&mut self, context: &mut Context<'_>, wait: &mut Wait) -> Poll<Fault> {
        let progress = self.upload.progress();
        if wait.progress != Some(progress) {
            if wait.progress.is_some() {
                wait.moved = Instant::now();
            }
            wait.progress = Some(progress);
        }
        loop {
            let (limit, fault) = if self.upload.waits_for_client() {
                (Some(self.body_idle), Fault::Body(BodyFault::Slow))
            } else {
                (self.first_byte, Fault::FirstByte)
            };
            let stalled = after(wait.moved, limit);
            let held = self.upload.is_held().then(|| wait.began + CONTINUE_TIMEOUT);
            let patience = (!wait.is_impatient).then(|| wait.began + PATIENCE);
            let due = earlier(earlier(stalled, self.total), earlier(held, patience));
            if self.lane.timer.poll_at(context, due).is_pending() {
                return Poll::Pending;
            }
            let now = Instant::now();
            let is_over = |due: Option<Instant>| due.is_some_and(|due| due <= now);
            if is_over(self.total) {
                return Poll::Ready(Fault::Total);
            }
            if is_over(stalled) {
                return Poll::Ready(fault);
            }
            if is_over(held) {
                self.upload.release();
                context.waker().wake_by_ref();
            }
            if is_over(patience) {
                wait.is_impatient = true;
            }
        }
    }
}
