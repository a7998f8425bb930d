//! An answer on its way to the client: its head, its body, and what is said when it breaks off.

use std::fmt::Write;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use smallvec::SmallVec;
use socket2::SockRef;
use tokio::time::Instant;

use super::dispatch::{After, Dispatch};
use super::http1::{
    BodyForm, Framing, Known, KnownSet, Persist, ResponseEdit, ResponseHead, Version,
    write_response,
};
use super::idempotency::Recorder;
use super::link::Link;
use super::live::Live;
use super::refusal::{Around, CORS, Refusal};
use super::relay::{End, Relay};
use super::request::{Class, Request};
use super::tally::{By, HowEnded};
use super::{keyed, tunnel};
use crate::api::Code;
use crate::routing::{Target, headers};
use crate::telemetry::labels::{Deadline, Phase};

/// What nodes say to each other about an answer, and what this node says itself.
pub(super) const DROPPED: KnownSet =
    KnownSet::of(&[Known::Load, Known::Refused, Known::Why, Known::RequestId]);

impl Dispatch<'_> {
    /// Passes an answer on, to its end. Also whether the connection it came on can be used again.
    pub(super) async fn pass(
        &mut self,
        link: &mut Link,
        head: &ResponseHead,
        from: Option<&Target>,
        mut recorder: Option<Recorder>,
    ) -> (After, bool) {
        let is_stream =
            head.headers.value(Known::ContentType, &self.lane.down).is_some_and(is_event_stream);
        let form =
            if self.request.head.version == Version::Http10 && head.framing == Framing::Chunked {
                BodyForm::Plain
            } else {
                BodyForm::Same
            };
        let persist = self.persist();
        self.write_head(head, from, (form, persist), recorder.as_mut());
        self.lane.down.advance(head.length);
        self.tally.status = head.status;
        self.tally.bytes_out += self.lane.reply.len() as u64;
        let settings = &self.live.settings;
        let idle = if self.request.class == Class::Own { None } else { settings.idle_timeout };
        let limits = (idle, self.request.total);
        if head.is_upgrade() {
            self.upload.finish(&mut self.lane.client);
            let (passed, ended) = tunnel::run(self.lane, link, limits).await;
            self.tally.bytes_out += passed;
            if let Some(deadline) = ended {
                self.proxy.metrics.timed_out(deadline);
            }
            return (After::Gone, false);
        }
        let mut relay = Relay::new(self.lane, link, &mut self.upload, head.framing, form, limits);
        relay.record(recorder.take());
        let end = relay.run().await;
        self.tally.bytes_out += relay.passed();
        self.tally.passed = relay.first();
        match end {
            End::Whole => {}
            End::Gone => {
                self.tally.end = HowEnded::Canceled;
                self.proxy.metrics.canceled(Phase::Answering);
                return (After::Gone, false);
            }
            End::Broken | End::Idle | End::Total | End::Cut => {
                self.tally.end = HowEnded::Broken;
                match end {
                    End::Idle => self.proxy.metrics.timed_out(Deadline::Idle),
                    End::Total => self.proxy.metrics.timed_out(Deadline::Total),
                    End::Whole | End::Gone | End::Broken | End::Cut => {}
                }
                let refusal = broken_off(self.request, from, end);
                let event = refusal.event(&self.request.id, self.request.class == Class::Model);
                if is_stream && relay.last_words(&event).await {
                    return (After::Close, false);
                }
                if head.framing == Framing::UntilClose || form == BodyForm::Plain {
                    // An orderly end would look like the end of the body.
                    let reset = Some(Duration::ZERO);
                    if let Err(error) = SockRef::from(&*self.lane.client.stream()).set_linger(reset)
                    {
                        tracing::debug!(%error, "a broken answer cannot end in a reset");
                    }
                }
                return (After::Gone, false);
            }
        }
        let is_reusable = relay.is_clean() && head.keep_alive;
        let is_closed = persist == Persist::Close
            || head.framing == Framing::UntilClose
            || form == BodyForm::Plain;
        let is_read = self.upload.is_read();
        (if is_closed || !is_read { After::Close } else { After::Next }, is_reusable)
    }

    fn write_head(
        &mut self,
        head: &ResponseHead,
        from: Option<&Target>,
        (body, persist): (BodyForm, Persist),
        recorder: Option<&mut Recorder>,
    ) {
        let request = self.request;
        let (mut load, why);
        let mut add: SmallVec<[(&str, &[u8]); 8]> = SmallVec::new();
        let mut drop = KnownSet::EMPTY;
        if request.class != Class::Own {
            drop = DROPPED;
            add.push((headers::REQUEST_ID, request.id.as_bytes()));
            if !head.headers.has(Known::Node) {
                let name = name_of(self.live, from);
                add.push((headers::NODE, name.as_bytes()));
            }
            if !head.headers.has(Known::AccessControlAllowOrigin) {
                add.extend(CORS);
            }
            if from.is_none() && matches!(request.class, Class::Run | Class::Socket | Class::Model)
            {
                load = BytesMut::new();
                add.push(self.load_header(&mut load));
            }
            if request.explains {
                why = self.explained(from);
                add.push((headers::WHY, why.as_bytes()));
            }
        }
        if let Some(recorder) = recorder {
            keyed::record_head(recorder, head, &self.lane.down, &add);
        }
        let edit = ResponseEdit { add: &add, drop, persist, body };
        write_response(&mut self.lane.reply, head, &self.lane.down, &edit);
    }

    /// The load of this node: for a node in our own words, for others in those of ORCA.
    fn load_header<'b>(&self, out: &'b mut BytesMut) -> (&'static str, &'b [u8]) {
        let record = self.proxy.local_load.record(self.proxy.now(), self.origin());
        let (name, written) = if self.request.hops > 0 {
            (headers::LOAD, record.write(out))
        } else {
            (headers::ORCA_LOAD, record.write_orca(out))
        };
        written.expect("a buffer grows");
        (name, out)
    }

    /// The value of `x-astromesh-why`.
    pub(super) fn explained(&self, from: Option<&Target>) -> String {
        let (node, tried) = (name_of(self.live, from), self.tally.tried);
        let mut text = String::new();
        match self.why {
            Some(why) => write!(
                text,
                "node={node};reason={};candidates={};sampled={};estimate={}.{:03};age_ms={};tried={tried}",
                why.reason.as_str(),
                why.candidates,
                why.sampled,
                why.estimate_milli / 1000,
                why.estimate_milli % 1000,
                why.age_ms,
            ),
            None => write!(text, "node={node};reason=local;tried={tried}"),
        }
        .expect("a string grows");
        text
    }

    /// Writes an error instead of an answer. The rest of the request is not read.
    pub(super) fn refuse(&mut self, refusal: &Refusal) -> After {
        let request = self.request;
        let persist = if self.upload.is_read() { self.persist() } else { Persist::Close };
        let mut load = BytesMut::new();
        let mut add: SmallVec<[(&str, &[u8]); 2]> = SmallVec::new();
        if request.hops > 0 {
            add.push(self.load_header(&mut load));
        }
        if let Some(refused) = refusal.refused.filter(|_| request.is_from_node()) {
            add.push((headers::REFUSED, refused.as_bytes()));
        }
        let around = Around {
            request_id: &request.id,
            persist,
            to: request.to(),
            add: &add,
            of_model: request.class == Class::Model,
        };
        refusal.write(&mut self.lane.reply, &around);
        // Whoever was asked before has not answered.
        self.tally.by = By::Nobody;
        self.said(refusal.code.status().as_u16());
        if persist == Persist::Close { After::Close } else { After::Next }
    }

    /// An answer of this node's own has been written to [`Lane::reply`](super::exchange::Lane).
    pub(super) fn said(&mut self, status: u16) {
        self.tally.status = status;
        self.tally.bytes_out += self.lane.reply.len() as u64;
        self.tally.passed = Some(Instant::now());
    }

    pub(super) fn persist(&self) -> Persist {
        let head = &self.request.head;
        let never_comes = self.is_continue_due && !self.upload.is_read();
        if self.is_closing() || !head.keep_alive || never_comes {
            Persist::Close
        } else if head.version == Version::Http10 {
            Persist::KeepAlive
        } else {
            Persist::Silent
        }
    }
}

fn name_of<'a>(live: &'a Live, from: Option<&'a Target>) -> &'a str {
    from.map_or(&*live.node_name, |target| &*target.name)
}

/// Whether a content type is that of server-sent events, whatever its parameters.
fn is_event_stream(kind: &[u8]) -> bool {
    const EVENTS: &[u8] = b"text/event-stream";
    kind.get(..EVENTS.len()).is_some_and(|start| start.eq_ignore_ascii_case(EVENTS))
}

/// What is said of an answer that had begun.
fn broken_off(request: &Request, from: Option<&Target>, end: End) -> Refusal {
    let (code, what) = match end {
        End::Idle => (Code::DeadlineExceeded, "nothing more of the answer came in time"),
        End::Total => (Code::DeadlineExceeded, "the answer was not complete by its deadline"),
        End::Cut => (Code::NodeStopped, "the node stopped in the middle of its answer"),
        End::Whole | End::Gone | End::Broken if from.is_none() && request.class == Class::Model => {
            (
                Code::UpstreamConnectionLost,
                "the connection to the model server broke in the middle of its answer",
            )
        }
        End::Whole | End::Gone | End::Broken => (
            Code::NodeConnectionLost,
            "the connection to the node broke in the middle of its answer",
        ),
    };
    Refusal::new(code, format!("{}{what}", request.subject()))
}
