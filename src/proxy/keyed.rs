//! A run with an `Idempotency-Key` on the node that runs it: once, and the same answer for repeats.

use std::fmt::Write;

use bytes::BytesMut;
use tokio::time::{Instant, timeout_at};

use super::admission::Permit;
use super::client::BodyFault;
use super::dispatch::{After, Dispatch};
use super::exchange::Fault;
use super::forward::unless_gone;
use super::here::{NoPlace, WhenFull};
use super::http1::{BodyTracker, Known, KnownSet, Persist, ResponseHead, ToRequest};
use super::idempotency::{BadKey, Begin, Ended, Fingerprint, Fingerprinter, Key, Recorder, Stored};
use super::refusal::Refusal;
use super::request::Class;
use super::settings::after;
use super::tally::By;
use super::timer::earlier;
use crate::agent::Offer;
use crate::api::Code;
use crate::routing::{LoadGuard, headers};
use crate::telemetry::labels::Keyed;

/// What belongs to one answer, or to one way of giving it.
const NOT_KEPT: KnownSet = KnownSet::of(&[
    Known::Connection,
    Known::KeepAlive,
    Known::ProxyConnection,
    Known::Upgrade,
    Known::Te,
    Known::Trailer,
    Known::TransferEncoding,
    Known::ContentLength,
    Known::RequestId,
    Known::Load,
    Known::OrcaLoad,
    Known::Refused,
    Known::Why,
    Known::Replayed,
]);

/// What a request takes of this node while it runs: its part of the load, and its place.
pub(super) type Held = (LoadGuard, Permit);

impl Dispatch<'_> {
    /// Answers a request whose key this node knows; `None` for any other. A repeat takes no place
    /// and starts nothing, so that it is answered by a node that is full or stopping, too: elsewhere
    /// it would run a second time.
    pub(super) async fn repeated(&mut self, offer: &Offer) -> Option<After> {
        if !self.has_key() {
            return None;
        }
        // What is wrong with a key is said by the node that would run the request.
        let key = self.key().ok()?;
        if !self.proxy.results.knows(&key) {
            return None;
        }
        Some(self.keyed(offer, None).await)
    }

    /// It is a run, and the client gave it a key.
    pub(super) fn has_key(&self) -> bool {
        let request = self.request;
        request.class == Class::Run && request.head.headers.has(Known::IdempotencyKey)
    }

    fn key(&self) -> Result<Key, BadKey> {
        let input = &self.lane.client.input;
        let text = self.request.head.headers.value(Known::IdempotencyKey, input);
        Key::new(&self.request.agent, text.unwrap_or_default())
    }

    /// Runs, or gives the answer of the run that had this key. Without a place one is waited for,
    /// should it run.
    pub(super) async fn keyed(&mut self, offer: &Offer, mut held: Option<Held>) -> After {
        let fingerprint = match self.fingerprint().await {
            Ok(fingerprint) => fingerprint,
            Err(after) => return after,
        };
        let key = match self.key() {
            Ok(key) => key,
            Err(bad) => return self.refuse(&Refusal::new(Code::BadRequest, bad.to_string())),
        };
        // As long as it would wait for an answer of its own, however often it waits.
        let first_byte = after(Instant::now(), self.live.settings.first_byte_timeout);
        let until = earlier(first_byte, self.request.total);
        loop {
            match self.proxy.results.begin(key.clone(), fingerprint) {
                Begin::First(recorder) => {
                    self.proxy.metrics.keyed(Keyed::First);
                    return self.first(offer, held, recorder).await;
                }
                Begin::Replay(stored) => {
                    self.proxy.metrics.keyed(Keyed::Replayed);
                    return self.replay(&stored);
                }
                Begin::Running(running) => {
                    self.proxy.metrics.keyed(Keyed::Waited);
                    // Whoever waits for another's run needs no place and is no load.
                    drop(held.take());
                    let done = self.upload.end();
                    let ended = by(until, running.ended());
                    match unless_gone(&mut self.lane.client, done, ended).await {
                        None => return After::Gone,
                        Some(None) => return self.refuse(&self.out_of_time()),
                        Some(Some(Ended::Answer(stored))) => return self.replay(&stored),
                        Some(Some(Ended::NotKept)) => return self.refuse(&not_kept()),
                        Some(Some(Ended::Abandoned)) => {}
                    }
                }
                Begin::NotKept => return self.refuse(&not_kept()),
                Begin::Mismatch => {
                    self.proxy.metrics.keyed(Keyed::Mismatched);
                    let detail = "The idempotency key was used for another request before";
                    return self.refuse(&Refusal::new(Code::IdempotencyKeyReused, detail));
                }
            }
        }
    }

    /// Runs, and waits for a place before if it has none.
    async fn first(&mut self, offer: &Offer, held: Option<Held>, recorder: Recorder) -> After {
        let _held = match held {
            Some(held) => held,
            None => {
                let counted = self.proxy.local_load.enter(self.proxy.now(), self.origin());
                match self.admit(offer, WhenFull::Queue).await {
                    Ok(permit) => (counted, permit),
                    Err(NoPlace::Gone | NoPlace::Full(_)) => return After::Gone,
                    Err(NoPlace::Not(why)) => return self.refuse_place(why),
                }
            }
        };
        self.serve(offer.upstream.as_ref(), Some(recorder)).await
    }

    /// Its time was over before there was an answer.
    fn out_of_time(&self) -> Refusal {
        let is_total = self.request.total.is_some_and(|total| total <= Instant::now());
        self.too_late(if is_total { Fault::Total } else { Fault::FirstByte })
    }

    /// What the request asks: its path with the query, and its body, for which all of it has to
    /// come first.
    async fn fingerprint(&mut self) -> Result<Fingerprint, After> {
        if !self.upload.is_read() && std::mem::take(&mut self.is_continue_due) {
            self.lane.reply.extend_from_slice(super::http1::CONTINUE);
        }
        while !self.upload.is_read() {
            let idle = Instant::now() + self.live.settings.body_idle_timeout;
            let total = self.request.total.filter(|total| *total < idle);
            match timeout_at(total.unwrap_or(idle), self.lane.read_more()).await {
                Ok(true) => {}
                Ok(false) => return Err(After::Gone),
                Err(_) if total.is_some() => return Err(self.refuse(&self.out_of_time())),
                Err(_) => return Err(self.refuse(&self.bad_body(BodyFault::Slow))),
            }
            if let Err(fault) = self.upload.track(&self.lane.client.input) {
                return Err(self.refuse(&self.bad_body(fault)));
            }
        }
        let input = &self.lane.client.input;
        let mut fingerprinter = Fingerprinter::new();
        fingerprinter.update(self.request.head.path(input));
        fingerprinter.update(b"?");
        fingerprinter.update(self.request.head.query(input).unwrap_or_default());
        fingerprinter.update(b"\n");
        // What it says, however it is cut into chunks.
        let body = self.upload.body(input).expect("all of the body has been read");
        let mut content = BodyTracker::new(self.request.head.framing);
        let passed = content.advance_with(body, |part| fingerprinter.update(&body[part]));
        passed.expect("it has been read to its end");
        Ok(fingerprinter.finish())
    }

    /// Gives a kept answer.
    fn replay(&mut self, stored: &Stored) -> After {
        self.tally.by = By::Here;
        self.tally.tried += 1;
        let persist = self.persist();
        let why = self.request.explains.then(|| self.explained(None));
        let out: &mut BytesMut = &mut self.lane.reply;
        let (status, length, id) = (stored.status, stored.body.len(), &self.request.id);
        write!(out, "HTTP/1.1 {status} \r\n").expect("a buffer grows");
        out.extend_from_slice(&stored.head);
        write!(out, "{}: {id}\r\n{}: 1\r\n", headers::REQUEST_ID, headers::REPLAYED)
            .expect("a buffer grows");
        if status != 204 {
            write!(out, "content-length: {length}\r\n").expect("a buffer grows");
        }
        if let Some(why) = why {
            write!(out, "{}: {why}\r\n", headers::WHY).expect("a buffer grows");
        }
        match persist {
            Persist::Silent => {}
            Persist::KeepAlive => out.extend_from_slice(b"connection: keep-alive\r\n"),
            Persist::Close => out.extend_from_slice(b"connection: close\r\n"),
        }
        out.extend_from_slice(b"\r\n");
        if self.request.to() == ToRequest::Other {
            out.extend_from_slice(&stored.body);
        }
        self.said(status);
        if persist == Persist::Close { After::Close } else { After::Next }
    }
}

/// Records the head of an answer: the lines that are given again.
pub(super) fn record_head(
    recorder: &mut Recorder,
    head: &ResponseHead,
    buffer: &[u8],
    add: &[(&str, &[u8])],
) {
    let mut lines = Vec::new();
    let kept = head.headers.iter().filter(|line| !NOT_KEPT.has(line.known));
    let kept = kept.map(|line| (line.name.of(buffer), line.value.of(buffer)));
    let added = add
        .iter()
        .map(|(name, value)| (name.as_bytes(), *value))
        .filter(|(name, _)| !NOT_KEPT.has(Known::of(name)));
    for (name, value) in kept.chain(added) {
        for part in [name, b": ", value, b"\r\n"] {
            lines.extend_from_slice(part);
        }
    }
    recorder.head(head.status, &lines);
}

/// What comes of it by then, or at all.
async fn by<T>(until: Option<Instant>, future: impl Future<Output = T>) -> Option<T> {
    match until {
        Some(until) => timeout_at(until, future).await.ok(),
        None => Some(future.await),
    }
}

fn not_kept() -> Refusal {
    let detail = "A request with this idempotency key has run; its answer was too long to be kept";
    Refusal::new(Code::ResultNotKept, detail)
}
