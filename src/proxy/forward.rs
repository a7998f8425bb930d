//! A request at another node: the connection, the attempt, and what its answer says of the node.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use astromesh_wire::State;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::Proxy;
use super::client::Client;
use super::dispatch::{Attempted, Dispatch, Outstanding};
use super::exchange::{Attempt, Fault};
use super::http1::{
    Framing, Known, KnownSet, RequestEdit, ResponseHead, Target as Path, Version, write_request,
};
use super::link::Link;
use super::settings::REPLAY_BYTES_MAX;
use super::tally::By;
use super::upstream::Socket;
use crate::routing::{LoadRecord, Outcome, Target, headers};
use crate::telemetry::labels::{EjectionCause, LoadSource};

/// What a client's request says to this node alone; each hop says its own.
const DROPPED: KnownSet =
    KnownSet::of(&[Known::Hop, Known::Origin, Known::MustQueue, Known::Deadline, Known::Explain]);

impl Dispatch<'_> {
    /// Sends the request to another node and passes its answer on.
    pub(super) async fn there(
        &mut self,
        target: &Arc<Target>,
        must_queue: bool,
        guard: Outstanding<'_>,
    ) -> Attempted {
        self.tally.tried += 1;
        self.tally.by = By::There(Arc::clone(target));
        self.begin_attempt(target);
        // Dropped after the guard: when the other node sees the connection close, the request is
        // not counted any more.
        let mut link;
        let guard = guard;
        let head = loop {
            let pooled = self.proxy.pool.take(&target.host);
            let is_pooled = pooled.is_some();
            let stream = match pooled {
                Some(stream) => Ok(stream),
                None => self.connect(&target.host).await,
            };
            link = match stream {
                Ok(stream) => Link::Tcp(stream),
                Err(fault) => return self.has_failed(target, fault),
            };
            match self.ask(&mut link, target, must_queue).await {
                Ok(head) => break head,
                // It had closed in the meantime; the node itself may be well.
                Err(Fault::NotSent) if is_pooled => self.lane.down.clear(),
                Err(fault) => {
                    tracing::debug!(
                        node.name = &*target.name,
                        ?fault,
                        "no answer from another node"
                    );
                    self.lane.down.clear();
                    self.lane.request.clear();
                    return self.has_failed(target, fault);
                }
            }
        };
        self.tally.answered = Some(Instant::now());
        let lines = &head.headers;
        let load = lines.value(Known::Load, &self.lane.down).and_then(LoadRecord::parse);
        let refused = lines.value(Known::Refused, &self.lane.down);
        let outcome = refused.map_or(Outcome::Answered(head.status), |_| Outcome::Refused);
        let judgement = self.proxy.with_core(|core, now| {
            if let Some(load) = load {
                self.proxy.metrics.heard(LoadSource::Header, 1);
                core.heard(now, target.id, load);
            }
            core.outcome(now, target, self.request.working_agent(), outcome)
        });
        self.judged(judgement, EjectionCause::Status);
        if let Some(why) = refused {
            let why: SmallVec<[u8; 16]> = why.into();
            self.end_refused_attempt(head.status, &why);
            drop(guard);
            self.give_back_refused(link, target, &head);
            if why.as_slice() == b"draining" {
                self.proxy.pool.forget(&target.host);
            }
            return self.was_refused(target, &why);
        }
        let (after, is_reusable) = self.pass(&mut link, &head, Some(target), None).await;
        self.end_attempt();
        drop(guard);
        if is_reusable && let Link::Tcp(stream) = link {
            self.proxy.pool.put(&target.host, stream);
        }
        Attempted::Done(after)
    }

    /// Connects, unless the client leaves meanwhile.
    pub(super) async fn connect(&mut self, authority: &str) -> Result<Socket, Fault> {
        let limit = self.live.settings.connect_timeout;
        let connecting = self.proxy.pool.connect(authority, limit);
        let done = self.upload.end();
        match unless_gone(&mut self.lane.client, done, connecting).await {
            Some(Ok(stream)) => Ok(stream),
            Some(Err(error)) => {
                tracing::debug!(node.address = authority, %error, "no connection to another node");
                Err(Fault::NotSent)
            }
            None => Err(Fault::Gone),
        }
    }

    /// One attempt on one connection.
    async fn ask(
        &mut self,
        link: &mut Link,
        target: &Target,
        must_queue: bool,
    ) -> Result<ResponseHead, Fault> {
        let request = self.request;
        let is_long = matches!(request.head.framing, Framing::Length(bytes)
            if bytes > REPLAY_BYTES_MAX as u64);
        // What cannot be sent twice is not sent before the node has taken the request.
        let is_held = target.is_node && is_long && !request.head.expects_continue;
        self.upload.begin(is_held);
        self.tally.asked = Some(Instant::now());
        let left = request.deadline_left();
        let traced = self.spans.as_ref().map(|spans| spans.header());
        let mut add: SmallVec<[(&str, &[u8]); 8]> = SmallVec::new();
        add.push((headers::HOP, b"1"));
        add.push((headers::ORIGIN, self.proxy.origin.as_bytes()));
        let mut drop = DROPPED;
        if request.is_id_new {
            drop = drop.with(Known::RequestId);
            add.push((headers::REQUEST_ID, request.id.as_bytes()));
        }
        if let Some((traceparent, replaced)) = &traced {
            drop = drop.and(*replaced);
            add.push((headers::TRACEPARENT, traceparent.as_bytes()));
        }
        if must_queue {
            add.push((headers::MUST_QUEUE, b"1"));
        }
        if let Some(left) = &left {
            add.push((headers::DEADLINE, left.as_bytes()));
        }
        if is_held {
            add.push(("expect", b"100-continue"));
        }
        let path = if target.path_prefix.is_empty() {
            Path::Same
        } else {
            Path::Prefix(&target.path_prefix)
        };
        let edit = RequestEdit { authority: Some(&target.host), target: path, add: &add, drop };
        self.lane.request.clear();
        self.lane.down.clear();
        write_request(&mut self.lane.request, &request.head, &self.lane.client.input, &edit);
        let mut attempt = Attempt {
            lane: self.lane,
            link,
            upload: &mut self.upload,
            to: request.to(),
            is_continue_due: &mut self.is_continue_due,
            passes_interim: request.head.version == Version::Http11,
            may_upgrade: request.head.upgrade,
            body_idle: self.live.settings.body_idle_timeout,
            first_byte: self.live.settings.first_byte_timeout,
            total: request.total,
        };
        attempt.head(death_of(self.proxy, target)).await
    }

    /// Keeps a connection on which a node refused, when all of the refusal is here.
    fn give_back_refused(&mut self, link: Link, target: &Target, head: &ResponseHead) {
        let down = &mut self.lane.down;
        let rest = down.len() - head.length;
        let is_whole = match head.framing {
            Framing::None => rest == 0,
            Framing::Length(bytes) => rest as u64 == bytes,
            Framing::Chunked | Framing::UntilClose => false,
        };
        down.clear();
        if is_whole
            && head.keep_alive
            && self.upload.is_sent()
            && let Link::Tcp(stream) = link
        {
            self.proxy.pool.put(&target.host, stream);
        }
    }
}

/// Waits until the mesh holds a node dead. A process that was stopped keeps its connections and
/// never answers; a node that has left finishes what it was sent.
async fn death_of(proxy: &Proxy, target: &Target) {
    if !target.is_node {
        return std::future::pending().await;
    }
    let mut directory = proxy.directory.clone();
    loop {
        let snapshot = directory.snapshot();
        let is_dead = snapshot.member(target.id).is_some_and(|member| {
            member.state == State::Dead && member.generation >= target.generation
        });
        if is_dead {
            return;
        }
        if directory.changed().await.is_none() {
            // The node is stopping; what it forwarded may still be answered.
            return std::future::pending().await;
        }
    }
}

/// Waits for something as long as the client is there; `None` when it left.
pub(super) async fn unless_gone<T>(
    client: &mut Client,
    done: usize,
    future: impl Future<Output = T>,
) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        // First: what ends because all is cut must not pass for what was waited for.
        if client.is_cut() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(value) = future.as_mut().poll(context) {
            return Poll::Ready(Some(value));
        }
        client.poll_gone(context, done).map(|()| None)
    })
    .await
}
